package org.sockref;

import java.io.IOException;
import java.net.ConnectException;
import java.net.NoRouteToHostException;
import java.net.SocketAddress;
import java.net.SocketTimeoutException;
import java.net.UnknownHostException;
import java.nio.channels.ClosedByInterruptException;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;

/**
 * A channel that is being connected. C holds it until it calls settle(), exactly once, on the loop's thread; whoever
 * completes or cancels the future ends it.
 */
final class ConnectOperation {
    private final EventLoop loop;
    /** Where the future is completed, and then those of the channel. */
    private final Executor completes;
    private final Executor executor;
    private final CompletableFuture<SockrefChannel> future = new CompletableFuture<>();
    /** The name, where it is a path; null of TCP. */
    private SocketAddress remote;
    /** To what is connected from, or null; it goes with the channel, or where there is none. */
    private SocketReference from;
    /** The loop's connection, of which we have a handle until it is 0. Guarded by this. */
    private long connection;
    /** Guarded by this. */
    private boolean isSettled;

    private ConnectOperation(EventLoop loop, Executor completes, Executor executor) {
        this.loop = loop;
        this.completes = completes;
        this.executor = executor;
    }

    static CompletableFuture<SockrefChannel> begin(PathBytes name, ConnectOptions options) {
        return begin(name, options, options == null ? null : options.executor());
    }

    /** Begin; everything that goes wrong is reported by the future. */
    private static CompletableFuture<SockrefChannel> begin(PathBytes name, ConnectOptions options,
            Executor completes) {
        try {
            Objects.requireNonNull(options, "options");
            ConnectOperation operation = new ConnectOperation(EventLoop.get(), completes, options.executor());
            operation.connect(name.bytes(), options);
            operation.future.whenComplete((channel, problem) -> operation.end());
            return operation.future;
        } catch (Throwable t) {
            return CompletableFuture.failedFuture(t instanceof SockrefException refused ? translated(refused) : t);
        }
    }

    /** The outcome, waited for: an interrupt ends it. */
    static SockrefChannel await(PathBytes name, ConnectOptions options) throws IOException {
        if (EventLoop.isCurrent()) {
            throw SockrefException.of(SockrefException.EBUSY, PathBytes.text(name.bytes()),
                    "not inside a handler: what it would wait for comes on this thread; use connectAsync");
        }
        if (Thread.currentThread().isInterrupted()) {
            throw new ClosedByInterruptException(); // also where it would succeed before anybody has to wait
        }
        CompletableFuture<SockrefChannel> future = begin(name, options, Runnable::run);
        try {
            return future.get();
        } catch (InterruptedException e) {
            if (!future.cancel(false) && !future.isCompletedExceptionally()) {
                future.join().close();
            }
            Thread.currentThread().interrupt();
            throw new ClosedByInterruptException();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof IOException refused) {
                throw refused;
            }
            if (e.getCause() instanceof RuntimeException wrong) {
                throw wrong;
            }
            if (e.getCause() instanceof Error grave) {
                throw grave;
            }
            throw new IOException(e.getCause());
        }
    }

    private void connect(byte[] name, ConnectOptions options) throws SockrefException {
        remote = PathBytes.text(name).startsWith("tcp:") ? null : Addresses.unix(name);
        from = options.dupFrom();
        long made;
        try {
            made = SocketReference.lend(from, bound -> Shim.connect(loop.pointer(), name, options.numbers(),
                    options.localHost(), options.addresses(), bound, this));
        } catch (Throwable t) {
            letGo();
            throw t;
        }
        synchronized (this) {
            if (!isSettled) {
                connection = made;
                return;
            }
        }
        Shim.connRelease(made);
    }

    /** Give the handle back, if we still have it: where the outcome is there nothing is left to be done with it. */
    private synchronized long takeConnection() {
        long taken = connection;
        connection = 0;
        return taken;
    }

    /** The future is complete, perhaps before its connection is. */
    private void end() {
        long taken = takeConnection();
        if (taken != 0) {
            loop.execute(() -> {
                Shim.connDestroy(taken);
                Shim.connRelease(taken);
            });
        }
    }

    /** Called from C on the loop's thread: a descriptor that is ours now; or a negative one, and why. */
    void settle(int fd, SockrefException problem) {
        try {
            synchronized (this) {
                isSettled = true;
            }
            long taken = takeConnection();
            if (taken != 0) {
                Shim.connRelease(taken);
            }
            if (from == null) {
                finish(fd, problem);
            } else {
                loop.execute(() -> finish(fd, problem)); // when the loop's connection has given its reference back
            }
        } catch (Throwable t) {
            giveUp(fd, t);
        } finally {
            EventLoop.forgetInterrupt();
        }
    }

    private void finish(int fd, SockrefException problem) {
        SockrefChannel channel = null;
        try {
            if (fd < 0) {
                letGo();
                Throwable why = problem == null ? new OutOfMemoryError("of a connect's error") : translated(problem);
                Background.fail(completes, future, why);
                return;
            }
            channel = new SockrefChannel(fd, executor, null, remote, from == null ? () -> { } : from::close);
            give(channel);
        } catch (Throwable t) {
            if (channel == null) {
                giveUp(fd, t);
            } else {
                Background.fail(completes, future, t);
            }
        }
    }

    private void give(SockrefChannel channel) {
        Background.complete(completes, () -> Background.give(future, channel, ConnectOperation::close));
    }

    /** There is no memory for the channel. */
    private void giveUp(int fd, Throwable why) {
        if (fd >= 0) {
            Sockets.close(fd);
        }
        letGo();
        Background.fail(completes, future, why);
    }

    private void letGo() {
        if (from != null) {
            from.close();
        }
    }

    private static void close(SockrefChannel channel) {
        try {
            channel.close();
        } catch (IOException e) {
            EventLoop.report(e);
        }
    }

    /** As Java's own channels say it, with what the library says as the cause. */
    private static IOException translated(SockrefException problem) {
        IOException own = switch (problem.code()) {
            case "ECONNREFUSED" -> new ConnectException(problem.getMessage());
            case "ETIMEDOUT", "ESOCKREF_TIMEOUT" -> new SocketTimeoutException(problem.getMessage());
            case "EHOSTUNREACH", "ENETUNREACH" -> new NoRouteToHostException(problem.getMessage());
            case "ESOCKREF_NOTFOUND" -> new UnknownHostException(problem.getMessage());
            default -> problem;
        };
        if (own != problem) {
            own.initCause(problem);
        }
        return own;
    }
}
