package org.sockref;

import java.io.IOException;
import java.net.SocketTimeoutException;
import java.nio.channels.ClosedChannelException;
import java.util.concurrent.TimeUnit;
import java.util.function.IntConsumer;

/**
 * The descriptor of one channel, and how calls wait for it.
 *
 * <p>A call enters before and exits after, as {@link Handle} counts; the number is closed once, by the last who leaves
 * a closed one, or by the Cleaner where nobody closed it.
 */
final class Descriptor {
    /** One try of a system call: its result, or a negative errno. */
    interface Attempt {
        int run(int fd, boolean wait) throws IOException;
    }

    /** A question to the system or a change, which never waits. */
    interface Use<T> {
        T run(int fd) throws IOException;
    }

    private final int fd;
    private final Runnable onFree;
    private final Handle handle;
    private volatile Readiness readiness;

    /** {@code onFree} runs once the number is closed, and must not refer to the owner. */
    Descriptor(int fd, Runnable onFree) {
        this.fd = fd;
        this.onFree = onFree;
        handle = new Handle(fd, this::free);
    }

    /** Take the number for its owner, who is complete; not where this throws. */
    void setOwner(Object owner) {
        handle.setOwner(owner);
    }

    private void free(long number) {
        Readiness signs = readiness;
        if (signs != null) {
            signs.forgetDescriptor();
        }
        Sockets.close(fd);
        onFree.run();
    }

    /** Begin to use the number: 0 if it is closed. */
    int enter() {
        return (int) handle.enter();
    }

    /** End what enter began. */
    void exit(int entered) {
        handle.exit(entered);
    }

    <T> T use(Use<T> call) throws IOException {
        int entered = enter();
        if (entered == 0) {
            throw new ClosedChannelException();
        }
        try {
            return call.run(entered);
        } finally {
            exit(entered);
        }
    }

    boolean isClosed() {
        return handle.isClosed();
    }

    /** Close; {@code rouse} is given the number, to wake who uses it in a system call. */
    void close(IntConsumer rouse) {
        int entered = enter();
        if (entered == 0) {
            return;
        }
        handle.close();
        rouse.accept(fd);
        wake();
        exit(entered);
    }

    /** Have whoever waits by signs look again. */
    void wake() {
        Readiness signs = readiness;
        if (signs != null) {
            signs.sign(Readiness.ALL);
        }
    }

    /** See {@link Readiness#setDrained}. */
    void setDrained(boolean drained) {
        Readiness signs = readiness;
        if (signs != null) {
            signs.setDrained(drained);
        }
    }

    /** Whether a try would do nothing but say so. */
    boolean isQuiet(int direction) {
        Readiness signs = readiness;
        return direction == Readiness.INPUT && signs != null && signs.isQuiet();
    }

    /** Have the number lead to something else. One change at a time: the last word is that of the last one. */
    void replace(IntConsumer change) {
        int entered = enter();
        if (entered == 0) {
            return;
        }
        try {
            readiness().replace(change);
        } finally {
            exit(entered);
            wake();
        }
    }

    private Readiness readiness() {
        Readiness signs = readiness;
        return signs != null ? signs : makeReadiness();
    }

    private synchronized Readiness makeReadiness() {
        if (readiness == null) {
            readiness = new Readiness(fd);
        }
        return readiness;
    }

    /** Have signs come; between enter and exit. */
    void arm(int direction) throws SockrefException {
        readiness().arm(direction);
    }

    /** Park until there is a sign, or it is closed; false: the time is over. */
    boolean park(int direction, long deadline) throws SockrefException {
        Readiness signs = readiness();
        return isClosed() || signs.park(direction, deadline);
    }

    /** Have an operation run at the next sign; false: go on now. */
    boolean await(int direction, Operation<?> operation) throws SockrefException {
        Readiness signs = readiness();
        boolean waits = signs.await(direction, operation);
        if (waits && isClosed()) {
            return !signs.forget(direction, operation);
        }
        return waits;
    }

    boolean forget(int direction, Operation<?> operation) {
        return readiness().forget(direction, operation);
    }

    /**
     * Wait until it is ready, or closed. Who waits in poll() until there is room is not woken where the output of a
     * Unix socket ends.
     */
    private void await(int direction, long deadline, int timeoutMs) throws IOException {
        boolean ready;
        if (direction == Readiness.OUTPUT || VirtualThreads.isCurrent()) {
            arm(direction);
            ready = park(direction, deadline);
        } else {
            long left = deadline == Readiness.NEVER ? -1
                    : Math.max(0, TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime() + 999_999));
            ready = SockrefException.checked(Sockets.poll(fd, (int) left), "poll") > 0;
        }
        if (!ready) {
            throw new SocketTimeoutException("nothing moved for " + timeoutMs + " ms");
        }
    }

    /**
     * Try until the system has done something or the descriptor is closed: what the last try answered.
     *
     * @throws SocketTimeoutException when {@code timeoutMs} are over; 0 is without end
     */
    int run(int direction, Attempt attempt, int timeoutMs) throws IOException {
        int entered = enter();
        if (entered == 0) {
            return Sockets.EAGAIN;
        }
        try {
            boolean wait = timeoutMs == 0 && !VirtualThreads.isCurrent();
            long deadline = timeoutMs == 0 ? Readiness.NEVER
                    : System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMs);
            int result = !wait && isQuiet(direction) ? Sockets.EAGAIN : attempt.run(fd, wait);
            while (result == Sockets.EAGAIN && !isClosed()) {
                await(direction, deadline, timeoutMs);
                result = attempt.run(fd, wait);
            }
            return result;
        } finally {
            exit(entered);
        }
    }
}
