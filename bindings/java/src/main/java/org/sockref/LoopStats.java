package org.sockref;

/**
 * What the loops of this process have counted, of all languages, and also those that ended. The dispatch thread of
 * handlers and futures is one of them. What waits are posted functions, results of starts and calls of watches.
 *
 * @param callbacks callbacks that ran; those of a dispatch are counted when it ends
 * @param pending how many wait for the next turn
 * @param oldestNanos for how long the oldest of them has waited, in nanoseconds; 0: there is none
 * @param newestNanos for how long the newest of them has waited, in nanoseconds
 * @param starved how many turns came so late that one of them had waited for longer than a second
 * @param isStarving whether one of them has waited for longer than a second now
 * @param accepted connections that services accepted
 * @param refused connections that were closed at once, for there were too many, or no descriptor or memory was left
 * @param connected connects that succeeded
 * @param connectFailed connects that failed
 * @param bytesRead bytes that connections received
 * @param bytesWritten bytes that connections gave to the system
 * @param connect how long the connects took that succeeded
 */
public record LoopStats(long callbacks, long pending, long oldestNanos, long newestNanos, long starved,
        boolean isStarving, long accepted, long refused, long connected, long connectFailed, long bytesRead,
        long bytesWritten, Histogram connect) {
    static LoopStats of(long[] numbers) {
        return new LoopStats(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5] != 0, numbers[6],
                numbers[7], numbers[8], numbers[9], numbers[10], numbers[11], Histogram.of(numbers, 12));
    }
}
