/* Descriptor watches of many threads, and with calls that fail: src/net/fdwatch.c. */
#include "base/fd.h"
#include "test-fdwatch-helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>

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
        fd = i % 3 != 1 ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
        all[i] = malloc(sizeof *all[i]);
        init(all[i], fd, i % 3 == 1 ? 1 + number : 0);
        all[i]->watch.ended = end_many;
        all[i]->on_ready = count_first;
        ck_assert_int_eq(sr_hooks.fdwatch_begin(&all[i]->watch), 0);
        if (i % 2 == 0) { /* some at once, so that ends meet begins */
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
        init(seen, number % 2 ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK) : -1, number % 2 ? 0 : 1);
        seen->watch.ended = end_many;
        if (i % 2 == 0)
            seen->on_ready = end_inside;
        ck_assert_int_eq(sr_hooks.fdwatch_begin(&seen->watch), 0);
        if (i % 2 == 1)
            sr_hooks.fdwatch_end(&seen->watch);
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

int main(void)
{
    Suite *suite = suite_create("fdwatch-failures");
    TCase *tcase = harness_tcase(suite, "failures");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_thousand_are_begun_and_ended_by_four_threads);
    tcase_add_test(tcase, begins_and_ends_race_with_the_end_of_the_thread);
    tcase_add_loop_test(tcase, each_call_may_fail, 0, sizeof failures / sizeof *failures);
    tcase_add_test(tcase, without_room_in_the_set_a_descriptor_is_told_all_the_same);
    tcase_add_test(tcase, one_that_waits_for_room_ends);
    return harness_run(suite);
}
