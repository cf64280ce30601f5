/*
 * Connecting, as RFC 8305 has it.
 *
 * A dial is what works on one sockref_connect(): it looks the host up, then tries one address after
 * the other. The next one begins when the last one has failed, or has not answered within the
 * attempt delay; those before it go on beside it, unless one by one was asked for. The first that
 * connects is handed to the connection, and the others are closed.
 *
 * All of it happens on the loop's thread: begin(), then events, timers and the lookup's result,
 * each of which ends in one of
 *
 *     succeed()  the connection has its descriptor; the dial goes
 *     fail()     the connection fails; cancel() comes when that is settled, and the dial goes
 *     nothing    something is awaited: a lookup, an attempt, a timer
 *
 * A user who destroys the connection, in on_attempt or elsewhere, makes cancel() come as well;
 * until then whatever wakes the dial finds is_over() and does nothing.
 *
 * Events that are still to come in a turn point to attempts. So a dial that succeeds while others
 * of its attempts are in the loop's set is freed by a timer that is due at once: those of a turn
 * run after its events.
 */
#include "net/connect.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/conn_state.h"
#include "net/dial.h"
#include "net/solo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE_NS 1000000u  /* before a full queue is asked again */
#define LAST_PAUSE_NS  50000000u /* it doubles up to this */
#define GRACE_NS       10000000u /* for what has been answered, and waits for its turn */

struct dial;

struct attempt {
    struct sr_source source; /* fd is -1 when it is over */
    struct dial *dial;
    struct sr_sockaddr address;
};

struct dial {
    struct sr_connecting connecting;
    struct sr_dial_wish wish;
    struct sockref_conn *conn;
    struct sockref_loop *loop;
    struct sr_lookup *lookup; /* under way, or NULL */
    struct attempt *attempts; /* one for each address, in the order they are tried */
    size_t count, next, open; /* addresses; the next one to try; sockets that connect */
    int dir;                  /* of a path that is too long, or -1 */
    struct sr_timer pause;    /* until the next attempt, or the same one again */
    struct sr_timer deadline;
    uint64_t pause_ns;         /* after a full queue */
    sockref_address trying;    /* for connecting */
    int status;                /* why the last attempt failed */
    const char *syscall;       /* which call told it */
    const char *of;            /* of which name */
    struct sr_sockaddr failed; /* where */
};

static bool is_over(const struct dial *self)
{
    return sr_conn_is_foreign(self->conn) || sr_conn_has(self->conn, SR_CONN_DEAD | SR_CONN_FAILED);
}

static void close_attempt(struct attempt *attempt)
{
    struct dial *self = attempt->dial;
    struct sr_backend *backend = self->loop->backend;

    if (attempt->source.fd < 0)
        return;
    backend->ops->set(backend, &attempt->source, 0);
    sr_fd_close(attempt->source.fd);
    attempt->source.fd = -1;
    self->open--;
}

static void stop(struct dial *self)
{
    if (self->lookup)
        sr_resolve_cancel(self->lookup);
    self->lookup = NULL;
    sr_timer_remove(&self->loop->timers, &self->pause);
    sr_timer_remove(&self->loop->timers, &self->deadline);
    for (size_t i = 0; i < self->next; i++)
        close_attempt(&self->attempts[i]);
    sr_fd_close(self->dir);
    self->dir = -1;
}

static void free_dial(struct dial *self)
{
    sr_error_free(self->connecting.error);
    sr_dial_wish_clear(&self->wish);
    free(self->attempts);
    free(self);
}

static void cancel(struct sr_connecting *connecting)
{
    struct dial *self = SR_LIST_OWNER(connecting, struct dial, connecting);

    if (self->conn)
        stop(self); /* else it never began */
    free_dial(self);
}

/* In a forked child descriptors are closed already, and timers and lookups are the parent's. */
static void forget(struct sr_connecting *connecting)
{
    free_dial(SR_LIST_OWNER(connecting, struct dial, connecting));
}

/* The status has been described. */
static void fail(struct dial *self, int status)
{
    self->connecting.error = sr_error_take();
    stop(self);
    sr_conn_fail(self->conn, status);
}

