/* Connections: src/net/conn.c and src/net/outbuf.c */
#include "test-loop-helpers.h"

#include "net/conn.h"

#include <sys/resource.h>

static struct record record;
static sockref *ref;
static int peer;

static void setup_pair(void)
{
    setup();
    memset(&record, 0, sizeof record);
    ref = serve_here(NULL, &recording, &record);
    peer = dial();
    DRIVE_UNTIL(record.connections == 1);
}

static void teardown_pair(void)
{
    if (peer >= 0)
        close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.closes, record.connections);
    teardown();
}

static void close_peer(void)
{
    close(peer);
    peer = -1;
}

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

/* ---- writing ---- */

static char block[65536];

static void fill_until_full(sockref_conn *conn)
{
    int status = 0;

    for (int i = 0; status == 0; i++) {
        ck_assert_int_lt(i, 1000);
        status = sockref_conn_write(conn, block, sizeof block);
    }
    ck_assert_int_eq(status, SOCKREF_WRITE_FULL);
}

static void drain_peer(uint64_t *inout_bytes)
{
    static char buffer[65536];
    ssize_t length;

    while ((length = peek_some(peer, buffer, sizeof buffer)) > 0)
        *inout_bytes += (uint64_t)length;
}

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

static void write_thrice(struct record *r, char event, sockref_conn *conn)
{
    (void)r;
    if (event != 'D')
        return;
    ck_assert_int_eq(sockref_conn_write(conn, "one ", 4), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "two ", 4), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "three", 5), 0);
}

static int sends, sendmsgs;

static ssize_t counted_send(int fd, const void *data, size_t length, int flags)
{
    sends++;
    return send(fd, data, length, flags);
}

static ssize_t counted_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sendmsgs++;
    return sendmsg(fd, message, flags);
}

START_TEST(further_writes_of_a_turn_go_out_in_one_call)
{
    char buffer[64] = "";
    size_t had = 0;

    record.hook = write_thrice;
    sr_sys.send = counted_send;
    sr_sys.sendmsg = counted_sendmsg;
    send_text(peer, "go");
    DRIVE_UNTIL(record.bytes == 2);
    sr_sys.send = send;
    sr_sys.sendmsg = sendmsg;
    ck_assert_int_eq(sends + sendmsgs, 2);
    while (had < 13)
        had += (size_t)recv(peer, buffer + had, sizeof buffer - had, 0);
    ck_assert_str_eq(buffer, "one two three");
}
END_TEST

/* ---- destroying in callbacks ---- */

static char when;
static sockref_conn *victim;

static void destroy_victim(struct record *r, char event, sockref_conn *conn)
{
    (void)r;
    if (event == when)
        sockref_conn_destroy(victim ? victim : conn);
}

/* One event of each kind, with a destroy inside it. */
static void provoke(char event)
{
    uint64_t got = 0;

    switch (event) {
    case 'D':
        send_text(peer, "x");
        break;
    case 'E':
        shutdown(peer, SHUT_WR);
        break;
    case 'R':
        fill_until_full(record.conn);
        for (int i = 0; i < 1000 && record.drains == 0; i++) {
            drain_peer(&got);
            sockref_loop_dispatch(loop, 1);
        }
        break;
    case 'X':
        close_peer();
        sockref_conn_write(record.conn, "x", 1);
        break;
    case 'Z':
        sockref_conn_destroy(record.conn);
        break;
    }
}

static const char kinds[] = "DERXZ";

START_TEST(destroy_of_itself_in_any_callback_is_safe)
{
    when = kinds[_i];
    victim = NULL;
    record.hook = destroy_victim;
    provoke(when);
    DRIVE_UNTIL(record.closes == 1);
    drive_all();
    ck_assert_int_eq(record.closes, 1);
    ck_assert_int_eq(record.events[strlen(record.events) - 1], 'Z');
}
END_TEST

