/**
 * @file net.h
 * @brief Loops, and how a listener is served. Connections are in conn.h, which this includes.
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

#include <sockref/conn.h>
#include <sockref/sockref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What sockref_loop_post() runs: on the loop thread, with 0 or SOCKREF_ECANCELED. */
typedef void (*sockref_post_fn)(int status, void *user);

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
 * Its pending starts get SOCKREF_ECANCELED, its connections on_close, its services on_stop, as do
 * handlers that wait for a name which is joined to be owned; all before this returns and on this
 * thread. The listeners that it served stay active and unserved.
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
 * other work goes on; the descriptor stays readable while there is more. A signal that this thread
 * handles ends the waiting as well.
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
 * @brief Have a function run on the loop thread, in the loop's next turn.
 *
 * The way to a connection from another thread. It comes exactly once for each call that returned
 * 0: with status 0, or with SOCKREF_ECANCELED while the loop is freed.
 *
 * Owner: borrowed; @p user must live until @p fn has run. Threads: any; never blocks.
 *
 * @param self  the loop; NULL: the library's own.
 * @param fn    what to run; any function that a handler may call may be called in it.
 * @param user  given to it.
 * @return 0, or
 *   - -EINVAL: @p fn is NULL
 *   - SOCKREF_ECLOSED: @p self is being freed
 *   - SOCKREF_EFORKED, -ENOMEM
 *   - -EAGAIN, -EMFILE, -ENFILE: the service thread could not be started
 * @since 0.1
 */
SOCKREF_API int sockref_loop_post(sockref_loop *self, sockref_post_fn fn, void *user);

/**
 * @brief Tell how many services and connections hold a loop.
 *
 * A program that has nothing else to do may dispatch while this is not 0 and then end. Each service
 * and each connection holds its loop until its end, unless SOCKREF_CONN_UNHELD or
 * sockref_conn_hold() says otherwise.
 *
 * Owner: none. Threads: any.
 *
 * @param self  the loop; NULL: 0.
 * @return the number.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_loop_hold_count(const sockref_loop *self);

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
 * A start that finds that this registry listens already, served or not, or has joined the name,
 * leaves that as it is, and calls on_stop of these at once, on their loop.
 *
 * Owner: the handlers are copied; @p user must live until on_stop, which comes exactly once for
 * each listen or start that returned 0 with these options, also when that start fails later.
 * Threads: any; one set is for one thread at a time.
 *
 * @param self      the options.
 * @param handlers  what to call; NULL: nothing.
 * @param user      given to each.
 * @return 0, or
 *   - -EINVAL: @p self is NULL, or a size or a flag is not known
 * @since 0.1
 */
SOCKREF_API int sockref_options_set_handlers(sockref_options *self,
                                             const sockref_handlers *handlers, void *user);

/**
 * @brief Serve a listener: accept its connections and call handlers, until its end.
 *
 * A name of SOCKREF_OPT_BIND_ONLY begins to listen.
 *
 * When the last reference goes, or the name is revoked, it accepts no more, its connections are
 * destroyed, and on_stop follows. Where somebody accepts from sockref_fd() as well, each connection
 * goes to one of the two.
 *
 * Owner: the handlers are copied; @p user must live until on_stop. The reference stays the
 * caller's. Threads: any.
 *
 * @param self      a reference to a name that this registry listens on.
 * @param loop      where; NULL: the library's own.
 * @param handlers  what to call.
 * @param user      given to each.
 * @return 0, or
 *   - -EINVAL: @p self or @p handlers is NULL, or a size or a flag is not known
 *   - SOCKREF_EBUSY: it is served already, or a connection has its socket
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
 * @brief Serve a listener no more; it stays active, and may be served anew.
 *
 * It accepts no more from now on. on_stop comes when its last connection is over.
 *
 * Owner: none. Threads: any.
 *
 * @param self     a reference to a name that is served here.
 * @param destroy  true: its connections are destroyed; false: they go on until they end.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ENOTFOUND: it is not served
 *   - SOCKREF_ECLOSED: it is not listening here, or was revoked
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_unserve(sockref *self, bool destroy);

/**
 * @brief Change how many connections a name may have at once; SOCKREF_OPT_MAX_CONNECTIONS is what
 * it begins with.
 *
 * Those that are there stay. What comes beyond the limit waits in the kernel's queue, or, where the
 * handlers have on_drop, is closed.
 *
 * Owner: none. Threads: any.
 *
 * @param self  a reference to a name that this registry listens on.
 * @param most  the number; 0: no limit.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: it is not listening here, or was revoked
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_set_max_connections(sockref *self, uint64_t most);

/**
 * @brief Tell how many connections a name has that its service has accepted.
 *
 * Owner: none. Threads: any.
 *
 * @param self  the reference; NULL: 0.
 * @return the number; 0 where it is not served here.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_connection_count(const sockref *self);

/**
 * @brief Tell the address that a name is bound to.
 *
 * Owner: none; the address is filled in. Threads: any.
 *
 * @param self              a reference to a name that this registry has bound.
 * @param[out] out_address  its size must be set; what the caller does not know of is left out.
 * @return 0, or
 *   - -EINVAL: an argument is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_ECLOSED: nothing is bound here, it was revoked, or a connection has its socket
 *   - SOCKREF_EFORKED
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_local_address(const sockref *self, sockref_address *out_address);

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

#ifdef __cplusplus
}
#endif

#endif
