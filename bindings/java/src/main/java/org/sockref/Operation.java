package org.sockref;

import java.nio.channels.AsynchronousCloseException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * An operation of a channel, which is the future of its outcome: tried at once and, where that would block, at each
 * sign of the poller. It has its direction's turn until it is over. Whoever else completes or cancels it ends it.
 */
final class Operation<T> extends CompletableFuture<T> implements Runnable {
    /** One try: the outcome, or null where it would block. */
    interface Step<T> {
        T run(int fd) throws Exception;
    }

    /** Where the outcome came too late. */
    interface Discard<T> {
        void run(T outcome);
    }

    private final Descriptor socket;
    private final int direction;
    private final Semaphore turn;
    private final Executor executor;
    private final Discard<T> discard;
    /** Null when it is over: who keeps the future keeps neither the channel nor a buffer. */
    private Step<T> step;
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
        operation.run(socket.isQuiet(direction));
        return operation;
    }

    @Override
    public void run() {
        run(false);
    }

    private void run(boolean isQuiet) {
        boolean tries = !isQuiet;
        T outcome = null;
        Throwable problem = null;
        while (outcome == null && problem == null) {
            if (isDone()) {
                end();
                return;
            }
            int fd = socket.enter();
            try {
                if (fd == 0) {
                    throw new AsynchronousCloseException();
                }
                outcome = tries ? step.run(fd) : null;
                tries = true;
                if (outcome == null) {
                    hasWaited = true;
                    if (socket.await(direction, this)) {
                        if (isDone()) {
                            forget();
                        }
                        return;
                    }
                }
            } catch (Throwable t) {
                problem = t;
            } finally {
                socket.exit(fd);
            }
        }
        end();
        settle(outcome, problem);
    }

    private void end() {
        step = null;
        turn.release();
    }

    private void settle(T outcome, Throwable problem) {
        if (hasWaited) {
            Background.complete(executor, () -> finish(outcome, problem));
        } else {
            finish(outcome, problem);
        }
    }

    private void finish(T outcome, Throwable problem) {
        if (problem != null) {
            super.completeExceptionally(problem);
        } else if (!super.complete(outcome)) {
            discard.run(outcome);
        }
    }

    /** Somebody else has completed it: it waits no more, or else its next try sees that. */
    private void forget() {
        if (socket.forget(direction, this)) {
            end();
        }
    }

    private boolean forgetIf(boolean isNew) {
        if (isNew) {
            forget();
        }
        return isNew;
    }

    @Override
    public boolean complete(T value) {
        return forgetIf(super.complete(value));
    }

    @Override
    public boolean completeExceptionally(Throwable problem) {
        return forgetIf(super.completeExceptionally(problem));
    }

    @Override
    public boolean cancel(boolean mayInterrupt) {
        return forgetIf(super.cancel(mayInterrupt));
    }

    @Override
    public void obtrudeValue(T value) {
        super.obtrudeValue(value);
        forget();
    }

    @Override
    public void obtrudeException(Throwable problem) {
        super.obtrudeException(problem);
        forget();
    }

    /** For what completes it by other ways than the methods above. */
    private void forgetWhenDone() {
        whenComplete((outcome, problem) -> forget());
    }

    @Override
    public CompletableFuture<T> completeAsync(Supplier<? extends T> supplier, Executor other) {
        forgetWhenDone();
        return super.completeAsync(supplier, other);
    }

    @Override
    public CompletableFuture<T> orTimeout(long timeout, TimeUnit unit) {
        forgetWhenDone();
        return super.orTimeout(timeout, unit);
    }

    @Override
    public CompletableFuture<T> completeOnTimeout(T value, long timeout, TimeUnit unit) {
        forgetWhenDone();
        return super.completeOnTimeout(value, timeout, unit);
    }
}
