/**
 * @file sockref.h
 * @brief Reference-counted Unix sockets: references, registries, options, errors.
 *
 * A *name* is the place of a socket: an absolute file path, '@' and a name of the abstract
 * namespace, or tcp:HOST:PORT. The host of a name to listen on is a numeric address, IPv6 in
 * brackets, localhost (127.0.0.1), or nothing for every address of both families; port 0 has the
 * system choose, and the name of the reference tells what it chose. A TCP name is shared within its
 * registry only. A *registry* knows an *entry* for each name in use, and a *reference* (::sockref)
 * is one counted handle on an entry. The first listen on a name binds it, later ones share it, and
 * the last release closes the listener and removes its file: at once, and never somebody else's
 * file.
 *
 * Words. *acquire/release*: one counted reference. *new/free*: sole owner. *take*: the callee
 * becomes owner, on success only. *borrowed*: valid while something else lives, not to be given
 * back. Every string and option given to a function is copied if it is kept.
 *
 * Errors. A function that can fail returns 0 or a negative status: -errno where the system refused,
 * a SOCKREF_E* where sockref did. A wrong argument is -EINVAL, no memory is -ENOMEM. A negative
 * return means that nothing changed, no output was written and no callback will come; where a
 * function is exempt from this, its comment says so. sockref_last_error() tells more.
 *
 * Threads. Every function may be called on any thread and inside any callback, unless its comment
 * says otherwise. Callbacks run with no lock held, on the thread that drives their loop (net.h).
 * A signal handler may call none: it may have interrupted one that holds a lock.
 *
 * A thread that pthread_cancel() is called for inside a function of this header is cancelled after
 * it. Those of conn.h and net.h may leave their loop locked for ever where that happens.
 *
 * Fork. In a child of fork() every handle of the parent is inert: calls on it answer
 * SOCKREF_EFORKED, release and free give back nothing but the child's own count, and no file of the
 * parent is touched. The default registry of the child is a new, empty one.
 */
#ifndef SOCKREF_SOCKREF_H
#define SOCKREF_SOCKREF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sockref/version.h>

#if defined(SWIG)
#define SOCKREF_API
#elif defined(__GNUC__)
#define SOCKREF_API __attribute__((visibility("default")))
#else
#define SOCKREF_API
#endif

/* For the two that are called so often that the jump through the linkage table shows. They are
 * bound when a program is loaded; every version of the library has them. */
#define SOCKREF_NO_PLT
#if !defined(SWIG) && defined(__has_attribute)
#if __has_attribute(noplt)
#undef SOCKREF_NO_PLT
#define SOCKREF_NO_PLT __attribute__((noplt))
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** One counted reference to a name. All references of one life of a name are the same pointer. */
typedef struct sockref sockref;
/** Names to entries. NULL as self means the process's default registry. */
typedef struct sockref_registry sockref_registry;
/** Options of a registry or of one call. NULL means defaults. */
typedef struct sockref_options sockref_options;

/** Statuses of sockref's own; the numbers are fixed for ever. */
enum {
    SOCKREF_OK = 0,
    /** The path is empty, relative, or has "..", a control byte or a trailing slash. */
    SOCKREF_EPATH = -20001,
    /** Longer than this platform can name; the message tells the limit. */
    SOCKREF_EPATHLEN = -20002,
    /** Something that is not ours stands there; it was not touched. */
    SOCKREF_EFOREIGN = -20003,
    /** The name is live already. */
    SOCKREF_EEXISTS = -20004,
    /** The name, or the host to connect to, is not known. */
    SOCKREF_ENOTFOUND = -20005,
    /** A configured limit is reached. */
    SOCKREF_ELIMIT = -20006,
    /** Closed, revoked by cleanup, or the listener was lost. */
    SOCKREF_ECLOSED = -20007,
    /** A handle of the parent, used in a forked child. */
    SOCKREF_EFORKED = -20008,
    /** The registry is shut down, or the process is ending. */
    SOCKREF_ESHUTDOWN = -20009,
    /** The time given was not enough. */
    SOCKREF_ETIMEOUT = -20010,
    /** Cancelled before it was done. */
    SOCKREF_ECANCELED = -20011,
    /** Owned elsewhere and not joinable, or already served. */
    SOCKREF_EBUSY = -20012,
    /** The directory, or the lock file in it, could be changed by somebody else. */
    SOCKREF_EUNTRUSTED = -20013,
    /** This system or file system cannot do it; the message says what. */
    SOCKREF_EUNSUPPORTED = -20014
};

