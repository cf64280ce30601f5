/* What the files of a connection share: its flags, and what is done to it in a turn. */
#ifndef SR_NET_CONN_STATE_H
#define SR_NET_CONN_STATE_H

#include "base/attr.h"
#include "base/clock.h"
#include "net/conn.h"
#include "ref/fork.h"

enum {
    SR_CONN_DEAD = 1 << 0,
    SR_CONN_CLOSED = 1 << 1,
    SR_CONN_PAUSED = 1 << 2,
    SR_CONN_EOF_SEEN = 1 << 3,
    SR_CONN_ENDED = 1 << 4,
    SR_CONN_SHUT = 1 << 5,
    SR_CONN_BLOCKED = 1 << 6, /* the socket is full: wait until it is writable */
    SR_CONN_FULL = 1 << 7,    /* on_drain is owed */
    SR_CONN_TOUCHED = 1 << 8, /* on the loop's list, or being settled */
    SR_CONN_FAILED = 1 << 9,  /* on_error is owed; status tells why */
    SR_CONN_ERROR_TOLD = 1 << 10,
    SR_CONN_WAITING = 1 << 11,    /* on_ready is to come: nothing is read or sent yet */
    SR_CONN_CONNECTING = 1 << 12, /* it never was connected; stays up after a failure */
    SR_CONN_FINISHING = 1 << 13,  /* to be destroyed when it has ended */
    SR_CONN_RESETTING = 1 << 14,  /* its close is to be a reset */
    SR_CONN_UNHELD = 1 << 15,
    SR_CONN_TIMED = 1 << 16, /* traffic is to be noted, for the time-out in extra */
    /* Wanted, and set when there is a descriptor. */
    SR_CONN_NODELAY = 1 << 17,
    SR_CONN_KEEPALIVE = 1 << 18,
    SR_CONN_LATER = 1 << 19 /* BLOCKED until the timer in extra, whatever the socket says */
};

struct sr_conn_extra {
    struct sockref_conn *conn;
    struct sr_connecting *connecting; /* until it is connected */
    struct sr_timer timer;            /* of inactivity, and of LATER */
    uint64_t last_ns;                 /* when a byte came or went */
    unsigned timeout_ms;              /* 0: none */
    unsigned keepalive_delay_ms;
};

static inline bool sr_conn_has(const struct sockref_conn *self, unsigned flags)
{
    return (self->flags & flags) != 0;
}

static inline void sr_conn_raise(struct sockref_conn *self, unsigned flags)
{
    self->flags |= flags;
}

static inline void sr_conn_lower(struct sockref_conn *self, unsigned flags)
{
    self->flags &= ~flags;
}

/* In a forked child, perhaps inside a callback that forked: nothing here may be touched. */
static inline bool sr_conn_is_foreign(const struct sockref_conn *self)
{
    return self->generation != atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

/* What every call on a connection begins with; refusing tells which flags do. Returns 0 or a
 * described status. */
int sr_conn_refuse(const struct sockref_conn *self);

static inline int sr_conn_check(const struct sockref_conn *self, unsigned refusing)
{
    if (SR_UNLIKELY(!self || sr_conn_is_foreign(self) || sr_conn_has(self, refusing)))
        return sr_conn_refuse(self);
    return 0;
}

/* Have it settled when the turn ends. Outside a turn that is the next one, which must come. */
void sr_conn_touch(struct sockref_conn *self);
/* Bring what the loop waits for in line with what we want to know. */
void sr_conn_adjust(struct sockref_conn *self);
/* The same, when the turn ends if there is one. */
void sr_conn_changed(struct sockref_conn *self);
/* Send what is queued, as far as the socket takes it. */
void sr_conn_flush(struct sockref_conn *self);
/* conn_options.c: try that again in a moment. Returns 0 or -ENOMEM. */
int sr_conn_flush_later(struct sockref_conn *self);
/* Our side is done: tell the kernel, or, when the peer's is done as well, be done with it all. */
void sr_conn_finish_ending(struct sockref_conn *self);

/* conn_options.c: the extra record, made if need be; NULL without memory. */
struct sr_conn_extra *sr_conn_extra(struct sockref_conn *self);
void sr_conn_free_extra(struct sockref_conn *self);
/* Options of the handlers: note them for a new connection, which returns 0 or -ENOMEM; set what can
 * be set once there is a descriptor; begin to count inactivity. */
int sr_conn_take_options(struct sockref_conn *self, const sockref_conn_options *options);
void sr_conn_set_options(struct sockref_conn *self);
void sr_conn_begin_timeout(struct sockref_conn *self);

/* A byte came or went: now, and not when the turn began, for the callbacks of a turn may take
 * longer than a time-out. */
static inline void sr_conn_note_traffic(struct sockref_conn *self)
{
    if (SR_UNLIKELY(sr_conn_has(self, SR_CONN_TIMED)))
        self->extra->last_ns = sr_clock_ns();
}

static inline void sr_conn_count_read(struct sockref_conn *self, size_t length)
{
    self->bytes_read += length;
    sr_tally_add(&self->owner->bytes_read, length);
    sr_tally_add(&self->owner->loop->traffic.bytes_read, length);
    sr_conn_note_traffic(self);
}

static inline void sr_conn_count_written(struct sockref_conn *self, size_t length)
{
    self->bytes_written += length;
    sr_tally_add(&self->owner->bytes_written, length);
    sr_tally_add(&self->owner->loop->traffic.bytes_written, length);
    sr_conn_note_traffic(self);
}

#endif
