/* Descriptor watches of the ref floor: src/net/fdwatch.c */
#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "net/loop.h"
#include "ref/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Wait until a condition holds; the case fails where it does not in time. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ = sr_clock_after_ms(HARNESS_PATIENCE_MS);                                  \
        while (!(condition)) {                                                                     \
            ck_assert_msg(sr_clock_ns() < until_, "still not: %s", #condition);                    \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

/* A watch and what was seen of it. */
struct seen {
    struct sr_fdwatch watch;
    void (*on_ready)(struct seen *self);
    void (*on_ended)(struct seen *self);
    struct seen *other;
    int peer; /* the far end of fd */
    int calls;
    atomic_int ready, ended;
    atomic_int wrong; /* calls on another thread than the service's, or after ended() */
};

static bool is_service_thread(void)
{
    char name[16] = "";

    pthread_getname_np(pthread_self(), name, sizeof name);
    return strcmp(name, "sockref") == 0 && sr_hooks.in_callback();
}

static struct seen *of(struct sr_fdwatch *watch)
{
    return SR_LIST_OWNER(watch, struct seen, watch);
}

static void be_ready(struct sr_fdwatch *watch)
{
    struct seen *self = of(watch);

    self->wrong += !is_service_thread() || self->ended > 0;
    self->calls++;
    if (self->on_ready)
        self->on_ready(self);
    self->ready++; /* last: who sees it sees what the hook did */
}

static void be_ended(struct sr_fdwatch *watch)
{
    struct seen *self = of(watch);

    self->wrong += !is_service_thread() || self->ended > 0;
    if (self->on_ended)
        self->on_ended(self);
    self->ended++;
}

static void init(struct seen *self, int fd, unsigned every_ms)
{
    memset(self, 0, sizeof *self);
    self->peer = -1;
    self->watch.fd = fd;
    self->watch.every_ms = every_ms;
    self->watch.ready = be_ready;
    self->watch.ended = be_ended;
}

static void init_pair(struct seen *self)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    init(self, fds[0], 0);
    self->peer = fds[1];
}

static void begin(struct seen *self)
{
    harness_assert_ok(sr_hooks.fdwatch_begin(&self->watch));
}

static void close_pair(struct seen *self)
{
    close(self->watch.fd);
    if (self->peer >= 0)
        close(self->peer);
}

static void put_byte(struct seen *self)
{
    ck_assert_int_eq(send(self->peer, "x", 1, MSG_NOSIGNAL), 1);
}

static void take_bytes(struct seen *self)
{
    char bytes[16];

    while (read(self->watch.fd, bytes, sizeof bytes) > 0)
        continue;
}

static void wait_ended(struct seen *self)
{
    WAIT_UNTIL(self->ended > 0);
    ck_assert_int_eq(self->ended, 1);
    ck_assert_int_eq(self->wrong, 0);
}

static void end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    wait_ended(self);
}

static void end_inside(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
}

static int drain(void)
{
    return sr_hooks.drain(sr_clock_after_ms(HARNESS_PATIENCE_MS));
}

/* Where the service thread stops inside a callback. */
static sem_t reached, go;

static void wait_sem(sem_t *sem)
{
    while (sem_wait(sem) < 0)
        continue;
}

static void stop_here(struct seen *self)
{
    (void)self;
    sem_post(&reached);
    wait_sem(&go);
}

/* The service thread stops in the first ready(), and the watch ends with it. */
static void stop_and_end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    stop_here(self);
}

static void setup(void)
{
    sem_init(&reached, 0, 0);
    sem_init(&go, 0, 0);
}

static void teardown(void)
{
    faults_disarm();
    ck_assert_int_eq(drain(), 0);
    faults_clear(); /* no thread looks at the table any more */
}

/* ---- what is told ---- */

