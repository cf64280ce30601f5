/* How connections begin, how they end, and what they tell of themselves: src/net/conn_options.c,
 * src/net/conn_info.c, src/net/conn_read.c, src/net/conn.c */
#include "test-conn-helpers.h"

#include "net/conn.h"

static sockref_conn_options with(unsigned flags)
{
    return (sockref_conn_options){.size = sizeof(sockref_conn_options), .flags = flags};
}

static void adopt_with(void (*make)(int fds[2]), unsigned flags)
{
    sockref_conn_options options = with(flags);

    adopt_recording(make, &options);
    DRIVE_UNTIL(count_of('Y') == 1);
}

static int option_of(int level, int option)
{
    int value = -1;
    socklen_t length = sizeof value;

    ck_assert_int_eq(getsockopt(sockref_conn_fd(conn), level, option, &value, &length), 0);
    return value;
}

/* ---- beginnings ---- */

START_TEST(paused_it_reads_nothing_until_resumed)
{
    adopt_with(unix_pair, SOCKREF_CONN_PAUSED);
    ck_assert(details().paused);
    send_text(peer, "wait");
    drive_all();
    ck_assert_uint_eq(record.bytes, 0);
    ck_assert_int_eq(sockref_conn_resume(conn), 0);
    DRIVE_UNTIL(record.bytes == 4);
}
END_TEST

START_TEST(accepted_ones_are_paused_too)
{
    sockref_conn_options options = with(SOCKREF_CONN_PAUSED);
    sockref_handlers handlers = recording_all();
    sockref *ref;
    int fd;

    handlers.options = &options;
    ref = serve_here(NULL, &handlers, &record);
    options.flags = 0; /* they were copied */
    fd = dial();
    send_text(fd, "wait");
    DRIVE_UNTIL(count_of('Y') == 1);
    drive_all();
    ck_assert_str_eq(record.events, "CY");
    ck_assert_int_eq(sockref_conn_resume(record.conn), 0);
    DRIVE_UNTIL(record.bytes == 4);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    close(fd);
}
END_TEST

START_TEST(options_of_a_start_serve_as_well)
{
    sockref_conn_options conn_options = with(SOCKREF_CONN_PAUSED);
    sockref_options *options = sockref_options_new();
    sockref_handlers handlers = recording_all();
    sockref *ref;
    int fd;

    handlers.options = &conn_options;
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, &record), 0);
    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    conn_options.flags = 1u << 31;
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, &record), -EINVAL);
    memset(&conn_options, 0, sizeof conn_options);
    ck_assert_int_eq(sockref_registry_listen(NULL, path, options, &ref), 0);
    sockref_options_free(options);
    fd = dial();
    send_text(fd, "wait");
    DRIVE_UNTIL(count_of('Y') == 1);
    drive_all();
    ck_assert_uint_eq(record.bytes, 0);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    close(fd);
}
END_TEST

START_TEST(nodelay_and_keepalive_are_set_on_tcp)
{
    sockref_conn_options options = with(SOCKREF_CONN_NODELAY | SOCKREF_CONN_KEEPALIVE);

    options.keepalive_delay_ms = 7400;
    adopt_recording(tcp_pair, &options);
    DRIVE_UNTIL(count_of('Y') == 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_KEEPIDLE), 7);
    ck_assert_int_eq(sockref_conn_set_nodelay(conn, false), 0);
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, false, 0), 0);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 0);
}
END_TEST

START_TEST(accepted_ones_have_nodelay_and_keepalive_too)
{
    static const sockref_handlers nobody = {.size = sizeof nobody};
    sockref_conn_options options = with(SOCKREF_CONN_NODELAY | SOCKREF_CONN_KEEPALIVE);
    sockref_handlers handlers = recording_all();
    sockref *ref;

    options.keepalive_delay_ms = 7400;
    handlers.options = &options;
    ck_assert_int_eq(sockref_registry_listen(NULL, "tcp:127.0.0.1:0", NULL, &ref), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &record), 0);
    ck_assert_int_eq(sockref_connect(loop, sockref_path(ref), NULL, &nobody, NULL, NULL), 0);
    DRIVE_UNTIL(count_of('Y') == 1);
    conn = record.conn;
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_KEEPIDLE), 7);
    conn = NULL;
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1 && sockref_loop_hold_count(loop) == 0);
}
END_TEST

