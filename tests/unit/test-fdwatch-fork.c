/* Descriptor watches and children by fork(): src/net/fdwatch.c. */
#include "test-fdwatch-helpers.h"

#include <stdlib.h>
#include <sys/wait.h>

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
 * Two are due in one turn, by event or by interval, and the first one forks. Its thread is the
 * child's only one: it returns from ready(), the other one is not told, and the child ends.
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
    Suite *suite = suite_create("fdwatch-fork");
    TCase *tcase = harness_tcase(suite, "fork");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_forked_child_is_told_nothing_and_the_parent_goes_on);
    tcase_add_loop_test(tcase, a_child_that_ready_forked_is_told_nothing, 0, 2);
    return harness_run(suite);
}