START_TEST(readable_is_told_as_long_as_it_is_so)
{
    struct seen seen, quiet;

    init_pair(&seen);
    init_pair(&quiet);
    begin(&quiet);
    begin(&seen);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready >= 3);
    end(&seen);
    ck_assert_int_eq(quiet.ready, 0);
    end(&quiet);
    close_pair(&seen);
    close_pair(&quiet);
}
END_TEST

START_TEST(what_was_taken_is_not_told_again)
{
    struct seen seen, clock;

    init_pair(&seen);
    seen.on_ready = take_bytes;
    begin(&seen);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready == 1);
    init(&clock, -1, 1);
    begin(&clock);
    WAIT_UNTIL(clock.ready >= 20);
    ck_assert_int_eq(seen.ready, 1);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready == 2);
    end(&seen);
    end(&clock);
    close_pair(&seen);
}
END_TEST

START_TEST(a_hang_up_is_told)
{
    struct seen seen;
    char byte;

    init_pair(&seen);
    begin(&seen);
    close(seen.peer);
    seen.peer = -1;
    WAIT_UNTIL(seen.ready >= 2);
    ck_assert_int_eq(read(seen.watch.fd, &byte, 1), 0);
    end(&seen);
    close_pair(&seen);
}
END_TEST

START_TEST(an_interval_is_told_without_a_descriptor)
{
    struct seen seen;
    uint64_t began_ns = sr_clock_ns();

    init(&seen, -1, 5);
    begin(&seen);
    WAIT_UNTIL(seen.ready >= 4);
    ck_assert_uint_ge(sr_clock_ns() - began_ns, 20 * 1000000u);
    end(&seen);
}
END_TEST

START_TEST(an_interval_is_told_beside_a_descriptor)
{
    struct seen seen;

    init_pair(&seen);
    seen.watch.every_ms = 1;
    seen.on_ready = take_bytes;
    begin(&seen);
    WAIT_UNTIL(seen.ready >= 3);
    end(&seen);
    close_pair(&seen);
}
END_TEST

static void stop_the_clock(struct seen *self)
{
    if (self->calls == 2)
        sr_hooks.fdwatch_every(&self->watch, 0);
}

static void start_the_clock(struct seen *self)
{
    if (self->calls == 1)
        sr_hooks.fdwatch_every(&self->watch, 1);
}

START_TEST(every_changes_the_interval)
{
    struct seen stopped, started;

    init(&stopped, -1, 1);
    stopped.on_ready = stop_the_clock;
    begin(&stopped);
    WAIT_UNTIL(stopped.ready == 2);
    init(&started, -1, 0);
    started.on_ready = start_the_clock;
    begin(&started);
    sr_hooks.fdwatch_poke(&started.watch);
    WAIT_UNTIL(started.ready >= 20);
    ck_assert_int_eq(stopped.ready, 2);
    end(&stopped);
    end(&started);
}
END_TEST

static void every_after_end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    sr_hooks.fdwatch_every(&self->watch, 1);
    sr_hooks.fdwatch_poke(&self->watch);
}

START_TEST(nothing_is_told_after_an_end_inside_ready)
{
    struct seen seen, clock;

    init_pair(&seen);
    seen.watch.every_ms = 1;
    seen.on_ready = every_after_end;
    put_byte(&seen);
    begin(&seen);
    wait_ended(&seen);
    init(&clock, -1, 1);
    begin(&clock);
    WAIT_UNTIL(clock.ready >= 10);
    ck_assert_int_eq(seen.ready, 1);
    ck_assert_int_eq(seen.wrong, 0);
    ck_assert_ptr_null(seen.watch.inside);
    end(&clock);
    close_pair(&seen);
}
END_TEST

/* ---- the end ---- */

