package org.sockref;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/** Virtual threads, where this VM has them: this is compiled for one that has not. */
final class VirtualThreads {
    private static final MethodHandle IS_VIRTUAL = findIsVirtual();
    private static final MethodHandle START = findStart();

    private VirtualThreads() {
    }

    private static MethodHandle findIsVirtual() {
        try {
            return MethodHandles.lookup().findVirtual(Thread.class, "isVirtual", MethodType.methodType(boolean.class));
        } catch (ReflectiveOperationException none) {
            return MethodHandles.dropArguments(MethodHandles.constant(boolean.class, false), 0, Thread.class);
        }
    }

    private static MethodHandle findStart() {
        try {
            return MethodHandles.lookup().findStatic(Thread.class, "startVirtualThread",
                    MethodType.methodType(Thread.class, Runnable.class));
        } catch (ReflectiveOperationException none) {
            return null;
        }
    }

    /** Whether this thread may not block in a system call, because others need what carries it. */
    static boolean isCurrent() {
        try {
            return (boolean) IS_VIRTUAL.invokeExact(Thread.currentThread());
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }

    /** Start one; only where the current thread is one, so that this VM has them. */
    static void start(Runnable body) {
        try {
            START.invoke(body);
        } catch (Error noThread) {
            throw noThread;
        } catch (Throwable t) {
            throw new AssertionError(t);
        }
    }
}
