package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** What is counted, as records and as text, and whether a name is well. */
class StatsTest extends ChannelScene {
    private static final int NUMBERS = 12;
    private static final int BUCKETS = 14;

    private static <T> T seen(Callable<T> asked) {
        try {
            return asked.call();
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    /** What loops do, they do and count on their threads. */
    private static <T> void awaitSeen(T expected, Callable<T> asked) throws Exception {
        await(expected.toString(), () -> seen(asked).equals(expected), () -> seen(asked));
    }

    private static long inBuckets(Histogram histogram) {
        return histogram.buckets().stream().mapToLong(Histogram.Bucket::count).sum();
    }

    @Test
    void g39ARegistryCountsWhatIsStartedAndEnded() throws Exception {
        try (Registry registry = new Registry(); Registry other = new Registry();
                ServerSocketChannel foreign = foreign(path("foreign"))) {
            RegistryStats none = registry.stats();
            assertEquals(0, none.created() + none.closed() + none.removal().count() + none.removal().sumNanos());
            SocketReference first = registry.listen(path("s"));
            for (int i = 0; i < 3; i++) {
                registry.listen(path("s")).close();
            }
            SocketReference revoked = registry.listen(path("t"));
            SocketReference theirs = other.listen(path("u"));
            SocketReference joined = registry.listen(path("u"));
            refused("ESOCKREF_FOREIGN", () -> registry.listen(path("foreign")));
            first.close();
            joined.close();
            registry.cleanup(path("t"));
            revoked.close();
            registry.drain(LONG);

            RegistryStats stats = registry.stats();
            assertEquals(List.of(2L, 1L, 3L, 1L, 2L, 1L, 3L, 0L), List.of(stats.created(), stats.joined(),
                    stats.reused(), stats.failed(), stats.closed(), stats.revoked(), stats.removed(),
                    stats.removeFailed()));
            assertEquals(Optional.empty(), stats.lastRemoveError());
            assertEquals(stats.removed(), stats.removal().count());
            assertEquals(stats.removed(), inBuckets(stats.removal()));
            assertTrue(stats.removal().sumNanos() > 0);
            assertEquals(1, other.stats().created());
            theirs.close();
            assertEquals(1, other.stats().closed());
            assertTrue(foreign.isOpen());
        }
    }

    @Test
    void l69CountersOfAName() throws Exception {
        try (Registry registry = new Registry()) {
            try (SocketReference reference = registry.listen(path("s"));
                    SocketReference again = registry.listen(path("s"))) {
                RegistryStats shared = registry.stats();
                assertEquals(List.of(1L, 1L, 0L), List.of(shared.created(), shared.reused(), shared.closed()));
                assertEquals(2, reference.stats().references());
                assertEquals(2, again.stats().references());
            }
            RegistryStats over = registry.stats();
            assertEquals(List.of(1L, 1L, 1L, 1L),
                    List.of(over.created(), over.closed(), over.removed(), over.removal().count()));
        }
    }

    @Test
    void l70CountersOfAService() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serveEcho();
            try (SocketChannel peer = dial(path("s"))) {
                send(peer, "hello".getBytes());
                assertEquals("hello", new String(receive(peer, 5)));
            }
            awaitSeen(new SocketStats(1, 0, 1, 0, 5, 5, 0), () -> timeless(reference.stats()));
        }
    }

