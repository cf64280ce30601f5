package org.sockref;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * The signs that the poller gives for one descriptor, and who waits for them: a virtual thread, or an operation of a
 * future; one for each direction, as the turns of a channel see to it.
 *
 * <p>A sign stays until it is taken, and who has taken one tries again before the next wait: so none is lost, and one
 * that came for nothing costs one more try. After a read that left nothing there is no need to try before the wait:
 * whatever is new gives a sign.
 */
final class Readiness {
    static final int INPUT = 1;
    static final int OUTPUT = 2;
    /** The end, an error or a byte out of band was there: a short read shows no more that nothing is left. It stays. */
    static final int SPECIAL = 4;
    static final int ALL = INPUT | OUTPUT | SPECIAL;
    static final long NEVER = Long.MAX_VALUE;

    private final int fd;
    private final AtomicInteger signs = new AtomicInteger();
    private final AtomicReference<Object> reader = new AtomicReference<>();
    private final AtomicReference<Object> writer = new AtomicReference<>();
    /** That of the first who waited, while it looks for something. Guarded by this. */
    private Poller poller;
    /** What the poller looks for; set with the monitor held. */
    private volatile int armed;
    /** Of who has the turn of input, or takes its sign. */
    private boolean isDrained;

    Readiness(int fd) {
        this.fd = fd;
    }

    private AtomicReference<Object> waiter(int direction) {
        return direction == INPUT ? reader : writer;
    }

    /** Input is looked for from the first wait on; output only while somebody waits for it. */
    void arm(int direction) throws SockrefException {
        if ((armed & direction) != 0) {
            return;
        }
        synchronized (this) {
            Poller looking = poller == null ? Poller.get() : poller;
            looking.set(fd, this, armed == 0, direction == OUTPUT);
            poller = looking;
            armed |= INPUT | direction;
        }
    }

    private synchronized void disarmOutput() {
        if ((armed & OUTPUT) != 0) {
            armed &= ~OUTPUT;
            try {
                poller.set(fd, this, false, false);
            } catch (SockrefException closed) {
                // Nobody looks for anything there any more.
            }
        }
    }

    private boolean take(int direction) {
        if ((signs.get() & direction) == 0
                || (signs.getAndAccumulate(~direction, (all, kept) -> all & kept) & direction) == 0) {
            return false;
        }
        if (direction == INPUT) {
            isDrained = false;
        }
        return true;
    }

    /** Told after each read by who has the turn of input: whether it left nothing. */
    void setDrained(boolean drained) {
        isDrained = drained;
    }

    /** Whether a read would find nothing; asked by who has the turn of input. */
    boolean isQuiet() {
        return isDrained && (armed & INPUT) != 0 && (signs.get() & (INPUT | SPECIAL)) == 0;
    }

    /** Of a poller, whose set of descriptors is waited for by another one: park until something is in it. */
    void awaitOnce(Poller outer) throws SockrefException {
        synchronized (this) {
            outer.setOnce(fd, this, armed == 0);
            poller = outer;
            armed = INPUT;
        }
        park(INPUT, NEVER);
    }

    /** Park until there is a sign; false: the time is over. */
    boolean park(int direction, long deadline) throws SockrefException {
        AtomicReference<Object> waiter = waiter(direction);
        waiter.set(Thread.currentThread());
        Object left;
        boolean isSigned;
        try {
            isSigned = parkUntilSigned(direction, deadline);
        } finally {
            left = waiter.getAndSet(null);
        }
        if (left instanceof SockrefException problem) {
            throw problem.again();
        }
        return isSigned;
    }

    private boolean parkUntilSigned(int direction, long deadline) {
        while (!take(direction)) {
            if (deadline == NEVER) {
                LockSupport.park(this);
            } else {
                long left = deadline - System.nanoTime();
                if (left <= 0) {
                    return false;
                }
                LockSupport.parkNanos(this, left);
            }
        }
        return true;
    }

    /** Have an operation run at the next sign; false: there is one, go on now. */
    boolean await(int direction, Operation<?> operation) throws SockrefException {
        arm(direction);
        waiter(direction).set(operation);
        if ((signs.get() & direction) == 0 || !waiter(direction).compareAndSet(operation, null)) {
            return true;
        }
        take(direction);
        return false;
    }

    /** Whether an operation that waited does so no more, because of this. */
    boolean forget(int direction, Operation<?> operation) {
        return waiter(direction).compareAndSet(operation, null);
    }

    /** Of the poller; or for both directions of whoever ends or changes the descriptor. */
    void sign(int directions) {
        if ((directions & OUTPUT) != 0) {
            // Before the sign: who waits again after it arms anew.
            disarmOutput();
        }
        signs.getAndAccumulate(directions, (all, more) -> all | more);
        if ((directions & INPUT) != 0) {
            wake(INPUT);
        }
        if ((directions & OUTPUT) != 0) {
            wake(OUTPUT);
        }
    }

    private void wake(int direction) {
        AtomicReference<Object> waiter = waiter(direction);
        Object waiting = waiter.get();
        if (waiting instanceof Thread thread) {
            LockSupport.unpark(thread);
        } else if (waiting != null && waiter.compareAndSet(waiting, null)) {
            take(direction);
            ((Operation<?>) waiting).run();
        }
    }

    /** Of a poller that looks no more: who waits is told why, and who comes later waits by another one. */
    void fail(Poller ended, SockrefException problem) {
        Object reading;
        Object writing;
        synchronized (this) {
            if (poller != ended) {
                return;
            }
            poller = null;
            armed = 0;
            // Who is about to wait tries again.
            signs.getAndAccumulate(INPUT | OUTPUT, (all, more) -> all | more);
            reading = takeWaiting(reader, problem);
            writing = takeWaiting(writer, problem);
        }
        fail(reading, problem);
        fail(writing, problem);
    }

    /** A thread finds the problem in its place. */
    private static Object takeWaiting(AtomicReference<Object> waiter, SockrefException problem) {
        return waiter.getAndUpdate(waiting -> waiting instanceof Thread ? problem : null);
    }

    private static void fail(Object waiting, SockrefException problem) {
        if (waiting instanceof Thread thread) {
            LockSupport.unpark(thread);
        } else if (waiting != null) {
            ((Operation<?>) waiting).fail(problem.again());
        }
    }

    /** Change what the number leads to: who arms meanwhile would have the poller look at what it led to before. */
    synchronized void replace(IntConsumer change) {
        forgetDescriptor();
        change.accept(fd);
    }

    /** The descriptor is about to be closed, or to lead to something else. */
    synchronized void forgetDescriptor() {
        if (armed != 0) {
            armed = 0;
            poller.remove(fd);
            poller = null;
        }
    }
}
