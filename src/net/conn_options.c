/* Options of a connection, and the record of what few connections have. */
#include "net/conn_state.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#define MOST_KEEPALIVE_S 32767 /* the kernel's */
#define LATER_MS         10    /* nothing tells when what is on its way has come */

static void time_out(struct sr_timer *timer);

struct sr_conn_extra *sr_conn_extra(struct sockref_conn *self)
{
    if (self->extra)
        return self->extra;
    self->extra = sr_sys.calloc(1, sizeof *self->extra);
    if (!self->extra)
        return NULL;
    self->extra->conn = self;
    self->extra->timer.fire = time_out;
    return self->extra;
}

void sr_conn_free_extra(struct sockref_conn *self)
{
    if (!self->extra)
        return;
    sr_timer_remove(&self->owner->loop->timers, &self->extra->timer);
    free(self->extra);
    self->extra = NULL;
    sr_conn_lower(self, SR_CONN_TIMED | SR_CONN_LATER);
}

/* ---- inactivity ---- */

static uint64_t duration_ns(const struct sr_conn_extra *extra)
{
    return (uint64_t)extra->timeout_ms * 1000000u;
}

/* Traffic only notes its time, so the timer may come too early: then it comes again. What has come
 * and waits for its turn is no silence either. */
static void time_out(struct sr_timer *timer)
{
    struct sr_conn_extra *extra = SR_LIST_OWNER(timer, struct sr_conn_extra, timer);
    struct sockref_conn *self = extra->conn;
    struct sr_conn_owner *owner = self->owner;
    uint64_t now = sr_clock_ns();
    bool early = extra->last_ns + duration_ns(extra) > now;

    if (sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        return;
    if (sr_conn_has(self, SR_CONN_LATER)) {
        sr_conn_lower(self, SR_CONN_LATER | SR_CONN_BLOCKED);
        sr_conn_touch(self);
    }
    if (!sr_conn_has(self, SR_CONN_TIMED))
        return;
    if (!early)
        extra->last_ns = now;
    sr_timer_add(&owner->loop->timers, timer, extra->last_ns + duration_ns(extra));
    if (early || !owner->handlers.on_timeout || sr_reactor_is_ready(&self->source))
        return;
    owner->loop->ran++;
    owner->handlers.on_timeout(self, owner->user);
}

/* A loop's alarm is set where a turn ends. */
static void set_alarm(const struct sockref_conn *self)
{
    if (!self->owner->loop->in_turn)
        sr_backend_wake(self->owner->loop->backend);
}

int sr_conn_flush_later(struct sockref_conn *self)
{
    if (!sr_conn_extra(self))
        return -ENOMEM;
    sr_conn_raise(self, SR_CONN_BLOCKED | SR_CONN_LATER);
    sr_timer_add(&self->owner->loop->timers, &self->extra->timer, sr_clock_after_ms(LATER_MS));
    set_alarm(self);
    return 0;
}

void sr_conn_begin_timeout(struct sockref_conn *self)
{
    struct sr_conn_extra *extra = self->extra;
    bool later = sr_conn_has(self, SR_CONN_LATER); /* then the timer runs, and goes on for this */

    if (!sr_conn_has(self, SR_CONN_TIMED) || (!later && sr_timer_is_running(&extra->timer)))
        return;
    extra->last_ns = sr_clock_ns();
    if (!later)
        sr_timer_add(&self->owner->loop->timers, &extra->timer,
                     extra->last_ns + duration_ns(extra));
}

int sockref_conn_set_timeout(sockref_conn *self, unsigned timeout_ms)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0 || (timeout_ms == 0 && !self->extra))
        return status;
    if (!sr_conn_extra(self))
        return sr_error_no_memory();
    self->extra->timeout_ms = timeout_ms;
    sr_conn_lower(self, SR_CONN_TIMED);
    if (!sr_conn_has(self, SR_CONN_LATER))
        sr_timer_remove(&self->owner->loop->timers, &self->extra->timer);
    if (timeout_ms > 0) {
        sr_conn_raise(self, SR_CONN_TIMED);
        sr_conn_begin_timeout(self);
        set_alarm(self);
    }
    return 0;
}

/* ---- what the system does ---- */

