package org.sockref;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The one loop of this VM, and the daemon thread that dispatches it: started by the first start or service
 * that needs it. It waits in native code and makes every callback itself, so no native thread enters the VM.
 */
final class EventLoop implements Runnable {
    /** What is read at a time. */
    private static final int BUFFER_BYTES = 65536;

    private static EventLoop current;
    /** Where C reads to; made before the first loop, and never collected. */
    private static ByteBuffer buffer;

    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
    private final long pointer;
    private final Thread thread;

    private EventLoop() throws SockrefException {
        pointer = Shim.loopNew();
        thread = Background.daemon(this, "sockref-loop");
    }

    private static ByteBuffer makeBuffer() {
        ByteBuffer made = ByteBuffer.allocateDirect(BUFFER_BYTES);
        Shim.loopBuffer(made);
        return made;
    }

    /** What C has read just now, for the handler that it is lent to. */
    ByteBuffer received(int length) {
        return buffer.order(ByteOrder.BIG_ENDIAN).clear().limit(length);
    }

    static synchronized EventLoop get() throws SockrefException {
        if (current == null) {
            if (buffer == null) {
                buffer = makeBuffer();
            }
            EventLoop loop = new EventLoop();
            try {
                loop.thread.start();
            } catch (Throwable t) {
                Shim.loopFree(loop.pointer); // the system has no thread for us: nobody knows this loop
                throw t;
            }
            current = loop;
        }
        return current;
    }

    /** Whether this is the thread of the one that there is; none is started. */
    static synchronized boolean isCurrent() {
        return current != null && current.isCurrentThread();
    }

    private static synchronized void forget(EventLoop loop) {
        if (current == loop) {
            current = null;
        }
    }

    long pointer() {
        return pointer;
    }

    boolean isCurrentThread() {
        return Thread.currentThread() == thread;
    }

    /** Run on the loop's thread, soon; any thread may ask. */
    void execute(Runnable task) {
        tasks.add(task);
        if (!isCurrentThread()) {
            Shim.loopWake(pointer);
        }
    }

    /** Report what a handler or task let escape; the loop goes on. */
    static void report(Throwable problem) {
        Thread here = Thread.currentThread();
        try {
            here.getUncaughtExceptionHandler().uncaughtException(here, problem);
        } catch (Throwable ignored) {
            // As the VM does with what a handler of this kind throws.
        }
    }

    /** What was called back may have left it: no next one is meant. */
    static void forgetInterrupt() {
        Thread.interrupted();
    }

    @Override
    public void run() {
        try {
            while (true) {
                if (Shim.loopDispatch(pointer, tasks.isEmpty() ? -1 : 0)) {
                    takeEvents();
                }
                runTasks();
            }
        } catch (SockrefException e) {
            // The process is ending, or the system took the loop's descriptor away: a later start makes a new one.
            forget(this);
            report(e);
        }
    }

    private static void takeEvents() {
        try {
            Watches.deliver(Shim.takeEvents());
        } catch (Throwable t) {
            // No memory; what was not taken waits.
            report(t);
        }
    }

    /** Those that are there: what they add waits for the next turn, so that connections have theirs. */
    private void runTasks() {
        for (int left = tasks.size(); left > 0; left--) {
            try {
                tasks.remove().run();
            } catch (Throwable t) {
                report(t);
            } finally {
                forgetInterrupt();
            }
        }
    }
}
