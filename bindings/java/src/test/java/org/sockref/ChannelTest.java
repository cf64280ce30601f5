package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.InputStream;
import java.io.OutputStream;
import java.net.SocketTimeoutException;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.AlreadyBoundException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.Arrays;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Connections as blocking channels: bytes, buffers, ends, options. */
class ChannelTest extends ChannelScene {
    private static byte[] everyByte() {
        byte[] all = new byte[256];
        for (int i = 0; i < all.length; i++) {
            all[i] = (byte) i;
        }
        return all;
    }

    @Test
    void everyByteGoesBothWays() throws Exception {
        try (Pair pair = new Pair()) {
            send(pair.peer, everyByte());
            assertArrayEquals(everyByte(), receive(pair.channel, 256));
            assertEquals(256, pair.channel.write(ByteBuffer.wrap(everyByte())));
            assertArrayEquals(everyByte(), receive(pair.peer, 256));
            pair.peer.close();
            assertEquals(-1, pair.channel.read(ByteBuffer.allocate(1)));
            assertEquals(-1, pair.channel.read(ByteBuffer.allocateDirect(1)));
            assertEquals(256, pair.channel.bytesRead());
            assertEquals(256, pair.channel.bytesWritten());
        }
    }

    @Test
    void everyKindOfBufferIsReadAndWritten() throws Exception {
        byte[] bytes = random(10);
        try (Pair pair = new Pair()) {
            ByteBuffer[] from = {
                ByteBuffer.wrap(bytes), ByteBuffer.wrap(bytes).asReadOnlyBuffer(),
                ByteBuffer.allocateDirect(10).put(bytes).flip(), ByteBuffer.wrap(new byte[20], 5, 10).slice().put(bytes).flip(),
                ByteBuffer.allocateDirect(10).put(bytes).flip().asReadOnlyBuffer(),
            };
            for (ByteBuffer buffer : from) {
                buffer.position(2).limit(9);
                assertEquals(7, pair.channel.write(buffer));
                assertEquals(9, buffer.position());
                assertArrayEquals(Arrays.copyOfRange(bytes, 2, 9), receive(pair.peer, 7));
                assertEquals(0, pair.channel.write(buffer));
            }
            ByteBuffer[] to = {ByteBuffer.allocate(10), ByteBuffer.allocateDirect(10),
                ByteBuffer.wrap(new byte[20], 5, 10).slice()};
            for (ByteBuffer buffer : to) {
                send(pair.peer, bytes);
                buffer.position(1).limit(8);
                assertEquals(7, pair.channel.read(buffer));
                assertEquals(8, buffer.position());
                assertEquals(0, pair.channel.read(buffer));
                assertEquals(0, buffer.get(0));
                assertEquals(0, buffer.limit(10).get(8));
                byte[] got = new byte[7];
                buffer.get(1, got);
                assertArrayEquals(Arrays.copyOf(bytes, 7), got);
                assertEquals(3, pair.channel.read(ByteBuffer.allocate(100)));
            }
            assertThrows(IllegalArgumentException.class,
                    () -> pair.channel.read(ByteBuffer.allocate(1).asReadOnlyBuffer()));
            assertThrows(NullPointerException.class, () -> pair.channel.read((ByteBuffer) null));
            assertThrows(NullPointerException.class, () -> pair.channel.write((ByteBuffer) null));
        }
    }

    @Test
    void buffersAreScatteredAndGathered() throws Exception {
        byte[] bytes = random(1000);
        try (Pair pair = new Pair()) {
            ByteBuffer[] from = new ByteBuffer[100];
            for (int i = 0; i < from.length; i++) {
                ByteBuffer piece = i % 2 == 0 ? ByteBuffer.allocate(10) : ByteBuffer.allocateDirect(10);
                piece.put(bytes, 10 * i, 10).flip();
                from[i] = i % 3 == 0 ? piece.asReadOnlyBuffer() : piece;
            }
            from[7].position(10);
            assertEquals(980, pair.channel.write(from, 1, 99));
            byte[] expected = new byte[980];
            System.arraycopy(bytes, 10, expected, 0, 60);
            System.arraycopy(bytes, 80, expected, 60, 920);
            assertArrayEquals(expected, receive(pair.peer, 980));
            assertEquals(10, pair.channel.write(from));
            receive(pair.peer, 10);
            assertEquals(0, pair.channel.write(from));
            assertEquals(0, pair.channel.write(new ByteBuffer[0]));

            send(pair.peer, bytes);
            ByteBuffer[] to = {ByteBuffer.allocate(0), ByteBuffer.allocate(100), ByteBuffer.allocateDirect(200),
                ByteBuffer.wrap(new byte[400], 50, 300).slice(), ByteBuffer.allocateDirect(1000)};
            assertEquals(1000, pair.channel.read(to));
            byte[] got = new byte[1000];
            int length = 0;
            for (ByteBuffer buffer : to) {
                int here = buffer.position();
                buffer.flip().get(got, length, here);
                length += here;
            }
            assertEquals(400, to[4].position());
            assertArrayEquals(bytes, got);
            assertThrows(IndexOutOfBoundsException.class, () -> pair.channel.read(to, 3, 3));
            assertThrows(IndexOutOfBoundsException.class, () -> pair.channel.write(to, -1, 1));
            assertThrows(IllegalArgumentException.class,
                    () -> pair.channel.read(new ByteBuffer[] {ByteBuffer.allocate(1).asReadOnlyBuffer()}));
        }
    }

