/*
 * Writing. Bytes and lent pieces keep their order in one queue; the socket is tried first where
 * nothing is queued and nothing was written in this turn.
 */
#include "net/conn_state.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/outbuf.h"

#include <errno.h>
#include <limits.h>

#define WORTH_A_CALL 16384u /* a write of this size gains nothing from waiting for others */
#define MOST_FDS     64u

/* Returns how many bytes the socket took; fewer than all, without a failure, means it is full. */
static size_t send_now(struct sockref_conn *self, const void *data, size_t length)
{
    ssize_t sent;

    do {
        sent = sr_sys.send(self->source.fd, data, length, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (SR_LIKELY(sent > 0)) {
        sr_conn_count_written(self, (size_t)sent);
        return (size_t)sent;
    }
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        sr_conn_fail(self, -errno);
    return 0;
}

static bool may_send_now(const struct sockref_conn *self, size_t length)
{
    const struct sockref_loop *loop = self->owner->loop;

    if (self->out || length == 0 || sr_conn_has(self, SR_CONN_WAITING))
        return false;
    return !loop->in_turn || self->turn != (uint16_t)loop->turn || length >= WORTH_A_CALL;
}

/* The limit may be below the high-water mark, so nothing need have asked for on_drain yet. */
static SR_COLD int refuse_more(struct sockref_conn *self, uint64_t queued, size_t length)
{
    if (queued > 0)
        sr_conn_raise(self, SR_CONN_FULL);
    return sr_error_set(SOCKREF_ELIMIT, NULL,
                        "%zu bytes more would be queued than SOCKREF_OPT_MAX_BUFFERED allows; %s",
                        length, queued > 0 ? "wait for on_drain" : "write less at a time");
}

/* What a write does first: whether so much may be queued; and a queue that has grown is sent. */
static int make_room(struct sockref_conn *self, size_t length)
{
    uint64_t queued = sr_outbuf_bytes(self->out), most = self->owner->max_buffered;

    if (queued > most || length > most - queued)
        return refuse_more(self, queued, length);
    if (self->out && !sr_conn_has(self, SR_CONN_BLOCKED | SR_CONN_WAITING) &&
        queued + length > self->owner->options.high_water)
        sr_conn_flush(self);
    return 0;
}

/* Send of a new write what the socket takes. Fewer than all, without a failure: it is full, or is
 * not to be asked now. */
static size_t send_first(struct sockref_conn *self, const void *data, size_t length)
{
    size_t sent;

    if (!may_send_now(self, length))
        return 0;
    self->turn = (uint16_t)self->owner->loop->turn;
    sent = send_now(self, data, length);
    if (sent < length && !sr_conn_has(self, SR_CONN_FAILED))
        sr_conn_raise(self, SR_CONN_BLOCKED);
    return sent;
}

/* Something was queued. */
static int queued(struct sockref_conn *self)
{
    sr_conn_changed(self);
    if (!sr_conn_has(self, SR_CONN_BLOCKED | SR_CONN_WAITING))
        sr_conn_touch(self);
    if (sr_outbuf_bytes(self->out) <= self->owner->options.high_water &&
        sr_outbuf_fds(self->out) < MOST_FDS)
        return 0;
    sr_conn_raise(self, SR_CONN_FULL);
    return SOCKREF_WRITE_FULL;
}

/* Nothing could be queued for want of memory. Returns whether that breaks the stream, because a
 * part is gone. */
static bool is_broken(struct sockref_conn *self, bool begun)
{
    if (!self->out)
        sr_conn_lower(self, SR_CONN_BLOCKED);
    if (begun)
        sr_conn_fail(self, -ENOMEM);
    return begun;
}

static int check_write(const struct sockref_conn *self, const void *data, size_t length)
{
    int status = sr_conn_check(self, SR_CONN_DEAD | SR_CONN_ENDED);

    if (SR_UNLIKELY(status == 0 && !data && length > 0))
        return sr_error_argument("data is NULL, but length is not 0");
    return status;
}

int sockref_conn_write(sockref_conn *self, const void *data, size_t length)
{
    int status = check_write(self, data, length);
    size_t sent;

    if (status < 0 || length == 0)
        return status;
    if (sr_conn_has(self, SR_CONN_FAILED))
        return SOCKREF_WRITE_FULL; /* so that who writes as long as he may comes to an end */
    status = make_room(self, length);
    if (status < 0)
        return status;
    sent = sr_conn_has(self, SR_CONN_FAILED) ? 0 : send_first(self, data, length);
    if (sent == length)
        return 0;
    if (sr_conn_has(self, SR_CONN_FAILED))
        return SOCKREF_WRITE_FULL;
    if (sr_outbuf_add(&self->out, (const unsigned char *)data + sent, length - sent) < 0)
        return is_broken(self, sent > 0) ? SOCKREF_WRITE_FULL : sr_error_no_memory();
    return queued(self);
}

int64_t sockref_conn_try_write(sockref_conn *self, const void *data, size_t length)
{
    int status = check_write(self, data, length);

    if (status < 0 || length == 0 || self->out ||
        sr_conn_has(self, SR_CONN_FAILED | SR_CONN_WAITING))
        return status;
    self->turn = (uint16_t)self->owner->loop->turn;
    return (int64_t)send_now(self, data, length);
}

/* Nothing of a lent piece is to be sent any more. Where that is a failure, nothing of those before
 * it is either, and they come back before it. */
static int give_back(struct sockref_conn *self, struct sr_piece *piece, int status)
{
    sr_outbuf_drop(self->out, status, &self->written);
    self->out = NULL;
    sr_written_add(&self->written, piece, status);
    sr_conn_touch(self);
    return status == 0 ? 0 : SOCKREF_WRITE_FULL;
}

int sockref_conn_write_own(sockref_conn *self, const void *data, size_t length,
                           sockref_written_fn on_written, void *user)
{
    int status = check_write(self, data, length);
    struct sr_piece *piece;
    size_t sent;

    if (status == 0 && !on_written)
        return sr_error_argument("on_written is NULL");
    if (status == 0 && !sr_conn_has(self, SR_CONN_FAILED))
        status = make_room(self, length);
    if (status < 0)
        return status;
    piece = sr_piece_lend(data, length, on_written, user);
    if (!piece)
        return sr_error_no_memory();
    if (sr_conn_has(self, SR_CONN_FAILED))
        return give_back(self, piece, self->status);
    sent = send_first(self, data, length);
    if (sr_conn_has(self, SR_CONN_FAILED))
        return give_back(self, piece, self->status);
    if (sent == length && !self->out)
        return give_back(self, piece, 0);
    sr_piece_skip(piece, sent);
    if (sr_outbuf_append(&self->out, piece) < 0) {
        if (is_broken(self, sent > 0))
            return give_back(self, piece, -ENOMEM);
        sr_piece_free(piece);
        return sr_error_no_memory();
    }
    return queued(self);
}

/* Queue a descriptor that is ours by now. Takes it on success only. */
static int queue_fd(struct sockref_conn *self, int fd, const void *data, size_t length)
{
    struct sr_piece *piece = sr_piece_with_fd(data, length, fd);

    if (!piece)
        return sr_error_no_memory();
    if (sr_outbuf_append(&self->out, piece) < 0) {
        sr_piece_free(piece);
        return sr_error_no_memory();
    }
    return queued(self);
}

int sockref_conn_send_fd(sockref_conn *self, int fd, const void *data, size_t length)
{
    int status = check_write(self, data, length), copy;

    if (status == 0 && length == 0)
        return sr_error_argument("a descriptor goes with at least one byte");
    if (status < 0)
        return status;
    if (sr_conn_has(self, SR_CONN_FAILED))
        return SOCKREF_WRITE_FULL;
    if (!self->owner->is_unix)
        return sr_error_set(SOCKREF_EUNSUPPORTED, NULL, "descriptors go over Unix sockets only");
    if (sr_outbuf_fds(self->out) >= MOST_FDS)
        return sr_error_set(SOCKREF_ELIMIT, NULL, "%u descriptors are queued: wait for on_drain",
                            MOST_FDS);
    status = make_room(self, length);
    if (status < 0)
        return status;
    copy = sr_fd_duplicate(fd);
    if (copy < 0)
        return sr_error_system(-copy, "fcntl", NULL);
    status = queue_fd(self, copy, data, length);
    if (status < 0)
        sr_fd_close(copy);
    return status;
}
