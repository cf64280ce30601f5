/* The cleanup delay and its worker: src/ref/cleanup.c. V1, G21, G45, D15. */
#include "ref/cleanup.h"

#include "base/clock.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"
#include "ref/state.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define LONG_MS (60 * 60 * 1000)

static sockref_registry *with_delay(int delay_ms)
{
    return harness_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, delay_ms, SOCKREF_OPT_MAX_SOCKETS, 200000,
                            0);
}

static bool becomes_gone(const char *path)
{
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);

    while (harness_exists(path) && sr_clock_ns() < deadline)
        poll(NULL, 0, 1);
    return !harness_exists(path);
}

/* L28 */
START_TEST(the_file_outlives_the_last_reference_and_goes_by_itself)
{
    const char *path = harness_at("a");
    sockref_registry *registry = with_delay(20);

    sockref_release(harness_listen(registry, path));
    ck_assert(becomes_gone(path));
    harness_assert_ok(sockref_registry_drain(registry, HARNESS_PATIENCE_MS));
    sockref_registry_free(registry);
}
END_TEST

START_TEST(a_name_in_its_delay_is_not_active)
{
    const char *path = harness_at("a");
    sockref_registry *registry = with_delay(LONG_MS);

    sockref_release(harness_listen(registry, path));
    ck_assert(harness_is_socket(path));
    ck_assert(!sockref_registry_is_socket_active(registry, path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    harness_assert_ok(sockref_registry_drain(registry, 0)); /* not waited for */
    ck_assert(harness_can_dial(path));
    sockref_registry_free(registry);
    ck_assert(!harness_exists(path));
}
END_TEST

static int take_by_listen(sockref_registry *registry, const char *path, sockref **out)
{
    return sockref_registry_listen(registry, path, NULL, out);
}

static int take_exclusively(sockref_registry *registry, const char *path, sockref **out)
{
    sockref_options *options = harness_options(SOCKREF_OPT_EXCLUSIVE, 1, 0);
    int status = sockref_registry_listen(registry, path, options, out);

    sockref_options_free(options);
    return status;
}

static int take_by_spelling(sockref_registry *registry, const char *path, sockref **out)
{
    (void)path;
    return sockref_registry_listen(registry, harness_at(".//a"), NULL, out);
}

static int (*const takes[])(sockref_registry *, const char *, sockref **) = {
    take_by_listen, sockref_registry_get_or_create, sockref_registry_get_existing, take_exclusively,
    take_by_spelling};

/* G45: whoever wants it within the delay has the same listener. */
START_TEST(a_new_reference_ends_the_delay)
{
    const char *path = harness_at("a");
    sockref_registry *registry = with_delay(LONG_MS);
    sockref *ref = harness_listen(registry, path), *again = NULL;
    ino_t inode = harness_inode(path);
    int fd = sockref_fd(ref);

    for (int round = 0; round < 3; round++) {
        sockref_release(ref);
        harness_assert_ok(takes[_i](registry, path, &again));
        ck_assert_ptr_eq(again, ref);
        ck_assert_uint_eq(harness_inode(path), inode);
        ck_assert_int_eq(sockref_fd(ref), fd);
        ck_assert(sockref_is_owner(ref));
        ck_assert_uint_eq(sockref_reference_count(ref), 1);
        ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    }
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(cleanup_ends_a_delay)
{
    const char *path = harness_at("a");
    sockref_registry *registry = with_delay(LONG_MS);
    uint64_t count = 0;

    sockref_release(harness_listen(registry, path));
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert(!harness_exists(path));
    harness_assert_fails(sockref_registry_cleanup(registry, path), SOCKREF_ENOTFOUND);
    sockref_release(harness_listen(registry, path));
    sockref_release(harness_listen(registry, harness_at("b")));
    harness_assert_ok(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(harness_files(), 0);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(shutdown_ends_delays)
{
    sockref_registry *registry = with_delay(LONG_MS);

    sockref_release(harness_listen(registry, harness_at("a")));
    harness_assert_ok(sockref_registry_shutdown(registry, -1));
    ck_assert_uint_eq(harness_files(), 0);
    sockref_registry_free(registry);
}
END_TEST

/* A registry that is freed takes its delays with it, and no new one begins. */
START_TEST(freeing_the_registry_ends_delays)
{
    sockref_registry *registry = with_delay(LONG_MS);
    sockref *held = harness_listen(registry, harness_at("held"));

    for (int i = 0; i < 20; i++)
        sockref_release(harness_listen(registry, harness_at(harness_text("%d", i))));
    sockref_registry_free(registry);
    ck_assert_uint_eq(harness_sockets(), 1);
    ck_assert(harness_can_dial(harness_at("held")));
    sockref_release(held); /* at once */
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

START_TEST(the_delay_of_a_call_is_its_own)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, LONG_MS, 0);
    sockref_registry *registry = harness_registry(0);
    sockref *a = NULL, *b = harness_listen(registry, harness_at("b"));

    harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), options, &a));
    sockref_release(a);
    sockref_release(b);
    ck_assert(harness_exists(harness_at("a")));
    ck_assert(!harness_exists(harness_at("b")));
    sockref_options_free(options);
    sockref_registry_free(registry);
}
END_TEST

#define DROPS (IS_SANITIZED ? 20000 : 100000)

/* V1, G21: very many last references given back, all with a delay: one more thread. */
START_TEST(v1_many_delays_need_one_thread)
{
    sockref_registry *registry = with_delay(LONG_MS);
    unsigned threads = harness_threads();
    uint64_t started = sr_cleanup_threads_started();
    sockref *ref;

    for (int i = 0; i < 300; i++)
        sockref_release(harness_listen(registry, harness_at(harness_text("%d", i))));
    ck_assert_uint_eq(harness_threads(), threads + 1);
    ref = harness_listen(registry, harness_at("0"));
    for (int i = 0; i < DROPS; i++) {
        sockref_release(ref);
        ck_assert_int_eq(sockref_registry_get_or_create(registry, harness_at("0"), &ref), 0);
        if (i % 10000 == 0)
            ck_assert_uint_eq(harness_threads(), threads + 1);
    }
    sockref_release(ref);
    ck_assert_uint_eq(sr_cleanup_threads_started(), started + 1);
    ck_assert_uint_eq(harness_threads(), threads + 1);
    sockref_registry_free(registry);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

/* D15: where no thread can be had the removal is done at once, by whoever let go. */
START_TEST(d15_without_a_thread_the_name_ends_at_once)
{
    sockref_registry *registry = with_delay(LONG_MS);
    sockref *ref = harness_listen(registry, harness_at("a"));

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_thread_create), 1, EAGAIN);
    sockref_release(ref);
    ck_assert(faults_struck());
    ck_assert(!harness_exists(harness_at("a")));
    sockref_registry_free(registry);
}
END_TEST

