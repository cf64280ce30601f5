package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Listeners of references. */
class WatchTest extends Scene {
    private final BlockingQueue<String> told = new LinkedBlockingQueue<>();

    private SocketEvent.Listener teller(String name) {
        return event -> told.add(name + " " + event + " " + Thread.currentThread().getName());
    }

    private String next() throws Exception {
        String next = told.poll(LONG.toSeconds(), TimeUnit.SECONDS);
        assertNotNull(next, "nothing more is told");
        return next;
    }

    /** What was told before has arrived when this returns. */
    private void awaitTold() throws Exception {
        try (SocketReference last = SocketReference.listen(path("last"))) {
            last.onEvent(teller("last"));
            Sockref.cleanup(path("last"));
            while (!next().startsWith("last")) {
                continue;
            }
        }
    }

    @AfterEach
    void nobodyListens() throws Exception {
        awaitCollected("no listener is left", () -> Watches.count() == 0);
    }

    @Test
    void eachReferenceIsTold() throws Exception {
        ExecutorService executor = Executors.newSingleThreadExecutor(task -> new Thread(task, "mine"));
        try (SocketReference first = SocketReference.listen(path("s"));
                SocketReference second = get(SocketReference.startListener(path("s")));
                SocketReference third = second.dup();
                SocketReference silent = first.dup()) {
            first.onEvent(teller("first"));
            second.onEvent(teller("second"), executor);
            third.onEvent(teller("third"));
            third.close();
            Sockref.cleanup(path("s"));
            List<String> both = new ArrayList<>(List.of(next(), next()));
            java.util.Collections.sort(both);
            assertEquals(List.of("first LOST sockref-loop", "second LOST mine"), both);
            refused("ESOCKREF_CLOSED", () -> silent.onEvent(teller("silent")));
            refused("ESOCKREF_CLOSED", () -> first.onEvent(teller("again")));
            silent.onEvent(null);
        } finally {
            executor.shutdown();
        }
        awaitTold();
        assertTrue(told.isEmpty(), told::toString);
    }

    @Test
    void withoutHandoverAHolderHearsOfTheLoss() throws Exception {
        try (Registry one = new Registry(Options.builder().handover(false).build()); Registry two = new Registry();
                SocketReference first = one.listen(path("s")); SocketReference second = two.listen(path("s"))) {
            second.onEvent(teller("second"));
            first.close();
            assertEquals("second LOST sockref-loop", next());
            assertFalse(second.isActive());
        }
    }

