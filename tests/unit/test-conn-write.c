/* Writing, and what is queued: src/net/conn_write.c and src/net/outbuf.c */
#include "counted-sends.h"
#include "test-accepted-helpers.h"

#include <sys/resource.h>

START_TEST(a_full_queue_says_so_and_drains_once)
{
    uint64_t got = 0, buffers;

    fill_until_full(record.conn);
    sockref_live_counts(NULL, NULL, &buffers);
    ck_assert_uint_gt(buffers, buffers_before);
    drive_all();
    ck_assert_int_eq(record.drains, 0);
    uint64_t until = deadline();
    while (record.drains == 0 && sr_clock_ns() < until) {
        drain_peer(&got);
        sockref_loop_dispatch(loop, 1);
    }
    ck_assert_int_eq(record.drains, 1);
    drain_peer(&got);
    drive_all();
    drain_peer(&got);
    ck_assert_int_eq(record.drains, 1);
    ck_assert_uint_eq(got % sizeof block, 0);
    sockref_live_counts(NULL, NULL, &buffers);
    ck_assert_uint_eq(buffers, buffers_before);
}
END_TEST

START_TEST(what_is_queued_is_sent_before_the_end)
{
    static char buffer[65536];
    uint64_t sent = 0, got = 0;
    ssize_t length;

    while (sockref_conn_write(record.conn, block, 10000) == 0)
        sent += 10000;
    sent += 10000;
    ck_assert_int_eq(sockref_conn_end(record.conn), 0);
    do {
        length = peek_some(peer, buffer, sizeof buffer);
        if (length > 0)
            got += (uint64_t)length;
        sockref_loop_dispatch(loop, 0);
    } while (length != 0);
    ck_assert_uint_eq(got, sent);
    ck_assert_int_eq(record.closes, 0);
}
END_TEST

START_TEST(destroy_drops_the_queue)
{
    uint64_t buffers;

    fill_until_full(record.conn);
    sockref_conn_destroy(record.conn);
    sockref_live_counts(NULL, NULL, &buffers);
    ck_assert_uint_eq(buffers, buffers_before);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(record.drains, 0);
    ck_assert_str_eq(record.events, "CZ");
}
END_TEST

static void write_thrice(struct record *r, char event, sockref_conn *conn)
{
    (void)r;
    if (event != 'D')
        return;
    ck_assert_int_eq(sockref_conn_write(conn, "one ", 4), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "two ", 4), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "three", 5), 0);
}

START_TEST(further_writes_of_a_turn_go_out_in_one_call)
{
    char buffer[64] = "";
    size_t had = 0;

    record.hook = write_thrice;
    begin_counting_sends();
    send_text(peer, "go");
    DRIVE_UNTIL(record.bytes == 2);
    end_counting_sends();
    ck_assert_int_eq(sends + sendmsgs, 2);
    while (had < 13)
        had += (size_t)recv(peer, buffer + had, sizeof buffer - had, 0);
    ck_assert_str_eq(buffer, "one two three");
}
END_TEST

/* ---- much data ---- */

#define MUCH ((IS_SANITIZED ? 16u : 64u) << 20)

static uint64_t left_to_send;
static unsigned next_byte;

static void produce(struct record *r, char event, sockref_conn *conn)
{
    static unsigned char bytes[50000];
    int status = 0;
    size_t length;

    (void)r;
    if (event != 'D' && event != 'R')
        return;
    while (left_to_send > 0 && status == 0) {
        length = left_to_send < sizeof bytes ? left_to_send : sizeof bytes;
        for (size_t i = 0; i < length; i++)
            bytes[i] = (unsigned char)next_byte++;
        status = sockref_conn_write(conn, bytes, length);
        left_to_send -= length;
    }
    ck_assert_int_ge(status, 0);
    if (left_to_send == 0)
        sockref_conn_end(conn);
}

