package org.sockref;

import java.nio.channels.AsynchronousCloseException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Semaphore;

/**
 * An operation of a channel whose outcome is a future: tried at once and, where that would block, at each sign of the
 * poller. It has its direction's turn until it is over. Completing or cancelling the future ends it.
 */
final class Operation<T> implements Runnable {
    /** One try: the outcome, or null where it would block. */
    interface Step<T> {
        T run(int fd) throws Exception;
    }

    /** Where the outcome came too late for its future. */
    interface Discard<T> {
        void run(T outcome);
    }

    private final CompletableFuture<T> future = new CompletableFuture<>();
    private final Descriptor socket;
    private final int direction;
    private final Semaphore turn;
    private final Executor executor;
    private final Step<T> step;
    private final Discard<T> discard;
    private volatile boolean hasWaited;

    private Operation(Descriptor socket, int direction, Semaphore turn, Executor executor, Step<T> step,
            Discard<T> discard) {
        this.socket = socket;
        this.direction = direction;
        this.turn = turn;
        this.executor = executor;
        this.step = step;
        this.discard = discard;
    }

    /** Begin; the caller has the turn. */
    static <T> CompletableFuture<T> begin(Descriptor socket, int direction, Semaphore turn, Executor executor,
            Step<T> step, Discard<T> discard) {
        Operation<T> operation = new Operation<>(socket, direction, turn, executor, step, discard);
        operation.run();
        if (operation.hasWaited && !operation.future.isDone()) {
            operation.future.whenComplete((outcome, problem) -> operation.cancel());
        }
        return operation.future;
    }

    private void cancel() {
        if (socket.forget(direction, this)) {
            turn.release();
        }
    }

    @Override
    public void run() {
        T outcome = null;
        Throwable problem = null;
        while (outcome == null && problem == null) {
            if (future.isDone()) {
                turn.release();
                return;
            }
            int fd = socket.enter();
            try {
                if (fd == 0) {
                    throw new AsynchronousCloseException();
                }
                outcome = step.run(fd);
                if (outcome == null) {
                    hasWaited = true;
                    if (socket.await(direction, this)) {
                        return;
                    }
                }
            } catch (Throwable t) {
                problem = t;
            } finally {
                socket.exit(fd);
            }
        }
        turn.release();
        settle(outcome, problem);
    }

    private void settle(T outcome, Throwable problem) {
        if (hasWaited) {
            Background.complete(executor, () -> complete(outcome, problem));
        } else {
            complete(outcome, problem);
        }
    }

    private void complete(T outcome, Throwable problem) {
        if (problem != null) {
            future.completeExceptionally(problem);
        } else if (!future.complete(outcome)) {
            discard.run(outcome);
        }
    }
}
