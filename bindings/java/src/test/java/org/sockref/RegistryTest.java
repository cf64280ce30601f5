package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, registries and their ends: L34 to L36. */
class RegistryTest extends Scene {
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
}
