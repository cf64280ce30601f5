package org.sockref;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The daemon thread that waits for the descriptors of channels, where those who use them must not: virtual threads and
 * futures. It starts with the first that waits. It looks for edges, so that a descriptor is told of once and not for
 * each wait.
 */
final class Poller implements Runnable {
    /** As java_channel.c fills in at most. */
    private static final int MOST_SIGNS = 64;

    private static volatile Poller current;

    private final int fd;
    private final Map<Integer, Readiness> waited = new ConcurrentHashMap<>();

    private Poller(int fd) {
        this.fd = fd;
    }

    static Poller get() throws SockrefException {
        Poller poller = current;
        return poller != null ? poller : start();
    }

    private static synchronized Poller start() throws SockrefException {
        if (current == null) {
            Poller poller = new Poller(SockrefException.checked(Sockets.pollerNew(), "epoll_create1"));
            Thread thread = new Thread(null, poller, "sockref-poller");
            thread.setDaemon(true);
            thread.setContextClassLoader(Poller.class.getClassLoader());
            thread.start();
            current = poller;
        }
        return current;
    }

    /** Look for input at a descriptor, and for output if that is said. */
    void set(int descriptor, Readiness readiness, boolean isNew, boolean output) throws SockrefException {
        waited.put(descriptor, readiness);
        SockrefException.checked(Sockets.pollerSet(fd, descriptor, isNew, output), "epoll_ctl");
    }

    static void remove(int descriptor) {
        Poller poller = current;
        poller.waited.remove(descriptor);
        Sockets.pollerRemove(poller.fd, descriptor);
    }

    @Override
    public void run() {
        long[] signs = new long[MOST_SIGNS];
        for (int count = 0; count >= 0; count = Sockets.pollerWait(fd, signs)) {
            for (int i = 0; i < count; i++) {
                sign((int) (signs[i] >> 2), (int) signs[i] & (Readiness.INPUT | Readiness.OUTPUT));
            }
        }
    }

    private void sign(int descriptor, int directions) {
        Readiness readiness = waited.get(descriptor);
        if (readiness != null) {
            try {
                readiness.sign(directions);
            } catch (Throwable t) {
                EventLoop.report(t);
            }
        }
    }
}
