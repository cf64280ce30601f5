package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.net.UnknownHostException;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.UnsupportedAddressTypeException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Channels that connect: to every kind of name, and what becomes of it. */
class ConnectTest extends ChannelScene {
    private static final String LOOPBACK = "tcp:127.0.0.1:";

    private static ServerSocketChannel foreignTcp(String host) throws IOException {
        return ServerSocketChannel.open().bind(new InetSocketAddress(host, 0));
    }

    private static int portOf(SockrefServerChannel server) throws IOException {
        return ((InetSocketAddress) server.getLocalAddress()).getPort();
    }

    private static void assumeIpv6() {
        try (ServerSocketChannel probe = foreignTcp("::1")) {
            assertTrue(probe.isOpen());
        } catch (IOException | UnsupportedAddressTypeException none) {
            Assumptions.abort("this machine has no ::1");
        }
    }

    private static void talk(SockrefChannel client, SockrefChannel accepted) throws IOException {
        client.write(ByteBuffer.wrap(random(1000)));
        assertArrayEquals(random(1000), receive(accepted, 1000));
        accepted.write(ByteBuffer.wrap(random(99)));
        accepted.shutdownOutput();
        assertArrayEquals(random(99), receive(client, 100));
    }

    @Test
    void l57OursToAStandardServer() throws Exception {
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) i;
        }
        try (ServerSocketChannel server = foreign(path("foreign"));
                SockrefChannel client = SockrefChannel.connect(path("foreign").toString());
                SocketChannel accepted = server.accept()) {
            client.write(ByteBuffer.wrap(all));
            assertArrayEquals(all, receive(accepted, 256));
            send(accepted, all);
            assertArrayEquals(all, receive(client, 256));
            accepted.close();
            assertEquals(-1, client.read(ByteBuffer.allocate(1)));
            assertEquals(256, client.bytesRead());
            assertEquals(UnixDomainSocketAddress.of(path("foreign")), client.getRemoteAddress());
            assertEquals(UnixDomainSocketAddress.of(""), client.getLocalAddress());
        }
    }

    @Test
    void everyKindOfName() throws Exception {
        String directoryName = directory.toString();
        String longName = directory + "/" + "d".repeat(100);
        Files.createDirectory(java.nio.file.Path.of(longName));
        for (String name : List.of(path("s").toString(), "@" + directoryName, longName + "/s", "tcp:127.0.0.1:0",
                "tcp:localhost:0")) {
            try (SockrefServerChannel server = SockrefServerChannel.listen(name);
                    SockrefChannel client = SockrefChannel.connect(server.path());
                    SockrefChannel accepted = server.accept()) {
                talk(client, accepted);
                assertEquals(server.getLocalAddress(), client.getRemoteAddress());
                assertEquals(server.getLocalAddress(), accepted.getLocalAddress());
                assertEquals(client.getLocalAddress(), accepted.getRemoteAddress());
            }
        }
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
                SockrefChannel client = SockrefChannel.connect(server.getLocalAddress());
                SockrefChannel accepted = server.accept()) {
            talk(client, accepted);
        }
    }

    /** Bytes that are no text of any locale. */
    @Test
    void addressesHaveTheExactBytes() throws Exception {
        byte[] odd = (directory + "/odd").getBytes(StandardCharsets.UTF_8);
        odd[odd.length - 1] = (byte) 0xff;
        byte[] oddAbstract = odd.clone();
        oddAbstract[0] = '@';
        for (byte[] name : List.of(odd, oddAbstract)) {
            try (SocketReference reference = SocketReference.listen(name);
                    SockrefServerChannel server = SockrefServerChannel.of(reference);
                    SockrefChannel client = SockrefChannel.connect(server.getLocalAddress());
                    SockrefChannel accepted = server.accept()) {
                talk(client, accepted);
                assertEquals(server.getLocalAddress(), client.getRemoteAddress());
                assertEquals(server.getLocalAddress(), reference.localAddress());
            }
        }
    }

    /** Java's own channels have no such names: a peer of any other kind may. */
    @Test
    void namesOfPeersFillTheAddressOrHoldNul() throws Exception {
        String abstractName = directory.toString().substring(1);
        String full = directory + "/" + "x".repeat(107 - directory.toString().length());
        assertEquals(108, full.length());
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            assertEquals(UnixDomainSocketAddress.of(full), nameOfPeer(server, full));
            Files.delete(Path.of(full));
            assertEquals(UnixDomainSocketAddress.of("@" + abstractName + "@b@"),
                    nameOfPeer(server, "\\0" + abstractName + "\\0b\\0"));
        }
    }

    /** The address of one that connects from a name, which is a string of Perl's. */
    private SocketAddress nameOfPeer(SockrefServerChannel server, String name) throws Exception {
        Process peer = new ProcessBuilder("perl", "-e", "socket(S, 1, 1, 0) && bind(S, pack('S', 1) . \"" + name
                + "\") && connect(S, pack('S a108', 1, '" + server.path() + "')) || die $!; <STDIN>").inheritIO()
                .redirectInput(ProcessBuilder.Redirect.PIPE).start();
        try (SockrefChannel channel = get(server.acceptAsync(), "the accept")) {
            assertTrue(channel.toString().contains(channel.getRemoteAddress().toString()));
            return channel.getRemoteAddress();
        } finally {
            peer.getOutputStream().close();
            assertEquals(0, peer.waitFor());
        }
    }

    @Test
    void l64TcpNames() throws Exception {
        int port;
        try (SockrefServerChannel server = SockrefServerChannel.listen(LOOPBACK + "0")) {
            port = portOf(server);
            assertEquals(LOOPBACK + port, server.path());
            try (SocketReference shared = SocketReference.listen(LOOPBACK + port)) {
                assertEquals(2, shared.referenceCount());
            }
            try (SocketChannel client = SocketChannel.open(new InetSocketAddress("127.0.0.1", port));
                    SockrefChannel accepted = server.accept()) {
                assertEquals(client.getLocalAddress(), accepted.getRemoteAddress());
                assertEquals(client.getRemoteAddress(), accepted.getLocalAddress());
                send(client, random(10));
                assertArrayEquals(random(10), receive(accepted, 10));
                assertThrows(UnsupportedOperationException.class, accepted::peer);
                accepted.setOption(StandardSocketOptions.TCP_NODELAY, true);
                assertTrue(accepted.getOption(StandardSocketOptions.TCP_NODELAY));
                accepted.setKeepAlive(true, Duration.ofMillis(500));
                assertTrue(accepted.getOption(StandardSocketOptions.SO_KEEPALIVE));
                assertTrue(accepted.supportedOptions().contains(StandardSocketOptions.SO_KEEPALIVE));
            }
        }
        assertThrows(ConnectException.class, () -> SocketChannel.open(new InetSocketAddress("127.0.0.1", port)));
        assertThrows(ConnectException.class, () -> SockrefChannel.connect(LOOPBACK + port));
    }

    @Test
    void ipv6() throws Exception {
        assumeIpv6();
        try (SockrefServerChannel server = SockrefServerChannel.listen("tcp:[::1]:0");
                SockrefChannel client = SockrefChannel.connect(server.path());
                SockrefChannel accepted = server.accept()) {
            talk(client, accepted);
            assertEquals(InetAddress.getByName("::1"), ((InetSocketAddress) client.getRemoteAddress()).getAddress());
            assertEquals(client.getLocalAddress(), accepted.getRemoteAddress());
            try (SockrefChannel other = SockrefChannel.connect(client.getRemoteAddress());
                    SockrefChannel second = server.accept()) {
                talk(other, second);
            }
        }
        // Both families of one host: the one that listens is found.
        try (SockrefServerChannel server = SockrefServerChannel.listen(LOOPBACK + "0")) {
            ConnectOptions both = ConnectOptions.builder().attemptDelay(Duration.ofMillis(20))
                    .addresses(List.of(InetAddress.getByName("::1"), InetAddress.getByName("127.0.0.1"))).build();
            try (SockrefChannel client = SockrefChannel.connect("tcp:any.invalid:" + portOf(server), both)) {
                assertEquals(server.getLocalAddress(), client.getRemoteAddress());
            }
        }
    }

    /** {@code new InetSocketAddress(port)} is one of IPv4, or of IPv6, as the VM was started. */
    @Test
    void aWildcardToConnectFromIsOfEitherFamily() throws Exception {
        assumeIpv6();
        for (String name : List.of("tcp:[::1]:0", LOOPBACK + "0")) {
            for (String wildcard : List.of("0.0.0.0", "::")) {
                ConnectOptions options = ConnectOptions.builder().localAddress(new InetSocketAddress(wildcard, 0)).build();
                try (SockrefServerChannel server = SockrefServerChannel.listen(name);
                        SockrefChannel client = SockrefChannel.connect(server.getLocalAddress(), options);
                        SockrefChannel accepted = server.accept()) {
                    talk(client, accepted);
                }
            }
        }
    }

    @Test
    void l58NobodyIsThere() throws Exception {
        SockrefException problem = assertThrows(SockrefException.class,
                () -> SockrefChannel.connect(path("none").toString()));
        assertEquals("ENOENT", problem.code());
        assertEquals(path("none").toString(), problem.path());
        assertTrue(problem.getMessage().contains(path("none").toString()), problem.getMessage());
        foreign(path("foreign")).close();
        for (SocketAddress address : List.of(UnixDomainSocketAddress.of(path("foreign")), closedPort())) {
            ConnectException refused = assertThrows(ConnectException.class, () -> SockrefChannel.connect(address));
            assertEquals("ECONNREFUSED", ((SockrefException) refused.getCause()).code());
            String place = address instanceof InetSocketAddress inet ? ":" + inet.getPort() : address.toString();
            assertTrue(refused.getMessage().contains(place), refused.getMessage());
        }
        assertThrows(UnknownHostException.class, () -> SockrefChannel.connect("tcp:nobody.invalid:1",
                ConnectOptions.builder().timeout(LONG).build()));
        for (String wrong : List.of("", "tcp:127.0.0.1", "tcp:127.0.0.1:70000", "a\0b", "x".repeat(5000))) {
            assertThrows(SockrefException.class, () -> SockrefChannel.connect(wrong), wrong);
            assertInstanceOf(SockrefException.class, problem(SockrefChannel.connectAsync(wrong)));
        }
        assertThrows(NullPointerException.class, () -> SockrefChannel.connect((String) null));
        assertThrows(NullPointerException.class, () -> SockrefChannel.connect((SocketAddress) null));
        assertThrows(NullPointerException.class, () -> SockrefChannel.connect("x", null));
        assertInstanceOf(NullPointerException.class, problem(SockrefChannel.connectAsync("x", null)));
        assertInstanceOf(NullPointerException.class, problem(SockrefChannel.connectAsync((String) null)));
        assertThrows(UnsupportedAddressTypeException.class, () -> SockrefChannel.connect(new SocketAddress() { }));
    }

    private static InetSocketAddress closedPort() throws IOException {
        try (ServerSocketChannel server = foreignTcp("127.0.0.1")) {
            return (InetSocketAddress) server.getLocalAddress();
        }
    }

    /** A listener whose queue is full: who connects to it waits for ever. */
    private static final class Full implements AutoCloseable {
        final ServerSocket server = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"));
        final List<SocketChannel> queued = new java.util.ArrayList<>();

        Full() throws IOException {
            for (int i = 0; i < 4; i++) {
                SocketChannel channel = SocketChannel.open();
                channel.configureBlocking(false);
                channel.connect(server.getLocalSocketAddress());
                queued.add(channel);
            }
        }

        String name() {
            return LOOPBACK + server.getLocalPort();
        }

        @Override
        public void close() throws IOException {
            for (SocketChannel channel : queued) {
                channel.close();
            }
            server.close();
        }
    }

    @Test
    void whatTakesTooLongIsEnded() throws Exception {
        try (Full full = new Full()) {
            ConnectOptions soon = ConnectOptions.builder().timeout(Duration.ofMillis(50)).build();
            assertThrows(SocketTimeoutException.class, () -> SockrefChannel.connect(full.name(), soon));
            CompletableFuture<SockrefChannel> cancelled = SockrefChannel.connectAsync(full.name());
            assertFalse(cancelled.isDone());
            assertTrue(cancelled.cancel(true));
            assertThrows(CancellationException.class, cancelled::get);
            Call<SockrefChannel> call = new Call<>(() -> SockrefChannel.connect(full.name()));
            await("it waits", () -> call.thread.getState() == Thread.State.WAITING);
            call.thread.interrupt();
            assertEquals(ClosedByInterruptException.class, call.problem().getClass());
        }
    }

    @Test
    void anInterruptBeforeAConnectIsItsEnd() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            for (int i = 0; i < 50; i++) {
                Thread.currentThread().interrupt();
                assertThrows(ClosedByInterruptException.class, () -> SockrefChannel.connect(server.path()).close());
                assertTrue(Thread.interrupted());
            }
        }
    }

    /** Whether it was connected or not when it was cancelled, nothing is left: Scene looks. */
    @Test
    void connectsAndCancelsRace() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            CompletableFuture<SockrefChannel> first = SockrefChannel.connectAsync(server.path());
            get(first, "the connect").close();
            server.accept().close();
            long before = descriptors();
            for (int i = 0; i < 100; i++) {
                CompletableFuture<SockrefChannel> future = SockrefChannel.connectAsync(server.path());
                for (int spin = 0; spin < i * 100; spin++) {
                    Thread.onSpinWait();
                }
                if (!future.cancel(false)) {
                    future.get().close();
                }
            }
            server.setMaxConnections(0, false);
            await("descriptors", () -> {
                try {
                    return descriptors() <= before;
                } catch (IOException e) {
                    return false;
                }
            });
        }
    }

    @Test
    void aChannelThatComesTooLateIsClosed() throws Exception {
        ExecutorService own = Executors.newSingleThreadExecutor();
        CompletableFuture<Void> held = new CompletableFuture<>();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            own.execute(held::join);
            CompletableFuture<SockrefChannel> connect = SockrefChannel.connectAsync(server.path(),
                    ConnectOptions.builder().executor(own).build());
            try (SockrefChannel accepted = server.accept()) {
                accepted.setTimeout(LONG);
                assertTrue(connect.cancel(false));
                held.complete(null);
                assertEquals(-1, accepted.read(ByteBuffer.allocate(1)));
            }
        } finally {
            held.complete(null);
            own.shutdown();
        }
    }

    @Test
    void anIpv6PortMayBeIpv6Alone() throws Exception {
        assumeIpv6();
        try (SocketReference reference = SocketReference.listen("tcp:[::]:0", Options.builder().ipv6Only(true).build())) {
            String port = reference.path().substring(reference.path().lastIndexOf(':') + 1);
            SockrefChannel.connect("tcp:[::1]:" + port).close();
            assertThrows(ConnectException.class, () -> SockrefChannel.connect(LOOPBACK + port));
        }
    }

    @Test
    void firstOnlyHasNoNext() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen("tcp:127.0.0.2:0")) {
            ConnectOptions.Builder both = ConnectOptions.builder()
                    .addresses(List.of(InetAddress.getByName("127.0.0.1"), InetAddress.getByName("127.0.0.2")));
            SockrefChannel.connect("tcp:any.invalid:" + portOf(server), both.build()).close();
            ConnectOptions first = both.firstOnly(true).build();
            assertThrows(ConnectException.class, () -> SockrefChannel.connect("tcp:any.invalid:" + portOf(server), first));
        }
    }

    @Test
    void optionsOfConnecting() throws Exception {
        ExecutorService own = Executors.newSingleThreadExecutor(task -> new Thread(task, "own"));
        try (SockrefServerChannel server = SockrefServerChannel.listen(LOOPBACK + "0")) {
            ConnectOptions options = ConnectOptions.builder().localAddress(new InetSocketAddress("127.0.0.2", 0))
                    .family(StandardProtocolFamily.INET).oneByOne(true).firstOnly(true).firstOnly(false)
                    .executor(own).build();
            own.execute(() -> { });
            CompletableFuture<SockrefChannel> connect = SockrefChannel.connectAsync(
                    (SocketAddress) InetSocketAddress.createUnresolved("localhost", portOf(server)), options);
            try (SockrefChannel client = get(connect, "the connect"); SockrefChannel accepted = server.accept()) {
                assertEquals(InetAddress.getByName("127.0.0.2"),
                        ((InetSocketAddress) accepted.getRemoteAddress()).getAddress());
                CompletableFuture<String> read = client.readAsync(ByteBuffer.allocate(1))
                        .thenApply(count -> Thread.currentThread().getName());
                accepted.write(ByteBuffer.allocate(1));
                assertEquals("own", get(read, "the read"));
            }
        } finally {
            own.shutdown();
        }
        ConnectOptions.Builder builder = ConnectOptions.builder();
        assertThrows(IllegalArgumentException.class, () -> builder.timeout(Duration.ofMillis(-1)));
        assertThrows(IllegalArgumentException.class, () -> builder.family(StandardProtocolFamily.UNIX));
        assertThrows(IllegalArgumentException.class, () -> builder.addresses(List.of()));
        assertThrows(IllegalArgumentException.class,
                () -> builder.localAddress(InetSocketAddress.createUnresolved("localhost", 0)));
        assertThrows(NullPointerException.class, () -> builder.executor(null));
    }

    @Test
    void aTcpConnectionIsReset() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(LOOPBACK + "0");
                SocketChannel peer = SocketChannel.open(server.getLocalAddress());
                SockrefChannel accepted = server.accept()) {
            Call<Integer> read = new Call<>(() -> accepted.read(ByteBuffer.allocate(1)));
            read.awaitInside();
            accepted.reset();
            assertInstanceOf(java.nio.channels.AsynchronousCloseException.class, read.problem());
            IOException problem = assertThrows(IOException.class, () -> peer.read(ByteBuffer.allocate(1)));
            assertTrue(problem.getMessage().contains("reset"), problem.getMessage());
        }
        try (ServerSocketChannel server = foreignTcp("127.0.0.1");
                SockrefChannel client = SockrefChannel.connect(server.getLocalAddress());
                SocketChannel accepted = server.accept()) {
            accepted.setOption(StandardSocketOptions.SO_LINGER, 0);
            accepted.close();
            assertEquals("ECONNRESET", assertThrows(SockrefException.class,
                    () -> client.read(ByteBuffer.allocate(1))).code());
        }
    }

    @Test
    void muchGoesBothWaysOverTcp() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(LOOPBACK + "0");
                SockrefChannel client = SockrefChannel.connect(server.path());
                SockrefChannel accepted = server.accept()) {
            exchange(client, accepted, 16L << 20, true);
        }
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
                SockrefChannel client = SockrefChannel.connect(server.path());
                SockrefChannel accepted = server.accept()) {
            exchange(client, accepted, 64L << 20, true);
        }
    }
}
