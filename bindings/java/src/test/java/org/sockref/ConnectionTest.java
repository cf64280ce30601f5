package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Field;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Connections that call handlers: what they do beyond those of an echo, and those that connect. */
class ConnectionTest extends ChannelScene {
    /** Writes down what is called. */
    private static class Recorder implements Handlers {
        final BlockingQueue<String> events = new LinkedBlockingQueue<>();
        final AtomicReference<Connection> connection = new AtomicReference<>();

        void expect(String... expected) throws Exception {
            for (String event : expected) {
                String seen = events.poll(LONG.toSeconds(), TimeUnit.SECONDS);
                assertNotNull(seen, "no more events; expected: " + event);
                assertEquals(event, seen);
            }
        }

        @Override
        public void onConnection(Connection peer) throws Exception {
            connection.set(peer);
            events.add("connection");
        }

        @Override
        public void onReady(Connection peer) throws Exception {
            events.add("ready");
        }

        @Override
        public void onData(Connection peer, ByteBuffer data) throws Exception {
            events.add("data " + data.remaining());
        }

        @Override
        public void onEnd(Connection peer) throws Exception {
            events.add("end");
        }

        @Override
        public void onTimeout(Connection peer) throws Exception {
            events.add("timeout");
        }

        @Override
        public void onDrain(Connection peer) throws Exception {
            events.add("drain");
        }

        @Override
        public void onError(Connection peer, SockrefException problem) throws Exception {
            events.add("error " + problem.code());
        }

        @Override
        public void onClose(Connection peer, boolean hadError) throws Exception {
            events.add("close " + hadError);
        }

        @Override
        public void onDrop(SocketAddress local, SocketAddress remote) throws Exception {
            events.add("drop " + local);
        }

        @Override
        public void onStop() throws Exception {
            events.add("stop");
        }
    }

