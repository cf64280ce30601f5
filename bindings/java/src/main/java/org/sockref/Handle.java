package org.sockref;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongConsumer;

/**
 * The pointer of one native object, and how many calls use it now.
 *
 * <p>It is freed once: by close() or, where that was forgotten, by the Cleaner; at once if no call runs,
 * else by the last call that leaves. It never refers to the object whose end the Cleaner watches.
 * A listener of it (Watches) is forgotten before.
 */
final class Handle implements Runnable {
    /** The sign bit: closed. The other bits count the calls. */
    private static final int CLOSED = Integer.MIN_VALUE;

    /** Null where the system had no thread for it; the class is to be usable when there is one. */
    private static final Cleaner FIRST = tryFirst();
    private static Cleaner later;

    private final AtomicInteger state = new AtomicInteger();
    private final long pointer;
    private final LongConsumer free;
    private Cleaner.Cleanable cleanable;
    private volatile boolean watched;

    private static Cleaner tryFirst() {
        try {
            return Cleaner.create();
        } catch (OutOfMemoryError noThread) {
            return null;
        }
    }

    private static synchronized Cleaner makeLater() {
        if (later == null) {
            later = Cleaner.create();
        }
        return later;
    }

    /** To be owned; {@code free} must not refer to the owner. */
    Handle(long pointer, LongConsumer free) {
        this.pointer = pointer;
        this.free = free;
    }

    /** Take {@code pointer} for {@code owner}, unless this throws: there may be no memory. */
    static Handle of(Object owner, long pointer, LongConsumer free) {
        Handle handle = new Handle(pointer, free);
        handle.setOwner(owner);
        return handle;
    }

    /** From now on the pointer is freed at the latest with its owner; not where this throws. */
    void setOwner(Object owner) {
        cleanable = (FIRST != null ? FIRST : makeLater()).register(owner, this);
    }

    /** Begin a call: the pointer, valid until exit; 0 if closed, and then exit(0) does nothing. */
    long enter() {
        int seen;
        do {
            seen = state.get();
            if (seen < 0) {
                return 0;
            }
        } while (!state.compareAndSet(seen, seen + 1));
        return pointer;
    }

    /** End a call that began with enter. */
    void exit(long entered) {
        if (entered != 0 && state.decrementAndGet() == CLOSED) {
            free();
        }
    }

    /** It has a listener; told between enter and exit. */
    void setWatched() {
        watched = true;
    }

    private void free() {
        if (watched) {
            Watches.remove(this, pointer);
        }
        free.accept(pointer);
    }

    boolean isClosed() {
        return state.get() < 0;
    }

    void close() {
        cleanable.clean();
    }

    /** Close; the Cleaner sees to it that this runs once. */
    @Override
    public void run() {
        if (state.getAndAdd(CLOSED) == 0) {
            free();
        }
    }
}
