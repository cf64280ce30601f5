/* The process's hash key. */
#include "base/hash.h"

#include "base/random.h"

#include <stdatomic.h>

uint64_t sr_hash_seed(void)
{
    static _Atomic uint64_t seed;
    uint64_t fresh, none = 0;

    fresh = atomic_load_explicit(&seed, memory_order_relaxed);
    if (fresh)
        return fresh;
    fresh = sr_random() | 1;
    if (atomic_compare_exchange_strong(&seed, &none, fresh))
        return fresh;
    return none;
}
