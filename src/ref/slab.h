/* Where the entries of a registry live: chunks that double in size and stay until the registry
 * goes. */
#ifndef SR_REF_SLAB_H
#define SR_REF_SLAB_H

#include "ref/entry.h"

#define SR_SLAB_FIRST  64u
#define SR_SLAB_CHUNKS 24u /* 64 * (2^24 - 1) entries */

struct sr_slab {
    sockref *_Atomic chunk[SR_SLAB_CHUNKS];
    _Atomic uint32_t made;      /* entries that were ever used */
    uint32_t free_head;         /* index + 1 of a FREE one, or 0 */
    sockref_registry *registry; /* of all its entries */
};

void sr_slab_destroy(struct sr_slab *self);
/* A FREE entry with rest and generation in place, or NULL: no memory. */
sockref *sr_slab_take(struct sr_slab *self);
void sr_slab_give(struct sr_slab *self, sockref *entry);

/* The entry of an index that the table told. */
static inline sockref *sr_slab_at(const struct sr_slab *self, uint32_t index)
{
    uint32_t number = index + SR_SLAB_FIRST;
    uint32_t chunk = 25 - (uint32_t)__builtin_clz(number);
    sockref *first = atomic_load_explicit(&self->chunk[chunk], memory_order_acquire);

    return &first[number - (SR_SLAB_FIRST << chunk)];
}

#endif
