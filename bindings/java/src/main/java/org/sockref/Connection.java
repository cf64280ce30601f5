package org.sockref;

import java.io.FileDescriptor;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Objects;

/**
 * One peer of a served name, or a connection that {@link Sockref#connect} makes.
 *
 * <p>It belongs to the dispatch thread: all but isOpen and execute are called in a handler, or in a task given to
 * {@link #execute}. On any other thread they throw {@link IllegalStateException}.
 */
public final class Connection {
    private final EventLoop loop;
    /** 0 after onClose. The loop's thread alone looks at it. */
    private long pointer;
    private volatile boolean open = true;

    Connection(long pointer, EventLoop loop) {
        this.pointer = pointer;
        this.loop = loop;
    }

    /** Begin to connect, on the loop's thread; what is wrong with the name or the options is told as a failure. */
    static Connection connect(PathBytes name, ConnectOptions options, ConnectionOptions connectionOptions,
            Handlers handlers) throws SockrefException {
        EventLoop loop = EventLoop.get();
        Connection connection = new Connection(0, loop);
        Service service = new Service(handlers, loop);
        SocketReference own = options.dupFrom();
        // Who asks on the loop's thread may use it at once, and hears nothing before it has it.
        boolean isHere = loop.isCurrentThread();
        Runnable begin = () -> {
            try (own) {
                connection.pointer = SocketReference.lend(own, from -> Shim.connConnect(loop.pointer(), name.bytes(),
                        options.numbers(), options.localHost(), options.addresses(), from,
                        connectionOptions.numbers(), service, connection));
            } catch (SockrefException refused) {
                Runnable tell = () -> service.refuse(connection, refused);
                if (isHere) {
                    loop.execute(tell);
                } else {
                    tell.run();
                }
            }
        };
        if (isHere) {
            begin.run();
        } else {
            loop.execute(begin);
        }
        return connection;
    }

    /** The pointer, or an exception. */
    private long use() throws SockrefException {
        requireLoop();
        if (pointer == 0) {
            throw SockrefException.of(SockrefException.ECLOSED, null, "the connection is closed");
        }
        return pointer;
    }

    private void requireLoop() {
        if (!loop.isCurrentThread()) {
            throw new IllegalStateException("not on the dispatch thread: use Connection.execute()");
        }
    }

    void closed() {
        pointer = 0;
        open = false;
    }

    /**
     * Tell whether the connection is open; on any thread.
     *
     * @return true until onClose has returned
     */
    public boolean isOpen() {
        return open;
    }

    /**
     * Run a task on the dispatch thread, where this connection may be used; on any thread.
     *
     * @param task what to run, soon; what it throws goes to that thread's handler of uncaught exceptions
     */
    public void execute(Runnable task) {
        loop.execute(Objects.requireNonNull(task, "task"));
    }

    /**
     * Write bytes: the socket is tried first, what is left is copied and queued.
     *
     * @param data the bytes
     * @return true; or false if all is taken, but onDrain should be waited for before more is written
     * @throws SockrefException ESOCKREF_CLOSED, or ESOCKREF_LIMIT if more than maxBuffered would be queued
     */
    public boolean write(byte[] data) throws SockrefException {
        return write(Objects.requireNonNull(data, "data"), 0, data.length);
    }

    /**
     * Write a part of an array.
     *
     * @param data the array
     * @param offset where to begin
     * @param length how many bytes
     * @return as {@link #write(byte[])}
     * @throws IndexOutOfBoundsException if the array does not have them
     * @throws SockrefException as {@link #write(byte[])}
     */
    public boolean write(byte[] data, int offset, int length) throws SockrefException {
        Objects.checkFromIndexSize(offset, length, Objects.requireNonNull(data, "data").length);
        return Shim.connWrite(use(), data, offset, length) == 0;
    }

    /**
     * Write what remains in a buffer; its position moves to its limit.
     *
     * @param data the buffer
     * @return as {@link #write(byte[])}
     * @throws SockrefException as {@link #write(byte[])}
     */
    public boolean write(ByteBuffer data) throws SockrefException {
        int position = Objects.requireNonNull(data, "data").position();
        int length = Transfers.remaining(data, position);
        boolean more;
        if (data.isDirect()) {
            more = Shim.connWriteDirect(use(), Transfers.checked(data), position, length) == 0;
        } else if (data.hasArray()) {
            more = write(data.array(), data.arrayOffset() + position, length);
        } else {
            byte[] copy = new byte[data.remaining()];
            data.duplicate().get(copy);
            more = write(copy);
        }
        data.position(data.limit());
        return more;
    }

