/* Threads that meet on names: V2, D1, D2, G1, G20, J22-J26. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"
#include "ref/state.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS (IS_SANITIZED ? 1500 : 6000)

static sockref_registry *registry;
static atomic_uint failures;

static void setup(void)
{
    registry = harness_registry(0);
    atomic_store(&failures, 0);
}

static void teardown(void)
{
    sockref_registry_free(registry);
}

/* V2, D1: whoever holds a listener can be reached, however many let go of it at the same time. */
static void listen_connect_release(unsigned number, void *arg)
{
    (void)number;
    for (int i = 0; i < ROUNDS; i++) {
        sockref *ref = NULL;

        if (sockref_registry_listen(registry, arg, NULL, &ref) < 0) {
            atomic_fetch_add(&failures, 1);
            continue;
        }
        if (!harness_is_socket(arg) || !sockref_is_active(ref) || !sockref_is_owner(ref) ||
            sockref_fd(ref) < 0)
            atomic_fetch_add(&failures, 1);
        sockref_release(ref);
    }
}

START_TEST(d1_a_held_listener_is_always_there)
{
    harness_in_threads(8, listen_connect_release, (void *)harness_at("a"));
    ck_assert_uint_eq(atomic_load(&failures), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
}
END_TEST

#define DIALS 400 /* of each of eight threads: nobody accepts, and the queue holds 4096 */

static void listen_dial_release(unsigned number, void *arg)
{
    (void)number;
    for (int i = 0; i < DIALS; i++) {
        sockref *ref = NULL;
        int client;

        if (sockref_registry_listen(registry, arg, NULL, &ref) < 0) {
            atomic_fetch_add(&failures, 1);
            continue;
        }
        client = harness_dial(arg);
        if (client < 0)
            atomic_fetch_add(&failures, 1);
        else
            close(client);
        sockref_release(ref);
    }
}

START_TEST(v2_every_holder_connects)
{
    harness_in_threads(8, listen_dial_release, (void *)harness_at("a"));
    ck_assert_uint_eq(atomic_load(&failures), 0);
}
END_TEST

/* Two threads begin each round together, so that they meet. */
struct pair {
    const char *path;
    pthread_barrier_t barrier;
    void (*acts[2])(const char *path);
};

static void act_listen(const char *path)
{
    sockref *ref = NULL;

    if (sockref_registry_listen(registry, path, NULL, &ref) < 0) {
        atomic_fetch_add(&failures, 1);
        return;
    }
    if (sockref_is_active(ref) && !harness_is_socket(path) && sockref_is_active(ref))
        atomic_fetch_add(&failures, 1);
    sockref_release(ref);
}

static void act_name(const char *path)
{
    sockref *ref = NULL;

    if (sockref_registry_get_or_create(registry, path, &ref) < 0)
        atomic_fetch_add(&failures, 1);
    sockref_release(ref);
}

static void act_find(const char *path)
{
    sockref *ref = NULL;
    int status = sockref_registry_get_existing(registry, path, &ref);

    if (status < 0 && status != SOCKREF_ENOTFOUND)
        atomic_fetch_add(&failures, 1);
    sockref_release(sockref_acquire(ref));
    sockref_release(ref);
}

static void act_cleanup(const char *path)
{
    int status = sockref_registry_cleanup(registry, path);

    if (status < 0 && status != SOCKREF_ENOTFOUND)
        atomic_fetch_add(&failures, 1);
}

static void act_cleanup_all(const char *path)
{
    (void)path;
    if (sockref_registry_cleanup_all(registry, NULL) < 0)
        atomic_fetch_add(&failures, 1);
}

static void act_spell(const char *path)
{
    sockref *ref = NULL;

    path = harness_text("%s/.//%s", harness_dir(), strrchr(path, '/') + 1);
    if (sockref_registry_get_or_create(registry, path, &ref) < 0)
        atomic_fetch_add(&failures, 1);
    else if (!sockref_path(ref))
        atomic_fetch_add(&failures, 1);
    sockref_release(ref);
}

static void act_link(const char *path)
{
    sockref *ref = NULL;

    path = harness_text("%s/link/%s", harness_dir(), strrchr(path, '/') + 1);
    if (sockref_registry_listen(registry, path, NULL, &ref) < 0)
        atomic_fetch_add(&failures, 1);
    else if (!sockref_path(ref))
        atomic_fetch_add(&failures, 1);
    sockref_release(ref);
}

static void act_ask(const char *path)
{
    for (int i = 0; i < 20; i++) {
        sockref_registry_is_socket_active(registry, path);
        sockref_registry_active_socket_count(registry);
        sockref_live_counts(NULL, NULL, NULL);
    }
}

static void act_watch(const char *path)
{
    sockref *ref = NULL;

    if (sockref_registry_get_or_create(registry, path, &ref) < 0) {
        atomic_fetch_add(&failures, 1);
        return;
    }
    sockref_set_watch(ref, NULL, NULL, NULL);
    sockref_release(ref);
}

static void run_pair(unsigned number, void *arg)
{
    struct pair *pair = arg;

    for (int i = 0; i < ROUNDS / 4; i++) {
        pthread_barrier_wait(&pair->barrier);
        pair->acts[number](pair->path);
    }
}

static void (*const acts[])(const char *path) = {act_listen,      act_name,  act_find,
                                                 act_cleanup,     act_spell, act_link,
                                                 act_cleanup_all, act_ask,   act_watch};

#define ACTS ((int)(sizeof acts / sizeof acts[0]))

/* G1: every two of the operations, on one path. */
START_TEST(any_two_operations_meet)
{
    struct pair pair = {.path = harness_at("a"), .acts = {acts[_i / ACTS], acts[_i % ACTS]}};

    if (_i / ACTS > _i % ACTS)
        return;
    ck_assert_int_eq(symlink(".", harness_at("link")), 0);
    pthread_barrier_init(&pair.barrier, NULL, 2);
    harness_in_threads(2, run_pair, &pair);
    pthread_barrier_destroy(&pair.barrier);
    ck_assert_uint_eq(atomic_load(&failures), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
}
END_TEST

static void do_anything(unsigned number, void *arg)
{
    static const char *const leaves[] = {"a", "b", "c"};
    unsigned seed = number + 1;

    (void)arg;
    for (int i = 0; i < ROUNDS; i++)
        acts[(unsigned)rand_r(&seed) % ACTS](harness_at(leaves[rand_r(&seed) % 3]));
}

START_TEST(eight_threads_do_anything)
{
    ck_assert_int_eq(symlink(".", harness_at("link")), 0);
    harness_in_threads(8, do_anything, NULL);
    ck_assert_uint_eq(atomic_load(&failures), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
}
END_TEST

/* G24: one reference is counted and given back by all. */
static void count_up_and_down(unsigned number, void *arg)
{
    sockref *held[16];

    (void)number;
    for (int i = 0; i < ROUNDS; i++) {
        for (int k = 0; k < 16; k++)
            held[k] = sockref_acquire(arg);
        if (sockref_reference_count(arg) < 17)
            atomic_fetch_add(&failures, 1);
        for (int k = 0; k < 16; k++)
            sockref_release(held[k]);
    }
}

START_TEST(counting_needs_no_lock)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    sr_mutex_lock(&registry->mutex); /* nobody gets it */
    harness_in_threads(4, count_up_and_down, ref);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(sockref_is_active(ref));
    ck_assert(sockref_is_owner(ref));
    ck_assert_str_eq(sockref_path(ref), harness_at("a"));
    ck_assert_int_ge(sockref_fd(ref), 0);
    ck_assert(sockref_registry_is_socket_active(registry, harness_at("a")));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    sr_mutex_unlock(&registry->mutex);
    ck_assert_uint_eq(atomic_load(&failures), 0);
    sockref_release(ref);
}
END_TEST

/* ---- D1, D2: the moment between the last release and the removal of its file, held open ---- */

static void *release(void *ref)
{
    sockref_release(ref);
    return NULL;
}

static sockref *got;
static int got_status;

static void *listen_again(void *path)
{
    got_status = sockref_registry_listen(registry, path, NULL, &got);
    return NULL;
}

static void *name_again(void *path)
{
    got_status = sockref_registry_get_or_create(registry, path, &got);
    return NULL;
}

/* Wait until a thread waits for a change of the registry: glibc counts those who do, above three
 * bits of flags. */
static void wait_for_waiter(void)
{
    unsigned waiting;

    do {
        sched_yield();
        waiting = __atomic_load_n(&registry->changed.raw.__data.__wrefs, __ATOMIC_ACQUIRE) >> 3;
    } while (waiting == 0);
}

START_TEST(d1_a_new_life_waits_for_the_end_of_the_last)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t releaser, listener;
    sockref *ref = harness_listen(registry, path), *none = NULL;

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    ck_assert_int_eq(pthread_create(&releaser, NULL, release, ref), 0);
    faults_wait_held(&gate);
    /* Dying: not active, and nobody waits to be told so. */
    ck_assert(!sockref_registry_is_socket_active(registry, path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    harness_assert_fails(sockref_registry_get_existing(registry, path, &none), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, path), SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_drain(registry, 0), SOCKREF_ETIMEOUT);
    got = NULL;
    ck_assert_int_eq(pthread_create(&listener, NULL, _i ? name_again : listen_again, (void *)path),
                     0);
    wait_for_waiter();
    faults_let_go(&gate);
    pthread_join(releaser, NULL);
    pthread_join(listener, NULL);
    ck_assert_int_eq(got_status, 0);
    ck_assert(sockref_is_active(got));
    ck_assert_int_eq(harness_can_dial(path), _i == 0);
    ck_assert_uint_eq(sockref_reference_count(got), 1);
    sockref_release(got);
    ck_assert(!harness_exists(path));
}
END_TEST

static int cleanup_status;

static void *cleanup_it(void *path)
{
    cleanup_status = sockref_registry_cleanup(registry, path);
    return NULL;
}

/* Nothing but the end of the revocation wakes who waits for it: the old reference is still held. */
START_TEST(d1_a_new_life_waits_for_the_end_of_a_revocation)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t revoker, listener;
    sockref *ref = harness_listen(registry, path);

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    ck_assert_int_eq(pthread_create(&revoker, NULL, cleanup_it, (void *)path), 0);
    faults_wait_held(&gate);
    ck_assert(!sockref_registry_is_socket_active(registry, path));
    got = NULL;
    ck_assert_int_eq(pthread_create(&listener, NULL, listen_again, (void *)path), 0);
    wait_for_waiter();
    faults_let_go(&gate);
    pthread_join(revoker, NULL);
    pthread_join(listener, NULL);
    ck_assert_int_eq(cleanup_status, 0);
    ck_assert_int_eq(got_status, 0);
    ck_assert_ptr_ne(got, ref);
    ck_assert(sockref_is_active(got));
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
    ck_assert(harness_exists(path));
    sockref_release(got);
    ck_assert(!harness_exists(path));
}
END_TEST

/* Decision 6: the wait is bounded by the start time-out. */
START_TEST(the_wait_for_the_last_life_has_an_end)
{
    const char *path = harness_at("a");
    sockref_registry *own = harness_registry(SOCKREF_OPT_START_TIMEOUT_MS, 20, 0);
    struct faults_gate gate;
    pthread_t releaser;
    sockref *ref = harness_listen(own, path), *none = NULL;

    faults_install();
    faults_hold(FAULTS_unlinkat, &gate);
    ck_assert_int_eq(pthread_create(&releaser, NULL, release, ref), 0);
    faults_wait_held(&gate);
    harness_assert_fails(sockref_registry_get_or_create(own, path, &none), SOCKREF_ETIMEOUT);
    harness_assert_fails(sockref_registry_listen(own, path, NULL, &none), SOCKREF_ETIMEOUT);
    ck_assert_ptr_null(none);
    faults_let_go(&gate);
    pthread_join(releaser, NULL);
    ref = harness_listen(own, path);
    sockref_release(ref);
    sockref_registry_free(own);
}
END_TEST

static void *listen_first(void *path)
{
    sockref *ref = NULL;

    ck_assert_int_eq(sockref_registry_listen(registry, path, NULL, &ref), 0);
    return ref;
}

/* A start is under way: others share it, ask about it, or wait for it. */
START_TEST(a_start_under_way_is_waited_for)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t first, second;
    sockref *ref, *none = NULL;
    void *result;

    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&first, NULL, listen_first, (void *)path), 0);
    faults_wait_held(&gate);
    ck_assert(!sockref_registry_is_socket_active(registry, path)); /* nobody holds it yet */
    harness_assert_fails(sockref_registry_get_existing(registry, path, &none), SOCKREF_ENOTFOUND);
    if (_i == 2) {
        harness_assert_ok(sockref_registry_get_or_create(registry, path, &ref));
        ck_assert(sockref_is_active(ref));
        ck_assert(!sockref_is_owner(ref));
        ck_assert_int_eq(sockref_fd(ref), -1);
    }
    got = NULL;
    ck_assert_int_eq(
        pthread_create(&second, NULL, _i == 1 ? cleanup_it : listen_again, (void *)path), 0);
    wait_for_waiter();
    faults_let_go(&gate);
    pthread_join(first, &result);
    pthread_join(second, NULL);
    ck_assert_int_eq(_i == 1 ? cleanup_status : got_status, 0);
    if (_i == 1) {
        ck_assert(!sockref_is_active(result));
        ck_assert(!harness_exists(path));
    } else {
        ck_assert_ptr_eq(got, result);
        ck_assert(harness_can_dial(path));
        sockref_release(got);
    }
    if (_i == 2) {
        ck_assert_ptr_eq(ref, result);
        ck_assert(sockref_is_owner(ref));
        sockref_release(ref);
    }
    sockref_release(result);
    ck_assert(!harness_exists(path));
}
END_TEST

