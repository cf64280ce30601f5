/* One address after the other, and the time there is: src/net/connect.c. J36. */
#include "test-connect-helpers.h"

/* ---- attempts ---- */

/* RFC 8305: they go on beside each other, and the first to connect wins. */
START_TEST(a_late_attempt_may_win)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    add_address(SOCKREF_FAMILY_IPV4, 3);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blblb") == 0);
    ck_assert_int_eq(last_failure, -ETIMEDOUT);
    answer((unsigned)_i, 0);
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_str_eq(record.events, "blblbOY");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(is_given_up((unsigned)i), i != _i);
    end(conn);
    ck_assert_int_eq(atomic_load(&script_calls), 0);
}
END_TEST

/* Their events come in one turn: the second one's is of an attempt that is closed. */
START_TEST(two_attempts_may_be_answered_at_once)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    if (_i & 2)
        destroy_at = "O";
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(0, _i & 1 ? ECONNREFUSED : 0);
    answer(1, 0);
    DRIVE_UNTIL(strchr(record.events, 'O'));
    ck_assert_int_eq(record.errors, 0);
    end(conn);
}
END_TEST

/* To two addresses, and a pause of 10 ms between them. */
static sockref_conn *begin_two(void)
{
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    return begin("tcp:4.test:80");
}

START_TEST(both_may_fail_at_once)
{
    sockref_conn *conn = begin_two();

    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(0, ENETUNREACH);
    answer(1, ECONNRESET);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "blbffXZS");
    ck_assert(record.status == -ENETUNREACH || record.status == -ECONNRESET);
    ck_assert_int_eq(record.status, last_failure);
    sockref_conn_release(conn);
}
END_TEST

/* The next one need not wait for the delay. */
START_TEST(a_failure_begins_the_next_attempt)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 1000000;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    answer(0, EHOSTUNREACH);
    DRIVE_UNTIL(strcmp(record.events, "bfb") == 0);
    ck_assert_int_eq(last_failure, -EHOSTUNREACH);
    answer(1, 0);
    DRIVE_UNTIL(strcmp(record.events, "bfbOY") == 0);
    end(conn);
}
END_TEST

START_TEST(an_older_failure_leaves_the_newest_its_delay)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 50;
    for (unsigned port = 1; port <= 3; port++)
        add_address(SOCKREF_FAMILY_IPV4, port);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strncmp(record.events, "blb", 3) == 0);
    answer(0, ECONNREFUSED);
    DRIVE_UNTIL(strchr(record.events, 'f') && tried[2]);
    /* The third begins when the second is late, whenever the first failed. */
    ck_assert_msg(strcmp(record.events, "blbflb") == 0 || strcmp(record.events, "blblbf") == 0,
                  "%s", record.events);
    end(conn);
}
END_TEST

START_TEST(the_status_is_that_of_the_last_to_fail)
{
    sockref_conn *conn = begin_two();

    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(1, ECONNREFUSED);
    DRIVE_UNTIL(strcmp(record.events, "blbf") == 0);
    drive_all();
    ck_assert_int_eq(record.errors, 0);
    answer(0, ENETUNREACH);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "blbffXZS");
    ck_assert_int_eq(record.status, -ENETUNREACH);
    ck_assert_ptr_nonnull(strstr(message, "127.0.0.1:1"));
    sockref_conn_release(conn);
}
END_TEST

START_TEST(one_by_one_gives_up_who_is_late)
{
    sockref_conn *conn;

    options.flags = SOCKREF_CONNECT_ONE_BY_ONE;
    conn = begin_two();
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    ck_assert(is_given_up(0));
    for (int i = 0; i < 3; i++) /* the last one has all the time there is */
        ck_assert_int_ge(sockref_loop_dispatch(loop, 20), 0);
    ck_assert_str_eq(record.events, "blb");
    answer(1, _i ? ECONNREFUSED : 0);
    DRIVE_UNTIL(strchr(record.events, _i ? 'S' : 'Y'));
    ck_assert_str_eq(record.events, _i ? "blbfXZS" : "blbOY");
    end(conn);
}
END_TEST

START_TEST(first_only_has_no_next)
{
    sockref_conn *conn;

    options.flags = SOCKREF_CONNECT_FIRST_ONLY;
    conn = begin_two();
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 20), 0);
    ck_assert_str_eq(record.events, "b");
    answer(0, ECONNREFUSED);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfXZS");
    sockref_conn_release(conn);
}
END_TEST

