/* What registries count: src/ref/stats.c. G39, and what concerns all that is counted. */
#include "test-stats-helpers.h"

#include "harness/faults.h"
#include "net/loop.h"
#include "ref/state.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- registries ---- */

START_TEST(g39_a_life_is_counted_at_its_ends)
{
    sockref *ref = listen_in(registry), *again;

    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    again = listen_in(registry);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(sockref_acquire(ref));
    sockref_release(again);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 1 0 | 1 0 0");
    ck_assert_uint_gt(counted(registry).removal.sum_ns, 0);
    ck_assert_int_eq(counted(registry).last_remove_status, 0);
    ck_assert_str_eq(counts_of(other), "0 0 0 0 | 0 0 | 0 0 0");
}
END_TEST

/* Names that have no file, and those that nobody has started. */
START_TEST(g39_every_kind_of_name_is_counted)
{
    sockref *ref;
    int fd = harness_bind(path);

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &ref));
    sockref_release(ref);
    harness_assert_ok(
        sockref_registry_listen(registry, harness_text("@%s/a", directory), NULL, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 2 0 | 2 0 0");
    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 2 0 | 2 0 0");
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 3 0 | 3 0 0");
    harness_assert_ok(sockref_registry_get_or_create(registry, path, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 3 0 | 3 0 0");
}
END_TEST

START_TEST(g39_joining_is_counted_and_what_becomes_of_it)
{
    sockref *owner = listen_in(registry), *joiner = listen_in(other);

    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 0 0 | 0 0 0");
    sockref_release(joiner);
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 1 0 | 1 0 0");
    joiner = listen_in(other);
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 1 | 1 0 0");
    WAIT_UNTIL(!sockref_is_active(joiner));
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 2 0 0 | 1 1 | 2 0 0");
    sockref_release(owner);
    sockref_release(joiner);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 1 | 1 0 0");
}
END_TEST

START_TEST(g39_starts_that_fail_or_are_cancelled_are_counted)
{
    sockref_options *options = on_the_loop();
    char nowhere[128];
    sockref *ref;

    snprintf(nowhere, sizeof nowhere, "%s/none/s.sock", directory);
    ck_assert_int_lt(sockref_registry_listen(registry, nowhere, NULL, &ref), 0);
    ck_assert_str_eq(counts_of(registry), "0 0 0 1 | 0 0 | 0 0 0");
    harness_assert_ok(
        sockref_registry_start_listener(registry, nowhere, options, note_start, NULL));
    DRIVE_UNTIL(outcomes == 1);
    ck_assert_int_lt(outcome, 0);
    ck_assert_str_eq(counts_of(registry), "0 0 0 2 | 0 0 | 0 0 0");
    /* This one is bound by the call itself, and given back. */
    harness_assert_ok(sockref_registry_start_listener(registry, path, options, note_start, NULL));
    harness_assert_ok(sockref_registry_cancel_start(registry, note_start, NULL));
    DRIVE_UNTIL(outcomes == 2);
    ck_assert_int_eq(outcome, SOCKREF_ECANCELED);
    ck_assert_str_eq(counts_of(registry), "1 0 0 3 | 1 0 | 1 0 0");
    harness_assert_ok(sockref_registry_start_listener(registry, path, options, note_start, NULL));
    DRIVE_UNTIL(outcomes == 3);
    ck_assert_int_eq(outcome, 0);
    ck_assert_str_eq(counts_of(registry), "2 0 0 3 | 2 0 | 2 0 0");
    sockref_options_free(options);
}
END_TEST

/* Whether the call waits or not. */
START_TEST(g39_starts_that_are_refused_at_once_are_counted)
{
    sockref_options *options = harness_options(SOCKREF_OPT_MAX_SOCKETS, 1, 0);
    sockref *ref;

    harness_assert_fails(sockref_registry_listen(registry, "no path", NULL, &ref), SOCKREF_EPATH);
    ck_assert_str_eq(counts_of(registry), "0 0 0 1 | 0 0 | 0 0 0");
    harness_assert_fails(
        sockref_registry_start_listener(registry, "no path", NULL, note_start, NULL),
        SOCKREF_EPATH);
    ck_assert_str_eq(counts_of(registry), "0 0 0 2 | 0 0 | 0 0 0");
    harness_assert_fails(sockref_registry_listen(registry, path, options, &ref), -EINVAL);
    ck_assert_str_eq(counts_of(registry), "0 0 0 3 | 0 0 | 0 0 0");
    harness_assert_fails(sockref_registry_start_listener(registry, path, options, note_start, NULL),
                         -EINVAL);
    ck_assert_str_eq(counts_of(registry), "0 0 0 4 | 0 0 | 0 0 0");
    sockref_options_free(options);
}
END_TEST

START_TEST(g39_revocations_are_counted)
{
    sockref *ref = listen_in(registry), *unbound;
    uint64_t count;

    harness_assert_ok(
        sockref_registry_get_or_create(registry, harness_text("%s/unbound", directory), &unbound));
    harness_assert_ok(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 2 | 1 0 0");
    sockref_release(ref);
    sockref_release(unbound);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 2 | 1 0 0");
    ref = listen_in(registry);
    harness_assert_fails(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 0 3 | 2 0 0");
    sockref_release(ref);
}
END_TEST

/* D14 */
START_TEST(d14_a_removal_that_fails_is_counted_and_its_error_kept)
{
    sockref *ref = listen_in(registry);

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EROFS);
    sockref_release(ref);
    ck_assert(faults_struck());
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 0 1 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EROFS);
    ref = listen_in(registry);
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EACCES);
    ck_assert_int_eq(sockref_registry_cleanup(registry, path), -EACCES);
    faults_clear();
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 1 1 | 0 2 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EACCES);
    sockref_release(listen_in(registry)); /* goes well, and the error is kept */
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 2 1 | 1 2 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EACCES);
}
END_TEST

