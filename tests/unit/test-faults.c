/*
 * Whole scenarios with the n-th allocation failing, and the n-th system call of each kind failing
 * with each of some errno values, for every n until the scenario passes. V3, J23, D17.
 *
 * After each run nothing is left: no file, descriptor, entry, reference or thread (I3, I8). A call
 * that fails has changed nothing and is described (I9). Where the system refused to remove a file,
 * that is reported, and all else is clean.
 */
#include "base/clock.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "unit/fault-scenarios.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic unsigned logged_failures;

static void record(const sockref_log_record *record, void *user)
{
    (void)user;
    if (strcmp(record->event, "cleanup_failed") == 0)
        atomic_fetch_add(&logged_failures, 1 + (unsigned)record->suppressed);
}

/* The log is limited in rate: reports that are to be counted must not come faster. */
static void keep_below_rate(void)
{
    static uint64_t second;
    static unsigned in_second;
    uint64_t now = sr_clock_ns() / 1000000000u;

    if (now != second)
        in_second = 0;
    second = now;
    in_second += atomic_load(&logged_failures);
    while (in_second > 10 && sr_clock_ns() / 1000000000u == second)
        poll(NULL, 0, 5);
}

static void remove_left(const char *dir)
{
    ck_assert_int_eq(
        system(harness_text("find '%s' '(' -type s -o -name '.*.srlock' ')' -delete", dir)), 0);
}

/* One run with the armed fault. Returns whether the fault came. */
static bool run(int index, bool *out_ok)
{
    unsigned left;
    bool struck;

    fault_run.reported = 0;
    keep_below_rate();
    atomic_store(&logged_failures, 0);
    *out_ok = fault_scenarios[index].run();
    struck = faults_struck();
    faults_disarm();
    /* In names, of which each is reported once, with what stands beside it. */
    left = harness_sockets();
    if (left == 0 && harness_beside() > 0)
        left = 1;
    if (left > 0) {
        ck_assert_msg(fault_run.reported + atomic_load(&logged_failures) >= left,
                      "%s: %u names are left, and %u fault_run.reported", fault_run.what, left,
                      fault_run.reported + atomic_load(&logged_failures));
        ck_assert_msg(strstr(fault_run.what, "unlinkat") || strstr(fault_run.what, "fstatat") ||
                          strstr(fault_run.what, "rename_new"),
                      "%s: a file is left", fault_run.what);
        remove_left(harness_dir());
    }
    harness_assert_clean();
    return struck;
}

static void run_all(int index, uint64_t kinds, const char *name, int os_errno)
{
    bool ok, struck = true;

    for (uint64_t nth = 1; struck; nth++) {
        fault_run.what =
            harness_text("%s: call %llu of %s fails with %s", fault_scenarios[index].name,
                         (unsigned long long)nth, name, sockref_status_name(os_errno));
        faults_arm(kinds, nth, os_errno);
        struck = run(index, &ok);
        ck_assert_msg(struck || ok, "%s: failed without a cause", fault_run.what);
        ck_assert_uint_lt(nth, 1000);
    }
    faults_arm_from(kinds, 1, os_errno);
    fault_run.what = harness_text("%s: all of %s fail with %s", fault_scenarios[index].name, name,
                                  sockref_status_name(os_errno));
    run(index, &ok);
}

START_TEST(every_allocation_fails_once)
{
    harness_assert_ok(sockref_set_log(record, NULL, NULL));
    faults_install();
    fault_run.is_without_memory = true;
    run_all(_i, FAULTS_ALLOCATIONS, "the allocations", ENOMEM);
}
END_TEST

static const struct {
    enum faults_kind kind;
    int os_errno[3];
} failures[] = {
    {FAULTS_openat, {EMFILE, EACCES, ENOENT}},
    {FAULTS_close, {EIO, EINTR, 0}},
    {FAULTS_fstat, {EIO, EOVERFLOW, 0}},
    {FAULTS_fstatat, {EIO, EACCES, ELOOP}}, /* not ENOENT: it is believed */
    {FAULTS_fchmod, {EINVAL, EPERM, 0}},
    {FAULTS_chmod, {EPERM, EROFS, ENOENT}},
    {FAULTS_mkdir, {EACCES, EROFS, ENOSPC}},
    {FAULTS_unlinkat, {EROFS, EACCES, EPERM}},
    {FAULTS_rename_new, {EINVAL, EACCES, EIO}},
    {FAULTS_socket, {EMFILE, ENFILE, ENOBUFS}},
    {FAULTS_bind, {EACCES, EROFS, EADDRINUSE}},
    {FAULTS_listen, {ENOBUFS, EOPNOTSUPP, 0}},
    {FAULTS_connect, {EACCES, EAGAIN, 0}},
    {FAULTS_getsockopt, {EBADF, ENOTSOCK, 0}},
    {FAULTS_setsockopt, {EINVAL, ENOPROTOOPT, 0}},
    {FAULTS_getsockname, {ENOBUFS, EBADF, 0}},
    {FAULTS_thread_create, {EAGAIN, EPERM, 0}},
};

#define FAILURES ((int)(sizeof failures / sizeof failures[0]))

START_TEST(every_system_call_fails_once)
{
    int scenario = _i % FAULT_SCENARIOS, failure = _i / FAULT_SCENARIOS;
    sockref_options *quick = harness_options(SOCKREF_OPT_START_TIMEOUT_MS, FAULT_QUICK_MS, 0);

    fault_run.options = quick;
    harness_assert_ok(sockref_set_log(record, NULL, NULL));
    faults_install();
    for (int i = 0; i < 3 && failures[failure].os_errno[i]; i++)
        run_all(scenario, FAULTS_BIT(failures[failure].kind), faults_name(failures[failure].kind),
                failures[failure].os_errno[i]);
    fault_run.options = NULL;
    sockref_options_free(quick);
}
END_TEST

/* The scenarios do what they say where nothing fails, and together reach every kind of
 * call that is failed above. */
START_TEST(without_a_fault_all_succeed)
{
    bool ok;

    faults_install();
    for (int i = 0; i < FAULT_SCENARIOS; i++) {
        fault_run.what = fault_scenarios[i].name;
        faults_disarm();
        run(i, &ok);
        ck_assert_msg(ok, "%s", fault_run.what);
    }
    for (int i = 0; i < FAILURES; i++)
        if (failures[i].kind != FAULTS_rename_new || geteuid() == 0)
            ck_assert_msg(faults_calls(failures[i].kind) > 0, "%s was never called",
                          faults_name(failures[i].kind));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults");
    TCase *tcase = harness_tcase(suite, "faults");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, without_a_fault_all_succeed);
    tcase_add_loop_test(tcase, every_allocation_fails_once, 0, FAULT_SCENARIOS);
    tcase_add_loop_test(tcase, every_system_call_fails_once, 0, FAULT_SCENARIOS * FAILURES);
    return harness_run(suite);
}