    /**
     * Pass a descriptor to the peer of a Unix socket. A duplicate goes, so that this one may be closed at once.
     *
     * @param descriptor what to pass, such as that of {@link java.io.FileInputStream#getFD}
     * @param data the bytes that it goes with, at least one; they are copied
     * @return as {@link #write(byte[])}
     * @throws SockrefException EINVAL if there is no byte, EBADF if the descriptor is not open, ESOCKREF_UNSUPPORTED if
     *     this is no Unix socket, ESOCKREF_LIMIT if 64 are queued; else as {@link #write(byte[])}
     */
    public boolean sendDescriptor(FileDescriptor descriptor, byte[] data) throws SockrefException {
        Objects.requireNonNull(descriptor, "descriptor");
        Objects.requireNonNull(data, "data");
        return Shim.connSendDescriptor(use(), descriptor, data) == 0;
    }

    /**
     * Send no more: the peer sees the end when all that is queued is written.
     *
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void end() throws SockrefException {
        Shim.connEnd(use());
    }

    /**
     * Read no more until {@link #resume}. What becomes of the peer, its end or a reset, is told after that too, unless
     * a write meets it.
     *
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void pause() throws SockrefException {
        Shim.connPause(use());
    }

    /**
     * Read again.
     *
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void resume() throws SockrefException {
        Shim.connResume(use());
    }

    /** End the connection at once; what is queued is dropped, and onClose follows. Again it does nothing. */
    public void destroy() {
        requireLoop();
        if (pointer != 0) {
            Shim.connDestroy(pointer);
        }
    }

    /**
     * End the connection when what is queued is written: our side is ended, then it is destroyed. Again it does
     * nothing.
     */
    public void destroySoon() {
        requireLoop();
        if (pointer != 0) {
            Shim.connDestroySoon(pointer);
        }
    }

    /** End the connection at once, so that a TCP peer sees a reset; else as {@link #destroy}. */
    public void reset() {
        requireLoop();
        if (pointer != 0) {
            Shim.connReset(pointer);
        }
    }

    /**
     * Write what remains in a direct buffer without copying it: what the socket does not take is sent from where it
     * lies. The buffer's position moves to its limit.
     *
     * @param data a direct buffer, whose bytes must not change, and whose arena must not be closed, until
     *     {@code onWritten} runs
     * @param onWritten runs on the dispatch thread when the bytes are free again, also when the connection has failed
     * @return as {@link #write(byte[])}
     * @throws IllegalArgumentException if the buffer is not direct
     * @throws SockrefException as {@link #write(byte[])}; then {@code onWritten} never runs
     */
    public boolean write(ByteBuffer data, Runnable onWritten) throws SockrefException {
        Objects.requireNonNull(data, "data");
        Objects.requireNonNull(onWritten, "onWritten");
        if (!data.isDirect()) {
            throw new IllegalArgumentException("the buffer is not direct");
        }
        int position = data.position();
        int length = Transfers.remaining(data, position);
        boolean more = Shim.connWriteLent(use(), Transfers.checked(data), position, length, () -> {
            try {
                onWritten.run();
            } catch (Throwable t) {
                EventLoop.report(t);
            } finally {
                EventLoop.forgetInterrupt();
            }
        }) == 0;
        data.position(data.limit());
        return more;
    }

    /**
     * Have {@link Handlers#onTimeout} called after a time without traffic.
     *
     * @param timeout the time; zero: no more
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void setTimeout(Duration timeout) throws SockrefException {
        Shim.connSetTimeout(use(), Numbers.milliseconds(timeout, "timeout"));
    }

    /**
     * Have the system probe a silent TCP peer, or not. A Unix socket needs none.
     *
     * @param on whether
     * @param delay silence before the first probe, rounded to seconds, at least one; zero: leave it
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void setKeepAlive(boolean on, Duration delay) throws SockrefException {
        Shim.connSetKeepAlive(use(), on, Numbers.milliseconds(delay, "delay"));
    }

    /**
     * Have the system send small pieces at once over TCP, or not. A Unix socket always does.
     *
     * @param on whether
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public void setNoDelay(boolean on) throws SockrefException {
        Shim.connSetNoDelay(use(), on);
    }

    /**
     * Tell all that there is to know.
     *
     * @return what it is now
     * @throws SockrefException ESOCKREF_CLOSED
     */
    public ConnectionInfo info() throws SockrefException {
        byte[][] addresses = new byte[2][];
        return ConnectionInfo.of(Shim.connInfo(use(), addresses), addresses);
    }

    /**
     * Tell who the peer of a Unix socket is.
     *
     * @return the credentials that it had when it connected, or listened
     * @throws SockrefException ESOCKREF_UNSUPPORTED if this is no Unix socket; ESOCKREF_CLOSED
     */
    public PeerCredentials peer() throws SockrefException {
        long[] told = Shim.connPeer(use());
        return new PeerCredentials(told[0], told[1], told[2]);
    }
}
