package org.sockref;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.net.SocketAddress;
import java.nio.ByteBuffer;

/**
 * What a served name calls: see {@link SocketReference#serve}; and what a connection does that
 * {@link Sockref#connect} makes.
 *
 * <p>All run on one thread, the library's dispatch thread, never two at a time: do not block in them. For one
 * connection the order is onConnection, onReady, onData and onDescriptor any number of times, onEnd at most once, and
 * last onClose, right after onError if there was an error. After {@link Connection#destroy} nothing but onClose comes.
 *
 * <p>What a handler throws goes to the thread's {@link Thread.UncaughtExceptionHandler}; the service goes on.
 */
public interface Handlers {
    /**
     * A peer connected, or connecting has succeeded.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onConnection(Connection connection) throws Exception {
    }

    /**
     * The connection can be read and written: right after onConnection.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onReady(Connection connection) throws Exception {
    }

    /**
     * Bytes came, and are lent: this has no copy made. By default they are copied, for
     * {@link #onData(Connection, byte[])}.
     *
     * @param connection the connection
     * @param data the bytes, in a direct buffer, until this returns: copy what is kept
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onData(Connection connection, ByteBuffer data) throws Exception {
        byte[] copy = new byte[data.remaining()];
        data.get(copy);
        onData(connection, copy);
    }

    /**
     * Bytes came.
     *
     * @param connection the connection
     * @param data the bytes; the array is the handler's
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onData(Connection connection, byte[] data) throws Exception {
    }

    /**
     * The peer passed a descriptor, as {@link ConnectionOptions.Builder#descriptors} permits; it comes before the bytes
     * that it came with. By default it is closed.
     *
     * @param connection the connection
     * @param descriptor the descriptor, which is the handler's: give it to a {@link java.io.FileInputStream} or
     *     {@link java.io.FileOutputStream}, and close that
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onDescriptor(Connection connection, FileDescriptor descriptor) throws Exception {
        new FileInputStream(descriptor).close();
    }

    /**
     * The peer will send no more. By default our side is ended too, when all is written.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onEnd(Connection connection) throws Exception {
        connection.end();
    }

    /**
     * All that was queued is written, after a write that answered false, or was refused with ESOCKREF_LIMIT.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onDrain(Connection connection) throws Exception {
    }

    /**
     * No byte came or went for as long as {@link Connection#setTimeout} said. The connection goes on, and the time
     * begins anew.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onTimeout(Connection connection) throws Exception {
    }

    /**
     * The connection failed; onClose follows.
     *
     * @param connection the connection
     * @param problem what happened
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onError(Connection connection, SockrefException problem) throws Exception {
    }

    /**
     * The connection is over.
     *
     * @param connection the connection
     * @param hadError whether by an error
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onClose(Connection connection, boolean hadError) throws Exception {
    }

    /**
     * A connection came beyond the limit and was closed, as {@link ConnectionOptions.Builder#dropExcess} said.
     *
     * @param local our end
     * @param remote the peer's end; null where it has no name, as most clients of Unix sockets
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onDrop(SocketAddress local, SocketAddress remote) throws Exception {
    }

    /**
     * The service, or the connection that was made by connect, is over: nothing of it comes any more.
     *
     * @throws Exception anything; it is reported
     */
    default void onStop() throws Exception {
    }
}
