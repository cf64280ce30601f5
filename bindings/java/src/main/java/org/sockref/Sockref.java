package org.sockref;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;

/** Functions of the default registry and of the library; {@link Registry} has the same for a registry of its own. */
public final class Sockref {
    private Sockref() {
    }

    /**
     * Tell the version of the native library.
     *
     * @return such as {@code "0.1.0"}
     */
    public static String version() {
        return SockrefNative.sockref_version();
    }

    /**
     * Count what is alive in this process.
     *
     * @return the counts
     */
    public static LiveCounts liveCounts() {
        long[] counts = Shim.liveCounts();
        return new LiveCounts(counts[0], counts[1], counts[2]);
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public static boolean isSocketActive(String path) {
        return Registry.DEFAULT.isSocketActive(path);
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public static boolean isSocketActive(Path path) {
        return Registry.DEFAULT.isSocketActive(path);
    }

    /**
     * Tell whether a name is active: from its first reference to its last close, or its cleanup. It never throws.
     *
     * @param path the path's bytes; what is not a usable name, null as well, is not active
     * @return whether it is
     */
    public static boolean isSocketActive(byte[] path) {
        return Registry.DEFAULT.isSocketActive(path);
    }

    /**
     * Count the active names.
     *
     * @return the number
     */
    public static long activeSocketCount() {
        return Registry.DEFAULT.activeSocketCount();
    }

    /**
     * Tell what the default registry has counted.
     *
     * @return the numbers
     * @throws SockrefException ESOCKREF_SHUTDOWN when the process is ending
     */
    public static RegistryStats stats() throws SockrefException {
        return Registry.DEFAULT.stats();
    }

    /**
     * Tell what the loops of this process have counted, all together.
     *
     * @return the numbers
     * @throws SockrefException ENOMEM
     */
    public static LoopStats loopStats() throws SockrefException {
        return LoopStats.of(Shim.loopStats());
    }

    /**
     * Tell all that is counted as OpenMetrics text: the default registry, each of its names by path, and all loops of
     * the process.
     *
     * @return the text
     * @throws SockrefException ENOMEM; ESOCKREF_SHUTDOWN when the process is ending
     */
    public static String metrics() throws SockrefException {
        return Registry.DEFAULT.metrics();
    }

    /**
     * Tell how the guard is: the helper process that removes what this process leaves when it is killed. There is one
     * for the process, from its first name that asks for one; no child of it.
     *
     * @return its process id; 0 if none was needed yet
     * @throws SockrefException ESOCKREF_UNSUPPORTED if the helper program was not found; or why it could not be started
     */
    public static int guardStatus() throws SockrefException {
        return Registry.DEFAULT.guardStatus();
    }

    /**
     * Take a socket that the program bound, under the name that the socket itself tells.
     *
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public static SocketReference registerNew(int fd) throws SockrefException {
        return Registry.DEFAULT.registerNew(fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public static SocketReference registerNew(String path, int fd) throws SockrefException {
        return Registry.DEFAULT.registerNew(path, fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public static SocketReference registerNew(Path path, int fd) throws SockrefException {
        return Registry.DEFAULT.registerNew(path, fd);
    }

    /**
     * Take a socket that the program bound, and count its first reference. Its file is removed with the last one.
     *
     * @param path the bytes of the path where it is bound
     * @param fd the number of the listening descriptor; taken on success only
     * @return the reference
     * @throws SockrefException ESOCKREF_EXISTS, ESOCKREF_FOREIGN, ...
     */
    public static SocketReference registerNew(byte[] path, int fd) throws SockrefException {
        return Registry.DEFAULT.registerNew(path, fd);
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public static void cleanup(String path) throws SockrefException {
        Registry.DEFAULT.cleanup(path);
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public static void cleanup(Path path) throws SockrefException {
        Registry.DEFAULT.cleanup(path);
    }

    /**
     * Revoke a name: its file goes now, its references stay valid and become inactive.
     *
     * @param path the path's bytes
     * @throws SockrefException ESOCKREF_NOTFOUND if it is not active here; whatever stands there is not touched
     */
    public static void cleanup(byte[] path) throws SockrefException {
        Registry.DEFAULT.cleanup(path);
    }

    /**
     * Revoke every name. It tries all, also when one fails.
     *
     * @return how many
     * @throws SockrefException the first error
     */
    public static long cleanupAll() throws SockrefException {
        return Registry.DEFAULT.cleanupAll();
    }

    /**
     * Remove what dead processes left in the default directory.
     *
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public static long sweep() throws SockrefException {
        return Registry.DEFAULT.sweep();
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public static long sweep(String directory) throws SockrefException {
        return Registry.DEFAULT.sweep(directory);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public static long sweep(Path directory) throws SockrefException {
        return Registry.DEFAULT.sweep(directory);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * @param directory the directory's bytes
     * @return how many
     * @throws SockrefException ESOCKREF_PATH, ESOCKREF_UNTRUSTED, ENOENT, ...; some may have been removed
     */
    public static long sweep(byte[] directory) throws SockrefException {
        return Registry.DEFAULT.sweep(directory);
    }

    /**
     * Remove what dead processes left in the default directory.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @return a future of how many
     */
    public static CompletableFuture<Long> sweepAsync() {
        return Registry.DEFAULT.sweepAsync();
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory
     * @return a future of how many
     */
    public static CompletableFuture<Long> sweepAsync(String directory) {
        return Registry.DEFAULT.sweepAsync(directory);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory
     * @return a future of how many
     */
    public static CompletableFuture<Long> sweepAsync(Path directory) {
        return Registry.DEFAULT.sweepAsync(directory);
    }

    /**
     * Remove what dead processes left in a directory: what their lock files tell of, and sockets with default names.
     *
     * <p>It works on a thread of its own; the future is completed on the registry's executor.
     *
     * @param directory the directory's bytes
     * @return a future of how many
     */
    public static CompletableFuture<Long> sweepAsync(byte[] directory) {
        return Registry.DEFAULT.sweepAsync(directory);
    }

    /**
     * Wait until nothing is on its way out: no removal, closing descriptor, ending thread or unreported start.
     * Names in use are not waited for.
     *
     * @param timeout how long to wait; a negative time is without end
     * @throws SockrefException ESOCKREF_TIMEOUT if something is left, ESOCKREF_BUSY in a handler
     */
    public static void drain(Duration timeout) throws SockrefException {
        Registry.DEFAULT.drain(timeout);
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
    public static CompletableFuture<Void> drainAsync(Duration timeout) {
        return Registry.DEFAULT.drainAsync(timeout);
    }

    /**
     * End in order: refuse new references, wait for the holders, then revoke what they still hold.
     * The next call begins with a fresh default registry.
     *
     * @param timeout how long to wait; a negative time is without end
     * @throws SockrefException ESOCKREF_TIMEOUT if holders were left and revoked, ESOCKREF_SHUTDOWN, ESOCKREF_BUSY in a handler
     */
    public static void shutdown(Duration timeout) throws SockrefException {
        Registry.DEFAULT.shutdown(timeout);
    }

    /**
     * End in order: refuse new references, wait for the holders, then revoke what they still hold.
     * The next call begins with a fresh default registry.
     *
     * <p>It waits on a thread of its own; the future is completed on the registry's executor, and cancelling it does
     * not end the wait.
     *
     * @param timeout how long to wait; a negative time is without end
     * @return a future of the end
     */
    public static CompletableFuture<Void> shutdownAsync(Duration timeout) {
        return Registry.DEFAULT.shutdownAsync(timeout);
    }

    /**
     * Connect to a name, and have handlers called. What goes wrong is told by {@link Handlers#onError}; bytes may be
     * written from the beginning, and are queued until it is connected.
     *
     * @param name what a listener was started with: a path, '@' and an abstract name, or tcp:HOST:PORT, with an IPv6
     *     address in brackets; a host is looked up
     * @param handlers what to call, on the dispatch thread
     * @return the connection; {@link Connection#execute} leads to its thread
     * @throws SockrefException ESOCKREF_SHUTDOWN when the process is ending
     */
    public static Connection connect(String name, Handlers handlers) throws SockrefException {
        return connect(name, ConnectOptions.NONE, ConnectionOptions.NONE, handlers);
    }

    /**
     * Connect to a name as options say, and have handlers called.
     *
     * @param name as for {@link #connect(String, Handlers)}
     * @param options how to connect
     * @param connectionOptions how the connection begins
     * @param handlers what to call, on the dispatch thread
     * @return the connection
     * @throws SockrefException as {@link #connect(String, Handlers)}; ESOCKREF_CLOSED if what is to be connected from
     *     is closed
     */
    public static Connection connect(String name, ConnectOptions options, ConnectionOptions connectionOptions,
            Handlers handlers) throws SockrefException {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(options, "options");
        Objects.requireNonNull(connectionOptions, "connectionOptions");
        Objects.requireNonNull(handlers, "handlers");
        return Connection.connect(PathBytes.of(name), options, connectionOptions, handlers);
    }
}
