/* Where the entries of a registry live. */
#include "ref/slab.h"

#include "base/map.h"

static size_t entries_of(uint32_t chunk)
{
    return (size_t)SR_SLAB_FIRST << chunk;
}

static size_t size_of(uint32_t chunk)
{
    return entries_of(chunk) * (sizeof(sockref) + sizeof(struct sr_entry_rest));
}

void sr_slab_destroy(struct sr_slab *self)
{
    for (uint32_t i = 0; i < SR_SLAB_CHUNKS; i++) {
        sockref *chunk = atomic_load_explicit(&self->chunk[i], memory_order_relaxed);

        if (chunk)
            sr_map_free(chunk, size_of(i));
    }
}

/* The entry of an index that was never used; its chunk is made if need be. */
static sockref *take_fresh(struct sr_slab *self)
{
    uint32_t index = atomic_load_explicit(&self->made, memory_order_relaxed);
    uint32_t number = index + SR_SLAB_FIRST;
    uint32_t chunk = 25 - (uint32_t)__builtin_clz(number);
    uint32_t at = number - (SR_SLAB_FIRST << chunk);
    sockref *first, *entry;

    if (chunk >= SR_SLAB_CHUNKS)
        return NULL;
    first = atomic_load_explicit(&self->chunk[chunk], memory_order_relaxed);
    if (!first) {
        first = sr_map_new(size_of(chunk));
        if (!first)
            return NULL;
        atomic_store_explicit(&self->chunk[chunk], first, memory_order_release);
    }
    entry = &first[at];
    entry->rest = (struct sr_entry_rest *)(first + entries_of(chunk)) + at;
    entry->rest->index = index;
    entry->registry = self->registry;
    atomic_store_explicit(&self->made, index + 1, memory_order_release);
    return entry;
}

sockref *sr_slab_take(struct sr_slab *self)
{
    sockref *entry;

    if (self->free_head == 0)
        return take_fresh(self);
    entry = sr_slab_at(self, self->free_head - 1);
    self->free_head = entry->rest->next_free;
    return entry;
}

void sr_slab_give(struct sr_slab *self, sockref *entry)
{
    entry->rest->next_free = self->free_head;
    self->free_head = entry->rest->index + 1;
}
