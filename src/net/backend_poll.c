/*
 * Waiting by poll(2), for systems without epoll.
 *
 * A host needs one descriptor to wait for, and poll has none to give. So it is lent the reading end
 * of a pipe, and one helper thread polls the set while the host is not dispatching. At each moment
 * one of them has the set:
 *
 *   armed            the helper has it: it polls, or is about to
 *   not armed        the dispatching thread has it, and the pipe is readable or a dispatch is
 * running
 *
 * - The helper finds something: it disarms itself and writes a byte to the pipe. It does not look
 * again.
 * - A dispatch begins: it disarms the helper and, if that is inside poll, wakes it and waits until
 * it is out.
 * - A dispatch ends having found nothing more: it empties the pipe and arms the helper. What comes
 * between its last look and that is not lost, because poll tells levels.
 * - A dispatch ends with more to do: the pipe is left, or made, readable; the helper sleeps.
 * - The set is changed outside a dispatch: the helper is taken out of poll for it. It must be out
 * before a descriptor is closed, because a poll under way keeps a closed socket alive.
 */
#include "net/backend.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "base/sys.h"
#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct poll_backend {
    struct sr_backend base;
    struct pollfd *fds; /* the first ones are the pipes' */
    struct sr_source **sources;
    unsigned used, room;
    unsigned *slots; /* by descriptor: its place in fds */
    unsigned slot_room;
    unsigned next; /* where to begin to look, so that all get their turn */
    int wake[2];
    int kick[2];  /* gets the helper out of poll */
    unsigned own; /* how many of fds are pipes */

    int notify[2]; /* -1: there is no host and no helper */
    bool has_thread;
    pthread_t thread;
    struct sr_mutex mutex; /* guards what follows */
    struct sr_cond cond;
    bool armed;
    bool polling; /* a thread is in poll(), whose calls are counted as they end */
    uint64_t polls;
    bool signalled; /* the pipe is readable */
    bool quit;
    uint64_t deadline_ns;
};

static struct poll_backend *of(struct sr_backend *base)
{
    return (struct poll_backend *)base;
}

static void put_byte(int fd)
{
    (void)!sr_sys.write(fd, "", 1);
}