/** What is known of a thread's last failing call. Grows at its end only; look at size first. */
typedef struct sockref_error {
    size_t size;         /**< bytes of this struct that the library filled */
    int status;          /**< what the call returned */
    int os_errno;        /**< errno of the system call that refused, or 0 */
    const char *syscall; /**< its name, or NULL */
    const char *path;    /**< the path concerned, or NULL */
    const char *message; /**< one sentence for a person: what happened and what to do; never NULL */
} sockref_error;

/** Options; the number is the ABI. Times are milliseconds. */
typedef enum sockref_option {
    /** Permission bits of the socket file; -1: the umask decides. Default 0600. */
    SOCKREF_OPT_MODE = 1,
    /** Connections waiting to be accepted. Default 4096; the kernel may lower it. */
    SOCKREF_OPT_BACKLOG = 2,
    /** String: where names without a path are put. Registry only. */
    SOCKREF_OPT_DIRECTORY = 3,
    /** 1: join across processes; 0: own it alone, with no lock file beside it. Default 1. */
    SOCKREF_OPT_SHARE = 4,
    /** Clean up after SIGKILL: 0 no, 1 yes, 2: a start without guard fails; it waits until the
     * guard has answered, five seconds at most. Default 1. */
    SOCKREF_OPT_GUARD = 5,
    /** How long a listener outlives its last reference; a new one takes it up again. Default 0. */
    SOCKREF_OPT_CLEANUP_DELAY_MS = 6,
    /** How long a cleanup may wait. Default 5000. */
    SOCKREF_OPT_CLEANUP_TIMEOUT_MS = 7,
    /** How long a start may wait for another one. Default 5000. */
    SOCKREF_OPT_START_TIMEOUT_MS = 8,
    /** Names of a registry, in any state: one that was revoked counts as long as it has references.
     * Default 1024. Registry only. */
    SOCKREF_OPT_MAX_SOCKETS = 9,
    /** References to one name. Default 65536. Registry only. */
    SOCKREF_OPT_MAX_REFERENCES = 10,
    /** Open connections of a served name; 0: no limit. Default 0. */
    SOCKREF_OPT_MAX_CONNECTIONS = 11,
    /** Unsent bytes kept for one connection. Default 16 MiB. */
    SOCKREF_OPT_MAX_BUFFERED = 12,
    /** 1: a name without a path is fresh at each call. Default 0. */
    SOCKREF_OPT_UNIQUE = 13,
    /** 1: own the name or fail. Default 0. */
    SOCKREF_OPT_EXCLUSIVE = 14,
    /** 1: the listener may be passed to another holder when this one ends. Default 1. */
    SOCKREF_OPT_HANDOVER = 15,
    /** TCP, IPv6: 1: no connections by IPv4. Default 0. */
    SOCKREF_OPT_IPV6_ONLY = 16,
    /** TCP: 1: the port may be bound by several listeners that all say so. Default 0. */
    SOCKREF_OPT_REUSE_PORT = 17,
    /** 1: the socket file stays where it is at the end, for a descriptor given to
     * sockref_registry_register_new() that somebody else bound; also no guard and no sharing.
     * Default 0. Registry only. */
    SOCKREF_OPT_KEEP_FILE = 18,
    /** 1: bind the name, and listen only when it is served, or when the host calls listen() on its
     * descriptor; until then sockref_connect() may connect from it, and nobody can connect to it.
     * It is never shared or handed over. No effect beside handlers. Default 0. */
    SOCKREF_OPT_BIND_ONLY = 19
} sockref_option;

/** How serious a log record is. */
typedef enum sockref_log_level {
    SOCKREF_LOG_ERROR = 1,
    SOCKREF_LOG_WARNING = 2,
    SOCKREF_LOG_INFO = 3,
    SOCKREF_LOG_DEBUG = 4,
    SOCKREF_LOG_TRACE = 5
} sockref_log_level;