static void fail_with_last(struct dial *self)
{
    char host[sizeof self->trying.host + 8];
    sockref_address address;

    sr_address_read(&self->failed, &address);
    snprintf(host, sizeof host, address.family == SOCKREF_FAMILY_IPV6 ? "[%s]" : "%s",
             address.host);
    if (self->wish.is_tcp && self->of == self->wish.name)
        sr_error_wrapped(self->status, -self->status, self->syscall, self->of, "%s %s (%s:%u): %s",
                         self->syscall, self->of, host, address.port,
                         sockref_status_message(self->status));
    else
        sr_error_system(-self->status, self->syscall, self->of);
    fail(self, self->status);
}

static bool is_answered(const struct attempt *attempt)
{
    return attempt->source.fd >= 0 && sr_reactor_is_ready(&attempt->source);
}

static bool is_any_answered(const struct dial *self)
{
    for (size_t i = 0; i < self->next; i++)
        if (is_answered(&self->attempts[i]))
            return true;
    return false;
}

static void expire(struct sr_timer *timer)
{
    struct dial *self = SR_LIST_OWNER(timer, struct dial, deadline);

    if (is_over(self))
        return;
    if (is_any_answered(self)) {
        sr_timer_add(&self->loop->timers, timer, sr_clock_ns() + GRACE_NS);
        return;
    }
    fail(self, sr_error_wrapped(-ETIMEDOUT, ETIMEDOUT, "connect", self->wish.name,
                                "no connection to %s within %u milliseconds", self->wish.name,
                                self->wish.timeout_ms));
}

/* Tell the user of an attempt. Returns false where there is to be no more. */
static bool tell(struct dial *self, const struct attempt *attempt, int event, int status)
{
    struct sr_conn_owner *owner = self->conn->owner;
    sockref_address address;

    if (!owner->handlers.on_attempt)
        return true;
    sr_address_read(&attempt->address, &address);
    self->loop->ran++;
    owner->handlers.on_attempt(self->conn, &address, event, status, owner->user);
    return !is_over(self);
}

/* ---- one attempt ---- */

/* What connect() made of it: a descriptor is connected, or will be. */
enum outcome { CONNECTED, PENDING, REFUSED, QUEUE_FULL };

static int note_failure(struct dial *self, int os_errno, const char *syscall,
                        const struct sr_sockaddr *where)
{
    self->status = -os_errno;
    self->syscall = syscall;
    self->of = self->wish.name;
    self->failed = *where;
    return REFUSED;
}

/* There is no socket: neither a fresh one, nor that of our own name, which it is told of then. */
static int note_no_socket(struct dial *self, int os_errno, const struct sr_sockaddr *to)
{
    note_failure(self, os_errno, "socket", to);
    if (self->wish.from)
        self->of = sockref_path(self->wish.from);
    return REFUSED;
}

static enum outcome start_connecting(struct attempt *attempt)
{
    struct dial *self = attempt->dial;
    struct sr_backend *backend = self->loop->backend;
    const struct sr_sockaddr *to = &attempt->address;
    int status;

    do
        status = sr_sys.connect(attempt->source.fd, &to->address.any, to->size) < 0 ? -errno : 0;
    while (status == -EINTR);
    if (status == 0)
        return CONNECTED;
    if (status == -EAGAIN && !self->wish.is_tcp)
        return QUEUE_FULL;
    if (status != -EINPROGRESS)
        return note_failure(self, -status, "connect", to);
    status = backend->ops->set(backend, &attempt->source, SR_WRITE);
    return status < 0 ? note_failure(self, -status, "epoll_ctl", to) : PENDING;
}

static enum outcome open_attempt(struct attempt *attempt)
{
    struct dial *self = attempt->dial;
    const struct sr_sockaddr *to = &attempt->address;
    const int family = to->address.any.sa_family;
    struct sr_sockaddr own;
    int status, fd = sr_dial_socket(&self->wish, family);

    if (fd < 0)
        return note_no_socket(self, -fd, to);
    attempt->source.fd = fd;
    self->open++;
    status = self->wish.is_tcp ? sr_dial_bind(&self->wish, fd, family, &own) : 0;
    if (status < 0)
        return note_failure(self, -status, "bind", &own);
    return start_connecting(attempt);
}

/* ---- from one to the next ---- */

static void try_next(struct dial *self);

static void bury(struct sr_timer *timer)
{
    free_dial(SR_LIST_OWNER(timer, struct dial, pause));
}

