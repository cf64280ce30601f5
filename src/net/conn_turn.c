/*
 * What happens to a connection in a turn of its loop.
 *
 * The callbacks of a connection never run inside a call that the user makes on it: a call only
 * notes what is to be done and puts the connection on the loop's list of touched ones, and
 * sr_conn_settle() does it when the turn ends. So on_error, on_drain and on_close never surprise
 * anybody in the middle of a function.
 *
 * A connection that is not made yet, or whose loop has not seen it yet, is WAITING: what is asked
 * of it is noted, and done when sr_conn_connected() or its first turn has told on_ready.
 *
 * Each direction ends on its own: EOF_SEEN when the peer ended, ENDED when we did (SHUT when the
 * kernel was told, after the queue). When both are done the connection is DEAD, as it is after
 * destroy and after a failure; a DEAD one is closed by the next settling: lent pieces are given
 * back, on_error is told if it is owed, out of the set, descriptor closed, on_close, CLOSED.
 */
#include "net/conn_state.h"

#include "base/error.h"
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
    if (sr_conn_has(self, SR_CONN_CONNECTING))
        sr_tally_add(&self->owner->loop->traffic.connect_failed, 1);
    sr_conn_raise(self, SR_CONN_FAILED);
    self->status = (int16_t)status;
    sr_conn_touch(self);
}

void sr_conn_adjust(struct sockref_conn *self)
{
    unsigned interest = 0;
    struct sr_backend *backend = self->owner->loop->backend;
    int status;

    if (sr_conn_has(self, SR_CONN_WAITING))
        return;
    if (!sr_conn_has(self, SR_CONN_PAUSED | SR_CONN_EOF_SEEN))
        interest |= SR_READ;
    if (sr_conn_has(self, SR_CONN_BLOCKED) && !sr_conn_has(self, SR_CONN_LATER))
        interest |= SR_WRITE;
    if (interest == self->source.interest)
        return;
    status = backend->ops->set(backend, &self->source, interest);
    if (status < 0)
        sr_conn_fail(self, status);
}

void sr_conn_flush(struct sockref_conn *self)
{
    uint64_t queued = sr_outbuf_bytes(self->out), sent;
    bool blocked;
    int status = sr_outbuf_send(&self->out, self->source.fd, &blocked, &self->written);

    sent = queued - sr_outbuf_bytes(self->out);
    if (sent > 0)
        sr_conn_count_written(self, sent);
    if (status == -ETOOMANYREFS) /* others of this user have as many descriptors on their way */
        status = sr_conn_flush_later(self);
    if (status < 0)
        sr_conn_fail(self, status);
    else if (blocked)
        sr_conn_raise(self, SR_CONN_BLOCKED);
    if (self->written || (!self->out && sr_conn_has(self, SR_CONN_FULL)))
        sr_conn_touch(self);
}

void sr_conn_finish_ending(struct sockref_conn *self)
{
    if (self->out || !sr_conn_has(self, SR_CONN_ENDED) || sr_conn_has(self, SR_CONN_WAITING))
        return;
    if (sr_conn_has(self, SR_CONN_EOF_SEEN | SR_CONN_FINISHING)) {
        sr_conn_raise(self, SR_CONN_DEAD);
        sr_conn_touch(self);
    } else if (!sr_conn_has(self, SR_CONN_SHUT)) {
        sr_conn_raise(self, SR_CONN_SHUT);
        /* A peer that is gone is told by the next read. */
        (void)!sr_sys.shutdown(self->source.fd, SHUT_WR);
    }
}

/* With a place in the owner's list, and counted. The loop's own state is not touched. */
static struct sockref_conn *make(struct sr_conn_owner *owner)
{
    struct sockref_conn *self = sr_sys.malloc(sizeof *self);

    if (!self)
        return NULL;
    *self = (struct sockref_conn){
        .source = {.fd = -1, .kind = SR_SOURCE_CONN},
        .count = 1,
        .generation = owner->loop->generation,
        .owner = owner,
    };
    if (sr_conn_take_options(self, &owner->options) < 0) {
        free(self);
        return NULL;
    }
    sr_count_add(SR_COUNT_HANDLES, 1);
    sr_list_append(&owner->conns, &self->node);
    atomic_store_explicit(&owner->conn_count, owner->conn_count + 1, memory_order_relaxed);
    if (!sr_conn_has(self, SR_CONN_UNHELD))
        sr_loop_hold(owner->loop, 1);
    return self;
}

