/* Life-cycle scenarios: connections. tests/lifecycle.md has the list. */
#include "sides.h"

#include <netinet/in.h>

START_TEST(L57_our_client_and_our_server_exchange_every_byte_value)
{
    server.echoes = true;
    server.ends_with_peer = true;
    serve(path, &server);
    begin(path, &client);
    TURN_UNTIL(told(&client, "cr") && told(&server, "cr"));
    send_all_values(client.conn);
    TURN_UNTIL(client.received == 256);
    ck_assert_uint_eq(client.sum, server.sum);
    ck_assert_int_eq(sockref_conn_end(client.conn), 0);
    TURN_UNTIL(told(&client, "crdezS") && told(&server, "crdez"));
}
END_TEST

START_TEST(L57_our_client_talks_to_a_plain_server)
{
    int listener = bind_plain(path), fd;
    unsigned char values[256];

    client.ends_with_peer = true;
    begin(path, &client);
    TURN_UNTIL(told(&client, "cr"));
    fd = accept(listener, NULL, NULL);
    send_all_values(client.conn);
    ck_assert_int_eq(recv(fd, values, sizeof values, MSG_WAITALL), sizeof values);
    for (int i = 0; i < 256; i++)
        ck_assert_int_eq(values[i], i);
    ck_assert_int_eq(send(fd, values, sizeof values, 0), sizeof values);
    close(fd);
    TURN_UNTIL(told(&client, "crdezS"));
    ck_assert_uint_eq(client.received, 256);
    close(listener);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static void fails(const char *name, int status)
{
    memset(&client, 0, sizeof client);
    begin(name, &client);
    TURN_UNTIL(told(&client, "xzS"));
    ck_assert_int_eq(client.status, status);
    ck_assert_str_ne(client.attempt, "");
    ck_assert_ptr_nonnull(strstr(name, client.attempt));
}

START_TEST(L58_a_connect_to_nothing_fails_with_its_reason)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char name[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    /* A port that is bound and not listened on refuses, and nobody else can take it. */
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    snprintf(name, sizeof name, "tcp:127.0.0.1:%d", ntohs(address.sin_port));
    fails(path, -ENOENT);
    leave_dead_socket(path);
    fails(path, -ECONNREFUSED);
    ck_assert_int_eq(unlink(path), 0);
    fails(name, -ECONNREFUSED);
    close(fd);
}
END_TEST

START_TEST(L59_a_slow_reader_is_waited_for)
{
    static char piece[65536];
    uint64_t taken = 0, queued;
    uint32_t sum = 0, sum_read;
    int fd, status;

    serve(path, &server);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    do {
        memset(piece, (int)(taken >> 16), sizeof piece);
        status = sockref_conn_write(server.conn, piece, sizeof piece);
        ck_assert_int_ge(status, 0);
        taken += sizeof piece;
        sum = sum_of(sum, piece, sizeof piece);
    } while (status != SOCKREF_WRITE_FULL);
    sockref_conn_bytes(server.conn, NULL, NULL, &queued);
    ck_assert_uint_le(queued, 2 * sizeof piece);
    while (status >= 0) /* who does not listen meets the limit */
        status = sockref_conn_write(server.conn, piece, sizeof piece), taken += sizeof piece,
        sum = sum_of(sum, piece, sizeof piece);
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    sockref_conn_bytes(server.conn, NULL, NULL, &queued);
    ck_assert_uint_le(queued, 16 << 20);
    turn_a_few_times();
    ck_assert_str_eq(server.trace, "cr");
    ck_assert_int_eq(sockref_conn_end(server.conn), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (uint64_t total = 0, left = taken - sizeof piece; total < left;) {
        ssize_t got = read(fd, piece, sizeof piece);

        ck_assert(got > 0 || errno == EAGAIN);
        total += got > 0 ? (uint64_t)got : 0;
        ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
    }
    fcntl(fd, F_SETFL, 0);
    TURN_UNTIL(told(&server, "crw"));
    ck_assert_uint_eq(read_to_end(fd, &sum_read), 0);
    close(fd);
    TURN_UNTIL(told(&server, "crwez"));
}
END_TEST

START_TEST(L60_the_other_direction_goes_on_after_a_half_close)
{
    static char bytes[MUCH];

    serve(path, &server);
    begin(path, &client);
    TURN_UNTIL(told(&client, "cr") && told(&server, "cr"));
    ck_assert_int_eq(sockref_conn_end(client.conn), 0);
    TURN_UNTIL(told(&server, "cre"));
    ck_assert_int_ge(sockref_conn_write(server.conn, bytes, sizeof bytes), 0);
    TURN_UNTIL(client.received == sizeof bytes);
    ck_assert_int_eq(sockref_conn_write(client.conn, "x", 1), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_conn_end(server.conn), 0);
    TURN_UNTIL(told(&client, "crdezS"));
    ck_assert_ptr_nonnull(strchr(server.trace, 'z'));
}
END_TEST

START_TEST(L61_a_paused_connection_reads_nothing)
{
    static char piece[4096];
    uint64_t sent = 0;
    uint32_t sum = 0;
    ssize_t got;
    int fd;

    serve(path, &server);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    ck_assert_int_eq(sockref_conn_pause(server.conn), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (;;) {
        memset(piece, (int)sent % 251, sizeof piece);
        got = send(fd, piece, sizeof piece, MSG_NOSIGNAL);
        if (got < 0)
            break;
        sum = sum_of(sum, piece, (size_t)got);
        sent += (uint64_t)got;
        ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
        ck_assert_uint_lt(sent, 64 << 20);
    }
    ck_assert_int_eq(errno, EAGAIN);
    turn_a_few_times();
    ck_assert_uint_eq(server.received, 0);
    ck_assert_int_eq(sockref_conn_resume(server.conn), 0);
    TURN_UNTIL(server.received == sent);
    ck_assert_uint_eq(server.sum, sum);
    close(fd);
}
END_TEST

START_TEST(L62_a_time_out_comes_after_silence_only)
{
    int fd, times = 0;

    server.least_silence_ms = 1000000;
    serve(path, &server);
    fd = dial(path);
    TURN_UNTIL(told(&server, "cr"));
    server.last_traffic_ms = now_ms();
    ck_assert_int_eq(sockref_conn_set_timeout(server.conn, 60), 0);
    for (int64_t until = now_ms() + 200; now_ms() < until; times++) {
        server.sent_ms = now_ms();
        ck_assert_int_eq(send(fd, "x", 1, 0), 1);
        ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);
    }
    TURN_UNTIL(strchr(server.trace, 't') != NULL);
    ck_assert_int_ge(server.least_silence_ms, 59);
    ck_assert_uint_eq(server.received, (uint64_t)times);
    ck_assert_int_eq(sockref_conn_set_timeout(server.conn, 0), 0);
    ck_assert_int_eq(send(fd, "x", 1, 0), 1); /* it goes on */
    TURN_UNTIL(server.received == (uint64_t)times + 1);
    close(fd);
}
END_TEST

START_TEST(L64_a_tcp_name_is_a_reference)
{
    char name[64];
    sockref *second;
    char back[5];
    int fd;

    ref = start(NULL, "tcp:127.0.0.1:0");
    snprintf(name, sizeof name, "%s", sockref_path(ref));
    ck_assert_str_ne(name, "tcp:127.0.0.1:0");
    second = start(NULL, name);
    ck_assert_ptr_eq(second, ref);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert(sockref_registry_is_socket_active(NULL, name));
    ck_assert_int_eq(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL), 0);
    fd = dial_tcp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, "hello", 5, 0), 5);
    TURN_UNTIL(recv(fd, back, 5, MSG_DONTWAIT | MSG_PEEK) == 5);
    close(fd);
    sockref_release(second);
    ck_assert(sockref_is_active(ref));
    sockref_release(ref);
    ref = NULL;
    ck_assert(!sockref_registry_is_socket_active(NULL, name));
    ck_assert_int_eq(dial_tcp(name), -ECONNREFUSED);
}
END_TEST

