package org.sockref;

import java.util.Optional;

/**
 * What a registry has counted since it was made. The numbers only grow: a rate is the difference of two readings.
 *
 * @param created names that were bound, or taken by {@link Registry#registerNew(int) registerNew}
 * @param joined names that were joined, for another registry owns them
 * @param reused starts that found their name started here already
 * @param failed starts that failed, or were cancelled
 * @param closed started names that ended after their last reference
 * @param revoked names that were revoked: by a cleanup, a shutdown, or the loss of their owner
 * @param removed of the started names that were closed or revoked: those of which nothing is left
 * @param removeFailed and those where the system refused to remove a file, or another step of the end failed
 * @param deferred ends that had to wait, and were left to the worker
 * @param lastRemoveError the name of the last refusal, such as {@code "EACCES"}; empty if there was none
 * @param removal from the last close, or the call that revokes, until nothing is left of the name; a cleanup delay, and
 *     the time that it goes on for other holders, do not count
 */
public record RegistryStats(long created, long joined, long reused, long failed, long closed, long revoked,
        long removed, long removeFailed, long deferred, Optional<String> lastRemoveError, Histogram removal) {
    static RegistryStats of(long[] numbers) {
        int status = (int) numbers[9];
        return new RegistryStats(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6],
                numbers[7], numbers[8],
                status == 0 ? Optional.empty() : Optional.of(SockrefNative.sockref_status_name(status)),
                Histogram.of(numbers, 10));
    }
}
