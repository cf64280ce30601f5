/*
 * Descriptor watches.
 *
 * Any thread begins one; then its record belongs to the service thread. That another thread wants
 * its end is a flag, set together with posting its task under the loop's mutex, and taken under
 * that mutex by the task. So the record is not freed under somebody who still posts.
 *
 * It is freed by its task only. Tasks run after the events and the timers of a turn, so nothing in
 * the turn points to it then; an event that comes between the end and the task finds end_asked.
 *
 * The interval and the retries don't call ready() themselves but post the task, so that it comes
 * from an event or from there, and never while the source joins the set.
 *
 * A descriptor that stays readable because its owner can't see to it now is out of the set for a
 * moment, or the thread would spin.
 */
#include "net/fdwatch.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/service.h"

#include <stdlib.h>

#define FIRST_BACKOFF 10u
#define LAST_BACKOFF  1000u
#define REST_MS       5

struct watching {
    struct sr_fdwatch *watch;  /* borrowed until ended() */
    struct sockref_loop *loop; /* a place in it */
    struct sr_source source;
    struct sr_task task;
    struct sr_timer interval;
    struct sr_timer retry; /* runs while the source is out of the set: for a rest, or for want of
                              room */
    unsigned backoff_ms;
    bool begun;
    bool is_due;
    _Atomic bool end_asked; /* set under the loop's mutex, read without it on the service thread */
};

/* NULL: it is the parent's, in a forked child. */
static struct watching *of(const struct sr_fdwatch *watch)
{
    struct watching *self = watch->inside;

    return self && !sr_loop_is_foreign(self->loop) ? self : NULL;
}

static bool is_over(const struct watching *self)
{
    return atomic_load_explicit(&self->end_asked, memory_order_relaxed);
}

static void be_due(struct watching *self)
{
    self->is_due = true;
    sr_loop_post(self->loop, &self->task);
}

static void rest(struct watching *self)
{
    struct sr_backend *backend = self->loop->backend;

    if (self->source.fd < 0 || is_over(self))
        return;
    backend->ops->set(backend, &self->source, 0);
    sr_timer_add(&self->loop->timers, &self->retry, sr_clock_after_ms(REST_MS));
}

static void tell(struct watching *self)
{
    if (is_over(self))
        return;
    self->loop->ran++;
    if (!self->watch->ready(self->watch))
        rest(self);
}

void sr_fdwatch_event(struct sr_source *source)
{
    tell(SR_LIST_OWNER(source, struct watching, source));
}

static void rearm(struct watching *self)
{
    struct sr_timers *timers = &self->loop->timers;

    if (self->watch->every_ms > 0)
        sr_timer_add(timers, &self->interval, sr_clock_after_ms(self->watch->every_ms));
    else
        sr_timer_remove(timers, &self->interval);
}

static void interval_over(struct sr_timer *timer)
{
    struct watching *self = SR_LIST_OWNER(timer, struct watching, interval);

    if (is_over(self))
        return;
    rearm(self);
    be_due(self);
}

static bool is_readable(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return sr_sys.poll(&item, 1, 0) > 0;
}

/* The set has no room: look now and then, until it has. begin() has succeeded, and nobody else
 * would tell the owner. */
static void look_later(struct watching *self, int status)
{
    bool first = self->backoff_ms == 0;

    self->backoff_ms = first ? FIRST_BACKOFF : self->backoff_ms * 2;
    if (self->backoff_ms > LAST_BACKOFF)
        self->backoff_ms = LAST_BACKOFF;
    sr_timer_add(&self->loop->timers, &self->retry, sr_clock_after_ms(self->backoff_ms));
    if (is_readable(self->source.fd))
        be_due(self);
    if (first)
        sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_WARNING, status, NULL,
               "a descriptor is looked at now and then only: %s", sockref_status_message(status));
}

static void join_set(struct watching *self)
{
    struct sr_backend *backend = self->loop->backend;
    int status;

    if (self->source.fd < 0)
        return;
    status = backend->ops->set(backend, &self->source, SR_READ);
    if (status < 0)
        look_later(self, status);
}

static void retry_now(struct sr_timer *timer)
{
    struct watching *self = SR_LIST_OWNER(timer, struct watching, retry);

    if (!is_over(self))
        join_set(self);
}

/* The place is given back before ended(), so that who drains after it sees the thread end. */
static void finish(struct watching *self)
{
    struct sr_fdwatch *watch = self->watch;
    struct sockref_loop *loop = self->loop;

    loop->backend->ops->set(loop->backend, &self->source, 0);
    sr_timer_remove(&loop->timers, &self->interval);
    sr_timer_remove(&loop->timers, &self->retry);
    sr_loop_unpost(loop, &self->task);
    watch->inside = NULL;
    free(self);
    loop->ran++;
    sr_service_leave(loop);
    watch->ended(watch);
}

static void run_task(struct sr_task *task)
{
    struct watching *self = SR_LIST_OWNER(task, struct watching, task);
    bool over, is_due = self->is_due;

    sr_mutex_lock(&self->loop->mutex); /* who has asked for the end is done with the record */
    over = is_over(self);
    sr_mutex_unlock(&self->loop->mutex);
    self->is_due = false;
    if (over) {
        finish(self);
        return;
    }
    if (!self->begun) {
        self->begun = true;
        rearm(self);
        join_set(self);
    }
    if (is_due)
        tell(self);
}

int sr_fdwatch_begin(struct sr_fdwatch *watch)
{
    struct watching *self = sr_sys.calloc(1, sizeof *self);
    struct sockref_loop *loop;
    int status;

    watch->inside = NULL;
    if (!self)
        return sr_error_no_memory();
    status = sr_service_enter(&self->loop);
    if (status < 0) {
        free(self);
        return status;
    }
    self->watch = watch;
    self->source = (struct sr_source){.fd = watch->fd, .kind = SR_SOURCE_WATCH};
    sr_list_init(&self->task.node);
    self->task.run = run_task;
    self->interval.fire = interval_over;
    self->retry.fire = retry_now;
    watch->inside = self;
    loop = self->loop;
    sr_loop_acquire(loop); /* it can all be over before the post returns */
    sr_loop_post(loop, &self->task);
    sr_loop_release(loop);
    return 0;
}

void sr_fdwatch_end(struct sr_fdwatch *watch)
{
    struct watching *self = of(watch);
    struct sockref_loop *loop;

    if (!self)
        return;
    loop = self->loop;
    sr_loop_acquire(loop); /* as in begin */
    sr_mutex_lock(&loop->mutex);
    atomic_store(&self->end_asked, true);
    sr_loop_post_locked(loop, &self->task);
    sr_mutex_unlock(&loop->mutex);
    sr_loop_release(loop);
}

void sr_fdwatch_every(struct sr_fdwatch *watch, unsigned every_ms)
{
    struct watching *self = of(watch);

    if (!self)
        return;
    watch->every_ms = every_ms;
    rearm(self);
}
