/*
 * The index of a registry: hashes to entries, read without a lock, written with the registry's
 * mutex held.
 *
 * Open addressing with linear probing; a slot is one word: 32 bits of hash, 2 of kind, 30 of the
 * entry's number plus one. Removing shifts followers back, so there are no tombstones. A hit is
 * proved by the entry itself. A reader without the mutex may miss a slot while another is shifted,
 * or look at a table that has just been replaced: it takes a miss for "not found so easily" and
 * looks again with the mutex held. A table that has grown stays readable until the registry goes,
 * but its pages are given back: what is left reads as empty.
 */
#ifndef SR_REF_TABLE_H
#define SR_REF_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sr_table_kind {
    SR_TABLE_KEY,   /* by the folded spelling */
    SR_TABLE_PLACE, /* by directory identity and leaf */
    SR_TABLE_ALIAS, /* by another spelling */
};

struct sr_slots {
    struct sr_slots *older;
    uint32_t mask;
    _Atomic uint64_t slot[];
};

struct sr_table {
    struct sr_slots *_Atomic slots;
    uint32_t used;
};

/* A walk over the slots of one hash. */
struct sr_table_walk {
    const struct sr_slots *slots;
    uint32_t hash, at, left;
};

int sr_table_init(struct sr_table *self);
void sr_table_destroy(struct sr_table *self);
/* Room for more slots. Returns 0 or -ENOMEM, then nothing changed. */
int sr_table_reserve(struct sr_table *self, uint32_t more);
/* Room must have been reserved. */
void sr_table_add(struct sr_table *self, uint32_t hash, enum sr_table_kind kind, uint32_t index);
/* Removing what is not there does nothing. */
void sr_table_remove(struct sr_table *self, uint32_t hash, enum sr_table_kind kind, uint32_t index);

static inline void sr_table_begin(const struct sr_table *self, uint32_t hash,
                                  struct sr_table_walk *walk)
{
    walk->slots = atomic_load_explicit(&self->slots, memory_order_acquire);
    walk->hash = hash;
    walk->at = hash & walk->slots->mask;
    walk->left = walk->slots->mask + 1;
}

/* The next entry of the walk's hash; false at the end. */
static inline bool sr_table_next(struct sr_table_walk *walk, enum sr_table_kind *out_kind,
                                 uint32_t *out_index)
{
    while (walk->left > 0) {
        uint64_t slot = atomic_load_explicit(&walk->slots->slot[walk->at], memory_order_acquire);

        if (slot == 0)
            return false;
        walk->left--;
        walk->at = (walk->at + 1) & walk->slots->mask;
        if ((uint32_t)(slot >> 32) != walk->hash)
            continue;
        *out_kind = (enum sr_table_kind)(slot >> 30 & 3);
        *out_index = (uint32_t)(slot & 0x3fffffff) - 1;
        return true;
    }
    return false;
}

#endif
