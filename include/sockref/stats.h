/**
 * @file stats.h
 * @brief What happened, how long it took, and whether a name is well.
 *
 * Counters begin at 0 with their registry, service or loop, and only grow; a rate is the difference
 * of two readings. They are counted where something is started, ended, accepted or connected, never
 * where a reference is acquired or released. Times are nanoseconds of the monotonic clock.
 *
 * Structs are filled to the size that the caller sets, so a program built against an earlier
 * version goes on.
 */
#ifndef SOCKREF_STATS_H
#define SOCKREF_STATS_H

#include <sockref/net.h>
#include <sockref/sockref.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How many bounds a histogram has. */
#define SOCKREF_HISTOGRAM_BUCKETS 14

/** How long something took. */
typedef struct sockref_histogram {
    /** How many times it was measured. */
    uint64_t count;
    /** All the times together, in nanoseconds. */
    uint64_t sum_ns;
    /** [i]: how many of them were longer than the bound before, and no longer than 1 microsecond
     * times 4 to the power of i. Those above the last bound, 67 seconds, are in count only. */
    uint64_t buckets[SOCKREF_HISTOGRAM_BUCKETS];
} sockref_histogram;

/** What a registry counts. */
typedef struct sockref_registry_stats {
    /** sizeof(sockref_registry_stats), as the caller knows it. */
    size_t size;
    /** Names that were bound, or taken by sockref_registry_register_new(). */
    uint64_t created;
    /** Names that were joined, for another registry owns them. */
    uint64_t joined;
    /** Starts that found their name started here already. */
    uint64_t reused;
    /** Starts that failed, or were cancelled. */
    uint64_t failed;
    /** Started names that ended after their last reference. */
    uint64_t closed;
    /** Names that were revoked: by a cleanup, a shutdown, or the loss of their owner. */
    uint64_t revoked;
    /** Of the started names that were closed or revoked: those of which nothing is left, */
    uint64_t removed;
    /** and those where the system refused to remove a file, or another step of the end failed. */
    uint64_t remove_failed;
    /** Ends that had to wait, and were left to the worker. */
    uint64_t deferred;
    /** The status of the last refusal; 0: there was none. */
    int last_remove_status;
    /** From the last release, or the call that revokes, until nothing is left of the name. A
     * cleanup delay, and the time that it goes on for other holders, do not count. */
    sockref_histogram removal;
} sockref_registry_stats;

/** What is counted of one name, while it is served here. */
typedef struct sockref_stats {
    /** sizeof(sockref_stats), as the caller knows it. */
    size_t size;
    /** References of this registry, now. */
    uint64_t references;
    /** Connections of its service, now. */
    uint64_t connections;
    /** Connections that its service accepted. */
    uint64_t accepted;
    /** Connections that were closed at once, for there were too many, or no descriptor or memory
     * was left. */
    uint64_t refused;
    /** Bytes that its connections received. */
    uint64_t bytes_read;
    /** Bytes that its connections gave to the system. */
    uint64_t bytes_written;
    /** For how long it is served; 0 where it is not. accepted / served_ns is the mean rate. */
    uint64_t served_ns;
} sockref_stats;

/** What a loop counts. */
typedef struct sockref_loop_stats {
    /** sizeof(sockref_loop_stats), as the caller knows it. */
    size_t size;
    /** Callbacks that ran in it; those of a dispatch are counted when it ends. */
    uint64_t callbacks;
    /** Posted functions, results of starts and calls of watches that wait for the next turn. */
    uint64_t pending;
    /** For how long the oldest of them has waited; 0: there is none. */
    uint64_t oldest_ns;
    /** For how long the newest of them has waited. */
    uint64_t newest_ns;
    /** How many turns came so late that one of them had waited for longer than a second. */
    uint64_t starved;
    /** 1: one of them has waited for longer than a second now. */
    int is_starving;
    /** Connections that its services accepted. */
    uint64_t accepted;
    /** Connections that were closed at once, for there were too many, or no descriptor or memory
     * was left. */
    uint64_t refused;
    /** Connections of sockref_connect() that succeeded. */
    uint64_t connected;
    /** Those that failed. */
    uint64_t connect_failed;
    /** Bytes that its connections received. */
    uint64_t bytes_read;
    /** Bytes that its connections gave to the system. */
    uint64_t bytes_written;
    /** From sockref_connect() until on_connect, of those that succeeded. */
    sockref_histogram connect;
} sockref_loop_stats;