START_TEST(ended_comes_once_and_last)
{
    struct seen seen, later;

    init_pair(&seen);
    seen.watch.every_ms = 1;
    begin(&seen);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready >= 1);
    end(&seen);
    /* It goes on being readable, and the thread goes on. */
    init(&later, -1, 1);
    begin(&later);
    WAIT_UNTIL(later.ready >= 10);
    ck_assert_int_eq(seen.ended, 1);
    ck_assert_int_eq(seen.wrong, 0);
    end(&later);
    close_pair(&seen);
}
END_TEST

START_TEST(one_that_was_never_ready_ends)
{
    struct seen seen;

    init(&seen, -1, 0);
    begin(&seen);
    end(&seen);
    ck_assert_int_eq(seen.ready, 0);
}
END_TEST

static pthread_mutex_t own_mutex = PTHREAD_MUTEX_INITIALIZER;

static void want_mutex(struct seen *self)
{
    if (self->calls > 1)
        return;
    sem_post(&reached);
    pthread_mutex_lock(&own_mutex);
    pthread_mutex_unlock(&own_mutex);
}

/* As with the registry's mutex: ready() waits for the mutex that who ends it holds. */
START_TEST(end_and_poke_do_not_wait_for_ready)
{
    struct seen seen;

    init_pair(&seen);
    seen.on_ready = want_mutex;
    put_byte(&seen);
    pthread_mutex_lock(&own_mutex);
    begin(&seen);
    wait_sem(&reached);
    sr_hooks.fdwatch_poke(&seen.watch);
    sr_hooks.fdwatch_end(&seen.watch);
    ck_assert_int_eq(seen.ready, 0);
    ck_assert_int_eq(seen.ended, 0);
    pthread_mutex_unlock(&own_mutex);
    wait_ended(&seen);
    ck_assert_int_eq(seen.ready, 1); /* the one that was under way */
    close_pair(&seen);
}
END_TEST

static void end_other(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->other->watch);
}

/* Both are in one batch, in whatever order: the first one ends the second, which is not told. */
START_TEST(an_event_of_one_that_was_ended_in_the_same_batch_is_not_told)
{
    struct seen holder, pair[2];

    init_pair(&holder);
    holder.on_ready = stop_and_end;
    for (int i = 0; i < 2; i++) {
        init_pair(&pair[i]);
        pair[i].on_ready = end_other;
        pair[i].other = &pair[1 - i];
        begin(&pair[i]);
    }
    begin(&holder);
    put_byte(&holder);
    wait_sem(&reached);
    put_byte(&pair[0]);
    put_byte(&pair[1]);
    sem_post(&go);
    WAIT_UNTIL(pair[0].ended + pair[1].ended >= 1);
    wait_ended(&holder);
    if (pair[0].ended) {
        ck_assert_int_eq(pair[0].ready, 0);
        end(&pair[1]);
    } else {
        ck_assert_int_eq(pair[1].ready, 0);
        end(&pair[0]);
    }
    ck_assert_int_eq(pair[0].wrong + pair[1].wrong, 0);
    for (int i = 0; i < 2; i++)
        close_pair(&pair[i]);
    close_pair(&holder);
}
END_TEST

static void begin_again(struct seen *self)
{
    self->on_ended = NULL;
    self->ended = -1; /* goes up when this returns */
    self->calls = sr_hooks.fdwatch_begin(&self->watch);
}

START_TEST(ended_may_begin_it_again)
{
    struct seen seen;

    init_pair(&seen);
    begin(&seen);
    seen.on_ended = begin_again;
    sr_hooks.fdwatch_end(&seen.watch);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready >= 1 && seen.ended == 0);
    end(&seen);
    close_pair(&seen);
}
END_TEST

/* ---- the thread ---- */

