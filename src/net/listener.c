/*
 * Listeners.
 *
 * One is attached to a life by any thread, and then belongs to its loop. It ends in one of two
 * ways, of which exactly one is taken, by whoever the registry lets detach it first:
 *
 * - the life ends: stop() is called on any thread, and posts; sockref_unserve() does the same to
 * one that it has detached;
 * - the loop ends: it detaches the listener itself. If stop() is on its way already, it finds a
 * loop that takes nothing any more, and only gives its count back. The same is done by the thread
 * that attached it where the loop has ended before the listener could begin.
 *
 * Then, on the loop's thread: the descriptor leaves the set, the connections are destroyed, or left
 * to their own end, and when none is left on_stop comes and the record goes. The life is given back
 * then too; where connections are left to go on, at once.
 */
#include "net/listener.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/accept.h"
#include "net/service.h"
#include "ref/registry.h"

#include <stdlib.h>
#include <string.h>

static struct sr_listener *of_service(struct sr_service *service)
{
    return SR_LIST_OWNER(service, struct sr_listener, service);
}

static struct sr_listener *of_owner(struct sr_conn_owner *owner)
{
    return SR_LIST_OWNER(owner, struct sr_listener, owner);
}

static void let_go(struct sr_listener *self)
{
    if (atomic_fetch_sub_explicit(&self->count, 1, memory_order_acq_rel) != 1)
        return;
    sr_loop_release(self->owner.loop);
    sr_mutex_destroy(&self->accepting);
    free(self);
}

static bool is_unheld(const struct sr_listener *self)
{
    return self->owner.options.flags & SOCKREF_CONN_UNHELD;
}

static void conn_gone(struct sr_conn_owner *owner)
{
    struct sr_listener *self = of_owner(owner);

    if (SR_UNLIKELY(owner->loop->paused > 0))
        sr_accept_resume_all(owner->loop);
    if (!self->ending && self->source.interest == 0)
        sr_accept_watch(self); /* it may have waited for this */
    else if (self->ending && sr_list_is_empty(&owner->conns))
        sr_list_append(&owner->loop->stopping, &self->stopping);
}

/*
 * Give back what keeps the registry: who comes last of this and stop(), if it comes at all, tells
 * those who drain.
 */
static void leave_registry(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;
    bool stopped, detached;

    sr_mutex_lock(&loop->mutex);
    self->finished = true;
    stopped = atomic_load(&self->stop_asked);
    detached = self->detached;
    sr_mutex_unlock(&loop->mutex);
    if (detached)
        sr_registry_unhold(self->registry);
    else if (stopped)
        sr_registry_pending_done(self->registry);
}

/* Returns whether it had one still. */
static bool leave_life(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;
    struct sr_life *life;

    sr_mutex_lock(&loop->mutex);
    life = self->life;
    self->life = NULL;
    sr_mutex_unlock(&loop->mutex);
    if (life)
        sr_life_release(life);
    return life != NULL;
}

/* Loop thread: accept no more; with destroy, end all connections too. The rest is
 * sr_listener_conclude()'s. */
static void begin_ending(struct sr_listener *self, bool destroy)
{
    struct sockref_loop *loop = self->owner.loop;
    struct sr_list *node;

    if (!self->ending) {
        self->ending = true;
        sr_accept_end(self);
        if (sr_list_is_empty(&self->owner.conns))
            sr_list_append(&loop->stopping, &self->stopping);
        else if (!destroy && leave_life(self))
            leave_registry(self);
    }
    if (!destroy || self->destroyed)
        return;
    self->destroyed = true;
    SR_LIST_EACH(node, &self->owner.conns)
    {
        sockref_conn_destroy(SR_LIST_OWNER(node, struct sockref_conn, node));
    }
}

/* Take it from its life, unless stop() has come or is coming, which gives its count back itself. */
static void detach(struct sr_listener *self, struct sr_life *life)
{
    struct sockref_loop *loop = self->owner.loop;

    if (!sr_registry_detach(life, &self->service))
        return;
    sr_mutex_lock(&loop->mutex);
    self->detached = true;
    sr_mutex_unlock(&loop->mutex);
    let_go(self);
}

/* The loop ends, so the listener's end is not left to anybody else. */
static void stop_here(struct sr_listener *self)
{
    if (!self->ending)
        detach(self, self->life);
    begin_ending(self, true);
}

