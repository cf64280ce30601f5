/* Registries: their life, drain, shutdown and free. src/ref/registry.c and src/ref/ending.c. G3,
 * G4, G44, V6. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "ref/state.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void assert_shut(sockref_registry *registry)
{
    sockref *none = NULL;
    int fd = harness_bind(harness_at("late"));

    harness_assert_fails(sockref_registry_listen(registry, harness_at("a"), NULL, &none),
                         SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_get_or_create(registry, harness_at("a"), &none),
                         SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_get_existing(registry, harness_at("a"), &none),
                         SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at("late"), fd, &none),
                         SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("a")), SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_cleanup_all(registry, NULL), SOCKREF_ESHUTDOWN);
    harness_assert_fails(sockref_registry_shutdown(registry, 0), SOCKREF_ESHUTDOWN);
    ck_assert(!sockref_registry_is_socket_active(registry, harness_at("a")));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_ptr_null(none);
    harness_assert_ok(sockref_registry_drain(registry, -1));
    close(fd);
    unlink(harness_at("late"));
}

START_TEST(wrong_arguments_are_told)
{
    harness_assert_fails(sockref_registry_new(NULL, NULL), -EINVAL);
    sockref_registry_free(NULL);
    sockref_live_counts(NULL, NULL, NULL);
}
END_TEST

START_TEST(without_memory_no_registry_is_made)
{
    sockref_registry *registry = NULL;
    bool struck = true;

    faults_install();
    for (uint64_t nth = 1; struck; nth++) {
        faults_arm(FAULTS_ALLOCATIONS, nth, ENOMEM);
        struck = sockref_registry_new(NULL, &registry) < 0;
        if (struck) {
            harness_assert_error(-ENOMEM);
            ck_assert_ptr_null(registry);
        }
        ck_assert_uint_le(nth, 4);
    }
    sockref_registry_free(registry);
}
END_TEST

/* The default registry is one for all. */
static void use_default(unsigned number, void *arg)
{
    sockref *ref = NULL;

    (void)number;
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, "@default-name", &ref), 0);
    pthread_barrier_wait(arg);
    ck_assert_uint_eq(sockref_reference_count(ref), 8);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    pthread_barrier_wait(arg);
    sockref_release(ref);
}

START_TEST(the_default_registry_is_made_once)
{
    pthread_barrier_t barrier;

    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    pthread_barrier_init(&barrier, NULL, 8);
    harness_in_threads(8, use_default, &barrier);
    pthread_barrier_destroy(&barrier);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

static void *count_in_default(void *inout_thread)
{
    sockref *ref = NULL;

    atomic_store((atomic_int *)inout_thread, gettid());
    harness_assert_ok(sockref_registry_get_or_create(NULL, "@default-name", &ref));
    sockref_release(ref);
    return NULL;
}

static bool is_asleep(int thread)
{
    FILE *status = fopen(harness_text("/proc/self/task/%d/stat", thread), "re");
    char state = 0;

    if (!status)
        return false;
    if (fscanf(status, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(status);
    return state == 'S';
}

/* In the list it is seen by a fork, whose child must know what is its parent's. */
START_TEST(the_default_registry_is_listed_before_it_is_used)
{
    atomic_int number = 0;
    pthread_t thread;

    sr_mutex_lock(&sr_registry_list_mutex);
    ck_assert_int_eq(pthread_create(&thread, NULL, count_in_default, &number), 0);
    WAIT_UNTIL(atomic_load(&number) != 0 && is_asleep(atomic_load(&number)));
    ck_assert_ptr_null(atomic_load(&sr_registry_default));
    sr_mutex_unlock(&sr_registry_list_mutex);
    pthread_join(thread, NULL);
}
END_TEST

/* Decision 15: the references outlive their registry. */
START_TEST(references_outlive_a_freed_registry)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a")), *named;

    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("b"), &named));
    sockref_registry_free(registry);
    ck_assert(sockref_is_active(ref));
    ck_assert(harness_can_dial(harness_at("a")));
    ck_assert_str_eq(sockref_path(ref), harness_at("a"));
    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    sockref_release(ref);
    sockref_release(named);
    sockref_release(ref);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

/* L35, G44 */
START_TEST(shutdown_with_nobody_left_succeeds)
{
    sockref_registry *registry = harness_registry(0);

    sockref_release(harness_listen(registry, harness_at("a")));
    harness_assert_ok(sockref_registry_shutdown(registry, -1));
    assert_shut(registry);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(shutdown_revokes_those_who_stay)
{
    sockref_registry *registry = harness_registry(0);
    sockref *a = harness_listen(registry, harness_at("a")), *b;

    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("b"), &b));
    harness_assert_fails(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert(!sockref_is_active(a));
    ck_assert(!sockref_is_active(b));
    ck_assert_uint_eq(harness_files(), 0);
    assert_shut(registry);
    sockref_release(a);
    sockref_registry_free(registry);
    sockref_release(b);
}
END_TEST

static void *shut_down(void *registry)
{
    return (void *)(intptr_t)sockref_registry_shutdown(registry, HARNESS_PATIENCE_MS);
}

START_TEST(shutdown_waits_for_holders)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a"));
    pthread_t thread;
    void *status;

    ck_assert_int_eq(pthread_create(&thread, NULL, shut_down, registry), 0);
    for (;;) { /* until it refuses */
        sockref *other = NULL;

        if (sockref_registry_get_existing(registry, harness_at("a"), &other) < 0)
            break;
        sockref_release(other);
    }
    harness_assert_error(SOCKREF_ESHUTDOWN);
    ck_assert(sockref_is_active(ref));
    ck_assert(harness_can_dial(harness_at("a")));
    harness_assert_fails(sockref_registry_shutdown(registry, 0), SOCKREF_ESHUTDOWN);
    sockref_release(ref);
    pthread_join(thread, &status);
    ck_assert_int_eq((int)(intptr_t)status, 0);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(a_refused_removal_is_told_by_shutdown)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a"));

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EROFS);
    harness_assert_fails(sockref_registry_shutdown(registry, 0), -EROFS);
    ck_assert(!sockref_is_active(ref));
    sockref_release(ref);
    sockref_registry_free(registry);
    harness_assert_ok(sockref_registry_sweep(NULL, harness_dir(), NULL)); /* by its lock file */
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static void fail_with(void *os_errno)
{
    static int next = EIO;

    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, *(int *)os_errno);
    if (*(int *)os_errno != next)
        faults_before(FAULTS_unlinkat, fail_with, &next);
}

