package org.sockref;

import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Addresses as java_channel.c tells them: the family, then for 1 the bytes of a path, or '@' and an abstract name, and
 * for 4 and 6 the port, the address, and for 6 the number of the scope.
 */
final class Addresses {
    static final int UNIX = 1;
    private static final int IPV6 = 6;

    private Addresses() {
    }

    static SocketAddress decode(byte[] told) {
        if (told[0] == UNIX) {
            return unix(Arrays.copyOfRange(told, 1, told.length));
        }
        ByteBuffer rest = ByteBuffer.wrap(told, 1, told.length - 1);
        int port = rest.getShort() & 0xffff;
        byte[] address = new byte[told[0] == IPV6 ? 16 : 4];
        rest.get(address);
        try {
            int scope = told[0] == IPV6 ? rest.getInt() : 0;
            return new InetSocketAddress(scope == 0 ? InetAddress.getByAddress(address)
                    : Inet6Address.getByAddress(null, address, scope), port);
        } catch (UnknownHostException e) {
            throw new AssertionError(e);
        }
    }

    /** No bytes are a socket without a name. */
    static UnixDomainSocketAddress unix(byte[] name) {
        if (name.length == 0) {
            return UnixDomainSocketAddress.of("");
        }
        return UnixDomainSocketAddress.of(name[0] == '/' ? PathBytes.path(name) : Path.of(PathBytes.text(name)));
    }
}