START_TEST(delays_of_many_lengths_end_in_their_order)
{
    static const int lengths[] = {40, 5, 30, 1, 20, 10, LONG_MS};
    sockref_registry *registry = harness_registry(0);

    for (int i = 0; i < 7; i++) {
        sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, lengths[i], 0);
        sockref *ref = NULL;

        harness_assert_ok(sockref_registry_listen(
            registry, harness_at(harness_text("%d", lengths[i])), options, &ref));
        sockref_release(ref);
        sockref_options_free(options);
    }
    ck_assert(becomes_gone(harness_at("40")));
    for (int i = 0; i < 6; i++)
        ck_assert(becomes_gone(harness_at(harness_text("%d", lengths[i]))));
    ck_assert_uint_eq(harness_sockets(), 1);
    sockref_registry_free(registry);
}
END_TEST

/*
 * D2: the worker comes late. It has taken a delay off its list, and before it gets the registry's
 * mutex the name was used and let go again, and that delay is over as well. The real worker is held
 * in the removal of another name; the case does what it would do next.
 */
START_TEST(d2_a_worker_that_comes_late_ends_the_later_delay)
{
    sockref_registry *other = with_delay(1), *registry = with_delay(1);
    struct faults_gate gate;
    sockref *ref;

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    sockref_release(harness_listen(other, harness_at("other")));
    faults_wait_held(&gate);
    ref = harness_listen(registry, harness_at("a"));
    sr_mutex_lock(&registry->mutex);
    sr_registry_hold_locked(registry); /* of the delay that was taken off the list */
    sr_mutex_unlock(&registry->mutex);
    sockref_release(ref);
    ck_assert(harness_exists(harness_at("a")));
    while (ref->rest->more->deadline.at > sr_clock_ns())
        continue;
    sr_remove_after_delay(ref);
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert_uint_eq(registry->holds, 1); /* its owner's */
    faults_let_go(&gate);
    ck_assert(becomes_gone(harness_at("other")));
    sockref_registry_free(other);
    sockref_registry_free(registry);
}
END_TEST

