/* What the suites of descriptor watches share: a watch and what was seen of it. */
#ifndef TEST_FDWATCH_HELPERS_H
#define TEST_FDWATCH_HELPERS_H

#include "base/clock.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "ref/hooks.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A watch and what was seen of it. */
struct seen {
    struct sr_fdwatch watch;
    void (*on_ready)(struct seen *self);
    void (*on_ended)(struct seen *self);
    struct seen *other;
    int peer; /* the far end of fd */
    int calls;
    atomic_bool refuses; /* ready() returns that it can't see to it */
    atomic_int ready, ended;
    atomic_int wrong; /* calls on another thread than the service's, or after ended() */
};

static inline bool is_service_thread(void)
{
    char name[16] = "";

    pthread_getname_np(pthread_self(), name, sizeof name);
    return strcmp(name, "sockref") == 0 && sr_hooks.in_callback();
}

static inline struct seen *of(struct sr_fdwatch *watch)
{
    return SR_LIST_OWNER(watch, struct seen, watch);
}

static inline bool be_ready(struct sr_fdwatch *watch)
{
    struct seen *self = of(watch);

    self->wrong += !is_service_thread() || self->ended > 0;
    self->calls++;
    if (self->on_ready)
        self->on_ready(self);
    self->ready++; /* last: who sees it sees what the hook did */
    return !self->refuses;
}

static inline void be_ended(struct sr_fdwatch *watch)
{
    struct seen *self = of(watch);

    self->wrong += !is_service_thread() || self->ended > 0;
    if (self->on_ended)
        self->on_ended(self);
    self->ended++;
}

static inline void init(struct seen *self, int fd, unsigned every_ms)
{
    memset(self, 0, sizeof *self);
    self->peer = -1;
    self->watch.fd = fd;
    self->watch.every_ms = every_ms;
    self->watch.ready = be_ready;
    self->watch.ended = be_ended;
}

static inline void init_pair(struct seen *self)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    init(self, fds[0], 0);
    self->peer = fds[1];
}

static inline void begin(struct seen *self)
{
    harness_assert_ok(sr_hooks.fdwatch_begin(&self->watch));
}

static inline void close_pair(struct seen *self)
{
    close(self->watch.fd);
    if (self->peer >= 0)
        close(self->peer);
}

static inline void put_byte(struct seen *self)
{
    ck_assert_int_eq(send(self->peer, "x", 1, MSG_NOSIGNAL), 1);
}

static inline void take_bytes(struct seen *self)
{
    char bytes[16];

    while (read(self->watch.fd, bytes, sizeof bytes) > 0)
        continue;
}

static inline void wait_ended(struct seen *self)
{
    WAIT_UNTIL(self->ended > 0);
    ck_assert_int_eq(self->ended, 1);
    ck_assert_int_eq(self->wrong, 0);
}

static inline void end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    wait_ended(self);
}

static inline void end_inside(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
}

static inline int drain(void)
{
    return sr_hooks.drain(sr_clock_after_ms(HARNESS_PATIENCE_MS));
}

/* Where the service thread stops inside a callback. */
static sem_t reached, go;

static inline void wait_sem(sem_t *sem)
{
    while (sem_wait(sem) < 0)
        continue;
}

static inline void stop_here(struct seen *self)
{
    (void)self;
    sem_post(&reached);
    wait_sem(&go);
}

/* The service thread stops in the first ready(), and the watch ends with it. */
static inline void stop_and_end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    stop_here(self);
}

static inline void setup(void)
{
    sem_init(&reached, 0, 0);
    sem_init(&go, 0, 0);
}

static inline void teardown(void)
{
    faults_disarm();
    ck_assert_int_eq(drain(), 0);
    faults_clear(); /* no thread looks at the table any more */
}

#endif