START_TEST(g39_an_end_that_waits_is_counted_as_deferred)
{
    sockref *owner = listen_in(registry), *joiner = listen_in(other);

    sockref_release(owner); /* the worker passes the listener on */
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 1 0 1");
    WAIT_UNTIL(sockref_is_owner(joiner));
    sockref_release(joiner);
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 1 0 | 1 0 0");
}
END_TEST

START_TEST(g39_a_cleanup_delay_ends_a_name_once)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 3600000, 0);
    uint64_t before;
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(registry, path, options, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    ref = listen_in(registry);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(ref);
    before = sr_clock_ns();
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 1 0 | 1 0 0");
    ck_assert_uint_le(counted(registry).removal.sum_ns, sr_clock_ns() - before);
    sockref_options_free(options);
}
END_TEST

#define HOUR_NS 3600000000000u

/* As if the last release had come an hour before. Returns false while the name is looked at. */
static bool age_release(sockref *entry)
{
    bool lingers;

    sr_mutex_lock(&registry->mutex);
    lingers = sr_word_state(atomic_load(&entry->word)) == SR_LINGER;
    if (lingers)
        entry->rest->life->ending_ns -= HOUR_NS;
    sr_mutex_unlock(&registry->mutex);
    return lingers;
}

START_TEST(g39_a_name_that_goes_on_for_others_ends_once)
{
    sockref *owner = listen_in(registry), *joiner;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    joiner = listen_in(other);
    sockref_release(owner);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    WAIT_UNTIL(age_release(owner));
    sockref_release(joiner);
    WAIT_UNTIL(counted(registry).closed == 1);
    ck_assert_uint_lt(counted(registry).removal.sum_ns, HOUR_NS);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 1 0 0");
}
END_TEST

/* ---- histograms ---- */