START_TEST(the_thread_is_gone_after_the_last)
{
    unsigned threads = harness_threads(), noted = (unsigned)sr_fd_count();

    for (int i = 0; i < 100; i++) {
        struct seen first, last;

        init(&first, -1, 0);
        init(&last, -1, 0);
        begin(&first);
        begin(&last);
        ck_assert_uint_eq(harness_threads(), threads + 1);
        end(&first);
        ck_assert_int_eq(drain(), 0);
        ck_assert_uint_eq(harness_threads(), threads + 1);
        end(&last);
        ck_assert_int_eq(drain(), 0);
        ck_assert_uint_eq(harness_threads(), threads);
        ck_assert_uint_eq(sr_fd_count(), noted);
    }
}
END_TEST

START_TEST(who_drains_inside_the_last_ended_sees_the_thread)
{
    struct seen seen;

    init(&seen, -1, 0);
    seen.on_ended = stop_here;
    begin(&seen);
    sr_hooks.fdwatch_end(&seen.watch);
    wait_sem(&reached);
    ck_assert_int_eq(sr_hooks.drain(sr_clock_ns()), -ETIMEDOUT);
    sem_post(&go);
    wait_ended(&seen);
}
END_TEST

START_TEST(a_served_name_keeps_the_thread_of_its_watches)
{
    sockref *ref = harness_listen(NULL, harness_at("s"));
    struct seen seen;

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    init(&seen, -1, 1);
    begin(&seen);
    WAIT_UNTIL(seen.ready >= 1);
    end(&seen);
    ck_assert(harness_can_dial(harness_at("s")));
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, HARNESS_PATIENCE_MS), 0);
}
END_TEST

/* ---- many ---- */

#define THREADS    4
#define PER_THREAD 250

/* Made by malloc, and given back with its descriptor where that is allowed first. */
static atomic_int many_ready, many_ended, many_wrong;

static void free_it(struct seen *self)
{
    many_wrong += self->wrong + !is_service_thread();
    many_ended++;
}

static void end_many(struct sr_fdwatch *watch)
{
    struct seen *self = of(watch);

    free_it(self);
    close_pair(self);
    free(self);
}

static void count_first(struct seen *self)
{
    many_ready += self->calls == 1;
}

static void begin_and_end_many(unsigned number, void *arg)
{
    struct seen *all[PER_THREAD];
    int fd;

    (void)arg;
    for (int i = 0; i < PER_THREAD; i++) {
        fd = i % 3 == 0 ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
        all[i] = malloc(sizeof *all[i]);
        init(all[i], fd, i % 3 == 1 ? 1 + number : 0);
        all[i]->watch.ended = end_many;
        all[i]->on_ready = count_first;
        ck_assert_int_eq(sr_hooks.fdwatch_begin(&all[i]->watch), 0);
        sr_hooks.fdwatch_poke(&all[i]->watch);
        if (i % 2 == 0) { /* some at once, so that ends meet pokes */
            sr_hooks.fdwatch_end(&all[i]->watch);
            all[i] = NULL;
        }
    }
    for (int i = 0; i < PER_THREAD; i++) {
        if (!all[i])
            continue;
        WAIT_UNTIL(all[i]->ready >= 1);
        sr_hooks.fdwatch_end(&all[i]->watch);
    }
}

START_TEST(a_thousand_are_begun_and_ended_by_four_threads)
{
    many_ready = many_ended = many_wrong = 0;
    harness_in_threads(THREADS, begin_and_end_many, NULL);
    WAIT_UNTIL(many_ended == THREADS * PER_THREAD);
    ck_assert_int_ge(many_ready, THREADS * PER_THREAD / 2);
    ck_assert_int_eq(many_wrong, 0);
}
END_TEST

/* The thread comes and goes all the time, and the loop with it. */
static void begin_and_end_alone(unsigned number, void *arg)
{
    struct seen *seen;

    (void)arg;
    for (int i = 0; i < 200; i++) {
        seen = malloc(sizeof *seen);
        init(seen, number % 2 ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1, 0);
        seen->watch.ended = end_many;
        if (i % 2 == 0)
            seen->on_ready = end_inside;
        ck_assert_int_eq(sr_hooks.fdwatch_begin(&seen->watch), 0);
        if (i % 2 == 1)
            sr_hooks.fdwatch_end(&seen->watch);
        else if (number % 2 == 0)
            sr_hooks.fdwatch_poke(&seen->watch);
    }
}

