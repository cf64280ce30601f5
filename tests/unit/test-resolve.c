/* Looking up hosts: src/net/resolve.c. D47, J23. */
#include "net/resolve.h"

#include "base/error.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "net/service.h"
#include "unit/test-loop-helpers.h"
#include "unit/test-resolver-script.h"

#include <dirent.h>
#include <sys/wait.h>

struct answer {
    int count, status;
    struct sr_found *found;
    char message[128];
};

static unsigned threads_before; /* a backend may have one */

static void begin_case(void)
{
    script_begin();
    faults_install(); /* before there are threads */
    setup();
    drive_all();
    threads_before = harness_threads();
}

/* Nothing runs any more, and no thread is left: drain, which teardown calls, waits for them. */
static void end_case(void)
{
    teardown();
    ck_assert(IS_SANITIZED || harness_threads_become(1));
    ck_assert_int_eq(atomic_load(&script_running), 0);
}

static void take(void *user, int status, struct sr_found *found)
{
    struct answer *answer = user;

    answer->count++;
    answer->status = status;
    answer->found = found;
    loop->ran++;
    if (status < 0)
        snprintf(answer->message, sizeof answer->message, "%s", sockref_last_error()->message);
}

static struct sr_lookup *begin(const char *host, int family, struct answer *answer)
{
    struct sr_lookup *lookup = NULL;

    harness_assert_ok(sr_resolve_begin(loop, host, family, take, answer, &lookup));
    ck_assert_ptr_nonnull(lookup);
    return lookup;
}

/* What a lookup finds, as "64" for an IPv6 and an IPv4 address. */
static const char *families(const struct sr_found *found)
{
    static char text[32];
    size_t i;

    for (i = 0; i < found->count; i++)
        text[i] = found->addresses[i].address.any.sa_family == AF_INET ? '4' : '6';
    text[i] = '\0';
    return text;
}

START_TEST(an_answer_comes_on_the_loop)
{
    struct answer answer = {0};

    begin("6.4.4.test", AF_UNSPEC, &answer);
    DRIVE_UNTIL(answer.count > 0);
    ck_assert_int_eq(answer.count, 1);
    ck_assert_int_eq(answer.status, 0);
    ck_assert_str_eq(families(answer.found), "644");
    ck_assert_uint_eq(answer.found->addresses[0].size, sizeof(struct sockaddr_in6));
    ck_assert_uint_eq(answer.found->addresses[1].size, sizeof(struct sockaddr_in));
    ck_assert_int_eq(answer.found->addresses[1].address.v4.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    free(answer.found);
}
END_TEST

START_TEST(one_family_may_be_asked_for)
{
    struct answer answer = {0};

    begin("6.4.test", AF_INET, &answer);
    DRIVE_UNTIL(answer.count > 0);
    ck_assert_int_eq(atomic_load(&script_family), AF_INET);
    ck_assert_str_eq(families(answer.found), "4");
    free(answer.found);
    answer = (struct answer){0};
    begin("4.test", AF_INET6, &answer);
    DRIVE_UNTIL(answer.count > 0);
    ck_assert_int_eq(answer.status, SOCKREF_ENOTFOUND);
    ck_assert_str_eq(answer.message, "the host 4.test has no IPv6 address");
}
END_TEST

static const struct {
    const char *host;
    int status;
    const char *message;
} failures[] = {
    {"none.test", SOCKREF_ENOTFOUND, "there is no host none.test"},
    {"nodata.test", SOCKREF_ENOTFOUND, "there is no host nodata.test"},
    {"family.test", SOCKREF_ENOTFOUND, "there is no host family.test"},
    {"again.test", -EAGAIN, NULL},
    {"memory.test", -ENOMEM, NULL},
    {"fail.test", -EIO, NULL},
    {"system.test", -ECONNRESET, NULL},
};

START_TEST(a_failure_is_told)
{
    struct answer answer = {0};

    begin(failures[_i].host, AF_UNSPEC, &answer);
    DRIVE_UNTIL(answer.count > 0);
    ck_assert_int_eq(answer.status, failures[_i].status);
    ck_assert_ptr_null(answer.found);
    if (failures[_i].message)
        ck_assert_str_eq(answer.message, failures[_i].message);
    else
        ck_assert_str_ne(answer.message, "");
}
END_TEST

/* What needs no thread. */
START_TEST(numeric_hosts_and_localhost_are_known)
{
    static const struct {
        const char *host;
        int family;
        const char *families;
    } known[] = {
        {"127.0.0.1", AF_UNSPEC, "4"},  {"::1", AF_UNSPEC, "6"},     {"::1%1", AF_UNSPEC, "6"},
        {"localhost", AF_UNSPEC, "64"}, {"LOCALHOST", AF_INET, "4"}, {"localhost", AF_INET6, "6"},
        {"", AF_UNSPEC, "64"},
    };
    struct sr_found *found;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        found = NULL;
        ck_assert_int_eq(sr_resolve_at_once(known[i].host, known[i].family, &found), 1);
        ck_assert_str_eq(families(found), known[i].families);
        free(found);
    }
    found = NULL;
    ck_assert_int_eq(sr_resolve_at_once("4.test", AF_UNSPEC, &found), 0);
    ck_assert_int_eq(sr_resolve_at_once("127.1", AF_UNSPEC, &found), 0);
    ck_assert_int_eq(sr_resolve_at_once("localhost.", AF_UNSPEC, &found), 0);
    harness_assert_fails(sr_resolve_at_once("::1", AF_INET, &found), SOCKREF_ENOTFOUND);
    harness_assert_fails(sr_resolve_at_once("127.0.0.1", AF_INET6, &found), SOCKREF_ENOTFOUND);
    harness_assert_fails(sr_resolve_at_once("fe80::1%nowhere0", AF_UNSPEC, &found),
                         SOCKREF_ENOTFOUND);
    ck_assert_ptr_null(found);
    ck_assert_int_eq(atomic_load(&script_calls), 0);
}
END_TEST

