/* A connection: what the loop does with one. The record is small, for there may be many. */
#ifndef SR_NET_CONN_H
#define SR_NET_CONN_H

#include "net/backend.h"
#include "net/loop.h"

#include <sockref/net.h>

/* Whose connections these are: the handlers, and who is told when one is over. */
struct sr_conn_owner {
    struct sockref_loop *loop;
    sockref_handlers handlers;
    void *user;
    uint64_t max_buffered;
    struct sr_list conns;
    uint64_t conn_count;
    void (*conn_gone)(struct sr_conn_owner *self);
};

struct sockref_conn {
    struct sr_source source;
    _Atomic uint32_t count; /* handles; the loop has one until on_close has returned */
    uint32_t turn;          /* in which it was written to last */
    unsigned generation;
    uint16_t flags;
    int16_t status;              /* why it failed; every status fits */
    struct sr_conn_owner *owner; /* NULL when it is over */
    void *data;
    struct sr_list node; /* of the owner's */
    struct sr_outbuf *out;
    struct sockref_conn *next; /* of the loop's touched ones */
};

/* Make one of an accepted descriptor and read from it; takes fd on success only. Returns 0 or a
 * status. */
int sr_conn_make(struct sr_conn_owner *owner, int fd, struct sockref_conn **out_conn);
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