/** One log record; everything in it is borrowed for the call. Grows at its end only. */
typedef struct sockref_log_record {
    size_t size;         /**< bytes of this struct that the library filled */
    int level;           /**< a ::sockref_log_level */
    const char *event;   /**< a fixed word for machines, such as "listening" or "cleanup_failed" */
    const char *message; /**< one line for a person */
    const char *path;    /**< the name concerned, or NULL */
    int status;          /**< a status, or 0 */
    uint64_t suppressed; /**< records of this event that the rate limit held back before this one */
} sockref_log_record;

/**
 * @brief Receives log records.
 *
 * Runs on the thread that has something to tell, with no lock held. It may call any function of
 * this library but sockref_set_log(). That thread may be in the middle of a start or a removal of
 * the name concerned, which a call that has to wait for it waits for in vain, until its time-out.
 */
typedef void (*sockref_log_fn)(const sockref_log_record *record, void *user);

/** What a watch tells. */
typedef enum sockref_watch_event {
    /** The reference is no longer active: revoked, or its listener is gone. */
    SOCKREF_WATCH_LOST = 1,
    /** Somebody has removed or replaced the socket's file, or what stands beside it; told by the
     * owner, within some seconds. Connections go on. What was removed has been made again by then:
     * sockref_fd() has the same number, but is another socket, which a loop of the caller's has to
     * wait for anew. What another file has replaced is left alone, and a socket that the program
     * bound is not made again: nobody finds the listener by its path any more; release it, or
     * revoke the name. Not told where SOCKREF_OPT_KEEP_FILE keeps the file. */
    SOCKREF_WATCH_DISPLACED = 2,
    /** Another registry owns the name now; or this one, if sockref_is_owner() says so: then it may
     * be served. */
    SOCKREF_WATCH_OWNER = 3,
    /** The registry shuts down: release soon. */
    SOCKREF_WATCH_SHUTDOWN = 4
} sockref_watch_event;

/**
 * @brief Told what happens to a name.
 *
 * Runs on the library's service thread, with no lock held; it may call any function but drain and
 * shutdown. @p ref is borrowed for the call.
 */
typedef void (*sockref_watch_fn)(sockref *ref, int event, void *user);

/**
 * @brief Receives the outcome of a start.
 *
 * Runs once, on the loop of the start (default: the library's service thread), with no lock held.
 * Where the registry is freed or shut down first it may run on the thread that does so, beside a
 * callback of that loop. With @p status 0 the callee owns the reference @p ref; otherwise @p ref is
 * NULL and sockref_last_error() describes the failure for the length of the call. It may call any
 * function but drain, shutdown, sockref_loop_free, and registry_free of its own registry.
 */
typedef void (*sockref_start_fn)(int status, sockref *ref, void *user);

/**
 * @brief Tell the version of the library, such as "0.1.0".
 *
 * Owner: static, never freed. Threads: any.
 *
 * @return the version that was built, which may be newer than SOCKREF_VERSION_STRING.
 * @since 0.1
 */
SOCKREF_API const char *sockref_version(void);

/**
 * @brief Tell the number of the binary interface.
 *
 * A binding requires it to equal the SOCKREF_ABI_VERSION that it was built with.
 *
 * Owner: none. Threads: any.
 *
 * @return SOCKREF_ABI_VERSION of the library.
 * @since 0.1
 */
SOCKREF_API unsigned sockref_abi_version(void);

/**
 * @brief Name a status, as programs compare it: "EACCES", "ESOCKREF_LIMIT".
 *
 * Owner: static, never freed. Threads: any.
 *
 * @param status  what a function returned; positive errno values are understood as well.
 * @return the name; "EUNKNOWN" for a number that nobody knows; never NULL.
 * @since 0.1
 */
SOCKREF_API const char *sockref_status_name(int status);

/**
 * @brief Say in one sentence what a status means.
 *
 * Owner: static, never freed. Threads: any.
 *
 * @param status  what a function returned.
 * @return a sentence without a path; never NULL.
 * @since 0.1
 */
SOCKREF_API const char *sockref_status_message(int status);

/**
 * @brief Describe this thread's last failing call.
 *
 * Calls that succeed do not change it.
 *
 * Owner: borrowed until the next failing call of this thread, or its end. Threads: any, each its
 * own.
 *
 * @return the record; with status 0 and an empty message if nothing failed yet; never NULL.
 * @since 0.1
 */
SOCKREF_API const sockref_error *sockref_last_error(void);

