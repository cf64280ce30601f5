/* The way to a loop's thread: src/net/post.c; and what holds a loop. */
#include "test-conn-helpers.h"

#include "harness/harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static int ran, last_status;
static pthread_t ran_on;

static void run_here(int status, void *user)
{
    (void)user;
    ran++;
    last_status = status;
    ran_on = pthread_self();
}

START_TEST(it_runs_once_on_the_loops_thread)
{
    ck_assert_int_eq(sockref_loop_post(loop, run_here, NULL), 0);
    ck_assert_int_eq(ran, 0);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    DRIVE_UNTIL(ran == 1);
    drive_all();
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(last_status, 0);
    ck_assert(pthread_equal(ran_on, pthread_self()));
}
END_TEST

static void run_nth(int status, void *user)
{
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq((intptr_t)user, ran);
    ran++;
}

START_TEST(they_run_in_order_and_all_of_them)
{
    for (intptr_t i = 0; i < 300; i++)
        ck_assert_int_eq(sockref_loop_post(loop, run_nth, (void *)i), 0);
    DRIVE_UNTIL(ran == 300);
}
END_TEST

START_TEST(freeing_the_loop_cancels_it)
{
    ck_assert_int_eq(sockref_loop_post(loop, run_here, NULL), 0);
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(last_status, SOCKREF_ECANCELED);
}
END_TEST

static void free_registry(int status, void *user)
{
    ck_assert_int_eq(status, 0);
    sockref_registry_free(user);
    ran++;
}

/* It waits for nothing there; what waits out its delay ends at once. */
START_TEST(a_registry_is_freed_inside_a_callback)
{
    sockref_registry *registry = harness_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 3600000, 0);
    sockref *held = harness_listen(registry, harness_at("held"));

    sockref_release(harness_listen(registry, harness_at("delayed")));
    ck_assert_int_eq(sockref_serve_on(held, loop, sockref_echo_handlers(), NULL), 0);
    ck_assert_int_eq(sockref_loop_post(loop, free_registry, registry), 0);
    DRIVE_UNTIL(ran == 1);
    ck_assert(!harness_exists(harness_at("delayed")));
    ck_assert(sockref_is_active(held));
    sockref_release(held);
    drive_all();
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

static int refused;

static void post_again(int status, void *user)
{
    (void)user;
    ck_assert_int_eq(status, SOCKREF_ECANCELED);
    refused = sockref_loop_post(loop, run_here, NULL);
}

START_TEST(a_loop_that_is_freed_takes_no_more)
{
    ck_assert_int_eq(sockref_loop_post(loop, post_again, NULL), 0);
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(refused, SOCKREF_ECLOSED);
    ck_assert_int_eq(ran, 0);
}
END_TEST

static void repost(int status, void *user)
{
    (void)user;
    ran++;
    if (status == 0)
        ck_assert_int_eq(sockref_loop_post(loop, repost, NULL), 0);
}

START_TEST(one_that_posts_itself_comes_once_a_turn)
{
    ck_assert_int_eq(sockref_loop_post(loop, repost, NULL), 0);
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 1);
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 1);
    ck_assert_int_eq(ran, 2);
}
END_TEST

/* ---- the library's own loop ---- */

static atomic_int own_ran;

static void count_own(int status, void *user)
{
    (void)user;
    ck_assert_int_eq(status, 0);
    atomic_fetch_add(&own_ran, 1);
}

static void *end_at_once(void *out_number)
{
    *(pid_t *)out_number = gettid();
    return NULL;
}

START_TEST(without_a_loop_a_thread_runs_it_and_ends)
{
    unsigned threads;
    pthread_t first;
    pid_t number;

    /* A sanitizer starts a thread of its own with the first one of the program. */
    ck_assert_int_eq(pthread_create(&first, NULL, end_at_once, &number), 0);
    pthread_join(first, NULL);
    WAIT_UNTIL(tgkill(getpid(), number, 0) < 0); /* the kernel counts it for a moment yet */
    threads = harness_threads();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(sockref_loop_post(NULL, count_own, NULL), 0);
        WAIT_UNTIL(atomic_load(&own_ran) == i + 1);
        ck_assert(harness_threads_become(threads));
    }
}
END_TEST

static void *post_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        if (sockref_loop_post(NULL, count_own, NULL) != 0)
            return "refused";
    return NULL;
}

START_TEST(any_thread_may_post)
{
    pthread_t threads[4];
    void *result;

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, post_many, NULL);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &result);
        ck_assert_ptr_null(result);
    }
    WAIT_UNTIL(atomic_load(&own_ran) == 4000);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    ck_assert_int_eq(sockref_loop_post(loop, NULL, NULL), -EINVAL);
    ck_assert_uint_eq(sockref_loop_hold_count(NULL), 0);
}
END_TEST

/* ---- what holds a loop ---- */

START_TEST(services_and_connections_hold_their_loop)
{
    sockref_handlers handlers = recording_all();
    sockref *ref = serve_here(NULL, &handlers, &record);
    int fd = dial();

    ck_assert_uint_eq(sockref_loop_hold_count(loop), 1);
    DRIVE_UNTIL(record.connections == 1);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 2);
    sockref_conn_hold(record.conn, true);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 2);
    sockref_conn_hold(record.conn, false);
    sockref_conn_hold(record.conn, false);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 1);
    sockref_conn_hold(record.conn, true);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 2);
    close(fd);
    DRIVE_UNTIL(record.ends == 1);
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(sockref_loop_hold_count(loop) == 1);
    sockref_release(ref);
    while (sockref_loop_hold_count(loop) > 0)
        ck_assert_int_ge(sockref_loop_dispatch(loop, -1), 0);
    ck_assert_int_eq(record.stops, 1);
    sockref_conn_hold(NULL, true);
}
END_TEST

START_TEST(unheld_ones_do_not)
{
    const sockref_conn_options options = {.size = sizeof options, .flags = SOCKREF_CONN_UNHELD};
    sockref_handlers handlers = recording_all();
    sockref *ref;
    int fd;

    handlers.options = &options;
    ref = serve_here(NULL, &handlers, &record);
    fd = dial();
    DRIVE_UNTIL(record.connections == 1);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 0);
    sockref_conn_hold(record.conn, true);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 1);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_uint_eq(sockref_loop_hold_count(loop), 0);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("post");
    TCase *tcase = tcase_create("post");

    tcase_add_checked_fixture(tcase, setup, teardown_adopted);
    tcase_add_test(tcase, it_runs_once_on_the_loops_thread);
    tcase_add_test(tcase, they_run_in_order_and_all_of_them);
    tcase_add_test(tcase, freeing_the_loop_cancels_it);
    tcase_add_test(tcase, a_loop_that_is_freed_takes_no_more);
    tcase_add_test(tcase, a_registry_is_freed_inside_a_callback);
    tcase_add_test(tcase, one_that_posts_itself_comes_once_a_turn);
    tcase_add_test(tcase, without_a_loop_a_thread_runs_it_and_ends);
    tcase_add_test(tcase, any_thread_may_post);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, services_and_connections_hold_their_loop);
    tcase_add_test(tcase, unheld_ones_do_not);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
