/* What a process does whose guard fails or is busy, and that threads share one: src/name/guard.c.
 */
#include "base/clock.h"
#include "name/guard_wire.h"
#include "test-guard-helpers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- failures ---- */

static struct sr_place place;
static struct sr_guarded guarded[NAMES_MAX];

static void open_place(void)
{
    have_no_guard();
    harness_assert_ok(sr_place_open(harness_at("a"), &place));
    faults_install();
}

static int watch(int number)
{
    return sr_guard_watch(&guarded[number], &place, harness_at("a"), false);
}

/* The guard of the test itself ends with it. */
START_TEST(a_missing_guard_is_told)
{
    static const char *const named[] = {"/nonexistent", "sockref-guard", "/"};
    const char *before = harness_text("%s", getenv("SOCKREF_GUARD"));
    const int failed = _i == 2 ? -EACCES : SOCKREF_EUNSUPPORTED;

    open_place();
    ck_assert_int_eq(sr_guard_status(), 0);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", named[_i], 1), 0);
    for (int i = 0; i < (_i == 2 ? 1 : 7); i++) {
        harness_assert_fails(watch(0), failed);
        if (failed == SOCKREF_EUNSUPPORTED)
            ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "SOCKREF_GUARD"));
    }
    ck_assert_int_eq(sr_guard_status(), failed);
    sr_guard_pin(&guarded[0], 1, 2, -1);
    sr_guard_forget(&guarded[0]);
    ck_assert_uint_eq(sr_fd_count(), 1);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", before, 1), 0);
    harness_assert_ok(watch(0));
    ck_assert_int_gt(sr_guard_status(), 0);
}
END_TEST

static int be_the_first_process(void *unused)
{
    sockref_options *demanding = sockref_options_new();
    sockref *ref;

    (void)unused;
    have_no_guard();
    faults_install();
    if (getpid() != 1 || sockref_options_set_int(demanding, SOCKREF_OPT_GUARD, 2) < 0)
        return 1;
    for (int i = 0; i < 7; i++)
        if (sockref_registry_listen(NULL, harness_at("a"), demanding, &ref) !=
                SOCKREF_EUNSUPPORTED ||
            !strstr(sockref_last_error()->message, "first process of a namespace"))
            return 2;
    if (sockref_guard_status(NULL) != SOCKREF_EUNSUPPORTED)
        return 3;
    if (sockref_registry_listen(NULL, harness_at("a"), NULL, &ref) < 0 ||
        faults_calls(FAULTS_spawn_guard) > 0)
        return 4;
    sockref_release(ref);
    sockref_options_free(demanding);
    return 0;
}

static int begin_namespace(void *unused)
{
    if (unshare(CLONE_NEWPID) < 0)
        return 0; /* this user may not */
    return harness_in_child(be_the_first_process, unused);
}

/* As in most containers. */
START_TEST(the_first_process_of_a_namespace_has_no_guard)
{
    ck_assert_int_eq(harness_in_child(begin_namespace, NULL), 0);
    ck_assert_uint_eq(files() + harness_sockets(), 0);
}
END_TEST

/* It can be started, and mostly takes what it is told before it ends. */
static int demand_a_guard(void *program)
{
    sockref_options *options = sockref_options_new();
    sockref *ref;
    int status;

    have_no_guard();
    if (setenv("SOCKREF_GUARD", program, 1) < 0 ||
        sockref_options_set_int(options, SOCKREF_OPT_GUARD, 2) < 0)
        return 1;
    status = sockref_registry_listen(NULL, harness_at("a"), options, &ref);
    if (status != SOCKREF_EUNSUPPORTED || !strstr(sockref_last_error()->message, program))
        return 2;
    if (sockref_guard_status(NULL) != status || sockref_last_error()->status != status)
        return 3;
    for (int i = 0; i < 5; i++) /* soon it is not even tried */
        if (sockref_registry_listen(NULL, harness_at("a"), options, &ref) != SOCKREF_EUNSUPPORTED ||
            sockref_guard_status(NULL) != SOCKREF_EUNSUPPORTED)
            return 4;
    sockref_options_free(options);
    return 0;
}

