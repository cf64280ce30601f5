package org.sockref;

import java.time.Duration;
import java.util.Objects;

/** Numbers as C takes them; another one is an IllegalArgumentException. */
final class Numbers {
    private static final Duration LONGEST = Duration.ofMillis(Integer.MAX_VALUE);
    private static final int ALMOST_A_MILLISECOND = 999_999;

    private Numbers() {
    }

    /** Rounded up: nothing ends before its time, and only zero is zero. What is longer than some 24 days is that. */
    static int milliseconds(Duration time, String name) {
        if (Objects.requireNonNull(time, name).isNegative()) {
            throw new IllegalArgumentException(name + " is negative");
        }
        return time.compareTo(LONGEST) >= 0 ? Integer.MAX_VALUE : (int) time.plusNanos(ALMOST_A_MILLISECOND).toMillis();
    }

    static long notNegative(long number, String name) {
        if (number < 0) {
            throw new IllegalArgumentException(name + " is negative");
        }
        return number;
    }
}
