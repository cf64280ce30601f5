/* A start that demands a guard waits for its answer, and nobody waits with it: src/name/guard.c,
 * src/name/start.c. */
#include "base/clock.h"
#include "harness/wait.h"
#include "test-guard-helpers.h"

#include <pthread.h>
#include <sockref/net.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#define ANSWER_MS 5000 /* as in src/name/guard.c */

/* The library's clock, which can be moved on. */
static _Atomic int64_t moved_s;

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int status = (int)syscall(SYS_clock_gettime, clock, out);

    if (clock == CLOCK_MONOTONIC)
        out->tv_sec += moved_s;
    return status;
}

static void let_the_time_pass(void)
{
    moved_s += ANSWER_MS / 1000;
}

/* ---- a guard that does not answer ---- */

static int guard;

static void stop_guard(void)
{
    pid_t pid = sockref_guard_status(NULL);

    ck_assert_int_gt(pid, 0);
    guard = open_process(pid);
    ck_assert_int_eq(send_signal(guard, SIGSTOP), 0);
    await_stop(pid);
}

static void have_it_go_on(void)
{
    ck_assert_int_eq(send_signal(guard, SIGCONT), 0);
    close(guard);
}

/* One that was replaced, and is alone. */
static void see_it_end(void)
{
    ck_assert_int_eq(send_signal(guard, SIGCONT), 0);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    close(guard);
}

/* ---- starts ---- */

struct outcome {
    atomic_int calls;
    int status;
    char message[256];
    sockref *ref;
};

static void on_start(int status, sockref *ref, void *user)
{
    struct outcome *outcome = user;

    outcome->status = status;
    outcome->ref = ref;
    snprintf(outcome->message, sizeof outcome->message, "%s", sockref_last_error()->message);
    outcome->calls++;
}

static void start(struct outcome *out, const char *path, sockref_options *options)
{
    *out = (struct outcome){0};
    harness_assert_ok(sockref_registry_start_listener(NULL, path, options, on_start, out));
    sockref_options_free(options);
}

static sockref_options *demanding(void)
{
    return harness_options(SOCKREF_OPT_GUARD, 2, 0);
}

static void succeed(struct outcome *outcome)
{
    WAIT_UNTIL(outcome->calls == 1);
    ck_assert_msg(outcome->status == 0, "%s", outcome->message);
    sockref_release(outcome->ref);
}

/* The same from a thread that blocks. */
struct call {
    pthread_t thread;
    sockref_options *options;
    struct outcome outcome;
};

static void *listen_there(void *arg)
{
    struct call *call = arg;
    sockref *ref = NULL;
    int status = sockref_registry_listen(NULL, harness_at("a"), call->options, &ref);

    on_start(status, ref, &call->outcome);
    return NULL;
}

static void begin_call(struct call *out, sockref_options *options)
{
    *out = (struct call){.options = options};
    faults_install();
    ck_assert_int_eq(pthread_create(&out->thread, NULL, listen_there, out), 0);
    WAIT_UNTIL(faults_calls(FAULTS_recv) > 0); /* it listens for the answer */
}

static void end_call(struct call *call)
{
    ck_assert_int_eq(pthread_join(call->thread, NULL), 0);
    sockref_options_free(call->options);
}

/* ---- nobody stands still ---- */

START_TEST(others_go_on_while_a_start_waits)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 2, SOCKREF_OPT_SHARE, _i, 0);
    struct outcome waiting, other;

    stop_guard();
    start(&waiting, harness_at("a"), options);
    start(&other, harness_at("b"), NULL); /* on the same thread */
    succeed(&other);
    sockref_release(harness_listen(NULL, harness_at("c")));
    ck_assert_int_eq(waiting.calls, 0);
    ck_assert_uint_eq(files(), 0);
    have_it_go_on();
    succeed(&waiting);
}
END_TEST

