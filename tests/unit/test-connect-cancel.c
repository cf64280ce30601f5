/* Connections that are destroyed before they are made: src/net/connect.c. J23, D47. */
#include "test-connect-helpers.h"

#include <sys/wait.h>

static sockref_conn *begin_silent(void)
{
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    return begin("tcp:4.test:80");
}

START_TEST(it_is_destroyed_before_it_begins)
{
    end(begin(_i ? path : "tcp:4.test:80"));
    ck_assert_str_eq(record.events, "ZS");
    ck_assert_int_eq(atomic_load(&script_calls), 0);
}
END_TEST

/* D47: under the address sanitizer, what the thread comes back to is gone. */
START_TEST(d47_it_is_destroyed_in_its_lookup)
{
    sockref_conn *conn = begin("tcp:slow.6.4.test:80");

    DRIVE_UNTIL(atomic_load(&script_running) == 1);
    end(conn);
    ck_assert_str_eq(record.events, "ZS");
    script_let_go(1);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    drive_all();
    ck_assert_str_eq(record.events, "ZS");
}
END_TEST

/* The answer and the destroying meet. */
START_TEST(d47_it_is_destroyed_with_the_answer_under_way)
{
    sockref_conn *conn = begin("tcp:slow.4.test:80");

    DRIVE_UNTIL(atomic_load(&script_running) == 1);
    script_let_go(1);
    WAIT_UNTIL(atomic_load(&script_running) == 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    end(conn);
    ck_assert_str_eq(record.events, "ZS");
}
END_TEST

START_TEST(it_is_destroyed_in_its_attempts)
{
    sockref_conn *conn = begin_silent();

    DRIVE_UNTIL(strcmp(record.events, _i ? "blb" : "b") == 0);
    end(conn);
    ck_assert_str_eq(record.events, _i ? "blbZS" : "bZS");
    ck_assert(is_given_up(0));
}
END_TEST

START_TEST(it_is_destroyed_where_a_queue_is_full)
{
    sockref *ref;
    sockref_conn *conn;

    fill_queue(&ref);
    conn = begin(path);
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    end(conn);
    ck_assert_str_eq(record.events, "bZS");
    sockref_release(ref);
}
END_TEST

static void destroy_other(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)conn;
    (void)data;
    (void)length;
    sockref_conn_destroy(*(sockref_conn **)user);
}

static const sockref_handlers destroying = {.size = sizeof destroying, .on_data = destroy_other};

/* By an event of the turn whose end would have found its time over: all of it, that of its latest
 * attempt, or that of a full queue. */
START_TEST(it_is_destroyed_when_its_time_is_over)
{
    sockref *ref = NULL;
    sockref_conn *conn, *other;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(sockref_adopt(loop, pair[0], &destroying, &conn, &other), 0);
    if (_i == 0) {
        options.timeout_ms = 10;
        add_address(SOCKREF_FAMILY_IPV4, 1);
        conn = begin("tcp:4.test:80");
    } else if (_i == 1) {
        conn = begin_silent();
    } else {
        fill_queue(&ref);
        conn = begin(path);
    }
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    ck_assert_int_eq(send(pair[1], "x", 1, MSG_NOSIGNAL), 1);
    WAIT_UNTIL(sr_timer_next(&loop->timers) <= sr_clock_ns());
    ck_assert_int_gt(sockref_loop_dispatch(loop, 0), 0);
    ck_assert_str_eq(record.events, "bZS");
    sockref_conn_release(conn);
    sockref_conn_destroy(other);
    sockref_conn_release(other);
    drive_all();
    close(pair[1]);
    sockref_release(ref);
}
END_TEST

/* In each callback there is: nothing but on_close and on_stop follows. */
static const struct {
    const char *at;
    const char *events;
} inside[] = {
    {"b", "bZS"}, {"l", "blZS"}, {"f", "blbfZS"}, {"O", "blbfOZS"}, {"Y", "blbfOYZS"},
};

START_TEST(it_is_destroyed_inside_a_callback)
{
    sockref_conn *conn;

    destroy_at = inside[_i].at;
    conn = begin_silent();
    DRIVE_UNTIL(record.stops == 1 || strcmp(record.events, "blb") == 0);
    if (record.stops == 0) {
        answer(0, ECONNREFUSED);
        DRIVE_UNTIL(record.stops == 1 || strcmp(record.events, "blbf") == 0);
    }
    if (record.stops == 0)
        answer(1, 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, inside[_i].events);
    ck_assert(!record.had_error);
    sockref_conn_release(conn);
}
END_TEST

/* The failure that is told already is told no more. */
START_TEST(it_is_destroyed_inside_the_last_failure)
{
    sockref_conn *conn;

    destroy_at = "f";
    conn = begin(harness_text("tcp:127.0.0.1:%u", free_port()));
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfZS");
    ck_assert(!record.had_error);
    sockref_conn_release(conn);
}
END_TEST

enum moment { AT_ONCE, IN_LOOKUP, IN_ATTEMPTS, IN_QUEUE, MOMENTS };

START_TEST(freeing_the_loop_cancels)
{
    sockref *ref = NULL;
    sockref_conn *conn;

    switch ((enum moment)_i) {
    case IN_LOOKUP:
        conn = begin("tcp:slow.4.test:80");
        DRIVE_UNTIL(atomic_load(&script_running) == 1);
        break;
    case IN_ATTEMPTS:
        conn = begin_silent();
        DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
        break;
    case IN_QUEUE:
        fill_queue(&ref);
        conn = begin(path);
        DRIVE_UNTIL(strcmp(record.events, "b") == 0);
        break;
    default:
        conn = begin("tcp:4.test:80");
    }
    memset(record.events, 0, sizeof record.events);
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_str_eq(record.events, "ZS");
    sockref_conn_release(conn);
    script_let_go(1);
    sockref_release(ref);
}
END_TEST

/* In a forked child the parent's connections are dead memory. */
START_TEST(a_forked_child_frees_what_it_got)
{
    sockref_conn *conn = _i ? begin_silent() : begin("tcp:slow.4.test:80");
    pid_t child;
    int status;

    DRIVE_UNTIL(_i ? strcmp(record.events, "blb") == 0 : atomic_load(&script_running) == 1);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        sockref_conn_destroy(conn);
        sockref_loop_free(loop);
        sockref_conn_release(conn);
        _exit(record.closes || record.stops);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    script_let_go(1);
    end(conn);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connect-cancel");
    TCase *tcase = tcase_create("connect-cancel");

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))
    tcase_add_checked_fixture(tcase, begin_case, end_case);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, it_is_destroyed_before_it_begins, 0, 2);
    tcase_add_test(tcase, d47_it_is_destroyed_in_its_lookup);
    tcase_add_test(tcase, d47_it_is_destroyed_with_the_answer_under_way);
    tcase_add_loop_test(tcase, it_is_destroyed_in_its_attempts, 0, 2);
    tcase_add_test(tcase, it_is_destroyed_where_a_queue_is_full);
    tcase_add_loop_test(tcase, it_is_destroyed_when_its_time_is_over, 0, 3);
    tcase_add_loop_test(tcase, it_is_destroyed_inside_a_callback, 0, COUNT(inside));
    tcase_add_test(tcase, it_is_destroyed_inside_the_last_failure);
    tcase_add_loop_test(tcase, freeing_the_loop_cancels, 0, MOMENTS);
    tcase_add_loop_test(tcase, a_forked_child_frees_what_it_got, 0, 2);
    return run_suite(suite);
}
