/* The life of a bound name. */
#include "ref/life.h"

#include <stdlib.h>

void sr_life_acquire(struct sr_life *self)
{
    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
}

void sr_life_release(struct sr_life *self)
{
    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) != 1)
        return;
    sr_sockfile_close(&self->file);
    free(self);
}