/* The same with time left: the later delay goes on. */
START_TEST(d2_a_worker_that_comes_late_spares_a_new_delay)
{
    sockref_registry *registry = with_delay(LONG_MS);
    sockref *ref = harness_listen(registry, harness_at("a"));

    sr_mutex_lock(&registry->mutex);
    sr_registry_hold_locked(registry);
    sr_registry_hold_locked(registry);
    sr_mutex_unlock(&registry->mutex);
    sr_remove_after_delay(ref); /* in use again */
    ck_assert(sockref_is_owner(ref));
    sockref_release(ref);
    sr_remove_after_delay(ref);
    ck_assert(harness_can_dial(harness_at("a")));
    sockref_registry_free(registry);
}
END_TEST

#define ROUNDS (IS_SANITIZED ? 1000 : 5000)

static void use_and_let_go(unsigned number, void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        sockref *ref = NULL;

        ck_assert_int_eq(sockref_registry_listen(arg, harness_at("a"), NULL, &ref), 0);
        if (i % 16 == 0)
            ck_assert(harness_is_socket(harness_at("a")));
        sockref_release(ref);
        if (number == 0 && i % 64 == 0)
            poll(NULL, 0, 1); /* so that some delays end */
    }
}

START_TEST(the_worker_and_users_race)
{
    sockref_registry *registry = with_delay(1);

    harness_in_threads(3, use_and_let_go, registry);
    ck_assert(becomes_gone(harness_at("a")));
    sockref_registry_free(registry);
}
END_TEST

static void free_while_delays_end(unsigned number, void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        sockref_registry *registry = with_delay(1);

        for (int k = 0; k < 5; k++)
            sockref_release(harness_listen(registry, harness_at(harness_text("%u-%d", number, k))));
        if (i % 2)
            poll(NULL, 0, 1);
        sockref_registry_free(registry);
    }
}

START_TEST(registries_are_freed_while_their_delays_end)
{
    unsigned threads = harness_threads();

    harness_in_threads(3, free_while_delays_end, NULL);
    ck_assert(harness_threads_become(threads));
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cleanup");
    TCase *tcase = harness_tcase(suite, "cleanup");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_file_outlives_the_last_reference_and_goes_by_itself);
    tcase_add_test(tcase, a_name_in_its_delay_is_not_active);
    tcase_add_loop_test(tcase, a_new_reference_ends_the_delay, 0, 5);
    tcase_add_test(tcase, cleanup_ends_a_delay);
    tcase_add_test(tcase, shutdown_ends_delays);
    tcase_add_test(tcase, freeing_the_registry_ends_delays);
    tcase_add_test(tcase, the_delay_of_a_call_is_its_own);
    tcase_add_test(tcase, v1_many_delays_need_one_thread);
    tcase_add_test(tcase, d15_without_a_thread_the_name_ends_at_once);
    tcase_add_test(tcase, delays_of_many_lengths_end_in_their_order);
    tcase_add_test(tcase, d2_a_worker_that_comes_late_ends_the_later_delay);
    tcase_add_test(tcase, d2_a_worker_that_comes_late_spares_a_new_delay);
    tcase_add_test(tcase, the_worker_and_users_race);
    tcase_add_test(tcase, registries_are_freed_while_their_delays_end);
    return harness_run(suite);
}
