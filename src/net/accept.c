/*
 * Accepting. Running out of descriptors or memory never ends a listener: one peer is turned away,
 * and then it pauses, longer each time.
 */
#include "net/accept.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "net/address.h"

#include <errno.h>
#include <fcntl.h>

#define MOST_ACCEPTED 64 /* of one event, so that connections get their turn */
#define FIRST_BACKOFF 10u
#define LAST_BACKOFF  1000u

static bool is_full(const struct sr_listener *self)
{
    uint64_t most = atomic_load_explicit(&self->life->max_connections, memory_order_relaxed);

    return most > 0 && self->owner.conn_count >= most;
}

void sr_accept_keep_spare(struct sockref_loop *loop)
{
    int fd;

    if (loop->spare >= 0)
        return;
    fd = sr_fd_open(AT_FDCWD, "/dev/null", O_RDONLY);
    loop->spare = fd < 0 ? -1 : fd;
}

static void be_starved(struct sr_listener *self, bool starved)
{
    if (self->starved == starved)
        return;
    self->starved = starved;
    if (starved)
        self->owner.loop->paused++;
    else
        self->owner.loop->paused--;
}

static void count_accepted(struct sr_listener *self)
{
    sr_tally_add(&self->accepted, 1);
    sr_tally_add(&self->owner.loop->traffic.accepted, 1);
}

static void count_refused(struct sr_listener *self)
{
    sr_tally_add(&self->refused, 1);
    sr_tally_add(&self->owner.loop->traffic.refused, 1);
}

/* Accept no more for a while; the peers wait in the kernel's queue. */
static void pause_accepting(struct sr_listener *self, int reason)
{
    struct sockref_loop *loop = self->owner.loop;

    loop->backend->ops->set(loop->backend, &self->source, 0);
    be_starved(self, true);
    self->backoff_ms = self->backoff_ms ? self->backoff_ms * 2 : FIRST_BACKOFF;
    if (self->backoff_ms > LAST_BACKOFF)
        self->backoff_ms = LAST_BACKOFF;
    sr_timer_add(&loop->timers, &self->timer, sr_clock_after_ms(self->backoff_ms));
    sr_log(SR_LOG_ACCEPT_PAUSED, SOCKREF_LOG_WARNING, -reason, NULL,
           "connections are not accepted for %u ms: %s", self->backoff_ms,
           sockref_status_message(-reason));
}

/* Whether what comes has to wait in the kernel's queue. */
static bool must_wait(const struct sr_listener *self)
{
    return !self->owner.handlers.on_drop && is_full(self);
}

/*
 * Accept when there is something to accept, unless something stands against it. With the mutex
 * held, because stop() has the kernel forget the descriptor, on another thread, and nobody may
 * remind it.
 */
void sr_accept_watch(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;
    int status = 0;

    if (self->starved)
        return;
    sr_mutex_lock(&loop->mutex);
    if (!atomic_load(&self->stop_asked))
        status =
            loop->backend->ops->set(loop->backend, &self->source, must_wait(self) ? 0 : SR_READ);
    sr_mutex_unlock(&loop->mutex);
    if (status < 0)
        pause_accepting(self, -status);
}

static void resume(struct sr_listener *self)
{
    sr_accept_keep_spare(self->owner.loop);
    sr_timer_remove(&self->owner.loop->timers, &self->timer);
    be_starved(self, false);
    sr_accept_watch(self);
}

void sr_accept_end_pause(struct sr_timer *timer)
{
    resume(SR_LIST_OWNER(timer, struct sr_listener, timer));
}

/* A descriptor is free again, whoever's it was: all who wait for one may try. */
void sr_accept_resume_all(struct sockref_loop *loop)
{
    struct sr_list *node;
    struct sr_listener *starved;

    sr_accept_keep_spare(loop);
    do {
        starved = NULL;
        sr_mutex_lock(&loop->mutex);
        SR_LIST_EACH(node, &loop->listeners)
        {
            starved = SR_LIST_OWNER(node, struct sr_listener, node);
            if (starved->starved)
                break;
            starved = NULL;
        }
        sr_mutex_unlock(&loop->mutex);
        if (starved)
            resume(starved);
    } while (starved && loop->paused > 0 && !starved->starved);
}

/* Returns a descriptor or -errno. Once it was asked to stop nobody is taken any more. */
static int accept_next(struct sr_listener *self)
{
    int fd = -EAGAIN;

    sr_mutex_lock(&self->accepting);
    if (!atomic_load(&self->stop_asked))
        fd = sr_fd_accept(self->source.fd);
    sr_mutex_unlock(&self->accepting);
    return fd;
}