START_TEST(begins_and_ends_race_with_the_end_of_the_thread)
{
    many_ended = many_wrong = 0;
    harness_in_threads(2, begin_and_end_alone, NULL);
    WAIT_UNTIL(many_ended == 400);
    ck_assert_int_eq(many_wrong, 0);
}
END_TEST

static void poke_often(unsigned number, void *arg)
{
    struct seen *seen = arg;

    (void)number;
    for (int i = 0; i < 2000; i++)
        sr_hooks.fdwatch_poke(&seen->watch);
}

START_TEST(pokes_of_many_threads_are_told)
{
    struct seen seen;
    int before;

    init(&seen, -1, 0);
    begin(&seen);
    harness_in_threads(8, poke_often, &seen);
    WAIT_UNTIL(seen.ready >= 1);
    for (int i = 0; i < 100; i++) { /* each one that comes after the call before is told */
        before = seen.ready;
        sr_hooks.fdwatch_poke(&seen.watch);
        WAIT_UNTIL(seen.ready > before);
    }
    end(&seen);
    ck_assert_int_le(seen.ready, 8 * 2000 + 100);
}
END_TEST

/* ---- what fails ---- */

static const struct {
    uint64_t kinds;
    int os_errno;
} failures[] = {
    {FAULTS_ALLOCATIONS, ENOMEM},           {FAULTS_BIT(FAULTS_epoll_create1), EMFILE},
    {FAULTS_BIT(FAULTS_epoll_ctl), ENOSPC}, {FAULTS_BIT(FAULTS_eventfd), ENFILE},
    {FAULTS_BIT(FAULTS_pipe2), EMFILE},     {FAULTS_BIT(FAULTS_thread_create), EAGAIN},
    {FAULTS_BIT(FAULTS_epoll_wait), EINTR}, {FAULTS_BIT(FAULTS_poll), ENOMEM},
};

/* A begin that fails leaves nothing; one that succeeds is told, whatever fails on the thread. */
START_TEST(each_call_may_fail)
{
    unsigned threads = harness_threads();
    bool struck = true;
    struct seen seen;

    for (uint64_t n = 1; struck; n++) {
        size_t noted = sr_fd_count();
        int status;

        init_pair(&seen);
        seen.on_ready = take_bytes; /* else calls without number would be there to fail */
        put_byte(&seen);
        faults_install();
        faults_arm(failures[_i].kinds, n, failures[_i].os_errno);
        status = sr_hooks.fdwatch_begin(&seen.watch);
        if (status == 0) {
            WAIT_UNTIL(seen.ready >= 1);
            struck = faults_struck();
            end(&seen);
        } else {
            ck_assert(faults_struck());
            ck_assert_int_eq(status, -failures[_i].os_errno);
            harness_assert_error(status);
            ck_assert_ptr_null(seen.watch.inside);
            ck_assert_int_eq(seen.ready + seen.ended, 0);
        }
        faults_disarm();
        ck_assert_int_eq(drain(), 0);
        faults_clear();
        ck_assert_uint_eq(harness_threads(), threads);
        ck_assert_uint_eq(sr_fd_count(), noted);
        close_pair(&seen);
    }
}
END_TEST

/*
 * From here on the set has no room for a new descriptor; it has a high number, so that poll needs
 * memory for it. The clock keeps the thread, so that nothing else fails.
 */
