package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** Every test has a directory of its own, and leaves no file of the library's and no live object behind. */
@Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
abstract class Scene {
    static final Duration LONG = Duration.ofSeconds(30);

    private static final int FORMAT = 0170000;
    private static final int SOCKET = 0140000;

    Path directory;
    private LiveCounts before;
    private long activeBefore;

    @BeforeEach
    void open() throws IOException {
        directory = Files.createTempDirectory("sockref-test-",
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        before = Sockref.liveCounts();
        activeBefore = Sockref.activeSocketCount();
    }

    @AfterEach
    void nothingIsLeft() throws Exception {
        await("live counts " + before, () -> Sockref.liveCounts().equals(before), Sockref::liveCounts);
        assertEquals(activeBefore, Sockref.activeSocketCount());
        List<Path> left = left();
        deleteAll(directory);
        assertEquals(List.of(), left);
    }

    Path path(String leaf) {
        return directory.resolve(leaf);
    }

    /** The lock file or control socket that a shared socket has beside it, by its suffix. */
    static Path beside(Path path, String suffix) {
        return path.resolveSibling("." + path.getFileName() + suffix);
    }

    private static boolean isBeside(Path file) {
        return file.getFileName().toString().matches("\\..*\\.sr(lock|ctl)");
    }

    /** Socket files in the directory, those of foreign servers excepted, which are named so. */
    List<Path> sockets() throws IOException {
        return left().stream().filter(file -> !isBeside(file)).toList();
    }

    /** Those, with what stands beside them. */
    List<Path> left() throws IOException {
        List<Path> found = new ArrayList<>();
        Files.walkFileTree(directory, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                boolean isForeign = file.getFileName().toString().startsWith("foreign");
                if (isBeside(file) || (isSocket(file) && !isForeign)) {
                    found.add(file);
                }
                return FileVisitResult.CONTINUE;
            }
        });
        return found;
    }

    static boolean exists(Path path) {
        return Files.exists(path, LinkOption.NOFOLLOW_LINKS);
    }

    static boolean isSocket(Path path) throws IOException {
        try {
            return ((int) Files.getAttribute(path, "unix:mode", LinkOption.NOFOLLOW_LINKS) & FORMAT) == SOCKET;
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    static long inode(Path path) throws IOException {
        return (long) Files.getAttribute(path, "unix:ino", LinkOption.NOFOLLOW_LINKS);
    }

    private static void deleteAll(Path top) throws IOException {
        Files.walkFileTree(top, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path dir, IOException problem) throws IOException {
                Files.delete(dir);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    /** Look until it is so, or the time is up. */
    static void await(String what, BooleanSupplier condition, java.util.function.Supplier<?> seen) throws Exception {
        long deadline = System.nanoTime() + LONG.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                fail("not reached: " + what + "; there is " + seen.get());
            }
            Thread.sleep(1);
        }
    }

    static void await(String what, BooleanSupplier condition) throws Exception {
        await(what, condition, () -> "nothing more to tell");
    }

    /** Collect until it is so. */
    static void awaitCollected(String what, BooleanSupplier condition) throws Exception {
        await(what, () -> {
            System.gc();
            return condition.getAsBoolean();
        });
    }

    /** Somebody else removes it. */
    void awaitNothing() throws Exception {
        await("nothing is left", () -> {
            try {
                return left().isEmpty();
            } catch (UncheckedIOException | IOException vanished) {
                return false;
            }
        });
    }

    /** Run a body on so many threads at once; what goes wrong on them is the caller's failure. */
    static void onThreads(int count, Callable<?> body) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(count);
        try {
            for (Future<?> one : threads.invokeAll(Collections.nCopies(count, body))) {
                one.get();
            }
        } finally {
            threads.shutdown();
        }
    }

    static void uninterrupted(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    static SocketReference get(CompletableFuture<SocketReference> future) throws Exception {
        return future.get(LONG.toSeconds(), TimeUnit.SECONDS);
    }

    static SockrefException refused(String code, Executable call) {
        SockrefException problem = assertThrows(SockrefException.class, call);
        assertEquals(code, problem.code(), problem.getMessage());
        return problem;
    }

    /** The problem of a future. */
    static Throwable problem(CompletableFuture<?> future) throws Exception {
        try {
            future.get(LONG.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            return e.getCause();
        }
        return fail("the future succeeded");
    }

    static SockrefException refused(String code, CompletableFuture<?> future) throws Exception {
        Throwable problem = problem(future);
        assertTrue(problem instanceof SockrefException, problem::toString);
        assertEquals(code, ((SockrefException) problem).code());
        return (SockrefException) problem;
    }

    /** The dispatch thread, blocked in a handler until this is closed. */
    static final class Blocked implements AutoCloseable {
        private final CountDownLatch goesOn = new CountDownLatch(1);
        private final SocketReference reference;
        private final SocketChannel peer;

        Blocked(Path path) throws Exception {
            CountDownLatch blocks = new CountDownLatch(1);
            reference = SocketReference.listen(path);
            reference.serve(new Handlers() {
                @Override
                public void onConnection(Connection connection) throws Exception {
                    blocks.countDown();
                    goesOn.await(LONG.toSeconds(), TimeUnit.SECONDS);
                    connection.destroy();
                }
            });
            peer = dial(path);
            assertTrue(blocks.await(LONG.toSeconds(), TimeUnit.SECONDS));
        }

        @Override
        public void close() throws IOException {
            goesOn.countDown();
            try (reference; peer) {
                assertEquals(0, receive(peer, 1).length);
            }
        }
    }

    static SocketChannel dial(Path path) throws IOException {
        return SocketChannel.open(UnixDomainSocketAddress.of(path));
    }

    static void send(SocketChannel channel, byte[] bytes) throws IOException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }

    /** That many bytes, or fewer if the peer ended. */
    static byte[] receive(SocketChannel channel, int length) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining() && channel.read(buffer) >= 0) {
            continue;
        }
        byte[] bytes = new byte[buffer.position()];
        buffer.flip().get(bytes);
        return bytes;
    }

    /** A server of Java's own. */
    static ServerSocketChannel foreign(Path path) throws IOException {
        ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        server.bind(UnixDomainSocketAddress.of(path));
        return server;
    }
}
