/**
 * @file pool.h
 * @brief Several sockets behind one: a client is given one of them, in turn or the least used.
 *
 * A pool holds a reference to each of its members. What sockref_pool_pick() gives out is a
 * reference as any other: connect to its path, and release it when the connection is over, for the
 * references of a member tell how much it is used.
 */
#ifndef SOCKREF_POOL_H
#define SOCKREF_POOL_H

#include <sockref/sockref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** References to names, of which one is picked at a time. */
typedef struct sockref_pool sockref_pool;

/** How one is picked; the number is the ABI. */
typedef enum sockref_pool_policy {
    /** One after the other. */
    SOCKREF_POOL_ROUND_ROBIN = 1,
    /** The one with the fewest references in its registry; of equals one after the other. */
    SOCKREF_POOL_LEAST_REFERENCES = 2
} sockref_pool_policy;

/**
 * @brief Make an empty pool.
 *
 * Owner: the caller owns it and frees it with sockref_pool_free(). Threads: any.
 *
 * @param[out] out_pool  set on success only.
 * @return 0, or
 *   - -EINVAL: @p out_pool is NULL
 *   - -ENOMEM
 * @since 0.1
 */
SOCKREF_API int sockref_pool_new(sockref_pool **out_pool);

/**
 * @brief Release all members, and free a pool.
 *
 * References that were picked stay as they are. In a forked child the memory of a pool of the
 * parent goes, and that is all.
 *
 * Owner: takes @p self. Threads: any; no other call on it may be under way.
 *
 * @param self  the pool, or NULL.
 * @since 0.1
 */
SOCKREF_API void sockref_pool_free(sockref_pool *self);

/**
 * @brief Make a name a member.
 *
 * A member that was revoked, of the same name, gives its place to it.
 *
 * Owner: the pool acquires a reference of its own; @p ref stays the caller's. Threads: any.
 *
 * @param self  the pool.
 * @param ref   a reference to an active name, of any registry.
 * @return 0, or
 *   - -EINVAL: an argument is NULL
 *   - SOCKREF_EEXISTS: it is a member already
 *   - SOCKREF_ECLOSED: it is revoked
 *   - SOCKREF_ELIMIT: it has as many references as it may have
 *   - SOCKREF_EFORKED, -ENOMEM
 * @since 0.1
 */
SOCKREF_API int sockref_pool_add(sockref_pool *self, sockref *ref);

/**
 * @brief Make a name no member any more.
 *
 * Owner: the pool releases its reference; @p ref stays the caller's. Threads: any.
 *
 * @param self  the pool.
 * @param ref   a reference to the member.
 * @return 0, or
 *   - -EINVAL: an argument is NULL
 *   - SOCKREF_ENOTFOUND: it is none
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_pool_remove(sockref_pool *self, const sockref *ref);

/**
 * @brief Start or join several names, and make them members: all, or none.
 *
 * They are @p path with ".0", ".1" and so on behind it; of tcp:HOST:PORT the ports from PORT on,
 * and of port 0 ports that the system chooses; of NULL fresh names as with SOCKREF_OPT_UNIQUE. What
 * can't be named is refused before anything is started. Each is started as by
 * sockref_registry_listen(), one after the other; handlers of the options are told on_stop once for
 * each that was started, also where a later one fails. Members of these names that were revoked
 * give their places to them.
 *
 * Owner: the pool owns the references. Threads: any; waits as sockref_registry_listen() does.
 *
 * @param self      the pool.
 * @param registry  where.
 * @param path      the name that they have in common; NULL: fresh names.
 * @param count     how many, 1 to 1024.
 * @param options   of each start, or NULL.
 * @return 0, or
 *   - -EINVAL: @p self is NULL, or @p count is none of these
 *   - SOCKREF_EEXISTS: one is a member already
 *   - SOCKREF_EPATH, EPATHLEN: @p path, or that of a member; or there are not so many ports
 *   - as sockref_registry_listen() says, of the first that could not be started; those before
 *     it are released
 * @since 0.1
 */
SOCKREF_API int sockref_pool_listen(sockref_pool *self, sockref_registry *registry,
                                    const char *path, unsigned count,
                                    const sockref_options *options);

/**
 * @brief Pick a member that is active.
 *
 * Members that were revoked, or lost their owner, are passed over, as are those that have as many
 * references as they may have.
 *
 * Owner: the caller owns the reference and gives it back with sockref_release(). Threads: any.
 *
 * @param self          the pool.
 * @param policy        how: a ::sockref_pool_policy.
 * @param[out] out_ref  set on success only.
 * @return 0, or
 *   - -EINVAL: an argument is NULL, or the policy is not known
 *   - SOCKREF_ENOTFOUND: no member is active
 *   - SOCKREF_ELIMIT: every active member has as many references as it may have
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_pool_pick(sockref_pool *self, int policy, sockref **out_ref);

/**
 * @brief Tell how many members a pool has, active or not.
 *
 * Owner: none. Threads: any.
 *
 * @param self  the pool; NULL: 0.
 * @return the number; 0 for a pool of the parent in a forked child.
 * @since 0.1
 */
SOCKREF_API uint64_t sockref_pool_size(const sockref_pool *self);

#ifdef __cplusplus
}
#endif

#endif
