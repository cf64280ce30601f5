/*
 * Starts that do not block.
 *
 * A start is tried at once by the thread that asks for it. If it has to wait for another start or
 * removal of the name it is parked on the registry, and tried again on its loop when that wakes it.
 * Each outcome is delivered by whoever raises `over` first, under the mutex:
 *
 *   the loop, with the result, the time-out, or because it was cancelled
 *   the thread that frees the loop, or that ends the registry: with SOCKREF_ECANCELED
 *
 * Whoever it was, the record stays with its loop until that has let go of it (`left`): the timer
 * and the place in the loop are the loop's to give back, and on_stop, where it is owed, is told
 * there. A try that is under way while somebody else delivers finds `over` and gives back what it
 * got; where the loop has let go of it meanwhile it tells on_stop as well, since only then it is
 * known whether that is owed.
 *
 * A start is counted: by its loop, by a parked waiter (whose wake may come late), by a thread that
 * works on it.
 */
#include "net/start.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "base/thread.h"
#include "net/serve.h"
#include "net/service.h"
#include "ref/options.h"
#include "ref/registry.h"
#include "ref/stats.h"

#include <stdlib.h>
#include <string.h>

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_list starts SR_GUARDED_BY(mutex) = SR_LIST_INIT(starts);

struct start {
    struct sr_waiter waiter;
    struct sr_call call;
    struct sr_timer timer;
    _Atomic unsigned count;
    struct sockref_loop *loop;  /* counted */
    sockref_registry *registry; /* pending */
    char *path;                 /* NULL: the default name */
    sockref_options options;
    sockref_start_fn on_start;
    void *user;
    uint64_t deadline_ns;
    bool was_late;   /* the deadline was moved on; loop thread */
    bool is_untimed; /* it rests whether there is time left or not; loop thread */

    struct sr_list node SR_GUARDED_BY(mutex);
    bool trying SR_GUARDED_BY(mutex); /* a thread is inside the registry for it */
    bool parked SR_GUARDED_BY(mutex);
    bool woken SR_GUARDED_BY(mutex);     /* to be tried again */
    bool resting SR_GUARDED_BY(mutex);   /* to be tried again after a while */
    bool ready SR_GUARDED_BY(mutex);     /* status, ref and error are the result */
    bool cancelled SR_GUARDED_BY(mutex); /* to be delivered as such by the loop */
    bool over SR_GUARDED_BY(mutex);      /* somebody delivers it, or has */
    bool left SR_GUARDED_BY(mutex);      /* the loop has let go of it */
    bool settled SR_GUARDED_BY(mutex);   /* on_stop of its handlers is not ours to tell */
    int status SR_GUARDED_BY(mutex);
    sockref *ref SR_GUARDED_BY(mutex);
    struct sr_error *error SR_GUARDED_BY(mutex); /* of the result, or for when the time is over */
    unsigned tries;                              /* in a row, that had to rest */
};

static void hold(struct start *self)
{
    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
}

static void let_go(struct start *self)
{
    sockref_registry *registry = self->registry;

    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) != 1)
        return;
    sr_options_clear(&self->options);
    sr_loop_release(self->loop);
    free(self->path);
    free(self);
    sr_registry_pending_done(registry);
}

static void post(struct start *self) SR_REQUIRES(mutex)
{
    if (self->left)
        return;
    if (!self->over && (self->ready || self->cancelled))
        sr_loop_post_call(self->loop, &self->call);
    else
        sr_loop_post(self->loop, &self->call.task);
}

/* What it waited for is over. Any thread. */
static void wake(struct sr_waiter *waiter)
{
    struct start *self = SR_LIST_OWNER(waiter, struct start, waiter);

    sr_mutex_lock(&mutex);
    self->woken = true;
    self->parked = false;
    post(self);
    sr_mutex_unlock(&mutex);
    let_go(self);
}

static void unpark(struct start *self)
{
    if (sr_registry_unpark(self->registry, &self->waiter))
        let_go(self); /* else its wake has come or is coming, and lets go itself */
}

