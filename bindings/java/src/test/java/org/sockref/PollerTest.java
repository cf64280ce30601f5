package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;

/** The system refuses to wait for channels any longer: nobody waits on, and the next one waits by another poller. */
class PollerTest extends ChannelScene {
    private static int number(Poller poller) throws Exception {
        var field = Poller.class.getDeclaredField("fd");
        field.setAccessible(true);
        return field.getInt(poller);
    }

    /** Have the number of the poller of futures lead to what is no poller, and have it look again. */
    private void breakPoller() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("breaker"));
                SocketChannel peer = dial(path("breaker"));
                SockrefChannel channel = server.accept()) {
            CompletableFuture<Integer> last = channel.readAsync(ByteBuffer.allocate(1));
            Poller poller = Poller.get();
            int fd = number(poller);
            assertEquals(0, server.reference().follow(fd));
            try {
                send(peer, new byte[1]);
                await("it has looked again", last::isDone);
                await("another poller is started", () -> {
                    try {
                        return Poller.get() != poller;
                    } catch (SockrefException e) {
                        throw new AssertionError(e);
                    }
                });
            } finally {
                Sockets.close(fd);
            }
        }
    }

    private static void assertTellsWhy(Throwable problem) {
        SockrefException refused = assertInstanceOf(SockrefException.class, problem);
        assertEquals("EINVAL", refused.code());
        assertEquals("epoll_wait", refused.syscall());
        assertEquals("waiting for channels failed: Invalid argument", refused.getMessage());
    }

    private static void assertGoesOn(Pair pair) throws Exception {
        CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(10));
        assertFalse(read.isDone());
        send(pair.peer, new byte[7]);
        assertEquals(7, get(read, "the next read"));
    }

    @Test
    void allWhoWaitAreTold() throws Exception {
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> read = pair.channel.readAsync(ByteBuffer.allocate(1));
            CompletableFuture<Integer> written = pair.channel.writeAsync(ByteBuffer.allocate(10_000_000));
            CompletableFuture<SockrefChannel> accept = pair.server.acceptAsync();
            breakPoller();
            assertTellsWhy(problem(read));
            assertTellsWhy(problem(written));
            assertTellsWhy(problem(accept));
            assertGoesOn(pair);
            receive(pair.peer, (int) pair.channel.bytesWritten());
            Call<Integer> write = new Call<>(
                    () -> pair.channel.setTimeout(Duration.ofDays(1)).write(ByteBuffer.allocate(10_000_000)));
            await("it waits", () -> Stream.of(write.thread.getStackTrace())
                    .anyMatch(frame -> frame.getClassName().equals(Readiness.class.getName())
                            && frame.getMethodName().equals("park")));
            await("it is parked", () -> write.thread.getState() == Thread.State.TIMED_WAITING);
            breakPoller();
            assertTellsWhy(write.problem());
            assertGoesOn(pair);
        }
    }

    @Test
    @EnabledForJreRange(min = JRE.JAVA_21, max = JRE.OTHER)
    void virtualThreadsAreToldToo() throws Exception {
        try (Pair pair = new Pair()) {
            List<VirtualThreadsTest.Virtual<?>> calls = new ArrayList<>();
            for (int i = 0; i < 2; i++) {
                calls.add(new VirtualThreadsTest.Virtual<>(() -> pair.channel.read(ByteBuffer.allocate(10))));
                calls.get(2 * i).awaitParked();
                calls.add(new VirtualThreadsTest.Virtual<>(() -> pair.server.accept()));
                calls.get(2 * i + 1).awaitParked();
                breakPoller();
                assertTellsWhy(problem(calls.get(2 * i).outcome));
                assertTellsWhy(problem(calls.get(2 * i + 1).outcome));
            }
            VirtualThreadsTest.Virtual<Integer> next = new VirtualThreadsTest.Virtual<>(
                    () -> pair.channel.read(ByteBuffer.allocate(10)));
            next.awaitParked();
            send(pair.peer, new byte[7]);
            assertEquals(7, get(next.outcome, "the next read"));
        }
    }
}
