import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Method;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.sockref.Connection;
import org.sockref.Handlers;
import org.sockref.Options;
import org.sockref.SocketReference;
import org.sockref.SockrefChannel;
import org.sockref.SockrefServerChannel;

/**
 * Echo servers of one VM: Echo KIND PATH.
 *
 * nio, handlers: one thread and one buffer for all; nio_own: one thread, a large buffer for each connection;
 * nio_threads, channels: a thread for each connection; nio_virtual, channels_virtual: a virtual one; channels_async:
 * futures that are completed where the socket is read, with a small buffer for each, so that large messages take two
 * reads; channels_async_own: with a large one, as nio_own.
 */
public class Echo {
    private static final int SIZE = 65536;
    /** Where each connection has a buffer. */
    private static final int OWN_SIZE = 16384;
    /** Where each has one that waits, and a large one takes the rest. */
    private static final int SMALL_SIZE = 2048;
    /** Of the futures, which are completed on one thread. */
    private static final ArrayDeque<ByteBuffer> LARGE = new ArrayDeque<>();

    public static void main(String[] arguments) throws Exception {
        String path = arguments[1];
        switch (arguments[0]) {
            case "nio" -> select(path, Echo::turn);
            case "nio_own" -> select(path, Echo::turnOwn);
            case "handlers" -> handlers(path);
            case "nio_threads" -> nio(path, Echo::startThread);
            case "nio_virtual" -> nio(path, Echo::startVirtual);
            case "channels" -> channels(path, Echo::startThread);
            case "channels_virtual" -> channels(path, Echo::startVirtual);
            case "channels_async" -> async(path, SMALL_SIZE);
            case "channels_async_own" -> async(path, SIZE);
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private interface Starter {
        void start(Runnable body);
    }

    private static void startThread(Runnable body) {
        new Thread(null, body, "connection", 128 * 1024).start();
    }

    /** Thread.startVirtualThread(), which this is compiled without. */
    private static void startVirtual(Runnable body) {
        try {
            START_VIRTUAL.invoke(null, body);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static final Method START_VIRTUAL = findStartVirtual();

    private static Method findStartVirtual() {
        try {
            return Thread.class.getMethod("startVirtualThread", Runnable.class);
        } catch (ReflectiveOperationException none) {
            return null;
        }
    }

    private static ServerSocketChannel bind(String path) throws IOException {
        return ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(path), 4096);
    }

    private static void nio(String path, Starter starter) throws IOException {
        ServerSocketChannel server = bind(path);
        while (true) {
            SocketChannel peer = server.accept();
            starter.start(() -> echo(peer));
        }
    }

    private static void channels(String path, Starter starter) throws IOException {
        SockrefServerChannel server = SockrefServerChannel.listen(path);
        while (true) {
            SockrefChannel peer = server.accept();
            starter.start(() -> echo(peer));
        }
    }

    private static void echo(ByteChannel peer) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(OWN_SIZE);
        try (peer) {
            while (peer.read(buffer) >= 0) {
                buffer.flip();
                while (buffer.hasRemaining()) {
                    peer.write(buffer);
                }
                buffer.clear();
            }
        } catch (IOException gone) {
            // As when it has ended.
        }
    }

    private static void async(String path, int size) throws Exception {
        SockrefServerChannel server = SockrefServerChannel.listen(path,
                Options.builder().executor(Runnable::run).build());
        accept(server, size);
        new CountDownLatch(1).await();
    }

    /** A loop over what is complete at once, so that the stack does not grow; the rest goes on from its future. */
    private static void accept(SockrefServerChannel server, int size) {
        CompletableFuture<SockrefChannel> next = server.acceptAsync();
        while (next.isDone()) {
            read(next.join(), ByteBuffer.allocateDirect(size));
            next = server.acceptAsync();
        }
        next.thenAccept(peer -> {
            read(peer, ByteBuffer.allocateDirect(size));
            accept(server, size);
        });
    }

    /** As accept(). */
    private static void read(SockrefChannel peer, ByteBuffer own) {
        CompletableFuture<Integer> read = peer.readAsync(own.clear());
        while (read.isDone()) {
            if (!answer(peer, own, read)) {
                return;
            }
            read = peer.readAsync(own.clear());
        }
        CompletableFuture<Integer> pending = read;
        pending.whenComplete((count, problem) -> {
            if (answer(peer, own, pending)) {
                read(peer, own);
            }
        });
    }

    /** Send back what was read: whether that is done, and the peer goes on. */
    private static boolean answer(SockrefChannel peer, ByteBuffer own, CompletableFuture<Integer> read) {
        if (read.isCompletedExceptionally() || read.join() < 0) {
            close(peer);
            return false;
        }
        ByteBuffer data = own.hasRemaining() || own.capacity() == SIZE ? own : more(peer, own);
        CompletableFuture<Integer> write = peer.writeAsync(data.flip());
        if (write.isDone() && !write.isCompletedExceptionally()) {
            give(data, own);
            return true;
        }
        write.whenComplete((count, problem) -> {
            if (problem == null) {
                give(data, own);
                read(peer, own);
            } else {
                close(peer);
            }
        });
        return false;
    }

    /** What a connection's own buffer is too small for, in one that is shared by all while nothing has to wait. */
    private static ByteBuffer more(SockrefChannel peer, ByteBuffer own) {
        ByteBuffer large = LARGE.isEmpty() ? ByteBuffer.allocateDirect(SIZE + SMALL_SIZE) : LARGE.pop();
        CompletableFuture<Integer> rest = peer.readAsync(large.clear().put(own.flip()));
        rest.cancel(false);
        return large;
    }

    private static void give(ByteBuffer data, ByteBuffer own) {
        if (data != own) {
            LARGE.push(data);
        }
    }

    private static void close(SockrefChannel peer) {
        try {
            peer.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void handlers(String path) throws Exception {
        SocketReference reference = SocketReference.listen(path);
        reference.serve(new Handlers() {
            @Override
            public void onData(Connection peer, ByteBuffer data) throws Exception {
                peer.write(data);
            }
        });
        new CountDownLatch(1).await();
        reference.close();
    }

    private interface Turn {
        void run(SelectionKey key, SocketChannel peer, ByteBuffer shared) throws IOException;
    }

    private static void select(String path, Turn turn) throws IOException {
        Selector selector = Selector.open();
        ServerSocketChannel server = bind(path);
        ByteBuffer buffer = ByteBuffer.allocateDirect(SIZE);
        server.configureBlocking(false);
        server.register(selector, SelectionKey.OP_ACCEPT);
        while (true) {
            selector.select(key -> {
                try {
                    if (key.isAcceptable()) {
                        acceptAll(server, selector);
                    } else {
                        turn.run(key, (SocketChannel) key.channel(), buffer);
                    }
                } catch (IOException gone) {
                    close(key);
                }
            });
        }
    }

    private static void acceptAll(ServerSocketChannel server, Selector selector) throws IOException {
        for (SocketChannel peer = server.accept(); peer != null; peer = server.accept()) {
            peer.configureBlocking(false);
            peer.register(selector, SelectionKey.OP_READ);
        }
    }

    /** One buffer for all; what a peer does not take is kept with its key. */
    private static void turn(SelectionKey key, SocketChannel peer, ByteBuffer shared) throws IOException {
        ByteBuffer buffer = shared.clear();
        ByteBuffer kept = (ByteBuffer) key.attachment();
        if (kept != null) {
            peer.write(kept);
            if (!kept.hasRemaining()) {
                key.attach(null);
                key.interestOps(SelectionKey.OP_READ);
            }
        } else if (peer.read(buffer) < 0) {
            close(key);
        } else {
            peer.write(buffer.flip());
            if (buffer.hasRemaining()) {
                key.attach(ByteBuffer.allocateDirect(buffer.remaining()).put(buffer).flip());
                key.interestOps(SelectionKey.OP_WRITE);
            }
        }
    }

    /** Each has its own, kept with its key. */
    private static void turnOwn(SelectionKey key, SocketChannel peer, ByteBuffer shared) throws IOException {
        ByteBuffer own = (ByteBuffer) key.attachment();
        if (own == null) {
            own = ByteBuffer.allocateDirect(SIZE);
            key.attach(own);
        }
        boolean isLeft = key.interestOps() == SelectionKey.OP_WRITE;
        if (!isLeft && peer.read(own) < 0) {
            close(key);
            return;
        }
        peer.write(isLeft ? own : own.flip());
        if (own.hasRemaining() != isLeft) {
            key.interestOps(isLeft ? SelectionKey.OP_READ : SelectionKey.OP_WRITE);
        }
        if (!own.hasRemaining()) {
            own.clear();
        }
    }

    private static void close(SelectionKey key) {
        key.cancel();
        try {
            key.channel().close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