    /** Beyond what one system call takes as well. */
    @Test
    void aMissingBufferIsFoundBeforeAnythingIsWritten() throws Exception {
        try (Pair pair = new Pair()) {
            ByteBuffer[] from = new ByteBuffer[200];
            for (int i = 0; i < from.length - 1; i++) {
                from[i] = ByteBuffer.allocate(10);
            }
            assertThrows(NullPointerException.class, () -> pair.channel.write(from));
            assertEquals(0, pair.channel.bytesWritten());
            assertEquals(10, from[0].remaining());
        }
    }

    /** More than the system takes at once, in buffers of every kind. */
    @Test
    void muchIsGathered() throws Exception {
        byte[] bytes = random(3_000_000);
        try (Pair pair = new Pair()) {
            ByteBuffer[] from = {ByteBuffer.wrap(bytes, 0, 1_000_000), ByteBuffer.allocateDirect(1_000_000),
                ByteBuffer.wrap(bytes, 2_000_000, 1_000_000).asReadOnlyBuffer()};
            from[1].put(bytes, 1_000_000, 1_000_000).flip();
            Call<Long> written = new Call<>(() -> pair.channel.write(from));
            assertTrue(Arrays.equals(bytes, receive(pair.peer, bytes.length)));
            assertEquals(bytes.length, written.get());
            assertEquals(bytes.length, pair.channel.bytesWritten());
        }
    }

    @Test
    void muchGoesBothWaysAtOnce() throws Exception {
        try (Pair pair = new Pair()) {
            exchange(pair.channel, pair.peer, 64L << 20, true);
            exchange(pair.channel, pair.peer, 16L << 20, false);
        }
    }

    @Test
    void l60HalfClose() throws Exception {
        try (Pair pair = new Pair()) {
            assertEquals(pair.channel, pair.channel.shutdownOutput());
            pair.channel.shutdownOutput();
            assertEquals(0, receive(pair.peer, 1).length);
            assertThrows(ClosedChannelException.class, () -> pair.channel.write(ByteBuffer.allocate(1)));
            send(pair.peer, everyByte());
            assertArrayEquals(everyByte(), receive(pair.channel, 256));
            pair.peer.shutdownOutput();
            assertEquals(-1, pair.channel.read(ByteBuffer.allocate(1)));
            assertTrue(pair.channel.isOpen());
        }
        try (Pair pair = new Pair()) {
            Call<Integer> read = new Call<>(() -> pair.channel.read(ByteBuffer.allocate(1)));
            read.awaitInside();
            pair.channel.shutdownInput();
            assertEquals(-1, read.get());
            assertEquals(-1, pair.channel.read(ByteBuffer.allocate(1)));
            pair.channel.write(ByteBuffer.wrap(everyByte()));
            assertArrayEquals(everyByte(), receive(pair.peer, 256));
        }
    }

    @Test
    void nothingComesOfAnInputThatIsShut() throws Exception {
        try (Pair pair = new Pair()) {
            send(pair.peer, everyByte());
            InputStream input = pair.channel.inputStream();
            assertEquals(256, input.available());
            assertEquals(0, pair.channel.read(ByteBuffer.allocate(0)));
            pair.channel.shutdownInput();
            assertEquals(0, input.available());
            assertEquals(-1, input.read());
            assertEquals(-1, pair.channel.read(ByteBuffer.allocate(0)));
            assertEquals(-1, pair.channel.read(new ByteBuffer[0]));
            assertEquals(-1, get(pair.channel.readAsync(ByteBuffer.allocate(0)), "the read"));
            pair.channel.shutdownOutput().close();
            assertThrows(ClosedChannelException.class, pair.channel::shutdownInput);
            assertThrows(ClosedChannelException.class, pair.channel::shutdownOutput);
        }
    }

