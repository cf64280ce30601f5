package org.sockref;

import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * Starts side by side, of which a pool is made when all have succeeded. The first that fails cancels the others;
 * whoever completes or cancels the future cancels all.
 */
final class PoolOperation {
    private static final Pattern PORT = Pattern.compile("(tcp:.*:)0*(\\d{1,5})", Pattern.DOTALL);
    private static final int MOST_PORTS = 65536;
    /** Each byte is a character. */
    private static final Charset BYTES = StandardCharsets.ISO_8859_1;

    private final List<CompletableFuture<SocketReference>> starts = new ArrayList<>();
    private final AtomicReference<Throwable> problem = new AtomicReference<>();
    private final CompletableFuture<SocketPool> future = new CompletableFuture<>();

    private PoolOperation() {
    }

    /** Start; everything that goes wrong is reported by the future. */
    static CompletableFuture<SocketPool> begin(Registry registry, PathBytes path, int count, Options options) {
        PoolOperation operation = new PoolOperation();
        try {
            byte[] bytes = path.bytes();
            Objects.requireNonNull(options, "options");
            List<byte[]> names = names(bytes, SocketPool.checked(count));
            if (bytes != null) {
                check(registry, bytes);
                check(registry, names.get(count - 1)); // none is longer
            }
            operation.start(registry, names, options);
        } catch (Throwable t) {
            return CompletableFuture.failedFuture(t);
        }
        return operation.future;
    }

    /** Refuse what is no name by itself, but might be one with an ending, such as a directory. */
    private static void check(Registry registry, byte[] path) throws SockrefException {
        try {
            registry.getExisting(path).ifPresent(SocketReference::close);
        } catch (SockrefException e) {
            if (!e.code().equals("ESOCKREF_LIMIT")) { // a name, which has as many references as it may have
                throw e;
            }
        }
    }

    /** As sockref_pool_listen() names them. What is no port is left to the library to refuse. */
    private static List<byte[]> names(byte[] path, int count) throws SockrefException {
        if (path == null) {
            return Collections.nCopies(count, null);
        }
        String text = new String(path, BYTES);
        Matcher tcp = PORT.matcher(text);
        int port = tcp.matches() ? Integer.parseInt(tcp.group(2)) : 0;
        if (port == 0 && text.startsWith("tcp:")) {
            return Collections.nCopies(count, path);
        }
        if (port > MOST_PORTS - count) {
            throw SockrefException.of(SockrefException.EPATH, PathBytes.text(path),
                    "there are no " + count + " ports from this one to 65535");
        }
        String head = port == 0 ? text + "." : tcp.group(1);
        return IntStream.range(port, port + count).mapToObj(number -> (head + number).getBytes(BYTES)).toList();
    }

    private void start(Registry registry, List<byte[]> names, Options options) {
        for (byte[] name : names) {
            starts.add(registry.startListener(() -> name, name == null ? options.unique() : options));
        }
        // All have been looked at before the outcome is.
        CompletableFuture<?>[] seen = starts.stream().map(start -> start.whenComplete(this::look))
                .toArray(CompletableFuture<?>[]::new);
        CompletableFuture.allOf(seen).whenComplete((all, ignored) -> finish());
        future.whenComplete((pool, ignored) -> cancel());
    }

    private void look(SocketReference reference, Throwable why) {
        if (why != null && problem.compareAndSet(null, why)) {
            cancel();
        }
    }

    private void cancel() {
        starts.forEach(start -> start.cancel(false));
    }

    private void finish() {
        SocketPool pool = null;
        try {
            pool = problem.get() == null ? poolOfAll() : null;
        } catch (Throwable t) {
            problem.set(t);
        }
        starts.stream().filter(start -> !start.isCompletedExceptionally()).forEach(start -> start.join().close());
        if (pool == null) {
            future.completeExceptionally(problem.get());
        } else {
            give(pool, future);
        }
    }

    /** The pool is closed where somebody else has completed the future meanwhile. */
    static void give(SocketPool pool, CompletableFuture<SocketPool> future) {
        if (!future.complete(pool)) {
            pool.close();
        }
    }

    private SocketPool poolOfAll() throws SockrefException {
        SocketPool pool = new SocketPool();
        try {
            for (CompletableFuture<SocketReference> start : starts) {
                pool.add(start.join());
            }
            return pool;
        } catch (Throwable t) {
            pool.close();
            throw t;
        }
    }
}
