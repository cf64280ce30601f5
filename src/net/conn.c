/*
 * What a user may do with a connection. A call changes only what is noted of it; all that follows
 * happens when the turn of its loop ends, see conn_turn.c.
 */
#include "net/conn_state.h"

#include "base/error.h"
#include "base/sys.h"
#include "net/count.h"
#include "net/outbuf.h"

#include <errno.h>
#include <stdlib.h>

#define HIGH_WATER   65536u /* more in the queue than this, and a write tells SOCKREF_WRITE_FULL */
#define WORTH_A_CALL 16384u /* a write of this size gains nothing from waiting for others */

/* After a change of what we wait for: at the end of the turn, or at once when there is none. */
static void changed(struct sockref_conn *self)
{
    if (self->owner->loop->in_turn)
        sr_conn_touch(self);
    else
        sr_conn_adjust(self);
}

/* Returns how many bytes the socket took; fewer than all, without a failure, means it is full. */
static size_t send_now(struct sockref_conn *self, const void *data, size_t length)
{
    ssize_t sent;

    do {
        sent = sr_sys.send(self->source.fd, data, length, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (SR_LIKELY(sent == (ssize_t)length))
        return length;
    if (sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK)
        sr_conn_raise(self, SR_CONN_BLOCKED);
    else
        sr_conn_fail(self, -errno);
    return sent > 0 ? (size_t)sent : 0;
}

static bool may_send_now(const struct sockref_conn *self, size_t length)
{
    const struct sockref_loop *loop = self->owner->loop;

    if (self->out)
        return false;
    return !loop->in_turn || self->turn != loop->turn || length >= WORTH_A_CALL;
}

static int queue(struct sockref_conn *self, const void *data, size_t length, bool begun)
{
    if (sr_outbuf_add(&self->out, data, length) < 0) {
        sr_conn_lower(self, self->out ? 0u : (unsigned)SR_CONN_BLOCKED);
        if (!begun)
            return sr_error_no_memory();
        sr_conn_fail(self, -ENOMEM); /* a part is gone, so the stream is broken */
        return 0;
    }
    changed(self);
    if (!sr_conn_has(self, SR_CONN_BLOCKED))
        sr_conn_touch(self);
    if (sr_outbuf_bytes(self->out) <= HIGH_WATER)
        return 0;
    sr_conn_raise(self, SR_CONN_FULL);
    return SOCKREF_WRITE_FULL;
}

static int refuse_closed(void)
{
    return sr_error_set(SOCKREF_ECLOSED, NULL, "the connection was ended or destroyed");
}

/* What every call on a connection begins with; ended tells which flags refuse it. */
static inline int check(const struct sockref_conn *self, unsigned refusing)
{
    if (SR_UNLIKELY(!self))
        return sr_error_argument("the connection is NULL");
    if (SR_UNLIKELY(sr_conn_is_foreign(self)))
        return sr_error_set(SOCKREF_EFORKED, NULL,
                            "the connection belongs to the parent of this process");
    if (SR_UNLIKELY(sr_conn_has(self, refusing)))
        return refuse_closed();
    return 0;
}

int sockref_conn_write(sockref_conn *self, const void *data, size_t length)
{
    int status = check(self, SR_CONN_DEAD | SR_CONN_ENDED);
    uint64_t queued, most;
    size_t sent = 0;

    if (status < 0)
        return status;
    if (length == 0 || sr_conn_has(self, SR_CONN_FAILED))
        return 0;
    if (!data)
        return sr_error_argument("data is NULL, but length is not 0");
    queued = sr_outbuf_bytes(self->out);
    most = self->owner->max_buffered;
    if (queued > most || length > most - queued)
        return sr_error_set(
            SOCKREF_ELIMIT, NULL,
            "%zu bytes more would be queued than SOCKREF_OPT_MAX_BUFFERED allows; wait "
            "for on_drain",
            length);
    if (self->out && !sr_conn_has(self, SR_CONN_BLOCKED) && queued + length > HIGH_WATER) {
        sr_conn_flush(self);
        if (sr_conn_has(self, SR_CONN_FAILED))
            return 0;
    }
    if (may_send_now(self, length)) {
        self->turn = self->owner->loop->turn;
        sent = send_now(self, data, length);
        if (sent == length || sr_conn_has(self, SR_CONN_FAILED))
            return 0;
    }
    return queue(self, (const unsigned char *)data + sent, length - sent, sent > 0);
}

int sockref_conn_end(sockref_conn *self)
{
    int status = check(self, SR_CONN_DEAD);

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
    int status = check(self, SR_CONN_DEAD);

    if (status < 0 || sr_conn_has(self, SR_CONN_PAUSED))
        return status;
    sr_conn_raise(self, SR_CONN_PAUSED);
    changed(self);
    return 0;
}

int sockref_conn_resume(sockref_conn *self)
{
    int status = check(self, SR_CONN_DEAD);

    if (status < 0 || !sr_conn_has(self, SR_CONN_PAUSED))
        return status;
    sr_conn_lower(self, SR_CONN_PAUSED);
    changed(self);
    return 0;
}

void sockref_conn_destroy(sockref_conn *self)
{
    if (!self || sr_conn_has(self, SR_CONN_DEAD) || sr_conn_is_foreign(self))
        return;
    sr_conn_raise(self, SR_CONN_DEAD);
    sr_conn_lower(self, SR_CONN_FAILED);
    sr_outbuf_free(self->out);
    self->out = NULL;
    sr_conn_touch(self);
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