START_TEST(a_time_is_noted_by_the_first_bound_that_it_does_not_pass)
{
    struct sr_histogram histogram = {0};
    sockref_histogram read = {0};
    uint64_t bound = 1000;

    for (int i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++, bound *= 4) {
        sr_histogram_note(&histogram, bound);
        sr_histogram_note(&histogram, bound + 1);
    }
    sr_histogram_note(&histogram, 0);
    sr_histogram_read(&histogram, &read);
    ck_assert_uint_eq(read.count, 2 * SOCKREF_HISTOGRAM_BUCKETS + 1);
    ck_assert_uint_eq(read.buckets[0], 2);
    for (int i = 1; i < SOCKREF_HISTOGRAM_BUCKETS; i++)
        ck_assert_uint_eq(read.buckets[i], 2);
    ck_assert_uint_eq(read.sum_ns, 2 * ((bound - 1000) / 3) + SOCKREF_HISTOGRAM_BUCKETS);
    sr_histogram_read(&histogram, &read); /* is added */
    ck_assert_uint_eq(read.count, 2 * (2 * SOCKREF_HISTOGRAM_BUCKETS + 1));
}
END_TEST

/* ---- arguments ---- */

START_TEST(sizes_are_checked_and_smaller_ones_filled_only_so_far)
{
    struct {
        sockref_registry_stats stats;
        uint64_t behind;
    } wide = {.behind = 7};
    sockref_loop_stats in_loop = {.size = sizeof in_loop + 1};
    sockref_stats of_ref = {.size = 0};
    sockref *ref = listen_in(registry);

    harness_assert_fails(sockref_registry_get_stats(registry, NULL), -EINVAL);
    harness_assert_fails(sockref_registry_get_stats(registry, &wide.stats), -EINVAL);
    wide.stats.size = sizeof wide.stats + 1;
    harness_assert_fails(sockref_registry_get_stats(registry, &wide.stats), -EINVAL);
    wide.stats.size = offsetof(sockref_registry_stats, joined);
    wide.stats.joined = 77;
    harness_assert_ok(sockref_registry_get_stats(registry, &wide.stats));
    ck_assert_uint_eq(wide.stats.created, 1);
    ck_assert_uint_eq(wide.stats.joined, 77);
    ck_assert_uint_eq(wide.stats.size, offsetof(sockref_registry_stats, joined));
    harness_assert_fails(sockref_loop_get_stats(loop, NULL), -EINVAL);
    harness_assert_fails(sockref_loop_get_stats(loop, &in_loop), -EINVAL);
    in_loop.size = 0;
    harness_assert_fails(sockref_loop_get_stats(NULL, &in_loop), -EINVAL);
    in_loop.size = offsetof(sockref_loop_stats, pending);
    in_loop.pending = 77;
    harness_assert_ok(sockref_loop_get_stats(loop, &in_loop));
    ck_assert_uint_eq(in_loop.pending, 77);
    harness_assert_fails(sockref_get_stats(ref, &of_ref), -EINVAL);
    of_ref.size = sizeof of_ref + 1;
    harness_assert_fails(sockref_get_stats(ref, &of_ref), -EINVAL);
    harness_assert_fails(sockref_get_stats(ref, NULL), -EINVAL);
    harness_assert_fails(sockref_get_stats(NULL, &of_ref), -EINVAL);
    of_ref.size = offsetof(sockref_stats, connections);
    of_ref.connections = 77;
    harness_assert_ok(sockref_get_stats(ref, &of_ref));
    ck_assert_uint_eq(of_ref.references, 1);
    ck_assert_uint_eq(of_ref.connections, 77);
    ck_assert_uint_eq(wide.behind, 7);
    sockref_release(ref);
}
END_TEST

START_TEST(null_is_the_default_registry_and_a_shut_one_still_tells)
{
    uint64_t before = counted(NULL).created;

    sockref_release(listen_in(NULL));
    ck_assert_uint_eq(counted(NULL).created, before + 1);
    sockref_release(listen_in(registry));
    harness_assert_ok(sockref_registry_shutdown(registry, 0));
    ck_assert_uint_eq(counted(registry).closed, 1);
}
END_TEST

/* ---- others ---- */

