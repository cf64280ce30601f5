/* The log hook: src/base/log.c. */
#include "base/log.h"

#include "base/clock.h"
#include "base/error.h"
#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct sink {
    atomic_uint calls, freed;
    uint64_t suppressed; /* written by one thread at a time */
};

static void count(const sockref_log_record *record, void *user)
{
    struct sink *sink = user;

    ck_assert_uint_eq(atomic_load(&sink->freed), 0);
    atomic_fetch_add(&sink->calls, 1);
    sink->suppressed += record->suppressed;
}

static void count_free(void *user)
{
    atomic_fetch_add(&((struct sink *)user)->freed, 1);
}

static void emit(void)
{
    sr_log(SR_LOG_LISTENING, SOCKREF_LOG_INFO, 0, "/p", "text");
}

START_TEST(nobody_listens)
{
    emit();
}
END_TEST

static void check_record(const sockref_log_record *record, void *user)
{
    ck_assert_uint_eq(record->size, sizeof *record);
    ck_assert_int_eq(record->level, SOCKREF_LOG_ERROR);
    ck_assert_str_eq(record->event, "cleanup_failed");
    ck_assert_str_eq(record->message, "it is 7");
    ck_assert_str_eq(record->path, "/a/path");
    ck_assert_int_eq(record->status, -EACCES);
    ck_assert_uint_eq(record->suppressed, 0);
    ++*(int *)user;
}

START_TEST(a_record_has_all_that_was_told)
{
    int calls = 0;

    harness_assert_ok(sockref_set_log(check_record, &calls, NULL));
    sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, -EACCES, "/a/path", "it is %d", 7);
    ck_assert_int_eq(calls, 1);
}
END_TEST

static void check_word(const sockref_log_record *record, void *user)
{
    ck_assert_str_ne(record->event, "");
    ck_assert_ptr_null(strchr(record->event, ' '));
    ++*(int *)user;
}

START_TEST(every_event_has_a_word)
{
    int calls = 0;

    harness_assert_ok(sockref_set_log(check_word, &calls, NULL));
    for (int event = 0; event < SR_LOG_EVENT_COUNT; event++)
        sr_log(event, SOCKREF_LOG_DEBUG, 0, NULL, "x");
    ck_assert_int_eq(calls, SR_LOG_EVENT_COUNT);
}
END_TEST

static void fail_at_something(const sockref_log_record *record, void *user)
{
    ck_assert_int_eq(record->status, *(int *)user);
    ck_assert_int_eq(sockref_set_watch(NULL, NULL, NULL, NULL), -EINVAL);
}

START_TEST(what_the_function_fails_at_is_not_the_callers_failure)
{
    int status = SOCKREF_ELIMIT;

    harness_assert_ok(sockref_set_log(fail_at_something, &status, NULL));
    sr_error_set(status, "/a/path", "it is %d", 7);
    sr_log(SR_LOG_START_FAILED, SOCKREF_LOG_INFO, status, "/a/path", "%s",
           sockref_last_error()->message);
    harness_assert_error(status);
    ck_assert_str_eq(sockref_last_error()->message, "it is 7");
}
END_TEST

static void check_length(const sockref_log_record *record, void *user)
{
    *(size_t *)user = strlen(record->message);
}

START_TEST(a_long_message_is_cut_not_spilled)
{
    size_t length = 0;

    harness_assert_ok(sockref_set_log(check_length, &length, NULL));
    sr_log(SR_LOG_CLOSED, SOCKREF_LOG_DEBUG, 0, NULL, "%s", harness_text("%03000d", 1));
    ck_assert_uint_gt(length, 200);
    ck_assert_uint_lt(length, 3000);
}
END_TEST

/* Each record is delivered, or counted in one that is: here until the rate lets the last one
 * through. */
