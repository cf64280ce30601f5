/*
 * Counters that any thread may read. One that a single thread writes is added to without a locked
 * instruction.
 */
#ifndef SR_BASE_TALLY_H
#define SR_BASE_TALLY_H

#include <sockref/stats.h>
#include <stdatomic.h>

typedef _Atomic uint64_t sr_tally;

static inline uint64_t sr_tally_read(const sr_tally *self)
{
    return atomic_load_explicit(self, memory_order_relaxed);
}

/* By the one thread that writes it, or with a mutex that all of them hold. */
static inline void sr_tally_add(sr_tally *self, uint64_t more)
{
    atomic_store_explicit(self, sr_tally_read(self) + more, memory_order_relaxed);
}

/* By any thread. */
static inline void sr_tally_add_shared(sr_tally *self, uint64_t more)
{
    atomic_fetch_add_explicit(self, more, memory_order_relaxed);
}

/* How long something took; the last bucket is of what is longer than all bounds. The count is the
 * sum of the buckets, so a reader never sees one without the other. */
struct sr_histogram {
    sr_tally sum_ns;
    sr_tally buckets[SOCKREF_HISTOGRAM_BUCKETS + 1];
};

/* As sr_tally_add(). */
void sr_histogram_note(struct sr_histogram *self, uint64_t took_ns);
/* Add what was noted to what the struct has. */
void sr_histogram_read(const struct sr_histogram *self, sockref_histogram *inout_histogram);

#endif
