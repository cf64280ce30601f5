/* Counters that are spread over cache lines. */
#include "net/count.h"

#include "base/attr.h"

#include <stdatomic.h>

#define LINES 16u

struct line {
    _Alignas(SR_CACHE_LINE) _Atomic int64_t values[SR_COUNT_KINDS];
};

static struct line lines[LINES];
static atomic_uint next_line;
static _Thread_local unsigned own_line; /* one more than the index; 0: not chosen yet */

void sr_count_add(enum sr_count_kind kind, int64_t change)
{
    if (SR_UNLIKELY(own_line == 0))
        own_line = atomic_fetch_add_explicit(&next_line, 1, memory_order_relaxed) % LINES + 1;
    atomic_fetch_add_explicit(&lines[own_line - 1].values[kind], change, memory_order_relaxed);
}

uint64_t sr_count_sum(enum sr_count_kind kind)
{
    int64_t sum = 0;

    for (unsigned i = 0; i < LINES; i++)
        sum += atomic_load_explicit(&lines[i].values[kind], memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}
