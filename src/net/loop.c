/* Loops from their making to their end, and what other threads may do with them. */
#include "net/loop.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/kept.h"
#include "net/listener.h"
#include "net/solo.h"
#include "net/start.h"
#include "ref/fork.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local unsigned callback_depth;

void sr_loop_enter(void)
{
    callback_depth++;
}

void sr_loop_leave(void)
{
    callback_depth--;
}

bool sr_loop_in_callback(void)
{
    return callback_depth > 0;
}

bool sr_loop_is_foreign(const struct sockref_loop *self)
{
    return self->generation != atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

int sr_loop_refuse_foreign(void)
{
    return sr_error_set(SOCKREF_EFORKED, NULL, "the loop belongs to the parent of this process");
}

/* The poll backend can be forced, so that it is tested where epoll would be taken. */
static int make_backend(bool lent, struct sr_backend **out_backend)
{
    const char *forced = secure_getenv("SOCKREF_TEST_BACKEND");

    if (forced && strcmp(forced, "poll") == 0)
        return sr_backend_poll(lent, out_backend);
    return sr_backend_epoll(lent, out_backend);
}

int sr_loop_make(bool own, struct sockref_loop **out_loop)
{
    struct sockref_loop *self;
    int status;

    sr_fork_install();
    self = sr_sys.malloc(sizeof *self);
    if (!self)
        return sr_error_no_memory();
    /* The buffer is left as it is: its pages are taken when they are used. */
    memset(self, 0, offsetof(struct sockref_loop, buffer));
    status = make_backend(!own, &self->backend);
    if (status < 0) {
        free(self);
        return status;
    }
    self->own = own;
    self->generation = atomic_load(&sr_fork_generation);
    atomic_store(&self->count, 1);
    self->spare = -1;
    sr_list_init(&self->stopping);
    sr_mutex_init(&self->mutex);
    sr_mutex_lock(&self->mutex);
    sr_list_init(&self->tasks);
    sr_list_init(&self->calls);
    sr_list_init(&self->listeners);
    sr_list_init(&self->solos);
    sr_list_init(&self->kept);
    sr_mutex_unlock(&self->mutex);
    sr_traffic_begin(self);
    *out_loop = self;
    return 0;
}

void sr_loop_acquire(struct sockref_loop *self)
{
    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
}

void sr_loop_release(struct sockref_loop *self)
{
    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) != 1)
        return;
    sr_mutex_destroy(&self->mutex);
    free(self);
}

bool sr_loop_post_locked(struct sockref_loop *self, struct sr_task *task)
{
    if (self->ended)
        return false;
    if (!task->posted) {
        task->posted = true;
        sr_list_append(&self->tasks, &task->node);
    }
    atomic_store(&self->has_tasks, true);
    sr_backend_wake(
        self->backend); /* never blocks; under the lock, because the backend ends with the loop */
    return true;
}

bool sr_loop_post(struct sockref_loop *self, struct sr_task *task)
{
    bool taken;

    sr_mutex_lock(&self->mutex);
    taken = sr_loop_post_locked(self, task);
    sr_mutex_unlock(&self->mutex);
    return taken;
}

bool sr_loop_post_call(struct sockref_loop *self, struct sr_call *call)
{
    bool taken;

    sr_mutex_lock(&self->mutex);
    taken = sr_loop_post_locked(self, &call->task);
    if (taken && !call->task.is_call) {
        call->task.is_call = true;
        call->since_ns = sr_clock_ns();
        sr_list_append(&self->calls, &call->waiting);
        self->calls_waiting++;
    }
    sr_mutex_unlock(&self->mutex);
    return taken;
}

void sr_loop_take_locked(struct sockref_loop *self, struct sr_task *task)
{
    if (task->posted)
        sr_list_remove(&task->node);
    if (task->is_call) {
        sr_list_remove(&SR_LIST_OWNER(task, struct sr_call, task)->waiting);
        self->calls_waiting--;
    }
    task->posted = task->is_call = false;
}

void sr_loop_unpost(struct sockref_loop *self, struct sr_task *task)
{
    sr_mutex_lock(&self->mutex);
    sr_loop_take_locked(self, task);
    sr_mutex_unlock(&self->mutex);
}

