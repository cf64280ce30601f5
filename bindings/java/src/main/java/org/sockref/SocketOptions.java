package org.sockref;

import java.net.SocketOption;
import java.net.StandardSocketOptions;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/** The options of channels, by their numbers in java_channel.c. */
final class SocketOptions {
    static final int KEEP_ALIVE = 2;
    static final int KEEP_ALIVE_IDLE = 4;

    private static final List<SocketOption<?>> BY_NUMBER = List.of(StandardSocketOptions.SO_SNDBUF,
            StandardSocketOptions.SO_RCVBUF, StandardSocketOptions.SO_KEEPALIVE, StandardSocketOptions.TCP_NODELAY);
    /** Of any stream socket; the others are for TCP. */
    static final Set<SocketOption<?>> OF_UNIX = Set.copyOf(BY_NUMBER.subList(0, 2));
    static final Set<SocketOption<?>> OF_TCP = Set.copyOf(BY_NUMBER);

    private SocketOptions() {
    }

    /** Said of a closed channel as well. */
    static void require(Set<SocketOption<?>> supported, SocketOption<?> option) {
        if (!supported.contains(Objects.requireNonNull(option, "name"))) {
            throw new UnsupportedOperationException(option + " is not supported by this channel");
        }
    }

    /** One that was required, as for {@link #set(int, SocketOption, Object)}. */
    static <T> T get(int fd, SocketOption<T> option) throws SockrefException {
        int value = SockrefException.checked(Sockets.getOption(fd, BY_NUMBER.indexOf(option)), "getsockopt");
        if (OF_UNIX.contains(option)) {
            // The kernel tells twice what was set: the rest is for what it needs itself.
            value /= 2;
        }
        return option.type().cast(option.type() == Boolean.class ? (Object) (value != 0) : (Object) value);
    }

    static <T> void set(int fd, SocketOption<T> option, T value) throws SockrefException {
        Object wanted = Objects.requireNonNull(value, "value");
        int plain = wanted instanceof Boolean on ? (on ? 1 : 0) : (Integer) wanted;
        if (plain < 0) {
            throw new IllegalArgumentException(option + " can't be " + plain);
        }
        set(fd, BY_NUMBER.indexOf(option), plain);
    }

    static void set(int fd, int number, int value) throws SockrefException {
        SockrefException.checked(Sockets.setOption(fd, number, value), "setsockopt");
    }
}
