/* Connections of descriptors that are connected already: src/net/solo.c */
#include "test-conn-helpers.h"

#include "harness/faults.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

START_TEST(adopted_is_ready_in_the_next_turn_and_echoes)
{
    adopt_recording(unix_pair, NULL);
    ck_assert_str_eq(record.events, "");
    send_text(peer, "hello");
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_str_eq(record.events, "YD");
    ck_assert_int_eq(sockref_conn_write(conn, "back", 4), 0);
    expect_text("back");
    shutdown(peer, SHUT_WR);
    DRIVE_UNTIL(record.ends == 1);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "YDEZS");
}
END_TEST

START_TEST(what_is_asked_before_the_first_turn_is_done_in_it)
{
    adopt_recording(unix_pair, NULL);
    ck_assert_int_eq(sockref_conn_write(conn, "early ", 6), 0);
    ck_assert_int_eq(sockref_conn_try_write(conn, "not", 3), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "words", 5), 0);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    ck_assert(!is_readable(peer, 0));
    expect_text("early words");
    ck_assert_str_eq(record.events, "Y");
    ck_assert_int_eq(details().state, SOCKREF_CONN_READ_ONLY);
}
END_TEST

START_TEST(one_destroyed_before_its_first_turn_is_never_ready)
{
    adopt_recording(unix_pair, NULL);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "ZS");
}
END_TEST

START_TEST(the_descriptor_is_tamed_and_closed_with_the_connection)
{
    sockref_handlers handlers = recording_all();
    int fds[2];

    unix_pair(fds);
    peer = fds[0];
    ck_assert_int_eq(fcntl(fds[1], F_SETFD, 0), 0);
    ck_assert_int_eq(sockref_adopt(loop, fds[1], &handlers, &record, &conn), 0);
    ck_assert_int_eq(sockref_conn_fd(conn), fds[1]);
    ck_assert_int_eq(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    ck_assert(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(sockref_conn_fd(conn), -1);
    ck_assert_int_eq(fcntl(fds[1], F_GETFD), -1);
}
END_TEST

START_TEST(what_is_no_connection_is_refused_and_stays_the_callers)
{
    sockref_handlers handlers = recording_all();
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), packets[2], fds[2];
    int file = open("/dev/null", O_RDONLY);

    ck_assert_int_eq(sockref_adopt(loop, listener, &handlers, NULL, NULL), -ENOTCONN);
    ck_assert_int_eq(sockref_last_error()->status, -ENOTCONN);
    ck_assert_int_eq(sockref_adopt(loop, file, &handlers, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_adopt(loop, -1, &handlers, NULL, NULL), -EBADF);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packets), 0);
    ck_assert_int_eq(sockref_adopt(loop, packets[0], &handlers, NULL, NULL), -EINVAL);
    unix_pair(fds);
    ck_assert_int_eq(sockref_adopt(loop, fds[0], NULL, NULL, NULL), -EINVAL);
    handlers.size = 0;
    ck_assert_int_eq(sockref_adopt(loop, fds[0], &handlers, NULL, NULL), -EINVAL);
    handlers.size = sizeof handlers + 1;
    ck_assert_int_eq(sockref_adopt(loop, fds[0], &handlers, NULL, NULL), -EINVAL);
    handlers.size = sizeof handlers;
    handlers.options = &(sockref_conn_options){.size = sizeof(sockref_conn_options), .flags = 1024};
    ck_assert_int_eq(sockref_adopt(loop, fds[0], &handlers, NULL, NULL), -EINVAL);
    ck_assert_int_ge(fcntl(fds[0], F_GETFD), 0);
    ck_assert_int_eq(sockref_loop_hold_count(loop), 0);
    close(file);
    close(listener);
    for (int i = 0; i < 2; i++) {
        close(packets[i]);
        close(fds[i]);
    }
}
END_TEST

START_TEST(handlers_of_an_older_program_are_shorter)
{
    sockref_handlers handlers = recording;

    handlers.size = offsetof(sockref_handlers, on_connect);
    handlers.on_ready = record_ready; /* beyond its end */
    adopt_pair(unix_pair, &handlers);
    send_text(peer, "x");
    DRIVE_UNTIL(record.bytes == 1);
    ck_assert_str_eq(record.events, "D");
}
END_TEST

START_TEST(freeing_the_loop_ends_them_all)
{
    sockref_handlers handlers = recording_all();
    int fds[3][2];

    for (int i = 0; i < 3; i++) {
        unix_pair(fds[i]);
        ck_assert_int_eq(sockref_adopt(loop, fds[i][1], &handlers, &record, NULL), 0);
        if (i == 1)
            drive_all();
    }
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(record.closes, 3);
    ck_assert_int_eq(record.stops, 3);
    ck_assert_int_eq(count_of('Y'), 2);
    for (int i = 0; i < 3; i++) {
        char byte;

        ck_assert_int_eq(recv(fds[i][0], &byte, 1, 0), 0);
        close(fds[i][0]);
    }
}
END_TEST