int sockref_loop_new(sockref_loop **out_loop)
{
    if (!out_loop)
        return sr_error_argument("out_loop is NULL");
    if (atomic_load(&sr_exiting))
        return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the process is ending");
    return sr_loop_make(false, out_loop);
}

int sockref_loop_fd(const sockref_loop *self)
{
    if (!self)
        return sr_error_argument("the loop is NULL");
    if (sr_loop_is_foreign(self))
        return sr_loop_refuse_foreign();
    return self->backend->fd;
}

void sockref_loop_wake(sockref_loop *self)
{
    if (!self || sr_loop_is_foreign(self))
        return;
    atomic_store(&self->woken, true);
    sr_backend_wake(self->backend);
}

uint64_t sockref_loop_hold_count(const sockref_loop *self)
{
    return self ? atomic_load_explicit(&self->holds, memory_order_relaxed) : 0;
}

int sockref_loop_dispatch(sockref_loop *self, int timeout_ms)
{
    int status;

    if (SR_UNLIKELY(!self))
        return sr_error_argument("the loop is NULL");
    if (SR_UNLIKELY(sr_loop_is_foreign(self)))
        return sr_loop_refuse_foreign();
    if (SR_UNLIKELY(atomic_exchange_explicit(&self->dispatching, true, memory_order_acquire)))
        return sr_error_set(SOCKREF_EBUSY, NULL, "the loop is being dispatched already");
    sr_loop_enter();
    status = sr_reactor_dispatch(self, timeout_ms);
    sr_loop_leave();
    atomic_store_explicit(&self->dispatching, false, memory_order_release);
    if (SR_UNLIKELY(status == SOCKREF_EFORKED))
        return sr_loop_refuse_foreign(); /* a callback forked, and this is the child */
    return status;
}

/* Tasks that were posted still run, and may post others; then no more are taken. */
static void run_last_tasks(struct sockref_loop *self)
{
    bool left;

    do {
        sr_reactor_run_tasks(self);
        if (!sr_loop_is_foreign(self))
            sr_reactor_settle(self, UINT_MAX);
        if (sr_loop_is_foreign(self))
            return;
        sr_mutex_lock(&self->mutex);
        left = !sr_list_is_empty(&self->tasks);
        self->ended = !left;
        sr_mutex_unlock(&self->mutex);
    } while (left);
}

/* End what belongs to a loop. Returns false in a child that one of the callbacks forked. */
static bool end_all(struct sockref_loop *self)
{
    sr_start_cancel_loop(self);
    if (sr_loop_is_foreign(self))
        return false;
    sr_listener_stop_all(self);
    sr_solo_stop_all(self);
    sr_kept_stop_all(self);
    if (!sr_loop_is_foreign(self))
        run_last_tasks(self);
    return !sr_loop_is_foreign(self);
}

/* In a forked child nothing but the record goes: no other thread lives that could hold a lock of
 * it. */
static void free_in_child(struct sockref_loop *self)
{
    if (atomic_load(&self->dispatching))
        return; /* it was being changed when the fork came; what it holds can't be trusted */
    sr_listener_forget_all(self);
    sr_solo_forget_all(self);
    self->backend->ops->free_in_child(self->backend);
    free(self);
}

void sockref_loop_free(sockref_loop *self)
{
    bool ended;

    if (!self)
        return;
    if (sr_loop_is_foreign(self)) {
        free_in_child(self);
        return;
    }
    if (atomic_exchange(&self->dispatching, true))
        return; /* inside a callback of its own, which is not allowed: better lost than torn down */
    sr_loop_enter();
    self->backend->ops->begin(self->backend);
    self->in_turn = true;
    self->ran = 0;
    sr_mutex_lock(&self->mutex);
    self->closing = true;
    sr_mutex_unlock(&self->mutex);
    ended = end_all(self);
    sr_loop_leave();
    if (!ended)
        return; /* as in free_in_child() */
    sr_tally_add(&self->traffic.callbacks, (uint64_t)self->ran);
    sr_traffic_end(self);
    sr_fd_close(self->spare);
    self->backend->ops->free(self->backend);
    sr_loop_release(self);
}
