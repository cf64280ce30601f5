/* Connections: src/net/conn.c and src/net/conn_turn.c */
#include "test-accepted-helpers.h"

#include "net/conn.h"

START_TEST(events_come_in_order)
{
    send_text(peer, "hello");
    DRIVE_UNTIL(record.bytes == 5);
    shutdown(peer, SHUT_WR);
    DRIVE_UNTIL(record.ends == 1);
    drive_all();
    ck_assert_str_eq(record.events, "CDE");
    ck_assert_str_eq(record.data, "hello");
    ck_assert_int_eq(sockref_conn_end(record.conn), 0);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_str_eq(record.events, "CDEZ");
    ck_assert(!record.had_error);
}
END_TEST

START_TEST(half_closed_connection_still_sends)
{
    char buffer[16];

    shutdown(peer, SHUT_WR);
    DRIVE_UNTIL(record.ends == 1);
    ck_assert_int_eq(sockref_conn_write(record.conn, "late", 4), 0);
    ck_assert_int_eq(recv(peer, buffer, sizeof buffer, 0), 4);
    ck_assert_int_eq(record.closes, 0);
    ck_assert_int_eq(sockref_conn_end(record.conn), 0);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(recv(peer, buffer, sizeof buffer, 0), 0);
}
END_TEST

START_TEST(end_is_seen_by_the_peer_which_may_go_on)
{
    char buffer[16];

    ck_assert_int_eq(sockref_conn_write(record.conn, "bye", 3), 0);
    ck_assert_int_eq(sockref_conn_end(record.conn), 0);
    ck_assert_int_eq(sockref_conn_end(record.conn), 0);
    ck_assert_int_eq(sockref_conn_write(record.conn, "x", 1), SOCKREF_ECLOSED);
    drive_all();
    ck_assert_int_eq(recv(peer, buffer, sizeof buffer, 0), 3);
    ck_assert_int_eq(recv(peer, buffer, sizeof buffer, 0), 0);
    send_text(peer, "more");
    DRIVE_UNTIL(record.bytes == 4);
    close_peer();
    DRIVE_UNTIL(record.closes == 1);
    ck_assert(!record.had_error);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    ck_assert_int_eq(sockref_conn_write(NULL, "x", 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_write(record.conn, NULL, 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_write(record.conn, NULL, 0), 0);
    ck_assert_int_eq(sockref_conn_end(NULL), -EINVAL);
    ck_assert_int_eq(sockref_conn_pause(NULL), -EINVAL);
    ck_assert_int_eq(sockref_conn_resume(NULL), -EINVAL);
    sockref_conn_destroy(NULL);
    sockref_conn_release(NULL);
    ck_assert_ptr_null(sockref_conn_acquire(NULL));
    ck_assert_ptr_null(sockref_conn_data(NULL));
}
END_TEST

START_TEST(destroy_outside_a_turn_closes_in_the_next)
{
    char byte;

    sockref_conn_destroy(record.conn);
    sockref_conn_destroy(record.conn);
    ck_assert_int_eq(record.closes, 0);
    ck_assert_int_eq(sockref_conn_write(record.conn, "x", 1), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_conn_pause(record.conn), SOCKREF_ECLOSED);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_str_eq(record.events, "CZ");
    ck_assert_int_eq(recv(peer, &byte, 1, 0), 0);
}
END_TEST

START_TEST(a_handle_keeps_the_memory_of_a_closed_connection)
{
    sockref_conn *conn = sockref_conn_acquire(record.conn);
    int data = 7;

    sockref_conn_set_data(conn, &data);
    close_peer();
    DRIVE_UNTIL(record.ends == 1);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_ptr_eq(sockref_conn_data(conn), &data);
    ck_assert_int_eq(sockref_conn_write(conn, "x", 1), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_conn_end(conn), SOCKREF_ECLOSED);
    sockref_conn_destroy(conn);
    sockref_conn_release(conn);
}
END_TEST

START_TEST(a_paused_connection_reads_nothing_until_resumed)
{
    ck_assert_int_eq(sockref_conn_pause(record.conn), 0);
    send_text(peer, "wait");
    close_peer();
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 0);
    ck_assert(!is_readable(sockref_loop_fd(loop), 0));
    ck_assert_int_eq(sockref_conn_resume(record.conn), 0);
    DRIVE_UNTIL(record.ends == 1);
    ck_assert_str_eq(record.data, "wait");
    sockref_conn_destroy(record.conn);
}
END_TEST

START_TEST(a_broken_connection_tells_error_then_close)
{
    close_peer();
    ck_assert_int_eq(sockref_conn_write(record.conn, "x", 1), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(record.errors, 0);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(record.status, -EPIPE);
    ck_assert(record.had_error);
    ck_assert_str_eq(record.events + strlen(record.events) - 2, "XZ");
}
END_TEST

START_TEST(a_reset_by_the_peer_is_an_error)
{
    ck_assert_int_eq(sockref_conn_write(record.conn, "unread", 6), 0);
    close_peer(); /* with unread data: the kernel tells ECONNRESET */
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(record.status, -ECONNRESET);
    ck_assert_str_eq(record.events, "CXZ");
}
END_TEST

START_TEST(an_idle_connection_is_small)
{
    ck_assert_uint_le(sizeof(struct sockref_conn), 104); /* 112 bytes of the heap */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn");
    TCase *tcase = tcase_create("conn");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_pair, teardown_pair);
    tcase_add_test(tcase, events_come_in_order);
    tcase_add_test(tcase, half_closed_connection_still_sends);
    tcase_add_test(tcase, end_is_seen_by_the_peer_which_may_go_on);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, destroy_outside_a_turn_closes_in_the_next);
    tcase_add_test(tcase, a_handle_keeps_the_memory_of_a_closed_connection);
    tcase_add_test(tcase, a_paused_connection_reads_nothing_until_resumed);
    tcase_add_test(tcase, a_broken_connection_tells_error_then_close);
    tcase_add_test(tcase, a_reset_by_the_peer_is_an_error);
    tcase_add_test(tcase, an_idle_connection_is_small);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
