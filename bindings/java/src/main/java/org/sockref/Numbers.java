package org.sockref;

import java.time.Duration;

/** Numbers as C takes them; another one is an IllegalArgumentException. */
final class Numbers {
    private Numbers() {
    }

    /** Zero stays zero, and what is not zero is at least one; the longest is some 24 days. */
    static int milliseconds(Duration time) {
        if (time.isNegative()) {
            throw new IllegalArgumentException("the time is negative");
        }
        if (time.isZero()) {
            return 0;
        }
        return time.compareTo(Duration.ofMillis(Integer.MAX_VALUE)) > 0 ? Integer.MAX_VALUE
                : Math.max(1, (int) time.toMillis());
    }

    static long notNegative(long number) {
        if (number < 0) {
            throw new IllegalArgumentException("the number is negative");
        }
        return number;
    }
}