static void succeed(struct attempt *attempt)
{
    struct dial *self = attempt->dial;
    struct sr_backend *backend = self->loop->backend;
    struct sockref_loop *loop = self->loop;
    int fd = attempt->source.fd;
    bool was_last;

    backend->ops->set(backend, &attempt->source, 0);
    attempt->source.fd = -1;
    was_last = --self->open == 0;
    stop(self);
    sr_conn_connected(self->conn, fd);
    if (was_last || sr_conn_is_foreign(self->conn)) {
        free_dial(self);
        return;
    }
    self->pause.fire = bury;
    sr_timer_add(&loop->timers, &self->pause, 0);
}

/* Returns false where there is to be no more. */
static bool drop_failed(struct attempt *attempt)
{
    struct dial *self = attempt->dial;

    close_attempt(attempt);
    return tell(self, attempt, SOCKREF_ATTEMPT_FAILED, self->status);
}

static void try_again(struct sr_timer *timer);
static void be_late(struct sr_timer *timer);

static void set_pause(struct dial *self, uint64_t pause_ns, void (*fire)(struct sr_timer *timer))
{
    self->pause.fire = fire;
    sr_timer_add(&self->loop->timers, &self->pause, sr_clock_ns() + pause_ns);
}

/* A queue that is full, where a blocking connect() would wait: nothing tells when it no longer is.
 */
static void wait_for_room(struct dial *self)
{
    set_pause(self, self->pause_ns, try_again);
    self->pause_ns *= 2;
    if (self->pause_ns > LAST_PAUSE_NS)
        self->pause_ns = LAST_PAUSE_NS;
}

/* Returns whether to go on with the next address at once. */
static bool go_on(struct attempt *attempt, enum outcome outcome)
{
    struct dial *self = attempt->dial;

    switch (outcome) {
    case CONNECTED:
        succeed(attempt);
        return false;
    case PENDING:
        if (self->next < self->count)
            set_pause(self, self->wish.attempt_delay_ns, be_late);
        return false;
    case QUEUE_FULL:
        wait_for_room(self);
        return false;
    case REFUSED:
        return drop_failed(attempt);
    }
    return false;
}

static void try_again(struct sr_timer *timer)
{
    struct dial *self = SR_LIST_OWNER(timer, struct dial, pause);
    struct attempt *attempt = &self->attempts[self->next - 1];

    if (!is_over(self) && go_on(attempt, start_connecting(attempt)))
        try_next(self);
}

/* The last attempt has not answered in time. */
static void be_late(struct sr_timer *timer)
{
    struct dial *self = SR_LIST_OWNER(timer, struct dial, pause);
    struct attempt *attempt = &self->attempts[self->next - 1];

    if (is_over(self))
        return;
    if (is_answered(attempt)) {
        set_pause(self, GRACE_NS, be_late);
        return;
    }
    if (!tell(self, attempt, SOCKREF_ATTEMPT_LATE, -ETIMEDOUT))
        return;
    if (self->wish.flags & SOCKREF_CONNECT_ONE_BY_ONE) {
        note_failure(self, ETIMEDOUT, "connect", &attempt->address);
        close_attempt(attempt);
    }
    try_next(self);
}

static void try_next(struct dial *self)
{
    struct attempt *attempt;

    do {
        if (self->next == self->count) {
            if (self->open == 0)
                fail_with_last(self);
            return;
        }
        attempt = &self->attempts[self->next++];
        sr_address_read(&attempt->address, &self->trying);
        self->connecting.address = &self->trying;
        self->pause_ns = FIRST_PAUSE_NS;
        if (!tell(self, attempt, SOCKREF_ATTEMPT_BEGUN, 0))
            return;
    } while (go_on(attempt, open_attempt(attempt)));
}

void sr_connect_event(struct sr_source *source)
{
    struct attempt *attempt = SR_LIST_OWNER(source, struct attempt, source);
    struct dial *self = attempt->dial;
    bool is_newest = attempt == &self->attempts[self->next - 1];
    int os_errno = 0;
    socklen_t size = sizeof os_errno;

    if (source->fd < 0 || is_over(self))
        return;
    if (sr_sys.getsockopt(source->fd, SOL_SOCKET, SO_ERROR, &os_errno, &size) < 0)
        os_errno = errno;
    if (os_errno == 0) {
        succeed(attempt);
        return;
    }
    note_failure(self, os_errno, "connect", &attempt->address);
    if (!drop_failed(attempt))
        return;
    if (is_newest) {
        /* The next one need not wait for the delay. */
        sr_timer_remove(&self->loop->timers, &self->pause);
        try_next(self);
    } else if (self->open == 0 && self->next == self->count) {
        fail_with_last(self);
    }
}

/* ---- where to ---- */

