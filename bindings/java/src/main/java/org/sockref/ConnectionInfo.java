package org.sockref;

import java.net.SocketAddress;
import java.time.Duration;

/**
 * What a {@link Connection} is at one moment.
 *
 * @param state how open it is
 * @param isPaused whether nothing is read
 * @param timeout of inactivity; zero: none
 * @param bytesRead bytes that came
 * @param bytesWritten bytes that the system took
 * @param bytesQueued bytes that wait to be written
 * @param localAddress our end: a UnixDomainSocketAddress or an InetSocketAddress; null where there is none, as of a Unix
 *     socket without a name, and once it is closed
 * @param remoteAddress the peer's end, or null as well; while connecting, what is being tried
 */
public record ConnectionInfo(State state, boolean isPaused, Duration timeout, long bytesRead, long bytesWritten,
        long bytesQueued, SocketAddress localAddress, SocketAddress remoteAddress) {
    /** How open a connection is. */
    public enum State {
        /** It is not connected yet. */
        OPENING,
        /** Both sides are open. */
        OPEN,
        /** Our side is ended. */
        READ_ONLY,
        /** The peer's side is ended. */
        WRITE_ONLY,
        /** It is over. */
        CLOSED
    }

    /** As java_conn.c tells it. */
    static ConnectionInfo of(long[] numbers, byte[][] addresses) {
        return new ConnectionInfo(State.values()[(int) numbers[0] - 1], numbers[1] != 0, Duration.ofMillis(numbers[2]),
                numbers[3], numbers[4], numbers[5], Addresses.decode(addresses[0]), Addresses.decode(addresses[1]));
    }
}
