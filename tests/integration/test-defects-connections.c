/* What earlier systems got wrong with connections; each defect has its number. */
#include "util.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static sockref_loop *loop;

#define DRIVE_UNTIL(condition) DISPATCH_UNTIL(loop, condition)

/* What happened: C connection, O connect, D data, E end, R drain, X error, Z close, S stop. */
static struct {
    char events[64];
    sockref_conn *conn; /* the last one that began; borrowed */
    uint64_t bytes;
    int begun, ends, drains, timeouts, errors, closes, stops;
    int status;
} seen;

static void see(char event)
{
    size_t length = strlen(seen.events);

    if (length + 1 < sizeof seen.events)
        seen.events[length] = event;
}

static void see_connection(sockref_conn *conn, void *user)
{
    (void)user;
    seen.conn = conn;
    seen.begun++;
    see('C');
}

static void see_connect(sockref_conn *conn, void *user)
{
    see_connection(conn, user);
    see('O');
}

static void see_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)conn, (void)data, (void)user;
    seen.bytes += length;
    see('D');
}

static void see_end(sockref_conn *conn, void *user)
{
    (void)conn, (void)user;
    seen.ends++;
    see('E');
}

static void see_drain(sockref_conn *conn, void *user)
{
    (void)conn, (void)user;
    seen.drains++;
    see('R');
}

static void see_timeout(sockref_conn *conn, void *user)
{
    (void)conn, (void)user;
    seen.timeouts++;
}

static void see_error(sockref_conn *conn, int status, void *user)
{
    (void)conn, (void)user;
    seen.status = status;
    seen.errors++;
    see('X');
}

static void see_close(sockref_conn *conn, bool had_error, void *user)
{
    (void)conn, (void)had_error, (void)user;
    seen.closes++;
    see('Z');
}

static void see_stop(void *user)
{
    (void)user;
    seen.stops++;
    see('S');
}

static const sockref_handlers seeing = {
    .size = sizeof seeing,
    .on_connection = see_connection,
    .on_connect = see_connect,
    .on_data = see_data,
    .on_end = see_end,
    .on_drain = see_drain,
    .on_timeout = see_timeout,
    .on_error = see_error,
    .on_close = see_close,
    .on_stop = see_stop,
};

static sockref *ref;
static int client;

static void setup_loop(void)
{
    setup();
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    client = -1;
}

static void teardown_loop(void)
{
    sockref_release(ref);
    sockref_loop_free(loop);
    if (client >= 0)
        close(client);
    teardown();
}

static void serve_and_dial(void)
{
    ref = start(NULL, path);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &seeing, NULL), 0);
    client = dial(path);
    DRIVE_UNTIL(seen.begun == 1);
}

static void hang_up(void)
{
    close(client);
    client = -1;
}

static int dial_tcp(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

START_TEST(d39_setters_add_no_reference)
{
    uint64_t handles, now;

    serve_and_dial();
    sockref_live_counts(&handles, NULL, NULL);
    for (int i = 0; i < (IS_SANITIZED ? 10000 : 100000); i++) {
        ck_assert_int_eq(sockref_conn_set_timeout(seen.conn, (unsigned)i % 3 * 100000), 0);
        ck_assert_int_eq(sockref_conn_set_keepalive(seen.conn, i % 2, 1000), 0);
        ck_assert_int_eq(sockref_conn_set_nodelay(seen.conn, i % 2), 0);
        ck_assert_int_eq(sockref_conn_pause(seen.conn), 0);
        ck_assert_int_eq(sockref_conn_resume(seen.conn), 0);
        sockref_conn_hold(seen.conn, i % 2);
    }
    sockref_live_counts(&now, NULL, NULL);
    ck_assert_uint_eq(now, handles);
}
END_TEST

static int fds_at_close;

static void count_at_close(sockref_conn *conn, bool had_error, void *user)
{
    see_close(conn, had_error, user);
    fds_at_close = count_fds();
}

START_TEST(d40_at_close_the_descriptor_is_gone_and_the_port_free)
{
    sockref_handlers handlers = seeing;
    sockref_address address = {.size = sizeof address};
    sockref_conn *kept;
    char name[32];
    int fds;

    handlers.on_close = count_at_close;
    ref = start(NULL, "tcp:127.0.0.1:0");
    ck_assert_int_eq(sockref_local_address(ref, &address), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, NULL), 0);
    client = dial_tcp(address.port);
    DRIVE_UNTIL(seen.begun == 1);
    fds = count_fds();
    kept = sockref_conn_acquire(seen.conn); /* a handle keeps no descriptor */
    sockref_conn_destroy(kept);
    DRIVE_UNTIL(seen.closes == 1);
    ck_assert_int_eq(fds_at_close, fds - 1);
    hang_up();
    sockref_release(ref);
    DRIVE_UNTIL(seen.stops == 1);
    snprintf(name, sizeof name, "tcp:127.0.0.1:%u", address.port);
    ref = start(NULL, name);
    sockref_conn_release(kept);
}
END_TEST

