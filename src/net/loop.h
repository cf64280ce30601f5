/*
 * A loop: a set of descriptors, timers and posted tasks, and whose callbacks run where it is
 * dispatched.
 *
 * Thread: only what stands below the mutex, and what is atomic, is touched by other threads than
 * the loop's. A loop is counted, because what is posted to it may come from a thread that knows
 * nothing of its end: a loop that was freed stays as an empty record until the last of those lets
 * go.
 */
#ifndef SR_NET_LOOP_H
#define SR_NET_LOOP_H

#include "base/list.h"
#include "base/mutex.h"
#include "net/backend.h"
#include "net/timer.h"
#include "net/traffic.h"

#include <sockref/net.h>
#include <stdatomic.h>
#include <stdint.h>

#define SR_LOOP_BUFFER     65536u      /* what one read takes at most */
#define SR_LOOP_STARVED_NS 1000000000u /* a call that has waited for longer */

/* Something to do on the loop's thread; embedded in what it is for, so that posting never fails. */
struct sr_task {
    struct sr_list node;
    bool posted;  /* guarded by the loop's mutex, */
    bool is_call; /* as this */
    void (*run)(struct sr_task *self);
};

/* One that calls the program, which waits for it. */
struct sr_call {
    struct sr_task task;
    struct sr_list waiting; /* of the loop's calls, with its mutex held */
    uint64_t since_ns;
};

struct sockref_loop {
    struct sr_backend *backend;
    bool own; /* driven by the service thread */
    unsigned generation;
    _Atomic unsigned count;
    _Atomic bool dispatching;
    _Atomic bool has_tasks;
    _Atomic uint64_t holds;
    _Atomic bool woken; /* sockref_loop_wake() was called: the next wait is to return */

    /* Loop thread. */
    bool in_turn;
    sr_tally turn; /* counts them */
    int ran;       /* callbacks of this dispatch */
    uint64_t began_ns;
    struct sr_timers timers;
    struct sockref_conn *touched, *touched_last; /* to be settled when the turn ends */
    struct sr_list stopping;    /* listeners that end and have no connections left */
    unsigned paused;            /* listeners that wait for a descriptor */
    int spare;                  /* a descriptor to answer with when there are no others */
    struct sockref_conn *guess; /* had the only event of the last turns */
    unsigned singles, guesses;

    struct sr_traffic traffic; /* written by the loop's thread */
    struct sr_list node;       /* of all loops: traffic.c */

    struct sr_mutex mutex; /* guards what follows */
    struct sr_list tasks;
    struct sr_list calls; /* those of the tasks that call the program, oldest first */
    uint64_t calls_waiting;
    struct sr_list listeners;
    struct sr_list solos; /* connections that no listener accepted */
    struct sr_list kept;  /* handlers that wait for a name to be owned */
    bool closing;         /* takes nothing new */
    bool ended;           /* runs nothing any more */

    unsigned char buffer[SR_LOOP_BUFFER]; /* what was read is lent from here */
};

/* Make one; own: it will be driven by the service thread. Returns 0 or a described status. */
int sr_loop_make(bool own, struct sockref_loop **out_loop);
void sr_loop_acquire(struct sockref_loop *self);
void sr_loop_release(struct sockref_loop *self);
bool sr_loop_is_foreign(const struct sockref_loop *self); /* the parent's, in a forked child */
int sr_loop_refuse_foreign(void);                         /* SOCKREF_EFORKED, described */

/* Have a task run in the loop's next turn; any thread. Returns false if the loop runs nothing any
 * more. */
bool sr_loop_post(struct sockref_loop *self, struct sr_task *task) SR_EXCLUDES(self->mutex);
bool sr_loop_post_locked(struct sockref_loop *self, struct sr_task *task) SR_REQUIRES(self->mutex);
/* The same for one that calls the program. It may be posted as a mere task before. */
bool sr_loop_post_call(struct sockref_loop *self, struct sr_call *call) SR_EXCLUDES(self->mutex);
void sr_loop_unpost(struct sockref_loop *self, struct sr_task *task);
/* A task that was posted runs now, or never. */
void sr_loop_take_locked(struct sockref_loop *self, struct sr_task *task) SR_REQUIRES(self->mutex);

/* One more, or one less, of what sockref_loop_hold_count() counts; any thread. */
static inline void sr_loop_hold(struct sockref_loop *self, int change)
{
    atomic_fetch_add_explicit(&self->holds, (uint64_t)(int64_t)change, memory_order_relaxed);
}

/* This thread runs callbacks between the two; they nest. */
void sr_loop_enter(void);
void sr_loop_leave(void);
bool sr_loop_in_callback(void);

/* reactor.c: run what is due; and end the turn: settle what was touched in it. */
int sr_reactor_dispatch(struct sockref_loop *self, int timeout_ms);
void sr_reactor_run_tasks(struct sockref_loop *self);
void sr_reactor_settle(struct sockref_loop *self, unsigned most);
/* Whether an event of a source is still to come: a turn takes a chunk of those that are ready, and
 * its timers may be due long since where the loop stood still. */
bool sr_reactor_is_ready(const struct sr_source *source);

#endif