static void begin_without_room(struct seen *self, struct seen *clock)
{
    int high;

    faults_install();
    init(clock, -1, 1);
    begin(clock);
    WAIT_UNTIL(clock->ready >= 1);
    init_pair(self);
    high = fcntl(self->watch.fd, F_DUPFD_CLOEXEC, 300);
    ck_assert_int_ge(high, 300);
    close(self->watch.fd);
    self->watch.fd = high;
    faults_arm_from(FAULTS_BIT(FAULTS_epoll_ctl) | FAULTS_BIT(FAULTS_realloc), 1, ENOMEM);
    begin(self);
    WAIT_UNTIL(faults_struck());
}

START_TEST(without_room_in_the_set_a_descriptor_is_told_all_the_same)
{
    struct seen seen, clock;

    harness_log();
    begin_without_room(&seen, &clock);
    ck_assert_int_eq(seen.ready, 0);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready >= 3);
    ck_assert_uint_eq(harness_logged("thread_failed"), 1);
    faults_disarm();
    WAIT_UNTIL(seen.ready >= 100); /* it is in the set: now and then would take too long */
    end(&seen);
    end(&clock);
    close_pair(&seen);
}
END_TEST

START_TEST(one_that_waits_for_room_ends)
{
    struct seen seen, clock;

    begin_without_room(&seen, &clock);
    end(&seen);
    ck_assert_int_eq(seen.ready, 0);
    end(&clock);
    close_pair(&seen);
}
END_TEST

/* ---- fork ---- */

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ & 0xff;                                                                \
    } while (0)

static struct seen ticking, readable;

#if defined(__SANITIZE_THREAD__)
static int watch_in_child(void)
{
    return 0; /* the sanitizer lets such a child start no thread */
}
#else
/* The child's own loop, with the numbers of the parent's descriptors. */
static int watch_in_child(void)
{
    uint64_t until = sr_clock_after_ms(HARNESS_PATIENCE_MS);
    struct seen own;

    init(&own, readable.watch.fd, 1);
    CHECK(sr_hooks.fdwatch_begin(&own.watch) == 0);
    while (own.ready < 20 && sr_clock_ns() < until)
        poll(NULL, 0, 1);
    CHECK(own.ready >= 20);
    sr_hooks.fdwatch_end(&own.watch);
    while (own.ended == 0 && sr_clock_ns() < until)
        poll(NULL, 0, 1);
    CHECK(own.ended == 1 && own.wrong == 0);
    CHECK(drain() == 0);
    return 0;
}
#endif

static int be_a_child(void *arg)
{
    int ticks = ticking.ready, reads = readable.ready;

    (void)arg;
    faults_install();
    sr_hooks.fdwatch_poke(&ticking.watch);
    sr_hooks.fdwatch_every(&ticking.watch, 1);
    sr_hooks.fdwatch_end(&ticking.watch);
    sr_hooks.fdwatch_end(&readable.watch);
    for (int kind = 0; kind < FAULTS_KINDS; kind++)
        CHECK(faults_calls(kind) == 0);
    faults_clear();
    CHECK(watch_in_child() == 0);
    CHECK(ticking.ready == ticks && readable.ready == reads);
    CHECK(ticking.ended == 0 && readable.ended == 0);
    return 0;
}

START_TEST(a_forked_child_is_told_nothing_and_the_parent_goes_on)
{
    int ticks, reads;

    init(&ticking, -1, 1);
    init_pair(&readable);
    begin(&ticking);
    begin(&readable);
    put_byte(&readable);
    for (int i = 0; i < 5; i++) {
        WAIT_UNTIL(ticking.ready >= 1 && readable.ready >= 1);
        ck_assert_int_eq(harness_in_child(be_a_child, NULL), 0);
        ticks = ticking.ready;
        reads = readable.ready;
        WAIT_UNTIL(ticking.ready > ticks && readable.ready > reads);
    }
    end(&ticking);
    end(&readable);
    close_pair(&readable);
}
END_TEST

static pid_t parent, child;
static atomic_bool fork_now;

/* Nothing of the parent's, nor a leak check, at the exit of the child. */
static void leave_at_once(void)
{
    _exit(0);
}

