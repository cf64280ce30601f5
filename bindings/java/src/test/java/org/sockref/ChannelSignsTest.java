package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.io.FileDescriptor;
import java.lang.management.ManagementFactory;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What the poller tells of while nobody looks: a read that does not try first misses nothing. */
class ChannelSignsTest extends ChannelScene {
    private static final Options ON_THE_POLLER = Options.builder().executor(Runnable::run).build();

    private interface Body {
        void run() throws Exception;
    }

    /** Run a body while the poller is kept from looking: all that comes meanwhile is one sign. */
    private void unseen(Body body) throws Exception {
        CountDownLatch isKept = new CountDownLatch(1);
        CountDownLatch isOver = new CountDownLatch(1);
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("keeper"), ON_THE_POLLER);
                SocketChannel peer = dial(path("keeper"));
                SockrefChannel channel = server.accept()) {
            CompletableFuture<Void> read = channel.readAsync(ByteBuffer.allocate(1)).thenAccept(count -> {
                isKept.countDown();
                try {
                    isOver.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            send(peer, new byte[1]);
            isKept.await();
            try {
                body.run();
            } finally {
                isOver.countDown();
            }
            get(read, "the keeper's read");
        }
    }

    private static byte[] read(CompletableFuture<Integer> future, ByteBuffer buffer) throws Exception {
        int count = get(future, "a read");
        return Arrays.copyOf(buffer.array(), count);
    }

    private static byte[] read(SockrefChannel channel) throws Exception {
        ByteBuffer buffer = ByteBuffer.allocate(100);
        return read(channel.readAsync(buffer), buffer);
    }

    @Test
    void theEndThatCameWithBytes() throws Exception {
        try (Pair pair = new Pair()) {
            ByteBuffer buffer = ByteBuffer.allocate(100);
            CompletableFuture<Integer> first = pair.channel.readAsync(buffer);
            unseen(() -> {
                send(pair.peer, new byte[] {1, 2, 3});
                pair.peer.shutdownOutput();
            });
            assertArrayEquals(new byte[] {1, 2, 3}, read(first, buffer));
            assertEquals(-1, get(pair.channel.readAsync(ByteBuffer.allocate(1)), "the end"));
        }
    }

    @Test
    void bytesBehindOneOutOfBand() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen("tcp:127.0.0.1:0")) {
            InetSocketAddress address = (InetSocketAddress) server.getLocalAddress();
            try (Socket peer = new Socket(address.getAddress(), address.getPort());
                    SockrefChannel channel = server.accept()) {
                peer.setTcpNoDelay(true);
                ByteBuffer buffer = ByteBuffer.allocate(100);
                CompletableFuture<Integer> first = channel.readAsync(buffer);
                unseen(() -> {
                    peer.getOutputStream().write(new byte[] {1, 2});
                    peer.sendUrgentData(3);
                    peer.getOutputStream().write(new byte[] {4, 5});
                });
                assertArrayEquals(new byte[] {1, 2}, read(first, buffer));
                assertArrayEquals(new byte[] {4, 5}, read(channel));
            }
        }
    }

    @Test
    void bytesBehindAPassedDescriptor() throws Exception {
        CompletableFuture<Connection> ready = new CompletableFuture<>();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            Connection peer = Sockref.connect(path("s").toString(), new Handlers() {
                @Override
                public void onReady(Connection connection) {
                    ready.complete(connection);
                }
            });
            try (SockrefChannel channel = server.accept()) {
                get(ready, "the connect");
                ByteBuffer buffer = ByteBuffer.allocate(100);
                CompletableFuture<Integer> first = channel.readAsync(buffer);
                unseen(() -> {
                    on(peer, c -> c.sendDescriptor(FileDescriptor.in, new byte[] {1, 2}));
                    on(peer, c -> c.write(new byte[] {3}));
                });
                assertArrayEquals(new byte[] {1, 2}, read(first, buffer));
                assertArrayEquals(new byte[] {3}, read(channel));
            }
        }
    }

    @Test
    void bytesForWhoeverCancelled() throws Exception {
        try (Pair pair = new Pair()) {
            for (int i = 1; i < 50; i++) {
                CompletableFuture<Integer> cancelled = pair.channel.readAsync(ByteBuffer.allocate(100));
                assertFalse(cancelled.isDone());
                byte[] bytes = random(i);
                unseen(() -> {
                    send(pair.peer, bytes);
                    cancelled.cancel(false);
                });
                assertArrayEquals(bytes, read(pair.channel));
            }
        }
    }

    @Test
    void shutdownInputIsTheEndOfALaterRead() throws Exception {
        try (Pair pair = new Pair()) {
            CompletableFuture<byte[]> first = CompletableFuture.supplyAsync(() -> {
                try {
                    return read(pair.channel);
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            send(pair.peer, new byte[] {1});
            assertArrayEquals(new byte[] {1}, get(first, "the first read"));
            pair.channel.shutdownInput();
            for (int i = 0; i < 3; i++) {
                assertEquals(-1, get(pair.channel.readAsync(ByteBuffer.allocate(1)), "the end"));
            }
        }
    }

    /** Reads of every kind, one after the other: what one of them left is seen by the next. */
    @Test
    void fullAndShortReadsOfEveryKind() throws Exception {
        byte[] bytes = random(100_000);
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> armed = pair.channel.readAsync(ByteBuffer.allocate(1));
            Call<Void> sender = new Call<>(() -> {
                for (int from = 0, size = 1; from < bytes.length; from += size, size = 1 + size * 3 % 1000) {
                    pair.peer.write(ByteBuffer.wrap(bytes, from, Math.min(size, bytes.length - from)));
                }
                return null;
            });
            ByteBuffer got = ByteBuffer.allocate(bytes.length);
            got.put(bytes[0]);
            assertEquals(1, get(armed, "the first read"));
            for (int kind = 0; got.hasRemaining(); kind++) {
                ByteBuffer part = got.slice(got.position(), Math.min(got.remaining(), 1 + kind * 7 % 300));
                int count = (int) switch (kind % 4) {
                    case 0 -> pair.channel.read(part);
                    case 1 -> pair.channel.read(new ByteBuffer[] {part});
                    default -> get(pair.channel.readAsync(part), "a read");
                };
                assertTrue(count > 0);
                got.position(got.position() + count);
            }
            assertArrayEquals(bytes, got.array());
            sender.get();
        }
    }

    @Test
    void aFullReadLeavesTheRest() throws Exception {
        try (Pair pair = new Pair()) {
            for (int size : new int[] {100, 100_000}) {
                byte[] bytes = random(size);
                ByteBuffer first = ByteBuffer.allocate(size);
                CompletableFuture<Integer> head = pair.channel.readAsync(first.limit(size / 3));
                unseen(() -> send(pair.peer, bytes));
                int got = get(head, "the first read");
                assertEquals(size / 3, got);
                ByteBuffer rest = first.limit(size);
                while (rest.hasRemaining()) {
                    assertTrue(get(pair.channel.readAsync(rest), "the rest") > 0);
                }
                assertArrayEquals(bytes, first.array());
            }
        }
    }

    /** Who is woken and then does not read leaves what there is to the next one. */
    @Test
    void aSignThatWasTakenEndsTheQuiet() throws Exception {
        int fd = Sockets.bellNew();
        Readiness signs = new Readiness(fd);
        signs.arm(Readiness.INPUT);
        signs.setDrained(true);
        assertTrue(signs.isQuiet());
        AtomicInteger woken = new AtomicInteger();
        assertTrue(signs.await(Readiness.INPUT, new Operation<Integer>(null) {
            @Override
            public void run() {
                woken.incrementAndGet();
            }

            @Override
            Integer attempt(int number) {
                return null;
            }

            @Override
            void letGo() {
            }
        }));
        signs.sign(Readiness.INPUT);
        assertEquals(1, woken.get());
        assertFalse(signs.isQuiet());
        signs.forgetDescriptor();
        Sockets.close(fd);
    }

    private static long allocatedByThePoller() {
        Thread poller = Thread.getAllStackTraces().keySet().stream()
                .filter(thread -> thread.getName().equals("sockref-poller")).findFirst().orElseThrow();
        return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getThreadAllocatedBytes(poller.getId());
    }

    private static void ringAndWait(Readiness signs, int fd, int times) throws Exception {
        for (int i = 0; i < times; i++) {
            Sockets.ring(fd);
            assertTrue(signs.park(Readiness.INPUT, System.nanoTime() + LONG.toNanos()));
        }
    }

    /** Of a large number too, of which Integer keeps none. */
    @Test
    void aSignAllocatesNothing() throws Exception {
        List<Integer> bells = Stream.generate(Sockets::bellNew).limit(128).toList();
        int fd = Collections.max(bells);
        assertTrue(fd > 127);
        Readiness signs = new Readiness(fd);
        signs.arm(Readiness.INPUT);
        ringAndWait(signs, fd, 100);
        long before = allocatedByThePoller();
        ringAndWait(signs, fd, 1000);
        assertEquals(0, (allocatedByThePoller() - before) / 1000);
        signs.forgetDescriptor();
        bells.forEach(Sockets::close);
    }

    private static CompletableFuture<Boolean> leaveAnInterrupt(SockrefChannel channel) {
        return channel.readAsync(ByteBuffer.allocate(1)).thenApply(count -> {
            boolean wasInterrupted = Thread.currentThread().isInterrupted();
            Thread.currentThread().interrupt();
            return wasInterrupted;
        });
    }

    /** On the virtual poller it would be the end of all waiting as well. */
    @Test
    void anInterruptIsNotLeftToTheNextCallback() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"), ON_THE_POLLER);
                SocketChannel peer = dial(path("s"));
                SockrefChannel channel = server.accept()) {
            for (int i = 0; i < 3; i++) {
                CompletableFuture<Boolean> read = leaveAnInterrupt(channel);
                send(peer, new byte[1]);
                assertFalse(get(read, "the read"));
            }
        }
    }

    private interface Ending {
        void end(CompletableFuture<Integer> future);
    }

    @Test
    void whateverCompletesAFutureFreesTheTurn() throws Exception {
        List<Ending> ways = List.of(future -> future.cancel(false), future -> future.complete(1),
                future -> future.completeExceptionally(new IllegalStateException()), future -> future.obtrudeValue(1),
                future -> future.obtrudeException(new IllegalStateException()), future -> future.completeAsync(() -> 1),
                future -> future.orTimeout(1, TimeUnit.MILLISECONDS),
                future -> future.completeOnTimeout(1, 1, TimeUnit.MILLISECONDS));
        try (Pair pair = new Pair()) {
            for (Ending way : ways) {
                CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(100));
                way.end(read);
                await("it is complete", read::isDone);
                AtomicReference<CompletableFuture<Integer>> next = new AtomicReference<>();
                await("the turn is free", () -> {
                    next.set(pair.channel.readAsync(ByteBuffer.allocate(100)));
                    return !next.get().isDone();
                });
                send(pair.peer, new byte[2]);
                assertEquals(2, get(next.get(), "the next read"));
            }
        }
    }

    /** The future is cancelled between a try and the wait that follows it: nobody may be left to wait. */
    @Test
    void cancellingDuringATryFreesTheTurn() throws Exception {
        AtomicInteger tries = new AtomicInteger();
        Descriptor socket = new Descriptor(Sockets.bellNew(), () -> { });
        socket.setOwner(this);
        Side side = new Side(socket, Readiness.INPUT, Runnable::run);
        assertTrue(side.turn.tryAcquire());
        new Operation<Integer>(side) {
            @Override
            Integer attempt(int fd) {
                if (tries.incrementAndGet() == 2) {
                    cancel(false);
                }
                return null;
            }

            @Override
            void letGo() {
            }
        }.begin();
        socket.wake();
        assertEquals(2, tries.get());
        assertTrue(side.turn.tryAcquire());
        socket.close(fd -> { });
    }

    /** Until a thread waits for a monitor, or is over. */
    private static void awaitBlockedOrOver(Thread thread) throws Exception {
        await("the thread is stopped or over",
                () -> thread.getState() == Thread.State.BLOCKED || thread.getState() == Thread.State.TERMINATED);
    }

    /** It begins to wait while the number is made to lead to a listener: it is told what comes there. */
    @Test
    void whoWaitsWhileANumberIsReplaced() throws Exception {
        Descriptor socket = new Descriptor(Sockets.bellNew(), () -> { });
        socket.setOwner(this);
        Side side = new Side(socket, Readiness.INPUT, Runnable::run);
        assertTrue(side.turn.tryAcquire());
        Operation<Integer> accept = new Operation<>(side) {
            @Override
            Integer attempt(int fd) {
                int taken = Sockets.accept(fd);
                return taken < 0 ? null : taken;
            }

            @Override
            void letGo() {
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            Thread waiter = new Thread(accept::begin);
            socket.replace(fd -> assertDoesNotThrow(() -> {
                waiter.start();
                awaitBlockedOrOver(waiter);
                assertEquals(0, reference.follow(fd));
            }));
            waiter.join();
            try (SocketChannel peer = dial(path("s"))) {
                Sockets.close(get(accept, "the accept"));
                assertEquals(-1, peer.read(ByteBuffer.allocate(1)));
            }
            socket.close(fd -> { });
        }
    }

    @Test
    void aNumberIsReplacedByOneAtATime() throws Exception {
        Descriptor socket = new Descriptor(Sockets.bellNew(), () -> { });
        socket.setOwner(this);
        List<Integer> order = new CopyOnWriteArrayList<>();
        Thread other = new Thread(() -> socket.replace(fd -> order.add(2)));
        socket.replace(fd -> assertDoesNotThrow(() -> {
            other.start();
            awaitBlockedOrOver(other);
            order.add(1);
        }));
        other.join();
        assertEquals(List.of(1, 2), order);
        socket.close(fd -> { });
    }
}