/* Call on_start; who calls this has raised over. */
static void deliver(struct start *self, int status) SR_EXCLUDES(mutex)
{
    struct sr_error *error;
    sockref *ref;
    bool parked;

    sr_mutex_lock(&mutex);
    parked = self->parked && !self->trying;
    self->parked = false;
    error = self->error;
    ref = self->ref;
    self->error = NULL;
    self->ref = NULL;
    sr_mutex_unlock(&mutex);
    if (parked)
        unpark(self);
    if (status == SOCKREF_ECANCELED) {
        sockref_release(ref);
        ref = NULL;
        sr_error_free(error);
        sr_error_set(status, self->path, "the start was cancelled");
    } else if (status == SOCKREF_ETIMEOUT && !error) {
        sr_error_set(status, self->path, "another start or removal of the name took too long");
    } else {
        sr_error_give(error);
    }
    if (status < 0)
        sr_stats_count_failed(self->registry);
    sr_loop_enter();
    self->on_start(status, status == 0 ? ref : NULL, self->user);
    sr_loop_leave();
}

/* The loop lets go of it. Loop thread. */
static void leave(struct start *self) SR_EXCLUDES(mutex)
{
    struct sockref_loop *loop = self->loop;
    bool settled;

    sr_mutex_lock(&mutex);
    self->left = true;
    settled = self->settled || self->trying; /* else who tries settles it */
    sr_list_remove(&self->node);
    sr_loop_unpost(loop, &self->call.task);
    sr_mutex_unlock(&mutex);
    sr_timer_remove(&loop->timers, &self->timer);
    if (!settled)
        sr_serve_tell_unused(loop, &self->options);
    if (sr_loop_is_foreign(loop))
        return;
    sr_service_leave(loop);
    let_go(self);
}

/* Loop thread. */
static void deliver_here(struct start *self, int status)
{
    struct sockref_loop *loop = self->loop;

    loop->ran++;
    deliver(self, status);
    if (!sr_loop_is_foreign(loop))
        leave(self);
}

/* A refusal that the call itself can still return: the registry has ended. */
static bool is_refusal(int status)
{
    return status == SOCKREF_ESHUTDOWN || status == SOCKREF_EFORKED;
}

/*
 * Try it; who calls this has raised trying. Returns 0; or, for the first try, a status after which
 * nothing comes. The thread's own description of an earlier failure is kept out of it.
 */
static int attempt(struct start *self, bool first) SR_EXCLUDES(mutex)
{
    struct sr_error *before = sr_error_take(), *error;
    bool abandoned, refused, owes_stop;
    sockref *ref = NULL;
    int status;

    hold(self); /* for the waiter */
    sr_list_init(&self->waiter.node);
    status =
        sr_registry_try_listen(self->registry, self->path, &self->options, &self->waiter, &ref);
    error = sr_error_take();
    sr_error_give(before);
    if (status != SR_PARKED)
        let_go(self);

    sr_mutex_lock(&mutex);
    self->trying = false;
    sr_error_free(self->error);
    self->error = NULL;
    abandoned = self->over;
    refused = first && !abandoned && !self->cancelled && is_refusal(status);
    if (status == 0 || refused)
        self->settled = true;
    owes_stop = self->left && !self->settled;
    if (!first && status == SOCKREF_ESHUTDOWN)
        self->cancelled = true; /* the registry ended under it */
    if (refused) {
        self->over = true;
    } else if (status == SR_PARKED) {
        self->parked = !abandoned && !self->woken;
    } else if (status == SR_LATER && !abandoned) {
        self->resting = true;
        self->error = error;
    } else if (!abandoned) {
        self->ready = true;
        self->status = status;
        self->ref = ref;
        self->error = error;
    }
    post(self);
    sr_mutex_unlock(&mutex);

    if (refused) {
        sr_stats_count_failed(self->registry);
        sr_error_give(error);
        return status;
    }
    if (abandoned || status == SR_PARKED)
        sr_error_free(error);
    if (abandoned && status == SR_PARKED)
        unpark(self);
    if (abandoned)
        sockref_release(ref);
    if (owes_stop)
        sr_serve_tell_unused(NULL, &self->options);
    return 0;
}

/* When to try again what another process stands in the way of; or the deadline, if that is sooner
 * and counts. */
