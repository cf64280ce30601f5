/*
 * Connections.
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
#include "net/conn.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/count.h"
#include "net/outbuf.h"
#include "ref/fork.h"

#include <errno.h>
#include <stdlib.h>

#define HIGH_WATER   65536u /* more in the queue than this, and a write tells SOCKREF_WRITE_FULL */
#define WORTH_A_CALL 16384u /* a write of this size gains nothing from waiting for others */

enum {
    DEAD = 1 << 0,
    CLOSED = 1 << 1,
    PAUSED = 1 << 2,
    EOF_SEEN = 1 << 3,
    ENDED = 1 << 4,
    SHUT = 1 << 5,
    BLOCKED = 1 << 6, /* the socket is full: wait until it is writable */
    FULL = 1 << 7,    /* on_drain is owed */
    TOUCHED = 1 << 8, /* on the loop's list, or being settled */
    FAILED = 1 << 9,  /* on_error is owed; status tells why */
    ERROR_TOLD = 1 << 10
};

static bool has(const struct sockref_conn *self, unsigned flags)
{
    return (self->flags & flags) != 0;
}

static void raise(struct sockref_conn *self, unsigned flags)
{
    self->flags |= (uint16_t)flags;
}

static void lower(struct sockref_conn *self, unsigned flags)
{
    self->flags &= (uint16_t)~flags;
}

/* In a forked child, perhaps inside a callback that forked: nothing of the parent's may be touched.
 */
