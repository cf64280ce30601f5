package org.sockref;

import java.nio.channels.AsynchronousCloseException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/**
 * An operation of a channel, which is the future of its outcome: tried at once and, where that would block, at each
 * sign of the poller. It has its side's turn until it is over. Whoever else completes or cancels it ends it.
 *
 * <p>There is one for each message of a busy connection: what it needs is in its own fields, not in objects beside it.
 */
abstract class Operation<T> extends CompletableFuture<T> implements Runnable {
    private final Side side;
    /** How it ended, from then on. Like the others it goes from thread to thread with the operation. */
    private T outcome;
    private Throwable problem;
    private boolean hasWaited;

    /** The caller has the side's turn. */
    Operation(Side side) {
        this.side = side;
    }

    /** One try: the outcome, or null where it would block. */
    abstract T attempt(int fd) throws Exception;

    /** It is over: who keeps the future keeps neither the channel nor a buffer. */
    abstract void letGo();

    /** The outcome came too late. */
    void discard(T late) {
    }

    /** Try, unless it is known to be in vain, and wait. */
    Operation<T> begin() {
        run(!side.socket.isQuiet(side.direction));
        return this;
    }

    /** On the poller's thread, to go on; then on the executor, to tell how it ended. */
    @Override
    public void run() {
        if (outcome == null && problem == null) {
            run(true);
        } else {
            tell();
        }
    }

    private void run(boolean tries) {
        Descriptor socket = side.socket;
        boolean isPromising = tries;
        T found = null;
        Throwable thrown = null;
        while (found == null && thrown == null) {
            if (isDone()) {
                end();
                return;
            }
            int fd = socket.enter();
            try {
                if (fd == 0) {
                    throw new AsynchronousCloseException();
                }
                found = isPromising ? attempt(fd) : null;
                isPromising = true;
                if (found == null) {
                    hasWaited = true;
                    if (socket.await(side.direction, this)) {
                        if (isDone()) {
                            forget();
                        }
                        return;
                    }
                }
            } catch (Throwable t) {
                thrown = t;
            } finally {
                socket.exit(fd);
            }
        }
        outcome = found;
        problem = thrown;
        end();
        if (hasWaited) {
            Background.complete(side.executor, this);
        } else {
            tell();
        }
    }

    private void end() {
        letGo();
        side.turn.release();
    }

    /** Of the poller that it waited by, which failed. */
    void fail(SockrefException why) {
        problem = why;
        end();
        Background.complete(side.executor, this);
    }

    private void tell() {
        if (problem != null) {
            Background.failHere(this, problem);
        } else if (!super.complete(outcome) && !Background.isOutcome(this, outcome)) {
            discard(outcome);
        }
    }

    /** Somebody else has completed it: it waits no more, or else its next try sees that. */
    private void forget() {
        if (side.socket.forget(side.direction, this)) {
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
