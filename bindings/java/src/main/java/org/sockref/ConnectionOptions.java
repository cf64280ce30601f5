package org.sockref;

import java.time.Duration;

/**
 * How the connections begin that call {@link Handlers}. What is not set has its default.
 *
 * <pre>{@code ConnectionOptions.builder().noDelay(true).timeout(Duration.ofSeconds(30)).build()}</pre>
 */
public final class ConnectionOptions {
    /** Nothing is set. */
    static final ConnectionOptions NONE = builder().build();

    private static final int PAUSED = 1;
    private static final int NO_DELAY = 8;
    private static final int KEEP_ALIVE = 16;
    private static final int OUTLIVE = 64;

    private static final int TELL_DROPS = 1;
    private static final int TELL_DESCRIPTORS = 2;

    private final int flags;
    private final int timeoutMs;
    private final int keepAliveDelayMs;
    private final long highWater;
    private final long maxBuffered;
    private final int told;

    private ConnectionOptions(Builder builder) {
        flags = builder.flags;
        timeoutMs = builder.timeoutMs;
        keepAliveDelayMs = builder.keepAliveDelayMs;
        highWater = builder.highWater;
        maxBuffered = builder.maxBuffered;
        told = builder.told;
    }

    /**
     * Begin with nothing set.
     *
     * @return a builder
     */
    public static Builder builder() {
        return new Builder();
    }

    /** As java_conn.c reads them. */
    long[] numbers() {
        return new long[] {flags, timeoutMs, keepAliveDelayMs, highWater, maxBuffered, told};
    }

    private static int with(int flags, int flag, boolean on) {
        return on ? flags | flag : flags & ~flag;
    }

    /** Sets options. A value out of range is refused at once, with {@link IllegalArgumentException}. */
    public static final class Builder {
        private int flags;
        private int timeoutMs;
        private int keepAliveDelayMs;
        private long highWater;
        private long maxBuffered;
        private int told;

        private Builder() {
        }

        /**
         * Finish.
         *
         * @return the options, which never change
         */
        public ConnectionOptions build() {
            return new ConnectionOptions(this);
        }

        private Builder flag(int flag, boolean on) {
            flags = with(flags, flag, on);
            return this;
        }

        /**
         * Whether nothing is read until {@link Connection#resume}. False by default.
         *
         * @param paused whether
         * @return this builder
         */
        public Builder paused(boolean paused) {
            return flag(PAUSED, paused);
        }

        /**
         * Send small pieces at once (TCP). False by default.
         *
         * @param noDelay whether
         * @return this builder
         */
        public Builder noDelay(boolean noDelay) {
            return flag(NO_DELAY, noDelay);
        }

        /**
         * Have the system probe a silent peer (TCP).
         *
         * @param delay silence before the first probe, at least a second; zero: as the system has it
         * @return this builder
         */
        public Builder keepAlive(Duration delay) {
            keepAliveDelayMs = Numbers.milliseconds(delay, "delay");
            return flag(KEEP_ALIVE, true);
        }

        /**
         * When {@link Handlers#onTimeout} is called: after this long without traffic. Zero, the default: never.
         *
         * @param timeout the time
         * @return this builder
         */
        public Builder timeout(Duration timeout) {
            timeoutMs = Numbers.milliseconds(timeout, "timeout");
            return this;
        }

        /**
         * With more bytes than this queued a write answers false. 0, the default: 64 KiB.
         *
         * @param highWater the number
         * @return this builder
         */
        public Builder highWater(long highWater) {
            this.highWater = Numbers.notNegative(highWater, "highWater");
            return this;
        }

        /**
         * The most bytes that may be queued; 0, the default: as the name's option says, and 16 MiB where there is none.
         *
         * @param maxBuffered the number
         * @return this builder
         */
        public Builder maxBuffered(long maxBuffered) {
            this.maxBuffered = Numbers.notNegative(maxBuffered, "maxBuffered");
            return this;
        }

        /**
         * Whether accepted connections go on until they are over when the name ends. By default they are destroyed.
         *
         * @param outlive whether
         * @return this builder
         */
        public Builder outlive(boolean outlive) {
            return flag(OUTLIVE, outlive);
        }

        /**
         * Whether a connection beyond the limit is closed, and {@link Handlers#onDrop} called. By default it waits in
         * the kernel's queue.
         *
         * @param dropExcess whether
         * @return this builder
         */
        public Builder dropExcess(boolean dropExcess) {
            told = with(told, TELL_DROPS, dropExcess);
            return this;
        }

        /**
         * Whether descriptors that peers pass are taken in, for {@link Handlers#onDescriptor}. By default the kernel
         * closes them.
         *
         * @param descriptors whether
         * @return this builder
         */
        public Builder descriptors(boolean descriptors) {
            told = with(told, TELL_DESCRIPTORS, descriptors);
            return this;
        }
    }
}
