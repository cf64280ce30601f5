package org.sockref;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;

/** Daemon threads for calls that wait, and how futures are completed. */
final class Background {
    private static final ExecutorService WAITERS = Executors.newCachedThreadPool(
            task -> daemon(task, "sockref-waiter"));

    private Background() {
    }

    /** A thread of ours, which keeps nothing of the one that happened to need it first. */
    static Thread daemon(Runnable body, String name) {
        Thread thread = new Thread(null, body, name, 0, false);
        thread.setDaemon(true);
        thread.setContextClassLoader(Background.class.getClassLoader());
        return thread;
    }

    /** The common pool, or what CompletableFuture takes where that has no parallelism. */
    static Executor defaultExecutor() {
        return new CompletableFuture<Void>().defaultExecutor();
    }

    /** Complete a future by {@code completion} on {@code executor}, and at the least somewhere. */
    static void complete(Executor executor, Runnable completion) {
        try {
            executor.execute(completion);
        } catch (RuntimeException | OutOfMemoryError | LinkageError refused) {
            // RejectedExecutionException, or what else an executor says that is over, can start no thread, or whose
            // classes are gone.
            defaultExecutor().execute(completion);
        }
    }

    /** Run a call that waits off the caller's thread. */
    static <T> CompletableFuture<T> supply(Executor executor, Callable<T> call) {
        CompletableFuture<T> future = new CompletableFuture<>();
        WAITERS.execute(() -> {
            T value;
            try {
                value = call.call();
            } catch (Throwable t) {
                complete(executor, () -> future.completeExceptionally(t));
                return;
            }
            complete(executor, () -> future.complete(value));
        });
        return future;
    }
}
