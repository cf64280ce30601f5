/*
 * What happens to a connection in a turn of its loop.
 *
 * The callbacks of a connection never run inside a call that the user makes on it: a call only
 * notes what is to be done and puts the connection on the loop's list of touched ones, and
 * sr_conn_settle() does it when the turn ends. So on_error, on_drain and on_close never surprise
 * anybody in the middle of a function.
 *
 * Each direction ends on its own: EOF_SEEN when the peer ended, ENDED when we did (SHUT when the
 * kernel was told, after the queue). When both are done the connection is DEAD, as it is after
 * destroy and after a failure; a DEAD one is closed by the next settling: out of the set,
 * descriptor closed, on_close, CLOSED.
 */
#include "net/conn_state.h"

#include "base/fd.h"
#include "base/sys.h"
#include "net/count.h"
#include "net/outbuf.h"

#include <errno.h>
#include <stdlib.h>

void sr_conn_touch(struct sockref_conn *self)
{
    struct sockref_loop *loop = self->owner->loop;

    if (sr_conn_has(self, SR_CONN_TOUCHED))
        return;
    sr_conn_raise(self, SR_CONN_TOUCHED);
    self->next = NULL;
    if (loop->touched)
        loop->touched_last->next = self;
    else
        loop->touched = self;
    loop->touched_last = self;
    if (!loop->in_turn)
        sr_backend_wake(loop->backend);
}

void sr_conn_fail(struct sockref_conn *self, int status)
{
    if (sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        return;
    sr_conn_raise(self, SR_CONN_FAILED);
    self->status = (int16_t)status;
    sr_conn_touch(self);
}

void sr_conn_adjust(struct sockref_conn *self)
{
    unsigned interest = 0;
    struct sr_backend *backend = self->owner->loop->backend;
    int status;

    if (!sr_conn_has(self, SR_CONN_PAUSED | SR_CONN_EOF_SEEN))
        interest |= SR_READ;
    if (sr_conn_has(self, SR_CONN_BLOCKED))
        interest |= SR_WRITE;
    if (interest == self->source.interest)
        return;
    status = backend->ops->set(backend, &self->source, interest);
    if (status < 0)
        sr_conn_fail(self, status);
}

void sr_conn_flush(struct sockref_conn *self)
{
    bool blocked;
    int status = sr_outbuf_send(&self->out, self->source.fd, &blocked);

    if (status < 0)
        sr_conn_fail(self, status);
    else if (blocked)
        sr_conn_raise(self, SR_CONN_BLOCKED);
    if (!self->out && sr_conn_has(self, SR_CONN_FULL))
        sr_conn_touch(self);
}

void sr_conn_finish_ending(struct sockref_conn *self)
{
    if (self->out || !sr_conn_has(self, SR_CONN_ENDED))
        return;
    if (sr_conn_has(self, SR_CONN_EOF_SEEN)) {
        sr_conn_raise(self, SR_CONN_DEAD);
        sr_conn_touch(self);
    } else if (!sr_conn_has(self, SR_CONN_SHUT)) {
        sr_conn_raise(self, SR_CONN_SHUT);
        /* A peer that is gone is told by the next read. */
        (void)!sr_sys.shutdown(self->source.fd, SHUT_WR);
    }
}

int sr_conn_make(struct sr_conn_owner *owner, int fd, struct sockref_conn **out_conn)
{
    struct sr_backend *backend = owner->loop->backend;
    struct sockref_conn *self = sr_sys.malloc(sizeof *self);
    int status;

    if (!self)
        return -ENOMEM;
    *self = (struct sockref_conn){
        .source = {.fd = fd, .kind = SR_SOURCE_CONN},
        .count = 1,
        .turn = owner->loop->turn - 1, /* not this one, so its first write goes out at once */
        .generation = owner->loop->generation,
        .owner = owner,
    };
    status = backend->ops->set(backend, &self->source, SR_READ);
    if (status < 0) {
        free(self);
        return status;
    }
    sr_count_add(SR_COUNT_HANDLES, 1);
    sr_list_append(&owner->conns, &self->node);
    owner->conn_count++;
    *out_conn = self;
    return 0;
}

bool sr_conn_is_plain(const struct sockref_conn *self)
{
    return !sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED | SR_CONN_PAUSED | SR_CONN_EOF_SEEN |
                                  SR_CONN_TOUCHED) &&
           !self->out;
}

