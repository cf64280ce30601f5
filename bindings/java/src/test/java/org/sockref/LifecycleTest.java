package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, one reference's life: L01 to L12, L20 to L36, L41. */
class LifecycleTest extends Scene {
    @Test
    void l01StartsAListener() throws Exception {
        long active = Sockref.activeSocketCount();
        try (SocketReference reference = get(SocketReference.startListener(path("s")))) {
            assertTrue(isSocket(path("s")));
            assertEquals("rw-------", java.nio.file.attribute.PosixFilePermissions.toString(
                    Files.getPosixFilePermissions(path("s"))));
            assertEquals(path("s").toString(), reference.path());
            assertTrue(reference.isActive());
            assertTrue(reference.isOwner());
            assertEquals(1, reference.referenceCount());
            assertEquals(1, reference.holderCount());
            assertEquals(active + 1, Sockref.activeSocketCount());
            assertTrue(Sockref.isSocketActive(path("s")));
        }
    }

    @Test
    void l02StartOfTheSamePathShares() throws Exception {
        long active = Sockref.activeSocketCount();
        try (SocketReference first = get(SocketReference.startListener(path("s")));
                SocketReference second = SocketReference.listen(path("s"))) {
            assertEquals(2, first.referenceCount());
            assertEquals(2, second.referenceCount());
            assertEquals(1, sockets().size());
            assertEquals(active + 1, Sockref.activeSocketCount());
        }
    }

    @Test
    void l03OneOfTwoIsClosed() throws Exception {
        try (SocketReference first = SocketReference.listen(path("s"))) {
            SocketReference.listen(path("s")).close();
            assertEquals(1, first.referenceCount());
            assertTrue(isSocket(path("s")));
            dial(path("s")).close();
        }
    }

    @Test
    void l04LastCloseRemoves() throws Exception {
        long active = Sockref.activeSocketCount();
        SocketReference reference = SocketReference.listen(path("s"));
        reference.close();
        assertFalse(exists(path("s")));
        assertFalse(Sockref.isSocketActive(path("s")));
        assertEquals(active, Sockref.activeSocketCount());
    }

