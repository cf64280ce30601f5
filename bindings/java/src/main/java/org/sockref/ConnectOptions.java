package org.sockref;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolFamily;
import java.net.StandardProtocolFamily;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Executor;

/**
 * How to connect. What is not set has its default. All but {@link Builder#timeout}, {@link Builder#from} and
 * {@link Builder#executor} are about TCP: where the name is a path, addresses are refused with EINVAL, and the others
 * mean nothing.
 *
 * <pre>{@code ConnectOptions.builder().timeout(Duration.ofSeconds(3)).build()}</pre>
 */
public final class ConnectOptions {
    /** Nothing is set. */
    static final ConnectOptions NONE = builder().build();

    private static final int ONE_BY_ONE = 1;
    private static final int FIRST_ONLY = 2;

    private final int flags;
    private final int family;
    private final int attemptDelayMs;
    private final int timeoutMs;
    private final InetSocketAddress local;
    private final List<InetAddress> addresses;
    private final SocketReference from;
    private final Executor executor;

    private ConnectOptions(Builder builder) {
        flags = builder.flags;
        family = builder.family;
        attemptDelayMs = builder.attemptDelayMs;
        timeoutMs = builder.timeoutMs;
        local = builder.local;
        addresses = builder.addresses;
        from = builder.from;
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

    Executor executor() {
        return executor == null ? Background.defaultExecutor() : executor;
    }

    /** A reference of the caller's own to what is connected from; null: a fresh socket is connected. */
    SocketReference dupFrom() throws SockrefException {
        return from == null ? null : from.dup();
    }

    /** As java_connect.c reads them. */
    long[] numbers() {
        return new long[] {flags, family, attemptDelayMs, timeoutMs, local == null ? 0 : local.getPort()};
    }

    /** Null: any. */
    byte[] localHost() {
        return local == null || local.getAddress().isAnyLocalAddress() ? null : text(local.getAddress());
    }

    /** Null: they are looked up. */
    byte[][] addresses() {
        return addresses == null ? null : addresses.stream().map(ConnectOptions::text).toArray(byte[][]::new);
    }

    private static byte[] text(InetAddress address) {
        return address.getHostAddress().getBytes(StandardCharsets.US_ASCII);
    }

    /** Sets options. A value out of range is refused at once, with {@link IllegalArgumentException}. */
    public static final class Builder {
        private int flags;
        private int family;
        private int attemptDelayMs;
        private int timeoutMs;
        private InetSocketAddress local;
        private List<InetAddress> addresses;
        private SocketReference from;
        private Executor executor;

        private Builder() {
        }

        /**
         * Finish.
         *
         * @return the options, which never change
         */
        public ConnectOptions build() {
            return new ConnectOptions(this);
        }

        /**
         * When to fail with {@link java.net.SocketTimeoutException}, the lookup included. Zero, the default: never.
         *
         * @param timeout the time
         * @return this builder
         */
        public Builder timeout(Duration timeout) {
            timeoutMs = Numbers.milliseconds(timeout, "timeout");
            return this;
        }

        /**
         * How long an address is tried before the next one begins. Zero, the default: 250 ms.
         *
         * @param attemptDelay the time
         * @return this builder
         */
        public Builder attemptDelay(Duration attemptDelay) {
            attemptDelayMs = Numbers.milliseconds(attemptDelay, "attemptDelay");
            return this;
        }

        /**
         * Whether an address that does not answer within the attempt delay is given up before the next one is tried. By
         * default they go on side by side, as RFC 8305 has it.
         *
         * @param oneByOne whether
         * @return this builder
         */
        public Builder oneByOne(boolean oneByOne) {
            return flag(ONE_BY_ONE, oneByOne);
        }

        /**
         * Whether only the first address is tried, for as long as the system does.
         *
         * @param firstOnly whether
         * @return this builder
         */
        public Builder firstOnly(boolean firstOnly) {
            return flag(FIRST_ONLY, firstOnly);
        }

        private Builder flag(int flag, boolean on) {
            flags = on ? flags | flag : flags & ~flag;
            return this;
        }

        /**
         * Which addresses of a host are tried; both families by default.
         *
         * @param only {@link StandardProtocolFamily#INET} or {@link StandardProtocolFamily#INET6}
         * @return this builder
         */
        public Builder family(ProtocolFamily only) {
            if (only == StandardProtocolFamily.INET) {
                family = 4;
            } else if (only == StandardProtocolFamily.INET6) {
                family = 6;
            } else {
                throw new IllegalArgumentException(Objects.requireNonNull(only, "only") + " is no family of hosts");
            }
            return this;
        }

        /**
         * The address to connect from (TCP).
         *
         * @param address a resolved address, or the wildcard for any, and a port or 0 for any
         * @return this builder
         */
        public Builder localAddress(InetSocketAddress address) {
            if (Objects.requireNonNull(address, "address").isUnresolved()) {
                throw new IllegalArgumentException(address + " is not resolved");
            }
            local = address;
            return this;
        }

        /**
         * A name that was bound with {@link Options.Builder#bindOnly} and is not served, whose socket is to be
         * connected; there is no local address beside it. It is connected once, and one address is tried. The
         * connection, or channel, has a reference of its own until it is over.
         *
         * @param reference the reference, which stays the caller's
         * @return this builder
         */
        public Builder from(SocketReference reference) {
            from = Objects.requireNonNull(reference, "reference");
            return this;
        }

        /**
         * What to try, in this order, where the host has been looked up already.
         *
         * @param addresses the addresses, at least one
         * @return this builder
         */
        public Builder addresses(List<InetAddress> addresses) {
            if (Objects.requireNonNull(addresses, "addresses").isEmpty()) {
                throw new IllegalArgumentException("there is no address");
            }
            this.addresses = List.copyOf(addresses);
            return this;
        }

        /**
         * Where the futures of the connection, and that of connecting, are completed; the common pool by default.
         *
         * @param executor the executor
         * @return this builder
         */
        public Builder executor(Executor executor) {
            this.executor = Objects.requireNonNull(executor, "executor");
            return this;
        }
    }
}