static long resident(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

START_TEST(much_data_reaches_a_slow_reader_with_little_memory)
{
    static unsigned char buffer[20000];
    uint64_t got = 0, buffers, most = 0;
    long before = resident();
    unsigned expected = 0, wrong = 0;
    ssize_t length;

    left_to_send = MUCH;
    record.hook = produce;
    send_text(peer, "go");
    for (;;) {
        ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
        sockref_live_counts(NULL, NULL, &buffers);
        if (buffers > most)
            most = buffers;
        length = peek_some(peer, buffer, sizeof buffer);
        if (length == 0)
            break;
        for (ssize_t i = 0; i < length; i++)
            wrong += buffer[i] != (unsigned char)expected++;
        if (length > 0)
            got += (uint64_t)length;
    }
    ck_assert_uint_eq(got, MUCH);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_le(most, 8);
    ck_assert(IS_SANITIZED || resident() - before < 8 * 1024);
}
END_TEST

static void *refuse_memory(size_t size)
{
    (void)size;
    errno = ENOMEM;
    return NULL;
}

START_TEST(a_write_without_memory_takes_nothing)
{
    int status;

    fill_until_full(record.conn);
    sr_sys.malloc = refuse_memory;
    status = sockref_conn_write(record.conn, block, sizeof block);
    sr_sys.malloc = malloc;
    ck_assert_int_eq(status, -ENOMEM);
    ck_assert_int_eq(record.errors, 0);
}
END_TEST

START_TEST(more_than_max_buffered_is_refused_whole)
{
    struct record small = {0};
    sockref_options *options = sockref_options_new();
    sockref *other;
    char saved[sizeof path];
    int fd, status = 0;
    uint64_t taken = 0, got = 0;

    strcpy(saved, path);
    strcat(path, "2");
    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_MAX_BUFFERED, 200000), 0);
    other = serve_here(options, &recording, &small);
    sockref_options_free(options);
    fd = dial();
    DRIVE_UNTIL(small.connections == 1);
    ck_assert_int_eq(sockref_conn_write(small.conn, block, 0), 0);
    while ((status = sockref_conn_write(small.conn, block, 60000)) >= 0)
        taken += 60000;
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_ELIMIT);
    while (small.drains == 0 || got < taken) {
        static char buffer[65536];
        ssize_t length = peek_some(fd, buffer, sizeof buffer);

        got += length > 0 ? (uint64_t)length : 0;
        sockref_loop_dispatch(loop, 0);
    }
    ck_assert_uint_eq(got, taken);
    ck_assert_int_eq(sockref_conn_write(small.conn, block, 60000), 0);
    close(fd);
    sockref_release(other);
    DRIVE_UNTIL(small.stops == 1);
    strcpy(path, saved);
}
END_TEST

/* The high-water mark is never reached. */
START_TEST(a_limit_below_the_mark_is_told_to_be_gone)
{
    const sockref_conn_options options = {.size = sizeof options, .max_buffered = 30000};
    struct record own = {0};
    sockref_handlers handlers = recording;
    static char buffer[65536];
    sockref_conn *conn;
    int status, fds[2];

    handlers.options = &options;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(sockref_adopt(loop, fds[0], &handlers, &own, &conn), 0);
    ck_assert_int_eq(sockref_conn_write(conn, block, 30001), SOCKREF_ELIMIT);
    ck_assert_ptr_null(strstr(sockref_last_error()->message, "on_drain"));
    while ((status = sockref_conn_write(conn, block, 1000)) >= 0) {
        ck_assert_int_eq(status, 0);
        drive_all();
    }
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "on_drain"));
    ck_assert_int_eq(own.drains, 0);
    DRIVE_UNTIL(peek_some(fds[1], buffer, sizeof buffer) < 0 && own.drains == 1);
    sockref_conn_destroy(conn);
    sockref_conn_release(conn);
    DRIVE_UNTIL(own.stops == 1);
    close(fds[1]);
}
END_TEST

START_TEST(options_of_a_connection_bound_what_it_queues)
{
    const sockref_conn_options options = {.size = sizeof options, .max_buffered = 300000};
    struct record own = {0};
    sockref_handlers handlers = recording;
    sockref_conn *conn;
    int status, fds[2];

    handlers.options = &options;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(sockref_adopt(loop, fds[0], &handlers, &own, &conn), 0);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_ge(sockref_conn_write(conn, block, 60000), 0);
    status = sockref_conn_write(conn, block, 1);
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    sockref_conn_destroy(conn);
    sockref_conn_release(conn);
    DRIVE_UNTIL(own.stops == 1);
    close(fds[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-write");
    TCase *tcase = tcase_create("conn-write");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_pair, teardown_pair);
    tcase_add_test(tcase, a_full_queue_says_so_and_drains_once);
    tcase_add_test(tcase, what_is_queued_is_sent_before_the_end);
    tcase_add_test(tcase, destroy_drops_the_queue);
    tcase_add_test(tcase, further_writes_of_a_turn_go_out_in_one_call);
    tcase_add_test(tcase, much_data_reaches_a_slow_reader_with_little_memory);
    tcase_add_test(tcase, a_write_without_memory_takes_nothing);
    tcase_add_test(tcase, more_than_max_buffered_is_refused_whole);
    tcase_add_test(tcase, a_limit_below_the_mark_is_told_to_be_gone);
    tcase_add_test(tcase, options_of_a_connection_bound_what_it_queues);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