static uint64_t end_of_rest(struct start *self)
{
    unsigned doublings = self->tries < 6 ? self->tries : 6;
    uint64_t at = sr_clock_ns() + (100000u << doublings);

    self->tries++;
    self->is_untimed = sr_patience_is_untimed(&self->waiter.patience);
    return self->is_untimed || at < self->deadline_ns ? at : self->deadline_ns;
}

/* One step on the loop's thread. Returns whether there is another to make at once. */
static bool step(struct start *self) SR_EXCLUDES(mutex)
{
    bool again = false, deliverable = false, rest = false, over;
    int status = 0;

    sr_mutex_lock(&mutex);
    over = self->over;
    if (self->trying) {
        sr_mutex_unlock(&mutex);
        return false; /* who tries will post */
    }
    if (!over && (self->cancelled || self->ready)) {
        status = self->cancelled ? SOCKREF_ECANCELED : self->status;
        self->over = deliverable = true;
    } else if (!over && self->woken) {
        self->woken = self->is_untimed = false;
        self->trying = again = true;
    } else if (!over && self->resting) {
        self->resting = false;
        rest = true;
    }
    sr_mutex_unlock(&mutex);

    if (over)
        leave(self);
    else if (deliverable)
        deliver_here(self, status);
    else if (again)
        attempt(self, false);
    else if (rest)
        sr_timer_add(&self->loop->timers, &self->timer, end_of_rest(self));
    else if (!sr_timer_is_running(&self->timer) && self->deadline_ns != SR_CLOCK_NEVER)
        sr_timer_add(&self->loop->timers, &self->timer, self->deadline_ns);
    return again;
}

static void run_task(struct sr_task *task)
{
    struct start *self = SR_LIST_OWNER(task, struct start, call.task);

    while (step(self))
        continue;
}

static bool is_time_over(struct start *self)
{
    return !self->is_untimed && sr_clock_is_over_once(&self->deadline_ns, &self->was_late);
}

static void time_out(struct sr_timer *timer)
{
    struct start *self = SR_LIST_OWNER(timer, struct start, timer);
    bool over = is_time_over(self);
    int status = SOCKREF_ETIMEOUT;

    sr_mutex_lock(&mutex);
    if (self->over || self->trying || self->ready || self->cancelled || self->woken) {
        over = false; /* a task is on its way */
    } else if (over) {
        self->over = true;
        if (self->error)
            status = self->waiter.patience.status;
    } else if (!self->parked) {
        self->woken = true;
        post(self);
    } else {
        sr_timer_add(&self->loop->timers, &self->timer, self->deadline_ns);
    }
    sr_mutex_unlock(&mutex);
    if (over)
        deliver_here(self, status);
}

static int make(sockref_registry *registry, const char *path, const sockref_options *options,
                struct start **out_start)
{
    struct start *self = sr_sys.calloc(1, sizeof *self);
    size_t length = path ? strlen(path) + 1 : 0;
    int status;

    if (!self)
        return sr_error_no_memory();
    if (path) {
        self->path = sr_sys.malloc(length);
        if (!self->path) {
            status = sr_error_no_memory();
            goto err_free;
        }
        memcpy(self->path, path, length);
    }
    if (sr_options_copy(options, &self->options) < 0) {
        status = sr_error_no_memory();
        goto err_path;
    }
    self->loop = self->options.net.loop;
    status = sr_service_enter(&self->loop);
    if (status < 0)
        goto err_options;
    sr_loop_acquire(self->loop); /* one for the place, one for the record */
    self->registry = registry;
    self->waiter.wake = wake;
    self->call.task.run = run_task;
    self->timer.fire = time_out;
    self->deadline_ns =
        sr_clock_after_ms(sr_registry_option(registry, options, SOCKREF_OPT_START_TIMEOUT_MS));
    *out_start = self;
    return 0;

err_options:
    sr_options_clear(&self->options);
err_path:
    free(self->path);
err_free:
    free(self);
    return status;
}

/*
 * Have the others see it, with a try under way. Returns 0, or a described status: the loop is being
 * freed. sr_start_cancel_loop() looks at all that were listed before that began.
 */
