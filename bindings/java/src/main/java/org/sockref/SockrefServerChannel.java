package org.sockref;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.net.StandardSocketOptions;
import java.nio.channels.AcceptPendingException;
import java.nio.channels.AlreadyBoundException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.NetworkChannel;
import java.nio.channels.spi.AbstractInterruptibleChannel;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;

/**
 * A listener whose connections are accepted one by one. Its life is a reference: while the channel is open the name
 * is, and with the last reference, when that is this one, the socket's file goes before {@code close} returns.
 *
 * <p>{@code accept} waits as {@link java.nio.channels.ServerSocketChannel} does in blocking mode: an interrupt closes
 * the channel, and so may another thread. {@link #acceptAsync} does not wait. Accepted connections are open until they
 * are closed, also after this channel is.
 *
 * <p>The connection is taken from the kernel's queue on the thread that accepts, by one system call; no thread and no
 * queue of the library's is between. Do not serve the same name by handlers as well: each would get some of the
 * connections. Several channels may share a name so.
 *
 * <p>Where another registry or process listens, the name is joined, and {@code accept} waits until that one's end makes
 * this one the owner. When the name is revoked, or its owner is gone, it fails with ESOCKREF_CLOSED.
 *
 * <p>A channel that was dropped is closed when the collector finds it.
 */
public final class SockrefServerChannel extends AbstractInterruptibleChannel implements NetworkChannel {
    private final SocketReference reference;
    /** A number of our own, which follows the name's socket; it leads to nothing that could be accepted before. */
    private final Descriptor socket;
    /** Wakes who waits in poll(): an eventfd. */
    private final int bell;
    private final CountDownLatch freed;
    private final Accepted accepted;
    private final Side input;
    /** Of a name that is a path; null of TCP. */
    private final SocketAddress unix;
    private volatile boolean isBound;
    private volatile boolean dropsExcess;
    private volatile long dropped;

    /** Takes everything, unless it throws: there may be no memory. */
    private SockrefServerChannel(SocketReference reference, SocketAddress unix, int own, int bell, Options options) {
        this.reference = reference;
        this.unix = unix;
        this.bell = bell;
        accepted = new Accepted(this, options.maxConnections());
        CountDownLatch latch = new CountDownLatch(1);
        freed = latch;
        socket = new Descriptor(own, () -> {
            Sockets.close(bell);
            latch.countDown();
        });
        input = new Side(socket, Readiness.INPUT,
                options.executor() == null ? Background.defaultExecutor() : options.executor());
        socket.setOwner(this);
    }

    /** Takes the reference, also when it throws. */
    private static SockrefServerChannel make(SocketReference reference, Options options) throws SockrefException {
        int bell = -1;
        int own = -1;
        SockrefServerChannel channel;
        try {
            bell = SockrefException.checked(Sockets.bellNew(), "eventfd");
            own = SockrefException.checked(Sockets.bellNew(), "eventfd");
            channel = new SockrefServerChannel(reference, unixAddress(reference), own, bell, options);
        } catch (Throwable t) {
            Sockets.close(own);
            Sockets.close(bell);
            reference.close();
            throw t;
        }
        try {
            reference.setFollower(channel::follow);
            channel.follow();
            return channel;
        } catch (Throwable t) {
            channel.implCloseChannel();
            throw t;
        }
    }

    /**
     * Listen on a name: see {@link SocketReference#listen(String)}.
     *
     * @param name a path, '@' and an abstract name, or tcp:HOST:PORT
     * @return the channel
     * @throws SockrefException as {@link SocketReference#listen(String)}
     */
    public static SockrefServerChannel listen(String name) throws SockrefException {
        return listen(name, Options.NONE);
    }

    /**
     * Listen on a name: see {@link SocketReference#listen(String, Options)}.
     *
     * @param name a path, '@' and an abstract name, or tcp:HOST:PORT
     * @param options options of the listener; maxConnections is this channel's, and executor that of its futures and
     *     of its connections'
     * @return the channel
     * @throws SockrefException as {@link SocketReference#listen(String)}
     */
    public static SockrefServerChannel listen(String name, Options options) throws SockrefException {
        return make(SocketReference.listen(name, options), options);
    }

    /**
     * Listen on a path: see {@link SocketReference#listen(Path)}.
     *
     * @param path the path
     * @return the channel
     * @throws SockrefException as {@link SocketReference#listen(Path)}
     */
    public static SockrefServerChannel listen(Path path) throws SockrefException {
        return listen(path, Options.NONE);
    }

