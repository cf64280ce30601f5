/**
 * @file conn.h
 * @brief Connections: made by a served listener, by sockref_connect() or by sockref_adopt().
 *
 * A connection belongs to one loop (net.h). Handlers tell what happens to it; calls say what is to
 * happen. No handler ever runs inside a call: what a call brings about is told later in the turn,
 * or in the next one.
 *
 * Order for one connection: on_connection, or for one of sockref_connect() on_attempt any number of
 * times and then on_connect; on_ready; on_data and on_descriptor any number of times; on_end at
 * most once; on_close exactly once and last, right after on_error if there was an error. After
 * sockref_conn_destroy() nothing but on_close comes, once the memory of each
 * sockref_conn_write_own() has been given back.
 *
 * *Loop thread* means: inside a callback of the connection's loop, or on the thread that dispatches
 * this loop while it is not dispatching. From elsewhere sockref_loop_post() leads there.
 */
#ifndef SOCKREF_CONN_H
#define SOCKREF_CONN_H

#include <sockref/sockref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Runs callbacks: timers, wakes and sockets behind one descriptor; see net.h. */
typedef struct sockref_loop sockref_loop;
/** One connection; a handle is counted, its life ends with on_close. */
typedef struct sockref_conn sockref_conn;

/** sockref_conn_write() took everything, and asks to stop until on_drain; or the connection is
 * broken, and on_error follows. */
#define SOCKREF_WRITE_FULL 1

/** What kind of address it is. */
enum {
    /** None: not connected, not bound, or a socket without a name. */
    SOCKREF_FAMILY_NONE = 0,
    /** A path, or an abstract name. */
    SOCKREF_FAMILY_UNIX = 1,
    SOCKREF_FAMILY_IPV4 = 4,
    SOCKREF_FAMILY_IPV6 = 6
};

/** The place of one end. Set size to sizeof(sockref_address) before it is filled in or given. */
typedef struct sockref_address {
    /** sizeof(sockref_address), as the caller knows it. */
    size_t size;
    /** SOCKREF_FAMILY_*. */
    int family;
    /** Of TCP; else 0. */
    unsigned port;
    /** Bytes in host, without the NUL behind them. */
    size_t host_length;
    /** A numeric address without brackets, with %zone where it has one; or a path, or '@' and the
     * bytes of an abstract name. NUL-terminated. */
    char host[112];
} sockref_address;

/** Flags of sockref_conn_options. */
enum {
    /** Read nothing until sockref_conn_resume(). */
    SOCKREF_CONN_PAUSED = 1,
    /** Our side stays open when the peer ends its own, also without on_end. */
    SOCKREF_CONN_HALF_OPEN = 2,
    /** Our side is ended when on_end has returned, as it is without that handler. */
    SOCKREF_CONN_AUTO_END = 4,
    /** Send small pieces at once (TCP). */
    SOCKREF_CONN_NODELAY = 8,
    /** Probe a silent peer (TCP). */
    SOCKREF_CONN_KEEPALIVE = 16,
    /** It does not count for sockref_loop_hold_count(); nor does the service. */
    SOCKREF_CONN_UNHELD = 32,
    /** When the name ends, accepted connections go on until they are over, and on_stop comes after
     * the last of them; else they are destroyed. */
    SOCKREF_CONN_OUTLIVE = 64
};

/** How connections begin. Zero everywhere but in size means the defaults. */
typedef struct sockref_conn_options {
    /** sizeof(sockref_conn_options), as the caller knows it. */
    size_t size;
    /** SOCKREF_CONN_*, or-ed. */
    unsigned flags;
    /** on_timeout after this long without traffic, in milliseconds; 0: never. */
    unsigned timeout_ms;
    /** Silence before the first probe, in milliseconds; the system counts in seconds, at least one;
     * 0: as the system has it. */
    unsigned keepalive_delay_ms;
    /** With more bytes than this queued a write tells SOCKREF_WRITE_FULL; 0: 64 KiB. */
    size_t high_water;
    /** The most bytes that may be queued; 0: SOCKREF_OPT_MAX_BUFFERED of the name, and 16 MiB where
     * there is none. */
    uint64_t max_buffered;
} sockref_conn_options;

/** What on_attempt tells of an address. */
enum {
    /** Connecting to it begins. */
    SOCKREF_ATTEMPT_BEGUN = 1,
    /** It refused, or could not be reached. */
    SOCKREF_ATTEMPT_FAILED = 2,
    /** It did not answer within the attempt delay: one by one it is given up, else it goes on
     * beside the next one. */
    SOCKREF_ATTEMPT_LATE = 3
};

