package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** Times that are no number of milliseconds, or more of them than C counts. */
class DurationsTest extends ChannelScene {
    private static final Duration SHORTEST = Duration.ofNanos(1);
    private static final Duration LONGEST = Duration.ofSeconds(Long.MAX_VALUE, 999_999_999);
    private static final Duration LONGEST_NEGATIVE = Duration.ofSeconds(Long.MIN_VALUE);

    @Test
    void millisecondsAreRoundedUpAndEndWhereCountingEnds() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serveEcho();
            Connection connection = Sockref.connect(reference.path(), new Handlers() { });
            Duration most = Duration.ofMillis(Integer.MAX_VALUE);
            assertEquals(Duration.ofMillis(1), kept(connection, SHORTEST));
            assertEquals(Duration.ofMillis(1), kept(connection, Duration.ofMillis(1)));
            assertEquals(Duration.ofMillis(2), kept(connection, Duration.ofMillis(1).plusNanos(1)));
            assertEquals(most, kept(connection, most.minusNanos(1)));
            assertEquals(most, kept(connection, most.plusNanos(1)));
            assertEquals(most, kept(connection, LONGEST));
            assertEquals(Duration.ZERO, kept(connection, Duration.ZERO));
            on(connection, c -> {
                c.destroy();
                return null;
            });
        }
    }

    /** The time-out that a connection has when it was set to that time. */
    private static Duration kept(Connection connection, Duration time) throws Exception {
        return on(connection, c -> {
            c.setTimeout(time);
            return c.info().timeout();
        });
    }

    @Test
    void theShortestTimeOfAChannelIsNotForEverAndTheLongestNotShort() throws Exception {
        try (Pair pair = new Pair()) {
            pair.channel.setTimeout(SHORTEST);
            assertThrows(SocketTimeoutException.class, () -> pair.channel.read(ByteBuffer.allocate(1)));
            pair.channel.setTimeout(LONGEST);
            Call<Integer> read = new Call<>(() -> pair.channel.read(ByteBuffer.allocate(2)));
            read.awaitInside();
            send(pair.peer, new byte[2]);
            assertEquals(2, read.get());

            ConnectOptions options = ConnectOptions.builder().timeout(LONGEST).attemptDelay(LONGEST).build();
            SockrefChannel.connect(path("pair").toString(), options).close();
        }
    }

    @Test
    void aNegativeTimeIsRefusedWhereItHasNoMeaning() throws Exception {
        for (Duration time : new Duration[] {SHORTEST.negated(), LONGEST_NEGATIVE}) {
            refuse(ConnectOptions.builder()::timeout, time);
            refuse(ConnectOptions.builder()::attemptDelay, time);
            refuse(ConnectionOptions.builder()::timeout, time);
            refuse(ConnectionOptions.builder()::keepAlive, time);
        }
    }

    private static void refuse(Consumer<Duration> setter, Duration time) {
        assertThrows(IllegalArgumentException.class, () -> setter.accept(time));
    }

    @Test
    void theShortestShutdownEnds() throws Exception {
        try (Registry registry = new Registry(); SocketReference held = registry.listen(path("s"))) {
            registry.drain(SHORTEST);
            refused("ESOCKREF_TIMEOUT", () -> registry.shutdown(SHORTEST));
            assertFalse(held.isActive());
        }
    }

    @Test
    void theLongestAndANegativeShutdownWaitForTheHolder() throws Exception {
        for (Duration time : new Duration[] {LONGEST, SHORTEST.negated(), LONGEST_NEGATIVE}) {
            try (Registry registry = new Registry(); SocketReference held = registry.listen(path("s"))) {
                registry.drain(time);
                CompletableFuture<Void> shutdown = registry.shutdownAsync(time);
                await("new references are refused", () -> isRefused(registry));
                assertFalse(shutdown.isDone());
                held.close();
                get(shutdown, "the shutdown");
            }
        }
    }

    private boolean isRefused(Registry registry) {
        try {
            registry.getOrCreate(path("t")).close();
            return false;
        } catch (SockrefException e) {
            return e.code().equals("ESOCKREF_SHUTDOWN");
        }
    }
}
