package org.sockref;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Who is told what happens to names.
 *
 * <p>C has one watch for all references of one life of a name, which are one pointer; here each reference has a
 * listener of its own. A later life may have the same pointer, so a watch has a number, which never comes again. C
 * calls it on a thread of the library's, which never enters the VM: the event waits in C until the loop's thread takes
 * it.
 *
 * <p>The reference alone keeps its listener, which often refers to it: both are collected together.
 */
final class Watches {
    /** One reference's listener. */
    static final class Listener {
        private final Handle handle;
        private final Runnable follower;
        private final SocketEvent.Listener told;
        private final Executor executor;

        /** The follower is called on the loop's thread, before {@code told} is on the executor; either may be null. */
        Listener(Handle handle, Runnable follower, SocketEvent.Listener told, Executor executor) {
            this.handle = handle;
            this.follower = follower;
            this.told = told;
            this.executor = executor;
        }

        private void tell(SocketEvent event) {
            try {
                if (follower != null) {
                    follower.run();
                }
                if (told != null) {
                    AtomicBoolean isTold = new AtomicBoolean();
                    Background.complete(executor, () -> {
                        if (isTold.compareAndSet(false, true)) {
                            accept(event);
                        }
                    });
                }
            } catch (Throwable t) {
                EventLoop.report(t);
            } finally {
                EventLoop.forgetInterrupt();
            }
        }

        private void accept(SocketEvent event) {
            if (handle.isClosed()) {
                return;
            }
            try {
                told.onEvent(event);
            } catch (Throwable t) {
                EventLoop.report(t);
            }
        }
    }

    /** The watch of one life of a name. */
    private static final class Watch {
        private final long number;
        /** Of handles that are not freed: while there is one, the life goes on. */
        private final Map<Handle, WeakReference<Listener>> listeners = new LinkedHashMap<>();

        Watch(long number) {
            this.number = number;
        }
    }

    private static final Map<Long, Watch> BY_POINTER = new HashMap<>();
    private static final Map<Long, Watch> BY_NUMBER = new HashMap<>();
    private static long lastNumber;

    private Watches() {
    }

    /** Set the listener of a handle that a call has entered; the caller keeps it. */
    static synchronized void set(Handle handle, long pointer, EventLoop loop, Listener listener)
            throws SockrefException {
        Watch watch = BY_POINTER.get(pointer);
        if (watch == null) {
            watch = new Watch(lastNumber + 1);
        }
        // Also where it is set already: a name that was revoked refuses.
        Shim.watch(pointer, loop.pointer(), watch.number);
        lastNumber = Math.max(lastNumber, watch.number);
        watch.listeners.put(handle, new WeakReference<>(listener));
        BY_POINTER.put(pointer, watch);
        BY_NUMBER.put(watch.number, watch);
        handle.setWatched();
    }

    /** Forget the listener of a handle that is not freed yet. */
    static synchronized void remove(Handle handle, long pointer) {
        Watch watch = BY_POINTER.get(pointer);
        if (watch == null || watch.listeners.remove(handle) == null || !watch.listeners.isEmpty()) {
            return;
        }
        BY_POINTER.remove(pointer);
        BY_NUMBER.remove(watch.number);
        Shim.unwatch(pointer);
    }

    /** Pass on what C has told: a watch's number and an event, again and again. */
    static void deliver(long[] events) {
        for (int i = 0; i + 1 < events.length; i += 2) {
            SocketEvent event = SocketEvent.of(events[i + 1]);
            if (event != null) {
                // None of them is told with the lock held.
                listeners(events[i]).forEach(listener -> listener.tell(event));
            }
        }
    }

    private static synchronized List<Listener> listeners(long number) {
        Watch watch = BY_NUMBER.get(number);
        List<Listener> found = new ArrayList<>();
        if (watch != null) {
            for (WeakReference<Listener> weak : watch.listeners.values()) {
                Listener listener = weak.get();
                if (listener != null) {
                    found.add(listener);
                }
            }
        }
        return found;
    }

    /** How many handles have a listener, for tests. */
    static synchronized int count() {
        return BY_NUMBER.values().stream().mapToInt(watch -> watch.listeners.size()).sum();
    }
}