static void tell_end(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    sr_conn_raise(self, SR_CONN_EOF_SEEN);
    sr_conn_touch(self);
    if (owner->handlers.on_end) {
        owner->loop->ran++;
        owner->handlers.on_end(self, owner->user);
    } else if (!sr_conn_has(self, SR_CONN_ENDED)) {
        sr_conn_raise(self, SR_CONN_ENDED);
    }
}

bool sr_conn_read(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;
    struct sockref_loop *loop = owner->loop;
    ssize_t length = sr_sys.recv(self->source.fd, loop->buffer, SR_LOOP_BUFFER, 0);

    if (SR_LIKELY(length > 0)) {
        if (owner->handlers.on_data) {
            loop->ran++;
            owner->handlers.on_data(self, loop->buffer, (size_t)length, owner->user);
        }
        return true;
    }
    if (length == 0) {
        tell_end(self);
        return true;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return false;
    sr_conn_fail(self, -errno);
    return true;
}

void sr_conn_event(struct sockref_conn *self, unsigned ready)
{
    if ((ready & SR_WRITE) && sr_conn_has(self, SR_CONN_BLOCKED)) {
        sr_conn_lower(self, SR_CONN_BLOCKED);
        sr_conn_touch(self);
    }
    if ((ready & SR_READ) &&
        !sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED | SR_CONN_PAUSED | SR_CONN_EOF_SEEN))
        sr_conn_read(self);
}

static void tell_drain(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    sr_conn_lower(self, SR_CONN_FULL);
    if (!owner->handlers.on_drain)
        return;
    owner->loop->ran++;
    owner->handlers.on_drain(self, owner->user);
}

static void tell_error(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    sr_conn_lower(self, SR_CONN_FAILED);
    sr_conn_raise(self, SR_CONN_DEAD | SR_CONN_ERROR_TOLD);
    if (!owner->handlers.on_error)
        return;
    owner->loop->ran++;
    owner->handlers.on_error(self, self->status, owner->user);
}

static void close_it(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;
    struct sr_backend *backend = owner->loop->backend;

    backend->ops->set(backend, &self->source, 0);
    sr_fd_close(self->source.fd);
    self->source.fd = -1;
    sr_outbuf_free(self->out);
    self->out = NULL;
    sr_conn_raise(self, SR_CONN_CLOSED);
    if (owner->loop->guess == self)
        owner->loop->guess = NULL;
    if (owner->handlers.on_close) {
        owner->loop->ran++;
        owner->handlers.on_close(self, sr_conn_has(self, SR_CONN_ERROR_TOLD), owner->user);
    }
    if (sr_conn_is_foreign(self))
        return;
    self->owner = NULL;
    sr_list_remove(&self->node);
    owner->conn_count--;
    owner->conn_gone(owner);
    sockref_conn_release(self);
}

/* TOUCHED stays up meanwhile, so that what callbacks do to the connection is seen here and not
 * listed again. */
void sr_conn_settle(struct sockref_conn *self)
{
    if (self->out && !sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED | SR_CONN_BLOCKED))
        sr_conn_flush(self);
    if (sr_conn_has(self, SR_CONN_FULL) && !self->out &&
        !sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED)) {
        tell_drain(self);
        if (sr_conn_is_foreign(self))
            return;
    }
    if (!sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        sr_conn_finish_ending(self);
    if (!sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED)) {
        if (!self->out)
            sr_conn_lower(self, SR_CONN_BLOCKED);
        sr_conn_adjust(self);
    }
    if (sr_conn_has(self, SR_CONN_FAILED)) {
        tell_error(self);
        if (sr_conn_is_foreign(self))
            return;
    }
    if (sr_conn_has(self, SR_CONN_DEAD)) {
        close_it(self);
        return;
    }
    sr_conn_lower(self, SR_CONN_TOUCHED);
    if ((self->out && !sr_conn_has(self, SR_CONN_BLOCKED)) ||
        (!self->out && sr_conn_has(self, SR_CONN_FULL | SR_CONN_ENDED) &&
         !sr_conn_has(self, SR_CONN_SHUT)))
        sr_conn_touch(self); /* on_drain wrote or ended: once more, after the others */
}

void sr_conn_forget(struct sockref_conn *self)
{
    sr_list_remove(&self->node);
    sr_outbuf_free(self->out);
    self->out = NULL;
    sr_conn_raise(self, SR_CONN_DEAD | SR_CONN_CLOSED);
    self->owner = NULL;
    sockref_conn_release(self);
}