static int count_in_child(void *arg)
{
    sockref *ref = arg;
    sockref_registry_stats stats = {.size = sizeof stats};
    sockref_loop_stats in_loop = {.size = sizeof in_loop};
    sockref_stats of_ref = {.size = sizeof of_ref};
    char text[64];

    if (sockref_registry_get_stats(registry, &stats) != SOCKREF_EFORKED)
        return 1;
    if (sockref_get_stats(ref, &of_ref) != SOCKREF_EFORKED)
        return 2;
    if (sockref_loop_get_stats(loop, &in_loop) != SOCKREF_EFORKED)
        return 3;
    if (sockref_registry_write_metrics(registry, text, sizeof text) != SOCKREF_EFORKED)
        return 4;
    if (sockref_registry_get_stats(NULL, &stats) < 0 || stats.created + stats.closed > 0)
        return 5;
    if (sockref_loop_get_stats(NULL, &in_loop) < 0 || in_loop.callbacks + in_loop.pending > 0)
        return 6;
    sockref_release(listen_in(NULL));
    return counted(NULL).created == 1 && counted(NULL).closed == 1 ? 0 : 7;
}

START_TEST(g39_a_forked_child_counts_its_own)
{
    sockref *ref;

    harness_assert_ok(
        sockref_registry_listen(registry, harness_text("%s/parent", directory), NULL, &ref));
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    sockref_loop_free(loop); /* what it counted is kept, here */
    ck_assert_int_eq(ran, 1);
    harness_assert_ok(sockref_loop_new(&loop));
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    ck_assert_int_eq(harness_in_child(count_in_child, ref), 0);
    ck_assert_uint_eq(counted_in(loop).pending, 1);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    sockref_release(ref);
}
END_TEST

#define LIVES 40

static void live_and_look(unsigned number, void *arg)
{
    sockref_registry_stats last = {0}, now;
    char own[128];
    sockref *ref;

    (void)arg;
    snprintf(own, sizeof own, "%s/%u", directory, number / 2);
    for (int i = 0; i < LIVES; i++) {
        harness_assert_ok(sockref_registry_listen(registry, own, NULL, &ref));
        sockref_serve(ref, sockref_echo_handlers(), NULL);
        harness_assert_ok(sockref_loop_post(NULL, run, NULL));
        counted_in(NULL);
        counted_of(ref);
        sockref_release(ref);
        now = counted(registry);
        ck_assert_uint_ge(now.created, last.created);
        ck_assert_uint_ge(now.removal.count, last.removal.count);
        last = now;
    }
}

START_TEST(g39_counts_of_many_threads_add_up)
{
    sockref_registry_stats stats;

    harness_in_threads(4, live_and_look, NULL);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    stats = counted(registry);
    ck_assert_uint_eq(stats.created + stats.reused, 4 * LIVES);
    ck_assert_uint_eq(stats.created, stats.closed);
    ck_assert_uint_eq(stats.removed, stats.closed);
    ck_assert_uint_eq(stats.removal.count, stats.removed);
    ck_assert_uint_eq(counted_in(NULL).pending, 0);
}
END_TEST

/* The library's thread serves, and this one looks. */
int main(void)
{
    Suite *suite = suite_create("stats");
    TCase *tcase = tcase_create("stats");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, g39_a_life_is_counted_at_its_ends);
    tcase_add_test(tcase, g39_every_kind_of_name_is_counted);
    tcase_add_test(tcase, g39_joining_is_counted_and_what_becomes_of_it);
    tcase_add_test(tcase, g39_starts_that_fail_or_are_cancelled_are_counted);
    tcase_add_test(tcase, g39_starts_that_are_refused_at_once_are_counted);
    tcase_add_test(tcase, g39_revocations_are_counted);
    tcase_add_test(tcase, d14_a_removal_that_fails_is_counted_and_its_error_kept);
    tcase_add_test(tcase, g39_an_end_that_waits_is_counted_as_deferred);
    tcase_add_test(tcase, g39_a_cleanup_delay_ends_a_name_once);
    tcase_add_test(tcase, g39_a_name_that_goes_on_for_others_ends_once);
    tcase_add_test(tcase, a_time_is_noted_by_the_first_bound_that_it_does_not_pass);
    tcase_add_test(tcase, sizes_are_checked_and_smaller_ones_filled_only_so_far);
    tcase_add_test(tcase, null_is_the_default_registry_and_a_shut_one_still_tells);
    tcase_add_test(tcase, g39_a_forked_child_counts_its_own);
    tcase_add_test(tcase, g39_counts_of_many_threads_add_up);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