/**
 * @brief What a connection, or a served name, calls.
 *
 * Set size to sizeof(sockref_handlers); every function may be NULL. All run on the loop thread,
 * with no lock held. In any of them any function of this library may be called but drain, shutdown,
 * and loop_free and loop_dispatch of the own loop; destroying any connection in any of them is
 * safe.
 */
typedef struct sockref_handlers {
    /** sizeof(sockref_handlers), as the caller knows it. */
    size_t size;
    /** A peer connected. @p conn is borrowed until its on_close returns; acquire it to keep it. */
    void (*on_connection)(sockref_conn *conn, void *user);
    /** Bytes came. @p data is lent until this returns. */
    void (*on_data)(sockref_conn *conn, const void *data, size_t length, void *user);
    /** The peer sends no more. Without this handler our side is ended too when all is written, but
     * for SOCKREF_CONN_HALF_OPEN. */
    void (*on_end)(sockref_conn *conn, void *user);
    /** What was queued is written, after a write that told SOCKREF_WRITE_FULL, or SOCKREF_ELIMIT
     * while something was queued. */
    void (*on_drain)(sockref_conn *conn, void *user);
    /** It failed with @p status; on_close follows. Where it is sockref_connect() that failed,
     * sockref_last_error() describes it for the length of the call. */
    void (*on_error)(sockref_conn *conn, int status, void *user);
    /** It is over; its descriptor is closed. */
    void (*on_close)(sockref_conn *conn, bool had_error, void *user);
    /** Nothing of this service, or of this connection, comes any more: @p user may be freed. */
    void (*on_stop)(void *user);
    /** sockref_connect() has succeeded. */
    void (*on_connect)(sockref_conn *conn, void *user);
    /** It can be read and written: right after on_connection or on_connect. */
    void (*on_ready)(sockref_conn *conn, void *user);
    /** No byte came or went for as long as sockref_conn_set_timeout() said; the connection goes on,
     * and the time begins anew. */
    void (*on_timeout)(sockref_conn *conn, void *user);
    /**
     * Where to read to, asked before each read. @p inout_length is what the loop would take; set it
     * to what there is room for. The memory stays as it is until the on_data that follows has
     * returned; that gets the same pointer. There may be nothing to read, and no on_data.
     *
     * Returns the memory; NULL, or no room in it: the loop's own.
     */
    void *(*on_buffer)(sockref_conn *conn, size_t *inout_length, void *user);
    /** The peer passed a descriptor (Unix sockets): it is the callee's, close-on-exec. It comes
     * before the bytes that it came with. Without this handler none is taken in. */
    void (*on_descriptor)(sockref_conn *conn, int fd, void *user);
    /** What becomes of an address that sockref_connect() tries: SOCKREF_ATTEMPT_*; @p status is
     * why, or 0. @p address is lent until this returns. */
    void (*on_attempt)(sockref_conn *conn, const sockref_address *address, int event, int status,
                       void *user);
    /** A connection came beyond the limit of connections and was closed. Without this handler it
     * waits in the kernel's queue. The addresses are lent until this returns. */
    void (*on_drop)(const sockref_address *local, const sockref_address *remote, void *user);
    /** How connections begin; copied with the handlers. NULL: the defaults. */
    const sockref_conn_options *options;
} sockref_handlers;

/** Flags of sockref_connect_options. */
enum {
    /** One address after the other: one that does not answer within the attempt delay is given up
     * before the next begins. Else they go on side by side, as RFC 8305 has it. */
    SOCKREF_CONNECT_ONE_BY_ONE = 1,
    /** Only the first address, for as long as the system tries. */
    SOCKREF_CONNECT_FIRST_ONLY = 2
};

