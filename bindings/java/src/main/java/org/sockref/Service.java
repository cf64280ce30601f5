package org.sockref;

import java.io.FileDescriptor;

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
        } finally {
            EventLoop.forgetInterrupt();
        }
    }

    Connection connection(long pointer) {
        return new Connection(pointer, loop);
    }

    void open(Connection connection) {
        call(() -> handlers.onConnection(connection));
    }

    void ready(Connection connection) {
        call(() -> handlers.onReady(connection));
    }

    void data(Connection connection, int length) {
        try {
            handlers.onData(connection, loop.received(length));
        } catch (Throwable t) {
            EventLoop.report(t);
        } finally {
            EventLoop.forgetInterrupt();
        }
    }

    void descriptor(Connection connection, FileDescriptor descriptor) {
        call(() -> handlers.onDescriptor(connection, descriptor));
    }

    void end(Connection connection) {
        call(() -> handlers.onEnd(connection));
    }

    void drain(Connection connection) {
        call(() -> handlers.onDrain(connection));
    }

    void timeout(Connection connection) {
        call(() -> handlers.onTimeout(connection));
    }

    void error(Connection connection, SockrefException problem) {
        call(() -> handlers.onError(connection, problem));
    }

    void close(Connection connection, boolean hadError) {
        try {
            call(() -> handlers.onClose(connection, hadError));
        } finally {
            connection.closed(); // also where there is no memory for the call: C frees it now
        }
    }

    /** Of a connection that C does not know. */
    void refuse(Connection connection, SockrefException problem) {
        error(connection, problem);
        close(connection, true);
        stop();
    }

    void drop(byte[] local, byte[] remote) {
        call(() -> handlers.onDrop(Addresses.decode(local), Addresses.decode(remote)));
    }

    void stop() {
        call(handlers::onStop);
    }
}