    @Test
    void l05SecondLifeWorks() throws Exception {
        SocketReference.listen(path("s")).close();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            assertTrue(reference.isActive());
            assertEquals(1, reference.referenceCount());
            dial(path("s")).close();
        }
        assertFalse(exists(path("s")));
    }

    @Test
    void l06EchoGivesTheBytesBack() throws Exception {
        byte[] bytes = new byte[64 * 1024];
        new Random(6).nextBytes(bytes);
        java.util.Arrays.fill(bytes, 1000, 2000, (byte) 0);
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serveEcho();
            try (SocketChannel channel = dial(path("s"))) {
                CompletableFuture<Void> sent = CompletableFuture.runAsync(() -> {
                    try {
                        send(channel, bytes);
                        channel.shutdownOutput();
                    } catch (java.io.IOException e) {
                        throw new java.io.UncheckedIOException(e);
                    }
                });
                assertArrayEquals(bytes, receive(channel, bytes.length + 1));
                sent.get();
            }
        }
    }

    @Test
    void l07CloseTwiceReleasesOnce() throws Exception {
        try (SocketReference other = SocketReference.listen(path("s"))) {
            SocketReference reference = SocketReference.listen(path("s"));
            reference.close();
            reference.close();
            assertEquals(1, other.referenceCount());
        }
    }

    @Test
    void l08CloseRacesCalls() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(3);
        try {
            for (int round = 0; round < 300; round++) {
                SocketReference reference = SocketReference.listen(path("s"));
                CountDownLatch ready = new CountDownLatch(3);
                List<Future<?>> calls = new ArrayList<>();
                for (int i = 0; i < 3; i++) {
                    calls.add(pool.submit(() -> {
                        ready.countDown();
                        while (reference.isActive()) {
                            reference.referenceCount();
                            reference.holderCount();
                            reference.isOwner();
                            assertEquals(path("s").toString(), reference.path());
                            try {
                                reference.dup().close();
                            } catch (SockrefException closed) {
                                assertEquals("ESOCKREF_CLOSED", closed.code());
                            }
                        }
                        return null;
                    }));
                }
                ready.await();
                reference.close();
                for (Future<?> call : calls) {
                    call.get();
                }
                // A call that was inside made the release, after close() had returned.
                await("the file is gone", () -> !exists(path("s")));
            }
        } finally {
            pool.shutdown();
        }
    }

    private void drop() throws Exception {
        assertTrue(SocketReference.listen(path("s")).isActive());
        assertTrue(exists(path("s")));
    }

    @Test
    void l09DroppedReferenceIsReleased() throws Exception {
        drop();
        awaitCollected("the file is gone", () -> !exists(path("s")));
    }

    private void closeAndDrop() throws Exception {
        SocketReference.listen(path("s")).close();
    }

    @Test
    void l10CloseThenCleanerIsOneRelease() throws Exception {
        try (SocketReference other = SocketReference.listen(path("s"))) {
            for (int i = 0; i < 20; i++) {
                closeAndDrop();
            }
            java.lang.ref.WeakReference<Object> witness = new java.lang.ref.WeakReference<>(new Object());
            for (int i = 0; i < 3; i++) {
                awaitCollected("a collection", () -> witness.refersTo(null));
            }
            assertEquals(1, other.referenceCount());
            assertTrue(other.isActive());
        }
    }

    @Test
    void l11DupCountsOneMore() throws Exception {
        SocketReference first = SocketReference.listen(path("s"));
        SocketReference second = first.dup();
        assertEquals(2, first.referenceCount());
        first.close();
        assertEquals(1, second.referenceCount());
        assertEquals(first.path(), second.path());
        assertTrue(exists(path("s")));
        second.close();
        assertFalse(exists(path("s")));
    }

    @Test
    void l12WrongHandles() throws Exception {
        SocketReference reference = SocketReference.listen(path("s"));
        assertThrows(NullPointerException.class, () -> reference.serve(null));
        reference.close();
        refused("ESOCKREF_CLOSED", reference::dup);
        refused("ESOCKREF_CLOSED", reference::fd);
        refused("ESOCKREF_CLOSED", reference::serveEcho);
        refused("ESOCKREF_CLOSED", () -> reference.serve(new Handlers() { }));
        assertEquals(path("s").toString(), reference.path());
        assertFalse(reference.isActive());
        assertFalse(reference.isOwner());
        assertEquals(0, reference.referenceCount());
        assertEquals(0, reference.holderCount());
        assertThrows(NullPointerException.class, () -> SocketReference.getOrCreate((String) null));
        assertThrows(NullPointerException.class, () -> SocketReference.getExisting((Path) null));
        assertThrows(NullPointerException.class, () -> SocketReference.listen((byte[]) null));
        assertThrows(NullPointerException.class, () -> SocketReference.listen(path("s"), null));
        assertThrows(NullPointerException.class, () -> Sockref.drain(null));
        assertTrue(problem(SocketReference.startListener((String) null)) instanceof NullPointerException);
        assertTrue(problem(SocketReference.startListener(path("s"), null)) instanceof NullPointerException);
        assertTrue(problem(Sockref.drainAsync(null)) instanceof NullPointerException);
    }

    @Test
    void l20ThreeSpellingsAreOneName() throws Exception {
        Path real = Files.createDirectory(path("real"));
        Path link = Files.createSymbolicLink(path("link"), real);
        try (SocketReference a = SocketReference.listen(real + "//s");
                SocketReference b = SocketReference.listen(real + "/./s");
                SocketReference c = SocketReference.listen(link + "/s")) {
            assertEquals(3, a.referenceCount());
            assertEquals(3, b.referenceCount());
            assertEquals(3, c.referenceCount());
            assertEquals(1, sockets().size());
            assertTrue(Sockref.isSocketActive(real + "/s"));
        }
    }

    @Test
    void l21GetOrCreateAndGetExisting() throws Exception {
        assertTrue(SocketReference.getExisting(path("s")).isEmpty());
        try (SocketReference named = SocketReference.getOrCreate(path("s"))) {
            assertFalse(exists(path("s")));
            assertTrue(named.isActive());
            assertFalse(named.isOwner());
            refused("ESOCKREF_CLOSED", named::fd);
            try (SocketReference existing = SocketReference.getExisting(path("s")).orElseThrow();
                    SocketReference again = SocketReference.getOrCreate(path("s").toString())) {
                assertEquals(3, existing.referenceCount());
                assertEquals(3, again.referenceCount());
            }
            try (SocketReference bound = SocketReference.listen(path("s"))) {
                assertTrue(named.isOwner());
                assertEquals(2, bound.referenceCount());
            }
            assertEquals(1, named.referenceCount());
        }
        assertTrue(SocketReference.getExisting(path("s")).isEmpty());
    }

    @Test
    void l22RegisterNew() throws Exception {
        int fd = Descriptors.bind(path("s"));
        foreign(path("foreign")).close();
        refused("ESOCKREF_FOREIGN", () -> Sockref.registerNew(path("foreign"), fd));
        try (SocketReference reference = Sockref.registerNew(path("s"), fd)) {
            assertTrue(reference.isOwner());
            assertEquals(1, reference.referenceCount());
            dial(path("s")).close();
            refused("ESOCKREF_EXISTS", () -> Sockref.registerNew(path("s"), fd));
            int duplicate = reference.fd();
            assertNotEquals(fd, duplicate);
            assertEquals(Descriptors.target(fd), Descriptors.target(duplicate));
        }
        assertFalse(exists(path("s")));
        refused("EINVAL", () -> Sockref.registerNew(path("s"), -1));
        int file = Descriptors.openFile(Files.createFile(path("file")));
        refused("ESOCKREF_FOREIGN", () -> Sockref.registerNew(path("file"), file));
        assertTrue(exists(path("file")));
    }

    @Test
    void aRegisteredSocketTellsItsName() throws Exception {
        try (SocketReference reference = Sockref.registerNew(Descriptors.bind(path("s")))) {
            assertEquals(path("s").toString(), reference.path());
            assertTrue(Sockref.isSocketActive(path("s")));
        }
        assertFalse(exists(path("s")));
        int file = Descriptors.openFile(Files.createFile(path("file")));
        refused("ESOCKREF_FOREIGN", () -> Sockref.registerNew(file));
    }

    @Test
    void aKeptFileStays() throws Exception {
        int fd = Descriptors.bind(path("s"));
        try (Registry registry = new Registry(Options.builder().keepFile(true).build())) {
            registry.registerNew(path("s"), fd).close();
        }
        Files.delete(path("s"));
        Options misplaced = Options.builder().keepFile(true).build();
        refused("EINVAL", () -> SocketReference.listen(path("other"), misplaced));
    }

    @Test
    void portsAreSharedByThoseWhoSaySo() throws Exception {
        Options reuse = Options.builder().reusePort(true).ipv6Only(false).build();
        try (Registry one = new Registry(); Registry two = new Registry();
                SocketReference first = one.listen("tcp:127.0.0.1:0", reuse)) {
            refused("EADDRINUSE", () -> two.listen(first.path()));
            two.listen(first.path(), reuse).close();
        }
    }

    @Test
    void l23CleanupOfAHeldName() throws Exception {
        SocketReference old = SocketReference.listen(path("s"));
        SocketReference dup = old.dup();
        Sockref.cleanup(path("s"));
        assertFalse(exists(path("s")));
        assertFalse(old.isActive());
        assertEquals(2, old.referenceCount());
        assertEquals(0, old.holderCount());
        assertFalse(Sockref.isSocketActive(path("s")));
        try (SocketReference fresh = SocketReference.listen(path("s"))) {
            long inode = inode(path("s"));
            old.close();
            dup.close();
            assertEquals(inode, inode(path("s")));
            assertTrue(fresh.isActive());
            assertEquals(1, fresh.referenceCount());
            dial(path("s")).close();
        }
    }

    @Test
    void l24CleanupOfAnUnknownName() throws Exception {
        refused("ESOCKREF_NOTFOUND", () -> Sockref.cleanup(path("s")));
        Files.writeString(path("file"), "mine");
        refused("ESOCKREF_NOTFOUND", () -> Sockref.cleanup(path("file")));
        assertEquals("mine", Files.readString(path("file")));
    }

    @Test
    void l25CleanupAll() throws Exception {
        try (Registry registry = new Registry();
                SocketReference a = registry.listen(path("a"));
                SocketReference b = registry.listen(path("b"));
                SocketReference c = registry.getOrCreate(path("c"))) {
            assertEquals(3, registry.cleanupAll());
            for (SocketReference reference : List.of(a, b, c)) {
                assertFalse(reference.isActive());
            }
            assertEquals(List.of(), sockets());
            assertEquals(0, registry.activeSocketCount());
            assertEquals(0, registry.cleanupAll());
        }
    }

    @Test
    void l26Limits() throws Exception {
        Options limits = Options.builder().maxSockets(2).maxReferences(2).build();
        try (Registry registry = new Registry(limits)) {
            SocketReference a = registry.listen(path("a"));
            SocketReference b = registry.listen(path("b"));
            refused("ESOCKREF_LIMIT", () -> registry.listen(path("c")));
            refused("ESOCKREF_LIMIT", registry.startListener(path("c")));
            assertFalse(exists(path("c")));
            SocketReference a2 = registry.listen(path("a"));
            refused("ESOCKREF_LIMIT", () -> registry.listen(path("a")));
            refused("ESOCKREF_LIMIT", a::dup);
            assertEquals(2, a.referenceCount());
            a2.close();
            a.dup().close();
            b.close();
            registry.listen(path("c")).close();
            a.close();
        }
    }

    @Test
    void l27Options() throws Exception {
        assertThrows(IllegalArgumentException.class, () -> Options.builder().mode(07777777));
        assertThrows(IllegalArgumentException.class, () -> Options.builder().backlog(-5));
        assertThrows(IllegalArgumentException.class, () -> Options.builder().guard(3));
        assertThrows(IllegalArgumentException.class, () -> Options.builder().cleanupDelayMs(-1));
        assertThrows(IllegalArgumentException.class, () -> Options.builder().directory("relative"));
        assertThrows(NullPointerException.class, () -> Options.builder().executor(null));
        assertThrows(NullPointerException.class, () -> Options.builder().directory((String) null));
        assertThrows(NullPointerException.class, () -> new Registry(null));
        Options misplaced = Options.builder().maxSockets(5).build();
        refused("EINVAL", () -> SocketReference.listen(path("s"), misplaced));
        refused("EINVAL", SocketReference.startListener(path("s"), misplaced));
        refused("EINVAL", () -> SocketReference.listen(path("s"), Options.builder().directory(directory).build()));
        assertFalse(exists(path("s")));
        assertFalse(Sockref.isSocketActive(path("s")));
        try (SocketReference wide = SocketReference.listen(path("s"), Options.builder().mode(0660).build())) {
            assertEquals("rw-rw----", java.nio.file.attribute.PosixFilePermissions.toString(
                    Files.getPosixFilePermissions(path("s"))));
            assertTrue(wide.isActive());
        }
    }

    @Test
    void l28CleanupDelay() throws Exception {
        Options delay = Options.builder().cleanupDelayMs(400).build();
        SocketReference first = SocketReference.listen(path("s"), delay);
        long inode = inode(path("s"));
        first.close();
        assertTrue(exists(path("s")));
        assertFalse(Sockref.isSocketActive(path("s")));
        SocketReference second = SocketReference.listen(path("s"), delay);
        assertEquals(inode, inode(path("s")));
        assertEquals(1, second.referenceCount());
        long closed = System.nanoTime();
        second.close();
        await("the file is gone", () -> !exists(path("s")));
        assertTrue(System.nanoTime() - closed >= 350_000_000L);
    }

    @Test
    void l29ConcurrentStartsOfOnePath() throws Exception {
        List<CompletableFuture<SocketReference>> starts = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            starts.add(SocketReference.startListener(path("s")));
        }
        List<SocketReference> references = new ArrayList<>();
        for (CompletableFuture<SocketReference> start : starts) {
            references.add(get(start));
        }
        assertEquals(1, sockets().size());
        assertEquals(100, references.get(0).referenceCount());
        for (SocketReference reference : references) {
            reference.close();
        }
        assertFalse(exists(path("s")));
        assertEquals(0, references.get(0).referenceCount());
    }

    @Test
    void l30ConcurrentStartsOfManyPaths() throws Exception {
        List<CompletableFuture<SocketReference>> starts = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            starts.add(SocketReference.startListener(path("s" + i)));
        }
        for (CompletableFuture<SocketReference> start : starts) {
            get(start);
        }
        assertEquals(100, sockets().size());
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<?>> closes = new ArrayList<>();
        for (CompletableFuture<SocketReference> start : starts) {
            closes.add(pool.submit(() -> start.join().close()));
        }
        for (Future<?> close : closes) {
            close.get();
        }
        pool.shutdown();
        assertEquals(List.of(), sockets());
    }

    @Test
    void l31DefaultNameAndUnique() throws Exception {
        Options unique = Options.builder().unique(true).build();
        try (Registry registry = new Registry(Options.builder().directory(directory).build());
                SocketReference a = registry.listen();
                SocketReference b = get(registry.startListener());
                SocketReference c = registry.listen(unique);
                SocketReference d = get(registry.startListener(unique))) {
            assertEquals(a.path(), b.path());
            assertEquals(2, a.referenceCount());
            assertTrue(a.path().startsWith(directory + "/sockref-"), a.path());
            assertEquals(3, new HashSet<>(List.of(a.path(), c.path(), d.path())).size());
            assertEquals(3, sockets().size());
        }
    }

    @Test
    void l32CancelledStart() throws Exception {
        for (int i = 0; i < 100; i++) {
            CompletableFuture<SocketReference> start = SocketReference.startListener(path("s"));
            if (i % 3 == 1) {
                Thread.yield();
            }
            if (!start.cancel(true)) {
                get(start).close();
            } else {
                assertTrue(start.isCancelled());
            }
        }
        // Completed by somebody else, it is cancelled too.
        CompletableFuture<SocketReference> start = SocketReference.startListener(path("t"));
        start.completeExceptionally(new IllegalStateException("not wanted any more"));
        if (!start.isCompletedExceptionally()) {
            start.join().close();
        }
        Sockref.drain(LONG);
        await("nothing is left", () -> !exists(path("s")) && !exists(path("t")));
        await("no name is active", () -> !Sockref.isSocketActive(path("s")) && !Sockref.isSocketActive(path("t")));
    }

    @Test
    void l33ExclusiveOfALiveName() throws Exception {
        Options exclusive = Options.builder().exclusive(true).build();
        try (SocketReference live = SocketReference.listen(path("s"))) {
            long inode = inode(path("s"));
            refused("ESOCKREF_EXISTS", () -> SocketReference.listen(path("s"), exclusive));
            refused("ESOCKREF_EXISTS", SocketReference.startListener(path("s"), exclusive));
            assertEquals(inode, inode(path("s")));
            assertEquals(1, live.referenceCount());
        }
        SocketReference.listen(path("s"), exclusive).close();
    }

    @Test
    void l34TwoRegistries() throws Exception {
        try (Registry one = new Registry();
                Registry two = new Registry();
                SocketReference a = one.listen(path("a"));
                SocketReference b = two.listen(path("b"))) {
            assertEquals(1, one.activeSocketCount());
            assertTrue(one.isSocketActive(path("a")));
            assertFalse(one.isSocketActive(path("b")));
            assertTrue(two.getExisting(path("a")).isEmpty());
            assertEquals(1, a.holderCount());
            try (SocketReference joined = two.listen(path("a"));
                    SocketReference joinedToo = get(one.startListener(path("b")))) {
                assertTrue(joined.isActive() && joinedToo.isActive());
                assertFalse(joined.isOwner() || joinedToo.isOwner());
                assertEquals(1, joined.referenceCount());
                assertEquals(2, a.holderCount());
                assertEquals(2, joinedToo.holderCount());
                refused("ESOCKREF_CLOSED", joined::fd);
            }
            assertTrue(a.isActive() && b.isActive());
            assertEquals(1, a.holderCount());
            assertEquals(1, b.holderCount());
            assertEquals(2, sockets().size());
        }
    }

    @Test
    void l34ClosedRegistry() throws Exception {
        Registry registry = new Registry();
        SocketReference reference = registry.listen(path("s"));
        registry.close();
        registry.close();
        refused("ESOCKREF_SHUTDOWN", () -> registry.listen(path("t")));
        refused("ESOCKREF_SHUTDOWN", registry.startListener(path("t")));
        refused("ESOCKREF_SHUTDOWN", registry::cleanupAll);
        assertFalse(registry.isSocketActive(path("s")));
        assertEquals(0, registry.activeSocketCount());
        assertTrue(reference.isActive());
        dial(path("s")).close();
        reference.close();
        assertFalse(exists(path("s")));
    }

    @Test
    void l35ShutdownOfARegistry() throws Exception {
        Registry registry = new Registry();
        SocketReference left = registry.listen(path("s"));
        refused("ESOCKREF_TIMEOUT", () -> registry.shutdown(Duration.ofMillis(20)));
        assertFalse(left.isActive());
        assertEquals(1, left.referenceCount());
        assertFalse(exists(path("s")));
        refused("ESOCKREF_SHUTDOWN", () -> registry.listen(path("s")));
        refused("ESOCKREF_SHUTDOWN", registry.startListener(path("s")));
        refused("ESOCKREF_SHUTDOWN", () -> registry.shutdown(Duration.ZERO));
        left.close();
        registry.close();

        Registry waiting = new Registry();
        SocketReference held = waiting.listen(path("s"));
        CompletableFuture<Void> shutdown = waiting.shutdownAsync(LONG);
        await("new references are refused", () -> {
            try {
                waiting.getOrCreate(path("t")).close();
                return false;
            } catch (SockrefException e) {
                return e.code().equals("ESOCKREF_SHUTDOWN");
            }
        });
        assertFalse(shutdown.isDone());
        held.close();
        shutdown.get();
        waiting.close();

        Sockref.shutdown(Duration.ZERO);
        SocketReference.listen(path("s")).close();
    }

    @Test
    void l36Drain() throws Exception {
        Sockref.drain(LONG);
        List<CompletableFuture<SocketReference>> starts = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            starts.add(SocketReference.startListener(path("s" + i)));
        }
        Sockref.drainAsync(LONG).get();
        for (CompletableFuture<SocketReference> start : starts) {
            get(start).close();
        }
        Sockref.drain(Duration.ofSeconds(-1));
        assertEquals(List.of(), sockets());
        // Names in use are not waited for, served or not.
        try (SocketReference plain = SocketReference.listen(path("plain"));
                SocketReference served = SocketReference.listen(path("served"))) {
            served.serveEcho();
            Sockref.drain(Duration.ofSeconds(2));
            assertTrue(plain.isActive() && served.isActive());
        }
    }

    @Test
    void l41ManyThreadsUseOneName() throws Exception {
        SocketReference last = SocketReference.listen(path("s"));
        onThreads(8, () -> {
            try (SocketReference mine = last.dup()) {
                for (int round = 0; round < 2000; round++) {
                    try (SocketReference dup = mine.dup()) {
                        assertTrue(dup.isActive());
                        assertTrue(dup.referenceCount() >= 3);
                        assertTrue(Sockref.isSocketActive(path("s")));
                    }
                }
            }
            return null;
        });
        assertEquals(1, last.referenceCount());
        assertTrue(exists(path("s")));
        last.close();
        assertFalse(exists(path("s")));
    }
}
