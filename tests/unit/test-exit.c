/* The end of the process: src/ref/exit.c. D18, N9, U1, I3. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"
#include "harness/wait.h"
#include "ref/fork.h"
#include "ref/state.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sockref/net.h>
#include <stdlib.h>
#include <unistd.h>

static int exit_with_names(void *arg)
{
    sockref_registry *own = harness_registry(0);
    sockref *ref;

    for (int i = 0; i < 50; i++)
        harness_listen(own, harness_text("%s/%d", (const char *)arg, i));
    ck_assert_int_eq(sockref_registry_listen(NULL, harness_at("default"), NULL, &ref), 0);
    exit(0);
}

START_TEST(d18_exit_removes_the_files)
{
    ck_assert_int_eq(harness_in_child(exit_with_names, (void *)harness_dir()), 0);
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

static int exit_with_delays(void *arg)
{
    sockref_registry *own =
        harness_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 1000000, SOCKREF_OPT_MAX_SOCKETS, 2000, 0);

    for (int i = 0; i < 1000; i++)
        sockref_release(harness_listen(own, harness_text("%s/%d", (const char *)arg, i)));
    exit(0);
}

/* D15: exit with 1000 delays running. */
START_TEST(d15_exit_does_not_wait_for_delays)
{
    ck_assert_int_eq(harness_in_child(exit_with_delays, (void *)harness_dir()), 0);
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

/* Of each kind that a name can be: unshared, only bound, only counted, without a file, revoked and
 * held, and one whose listener lives on for another registry. */
static int exit_with_all_kinds(void *unused)
{
    sockref_registry *own = harness_registry(0), *other = harness_registry(0);
    sockref_options *alone = harness_options(SOCKREF_OPT_SHARE, 0, 0);
    sockref_options *bound = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    sockref *ref;

    (void)unused;
    harness_assert_ok(sockref_registry_listen(own, harness_at("alone"), alone, &ref));
    harness_assert_ok(sockref_registry_listen(own, harness_at("bound"), bound, &ref));
    harness_assert_ok(sockref_registry_get_or_create(own, harness_at("counted"), &ref));
    harness_listen(own, harness_text("@sockref-exit-%ld", (long)getpid()));
    harness_listen(own, "tcp:127.0.0.1:0");
    harness_listen(own, harness_at("revoked"));
    harness_assert_ok(sockref_registry_cleanup(own, harness_at("revoked")));
    ref = harness_listen(own, harness_at("lingers"));
    harness_listen(other, harness_at("lingers"));
    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    sockref_release(ref);
    exit(0);
}

START_TEST(exit_removes_the_files_of_all_kinds_of_names)
{
    ck_assert_int_eq(harness_in_child(exit_with_all_kinds, NULL), 0);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static const char *replaced_path;

static int exit_replaced(void *arg)
{
    harness_listen(harness_registry(0), arg);
    if (unlink(arg) < 0)
        return 1;
    harness_write(arg, "precious");
    exit(0);
}

START_TEST(exit_removes_only_its_own)
{
    replaced_path = harness_at("a");
    ck_assert_int_eq(harness_in_child(exit_replaced, (void *)replaced_path), 0);
    ck_assert(harness_holds(replaced_path, "precious"));
}
END_TEST

static int late_status;

static void call_late(void)
{
    sockref *ref = NULL;
    sockref_registry *own = NULL;

    late_status = sockref_registry_listen(NULL, "@late", NULL, &ref);
    _exit(late_status == 0 && sockref_registry_new(NULL, &own) == 0 ? 0 : 7);
}

/* Handlers of exit() run before the library's own: the library still works there. */
static int exit_and_call(void *arg)
{
    (void)arg;
    atexit(call_late);
    exit(0);
}

START_TEST(exit_handlers_may_call)
{
    ck_assert_int_eq(harness_in_child(exit_and_call, NULL), 0);
}
END_TEST

static bool calls_after_exit;

/* Destructors of a program, and of what it was linked with before, run after the library's own. */
__attribute__((destructor(101))) static void call_after_exit(void)
{
    if (!calls_after_exit)
        return;
    for (int i = 0; i < 2; i++) {
        sockref *ref = NULL;
        sockref_loop *loop = NULL;
        sockref_conn *conn = NULL;

        if (sockref_registry_listen(NULL, "@late", NULL, &ref) != SOCKREF_ESHUTDOWN ||
            sockref_loop_new(&loop) != SOCKREF_ESHUTDOWN ||
            sockref_connect(NULL, "@late", NULL, sockref_echo_handlers(), NULL, &conn) !=
                SOCKREF_ESHUTDOWN)
            _exit(7);
    }
}

static int exit_before_calls(void *unused)
{
    (void)unused;
    calls_after_exit = true;
    exit(0);
}

START_TEST(nothing_is_begun_after_the_exit)
{
    ck_assert_int_eq(harness_in_child(exit_before_calls, NULL), 0);
}
END_TEST

/* ---- what goes on in other threads, and in the log function ---- */

#define ATTEMPTS 5 /* the exit waits for no thread that a busy machine keeps from running */

static struct faults_gate gate;

static void *start_unguarded(void *path)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 0, 0);
    sockref *ref;

    sockref_registry_listen(NULL, path, options, &ref);
    sockref_options_free(options);
    return NULL;
}

static void *let_go_at_exit(void *unused)
{
    (void)unused;
    while (!atomic_load(&sr_exiting))
        sched_yield();
    faults_let_go(&gate);
    return NULL;
}