    @Test
    void l57HandlersOnBothSides() throws Exception {
        Recorder served = new Recorder() {
            @Override
            public void onData(Connection peer, ByteBuffer data) throws Exception {
                assertTrue(data.isDirect());
                super.onData(peer, data);
                peer.write(data);
                assertEquals(0, data.remaining());
            }

            @Override
            public void onEnd(Connection peer) throws Exception {
                super.onEnd(peer);
                peer.end();
            }
        };
        Recorder client = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served);
            Connection connection = Sockref.connect(reference.path(), client);
            assertEquals(true, on(connection, c -> c.write(random(256))));
            client.expect("connection", "ready", "data 256");
            served.expect("connection", "ready", "data 256");
            on(connection, c -> {
                c.end();
                return null;
            });
            served.expect("end", "close false");
            client.expect("end", "close false", "stop");
            await("it is over", () -> !connection.isOpen());
        }
        served.expect("stop");
        assertTrue(client.events.isEmpty());
        assertTrue(served.events.isEmpty());
    }

    @Test
    void l58AFailedConnectIsToldAndCloses() throws Exception {
        Recorder client = new Recorder();
        Sockref.connect(path("none").toString(), client);
        client.expect("error ENOENT", "close true", "stop");
        foreign(path("foreign")).close();
        Sockref.connect(path("foreign").toString(), client);
        client.expect("error ECONNREFUSED", "close true", "stop");
        int port;
        try (ServerSocketChannel server = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0))) {
            port = ((InetSocketAddress) server.getLocalAddress()).getPort();
        }
        Sockref.connect("tcp:127.0.0.1:" + port, client);
        client.expect("error ECONNREFUSED", "close true", "stop");
        Connection wrong = Sockref.connect("", client);
        client.expect("error ESOCKREF_PATH", "close true", "stop");
        await("it is over", () -> !wrong.isOpen());
        assertThrows(NullPointerException.class, () -> Sockref.connect(null, client));
        assertThrows(NullPointerException.class, () -> Sockref.connect("x", null));
    }

    @Test
    void whatAHandlerConnectsItMayUseAtOnce() throws Exception {
        Recorder written = new Recorder();
        Recorder destroyed = new Recorder();
        Recorder refused = new Recorder();
        Recorder proxy = new Recorder() {
            @Override
            public void onReady(Connection peer) throws Exception {
                super.onReady(peer);
                Connection to = Sockref.connect(path("echo").toString(), written);
                assertEquals(ConnectionInfo.State.OPENING, to.info().state());
                to.write(new byte[5]);
                Sockref.connect(path("echo").toString(), destroyed).destroy();
                Connection wrong = Sockref.connect("", refused);
                assertTrue(wrong.isOpen());
                assertEquals("ESOCKREF_CLOSED",
                        assertThrows(SockrefException.class, () -> wrong.write(new byte[1])).code());
                assertTrue(refused.events.isEmpty());
                events.add("used");
                peer.destroy();
            }
        };
        try (SocketReference echo = SocketReference.listen(path("echo"));
                SocketReference reference = SocketReference.listen(path("s"))) {
            echo.serveEcho();
            reference.serve(proxy);
            dial(path("s")).close();
            proxy.expect("connection", "ready", "used", "close false");
            written.expect("connection", "ready", "data 5");
            on(written.connection.get(), c -> {
                c.destroy();
                return null;
            });
            written.expect("close false", "stop");
            destroyed.expect("close false", "stop");
            refused.expect("error ESOCKREF_PATH", "close true", "stop");
        }
        proxy.expect("stop");
    }

    @Test
    void l61PauseStopsThePeer() throws Exception {
        byte[] bytes = random(1_000_000);
        ByteBuffer got = ByteBuffer.allocate(bytes.length);
        Recorder served = new Recorder() {
            @Override
            public void onData(Connection peer, ByteBuffer data) throws Exception {
                got.put(data);
                if (!got.hasRemaining()) {
                    events.add("all");
                }
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served, ConnectionOptions.builder().paused(true).build());
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                peer.configureBlocking(false);
                ByteBuffer left = ByteBuffer.wrap(bytes);
                while (peer.write(left) > 0) {
                    continue;
                }
                // The socket is full, and the loop has had turns in which it could have read.
                assertTrue(left.hasRemaining());
                for (int i = 0; i < 3; i++) {
                    assertEquals(0, on(served.connection.get(), Connection::info).bytesRead());
                }
                assertEquals(0, got.position());
                on(served.connection.get(), c -> {
                    c.resume();
                    return null;
                });
                peer.configureBlocking(true);
                peer.write(left);
                served.expect("all");
                assertArrayEquals(bytes, got.array());
            }
            served.expect("end");
            on(served.connection.get(), c -> {
                c.destroy();
                return null;
            });
            served.expect("close false");
        }
        served.expect("stop");
    }

    @Test
    void l62TimeOutOfAConnection() throws Exception {
        Recorder served = new Recorder();
        ConnectionOptions options = ConnectionOptions.builder().timeout(Duration.ofMillis(30)).build();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served, options);
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready", "timeout", "timeout");
                Connection connection = served.connection.get();
                on(connection, c -> {
                    c.setTimeout(Duration.ZERO);
                    return null;
                });
                served.events.clear();
                send(peer, new byte[2]);
                served.expect("data 2");
            }
            served.expect("end");
            on(served.connection.get(), c -> {
                c.destroy();
                return null;
            });
            served.expect("close false");
        }
        served.expect("stop");
    }

    @Test
    void l65InfoOfAConnection() throws Exception {
        Recorder served = new Recorder();
        Recorder client = new Recorder();
        try (SocketReference reference = SocketReference.listen("tcp:127.0.0.1:0")) {
            reference.serve(served, ConnectionOptions.builder().noDelay(true).keepAlive(Duration.ofSeconds(60)).build());
            InetSocketAddress bound = (InetSocketAddress) reference.localAddress();
            assertEquals("tcp:127.0.0.1:" + bound.getPort(), reference.path());
            Connection connection = Sockref.connect(reference.path(), client);
            client.expect("connection", "ready");
            served.expect("connection", "ready");
            assertEquals(1, reference.connectionCount());
            on(connection, c -> c.write(random(100)));
            served.expect("data 100");
            ConnectionInfo ours = on(connection, Connection::info);
            ConnectionInfo theirs = on(served.connection.get(), Connection::info);
            assertEquals(ConnectionInfo.State.OPEN, ours.state());
            assertEquals(100, ours.bytesWritten());
            assertEquals(0, ours.bytesQueued());
            assertEquals(100, theirs.bytesRead());
            assertEquals(bound, ours.remoteAddress());
            assertEquals(bound, theirs.localAddress());
            assertEquals(ours.localAddress(), theirs.remoteAddress());
            assertFalse(theirs.isPaused());
            assertEquals(Duration.ZERO, theirs.timeout());
            assertEquals("ESOCKREF_UNSUPPORTED", assertThrows(SockrefException.class,
                    () -> on(connection, Connection::peer)).code());
            on(connection, c -> {
                c.pause();
                c.setTimeout(Duration.ofSeconds(60));
                c.setNoDelay(true);
                c.setKeepAlive(true, Duration.ofSeconds(1));
                c.end();
                return null;
            });
            served.expect("end");
            ConnectionInfo ended = on(connection, Connection::info);
            assertEquals(ConnectionInfo.State.READ_ONLY, ended.state());
            assertTrue(ended.isPaused());
            assertEquals(Duration.ofSeconds(60), ended.timeout());
            assertEquals(ConnectionInfo.State.WRITE_ONLY, on(served.connection.get(), Connection::info).state());
            on(served.connection.get(), c -> {
                c.reset();
                return null;
            });
            served.expect("close false");
            on(connection, c -> {
                c.resume();
                return null;
            });
            client.expect("error ECONNRESET", "close true", "stop");
            assertEquals("ESOCKREF_CLOSED", assertThrows(SockrefException.class,
                    () -> on(connection, Connection::info)).code());
        }
        served.expect("stop");
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served);
            assertEquals(UnixDomainSocketAddress.of(path("s")), reference.localAddress());
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                assertEquals(ProcessHandle.current().pid(), on(served.connection.get(), Connection::peer).pid());
            }
        }
    }

    @Test
    void l66LimitsAndUnserving() throws Exception {
        Recorder served = new Recorder();
        Options one = Options.builder().maxConnections(1).build();
        try (SocketReference reference = SocketReference.listen(path("s"), one)) {
            reference.serve(served, ConnectionOptions.builder().dropExcess(true).build());
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                Connection first = served.connection.get();
                try (SocketChannel excess = dial(path("s"))) {
                    assertEquals(0, receive(excess, 1).length);
                    served.expect("drop " + path("s"));
                }
                reference.setMaxConnections(2);
                try (SocketChannel second = dial(path("s"))) {
                    served.expect("connection", "ready");
                    assertEquals(2, reference.connectionCount());
                    reference.unserve(false);
                    send(second, new byte[5]);
                    served.expect("data 5");
                    refused("ESOCKREF_NOTFOUND", () -> reference.unserve(false));
                    assertTrue(reference.isActive());
                    on(served.connection.get(), c -> {
                        c.write(random(9));
                        c.destroySoon();
                        return null;
                    });
                    assertArrayEquals(random(9), receive(second, 10));
                    served.expect("close false");
                }
                assertThrows(IllegalArgumentException.class, () -> reference.setMaxConnections(-1));
                // The service is over when its last connection is.
                assertTrue(served.events.isEmpty());
                on(first, c -> {
                    c.destroy();
                    return null;
                });
                served.expect("close false", "stop");
            }
            Recorder again = new Recorder();
            reference.serve(again);
            try (SocketChannel peer = dial(path("s"))) {
                again.expect("connection", "ready");
                reference.unserve(true);
                again.expect("close false", "stop");
            }
        }
    }

    @Test
    void directBuffersAreWrittenFromWhereTheyLie() throws Exception {
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        byte[] bytes = random(1_000_000);
        ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length).put(bytes).flip();
        Recorder served = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                super.onConnection(peer);
                assertThrows(IllegalArgumentException.class, () -> peer.write(ByteBuffer.allocate(1), () -> { }));
                assertFalse(peer.write(direct, () -> told.add("written")));
                assertEquals(0, direct.remaining());
                assertTrue(told.isEmpty());
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served);
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                assertTrue(java.util.Arrays.equals(bytes, receive(peer, bytes.length)));
                assertEquals("written", told.poll(LONG.toSeconds(), TimeUnit.SECONDS));
                served.expect("drain");
            }
            try (SocketChannel peer = dialAgain(direct)) {
                served.expect("end", "connection", "ready");
                on(served.connection.get(), c -> {
                    c.destroy();
                    return null;
                });
                // Also where it was not written.
                assertEquals("written", told.poll(LONG.toSeconds(), TimeUnit.SECONDS));
            }
        }
    }

    /** They have no address; Connection refuses them before. */
    @Test
    void otherBuffersAreRefusedInCToo() throws Exception {
        Field pointer = Connection.class.getDeclaredField("pointer");
        pointer.setAccessible(true);
        ByteBuffer heap = ByteBuffer.allocate(8);
        Recorder served = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served);
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                Connection connection = served.connection.get();
                assertEquals("EINVAL", assertThrows(SockrefException.class, () -> on(connection,
                        c -> Shim.connWriteDirect(pointer.getLong(c), heap, 4, 4))).code());
                assertEquals("EINVAL", assertThrows(SockrefException.class, () -> on(connection,
                        c -> Shim.connWriteLent(pointer.getLong(c), heap, 4, 4, () -> { }))).code());
                on(connection, c -> c.write(random(4)));
                assertArrayEquals(random(4), receive(peer, 4));
            }
            served.expect("end");
        }
        served.expect("close false", "stop");
    }

    private SocketChannel dialAgain(ByteBuffer buffer) throws IOException {
        buffer.rewind();
        return dial(path("s"));
    }

    @Test
    void aPausedConnectionAndOneThatOutlivesItsName() throws Exception {
        Recorder served = new Recorder();
        SocketReference reference = SocketReference.listen(path("s"));
        reference.serve(served, ConnectionOptions.builder().paused(true).outlive(true).highWater(10)
                .maxBuffered(2_000_000).build());
        try (SocketChannel peer = dial(path("s"))) {
            served.expect("connection", "ready");
            Connection connection = served.connection.get();
            send(peer, new byte[4]);
            assertTrue(on(connection, Connection::info).isPaused());
            reference.close();
            assertFalse(exists(path("s")));
            on(connection, c -> {
                c.resume();
                return null;
            });
            served.expect("data 4");
            assertEquals("ESOCKREF_LIMIT", assertThrows(SockrefException.class,
                    () -> on(connection, c -> c.write(new byte[3_000_000]))).code());
            on(connection, c -> {
                c.destroySoon();
                return null;
            });
            served.expect("close false", "stop");
        }
    }

    @Test
    void aResetOfAPausedConnectionIsToldWhenItGoesOn() throws Exception {
        Recorder served = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served, ConnectionOptions.builder().paused(true).build());
            SocketChannel peer = dial(path("s"));
            served.expect("connection", "ready");
            Connection connection = served.connection.get();
            send(peer, new byte[4]);
            on(connection, c -> c.write(new byte[4]));
            peer.close(); // with unread bytes: this is how a Unix socket is reset
            for (int i = 0; i < 3; i++) {
                assertTrue(on(connection, Connection::isOpen));
            }
            on(connection, c -> {
                c.resume();
                return null;
            });
            served.expect("data 4", "error ECONNRESET", "close true");
        }
        served.expect("stop");
    }

    @Test
    void aTaskThatPostsItselfLeavesConnectionsTheirTurn() throws Exception {
        Recorder served = new Recorder();
        AtomicBoolean isOver = new AtomicBoolean();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served);
            try (SocketChannel peer = dial(path("s"))) {
                served.expect("connection", "ready");
                Connection connection = served.connection.get();
                connection.execute(new Runnable() {
                    @Override
                    public void run() {
                        if (!isOver.get()) {
                            connection.execute(this);
                        }
                    }
                });
                send(peer, new byte[2]);
                served.expect("data 2");
            } finally {
                isOver.set(true);
            }
            served.expect("end");
        }
        served.expect("close false", "stop");
    }

    @Test
    void descriptorsArePassed() throws Exception {
        Path file = Files.writeString(path("file"), "what is in the file");
        Recorder client = new Recorder();
        Recorder served = new Recorder() {
            @Override
            public void onDescriptor(Connection peer, FileDescriptor descriptor) throws Exception {
                try (FileInputStream in = new FileInputStream(descriptor)) {
                    events.add("descriptor " + new String(in.readAllBytes(), StandardCharsets.UTF_8));
                }
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(served, ConnectionOptions.builder().descriptors(true).build());
            Connection connection = Sockref.connect(path("s").toString(), client);
            client.expect("connection", "ready");
            try (FileInputStream in = new FileInputStream(file.toFile())) {
                assertEquals(true, on(connection, c -> c.sendDescriptor(in.getFD(), new byte[3])));
            }
            served.expect("connection", "ready", "descriptor what is in the file", "data 3");
            assertEquals("EBADF", assertThrows(SockrefException.class,
                    () -> on(connection, c -> c.sendDescriptor(new FileDescriptor(), new byte[1]))).code());
            assertEquals("EINVAL", assertThrows(SockrefException.class,
                    () -> on(connection, c -> c.sendDescriptor(FileDescriptor.in, new byte[0]))).code());
            assertThrows(NullPointerException.class, () -> on(connection, c -> c.sendDescriptor(null, new byte[1])));
            on(connection, c -> {
                c.destroy();
                return null;
            });
            client.expect("close false", "stop");
            served.expect("end");
        }
        served.expect("close false", "stop");
    }

    @Test
    void t14WhoIsServedIsDecidedLater() throws Exception {
        BlockingQueue<Connection> waiting = new LinkedBlockingQueue<>();
        Handlers handlers = new Handlers() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                waiting.add(peer);
            }

            @Override
            public void onData(Connection peer, ByteBuffer data) throws Exception {
                peer.write(data);
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(handlers, ConnectionOptions.builder().paused(true).build());
            try (SocketChannel first = dial(path("s"))) {
                Connection one = asked(first, waiting);
                try (SocketChannel second = dial(path("s")); SocketChannel third = dial(path("s"))) {
                    Connection two = asked(second, waiting);
                    Connection three = asked(third, waiting);
                    assertEquals(0, bytesRead(one));
                    on(three, c -> accepted(c));
                    assertArrayEquals(random(10), receive(third, 10));
                    on(two, c -> {
                        c.destroy();
                        return null;
                    });
                    assertEquals(0, refusedBytes(second));
                }
                assertEquals(0, bytesRead(one));
                on(one, c -> accepted(c));
                assertArrayEquals(random(10), receive(first, 10));
            }
        }
    }

    /** A client has sent its question, which nobody has read. */
    private static Connection asked(SocketChannel client, BlockingQueue<Connection> waiting) throws Exception {
        send(client, random(10));
        return waiting.poll(LONG.toSeconds(), TimeUnit.SECONDS);
    }

    private static long bytesRead(Connection connection) throws Exception {
        return on(connection, c -> c.info().bytesRead());
    }

    private static Object accepted(Connection connection) throws Exception {
        connection.resume();
        return null;
    }

    /** Its end comes, or a reset for the bytes that were not read. */
    private static int refusedBytes(SocketChannel client) {
        try {
            return receive(client, 1).length;
        } catch (IOException reset) {
            return 0;
        }
    }

    @Test
    void descriptorsThatNobodyTakesAreClosed() throws Exception {
        Recorder client = new Recorder();
        Recorder served = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            for (boolean taken : new boolean[] {false, true}) {
                reference.serve(served, ConnectionOptions.builder().descriptors(taken).build());
                Connection connection = Sockref.connect(path("s").toString(), client);
                client.expect("connection", "ready");
                served.expect("connection", "ready");
                long before = descriptors();
                for (int i = 0; i < 10; i++) {
                    on(connection, c -> c.sendDescriptor(FileDescriptor.in, new byte[1]));
                    served.expect("data 1");
                }
                await("all are closed", () -> countDescriptors() == before);
                reference.unserve(true);
                served.expect("close false", "stop");
                client.expect("end");
                on(connection, c -> {
                    c.destroy();
                    return null;
                });
                client.expect("close false", "stop");
            }
        }
    }

    private static long countDescriptors() {
        try {
            return descriptors();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void optionsAreChecked() {
        ConnectionOptions.Builder builder = ConnectionOptions.builder();
        assertThrows(IllegalArgumentException.class, () -> builder.highWater(-1));
        assertThrows(IllegalArgumentException.class, () -> builder.maxBuffered(-1));
        assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ofMillis(-1)));
        assertThrows(NullPointerException.class, () -> builder.keepAlive(null));
    }
}
