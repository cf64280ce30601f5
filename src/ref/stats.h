/*
 * What a registry counts: where starts succeed or fail, and where names end. Nothing is counted
 * where a reference is acquired or released.
 */
#ifndef SR_REF_STATS_H
#define SR_REF_STATS_H

#include "base/attr.h"
#include "base/tally.h"
#include "name/path.h"

#include <stdbool.h>

struct sr_life;

enum sr_stat {
    SR_STAT_CREATED,
    SR_STAT_JOINED,
    SR_STAT_REUSED,
    SR_STAT_FAILED,
    SR_STAT_CLOSED,
    SR_STAT_REVOKED,
    SR_STAT_REMOVED,
    SR_STAT_REMOVE_FAILED,
    SR_STAT_DEFERRED,
    SR_STATS
};

struct sr_stats {
    _Alignas(SR_CACHE_LINE) sr_tally values[SR_STATS]; /* lookups read what stands before it */
    _Atomic int last_remove_status;
    struct sr_histogram removal;
};

/* A start has failed, or was cancelled. By any thread; all else is counted with the registry's
 * mutex held. */
void sr_stats_count_failed(sockref_registry *self);
/* The removal of a name begins; by the thread that has the right to its entry. */
void sr_stats_begin_removal(struct sr_life *life);
/* How long ago that was, in nanoseconds. */
uint64_t sr_stats_removal_took(const struct sr_life *life);

/* One name of a registry, and what is counted of it. */
struct sr_name_stats {
    char path[SR_PATH_MAX + 1];
    sockref_stats stats;
};

/*
 * The next active name from an index on, which is moved behind it. The registry's mutex is held for
 * this name alone. Returns false where there is none.
 */
bool sr_stats_next_name(sockref_registry *self, uint32_t *inout_index, struct sr_name_stats *out);
/* The registry's, whole; NULL is the default one. Returns 0 or a described status. */
int sr_stats_read(sockref_registry **inout_registry, sockref_registry_stats *out_stats);

#endif
