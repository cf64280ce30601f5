package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.ConnectException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Names that are only bound, and connections from them. */
class BindOnlyTest extends ChannelScene {
    private static final String ANY_PORT = "tcp:127.0.0.1:0";
    private static final Options BIND_ONLY = Options.builder().bindOnly(true).build();

    /** What becomes of a connection. */
    private static final class Ours implements Handlers {
        final CompletableFuture<Void> ready = new CompletableFuture<>();
        final CompletableFuture<Void> stopped = new CompletableFuture<>();
        final BlockingQueue<String> problems = new LinkedBlockingQueue<>();

        @Override
        public void onReady(Connection connection) {
            ready.complete(null);
        }

        @Override
        public void onError(Connection connection, SockrefException problem) {
            problems.add(problem.code());
        }

        @Override
        public void onStop() {
            stopped.complete(null);
        }
    }

    private static ConnectOptions from(SocketReference reference) {
        return ConnectOptions.builder().from(reference).build();
    }

    private static Connection connect(String name, SocketReference from, Handlers handlers) throws Exception {
        return Sockref.connect(name, from(from), ConnectionOptions.NONE, handlers);
    }

    private static void destroy(Connection connection, Ours ours) throws Exception {
        on(connection, c -> {
            c.destroy();
            return null;
        });
        get(ours.stopped, "the end");
    }

    /** A connect with handlers that fails: why. */
    private static String failure(String name, SocketReference from) throws Exception {
        Ours ours = new Ours();
        connect(name, from, ours);
        get(ours.stopped, "the end");
        return ours.problems.remove();
    }