/** How a name is. Each is 1: yes, 0: no, -1: it can't be told from here. */
typedef struct sockref_health {
    /** sizeof(sockref_health), as the caller knows it. */
    size_t size;
    /** The path leads to the socket that was bound or joined; -1: the name has no file, or is just
     * handed over by another registry. */
    int is_file_ours;
    /** The system would queue a connection to the path, whosever socket stands there; of another
     * one than the name's own it is seen only that it is bound. It is asked without making one. A
     * full queue counts: who connects waits. Of a name without a file: its socket listens, or is
     * bound, where it was joined. -1: this process may not connect. */
    int is_reachable;
    /** It is served and takes connections: not held back by a limit, by a lack of descriptors, or
     * by a loop that has not been dispatched, or has left a posted function waiting for a second,
     * or a peer between two looks that are a second apart; -1: another registry owns it. */
    int is_accepting;
} sockref_health;

/**
 * @brief Tell what a registry has counted.
 *
 * Owner: none; the struct is filled in. Threads: any.
 *
 * @param self            the registry.
 * @param[out] out_stats  its size must be set.
 * @return 0, or
 *   - -EINVAL: @p out_stats is NULL, or its size is 0 or larger than this library knows
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_registry_get_stats(sockref_registry *self,
                                           sockref_registry_stats *out_stats);

/**
 * @brief Tell what is counted of one name.
 *
 * Owner: none; the struct is filled in. Threads: any.
 *
 * @param self            the reference; a revoked one still tells its references.
 * @param[out] out_stats  its size must be set.
 * @return 0, or
 *   - -EINVAL: an argument is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_get_stats(const sockref *self, sockref_stats *out_stats);

/**
 * @brief Tell what a loop has counted.
 *
 * Owner: none; the struct is filled in. Threads: any.
 *
 * @param self            the loop; NULL: all loops of the process together, also those that ended.
 * @param[out] out_stats  its size must be set.
 * @return 0, or
 *   - -EINVAL: @p out_stats is NULL, or its size is 0 or larger than this library knows
 *   - SOCKREF_EFORKED
 * @since 0.1
 */
SOCKREF_API int sockref_loop_get_stats(const sockref_loop *self, sockref_loop_stats *out_stats);

/**
 * @brief Write all that is counted as OpenMetrics text: the registry, each of its names by path,
 * and all loops of the process.
 *
 * Owner: none; the text is written to the caller's memory, NUL-terminated, and cut off where it
 * does not fit. Threads: any.
 *
 * @param self           the registry.
 * @param[out] out_text  where to write to; may be NULL where @p room is 0.
 * @param room           bytes there.
 * @return how many bytes the text has, without the NUL: written are all where that is less than
 * @p room; or
 *   - -EINVAL: @p out_text is NULL, and @p room is not 0
 *   - SOCKREF_ELIMIT: longer than INT_MAX
 *   - SOCKREF_EFORKED, -ENOMEM
 * @since 0.1
 */
SOCKREF_API int sockref_registry_write_metrics(sockref_registry *self, char *out_text, size_t room);

/**
 * @brief Look whether a name is well: its file, whether it can be connected to, whether its service
 * accepts.
 *
 * It makes system calls and waits for nobody; no connection is made, so the service notices
 * nothing.
 *
 * Owner: none; the struct is filled in. Threads: any.
 *
 * @param self             the reference.
 * @param[out] out_health  its size must be set.
 * @return 0: it was looked at, whatever was found; or
 *   - -EINVAL: an argument is NULL, or the size is 0 or larger than this library knows
 *   - SOCKREF_ECLOSED: revoked, or nothing was started
 *   - SOCKREF_EFORKED
 *   - -errno: of the system call that refused
 * @since 0.1
 */
SOCKREF_API int sockref_check_health(const sockref *self, sockref_health *out_health);

#ifdef __cplusplus
}
#endif

#endif