/* ---- cancelling ---- */

/* The one that runs is left to its thread; the one that waits is gone at once. */
START_TEST(a_cancelled_lookup_tells_nothing)
{
    struct answer answers[SR_RESOLVE_THREADS + 1] = {0};
    struct sr_lookup *lookups[SR_RESOLVE_THREADS + 1];

    for (int i = 0; i < SR_RESOLVE_THREADS; i++)
        lookups[i] = begin("slow.4.test", AF_UNSPEC, &answers[i]);
    WAIT_UNTIL(atomic_load(&script_running) == SR_RESOLVE_THREADS);
    lookups[SR_RESOLVE_THREADS] = begin("slow.4.test", AF_UNSPEC, &answers[SR_RESOLVE_THREADS]);
    for (int i = 0; i <= SR_RESOLVE_THREADS; i++)
        sr_resolve_cancel(lookups[i]);
    script_let_go(SR_RESOLVE_THREADS);
    ck_assert_int_eq(sr_resolve_drain(deadline()), 0);
    drive_all();
    for (int i = 0; i <= SR_RESOLVE_THREADS; i++)
        ck_assert_int_eq(answers[i].count, 0);
    ck_assert_int_eq(atomic_load(&script_calls), SR_RESOLVE_THREADS);
}
END_TEST

/* The result is on its way to the loop already. */
START_TEST(a_result_that_has_come_is_cancelled)
{
    struct answer answer = {0};
    struct sr_lookup *lookup = begin("4.test", AF_UNSPEC, &answer);

    ck_assert_int_eq(sr_resolve_drain(deadline()), 0);
    sr_resolve_cancel(lookup);
    drive_all();
    ck_assert_int_eq(answer.count, 0);
}
END_TEST