/**
 * @brief Set who receives log records; the library itself never prints.
 *
 * Repeated events are limited in rate; what was held back is counted in the next record. The old
 * @p user is freed when no call of the old function runs any more.
 *
 * Owner: takes @p user, on success only; freed by @p free_user. Threads: any; not inside the log
 * function.
 *
 * @param fn         the function, or NULL for none.
 * @param user       given to @p fn.
 * @param free_user  frees @p user when it is replaced, or NULL.
 * @return 0, or
 *   - SOCKREF_EBUSY: called inside the log function
 *   - -ENOMEM: out of memory
 * @since 0.1
 */
SOCKREF_API int sockref_set_log(sockref_log_fn fn, void *user, void (*free_user)(void *user));

/**
 * @brief Make a set of options, none of them set.
 *
 * Owner: the caller owns it and frees it with sockref_options_free(). Threads: any; one set is for
 * one thread at a time.
 *
 * @return the set, or NULL when out of memory.
 * @since 0.1
 */
SOCKREF_API sockref_options *sockref_options_new(void);

/**
 * @brief Free a set of options.
 *
 * Owner: takes @p self. Threads: any. Calls that were given the set keep copies.
 *
 * @param self  the set, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_options_free(sockref_options *self);

/**
 * @brief Set an option that is a number.
 *
 * An option that is not set at a call has the registry's value; not set there, its default.
 *
 * Owner: none. Threads: any; one set is for one thread at a time.
 *
 * @param self    the set.
 * @param option  a ::sockref_option.
 * @param value   its value; the range is told in the message when it is wrong.
 * @return 0, or
 *   - -EINVAL: @p self is NULL, the option is unknown or a string, or @p value is out of range
 * @since 0.1
 */
SOCKREF_API int sockref_options_set_int(sockref_options *self, int option, int64_t value);

/**
 * @brief Set an option that is a string.
 *
 * Owner: @p value is copied. Threads: any; one set is for one thread at a time.
 *
 * @param self    the set.
 * @param option  SOCKREF_OPT_DIRECTORY.
 * @param value   its value; NULL unsets it.
 * @return 0, or
 *   - -EINVAL: @p self is NULL, or the option is unknown or a number
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable directory path
 *   - -ENOMEM: out of memory
 * @since 0.1
 */
SOCKREF_API int sockref_options_set_string(sockref_options *self, int option, const char *value);

/**
 * @brief Make a registry of its own: for tests, and for several tenants in one process.
 *
 * Owner: the caller owns it and frees it with sockref_registry_free(). Threads: any.
 *
 * @param options            defaults of every call on it; copied; may be NULL.
 * @param[out] out_registry  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_registry is NULL
 *   - SOCKREF_ESHUTDOWN: the process is ending
 *   - -ENOMEM: out of memory
 * @since 0.1
 */
SOCKREF_API int sockref_registry_new(const sockref_options *options,
                                     sockref_registry **out_registry);

/**
 * @brief Free a registry.
 *
 * It refuses new references from now on; starts that are under way get SOCKREF_ECANCELED before
 * this returns, on this thread, unless their loop is about to tell their outcome. References that
 * still live stay valid, and its memory goes with the last of them. What is on its way out is
 * waited for, up to SOCKREF_OPT_CLEANUP_TIMEOUT_MS; inside a callback nothing is.
 *
 * Owner: takes @p self. Threads: any; not inside a callback of its own starts.
 *
 * @param self  the registry; NULL does nothing.
 * @since 0.1
 */
SOCKREF_API void sockref_registry_free(sockref_registry *self);

/**
 * @brief Count a reference to a name; nothing is bound.
 *
 * Spellings that lead to the same directory and leaf are one name.
 *
 * Owner: the caller owns one reference and gives it back with sockref_release(). Threads: any.
 * Waits while the name's last life is being removed, at most the start time-out.
 *
 * @param self          the registry.
 * @param path          the name; copied. NULL: the registry's default name.
 * @param[out] out_ref  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_ref is NULL
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_EUNSUPPORTED: there is no directory for a name without a path
 *   - SOCKREF_ELIMIT: too many names, or too many references to this one
 *   - SOCKREF_ETIMEOUT: its last life is still being removed
 *   - SOCKREF_ESHUTDOWN, SOCKREF_EFORKED: the registry is shut down, or the parent's
 *   - -ENOMEM: out of memory
 * @since 0.1
 */
SOCKREF_API int sockref_registry_get_or_create(sockref_registry *self, const char *path,
                                               sockref **out_ref);