START_TEST(what_is_set_before_the_first_turn_is_noted)
{
    adopt_recording(tcp_pair, NULL);
    ck_assert_int_eq(sockref_conn_set_nodelay(conn, true), 0);
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, true, 1), 0);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 0);
    DRIVE_UNTIL(count_of('Y') == 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_KEEPIDLE), 1);
}
END_TEST

static void tcp_pair_with_both(int fds[2])
{
    const int one = 1;

    tcp_pair(fds);
    ck_assert_int_eq(setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    ck_assert_int_eq(setsockopt(fds[1], SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one), 0);
}

START_TEST(what_an_adopted_one_came_with_is_switched_off)
{
    adopt_recording(tcp_pair_with_both, NULL);
    ck_assert_int_eq(sockref_conn_set_nodelay(conn, false), 0);
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, false, 0), 0);
    DRIVE_UNTIL(count_of('Y') == 1);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 0);
}
END_TEST

START_TEST(the_delay_of_keepalive_is_whole_seconds)
{
    static const struct {
        unsigned delay_ms;
        int seconds;
    } rounded[] = {{1, 1}, {500, 1}, {1499, 1}, {1500, 2}, {60000, 60}, {UINT32_MAX, 32767}};

    adopt_with(tcp_pair, 0);
    for (size_t i = 0; i < sizeof rounded / sizeof rounded[0]; i++) {
        ck_assert_int_eq(sockref_conn_set_keepalive(conn, true, rounded[i].delay_ms), 0);
        ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_KEEPIDLE), rounded[i].seconds);
    }
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, true, 0), 0);
    ck_assert_int_eq(option_of(IPPROTO_TCP, TCP_KEEPIDLE), 32767);
}
END_TEST

START_TEST(a_unix_socket_needs_neither)
{
    adopt_with(unix_pair, SOCKREF_CONN_NODELAY | SOCKREF_CONN_KEEPALIVE);
    ck_assert_int_eq(sockref_conn_set_nodelay(conn, true), 0);
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, true, 100), 0);
    ck_assert_int_eq(sockref_conn_set_nodelay(NULL, true), -EINVAL);
    ck_assert_int_eq(sockref_conn_set_keepalive(NULL, true, 100), -EINVAL);
    sockref_conn_destroy(conn);
    ck_assert_int_eq(sockref_conn_set_nodelay(conn, true), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_conn_set_keepalive(conn, true, 100), SOCKREF_ECLOSED);
}
END_TEST

START_TEST(what_can_not_be_noted_is_refused)
{
    int status;

    adopt_recording(tcp_pair, NULL);
    sr_sys.calloc = no_memory;
    status = sockref_conn_set_keepalive(conn, true, 100);
    sr_sys.calloc = calloc;
    ck_assert_int_eq(status, -ENOMEM);
    DRIVE_UNTIL(count_of('Y') == 1);
    ck_assert_int_eq(option_of(SOL_SOCKET, SO_KEEPALIVE), 0);
}
END_TEST

START_TEST(the_high_water_mark_is_the_callers)
{
    sockref_conn_options options = with(0);

    options.high_water = 10;
    adopt_recording(unix_pair, &options);
    ck_assert_int_eq(sockref_conn_write(conn, "0123456789", 10), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "x", 1), SOCKREF_WRITE_FULL);
    DRIVE_UNTIL(record.drains == 1);
    ck_assert_str_eq(record.events, "YR");
}
END_TEST

/* ---- ends ---- */

static bool peer_sees_end(void)
{
    char byte;

    drive_all();
    return peek_some(peer, &byte, 1) == 0;
}

