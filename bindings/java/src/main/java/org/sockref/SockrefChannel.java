package org.sockref;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.AlreadyBoundException;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.GatheringByteChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.ReadPendingException;
import java.nio.channels.ScatteringByteChannel;
import java.nio.channels.WritePendingException;
import java.nio.channels.spi.AbstractInterruptibleChannel;
import java.time.Duration;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.BooleanSupplier;

/**
 * One connection: accepted by a {@link SockrefServerChannel}, or made by {@code connect}. It is connected from its
 * beginning, and open until it is closed.
 *
 * <p><b>Blocking.</b> {@code read} waits until there is something, {@code write} until all is written. Both are those
 * of {@link java.nio.channels.SocketChannel} in blocking mode: {@link Thread#interrupt} closes the channel, and the
 * thread that waits gets {@link java.nio.channels.ClosedByInterruptException}; where another thread closes it, that is
 * {@link java.nio.channels.AsynchronousCloseException}. One thread at a time reads and one writes, the others wait for
 * their turn. The system call is made on the calling thread and waits there; on a virtual thread it does not wait, and
 * the thread parks until there is something to do.
 *
 * <p><b>Futures.</b> {@link #readAsync} and {@link #writeAsync} try at once. What would have to wait goes on when it can
 * and completes its future on the executor, by default the common pool. There is one read and one write at a time.
 * A future that is complete already runs what is attached to it on the thread that attaches it: a chain that calls itself
 * without end needs the forms that end in Async, or a loop.
 * Completing or cancelling a future ends its operation; bytes that it moved before are not put back. A try that is under
 * way then is finished first, and the next operation may be refused as one too many until it is.
 *
 * <p>Direct buffers are read into and written from where they lie; others are copied once. One whose arena is closed is
 * refused with {@link IllegalStateException}; an arena must not be closed while a call or an operation uses its buffer.
 * That of a future must be one that every thread may use.
 *
 * <p>A channel that was dropped is closed when the collector finds it.
 */