START_TEST(destroy_of_another_in_any_callback_is_safe)
{
    sockref_conn *first = record.conn;
    int other = dial();

    DRIVE_UNTIL(record.connections == 2);
    when = kinds[_i];
    victim = record.conn;
    record.conn = first;
    record.hook = destroy_victim;
    /* Both have an event in the same turn; the second one's must not come, whichever is first. */
    send_text(other, "y");
    provoke(when);
    DRIVE_UNTIL(record.closes >= 1);
    drive_all();
    close(other);
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(record.closes == 2);
}
END_TEST

START_TEST(destroy_in_on_connection_is_safe)
{
    int other;

    when = 'C';
    victim = NULL;
    record.hook = destroy_victim;
    other = dial();
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_str_eq(record.events, "CCZ");
    close(other);
}
END_TEST

static void use_everything(struct record *r, char event, sockref_conn *conn)
{
    (void)r;
    if (event == 'S')
        return;
    sockref_conn_pause(conn);
    sockref_conn_resume(conn);
    sockref_conn_write(conn, block, 1000);
    sockref_conn_end(conn);
    sockref_conn_release(sockref_conn_acquire(conn));
    if (event != 'C')
        sockref_conn_destroy(conn);
}

START_TEST(everything_may_be_called_in_any_callback)
{
    record.hook = use_everything;
    provoke(kinds[_i] == 'R' ? 'D' : kinds[_i]);
    close(dial());
    DRIVE_UNTIL(record.closes == 2);
}
END_TEST

static void release_in_data(struct record *r, char event, sockref_conn *conn)
{
    (void)r;
    (void)conn;
    if (event == 'D') {
        sockref_release(ref);
        ref = NULL;
    }
}

START_TEST(last_release_in_a_callback_ends_all)
{
    record.hook = release_in_data;
    send_text(peer, "x");
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "CDZS");
}
END_TEST

/* ---- much data ---- */

#define MUCH (64u << 20)

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
    ck_assert(UNDER_SANITIZER || resident() - before < 8 * 1024);
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

START_TEST(an_idle_connection_is_small)
{
    ck_assert_uint_le(sizeof(struct sockref_conn), 104); /* 112 bytes of the heap */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn");
    TCase *tcase = tcase_create("conn");
    int last = (int)sizeof kinds - 1;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_pair, teardown_pair);
    tcase_add_test(tcase, events_come_in_order);
    tcase_add_test(tcase, half_closed_connection_still_sends);
    tcase_add_test(tcase, end_is_seen_by_the_peer_which_may_go_on);
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, destroy_outside_a_turn_closes_in_the_next);
    tcase_add_test(tcase, a_handle_keeps_the_memory_of_a_closed_connection);
    tcase_add_test(tcase, a_paused_connection_reads_nothing_until_resumed);
    tcase_add_test(tcase, a_full_queue_says_so_and_drains_once);
    tcase_add_test(tcase, what_is_queued_is_sent_before_the_end);
    tcase_add_test(tcase, destroy_drops_the_queue);
    tcase_add_test(tcase, a_broken_connection_tells_error_then_close);
    tcase_add_test(tcase, a_reset_by_the_peer_is_an_error);
    tcase_add_test(tcase, further_writes_of_a_turn_go_out_in_one_call);
    tcase_add_loop_test(tcase, destroy_of_itself_in_any_callback_is_safe, 0, last);
    tcase_add_loop_test(tcase, destroy_of_another_in_any_callback_is_safe, 0, last);
    tcase_add_test(tcase, destroy_in_on_connection_is_safe);
    tcase_add_loop_test(tcase, everything_may_be_called_in_any_callback, 0, last);
    tcase_add_test(tcase, last_release_in_a_callback_ends_all);
    tcase_add_test(tcase, much_data_reaches_a_slow_reader_with_little_memory);
    tcase_add_test(tcase, a_write_without_memory_takes_nothing);
    tcase_add_test(tcase, more_than_max_buffered_is_refused_whole);
    tcase_add_test(tcase, options_of_a_connection_bound_what_it_queues);
    tcase_add_test(tcase, an_idle_connection_is_small);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
