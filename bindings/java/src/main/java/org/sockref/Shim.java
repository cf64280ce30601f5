package org.sockref;

import java.nio.ByteBuffer;

/** What java_shim.c offers: loops, starts, watches, handlers, connections. */
final class Shim {
    static {
        NativeLoader.load();
    }

    private Shim() {
    }

    /** File, version and ABI number of the binding's library, then of libsockref. */
    static native String[] identity();

    static native int statusErrno(int status);

    static native long[] liveCounts();

    static native long loopNew() throws SockrefException;

    /** Whether takeEvents() has something. */
    static native boolean loopDispatch(long loop, int timeoutMs) throws SockrefException;

    static native void loopWake(long loop);

    static native long startNew(StartOperation operation) throws SockrefException;

    static native void start(long registry, byte[] path, long options, long loop, long start)
            throws SockrefException;

    static native void cancelStart(long registry, long start);

    /** From now on, what happens to the name waits under the number, and the loop is woken. */
    static native void watch(long reference, long loop, long number) throws SockrefException;

    static native void unwatch(long reference);

    /** Pairs of a watch's number and an event. */
    static native long[] takeEvents();

    static native void serve(long reference, long loop, Service service) throws SockrefException;

    static native void serveEcho(long reference) throws SockrefException;

    static native int duplicateFd(long reference) throws SockrefException;

    static native int connWrite(long connection, byte[] data, int offset, int length)
            throws SockrefException;

    static native int connWriteDirect(long connection, ByteBuffer data, int offset, int length)
            throws SockrefException;

    static native void connEnd(long connection) throws SockrefException;

    static native void connPause(long connection) throws SockrefException;

    static native void connResume(long connection) throws SockrefException;

    static native void connDestroy(long connection);
}