START_TEST(the_rate_is_limited_and_what_is_held_back_is_counted)
{
    struct sink sink = {0};
    uint64_t first = sr_clock_ns(), emitted = 0;
    unsigned burst, delivered;

    harness_assert_ok(sockref_set_log(count, &sink, NULL));
    for (; emitted < 1000; emitted++)
        emit();
    burst = atomic_load(&sink.calls);
    ck_assert_uint_ge(burst, SR_LOG_BURST);
    ck_assert_uint_le(burst, SR_LOG_BURST * ((sr_clock_ns() - first) / 1000000000u + 2));
    do {
        delivered = atomic_load(&sink.calls);
        emit();
        emitted++;
    } while (atomic_load(&sink.calls) == delivered);
    ck_assert_uint_eq(atomic_load(&sink.calls) + sink.suppressed, emitted);
}
END_TEST

START_TEST(each_event_has_its_own_rate)
{
    struct sink sink = {0};

    harness_assert_ok(sockref_set_log(count, &sink, NULL));
    for (int i = 0; i < 1000; i++)
        emit();
    atomic_store(&sink.calls, 0);
    sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, -EIO, NULL, "text");
    ck_assert_uint_eq(atomic_load(&sink.calls), 1);
}
END_TEST

static int replaced_inside;

/* Inside the function: any call but the one that replaces it. */
static void call_back(const sockref_log_record *record, void *user)
{
    sockref_registry *registry;
    sockref *ref;

    if (strcmp(record->event, "listening") != 0)
        return;
    ++*(int *)user;
    replaced_inside = sockref_set_log(NULL, NULL, NULL);
    harness_assert_error(SOCKREF_EBUSY);
    harness_assert_ok(sockref_registry_new(NULL, &registry));
    if (*(int *)user == 1) {
        ref = harness_listen(registry, harness_at("inner")); /* logs, and so gets here again */
        sockref_release(ref);
    }
    sockref_registry_free(registry);
}

/* D27: no lock is held while it runs. */
START_TEST(the_log_function_may_call_the_library)
{
    sockref_registry *registry = harness_registry(0);
    int calls = 0;
    sockref *ref;

    harness_assert_ok(sockref_set_log(call_back, &calls, NULL));
    ref = harness_listen(registry, harness_at("outer"));
    sockref_release(ref);
    sockref_registry_free(registry);
    ck_assert_int_eq(calls, 2);
    ck_assert_int_eq(replaced_inside, SOCKREF_EBUSY);
    harness_assert_ok(sockref_set_log(NULL, NULL, NULL));
}
END_TEST

START_TEST(the_users_data_is_freed_once_when_it_is_replaced)
{
    struct sink first = {0}, second = {0}, third = {0};

    harness_assert_ok(sockref_set_log(count, &first, count_free));
    harness_assert_ok(sockref_set_log(count, &second, count_free));
    ck_assert_uint_eq(atomic_load(&first.freed), 1);
    ck_assert_uint_eq(atomic_load(&second.freed), 0);
    harness_assert_ok(sockref_set_log(NULL, &third, count_free)); /* taken, and of no use */
    ck_assert_uint_eq(atomic_load(&second.freed), 1);
    ck_assert_uint_eq(atomic_load(&third.freed), 1);
    emit();
    ck_assert_uint_eq(atomic_load(&second.calls), 0);
}
END_TEST

START_TEST(without_memory_the_old_function_stays_and_nothing_is_taken)
{
    struct sink first = {0}, second = {0};

    harness_assert_ok(sockref_set_log(count, &first, count_free));
    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sockref_set_log(count, &second, count_free), -ENOMEM);
    ck_assert_uint_eq(atomic_load(&first.freed) + atomic_load(&second.freed), 0);
    emit();
    ck_assert_uint_eq(atomic_load(&first.calls), 1);
}
END_TEST

struct stuck {
    sem_t inside, go;
    atomic_int freed;
};

static void stick(const sockref_log_record *record, void *user)
{
    struct stuck *stuck = user;

    (void)record;
    sem_post(&stuck->inside);
    while (sem_wait(&stuck->go) < 0)
        continue;
    ck_assert_int_eq(atomic_load(&stuck->freed), 0);
}

