package org.sockref;

import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.Executor;

/**
 * Options of a registry or of one call. What is not set at a call has the registry's value; what is not set there
 * has its default.
 *
 * <pre>{@code Options.builder().mode(0660).cleanupDelayMs(500).build()}</pre>
 */
public final class Options {
    /** Nothing is set. */
    static final Options NONE = new Builder().build();

    private static final int DIRECTORY = 3;
    private static final int MAX_CONNECTIONS = 11;

    private final Map<Integer, Long> numbers;
    private final byte[] directory;
    private final Executor executor;

    private Options(Builder builder) {
        numbers = new TreeMap<>(builder.numbers);
        directory = builder.directory;
        executor = builder.executor;
    }

    /**
     * Begin with nothing set.
     *
     * @return a builder
     */
    public static Builder builder() {
        return new Builder();
    }

    /** Where futures are completed; null if that is not set. */
    Executor executor() {
        return executor;
    }

    /** 0: no limit. */
    long maxConnections() {
        return numbers.getOrDefault(MAX_CONNECTIONS, 0L);
    }

    /** The same, of which a name without a path is fresh. */
    Options unique() {
        Builder builder = new Builder();
        builder.numbers.putAll(numbers);
        builder.directory = directory;
        builder.executor = executor;
        return builder.unique(true).build();
    }

    /** A set of C's for one call. */
    static NativeOptions toNative(Options options) throws SockrefException {
        NativeOptions set = SockrefNative.sockref_options_new();
        try {
            for (Map.Entry<Integer, Long> number : options.numbers.entrySet()) {
                set.set_int(number.getKey(), number.getValue());
            }
            if (options.directory != null) {
                set.set_string(DIRECTORY, options.directory);
            }
            return set;
        } catch (Throwable t) {
            set.close();
            throw t;
        }
    }

    /**
     * Sets options. A value out of range is refused at once, with {@link IllegalArgumentException}; an option that
     * belongs to a registry is refused where it is given to a call, with EINVAL.
     */
    public static final class Builder {
        private final Map<Integer, Long> numbers = new TreeMap<>();
        private byte[] directory;
        private Executor executor;

        private Builder() {
        }

        private Builder set(int option, long value) {
            try (NativeOptions scratch = SockrefNative.sockref_options_new()) {
                scratch.set_int(option, value);
            } catch (SockrefException e) {
                throw new IllegalArgumentException(e.getMessage(), e);
            }
            numbers.put(option, value);
            return this;
        }

        private Builder set(PathBytes path) {
            try (NativeOptions scratch = SockrefNative.sockref_options_new()) {
                byte[] bytes = path.bytes();
                scratch.set_string(DIRECTORY, bytes);
                directory = bytes;
            } catch (SockrefException e) {
                throw new IllegalArgumentException(e.getMessage(), e);
            }
            return this;
        }

        /**
         * Finish.
         *
         * @return the options, which never change
         */
        public Options build() {
            return new Options(this);
        }

        /**
         * Where futures are completed; by default as {@link java.util.concurrent.CompletableFuture} does it: by the
         * common pool, or by a new thread for each where the pool has one thread only (before Java 25).
         *
         * @param executor the executor
         * @return this builder
         */
        public Builder executor(Executor executor) {
            this.executor = Objects.requireNonNull(executor, "executor");
            return this;
        }

        /**
         * Where names without a path are put; for a registry only.
         *
         * @param directory the directory
         * @return this builder
         */
        public Builder directory(String directory) {
            return set(PathBytes.of(directory));
        }

        /**
         * Where names without a path are put; for a registry only.
         *
         * @param directory the directory
         * @return this builder
         */
        public Builder directory(Path directory) {
            return set(PathBytes.of(directory));
        }

        /**
         * Where names without a path are put; for a registry only.
         *
         * @param directory the directory's bytes
         * @return this builder
         */
        public Builder directory(byte[] directory) {
            return set(PathBytes.of(directory));
        }

        /**
         * Permission bits of the socket file; -1: the umask decides. 0600 by default.
         *
         * @param mode the bits, such as 0600
         * @return this builder
         */
        public Builder mode(int mode) {
            return set(1, mode);
        }

