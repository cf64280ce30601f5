package org.sockref;

/**
 * What a served name calls: see {@link SocketReference#serve}.
 *
 * <p>All run on one thread, the library's dispatch thread, never two at a time: do not block in them. For one
 * connection the order is onConnection, onData any number of times, onEnd at most once, and last onClose, right
 * after onError if there was an error. After {@link Connection#destroy} nothing but onClose comes.
 *
 * <p>What a handler throws goes to the thread's {@link Thread.UncaughtExceptionHandler}; the service goes on.
 */
public interface Handlers {
    /**
     * A peer connected.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onConnection(Connection connection) throws Exception {
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
     * The peer will send no more. By default our side is ended too, when all is written.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onEnd(Connection connection) throws Exception {
        connection.end();
    }

    /**
     * All that was queued is written, after a write that answered false.
     *
     * @param connection the connection
     * @throws Exception anything; it is reported and does not end the service
     */
    default void onDrain(Connection connection) throws Exception {
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
     * The service is over: nothing of it comes any more.
     *
     * @throws Exception anything; it is reported
     */
    default void onStop() throws Exception {
    }
}
