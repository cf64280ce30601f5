package org.sockref;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/**
 * A registry of its own: names and counts apart from those of the rest of the process, for tests and for several
 * tenants. {@link Sockref} and {@link SocketReference} use the default one.
 *
 * <p>A path is given as text (in UTF-8, whatever the locale), as a {@link Path} of the default file system, or in
 * bytes. Every method may be called on any thread; in a closed registry no name is active, and its other methods fail
 * with ESOCKREF_SHUTDOWN.
 */
public final class Registry implements AutoCloseable {
    /** The process's default registry, which is NULL in C. */
    static final Registry DEFAULT = new Registry(Background.defaultExecutor());

    private final NativeRegistry self;
    private final Executor executor;

    private Registry(Executor executor) {
        self = null;
        this.executor = executor;
    }

    /**
     * Make a registry.
     *
     * @throws SockrefException ENOMEM, or ESOCKREF_SHUTDOWN when the process is ending
     */
    public Registry() throws SockrefException {
        this(Options.NONE);
    }

    /**
     * Make a registry.
     *
     * @param options defaults of every call on it
     * @throws SockrefException ENOMEM, or ESOCKREF_SHUTDOWN when the process is ending
     */
    public Registry(Options options) throws SockrefException {
        Objects.requireNonNull(options, "options");
        executor = options.executor() == null ? Background.defaultExecutor() : options.executor();
        try (NativeOptions set = Options.toNative(options)) {
            self = SockrefNative.sockref_registry_new(set);
        }
    }

    /** Begin a call; null is the default registry. */
    static long enter(NativeRegistry registry) throws SockrefException {
        if (registry == null) {
            return 0;
        }
        long pointer = registry.handle().enter();
        if (pointer == 0) {
            throw SockrefException.of(SockrefException.ESHUTDOWN, null, "the registry is closed");
        }
        return pointer;
    }

    /** End a call. */
    static void exit(NativeRegistry registry, long pointer) {
        if (registry != null) {
            registry.handle().exit(pointer);
        }
    }

    private SocketReference getOrCreate(PathBytes path) throws SockrefException {
        return new SocketReference(SockrefNative.sockref_registry_get_or_create(self, path.bytes()));
    }

    private Optional<SocketReference> getExisting(PathBytes path) throws SockrefException {
        NativeReference found = SockrefNative.sockref_registry_get_existing(self, path.bytes());
        return Optional.ofNullable(found).map(SocketReference::new);
    }

    private SocketReference registerNew(PathBytes path, int fd) throws SockrefException {
        return new SocketReference(SockrefNative.sockref_registry_register_new(self, path.bytes(), fd));
    }

    private SocketReference listen(PathBytes path, Options options) throws SockrefException {
        byte[] bytes = path.bytes();
        try (NativeOptions set = Options.toNative(Objects.requireNonNull(options, "options"))) {
            return new SocketReference(SockrefNative.sockref_registry_listen(self, bytes, set));
        }
    }

    CompletableFuture<SocketReference> startListener(PathBytes path, Options options) {
        boolean own = options != null && options.executor() != null;
        return StartOperation.begin(self, path, options, own ? options.executor() : executor);
    }

    private boolean isSocketActive(PathBytes path) {
        try {
            return SockrefNative.sockref_registry_is_socket_active(self, path.bytes());
        } catch (SockrefException | IllegalArgumentException unusable) {
            return false;
        }
    }

    private <T> CompletableFuture<T> background(Callable<T> call) {
        return Background.supply(executor, call);
    }

    private CompletableFuture<Long> sweepAsync(PathBytes directory) {
        return background(() -> SockrefNative.sockref_registry_sweep(self, directory.bytes()));
    }