START_TEST(a_start_that_blocks_holds_up_nobody)
{
    struct call call;

    stop_guard();
    begin_call(&call, demanding());
    sockref_release(harness_listen(NULL, harness_at("b")));
    ck_assert_int_eq(call.outcome.calls, 0);
    have_it_go_on();
    end_call(&call);
    succeed(&call.outcome);
}
END_TEST

START_TEST(starts_wait_for_one_guard)
{
    int before = sockref_guard_status(NULL);
    struct outcome first, second;

    stop_guard();
    start(&first, harness_at("a"), demanding());
    start(&second, harness_at(_i ? "b" : "a"), demanding());
    have_it_go_on();
    succeed(&first);
    succeed(&second);
    ck_assert_int_eq(sockref_guard_status(NULL), before);
}
END_TEST

static int start_in_child(void *unused)
{
    sockref_options *options = demanding();
    sockref *ref;

    (void)unused;
    if (sockref_registry_listen(NULL, harness_at("b"), options, &ref) < 0)
        return 1;
    sockref_options_free(options);
    sockref_release(ref);
    return 0;
}

START_TEST(a_child_has_a_guard_of_its_own)
{
    struct outcome waiting;

    stop_guard();
    start(&waiting, harness_at("a"), demanding());
    ck_assert_int_eq(harness_in_child(start_in_child, NULL), 0);
    ck_assert_int_eq(waiting.calls, 0);
    have_it_go_on();
    succeed(&waiting);
}
END_TEST

/* ---- the end of the wait ---- */

static sockref_registry *registry;
static sockref_loop *loop;

static void cancel(struct outcome *outcome)
{
    harness_assert_ok(sockref_registry_cancel_start(registry, on_start, outcome));
    ck_assert_int_gt(sockref_loop_dispatch(loop, HARNESS_PATIENCE_MS), 0);
}

static void free_loop(struct outcome *unused)
{
    (void)unused;
    sockref_loop_free(loop);
    loop = NULL;
}

static void shut_down(struct outcome *unused)
{
    (void)unused;
    harness_assert_ok(sockref_registry_shutdown(registry, 0));
}

static void free_registry(struct outcome *unused)
{
    (void)unused;
    sockref_registry_free(registry);
    registry = NULL;
}

static void (*const ends[])(struct outcome *) = {cancel, free_loop, shut_down, free_registry};