/**
 * @brief Count a reference to a name that is active in this registry, or waits out its cleanup
 * delay, which ends by that.
 *
 * Owner: the caller owns one reference and gives it back with sockref_release(). Threads: any;
 * waits for nobody.
 *
 * @param self          the registry.
 * @param path          the name.
 * @param[out] out_ref  set on success only.
 * @return 0, or
 *   - -EINVAL: @p path or @p out_ref is NULL
 *   - SOCKREF_ENOTFOUND: neither active here nor waiting out its cleanup delay
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_ELIMIT: too many references to it
 *   - SOCKREF_ESHUTDOWN, SOCKREF_EFORKED: the registry is shut down, or the parent's
 *   - -ENOMEM: out of memory
 * @since 0.1
 */
SOCKREF_API int sockref_registry_get_existing(sockref_registry *self, const char *path,
                                              sockref **out_ref);

/**
 * @brief Take a socket that the caller bound and count its first reference.
 *
 * The descriptor must be a stream socket that listens, Unix or TCP, and @p path must be where it is
 * bound. A file is removed with the last reference, unless SOCKREF_OPT_KEEP_FILE says otherwise.
 *
 * Owner: takes @p fd and the file, on success only; the caller owns one reference and gives it back
 * with sockref_release(). Threads: any; waits as sockref_registry_listen() does.
 *
 * @param self          the registry.
 * @param path          where it is bound; copied. NULL: what the socket itself tells.
 * @param fd            the listening descriptor.
 * @param[out] out_ref  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_ref is NULL, or @p fd is not an open descriptor
 *   - SOCKREF_EEXISTS: the name is known here, in any state
 *   - SOCKREF_EFOREIGN: not a listening stream socket, or not the one at @p path
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_EBUSY: another registry owns the name
 *   - SOCKREF_EUNTRUSTED, SOCKREF_EUNSUPPORTED, SOCKREF_ETIMEOUT: as of sockref_registry_listen()
 *   - SOCKREF_ELIMIT, SOCKREF_ESHUTDOWN, SOCKREF_EFORKED, -ENOMEM
 *   - -errno: of the system call that refused, such as -ENOENT
 * @since 0.1
 */
SOCKREF_API int sockref_registry_register_new(sockref_registry *self, const char *path, int fd,
                                              sockref **out_ref);

/**
 * @brief Listen on a name: bind it, or share it where it is listened on already.
 *
 * Where this registry has it, its count goes up. Where another one has it, of this process or of
 * another one, it is joined: the reference counts and keeps the name, but sockref_is_owner() is
 * false and there is no descriptor; a watch tells when the owner goes, or when this registry
 * becomes the owner, and handlers in @p options are kept until then. What a dead owner left is
 * removed.
 *
 * Nothing is accepted: connections wait in the kernel's queue until sockref_serve() or a host that
 * takes the descriptor. With handlers in @p options the owner serves from the first moment. With
 * SOCKREF_OPT_BIND_ONLY it does not even listen, until it is served.
 *
 * Owner: the caller owns one reference and gives it back with sockref_release(). Threads: any; not
 * on a thread that must not block: it waits for another start or removal of the same name, here or
 * in another process, at most the start time-out.
 *
 * @param self          the registry.
 * @param path          the name; copied. NULL: the registry's default name.
 * @param options       of this call; may be NULL.
 * @param[out] out_ref  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_ref is NULL, or an option belongs to the registry
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_EFOREIGN: something that is not sockref's stands there, or it is another user's; a
 *     live socket that was started with share 0 can't be told from one; for a start with share 0 a
 *     live one is SOCKREF_EBUSY
 *   - SOCKREF_EEXISTS: exclusive was asked for, and this registry has it
 *   - SOCKREF_EBUSY: another registry owns it, and it can't be joined: exclusive, share 0, or a
 *     narrower mode was asked for, or its owner does not answer; the message tells who
 *   - SOCKREF_EUNTRUSTED: somebody else could change the lock file, or, unless share is 0, the
 *     directory
 *   - SOCKREF_EUNSUPPORTED: the file system has no locks that go with their process, or a
 *     sandbox keeps this process from them; or a guard was demanded and there is none; or there is
 *     no directory for a name without a path
 *   - SOCKREF_ETIMEOUT: another start or removal took too long
 *   - SOCKREF_ECLOSED: the loop of its handlers is being freed
 *   - SOCKREF_ELIMIT, SOCKREF_ESHUTDOWN, SOCKREF_EFORKED, -ENOMEM
 *   - -errno: of the system call that refused, such as -EACCES or -ENOENT
 * @since 0.1
 */
