package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.channels.AcceptPendingException;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ReadPendingException;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritePendingException;
import java.util.Arrays;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.Test;

/** Channels by futures. */
class ChannelAsyncTest extends ChannelScene {
    @Test
    void whatIsThereIsReadAtOnce() throws Exception {
        try (Pair pair = new Pair()) {
            send(pair.peer, new byte[] {1, 2, 3});
            ByteBuffer buffer = ByteBuffer.allocate(10);
            CompletableFuture<Integer> read = pair.channel.readAsync(buffer);
            assertTrue(read.isDone());
            assertEquals(3, read.get());
            assertEquals(3, buffer.position());
            CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.wrap(new byte[] {4, 5}));
            assertTrue(written.isDone());
            assertEquals(2, written.get());
            assertArrayEquals(new byte[] {4, 5}, receive(pair.peer, 2));
            assertEquals(0, pair.channel.readAsync(ByteBuffer.allocate(0)).get());
            assertEquals(0, pair.channel.writeAsync(ByteBuffer.allocate(0)).get());
            assertEquals(3, pair.channel.bytesRead());
            assertEquals(2, pair.channel.bytesWritten());
        }
    }

    @Test
    void whatComesLaterCompletesTheFuture() throws Exception {
        try (Pair pair = new Pair()) {
            for (int i = 1; i < 100; i++) {
                ByteBuffer buffer = i % 2 == 0 ? ByteBuffer.allocate(100) : ByteBuffer.allocateDirect(100);
                CompletableFuture<Integer> read = pair.channel.readAsync(buffer);
                assertFalse(read.isDone());
                send(pair.peer, new byte[i]);
                assertEquals(i, get(read, "the read"));
            }
            CompletableFuture<Integer> end = pair.channel.readAsync(ByteBuffer.allocate(1));
            pair.peer.shutdownOutput();
            assertEquals(-1, get(end, "the end"));
            assertEquals(-1, pair.channel.readAsync(ByteBuffer.allocate(1)).get());
        }
    }

    @Test
    void aWriteGoesOnWhenThereIsRoom() throws Exception {
        byte[] bytes = random(5_000_000);
        try (Pair pair = new Pair()) {
            for (boolean direct : new boolean[] {false, true}) {
                ByteBuffer buffer = direct ? ByteBuffer.allocateDirect(bytes.length) : ByteBuffer.allocate(bytes.length);
                CompletableFuture<Integer> written = pair.channel.writeAsync(buffer.put(bytes).flip());
                assertFalse(written.isDone());
                assertInstanceOf(WritePendingException.class, problem(pair.channel.writeAsync(ByteBuffer.allocate(1))));
                assertTrue(Arrays.equals(bytes, receive(pair.peer, bytes.length)));
                assertEquals(bytes.length, get(written, "the write"));
            }
            assertEquals(2 * bytes.length, pair.channel.bytesWritten());
        }
    }

    @Test
    void bothDirectionsWaitAtOnce() throws Exception {
        byte[] bytes = random(3_000_000);
        try (Pair pair = new Pair()) {
            for (int i = 0; i < 5; i++) {
                CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(100));
                CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.wrap(bytes));
                assertFalse(read.isDone());
                assertFalse(written.isDone());
                send(pair.peer, new byte[50]);
                assertEquals(50, get(read, "the read"));
                assertFalse(written.isDone());
                assertTrue(Arrays.equals(bytes, receive(pair.peer, bytes.length)));
                assertEquals(bytes.length, get(written, "the write"));
            }
        }
    }

    @Test
    void aPendingOperationIsTheOnlyOne() throws Exception {
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(1));
            assertInstanceOf(ReadPendingException.class, problem(pair.channel.readAsync(ByteBuffer.allocate(1))));
            assertInstanceOf(IllegalArgumentException.class,
                    problem(pair.channel.readAsync(ByteBuffer.allocate(1).asReadOnlyBuffer())));
            assertInstanceOf(NullPointerException.class, problem(pair.channel.readAsync(null)));
            assertInstanceOf(NullPointerException.class, problem(pair.channel.writeAsync(null)));
            CompletableFuture<SockrefChannel> accept = pair.server.acceptAsync();
            assertInstanceOf(AcceptPendingException.class, problem(pair.server.acceptAsync()));
            // A call that waits has its turn behind the operation.
            Call<Integer> call = new Call<>(() -> pair.channel.read(ByteBuffer.allocate(1)));
            await("it waits for its turn", () -> call.thread.getState() == Thread.State.WAITING);
            send(pair.peer, new byte[2]);
            assertEquals(1, get(read, "the read"));
            assertEquals(1, call.get());
            accept.cancel(false);
        }
    }

    @Test
    void cancellingEndsAnOperation() throws Exception {
        try (Pair pair = new Pair()) {
            ByteBuffer untouched = ByteBuffer.allocate(10);
            CompletableFuture<Integer> read = pair.channel.readAsync(untouched);
            assertTrue(read.cancel(true));
            assertThrows(CancellationException.class, read::get);
            CompletableFuture<Integer> again = pair.channel.readAsync(untouched);
            assertFalse(again.isDone());
            again.cancel(true);
            send(pair.peer, new byte[] {9});
            assertArrayEquals(new byte[] {9}, receive(pair.channel, 1));
            assertEquals(0, untouched.position());
            CompletableFuture<Integer> late = pair.channel.readAsync(untouched).orTimeout(10, TimeUnit.MILLISECONDS);
            assertInstanceOf(TimeoutException.class, problem(late));
            CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.allocate(10_000_000));
            written.cancel(false);
            int sent = (int) pair.channel.bytesWritten();
            assertEquals(sent, receive(pair.peer, sent).length);
            assertEquals(1, get(pair.channel.writeAsync(ByteBuffer.allocate(1)), "the next write"));
            assertEquals(1, receive(pair.peer, 1).length);
        }
    }

    @Test
    void closingFailsWhatWaits() throws Exception {
        Pair pair = new Pair();
        CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(1));
        CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.allocate(10_000_000));
        CompletableFuture<SockrefChannel> accept = pair.server.acceptAsync();
        pair.close();
        assertEquals(AsynchronousCloseException.class, problem(read).getClass());
        assertEquals(AsynchronousCloseException.class, problem(written).getClass());
        assertEquals(AsynchronousCloseException.class, problem(accept).getClass());
    }

    @Test
    void shutdownInputIsTheEndOfAPendingRead() throws Exception {
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(1));
            pair.channel.shutdownInput();
            assertEquals(-1, get(read, "the read"));
        }
    }

    @Test
    void connectionsAreAccepted() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            CompletableFuture<SockrefChannel> first = server.acceptAsync();
            assertFalse(first.isDone());
            try (SocketChannel peer = dial(path("s")); SockrefChannel channel = get(first, "the accept")) {
                send(peer, new byte[3]);
                assertEquals(3, receive(channel, 3).length);
            }
            try (SocketChannel peer = dial(path("s")); SocketChannel other = dial(path("s"))) {
                SockrefChannel one = get(server.acceptAsync(), "the accept");
                SockrefChannel two = get(server.acceptAsync(), "the accept");
                assertEquals(2, server.connectionCount());
                one.close();
                two.close();
            }
            CompletableFuture<SockrefChannel> cancelled = server.acceptAsync();
            cancelled.cancel(false);
            try (SocketChannel peer = dial(path("s"))) {
                server.accept().close();
            }
            await("all are closed", () -> server.connectionCount() == 0);
        }
    }

    @Test
    void futuresAreCompletedOnTheExecutorOfTheOptions() throws Exception {
        ExecutorService own = Executors.newSingleThreadExecutor(task -> new Thread(task, "own"));
        Options options = Options.builder().executor(own).build();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"), options)) {
            CompletableFuture<String> accept = server.acceptAsync()
                    .thenCompose(channel -> channel.readAsync(ByteBuffer.allocate(1)).thenApply(count -> {
                        try {
                            channel.close();
                        } catch (java.io.IOException e) {
                            throw new java.io.UncheckedIOException(e);
                        }
                        return Thread.currentThread().getName();
                    }));
            try (SocketChannel peer = dial(path("s"))) {
                send(peer, new byte[1]);
                assertEquals("own", get(accept, "the accept"));
            }
        } finally {
            own.shutdown();
        }
    }

    private void completeAllOf(Executor executor) throws Exception {
        Options options = Options.builder().executor(executor).build();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"), options)) {
            CompletableFuture<SockrefChannel> accept = server.acceptAsync();
            try (SockrefChannel peer = get(SockrefChannel.connectAsync(server.path(),
                    ConnectOptions.builder().executor(executor).build()), "the connect")) {
                peer.write(ByteBuffer.wrap(new byte[1]));
                get(accept, "the accept").close();
            }
        }
        get(SocketReference.startListener(path("t"), options)).close();
        assertInstanceOf(NullPointerException.class, problem(SocketReference.startListener((String) null, options)));
        try (Registry registry = new Registry(options)) {
            assertEquals(0, get(registry.sweepAsync(directory), "the sweep"));
        }
    }

    @Test
    void anExecutorThatIsOverLosesNothing() throws Exception {
        ExecutorService rejects = Executors.newSingleThreadExecutor();
        rejects.shutdown();
        completeAllOf(rejects);
        completeAllOf(task -> {
            throw new IllegalStateException("the toolkit is over");
        });
        completeAllOf(task -> {
            throw new OutOfMemoryError("unable to create native thread");
        });
        completeAllOf(task -> {
            throw new NoClassDefFoundError("of an application that was taken down");
        });
        completeAllOf(task -> {
            throw new AssertionError("of the executor itself");
        });
    }

    /** As a pool does that has taken the task, can start no thread for it, says so, and runs it when it can. */
    @Test
    void anExecutorThatIsAskedTwiceClosesNothing() throws Exception {
        completeAllOf(task -> {
            task.run();
            throw new OutOfMemoryError("unable to create native thread");
        });
        completeAllOf(task -> {
            task.run();
            task.run();
        });
    }

    /** An echo of nothing but futures, on the poller's thread. */
    @Test
    void futuresMakeAServer() throws Exception {
        Options options = Options.builder().executor(Runnable::run).build();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"), options)) {
            CompletableFuture<Void> done = server.acceptAsync().thenCompose(channel -> echo(channel,
                    ByteBuffer.allocateDirect(50_000)));
            try (SocketChannel peer = dial(path("s"))) {
                Call<Long> sent = new Call<>(() -> {
                    long sum = pour(peer, 8L << 20, ByteBuffer.allocateDirect(70_000));
                    peer.shutdownOutput();
                    return sum;
                });
                assertEquals(drink(peer, 8L << 20, ByteBuffer.allocateDirect(60_000)), sent.get());
                assertEquals(0, receive(peer, 1).length);
            }
            get(done, "the echo");
        }
    }

    private static CompletableFuture<Void> echo(SockrefChannel channel, ByteBuffer buffer) {
        return channel.readAsync(buffer.clear()).thenCompose(count -> {
            if (count < 0) {
                try {
                    channel.close();
                } catch (java.io.IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
                return CompletableFuture.completedFuture(null);
            }
            return channel.writeAsync(buffer.flip()).thenComposeAsync(sent -> echo(channel, buffer));
        });
    }
}