    @Test
    void l68ItListensWhenItIsServed() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"), BIND_ONLY)) {
            assertTrue(isSocket(path("s")) && reference.isOwner());
            assertThrows(ConnectException.class, () -> dial(path("s")));
            reference.serveEcho();
            try (SocketChannel peer = dial(path("s"))) {
                send(peer, random(10));
                assertArrayEquals(random(10), receive(peer, 10));
            }
        }
        assertFalse(exists(path("s")));
    }

    @Test
    void whoeverAcceptsIsToldWhatToDo() throws Exception {
        try (SocketReference bound = SocketReference.listen(path("s"), BIND_ONLY);
                SockrefServerChannel server = SockrefServerChannel.of(bound)) {
            SockrefException problem = assertThrows(SockrefException.class, server::accept);
            assertEquals("EINVAL", problem.code());
            assertTrue(problem.getMessage().contains("bindOnly"), problem.getMessage());
            refused("EINVAL", server.acceptAsync());
        }
    }

    @Test
    void handlersFromAPort() throws Exception {
        BlockingQueue<SocketAddress> seen = new LinkedBlockingQueue<>();
        Ours ours = new Ours();
        try (SocketReference server = SocketReference.listen(ANY_PORT);
                SocketReference bound = SocketReference.listen(ANY_PORT, BIND_ONLY)) {
            server.serve(new Handlers() {
                @Override
                public void onConnection(Connection peer) throws Exception {
                    seen.add(peer.info().remoteAddress());
                }
            });
            SocketAddress address = bound.localAddress();
            Connection connection = connect(server.path(), bound, ours);
            get(ours.ready, "the connect");
            assertEquals(address, on(connection, c -> c.info().localAddress()));
            assertEquals(address, seen.poll(LONG.toSeconds(), TimeUnit.SECONDS));
            assertEquals(2, bound.referenceCount());
            destroy(connection, ours);
            assertEquals(1, bound.referenceCount());
        }
    }

    @Test
    void handlersFromAPathThatIsClosedAtOnce() throws Exception {
        Ours ours = new Ours();
        try (ServerSocketChannel server = foreign(path("foreign"))) {
            Connection connection;
            try (SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY)) {
                connection = connect(path("foreign").toString(), bound, ours);
            }
            try (SocketChannel peer = server.accept()) {
                get(ours.ready, "the connect");
                assertEquals(UnixDomainSocketAddress.of(path("own")), peer.getRemoteAddress());
                assertTrue(isSocket(path("own")) && Sockref.isSocketActive(path("own")));
                destroy(connection, ours);
                assertFalse(exists(path("own")) || Sockref.isSocketActive(path("own")));
            }
        }
    }

    @Test
    void aChannelFromAPort() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(ANY_PORT);
                SocketReference bound = SocketReference.listen(ANY_PORT, BIND_ONLY)) {
            SocketAddress address = bound.localAddress();
            try (SockrefChannel client = SockrefChannel.connect(server.path(), from(bound));
                    SockrefChannel accepted = server.accept()) {
                assertEquals(address, client.getLocalAddress());
                assertEquals(address, accepted.getRemoteAddress());
                assertEquals(2, bound.referenceCount());
                client.write(ByteBuffer.wrap(random(99)));
                assertArrayEquals(random(99), receive(accepted, 99));
            }
            assertEquals(1, bound.referenceCount());
        }
    }

    /** Whoever still holds the name. */
    @Test
    void thePeerSeesTheEndOfAChannel() throws Exception {
        try (ServerSocketChannel server = foreign(path("foreign"));
                SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY)) {
            SockrefChannel client = SockrefChannel.connect(path("foreign").toString(), from(bound));
            try (SocketChannel peer = server.accept()) {
                client.close();
                assertEquals(0, receive(peer, 1).length);
                assertTrue(isSocket(path("own")));
            }
        }
    }

    /** The file is there as long as the channel, and is gone when close() returns. */
    @Test
    void l68AChannelFromAPathThatIsClosedAtOnce() throws Exception {
        try (ServerSocketChannel server = foreign(path("foreign"))) {
            for (int i = 0; i < 10; i++) {
                CompletableFuture<SockrefChannel> connect;
                try (SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY)) {
                    connect = SockrefChannel.connectAsync(path("foreign").toString(), from(bound));
                }
                try (SockrefChannel client = get(connect, "the connect"); SocketChannel peer = server.accept()) {
                    assertEquals(UnixDomainSocketAddress.of(path("own")), client.getLocalAddress());
                    assertEquals(UnixDomainSocketAddress.of(path("own")), peer.getRemoteAddress());
                    assertTrue(isSocket(path("own")));
                    client.close();
                    assertFalse(exists(path("own")));
                }
            }
        }
    }

    /** What references are left at the moment when the future tells, once the channel is closed. */
    private long leftBy(String name, SocketReference from) throws Exception {
        ConnectOptions options = ConnectOptions.builder().from(from).executor(Runnable::run).build();
        CountDownLatch attached = new CountDownLatch(1);
        EventLoop.get().execute(() -> assertDoesNotThrow(() -> attached.await()));
        CompletableFuture<Long> left = SockrefChannel.connectAsync(name, options).handle((channel, problem) -> {
            if (channel != null) {
                assertDoesNotThrow(channel::close);
            }
            return from.referenceCount();
        });
        attached.countDown();
        return get(left, "the connect");
    }

    /** The next one may begin as soon as the future has told. */
    @Test
    void aFutureTellsWhenTheNameIsTheChannelsAlone() throws Exception {
        try (ServerSocketChannel server = foreign(path("foreign"))) {
            for (Path to : List.of(path("none"), path("foreign"))) {
                try (SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY)) {
                    assertEquals(1, leftBy(to.toString(), bound));
                }
                assertFalse(exists(path("own")));
            }
        }
    }

    @Test
    void whoeverCancelsLetsGoOfTheName() throws Exception {
        try (SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY);
                ServerSocketChannel server = foreign(path("foreign"))) {
            CompletableFuture<SockrefChannel> connect = SockrefChannel.connectAsync(path("foreign").toString(),
                    from(bound));
            if (!connect.cancel(false)) {
                connect.get().close();
            }
            await("nothing but ours", () -> bound.referenceCount() == 1);
        }
    }

    @Test
    void aChannelThatWasDroppedLetsGoOfTheName() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            drop(server.path());
            awaitCollected("the file is gone", () -> !exists(path("own")));
            assertFalse(Sockref.isSocketActive(path("own")));
            server.accept().close();
        }
    }

    private void drop(String name) throws Exception {
        try (SocketReference bound = SocketReference.listen(path("own"), BIND_ONLY)) {
            assertTrue(SockrefChannel.connect(name, from(bound)).isOpen());
        }
        assertTrue(isSocket(path("own")));
    }

    @Test
    void whatIsRefused() throws Exception {
        Ours ours = new Ours();
        String name = path("s").toString();
        ConnectOptions closed;
        try (SocketReference listener = SocketReference.listen(path("s"));
                SocketReference bound = SocketReference.listen(ANY_PORT, BIND_ONLY)) {
            listener.serveEcho();
            closed = from(bound);
            ConnectOptions both = ConnectOptions.builder().from(bound)
                    .localAddress(new InetSocketAddress("127.0.0.1", 0)).build();
            assertEquals("EINVAL", failure(name, listener));
            refused("EINVAL", () -> SockrefChannel.connect(name, from(listener)));
            refused("EINVAL", SockrefChannel.connectAsync(name, both));
            assertEquals(1, bound.referenceCount());
            assertEquals(1, listener.referenceCount());
            try (SockrefServerChannel server = SockrefServerChannel.listen(ANY_PORT)) {
                Connection connection = connect(server.path(), bound, ours);
                get(ours.ready, "the connect");
                refused("ESOCKREF_BUSY", () -> SockrefChannel.connect(name, from(bound)));
                assertEquals("ESOCKREF_BUSY", failure(name, bound));
                refused("ESOCKREF_BUSY", () -> bound.serveEcho());
                destroy(connection, ours);
                server.accept().close();
            }
            assertEquals("ESOCKREF_BUSY", failure(name, bound));
        }
        refused("ESOCKREF_CLOSED", () -> SockrefChannel.connect(name, closed));
        refused("ESOCKREF_CLOSED", () -> Sockref.connect(name, closed, ConnectionOptions.NONE, ours));
    }

    @Test
    void theGuardRemovesWhatIsBound() throws Exception {
        Child child = Child.startInTree(List.of(), Map.of(), Programs.class, "share", path("own"), "bound");
        try {
            child.line("ready");
            assertEquals("owner", child.ask("start"));
            assertEquals(List.<Path>of(path("own")), sockets());
        } finally {
            child.kill();
        }
        awaitNothing();
    }
}