SOCKREF_API int sockref_registry_listen(sockref_registry *self, const char *path,
                                        const sockref_options *options, sockref **out_ref);

/**
 * @brief Listen on a name without blocking; the outcome comes to a callback.
 *
 * After a 0 return @p on_start comes exactly once: with the outcome, with SOCKREF_ETIMEOUT, or with
 * SOCKREF_ECANCELED when it is cancelled, its loop is freed, or its registry is freed or shut down
 * first. After a negative return it never comes.
 *
 * Owner: the callee of @p on_start owns the reference; @p user stays the caller's until then.
 * Threads: any.
 *
 * @param self      the registry.
 * @param path      the name; copied. NULL: the registry's default name.
 * @param options   of this call, its loop among them; copied; may be NULL.
 * @param on_start  called once.
 * @param user      given to it.
 * @return 0, or
 *   - -EINVAL: @p on_start is NULL, or an option belongs to the registry
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_EUNSUPPORTED: there is no directory for a name without a path
 *   - SOCKREF_ECLOSED: its loop is being freed
 *   - SOCKREF_ESHUTDOWN, SOCKREF_EFORKED, -ENOMEM
 *   - -EAGAIN, -EMFILE, -ENFILE: the service thread could not be started
 * @since 0.1
 */
SOCKREF_API int sockref_registry_start_listener(sockref_registry *self, const char *path,
                                                const sockref_options *options,
                                                sockref_start_fn on_start, void *user);

/**
 * @brief Cancel a start that is under way.
 *
 * Owner: none. Threads: any.
 *
 * @param self      the registry.
 * @param on_start  as given to the start.
 * @param user      as given to the start.
 * @return 0: on_start comes with SOCKREF_ECANCELED; or
 *   - SOCKREF_ENOTFOUND: it has come, or is coming with its result
 *   - -EINVAL: @p on_start is NULL
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_registry_cancel_start(sockref_registry *self, sockref_start_fn on_start,
                                              void *user);

/**
 * @brief Tell whether a name is active in this registry.
 *
 * Active is a name from its first reference to its last release or its revocation, bound or not.
 * O(1).
 *
 * Owner: none. Threads: any; waits for nobody.
 *
 * @param self  the registry.
 * @param path  the name; anything that is not a usable name is not active.
 * @return whether it is.
 * @since 0.1
 */
SOCKREF_API bool sockref_registry_is_socket_active(sockref_registry *self, const char *path);

/**
 * @brief Count the active names of this registry. O(1).
 *
 * Owner: none. Threads: any; waits for nobody.
 *
 * @param self  the registry.
 * @return the number.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_registry_active_socket_count(sockref_registry *self);

/**
 * @brief Revoke a name: its file goes now, its references stay valid and become inactive.
 *
 * Not bound by "a negative return changed nothing".
 *
 * Owner: none. Threads: any; waits for a start of the same name, here or in another process, at
 * most the cleanup time-out.
 *
 * @param self  the registry.
 * @param path  the name.
 * @return 0, or
 *   - -EINVAL: @p path is NULL
 *   - SOCKREF_ENOTFOUND: neither active here, nor waiting out its cleanup delay, nor served on for
 *     other holders; whatever file stands there was not touched
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable name
 *   - SOCKREF_ETIMEOUT: that took too long; nothing was revoked
 *   - SOCKREF_ESHUTDOWN, SOCKREF_EFORKED
 *   - -ENOMEM: out of memory; nothing was revoked
 *   - -errno: the name is revoked, but the system refused to remove its file
 * @since 0.1
 */
SOCKREF_API int sockref_registry_cleanup(sockref_registry *self, const char *path);

/**
 * @brief Revoke every name of this registry, those that wait out their cleanup delay, or are served
 * on for other holders, among them.
 *
 * It tries all. Not bound by "a negative return changed nothing".
 *
 * Owner: none. Threads: any; may wait as sockref_registry_cleanup() does.
 *
 * @param self            the registry.
 * @param[out] out_count  how many were revoked or removed, also when one failed; may be NULL.
 * @return 0, or the first error.
 * @since 0.1
 */