static void *fail_to_listen(void *path)
{
    sockref *ref = NULL;

    ck_assert_int_eq(sockref_registry_listen(registry, path, NULL, &ref), -EROFS);
    ck_assert_ptr_null(ref);
    return NULL;
}

/* Decision 6: if the first fails, one of those who wait tries. */
START_TEST(if_the_first_start_fails_another_tries)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t first, second;

    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&first, NULL, fail_to_listen, (void *)path), 0);
    faults_wait_held(&gate);
    ck_assert_int_eq(pthread_create(&second, NULL, listen_again, (void *)path), 0);
    wait_for_waiter();
    faults_arm(FAULTS_BIT(FAULTS_bind), 1, EROFS);
    faults_let_go(&gate);
    pthread_join(first, NULL);
    pthread_join(second, NULL);
    ck_assert_int_eq(got_status, 0);
    ck_assert(harness_can_dial(path));
    sockref_release(got);
}
END_TEST

/* Decision 13: a start that takes too long is not revoked. */
START_TEST(cleanup_of_a_start_that_takes_too_long_changes_nothing)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t first;
    void *result;

    sockref_registry_free(registry);
    registry = harness_registry(SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 20, 0);
    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&first, NULL, listen_first, (void *)path), 0);
    faults_wait_held(&gate);
    harness_assert_fails(sockref_registry_cleanup(registry, path), SOCKREF_ETIMEOUT);
    faults_let_go(&gate);
    pthread_join(first, &result);
    ck_assert(sockref_is_active(result));
    sockref_release(result);
}
END_TEST

