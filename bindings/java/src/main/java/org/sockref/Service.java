package org.sockref;

/** Handlers as C calls them, on the loop's thread. Nothing is thrown out of here. */
final class Service {
    /** One handler's call. */
    private interface Call {
        void run() throws Exception;
    }

    private final Handlers handlers;
    private final EventLoop loop;

    Service(Handlers handlers, EventLoop loop) {
        this.handlers = handlers;
        this.loop = loop;
    }

    private static void call(Call call) {
        try {
            call.run();
        } catch (Throwable t) {
            EventLoop.report(t);
        }
    }

    Connection connection(long pointer) {
        return new Connection(pointer, loop);
    }

    void open(Connection connection) {
        call(() -> handlers.onConnection(connection));
    }

    void data(Connection connection, byte[] data) {
        call(() -> handlers.onData(connection, data));
    }

    void end(Connection connection) {
        call(() -> handlers.onEnd(connection));
    }

    void drain(Connection connection) {
        call(() -> handlers.onDrain(connection));
    }

    void error(Connection connection, SockrefException problem) {
        call(() -> handlers.onError(connection, problem));
    }

    void close(Connection connection, boolean hadError) {
        call(() -> handlers.onClose(connection, hadError));
        connection.closed();
    }

    void stop() {
        call(handlers::onStop);
    }
}
