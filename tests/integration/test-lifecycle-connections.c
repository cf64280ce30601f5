/*
 * Life-cycle scenarios: connections. tests/lifecycle.md has the list.
 *
 * Both ends run on one loop, which the case dispatches itself, so that nothing happens at another
 * moment than while a case waits; other peers are plain descriptors.
 */
#include "util.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define MUCH 300000u

/* One end, and what it was told: c connect or connection, r ready, d data (once in a row), e end,
 * w drain, t time-out, x error, z close, ! drop, S stop. */
struct side {
    char trace[128];
    sockref_conn *conn;
    int status;
    uint64_t received;
    uint32_t sum;
    bool echoes, ends_with_peer;
    int64_t sent_ms, last_traffic_ms, least_silence_ms; /* what comes was sent no earlier */
    char attempt[112];
};

static sockref_loop *loop;
static sockref *ref;
static struct side server, client; /* told until the loop is freed */

static void open_loop(void)
{
    setup();
    memset(&server, 0, sizeof server);
    memset(&client, 0, sizeof client);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static void close_loop(void)
{
    sockref_release(ref);
    ref = NULL;
    sockref_loop_free(loop);
    teardown();
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = now_ms() + PATIENCE_MS;                                                   \
        while (!(condition)) {                                                                     \
            ck_assert_msg(now_ms() < until_, "still not: %s", #condition);                         \
            ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);                                  \
        }                                                                                          \
    } while (0)

static void turn_a_few_times(void)
{
    for (int i = 0; i < 5; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
}

static void tell(struct side *side, char event)
{
    size_t length = strlen(side->trace);

    if (event == 'd' && length > 0 && side->trace[length - 1] == 'd')
        return;
    ck_assert_uint_lt(length, sizeof side->trace - 1);
    side->trace[length] = event;
}

static bool told(const struct side *side, const char *trace)
{
    return strcmp(side->trace, trace) == 0;
}

static uint32_t sum_of(uint32_t sum, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    while (length-- > 0)
        sum = sum * 31 + *bytes++;
    return sum;
}

static void on_open(sockref_conn *conn, void *user)
{
    struct side *side = user;

    tell(side, 'c');
    sockref_conn_release(side->conn);
    side->conn = sockref_conn_acquire(conn);
}

static void on_ready(sockref_conn *conn, void *user)
{
    (void)conn;
    tell(user, 'r');
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct side *side = user;

    tell(side, 'd');
    side->received += length;
    side->sum = sum_of(side->sum, data, length);
    side->last_traffic_ms = side->sent_ms;
    if (side->echoes)
        ck_assert_int_ge(sockref_conn_write(conn, data, length), 0);
}

static void on_end(sockref_conn *conn, void *user)
{
    struct side *side = user;

    tell(side, 'e');
    if (side->ends_with_peer)
        ck_assert_int_eq(sockref_conn_end(conn), 0);
}

static void on_drain(sockref_conn *conn, void *user)
{
    (void)conn;
    tell(user, 'w');
}

static void on_timeout(sockref_conn *conn, void *user)
{
    struct side *side = user;
    int64_t silence = now_ms() - side->last_traffic_ms;

    (void)conn;
    tell(side, 't');
    if (silence < side->least_silence_ms)
        side->least_silence_ms = silence;
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    struct side *side = user;

    (void)conn;
    tell(side, 'x');
    side->status = status;
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    struct side *side = user;

    (void)conn;
    tell(side, 'z');
    ck_assert(had_error == (side->status != 0));
}

static void on_stop(void *user)
{
    struct side *side = user;

    tell(side, 'S');
    sockref_conn_release(side->conn);
    side->conn = NULL;
}

static void on_attempt(sockref_conn *conn, const sockref_address *address, int event, int status,
                       void *user)
{
    struct side *side = user;

    (void)conn, (void)status;
    if (event == SOCKREF_ATTEMPT_FAILED)
        memcpy(side->attempt, address->host, sizeof side->attempt);
}

static void on_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    (void)local, (void)remote;
    tell(user, '!');
}

static const sockref_handlers handlers = {.size = sizeof handlers,
                                          .on_connection = on_open,
                                          .on_data = on_data,
                                          .on_end = on_end,
                                          .on_drain = on_drain,
                                          .on_error = on_error,
                                          .on_close = on_close,
                                          .on_stop = on_stop,
                                          .on_connect = on_open,
                                          .on_ready = on_ready,
                                          .on_timeout = on_timeout,
                                          .on_attempt = on_attempt};

static void serve(const char *name, struct side *side)
{
    ref = start(NULL, name);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, side), 0);
}

static void begin(const char *name, struct side *side)
{
    ck_assert_int_eq(sockref_connect(loop, name, NULL, &handlers, side, NULL), 0);
}

static void send_all_values(sockref_conn *conn)
{
    unsigned char values[256];

    for (int i = 0; i < 256; i++)
        values[i] = (unsigned char)i;
    ck_assert_int_eq(sockref_conn_write(conn, values, sizeof values), 0);
}

/* A server or client of the system's own, that reads to the end. Returns how many bytes came. */
static size_t read_to_end(int fd, uint32_t *out_sum)
{
    char piece[4096];
    size_t total = 0;
    ssize_t got;

    *out_sum = 0;
    while ((got = read(fd, piece, sizeof piece)) > 0) {
        *out_sum = sum_of(*out_sum, piece, (size_t)got);
        total += (size_t)got;
    }
    ck_assert_int_eq(got, 0);
    return total;
}

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

static int dial_tcp(const char *name)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(strncmp(name, "tcp:127.0.0.1:", 14), 0);
    address.sin_port = htons((uint16_t)atoi(name + 14));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -errno;
}

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
    tcase_add_test(tcase, L63_what_is_destroyed_with_a_queue_closes_once);
    tcase_add_test(tcase, L63_writes_to_a_broken_connection_come_to_an_end);
    tcase_add_test(tcase, L63_a_reset_is_told_to_the_peer);
    tcase_add_test(tcase, L64_a_tcp_name_is_a_reference);
    tcase_add_test(tcase, L65_both_ends_tell_the_same_counters_and_addresses);
    tcase_add_test(tcase, L66_beyond_the_limit_a_connection_is_dropped);
    tcase_add_test(tcase, L66_beyond_the_limit_a_connection_waits);
    tcase_add_test(tcase, L66_a_graceful_end_leaves_open_connections);
    return run_suite(suite, argc, argv, NULL);
}
