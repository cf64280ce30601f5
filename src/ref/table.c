/* The index of a registry: the writing side. */
#include "ref/table.h"

#include "base/map.h"
#include "base/sys.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FIRST_SLOTS 16u
#define MAPPED_FROM                                                                                \
    1024u /* slots from which a table is mapped, so that its pages can be given back */

static size_t size_of(uint32_t count)
{
    return sizeof(struct sr_slots) + (size_t)count * sizeof(uint64_t);
}

static struct sr_slots *make(uint32_t count)
{
    struct sr_slots *slots;

    if (count >= MAPPED_FROM) {
        slots = sr_map_new(size_of(count));
    } else {
        slots = sr_sys.calloc(1, size_of(count));
    }
    if (!slots)
        return NULL;
    slots->mask = count - 1;
    return slots;
}

static void unmake(struct sr_slots *slots)
{
    if (slots->mask + 1 >= MAPPED_FROM)
        sr_map_free(slots, size_of(slots->mask + 1));
    else
        free(slots);
}

/* Give back the pages of a table that nobody needs any more; readers find zeros there. */
static void give_back(struct sr_slots *slots)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = size_of(slots->mask + 1);

    if (slots->mask + 1 >= MAPPED_FROM && size > page)
        madvise((char *)slots + page, size - page, MADV_DONTNEED);
}

static struct sr_slots *current(const struct sr_table *self)
{
    return atomic_load_explicit(&self->slots, memory_order_relaxed);
}

static void put(struct sr_slots *slots, uint64_t slot)
{
    uint32_t at = (uint32_t)(slot >> 32) & slots->mask;

    while (atomic_load_explicit(&slots->slot[at], memory_order_relaxed))
        at = (at + 1) & slots->mask;
    atomic_store_explicit(&slots->slot[at], slot, memory_order_release);
}

int sr_table_init(struct sr_table *self)
{
    struct sr_slots *slots = make(FIRST_SLOTS);

    if (!slots)
        return -ENOMEM;
    atomic_init(&self->slots, slots);
    self->used = 0;
    return 0;
}

void sr_table_destroy(struct sr_table *self)
{
    struct sr_slots *slots = current(self), *older;

    for (; slots; slots = older) {
        older = slots->older;
        unmake(slots);
    }
}

int sr_table_reserve(struct sr_table *self, uint32_t more)
{
    struct sr_slots *old = current(self), *fresh;
    uint32_t count = old->mask + 1;

    while ((uint64_t)(self->used + more) * 4 > (uint64_t)count * 3)
        count *= 2;
    if (count == old->mask + 1)
        return 0;
    fresh = make(count);
    if (!fresh)
        return -ENOMEM;
    for (uint32_t i = 0; i <= old->mask; i++) {
        uint64_t slot = atomic_load_explicit(&old->slot[i], memory_order_relaxed);

        if (slot)
            put(fresh, slot);
    }
    fresh->older = old;
    atomic_store_explicit(&self->slots, fresh, memory_order_release);
    give_back(old);
    return 0;
}

static uint64_t slot_of(uint32_t hash, enum sr_table_kind kind, uint32_t index)
{
    return (uint64_t)hash << 32 | (uint64_t)kind << 30 | (index + 1);
}

void sr_table_add(struct sr_table *self, uint32_t hash, enum sr_table_kind kind, uint32_t index)
{
    put(current(self), slot_of(hash, kind, index));
    self->used++;
}

/* Close the gap at a slot: every follower whose own place is not behind the gap moves into it. */
static void shift_back(struct sr_slots *slots, uint32_t gap)
{
    uint32_t at = gap;

    for (;;) {
        uint64_t slot;
        uint32_t home;

        at = (at + 1) & slots->mask;
        slot = atomic_load_explicit(&slots->slot[at], memory_order_relaxed);
        if (!slot)
            break;
        home = (uint32_t)(slot >> 32) & slots->mask;
        if (((at - home) & slots->mask) < ((at - gap) & slots->mask))
            continue;
        atomic_store_explicit(&slots->slot[gap], slot, memory_order_release);
        gap = at;
    }
    atomic_store_explicit(&slots->slot[gap], 0, memory_order_release);
}

void sr_table_remove(struct sr_table *self, uint32_t hash, enum sr_table_kind kind, uint32_t index)
{
    struct sr_slots *slots = current(self);
    uint64_t wanted = slot_of(hash, kind, index), slot;
    uint32_t at = hash & slots->mask;

    for (;; at = (at + 1) & slots->mask) {
        slot = atomic_load_explicit(&slots->slot[at], memory_order_relaxed);
        if (!slot)
            return;
        if (slot == wanted)
            break;
    }
    shift_back(slots, at);
    self->used--;
}
