package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;
import org.junit.jupiter.api.function.Executable;

/** Buffers of memory that the program frees by itself: what is freed is neither read nor written. */
@EnabledForJreRange(min = JRE.JAVA_22, max = JRE.OTHER)
class ArenasTest extends ChannelScene {
    /** Arena and MemorySegment, which this is compiled without. */
    private static final class Arena {
        private final AutoCloseable arena;

        Arena(String kind) throws Exception {
            arena = (AutoCloseable) Class.forName("java.lang.foreign.Arena").getMethod(kind).invoke(null);
        }

        ByteBuffer buffer(long length) throws Exception {
            Object segment = Class.forName("java.lang.foreign.Arena").getMethod("allocate", long.class)
                    .invoke(arena, length);
            return (ByteBuffer) Class.forName("java.lang.foreign.MemorySegment").getMethod("asByteBuffer")
                    .invoke(segment);
        }

        void close() throws Exception {
            arena.close();
        }
    }

    /** A buffer at no address. */
    private static ByteBuffer nowhere() throws Exception {
        Class<?> segment = Class.forName("java.lang.foreign.MemorySegment");
        return (ByteBuffer) segment.getMethod("asByteBuffer").invoke(segment.getField("NULL").get(null));
    }

    @Test
    void memoryOfAnArenaIsReadAndWritten() throws Exception {
        for (String kind : List.of("ofShared", "ofConfined")) {
            Arena arena = new Arena(kind);
            try (Pair pair = new Pair()) {
                assertEquals(100, pair.channel.write(arena.buffer(100).put(random(100)).flip()));
                assertArrayEquals(random(100), receive(pair.peer, 100));
                send(pair.peer, random(10));
                ByteBuffer to = arena.buffer(100);
                assertEquals(10, pair.channel.read(to));
                assertEquals(random(10)[9], to.get(9));
            }
            arena.close();
        }
    }

    @Test
    void freedMemoryIsRefused() throws Exception {
        Arena arena = new Arena("ofShared");
        ByteBuffer freed = arena.buffer(100);
        arena.close();
        try (Pair pair = new Pair()) {
            send(pair.peer, random(10));
            List<Executable> calls = List.of(() -> pair.channel.read(freed), () -> pair.channel.write(freed),
                    () -> pair.channel.read(new ByteBuffer[] {freed}), () -> pair.channel.write(new ByteBuffer[] {freed}),
                    () -> get(pair.channel.readAsync(freed), "the read"),
                    () -> get(pair.channel.writeAsync(freed), "the write"));
            for (Executable call : calls) {
                assertThrows(IllegalStateException.class, call);
            }
            assertEquals(0, pair.channel.bytesRead() + pair.channel.bytesWritten());
            assertArrayEquals(random(10), receive(pair.channel, 10));
        }
    }

    /** Freed after the read began to wait; and memory that the poller's thread may not touch. */
    @Test
    void aReadThatWaitsFindsItFreed() throws Exception {
        Arena shared = new Arena("ofShared");
        Arena confined = new Arena("ofConfined");
        try (Pair pair = new Pair()) {
            CompletableFuture<Integer> read = pair.channel.readAsync(shared.buffer(100));
            shared.close();
            send(pair.peer, random(10));
            assertInstanceOf(IllegalStateException.class, problem(read));
            assertArrayEquals(random(10), receive(pair.channel, 10));
            read = pair.channel.readAsync(confined.buffer(100));
            send(pair.peer, random(10));
            assertEquals("java.lang.WrongThreadException", problem(read).getClass().getName());
            assertArrayEquals(random(10), receive(pair.channel, 10));
            assertEquals(20, pair.channel.bytesRead());
        }
        confined.close();
    }

    @Test
    void anEmptyBufferMayBeNowhere() throws Exception {
        ByteBuffer nowhere = nowhere();
        CompletableFuture<Connection> made = new CompletableFuture<>();
        CompletableFuture<Void> told = new CompletableFuture<>();
        try (SocketReference reference = SocketReference.listen(path("s")); Pair pair = new Pair()) {
            reference.serve(new Handlers() {
                @Override
                public void onConnection(Connection connection) {
                    made.complete(connection);
                }
            });
            try (var peer = dial(path("s"))) {
                Connection connection = get(made, "the connection");
                assertEquals(true, on(connection, one -> one.write(nowhere)));
                assertEquals(true, on(connection, one -> one.write(nowhere, () -> told.complete(null))));
                get(told, "the write");
            }
            assertEquals(0, pair.channel.read(nowhere));
            assertEquals(0, pair.channel.write(nowhere));
            assertEquals(0, pair.channel.write(new ByteBuffer[] {nowhere, nowhere}));
            assertEquals(0, get(pair.channel.writeAsync(nowhere), "the write"));
            assertEquals(2, pair.channel.write(new ByteBuffer[] {nowhere, ByteBuffer.allocate(2), nowhere}));
        }
    }

    @Test
    void handlersWriteNoFreedMemory() throws Exception {
        Arena arena = new Arena("ofShared");
        ByteBuffer freed = arena.buffer(100);
        arena.close();
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            CompletableFuture<Connection> made = new CompletableFuture<>();
            reference.serve(new Handlers() {
                @Override
                public void onConnection(Connection connection) {
                    made.complete(connection);
                }
            });
            try (var peer = dial(path("s"))) {
                Connection connection = made.get(LONG.toSeconds(), TimeUnit.SECONDS);
                assertThrows(IllegalStateException.class, () -> on(connection, one -> one.write(freed)));
                assertThrows(IllegalStateException.class, () -> on(connection, one -> one.write(freed, () -> { })));
                on(connection, one -> one.write(new byte[] {1}));
                assertArrayEquals(new byte[] {1}, receive(peer, 1));
                assertTrue(connection.isOpen());
            }
        }
    }
}