START_TEST(another_program_is_no_guard)
{
    ck_assert_int_eq(harness_in_child(demand_a_guard, "/bin/true"), 0);
    ck_assert_uint_eq(harness_files() + harness_beside() + harness_sockets(), 0);
}
END_TEST

static int its_guard;

/* The answer has come, and is not read: the host is killed. What is told after it counts still. */
static ssize_t leave_unread(int fd, void *data, size_t size, int flags)
{
    struct sr_guard_message forget = {
        .version = SR_GUARD_VERSION, .op = SR_GUARD_FORGET, .id = names[0].guarded.id};
    struct pollfd answer = {.fd = fd, .events = POLLIN};

    (void)data;
    (void)size;
    (void)flags;
    CHECK(poll(&answer, 1, HARNESS_PATIENCE_MS) == 1);
    CHECK(kill(its_guard, SIGSTOP) == 0);
    CHECK(send(fd, &forget, SR_GUARD_HEAD, MSG_NOSIGNAL) == SR_GUARD_HEAD);
    step(0);
    return -1;
}

static void confirm_and_die(void *unused)
{
    struct sr_guard_wait wait = {0};

    (void)unused;
    open_name(&names[0], harness_at("a"));
    its_guard = sr_guard_status();
    step(its_guard);
    sr_sys.recv = leave_unread;
    sr_guard_confirm(&wait);
}

START_TEST(an_answer_that_nobody_reads_hides_nothing)
{
    struct host host = begin(confirm_and_die, NULL);

    ck_assert_int_eq(go_on(&host), 0);
    kill_host(&host);
    ck_assert_int_eq(send_signal(host.guard, SIGCONT), 0);
    await_guard(&host);
    ck_assert(harness_is_socket(harness_at("a")));
}
END_TEST

/* By one who may run it, or who finds it no more. */
START_TEST(what_is_told_is_what_is_returned)
{
    const char *path = harness_at("program");

    open_place();
    harness_write(path, "");
    ck_assert_int_eq(chmod(path, 0700), 0);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", path, 1), 0);
    harness_assert_fails(watch(0), -ENOEXEC);
    harness_assert_fails(sr_guard_status(), -ENOEXEC);
    ck_assert_int_eq(unlink(path), 0);
    harness_assert_fails(sr_guard_status(), -ENOEXEC);
}
END_TEST

static const struct {
    enum faults_kind kind;
    int os_errno;
} failures[] = {
    {FAULTS_spawn_guard, EAGAIN},
    {FAULTS_spawn_guard, ENOMEM},
    {FAULTS_socketpair, EMFILE},
};

START_TEST(a_guard_that_cannot_be_started_is_told)
{
    int status = -failures[_i].os_errno;

    open_place();
    faults_arm(FAULTS_BIT(failures[_i].kind), 1, failures[_i].os_errno);
    harness_assert_fails(watch(0), status);
    ck_assert(faults_struck());
    ck_assert_int_eq(sr_guard_status(), status);
    ck_assert_uint_eq(sr_fd_count(), 1);
    harness_assert_ok(watch(0));
    ck_assert_int_gt(sr_guard_status(), 0);
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

/* Room for the end of a name is made when it begins. */
START_TEST(a_name_too_many_for_memory_is_told)
{
    int count = 0;

    open_place();
    faults_arm(FAULTS_BIT(FAULTS_realloc), 1, ENOMEM);
    while (!faults_struck() && count < NAMES_MAX)
        watch(count++);
    ck_assert(faults_struck());
    harness_assert_error(-ENOMEM);
    ck_assert_uint_eq(guarded[count - 1].id, 0);
    harness_assert_ok(watch(count - 1));
    for (int i = 0; i < count; i++)
        sr_guard_forget(&guarded[i]);
}
END_TEST

static const int refusals[] = {EPIPE, ECONNRESET, EAGAIN, EINTR, ENOBUFS, ETOOMANYREFS};

#define REFUSALS ((int)(sizeof refusals / sizeof refusals[0]))

START_TEST(a_message_that_fails_is_sent_again)
{
    struct stat info;
    int fd, guard;

    open_place();
    harness_assert_ok(watch(0));
    guard = sr_guard_status();
    fd = harness_bind(harness_at("a"));
    ck_assert_int_eq(lstat(harness_at("a"), &info), 0);
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino, -1);
    ck_assert(faults_struck());
    ck_assert(guarded[0].is_told && guarded[0].is_pin_told);
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    harness_assert_ok(watch(1));
    ck_assert(faults_struck());
    ck_assert(guarded[1].is_told);
    ck_assert_int_eq(sr_guard_status(), guard); /* it was there after all */
    sr_guard_forget(&guarded[0]);
    sr_guard_forget(&guarded[1]);
    ck_assert_uint_eq(sr_fd_count(), 2);
    close(fd);
}
END_TEST

