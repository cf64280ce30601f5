package org.sockref;

import java.nio.file.Path;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;

/**
 * Several names behind one: a client is given one of them, in turn or the least used.
 *
 * <p>A pool holds a reference of its own to each of its members. What {@link #pick(Policy)} gives is a reference as any
 * other: connect to its path, and close it when the connection is over, for the references of a member tell how much it
 * is used.
 *
 * <p>Close it, best by try-with-resources; a pool that was dropped is released when the collector finds it. Every
 * method may be called on any thread, also while another one closes the same pool: it answers, or says that it is
 * closed.
 */
public final class SocketPool implements AutoCloseable {
    /** Of one call; C has the same. */
    static final int MOST = 1024;

    /** How a member is picked. */
    public enum Policy {
        /** One after the other. */
        ROUND_ROBIN(1),
        /** The one with the fewest references in its registry; of equals one after the other. */
        LEAST_REFERENCES(2);

        private final int number;

        Policy(int number) {
            this.number = number;
        }
    }

    private final Handle handle;

    /**
     * Make an empty pool.
     *
     * @throws SockrefException ENOMEM
     */
    public SocketPool() throws SockrefException {
        handle = Handle.of(this, Shim.poolNew(), Shim::poolFree);
    }

    /** Make a call with the pointer of the pool, which stays meanwhile. */
    private long lend(SocketReference.Lent call) throws SockrefException {
        long pointer = handle.enter();
        try {
            if (pointer == 0) {
                throw SockrefException.of(SockrefException.ECLOSED, null, "the pool is closed");
            }
            return call.run(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    static int checked(int count) {
        if (count < 1 || count > MOST) {
            throw new IllegalArgumentException("count is not 1 to " + MOST);
        }
        return count;
    }

    static SocketPool listen(NativeRegistry registry, PathBytes path, int count, Options options)
            throws SockrefException {
        byte[] bytes = path.bytes();
        Objects.requireNonNull(options, "options");
        checked(count);
        SocketPool pool = new SocketPool();
        try (NativeOptions set = Options.toNative(options)) {
            pool.listen(registry, bytes, count, set);
            return pool;
        } catch (Throwable t) {
            pool.close();
            throw t;
        }
    }

    private void listen(NativeRegistry registry, byte[] path, int count, NativeOptions options)
            throws SockrefException {
        long entered = Registry.enter(registry);
        try {
            lend(pool -> Shim.poolListen(pool, entered, path, count, NativeOptions.pointer(options)));
        } finally {
            Registry.exit(registry, entered);
        }
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It waits as {@link SocketReference#listen(String, Options)} does.
     *
     * @param path the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public static SocketPool listen(String path, int count, Options options) throws SockrefException {
        return Registry.DEFAULT.listenPool(path, count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it. It waits as {@link SocketReference#listen(Path,
     * Options)} does.
     *
     * @param path the path that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public static SocketPool listen(Path path, int count, Options options) throws SockrefException {
        return Registry.DEFAULT.listenPool(path, count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They are the path with ".0", ".1" and so on behind it; of {@code tcp:HOST:PORT} the ports from PORT on, and of
     * port 0 ports that the system chooses. It waits as {@link SocketReference#listen(byte[], Options)} does.
     *
     * @param path the bytes of the name that they have in common
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public static SocketPool listen(byte[] path, int count, Options options) throws SockrefException {
        return Registry.DEFAULT.listenPool(path, count, options);
    }

    /**
     * Start or join several names, one after the other, and make a pool of them: of all, or of none.
     *
     * <p>They have fresh default names. It waits as {@link SocketReference#listen(Options)} does.
     *
     * @param count how many, 1 to 1024
     * @param options options of each start
     * @return the pool
     * @throws SockrefException of the first that could not be started: ESOCKREF_PATH, ESOCKREF_FOREIGN, EACCES, ...
     */
    public static SocketPool listen(int count, Options options) throws SockrefException {
        return Registry.DEFAULT.listenPool(count, options);
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
    public static CompletableFuture<SocketPool> start(String path, int count, Options options) {
        return Registry.DEFAULT.startPool(path, count, options);
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
    public static CompletableFuture<SocketPool> start(Path path, int count, Options options) {
        return Registry.DEFAULT.startPool(path, count, options);
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
    public static CompletableFuture<SocketPool> start(byte[] path, int count, Options options) {
        return Registry.DEFAULT.startPool(path, count, options);
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
    public static CompletableFuture<SocketPool> start(int count, Options options) {
        return Registry.DEFAULT.startPool(count, options);
    }

    /**
     * Make a name a member. A member that was revoked, of the same name, gives its place to it.
     *
     * @param reference a reference to an active name, of any registry; it stays the caller's
     * @throws SockrefException ESOCKREF_EXISTS if it is a member already; ESOCKREF_CLOSED if the pool or the reference
     *     is closed, or the name was revoked; ESOCKREF_LIMIT
     */
    public void add(SocketReference reference) throws SockrefException {
        Objects.requireNonNull(reference, "reference");
        lend(pool -> SocketReference.lend(reference, member -> Shim.poolAdd(pool, member)));
    }

    /**
     * Make a name no member any more.
     *
     * @param reference a reference to the member; it stays the caller's
     * @throws SockrefException ESOCKREF_NOTFOUND if it is none; ESOCKREF_CLOSED if the pool or the reference is closed
     */
    public void remove(SocketReference reference) throws SockrefException {
        Objects.requireNonNull(reference, "reference");
        lend(pool -> SocketReference.lend(reference, member -> Shim.poolRemove(pool, member)));
    }

    /**
     * Pick a member that is active, one after the other.
     *
     * @return a reference of the caller's, to be closed on its own
     * @throws SockrefException as {@link #pick(Policy)}
     */
    public SocketReference pick() throws SockrefException {
        return pick(Policy.ROUND_ROBIN);
    }

    /**
     * Pick a member that is active. Those that were revoked, or lost their owner, are passed over, as are those
     * that have as many references as they may have.
     *
     * @param policy how
     * @return a reference of the caller's, to be closed on its own
     * @throws SockrefException ESOCKREF_NOTFOUND if no member is active; ESOCKREF_LIMIT if every active one has as many
     *     references as it may have; ESOCKREF_CLOSED
     */
    public SocketReference pick(Policy policy) throws SockrefException {
        int number = Objects.requireNonNull(policy, "policy").number;
        return new SocketReference(NativeReference.of(lend(pool -> Shim.poolPick(pool, number))));
    }

    /**
     * Count the members, active or not.
     *
     * @return the number; 0 after close
     */
    public long size() {
        long pointer = handle.enter();
        try {
            return Shim.poolSize(pointer);
        } finally {
            handle.exit(pointer);
        }
    }

    /**
     * Release all members; references that were picked stay as they are. It never fails; again it does nothing.
     */
    @Override
    public void close() {
        handle.close();
    }
}