static void run_task(struct sr_task *task)
{
    struct sr_listener *self = SR_LIST_OWNER(task, struct sr_listener, task);
    bool ready, moved, destroys, closing;

    if (self->ending)
        return;
    sr_mutex_lock(&self->owner.loop->mutex);
    ready = self->life != NULL; /* stop can be faster than who attached it */
    moved = self->moved;
    self->moved = false;
    destroys = self->destroys;
    closing = self->owner.loop->closing;
    sr_mutex_unlock(&self->owner.loop->mutex);
    if (!ready)
        return;
    if (moved)
        self->owner.loop->backend->ops->set(self->owner.loop->backend, &self->source, 0);
    if (atomic_load(&self->stop_asked)) {
        begin_ending(self, destroys);
        return;
    }
    if (closing) {
        stop_here(self);
        return;
    }
    if (!self->begun)
        sr_accept_keep_spare(self->owner.loop);
    self->begun = true;
    sr_accept_watch(self);
}

/* The life ends, or is to be served no more. Any thread. */
static void stop(struct sr_service *service)
{
    struct sr_listener *self = of_service(service);
    struct sockref_loop *loop = self->owner.loop;
    bool finished;

    sr_mutex_lock(&loop->mutex);
    atomic_store(&self->stop_asked, true);
    if (!self->concluded) { /* a loop that is being freed can be faster */
        if (self->life)
            loop->backend->ops->forget(loop->backend, self->source.fd);
        sr_loop_post_locked(loop, &self->task);
    }
    finished = self->finished;
    sr_mutex_unlock(&loop->mutex);
    if (finished)
        sr_registry_pending_done(self->registry);
    let_go(self);
}

/* The socket lives on, and who connects from now on is the next service's: an accept call that is
 * under way is waited for, which does not wait itself. */
void sr_listener_part(struct sr_service *service, bool destroy)
{
    struct sr_listener *self = of_service(service);
    struct sockref_loop *loop = self->owner.loop;

    atomic_fetch_add_explicit(&self->count, 1, memory_order_relaxed);
    sr_mutex_lock(&loop->mutex);
    self->destroys = destroy;
    sr_mutex_unlock(&loop->mutex);
    stop(service);
    sr_mutex_lock(&self->accepting);
    sr_mutex_unlock(&self->accepting);
    let_go(self);
}

static uint64_t count(const struct sr_service *service)
{
    const struct sr_listener *self = SR_LIST_OWNER(service, const struct sr_listener, service);

    return atomic_load_explicit(&self->owner.conn_count, memory_order_relaxed);
}

static bool accepts(struct sr_service *service)
{
    return !sr_accept_is_held_back(of_service(service));
}

static void tell(const struct sr_service *service, sockref_stats *out_stats)
{
    const struct sr_listener *self = SR_LIST_OWNER(service, const struct sr_listener, service);

    out_stats->connections = count(service);
    out_stats->accepted = sr_tally_read(&self->accepted);
    out_stats->refused = sr_tally_read(&self->refused);
    out_stats->bytes_read = sr_tally_read(&self->owner.bytes_read);
    out_stats->bytes_written = sr_tally_read(&self->owner.bytes_written);
    out_stats->served_ns = sr_clock_ns() - self->since_ns;
}

static void limit(struct sr_service *service)
{
    struct sr_listener *self = of_service(service);

    sr_loop_post(self->owner.loop, &self->task);
}

/* The kernel forgets the old socket while its number still leads to it. One that has not begun yet
 * finds the new one there. */
static int move(struct sr_service *service, int fd, int at)
{
    struct sr_listener *self = of_service(service);
    struct sockref_loop *loop = self->owner.loop;
    int status;

    sr_mutex_lock(&loop->mutex);
    if (self->life)
        loop->backend->ops->forget(loop->backend, at);
    status = sr_fd_replace(fd, at);
    if (status < 0)
        sr_fd_close(fd);
    if (self->life) {
        self->moved = true;
        sr_loop_post_locked(loop, &self->task);
    }
    sr_mutex_unlock(&loop->mutex);
    return status;
}

/* The last of a listener. The loop is left before the registry is told, so that drain sees its
 * thread end. */
static void conclude(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;
    bool had_life;

    sr_list_remove(&self->stopping);
    sr_mutex_lock(&loop->mutex);
    sr_list_remove(&self->node);
    self->concluded = true;
    sr_mutex_unlock(&loop->mutex);
    sr_loop_unpost(loop, &self->task);
    if (self->owner.handlers.on_stop) {
        loop->ran++;
        self->owner.handlers.on_stop(self->owner.user);
        if (sr_loop_is_foreign(loop))
            return;
    }
    if (!is_unheld(self))
        sr_loop_hold(loop, -1);
    had_life = leave_life(self);
    sr_service_leave(loop);
    if (had_life)
        leave_registry(self);
    let_go(self);
}