    @Test
    void l71HealthOfARemovedFile() throws Exception {
        Optional<Boolean> yes = Optional.of(true);
        Optional<Boolean> no = Optional.of(false);
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            assertEquals(new Health(yes, yes, no), reference.checkHealth());
            Files.delete(path("s"));
            assertEquals(new Health(no, no, no), reference.checkHealth());
        }
    }

    @Test
    void g39TheDefaultRegistryCounts() throws Exception {
        RegistryStats before = Sockref.stats();
        SocketReference.listen(path("s")).close();
        RegistryStats after = Sockref.stats();
        assertEquals(before.created() + 1, after.created());
        assertEquals(before.closed() + 1, after.closed());
    }

    @Test
    void g39NumbersAreReadInOrder() {
        long[] numbers = new long[NUMBERS + BUCKETS];
        for (int i = 0; i < numbers.length; i++) {
            numbers[i] = i + 1;
        }
        numbers[9] = -13;
        RegistryStats stats = RegistryStats.of(numbers);
        assertEquals(List.of(1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L, 9L), List.of(stats.created(), stats.joined(),
                stats.reused(), stats.failed(), stats.closed(), stats.revoked(), stats.removed(), stats.removeFailed(),
                stats.deferred()));
        assertEquals(Optional.of("EACCES"), stats.lastRemoveError());
        Histogram removal = stats.removal();
        assertEquals(11, removal.count());
        assertEquals(Duration.ofNanos(12), removal.sum());
        assertEquals(BUCKETS, removal.buckets().size());
        assertEquals(new Histogram.Bucket(1000, 13), removal.buckets().get(0));
        assertEquals(new Histogram.Bucket(4000, 14), removal.buckets().get(1));
        assertEquals(Duration.ofNanos(67_108_864_000L), removal.buckets().get(BUCKETS - 1).upperBound());
    }

    @Test
    void g39AClosedRegistryAndReferenceSaySo() throws Exception {
        Registry registry = new Registry();
        SocketReference reference = registry.listen(path("s"));
        registry.close();
        refused("ESOCKREF_SHUTDOWN", registry::stats);
        refused("ESOCKREF_SHUTDOWN", registry::metrics);
        assertEquals(1, reference.stats().references());
        reference.close();
        refused("ESOCKREF_CLOSED", reference::stats);
    }

    @Test
    void g39MetricsTellEveryName() throws Exception {
        List<SocketReference> references = new ArrayList<>();
        try (Registry registry = new Registry()) {
            for (int i = 0; i < 100; i++) {
                references.add(registry.listen(path("\u00e4" + i)));
            }
            String text = registry.metrics();
            assertTrue(text.endsWith("# EOF\n"));
            for (SocketReference reference : references) {
                assertTrue(text.contains("\"" + reference.path() + "\""), reference::path);
            }
            for (String line : text.split("\n")) {
                assertTrue(line.matches("# (TYPE|UNIT|HELP) sockref_\\w+ .+|# EOF|sockref_\\w+(\\{.*\\})? [-+.\\w]+"),
                        () -> line);
            }
            references.forEach(SocketReference::close);
            String less = registry.metrics();
            assertTrue(less.endsWith("# EOF\n"));
            assertFalse(less.contains(references.get(0).path()));
        }
        assertTrue(Sockref.metrics().endsWith("# EOF\n"));
    }

    private static SocketStats timeless(SocketStats stats) {
        return new SocketStats(stats.references(), stats.connections(), stats.accepted(), stats.refused(),
                stats.bytesRead(), stats.bytesWritten(), 0);
    }

    private static List<Long> traffic(LoopStats from) throws SockrefException {
        LoopStats to = Sockref.loopStats();
        return List.of(to.accepted() - from.accepted(), to.refused() - from.refused(),
                to.bytesRead() - from.bytesRead(), to.bytesWritten() - from.bytesWritten());
    }

    @Test
    void g41ConnectionsAndBytesAreCounted() throws Exception {
        LoopStats before = Sockref.loopStats();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            assertEquals(new SocketStats(1, 0, 0, 0, 0, 0, 0), reference.stats());
            reference.serve(new Handlers() {
                @Override
                public void onData(Connection peer, byte[] data) throws Exception {
                    peer.write(data);
                    peer.write(data);
                }
            }, ConnectionOptions.builder().dropExcess(true).build());
            reference.setMaxConnections(1);
            try (SocketChannel peer = dial(path("s"))) {
                send(peer, random(1000));
                assertEquals(2000, receive(peer, 2000).length);
                for (int i = 0; i < 3; i++) {
                    try (SocketChannel tooMany = dial(path("s"))) {
                        assertEquals(0, receive(tooMany, 1).length);
                    }
                }
                awaitSeen(new SocketStats(1, 1, 1, 3, 1000, 2000, 0), () -> timeless(reference.stats()));
                long served = reference.stats().servedNanos();
                assertTrue(served > 0 && reference.stats().servedNanos() > served);
            }
            awaitSeen(new SocketStats(1, 0, 1, 3, 1000, 2000, 0), () -> timeless(reference.stats()));
        }
        awaitSeen(List.of(1L, 3L, 1000L, 2000L), () -> traffic(before));
    }

    private static List<Long> connects(LoopStats from) throws SockrefException {
        LoopStats to = Sockref.loopStats();
        return List.of(to.connected() - from.connected(), to.connectFailed() - from.connectFailed(),
                to.connect().count() - from.connect().count(), inBuckets(to.connect()) - inBuckets(from.connect()));
    }

    @Test
    void g41ConnectsAreCountedAndTimed() throws Exception {
        LoopStats before = Sockref.loopStats();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            SockrefChannel.connect(reference.path()).close();
        }
        for (int i = 0; i < 2; i++) {
            refused("ENOENT", () -> SockrefChannel.connect(path("nobody").toString()));
        }
        awaitSeen(List.of(1L, 2L, 1L, 1L), () -> connects(before));
        assertTrue(Sockref.loopStats().connect().sumNanos() > before.connect().sumNanos());
    }

    @Test
    void t15WhatWaitsOnABlockedThreadIsTold() throws Exception {
        LoopStats before = Sockref.loopStats();
        CompletableFuture<SocketReference> start;
        try (Blocked blocked = new Blocked(path("s"))) {
            start = SocketReference.startListener(path("t"));
            await("the result waits", () -> seen(Sockref::loopStats).pending() > before.pending());
            await("it has waited for too long", () -> seen(Sockref::loopStats).isStarving());
            LoopStats starving = Sockref.loopStats();
            assertTrue(starving.oldestNanos() > Duration.ofSeconds(1).toNanos());
            assertTrue(starving.newestNanos() > 0 && starving.newestNanos() <= starving.oldestNanos());
            assertFalse(start.isDone());
        }
        get(start).close();
        LoopStats after = Sockref.loopStats();
        assertFalse(after.isStarving());
        assertEquals(before.starved() + 1, after.starved());
        await("the callbacks are counted", () -> seen(Sockref::loopStats).callbacks() > before.callbacks());
    }

    @Test
    void g40HealthFollowsFileAndService() throws Exception {
        Optional<Boolean> yes = Optional.of(true);
        Optional<Boolean> no = Optional.of(false);
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            assertEquals(new Health(yes, yes, no), reference.checkHealth());
            reference.serve(new Handlers() { });
            awaitSeen(new Health(yes, yes, yes), reference::checkHealth);
            assertEquals(0, reference.stats().accepted());
            try (Registry other = new Registry(); SocketReference joined = other.listen(path("s"))) {
                assertEquals(new Health(yes, yes, Optional.empty()), joined.checkHealth());
            }
            Files.move(path("s"), path("elsewhere"));
            assertEquals(new Health(no, no, yes), reference.checkHealth());
            Files.move(path("elsewhere"), path("s"));
            assertEquals(new Health(yes, yes, yes), reference.checkHealth());
        }
    }

    @Test
    void g40HealthOfANameWithoutAFile() throws Exception {
        try (SocketReference reference = SocketReference.listen("@sockref-health-" + ProcessHandle.current().pid())) {
            reference.serveEcho();
            awaitSeen(new Health(Optional.empty(), Optional.of(true), Optional.of(true)), reference::checkHealth);
        }
    }

    @Test
    void g40HealthOfWhatIsOver() throws Exception {
        try (SocketReference counted = SocketReference.getOrCreate(path("s"))) {
            refused("ESOCKREF_CLOSED", counted::checkHealth);
        }
        SocketReference reference = SocketReference.listen(path("s"));
        Sockref.cleanup(path("s"));
        refused("ESOCKREF_CLOSED", reference::checkHealth);
        assertEquals(1, reference.stats().references());
        reference.close();
        refused("ESOCKREF_CLOSED", reference::checkHealth);
    }
}
