package org.sockref;

import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * One start under way. C holds it until it calls settle(), exactly once; it holds the registry, so that no
 * Cleaner frees that under the start.
 */
final class StartOperation {
    private final NativeRegistry registry;
    private final Executor executor;
    private final CompletableFuture<SocketReference> future = new CompletableFuture<>();
    /** C's name of this start, valid until it is settled. Guarded by this. */
    private long start;
    /** Guarded by this. */
    private boolean settled;
    /** What has come, while the executor has not given it to the future; null before. Guarded by this. */
    private SocketReference came;

    private StartOperation(NativeRegistry registry, Executor executor) {
        this.registry = registry;
        this.executor = executor;
    }

    /** Start; everything that goes wrong is reported by the future. */
    static CompletableFuture<SocketReference> begin(NativeRegistry registry, PathBytes path, Options options,
            Executor executor) {
        StartOperation operation = new StartOperation(registry, executor);
        try {
            operation.start(path.bytes(), options);
        } catch (Throwable t) {
            operation.fail(t);
            return operation.future;
        }
        // Whoever completes the future first, by cancel() or orTimeout() as well, ends the start.
        operation.future.whenComplete((reference, problem) -> operation.end(reference));
        return operation.future;
    }

    private void start(byte[] path, Options options) throws SockrefException {
        EventLoop loop = EventLoop.get();
        try (NativeOptions nativeOptions = Options.toNative(Objects.requireNonNull(options, "options"))) {
            long pointer = Registry.enter(registry);
            try {
                long mine = Shim.startNew(this);
                synchronized (this) {
                    start = mine;
                }
                Shim.start(pointer, path, NativeOptions.pointer(nativeOptions), loop.pointer(), mine);
            } finally {
                Registry.exit(registry, pointer);
            }
        }
    }

    private void fail(Throwable problem) {
        synchronized (this) {
            settled = true;
        }
        Background.fail(executor, future, problem);
    }

    /** The future is complete, perhaps with something else than what has come or comes. */
    private synchronized void end(SocketReference given) {
        if (settled) {
            if (came != null && came != given) {
                came.close();
            }
            came = null;
            return;
        }
        try {
            long pointer = Registry.enter(registry);
            try {
                Shim.cancelStart(pointer, start);
            } finally {
                Registry.exit(registry, pointer);
            }
        } catch (SockrefException e) {
            // The registry was closed, which cancels its starts.
        }
    }

    /** Called from C on the loop's thread: the pointer of a reference that is ours now, or 0 and why. */
    void settle(long pointer, SockrefException problem) {
        try {
            synchronized (this) {
                settled = true;
            }
            if (pointer == 0) {
                Throwable why = problem != null ? problem : new OutOfMemoryError("of a start's error");
                Background.fail(executor, future, why);
                return;
            }
            SocketReference reference = new SocketReference(NativeReference.of(pointer));
            synchronized (this) {
                came = reference;
            }
            if (future.isDone()) {
                reference.close();
                return;
            }
            Background.complete(executor, () -> future.complete(reference));
        } catch (Throwable t) {
            Background.fail(executor, future, t); // no memory for the reference
        } finally {
            EventLoop.forgetInterrupt();
        }
    }
}
