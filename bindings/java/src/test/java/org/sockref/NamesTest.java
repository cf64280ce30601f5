package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** tests/lifecycle.md, what becomes of names: L20 to L33. */
class NamesTest extends Scene {
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

    private static void refusedAs(String name, Executable call) {
        String message = assertThrows(IllegalArgumentException.class, call).getMessage();
        assertTrue(message.contains("the " + name + " must be "), message);
    }

    /** The library says what it refuses: no value of one option is taken for that of another. */
    @Test
    void eachNumberSetsItsOwnOption() {
        refusedAs("mode", () -> Options.builder().mode(01000));
        refusedAs("backlog", () -> Options.builder().backlog(0));
        refusedAs("guard", () -> Options.builder().guard(3));
        refusedAs("cleanup delay", () -> Options.builder().cleanupDelayMs(-1));
        refusedAs("cleanup time-out", () -> Options.builder().cleanupTimeoutMs(-1));
        refusedAs("start time-out", () -> Options.builder().startTimeoutMs(-1));
        refusedAs("limit of sockets", () -> Options.builder().maxSockets(0));
        refusedAs("limit of references", () -> Options.builder().maxReferences(0));
        refusedAs("limit of connections", () -> Options.builder().maxConnections(-1));
        refusedAs("limit of buffered bytes", () -> Options.builder().maxBuffered(-1));
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

    /** It has succeeded, and the executor has not told the future yet. */
    @Test
    void whatACancelledStartBroughtIsReleasedAtOnce() throws Exception {
        BlockingQueue<Runnable> told = new LinkedBlockingQueue<>();
        Options options = Options.builder().executor(told::add).build();
        CompletableFuture<SocketReference> start = SocketReference.startListener(path("s"), options);
        Runnable last = told.poll(LONG.toSeconds(), TimeUnit.SECONDS);
        assertTrue(Sockref.isSocketActive(path("s")));
        assertTrue(start.cancel(false));
        assertFalse(Sockref.isSocketActive(path("s")));
        assertFalse(exists(path("s")));
        last.run();
        assertTrue(start.isCancelled());
    }
}
