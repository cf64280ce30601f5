package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

/** Threads that are interrupted, or end, at any point of start, hold, close and dispatch. */
class ThreadsTest extends Scene {
    private static final int THREADS = 200;
    private static final int WAVE = 3;

    private final Queue<Throwable> problems = new ConcurrentLinkedQueue<>();

    /** One thread's work; ends where it is interrupted, and at some points by itself, with all that it holds. */
    private void work(Random random, CountDownLatch begun, AtomicInteger points) {
        try {
            Path path = path("s" + random.nextInt(2));
            int end = random.nextInt(12);
            SocketReference first = null;
            for (int step = 0; step <= end; step++) {
                points.incrementAndGet();
                begun.countDown();
                switch (step % 6) {
                    case 0 -> first = SocketReference.startListener(path).get();
                    case 1 -> first.dup();
                    case 2 -> {
                        try {
                            first.serve(new Echo());
                        } catch (SockrefException busy) {
                            assertEquals("ESOCKREF_BUSY", busy.code());
                        }
                    }
                    case 3 -> {
                        try (SocketChannel channel = dial(path)) {
                            send(channel, new byte[] {1, 2, 3});
                            receive(channel, 3);
                        }
                    }
                    case 4 -> {
                        CompletableFuture<SocketReference> start = SocketReference.startListener(path);
                        if (random.nextBoolean()) {
                            start.cancel(false);
                        }
                    }
                    default -> first.close();
                }
            }
        } catch (InterruptedException | java.nio.channels.ClosedByInterruptException interrupted) {
            // As intended: what is held is left to the collector.
        } catch (ExecutionException | java.io.IOException | RuntimeException | Error e) {
            problems.add(e);
        } finally {
            begun.countDown();
        }
    }

    private static final class Echo implements Handlers {
        @Override
        public void onData(Connection connection, byte[] data) throws Exception {
            connection.write(data);
        }
    }

    @Test
    void interruptedThreadsLeaveNothing() throws Exception {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        AtomicInteger points = new AtomicInteger();
        for (int done = 0; done < THREADS; done += WAVE) {
            List<Thread> wave = new ArrayList<>();
            CountDownLatch begun = new CountDownLatch(WAVE);
            for (int i = 0; i < WAVE; i++) {
                Random own = new Random(random.nextLong());
                Thread thread = new Thread(() -> work(own, begun, points));
                wave.add(thread);
                thread.start();
            }
            begun.await();
            for (Thread thread : wave) {
                int target = points.get() + random.nextInt(6);
                while (points.get() < target && thread.isAlive()) {
                    Thread.onSpinWait();
                }
                thread.interrupt();
            }
            for (Thread thread : wave) {
                thread.join();
            }
        }
        assertEquals(List.of(), List.copyOf(problems), "seed " + seed);
        awaitCollected("no name is active", () -> Sockref.activeSocketCount() == 0);
        Sockref.drain(LONG);
        awaitCollected("no file is left", () -> !exists(path("s0")) && !exists(path("s1")));
    }

    @Test
    void blockingListensOnManyThreads() throws Exception {
        onThreads(8, () -> {
            for (int round = 0; round < 300; round++) {
                try (SocketReference reference = SocketReference.listen(path("s"))) {
                    assertEquals(true, reference.isActive());
                    dial(path("s")).close();
                }
            }
            return null;
        });
    }

    @Test
    void fewThreadsAreMade() throws Exception {
        Sockref.drain(LONG);
        int before = Thread.getAllStackTraces().size();
        List<SocketReference> references = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            SocketReference reference = SocketReference.listen(path("s" + i));
            reference.serve(new Echo());
            references.add(reference);
        }
        long loops = Thread.getAllStackTraces().keySet().stream().filter(t -> t.getName().equals("sockref-loop"))
                .count();
        assertEquals(1, loops);
        assertEquals(true, Thread.getAllStackTraces().size() <= before + 2);
        references.forEach(SocketReference::close);
    }

    /** What the first caller had would else be kept, and its class loader, for as long as the VM runs. */
    @Test
    void threadsOfOursInheritNothing() throws Exception {
        InheritableThreadLocal<String> local = new InheritableThreadLocal<>();
        local.set("the caller's");
        Thread caller = Thread.currentThread();
        ClassLoader own = caller.getContextClassLoader();
        caller.setContextClassLoader(new ClassLoader(own) { });
        try {
            CompletableFuture<String> seen = new CompletableFuture<>();
            Thread thread = Background.daemon(() -> seen.complete(String.valueOf(local.get())), "sockref-test");
            thread.start();
            assertEquals("null", seen.get(LONG.toSeconds(), TimeUnit.SECONDS));
            assertTrue(thread.isDaemon());
            assertSame(Background.class.getClassLoader(), thread.getContextClassLoader());
        } finally {
            caller.setContextClassLoader(own);
        }
    }
}