    @Test
    void streamsCarryWhatTheChannelDoes() throws Exception {
        byte[] bytes = random(200_000);
        try (Pair pair = new Pair()) {
            InputStream input = pair.channel.inputStream();
            OutputStream output = pair.channel.outputStream();
            assertEquals(0, input.available());
            send(pair.peer, new byte[] {-1, 0, 7});
            assertEquals(255, input.read());
            assertEquals(2, input.available());
            assertArrayEquals(new byte[] {0, 7}, input.readNBytes(2));
            assertEquals(0, input.read(new byte[0]));
            assertThrows(IndexOutOfBoundsException.class, () -> input.read(new byte[2], 1, 2));
            assertThrows(IndexOutOfBoundsException.class, () -> output.write(new byte[2], 1, 2));
            output.write(511);
            output.write(bytes, 1, 2);
            assertArrayEquals(new byte[] {-1, bytes[1], bytes[2]}, receive(pair.peer, 3));
            Call<Void> sent = new Call<>(() -> {
                send(pair.peer, bytes);
                pair.peer.shutdownOutput();
                return null;
            });
            Call<byte[]> back = new Call<>(() -> receive(pair.peer, bytes.length));
            assertEquals(bytes.length, input.transferTo(output));
            sent.get();
            assertTrue(Arrays.equals(bytes, back.get()));
            assertEquals(-1, input.read());
            input.close();
            assertFalse(pair.channel.isOpen());
            assertThrows(ClosedChannelException.class, input::available);
            assertThrows(ClosedChannelException.class, () -> output.write(1));
            // Nothing is asked for: as with the streams of Java's own.
            output.write(new byte[1], 1, 0);
            assertEquals(0, input.read(new byte[1], 1, 0));
        }
    }

    /** What was sent before is read; then every read fails, none takes the reset for the end. */
    @Test
    void aResetIsNoEnd() throws Exception {
        try (Pair pair = new Pair()) {
            pair.channel.write(ByteBuffer.allocate(1));
            send(pair.peer, everyByte());
            pair.peer.close(); // with a byte that it has not read
            assertArrayEquals(everyByte(), receive(pair.channel, 256));
            InputStream input = pair.channel.inputStream();
            for (int i = 0; i < 2; i++) {
                refused("ECONNRESET", () -> pair.channel.read(ByteBuffer.allocate(1)));
                refused("ECONNRESET", () -> pair.channel.read(new ByteBuffer[] {ByteBuffer.allocateDirect(1)}));
                refused("ECONNRESET", pair.channel.readAsync(ByteBuffer.allocate(1)));
                refused("ECONNRESET", input::read);
                assertEquals(0, input.available());
            }
        }
    }

    /** The system tells it once, to whoever asks first. */
    @Test
    void aResetThatAWriteWasToldIsNoEnd() throws Exception {
        for (boolean async : new boolean[] {false, true}) {
            try (SockrefServerChannel server = SockrefServerChannel.listen("tcp:127.0.0.1:0");
                    SocketChannel peer = SocketChannel.open(server.getLocalAddress());
                    SockrefChannel channel = server.accept()) {
                send(peer, everyByte());
                peer.setOption(StandardSocketOptions.SO_LINGER, 0).close();
                SockrefException problem = assertThrows(SockrefException.class, () -> {
                    while (true) {
                        write(channel, async);
                    }
                });
                assertEquals("ECONNRESET", problem.code());
                assertArrayEquals(everyByte(), receive(channel, 256));
                refused("ECONNRESET", () -> channel.read(ByteBuffer.allocate(1)));
                refused("ECONNRESET", channel.readAsync(ByteBuffer.allocate(1)));
            }
        }
    }

    private static void write(SockrefChannel channel, boolean async) throws Exception {
        ByteBuffer one = ByteBuffer.allocate(1);
        if (async) {
            get(channel.writeAsync(one), "the write");
        } else {
            channel.write(one);
        }
    }

    @Test
    void l65CountersAndAddresses() throws Exception {
        try (Pair pair = new Pair()) {
            UnixDomainSocketAddress name = UnixDomainSocketAddress.of(path("pair"));
            assertEquals(name, pair.server.getLocalAddress());
            assertEquals(name, pair.channel.getLocalAddress());
            assertEquals(pair.peer.getRemoteAddress(), pair.channel.getLocalAddress());
            assertEquals(UnixDomainSocketAddress.of(""), pair.channel.getRemoteAddress());
            assertTrue(pair.channel.toString().contains("/pair"), pair.channel.toString());
            send(pair.peer, new byte[1000]);
            assertEquals(1000, receive(pair.channel, 1000).length);
            pair.channel.write(ByteBuffer.allocate(77));
            assertEquals(1000, pair.channel.bytesRead());
            assertEquals(77, pair.channel.bytesWritten());
            PeerCredentials credentials = pair.channel.peer();
            assertEquals(ProcessHandle.current().pid(), credentials.pid());
            assertEquals(java.nio.file.Files.getAttribute(directory, "unix:uid"), (int) credentials.uid());
            assertEquals(java.nio.file.Files.getAttribute(directory, "unix:gid"), (int) credentials.gid());
            pair.channel.close();
            assertEquals(1000, pair.channel.bytesRead());
            assertEquals(77, pair.channel.bytesWritten());
            assertThrows(ClosedChannelException.class, pair.channel::getLocalAddress);
            assertThrows(ClosedChannelException.class, pair.channel::getRemoteAddress);
            assertThrows(ClosedChannelException.class, pair.channel::peer);
            assertEquals("SockrefChannel[closed]", pair.channel.toString());
        }
    }