void sr_listener_conclude(struct sockref_loop *loop)
{
    struct sr_list *node, *next;

    SR_LIST_EACH_SAFE(node, next, &loop->stopping)
    {
        conclude(SR_LIST_OWNER(node, struct sr_listener, stopping));
        if (sr_loop_is_foreign(loop))
            return;
    }
}

int sr_listener_make(struct sockref_loop *loop, const struct sr_handlers *handlers, void *user,
                     struct sr_listener **out_listener)
{
    struct sr_listener *self = sr_sys.calloc(1, sizeof *self);

    if (!self)
        return sr_error_no_memory();
    sr_loop_acquire(loop); /* beside the place: stop may come when that was left */
    self->owner.loop = loop;
    self->owner.handlers = handlers->calls;
    self->owner.options = handlers->options;
    self->owner.user = user;
    self->owner.conn_gone = conn_gone;
    sr_list_init(&self->owner.conns);
    sr_list_init(&self->node);
    sr_list_init(&self->stopping);
    sr_list_init(&self->task.node);
    sr_mutex_init(&self->accepting);
    self->service.stop = stop;
    self->service.move = move;
    self->service.count = count;
    self->service.tell = tell;
    self->service.limit = limit;
    self->service.accepts = accepts;
    self->destroys = !(handlers->options.flags & SOCKREF_CONN_OUTLIVE);
    self->source = (struct sr_source){.fd = -1, .kind = SR_SOURCE_LISTENER};
    self->task.run = run_task;
    self->timer.fire = sr_accept_end_pause;
    self->since_ns = sr_clock_ns();
    atomic_store(&self->count, 2);
    *out_listener = self;
    return 0;
}

void sr_listener_drop(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;

    sr_mutex_destroy(&self->accepting);
    free(self);
    sr_loop_release(loop);
    sr_service_leave(loop);
}

void sr_listener_retract(struct sr_listener *self, struct sr_life *life)
{
    (void)sr_registry_detach(life, &self->service);
    sr_registry_unhold(life->registry);
    sr_life_release(life);
    sr_listener_drop(self);
}

/* Its loop has run for the last time, so all that is left of its end is here. */
static void end_unbegun(struct sr_listener *self, struct sr_life *life)
{
    detach(self, life);
    sr_life_release(life);
    sr_service_leave(self->owner.loop);
    leave_registry(self);
    let_go(self);
}

/* A loop that is being freed still runs what is posted, up to a moment. */
bool sr_listener_begin(struct sr_listener *self, struct sr_life *life)
{
    struct sockref_loop *loop = self->owner.loop;
    bool begins;

    self->registry = life->registry;
    self->source.fd = life->file.fd;
    self->owner.is_unix = !life->file.is_tcp;
    self->owner.max_buffered =
        self->owner.options.max_buffered ? self->owner.options.max_buffered : life->max_buffered;
    /* One that the program bound may block, and accepting goes on until there is nobody left. */
    (void)sr_sys.tame(self->source.fd);
    sr_loop_acquire(loop); /* it can all be over before the lock is free */
    sr_mutex_lock(&loop->mutex);
    begins = sr_loop_post_locked(loop, &self->task);
    if (begins) {
        self->life = life;
        sr_list_append(&loop->listeners, &self->node);
        if (!is_unheld(self))
            sr_loop_hold(loop, 1);
    }
    sr_mutex_unlock(&loop->mutex);
    if (!begins)
        end_unbegun(self, life);
    sr_loop_release(loop);
    return begins;
}

static struct sr_listener *find_going(struct sockref_loop *loop)
{
    struct sr_listener *self = NULL;
    struct sr_list *node;

    sr_mutex_lock(&loop->mutex);
    SR_LIST_EACH(node, &loop->listeners)
    {
        self = SR_LIST_OWNER(node, struct sr_listener, node);
        if (!self->destroyed)
            break;
        self = NULL;
    }
    sr_mutex_unlock(&loop->mutex);
    return self;
}

void sr_listener_stop_all(struct sockref_loop *loop)
{
    struct sr_listener *self;

    while ((self = find_going(loop)) != NULL)
        stop_here(self);
}

void sr_listener_forget_all(struct sockref_loop *loop) SR_UNCHECKED
{
    struct sr_list *node, *next, *conn, *next_conn;

    SR_LIST_EACH_SAFE(node, next, &loop->listeners)
    {
        struct sr_listener *self = SR_LIST_OWNER(node, struct sr_listener, node);

        SR_LIST_EACH_SAFE(conn, next_conn, &self->owner.conns)
        {
            sr_conn_forget(SR_LIST_OWNER(conn, struct sockref_conn, node));
        }
        sr_list_remove(node);
        let_go(self);
    }
}
