/* The end of a name: src/ref/remove.c. D2, D10-D15, G18-G22, V1. */
#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static sockref_registry *registry;

static void setup(void)
{
    registry = harness_registry(0);
}

static void teardown(void)
{
    sockref_registry_free(registry);
}

/* G19 */
START_TEST(the_file_is_gone_when_the_last_release_returns)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    sockref_release(sockref_acquire(ref));
    ck_assert(harness_exists(harness_at("a")));
    sockref_release(ref);
    ck_assert(!harness_exists(harness_at("a")));
    sockref_release(NULL);
}
END_TEST

/* T6: a release too many is told, and harms nothing. */
START_TEST(a_release_too_many_is_told)
{
    sockref *ref = harness_listen(registry, harness_at("a")), *again;

    harness_log();
    sockref_release(ref);
    sockref_release(ref);
    ck_assert_uint_eq(harness_logged("cleanup_failed"), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    again = harness_listen(registry, harness_at("a"));
    ck_assert_uint_eq(sockref_reference_count(again), 1);
    sockref_release(again);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

/* D13: with the whole library, what replaced the file stays. */
START_TEST(d13_regular_file_is_not_removed)
{
    const char *path = harness_at("a");
    sockref *ref = harness_listen(registry, path);

    harness_log();
    ck_assert_int_eq(unlink(path), 0);
    harness_write(path, "precious");
    if (_i == 0)
        sockref_release(ref);
    else if (_i == 1)
        harness_assert_ok(sockref_registry_cleanup(registry, path));
    else
        harness_assert_ok(sockref_registry_cleanup_all(registry, NULL));
    if (_i > 0)
        sockref_release(ref);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_logged("displaced"), 1);
}
END_TEST

/* D10, L23: revoked handles never touch what is there later. */
START_TEST(d10_a_revoked_handle_touches_nothing)
{
    const char *path = harness_at("a");
    sockref *old = harness_listen(registry, path), *fresh;
    int fd = sockref_fd(old), live;

    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert(!harness_exists(path));
    ck_assert(!sockref_is_active(old));
    ck_assert(!sockref_is_owner(old));
    ck_assert_uint_eq(sockref_reference_count(old), 1);
    ck_assert_uint_eq(sockref_holder_count(old), 0);
    ck_assert_int_eq(sockref_fd(old), fd); /* decision 4: open while the reference lives */
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert_str_eq(sockref_path(old), path);
    ck_assert_ptr_eq(sockref_acquire(old), old);
    ck_assert(!sockref_is_active(old));
    fresh = harness_listen(registry, path);
    ck_assert_ptr_ne(fresh, old);
    sockref_release(old);
    sockref_release(old);
    ck_assert(harness_can_dial(path));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    live = harness_bind(path); /* somebody else's now */
    sockref_release(fresh);
    ck_assert(harness_can_dial(path));
    close(live);
    unlink(path);
}
END_TEST

/* D11, L24 */
START_TEST(d11_cleanup_of_an_unknown_name_touches_nothing)
{
    int fd = harness_bind(harness_at("live"));

    harness_write(harness_at("file"), "precious");
    harness_leave_dead(harness_at("dead"));
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("file")), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("live")), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("dead")), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("none")), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, NULL), -EINVAL);
    ck_assert(harness_holds(harness_at("file"), "precious"));
    ck_assert_uint_eq(harness_sockets(), 2);
    close(fd);
    unlink(harness_at("live"));
    unlink(harness_at("dead"));
}
END_TEST

START_TEST(cleanup_twice_finds_nothing_the_second_time)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    harness_assert_ok(sockref_registry_cleanup(registry, harness_at(".//a")));
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("a")), SOCKREF_ENOTFOUND);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    sockref_release(ref);
}
END_TEST

START_TEST(cleanup_of_a_name_that_is_not_bound)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("a"), &ref));
    harness_write(harness_at("a"), "precious");
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    ck_assert(!sockref_is_active(ref));
    ck_assert_int_eq(sockref_fd(ref), -1);
    ck_assert(harness_holds(harness_at("a"), "precious"));
    sockref_release(ref);
}
END_TEST

