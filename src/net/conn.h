/* A connection: what the loop does with one. The record is small, for there may be many. */
#ifndef SR_NET_CONN_H
#define SR_NET_CONN_H

#include "net/backend.h"
#include "net/handlers.h"
#include "net/loop.h"

#include <sockref/net.h>

/* Whose connections these are: the handlers, and who is told when one is over. */
struct sr_conn_owner {
    struct sockref_loop *loop;
    sockref_handlers handlers;
    sockref_conn_options options;
    void *user;
    uint64_t max_buffered;
    bool is_unix; /* their sockets are */
    struct sr_list conns;
    _Atomic uint64_t conn_count; /* written by the loop's thread only, as these are */
    sr_tally bytes_read, bytes_written;
    /* The owner itself may go in it. */
    void (*conn_gone)(struct sr_conn_owner *self);
};

struct sr_conn_extra;
struct sr_error;
struct sr_outbuf;
struct sr_piece;

struct sockref_conn {
    struct sr_source source; /* fd is -1 before the connection is made, and when it is over */
    _Atomic uint32_t count;  /* handles; the loop has one until on_close has returned */
    uint16_t turn;           /* in which it was written to last */
    int16_t status;          /* why it failed; every status fits */
    unsigned generation;
    uint32_t flags;
    struct sr_conn_owner *owner; /* NULL when it is over */
    void *data;
    uint64_t bytes_read, bytes_written;
    struct sr_outbuf *out; /* what is queued, or NULL */
    /* What few look at. */
    struct sockref_conn *next;   /* of the loop's touched ones */
    struct sr_list node;         /* of the owner's */
    struct sr_piece *written;    /* lent ones that are to be given back: see outbuf.h */
    struct sr_conn_extra *extra; /* what few have, or NULL: see conn_state.h */
};

/*
 * Who makes the connection of a record that has none yet.
 *
 * begin comes once, on the loop's thread in its next turn, unless the connection is over before.
 * Then exactly one of two things happens, both on the loop's thread:
 *
 * - sr_conn_connected() takes a connected socket: cancel never comes;
 * - the connection is over: destroyed by its user, the loop is freed, or sr_conn_fail() was called
 *   with the reason. cancel comes when that is settled, before on_close, so that descriptors and
 *   timers can be given back; from then on the record of the connection is not to be touched.
 *
 * Handlers may be called in begin and whenever a turn runs (owner->handlers.on_attempt, loop->ran
 * counts them; sr_loop_is_foreign() afterwards tells that one forked).
 */
struct sr_connecting {
    bool is_unix;      /* what the socket will be */
    uint64_t began_ns; /* when it was asked for */
    void (*begin)(struct sr_connecting *self, struct sockref_conn *conn);
    void (*cancel)(struct sr_connecting *self);
    /* In a forked child, in place of cancel: the memory goes, and nothing else is touched. */
    void (*forget)(struct sr_connecting *self);
    const sockref_address *address; /* what is being tried, or NULL */
    struct sr_error *error;         /* describes the failure, for on_error; owned, or NULL */
};

/* Make one of an accepted descriptor and read from it; takes fd on success only. Returns 0 or a
 * status. */
int sr_conn_make(struct sr_conn_owner *owner, int fd, struct sockref_conn **out_conn);
/* Make one without a descriptor, of which the loop does not know yet. Returns 0 or -ENOMEM. */
int sr_conn_make_unconnected(struct sr_conn_owner *owner, struct sr_connecting *connecting,
                             struct sockref_conn **out_conn);
/* Take back one that the loop never knew of, and the loop's handle. */
void sr_conn_unmake(struct sockref_conn *self);
/* Its descriptor is there, and the loop's thread has it. */
void sr_conn_open(struct sockref_conn *self);
/* One that is not over has a descriptor now, which this takes: tell on_connect and on_ready, send
 * what is queued. */
void sr_conn_connected(struct sockref_conn *self, int fd);
/* It is broken: on_error, then on_close, when the turn ends. */
void sr_conn_fail(struct sockref_conn *self, int status);
/* Tell that it can be used. */
void sr_conn_tell_ready(struct sockref_conn *self);

void sr_conn_event(struct sockref_conn *self, unsigned ready);
/* Read once. Returns whether there was something. */
bool sr_conn_read(struct sockref_conn *self);
/* Whether it is open, read from, and has nothing to write. */
bool sr_conn_is_plain(const struct sockref_conn *self);
/* The turn ends: flush, tell what is to be told, and close if it is over. */
void sr_conn_settle(struct sockref_conn *self);
/* In a forked child: the loop's memory goes, and its handle. */
void sr_conn_forget(struct sockref_conn *self);

#endif