static void *listen_refused(void *path)
{
    sockref *ref = NULL;

    got_status = sockref_registry_listen(registry, path, NULL, &ref);
    return NULL;
}

/* A registry that closes during a start: the start is undone. */
START_TEST(a_start_in_a_registry_that_shuts_down_is_undone)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    pthread_t first;

    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&first, NULL, listen_refused, (void *)path), 0);
    faults_wait_held(&gate);
    sr_mutex_lock(&registry->mutex);
    sr_registry_set_phase_locked(registry, SR_SHUTTING);
    sr_mutex_unlock(&registry->mutex);
    faults_let_go(&gate);
    pthread_join(first, NULL);
    ck_assert_int_eq(got_status, SOCKREF_ESHUTDOWN);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("race");
    TCase *tcase = harness_tcase(suite, "race");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, d1_a_held_listener_is_always_there);
    tcase_add_test(tcase, v2_every_holder_connects);
    tcase_add_loop_test(tcase, any_two_operations_meet, 0, ACTS * ACTS);
    tcase_add_test(tcase, eight_threads_do_anything);
    tcase_add_test(tcase, counting_needs_no_lock);
    tcase_add_loop_test(tcase, d1_a_new_life_waits_for_the_end_of_the_last, 0, 2);
    tcase_add_test(tcase, d1_a_new_life_waits_for_the_end_of_a_revocation);
    tcase_add_test(tcase, the_wait_for_the_last_life_has_an_end);
    tcase_add_loop_test(tcase, a_start_under_way_is_waited_for, 0, 3);
    tcase_add_test(tcase, if_the_first_start_fails_another_tries);
    tcase_add_test(tcase, cleanup_of_a_start_that_takes_too_long_changes_nothing);
    tcase_add_test(tcase, a_start_in_a_registry_that_shuts_down_is_undone);
    return harness_run(suite);
}
