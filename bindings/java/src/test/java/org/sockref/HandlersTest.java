package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, L42: a name that is served in Java; and where futures are completed. */
class HandlersTest extends Scene {
    /** Writes down what is called, and by which thread. */
    private static class Recorder implements Handlers {
        final BlockingQueue<String> events = new LinkedBlockingQueue<>();
        final AtomicReference<Connection> connection = new AtomicReference<>();
        final AtomicReference<Thread> thread = new AtomicReference<>();

        void note(String event) {
            Thread before = thread.getAndSet(Thread.currentThread());
            events.add(before == null || before == Thread.currentThread() ? event : event + " on another thread");
        }

        @Override
        public void onConnection(Connection peer) throws Exception {
            connection.set(peer);
            note("connection");
        }

        @Override
        public void onData(Connection peer, byte[] data) throws Exception {
            note("data " + new String(data, StandardCharsets.UTF_8));
        }

        @Override
        public void onEnd(Connection peer) throws Exception {
            note("end");
            peer.end();
        }

        @Override
        public void onDrain(Connection peer) throws Exception {
            note("drain");
        }

        @Override
        public void onError(Connection peer, SockrefException problem) throws Exception {
            note("error " + problem.code());
        }

        @Override
        public void onClose(Connection peer, boolean hadError) throws Exception {
            note("close " + hadError);
        }

        @Override
        public void onStop() throws Exception {
            note("stop");
        }

        String next() throws Exception {
            String event = events.poll(LONG.toSeconds(), TimeUnit.SECONDS);
            assertNotNull(event, "no more events");
            return event;
        }

        void expect(String... expected) throws Exception {
            for (String event : expected) {
                assertEquals(event, next());
            }
        }
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    @Test
    void l42HandlersComeInOrder() throws Exception {
        Recorder recorder = new Recorder() {
            @Override
            public void onData(Connection peer, byte[] data) throws Exception {
                super.onData(peer, data);
                assertTrue(peer.write(data));
            }
        };
        SocketReference reference = SocketReference.listen(path("s"));
        reference.serve(recorder);
        assertEquals("ESOCKREF_BUSY", refused("ESOCKREF_BUSY", () -> reference.serve(new Recorder())).code());
        refused("ESOCKREF_BUSY", reference::serveEcho);
        try (SocketChannel channel = dial(path("s"))) {
            recorder.expect("connection");
            for (String word : List.of("one", "two", "three")) {
                send(channel, text(word));
                assertArrayEquals(text(word), receive(channel, word.length()));
                recorder.expect("data " + word);
            }
            channel.shutdownOutput();
            recorder.expect("end", "close false");
            assertEquals(0, receive(channel, 1).length);
        }
        assertEquals("sockref-loop", recorder.thread.get().getName());
        assertTrue(recorder.thread.get().isDaemon());
        await("closed", () -> !recorder.connection.get().isOpen());
        try (SocketChannel channel = dial(path("s"))) {
            recorder.expect("connection");
            reference.close();
            recorder.expect("close false", "stop");
            assertEquals(0, receive(channel, 1).length);
        }
        assertFalse(exists(path("s")));
        assertTrue(recorder.events.isEmpty());
    }