/** How to connect. Zero everywhere but in size means the defaults. */
typedef struct sockref_connect_options {
    /** sizeof(sockref_connect_options), as the caller knows it. */
    size_t size;
    /** SOCKREF_CONNECT_*, or-ed. */
    unsigned flags;
    /** Only addresses of this SOCKREF_FAMILY_*; NONE: both. */
    int family;
    /** How long an address is tried before the next one begins, in milliseconds, at least
     * 10; 0: 250. */
    unsigned attempt_delay_ms;
    /** When to fail with -ETIMEDOUT, the lookup included, in milliseconds; 0: never. */
    unsigned timeout_ms;
    /** The numeric address to connect from; NULL: any. */
    const char *local_host;
    /** The port to connect from; 0: any. */
    unsigned local_port;
    /** Where the host of the name has been looked up already: what to try, in this order, instead
     * of a lookup; copied. NULL: look it up. */
    const sockref_address *addresses;
    /** How many those are. */
    size_t address_count;
    /** A name of SOCKREF_OPT_BIND_ONLY that is not served, whose socket is to be connected, in
     * place of local_host and local_port. It is connected once, and one address is tried. The
     * socket is the connection's from then on, and sockref_fd() of the name is of no use; the
     * connection holds a reference of its own until on_stop. NULL: a fresh socket. */
    sockref *from;
} sockref_connect_options;

/** States of a connection, as node:net names them. */
enum {
    /** It is not connected yet. */
    SOCKREF_CONN_OPENING = 1,
    SOCKREF_CONN_OPEN = 2,
    /** Our side is ended. */
    SOCKREF_CONN_READ_ONLY = 3,
    /** The peer's side is ended. */
    SOCKREF_CONN_WRITE_ONLY = 4,
    /** Destroyed, failed, or both sides are ended. */
    SOCKREF_CONN_CLOSED = 5
};

/** What sockref_conn_info() tells. Set size to sizeof(sockref_conn_details). */
typedef struct sockref_conn_details {
    /** sizeof(sockref_conn_details), as the caller knows it. */
    size_t size;
    /** SOCKREF_CONN_OPENING and so on. */
    int state;
    /** sockref_connect() has neither succeeded nor failed. */
    bool connecting;
    /** Not connected: connecting, or failed in it. */
    bool pending;
    /** Destroyed, or over. */
    bool destroyed;
    /** Not read from. */
    bool paused;
    /** Of inactivity; 0: none. */
    unsigned timeout_ms;
    /** Bytes that came. */
    uint64_t bytes_read;
    /** Bytes that the system took; without the queued ones. */
    uint64_t bytes_written;
    /** Bytes that are queued. */
    uint64_t buffered;
    /** Our end; size is set. */
    sockref_address local;
    /** The peer's end; while connecting, what is being tried. */
    sockref_address remote;
} sockref_conn_details;

/** Who the peer of a Unix socket was when it connected, or listened. Set size to
 * sizeof(sockref_peer). */
typedef struct sockref_peer {
    /** sizeof(sockref_peer), as the caller knows it. */
    size_t size;
    /** Its process; 0 where it is in another pid namespace. */
    int64_t pid;
    /** Its effective user. */
    int64_t uid;
    /** Its effective group. */
    int64_t gid;
} sockref_peer;

/** The memory of a sockref_conn_write_own() is free again: @p status is 0 where all of it was
 * written, else why not. Loop thread, never inside the call. */
typedef void (*sockref_written_fn)(int status, void *user);

/**
 * @brief Connect to a name.
 *
 * @p name is what a listener was started with: a path, which need not be absolute here, '@' and an
 * abstract name, or tcp:HOST:PORT, with an IPv6 address in brackets. A host name is looked up on a
 * thread of the library's; its addresses are tried in the order of RFC 8305, each attempt delay one
 * more. on_connect and on_ready tell success; on_error and on_close tell failure, also of the
 * lookup, where the status is SOCKREF_ENOTFOUND for a host that there is not. Writes are queued
 * until then; destroying it cancels at any time.
 *
 * Owner: the handlers, options and strings are copied; @p user must live until on_stop, which
 * follows on_close. The caller owns one handle and gives it back with sockref_conn_release().
 * Threads: any; never blocks.
 *
 * @param loop           where; NULL: the library's own.
 * @param name           the name.
 * @param options        NULL: the defaults.
 * @param handlers       what to call.
 * @param user           given to each.
 * @param[out] out_conn  set on success only; NULL: not wanted.
 * @return 0, or
 *   - -EINVAL: @p name or @p handlers is NULL, a size or a flag is not known, an address is not
 *     numeric, or from listens
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: the name cannot be one
 *   - SOCKREF_ECLOSED: @p loop is being freed, or from was revoked or never bound
 *   - SOCKREF_EBUSY: from has been connected
 *   - SOCKREF_ELIMIT: from has too many references
 *   - SOCKREF_EFORKED, SOCKREF_ESHUTDOWN, -ENOMEM
 *   - -EAGAIN, -EMFILE, -ENFILE: a thread could not be started
 * @since 0.1
 */
