package org.sockref;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;

/** Daemon threads for calls that wait, and how futures are completed. */
final class Background {
    /** Between looks for memory. */
    private static final long RETRY_NANOS = 1_000_000;

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

    /**
     * Execute. The common pool that can start no thread says so, and keeps the task all the same: what comes behind it
     * it would take without another try to start one, and never run.
     */
    private static void execute(Executor executor, Runnable task) {
        if (executor != ForkJoinPool.commonPool()) {
            executor.execute(task);
            return;
        }
        ForkJoinTask<?> submitted = ForkJoinTask.adapt(task);
        try {
            ForkJoinPool.commonPool().execute(submitted);
        } catch (Throwable noThread) {
            submitted.tryUnfork();
            throw noThread;
        }
    }

    /**
     * Complete a future by {@code completion} on {@code executor}, and at the least here. When it is run again it must
     * do nothing: a pool that can start no thread says so, and has kept it all the same.
     */
    static void complete(Executor executor, Runnable completion) {
        try {
            execute(executor, completion);
        } catch (Throwable refused) {
            // RejectedExecutionException, or what else an executor says that is over, can start no thread, or whose
            // classes are gone.
            completeAnyhow(completion);
        }
    }

    private static void completeAnyhow(Runnable completion) {
        try {
            execute(defaultExecutor(), completion);
        } catch (Throwable noThread) {
            completion.run();
        }
    }

    /** Fail a future on an executor; where there is no memory here, as soon as there is. */
    static void fail(Executor executor, CompletableFuture<?> future, Throwable why) {
        try {
            complete(executor, () -> future.completeExceptionally(why));
        } catch (Throwable noMemory) {
            failHere(future, why);
        }
    }

    /** Wait for the few bytes that it takes: whoever waits for the future would do so for ever. */
    static void failHere(CompletableFuture<?> future, Throwable why) {
        while (true) {
            try {
                future.completeExceptionally(why);
                return;
            } catch (OutOfMemoryError full) {
                LockSupport.parkNanos(RETRY_NANOS);
            }
        }
    }

    /** Complete a future with what is discarded where it comes too late; again it does nothing. */
    static <T> void give(CompletableFuture<T> future, T value, Consumer<T> discard) {
        if (!future.complete(value) && !isOutcome(future, value)) {
            discard.accept(value);
        }
    }

    static <T> boolean isOutcome(CompletableFuture<T> future, T value) {
        return !future.isCompletedExceptionally() && future.getNow(null) == value;
    }

    /** Run a call that waits off the caller's thread. */
    static <T> CompletableFuture<T> supply(Executor executor, Callable<T> call) {
        CompletableFuture<T> future = new CompletableFuture<>();
        try {
            WAITERS.execute(() -> {
                try {
                    T value = call.call();
                    complete(executor, () -> future.complete(value));
                } catch (Throwable t) {
                    fail(executor, future, t);
                }
            });
        } catch (Throwable noThread) {
            fail(executor, future, noThread);
        }
        return future;
    }
}
