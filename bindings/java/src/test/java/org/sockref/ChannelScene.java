package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.SocketChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import java.util.zip.CRC32;

/** Channels beside those of Java's own. */
abstract class ChannelScene extends Scene {
    /** A server channel and one connection of it, at whose other end is Java's own. */
    final class Pair implements AutoCloseable {
        final SockrefServerChannel server;
        final SocketChannel peer;
        final SockrefChannel channel;

        Pair() throws IOException {
            server = SockrefServerChannel.listen(path("pair"));
            peer = dial(path("pair"));
            channel = server.accept();
        }

        @Override
        public void close() throws IOException {
            channel.close();
            peer.close();
            server.close();
        }
    }

    /** A call on a thread of its own. */
    static final class Call<T> {
        final Thread thread;
        private final CompletableFuture<T> outcome = new CompletableFuture<>();

        Call(Callable<T> body) {
            thread = new Thread(() -> {
                try {
                    outcome.complete(body.call());
                } catch (Throwable t) {
                    outcome.completeExceptionally(t);
                }
            });
            thread.start();
        }

        T get() throws Exception {
            return ChannelScene.get(outcome, "the call");
        }

        Throwable problem() throws Exception {
            return Scene.problem(outcome);
        }

        /** Until the thread is inside the system call of that name: blocked there, not on its way. */
        void awaitInside() throws Exception {
            await("the thread waits", () -> thread.getStackTrace().length > 0
                    && thread.getStackTrace()[0].isNativeMethod()
                    && thread.getStackTrace()[0].getClassName().equals("org.sockref.Sockets"));
        }
    }

    static <T> T get(CompletableFuture<T> future, String what) throws Exception {
        try {
            return future.get(LONG.toSeconds(), TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            throw new AssertionError(what + " is not over");
        } catch (ExecutionException e) {
            if (e.getCause() instanceof Exception problem) {
                throw problem;
            }
            throw e;
        }
    }

    interface Task<T> {
        T run(Connection connection) throws Exception;
    }

    /** Run on the thread of a connection. */
    static <T> T on(Connection connection, Task<T> task) throws Exception {
        CompletableFuture<T> outcome = new CompletableFuture<>();
        connection.execute(() -> {
            try {
                outcome.complete(task.run(connection));
            } catch (Throwable t) {
                outcome.completeExceptionally(t);
            }
        });
        return get(outcome, "the task");
    }

    static long descriptors() throws IOException {
        try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
            return all.count();
        }
    }

    static byte[] random(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    static byte[] receive(ReadableByteChannel channel, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining() && channel.read(buffer) >= 0) {
            continue;
        }
        return java.util.Arrays.copyOf(buffer.array(), buffer.position());
    }

    /** Send pseudo-random bytes in pieces of many sizes: their checksum. */
    static long pour(WritableByteChannel to, long length, ByteBuffer buffer) throws IOException {
        CRC32 sum = new CRC32();
        Random random = new Random(length);
        byte[] bytes = new byte[buffer.capacity()];
        for (long left = length; left > 0;) {
            int piece = (int) Math.min(left, 1 + random.nextInt(bytes.length));
            random.nextBytes(bytes);
            sum.update(bytes, 0, piece);
            buffer.clear().put(bytes, 0, piece).flip();
            while (buffer.hasRemaining()) {
                to.write(buffer);
            }
            left -= piece;
        }
        return sum.getValue();
    }

    /** Receive as many bytes: their checksum. */
    static long drink(ReadableByteChannel from, long length, ByteBuffer buffer) throws IOException {
        CRC32 sum = new CRC32();
        for (long left = length; left > 0;) {
            buffer.clear().limit((int) Math.min(left, buffer.capacity()));
            int got = from.read(buffer);
            assertTrue(got > 0, "the end came " + left + " bytes too early");
            sum.update(buffer.flip());
            left -= got;
        }
        return sum.getValue();
    }

    /** Exchange that many bytes, both ways at once. */
    static <A extends ReadableByteChannel & WritableByteChannel, B extends ReadableByteChannel & WritableByteChannel>
            void exchange(A one, B other, long length, boolean direct) throws Exception {
        Call<Long> sent = new Call<>(() -> pour(one, length, buffer(direct)));
        Call<Long> sentBack = new Call<>(() -> pour(other, length + 1, buffer(direct)));
        Call<Long> got = new Call<>(() -> drink(other, length, buffer(direct)));
        Call<Long> gotBack = new Call<>(() -> drink(one, length + 1, buffer(direct)));
        assertEquals(sent.get(), got.get());
        assertEquals(sentBack.get(), gotBack.get());
    }

    private static ByteBuffer buffer(boolean direct) {
        return direct ? ByteBuffer.allocateDirect(100_000) : ByteBuffer.allocate(100_000);
    }
}