/* The second write is queued, and asks to stop; the third one sends both. */
static void fill_and_end(struct record *r, char event, sockref_conn *self)
{
    if (event != 'R' || r->drains > 1)
        return;
    ck_assert_int_eq(sockref_conn_write(self, "1", 1), 0);
    ck_assert_int_eq(sockref_conn_write(self, "23", 2), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(sockref_conn_write(self, block, 20000), 0);
    ck_assert_int_eq(sockref_conn_end(self), 0);
}

START_TEST(a_drain_is_told_of_one_that_ended_meanwhile)
{
    const sockref_conn_options low = {.size = sizeof low, .high_water = 1};

    adopt_recording(unix_pair, &low);
    record.hook = fill_and_end;
    fill_until_full(conn);
    DRIVE_UNTIL(record.drains == 2);
}
END_TEST

START_TEST(without_on_end_our_side_ends_with_the_peers)
{
    sockref_handlers handlers = recording_all();

    handlers.on_end = NULL;
    adopt_pair(unix_pair, &handlers);
    shutdown(peer, SHUT_WR);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert(peer_sees_end());
    ck_assert_str_eq(record.events, "YZS");
}
END_TEST

START_TEST(half_open_it_goes_on_without_on_end)
{
    sockref_conn_options options = with(SOCKREF_CONN_HALF_OPEN);
    sockref_handlers handlers = recording_all();

    handlers.on_end = NULL;
    handlers.options = &options;
    adopt_pair(unix_pair, &handlers);
    shutdown(peer, SHUT_WR);
    drive_all();
    ck_assert_int_eq(details().state, SOCKREF_CONN_WRITE_ONLY);
    ck_assert_int_eq(sockref_conn_write(conn, "still", 5), 0);
    expect_text("still");
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    DRIVE_UNTIL(record.closes == 1);
}
END_TEST

static void write_in_end(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    if (event == 'E')
        ck_assert_int_eq(sockref_conn_write(self, "bye", 3), 0);
}

START_TEST(auto_end_ends_after_on_end)
{
    adopt_with(unix_pair, SOCKREF_CONN_AUTO_END);
    record.hook = write_in_end;
    shutdown(peer, SHUT_WR);
    expect_text("bye");
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_str_eq(record.events, "YEZS");
}
END_TEST

START_TEST(destroy_soon_writes_what_is_queued_first)
{
    uint64_t taken, got = 0, until = deadline();

    adopt_with(unix_pair, 0);
    fill_until_full(conn);
    taken = details().bytes_written + details().buffered;
    sockref_conn_destroy_soon(conn);
    sockref_conn_destroy_soon(conn);
    ck_assert_int_eq(sockref_conn_write(conn, "x", 1), SOCKREF_ECLOSED);
    drive_all();
    ck_assert_int_eq(record.closes, 0);
    while (record.closes == 0) {
        ck_assert(sr_clock_ns() < until);
        got += drain_peer();
        sockref_loop_dispatch(loop, 0);
    }
    got += drain_peer();
    ck_assert_uint_eq(got, taken);
    ck_assert(!record.had_error);
    ck_assert(peer_sees_end());
    sockref_conn_destroy_soon(NULL);
}
END_TEST

START_TEST(reset_is_seen_by_a_tcp_peer_as_one)
{
    char byte;

    adopt_with(tcp_pair, 0);
    sockref_conn_reset(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(recv(peer, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
    sockref_conn_reset(NULL);
    sockref_conn_reset(conn);
}
END_TEST

START_TEST(reset_of_a_unix_socket_is_an_end)
{
    adopt_with(unix_pair, 0);
    sockref_conn_reset(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert(!record.had_error);
    ck_assert(peer_sees_end());
}
END_TEST

/* ---- where to read to ---- */

static char lent[16];
static size_t lent_room;
static int asked;
static bool pauses;

static void *lend_buffer(sockref_conn *self, size_t *inout_length, void *user)
{
    (void)user;
    asked++;
    ck_assert_uint_eq(*inout_length, SR_LOOP_BUFFER);
    if (pauses)
        sockref_conn_pause(self);
    if (lent_room == 0)
        return NULL;
    *inout_length = lent_room;
    return lent;
}

static const void *data_at;

static void note_where(sockref_conn *self, const void *data, size_t length, void *user)
{
    data_at = data;
    record_data(self, data, length, user);
}

static void adopt_lending(size_t room)
{
    sockref_handlers handlers = recording_all();

    handlers.on_buffer = lend_buffer;
    handlers.on_data = note_where;
    lent_room = room;
    adopt_pair(unix_pair, &handlers);
    DRIVE_UNTIL(count_of('Y') == 1);
}

START_TEST(it_is_read_to_where_the_user_says)
{
    adopt_lending(4);
    send_text(peer, "0123456789");
    DRIVE_UNTIL(record.bytes == 10);
    ck_assert_str_eq(record.events, "YDDD");
    ck_assert_str_eq(record.data, "0123456789");
    ck_assert_ptr_eq(data_at, lent);
    ck_assert_int_ge(asked, 3);
}
END_TEST

START_TEST(no_buffer_is_the_loops_own)
{
    adopt_lending(0);
    send_text(peer, "hello");
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_ptr_ne(data_at, lent);
    ck_assert_int_ge(asked, 1);
}
END_TEST

START_TEST(paused_when_asked_it_reads_nothing)
{
    adopt_lending(4);
    pauses = true;
    send_text(peer, "hello");
    DRIVE_UNTIL(asked == 1);
    drive_all();
    ck_assert_int_eq(asked, 1);
    ck_assert_uint_eq(record.bytes, 0);
    pauses = false;
    ck_assert_int_eq(sockref_conn_resume(conn), 0);
    DRIVE_UNTIL(record.bytes == 5);
}
END_TEST

/* ---- what it tells ---- */

START_TEST(info_follows_the_states)
{
    sockref_conn_details info;

    adopt_recording(unix_pair, NULL);
    info = details();
    ck_assert_int_eq(info.state, SOCKREF_CONN_OPEN);
    ck_assert(!info.connecting && !info.pending && !info.destroyed && !info.paused);
    DRIVE_UNTIL(count_of('Y') == 1);
    ck_assert_int_eq(details().state, SOCKREF_CONN_OPEN);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    ck_assert_int_eq(details().state, SOCKREF_CONN_READ_ONLY);
    sockref_conn_destroy(conn);
    ck_assert_int_eq(details().state, SOCKREF_CONN_CLOSED);
    ck_assert(details().destroyed);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(details().state, SOCKREF_CONN_CLOSED);
}
END_TEST

START_TEST(counters_are_true_also_after_the_end)
{
    uint64_t read = 9, written = 9, queued = 9;

    adopt_with(unix_pair, 0);
    send_text(peer, "12345");
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_int_eq(sockref_conn_write(conn, "123", 3), 0);
    ck_assert_int_eq(sockref_conn_try_write(conn, "1234", 4), 4);
    sockref_conn_bytes(conn, &read, &written, &queued);
    ck_assert_uint_eq(read, 5);
    ck_assert_uint_eq(written, 7);
    ck_assert_uint_eq(queued, 0);
    fill_until_full(conn);
    sockref_conn_bytes(conn, NULL, &written, &queued);
    ck_assert_uint_eq((written + queued - 7) % sizeof block, 0);
    ck_assert_uint_gt(queued, 0);
    ck_assert_int_eq(sockref_conn_try_write(conn, "x", 1), 0);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_uint_eq(drain_peer(), details().bytes_written);
    ck_assert_uint_eq(details().bytes_read, 5);
    sockref_conn_bytes(NULL, &read, &written, &queued);
    ck_assert_uint_eq(read + written + queued, 0);
}
END_TEST

START_TEST(both_addresses_of_a_tcp_connection_are_told)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;

    adopt_with(tcp_pair, 0);
    ck_assert_int_eq(getsockname(peer, (struct sockaddr *)&address, &length), 0);
    ck_assert_int_eq(details().remote.family, SOCKREF_FAMILY_IPV4);
    ck_assert_str_eq(details().remote.host, "127.0.0.1");
    ck_assert_uint_eq(details().remote.port, ntohs(address.sin_port));
    ck_assert_uint_eq(details().local.size, sizeof(sockref_address));
    ck_assert_uint_ne(details().local.port, 0);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(details().remote.family, SOCKREF_FAMILY_NONE);
}
END_TEST

START_TEST(a_smaller_struct_is_filled_as_far_as_it_goes)
{
    union {
        sockref_conn_details info;
        unsigned char bytes[sizeof(sockref_conn_details)];
    } small;

    adopt_with(unix_pair, 0);
    memset(&small, 0xa5, sizeof small);
    small.info.size = offsetof(sockref_conn_details, connecting);
    ck_assert_int_eq(sockref_conn_info(conn, &small.info), 0);
    ck_assert_int_eq(small.info.state, SOCKREF_CONN_OPEN);
    ck_assert_uint_eq(small.bytes[offsetof(sockref_conn_details, bytes_read)], 0xa5);
    small.info.size = sizeof small + 1;
    ck_assert_int_eq(sockref_conn_info(conn, &small.info), -EINVAL);
    small.info.size = 0;
    ck_assert_int_eq(sockref_conn_info(conn, &small.info), -EINVAL);
    ck_assert_int_eq(sockref_conn_info(conn, NULL), -EINVAL);
    ck_assert_int_eq(sockref_conn_info(NULL, &small.info), -EINVAL);
    ck_assert_int_eq(sockref_conn_fd(NULL), -1);
}
END_TEST

START_TEST(the_peer_of_a_unix_socket_is_known)
{
    sockref_peer who = {.size = sizeof who};

    adopt_with(unix_pair, 0);
    ck_assert_int_eq(sockref_conn_peer(conn, &who), 0);
    ck_assert_int_eq(who.pid, getpid());
    ck_assert_int_eq(who.uid, geteuid());
    ck_assert_int_eq(who.gid, getegid());
    ck_assert_int_eq(sockref_conn_peer(conn, NULL), -EINVAL);
    who.size = sizeof who + 1;
    ck_assert_int_eq(sockref_conn_peer(conn, &who), -EINVAL);
    who.size = offsetof(sockref_peer, gid); /* of a caller that does not know of it */
    who.pid = who.gid = -2;
    ck_assert_int_eq(sockref_conn_peer(conn, &who), 0);
    ck_assert_int_eq(who.pid, getpid());
    ck_assert_int_eq(who.gid, -2);
    who.size = sizeof who;
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(sockref_conn_peer(conn, &who), SOCKREF_ECLOSED);
}
END_TEST

START_TEST(the_peer_of_a_tcp_socket_is_not)
{
    sockref_peer who = {.size = sizeof who};

    adopt_with(tcp_pair, 0);
    ck_assert_int_eq(sockref_conn_peer(conn, &who), SOCKREF_EUNSUPPORTED);
    ck_assert_int_eq(sockref_conn_try_write(NULL, "x", 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_try_write(conn, NULL, 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    ck_assert_int_eq(sockref_conn_try_write(conn, "x", 1), SOCKREF_ECLOSED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-options");
    TCase *tcase = tcase_create("conn-options");

    tcase_add_checked_fixture(tcase, setup, teardown_adopted);
    tcase_add_test(tcase, paused_it_reads_nothing_until_resumed);
    tcase_add_test(tcase, accepted_ones_are_paused_too);
    tcase_add_test(tcase, options_of_a_start_serve_as_well);
    tcase_add_test(tcase, nodelay_and_keepalive_are_set_on_tcp);
    tcase_add_test(tcase, accepted_ones_have_nodelay_and_keepalive_too);
    tcase_add_test(tcase, what_is_set_before_the_first_turn_is_noted);
    tcase_add_test(tcase, what_an_adopted_one_came_with_is_switched_off);
    tcase_add_test(tcase, the_delay_of_keepalive_is_whole_seconds);
    tcase_add_test(tcase, a_unix_socket_needs_neither);
    tcase_add_test(tcase, what_can_not_be_noted_is_refused);
    tcase_add_test(tcase, the_high_water_mark_is_the_callers);
    tcase_add_test(tcase, a_drain_is_told_of_one_that_ended_meanwhile);
    tcase_add_test(tcase, without_on_end_our_side_ends_with_the_peers);
    tcase_add_test(tcase, half_open_it_goes_on_without_on_end);
    tcase_add_test(tcase, auto_end_ends_after_on_end);
    tcase_add_test(tcase, destroy_soon_writes_what_is_queued_first);
    tcase_add_test(tcase, reset_is_seen_by_a_tcp_peer_as_one);
    tcase_add_test(tcase, reset_of_a_unix_socket_is_an_end);
    tcase_add_test(tcase, it_is_read_to_where_the_user_says);
    tcase_add_test(tcase, no_buffer_is_the_loops_own);
    tcase_add_test(tcase, paused_when_asked_it_reads_nothing);
    tcase_add_test(tcase, info_follows_the_states);
    tcase_add_test(tcase, counters_are_true_also_after_the_end);
    tcase_add_test(tcase, both_addresses_of_a_tcp_connection_are_told);
    tcase_add_test(tcase, a_smaller_struct_is_filled_as_far_as_it_goes);
    tcase_add_test(tcase, the_peer_of_a_unix_socket_is_known);
    tcase_add_test(tcase, the_peer_of_a_tcp_socket_is_not);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
