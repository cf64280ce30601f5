package org.sockref;

import java.nio.ByteBuffer;

/**
 * What java_channel.c offers: the system calls of channels. A call answers what the system did, or a negative errno;
 * {@code wait} says whether it may block the thread that it is on.
 */
final class Sockets {
    /** It would block. */
    static final int EAGAIN = -11;
    static final int EINVAL = -22;
    static final int ECONNRESET = -104;
    static final int ENOTCONN = -107;
    /** Added to the bytes that were received where nothing was left behind them. */
    static final long DRAINED = 1L << 32;

    static {
        NativeLoader.load();
    }

    private Sockets() {
    }

    static native long receive(int fd, byte[] array, int offset, int length, boolean wait);

    static native long receiveDirect(int fd, ByteBuffer buffer, int offset, int length, boolean wait);

    static native long receiveScattered(int fd, byte[][] arrays, ByteBuffer[] buffers, int[] offsets, int[] lengths,
            boolean wait);

    static native int send(int fd, byte[] array, int offset, int length, boolean wait);

    static native int sendDirect(int fd, ByteBuffer buffer, int offset, int length, boolean wait);

    static native int sendGathered(int fd, byte[][] arrays, ByteBuffer[] buffers, int[] offsets, int[] lengths,
            boolean wait);

    /** A descriptor in blocking mode. */
    static native int accept(int fd);

    static native void close(int fd);

    static native int shutdown(int fd, boolean input, boolean output);

    /** The close that follows sends a reset (TCP). */
    static native void lingerNot(int fd);

    static native int available(int fd);

    /** 1: there is input; 0: the time is over. */
    static native int poll(int fd, int timeoutMs);

    /** Wait for a connection, unless {@code fd} is negative, or for the bell, which is silent then. */
    static native void pollBell(int fd, int bell, int timeoutMs);

    static native int bellNew();

    static native void ring(int bell);

    static native int pollerNew();

    static native int pollerSet(int poller, int fd, boolean isNew, boolean output);

    static native int pollerSetOnce(int poller, int fd, boolean isNew);

    static native void pollerRemove(int poller, int fd);

    /** How many: descriptor &lt;&lt; 3, and the signs of {@link Readiness}. */
    static native int pollerWait(int poller, long[] signs, boolean wait);

    /** Have the number lead to the listening socket of a reference; EAGAIN where there is none. */
    static native int follow(int own, long reference);

    /** See {@link Addresses}; null where the system refuses. */
    static native byte[] address(int fd, boolean remote);

    static native int getOption(int fd, int option);

    static native int setOption(int fd, int option, int value);

    /** Process, user and group; null where the system refuses. */
    static native long[] peer(int fd);
}