static bool is_in_child(const struct sockref_conn *self)
{
    return self->generation != atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

/* Have it settled. Outside a turn that is the next one, which must come. */
static void touch(struct sockref_conn *self)
{
    struct sockref_loop *loop = self->owner->loop;

    if (has(self, TOUCHED))
        return;
    raise(self, TOUCHED);
    self->next = NULL;
    if (loop->touched)
        loop->touched_last->next = self;
    else
        loop->touched = self;
    loop->touched_last = self;
    if (!loop->in_turn)
        sr_backend_wake(loop->backend);
}

static void fail(struct sockref_conn *self, int status)
{
    if (has(self, DEAD | FAILED))
        return;
    raise(self, FAILED);
    self->status = (int16_t)status;
    touch(self);
}

/* Bring what the loop waits for in line with what we want to know. */
static void adjust(struct sockref_conn *self)
{
    unsigned interest = 0;
    struct sr_backend *backend = self->owner->loop->backend;
    int status;

    if (!has(self, PAUSED | EOF_SEEN))
        interest |= SR_READ;
    if (has(self, BLOCKED))
        interest |= SR_WRITE;
    if (interest == self->source.interest)
        return;
    status = backend->ops->set(backend, &self->source, interest);
    if (status < 0)
        fail(self, status);
}

/* After a change of what we wait for: at the end of the turn, or at once when there is none. */
static void changed(struct sockref_conn *self)
{
    if (self->owner->loop->in_turn)
        touch(self);
    else
        adjust(self);
}

static void flush(struct sockref_conn *self)
{
    bool blocked;
    int status = sr_outbuf_send(&self->out, self->source.fd, &blocked);

    if (status < 0)
        fail(self, status);
    else if (blocked)
        raise(self, BLOCKED);
    if (!self->out && has(self, FULL))
        touch(self);
}

/* Returns how many bytes the socket took; what was left over, and no failure, means that it is
 * full. */
static size_t send_now(struct sockref_conn *self, const void *data, size_t length)
{
    ssize_t sent;

    do {
        sent = sr_sys.send(self->source.fd, data, length, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (SR_LIKELY(sent == (ssize_t)length))
        return length;
    if (sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK)
        raise(self, BLOCKED);
    else
        fail(self, -errno);
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
        lower(self, self->out ? 0u : (unsigned)BLOCKED);
        if (!begun)
            return sr_error_no_memory();
        fail(self, -ENOMEM); /* a part is gone, so the stream is broken */
        return 0;
    }
    changed(self);
    if (!has(self, BLOCKED))
        touch(self);
    if (sr_outbuf_bytes(self->out) <= HIGH_WATER)
        return 0;
    raise(self, FULL);
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
    if (SR_UNLIKELY(is_in_child(self)))
        return sr_error_set(SOCKREF_EFORKED, NULL,
                            "the connection belongs to the parent of this process");
    if (SR_UNLIKELY(has(self, refusing)))
        return refuse_closed();
    return 0;
}

int sockref_conn_write(sockref_conn *self, const void *data, size_t length)
{
    int status = check(self, DEAD | ENDED);
    uint64_t queued, most;
    size_t sent = 0;

    if (status < 0)
        return status;
    if (length == 0 || has(self, FAILED))
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
    if (self->out && !has(self, BLOCKED) && queued + length > HIGH_WATER) {
        flush(self);
        if (has(self, FAILED))
            return 0;
    }
    if (may_send_now(self, length)) {
        self->turn = self->owner->loop->turn;
        sent = send_now(self, data, length);
        if (sent == length || has(self, FAILED))
            return 0;
    }
    return queue(self, (const unsigned char *)data + sent, length - sent, sent > 0);
}

/* Our side is done: tell the kernel, or, when the peer's is done as well, be done with it all. */
static void finish_ending(struct sockref_conn *self)
{
    if (self->out || !has(self, ENDED))
        return;
    if (has(self, EOF_SEEN)) {
        raise(self, DEAD);
        touch(self);
    } else if (!has(self, SHUT)) {
        raise(self, SHUT);
        (void)!sr_sys.shutdown(self->source.fd,
                               SHUT_WR); /* a peer that is gone is told by the next read */
    }
}

int sockref_conn_end(sockref_conn *self)
{
    int status = check(self, DEAD);

    if (status < 0 || has(self, ENDED | FAILED))
        return status;
    raise(self, ENDED);
    if (self->owner->loop->in_turn)
        touch(self);
    else
        finish_ending(self);
    return 0;
}

int sockref_conn_pause(sockref_conn *self)
{
    int status = check(self, DEAD);

    if (status < 0 || has(self, PAUSED))
        return status;
    raise(self, PAUSED);
    changed(self);
    return 0;
}

int sockref_conn_resume(sockref_conn *self)
{
    int status = check(self, DEAD);

    if (status < 0 || !has(self, PAUSED))
        return status;
    lower(self, PAUSED);
    changed(self);
    return 0;
}

void sockref_conn_destroy(sockref_conn *self)
{
    if (!self || has(self, DEAD) || is_in_child(self))
        return;
    raise(self, DEAD);
    lower(self, FAILED);
    sr_outbuf_free(self->out);
    self->out = NULL;
    touch(self);
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
    return !has(self, DEAD | FAILED | PAUSED | EOF_SEEN | TOUCHED) && !self->out;
}

static void tell_end(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    raise(self, EOF_SEEN);
    touch(self);
    if (owner->handlers.on_end) {
        owner->loop->ran++;
        owner->handlers.on_end(self, owner->user);
    } else if (!has(self, ENDED)) {
        raise(self, ENDED);
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
    fail(self, -errno);
    return true;
}

void sr_conn_event(struct sockref_conn *self, unsigned ready)
{
    if ((ready & SR_WRITE) && has(self, BLOCKED)) {
        lower(self, BLOCKED);
        touch(self);
    }
    if ((ready & SR_READ) && !has(self, DEAD | FAILED | PAUSED | EOF_SEEN))
        sr_conn_read(self);
}

static void tell_drain(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    lower(self, FULL);
    if (!owner->handlers.on_drain)
        return;
    owner->loop->ran++;
    owner->handlers.on_drain(self, owner->user);
}

static void tell_error(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;

    lower(self, FAILED);
    raise(self, DEAD | ERROR_TOLD);
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
    raise(self, CLOSED);
    if (owner->loop->guess == self)
        owner->loop->guess = NULL;
    if (owner->handlers.on_close) {
        owner->loop->ran++;
        owner->handlers.on_close(self, has(self, ERROR_TOLD), owner->user);
    }
    if (is_in_child(self))
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
    if (self->out && !has(self, DEAD | FAILED | BLOCKED))
        flush(self);
    if (has(self, FULL) && !self->out && !has(self, DEAD | FAILED)) {
        tell_drain(self);
        if (is_in_child(self))
            return;
    }
    if (!has(self, DEAD | FAILED))
        finish_ending(self);
    if (!has(self, DEAD | FAILED)) {
        if (!self->out)
            lower(self, BLOCKED);
        adjust(self);
    }
    if (has(self, FAILED)) {
        tell_error(self);
        if (is_in_child(self))
            return;
    }
    if (has(self, DEAD)) {
        close_it(self);
        return;
    }
    lower(self, TOUCHED);
    if ((self->out && !has(self, BLOCKED)) ||
        (!self->out && has(self, FULL | ENDED) && !has(self, SHUT)))
        touch(self); /* on_drain wrote or ended: once more, after the others */
}

void sr_conn_forget(struct sockref_conn *self)
{
    sr_list_remove(&self->node);
    sr_outbuf_free(self->out);
    self->out = NULL;
    raise(self, DEAD | CLOSED);
    self->owner = NULL;
    sockref_conn_release(self);
}