static void free_stuck(void *user)
{
    atomic_fetch_add(&((struct stuck *)user)->freed, 1);
}

static void *emit_on_thread(void *unused)
{
    (void)unused;
    emit();
    return NULL;
}

/* J24: replaced while it runs; its data lives until it returns. */
START_TEST(the_function_can_be_replaced_while_it_runs)
{
    struct stuck stuck = {.freed = 0};
    pthread_t thread;

    sem_init(&stuck.inside, 0, 0);
    sem_init(&stuck.go, 0, 0);
    harness_assert_ok(sockref_set_log(stick, &stuck, free_stuck));
    ck_assert_int_eq(pthread_create(&thread, NULL, emit_on_thread, NULL), 0);
    sem_wait(&stuck.inside);
    harness_assert_ok(sockref_set_log(NULL, NULL, NULL));
    ck_assert_int_eq(atomic_load(&stuck.freed), 0);
    sem_post(&stuck.go);
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&stuck.freed), 1);
}
END_TEST

static pid_t forked;

static void fork_inside(const sockref_log_record *record, void *user)
{
    (void)record;
    (void)user;
    forked = fork();
}

/* In the child of a fork that the function made, and that returns from it. */
static int set_after_fork(void *unused)
{
    sockref_registry *own; /* with the first one the fork handlers are in place */
    int status;

    (void)unused;
    if (sockref_registry_new(NULL, &own) < 0 || sockref_set_log(fork_inside, NULL, NULL) < 0)
        return 1;
    emit();
    if (forked == 0)
        _exit(sockref_set_log(NULL, NULL, NULL) == 0 ? 0 : 2);
    if (waitpid(forked, &status, 0) != forked)
        return 3;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

START_TEST(a_child_that_returns_from_the_function_is_outside)
{
    ck_assert_int_eq(harness_in_child(set_after_fork, NULL), 0);
}
END_TEST

#define ROUNDS 400

static atomic_uint owned_freed;

static void count_owned(const sockref_log_record *record, void *user)
{
    (void)record;
    ck_assert_int_eq(*(const char *)user, 0);
}

static void free_owned(void *user)
{
    atomic_fetch_add(&owned_freed, 1);
    free(user);
}

static void replace_owned(unsigned number, void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (number < 2)
            ck_assert_int_eq(sockref_set_log(count_owned, calloc(1, 1), free_owned), 0);
        else
            sr_log(i % SR_LOG_EVENT_COUNT, SOCKREF_LOG_DEBUG, 0, NULL, "x");
    }
}

START_TEST(replacing_and_telling_race)
{
    harness_in_threads(3, replace_owned, NULL);
    harness_assert_ok(sockref_set_log(NULL, NULL, NULL));
    ck_assert_uint_eq(atomic_load(&owned_freed), 2 * ROUNDS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tcase = harness_tcase(suite, "log");

    tcase_add_test(tcase, nobody_listens);
    tcase_add_test(tcase, a_record_has_all_that_was_told);
    tcase_add_test(tcase, every_event_has_a_word);
    tcase_add_test(tcase, what_the_function_fails_at_is_not_the_callers_failure);
    tcase_add_test(tcase, a_long_message_is_cut_not_spilled);
    tcase_add_test(tcase, the_rate_is_limited_and_what_is_held_back_is_counted);
    tcase_add_test(tcase, each_event_has_its_own_rate);
    tcase_add_test(tcase, the_log_function_may_call_the_library);
    tcase_add_test(tcase, the_users_data_is_freed_once_when_it_is_replaced);
    tcase_add_test(tcase, without_memory_the_old_function_stays_and_nothing_is_taken);
    tcase_add_test(tcase, the_function_can_be_replaced_while_it_runs);
    tcase_add_test(tcase, a_child_that_returns_from_the_function_is_outside);
    tcase_add_test(tcase, replacing_and_telling_race);
    return harness_run(suite);
}
