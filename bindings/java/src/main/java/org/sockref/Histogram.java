package org.sockref;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * How long something took.
 *
 * @param count how many times it was measured
 * @param sumNanos all the times together, in nanoseconds
 * @param buckets how many of them fell between two bounds, from the shortest to the longest; those above the last bound
 *     are in {@code count} only
 */
public record Histogram(long count, long sumNanos, List<Bucket> buckets) {
    private static final long FIRST_BOUND = 1000;
    private static final int NEXT_BOUND = 4;

    /**
     * Those that were longer than the bound before, and no longer than this one.
     *
     * @param upperBoundNanos the bound, in nanoseconds
     * @param count how many
     */
    public record Bucket(long upperBoundNanos, long count) {
        /**
         * Tell the bound as a time.
         *
         * @return the bound
         */
        public Duration upperBound() {
            return Duration.ofNanos(upperBoundNanos);
        }
    }

    /** From C's numbers: count, sum, and the buckets to the end. */
    static Histogram of(long[] numbers, int at) {
        List<Bucket> buckets = new ArrayList<>();
        long bound = FIRST_BOUND;
        for (int i = at + 2; i < numbers.length; i++) {
            buckets.add(new Bucket(bound, numbers[i]));
            bound *= NEXT_BOUND;
        }
        return new Histogram(numbers[at], numbers[at + 1], List.copyOf(buckets));
    }

    /**
     * Tell all the times together as one.
     *
     * @return the sum
     */
    public Duration sum() {
        return Duration.ofNanos(sumNanos);
    }
}