/* G16, L25 */
START_TEST(cleanup_all_tells_the_number)
{
    sockref *refs[10];
    uint64_t count = 99;

    harness_assert_ok(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, 0);
    for (int i = 0; i < 10; i++)
        refs[i] = harness_listen(registry, harness_at(harness_text("%d", i)));
    harness_assert_ok(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, 10);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert(!sockref_is_active(refs[i]));
        sockref_release(refs[i]);
    }
}
END_TEST

/* D14, G22: the system refuses; it is told, and all else is done. */
/* What could not be removed is still told of by its lock file. */
static void expect_to_sweep_one(void)
{
    uint64_t count;

    harness_assert_ok(sockref_registry_sweep(registry, harness_dir(), &count));
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}

START_TEST(d14_a_refused_removal_is_told_by_cleanup)
{
    sockref *a = harness_listen(registry, harness_at("a")),
            *b = harness_listen(registry, harness_at("b"));
    uint64_t count;

    harness_log();
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EROFS);
    harness_assert_fails(sockref_registry_cleanup_all(registry, &count), -EROFS);
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(sockref_last_error()->syscall, "unlinkat");
    ck_assert_uint_eq(harness_logged("cleanup_failed"), 1);
    ck_assert(!sockref_is_active(a));
    ck_assert(!sockref_is_active(b));
    ck_assert_uint_eq(harness_sockets(), 1);
    sockref_release(a);
    sockref_release(b);
    expect_to_sweep_one();
}
END_TEST

static void keep_record(const sockref_log_record *record, void *user)
{
    if (strcmp(record->event, "cleanup_failed") != 0)
        return;
    ck_assert_int_eq(record->status, -EACCES);
    ck_assert_int_eq(record->level, SOCKREF_LOG_ERROR);
    ck_assert_str_eq(record->path, harness_at("a"));
    ck_assert_ptr_nonnull(strstr(record->message, "unlinkat"));
    ++*(int *)user;
}

START_TEST(d14_a_refused_removal_is_logged_by_release)
{
    sockref *ref = harness_listen(registry, harness_at("a"));
    int records = 0;

    harness_assert_ok(sockref_set_log(keep_record, &records, NULL));
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EACCES);
    sockref_release(ref);
    ck_assert_int_eq(records, 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_int_eq(harness_dial(harness_at("a")), -ECONNREFUSED);
    expect_to_sweep_one();
}
END_TEST

/* G20: another name's removal that takes long keeps nobody waiting. */
static void *release(void *ref)
{
    sockref_release(ref);
    return NULL;
}

START_TEST(a_slow_removal_keeps_no_other_name_waiting)
{
    sockref *slow = harness_listen(registry, harness_at("slow")),
            *quick = harness_listen(registry, harness_at("quick"));
    struct faults_gate gate;
    pthread_t thread;

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, release, slow), 0);
    faults_wait_held(&gate);
    sockref_release(quick);
    ck_assert(!harness_exists(harness_at("quick")));
    quick = harness_listen(registry, harness_at("quick"));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    sockref_release(quick);
    faults_let_go(&gate);
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("remove");
    TCase *tcase = harness_tcase(suite, "remove");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_file_is_gone_when_the_last_release_returns);
    tcase_add_test(tcase, a_release_too_many_is_told);
    tcase_add_loop_test(tcase, d13_regular_file_is_not_removed, 0, 3);
    tcase_add_test(tcase, d10_a_revoked_handle_touches_nothing);
    tcase_add_test(tcase, d11_cleanup_of_an_unknown_name_touches_nothing);
    tcase_add_test(tcase, cleanup_twice_finds_nothing_the_second_time);
    tcase_add_test(tcase, cleanup_of_a_name_that_is_not_bound);
    tcase_add_test(tcase, cleanup_all_tells_the_number);
    tcase_add_test(tcase, d14_a_refused_removal_is_told_by_cleanup);
    tcase_add_test(tcase, d14_a_refused_removal_is_logged_by_release);
    tcase_add_test(tcase, a_slow_removal_keeps_no_other_name_waiting);
    return harness_run(suite);
}