/* Out of all that counts it. */
static void unlink_it(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    if (!sr_conn_has(self, SR_CONN_UNHELD))
        sr_loop_hold(owner->loop, -1);
    sr_list_remove(&self->node);
    atomic_store_explicit(&owner->conn_count, owner->conn_count - 1, memory_order_relaxed);
    self->owner = NULL;
}

int sr_conn_make(struct sr_conn_owner *owner, int fd, struct sockref_conn **out_conn)
{
    struct sr_backend *backend = owner->loop->backend;
    struct sockref_conn *self = make(owner);
    int status;

    if (!self)
        return -ENOMEM;
    self->source.fd = fd;
    self->turn = (uint16_t)(owner->loop->turn - 1); /* so its first write goes out at once */
    status =
        backend->ops->set(backend, &self->source, sr_conn_has(self, SR_CONN_PAUSED) ? 0 : SR_READ);
    if (status < 0) {
        sr_conn_free_extra(self);
        unlink_it(self);
        sockref_conn_release(self);
        return status;
    }
    sr_conn_set_options(self);
    sr_conn_begin_timeout(self);
    *out_conn = self;
    return 0;
}

int sr_conn_make_unconnected(struct sr_conn_owner *owner, struct sr_connecting *connecting,
                             struct sockref_conn **out_conn)
{
    struct sockref_conn *self = make(owner);

    if (!self)
        return -ENOMEM;
    sr_conn_raise(self, SR_CONN_WAITING);
    if (connecting) {
        if (!sr_conn_extra(self)) {
            unlink_it(self);
            sockref_conn_release(self);
            return -ENOMEM;
        }
        sr_conn_raise(self, SR_CONN_CONNECTING);
        self->extra->connecting = connecting;
    }
    *out_conn = self;
    return 0;
}

void sr_conn_unmake(struct sockref_conn *self)
{
    sr_conn_free_extra(self);
    unlink_it(self);
    sr_conn_raise(self, SR_CONN_DEAD | SR_CONN_CLOSED);
    sockref_conn_release(self);
}

void sr_conn_tell_ready(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    if (!owner->handlers.on_ready || sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        return;
    owner->loop->ran++;
    owner->handlers.on_ready(self, owner->user);
}

void sr_conn_open(struct sockref_conn *self)
{
    self->turn = (uint16_t)(self->owner->loop->turn - 1);
    sr_conn_lower(self, SR_CONN_WAITING);
    sr_conn_set_options(self);
    sr_conn_touch(self); /* what is queued is sent, and reading begins, when the turn ends */
}

void sr_conn_connected(struct sockref_conn *self, int fd)
{
    struct sr_conn_owner *owner = self->owner;
    struct sr_traffic *traffic = &owner->loop->traffic;

    sr_tally_add(&traffic->connected, 1);
    sr_histogram_note(&traffic->connect, sr_clock_ns() - self->extra->connecting->began_ns);
    self->extra->connecting = NULL;
    self->source.fd = fd;
    sr_conn_lower(self, SR_CONN_CONNECTING);
    sr_conn_note_traffic(self);
    sr_conn_open(self);
    if (owner->handlers.on_connect) {
        owner->loop->ran++;
        owner->handlers.on_connect(self, owner->user);
        if (sr_conn_is_foreign(self))
            return;
    }
    sr_conn_tell_ready(self);
}

bool sr_conn_is_plain(const struct sockref_conn *self)
{
    return !sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED | SR_CONN_PAUSED | SR_CONN_EOF_SEEN |
                                  SR_CONN_TOUCHED) &&
           !self->out;
}