static int exit_during_a_start(void *path)
{
    pthread_t starts, lets_go;

    faults_install();
    faults_hold(FAULTS_listen, &gate);
    ck_assert_int_eq(pthread_create(&starts, NULL, start_unguarded, path), 0);
    faults_wait_held(&gate);
    ck_assert_int_eq(pthread_create(&lets_go, NULL, let_go_at_exit, NULL), 0);
    pthread_detach(starts);
    pthread_detach(lets_go);
    exit(0);
}

START_TEST(a_start_that_meets_the_exit_leaves_nothing)
{
    unsigned left = 1;

    for (int i = 0; i < ATTEMPTS && left > 0; i++) {
        const char *path = harness_at(harness_text("%d", i));
        unsigned before = harness_files() + harness_beside();

        ck_assert_int_eq(harness_in_child(exit_during_a_start, (void *)path), 0);
        left = harness_files() + harness_beside() - before;
    }
    ck_assert_uint_eq(left, 0);
}
END_TEST

static void ask(const sockref_log_record *record, void *user)
{
    uint64_t entries;

    (void)record;
    (void)user;
    sockref_live_counts(NULL, &entries, NULL);
}

static int exit_and_log(void *path)
{
    alarm(10);
    harness_assert_ok(sockref_set_log(ask, NULL, NULL));
    harness_listen(harness_registry(0), path);
    if (unlink(path) < 0)
        return 1;
    harness_write(path, "told, and left alone");
    exit(0);
}

/* I6 */
START_TEST(the_log_function_may_call_at_exit)
{
    ck_assert_int_eq(harness_in_child(exit_and_log, (void *)harness_at("a")), 0);
}
END_TEST

static int exit_with_both(void *path)
{
    sockref_registry *here = harness_registry(0), *there = harness_registry(0);

    harness_listen(here, path);
    harness_listen(there, path);
    exit(0);
}

/* Nobody of this process takes over what another registry of it offers. The thread sanitizer has
 * each process end a second late. */
START_TEST(holders_in_one_process_do_not_wait_for_each_other)
{
    uint64_t took_ns = UINT64_MAX;

    for (int i = 0; i < ATTEMPTS && took_ns > 500000000; i++) {
        uint64_t begun_ns = sr_clock_ns();

        ck_assert_int_eq(harness_in_child(exit_with_both, (void *)harness_at("a")), 0);
        took_ns = sr_clock_ns() - begun_ns;
        ck_assert_uint_eq(harness_files() + harness_beside(), 0);
    }
    ck_assert(IS_SANITIZED || took_ns <= 500000000);
}
END_TEST

static sem_t is_locked;

static void *lock_for_ever(void *mutex)
{
    pthread_mutex_lock(mutex);
    sem_post(&is_locked);
    pause();
    return NULL;
}

static int exit_beside_a_lock(void *is_list)
{
    sockref_registry *own = harness_registry(0);
    pthread_mutex_t *mutex = is_list ? &sr_registry_list_mutex.raw : &own->mutex.raw;
    pthread_t thread;

    harness_listen(own, harness_at("a"));
    sem_init(&is_locked, 0, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, lock_for_ever, mutex), 0);
    while (sem_wait(&is_locked) < 0)
        continue;
    exit(0);
}

/* Decision 5: what can't be had soon is left to the guard. */
START_TEST(exit_waits_for_no_thread_that_never_goes_on)
{
    sockref_registry_free(harness_registry(0)); /* so the child has a guard of its own */
    ck_assert_int_eq(harness_in_child(exit_beside_a_lock, _i ? "" : NULL), 0);
    WAIT_UNTIL(harness_files() + harness_beside() == 0);
}
END_TEST

static void *make_and_free(void *unused)
{
    (void)unused;
    for (;;) {
        sockref_registry *own = NULL;
        sockref *ref = NULL;

        if (sockref_registry_new(NULL, &own) < 0)
            return NULL; /* the process is ending */
        sockref_registry_get_or_create(own, "@a", &ref);
        sockref_release(ref);
        sockref_registry_free(own);
    }
}

static int exit_beside_frees(void *unused)
{
    pthread_t thread;

    (void)unused;
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, make_and_free, NULL), 0);
        pthread_detach(thread);
    }
    poll(NULL, 0, 1);
    exit(0);
}

/* It walks the list of registries, in which there are some that are being freed. */
START_TEST(exit_takes_no_registry_that_is_freed_meanwhile)
{
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(harness_in_child(exit_beside_frees, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exit");
    TCase *tcase = harness_tcase(suite, "exit");

    tcase_add_test(tcase, d18_exit_removes_the_files);
    tcase_add_test(tcase, exit_removes_the_files_of_all_kinds_of_names);
    tcase_add_test(tcase, d15_exit_does_not_wait_for_delays);
    tcase_add_test(tcase, exit_removes_only_its_own);
    tcase_add_test(tcase, exit_handlers_may_call);
    tcase_add_test(tcase, nothing_is_begun_after_the_exit);
    tcase_add_test(tcase, the_log_function_may_call_at_exit);
    tcase_add_test(tcase, holders_in_one_process_do_not_wait_for_each_other);
    /* The thread sanitizer does not see that a child of fork() makes the list's mutex anew. */
    tcase_add_loop_test(tcase, exit_waits_for_no_thread_that_never_goes_on, 0,
                        IS_SANITIZED ? 1 : 2);
    tcase_add_test(tcase, exit_takes_no_registry_that_is_freed_meanwhile);
    tcase = harness_tcase_unchecked(suite, "threads");
    tcase_add_test(tcase, a_start_that_meets_the_exit_leaves_nothing);
    return harness_run(suite);
}