START_TEST(d41_a_connection_is_one_handle_and_one_descriptor)
{
    uint64_t handles, now;
    int fds;

    serve_and_dial();
    sockref_live_counts(&handles, NULL, NULL);
    fds = count_fds();
    for (int i = 1; i <= 10; i++) {
        int other = dial(path);

        DRIVE_UNTIL(seen.begun == 1 + i);
        sockref_live_counts(&now, NULL, NULL);
        ck_assert_uint_eq(now, handles + 1);
        ck_assert_int_eq(count_fds(), fds + 2); /* both ends are ours */
        sockref_conn_destroy(seen.conn);
        DRIVE_UNTIL(seen.closes == i);
        close(other);
        sockref_live_counts(&now, NULL, NULL);
        ck_assert_uint_eq(now, handles);
        ck_assert_int_eq(count_fds(), fds);
    }
}
END_TEST

static long resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, resident = 0;

    ck_assert_int_eq(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident;
}

/* Two hundred thousand; $STRESS multiplies them, and with 5 it is a million. */
START_TEST(d42_closed_connections_leave_no_memory)
{
    const char *stress = getenv("STRESS");
    long count = 200000 * (stress ? atol(stress) : 1) / (IS_SANITIZED ? 20 : 1), pages = 0;
    sockref_handlers handlers = seeing;
    uint64_t handles, now;
    int fds[2];

    handlers.on_end = NULL; /* so that both sides end with the peer's */
    sockref_live_counts(&handles, NULL, NULL);
    for (long i = 1; i <= count; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        ck_assert_int_eq(sockref_adopt(loop, fds[1], &handlers, NULL, NULL), 0);
        close(fds[0]);
        if (i % 100 == 0)
            DRIVE_UNTIL(seen.stops == i);
        if (i == count / 10)
            pages = resident_pages();
    }
    ck_assert_int_eq(seen.closes, count);
    sockref_live_counts(&now, NULL, NULL);
    ck_assert_uint_eq(now, handles);
    ck_assert(IS_SANITIZED || resident_pages() - pages < 64);
}
END_TEST

#define MUCH ((size_t)(IS_SANITIZED ? 16 : 64) << 20)

static void *read_all(void *arg)
{
    unsigned char *bytes = arg;
    size_t had = 0;
    ssize_t length;

    while ((length = read(client, bytes + had, MUCH - had)) > 0)
        had += (size_t)length;
    return (void *)had;
}

static int freed;

static void count_freed(int status, void *user)
{
    (void)user;
    ck_assert_int_eq(status, 0);
    freed++;
}

START_TEST(d43_any_bytes_are_written_and_counted_when_they_are)
{
    sockref_conn_options options = {.size = sizeof options, .max_buffered = MUCH};
    sockref_handlers handlers = seeing;
    unsigned char *sent = malloc(MUCH), *got = malloc(MUCH);
    uint64_t written, queued;
    pthread_t thread;
    void *length;

    handlers.options = &options;
    ref = start(NULL, path);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, NULL), 0);
    client = dial(path);
    DRIVE_UNTIL(seen.begun == 1);
    for (size_t i = 0; i < MUCH; i++)
        sent[i] = (unsigned char)(i * 7 + i / 256);
    memset(sent, 0, 1000);
    ck_assert_int_eq(sockref_conn_write(seen.conn, sent, 1000), 0);
    sockref_conn_bytes(seen.conn, NULL, &written, &queued);
    ck_assert_uint_eq(written, 1000);
    ck_assert_int_eq(sockref_conn_write_own(seen.conn, sent + 1000, MUCH - 1000, count_freed, NULL),
                     SOCKREF_WRITE_FULL);
    sockref_conn_bytes(seen.conn, NULL, &written, &queued);
    ck_assert_uint_eq(written + queued, MUCH);
    ck_assert_uint_gt(queued, MUCH / 2);
    ck_assert_int_eq(seen.drains, 0);
    ck_assert_int_eq(sockref_conn_end(seen.conn), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_all, got), 0);
    DRIVE_UNTIL(seen.drains == 1);
    pthread_join(thread, &length);
    ck_assert_uint_eq((size_t)length, MUCH);
    ck_assert_int_eq(memcmp(sent, got, MUCH), 0);
    sockref_conn_bytes(seen.conn, NULL, &written, &queued);
    ck_assert_uint_eq(written, MUCH);
    ck_assert_uint_eq(queued, 0);
    ck_assert_int_eq(seen.drains, 1);
    ck_assert_int_eq(freed, 1);
    free(sent);
    free(got);
}
END_TEST

/* A byte each half of the time: none. Where the machine was busy for that long, nothing is shown.
 */
START_TEST(d44_traffic_puts_the_time_out_off_and_it_comes_again)
{
    int64_t last, gap = 0;

    serve_and_dial();
    ck_assert_int_eq(sockref_conn_set_timeout(seen.conn, 200), 0);
    last = now_ms();
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(send(client, "x", 1, MSG_NOSIGNAL), 1);
        DRIVE_UNTIL(seen.bytes == (uint64_t)i + 1);
        gap = now_ms() - last > gap ? now_ms() - last : gap;
        last = now_ms();
        while (now_ms() < last + 100)
            ck_assert_int_ge(sockref_loop_dispatch(loop, 5), 0);
    }
    gap = now_ms() - last > gap ? now_ms() - last : gap;
    ck_assert(gap >= 180 || seen.timeouts == 0);
    DRIVE_UNTIL(seen.timeouts >= 2);
    ck_assert_int_eq(seen.closes, 0);
}
END_TEST