static sockref_conn_details details_of(const struct side *side)
{
    sockref_conn_details details = {.size = sizeof details};

    ck_assert_int_eq(sockref_conn_info(side->conn, &details), 0);
    return details;
}

START_TEST(L65_both_ends_tell_the_same_counters_and_addresses)
{
    sockref_address bound = {.size = sizeof bound};
    sockref_conn_details ours, theirs;
    static char bytes[MUCH];

    serve("tcp:127.0.0.1:0", &server);
    begin(sockref_path(ref), &client);
    TURN_UNTIL(told(&client, "cr") && told(&server, "cr"));
    ck_assert_int_ge(sockref_conn_write(client.conn, bytes, sizeof bytes), 0);
    ck_assert_int_ge(sockref_conn_write(server.conn, bytes, 7), 0);
    TURN_UNTIL(server.received == sizeof bytes && client.received == 7);
    ours = details_of(&client);
    theirs = details_of(&server);
    ck_assert_uint_eq(ours.bytes_written, sizeof bytes);
    ck_assert_uint_eq(ours.bytes_read, 7);
    ck_assert_uint_eq(theirs.bytes_read, sizeof bytes);
    ck_assert_uint_eq(theirs.bytes_written, 7);
    ck_assert_int_eq(ours.state, SOCKREF_CONN_OPEN);
    ck_assert_int_eq(ours.local.family, SOCKREF_FAMILY_IPV4);
    ck_assert_uint_eq(ours.local.port, theirs.remote.port);
    ck_assert_uint_eq(ours.remote.port, theirs.local.port);
    ck_assert_str_eq(ours.remote.host, "127.0.0.1");
    ck_assert_int_eq(sockref_local_address(ref, &bound), 0);
    ck_assert_uint_eq(bound.port, ours.remote.port);
    sockref_conn_destroy(client.conn);
    TURN_UNTIL(strchr(server.trace, 'e') != NULL);
}
END_TEST

