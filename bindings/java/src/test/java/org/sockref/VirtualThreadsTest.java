package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.AsynchronousCloseException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;

/** Channels on virtual threads: they park, and what carries them goes on. */
@EnabledForJreRange(min = JRE.JAVA_21, max = JRE.OTHER)
class VirtualThreadsTest extends ChannelScene {
    /** More than any machine has carriers. */
    private static final int MANY = 300;

    private static Thread startVirtual(Runnable body) throws ReflectiveOperationException {
        return (Thread) Thread.class.getMethod("startVirtualThread", Runnable.class).invoke(null, body);
    }

    /** A call on a virtual thread. */
    static final class Virtual<T> {
        final CompletableFuture<T> outcome = new CompletableFuture<>();
        final AtomicReference<Thread> thread = new AtomicReference<>();

        Virtual(Callable<T> body) throws Exception {
            thread.set(startVirtual(() -> {
                try {
                    outcome.complete(body.call());
                } catch (Throwable t) {
                    outcome.completeExceptionally(t);
                }
            }));
        }

        void awaitParked() throws Exception {
            await("it is parked", () -> {
                Thread.State state = thread.get().getState();
                return state == Thread.State.WAITING || state == Thread.State.TIMED_WAITING;
            });
        }
    }

    @Test
    void manyWaitAtOnce() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            List<SocketChannel> peers = new ArrayList<>();
            List<Virtual<Integer>> echoes = new ArrayList<>();
            Virtual<Void> acceptor = new Virtual<>(() -> {
                for (int i = 0; i < MANY; i++) {
                    SockrefChannel channel = server.accept();
                    echoes.add(new Virtual<>(() -> echo(channel)));
                }
                return null;
            });
            for (int i = 0; i < MANY; i++) {
                peers.add(dial(path("s")));
            }
            get(acceptor.outcome, "the acceptor");
            for (int round = 1; round < 4; round++) {
                for (SocketChannel peer : peers) {
                    send(peer, new byte[round]);
                }
                for (SocketChannel peer : peers) {
                    assertEquals(round, receive(peer, round).length);
                }
            }
            for (SocketChannel peer : peers) {
                peer.close();
            }
            for (Virtual<Integer> echo : echoes) {
                assertEquals(6, get(echo.outcome, "an echo"));
            }
        }
    }

    private static int echo(SockrefChannel channel) throws Exception {
        ByteBuffer buffer = ByteBuffer.allocate(100);
        int all = 0;
        try (channel) {
            for (int count = channel.read(buffer); count >= 0; count = channel.read(buffer)) {
                all += count;
                channel.write(buffer.flip());
                buffer.clear();
            }
        }
        return all;
    }

    @Test
    void muchGoesBothWaysAtOnce() throws Exception {
        try (Pair pair = new Pair()) {
            long length = 16L << 20;
            Virtual<Long> sent = new Virtual<>(() -> pour(pair.channel, length, ByteBuffer.allocateDirect(70_000)));
            Virtual<Long> got = new Virtual<>(() -> drink(pair.channel, length, ByteBuffer.allocate(50_000)));
            Call<Long> sentBack = new Call<>(() -> pour(pair.peer, length, ByteBuffer.allocateDirect(90_000)));
            assertEquals(drink(pair.peer, length, ByteBuffer.allocateDirect(100_000)), get(sent.outcome, "sent"));
            assertEquals(sentBack.get(), get(got.outcome, "got"));
        }
    }

    /** Who closes may be what carries the one that waits. */
    @Test
    void closingAServerNeedsNoCarrier() throws Exception {
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
        Virtual<SockrefChannel> waits = new Virtual<>(server::accept);
        waits.awaitParked();
        AtomicBoolean isClosed = new AtomicBoolean();
        List<Virtual<Void>> busy = new ArrayList<>();
        for (int i = 0; i < Runtime.getRuntime().availableProcessors(); i++) {
            busy.add(new Virtual<>(() -> {
                while (!isClosed.get()) {
                    Thread.onSpinWait();
                }
                return null;
            }));
        }
        try {
            new Call<>(() -> {
                server.close();
                return null;
            }).get();
        } finally {
            isClosed.set(true);
        }
        assertFalse(exists(path("s")));
        assertEquals(AsynchronousCloseException.class, problem(waits.outcome).getClass());
        for (Virtual<Void> one : busy) {
            get(one.outcome, "a busy one");
        }
    }

    @Test
    void whatWaitsIsClosedInterruptedAndTimedOut() throws Exception {
        for (int call = 0; call < 3; call++) {
            int which = call;
            for (boolean interrupt : new boolean[] {false, true}) {
                try (Pair pair = new Pair()) {
                    Virtual<?> waits = new Virtual<Object>(() -> switch (which) {
                        case 0 -> pair.channel.read(ByteBuffer.allocateDirect(1));
                        case 1 -> pair.channel.write(ByteBuffer.allocate(10_000_000));
                        default -> pair.server.accept();
                    });
                    waits.awaitParked();
                    if (interrupt) {
                        waits.thread.get().interrupt();
                    } else {
                        (which == 2 ? pair.server : pair.channel).close();
                    }
                    assertEquals(interrupt ? ClosedByInterruptException.class : AsynchronousCloseException.class,
                            problem(waits.outcome).getClass(), "call " + call);
                    assertFalse((which == 2 ? pair.server : pair.channel).isOpen());
                }
            }
        }
        try (Pair pair = new Pair()) {
            pair.channel.setTimeout(Duration.ofMillis(20));
            Virtual<Integer> read = new Virtual<>(() -> pair.channel.read(ByteBuffer.allocate(1)));
            assertInstanceOf(SocketTimeoutException.class, problem(read.outcome));
            Virtual<Integer> write = new Virtual<>(() -> pair.channel.write(ByteBuffer.allocate(10_000_000)));
            assertInstanceOf(SocketTimeoutException.class, problem(write.outcome));
        }
    }
}
