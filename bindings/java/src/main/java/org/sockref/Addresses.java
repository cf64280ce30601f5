package org.sockref;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.Objects;

/**
 * Addresses as C tells them: the family, the port in two bytes, then a numeric address, or a path, or '@' and an
 * abstract name.
 */
final class Addresses {
    static final int UNIX = 1;
    private static final int NONE = 0;
    private static final int HEAD = 3;

    private Addresses() {
    }

    /** Null where there is none. */
    static SocketAddress decode(byte[] told) {
        if (told[0] == NONE) {
            return null;
        }
        byte[] host = Arrays.copyOfRange(told, HEAD, told.length);
        if (told[0] == UNIX) {
            return unix(host);
        }
        try {
            // A numeric address, which is not looked up.
            return new InetSocketAddress(InetAddress.getByName(PathBytes.text(host)),
                    (told[1] & 0xff) << 8 | told[2] & 0xff);
        } catch (UnknownHostException e) {
            throw new AssertionError(e);
        }
    }

    /** No bytes are a socket without a name. NUL, which no Path can hold, is '@' in abstract names. */
    static UnixDomainSocketAddress unix(byte[] name) {
        if (name.length == 0) {
            return UnixDomainSocketAddress.of("");
        }
        byte[] shown = name.clone();
        for (int i = 0; i < shown.length; i++) {
            if (shown[i] == 0) {
                shown[i] = '@';
            }
        }
        return UnixDomainSocketAddress.of(PathBytes.path(shown));
    }

    /** The name that is connected to: bytes of a path, or tcp:HOST:PORT. */
    static PathBytes name(SocketAddress address) {
        if (address instanceof UnixDomainSocketAddress unix) {
            return PathBytes.of(unix.getPath());
        }
        if (address instanceof InetSocketAddress inet) {
            String host = inet.isUnresolved() ? inet.getHostString() : inet.getAddress().getHostAddress();
            return PathBytes.of("tcp:" + (host.contains(":") ? "[" + host + "]" : host) + ":" + inet.getPort());
        }
        return () -> {
            Objects.requireNonNull(address, "address");
            throw new java.nio.channels.UnsupportedAddressTypeException();
        };
    }
}
