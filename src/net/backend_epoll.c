/* Waiting by epoll: an eventfd for wakes and, for a host, a timerfd, all behind one descriptor. */
#include "net/backend.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"

#include <errno.h>
#include <stdlib.h>

#define CHUNK 64

struct epoll_backend {
    struct sr_backend base;
    int epoll, wake, timer;
    uint64_t armed_ns; /* when the timer fires; never later than the next deadline */
};

/* Only their addresses are used: what epoll gives back for the two descriptors of our own. */
static struct sr_source wake_mark, timer_mark;

static struct epoll_backend *of(struct sr_backend *base)
{
    return (struct epoll_backend *)base;
}

static uint32_t epoll_of(unsigned interest)
{
    return (interest & SR_READ ? EPOLLIN : 0u) | (interest & SR_WRITE ? EPOLLOUT : 0u);
}

static unsigned ready_of(uint32_t events)
{
    unsigned ready = 0;

    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        ready |= SR_READ;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        ready |= SR_WRITE;
    return ready;
}

static int set(struct sr_backend *base, struct sr_source *source, unsigned interest)
{
    struct epoll_event event = {.events = epoll_of(interest), .data.ptr = source};
    int operation = EPOLL_CTL_MOD;

    if (interest == source->interest)
        return 0;
    if (interest == 0)
        operation = EPOLL_CTL_DEL;
    else if (source->interest == 0)
        operation = EPOLL_CTL_ADD;
    if (sr_sys.epoll_ctl(of(base)->epoll, operation, source->fd, &event) < 0 && interest != 0)
        return -errno;
    source->interest = (uint8_t)interest;
    return 0;
}

/* The flag goes down after the read: a wake that falls between them is seen by who looks after us.
 */
static void use_up_wake(struct epoll_backend *self)
{
    uint64_t count;

    (void)!sr_sys.read(self->wake, &count, sizeof count);
    atomic_exchange(&self->base.woken, false);
}

static void use_up_timer(struct epoll_backend *self)
{
    uint64_t count;

    (void)!sr_sys.read(self->timer, &count, sizeof count);
    self->armed_ns = SR_CLOCK_NEVER;
}

static int wait(struct sr_backend *base, struct sr_event *events, int count, int timeout_ms)
{
    struct epoll_backend *self = of(base);
    struct epoll_event raw[CHUNK];
    int taken, given = 0;

    taken = sr_sys.epoll_wait(self->epoll, raw, count < CHUNK ? count : CHUNK, timeout_ms);
    if (taken < 0)
        return errno == EINTR ? -EINTR : sr_error_system(errno, "epoll_wait", NULL);
    for (int i = 0; i < taken; i++) {
        struct sr_source *source = raw[i].data.ptr;

        if (source == &wake_mark)
            use_up_wake(self);
        else if (source == &timer_mark)
            use_up_timer(self);
        else
            events[given++] = (struct sr_event){source, ready_of(raw[i].events)};
    }
    return given;
}

static void forget(struct sr_backend *base, int fd)
{
    (void)sr_sys.epoll_ctl(of(base)->epoll, EPOLL_CTL_DEL, fd, NULL);
}

static void wake(struct sr_backend *base)
{
    uint64_t one = 1;

    (void)!sr_sys.write(of(base)->wake, &one, sizeof one);
}

static void begin(struct sr_backend *base)
{
    (void)base;
}

/*
 * The timer is only ever moved forward: one that was set for a deadline that is no more fires once
 * for nothing, which is cheaper than a system call for each change.
 */
static void end(struct sr_backend *base, uint64_t deadline_ns, bool more)
{
    struct epoll_backend *self = of(base);
    struct itimerspec when = {0};

    (void)more; /* what was not taken keeps the descriptor readable */
    if (self->timer < 0 || deadline_ns >= self->armed_ns)
        return;
    when.it_value.tv_sec = (time_t)(deadline_ns / 1000000000u);
    when.it_value.tv_nsec = (long)(deadline_ns % 1000000000u) | 1; /* all zero would disarm it */
    if (sr_sys.timerfd_settime(self->timer, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        self->armed_ns = deadline_ns;
}

static void free_in_child(struct sr_backend *base)
{
    free(of(base));
}

static void free_all(struct sr_backend *base)
{
    struct epoll_backend *self = of(base);

    sr_fd_close(self->timer);
    sr_fd_close(self->wake);
    sr_fd_close(self->epoll);
    free(self);
}

static const struct sr_backend_ops ops = {
    .wait = wait,
    .set = set,
    .forget = forget,
    .wake = wake,
    .begin = begin,
    .end = end,
    .free = free_all,
    .free_in_child = free_in_child,
};

static int add_own(struct epoll_backend *self, int fd, struct sr_source *mark)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};

    if (sr_sys.epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return sr_error_system(errno, "epoll_ctl", NULL);
    return 0;
}

/* The timer is made now, not when it is needed: it is needed when descriptors have run out. */
static int open_all(struct epoll_backend *self, bool lent)
{
    int status;

    self->epoll = sr_fd_epoll();
    if (self->epoll < 0)
        return sr_error_system(-self->epoll, "epoll_create1", NULL);
    self->wake = sr_fd_event();
    if (self->wake < 0)
        return sr_error_system(-self->wake, "eventfd", NULL);
    status = add_own(self, self->wake, &wake_mark);
    if (status < 0 || !lent)
        return status;
    self->timer = sr_fd_timer();
    if (self->timer < 0)
        return sr_error_system(-self->timer, "timerfd_create", NULL);
    return add_own(self, self->timer, &timer_mark);
}

int sr_backend_epoll(bool lent, struct sr_backend **out_backend)
{
    struct epoll_backend *self = sr_sys.calloc(1, sizeof *self);
    int status;

    if (!self)
        return sr_error_no_memory();
    self->base.ops = &ops;
    self->epoll = self->wake = self->timer = -1;
    self->armed_ns = SR_CLOCK_NEVER;
    status = open_all(self, lent);
    if (status < 0) {
        free_all(&self->base);
        return status;
    }
    self->base.fd = lent ? self->epoll : -1;
    *out_backend = &self->base;
    return 0;
}