        /**
         * How many connections may wait to be accepted; the kernel may lower it. 4096 by default.
         *
         * @param backlog the number
         * @return this builder
         */
        public Builder backlog(int backlog) {
            return set(2, backlog);
        }

        /**
         * Whether the name may be joined across registries and processes; false: own it alone, with no lock file beside
         * it. True by default.
         *
         * @param share whether
         * @return this builder
         */
        public Builder share(boolean share) {
            return set(4, share ? 1 : 0);
        }

        /**
         * Whether a guard process cleans up after a kill: 0 no, 1 yes, 2: a start without one fails, and waits for its
         * answer, five seconds at most. 1 by default.
         *
         * @param guard 0, 1 or 2
         * @return this builder
         */
        public Builder guard(int guard) {
            return set(5, guard);
        }

        /**
         * How long a listener outlives its last reference. 0 by default.
         *
         * @param cleanupDelayMs milliseconds
         * @return this builder
         */
        public Builder cleanupDelayMs(long cleanupDelayMs) {
            return set(6, cleanupDelayMs);
        }

        /**
         * How long a cleanup may wait. 5000 by default.
         *
         * @param cleanupTimeoutMs milliseconds
         * @return this builder
         */
        public Builder cleanupTimeoutMs(long cleanupTimeoutMs) {
            return set(7, cleanupTimeoutMs);
        }

        /**
         * How long a start may wait for another one. 5000 by default.
         *
         * @param startTimeoutMs milliseconds
         * @return this builder
         */
        public Builder startTimeoutMs(long startTimeoutMs) {
            return set(8, startTimeoutMs);
        }

        /**
         * Names of a registry; for a registry only. 1024 by default.
         *
         * @param maxSockets the number
         * @return this builder
         */
        public Builder maxSockets(long maxSockets) {
            return set(9, maxSockets);
        }

        /**
         * References to one name; for a registry only. 65536 by default.
         *
         * @param maxReferences the number
         * @return this builder
         */
        public Builder maxReferences(long maxReferences) {
            return set(10, maxReferences);
        }

        /**
         * Open connections of a served name; 0, the default: no limit.
         *
         * @param maxConnections the number
         * @return this builder
         */
        public Builder maxConnections(long maxConnections) {
            return set(MAX_CONNECTIONS, maxConnections);
        }

        /**
         * Unsent bytes that are kept for one connection. 16 MiB by default.
         *
         * @param maxBuffered the number
         * @return this builder
         */
        public Builder maxBuffered(long maxBuffered) {
            return set(12, maxBuffered);
        }

        /**
         * Whether a name without a path is fresh at each call. False by default.
         *
         * @param unique whether
         * @return this builder
         */
        public Builder unique(boolean unique) {
            return set(13, unique ? 1 : 0);
        }

        /**
         * Whether to own the name or fail. False by default.
         *
         * @param exclusive whether
         * @return this builder
         */
        public Builder exclusive(boolean exclusive) {
            return set(14, exclusive ? 1 : 0);
        }

        /**
         * Whether the listener may be passed to another holder when this one ends. True by default.
         *
         * @param handover whether
         * @return this builder
         */
        public Builder handover(boolean handover) {
            return set(15, handover ? 1 : 0);
        }

        /**
         * Whether an IPv6 listener refuses connections by IPv4 (TCP). False by default.
         *
         * @param ipv6Only whether
         * @return this builder
         */
        public Builder ipv6Only(boolean ipv6Only) {
            return set(16, ipv6Only ? 1 : 0);
        }

        /**
         * Whether the port may be bound by several listeners that all say so (TCP). False by default.
         *
         * @param reusePort whether
         * @return this builder
         */
        public Builder reusePort(boolean reusePort) {
            return set(17, reusePort ? 1 : 0);
        }

        /**
         * Whether the socket's file stays at the end, for a descriptor given to registerNew that somebody else bound;
         * for a registry only. False by default.
         *
         * @param keepFile whether
         * @return this builder
         */
        public Builder keepFile(boolean keepFile) {
            return set(18, keepFile ? 1 : 0);
        }

        /**
         * Whether the name is bound only, and nobody can connect to it before it is served. It is never shared or
         * handed over. False by default.
         *
         * @param bindOnly whether
         * @return this builder
         */
        public Builder bindOnly(boolean bindOnly) {
            return set(19, bindOnly ? 1 : 0);
        }
    }
}