static int refusals_left;

static ssize_t refuse_some(int fd, const struct msghdr *message, int flags)
{
    if (refusals_left == 0)
        return sendmsg(fd, message, flags);
    refusals_left--;
    errno = ETOOMANYREFS;
    return -1;
}

/* It reads when the machine lets it: others of its user have descriptors on their way as well. */
START_TEST(a_guard_that_reads_late_is_kept)
{
    int guard;

    open_place();
    harness_assert_ok(watch(0));
    guard = sr_guard_status();
    refusals_left = 20;
    sr_sys.sendmsg = refuse_some;
    harness_assert_ok(watch(1));
    ck_assert_int_eq(refusals_left, 0);
    ck_assert_int_eq(sr_guard_status(), guard);
}
END_TEST

/* A release waits for nobody. */
START_TEST(an_end_that_cannot_be_told_is_told_later)
{
    uint64_t before;
    int guard;

    open_place();
    harness_assert_ok(watch(0));
    harness_assert_ok(watch(1));
    guard = sr_guard_status();
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    sr_guard_forget(&guarded[0]);
    ck_assert(faults_struck());
    ck_assert_uint_eq(faults_calls(FAULTS_spawn_guard), 1);
    ck_assert_uint_eq(faults_calls(FAULTS_poll), 0);
    before = faults_calls(FAULTS_sendmsg);
    harness_assert_ok(watch(2));
    if (refusals[_i] == EPIPE || refusals[_i] == ECONNRESET) {
        ck_assert_int_ne(sr_guard_status(), guard);
        ck_assert_uint_eq(faults_calls(FAULTS_sendmsg), before + 2); /* what is watched over */
    } else {
        ck_assert_int_eq(sr_guard_status(), guard);
        sr_guard_forget(&guarded[1]);
        ck_assert_uint_eq(faults_calls(FAULTS_sendmsg), before + 2 + (refusals[_i] != EINTR));
    }
    ck_assert(guarded[2].is_told);
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

static size_t control_length;

static ssize_t spy(int fd, const struct msghdr *message, int flags)
{
    control_length = message->msg_controllen;
    return sendmsg(fd, message, flags);
}

/* Else a number that was pinned could be another inode's later. */
START_TEST(only_the_inode_itself_is_pinned)
{
    struct stat info;
    int fd = harness_bind(harness_at("a"));

    ck_assert_int_eq(lstat(harness_at("a"), &info), 0);
    open_place();
    harness_assert_ok(watch(0));
    sr_sys.sendmsg = spy;
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino + 1, -1);
    ck_assert_uint_eq(control_length, 0);
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino, -1);
    ck_assert_uint_gt(control_length, 0);
    sr_guard_forget(&guarded[0]);
    ck_assert_uint_eq(control_length, 0);
    ck_assert_uint_eq(sr_fd_count(), 2);
    close(fd);
}
END_TEST