static void drain_pipe(int fd)
{
    char bytes[64];

    while (sr_sys.read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        continue;
}

static void signal_host(struct poll_backend *self) SR_REQUIRES(self->mutex)
{
    if (!self->signalled)
        put_byte(self->notify[1]);
    self->signalled = true;
}

static int milliseconds_until(uint64_t deadline_ns)
{
    uint64_t now, left;

    if (deadline_ns == SR_CLOCK_NEVER)
        return -1;
    now = sr_clock_ns();
    if (deadline_ns <= now)
        return 0;
    left = (deadline_ns - now + 999999u) / 1000000u;
    return left > INT_MAX ? INT_MAX : (int)left;
}

/* Returns as poll() does, or -errno. */
static int poll_set(struct poll_backend *self, int timeout_ms) SR_REQUIRES(self->mutex)
{
    int found;

    self->polling = true;
    sr_mutex_unlock(&self->mutex);
    found = sr_sys.poll(self->fds, self->used, timeout_ms);
    if (found < 0)
        found = -errno;
    sr_mutex_lock(&self->mutex);
    self->polling = false;
    self->polls++;
    sr_cond_broadcast(&self->cond);
    return found;
}

static void *help(void *arg)
{
    struct poll_backend *self = arg;
    int found;

    sr_mutex_lock(&self->mutex);
    for (;;) {
        while (!self->armed && !self->quit)
            sr_cond_wait(&self->cond, &self->mutex, SR_CLOCK_NEVER);
        if (self->quit)
            break;
        found = poll_set(self, milliseconds_until(self->deadline_ns));
        if (self->armed && found != -EINTR) {
            self->armed = false;
            signal_host(self);
        }
    }
    sr_mutex_unlock(&self->mutex);
    return NULL;
}

/* Take the set from the helper. Returns whether it had it. */
static bool take_set(struct poll_backend *self)
{
    bool had;

    sr_mutex_lock(&self->mutex);
    had = self->armed;
    self->armed = false;
    if (self->polling) {
        put_byte(self->kick[1]);
        while (self->polling)
            sr_cond_wait(&self->cond, &self->mutex, SR_CLOCK_NEVER);
        drain_pipe(self->kick[0]);
    }
    sr_mutex_unlock(&self->mutex);
    return had;
}

static void give_set(struct poll_backend *self)
{
    sr_mutex_lock(&self->mutex);
    self->armed = true;
    sr_cond_broadcast(&self->cond);
    sr_mutex_unlock(&self->mutex);
}

static void begin(struct sr_backend *base)
{
    if (of(base)->has_thread)
        take_set(of(base));
}

static void end(struct sr_backend *base, uint64_t deadline_ns, bool more)
{
    struct poll_backend *self = of(base);

    if (!self->has_thread)
        return;
    sr_mutex_lock(&self->mutex);
    if (more) {
        signal_host(self);
    } else {
        if (self->signalled)
            drain_pipe(self->notify[0]);
        self->signalled = false;
        self->deadline_ns = deadline_ns;
        self->armed = true;
        sr_cond_broadcast(&self->cond);
    }
    sr_mutex_unlock(&self->mutex);
}

static int reserve(struct poll_backend *self, int fd)
{
    unsigned room = self->room ? self->room * 2 : 16;
    unsigned slot_room = self->slot_room ? self->slot_room : 64;
    struct sr_source **sources;
    struct pollfd *fds;
    unsigned *slots;

    if (self->used == self->room) {
        fds = sr_sys.realloc(self->fds, room * sizeof *fds);
        if (!fds)
            return -ENOMEM;
        self->fds = fds;
        sources = sr_sys.realloc(self->sources, room * sizeof *sources);
        if (!sources)
            return -ENOMEM;
        self->sources = sources;
        self->room = room;
    }
    if ((unsigned)fd < self->slot_room)
        return 0;
    while (slot_room <= (unsigned)fd)
        slot_room *= 2;
    slots = sr_sys.realloc(self->slots, slot_room * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    self->slots = slots;
    self->slot_room = slot_room;
    return 0;
}

static int insert(struct poll_backend *self, int fd, struct sr_source *source)
{
    int status = reserve(self, fd);

    if (status < 0)
        return status;
    self->fds[self->used] = (struct pollfd){.fd = fd, .events = 0};
    self->sources[self->used] = source;
    self->slots[fd] = self->used++;
    return 0;
}

static void delete (struct poll_backend *self, int fd)
{
    unsigned slot = self->slots[fd], last = --self->used;

    self->fds[slot] = self->fds[last];
    self->sources[slot] = self->sources[last];
    self->slots[self->fds[slot].fd] = slot;
}

static short poll_of(unsigned interest)
{
    return (short)((interest & SR_READ ? POLLIN : 0) | (interest & SR_WRITE ? POLLOUT : 0));
}

static unsigned ready_of(short events)
{
    unsigned ready = 0;

    if (events & (POLLIN | POLLHUP | POLLERR | POLLNVAL))
        ready |= SR_READ;
    if (events & (POLLOUT | POLLHUP | POLLERR | POLLNVAL))
        ready |= SR_WRITE;
    return ready;
}

static int change(struct poll_backend *self, struct sr_source *source, unsigned interest)
{
    int status;

    if (interest == 0) {
        delete (self, source->fd);
    } else {
        if (source->interest == 0) {
            status = insert(self, source->fd, source);
            if (status < 0)
                return status;
        }
        self->fds[self->slots[source->fd]].events = poll_of(interest);
    }
    source->interest = (uint8_t)interest;
    return 0;
}

static int set(struct sr_backend *base, struct sr_source *source, unsigned interest)
{
    struct poll_backend *self = of(base);
    bool had;
    int status;

    if (interest == source->interest)
        return 0;
    had = self->has_thread && take_set(self);
    status = change(self, source, interest);
    if (had)
        give_set(self);
    return status;
}

static int wait(struct sr_backend *base, struct sr_event *events, int count, int timeout_ms)
{
    struct poll_backend *self = of(base);
    unsigned at, sources = self->used - self->own;
    int found, given = 0;

    sr_mutex_lock(&self->mutex);
    found = poll_set(self, timeout_ms);
    sr_mutex_unlock(&self->mutex);
    if (found < 0)
        return found == -EINTR ? found : sr_error_system(-found, "poll", NULL);
    if (found > 0 && self->fds[0].revents) {
        drain_pipe(self->wake[0]);
        atomic_exchange(&self->base.woken, false);
    }
    for (unsigned i = 0; found > 0 && i < sources && given < count; i++) {
        at = self->own + (self->next + i) % sources;
        if (self->fds[at].revents)
            events[given++] = (struct sr_event){self->sources[at], ready_of(self->fds[at].revents)};
        if (given == count)
            self->next = at - self->own + 1;
    }
    return given;
}

/* Between two calls of poll() the kernel keeps nothing, so the one that is under way is ended; and
 * the helper, which might be about to make one, begins no other before the host has dispatched. */
static void forget(struct sr_backend *base, int fd)
{
    struct poll_backend *self = of(base);
    uint64_t polls;

    (void)fd;
    sr_mutex_lock(&self->mutex);
    if (self->armed) {
        self->armed = false;
        signal_host(self);
    }
    polls = self->polls;
    if (self->polling)
        put_byte(self->wake[1]);
    while (self->polling && self->polls == polls)
        sr_cond_wait(&self->cond, &self->mutex, SR_CLOCK_NEVER);
    sr_mutex_unlock(&self->mutex);
}

static void wake(struct sr_backend *base)
{
    put_byte(of(base)->wake[1]);
}

static void stop_helper(struct poll_backend *self)
{
    sr_mutex_lock(&self->mutex);
    self->quit = true;
    sr_cond_broadcast(&self->cond);
    put_byte(self->kick[1]);
    sr_mutex_unlock(&self->mutex);
    pthread_join(self->thread, NULL);
}

static void free_in_child(struct sr_backend *base)
{
    struct poll_backend *self = of(base);

    free(self->fds);
    free(self->sources);
    free(self->slots);
    free(self);
}

static void free_all(struct sr_backend *base)
{
    struct poll_backend *self = of(base);

    if (self->has_thread)
        stop_helper(self);
    for (int i = 0; i < 2; i++) {
        sr_fd_close(self->wake[i]);
        sr_fd_close(self->kick[i]);
        sr_fd_close(self->notify[i]);
    }
    sr_mutex_destroy(&self->mutex);
    sr_cond_destroy(&self->cond);
    free_in_child(base);
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

/* A pipe whose reading end is in the set for good. */
static int add_pipe(struct poll_backend *self, int ends[2])
{
    int status = sr_fd_pipe(ends);

    if (status < 0)
        return sr_error_system(-status, "pipe2", NULL);
    if (insert(self, ends[0], NULL) < 0)
        return sr_error_no_memory();
    self->fds[self->own++].events = POLLIN;
    return 0;
}

static int open_all(struct poll_backend *self, bool lent)
{
    int status = add_pipe(self, self->wake);

    if (status < 0 || !lent)
        return status;
    status = add_pipe(self, self->kick);
    if (status < 0)
        return status;
    status = sr_fd_pipe(self->notify);
    if (status < 0)
        return sr_error_system(-status, "pipe2", NULL);
    status = sr_thread_start(help, self, false, &self->thread);
    self->has_thread = status == 0;
    return status;
}

int sr_backend_poll(bool lent, struct sr_backend **out_backend)
{
    struct poll_backend *self = sr_sys.calloc(1, sizeof *self);
    int status;

    if (!self)
        return sr_error_no_memory();
    self->base.ops = &ops;
    for (int i = 0; i < 2; i++)
        self->wake[i] = self->kick[i] = self->notify[i] = -1;
    self->deadline_ns = SR_CLOCK_NEVER;
    self->armed = true;
    sr_mutex_init(&self->mutex);
    sr_cond_init(&self->cond);
    status = open_all(self, lent);
    if (status < 0) {
        free_all(&self->base);
        return status;
    }
    self->base.fd = self->notify[0];
    *out_backend = &self->base;
    return 0;
}
