/* Loops: src/net/loop.c */
#include "test-loop-helpers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

START_TEST(wrong_arguments_are_refused)
{
    ck_assert_int_eq(sockref_loop_new(NULL), -EINVAL);
    ck_assert_int_eq(sockref_loop_fd(NULL), -EINVAL);
    ck_assert_int_eq(sockref_loop_dispatch(NULL, 0), -EINVAL);
    sockref_loop_wake(NULL);
    sockref_loop_free(NULL);
}
END_TEST

START_TEST(an_idle_loop_has_nothing_to_do)
{
    uint64_t before = sr_clock_ns();

    ck_assert(!is_readable(sockref_loop_fd(loop), 10));
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 0);
    ck_assert_int_eq(sockref_loop_dispatch(loop, 30), 0);
    ck_assert_uint_ge(sr_clock_ns() - before, 30000000u);
    ck_assert(!is_readable(sockref_loop_fd(loop), 10));
}
END_TEST

START_TEST(a_wake_makes_the_next_dispatch_not_wait)
{
    sockref_loop_wake(loop);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    ck_assert_int_eq(sockref_loop_dispatch(loop, -1), 0);
    ck_assert(!is_readable(sockref_loop_fd(loop), 0));
}
END_TEST

static void *wake_later(void *arg)
{
    poll(NULL, 0, 20);
    sockref_loop_wake(arg);
    return NULL;
}

START_TEST(a_wake_ends_a_dispatch_that_waits)
{
    pthread_t thread;

    pthread_create(&thread, NULL, wake_later, loop);
    ck_assert_int_eq(sockref_loop_dispatch(loop, -1), 0);
    pthread_join(thread, NULL);
}
END_TEST

static atomic_bool stop_waking;

static void *wake_often(void *arg)
{
    while (!stop_waking)
        sockref_loop_wake(arg);
    return NULL;
}

START_TEST(wakes_from_everywhere_lose_nothing)
{
    pthread_t threads[3];

    stop_waking = false;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, wake_often, loop);
    for (int i = 0; i < 2000; i++)
        ck_assert_int_eq(sockref_loop_dispatch(loop, -1), 0);
    stop_waking = true;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    drive_all();
    sockref_loop_wake(loop);
    ck_assert_int_eq(sockref_loop_dispatch(loop, -1), 0);
}
END_TEST

static int inner_status;

/* What a callback, here of data, got from a call that it must not make. */
static int asked_inside(void (*hook)(struct record *record, char event, sockref_conn *conn))
{
    struct record record = {.hook = hook};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial();

    inner_status = 0;
    send_text(peer, "x");
    DRIVE_UNTIL(record.bytes == 1);
    close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    return inner_status;
}

static void dispatch_inside(struct record *record, char event, sockref_conn *conn)
{
    (void)record;
    (void)conn;
    if (event == 'D')
        inner_status = sockref_loop_dispatch(loop, 0);
}

START_TEST(dispatch_inside_a_callback_is_refused)
{
    ck_assert_int_eq(asked_inside(dispatch_inside), SOCKREF_EBUSY);
}
END_TEST

static void *dispatch_elsewhere(void *arg)
{
    (void)arg;
    /* The other thread is inside, or was and is not any more. */
    return (void *)(intptr_t)sockref_loop_dispatch(loop, 0);
}

static void dispatch_on_thread(struct record *record, char event, sockref_conn *conn)
{
    pthread_t thread;
    void *status;

    (void)record;
    (void)conn;
    if (event != 'D')
        return;
    pthread_create(&thread, NULL, dispatch_elsewhere, NULL);
    pthread_join(thread, &status);
    inner_status = (int)(intptr_t)status;
}

START_TEST(dispatch_on_two_threads_is_refused)
{
    ck_assert_int_eq(asked_inside(dispatch_on_thread), SOCKREF_EBUSY);
}
END_TEST

static void drain_inside(struct record *record, char event, sockref_conn *conn)
{
    (void)record;
    (void)conn;
    if (event == 'D')
        inner_status = sockref_registry_drain(NULL, 0);
}

START_TEST(drain_inside_a_callback_is_refused)
{
    ck_assert_int_eq(asked_inside(drain_inside), SOCKREF_EBUSY);
}
END_TEST

static void nothing(int number)
{
    (void)number;
}

