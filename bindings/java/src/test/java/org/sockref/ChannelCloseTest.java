package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** How channels end: closed, interrupted, dropped. */
class ChannelCloseTest extends ChannelScene {
    /** The calls that wait, each on a pair of its own. */
    private static List<Callable<?>> waits(Pair pair) {
        return List.of(() -> pair.channel.read(ByteBuffer.allocate(1)),
                () -> pair.channel.read(ByteBuffer.allocateDirect(100_000)),
                () -> pair.channel.read(new ByteBuffer[] {ByteBuffer.allocate(1), ByteBuffer.allocateDirect(1)}),
                () -> pair.channel.write(ByteBuffer.allocate(10_000_000)),
                () -> pair.channel.write(ByteBuffer.allocateDirect(10_000_000)),
                () -> pair.channel.write(new ByteBuffer[] {ByteBuffer.allocateDirect(10_000_000)}),
                () -> pair.channel.inputStream().read(), () -> pair.server.accept());
    }

    private interface End {
        void run(Pair pair, Call<?> call) throws Exception;
    }

    private void endsWith(Class<?> expected, End end) throws Exception {
        int count;
        try (Pair pair = new Pair()) {
            count = waits(pair).size();
        }
        for (int i = 0; i < count; i++) {
            try (Pair pair = new Pair()) {
                Call<?> call = new Call<>(waits(pair).get(i));
                call.awaitInside();
                end.run(pair, call);
                assertEquals(expected, call.problem().getClass(), "call " + i);
                call.thread.join();
                assertEquals(i == count - 1, pair.channel.isOpen());
                assertEquals(i != count - 1, pair.server.isOpen());
            }
        }
    }

    private static void closeOne(Pair pair, Call<?> call) throws IOException {
        boolean accepts = List.of(call.thread.getStackTrace()).toString().contains("accept");
        (accepts ? pair.server : pair.channel).close();
    }

    @Test
    void anotherThreadCloses() throws Exception {
        endsWith(AsynchronousCloseException.class, ChannelCloseTest::closeOne);
    }

    @Test
    void anInterruptCloses() throws Exception {
        endsWith(ClosedByInterruptException.class, (pair, call) -> call.thread.interrupt());
    }

    @Test
    void anInterruptBeforeTheCallCloses() throws Exception {
        try (Pair pair = new Pair()) {
            for (Callable<?> wait : waits(pair)) {
                Thread.currentThread().interrupt();
                if (pair.channel.isOpen() || pair.server.isOpen()) {
                    assertThrows(ClosedChannelException.class, wait::call);
                }
                assertTrue(Thread.interrupted());
            }
            assertFalse(pair.channel.isOpen());
            assertFalse(pair.server.isOpen());
        }
        assertFalse(exists(path("pair")));
    }