START_TEST(of_several_refusals_the_first_is_told)
{
    static int first = EROFS;
    sockref_registry *registry = harness_registry(SOCKREF_OPT_SHARE, 0, 0);
    sockref *refs[] = {harness_listen(registry, harness_at("a")),
                       harness_listen(registry, harness_at("b"))};

    faults_install();
    faults_before(FAULTS_unlinkat, fail_with, &first);
    if (_i == 0)
        harness_assert_fails(sockref_registry_cleanup_all(registry, NULL), -EROFS);
    else
        harness_assert_fails(sockref_registry_shutdown(registry, 0), -EROFS);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(unlink(sockref_path(refs[i])), 0);
        sockref_release(refs[i]);
    }
    sockref_registry_free(registry);
}
END_TEST

/* The same for the files of one name. */
START_TEST(of_one_names_refusals_the_first_is_told)
{
    static int first = EROFS;
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a"));

    faults_install();
    faults_before(FAULTS_unlinkat, fail_with, &first);
    harness_assert_fails(sockref_registry_cleanup(registry, harness_at("a")), -EROFS);
    sockref_release(ref);
    sockref_registry_free(registry);
    harness_assert_ok(sockref_registry_sweep(NULL, harness_dir(), NULL));
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* Decision 15: the default registry starts afresh. */
START_TEST(the_default_registry_opens_again)
{
    sockref *old = harness_listen(NULL, harness_at("a")), *fresh;

    harness_assert_fails(sockref_registry_shutdown(NULL, 0), SOCKREF_ETIMEOUT);
    ck_assert(!sockref_is_active(old));
    fresh = harness_listen(NULL, harness_at("a"));
    ck_assert_ptr_ne(fresh, old);
    ck_assert(sockref_is_active(fresh));
    sockref_release(old);
    ck_assert(harness_can_dial(harness_at("a")));
    sockref_release(fresh);
    harness_assert_ok(sockref_registry_shutdown(NULL, 0));
}
END_TEST

/* L36 */
START_TEST(drain_has_nothing_to_wait_for_while_names_are_in_use)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a"));

    harness_assert_ok(sockref_registry_drain(registry, 0));
    harness_assert_ok(sockref_registry_drain(registry, -1));
    harness_assert_ok(sockref_registry_drain(NULL, 0));
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

static void *release(void *ref)
{
    sockref_release(ref);
    return NULL;
}

static void *drain(void *registry)
{
    return (void *)(intptr_t)sockref_registry_drain(registry, -1);
}

START_TEST(drain_waits_for_a_removal)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a"));
    struct faults_gate gate;
    pthread_t releaser, drainer;
    void *status;

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    ck_assert_int_eq(pthread_create(&releaser, NULL, release, ref), 0);
    faults_wait_held(&gate);
    harness_assert_fails(sockref_registry_drain(registry, 0), SOCKREF_ETIMEOUT);
    harness_assert_fails(sockref_registry_drain(registry, 5), SOCKREF_ETIMEOUT);
    ck_assert_int_eq(pthread_create(&drainer, NULL, drain, registry), 0);
    faults_let_go(&gate);
    pthread_join(drainer, &status);
    ck_assert_int_eq((int)(intptr_t)status, 0);
    ck_assert(!harness_exists(harness_at("a")));
    pthread_join(releaser, NULL);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(live_counts_are_sums_over_all)
{
    sockref_registry *one = harness_registry(0), *two = harness_registry(0);
    sockref *a = harness_listen(one, harness_at("a")), *b = harness_listen(two, harness_at("b"));
    sockref *c = harness_listen(NULL, harness_at("c"));
    uint64_t references, entries, buffers;

    sockref_acquire(a);
    sockref_live_counts(&references, &entries, &buffers);
    ck_assert_uint_eq(references, 4);
    ck_assert_uint_eq(entries, 3);
    ck_assert_uint_eq(buffers, 0);
    harness_assert_ok(sockref_registry_cleanup(one, harness_at("a")));
    sockref_live_counts(&references, &entries, NULL);
    ck_assert_uint_eq(references, 4); /* revoked ones are alive */
    ck_assert_uint_eq(entries, 3);
    sockref_release(a);
    sockref_release(a);
    sockref_release(b);
    sockref_release(c);
    sockref_registry_free(one);
    sockref_registry_free(two);
}
END_TEST

START_TEST(null_is_no_reference)
{
    ck_assert_ptr_null(sockref_acquire(NULL));
    harness_assert_error(-EINVAL);
    sockref_release(NULL);
    ck_assert_ptr_null(sockref_path(NULL));
    ck_assert_int_eq(sockref_fd(NULL), -1);
    ck_assert(!sockref_is_active(NULL));
    ck_assert(!sockref_is_owner(NULL));
    ck_assert_uint_eq(sockref_reference_count(NULL), 0);
    ck_assert_uint_eq(sockref_holder_count(NULL), 0);
}
END_TEST

static void come_and_go(unsigned number, void *arg)
{
    (void)arg;
    for (int i = 0; i < 300; i++) {
        sockref_registry *registry = harness_registry(0);
        sockref *ref = NULL;

        ck_assert_int_eq(
            sockref_registry_get_or_create(registry, harness_text("@come-%u", number), &ref), 0);
        sockref_registry_free(registry);
        sockref_release(ref);
        sockref_live_counts(NULL, NULL, NULL);
    }
}

START_TEST(registries_come_and_go_on_all_threads)
{
    harness_in_threads(4, come_and_go, NULL);
}
END_TEST

/* G35: a name that is used and left many times costs nothing that stays. */
START_TEST(lives_of_one_name_use_one_entry)
{
    sockref_registry *registry = harness_registry(SOCKREF_OPT_MAX_SOCKETS, 1, 0);

    for (int i = 0; i < 100000; i++) {
        sockref *ref = NULL;

        ck_assert_int_eq(sockref_registry_get_or_create(registry, "@one-name", &ref), 0);
        sockref_release(ref);
    }
    faults_install();
    for (int i = 0; i < 100; i++) {
        sockref *ref = NULL;

        ck_assert_int_eq(sockref_registry_get_or_create(registry, "@one-name", &ref), 0);
        sockref_release(ref);
    }
    ck_assert_uint_eq(faults_calls(FAULTS_mmap), 0);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(a_revoked_name_counts_as_long_as_it_is_held)
{
    sockref_registry *registry = harness_registry(SOCKREF_OPT_MAX_SOCKETS, 1, 0);
    sockref *ref = NULL, *other = NULL;

    harness_assert_ok(sockref_registry_get_or_create(registry, "@revoked", &ref));
    harness_assert_ok(sockref_registry_cleanup(registry, "@revoked"));
    harness_assert_fails(sockref_registry_get_or_create(registry, "@other", &other),
                         SOCKREF_ELIMIT);
    sockref_release(ref);
    harness_assert_ok(sockref_registry_get_or_create(registry, "@other", &other));
    sockref_release(other);
    sockref_registry_free(registry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registry");
    TCase *tcase = harness_tcase(suite, "registry");
    TCase *many = harness_tcase_tagged(suite, "many");

    tcase_add_test(tcase, wrong_arguments_are_told);
    tcase_add_test(tcase, a_revoked_name_counts_as_long_as_it_is_held);
    tcase_add_test(tcase, without_memory_no_registry_is_made);
    tcase_add_test(tcase, the_default_registry_is_made_once);
    tcase_add_test(tcase, the_default_registry_is_listed_before_it_is_used);
    tcase_add_test(tcase, references_outlive_a_freed_registry);
    tcase_add_test(tcase, shutdown_with_nobody_left_succeeds);
    tcase_add_test(tcase, shutdown_revokes_those_who_stay);
    tcase_add_test(tcase, shutdown_waits_for_holders);
    tcase_add_test(tcase, a_refused_removal_is_told_by_shutdown);
    tcase_add_loop_test(tcase, of_several_refusals_the_first_is_told, 0, 2);
    tcase_add_test(tcase, of_one_names_refusals_the_first_is_told);
    tcase_add_test(tcase, the_default_registry_opens_again);
    tcase_add_test(tcase, drain_has_nothing_to_wait_for_while_names_are_in_use);
    tcase_add_test(tcase, drain_waits_for_a_removal);
    tcase_add_test(tcase, live_counts_are_sums_over_all);
    tcase_add_test(tcase, null_is_no_reference);
    tcase_add_test(tcase, registries_come_and_go_on_all_threads);
    tcase_add_test(many, lives_of_one_name_use_one_entry);
    return harness_run(suite);
}