START_TEST(lookups_that_hang_make_others_wait)
{
    struct answer answers[SR_RESOLVE_THREADS + 3] = {0};
    int hanging = SR_RESOLVE_THREADS;

    for (int i = 0; i < hanging; i++)
        begin("slow.4.test", AF_UNSPEC, &answers[i]);
    WAIT_UNTIL(atomic_load(&script_running) == hanging);
    for (int i = hanging; i < hanging + 3; i++)
        begin("4.test", AF_UNSPEC, &answers[i]);
    drive_all();
    ck_assert(IS_SANITIZED || harness_threads() == threads_before + SR_RESOLVE_THREADS);
    ck_assert_int_eq(atomic_load(&script_calls), hanging);
    script_let_go(1); /* one thread is enough for them */
    DRIVE_UNTIL(answers[hanging].count && answers[hanging + 1].count && answers[hanging + 2].count);
    ck_assert_int_eq(atomic_load(&script_running), hanging - 1);
    script_let_go((unsigned)hanging - 1);
    for (int i = 0; i < hanging + 3; i++) {
        DRIVE_UNTIL(answers[i].count == 1);
        ck_assert_int_eq(answers[i].status, 0);
        free(answers[i].found);
    }
}
END_TEST

START_TEST(the_queue_has_an_end)
{
    static struct answer answer;
    struct sr_lookup **lookups = calloc(SR_RESOLVE_WAITING + SR_RESOLVE_THREADS, sizeof *lookups);
    struct sr_lookup *none = NULL;
    unsigned count = 0;

    while (count < SR_RESOLVE_THREADS)
        lookups[count++] = begin("slow.4.test", AF_UNSPEC, &answer);
    WAIT_UNTIL(atomic_load(&script_running) == SR_RESOLVE_THREADS);
    while (count < SR_RESOLVE_WAITING + SR_RESOLVE_THREADS)
        lookups[count++] = begin("4.test", AF_UNSPEC, &answer);
    harness_assert_fails(sr_resolve_begin(loop, "4.test", AF_UNSPEC, take, &answer, &none),
                         SOCKREF_ELIMIT);
    ck_assert_ptr_null(none);
    while (count > 0)
        sr_resolve_cancel(lookups[--count]);
    script_let_go(SR_RESOLVE_THREADS);
    free(lookups);
    ck_assert_int_eq(answer.count, 0);
}
END_TEST

/* ---- the end ---- */

START_TEST(drain_waits_for_what_is_not_wanted)
{
    struct answer answer = {0};
    struct sr_lookup *lookup = begin("slow.4.test", AF_UNSPEC, &answer);

    WAIT_UNTIL(atomic_load(&script_running) == 1);
    harness_assert_ok(sockref_registry_drain(NULL, 0)); /* it is in use */
    sr_resolve_cancel(lookup);
    harness_assert_fails(sockref_registry_drain(NULL, 0), SOCKREF_ETIMEOUT);
    script_let_go(1);
    harness_assert_ok(sockref_registry_drain(NULL, PATIENCE_MS));
    ck_assert(IS_SANITIZED || harness_threads() == threads_before);
}
END_TEST

/* Its loop is freed; the thread comes back to an empty record. */
START_TEST(a_lookup_outlives_its_loop)
{
    struct answer answer = {0};
    sockref_loop *other;
    struct sr_lookup *lookup = NULL;

    ck_assert_int_eq(sockref_loop_new(&other), 0);
    harness_assert_ok(sr_resolve_begin(other, "slow.4.test", AF_UNSPEC, take, &answer, &lookup));
    WAIT_UNTIL(atomic_load(&script_running) == 1);
    sr_resolve_cancel(lookup);
    sockref_loop_free(other);
    script_let_go(1);
    ck_assert_int_eq(sr_resolve_drain(deadline()), 0);
    ck_assert_int_eq(answer.count, 0);
}
END_TEST

START_TEST(threads_take_no_signals)
{
    struct answer answer = {0};
    unsigned long long blocked = 0;
    char line[256];
    FILE *status;
    struct dirent *item;
    DIR *tasks;

    begin("slow.4.test", AF_UNSPEC, &answer);
    WAIT_UNTIL(atomic_load(&script_running) == 1);
    tasks = opendir("/proc/self/task");
    while ((item = readdir(tasks)) != NULL) {
        if (atoi(item->d_name) == getpid() || item->d_name[0] == '.')
            continue;
        status = fopen(harness_text("/proc/self/task/%s/status", item->d_name), "re");
        ck_assert_ptr_nonnull(status);
        while (fgets(line, sizeof line, status))
            sscanf(line, "SigBlk: %llx", &blocked);
        fclose(status);
    }
    closedir(tasks);
    ck_assert(blocked & 1u << (SIGTERM - 1));
    ck_assert(blocked & 1u << (SIGINT - 1));
    script_let_go(1);
    DRIVE_UNTIL(answer.count == 1);
    free(answer.found);
}
END_TEST

