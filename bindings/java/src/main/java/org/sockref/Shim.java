package org.sockref;

import java.io.FileDescriptor;
import java.nio.ByteBuffer;

/** What swig/java_*.c offer: loops, starts, watches, served names, connections, counters, pools. */
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

    /** One that was never dispatched. */
    static native void loopFree(long loop);

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

    /** Where the loops read to. */
    static native void loopBuffer(ByteBuffer buffer);

    static native void serve(long reference, long loop, Service service, long[] options) throws SockrefException;

    static native void unserve(long reference, boolean destroy) throws SockrefException;

    static native void setMaxConnections(long reference, long most) throws SockrefException;

    static native long connectionCount(long reference);

    static native byte[] localAddress(long reference) throws SockrefException;

    static native void serveEcho(long reference) throws SockrefException;

    static native int duplicateFd(long reference) throws SockrefException;

    /** Numbers in the order of RegistryStats, the status of the last refusal, and the histogram. */
    static native long[] registryStats(long registry) throws SockrefException;

    /** Numbers in the order of SocketStats. */
    static native long[] socketStats(long reference) throws SockrefException;

    /** Numbers in the order of LoopStats, of all loops together. */
    static native long[] loopStats() throws SockrefException;

    /** Numbers in the order of Health. */
    static native long[] checkHealth(long reference) throws SockrefException;

    static native byte[] metrics(long registry) throws SockrefException;

    static native long poolNew() throws SockrefException;

    static native void poolFree(long pool);

    static native int poolAdd(long pool, long reference) throws SockrefException;

    static native int poolRemove(long pool, long reference) throws SockrefException;

    static native int poolListen(long pool, long registry, byte[] path, int count, long options)
            throws SockrefException;

    /** The pointer of a reference that is the caller's. */
    static native long poolPick(long pool, int policy) throws SockrefException;

    static native long poolSize(long pool);

    static native int connSendDescriptor(long connection, FileDescriptor descriptor, byte[] data)
            throws SockrefException;

    static native int connWrite(long connection, byte[] data, int offset, int length)
            throws SockrefException;

    static native int connWriteDirect(long connection, ByteBuffer data, int offset, int length)
            throws SockrefException;

    static native void connEnd(long connection) throws SockrefException;

    static native void connPause(long connection) throws SockrefException;

    static native void connResume(long connection) throws SockrefException;

    static native void connDestroy(long connection);

    static native void connDestroySoon(long connection);

    static native void connReset(long connection);

    /** The buffer is direct and stays as it is until {@code told} runs, on the loop's thread. */
    static native int connWriteLent(long connection, ByteBuffer data, int offset, int length, Runnable told)
            throws SockrefException;

    static native void connSetTimeout(long connection, int timeoutMs) throws SockrefException;

    static native void connSetKeepAlive(long connection, boolean on, int delayMs) throws SockrefException;

    static native void connSetNoDelay(long connection, boolean on) throws SockrefException;

    static native long[] connInfo(long connection, byte[][] addresses) throws SockrefException;

    static native long[] connPeer(long connection) throws SockrefException;

    /** The loop's thread: a connection of which {@code connection} is told. */
    static native long connConnect(long loop, byte[] name, long[] options, byte[] localHost, byte[][] addresses,
            long from, long[] connectionOptions, Service service, Connection connection) throws SockrefException;

    /** Any thread: a handle on the loop's connection, of whose socket the operation is told. */
    static native long connect(long loop, byte[] name, long[] options, byte[] localHost, byte[][] addresses,
            long from, ConnectOperation operation) throws SockrefException;

    static native void connRelease(long connection);
}