/* In the order they have, and with the name's port where they have none. */
START_TEST(addresses_that_are_known_are_tried_as_they_are)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    if (harness_has_v6())
        add_address(SOCKREF_FAMILY_IPV6, free_port());
    add_address(SOCKREF_FAMILY_IPV4, free_port());
    add_address(SOCKREF_FAMILY_IPV4, 0);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    expect_echo(harness_text("tcp:none.test:%u", port_of(ref)),
                options.address_count == 4 ? "bfbfbOYD" : "bfbOYD");
    ck_assert_str_eq(tried, options.address_count == 4 ? "644" : "44");
    ck_assert_int_eq(atomic_load(&script_calls), 0);
    sockref_release(ref);
}
END_TEST

/* An older program's addresses are shorter, all of them. */
START_TEST(addresses_have_the_size_they_say)
{
    const size_t size = offsetof(sockref_address, host) + 16;
    sockref *ref = echo_at("tcp:127.0.0.1:0");
    unsigned char old[2 * sizeof(sockref_address)];

    add_address(SOCKREF_FAMILY_IPV4, free_port());
    add_address(SOCKREF_FAMILY_IPV4, port_of(ref));
    addresses[0].size = addresses[1].size = size;
    memcpy(old, &addresses[0], size);
    memcpy(old + size, &addresses[1], size);
    memcpy(addresses, old, 2 * size);
    expect_echo("tcp:none.test:1", "bfbOYD");
    sockref_release(ref);
}
END_TEST

/* ---- the time there is ---- */

START_TEST(the_time_includes_the_lookup)
{
    options.timeout_ms = 20;
    expect_failure("tcp:slow.4.test:80", -ETIMEDOUT, "XZS");
    ck_assert_ptr_nonnull(strstr(message, "20 milliseconds"));
    script_let_go(1);
}
END_TEST

static sockref_conn *asked;
static uint64_t asked_ns;

static void connect_after_long_work(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)data;
    (void)length;
    (void)user;
    poll(NULL, 0, 60);
    asked_ns = sr_clock_ns();
    asked = begin("tcp:4.test:80");
    sockref_conn_destroy(conn);
}

/* Not with the turn, which may have begun long before. */
START_TEST(the_time_begins_when_it_is_asked_for)
{
    const sockref_conn_options timed = {.size = sizeof timed, .timeout_ms = 100000};
    const sockref_handlers busy = {
        .size = sizeof busy, .on_data = connect_after_long_work, .options = &timed};
    int fds[2];

    options.timeout_ms = 50;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    harness_assert_ok(sockref_adopt(loop, fds[1], &busy, NULL, NULL));
    send_text(fds[0], "x");
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_uint_ge(sr_clock_ns() - asked_ns, options.timeout_ms * 1000000u);
    sockref_conn_release(asked);
    close(fds[0]);
}
END_TEST

START_TEST(the_time_includes_the_attempts)
{
    options.timeout_ms = 60;
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    expect_failure("tcp:4.test:80", -ETIMEDOUT, "blbXZS");
    ck_assert(is_given_up(0) && is_given_up(1));
}
END_TEST

/* One that has failed already is no answer. */
START_TEST(the_time_includes_the_attempts_that_are_left)
{
    options.timeout_ms = 60;
    options.attempt_delay_ms = 10000;
    add_address(SOCKREF_FAMILY_IPV4, free_port());
    add_address(SOCKREF_FAMILY_IPV4, 1);
    expect_failure("tcp:4.test:80", -ETIMEDOUT, "bfbXZS");
    ck_assert(is_given_up(0));
}
END_TEST

#define MANY 80 /* more than a turn takes */

static int busy_closed;

static void destroy_with_data(sockref_conn *self, const void *data, size_t length, void *user)
{
    (void)data;
    (void)length;
    (void)user;
    sockref_conn_destroy(self);
}

static void count_closed(sockref_conn *self, bool had_error, void *user)
{
    (void)self;
    (void)user;
    ck_assert(!had_error);
    busy_closed++;
}