SOCKREF_API int sockref_connect(sockref_loop *loop, const char *name,
                                const sockref_connect_options *options,
                                const sockref_handlers *handlers, void *user,
                                sockref_conn **out_conn);

/**
 * @brief Make a connection of a descriptor that is connected already.
 *
 * on_ready comes in the loop's next turn.
 *
 * Owner: takes @p fd, on success only; the handlers are copied; @p user must live until on_stop.
 * The caller owns one handle and gives it back with sockref_conn_release(). Threads: any.
 *
 * @param loop           where; NULL: the library's own.
 * @param fd             a connected stream socket; it is made non-blocking and close-on-exec.
 * @param handlers       what to call.
 * @param user           given to each.
 * @param[out] out_conn  set on success only; NULL: not wanted.
 * @return 0, or
 *   - -EINVAL: @p handlers is NULL, a size or a flag is not known, or @p fd is no stream socket
 *   - -ENOTCONN: it is not connected
 *   - SOCKREF_ECLOSED: @p loop is being freed
 *   - SOCKREF_EFORKED, SOCKREF_ESHUTDOWN, -ENOMEM
 *   - -EAGAIN: a thread could not be started
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_adopt(sockref_loop *loop, int fd, const sockref_handlers *handlers,
                              void *user, sockref_conn **out_conn);

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
 * The first write of a turn goes out at once, further small ones of the same turn together at its
 * end.
 *
 * Owner: @p data is borrowed for the call. Threads: the loop thread.
 *
 * @param self    the connection.
 * @param data    the bytes; may hold anything.
 * @param length  how many; 0 is allowed.
 * @return 0, or SOCKREF_WRITE_FULL: all is taken, but stop until on_drain; or
 *   - -EINVAL: @p self is NULL, or @p data is NULL with a length
 *   - SOCKREF_ECLOSED: ended or destroyed
 *   - SOCKREF_ELIMIT: more than SOCKREF_OPT_MAX_BUFFERED would be queued if the socket took none of
 *     it; nothing was taken
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
 *   - SOCKREF_ECLOSED: destroyed, or over
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

/**
 * @brief Write what the socket takes at once, and queue nothing.
 *
 * It takes nothing while something is queued, or before the connection is made.
 *
 * Owner: @p data is borrowed for the call. Threads: the loop thread.
 *
 * @param self    the connection.
 * @param data    the bytes.
 * @param length  how many.
 * @return how many bytes were taken, from the beginning, or
 *   - -EINVAL: @p self is NULL, or @p data is NULL with a length
 *   - SOCKREF_ECLOSED: ended or destroyed
 *   - SOCKREF_EFORKED; a broken connection takes 0 and is told by on_error
 * @since 0.1
 */
SOCKREF_API int64_t sockref_conn_try_write(sockref_conn *self, const void *data, size_t length);

/**
 * @brief Write bytes without copying them.
 *
 * What the socket does not take is sent from where it lies.
 *
 * Owner: @p data is borrowed until @p on_written, which comes exactly once for each call that did
 * not fail, in the order of the calls, at the latest before on_close. Threads: the loop thread.
 *
 * @param self        the connection.
 * @param data        the bytes, which must not change meanwhile.
 * @param length      how many; 0 is allowed: then it tells when what was written before is gone.
 * @param on_written  tells that they are free.
 * @param user        given to it.
 * @return 0, or SOCKREF_WRITE_FULL: all is taken, but stop until on_drain; or
 *   - -EINVAL: @p self or @p on_written is NULL, or @p data is NULL with a length
 *   - SOCKREF_ECLOSED: ended or destroyed
 *   - SOCKREF_ELIMIT: more than SOCKREF_OPT_MAX_BUFFERED would be queued if the socket took none of
 *     it; nothing was taken
 *   - SOCKREF_EFORKED, -ENOMEM; a broken connection is told by on_error
 * @since 0.1
 */
SOCKREF_API int sockref_conn_write_own(sockref_conn *self, const void *data, size_t length,
                                       sockref_written_fn on_written, void *user);