/* Returns 0 or a described status. */
static int make_attempts(struct dial *self, size_t count)
{
    if (self->wish.flags & SOCKREF_CONNECT_FIRST_ONLY)
        count = 1;
    self->attempts = sr_sys.calloc(count, sizeof *self->attempts);
    if (!self->attempts)
        return sr_error_no_memory();
    for (size_t i = 0; i < count; i++) {
        self->attempts[i].source = (struct sr_source){.fd = -1, .kind = SR_SOURCE_CONNECT};
        self->attempts[i].dial = self;
    }
    self->count = count;
    return 0;
}

static void set_port(struct sr_sockaddr *address, uint16_t port)
{
    if (address->address.any.sa_family == AF_INET)
        address->address.v4.sin_port = htons(port);
    else
        address->address.v6.sin6_port = htons(port);
}

static void try_found(struct dial *self, const struct sr_found *found)
{
    int status = make_attempts(self, found->count);

    if (status < 0) {
        fail(self, status);
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        self->attempts[i].address = found->addresses[i];
        if (found != self->wish.given)
            set_port(&self->attempts[i].address, self->wish.port);
    }
    try_next(self);
}

static void take_found(void *user, int status, struct sr_found *found)
{
    struct dial *self = user;

    self->lookup = NULL;
    if (is_over(self)) {
        /* destroyed, and cancel() is still to come */
    } else if (status < 0) {
        fail(self, status);
    } else {
        sr_dial_interleave(found);
        try_found(self, found);
    }
    free(found);
}

static void look_up(struct dial *self)
{
    struct sr_found *found;
    int status = sr_resolve_at_once(self->wish.host, self->wish.family, &found);

    if (status == 1) {
        try_found(self, found);
        free(found);
        return;
    }
    if (status == 0)
        status = sr_resolve_begin(self->loop, self->wish.host, self->wish.family, take_found, self,
                                  &self->lookup);
    if (status < 0)
        fail(self, status);
}

static void try_unix(struct dial *self)
{
    int status = make_attempts(self, 1);

    if (status == 0)
        status = sr_dial_unix_address(&self->wish, &self->attempts[0].address, &self->dir);
    if (status < 0)
        fail(self, status);
    else
        try_next(self);
}

static void begin(struct sr_connecting *connecting, struct sockref_conn *conn)
{
    struct dial *self = SR_LIST_OWNER(connecting, struct dial, connecting);

    self->conn = conn;
    self->loop = conn->owner->loop;
    self->deadline.fire = expire;
    if (self->wish.timeout_ms)
        sr_timer_add(&self->loop->timers, &self->deadline,
                     sr_clock_after_ms(self->wish.timeout_ms));
    if (!self->wish.is_tcp)
        try_unix(self);
    else if (self->wish.given)
        try_found(self, self->wish.given);
    else
        look_up(self);
}

/* Returns NULL with the failure described. */
static struct dial *make_dial(const char *name, const sockref_connect_options *options)
{
    struct dial *self = sr_sys.calloc(1, sizeof *self);

    if (!self) {
        sr_error_no_memory();
        return NULL;
    }
    if (sr_dial_wish_init(&self->wish, name, options) < 0) {
        free(self);
        return NULL;
    }
    self->connecting.is_unix = !self->wish.is_tcp;
    self->connecting.began_ns = sr_clock_ns();
    self->connecting.begin = begin;
    self->connecting.cancel = cancel;
    self->connecting.forget = forget;
    self->dir = -1;
    return self;
}

int sockref_connect(sockref_loop *loop, const char *name, const sockref_connect_options *options,
                    const sockref_handlers *handlers, void *user, sockref_conn **out_conn)
{
    struct sockref_conn *conn;
    struct dial *dial;
    int status;

    if (!name || !handlers)
        return sr_error_argument("%s is NULL", name ? "handlers" : "the name");
    dial = make_dial(name, options);
    if (!dial)
        return sockref_last_error()->status;
    status = sr_solo_make(loop, handlers, user, &dial->connecting, &conn);
    if (status < 0)
        goto err_free;
    status = sr_solo_keep(conn, dial->wish.from);
    if (status == 0)
        status = sr_solo_begin(conn);
    if (status < 0)
        goto err_drop;
    if (out_conn)
        *out_conn = conn;
    else
        sockref_conn_release(conn);
    return 0;

err_drop:
    sr_solo_drop(conn);
err_free:
    free_dial(dial);
    return status;
}
