/* Descriptor watches of the ref floor: what they tell, their end, and the thread:
 * src/net/fdwatch.c. */
#include "base/fd.h"
#include "net/loop.h"
#include "test-fdwatch-helpers.h"

#include <errno.h>

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

START_TEST(what_cannot_be_seen_to_is_told_again_later)
{
    struct seen seen, rested;
    uint64_t began_ns = sr_clock_ns();
    int told;

    init_pair(&seen);
    seen.refuses = true;
    begin(&seen);
    put_byte(&seen);
    WAIT_UNTIL(seen.ready >= 5);
    told = seen.ready;
    ck_assert_uint_ge(sr_clock_ns() - began_ns, (uint64_t)(told - 2) * 5 * 1000000u);
    seen.refuses = false;
    WAIT_UNTIL(seen.ready >= told + 50); /* at once again, as long as it is readable */
    end(&seen);
    close_pair(&seen);

    init_pair(&rested); /* one that has rested ends */
    rested.refuses = true;
    begin(&rested);
    put_byte(&rested);
    WAIT_UNTIL(rested.ready >= 1);
    end(&rested);
    close_pair(&rested);
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
    take_bytes(self);
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
    init_pair(&started);
    started.on_ready = start_the_clock;
    begin(&started);
    put_byte(&started);
    WAIT_UNTIL(started.ready >= 20);
    ck_assert_int_eq(stopped.ready, 2);
    end(&stopped);
    end(&started);
    close_pair(&started);
}
END_TEST

static void every_after_end(struct seen *self)
{
    sr_hooks.fdwatch_end(&self->watch);
    sr_hooks.fdwatch_every(&self->watch, 1);
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
START_TEST(the_end_does_not_wait_for_ready)
{
    struct seen seen;

    init_pair(&seen);
    seen.on_ready = want_mutex;
    put_byte(&seen);
    pthread_mutex_lock(&own_mutex);
    begin(&seen);
    wait_sem(&reached);
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

int main(void)
{
    Suite *suite = suite_create("fdwatch");
    TCase *tcase = harness_tcase(suite, "fdwatch");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, readable_is_told_as_long_as_it_is_so);
    tcase_add_test(tcase, what_was_taken_is_not_told_again);
    tcase_add_test(tcase, a_hang_up_is_told);
    tcase_add_test(tcase, what_cannot_be_seen_to_is_told_again_later);
    tcase_add_test(tcase, an_interval_is_told_without_a_descriptor);
    tcase_add_test(tcase, an_interval_is_told_beside_a_descriptor);
    tcase_add_test(tcase, every_changes_the_interval);
    tcase_add_test(tcase, nothing_is_told_after_an_end_inside_ready);
    tcase_add_test(tcase, ended_comes_once_and_last);
    tcase_add_test(tcase, one_that_was_never_ready_ends);
    tcase_add_test(tcase, the_end_does_not_wait_for_ready);
    tcase_add_test(tcase, an_event_of_one_that_was_ended_in_the_same_batch_is_not_told);
    tcase_add_test(tcase, ended_may_begin_it_again);
    tcase_add_test(tcase, the_thread_is_gone_after_the_last);
    tcase_add_test(tcase, who_drains_inside_the_last_ended_sees_the_thread);
    tcase_add_test(tcase, a_served_name_keeps_the_thread_of_its_watches);
    return harness_run(suite);
}
