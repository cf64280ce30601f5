/*
 * One dispatch: turns of at most a chunk of events each, until there is no more or enough was done
 * for the host to have its turn again.
 *
 * A turn is: events, timers, tasks, then settling what they touched. Nothing that an event of the
 * turn could point to is freed before the settling, so any callback may destroy anything.
 */
#include "net/loop.h"

#include "base/clock.h"
#include "base/sys.h"
#include "net/conn.h"
#include "net/connect.h"
#include "net/fdwatch.h"
#include "net/listener.h"

#include <errno.h>
#include <limits.h>

#define CHUNK       64  /* events of one turn; more spoils the cache and gains nothing */
#define MOST_EVENTS 512 /* of one dispatch */
#define BUDGET_NS                                                                                  \
    1000000u /* time of one dispatch after which a full chunk is not followed by another */
#define MOST_TASKS   64  /* of one turn */
#define MOST_SETTLED 256 /* of one turn */
#define MOST_GUESSES 16  /* dispatches in a row that do not look at the other descriptors */
#define SINGLES      2   /* turns with one event, all of one connection, before it is guessed */

/* The turn comes too late for what has waited so long. */
static void note_lateness(struct sockref_loop *self) SR_REQUIRES(self->mutex)
{
    const struct sr_call *oldest;

    if (self->calls_waiting == 0)
        return;
    oldest = SR_LIST_OWNER(self->calls.next, struct sr_call, waiting);
    if (sr_clock_ns() - oldest->since_ns > SR_LOOP_STARVED_NS)
        sr_tally_add(&self->traffic.starved, 1);
}

/* Those that are there when it begins; what they post comes in the next turn. */
void sr_reactor_run_tasks(struct sockref_loop *self)
{
    struct sr_list due = SR_LIST_INIT(due);
    struct sr_task *task;
    unsigned left = MOST_TASKS;
    bool more;

    atomic_exchange(&self->has_tasks, false);
    sr_mutex_lock(&self->mutex);
    note_lateness(self);
    sr_list_move(&due, &self->tasks);
    while (!sr_list_is_empty(&due) && left-- > 0) {
        task = SR_LIST_OWNER(due.next, struct sr_task, node);
        sr_loop_take_locked(self, task);
        sr_mutex_unlock(&self->mutex);
        task->run(task);
        if (SR_UNLIKELY(sr_loop_is_foreign(self)))
            return;
        sr_mutex_lock(&self->mutex);
    }
    sr_list_move(&due, &self->tasks); /* those behind are newer */
    sr_list_move(&self->tasks, &due);
    more = !sr_list_is_empty(&self->tasks);
    sr_mutex_unlock(&self->mutex);
    if (more)
        atomic_store(&self->has_tasks, true);
}

void sr_reactor_settle(struct sockref_loop *self, unsigned most)
{
    struct sockref_conn *conn;

    while (self->touched && most-- > 0) {
        conn = self->touched;
        self->touched = conn->next;
        if (!self->touched)
            self->touched_last = NULL;
        sr_conn_settle(conn);
        if (SR_UNLIKELY(sr_loop_is_foreign(self)))
            return;
    }
    if (!sr_list_is_empty(&self->stopping))
        sr_listener_conclude(self);
}

bool sr_reactor_is_ready(const struct sr_source *source)
{
    struct pollfd item = {.fd = source->fd};

    item.events = (short)((source->interest & SR_READ ? POLLIN : 0) |
                          (source->interest & SR_WRITE ? POLLOUT : 0));
    return source->interest != 0 && sr_sys.poll(&item, 1, 0) > 0;
}

static bool has_rest(struct sockref_loop *self)
{
    return self->touched || atomic_load_explicit(&self->has_tasks, memory_order_relaxed);
}

static void run_event(struct sockref_loop *self, const struct sr_event *event)
{
    switch ((enum sr_source_kind)event->source->kind) {
    case SR_SOURCE_CONN:
        sr_conn_event((struct sockref_conn *)event->source, event->ready);
        break;
    case SR_SOURCE_LISTENER:
        sr_listener_event(self, event->source);
        break;
    case SR_SOURCE_WATCH:
        sr_fdwatch_event(event->source);
        break;
    case SR_SOURCE_CONNECT:
        sr_connect_event(event->source);
        break;
    }
}

/* Note who had the only event, for guess(). */
static void note_single(struct sockref_loop *self, const struct sr_event *events, int count)
{
    struct sockref_conn *conn = NULL;

    if (count == 1 && events[0].source->kind == SR_SOURCE_CONN)
        conn = (struct sockref_conn *)events[0].source;
    if (!conn || conn != self->guess)
        self->singles = 0;
    if (conn)
        self->singles++;
    self->guess = conn;
    self->guesses = 0;
}

static void run_timers(struct sockref_loop *self)
{
    if (SR_UNLIKELY(self->timers.first != NULL))
        sr_timer_run(&self->timers, sr_clock_ns());
}