/*
 * No descriptor is left, and one peer at the head of the queue is answered with the spare one: it
 * sees its connection closed instead of waiting without end.
 */
static void turn_away(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;
    int fd;

    if (loop->spare < 0)
        return;
    sr_fd_close(loop->spare);
    loop->spare = -1;
    fd = accept_next(self);
    if (fd >= 0)
        count_refused(self);
    sr_fd_close(fd);
    sr_accept_keep_spare(loop);
}

/* Returns whether there may be another one. */
static bool accept_failed(struct sr_listener *self, int reason)
{
    if (atomic_load(&self->stop_asked))
        return false;
    switch (reason) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED:
        return true;
    case EMFILE:
    case ENFILE:
        turn_away(self);
        break;
    default:
        break;
    }
    pause_accepting(self, reason);
    return false;
}

/* It came beyond the limit. */
static void drop(struct sr_listener *self, int fd)
{
    struct sr_conn_owner *owner = &self->owner;
    sockref_address local = {.size = sizeof local}, remote = local;

    (void)sr_address_of(fd, false, &local);
    (void)sr_address_of(fd, true, &remote);
    sr_fd_close(fd);
    count_refused(self);
    owner->loop->ran++;
    owner->handlers.on_drop(&local, &remote, owner->user);
}

/* Returns whether there may be another one. */
static bool accept_one(struct sr_listener *self)
{
    struct sr_conn_owner *owner = &self->owner;
    struct sockref_conn *conn;
    int fd = accept_next(self), status;

    if (fd < 0)
        return accept_failed(self, -fd);
    if (self->backoff_ms > 0) {
        self->backoff_ms = 0;
        sr_log(SR_LOG_ACCEPT_RESUMED, SOCKREF_LOG_INFO, 0, NULL, "connections are accepted again");
    }
    /* Where there is no on_drop another thread lowers the limit just now, and this one is in. */
    if (owner->handlers.on_drop && is_full(self)) {
        drop(self, fd);
        return true;
    }
    status = sr_conn_make(owner, fd, &conn);
    if (status < 0) {
        sr_fd_close(fd);
        count_refused(self);
        sr_log(SR_LOG_CONNECTION_FAILED, SOCKREF_LOG_WARNING, status, NULL,
               "a connection could not be taken: %s", sockref_status_message(status));
        pause_accepting(self, -status);
        return false;
    }
    count_accepted(self);
    if (owner->handlers.on_connection) {
        owner->loop->ran++;
        owner->handlers.on_connection(conn, owner->user);
        if (sr_loop_is_foreign(owner->loop))
            return false;
    }
    sr_conn_tell_ready(conn);
    return true;
}

void sr_listener_event(struct sockref_loop *loop, struct sr_source *source)
{
    struct sr_listener *self = SR_LIST_OWNER(source, struct sr_listener, source);

    for (int i = 0; i < MOST_ACCEPTED; i++) {
        if (self->ending || atomic_load_explicit(&self->stop_asked, memory_order_relaxed))
            return;
        if (must_wait(self)) {
            sr_accept_watch(self);
            return;
        }
        if (!accept_one(self) || sr_loop_is_foreign(loop))
            return;
    }
}

void sr_accept_end(struct sr_listener *self)
{
    struct sockref_loop *loop = self->owner.loop;

    loop->backend->ops->set(loop->backend, &self->source, 0);
    sr_timer_remove(&loop->timers, &self->timer);
    be_starved(self, false);
}

/* Whether something that was posted to the loop waits for too long. */
static bool is_starving(const struct sockref_loop *loop)
{
    sockref_loop_stats stats = {.size = sizeof stats};

    return sockref_loop_get_stats(loop, &stats) == 0 && stats.is_starving;
}

/*
 * Whether the loop leaves a peer waiting: it had no turn since a look that is so long ago. One look
 * alone can't tell, for who came in this moment waits as well.
 */
static bool is_late(struct sr_listener *self)
{
    struct pollfd queue = {.fd = self->source.fd, .events = POLLIN};
    uint64_t turn = sr_tally_read(&self->owner.loop->turn), now = sr_clock_ns();

    if (sr_sys.poll(&queue, 1, 0) != 1) {
        self->late_ns = 0;
        return false;
    }
    if (self->late_ns == 0 || self->late_turn != turn) {
        self->late_ns = now;
        self->late_turn = turn;
    }
    return now - self->late_ns > SR_LOOP_STARVED_NS;
}

bool sr_accept_is_held_back(struct sr_listener *self)
{
    return !atomic_load(&self->begun) || atomic_load(&self->starved) ||
           is_starving(self->owner.loop) || is_late(self);
}