static atomic_bool was_interrupted;

/* One that comes before the wait has no effect. */
static void *interrupt(void *arg)
{
    while (!was_interrupted) {
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
        poll(NULL, 0, 10);
    }
    return NULL;
}

START_TEST(a_signal_ends_the_wait_without_an_error)
{
    struct sigaction action = {.sa_handler = nothing};
    pthread_t self = pthread_self(), thread;

    sigaction(SIGUSR1, &action, NULL);
    pthread_create(&thread, NULL, interrupt, &self);
    ck_assert_int_eq(sockref_loop_dispatch(loop, -1), 0);
    was_interrupted = true;
    pthread_join(thread, NULL);
}
END_TEST

static int refuse_to_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    (void)epoll;
    (void)events;
    (void)count;
    (void)timeout_ms;
    errno = EPERM;
    return -1;
}

/* With poll another thread of the library's may be the one that is refused. */
START_TEST(a_wait_that_the_system_refuses_is_told)
{
    const sockref_error *error;

    if (getenv("SOCKREF_TEST_BACKEND"))
        return;
    sr_sys.epoll_wait = refuse_to_wait;
    ck_assert_int_eq(sockref_loop_dispatch(loop, -1), -EPERM);
    sr_sys.epoll_wait = epoll_wait;
    error = sockref_last_error();
    ck_assert_int_eq(error->status, -EPERM);
    ck_assert_int_eq(error->os_errno, EPERM);
    ck_assert_str_eq(error->syscall, "epoll_wait");
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 0);
}
END_TEST

static int starts, start_status;

static void on_start(int status, sockref *ref, void *user)
{
    (void)user;
    ck_assert_ptr_null(ref);
    start_status = status;
    starts++;
}

START_TEST(freeing_a_loop_ends_all_that_is_pending_and_keeps_the_listener)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    sockref_options *options = sockref_options_new();
    int first = dial(), second, third;
    char byte, other[sizeof path + 1];
    sockref_conn *conn;

    DRIVE_UNTIL(record.connections == 1);
    conn = sockref_conn_acquire(record.conn);
    ck_assert_int_eq(sockref_conn_write(conn, "x", 1), 0);
    second = dial();
    DRIVE_UNTIL(record.connections == 2);
    third = dial(); /* waits in the kernel's queue */
    snprintf(other, sizeof other, "%s2", path);
    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, other, options, on_start, NULL), 0);
    sockref_options_free(options);

    sockref_loop_free(loop);
    ck_assert_int_eq(starts, 1);
    ck_assert_int_eq(start_status, SOCKREF_ECANCELED);
    ck_assert(!sockref_registry_is_socket_active(NULL, other));
    ck_assert_int_eq(record.closes, 2);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_int_eq(record.events[strlen(record.events) - 1], 'S');
    ck_assert_int_eq(sockref_conn_write(conn, "x", 1), SOCKREF_ECLOSED);
    sockref_conn_release(conn);
    ck_assert(sockref_is_active(ref));

    /* It can be served anew, and the one that waited is accepted. */
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    memset(&record, 0, sizeof record);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    DRIVE_UNTIL(record.connections == 1);
    ck_assert_int_eq(recv(first, &byte, 1, 0), 1);
    ck_assert_int_eq(recv(first, &byte, 1, 0), 0);
    close(first);
    close(second);
    close(third);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

START_TEST(freeing_a_loop_that_never_ran_ends_its_services)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);

    sockref_loop_free(loop);
    ck_assert_str_eq(record.events, "S");
    sockref_release(ref);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

static void *release_it(void *arg)
{
    sockref_release(arg);
    return NULL;
}

START_TEST(freeing_a_loop_races_with_the_last_release)
{
    for (int i = 0; i < 200; i++) {
        struct record record = {0};
        sockref *ref = serve_here(NULL, &recording, &record);
        pthread_t thread;

        if (i % 2)
            sockref_loop_dispatch(loop, 0);
        pthread_create(&thread, NULL, release_it, ref);
        sockref_loop_free(loop);
        ck_assert_int_eq(record.stops, 1);
        pthread_join(thread, NULL);
        ck_assert_int_eq(sockref_loop_new(&loop), 0);
    }
}
END_TEST

