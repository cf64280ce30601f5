package org.sockref;

import java.util.Optional;

/**
 * How a name is. What can't be told from here is empty.
 *
 * @param isFileOurs whether the path leads to the socket that was bound or joined; empty where the name has no file, or
 *     is just handed over by another registry
 * @param isReachable whether the system would queue a connection to the path, whosever socket stands there; it is asked
 *     without making one. Of a name without a file: whether its socket listens. Empty where this process may not connect
 * @param isAccepting whether it is served and takes connections: not held back by a limit, by a lack of descriptors, or
 *     by a handler that keeps the dispatch thread for a second; empty where another registry owns it
 */
public record Health(Optional<Boolean> isFileOurs, Optional<Boolean> isReachable, Optional<Boolean> isAccepting) {
    static Health of(long[] numbers) {
        return new Health(answer(numbers[0]), answer(numbers[1]), answer(numbers[2]));
    }

    private static Optional<Boolean> answer(long number) {
        return number < 0 ? Optional.empty() : Optional.of(number != 0);
    }
}