    @Test
    void l42ServedThroughACleanup() throws Exception {
        Recorder recorder = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                recorder.expect("connection");
                Sockref.cleanup(path("s"));
                recorder.expect("close false", "stop");
            }
            refused("ESOCKREF_CLOSED", () -> reference.serve(recorder));
        }
    }

    private void serveAndDrop(Recorder recorder) throws Exception {
        SocketReference.listen(path("s")).serve(recorder);
    }

    @Test
    void aDroppedReferenceStopsItsService() throws Exception {
        Recorder recorder = new Recorder();
        serveAndDrop(recorder);
        awaitCollected("the service stopped", () -> "stop".equals(recorder.events.peek()));
        assertFalse(exists(path("s")));
    }

    @Test
    void whatAHandlerThrowsIsReported() throws Exception {
        BlockingQueue<Throwable> reported = new LinkedBlockingQueue<>();
        Thread.UncaughtExceptionHandler before = Thread.getDefaultUncaughtExceptionHandler();
        Thread.setDefaultUncaughtExceptionHandler((thread, problem) -> reported.add(problem));
        Recorder recorder = new Recorder() {
            @Override
            void note(String event) {
                super.note(event);
                if (event.startsWith("data")) {
                    throw new AssertionError(event);
                }
                throw new IllegalStateException(event);
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                send(channel, text("x"));
                recorder.expect("connection", "data x");
                recorder.connection.get().execute(() -> {
                    throw new IllegalStateException("task");
                });
                recorder.connection.get().execute(() -> recorder.connection.get().destroy());
                recorder.expect("close false");
            }
            dial(path("s")).close();
            recorder.expect("connection", "end");
            // end() in onEnd was not reached, so nothing has closed it.
            recorder.connection.get().execute(() -> recorder.connection.get().destroy());
            recorder.expect("close false");
        } finally {
            recorder.expect("stop");
            await("all is reported", () -> reported.size() == 8);
            Thread.setDefaultUncaughtExceptionHandler(before);
        }
        assertEquals(List.of("connection", "data x", "task", "close false", "connection", "end", "close false", "stop"),
                reported.stream().map(Throwable::getMessage).toList());
    }

    @Test
    void aConnectionBelongsToItsThread() throws Exception {
        Recorder recorder = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                recorder.expect("connection");
                Connection connection = recorder.connection.get();
                assertThrows(IllegalStateException.class, () -> connection.write(text("x")));
                assertThrows(IllegalStateException.class, connection::end);
                assertThrows(IllegalStateException.class, connection::pause);
                assertThrows(IllegalStateException.class, connection::resume);
                assertThrows(IllegalStateException.class, connection::destroy);
                assertThrows(NullPointerException.class, () -> connection.execute(null));
                CompletableFuture<Boolean> written = new CompletableFuture<>();
                connection.execute(() -> {
                    try {
                        written.complete(connection.write(text("hello")));
                    } catch (SockrefException e) {
                        written.completeExceptionally(e);
                    }
                });
                assertTrue(written.get());
                assertArrayEquals(text("hello"), receive(channel, 5));
            }
            recorder.expect("end", "close false");
            Connection connection = recorder.connection.get();
            CompletableFuture<SockrefException> afterwards = new CompletableFuture<>();
            connection.execute(() -> {
                connection.destroy();
                afterwards.complete(assertThrows(SockrefException.class, () -> connection.write(text("late"))));
            });
            assertEquals("ESOCKREF_CLOSED", afterwards.get().code());
        }
        recorder.expect("stop");
    }

    @Test
    void everyKindOfBufferIsWritten() throws Exception {
        Recorder recorder = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                peer.write(text("-array-"), 1, 5);
                ByteBuffer heap = ByteBuffer.wrap(text("-heap-")).position(1).limit(5).slice();
                peer.write(heap);
                assertEquals(0, heap.remaining());
                ByteBuffer direct = ByteBuffer.allocateDirect(16).put(text("-direct-"));
                peer.write(direct.flip().position(1).limit(7));
                assertEquals(0, direct.remaining());
                peer.write(ByteBuffer.wrap(text("-readonly-")).asReadOnlyBuffer().position(1).limit(9));
                assertTrue(peer.write(new byte[0]));
                assertTrue(peer.write(ByteBuffer.allocateDirect(0)));
                assertThrows(IndexOutOfBoundsException.class, () -> peer.write(new byte[3], 2, 2));
                assertThrows(NullPointerException.class, () -> peer.write((byte[]) null));
                assertThrows(NullPointerException.class, () -> peer.write((ByteBuffer) null));
                peer.end();
                note("written");
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                recorder.expect("written");
                assertEquals("arrayheapdirectreadonly",
                        new String(receive(channel, 100), StandardCharsets.UTF_8));
            }
            recorder.expect("end", "close false");
        }
        recorder.expect("stop");
    }

    @Test
    void l59AFullQueueAsksToStopAndDrains() throws Exception {
        byte[] piece = new byte[100_000];
        new Random(42).nextBytes(piece);
        AtomicInteger pieces = new AtomicInteger();
        Recorder recorder = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                do {
                    pieces.incrementAndGet();
                } while (peer.write(piece));
                long queued = peer.info().bytesQueued();
                assertTrue(queued > 65_536 && queued <= 65_536 + piece.length, () -> queued + " bytes are queued");
                note("full");
            }

            @Override
            public void onDrain(Connection peer) throws Exception {
                super.onDrain(peer);
                peer.end();
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                recorder.expect("full");
                byte[] all = receive(channel, pieces.get() * piece.length + 1);
                assertEquals(pieces.get() * piece.length, all.length);
                for (int i = 0; i < pieces.get(); i++) {
                    assertTrue(java.util.Arrays.equals(all, i * piece.length, (i + 1) * piece.length,
                            piece, 0, piece.length));
                }
                recorder.expect("drain");
            }
            recorder.expect("end", "close false");
        }
        recorder.expect("stop");
    }

    @Test
    void maxBufferedIsALimit() throws Exception {
        AtomicReference<String> code = new AtomicReference<>();
        Recorder recorder = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                try {
                    for (int i = 0; i < 100; i++) {
                        peer.write(new byte[100_000]);
                    }
                } catch (SockrefException e) {
                    code.set(e.code());
                }
                peer.destroy();
            }
        };
        Options small = Options.builder().maxBuffered(1_000_000).build();
        try (SocketReference reference = SocketReference.listen(path("s"), small)) {
            reference.serve(recorder);
            try (SocketChannel channel = dial(path("s"))) {
                recorder.expect("close false");
            }
            assertEquals("ESOCKREF_LIMIT", code.get());
        }
        recorder.expect("stop");
    }

    @Test
    void pauseHoldsTheDataBack() throws Exception {
        Recorder recorder = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                peer.pause();
                super.onConnection(peer);
            }
        };
        Recorder other = new Recorder();
        try (SocketReference reference = SocketReference.listen(path("s"));
                SocketReference second = SocketReference.listen(path("t"))) {
            reference.serve(recorder);
            second.serve(other);
            try (SocketChannel channel = dial(path("s")); SocketChannel probe = dial(path("t"))) {
                recorder.expect("connection");
                send(channel, text("held"));
                // Later than these bytes, the loop read others.
                other.expect("connection");
                send(probe, text("probe"));
                other.expect("data probe");
                assertTrue(recorder.events.isEmpty());
                Connection connection = recorder.connection.get();
                connection.execute(() -> {
                    try {
                        connection.resume();
                    } catch (SockrefException e) {
                        throw new IllegalStateException(e);
                    }
                });
                recorder.expect("data held");
            }
            recorder.expect("end", "close false");
            other.expect("end", "close false");
        }
        recorder.expect("stop");
        other.expect("stop");
    }

    @Test
    void destroyInAnyHandlerIsFollowedByCloseOnly() throws Exception {
        for (String where : List.of("connection", "data", "end")) {
            Recorder recorder = new Recorder() {
                @Override
                public void onConnection(Connection peer) throws Exception {
                    super.onConnection(peer);
                    destroyIf("connection", peer);
                }

                @Override
                public void onData(Connection peer, byte[] data) throws Exception {
                    super.onData(peer, data);
                    destroyIf("data", peer);
                }

                @Override
                public void onEnd(Connection peer) throws Exception {
                    note("end");
                    destroyIf("end", peer);
                }

                private void destroyIf(String here, Connection peer) {
                    if (where.equals(here)) {
                        peer.destroy();
                        peer.destroy();
                        assertTrue(peer.isOpen());
                    }
                }
            };
            try (SocketReference reference = SocketReference.listen(path("s"))) {
                reference.serve(recorder);
                try (SocketChannel channel = dial(path("s"))) {
                    try {
                        send(channel, text("x"));
                    } catch (java.io.IOException reset) {
                        assertEquals("connection", where);
                    }
                    if (where.equals("end")) {
                        recorder.expect("connection", "data x");
                        channel.shutdownOutput();
                        recorder.expect("end");
                    } else {
                        recorder.expect("connection");
                        if (where.equals("data")) {
                            recorder.expect("data x");
                        }
                    }
                    recorder.expect("close false");
                }
            }
            recorder.expect("stop");
            assertTrue(recorder.events.isEmpty());
        }
    }

    @Test
    void handlersMayStartCloseAndAsk() throws Exception {
        AtomicReference<SocketReference> served = new AtomicReference<>(SocketReference.listen(path("s")));
        List<String> codes = new ArrayList<>();
        Recorder recorder = new Recorder() {
            @Override
            public void onConnection(Connection peer) throws Exception {
                codes.add(refused("ESOCKREF_BUSY", () -> Sockref.drain(Duration.ZERO)).code());
                codes.add(refused("ESOCKREF_BUSY", () -> Sockref.shutdown(Duration.ZERO)).code());
                codes.add(refused("ESOCKREF_BUSY", () -> SockrefChannel.connect(path("s").toString())).code());
                SocketReference.listen(path("t")).close();
                SocketReference.startListener(path("u")).thenAccept(SocketReference::close);
                served.get().close();
                note("closed");
            }
        };
        served.get().serve(recorder);
        dial(path("s")).close();
        recorder.expect("closed", "close false", "stop");
        assertEquals(3, codes.size());
        Sockref.drain(LONG);
        await("all are gone", () -> !exists(path("s")) && !exists(path("t")) && !exists(path("u")));
    }

    @Test
    void manyConnectionsAreServed() throws Exception {
        AtomicInteger closed = new AtomicInteger();
        Handlers echo = new Handlers() {
            @Override
            public void onData(Connection peer, byte[] data) throws Exception {
                peer.write(data);
            }

            @Override
            public void onClose(Connection peer, boolean hadError) {
                closed.incrementAndGet();
            }
        };
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(echo);
            List<SocketChannel> channels = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                channels.add(dial(path("s")));
            }
            for (int round = 0; round < 20; round++) {
                for (SocketChannel channel : channels) {
                    send(channel, text("round " + (round + 10)));
                }
                for (SocketChannel channel : channels) {
                    assertArrayEquals(text("round " + (round + 10)), receive(channel, 8));
                }
            }
            for (SocketChannel channel : channels) {
                channel.close();
            }
            await("all are closed", () -> closed.get() == 200);
        }
    }

    /** Whoever does something that an interrupt ends would fail for what another one left. */
    @Test
    void anInterruptIsNotLeftToTheNextCallback() throws Exception {
        BlockingQueue<String> found = new LinkedBlockingQueue<>();
        ConnectOptions here = ConnectOptions.builder().executor(Runnable::run).build();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            reference.serve(new Handlers() {
                private void leave(String what) {
                    found.add(what + " " + Thread.currentThread().isInterrupted());
                    Thread.currentThread().interrupt();
                }

                @Override
                public void onConnection(Connection connection) {
                    leave("connection");
                }

                @Override
                public void onReady(Connection connection) {
                    leave("ready");
                }

                @Override
                public void onData(Connection connection, byte[] data) {
                    leave("data");
                    connection.execute(() -> {
                        leave("task");
                        SockrefChannel.connectAsync(path("none").toString(), here).exceptionally(problem -> {
                            leave("connect");
                            return null;
                        });
                    });
                }
            });
            reference.onEvent(event -> found.add("event " + Thread.currentThread().isInterrupted()));
            try (SocketChannel peer = dial(path("s"))) {
                send(peer, new byte[1]);
                for (String what : List.of("connection", "ready", "data", "task", "connect")) {
                    assertEquals(what + " false", found.poll(LONG.toSeconds(), TimeUnit.SECONDS));
                }
            }
            Sockref.cleanup(path("s"));
            assertEquals("event false", found.poll(LONG.toSeconds(), TimeUnit.SECONDS));
        }
    }

    @Test
    void futuresAreCompletedOnTheirExecutor() throws Exception {
        ExecutorService own = Executors.newSingleThreadExecutor(task -> new Thread(task, "own"));
        Options options = Options.builder().executor(own).build();
        BlockingQueue<String> threads = new LinkedBlockingQueue<>();
        // A continuation that was attached too late runs on the caller: hold the executor until it is attached.
        CompletableFuture<Void> attached = new CompletableFuture<>();
        own.execute(attached::join);
        CompletableFuture<Void> start = SocketReference.startListener(path("s"), options).thenAccept(reference -> {
            threads.add(Thread.currentThread().getName());
            reference.close();
        });
        attached.complete(null);
        start.get();
        assertEquals("own", threads.take());
        try (Registry registry = new Registry(options)) {
            CompletableFuture<Void> held = new CompletableFuture<>();
            own.execute(held::join);
            CompletableFuture<Void> drained = registry.drainAsync(LONG)
                    .thenRun(() -> threads.add(Thread.currentThread().getName()));
            held.complete(null);
            drained.get();
            assertEquals("own", threads.take());
        }
        own.shutdown();
        // An executor that was shut down: the default one takes its place.
        get(SocketReference.startListener(path("s"), options)).close();
        refused("ESOCKREF_PATH", SocketReference.startListener("", options));
    }
}