START_TEST(a_forked_child_can_only_let_go)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial(), status;
    pid_t child;

    DRIVE_UNTIL(record.connections == 1);
    child = fork();
    if (child == 0) {
        bool good = sockref_loop_dispatch(loop, 0) == SOCKREF_EFORKED &&
                    sockref_loop_fd(loop) == SOCKREF_EFORKED &&
                    sockref_conn_write(record.conn, "x", 1) == SOCKREF_EFORKED &&
                    sockref_conn_end(record.conn) == SOCKREF_EFORKED &&
                    sockref_serve_on(ref, loop, &recording, &record) == SOCKREF_EFORKED;

        sockref_conn_destroy(record.conn);
        sockref_loop_wake(loop);
        sockref_loop_free(loop);
        sockref_release(ref);
        good = good && record.closes == 0 && record.stops == 0 && access(path, F_OK) == 0;
        /* The thread sanitizer can't bear a new thread here, which the poll backend has. */
        if (good && !IS_SANITIZED)
            good = sockref_loop_new(&loop) == 0 && sockref_loop_dispatch(loop, 0) == 0;
        _exit(good ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    send_text(peer, "still here");
    DRIVE_UNTIL(record.bytes == 10);
    close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static pid_t forked;

static void fork_inside(struct record *record, char event, sockref_conn *conn)
{
    (void)record;
    (void)conn;
    if (event == 'D')
        forked = fork();
}

START_TEST(a_fork_inside_a_callback_leaves_the_parent_alone)
{
    struct record record = {.hook = fork_inside};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial(), status;

    forked = -1;
    send_text(peer, "x");
    while (forked == -1) {
        status = sockref_loop_dispatch(loop, 10);
        if (forked == 0)
            _exit(status == SOCKREF_EFORKED ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(forked, &status, 0), forked);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    record.hook = NULL;
    send_text(peer, "y");
    DRIVE_UNTIL(record.bytes == 2);
    close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

/* What the child opens gets the numbers that the loop had in the parent. */
#define OPENED 32

static int opened[OPENED];

static void fork_at_close(struct record *record, char event, sockref_conn *conn)
{
    (void)record;
    (void)conn;
    if (event != 'Z' || forked != -1)
        return;
    forked = fork();
    for (int i = 0; forked == 0 && i < OPENED; i++)
        opened[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool are_open(void)
{
    for (int i = 0; i < OPENED; i++)
        if (fcntl(opened[i], F_GETFD) < 0)
            return false;
    return true;
}

START_TEST(a_fork_while_a_loop_is_freed_ends_its_end_in_the_child)
{
    struct record record = {.hook = fork_at_close};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peers[2] = {dial(), dial()}, status;

    forked = -1;
    DRIVE_UNTIL(record.connections == 2);
    sockref_loop_free(loop);
    if (forked == 0)
        _exit(record.closes == 1 && record.stops == 0 && are_open() ? 0 : 1);
    ck_assert_int_eq(record.closes, 2);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_int_eq(waitpid(forked, &status, 0), forked);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(peers[0]);
    close(peers[1]);
    sockref_release(ref);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, an_idle_loop_has_nothing_to_do);
    tcase_add_test(tcase, a_wake_makes_the_next_dispatch_not_wait);
    tcase_add_test(tcase, a_wake_ends_a_dispatch_that_waits);
    tcase_add_test(tcase, wakes_from_everywhere_lose_nothing);
    tcase_add_test(tcase, dispatch_inside_a_callback_is_refused);
    tcase_add_test(tcase, dispatch_on_two_threads_is_refused);
    tcase_add_test(tcase, drain_inside_a_callback_is_refused);
    tcase_add_test(tcase, a_signal_ends_the_wait_without_an_error);
    tcase_add_test(tcase, a_wait_that_the_system_refuses_is_told);
    tcase_add_test(tcase, freeing_a_loop_ends_all_that_is_pending_and_keeps_the_listener);
    tcase_add_test(tcase, freeing_a_loop_that_never_ran_ends_its_services);
    tcase_add_test(tcase, freeing_a_loop_races_with_the_last_release);
    tcase_add_test(tcase, a_forked_child_can_only_let_go);
    tcase_add_test(tcase, a_fork_inside_a_callback_leaves_the_parent_alone);
    tcase_add_test(tcase, a_fork_while_a_loop_is_freed_ends_its_end_in_the_child);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