    /** As with a SocketChannel: the write fails, and the channel goes on. */
    @Test
    void shutdownOutputEndsAWrite() throws Exception {
        try (Pair pair = new Pair()) {
            Call<Integer> call = new Call<>(() -> pair.channel.write(ByteBuffer.allocate(10_000_000)));
            call.awaitInside();
            pair.channel.shutdownOutput();
            assertEquals(AsynchronousCloseException.class, call.problem().getClass());
            send(pair.peer, new byte[1]);
            assertEquals(1, pair.channel.read(ByteBuffer.allocate(1)));
            assertThrows(ClosedChannelException.class, () -> pair.channel.write(ByteBuffer.allocate(1)));
        }
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.allocate(10_000_000));
            pair.channel.shutdownOutput();
            assertEquals(AsynchronousCloseException.class, problem(written).getClass());
            CompletableFuture<Integer> next = pair.channel.writeAsync(ByteBuffer.allocate(1));
            assertEquals(ClosedChannelException.class, problem(next).getClass());
        }
    }

    /** With a time-out, and as TCP as well: the ways to wait differ. */
    @Test
    void aWriteWithATimeOutIsEndedToo() throws Exception {
        for (String name : List.of(path("s").toString(), "tcp:127.0.0.1:0")) {
            endsTimedWrite(name, AsynchronousCloseException.class, (channel, writer) -> channel.close());
            endsTimedWrite(name, ClosedByInterruptException.class, (channel, writer) -> writer.interrupt());
            endsTimedWrite(name, AsynchronousCloseException.class, (channel, writer) -> channel.shutdownOutput());
        }
    }

    private interface WriteEnd {
        void run(SockrefChannel channel, Thread writer) throws Exception;
    }

    private static void endsTimedWrite(String name, Class<?> expected, WriteEnd end) throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(name);
                SockrefChannel peer = SockrefChannel.connect(server.path());
                SockrefChannel channel = server.accept().setTimeout(Duration.ofDays(1))) {
            Call<Integer> write = new Call<>(() -> channel.write(ByteBuffer.allocate(20_000_000)));
            await("it waits", () -> Stream.of(write.thread.getStackTrace())
                    .anyMatch(frame -> frame.getClassName().equals(Descriptor.class.getName())
                            && frame.getMethodName().equals("await")));
            end.run(channel, write.thread);
            assertEquals(expected, write.problem().getClass(), name);
        }
    }

    /** Many wait for their turn behind the one that waits in the system. */
    @Test
    void allWhoWaitAreTold() throws Exception {
        try (Pair pair = new Pair()) {
            List<Call<?>> calls = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                calls.add(new Call<>(() -> pair.channel.read(ByteBuffer.allocate(1))));
                calls.add(new Call<>(() -> pair.server.accept()));
            }
            await("all wait", () -> calls.stream().allMatch(call -> call.thread.getState() == Thread.State.WAITING
                    || call.thread.getStackTrace().length > 0 && call.thread.getStackTrace()[0].isNativeMethod()));
            pair.channel.close();
            pair.server.close();
            for (Call<?> call : calls) {
                assertInstanceOf(ClosedChannelException.class, call.problem());
            }
        }
    }

    @Test
    void everythingIsRefusedAfterwards() throws Exception {
        Pair pair = new Pair();
        pair.close();
        pair.close();
        assertThrows(ClosedChannelException.class, () -> pair.channel.read(ByteBuffer.allocate(1)));
        assertThrows(ClosedChannelException.class, () -> pair.channel.read(ByteBuffer.allocate(0)));
        assertThrows(ClosedChannelException.class, () -> pair.channel.write(ByteBuffer.allocate(0)));
        assertThrows(ClosedChannelException.class, () -> pair.channel.write(new ByteBuffer[0]));
        assertThrows(ClosedChannelException.class, pair.channel::shutdownInput);
        assertThrows(ClosedChannelException.class, pair.channel::shutdownOutput);
        assertThrows(ClosedChannelException.class, () -> pair.server.accept());
        assertThrows(ClosedChannelException.class, () -> pair.server.getLocalAddress());
        assertThrows(ClosedChannelException.class, () -> pair.channel.bind(null));
        assertThrows(ClosedChannelException.class, () -> pair.server.bind(null));
        assertInstanceOf(ClosedChannelException.class, problem(pair.channel.readAsync(ByteBuffer.allocate(1))));
        assertInstanceOf(ClosedChannelException.class, problem(pair.channel.writeAsync(ByteBuffer.allocate(1))));
        assertInstanceOf(ClosedChannelException.class, problem(pair.server.acceptAsync()));
        pair.channel.reset();
        pair.server.setMaxConnections(1, true);
        assertEquals("SockrefServerChannel[" + path("pair") + ", closed]", pair.server.toString());
    }

    @Test
    void l63Abort() throws Exception {
        try (Pair pair = new Pair()) {
            Call<Integer> write = new Call<>(() -> pair.channel.write(ByteBuffer.allocate(10_000_000)));
            write.awaitInside();
            pair.channel.reset();
            assertInstanceOf(AsynchronousCloseException.class, write.problem());
            byte[] got = receive(pair.peer, 10_000_000);
            assertTrue(got.length > 0 && got.length < 10_000_000);
            assertEquals(got.length, pair.channel.bytesWritten());
        }
        try (Pair pair = new Pair()) {
            pair.peer.close();
            SockrefException problem = assertThrows(SockrefException.class,
                    () -> pair.channel.write(ByteBuffer.allocate(10)));
            assertEquals("EPIPE", problem.code());
            assertEquals("send", problem.syscall());
            assertTrue(pair.channel.isOpen());
        }
        try (Pair pair = new Pair()) {
            // Closed with unread bytes: this is how a Unix socket is reset.
            pair.channel.write(ByteBuffer.allocate(10));
            pair.peer.close();
            assertEquals("ECONNRESET", assertThrows(SockrefException.class,
                    () -> pair.channel.read(ByteBuffer.allocate(10))).code());
        }
    }

    @Test
    void closesAndCallsRace() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            for (int i = 0; i < 200; i++) {
                SocketChannel peer = dial(path("s"));
                SockrefChannel channel = server.accept();
                Call<?> read = new Call<>(() -> channel.read(ByteBuffer.allocateDirect(10)));
                Call<?> write = new Call<>(() -> channel.write(ByteBuffer.allocate(10_000_000)));
                CompletableFuture<?> ask = CompletableFuture.runAsync(() -> channel.toString());
                if (i % 2 == 0) {
                    Thread.yield();
                }
                channel.close();
                assertInstanceOf(ClosedChannelException.class, read.problem());
                assertInstanceOf(ClosedChannelException.class, write.problem());
                get(ask, "the question");
                peer.close();
            }
            await("all are closed", () -> server.connectionCount() == 0);
        }
    }

    @Test
    void descriptorsAreGivenBack() throws Exception {
        new Pair().close();
        long before = descriptors();
        for (int i = 0; i < 100; i++) {
            try (Pair pair = new Pair()) {
                pair.channel.readAsync(ByteBuffer.allocate(1)).cancel(false);
            }
        }
        await("descriptors", () -> {
            try {
                return descriptors() <= before + 2; // the poller's, and one of the listing itself
            } catch (IOException e) {
                return false;
            }
        });
    }

    private void dropBoth() throws Exception {
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
        try (SocketChannel peer = dial(path("s"))) {
            server.accept();
        }
    }

    @Test
    void droppedChannelsAreClosed() throws Exception {
        new Pair().close();
        long before = descriptors();
        dropBoth();
        awaitCollected("the file is gone", () -> !exists(path("s")));
        awaitCollected("the descriptors are closed", () -> {
            try {
                return descriptors() <= before + 2;
            } catch (IOException e) {
                return false;
            }
        });
    }

    /** The peer sees the end of a channel that was dropped, and a server's collection does not wait for it. */
    @Test
    void aDroppedServerIsNotKeptByItsConnections() throws Exception {
        try (SockrefChannel channel = acceptOfDropped()) {
            awaitCollected("the file is gone", () -> !exists(path("s")));
            assertTrue(channel.isOpen());
        }
    }

    private SockrefChannel acceptOfDropped() throws Exception {
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
        try (SocketChannel peer = dial(path("s"))) {
            return server.accept();
        }
    }
}
