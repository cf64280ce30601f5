/* What the two files of a connection share: its flags, and what is done to it in a turn. */
#ifndef SR_NET_CONN_STATE_H
#define SR_NET_CONN_STATE_H

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
    SR_CONN_ERROR_TOLD = 1 << 10
};

static inline bool sr_conn_has(const struct sockref_conn *self, unsigned flags)
{
    return (self->flags & flags) != 0;
}

static inline void sr_conn_raise(struct sockref_conn *self, unsigned flags)
{
    self->flags |= (uint16_t)flags;
}

static inline void sr_conn_lower(struct sockref_conn *self, unsigned flags)
{
    self->flags &= (uint16_t)~flags;
}

/* In a forked child, perhaps inside a callback that forked: nothing here may be touched. */
static inline bool sr_conn_is_foreign(const struct sockref_conn *self)
{
    return self->generation != atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

/* Have it settled when the turn ends. Outside a turn that is the next one, which must come. */
void sr_conn_touch(struct sockref_conn *self);
/* It is broken: on_error, then on_close. */
void sr_conn_fail(struct sockref_conn *self, int status);
/* Bring what the loop waits for in line with what we want to know. */
void sr_conn_adjust(struct sockref_conn *self);
/* Send what is queued, as far as the socket takes it. */
void sr_conn_flush(struct sockref_conn *self);
/* Our side is done: tell the kernel, or, when the peer's is done as well, be done with it all. */
void sr_conn_finish_ending(struct sockref_conn *self);

#endif
