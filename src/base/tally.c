/* How long things took. */
#include "base/tally.h"

#define FIRST_BOUND_NS 1000u

static unsigned bucket_of(uint64_t took_ns)
{
    uint64_t bound = FIRST_BOUND_NS;
    unsigned i = 0;

    for (; i < SOCKREF_HISTOGRAM_BUCKETS && took_ns > bound; i++)
        bound *= 4;
    return i;
}

void sr_histogram_note(struct sr_histogram *self, uint64_t took_ns)
{
    sr_tally_add(&self->sum_ns, took_ns);
    sr_tally_add(&self->buckets[bucket_of(took_ns)], 1);
}

void sr_histogram_read(const struct sr_histogram *self, sockref_histogram *inout_histogram)
{
    uint64_t longest = sr_tally_read(&self->buckets[SOCKREF_HISTOGRAM_BUCKETS]);

    inout_histogram->count += longest;
    for (unsigned i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++) {
        uint64_t value = sr_tally_read(&self->buckets[i]);

        inout_histogram->buckets[i] += value;
        inout_histogram->count += value;
    }
    inout_histogram->sum_ns += sr_tally_read(&self->sum_ns);
}
