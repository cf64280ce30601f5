/**
 * @file net.h
 * @brief Loops and connections: how a listener is served.
 *
 * A loop runs callbacks. The library has one of its own, driven by its service thread; a host that
 * has a loop makes one with sockref_loop_new(), waits for sockref_loop_fd() to be readable and
 * calls sockref_loop_dispatch(). Callbacks run where dispatch runs, with no lock held, never two at
 * a time.
 *
 * A listener belongs to its name, not to a loop: freeing a loop leaves the listeners that it served
 * active and unserved, and sockref_serve() may be called anew. A connection belongs to the loop
 * that accepted it.
 *
 * *Loop thread* below means: inside a callback of the connection's loop, or on the thread that
 * dispatches this loop while it is not dispatching. A host that drives a loop from one thread meets
 * this by calling from that thread only.
 */
#ifndef SOCKREF_NET_H
#define SOCKREF_NET_H

#include <sockref/sockref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Runs callbacks: timers, wakes and sockets behind one descriptor. */
typedef struct sockref_loop sockref_loop;
/** One connection; a handle is counted, its life ends with on_close. */
typedef struct sockref_conn sockref_conn;

/** sockref_conn_write() took everything, and asks to stop until on_drain. */
#define SOCKREF_WRITE_FULL 1

/**
 * @brief What a served name calls.
 *
 * Set size to sizeof(sockref_handlers); every function may be NULL. All run on the loop thread,
 * with no lock held. In any of them any function of this library may be called but drain, shutdown,
 * registry_free, loop_free and loop_dispatch of the own loop; destroying any connection in any of
 * them is safe.
 *
 * Order for one connection: on_connection first; on_data any number of times; on_end at most once;
 * on_close exactly once and last, right after on_error if there was an error. After
 * sockref_conn_destroy() nothing but on_close comes.
 */
typedef struct sockref_handlers {
    /** sizeof(sockref_handlers), as the caller knows it. */
    size_t size;
    /** A peer connected. @p conn is borrowed until its on_close returns; acquire it to keep it. */
    void (*on_connection)(sockref_conn *conn, void *user);
    /** Bytes came. @p data is lent until this returns. */
    void (*on_data)(sockref_conn *conn, const void *data, size_t length, void *user);
    /** The peer sends no more. Without this handler our side is ended too when all is written. */
    void (*on_end)(sockref_conn *conn, void *user);
    /** What was queued is written, after a write that told SOCKREF_WRITE_FULL. */
    void (*on_drain)(sockref_conn *conn, void *user);
    /** It failed with @p status; on_close follows. */
    void (*on_error)(sockref_conn *conn, int status, void *user);
    /** It is over; its descriptor is closed. */
    void (*on_close)(sockref_conn *conn, bool had_error, void *user);
    /** Nothing of this service comes any more: @p user may be freed. */
    void (*on_stop)(void *user);
} sockref_handlers;

/**
 * @brief Make a loop that the host drives.
 *
 * Owner: the caller owns it and frees it with sockref_loop_free(). Threads: any.
 *
 * @param[out] out_loop  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_loop is NULL
 *   - -ENOMEM: out of memory
 *   - SOCKREF_ESHUTDOWN: the process is ending
 *   - -errno: such as -EMFILE
 * @since 0.1
 */
SOCKREF_API int sockref_loop_new(sockref_loop **out_loop);

/**
 * @brief Free a loop.
 *
 * Its pending starts get SOCKREF_ECANCELED, its connections on_close, its services on_stop, all
 * before this returns and on this thread. The listeners that it served stay active and unserved.
 *
 * Owner: takes @p self. Threads: the loop thread; not inside a callback of its own.
 *
 * @param self  the loop, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_loop_free(sockref_loop *self);

/**
 * @brief Lend the descriptor to wait on: readable when dispatch has work, timers included.
 *
 * Wait for readability, level-triggered; do not read from it.
 *
 * Owner: borrowed while the loop lives. Threads: any.
 *
 * @param self  the loop.
 * @return the descriptor; -EINVAL for NULL, SOCKREF_EFORKED in a forked child.
 * @since 0.1
 */
SOCKREF_API int sockref_loop_fd(const sockref_loop *self);

/**
 * @brief Run the callbacks that are due.
 *
 * It returns after about a millisecond of work at most, callbacks not counted, so that the host's
 * other work goes on; the descriptor stays readable while there is more.
 *
 * Owner: none. Threads: any, one at a time; that thread is the loop thread meanwhile. Not inside a
 * callback of this loop.
 *
 * @param self        the loop.
 * @param timeout_ms  how long to wait for the first one; 0: not at all, -1: without end.
 * @return how many callbacks ran, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_EBUSY: it is being dispatched already
 *   - SOCKREF_EFORKED
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_loop_dispatch(sockref_loop *self, int timeout_ms);

/**
 * @brief Make a dispatch that waits return, or the next one not wait.
 *
 * Owner: none. Threads: any.
 *
 * @param self  the loop, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_loop_wake(sockref_loop *self);

/**
 * @brief Say on which loop the on_start of a start, and the handlers of its options, run.
 *
 * Owner: borrowed; the loop must outlive the call that is given @p self. Threads: any; one set is
 * for one thread at a time.
 *
 * @param self  the options.
 * @param loop  the loop; NULL: the library's own.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 * @since 0.1
 */
SOCKREF_API int sockref_options_set_loop(sockref_options *self, sockref_loop *loop);