public final class SockrefChannel extends AbstractInterruptibleChannel
        implements ByteChannel, ScatteringByteChannel, GatheringByteChannel, NetworkChannel {
    private final Descriptor socket;
    private final Side input;
    private final Side output;
    /** As the one who made the channel knows them; null: as the system does. */
    private final SocketAddress local;
    private final SocketAddress remote;
    /** Of TCP, whose system knows the peer no more once both sides are ended: as {@link Addresses} reads it. */
    private final byte[] remoteTold;
    private final boolean isTcp;
    /** A read or a write was told so. */
    private volatile boolean wasReset;
    private volatile int timeoutMs;

    /** Takes the descriptor, unless it throws: there may be no memory. */
    SockrefChannel(int fd, Executor executor, SocketAddress local, SocketAddress remote, Runnable onFree) {
        this.local = local;
        this.remote = remote;
        socket = new Descriptor(fd, onFree);
        input = new Side(socket, Readiness.INPUT, executor);
        output = new Side(socket, Readiness.OUTPUT, executor);
        isTcp = local == null && remote == null;
        remoteTold = isTcp ? Sockets.address(fd, true) : null;
        socket.setOwner(this);
    }

    /**
     * Connect to a name and wait for it. An interrupt ends it, with
     * {@link java.nio.channels.ClosedByInterruptException}.
     *
     * @param name what a listener was started with: a path, '@' and an abstract name, or tcp:HOST:PORT, with an IPv6
     *     address in brackets; a host is looked up
     * @return the channel
     * @throws java.net.ConnectException if nobody listens there
     * @throws java.net.NoRouteToHostException if there is no way to the host
     * @throws java.net.UnknownHostException if there is no such host
     * @throws SockrefException ENOENT if there is no such path; ESOCKREF_BUSY inside a handler; ESOCKREF_PATH, EACCES, ...
     * @throws IOException as above
     */
    public static SockrefChannel connect(String name) throws IOException {
        return connect(name, ConnectOptions.NONE);
    }

    /**
     * Connect to a name as options say, and wait for it.
     *
     * @param name as for {@link #connect(String)}
     * @param options how
     * @return the channel
     * @throws SocketTimeoutException if it took longer than the options allow
     * @throws IOException as {@link #connect(String)}
     */
    public static SockrefChannel connect(String name, ConnectOptions options) throws IOException {
        return ConnectOperation.await(PathBytes.of(name), options);
    }

    /**
     * Connect to an address and wait for it.
     *
     * @param address a UnixDomainSocketAddress, or an InetSocketAddress, which is looked up if it is not resolved
     * @param options how
     * @return the channel
     * @throws java.nio.channels.UnsupportedAddressTypeException if it is something else
     * @throws IOException as {@link #connect(String)}
     */
    public static SockrefChannel connect(SocketAddress address, ConnectOptions options) throws IOException {
        return ConnectOperation.await(Addresses.name(address), options);
    }

    /**
     * Connect to an address and wait for it.
     *
     * @param address as for {@link #connect(SocketAddress, ConnectOptions)}
     * @return the channel
     * @throws IOException as {@link #connect(SocketAddress, ConnectOptions)}
     */
    public static SockrefChannel connect(SocketAddress address) throws IOException {
        return connect(address, ConnectOptions.NONE);
    }

    /**
     * Connect to a name, without waiting here.
     *
     * @param name as for {@link #connect(String)}
     * @return a future of the channel, which reports everything that goes wrong; cancelling it ends the attempt, and a
     *     connection that came all the same is closed
     */
    public static CompletableFuture<SockrefChannel> connectAsync(String name) {
        return connectAsync(name, ConnectOptions.NONE);
    }

    /**
     * Connect to a name as options say, without waiting here.
     *
     * @param name as for {@link #connect(String)}
     * @param options how
     * @return as for {@link #connectAsync(String)}
     */
    public static CompletableFuture<SockrefChannel> connectAsync(String name, ConnectOptions options) {
        return ConnectOperation.begin(PathBytes.of(name), options);
    }

    /**
     * Connect to an address as options say, without waiting here.
     *
     * @param address as for {@link #connect(SocketAddress, ConnectOptions)}
     * @param options how
     * @return as for {@link #connectAsync(String)}
     */
    public static CompletableFuture<SockrefChannel> connectAsync(SocketAddress address, ConnectOptions options) {
        return ConnectOperation.begin(Addresses.name(address), options);
    }

    private void requireOpen() throws ClosedChannelException {
        if (!isOpen()) {
            throw new ClosedChannelException();
        }
    }

    /** A read that waits: how many bytes, or -1 at the end; 0 where there is no room. */
    private int receive(Descriptor.Attempt attempt, boolean hasRoom) throws IOException {
        input.turn.acquireUninterruptibly();
        try {
            requireOpen();
            boolean isWanted = hasRoom && !input.isShut();
            int got = 0;
            try {
                begin();
                if (isWanted) {
                    got = socket.run(Readiness.INPUT, attempt, timeoutMs);
                }
            } finally {
                end(!isWanted || got > 0);
            }
            return hasRoom || input.isShut() ? received(got) : 0;
        } finally {
            input.turn.release();
        }
    }

    /**
     * With the turn of input: what a call of {@link Transfers} answered, and whether the next one would find nothing. The
     * system tells of a reset once, and then of an end that there was not.
     */
    private int taken(long told) {
        socket.setDrained(told >= Sockets.DRAINED);
        noteReset(told);
        return told == 0 && wasReset ? Sockets.ECONNRESET : (int) told;
    }

    /** Neither side takes back what the other one was told. */
    private void noteReset(long told) {
        if (told == Sockets.ECONNRESET) {
            wasReset = true;
        }
    }

    private int received(int got) throws SockrefException {
        input.count(SockrefException.checked(got, "recv"));
        return got > 0 ? got : -1;
    }

    /** A write that waits until nothing is left. */
    private long send(Descriptor.Attempt attempt, BooleanSupplier isLeft) throws IOException {
        output.turn.acquireUninterruptibly();
        long all = 0;
        try {
            requireOpen();
            int sent = 0;
            try {
                begin();
                requireOutput();
                while (isLeft.getAsBoolean() && sent >= 0) {
                    sent = socket.run(Readiness.OUTPUT, attempt, timeoutMs);
                    all += Math.max(sent, 0);
                }
            } catch (SocketTimeoutException e) {
                e.bytesTransferred = (int) Math.min(all, Integer.MAX_VALUE);
                throw e;
            } finally {
                end(!isLeft.getAsBoolean());
            }
            requireSent(sent);
            return all;
        } finally {
            output.count(all);
            output.turn.release();
        }
    }

    private void requireOutput() throws ClosedChannelException {
        if (output.isShut()) {
            throw new ClosedChannelException();
        }
    }

    /** What was sent; it fails with another exception where somebody has shut our output meanwhile. */
    private int requireSent(int sent) throws IOException {
        noteReset(sent);
        if (sent < 0 && output.isShut()) {
            throw new AsynchronousCloseException();
        }
        return SockrefException.checked(sent, "send");
    }

    /**
     * Read what is there, and wait if that is nothing.
     *
     * @param to where to
     * @return how many bytes; 0 if the buffer is full; -1 if the peer sends no more
     * @throws SocketTimeoutException if nothing came for as long as {@link #setTimeout} said
     * @throws SockrefException ECONNRESET, from then on by every read; ...
     * @throws IOException as the class says
     */
    @Override
    public int read(ByteBuffer to) throws IOException {
        Objects.requireNonNull(to, "to");
        requireOpen();
        requireWritable(to);
        return receive((fd, wait) -> taken(Transfers.receive(fd, to, wait)), to.hasRemaining());
    }

    private static void requireWritable(ByteBuffer buffer) {
        if (Objects.requireNonNull(buffer, "to").isReadOnly()) {
            throw new IllegalArgumentException("the buffer is read-only");
        }
    }

    int read(byte[] to, int offset, int length) throws IOException {
        return receive((fd, wait) -> taken(Sockets.receive(fd, to, offset, length, wait)), length > 0);
    }

    /**
     * Read into several buffers, by one system call.
     *
     * @param to the buffers, which are filled in turn
     * @return as {@link #read(ByteBuffer)}
     * @throws IOException as {@link #read(ByteBuffer)}
     */
    @Override
    public long read(ByteBuffer[] to) throws IOException {
        return read(Objects.requireNonNull(to, "to"), 0, to.length);
    }

    /**
     * Read into some of several buffers, by one system call.
     *
     * @param to the buffers, which are filled in turn
     * @param offset the first one
     * @param length how many of them
     * @return as {@link #read(ByteBuffer)}
     * @throws IndexOutOfBoundsException if there are not so many
     * @throws IOException as {@link #read(ByteBuffer)}
     */
    @Override
    public long read(ByteBuffer[] to, int offset, int length) throws IOException {
        Objects.checkFromIndexSize(offset, length, Objects.requireNonNull(to, "to").length);
        requireOpen();
        for (int i = offset; i < offset + length; i++) {
            requireWritable(to[i]);
        }
        return receive((fd, wait) -> taken(Transfers.receive(fd, to, offset, length, wait)),
                Transfers.hasRemaining(to, offset, length));
    }

    /**
     * Write all that remains in a buffer, and wait as long as it takes.
     *
     * @param from the bytes
     * @return how many
     * @throws ClosedChannelException also after {@link #shutdownOutput}
     * @throws SocketTimeoutException if nothing moved for as long as {@link #setTimeout} said; what was written is
     *     no longer in the buffer
     * @throws SockrefException EPIPE, ECONNRESET, ...
     * @throws IOException as the class says
     */
    @Override
    public int write(ByteBuffer from) throws IOException {
        Objects.requireNonNull(from, "from");
        return (int) send((fd, wait) -> Transfers.send(fd, from, wait), from::hasRemaining);
    }

    void write(byte[] from, int offset, int length) throws IOException {
        write(ByteBuffer.wrap(from, offset, length));
    }

    /**
     * Write all that remains in several buffers.
     *
     * @param from the buffers, in turn
     * @return how many bytes
     * @throws IOException as {@link #write(ByteBuffer)}
     */
    @Override
    public long write(ByteBuffer[] from) throws IOException {
        return write(Objects.requireNonNull(from, "from"), 0, from.length);
    }

    /**
     * Write all that remains in some of several buffers.
     *
     * @param from the buffers, in turn
     * @param offset the first one
     * @param length how many of them
     * @return how many bytes
     * @throws IndexOutOfBoundsException if there are not so many
     * @throws IOException as {@link #write(ByteBuffer)}
     */
    @Override
    public long write(ByteBuffer[] from, int offset, int length) throws IOException {
        Objects.checkFromIndexSize(offset, length, Objects.requireNonNull(from, "from").length);
        for (int i = offset; i < offset + length; i++) {
            Objects.requireNonNull(from[i], "from");
        }
        BooleanSupplier isLeft = () -> Transfers.hasRemaining(from, offset, length);
        return send((fd, wait) -> Transfers.send(fd, from, offset, length, wait), isLeft);
    }

    /**
     * Read what is there, without waiting here.
     *
     * @param to where to; not to be touched until the future is complete
     * @return a future of how many bytes, as {@link #read(ByteBuffer)}; it fails with {@link ReadPendingException}
     *     while another read goes on
     */
    public CompletableFuture<Integer> readAsync(ByteBuffer to) {
        try {
            Objects.requireNonNull(to, "to");
            requireOpen();
            requireWritable(to);
            if (!to.hasRemaining()) {
                return CompletableFuture.completedFuture(input.isShut() ? -1 : 0);
            }
            if (!input.turn.tryAcquire()) {
                throw new ReadPendingException();
            }
        } catch (Exception e) {
            return CompletableFuture.failedFuture(e);
        }
        return new ReadOperation(input, this, to).begin();
    }

    /** With the turn of input: how many bytes, -1 at the end; null where it would block. */
    Integer tryRead(int fd, ByteBuffer to) throws IOException {
        int got = input.isShut() ? 0 : taken(Transfers.receive(fd, to, false));
        return got == Sockets.EAGAIN ? null : (Integer) received(got);
    }

    /**
     * Write all that remains in a buffer, without waiting here.
     *
     * @param from the bytes; not to be touched until the future is complete
     * @return a future of how many; it fails with {@link WritePendingException} while another write goes on
     */
    public CompletableFuture<Integer> writeAsync(ByteBuffer from) {
        try {
            Objects.requireNonNull(from, "from");
            requireOpen();
            requireOutput();
            if (!output.turn.tryAcquire()) {
                throw new WritePendingException();
            }
        } catch (Exception e) {
            return CompletableFuture.failedFuture(e);
        }
        return new WriteOperation(output, this, from).begin();
    }

    /** With the turn of output: whether nothing is left. */
    boolean tryWrite(int fd, ByteBuffer from) throws IOException {
        if (output.isShut()) {
            throw new AsynchronousCloseException(); // it was not when this write began
        }
        while (from.hasRemaining()) {
            int sent = Transfers.send(fd, from, false);
            if (sent == Sockets.EAGAIN) {
                return false;
            }
            output.count(requireSent(sent));
        }
        return true;
    }

    /**
     * A stream of what the peer sends. Closing it closes the channel.
     *
     * @return a new stream
     */
    public InputStream inputStream() {
        return new ChannelStreams.Input(this);
    }

    /**
     * A stream to the peer, which keeps nothing back. Closing it closes the channel.
     *
     * @return a new stream
     */
    public OutputStream outputStream() {
        return new ChannelStreams.Output(this);
    }

    int available() throws IOException {
        int there = SockrefException.checked(socket.use(Sockets::available), "ioctl");
        return input.isShut() ? 0 : there;
    }

    /**
     * Read no more: reads answer -1, also those that wait.
     *
     * @return this
     * @throws IOException if the channel is closed
     */
    public SockrefChannel shutdownInput() throws IOException {
        return shutdown(input, true);
    }

    /**
     * Send no more: the peer sees the end, and what it sends still comes. A write that waits fails with
     * {@link AsynchronousCloseException}.
     *
     * @return this
     * @throws IOException if the channel is closed
     */
    public SockrefChannel shutdownOutput() throws IOException {
        return shutdown(output, false);
    }

    private SockrefChannel shutdown(Side side, boolean isInput) throws IOException {
        requireOpen();
        side.setShut(); // before: who is woken by it knows why
        int result = socket.use(fd -> Sockets.shutdown(fd, isInput, !isInput));
        if (result != Sockets.ENOTCONN) { // which the system says where both sides are ended already
            SockrefException.checked(result, "shutdown");
        }
        socket.wake();
        return this;
    }

    /**
     * Close at once, so that a TCP peer sees a reset; else as {@link #close}.
     *
     * @throws IOException never
     */
    public void reset() throws IOException {
        int fd = socket.enter();
        if (fd != 0) {
            Sockets.lingerNot(fd);
            socket.exit(fd);
        }
        close();
    }

    /** Called once, by close() or an interrupt: who waits in a system call is woken by the end of its direction. */
    @Override
    protected void implCloseChannel() {
        socket.close(fd -> {
            if (input.isBusy() || output.isBusy()) {
                Sockets.shutdown(fd, input.isBusy(), output.isBusy());
            }
        });
    }

    /**
     * Have reads and writes that wait fail with {@link SocketTimeoutException} when no byte moved for a time; the
     * channel goes on. Futures have {@link CompletableFuture#orTimeout}.
     *
     * @param timeout in milliseconds at least; zero, as at first: never
     * @return this
     */
    public SockrefChannel setTimeout(Duration timeout) {
        timeoutMs = Numbers.milliseconds(timeout, "timeout");
        return this;
    }

    /**
     * Have the system probe a silent TCP peer, or not.
     *
     * @param on whether
     * @param delay silence before the first probe, rounded to seconds, at least one; zero: leave it
     * @return this
     * @throws UnsupportedOperationException if this is a Unix socket
     * @throws IOException if the channel is closed, or the system refused
     */
    public SockrefChannel setKeepAlive(boolean on, Duration delay) throws IOException {
        int seconds = (int) Math.min((Numbers.milliseconds(delay, "delay") + 999L) / 1000, Short.MAX_VALUE);
        setOption(java.net.StandardSocketOptions.SO_KEEPALIVE, on);
        if (seconds > 0) {
            socket.use(fd -> {
                SocketOptions.set(fd, SocketOptions.KEEP_ALIVE_IDLE, seconds);
                return null;
            });
        }
        return this;
    }

    /**
     * Set an option.
     *
     * @param name SO_SNDBUF or SO_RCVBUF; for TCP also TCP_NODELAY and SO_KEEPALIVE
     * @param value its value
     * @return this
     * @throws UnsupportedOperationException if this channel has no such option
     * @throws IOException if the channel is closed, or the system refused
     */
    @Override
    public <T> SockrefChannel setOption(SocketOption<T> name, T value) throws IOException {
        SocketOptions.require(supportedOptions(), name);
        return socket.use(fd -> {
            SocketOptions.set(fd, name, value);
            return this;
        });
    }

    /**
     * Tell an option.
     *
     * @param name as for {@link #setOption}
     * @return its value
     * @throws UnsupportedOperationException if this channel has no such option
     * @throws IOException if the channel is closed, or the system refused
     */
    @Override
    public <T> T getOption(SocketOption<T> name) throws IOException {
        SocketOptions.require(supportedOptions(), name);
        return socket.use(fd -> SocketOptions.get(fd, name));
    }

    /**
     * Tell which options there are.
     *
     * @return those that {@link #setOption} takes
     */
    @Override
    public Set<SocketOption<?>> supportedOptions() {
        return isTcp ? SocketOptions.OF_TCP : SocketOptions.OF_UNIX;
    }

    /**
     * Refuse: a connection is bound already.
     *
     * @param local anything
     * @return never
     * @throws AlreadyBoundException if the channel is open
     * @throws ClosedChannelException if it is not
     */
    @Override
    public SockrefChannel bind(SocketAddress local) throws ClosedChannelException {
        requireOpen();
        throw new AlreadyBoundException();
    }

    /**
     * Tell our end: a UnixDomainSocketAddress, empty where the socket has no name, or an InetSocketAddress.
     *
     * @return the address; of an abstract name it is '@' and the name, with '@' for each NUL in it too
     * @throws IOException if the channel is closed
     */
    @Override
    public SocketAddress getLocalAddress() throws IOException {
        return address(local, false);
    }

    /**
     * Tell the peer's end, as {@link #getLocalAddress}.
     *
     * @return the address
     * @throws IOException if the channel is closed, or was reset before it was accepted
     */
    public SocketAddress getRemoteAddress() throws IOException {
        return address(remote, true);
    }

    private SocketAddress address(SocketAddress known, boolean isRemote) throws IOException {
        return socket.use(fd -> {
            if (known != null) {
                return known;
            }
            byte[] told = isRemote && remoteTold != null ? remoteTold : Sockets.address(fd, isRemote);
            if (told == null) {
                throw SockrefException.ofCall(Sockets.ENOTCONN, isRemote ? "getpeername" : "getsockname");
            }
            return Addresses.decode(told);
        });
    }

    /**
     * Tell who the peer of a Unix socket is.
     *
     * @return the credentials that it had when it connected, or listened
     * @throws UnsupportedOperationException if this is no Unix socket
     * @throws IOException if the channel is closed
     */
    public PeerCredentials peer() throws IOException {
        return socket.use(fd -> {
            if (isTcp) {
                throw new UnsupportedOperationException("TCP does not tell who the peer is");
            }
            long[] told = Sockets.peer(fd);
            return new PeerCredentials(told[0], told[1], told[2]);
        });
    }

    /**
     * Count the bytes that were read; also after close.
     *
     * @return the number
     */
    public long bytesRead() {
        return input.bytes();
    }

    /**
     * Count the bytes that the system took; also after close.
     *
     * @return the number
     */
    public long bytesWritten() {
        return output.bytes();
    }

    /**
     * Describe the channel, for people.
     *
     * @return its addresses, or that it is closed
     */
    @Override
    public String toString() {
        try {
            return "SockrefChannel[" + getLocalAddress() + " to " + getRemoteAddress() + "]";
        } catch (IOException e) {
            return isOpen() ? "SockrefChannel[no peer]" : "SockrefChannel[closed]";
        }
    }
}