    @Test
    void optionsAreThoseOfAUnixSocket() throws Exception {
        try (Pair pair = new Pair()) {
            pair.channel.setOption(StandardSocketOptions.SO_SNDBUF, 30_000);
            assertTrue(pair.channel.getOption(StandardSocketOptions.SO_SNDBUF) >= 30_000);
            assertThrows(IllegalArgumentException.class,
                    () -> pair.channel.setOption(StandardSocketOptions.SO_SNDBUF, -1));
            assertThrows(UnsupportedOperationException.class,
                    () -> pair.channel.setOption(StandardSocketOptions.TCP_NODELAY, true));
            assertThrows(UnsupportedOperationException.class,
                    () -> pair.channel.getOption(StandardSocketOptions.IP_TOS));
            assertThrows(UnsupportedOperationException.class, () -> pair.channel.setKeepAlive(true, Duration.ZERO));
            assertThrows(NullPointerException.class, () -> pair.channel.getOption(null));
            assertEquals(Set.of(StandardSocketOptions.SO_SNDBUF, StandardSocketOptions.SO_RCVBUF),
                    pair.channel.supportedOptions());
            assertThrows(AlreadyBoundException.class, () -> pair.channel.bind(null));
            assertThrows(AlreadyBoundException.class, () -> pair.server.bind(null));
            assertEquals(Set.of(StandardSocketOptions.SO_RCVBUF), pair.server.supportedOptions());
            pair.server.setOption(StandardSocketOptions.SO_RCVBUF, 30_000);
            assertTrue(pair.server.getOption(StandardSocketOptions.SO_RCVBUF) >= 30_000);
        }
    }

    /** Another thread has moved the position since: C is given what the first one had, and nothing beside the buffer. */
    @Test
    void lengthsAreCountedFromThePositionThatIsUsed() {
        ByteBuffer shared = ByteBuffer.allocateDirect(2048);
        assertEquals(48, Transfers.remaining(shared.position(0), 2000));
        assertEquals(0, Transfers.remaining(shared.limit(1000), 2000));
    }

    @Test
    void l62TimeOut() throws Exception {
        try (Pair pair = new Pair()) {
            pair.channel.setTimeout(Duration.ofMillis(30));
            ByteBuffer buffer = ByteBuffer.allocate(10);
            assertThrows(SocketTimeoutException.class, () -> pair.channel.read(buffer));
            send(pair.peer, new byte[3]);
            assertEquals(3, pair.channel.read(buffer));
            SocketTimeoutException problem = assertThrows(SocketTimeoutException.class,
                    () -> pair.channel.write(ByteBuffer.allocateDirect(10_000_000)));
            assertTrue(problem.bytesTransferred > 0);
            assertEquals(problem.bytesTransferred, pair.channel.bytesWritten());
            pair.channel.setTimeout(Duration.ZERO);
            int sent = problem.bytesTransferred;
            assertEquals(sent, receive(pair.peer, sent).length);
            assertThrows(IllegalArgumentException.class, () -> pair.channel.setTimeout(Duration.ofMillis(-1)));
        }
    }

    /** Far longer than the time-out in all, and never silent for as long. */
    @Test
    void traffickingPutsTheTimeOutOff() throws Exception {
        try (Pair pair = new Pair()) {
            pair.channel.setTimeout(Duration.ofSeconds(2));
            byte[] bytes = random(2_000_000);
            Call<byte[]> slow = new Call<>(() -> {
                byte[] got = new byte[0];
                while (got.length < bytes.length) {
                    byte[] more = receive(pair.peer, Math.min(500_000, bytes.length - got.length));
                    got = Arrays.copyOf(got, got.length + more.length);
                    System.arraycopy(more, 0, got, got.length - more.length, more.length);
                    Thread.sleep(600);
                }
                return got;
            });
            assertEquals(bytes.length, pair.channel.write(ByteBuffer.wrap(bytes)));
            assertTrue(Arrays.equals(bytes, slow.get()));
        }
    }
}