static int set_int(const struct sockref_conn *self, int level, int option, int value)
{
    if (sr_sys.setsockopt(self->source.fd, level, option, &value, sizeof value) < 0)
        return -errno;
    return 0;
}

/* The system counts in seconds. */
static int seconds(unsigned delay_ms)
{
    unsigned rounded = delay_ms / 1000 + (delay_ms % 1000 >= 500);

    if (rounded < 1)
        return 1;
    return rounded > MOST_KEEPALIVE_S ? MOST_KEEPALIVE_S : (int)rounded;
}

static int set_keepalive(const struct sockref_conn *self, bool on, unsigned delay_ms)
{
    int status = 0;

    if (self->owner->is_unix)
        return 0;
    if (on && delay_ms > 0)
        status = set_int(self, IPPROTO_TCP, TCP_KEEPIDLE, seconds(delay_ms));
    return status < 0 ? status : set_int(self, SOL_SOCKET, SO_KEEPALIVE, on);
}

static int set_nodelay(const struct sockref_conn *self, bool on)
{
    if (self->owner->is_unix)
        return 0;
    return set_int(self, IPPROTO_TCP, TCP_NODELAY, on);
}

static void want(struct sockref_conn *self, unsigned flag, bool on)
{
    if (on)
        sr_conn_raise(self, flag);
    else
        sr_conn_lower(self, flag);
}

static int result_of(int status)
{
    return status < 0 ? sr_error_system(-status, "setsockopt", NULL) : 0;
}

/* The flags note only what is to be switched on, and an adopted socket may come with it. */
static bool wants_off_now(const struct sockref_conn *self, bool on)
{
    return !on && self->source.fd >= 0;
}

int sockref_conn_set_keepalive(sockref_conn *self, bool on, unsigned delay_ms)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0)
        return status;
    if (!sr_conn_has(self, SR_CONN_WAITING))
        return result_of(set_keepalive(self, on, delay_ms));
    if (delay_ms > 0) {
        if (!sr_conn_extra(self))
            return sr_error_no_memory();
        self->extra->keepalive_delay_ms = delay_ms;
    }
    want(self, SR_CONN_KEEPALIVE, on);
    return wants_off_now(self, on) ? result_of(set_keepalive(self, false, 0)) : 0;
}

int sockref_conn_set_nodelay(sockref_conn *self, bool on)
{
    int status = sr_conn_check(self, SR_CONN_DEAD);

    if (status < 0)
        return status;
    if (!sr_conn_has(self, SR_CONN_WAITING))
        return result_of(set_nodelay(self, on));
    want(self, SR_CONN_NODELAY, on);
    return wants_off_now(self, on) ? result_of(set_nodelay(self, false)) : 0;
}

int sr_conn_take_options(struct sockref_conn *self, const sockref_conn_options *options)
{
    unsigned flags = options->flags;

    want(self, SR_CONN_PAUSED, flags & SOCKREF_CONN_PAUSED);
    want(self, SR_CONN_UNHELD, flags & SOCKREF_CONN_UNHELD);
    want(self, SR_CONN_NODELAY, flags & SOCKREF_CONN_NODELAY);
    want(self, SR_CONN_KEEPALIVE, flags & SOCKREF_CONN_KEEPALIVE);
    if (options->timeout_ms == 0)
        return 0;
    if (!sr_conn_extra(self))
        return -ENOMEM;
    self->extra->timeout_ms = options->timeout_ms;
    sr_conn_raise(self, SR_CONN_TIMED);
    return 0;
}

/* A peer that is gone already makes the system refuse, and is told by the first read. */
void sr_conn_set_options(struct sockref_conn *self)
{
    unsigned delay_ms = self->owner->options.keepalive_delay_ms;

    if (SR_LIKELY(!sr_conn_has(self, SR_CONN_NODELAY | SR_CONN_KEEPALIVE)))
        return;
    if (self->extra && self->extra->keepalive_delay_ms > 0)
        delay_ms = self->extra->keepalive_delay_ms;
    if (sr_conn_has(self, SR_CONN_NODELAY))
        (void)set_nodelay(self, true);
    if (sr_conn_has(self, SR_CONN_KEEPALIVE))
        (void)set_keepalive(self, true, delay_ms);
}