/* Every callback of the child but the one that forked. */
static void be_in_parent(struct seen *self)
{
    (void)self;
    if (getpid() != parent)
        _exit(9);
}

static void fork_here(struct seen *self)
{
    be_in_parent(self);
    take_bytes(self);
    if (!atomic_exchange(&fork_now, false))
        return;
    child = fork();
    if (child == 0)
        atexit(leave_at_once);
    else
        sem_post(&reached);
}

/*
 * Two are due in one turn, by event, by interval or by poke, and the first one forks. Its thread is
 * the child's only one: it returns from ready(), the other one is not told, and the child ends.
 */
START_TEST(a_child_that_ready_forked_is_told_nothing)
{
    struct seen holder, pair[2];
    uint64_t stopped_ns;
    int status;

    parent = getpid();
    fork_now = false;
    for (int i = 0; i < 2; i++) {
        init_pair(&pair[i]);
        pair[i].watch.every_ms = _i == 1 ? 1 : 0;
        pair[i].on_ready = fork_here;
        pair[i].on_ended = be_in_parent;
        begin(&pair[i]);
    }
    init_pair(&holder);
    holder.on_ready = stop_and_end;
    begin(&holder);
    put_byte(&holder);
    wait_sem(&reached);
    stopped_ns = sr_clock_ns();
    fork_now = true;
    for (int i = 0; i < 2; i++) {
        if (_i == 0)
            put_byte(&pair[i]);
        else if (_i == 2)
            sr_hooks.fdwatch_poke(&pair[i].watch);
    }
    WAIT_UNTIL(sr_clock_ns() - stopped_ns > 3 * 1000000u); /* both intervals are over */
    sem_post(&go);
    wait_sem(&reached);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    wait_ended(&holder);
    close_pair(&holder);
    for (int i = 0; i < 2; i++) {
        end(&pair[i]);
        close_pair(&pair[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fdwatch");
    TCase *tcase = harness_tcase(suite, "fdwatch");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, readable_is_told_as_long_as_it_is_so);
    tcase_add_test(tcase, what_was_taken_is_not_told_again);
    tcase_add_test(tcase, a_hang_up_is_told);
    tcase_add_test(tcase, an_interval_is_told_without_a_descriptor);
    tcase_add_test(tcase, an_interval_is_told_beside_a_descriptor);
    tcase_add_test(tcase, every_changes_the_interval);
    tcase_add_test(tcase, nothing_is_told_after_an_end_inside_ready);
    tcase_add_test(tcase, ended_comes_once_and_last);
    tcase_add_test(tcase, one_that_was_never_ready_ends);
    tcase_add_test(tcase, end_and_poke_do_not_wait_for_ready);
    tcase_add_test(tcase, an_event_of_one_that_was_ended_in_the_same_batch_is_not_told);
    tcase_add_test(tcase, ended_may_begin_it_again);
    tcase_add_test(tcase, the_thread_is_gone_after_the_last);
    tcase_add_test(tcase, who_drains_inside_the_last_ended_sees_the_thread);
    tcase_add_test(tcase, a_served_name_keeps_the_thread_of_its_watches);
    tcase_add_test(tcase, a_thousand_are_begun_and_ended_by_four_threads);
    tcase_add_test(tcase, begins_and_ends_race_with_the_end_of_the_thread);
    tcase_add_test(tcase, pokes_of_many_threads_are_told);
    tcase_add_loop_test(tcase, each_call_may_fail, 0, sizeof failures / sizeof *failures);
    tcase_add_test(tcase, without_room_in_the_set_a_descriptor_is_told_all_the_same);
    tcase_add_test(tcase, one_that_waits_for_room_ends);
    tcase_add_test(tcase, a_forked_child_is_told_nothing_and_the_parent_goes_on);
    tcase_add_loop_test(tcase, a_child_that_ready_forked_is_told_nothing, 0, 3);
    return harness_run(suite);
}