    private static int milliseconds(Duration timeout) {
        return Objects.requireNonNull(timeout, "timeout").isNegative() ? -1 : Numbers.milliseconds(timeout, "timeout");
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public SocketReference getOrCreate(String path) throws SockrefException {
        return getOrCreate(PathBytes.of(path));
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public SocketReference getOrCreate(Path path) throws SockrefException {
        return getOrCreate(PathBytes.of(path));
    }

    /**
     * Count a reference to a name; nothing is bound.
     *
     * @param path the path's bytes
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public SocketReference getOrCreate(byte[] path) throws SockrefException {
        return getOrCreate(PathBytes.of(path));
    }

    /**
     * Count a reference to the default name; nothing is bound.
     *
     * @return the reference
     * @throws SockrefException ESOCKREF_LIMIT, ESOCKREF_TIMEOUT, ...
     */
    public SocketReference getOrCreate() throws SockrefException {
        return getOrCreate(PathBytes.DEFAULT);
    }

    /**
     * Count a reference to a name that is active in this registry.
     *
     * @param path the path
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public Optional<SocketReference> getExisting(String path) throws SockrefException {
        return getExisting(PathBytes.of(path));
    }

    /**
     * Count a reference to a name that is active in this registry.
     *
     * @param path the path
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public Optional<SocketReference> getExisting(Path path) throws SockrefException {
        return getExisting(PathBytes.of(path));
    }

    /**
     * Count a reference to a name that is active in this registry.
     *
     * @param path the path's bytes
     * @return the reference; empty if the name is not active
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_LIMIT, ...
     */
    public Optional<SocketReference> getExisting(byte[] path) throws SockrefException {
        return getExisting(PathBytes.of(path));
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen() throws SockrefException {
        return listen(PathBytes.DEFAULT, Options.NONE);
    }

    /**
     * Listen on the default name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(Options options) throws SockrefException {
        return listen(PathBytes.DEFAULT, options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(String path) throws SockrefException {
        return listen(PathBytes.of(path), Options.NONE);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(String path, Options options) throws SockrefException {
        return listen(PathBytes.of(path), options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(Path path) throws SockrefException {
        return listen(PathBytes.of(path), Options.NONE);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(Path path, Options options) throws SockrefException {
        return listen(PathBytes.of(path), options);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path's bytes
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(byte[] path) throws SockrefException {
        return listen(PathBytes.of(path), Options.NONE);
    }

    /**
     * Listen on a name: bind it, or share it with whoever listens already.
     *
     * <p>It may wait for another start or removal of the same name, here or in another process. Where another registry
     * listens, the name is joined: {@link SocketReference#isOwner} is false, and {@link SocketReference#onEvent} tells
     * of the owner's end.
     * Connections wait in the kernel until the name is served.
     *
     * @param path the path's bytes
     * @param options options of this call
     * @return the reference
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_FOREIGN, ESOCKREF_BUSY, EACCES, ...
     */
    public SocketReference listen(byte[] path, Options options) throws SockrefException {
        return listen(PathBytes.of(path), options);
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
    public CompletableFuture<SocketReference> startListener() {
        return startListener(PathBytes.DEFAULT, Options.NONE);
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
    public CompletableFuture<SocketReference> startListener(Options options) {
        return startListener(PathBytes.DEFAULT, options);
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
    public CompletableFuture<SocketReference> startListener(String path) {
        return startListener(PathBytes.of(path), Options.NONE);
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
    public CompletableFuture<SocketReference> startListener(String path, Options options) {
        return startListener(PathBytes.of(path), options);
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
    public CompletableFuture<SocketReference> startListener(Path path) {
        return startListener(PathBytes.of(path), Options.NONE);
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
    public CompletableFuture<SocketReference> startListener(Path path, Options options) {
        return startListener(PathBytes.of(path), options);
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
    public CompletableFuture<SocketReference> startListener(byte[] path) {
        return startListener(PathBytes.of(path), Options.NONE);
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
    public CompletableFuture<SocketReference> startListener(byte[] path, Options options) {
        return startListener(PathBytes.of(path), options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It waits as {@link #listen(String, Options)} does.
     *
     * @param path the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public SocketPool listenPool(String path, int count, Options options) throws SockrefException {
        return SocketPool.listen(self, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it. It waits as {@link #listen(Path, Options)} does.
     *
     * @param path the path that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public SocketPool listenPool(Path path, int count, Options options) throws SockrefException {
        return SocketPool.listen(self, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It waits as {@link #listen(byte[], Options)} does.
     *
     * @param path the bytes of the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public SocketPool listenPool(byte[] path, int count, Options options) throws SockrefException {
        return SocketPool.listen(self, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They have fresh default names. It waits as {@link #listen(Options)} does.
     *
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public SocketPool listenPool(int count, Options options) throws SockrefException {
        return SocketPool.listen(self, PathBytes.DEFAULT, count, options);
    }

    /**
     * Start or join several names, side by side, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It does not block, and everything that goes wrong is reported by the
     * future. Completing or cancelling the future cancels the starts; what was started all the same is released at
     * once. The future is completed on the executor of the options.
     *
     * @param path the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return a future of the pool
     */
    public CompletableFuture<SocketPool> startPool(String path, int count, Options options) {
        return PoolOperation.begin(this, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, side by side, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it. It does not block, and everything that goes wrong is
     * reported by the future. Completing or cancelling the future cancels the starts; what was started all the same is
     * released at once. The future is completed on the executor of the options.
     *
     * @param path the path that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return a future of the pool
     */
    public CompletableFuture<SocketPool> startPool(Path path, int count, Options options) {
        return PoolOperation.begin(this, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, side by side, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It does not block, and everything that goes wrong is reported by the
     * future. Completing or cancelling the future cancels the starts; what was started all the same is released at
     * once. The future is completed on the executor of the options.
     *
     * @param path the bytes of the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return a future of the pool
     */
    public CompletableFuture<SocketPool> startPool(byte[] path, int count, Options options) {
        return PoolOperation.begin(this, PathBytes.of(path), count, options);
    }

    /**
     * Start or join several names, side by side, and make a pool of them: of all, or of none.
     *
     * <p>They have fresh default names. It does not block, and everything that goes wrong is reported by the future.
     * Completing or cancelling the future cancels the starts; what was started all the same is released at once. The
     * future is completed on the executor of the options.
     *
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return a future of the pool
     */
    public CompletableFuture<SocketPool> startPool(int count, Options options) {
        return PoolOperation.begin(this, PathBytes.DEFAULT, count, options);
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public boolean isSocketActive(String path) {
        return path != null && isSocketActive(PathBytes.of(path));
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public boolean isSocketActive(Path path) {
        return path != null && isSocketActive(PathBytes.of(path));
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path's bytes; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public boolean isSocketActive(byte[] path) {
        return path != null && isSocketActive(PathBytes.of(path));
    }

    /**
     * Count the active names.
     *
     * @return the number
     */
    public long activeSocketCount() {
        try {
            return SockrefNative.sockref_registry_active_socket_count(self);
        } catch (SockrefException closed) {
            return 0;
        }
    }

    /**
     * Tell what the registry has counted.
     *
     * @return the numbers
     * @throws SockrefException ESOCKREF_SHUTDOWN if it is closed
     */
    public RegistryStats stats() throws SockrefException {
        long pointer = enter(self);
        try {
            return RegistryStats.of(Shim.registryStats(pointer));
        } finally {
            exit(self, pointer);
        }
    }

    /**
     * Tell all that is counted as OpenMetrics text: the registry, each of its names by path, and all loops of the
     * process.
     *
     * @return the text
     * @throws SockrefException ESOCKREF_SHUTDOWN if it is closed; ENOMEM
     */
    public String metrics() throws SockrefException {
        long pointer = enter(self);
        try {
            return PathBytes.text(Shim.metrics(pointer));
        } finally {
            exit(self, pointer);
        }
    }

    /**
     * Tell how the guard is: the helper process that removes what this process leaves when it is killed. There is one
     * for the process, from its first name that asks for one; no child of it.
     *
     * @return its process id; 0 if none was needed yet
     * @throws SockrefException ESOCKREF_UNSUPPORTED if the helper program was not found; or why it could not be started
     */
    public int guardStatus() throws SockrefException {
        return SockrefNative.sockref_guard_status(self);
    }

    /**
     * Take a socket that the program bound, under the name that the socket itself tells.
     *
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public SocketReference registerNew(int fd) throws SockrefException {
        return registerNew(PathBytes.DEFAULT, fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public SocketReference registerNew(String path, int fd) throws SockrefException {
        return registerNew(PathBytes.of(path), fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public SocketReference registerNew(Path path, int fd) throws SockrefException {
        return registerNew(PathBytes.of(path), fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the bytes of the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public SocketReference registerNew(byte[] path, int fd) throws SockrefException {
        return registerNew(PathBytes.of(path), fd);
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public void cleanup(String path) throws SockrefException {
        SockrefNative.sockref_registry_cleanup(self, PathBytes.of(path).bytes());
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public void cleanup(Path path) throws SockrefException {
        SockrefNative.sockref_registry_cleanup(self, PathBytes.of(path).bytes());
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path's bytes
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public void cleanup(byte[] path) throws SockrefException {
        SockrefNative.sockref_registry_cleanup(self, PathBytes.of(path).bytes());
    }

    /**
     * Revoke every name. It tries all, also when one fails.
     *
     * @return how many
     * @throws SockrefException the first error
     */
    public long cleanupAll() throws SockrefException {
        return SockrefNative.sockref_registry_cleanup_all(self);
    }

    /**
     * Remove what dead processes left in the default directory.
     *
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public long sweep() throws SockrefException {
        return SockrefNative.sockref_registry_sweep(self, null);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public long sweep(String directory) throws SockrefException {
        return SockrefNative.sockref_registry_sweep(self, PathBytes.of(directory).bytes());
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public long sweep(Path directory) throws SockrefException {
        return SockrefNative.sockref_registry_sweep(self, PathBytes.of(directory).bytes());
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory's bytes
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public long sweep(byte[] directory) throws SockrefException {
        return SockrefNative.sockref_registry_sweep(self, PathBytes.of(directory).bytes());
    }

    /**
     * Remove what dead processes left in the default directory.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @return a future of how many
     */
    public CompletableFuture<Long> sweepAsync() {
        return sweepAsync(PathBytes.DEFAULT);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory
     * @return a future of how many
     */
    public CompletableFuture<Long> sweepAsync(String directory) {
        return sweepAsync(PathBytes.of(directory));
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory
     * @return a future of how many
     */
    public CompletableFuture<Long> sweepAsync(Path directory) {
        return sweepAsync(PathBytes.of(directory));
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory's bytes
     * @return a future of how many
     */
    public CompletableFuture<Long> sweepAsync(byte[] directory) {
        return sweepAsync(PathBytes.of(directory));
    }

    /**
     * Wait until nothing is on its way out: no removal, closing descriptor, ending thread or unreported start.
     * Names in use are not waited for.
     *
     * @param timeout how long to wait; a negative time is without end
     * @throws SockrefException ESOCKREF_TIMEOUT if something is left, ESOCKREF_BUSY in a handler
     */
    public void drain(Duration timeout) throws SockrefException {
        SockrefNative.sockref_registry_drain(self, milliseconds(timeout));
    }

    /**
     * Wait until nothing is on its way out: no removal, closing descriptor, ending thread or unreported start.
     * Names in use are not waited for.
     *
     * <p>It waits on a thread of its own; the future is completed on the registry's executor, and cancelling it does
     * not end the wait.
     *
     * @param timeout how long to wait; a negative time is without end
     * @return a future of the end
     */
    public CompletableFuture<Void> drainAsync(Duration timeout) {
        return background(() -> {
            drain(timeout);
            return null;
        });
    }

    /**
     * End in order: refuse new references, wait for the holders, then revoke what they still hold.
     * Later calls that are about a name fail with ESOCKREF_SHUTDOWN.
     *
     * @param timeout how long to wait; a negative time is without end
     * @throws SockrefException ESOCKREF_TIMEOUT if holders were left and revoked, ESOCKREF_SHUTDOWN, ESOCKREF_BUSY in a handler
     */
    public void shutdown(Duration timeout) throws SockrefException {
        SockrefNative.sockref_registry_shutdown(self, milliseconds(timeout));
    }

    /**
     * End in order: refuse new references, wait for the holders, then revoke what they still hold.
     * Later calls that are about a name fail with ESOCKREF_SHUTDOWN.
     *
     * <p>It waits on a thread of its own; the future is completed on the registry's executor, and cancelling it does
     * not end the wait.
     *
     * @param timeout how long to wait; a negative time is without end
     * @return a future of the end
     */
    public CompletableFuture<Void> shutdownAsync(Duration timeout) {
        return background(() -> {
            shutdown(timeout);
            return null;
        });
    }

    /**
     * Free the registry: it refuses new references, and starts under way fail with ESOCKREF_CANCELED. References that
     * still live stay valid. Again it does nothing.
     */
    @Override
    public void close() {
        if (self != null) {
            self.close();
        }
    }
}
