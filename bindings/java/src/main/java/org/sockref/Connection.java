package org.sockref;

import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * One peer of a served name.
 *
 * <p>It belongs to the dispatch thread: write, end, pause, resume and destroy are called in a handler, or in a task
 * given to {@link #execute}. On any other thread they throw {@link IllegalStateException}.
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
        return write(data, 0, data.length);
    }

    /**
     * Write a part of an array.
     *
     * @param data the array
     * @param offset where to begin
     * @param length how many bytes
     * @return as {@link #write(byte[])}
     * @throws SockrefException as {@link #write(byte[])}
     */
    public boolean write(byte[] data, int offset, int length) throws SockrefException {
        Objects.checkFromIndexSize(offset, length, data.length);
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
        boolean more;
        if (data.isDirect()) {
            more = Shim.connWriteDirect(use(), data, data.position(), data.remaining()) == 0;
        } else if (data.hasArray()) {
            more = write(data.array(), data.arrayOffset() + data.position(), data.remaining());
        } else {
            byte[] copy = new byte[data.remaining()];
            data.duplicate().get(copy);
            more = write(copy);
        }
        data.position(data.limit());
        return more;
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
     * Read no more until {@link #resume}.
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
}