START_TEST(d45_each_side_ends_on_its_own)
{
    sockref_conn_details info = {.size = sizeof info};
    char buffer[64] = "";

    serve_and_dial();
    ck_assert_int_eq(shutdown(client, SHUT_WR), 0);
    DRIVE_UNTIL(seen.ends == 1);
    ck_assert_int_eq(sockref_conn_write(seen.conn, "last words", 10), 0);
    ck_assert_int_eq(sockref_conn_end(seen.conn), 0);
    DRIVE_UNTIL(seen.closes == 1);
    ck_assert_int_eq(recv(client, buffer, sizeof buffer, MSG_WAITALL), 10);
    ck_assert_str_eq(buffer, "last words");
    ck_assert_str_eq(seen.events, "CEZ");
    hang_up();
    /* The other way round: ended by us, it still reads, and still tells of itself. */
    client = dial(path);
    DRIVE_UNTIL(seen.begun == 2);
    ck_assert_int_eq(sockref_conn_write(seen.conn, "all", 3), 0);
    ck_assert_int_eq(sockref_conn_end(seen.conn), 0);
    ck_assert_int_eq(send(client, "go on", 5, MSG_NOSIGNAL), 5);
    DRIVE_UNTIL(seen.bytes == 5);
    ck_assert_int_eq(sockref_conn_info(seen.conn, &info), 0);
    ck_assert_int_eq(info.state, SOCKREF_CONN_READ_ONLY);
    ck_assert_uint_eq(info.bytes_read, 5);
    ck_assert_int_eq(info.local.family, SOCKREF_FAMILY_UNIX);
    ck_assert_str_eq(info.local.host, path);
    ck_assert_int_eq(recv(client, buffer, sizeof buffer, MSG_WAITALL), 3);
}
END_TEST

START_TEST(d46_connections_are_counted)
{
    int fds[3];

    ref = start(NULL, path);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &seeing, NULL), 0);
    for (int i = 0; i < 3; i++)
        fds[i] = dial(path);
    DRIVE_UNTIL(seen.begun == 3);
    ck_assert_uint_eq(sockref_connection_count(ref), 3);
    sockref_conn_destroy(seen.conn);
    DRIVE_UNTIL(seen.closes == 1);
    ck_assert_uint_eq(sockref_connection_count(ref), 2);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}
END_TEST

START_TEST(d49_a_failing_connect_tells_error_and_then_close)
{
    sockref_conn *conn;

    ck_assert_int_eq(sockref_connect(loop, path, NULL, &seeing, NULL, &conn), 0);
    ck_assert_str_eq(seen.events, "");
    DRIVE_UNTIL(seen.stops == 1);
    ck_assert_str_eq(seen.events, "XZS");
    ck_assert_int_eq(seen.status, -ENOENT);
    sockref_conn_release(conn);
}
END_TEST

START_TEST(d51_half_a_second_of_silence_is_rounded_up_to_one)
{
    sockref_address address = {.size = sizeof address};
    int value = 0;
    socklen_t length = sizeof value;

    ref = start(NULL, "tcp:127.0.0.1:0");
    ck_assert_int_eq(sockref_local_address(ref, &address), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &seeing, NULL), 0);
    client = dial_tcp(address.port);
    DRIVE_UNTIL(seen.begun == 1);
    for (unsigned delay_ms = 1; delay_ms <= 500; delay_ms += 499) {
        ck_assert_int_eq(sockref_conn_set_keepalive(seen.conn, true, delay_ms), 0);
        ck_assert_int_eq(
            getsockopt(sockref_conn_fd(seen.conn), IPPROTO_TCP, TCP_KEEPIDLE, &value, &length), 0);
        ck_assert_int_eq(value, 1);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("defects of connections");
    TCase *tcase = tcase_create("connections");

    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup_loop, teardown_loop);
    tcase_add_test(tcase, d39_setters_add_no_reference);
    tcase_add_test(tcase, d40_at_close_the_descriptor_is_gone_and_the_port_free);
    tcase_add_test(tcase, d41_a_connection_is_one_handle_and_one_descriptor);
    tcase_add_test(tcase, d42_closed_connections_leave_no_memory);
    tcase_add_test(tcase, d43_any_bytes_are_written_and_counted_when_they_are);
    tcase_add_test(tcase, d44_traffic_puts_the_time_out_off_and_it_comes_again);
    tcase_add_test(tcase, d45_each_side_ends_on_its_own);
    tcase_add_test(tcase, d46_connections_are_counted);
    tcase_add_test(tcase, d49_a_failing_connect_tells_error_and_then_close);
    tcase_add_test(tcase, d51_half_a_second_of_silence_is_rounded_up_to_one);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, argc, argv, NULL);
}