/**
 * @brief Pass a descriptor to the peer of a Unix socket, with bytes that go behind what is queued.
 *
 * Owner: @p fd stays the caller's: a duplicate is sent, and closed when it is on its way. @p data
 * is copied. Threads: the loop thread.
 *
 * @param self    the connection.
 * @param fd      any descriptor.
 * @param data    the bytes that it goes with.
 * @param length  how many; at least 1, for a descriptor travels with a byte.
 * @return 0, or SOCKREF_WRITE_FULL: taken, but stop until on_drain; or
 *   - -EINVAL: @p self or @p data is NULL, or @p length is 0
 *   - -EBADF: @p fd is not open
 *   - SOCKREF_EUNSUPPORTED: not a Unix socket
 *   - SOCKREF_ECLOSED: ended or destroyed
 *   - SOCKREF_ELIMIT: more than SOCKREF_OPT_MAX_BUFFERED bytes, or more than 64 descriptors, would
 *     be queued
 *   - SOCKREF_EFORKED, -ENOMEM, -EMFILE
 * @since 0.1
 */
SOCKREF_API int sockref_conn_send_fd(sockref_conn *self, int fd, const void *data, size_t length);

/**
 * @brief End a connection when what is queued is written: our side is ended, then it is destroyed.
 *
 * Owner: none; handles stay valid. Threads: the loop thread.
 *
 * @param self  the connection, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_destroy_soon(sockref_conn *self);

/**
 * @brief End a connection at once, so that a TCP peer sees a reset; else as sockref_conn_destroy().
 *
 * Owner: none; handles stay valid. Threads: the loop thread.
 *
 * @param self  the connection, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_reset(sockref_conn *self);

/**
 * @brief Have on_timeout called after a time without traffic.
 *
 * Every byte that comes or goes begins the time anew.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self        the connection.
 * @param timeout_ms  in milliseconds; 0: no more.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED, -ENOMEM
 * @since 0.1
 */
SOCKREF_API int sockref_conn_set_timeout(sockref_conn *self, unsigned timeout_ms);

/**
 * @brief Have the system probe a silent TCP peer, or not. A Unix socket needs none, and 0 is
 * returned.
 *
 * Before the connection is made it is noted.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self      the connection.
 * @param on        whether.
 * @param delay_ms  silence before the first probe, in milliseconds; rounded to seconds, at least
 *                  one; 0: leave it.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED, -ENOMEM
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_conn_set_keepalive(sockref_conn *self, bool on, unsigned delay_ms);

/**
 * @brief Have the system send small pieces at once over TCP, or not. A Unix socket always does, and
 * 0 is returned.
 *
 * Before the connection is made it is noted.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self  the connection.
 * @param on    whether.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: destroyed
 *   - SOCKREF_EFORKED
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_conn_set_nodelay(sockref_conn *self, bool on);

/**
 * @brief Say whether a connection holds its loop: see sockref_loop_hold_count().
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self  the connection, or NULL.
 * @param hold  whether.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_hold(sockref_conn *self, bool hold);

/**
 * @brief Tell all that there is to know of a connection.
 *
 * After on_close the counters are still true; the addresses are gone.
 *
 * Owner: none; the struct is filled in. Threads: the loop thread.
 *
 * @param self           the connection.
 * @param[out] out_info  its size must be set; what the caller does not know of is left out.
 * @return 0, or
 *   - -EINVAL: an argument is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_conn_info(const sockref_conn *self, sockref_conn_details *out_info);

/**
 * @brief Tell the counters of a connection, without a system call.
 *
 * Owner: none. Threads: the loop thread.
 *
 * @param self              the connection; NULL: all are 0.
 * @param[out] out_read     bytes that came, or NULL.
 * @param[out] out_written  bytes that the system took, or NULL.
 * @param[out] out_queued   bytes that are queued, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_conn_bytes(const sockref_conn *self, uint64_t *out_read,
                                    uint64_t *out_written, uint64_t *out_queued);

/**
 * @brief Tell who the peer of a Unix socket is.
 *
 * Owner: none; the struct is filled in. Threads: the loop thread.
 *
 * @param self           the connection.
 * @param[out] out_peer  its size must be set.
 * @return 0, or
 *   - -EINVAL: an argument is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_EUNSUPPORTED: not a Unix socket
 *   - SOCKREF_ECLOSED: not connected, or over
 *   - SOCKREF_EFORKED
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_conn_peer(const sockref_conn *self, sockref_peer *out_peer);

/**
 * @brief Lend the descriptor of a connection, to look at it or to set what this header has no
 * function for.
 *
 * Do not read from it, write to it or close it.
 *
 * Owner: borrowed until on_close. Threads: the loop thread.
 *
 * @param self  the connection.
 * @return the descriptor; -1 where there is none: not connected, over, or a parent's.
 * @since 0.1
 */
SOCKREF_API int sockref_conn_fd(const sockref_conn *self);

#ifdef __cplusplus
}
#endif

#endif