/* ---- the library's own loop ---- */

static atomic_int stops;

static void echo_data(sockref_conn *self, const void *data, size_t length, void *user)
{
    (void)user;
    sockref_conn_write(self, data, length);
}

static void count_stop(void *user)
{
    (void)user;
    atomic_fetch_add(&stops, 1);
}

START_TEST(without_a_loop_the_service_thread_serves_it)
{
    const sockref_handlers handlers = {
        .size = sizeof handlers, .on_data = echo_data, .on_stop = count_stop};
    char buffer[8] = "";
    int fds[2];

    unix_pair(fds);
    ck_assert_int_eq(sockref_adopt(NULL, fds[1], &handlers, NULL, NULL), 0);
    send_text(fds[0], "thread");
    ck_assert_int_eq(recv(fds[0], buffer, 6, MSG_WAITALL), 6);
    ck_assert_str_eq(buffer, "thread");
    close(fds[0]);
    WAIT_UNTIL(atomic_load(&stops) == 1);
}
END_TEST

static void free_loop(void *unused)
{
    (void)unused;
    sockref_loop_free(loop);
    loop = NULL;
}

/* It has a place in the loop, and is not handed to it. */
START_TEST(a_loop_that_is_freed_meanwhile_is_refused_and_the_descriptor_stays)
{
    static const enum faults_kind moments[] = {FAULTS_calloc, FAULTS_tame};
    sockref_handlers handlers = recording_all();
    int fds[2];

    unix_pair(fds);
    faults_install();
    faults_before(moments[_i], free_loop, NULL);
    ck_assert_int_eq(sockref_adopt(loop, fds[1], &handlers, &record, &conn), SOCKREF_ECLOSED);
    faults_clear();
    ck_assert_ptr_null(loop);
    ck_assert_ptr_null(conn);
    ck_assert_str_eq(record.events, "");
    send_text(fds[0], "still");
    ck_assert(is_readable(fds[1], 0));
    close(fds[0]);
    close(fds[1]);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

static void *adopt_there(void *handlers)
{
    adopt_pair(unix_pair, handlers);
    return NULL;
}

START_TEST(adopting_from_another_thread_wakes_the_loop)
{
    sockref_handlers handlers = recording_all();
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, adopt_there, &handlers), 0);
    pthread_join(thread, NULL);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    DRIVE_UNTIL(count_of('Y') == 1);
}
END_TEST

START_TEST(a_forked_child_lets_go_and_closes_its_copy)
{
    int status;
    pid_t child;

    adopt_recording(unix_pair, NULL);
    DRIVE_UNTIL(count_of('Y') == 1);
    fill_until_full(conn);
    child = fork();
    if (child == 0) {
        if (sockref_conn_write(conn, "x", 1) != SOCKREF_EFORKED || sockref_conn_fd(conn) != -1 ||
            sockref_conn_set_timeout(conn, 5) != SOCKREF_EFORKED)
            _exit(1);
        sockref_conn_destroy(conn);
        sockref_conn_destroy_soon(conn);
        sockref_conn_reset(conn);
        sockref_conn_hold(conn, false);
        sockref_conn_release(conn);
        sockref_loop_free(loop);
        _exit(record.closes == 0 && record.stops == 0 ? 0 : 2);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(sockref_conn_pause(conn), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("adopt");
    TCase *tcase = tcase_create("adopt");

    tcase_add_checked_fixture(tcase, setup, teardown_adopted);
    tcase_add_test(tcase, adopted_is_ready_in_the_next_turn_and_echoes);
    tcase_add_test(tcase, what_is_asked_before_the_first_turn_is_done_in_it);
    tcase_add_test(tcase, one_destroyed_before_its_first_turn_is_never_ready);
    tcase_add_test(tcase, the_descriptor_is_tamed_and_closed_with_the_connection);
    tcase_add_test(tcase, what_is_no_connection_is_refused_and_stays_the_callers);
    tcase_add_test(tcase, handlers_of_an_older_program_are_shorter);
    tcase_add_test(tcase, freeing_the_loop_ends_them_all);
    tcase_add_loop_test(tcase, a_loop_that_is_freed_meanwhile_is_refused_and_the_descriptor_stays,
                        0, 2);
    tcase_add_test(tcase, without_a_loop_the_service_thread_serves_it);
    tcase_add_test(tcase, adopting_from_another_thread_wakes_the_loop);
    tcase_add_test(tcase, a_forked_child_lets_go_and_closes_its_copy);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
