/* Timers: src/net/timer.c */
#include "net/timer.h"

#include "base/clock.h"

#include <check.h>
#include <stdlib.h>

#define MANY 1000

struct probe {
    struct sr_timer timer;
    int fired;
};

static struct sr_timers timers;
static uint64_t last_when;
static int fired, moves_left;

static void fire(struct sr_timer *timer)
{
    ck_assert_uint_ge(timer->when_ns, last_when);
    ck_assert(!sr_timer_is_running(timer));
    last_when = timer->when_ns;
    ((struct probe *)timer)->fired++;
    fired++;
}

static void setup(void)
{
    timers = (struct sr_timers){0};
    last_when = 0;
    fired = 0;
}

START_TEST(no_timer_is_due_never)
{
    ck_assert_uint_eq(sr_timer_next(&timers), SR_CLOCK_NEVER);
    sr_timer_run(&timers, SR_CLOCK_NEVER);
}
END_TEST

START_TEST(timers_fire_in_order_and_only_when_due)
{
    static struct probe probes[MANY];

    srand(1);
    for (int i = 0; i < MANY; i++) {
        probes[i] = (struct probe){.timer.fire = fire};
        sr_timer_add(&timers, &probes[i].timer, 1 + (uint64_t)(rand() % 500));
    }
    sr_timer_run(&timers, 250);
    ck_assert_uint_gt(sr_timer_next(&timers), 250);
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(probes[i].fired, probes[i].timer.when_ns <= 250);
    sr_timer_run(&timers, 500);
    ck_assert_int_eq(fired, MANY);
}
END_TEST

START_TEST(any_timer_can_be_removed_or_moved)
{
    static struct probe probes[MANY];
    int removed = 0;

    srand(2);
    for (int i = 0; i < MANY; i++) {
        probes[i] = (struct probe){.timer.fire = fire};
        sr_timer_add(&timers, &probes[i].timer, 1 + (uint64_t)(rand() % 500));
    }
    sr_timer_run(&timers, 20);
    for (int i = 0; i < MANY; i++) {
        if (!sr_timer_is_running(&probes[i].timer))
            continue;
        if (i % 3 == 0) {
            sr_timer_remove(&timers, &probes[i].timer);
            sr_timer_remove(&timers, &probes[i].timer);
            removed++;
        } else if (i % 3 == 1) {
            sr_timer_add(&timers, &probes[i].timer, 600 + (uint64_t)(rand() % 100));
        }
    }
    sr_timer_run(&timers, 700);
    ck_assert_int_eq(fired, MANY - removed);
    ck_assert_uint_eq(sr_timer_next(&timers), SR_CLOCK_NEVER);
}
END_TEST

static void fire_again(struct sr_timer *timer)
{
    fired++;
    if (moves_left-- > 0)
        sr_timer_add(&timers, timer, timer->when_ns + 10);
}

START_TEST(a_timer_may_add_itself_again)
{
    struct probe probe = {.timer.fire = fire_again};

    moves_left = 3;
    sr_timer_add(&timers, &probe.timer, 10);
    sr_timer_run(&timers, 10);
    ck_assert_int_eq(fired, 1);
    ck_assert_uint_eq(sr_timer_next(&timers), 20);
    sr_timer_run(&timers, 100);
    ck_assert_int_eq(fired, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timer");
    TCase *tcase = tcase_create("timer");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, no_timer_is_due_never);
    tcase_add_test(tcase, timers_fire_in_order_and_only_when_due);
    tcase_add_test(tcase, any_timer_can_be_removed_or_moved);
    tcase_add_test(tcase, a_timer_may_add_itself_again);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