/* The loop stood still, and when it goes on many others are before the one that was answered. */
START_TEST(an_answer_that_waits_for_its_turn_has_come_in_time)
{
    const sockref_handlers busy = {
        .size = sizeof busy, .on_data = destroy_with_data, .on_close = count_closed};
    int fds[MANY][2];
    sockref_conn *late;

    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
        harness_assert_ok(sockref_adopt(loop, fds[i][1], &busy, NULL, NULL));
    }
    drive_all();
    if (_i == 0) {
        options.timeout_ms = 1000000;
    } else {
        options.attempt_delay_ms = 1000000;
        options.flags = SOCKREF_CONNECT_ONE_BY_ONE;
        add_address(SOCKREF_FAMILY_IPV4, 2);
    }
    add_address(SOCKREF_FAMILY_IPV4, 1);
    late = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    for (int i = 0; i < MANY; i++)
        send_text(fds[i][0], "x");
    answer(_i ? 1 : 0, 0);
    ck_assert_ptr_null(loop->timers.first->child);
    sr_timer_add(&loop->timers, loop->timers.first, 1); /* the only one: it is due long since */
    DRIVE_UNTIL(record.stops == 1 || strchr(record.events, 'Y'));
    ck_assert_str_eq(record.events, "bOY");
    DRIVE_UNTIL(busy_closed == MANY);
    end(late);
    for (int i = 0; i < MANY; i++)
        close(fds[i][0]);
}
END_TEST

START_TEST(a_connection_that_is_made_has_no_time_limit)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");
    sockref_conn *conn;

    options.timeout_ms = 1000;
    conn = begin(sockref_path(ref));
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_ptr_null(loop->timers.first);
    end(conn);
    sockref_release(ref);
}
END_TEST

/* As a blocking connect() would wait. */
START_TEST(a_full_queue_is_waited_for)
{
    sockref *ref;
    int listener = fill_queue(&ref), fd;
    sockref_conn *conn = begin(path);

    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 5), 0);
    ck_assert_str_eq(record.events, "b");
    while ((fd = accept(listener, NULL, NULL)) >= 0)
        close(fd);
    DRIVE_UNTIL(strchr(record.events, 'Y') || record.errors);
    ck_assert_str_eq(record.events, "bOY");
    end(conn);
    sockref_release(ref);
}
END_TEST

static int refusals;

static int have_no_room(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)fd;
    (void)address;
    (void)size;
    refusals++;
    errno = EAGAIN;
    return -1;
}

START_TEST(a_full_queue_is_asked_again_within_50_ms)
{
    sockref_conn *conn;

    sr_sys.connect = have_no_room;
    conn = begin(path);
    while (refusals < 8) {
        ck_assert_int_ge(sockref_loop_dispatch(loop, 5), 0);
        ck_assert_uint_le(sr_timer_next(&loop->timers), sr_clock_ns() + 50000000u);
    }
    sr_sys.connect = connect;
    end(conn);
}
END_TEST

START_TEST(a_full_queue_is_waited_for_no_longer_than_asked)
{
    sockref *ref;

    fill_queue(&ref);
    options.timeout_ms = 30;
    expect_failure(path, -ETIMEDOUT, "bXZS");
    sockref_release(ref);
}
END_TEST

/* The listener goes while its queue is full. */
START_TEST(a_full_queue_may_end)
{
    sockref *ref;
    sockref_conn *conn;

    fill_queue(&ref);
    conn = begin(path);
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfXZS");
    ck_assert_int_eq(record.status, -ENOENT);
    sockref_conn_release(conn);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connect-attempts");
    TCase *tcase = tcase_create("connect-attempts");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, a_late_attempt_may_win, 0, 3);
    tcase_add_loop_test(tcase, two_attempts_may_be_answered_at_once, 0, 4);
    tcase_add_test(tcase, both_may_fail_at_once);
    tcase_add_test(tcase, a_failure_begins_the_next_attempt);
    tcase_add_test(tcase, an_older_failure_leaves_the_newest_its_delay);
    tcase_add_test(tcase, the_status_is_that_of_the_last_to_fail);
    tcase_add_loop_test(tcase, one_by_one_gives_up_who_is_late, 0, 2);
    tcase_add_test(tcase, first_only_has_no_next);
    tcase_add_test(tcase, addresses_that_are_known_are_tried_as_they_are);
    tcase_add_test(tcase, addresses_have_the_size_they_say);
    tcase_add_test(tcase, the_time_includes_the_lookup);
    tcase_add_test(tcase, the_time_begins_when_it_is_asked_for);
    tcase_add_test(tcase, the_time_includes_the_attempts);
    tcase_add_test(tcase, the_time_includes_the_attempts_that_are_left);
    tcase_add_loop_test(tcase, an_answer_that_waits_for_its_turn_has_come_in_time, 0, 2);
    tcase_add_test(tcase, a_connection_that_is_made_has_no_time_limit);
    tcase_add_test(tcase, a_full_queue_is_waited_for);
    tcase_add_test(tcase, a_full_queue_is_asked_again_within_50_ms);
    tcase_add_test(tcase, a_full_queue_is_waited_for_no_longer_than_asked);
    tcase_add_test(tcase, a_full_queue_may_end);
    return run_suite(suite);
}
