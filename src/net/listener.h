/* A listener in a loop: accepts the connections of one life of a name and owns them. */
#ifndef SR_NET_LISTENER_H
#define SR_NET_LISTENER_H

#include "net/conn.h"
#include "net/loop.h"
#include "net/timer.h"
#include "ref/life.h"

struct sr_listener {
    struct sr_conn_owner owner; /* conns, handlers */
    struct sr_service service;  /* what the life knows of it */
    struct sr_source source;
    struct sr_task task;
    struct sr_timer timer; /* ends a pause */
    struct sr_list node;   /* of the loop's listeners */
    struct sr_list stopping;
    struct sr_life *life; /* counted */
    sockref_registry *registry;
    _Atomic unsigned count; /* the loop, and the life until stop was called or it was detached */
    _Atomic bool stop_asked;
    uint64_t since_ns;          /* it was made */
    sr_tally accepted, refused; /* written by the loop's thread */
    struct sr_mutex accepting;  /* a leaf, held by the loop in an accept call */
    /* Guarded by the loop's mutex, as life is until it is concluded. */
    bool detached;  /* by its loop: stop never comes */
    bool destroys;  /* its connections end with it */
    bool finished;  /* it has left the registry */
    bool concluded; /* nothing of it is left but the record */
    bool moved;     /* another socket has the number */

    /* Of sr_accept_is_held_back(), guarded by the registry's mutex. */
    uint64_t late_ns;   /* since when somebody was seen waiting; 0: nobody was */
    uint64_t late_turn; /* the loop's turn then */

    _Atomic bool begun;   /* these two are read by any thread */
    _Atomic bool starved; /* paused because descriptors or memory ran out */
    bool ending;
    bool destroyed; /* its connections are */
    unsigned backoff_ms;
};

/*
 * Make one with a place in a loop that sr_service_enter() gave; takes the loop on success only.
 * Returns 0 or a described status.
 */
int sr_listener_make(struct sockref_loop *loop, const struct sr_handlers *handlers, void *user,
                     struct sr_listener **out_listener);
/* Give back one that was never attached; or one that has not begun, of a life that nobody has seen.
 * on_stop does not come. */
void sr_listener_drop(struct sr_listener *self);
void sr_listener_retract(struct sr_listener *self, struct sr_life *life);
/* It was taken from its life, and is to accept no more. Any thread. */
void sr_listener_part(struct sr_service *service, bool destroy);
/*
 * It is attached to a life, which is counted for it: begin to accept, in the loop's next turn.
 * Returns false where the loop has ended: then it is gone, it never was served, and on_stop does
 * not come.
 */
bool sr_listener_begin(struct sr_listener *self, struct sr_life *life);

void sr_listener_event(struct sockref_loop *loop, struct sr_source *source);
/* The turn ends: be done with those that end and have no connections left. */
void sr_listener_conclude(struct sockref_loop *loop);
/* The loop ends: detach and stop all. */
void sr_listener_stop_all(struct sockref_loop *loop);
/* In a forked child: only the loop's memory goes. */
void sr_listener_forget_all(struct sockref_loop *loop);

#endif