static sockref *bind_only(const char *name)
{
    sockref_options *options = sockref_options_new();
    sockref *bound;

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_BIND_ONLY, 1), 0);
    ck_assert_int_eq(sockref_registry_listen(NULL, name, options, &bound), 0);
    sockref_options_free(options);
    return bound;
}

START_TEST(L68_a_name_that_is_only_bound_is_served_later)
{
    int fd;

    ref = bind_only("tcp:127.0.0.1:0");
    ck_assert(sockref_is_active(ref));
    ck_assert_int_eq(dial_tcp(sockref_path(ref)), -ECONNREFUSED);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &server), 0);
    fd = dial_tcp(sockref_path(ref));
    ck_assert_int_ge(fd, 0);
    TURN_UNTIL(told(&server, "cr"));
    close(fd);
}
END_TEST

START_TEST(L68_a_connection_comes_from_a_bound_path)
{
    char own[sizeof path + 8];
    sockref_connect_options options = {.size = sizeof options};

    snprintf(own, sizeof own, "%s.own", path);
    options.from = bind_only(own);
    ck_assert_int_eq(try_dial(own), -ECONNREFUSED);
    serve(path, &server);
    ck_assert_int_eq(sockref_connect(loop, path, &options, &handlers, &client, NULL), 0);
    sockref_release(options.from);
    TURN_UNTIL(told(&client, "cr") && told(&server, "cr"));
    ck_assert_str_eq(details_of(&server).remote.host, own);
    ck_assert_str_eq(details_of(&client).local.host, own);
    ck_assert_int_eq(access(own, F_OK), 0);
    sockref_conn_destroy(client.conn);
    TURN_UNTIL(told(&client, "crzS"));
    ck_assert_int_eq(access(own, F_OK), -1);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-connections");
    TCase *tcase = tcase_create("connections");

    tcase_add_checked_fixture(tcase, open_loop, close_loop);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, L57_our_client_and_our_server_exchange_every_byte_value);
    tcase_add_test(tcase, L57_our_client_talks_to_a_plain_server);
    tcase_add_test(tcase, L58_a_connect_to_nothing_fails_with_its_reason);
    tcase_add_test(tcase, L59_a_slow_reader_is_waited_for);
    tcase_add_test(tcase, L60_the_other_direction_goes_on_after_a_half_close);
    tcase_add_test(tcase, L61_a_paused_connection_reads_nothing);
    tcase_add_test(tcase, L62_a_time_out_comes_after_silence_only);
    tcase_add_test(tcase, L64_a_tcp_name_is_a_reference);
    tcase_add_test(tcase, L65_both_ends_tell_the_same_counters_and_addresses);
    tcase_add_test(tcase, L68_a_name_that_is_only_bound_is_served_later);
    tcase_add_test(tcase, L68_a_connection_comes_from_a_bound_path);
    return run_suite(suite, argc, argv, NULL);
}