static int enlist(struct start *self) SR_EXCLUDES(mutex)
{
    struct sockref_loop *loop = self->loop;
    bool closing;

    sr_mutex_lock(&mutex);
    sr_mutex_lock(&loop->mutex);
    closing = loop->closing;
    sr_mutex_unlock(&loop->mutex);
    self->trying = true;
    if (!closing)
        sr_list_append(&starts, &self->node);
    sr_mutex_unlock(&mutex);
    if (closing)
        return sr_error_set(SOCKREF_ECLOSED, NULL, "the loop is being freed");
    return 0;
}

static int start_listener(sockref_registry *self, const char *path, const sockref_options *options,
                          sockref_start_fn on_start, void *user)
{
    struct start *start = NULL;
    int status = sr_options_check_call(options);

    if (status == 0)
        status = sr_registry_check_path(self, path);
    if (status == 0)
        status = make(self, path, options, &start);
    if (status < 0) {
        sr_stats_count_failed(self);
        return status;
    }
    start->on_start = on_start;
    start->user = user;
    atomic_store(&start->count, 2); /* the loop and us */
    sr_registry_pending_add(self);
    status = enlist(start);
    if (status == 0) {
        status = attempt(start, true);
    } else {
        sr_stats_count_failed(self);
        sr_service_leave(start->loop);
        let_go(start); /* for the loop */
    }
    let_go(start);
    return status;
}

int sockref_registry_start_listener(sockref_registry *self, const char *path,
                                    const sockref_options *options, sockref_start_fn on_start,
                                    void *user)
{
    int status, cancel;

    if (!on_start)
        return sr_error_argument("on_start is NULL");
    status = sr_registry_resolve(&self);
    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    status = start_listener(self, path, options, on_start, user);
    sr_thread_end_uncancelled(cancel);
    return status;
}

int sockref_registry_cancel_start(sockref_registry *self, sockref_start_fn on_start, void *user)
{
    struct sr_list *node;
    struct start *start, *found = NULL;
    int status;

    if (!on_start)
        return sr_error_argument("on_start is NULL");
    status = sr_registry_resolve(&self);
    if (status == SOCKREF_EFORKED)
        return status;
    sr_mutex_lock(&mutex);
    SR_LIST_EACH(node, &starts)
    {
        start = SR_LIST_OWNER(node, struct start, node);
        if (status == 0 && start->registry == self && start->on_start == on_start &&
            start->user == user && !start->over && !start->cancelled) {
            found = start;
            found->cancelled = true;
            post(found);
            break;
        }
    }
    sr_mutex_unlock(&mutex);
    if (!found)
        return sr_error_set(SOCKREF_ENOTFOUND, NULL, "no such start is under way");
    return 0;
}

/* Find one that nobody delivers yet and take that over; it is held. */
static struct start *claim(const sockref_registry *registry) SR_EXCLUDES(mutex)
{
    struct sr_list *node;
    struct start *start, *found = NULL;

    sr_mutex_lock(&mutex);
    SR_LIST_EACH(node, &starts)
    {
        start = SR_LIST_OWNER(node, struct start, node);
        if (start->registry == registry && !start->over) {
            found = start;
            found->over = true;
            hold(found);
            break;
        }
    }
    sr_mutex_unlock(&mutex);
    return found;
}

void sr_start_cancel_registry(sockref_registry *registry)
{
    struct start *start;

    while ((start = claim(registry)) != NULL) {
        deliver(start, SOCKREF_ECANCELED);
        if (sr_loop_is_foreign(start->loop))
            return;
        sr_mutex_lock(&mutex);
        post(start); /* its loop lets go of it */
        sr_mutex_unlock(&mutex);
        let_go(start);
    }
}

void sr_start_cancel_loop(struct sockref_loop *loop)
{
    struct start *start;
    struct sr_list *node;
    bool over = false;

    do {
        start = NULL;
        sr_mutex_lock(&mutex);
        SR_LIST_EACH(node, &starts)
        {
            start = SR_LIST_OWNER(node, struct start, node);
            if (start->loop == loop)
                break;
            start = NULL;
        }
        if (start) {
            over = start->over;
            start->over = true;
        }
        sr_mutex_unlock(&mutex);
        if (start && over)
            leave(start);
        else if (start)
            deliver_here(start, SOCKREF_ECANCELED);
    } while (start);
}

void sr_start_after_fork_in_child(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    sr_list_init(&starts);
}
