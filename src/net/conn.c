/*
 * What a user may do with a connection; writing, options and questions have files of their own. A
 * call changes only what is noted of it; all that follows happens when the turn of its loop ends,
 * see conn_turn.c.
 */
#include "net/conn_state.h"

#include "base/error.h"
#include "net/count.h"
#include "net/outbuf.h"

#include <stdlib.h>

SR_COLD int sr_conn_refuse(const struct sockref_conn *self)
{
    if (!self)
        return sr_error_argument("the connection is NULL");
    if (sr_conn_is_foreign(self))
        return sr_error_set(SOCKREF_EFORKED, NULL,
                            "the connection belongs to the parent of this process");
    return sr_error_set(SOCKREF_ECLOSED, NULL, "the connection was ended or destroyed");
}

void sr_conn_changed(struct sockref_conn *self)
{
    if (self->owner->loop->in_turn)
        sr_conn_touch(self);
    else
        sr_conn_adjust(self);
}

int sockref_conn_end(sockref_conn *self)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0 || sr_conn_has(self, SR_CONN_ENDED | SR_CONN_FAILED))
        return status;
    sr_conn_raise(self, SR_CONN_ENDED);
    if (self->owner->loop->in_turn)
        sr_conn_touch(self);
    else
        sr_conn_finish_ending(self);
    return 0;
}

int sockref_conn_pause(sockref_conn *self)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0 || sr_conn_has(self, SR_CONN_PAUSED))
        return status;
    sr_conn_raise(self, SR_CONN_PAUSED);
    sr_conn_changed(self);
    return 0;
}

int sockref_conn_resume(sockref_conn *self)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0 || !sr_conn_has(self, SR_CONN_PAUSED))
        return status;
    sr_conn_lower(self, SR_CONN_PAUSED);
    sr_conn_changed(self);
    return 0;
}

/* A failure that is not told yet is told no more, also where it has begun to close. */
void sockref_conn_destroy(sockref_conn *self)
{
    if (!self || sr_conn_is_foreign(self))
        return;
    sr_conn_lower(self, SR_CONN_FAILED);
    if (sr_conn_has(self, SR_CONN_DEAD))
        return;
    sr_conn_raise(self, SR_CONN_DEAD);
    sr_outbuf_drop(self->out, SOCKREF_ECANCELED, &self->written);
    self->out = NULL;
    sr_conn_touch(self);
}

void sockref_conn_destroy_soon(sockref_conn *self)
{
    if (!self || sr_conn_is_foreign(self) || sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        return;
    sr_conn_raise(self, SR_CONN_ENDED | SR_CONN_FINISHING);
    sr_conn_touch(self);
}

void sockref_conn_reset(sockref_conn *self)
{
    if (!self || sr_conn_is_foreign(self))
        return;
    sr_conn_raise(self, SR_CONN_RESETTING);
    sockref_conn_destroy(self);
}

void sockref_conn_hold(sockref_conn *self, bool hold)
{
    if (!self || sr_conn_is_foreign(self) || !self->owner ||
        hold == !sr_conn_has(self, SR_CONN_UNHELD))
        return;
    if (hold)
        sr_conn_lower(self, SR_CONN_UNHELD);
    else
        sr_conn_raise(self, SR_CONN_UNHELD);
    sr_loop_hold(self->owner->loop, hold ? 1 : -1);
}

sockref_conn *sockref_conn_acquire(sockref_conn *self)
{
    if (!self)
        return NULL;
    sr_count_add(SR_COUNT_HANDLES, 1);
    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
    return self;
}

void sockref_conn_release(sockref_conn *self)
{
    if (!self)
        return;
    sr_count_add(SR_COUNT_HANDLES, -1);
    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) == 1)
        free(self);
}

void sockref_conn_set_data(sockref_conn *self, void *data)
{
    if (self)
        self->data = data;
}

void *sockref_conn_data(const sockref_conn *self)
{
    return self ? self->data : NULL;
}
