package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, one reference's life: L01 to L12, L41. */
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