    /**
     * Listen on a path: see {@link SocketReference#listen(Path, Options)}.
     *
     * @param path the path
     * @param options as for {@link #listen(String, Options)}
     * @return the channel
     * @throws SockrefException as {@link SocketReference#listen(Path)}
     */
    public static SockrefServerChannel listen(Path path, Options options) throws SockrefException {
        return make(SocketReference.listen(path, options), options);
    }

    /**
     * Listen on the default name: see {@link SocketReference#listen(Options)}.
     *
     * @param options as for {@link #listen(String, Options)}
     * @return the channel
     * @throws SockrefException as {@link SocketReference#listen(Options)}
     */
    public static SockrefServerChannel listen(Options options) throws SockrefException {
        return make(SocketReference.listen(options), options);
    }

    /**
     * Accept the connections of a name that is referred to already. The channel counts a reference of its own.
     *
     * @param reference the reference, which stays the caller's
     * @return the channel
     * @throws SockrefException ESOCKREF_CLOSED if it is closed, or its name was revoked; ESOCKREF_LIMIT
     */
    public static SockrefServerChannel of(SocketReference reference) throws SockrefException {
        return make(Objects.requireNonNull(reference, "reference").dup(), Options.NONE);
    }

    private static SocketAddress unixAddress(SocketReference reference) {
        return reference.path().startsWith("tcp:") ? null : Addresses.unix(reference.pathBytes());
    }

    /** Something happened to the name: have our number lead to its socket, if it is here. On any thread. */
    private void follow() {
        socket.replace(fd -> isBound = reference.follow(fd) == 0);
        lookAgain();
    }

    /** Have whoever waits for a connection try anew. */
    void lookAgain() {
        int fd = socket.enter();
        if (fd != 0) {
            Sockets.ring(bell);
            socket.exit(fd);
            socket.wake();
        }
    }

    /** One try; null where there is nothing to accept, or no room for it. */
    SockrefChannel tryAccept(int fd) throws IOException {
        while (true) {
            boolean isFull = accepted.isFull();
            if (!isBound || isFull && !dropsExcess) {
                requireActive();
                return null;
            }
            int taken = Sockets.accept(fd);
            if (taken == Sockets.EAGAIN) {
                requireActive();
                return null;
            }
            if (taken == Sockets.EINVAL) {
                throw SockrefException.ofCall(taken, "accept4", "the name was started with bindOnly; start it without: ");
            }
            SockrefException.checked(taken, "accept4");
            if (!isFull) {
                return connection(taken);
            }
            Sockets.close(taken);
            dropped++;
        }
    }

    private void requireActive() throws SockrefException {
        if (isOpen() && !reference.isActive()) {
            throw SockrefException.of(SockrefException.ECLOSED, reference.path(),
                    "the name was revoked, or its owner is gone; listen anew");
        }
    }

    private SockrefChannel connection(int fd) {
        accepted.add();
        try {
            return new SockrefChannel(fd, input.executor, unix, null, accepted::remove);
        } catch (Throwable t) {
            Sockets.close(fd);
            accepted.remove();
            throw t;
        }
    }

    /**
     * Wait for a connection.
     *
     * @return the connection
     * @throws SockrefException ESOCKREF_CLOSED if the name was revoked; EINVAL if it was started with bindOnly; EMFILE, ...
     * @throws IOException as the class says
     */
    public SockrefChannel accept() throws IOException {
        input.turn.acquireUninterruptibly();
        SockrefChannel connection = null;
        try {
            requireOpen();
            try {
                begin();
                connection = waitForOne();
            } finally {
                end(connection != null);
            }
            return connection;
        } catch (Throwable t) {
            if (connection != null) {
                connection.close();
            }
            throw t;
        } finally {
            input.turn.release();
        }
    }

    /**
     * Until there is one, or the channel is closed. A virtual thread is parked outside of what close waits for: who
     * closes may be on one as well, and hold what would have to carry this one out.
     */
    private SockrefChannel waitForOne() throws IOException {
        boolean isVirtual = VirtualThreads.isCurrent();
        for (int fd = socket.enter(); fd != 0; fd = socket.enter()) {
            try {
                SockrefChannel connection = tryAccept(fd);
                if (connection != null) {
                    return connection;
                }
                if (isVirtual) {
                    socket.arm(Readiness.INPUT);
                } else {
                    boolean isWanted = isBound && (dropsExcess || !accepted.isFull());
                    Sockets.pollBell(isWanted ? fd : -1, bell, -1);
                }
            } finally {
                socket.exit(fd);
            }
            if (isVirtual) {
                socket.park(Readiness.INPUT, Readiness.NEVER);
            }
        }
        return null;
    }