void sr_conn_event(struct sockref_conn *self, unsigned ready)
{
    if ((ready & SR_WRITE) && sr_conn_has(self, SR_CONN_BLOCKED) &&
        !sr_conn_has(self, SR_CONN_LATER)) {
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

/* Give back the lent pieces that are done with now; those that the callbacks add come later.
 * Returns false in a forked child. */
static bool tell_written(struct sockref_conn *self)
{
    struct sr_piece *last = self->written, *piece;

    do {
        piece = sr_written_take(&self->written);
        self->owner->loop->ran++;
        sr_piece_tell(piece);
        if (sr_conn_is_foreign(self))
            return false;
    } while (piece != last);
    return true;
}

/* What is known of a failure to connect is this thread's last error meanwhile. */
static void describe_error(struct sockref_conn *self)
{
    struct sr_connecting *connecting = self->extra ? self->extra->connecting : NULL;

    if (!connecting)
        return;
    sr_error_give(connecting->error);
    connecting->error = NULL;
}

static void tell_error(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    sr_conn_lower(self, SR_CONN_FAILED);
    sr_conn_raise(self, SR_CONN_ERROR_TOLD);
    if (!owner->handlers.on_error)
        return;
    describe_error(self);
    owner->loop->ran++;
    owner->handlers.on_error(self, self->status, owner->user);
}

static void give_up_connecting(struct sockref_conn *self)
{
    struct sr_connecting *connecting = self->extra ? self->extra->connecting : NULL;

    if (!connecting)
        return;
    self->extra->connecting = NULL;
    connecting->cancel(connecting);
}

/* So that the close is seen as a reset. Where the system refuses it is a close. */
static void linger_not(struct sockref_conn *self)
{
    struct linger none = {.l_onoff = 1};

    if (self->source.fd >= 0 && !self->owner->is_unix)
        (void)sr_sys.setsockopt(self->source.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

static void close_it(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;
    struct sr_backend *backend = owner->loop->backend;

    give_up_connecting(self);
    sr_conn_free_extra(self);
    backend->ops->set(backend, &self->source, 0);
    if (sr_conn_has(self, SR_CONN_RESETTING))
        linger_not(self);
    sr_fd_close(self->source.fd);
    self->source.fd = -1;
    sr_conn_raise(self, SR_CONN_CLOSED);
    if (owner->loop->guess == self)
        owner->loop->guess = NULL;
    if (owner->handlers.on_close) {
        owner->loop->ran++;
        owner->handlers.on_close(self, sr_conn_has(self, SR_CONN_ERROR_TOLD), owner->user);
    }
    if (sr_conn_is_foreign(self))
        return;
    unlink_it(self);
    owner->conn_gone(owner);
    sockref_conn_release(self);
}

/* Nothing is taken any more from now on, so this comes to an end. */
static void be_over(struct sockref_conn *self)
{
    sr_conn_raise(self, SR_CONN_DEAD);
    sr_outbuf_drop(self->out, sr_conn_has(self, SR_CONN_FAILED) ? self->status : SOCKREF_ECANCELED,
                   &self->written);
    self->out = NULL;
    while (self->written)
        if (!tell_written(self))
            return;
    if (sr_conn_has(self, SR_CONN_FAILED)) {
        tell_error(self);
        if (sr_conn_is_foreign(self))
            return;
    }
    close_it(self);
}

static bool is_over(const struct sockref_conn *self)
{
    return sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED);
}

/* Whether callbacks wrote or ended after that was looked at. */
static bool has_rest(const struct sockref_conn *self)
{
    if (self->written)
        return true;
    if (sr_conn_has(self, SR_CONN_WAITING))
        return false;
    if (self->out)
        return !sr_conn_has(self, SR_CONN_BLOCKED);
    return sr_conn_has(self, SR_CONN_FULL) ||
           (sr_conn_has(self, SR_CONN_ENDED) && !sr_conn_has(self, SR_CONN_SHUT));
}

/* TOUCHED stays up meanwhile, so that what callbacks do to the connection is seen here and not
 * listed again. */
void sr_conn_settle(struct sockref_conn *self)
{
    if (self->out && !is_over(self) && !sr_conn_has(self, SR_CONN_BLOCKED | SR_CONN_WAITING))
        sr_conn_flush(self);
    if (self->written && !is_over(self) && !tell_written(self))
        return;
    if (sr_conn_has(self, SR_CONN_FULL) && !self->out && !is_over(self)) {
        tell_drain(self);
        if (sr_conn_is_foreign(self))
            return;
    }
    if (!is_over(self))
        sr_conn_finish_ending(self);
    if (!is_over(self)) {
        if (!self->out)
            sr_conn_lower(self, SR_CONN_BLOCKED);
        sr_conn_adjust(self);
    }
    if (is_over(self)) {
        be_over(self);
        return;
    }
    sr_conn_lower(self, SR_CONN_TOUCHED);
    if (has_rest(self))
        sr_conn_touch(self); /* once more, after the others */
}

void sr_conn_forget(struct sockref_conn *self)
{
    sr_list_remove(&self->node);
    sr_outbuf_forget(self->out);
    sr_written_forget(&self->written);
    if (self->extra && self->extra->connecting)
        self->extra->connecting->forget(self->extra->connecting);
    free(self->extra);
    self->out = NULL;
    self->extra = NULL;
    sr_conn_raise(self, SR_CONN_DEAD | SR_CONN_CLOSED);
    self->owner = NULL;
    sockref_conn_release(self);
}