static void end_turn(struct sockref_loop *self)
{
    run_timers(self);
    if (atomic_load_explicit(&self->has_tasks, memory_order_relaxed) && !sr_loop_is_foreign(self))
        sr_reactor_run_tasks(self);
    if (!sr_loop_is_foreign(self))
        sr_reactor_settle(self, MOST_SETTLED);
}

static int milliseconds_until(uint64_t deadline_ns)
{
    uint64_t now, left;

    if (deadline_ns == 0 || deadline_ns == SR_CLOCK_NEVER)
        return deadline_ns == 0 ? 0 : -1;
    now = sr_clock_ns();
    if (deadline_ns <= now)
        return 0;
    left = (deadline_ns - now + 999999u) / 1000000u;
    return left > INT_MAX ? INT_MAX : (int)left;
}

/* Returns the number of events, or -errno. */
static int turn(struct sockref_loop *self, uint64_t deadline_ns)
{
    struct sr_event events[CHUNK];
    uint64_t timer = sr_timer_next(&self->timers);
    int count;

    if (timer < deadline_ns)
        deadline_ns = timer;
    if (has_rest(self))
        deadline_ns = 0;
    count = self->backend->ops->wait(self->backend, events, CHUNK, milliseconds_until(deadline_ns));
    if (count < 0 && count != -EINTR)
        return count;
    sr_tally_add(&self->turn, 1);
    if (count == CHUNK && self->began_ns == 0)
        self->began_ns = sr_clock_ns();
    note_single(self, events, count);
    for (int i = 0; i < count; i++) {
        run_event(self, &events[i]);
        if (SR_UNLIKELY(sr_loop_is_foreign(self)))
            return SOCKREF_EFORKED;
    }
    end_turn(self);
    return sr_loop_is_foreign(self) ? SOCKREF_EFORKED : count;
}

/*
 * With one busy connection, asking which descriptor is ready costs as much as the read. So a host's
 * loop that had nothing but one connection's events reads that one first. Whatever else is ready
 * keeps the lent descriptor readable, and is seen after MOST_GUESSES at the latest.
 */
static bool guess(struct sockref_loop *self)
{
    bool right;

    if (self->own || self->singles < SINGLES || self->guesses >= MOST_GUESSES || has_rest(self) ||
        atomic_load_explicit(&self->woken, memory_order_relaxed))
        return false;
    if (!self->guess || !sr_conn_is_plain(self->guess))
        return false;
    sr_tally_add(&self->turn, 1);
    self->guesses++;
    right = sr_conn_read(self->guess);
    if (!right)
        self->singles = 0;
    if (!sr_loop_is_foreign(self))
        sr_reactor_settle(self, MOST_SETTLED);
    return right;
}

static bool has_time(struct sockref_loop *self)
{
    return sr_clock_ns() - self->began_ns < BUDGET_NS;
}

static bool is_past(uint64_t deadline_ns)
{
    return deadline_ns != SR_CLOCK_NEVER && (deadline_ns == 0 || sr_clock_ns() >= deadline_ns);
}

/* Turns until a callback ran, somebody woke us, or the time is over; full chunks are followed by
 * another. */
static int run_turns(struct sockref_loop *self, uint64_t deadline_ns, bool *out_more)
{
    int count, total = 0;

    for (;;) {
        count = turn(self, deadline_ns);
        if (count == -EINTR)
            return 0;
        if (count < 0)
            return count;
        total += count;
        *out_more = count == CHUNK;
        if (count == CHUNK && total < MOST_EVENTS && has_time(self)) {
            deadline_ns = 0;
            continue;
        }
        if (self->ran > 0 || atomic_load_explicit(&self->woken, memory_order_relaxed))
            return 0;
        if (is_past(deadline_ns))
            return 0;
    }
}

int sr_reactor_dispatch(struct sockref_loop *self, int timeout_ms)
{
    uint64_t deadline_ns = timeout_ms == 0 ? 0 : sr_clock_after_ms(timeout_ms);
    bool more = true;
    int status = 0;

    self->in_turn = true;
    self->ran = 0;
    self->began_ns = 0;
    self->backend->ops->begin(self->backend);
    if (deadline_ns != 0 || !guess(self))
        status = run_turns(self, deadline_ns, &more);
    self->in_turn = false;
    if (SR_UNLIKELY(sr_loop_is_foreign(self)))
        return SOCKREF_EFORKED;
    sr_tally_add(&self->traffic.callbacks, (uint64_t)self->ran);
    if (atomic_load_explicit(&self->woken, memory_order_relaxed))
        atomic_exchange(&self->woken, false);
    if (has_rest(self)) {
        more = true;
        sr_backend_wake(self->backend);
    }
    self->backend->ops->end(self->backend, sr_timer_next(&self->timers), more);
    return status < 0 ? status : self->ran;
}