    /**
     * Accept a connection, without waiting here. A connection that comes too late for its future is closed.
     *
     * @return a future of the connection; it fails with {@link AcceptPendingException} while another accept goes on
     */
    public CompletableFuture<SockrefChannel> acceptAsync() {
        try {
            requireOpen();
            if (!input.turn.tryAcquire()) {
                throw new AcceptPendingException();
            }
        } catch (Exception e) {
            return CompletableFuture.failedFuture(e);
        }
        return new AcceptOperation(input, this).begin();
    }

    private void requireOpen() throws ClosedChannelException {
        if (!isOpen()) {
            throw new ClosedChannelException();
        }
    }

    /**
     * Called once, by close() or an interrupt. Who accepts now is gone before the reference is given back: nobody holds
     * the listening socket any more then.
     */
    @Override
    protected void implCloseChannel() {
        socket.close(fd -> Sockets.ring(bell));
        boolean wasInterrupted = false;
        while (freed.getCount() > 0) {
            try {
                freed.await();
            } catch (InterruptedException e) {
                wasInterrupted = true;
            }
        }
        if (wasInterrupted) {
            Thread.currentThread().interrupt();
        }
        reference.close();
    }

    /**
     * Close, and tell the end of the last connection. The name is given back before this returns; its connections go
     * on until they are closed.
     *
     * @return a future that is completed when none of the accepted connections is open
     * @throws IOException never
     */
    public CompletableFuture<Void> shutdown() throws IOException {
        close();
        CompletableFuture<Void> told = new CompletableFuture<>();
        accepted.end().thenRun(() -> Background.complete(input.executor, () -> told.complete(null)));
        return told;
    }

    /**
     * Tell the name, as {@link SocketReference#path}: for TCP with the port that the system chose.
     *
     * @return the name, also after close
     */
    public String path() {
        return reference.path();
    }

    /**
     * Lend the reference that the channel lives by, to ask it, or to be told what happens to the name.
     *
     * @return the reference; it is closed with the channel
     */
    public SocketReference reference() {
        return reference;
    }

    /**
     * Count the open connections that were accepted here.
     *
     * @return the number
     */
    public long connectionCount() {
        return accepted.count();
    }

    /**
     * Change how many connections may be open at once; {@link Options.Builder#maxConnections} is what it begins with.
     * Those that are open stay.
     *
     * @param most the number; 0: no limit
     * @param drop what becomes of others: true: they are closed; false: they wait in the kernel's queue
     * @return this
     */
    public SockrefServerChannel setMaxConnections(long most, boolean drop) {
        Numbers.notNegative(most, "most");
        dropsExcess = drop;
        accepted.setMost(most);
        lookAgain();
        return this;
    }

    /**
     * Count the connections that were closed because there were too many.
     *
     * @return the number
     */
    public long droppedConnections() {
        return dropped;
    }

    /**
     * Tell the address that is listened on.
     *
     * @return a UnixDomainSocketAddress, with '@' and the name of an abstract one; or an InetSocketAddress
     * @throws IOException if the channel is closed
     */
    @Override
    public SocketAddress getLocalAddress() throws IOException {
        return socket.use(fd -> {
            byte[] told = unix == null ? Sockets.address(fd, false) : null;
            return told == null ? unix : (InetSocketAddress) Addresses.decode(told);
        });
    }

    /**
     * Refuse: the channel is bound from its beginning.
     *
     * @param local anything
     * @return never
     * @throws AlreadyBoundException if the channel is open
     * @throws ClosedChannelException if it is not
     */
    @Override
    public SockrefServerChannel bind(SocketAddress local) throws ClosedChannelException {
        requireOpen();
        throw new AlreadyBoundException();
    }

    /**
     * Set an option of the listening socket, which its connections begin with.
     *
     * @param name SO_RCVBUF
     * @param value its value
     * @return this
     * @throws UnsupportedOperationException if it is another one
     * @throws IOException if the channel is closed, or the system refused
     */
    @Override
    public <T> SockrefServerChannel setOption(SocketOption<T> name, T value) throws IOException {
        SocketOptions.require(supportedOptions(), name);
        return socket.use(fd -> {
            SocketOptions.set(fd, name, value);
            return this;
        });
    }

    /**
     * Tell an option of the listening socket.
     *
     * @param name as for {@link #setOption}
     * @return its value
     * @throws UnsupportedOperationException if it is another one
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
     * @return SO_RCVBUF
     */
    @Override
    public Set<SocketOption<?>> supportedOptions() {
        return Set.of(StandardSocketOptions.SO_RCVBUF);
    }

    /**
     * Describe the channel, for people.
     *
     * @return its name, and whether it is open
     */
    @Override
    public String toString() {
        return "SockrefServerChannel[" + path() + (isOpen() ? "]" : ", closed]");
    }
}