START_TEST(a_start_that_waits_is_cancelled)
{
    struct outcome outcome = {0};
    sockref_options *options = demanding();

    registry = harness_registry(0);
    harness_assert_ok(sockref_loop_new(&loop));
    harness_assert_ok(sockref_options_set_loop(options, loop));
    stop_guard();
    harness_assert_ok(
        sockref_registry_start_listener(registry, harness_at("a"), options, on_start, &outcome));
    sockref_options_free(options);
    ck_assert_int_eq(sockref_loop_dispatch(loop, 10), 0); /* nothing comes of it */
    ck_assert_int_eq(outcome.calls, 0);
    ends[_i](&outcome);
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_ptr_null(outcome.ref);
    have_it_go_on();
    sockref_loop_free(loop);
    sockref_registry_free(registry);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

START_TEST(a_guard_that_is_killed_is_replaced)
{
    int before = sockref_guard_status(NULL);
    struct outcome waiting;

    stop_guard();
    start(&waiting, harness_at("a"), demanding());
    ck_assert_int_eq(send_signal(guard, SIGKILL), 0);
    close(guard);
    succeed(&waiting);
    ck_assert_int_ne(sockref_guard_status(NULL), before);
}
END_TEST

static void end_guard(void *unused)
{
    (void)unused;
    ck_assert_int_eq(send_signal(guard, SIGKILL), 0);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    close(guard);
}

/* The one that has answered is gone when it is told the name. */
START_TEST(the_one_that_is_told_has_answered)
{
    struct outcome outcome;

    start(&outcome, harness_at("a"), demanding());
    succeed(&outcome);
    guard = open_process(sockref_guard_status(NULL));
    faults_install();
    faults_before(FAULTS_sendmsg, end_guard, NULL);
    start(&outcome, harness_at("a"), demanding());
    succeed(&outcome);
    ck_assert_uint_gt(faults_calls(FAULTS_recv), 0);
}
END_TEST

static void be_refused(struct outcome *outcome)
{
    WAIT_UNTIL(outcome->calls == 1);
    ck_assert_int_eq(outcome->status, SOCKREF_EUNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(outcome->message, "does not work as a guard"));
    ck_assert_ptr_null(outcome->ref);
    harness_assert_fails(sockref_guard_status(NULL), SOCKREF_EUNSUPPORTED);
    ck_assert_uint_eq(files(), 0);
    see_it_end();
    sockref_release(harness_listen(NULL, harness_at("a")));
    ck_assert_int_gt(sockref_guard_status(NULL), 0);
}

START_TEST(a_guard_that_never_answers_is_none)
{
    struct outcome waiting;

    stop_guard();
    start(&waiting, harness_at("a"), demanding());
    let_the_time_pass();
    be_refused(&waiting);
}
END_TEST

START_TEST(nor_is_it_one_for_a_start_that_blocks)
{
    struct call call;

    stop_guard();
    begin_call(&call, demanding());
    let_the_time_pass();
    end_call(&call);
    be_refused(&call.outcome);
}
END_TEST

/* The time-out of a start is for other starts. */
START_TEST(a_start_without_time_waits_for_the_guard)
{
    struct outcome waiting;

    faults_install();
    stop_guard();
    start(&waiting, harness_at("a"),
          harness_options(SOCKREF_OPT_GUARD, 2, SOCKREF_OPT_START_TIMEOUT_MS, 0, 0));
    WAIT_UNTIL(faults_calls(FAULTS_recv) > 3);
    ck_assert_int_eq(waiting.calls, 0);
    have_it_go_on();
    succeed(&waiting);
}
END_TEST

START_TEST(nor_does_its_time_count_where_it_blocks)
{
    struct call call;

    stop_guard();
    begin_call(&call, harness_options(SOCKREF_OPT_GUARD, 2, SOCKREF_OPT_START_TIMEOUT_MS, 0, 0));
    WAIT_UNTIL(faults_calls(FAULTS_recv) > 3);
    have_it_go_on();
    end_call(&call);
    succeed(&call.outcome);
}
END_TEST

/* Else the next start would wait for nothing. */
START_TEST(a_guard_that_was_silent_for_long_is_replaced)
{
    int before = sockref_guard_status(NULL);
    struct outcome outcome;

    stop_guard();
    start(&outcome, harness_at("a"), demanding());
    harness_assert_ok(sockref_registry_cancel_start(NULL, on_start, &outcome));
    WAIT_UNTIL(outcome.calls == 1);
    let_the_time_pass();
    start(&outcome, harness_at("a"), demanding());
    succeed(&outcome);
    ck_assert_int_ne(sockref_guard_status(NULL), before);
    see_it_end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard-answer");
    TCase *tcase = harness_tcase(suite, "others");

    tcase_add_loop_test(tcase, others_go_on_while_a_start_waits, 0, 2);
    tcase_add_test(tcase, a_start_that_blocks_holds_up_nobody);
    tcase_add_loop_test(tcase, starts_wait_for_one_guard, 0, 2);
    tcase_add_test(tcase, a_child_has_a_guard_of_its_own);
    tcase = harness_tcase(suite, "ends");
    tcase_add_loop_test(tcase, a_start_that_waits_is_cancelled, 0, sizeof ends / sizeof ends[0]);
    tcase_add_test(tcase, a_guard_that_is_killed_is_replaced);
    tcase_add_test(tcase, the_one_that_is_told_has_answered);
    tcase_add_test(tcase, a_guard_that_never_answers_is_none);
    tcase_add_test(tcase, nor_is_it_one_for_a_start_that_blocks);
    tcase_add_test(tcase, a_start_without_time_waits_for_the_guard);
    tcase_add_test(tcase, nor_does_its_time_count_where_it_blocks);
    tcase_add_test(tcase, a_guard_that_was_silent_for_long_is_replaced);
    return harness_run(suite);
}