START_TEST(a_thread_that_cannot_be_had_is_told)
{
    struct answer answers[2] = {0};
    struct sr_lookup *none = NULL;

    faults_arm(FAULTS_BIT(FAULTS_thread_create), 1, EAGAIN);
    harness_assert_fails(sr_resolve_begin(loop, "4.test", AF_UNSPEC, take, &answers[0], &none),
                         -EAGAIN);
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sr_resolve_begin(loop, "4.test", AF_UNSPEC, take, &answers[0], &none),
                         -ENOMEM);
    ck_assert_ptr_null(none);
    /* Where there is one already, that one gets to it. */
    begin("slow.4.test", AF_UNSPEC, &answers[0]);
    WAIT_UNTIL(atomic_load(&script_running) == 1);
    faults_arm(FAULTS_BIT(FAULTS_thread_create), 1, EAGAIN);
    begin("4.test", AF_UNSPEC, &answers[1]);
    faults_disarm();
    script_let_go(1);
    DRIVE_UNTIL(answers[0].count == 1 && answers[1].count == 1);
    free(answers[0].found);
    free(answers[1].found);
}
END_TEST

START_TEST(no_memory_for_the_answer_is_told)
{
    struct answer answer = {0};

    begin("slow.4.test", AF_UNSPEC, &answer);
    WAIT_UNTIL(atomic_load(&script_running) == 1);
    faults_arm(FAULTS_BIT(FAULTS_calloc), 1, ENOMEM);
    script_let_go(1);
    DRIVE_UNTIL(answer.count == 1);
    faults_disarm();
    ck_assert_int_eq(answer.status, -ENOMEM);
}
END_TEST

/* In a forked child no thread is left of the parent's: its own lookups have threads of their own.
 */
START_TEST(a_forked_child_looks_up_itself)
{
#if !defined(__SANITIZE_THREAD__) /* which lets such a child start no thread */
    struct answer answer = {0};
    pid_t child;
    int status;

    begin("slow.4.test", AF_UNSPEC, &answer);
    WAIT_UNTIL(atomic_load(&script_running) == 1);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct answer own = {0};
        struct sr_lookup *lookup;
        sockref_loop *other;

        if (sockref_loop_new(&other) < 0 ||
            sr_resolve_begin(other, "6.test", AF_UNSPEC, take, &own, &lookup) < 0)
            _exit(2);
        while (own.count == 0)
            sockref_loop_dispatch(other, 100);
        _exit(own.status != 0 || own.found->count != 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    script_let_go(1);
    DRIVE_UNTIL(answer.count == 1);
    free(answer.found);
#endif
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resolve");
    TCase *tcase = tcase_create("resolve");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, an_answer_comes_on_the_loop);
    tcase_add_test(tcase, one_family_may_be_asked_for);
    tcase_add_loop_test(tcase, a_failure_is_told, 0, (int)(sizeof failures / sizeof failures[0]));
    tcase_add_test(tcase, numeric_hosts_and_localhost_are_known);
    tcase_add_test(tcase, a_cancelled_lookup_tells_nothing);
    tcase_add_test(tcase, a_result_that_has_come_is_cancelled);
    tcase_add_test(tcase, lookups_that_hang_make_others_wait);
    tcase_add_test(tcase, the_queue_has_an_end);
    tcase_add_test(tcase, drain_waits_for_what_is_not_wanted);
    tcase_add_test(tcase, a_lookup_outlives_its_loop);
    tcase_add_test(tcase, threads_take_no_signals);
    tcase_add_test(tcase, a_thread_that_cannot_be_had_is_told);
    tcase_add_test(tcase, no_memory_for_the_answer_is_told);
    tcase_add_test(tcase, a_forked_child_looks_up_itself);
    return run_suite(suite);
}
