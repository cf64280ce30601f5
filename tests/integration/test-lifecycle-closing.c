/* Life-cycle scenarios: how connections end. tests/lifecycle.md has the list. */
#include "sides.h"

START_TEST(L63_what_is_destroyed_with_a_queue_closes_once)
{
    static char bytes[1 << 20];
    uint32_t sum;
    int fd;

    serve(path, &server);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    ck_assert_int_eq(sockref_conn_write(server.conn, bytes, sizeof bytes), SOCKREF_WRITE_FULL);
    sockref_conn_destroy(server.conn);
    sockref_conn_destroy(server.conn);
    ck_assert_int_eq(sockref_conn_write(server.conn, bytes, 1), SOCKREF_ECLOSED);
    TURN_UNTIL(told(&server, "crz"));
    ck_assert_uint_lt(read_to_end(fd, &sum), sizeof bytes);
    close(fd);
}
END_TEST

START_TEST(L63_writes_to_a_broken_connection_come_to_an_end)
{
    static char bytes[65536];
    int fd, status = 0;

    serve(path, &server);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    close(fd);
    for (int i = 0; status == 0; i++) {
        ck_assert_int_lt(i, 1000);
        status = sockref_conn_write(server.conn, bytes, sizeof bytes);
    }
    ck_assert_int_eq(status, SOCKREF_WRITE_FULL);
    TURN_UNTIL(told(&server, "crxz"));
    ck_assert_int_eq(server.status, -EPIPE);
}
END_TEST

START_TEST(L63_a_reset_is_told_to_the_peer)
{
    char byte;
    int fd;

    serve("tcp:127.0.0.1:0", &server);
    fd = dial_tcp(sockref_path(ref));
    ck_assert_int_ge(fd, 0);
    TURN_UNTIL(told(&server, "cr"));
    sockref_conn_reset(server.conn);
    TURN_UNTIL(told(&server, "crz"));
    ck_assert_int_eq(recv(fd, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    close(fd);
}
END_TEST

START_TEST(L66_beyond_the_limit_a_connection_is_dropped)
{
    sockref_handlers dropping = handlers;
    int first, second;
    uint32_t sum;

    dropping.on_drop = on_drop;
    ref = start_with(NULL, path, SOCKREF_OPT_MAX_CONNECTIONS, 1);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &dropping, &server), 0);
    first = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    second = dial(path);
    TURN_UNTIL(told(&server, "cr!"));
    ck_assert_uint_eq(read_to_end(second, &sum), 0);
    ck_assert_uint_eq(sockref_connection_count(ref), 1);
    close(first);
    close(second);
}
END_TEST

START_TEST(L66_beyond_the_limit_a_connection_waits)
{
    int first, second;

    server.ends_with_peer = true;
    ref = start_with(NULL, path, SOCKREF_OPT_MAX_CONNECTIONS, 1);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &server), 0);
    first = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    second = dial(path);
    turn_a_few_times();
    ck_assert_str_eq(server.trace, "cr");
    close(first);
    TURN_UNTIL(told(&server, "crezcr"));
    close(second);
}
END_TEST

START_TEST(L66_a_graceful_end_leaves_open_connections)
{
    static const sockref_conn_options outlive = {.size = sizeof outlive,
                                                 .flags = SOCKREF_CONN_OUTLIVE};
    sockref_handlers graceful = handlers;
    char back[5];
    int fd;

    server.echoes = true;
    server.ends_with_peer = true;
    graceful.options = &outlive;
    ref = start(NULL, path);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &graceful, &server), 0);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    sockref_release(ref);
    ref = NULL;
    ck_assert(!exists(path));
    ck_assert_int_eq(send(fd, "still", 5, 0), 5);
    TURN_UNTIL(recv(fd, back, 5, MSG_DONTWAIT | MSG_PEEK) == 5);
    ck_assert_str_eq(server.trace, "crd");
    close(fd);
    TURN_UNTIL(strchr(server.trace, 'S') != NULL);
    ck_assert_ptr_nonnull(strstr(server.trace, "zS"));
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-closing");
    TCase *tcase = tcase_create("closing");

    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, L63_what_is_destroyed_with_a_queue_closes_once);
    tcase_add_test(tcase, L63_writes_to_a_broken_connection_come_to_an_end);
    tcase_add_test(tcase, L63_a_reset_is_told_to_the_peer);
    tcase_add_test(tcase, L66_beyond_the_limit_a_connection_is_dropped);
    tcase_add_test(tcase, L66_beyond_the_limit_a_connection_waits);
    tcase_add_test(tcase, L66_a_graceful_end_leaves_open_connections);
    return run_suite(suite, argc, argv, NULL);
}