SOCKREF_API int sockref_registry_cleanup_all(sockref_registry *self, uint64_t *out_count);

/**
 * @brief Remove what dead processes left in a directory.
 *
 * Taken are lock files of this user that nobody holds, with the sockets that they tell of; and, in
 * a directory that nobody else can write to, sockets of this user with a name that
 * sockref_registry_listen() makes for NULL, that no process has bound. Anything else stays. Not
 * bound by "a negative return changed nothing".
 *
 * Owner: none. Threads: any; blocks for file-system calls.
 *
 * @param self            the registry.
 * @param directory       where; NULL: the registry's default directory.
 * @param[out] out_count  how many were removed, also when one failed; may be NULL.
 * @return 0, or
 *   - SOCKREF_EPATH, SOCKREF_EPATHLEN: not a usable directory path
 *   - SOCKREF_EUNTRUSTED: somebody else could change the directory
 *   - SOCKREF_EUNSUPPORTED: there is no default directory
 *   - SOCKREF_EFORKED, -ENOMEM
 *   - -errno: the directory could not be read, or the first removal that the system refused
 * @since 0.1
 */
SOCKREF_API int sockref_registry_sweep(sockref_registry *self, const char *directory,
                                       uint64_t *out_count);

/**
 * @brief Wait until nothing of this registry is on its way out.
 *
 * That is: no removal, closing descriptor, ending thread or undelivered on_start. Names in use, and
 * names that wait out their cleanup delay, are not waited for.
 *
 * Owner: none. Threads: any but a loop's; not inside a callback. A loop that the host drives must
 * be driven meanwhile.
 *
 * @param self        the registry.
 * @param timeout_ms  how long; -1: without end, 0: look only.
 * @return 0, or
 *   - SOCKREF_ETIMEOUT: something is left
 *   - SOCKREF_EBUSY: called inside a callback
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_registry_drain(sockref_registry *self, int timeout_ms);

/**
 * @brief End a registry in order: refuse new references, tell holders, wait for them, then revoke.
 *
 * Starts that are under way get SOCKREF_ECANCELED, as from sockref_registry_free().
 *
 * After it, references that still live are revoked and calls answer SOCKREF_ESHUTDOWN; for the
 * default registry the next call makes a fresh one. Not bound by "a negative return changed
 * nothing".
 *
 * Owner: none; a registry of one's own is still to be freed. Threads: any but a loop's; not inside
 * a callback.
 *
 * @param self        the registry.
 * @param timeout_ms  how long to wait for holders; -1: without end, 0: not at all.
 * @return 0, or
 *   - SOCKREF_ETIMEOUT: holders were left, and were revoked
 *   - SOCKREF_ESHUTDOWN: it is shut down already
 *   - SOCKREF_EBUSY: called inside a callback
 *   - SOCKREF_EFORKED
 *   - -errno: the first file that the system refused to remove
 * @since 0.1
 */
SOCKREF_API int sockref_registry_shutdown(sockref_registry *self, int timeout_ms);

/**
 * @brief Count one more reference.
 *
 * Works on a revoked reference as well, which stays revoked.
 *
 * Owner: the caller owns one more reference and gives it back with sockref_release(). Threads: any;
 * no lock.
 *
 * @param self  a reference that the caller holds, or NULL.
 * @return self; or NULL with sockref_last_error() SOCKREF_ELIMIT, SOCKREF_EFORKED, or -EINVAL for
 * NULL.
 * @since 0.1
 */
SOCKREF_API sockref *sockref_acquire(sockref *self) SOCKREF_NO_PLT;

/**
 * @brief Give one reference back.
 *
 * The last one closes the listener and removes its file before this returns, unless a cleanup delay
 * was asked for, or another registry holds the name: then a listener that is served goes on until
 * the last holder is gone, and one that is not is passed on. It never fails; what the system
 * refused is told to the log function, and by sockref_last_error() of this thread.
 *
 * Owner: takes one reference. Threads: any, in any order, also finalizers; waits for nobody.
 *
 * @param self  the reference, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_release(sockref *self) SOCKREF_NO_PLT;

/**
 * @brief Tell the name as the caller who began this life of it spelled it; where that was port 0,
 * with the port that the system chose.
 *
 * Owner: borrowed while the reference lives. Threads: any.
 *
 * @param self  the reference.
 * @return the path; NULL for NULL.
 * @since 0.1
 */
