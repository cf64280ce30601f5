package org.sockref;

import java.net.SocketAddress;
import java.nio.file.Path;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * One counted reference to the name of a Unix socket. The first listen on a name binds it, later ones share it, here
 * and in other processes, and the close of the last reference removes its file before it returns.
 *
 * <p>Close it, best by try-with-resources. A reference that was dropped without is released when the collector finds
 * it, and so is one whose {@link #serve} goes on: keep a reference as long as its service is wanted. One that its own
 * handlers refer to is not found. An open reference does not keep the process alive; what is held at its orderly end is
 * released then.
 *
 * <p>Every method may be called on any thread, also while another one closes the same reference: it answers, or says
 * that it is closed. A path is given as text (in UTF-8, whatever the locale), as a {@link Path} of the default file
 * system, or in bytes; {@code "@name"} is a name of the abstract namespace.
 */
public final class SocketReference implements AutoCloseable {
    private final NativeReference self;
    private final byte[] path;
    /** Kept here and nowhere else. Guarded by Watches.class. */
    private Watches.Listener listener;
    /** Of the channel that lives by this reference, or null; the listener calls it first. Guarded by Watches.class. */
    private Runnable follower;

    /** Takes {@code self}. */
    SocketReference(NativeReference self) {
        this.self = self;
        path = self.path();
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public static SocketReference getOrCreate(String path) throws SockrefException {
        return Registry.DEFAULT.getOrCreate(path);
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public static SocketReference getOrCreate(Path path) throws SockrefException {
        return Registry.DEFAULT.getOrCreate(path);
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path's bytes
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public static SocketReference getOrCreate(byte[] path) throws SockrefException {
        return Registry.DEFAULT.getOrCreate(path);
    }

    /**
     * Count a reference to the default name; nothing is bound.
     *
     * @return the reference
     * @throws SockrefException ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public static SocketReference getOrCreate() throws SockrefException {
        return Registry.DEFAULT.getOrCreate();
    }

    /**
     * Count a reference to a name that is active.
     *
     * @param path the path
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public static Optional<SocketReference> getExisting(String path) throws SockrefException {
        return Registry.DEFAULT.getExisting(path);
    }

    /**
     * Count a reference to a name that is active.
     *
     * @param path the path
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public static Optional<SocketReference> getExisting(Path path) throws SockrefException {
        return Registry.DEFAULT.getExisting(path);
    }

    /**
     * Count a reference to a name that is active.
     *
     * @param path the path's bytes
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public static Optional<SocketReference> getExisting(byte[] path) throws SockrefException {
        return Registry.DEFAULT.getExisting(path);
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen() throws SockrefException {
        return Registry.DEFAULT.listen();
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(Options options) throws SockrefException {
        return Registry.DEFAULT.listen(options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(String path) throws SockrefException {
        return Registry.DEFAULT.listen(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(String path, Options options) throws SockrefException {
        return Registry.DEFAULT.listen(path, options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(Path path) throws SockrefException {
        return Registry.DEFAULT.listen(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(Path path, Options options) throws SockrefException {
        return Registry.DEFAULT.listen(path, options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path's bytes
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(byte[] path) throws SockrefException {
        return Registry.DEFAULT.listen(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link #isOwner} is false, and {@link #onEvent} tells of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path's bytes
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public static SocketReference listen(byte[] path, Options options) throws SockrefException {
        return Registry.DEFAULT.listen(path, options);
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener() {
        return Registry.DEFAULT.startListener();
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param options options of this call
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(Options options) {
        return Registry.DEFAULT.startListener(options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(String path) {
        return Registry.DEFAULT.startListener(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path
     * @param options options of this call
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(String path, Options options) {
        return Registry.DEFAULT.startListener(path, options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(Path path) {
        return Registry.DEFAULT.startListener(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path
     * @param options options of this call
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(Path path, Options options) {
        return Registry.DEFAULT.startListener(path, options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path's bytes
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(byte[] path) {
        return Registry.DEFAULT.startListener(path);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the start; a reference that came all the same is released at once.
     * The future is completed on the executor of the options.
     *
     * @param path the path's bytes
     * @param options options of this call
     * @return a future of the reference
     */
    public static CompletableFuture<SocketReference> startListener(byte[] path, Options options) {
        return Registry.DEFAULT.startListener(path, options);
    }

    /**
     * Tell the name as the one who began this life of it spelled it; also after close.
     *
     * @return the path, decoded from UTF-8
     */
    public String path() {
        return PathBytes.text(path);
    }

    /**
     * Tell the exact bytes of the name; also after close.
     *
     * @return a new array
     */
    public byte[] pathBytes() {
        return path.clone();
    }

    /**
     * Tell whether this reference is open, and its name was not revoked.
     *
     * @return whether it is active
     */
    public boolean isActive() {
        return self.is_active();
    }

    /**
     * Tell whether this registry owns the listener of the name.
     *
     * @return false also after close
     */
    public boolean isOwner() {
        return self.is_owner();
    }

    /**
     * Count the references to the name in this registry.
     *
     * @return the number; 0 after close
     */
    public long referenceCount() {
        return self.reference_count();
    }

    /**
     * Count the registries that hold the name, over all processes.
     *
     * @return the number; 0 after close and after a revocation
     */
    public long holderCount() {
        return self.holder_count();
    }

    /**
     * Count one more reference to the same name.
     *
     * @return the new reference, to be closed on its own
     * @throws SockrefException ESOCKREF_CLOSED, ESOCKREF_LIMIT
     */
    public SocketReference dup() throws SockrefException {
        return new SocketReference(self.acquire());
    }

    /**
     * Duplicate the listening descriptor (close-on-exec, non-blocking), for native code.
     *
     * @return the number of a new descriptor, which the caller closes
     * @throws SockrefException ESOCKREF_CLOSED if this is closed, or nothing is bound here; EMFILE
     */
    public int fd() throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return Shim.duplicateFd(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /** A call that is given a pointer. */
    interface Lent {
        long run(long pointer) throws SockrefException;
    }

    /** Make a call with the pointer of an open reference, which stays meanwhile; null is 0. */
    static long lend(SocketReference reference, Lent call) throws SockrefException {
        if (reference == null) {
            return call.run(0);
        }
        Handle handle = reference.self.handle();
        long pointer = handle.enter();
        try {
            return call.run(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /** Have a number lead to the listening socket: 0, or a negative errno. */
    int follow(int own) {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return Sockets.follow(own, pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Serve the name with the library's own echo, on its own thread: what a peer sends comes back. It is native, for
     * demonstrations, benchmarks and probes.
     *
     * @throws SockrefException ESOCKREF_CLOSED, ESOCKREF_BUSY if the name is served already
     */
    public void serveEcho() throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            Shim.serveEcho(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Serve the name: accept its connections and call handlers, until the last reference is closed or the name is
     * revoked.
     *
     * @param handlers what to call, on the dispatch thread
     * @throws SockrefException ESOCKREF_CLOSED, ESOCKREF_BUSY if the name is served already
     */
    public void serve(Handlers handlers) throws SockrefException {
        serve(handlers, ConnectionOptions.NONE);
    }

    /**
     * Serve the name, as {@link #serve(Handlers)}.
     *
     * @param handlers what to call, on the dispatch thread
     * @param options how connections begin
     * @throws SockrefException ESOCKREF_CLOSED, ESOCKREF_BUSY if the name is served already
     */
    public void serve(Handlers handlers, ConnectionOptions options) throws SockrefException {
        Objects.requireNonNull(handlers, "handlers");
        Objects.requireNonNull(options, "options");
        EventLoop loop = EventLoop.get();
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            Shim.serve(pointer, loop.pointer(), new Service(handlers, loop), options.numbers());
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Serve the name no more; it stays active, and may be served anew. {@link Handlers#onStop} comes when the last
     * connection is over.
     *
     * @param destroy true: the connections are destroyed; false: they go on until they end
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not served; ESOCKREF_CLOSED
     */
    public void unserve(boolean destroy) throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            Shim.unserve(pointer, destroy);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Change how many connections the served name may have at once; {@link Options.Builder#maxConnections} is what it
     * begins with. Those that are there stay.
     *
     * @param most the number; 0: no limit
     * @throws SockrefException ESOCKREF_CLOSED if it is not listening here, or was revoked
     */
    public void setMaxConnections(long most) throws SockrefException {
        Numbers.notNegative(most, "most");
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            Shim.setMaxConnections(pointer, most);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Count the connections of the served name.
     *
     * @return the number; 0 where handlers do not serve it here
     */
    public long connectionCount() {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return Shim.connectionCount(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Tell what is counted of the name, while it is served here.
     *
     * @return the numbers; a revoked name still tells its references
     * @throws SockrefException ESOCKREF_CLOSED if this is closed
     */
    public SocketStats stats() throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return SocketStats.of(Shim.socketStats(pointer));
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Look whether the name is well: its file, whether it can be connected to, whether its service accepts. It makes
     * system calls and waits for nobody; no connection is made, so the service notices nothing.
     *
     * @return what was found
     * @throws SockrefException ESOCKREF_CLOSED if this is closed, nothing was started, or the name was revoked; EACCES,
     *     ... if the system does not let it look
     */
    public Health checkHealth() throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return Health.of(Shim.checkHealth(pointer));
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Tell the address that is listened on: a UnixDomainSocketAddress, with '@' and the name of an abstract one, or an
     * InetSocketAddress.
     *
     * @return the address
     * @throws SockrefException ESOCKREF_CLOSED if it is not listening here, or was revoked
     */
    public SocketAddress localAddress() throws SockrefException {
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            return Addresses.decode(Shim.localAddress(pointer));
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Be told what happens to the name, on the dispatch thread: do not block there.
     *
     * <p>Each reference has one listener; a new one replaces it, and the close of the reference ends it. Like its
     * service, it lasts no longer than the reference: one that was dropped is told nothing more. What a listener
     * throws goes to the thread's handler of uncaught exceptions.
     *
     * @param listener is told; or null: nobody any more
     * @throws SockrefException ESOCKREF_CLOSED if this is closed, or the name was revoked already; not where the
     *     listener is null
     */
    public void onEvent(SocketEvent.Listener listener) throws SockrefException {
        onEvent(listener, Runnable::run);
    }

    /**
     * Be told what happens to the name, on an executor.
     *
     * @param listener as for {@link #onEvent(SocketEvent.Listener)}
     * @param executor runs it
     * @throws SockrefException as for {@link #onEvent(SocketEvent.Listener)}
     */
    public void onEvent(SocketEvent.Listener listener, Executor executor) throws SockrefException {
        Objects.requireNonNull(executor, "executor");
        Handle handle = self.handle();
        long pointer = handle.enter();
        try {
            synchronized (Watches.class) {
                if (listener == null && follower == null) {
                    Watches.remove(handle, pointer);
                    this.listener = null;
                } else {
                    Watches.Listener fresh = new Watches.Listener(handle, follower, listener, executor);
                    Watches.set(handle, pointer, EventLoop.get(), fresh);
                    this.listener = fresh;
                }
            }
        } finally {
            handle.exit(pointer);
        }
    }

    /** Have a channel of this reference follow what happens to the name, whatever listener there is. */
    void setFollower(Runnable run) throws SockrefException {
        synchronized (Watches.class) {
            follower = run;
        }
        onEvent(null);
    }

    /** Give the reference back. It never fails; again it does nothing. */
    @Override
    public void close() {
        self.close();
    }

    /**
     * Describe the reference, for people.
     *
     * @return its path, and whether it is active
     */
    @Override
    public String toString() {
        return "SocketReference[" + path() + (isActive() ? "]" : ", inactive]");
    }
}
