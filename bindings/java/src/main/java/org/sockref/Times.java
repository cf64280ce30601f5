package org.sockref;

import java.time.Duration;

/** Times as C takes them. */
final class Times {
    private Times() {
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
}