/* None of them is of use, and that costs no more than it must. */
START_TEST(guards_are_not_started_for_ever)
{
    uint64_t before = sr_clock_ns();

    open_place();
    faults_arm_from(FAULTS_BIT(FAULTS_sendmsg), 1, EPIPE);
    for (int i = 0; i < 50; i++)
        ck_assert_int_lt(watch(i), 0);
    ck_assert_uint_le(faults_calls(FAULTS_spawn_guard),
                      5 * (2 + (sr_clock_ns() - before) / 1000000000u));
    ck_assert_int_lt(sr_guard_status(), 0);
    ck_assert_uint_eq(sr_fd_count(), 1);
    faults_disarm();
}
END_TEST

/* ---- threads ---- */

static void churn(unsigned number, void *arg)
{
    struct sr_guarded name;

    (void)arg;
    for (int i = 0; i < 300; i++) {
        CHECK(sr_guard_watch(&name, &place, harness_at("a"), number % 2) == 0);
        sr_guard_pin(&name, 1, number, -1);
        sr_guard_forget(&name);
    }
}

START_TEST(threads_share_one)
{
    open_place();
    harness_in_threads(8, churn, NULL);
    ck_assert_uint_eq(faults_calls(FAULTS_socketpair), faults_calls(FAULTS_spawn_guard));
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

static void *watch_in_thread(void *arg)
{
    return (void *)(intptr_t)sr_guard_watch(arg, &place, harness_at("a"), false);
}

static void open_while_one_is_started(void *arg)
{
    struct faults_gate gate;
    pthread_t thread, other;
    struct sr_guarded late, later;
    void *status;

    (void)arg;
    CHECK(sr_place_open(harness_at("a"), &place) == 0);
    open_name(&names[0], harness_at("forgotten"));
    watch_name(&names[1], harness_at("b"), false);
    names[1].listener = harness_bind(harness_at("b"));
    step(sr_guard_status());
    faults_install();
    faults_hold(FAULTS_spawn_guard, &gate);
    CHECK(pthread_create(&thread, NULL, watch_in_thread, &late) == 0);
    faults_wait_held(&gate);
    CHECK(pthread_create(&other, NULL, watch_in_thread, &later) == 0);
    sr_guard_forget(&names[0].guarded);
    pin_name(&names[1]);
    CHECK(sr_guard_status() == 0);
    faults_let_go(&gate);
    CHECK(pthread_join(thread, &status) == 0 && !status);
    CHECK(pthread_join(other, &status) == 0 && !status);
    CHECK(faults_calls(FAULTS_spawn_guard) == 1);
    step(sr_guard_status());
}

/* A release does not wait for it, and nothing that happens meanwhile is lost. */
START_TEST(what_happens_while_one_is_started_is_told)
{
    struct host host = begin(open_while_one_is_started, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert(harness_is_socket(harness_at("forgotten")));
    ck_assert(!harness_exists(harness_at("b")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard-failures");
    TCase *tcase;

    tcase = harness_tcase_unchecked(suite, "failures"); /* the guard of the test itself remains */
    tcase_add_loop_test(tcase, a_missing_guard_is_told, 0, 3);
    tcase_add_test(tcase, the_first_process_of_a_namespace_has_no_guard);
    tcase_add_loop_test(tcase, another_program_is_no_guard, 0, 8);
    tcase_add_test(tcase, an_answer_that_nobody_reads_hides_nothing);
    tcase_add_test(tcase, what_is_told_is_what_is_returned);
    tcase_add_loop_test(tcase, a_guard_that_cannot_be_started_is_told, 0,
                        (int)(sizeof failures / sizeof failures[0]));
    tcase_add_test(tcase, a_name_too_many_for_memory_is_told);
    tcase_add_loop_test(tcase, a_message_that_fails_is_sent_again, 0, REFUSALS);
    tcase_add_test(tcase, a_guard_that_reads_late_is_kept);
    tcase_add_loop_test(tcase, an_end_that_cannot_be_told_is_told_later, 0, REFUSALS);
    tcase_add_test(tcase, only_the_inode_itself_is_pinned);
    tcase_add_test(tcase, guards_are_not_started_for_ever);
    tcase_add_test(tcase, threads_share_one);
    tcase_add_test(tcase, what_happens_while_one_is_started_is_told);
    return harness_run(suite);
}