    @Test
    void anExecutorThatRunsTwiceTellsOnce() throws Exception {
        CountDownLatch hasRun = new CountDownLatch(1);
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.onEvent(teller("once"), task -> {
                task.run();
                task.run();
                hasRun.countDown();
            });
            Sockref.cleanup(path("s"));
            assertTrue(hasRun.await(LONG.toSeconds(), TimeUnit.SECONDS));
        }
        assertEquals("once LOST sockref-loop", next());
        assertTrue(told.isEmpty(), told::toString);
    }

    @Test
    void newListenerReplacesTheOld() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"));
                SocketReference other = SocketReference.listen(path("s"))) {
            reference.onEvent(teller("old"));
            reference.onEvent(teller("new"));
            other.onEvent(teller("other"));
            other.onEvent(null);
            other.onEvent(null);
            assertEquals(1, Watches.count());
            Sockref.cleanup(path("s"));
            assertEquals("new LOST sockref-loop", next());
        }
        awaitTold();
        assertTrue(told.isEmpty(), told::toString);
    }

    @Test
    void wrongArguments() throws Exception {
        SocketReference reference = SocketReference.listen(path("s"));
        assertThrows(NullPointerException.class, () -> reference.onEvent(teller("no"), null));
        reference.close();
        refused("ESOCKREF_CLOSED", () -> reference.onEvent(teller("no")));
        reference.onEvent(null);
    }

    @Test
    void shutdownIsToldFirst() throws Exception {
        try (Registry registry = new Registry()) {
            SocketReference reference = registry.listen(path("s"));
            reference.onEvent(event -> {
                told.add(event + " " + reference.isActive());
                reference.close();
            });
            registry.shutdown(LONG);
            assertEquals("SHUTDOWN true", next());
        }
        assertTrue(told.isEmpty(), told::toString);
    }

    @Test
    void listenerMayThrowAndStartAnew() throws Exception {
        Queue<Throwable> reported = new ConcurrentLinkedQueue<>();
        Thread.UncaughtExceptionHandler before = Thread.getDefaultUncaughtExceptionHandler();
        Thread.setDefaultUncaughtExceptionHandler((thread, problem) -> reported.add(problem));
        try (SocketReference first = SocketReference.listen(path("s"));
                SocketReference second = SocketReference.listen(path("s"))) {
            CompletableFuture<SocketReference> again = new CompletableFuture<>();
            first.onEvent(event -> {
                throw new IllegalStateException("as intended");
            });
            second.onEvent(event -> SocketReference.startListener(path("s")).thenAccept(again::complete));
            Sockref.cleanup(path("s"));
            try (SocketReference fresh = get(again)) {
                assertTrue(fresh.isActive() && fresh.isOwner());
            }
            await("the problem is reported", () -> reported.size() == 1);
        } finally {
            Thread.setDefaultUncaughtExceptionHandler(before);
        }
    }

    private void drop() throws Exception {
        SocketReference reference = SocketReference.listen(path("s"));
        // It refers to its reference, as most do.
        reference.onEvent(event -> told.add(event + " " + reference.path()));
    }

    @Test
    void droppedReferenceIsCollectedWithItsListener() throws Exception {
        drop();
        awaitCollected("the file is gone", () -> !exists(path("s")));
        assertEquals(0, Watches.count());
    }

    /** A life that begins where another one ended is not told of that. */
    @Test
    void laterLifeIsNotToldOfTheEarlier() throws Exception {
        AtomicInteger heard = new AtomicInteger();
        int rounds = 300;
        for (int i = 0; i < rounds; i++) {
            SocketReference early = SocketReference.listen(path("s"));
            early.onEvent(event -> heard.incrementAndGet(), Runnable::run);
            if (i % 2 == 0) {
                early.close();
                heard.incrementAndGet();
                Sockref.isSocketActive(path("s"));
            } else {
                Sockref.cleanup(path("s"));
                await("it is told", () -> heard.get() > 0);
                early.close();
            }
            assertEquals(1, heard.getAndSet(0));
            SocketReference revoked = SocketReference.listen(path("s"));
            revoked.onEvent(event -> { });
            Sockref.cleanup(path("s"));
            revoked.close();
            try (SocketReference late = SocketReference.listen(path("s"))) {
                late.onEvent(teller("late"));
            }
        }
        awaitTold();
        assertTrue(told.isEmpty(), told::toString);
    }

    @Test
    void listenersComeAndGoOnManyThreads() throws Exception {
        AtomicInteger heard = new AtomicInteger();
        onThreads(4, () -> {
            for (int round = 0; round < 500; round++) {
                SocketReference reference = SocketReference.listen(path("s"));
                try {
                    reference.onEvent(event -> heard.incrementAndGet());
                    if (round % 3 == 0) {
                        reference.onEvent(null);
                    }
                    Sockref.cleanup(path("s"));
                } catch (SockrefException e) {
                    // Another thread revoked it.
                    assertTrue(List.of("ESOCKREF_CLOSED", "ESOCKREF_NOTFOUND").contains(e.code()), e.code());
                }
                if (round % 5 > 0) {
                    reference.close();
                }
            }
            return null;
        });
        awaitCollected("all are released", () -> Sockref.activeSocketCount() == 0 && Watches.count() == 0);
        Sockref.drain(Duration.ofSeconds(30));
        assertFalse(exists(path("s")));
    }
}