SOCKREF_API const char *sockref_path(const sockref *self);

/**
 * @brief Lend the descriptor of the bound socket, which listens unless it is only bound.
 *
 * It stays open while the reference lives, also after a revocation; of a name without a file it is
 * another socket then, which accepts nothing. Where a connection took the socket it leads to
 * nothing that is of use. Do not close it. Accept from it only where the name
 * is not served; else each connection goes to whoever is faster.
 *
 * Owner: borrowed while the reference lives. Threads: any.
 *
 * @param self  the reference.
 * @return the descriptor; -1 where nothing is bound here, in a forked child, and for NULL.
 * @since 0.1
 */
SOCKREF_API int sockref_fd(const sockref *self);

/**
 * @brief Tell whether the reference is active: counted, and not revoked.
 *
 * Owner: none. Threads: any; no lock.
 *
 * @param self  the reference; NULL is not active.
 * @return false after a revocation, a shutdown, and in a forked child.
 * @since 0.1
 */
SOCKREF_API bool sockref_is_active(const sockref *self);

/**
 * @brief Tell whether this registry owns the listener of the name.
 *
 * Owner: none. Threads: any; no lock.
 *
 * @param self  the reference; NULL owns nothing.
 * @return true while this registry listens, or has bound the name with SOCKREF_OPT_BIND_ONLY.
 * @since 0.1
 */
SOCKREF_API bool sockref_is_owner(const sockref *self);

/**
 * @brief Count the references to the name in this registry, exact at one moment.
 *
 * Owner: none. Threads: any; no lock.
 *
 * @param self  the reference.
 * @return the number; 0 for NULL.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_reference_count(const sockref *self);

/**
 * @brief Count the registries that hold the name, over all processes.
 *
 * Each registry that has references to a shared name is one holder; an abstract name, and one that
 * is not shared, has no other. Counting takes a fifth of a second at most: of thousands of holders
 * those are told that were found by then. It takes a descriptor: where this process has no more,
 * the others are not seen, and it tells 1.
 *
 * Owner: none. Threads: any.
 *
 * @param self  the reference.
 * @return the number; 0 for NULL and for a revoked reference.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_holder_count(const sockref *self);

/**
 * @brief Tell how the guard is: the helper process that removes what this process leaves when it is
 * killed.
 *
 * There is one for the process, from its first name that asks for one (SOCKREF_OPT_GUARD). One that
 * has been killed is seen, and replaced, when it is to be told of a name.
 *
 * Owner: none. Threads: any; waits for nobody.
 *
 * @param self  a registry of this process.
 * @return its process id; 0: there is none, and none was needed since; or
 *   - SOCKREF_EUNSUPPORTED: the helper program was not found, or is another program
 *   - SOCKREF_EFORKED
 *   - -errno: why the last attempt to start it failed
 * @since 0.1
 */
SOCKREF_API int sockref_guard_status(sockref_registry *self);

/**
 * @brief Watch what happens to a name.
 *
 * There is one watch for all references of one life of a name; a new one replaces it. It ends with
 * the last release.
 *
 * Owner: takes @p user, on success only; freed by @p free_user after the last call of @p fn.
 * Threads: any.
 *
 * @param self       the reference.
 * @param fn         told on the service thread; NULL: nobody any more.
 * @param user       given to @p fn.
 * @param free_user  frees @p user, or NULL.
 * @return 0, or
 *   - -EINVAL: @p self is NULL
 *   - SOCKREF_ECLOSED: revoked already
 *   - SOCKREF_EFORKED, -ENOMEM
 * @since 0.1
 */
SOCKREF_API int sockref_set_watch(sockref *self, sockref_watch_fn fn, void *user,
                                  void (*free_user)(void *user));

/**
 * @brief Count what is alive in this process: the leak oracle of tests in every language.
 *
 * Sums at the call.
 *
 * Owner: none. Threads: any.
 *
 * @param[out] out_references  references and connection handles; may be NULL.
 * @param[out] out_entries     names in any state; may be NULL.
 * @param[out] out_buffers     pieces of unsent data; may be NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_live_counts(uint64_t *out_references, uint64_t *out_entries,
                                     uint64_t *out_buffers);

#ifdef __cplusplus
}
#endif

#endif