/**
 * @brief Have a listener that this process binds served from its first moment.
 *
 * A start that finds the name served already leaves its handlers as they are, and calls
 * on_stop of these at once, on their loop.
 *
 * Owner: the handlers are copied; @p user must live until on_stop, which comes exactly once for
 * each listen or start that returned 0 with these options, also when that start fails later.
 * Threads: any; one set is for one thread at a time.
 *
 * @param self      the options.
 * @param handlers  what to call; NULL: nothing.
 * @param user      given to each.
 * @return 0, or
 *   - -EINVAL: @p self is NULL, or the size is 0 or larger than this library knows
 * @since 0.1
 */
SOCKREF_API int sockref_options_set_handlers(sockref_options *self,
                                             const sockref_handlers *handlers, void *user);

/**
 * @brief Serve a listener: accept its connections and call handlers, until its end.
 *
 * When the last reference goes, or the name is revoked, it accepts no more, its connections are
 * destroyed, and on_stop follows.
 *
 * Owner: the handlers are copied; @p user must live until on_stop. The reference stays the
 * caller's. Threads: any.
 *
 * @param self      a reference to a name that this registry listens on.
 * @param loop      where; NULL: the library's own.
 * @param handlers  what to call.
 * @param user      given to each.
 * @return 0, or
 *   - -EINVAL: @p self or @p handlers is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_EBUSY: it is served already
 *   - SOCKREF_ECLOSED: it is not listening here, was revoked, or @p loop is being freed
 *   - SOCKREF_EFORKED, -ENOMEM
 *   - -EAGAIN: the service thread could not be started
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_serve_on(sockref *self, sockref_loop *loop,
                                 const sockref_handlers *handlers, void *user);

/**
 * @brief Serve a listener on the library's own loop, as sockref_serve_on() with NULL.
 *
 * Owner: as sockref_serve_on(). Threads: any.
 *
 * @param self      a reference to a name that this registry listens on.
 * @param handlers  what to call.
 * @param user      given to each.
 * @return as sockref_serve_on().
 * @since 0.1
 */
SOCKREF_API int sockref_serve(sockref *self, const sockref_handlers *handlers, void *user);

/**
 * @brief Lend the handlers of a small echo service, for demonstrations, benchmarks and probes.
 *
 * What a peer sends comes back; when it ends, so do we. They need no user.
 *
 * Owner: static, never freed. Threads: any.
 *
 * @return the handlers; never NULL.
 * @since 0.1
 */
SOCKREF_API const sockref_handlers *sockref_echo_handlers(void);

/**
 * @brief Count one more handle on a connection; it keeps the memory, not the connection.
 *
 * Owner: the caller owns one handle and gives it back with sockref_conn_release(). Threads: any.
 *
 * @param self  the connection, or NULL.
 * @return self; NULL for NULL.
 * @since 0.1
 */
SOCKREF_API sockref_conn *sockref_conn_acquire(sockref_conn *self);

/**
 * @brief Give a handle on a connection back; the connection itself goes on.
 *
 * Owner: takes one handle. Threads: any; waits for nobody.
 *
 * @param self  the connection, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_release(sockref_conn *self);

/**
 * @brief Keep a pointer of the host's with a connection.
 *
 * Owner: borrowed; the library never looks at @p data. Threads: the loop thread.
 *
 * @param self  the connection.
 * @param data  anything.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_set_data(sockref_conn *self, void *data);

/**
 * @brief Give the pointer back that sockref_conn_set_data() kept.
 *
 * Owner: borrowed. Threads: the loop thread.
 *
 * @param self  the connection.
 * @return the pointer, or NULL.
 * @since 0.1
 */
SOCKREF_API void *sockref_conn_data(const sockref_conn *self);

/**
 * @brief Write bytes: the socket is tried first, what is left is copied and queued.
 *
 * The first write of a turn goes out at once, further ones of the same turn in one system call at
 * its end.
 *
 * Owner: @p data is borrowed for the call. Threads: the loop thread.
 *
 * @param self    the connection.
 * @param data    the bytes; may hold anything.
 * @param length  how many; 0 is allowed.
 * @return 0, or SOCKREF_WRITE_FULL: all is taken, but stop until on_drain; or
 *   - -EINVAL: @p self is NULL, or @p data is NULL with a length
 *   - SOCKREF_ECLOSED: ended or destroyed
 *   - SOCKREF_ELIMIT: more than SOCKREF_OPT_MAX_BUFFERED would be queued; nothing was taken
 *   - SOCKREF_EFORKED, -ENOMEM; a broken connection is told by on_error
 * @since 0.1
 */
SOCKREF_API int sockref_conn_write(sockref_conn *self, const void *data, size_t length);

/**
 * @brief Send no more: the peer sees the end when all that is queued is written.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self  the connection.
 * @return 0, also when it was ended before; or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_conn_end(sockref_conn *self);

/**
 * @brief Read no more until sockref_conn_resume().
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self  the connection.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_conn_pause(sockref_conn *self);

/**
 * @brief Read again.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self  the connection.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_conn_resume(sockref_conn *self);

/**
 * @brief End a connection at once; what is queued is dropped. on_close follows later in the turn.
 *
 * Owner: none; handles stay valid. Threads: the loop thread.
 *
 * @param self  the connection, or NULL; a second call does nothing.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_destroy(sockref_conn *self);

#ifdef __cplusplus
}
#endif

#endif
