package org.sockref;

import java.util.Arrays;
import java.util.function.Consumer;

/**
 * Waits for the descriptors of channels, where those who use them must not: virtual threads and futures. It looks for
 * edges, so that a descriptor is told of once and not for each wait. There are two, started with the first that waits.
 *
 * <p>That of futures is a daemon thread, which waits in the system. That of virtual threads is a virtual one: whom it
 * wakes runs where it runs, without a thread of the system's between, and it yields to them, so that more has come when
 * it looks again. Where there is nothing more it parks until the daemon thread, which waits for its set of descriptors
 * as for one of them, wakes it.
 *
 * <p>Where the system refuses to wait, all who wait are told why, and the next one starts another.
 */
final class Poller {
    /** As java_channel.c fills in at most. */
    private static final int MOST_SIGNS = 64;

    private static volatile Poller ofFutures;
    private static volatile Poller ofVirtualThreads;

    private final int fd;
    /** By descriptor. Written with the monitor held, and then set anew for those who read without it. */
    private volatile Readiness[] waited = new Readiness[MOST_SIGNS];
    /** Why it looks no more. Guarded by this. */
    private SockrefException problem;

    private Poller() throws SockrefException {
        fd = SockrefException.checked(Sockets.pollerNew(), "epoll_create1");
    }

    /** The one for whoever is on this thread. */
    static Poller get() throws SockrefException {
        boolean isVirtual = VirtualThreads.isCurrent();
        Poller poller = isVirtual ? ofVirtualThreads : ofFutures;
        return poller != null ? poller : isVirtual ? startVirtual() : start();
    }

    private static synchronized Poller start() throws SockrefException {
        if (ofFutures == null) {
            ofFutures = started(poller -> Background.daemon(poller::runInSystem, "sockref-poller").start());
        }
        return ofFutures;
    }

    private static synchronized Poller startVirtual() throws SockrefException {
        if (ofVirtualThreads == null) {
            Poller outer = start();
            ofVirtualThreads = started(poller -> VirtualThreads.start(() -> poller.runVirtual(outer)));
        }
        return ofVirtualThreads;
    }

    private static Poller started(Consumer<Poller> start) throws SockrefException {
        Poller poller = new Poller();
        try {
            start.accept(poller);
        } catch (Throwable t) {
            Sockets.close(poller.fd); // the system has no thread for us
            throw t;
        }
        return poller;
    }

    /** Look for input at a descriptor, and for output if that is said. */
    void set(int descriptor, Readiness readiness, boolean isNew, boolean output) throws SockrefException {
        if (isNew) {
            add(descriptor, readiness);
        }
        SockrefException.checked(Sockets.pollerSet(fd, descriptor, isNew, output), "epoll_ctl");
    }

    /** Look for input once. */
    void setOnce(int descriptor, Readiness readiness, boolean isNew) throws SockrefException {
        if (isNew) {
            add(descriptor, readiness);
        }
        SockrefException.checked(Sockets.pollerSetOnce(fd, descriptor, isNew), "epoll_ctl");
    }

    void remove(int descriptor) {
        put(descriptor, null);
        Sockets.pollerRemove(fd, descriptor);
    }

    private synchronized void add(int descriptor, Readiness readiness) throws SockrefException {
        if (problem != null) {
            throw problem.again();
        }
        put(descriptor, readiness);
    }

    private synchronized void put(int descriptor, Readiness readiness) {
        Readiness[] all = waited;
        if (descriptor >= all.length) {
            all = Arrays.copyOf(all, Math.max(2 * all.length, descriptor + 1));
        }
        all[descriptor] = readiness;
        waited = all;
    }

    private void runInSystem() {
        long[] signs = new long[MOST_SIGNS];
        try {
            for (int count = 0;; count = look(signs, true)) {
                tell(signs, count);
            }
        } catch (SockrefException e) {
            end(e);
        }
    }

    private void runVirtual(Poller outer) {
        long[] signs = new long[MOST_SIGNS];
        Readiness own = new Readiness(fd);
        try {
            for (int count = 0;; count = look(signs, false)) {
                tell(signs, count);
                if (count == 0) {
                    own.awaitOnce(outer);
                } else {
                    Thread.yield();
                }
            }
        } catch (SockrefException e) {
            end(e);
        }
    }

    private int look(long[] signs, boolean wait) throws SockrefException {
        int count = Sockets.pollerWait(fd, signs, wait);
        if (count < 0) {
            throw SockrefException.ofCall(count, "epoll_wait", "waiting for channels failed: ");
        }
        return count;
    }

    /** The number is not closed: it may be somebody else's now. */
    private void end(SockrefException met) {
        forget(this);
        synchronized (this) {
            problem = met;
        }
        for (Readiness readiness : waited) {
            if (readiness != null) {
                try {
                    readiness.fail(this, met);
                } catch (Throwable t) {
                    EventLoop.report(t);
                }
            }
        }
        EventLoop.report(met);
    }

    private static synchronized void forget(Poller poller) {
        if (ofFutures == poller) {
            ofFutures = null;
        }
        if (ofVirtualThreads == poller) {
            ofVirtualThreads = null;
        }
    }

    private void tell(long[] signs, int count) {
        for (int i = 0; i < count; i++) {
            Readiness readiness = waited[(int) (signs[i] >> 3)];
            if (readiness != null) {
                try {
                    readiness.sign((int) signs[i] & Readiness.ALL);
                } catch (Throwable t) {
                    EventLoop.report(t);
                }
                EventLoop.forgetInterrupt(); // no park would wait, either
            }
        }
    }
}
