/* Time-outs of inactivity: src/net/conn_options.c */
#include "test-conn-helpers.h"

#include <sys/wait.h>

static void setup_ready(void)
{
    setup();
    adopt_recording(unix_pair, NULL);
    DRIVE_UNTIL(count_of('Y') == 1);
}

START_TEST(silence_is_told_again_and_again)
{
    uint64_t began = sr_clock_ns();

    ck_assert_int_eq(sockref_conn_set_timeout(conn, 20), 0);
    DRIVE_UNTIL(timeouts == 1);
    ck_assert_uint_ge(sr_clock_ns() - began, 20 * 1000000u);
    DRIVE_UNTIL(timeouts == 3);
    ck_assert_uint_ge(sr_clock_ns() - began, 60 * 1000000u);
    ck_assert_int_eq(record.closes, 0);
}
END_TEST

START_TEST(the_lent_descriptor_tells_of_it)
{
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 20), 0);
    drive_all();
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    DRIVE_UNTIL(timeouts > 0);
}
END_TEST

/* A host that waits on the descriptor has nothing else that would make it look at the timers. */
START_TEST(it_is_told_of_one_that_was_set_between_turns)
{
    drive_all();
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 20), 0);
    while (timeouts == 0) {
        ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
        ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
    }
}
END_TEST

/* Each trip begins the time anew; so a time-out may only come where one of them took too long. */
static void keep_busy(bool incoming)
{
    uint64_t end = sr_clock_after_ms(400), last = sr_clock_ns(), longest = 0, now;
    char byte;

    ck_assert_int_eq(sockref_conn_set_timeout(conn, 200), 0);
    do {
        if (incoming) {
            send_text(peer, "x");
        } else {
            ck_assert_int_eq(sockref_conn_write(conn, "x", 1), 0);
            ck_assert_int_eq(recv(peer, &byte, 1, 0), 1);
        }
        ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);
        now = sr_clock_ns();
        if (now - last > longest)
            longest = now - last;
        last = now;
    } while (now < end);
    if (longest < 100 * 1000000u)
        ck_assert_int_eq(timeouts, 0);
    DRIVE_UNTIL(timeouts > 0);
}

START_TEST(bytes_that_come_begin_it_anew)
{
    keep_busy(true);
}
END_TEST

START_TEST(bytes_that_go_begin_it_anew)
{
    keep_busy(false);
}
END_TEST

#define LONG_MS 300 /* what a callback takes */

static bool was_long;
static struct record *late; /* of the one that was read after that */
static uint64_t late_ns;

/* The first that is read in a turn keeps the loop. */
static void keep_the_loop(struct record *r, char event, sockref_conn *self)
{
    (void)self;
    if (event != 'D')
        return;
    if (was_long) {
        late = r;
        late_ns = sr_clock_ns();
        return;
    }
    was_long = true;
    poll(NULL, 0, LONG_MS);
}

/* Its bytes came late in a long turn, but they came. */
START_TEST(a_turn_that_takes_long_is_no_silence)
{
    struct record other = {.hook = keep_the_loop};
    sockref_handlers handlers = recording_all();
    sockref_conn *second;
    int fds[2];

    record.hook = keep_the_loop;
    unix_pair(fds);
    ck_assert_int_eq(sockref_adopt(loop, fds[1], &handlers, &other, &second), 0);
    DRIVE_UNTIL(strchr(other.events, 'Y'));
    ck_assert_int_eq(sockref_conn_set_timeout(conn, LONG_MS - 50), 0);
    ck_assert_int_eq(sockref_conn_set_timeout(second, LONG_MS - 50), 0);
    send_text(peer, "x");
    send_text(fds[0], "x");
    DRIVE_UNTIL(late);
    if (sr_clock_ns() - late_ns < LONG_MS * 1000000u / 2)
        ck_assert_ptr_null(strchr(late->events, 'T'));
    sockref_conn_destroy(second);
    DRIVE_UNTIL(other.stops == 1);
    sockref_conn_release(second);
    close(fds[0]);
}
END_TEST

#define MANY 150 /* more than a turn takes */

static void destroy_with_data(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    if (event == 'D')
        sockref_conn_destroy(self);
}

/* Nor is it one where the loop stood still, and more came meanwhile than a turn takes. */
START_TEST(what_waits_for_its_turn_is_no_silence)
{
    const sockref_conn_options timed = {.size = sizeof timed, .timeout_ms = 20};
    struct record many = {.hook = destroy_with_data};
    sockref_handlers handlers = recording_all();
    int fds[MANY][2], before;

    handlers.options = &timed;
    for (int i = 0; i < MANY; i++) {
        unix_pair(fds[i]);
        ck_assert_int_eq(sockref_adopt(loop, fds[i][1], &handlers, &many, NULL), 0);
    }
    drive_all();
    before = timeouts;
    for (int i = 0; i < MANY; i++)
        send_text(fds[i][0], "x");
    poll(NULL, 0, 30);
    DRIVE_UNTIL(many.stops == MANY);
    ck_assert_uint_eq(many.bytes, MANY);
    ck_assert_int_eq(timeouts, before);
    for (int i = 0; i < MANY; i++)
        close(fds[i][0]);
}
END_TEST

START_TEST(zero_ends_it)
{
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 10), 0);
    ck_assert_uint_eq(details().timeout_ms, 10);
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 0), 0);
    ck_assert_uint_eq(details().timeout_ms, 0);
    poll(NULL, 0, 15);
    drive_all();
    ck_assert_int_eq(timeouts, 0);
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 10), 0);
    DRIVE_UNTIL(timeouts == 1);
}
END_TEST

START_TEST(wrong_calls_are_refused)
{
    ck_assert_int_eq(sockref_conn_set_timeout(NULL, 1), -EINVAL);
    sockref_conn_destroy(conn);
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 1), SOCKREF_ECLOSED);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 1), SOCKREF_ECLOSED);
    ck_assert_uint_eq(details().timeout_ms, 0);
}
END_TEST

START_TEST(without_memory_there_is_none)
{
    int status;

    sr_sys.calloc = no_memory;
    status = sockref_conn_set_timeout(conn, 10);
    sr_sys.calloc = calloc;
    ck_assert_int_eq(status, -ENOMEM);
    ck_assert_uint_eq(details().timeout_ms, 0);
}
END_TEST

static void destroy_on_timeout(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    if (event == 'T')
        sockref_conn_destroy(self);
}

START_TEST(destroy_in_it_is_safe)
{
    record.hook = destroy_on_timeout;
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 5), 0);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_str_eq(record.events, "YTZS");
}
END_TEST

START_TEST(accepted_connections_have_that_of_the_handlers)
{
    const sockref_conn_options options = {.size = sizeof options, .timeout_ms = 15};
    struct record served = {0};
    sockref_handlers handlers = recording_all();
    sockref *ref;
    int fd;

    handlers.options = &options;
    ref = serve_here(NULL, &handlers, &served);
    fd = dial();
    DRIVE_UNTIL(strcmp(served.events, "CYT") == 0);
    sockref_release(ref);
    DRIVE_UNTIL(served.stops == 1);
    close(fd);
}
END_TEST

static int posts;
static pid_t child = -1;

static void count_post(int status, void *user)
{
    (void)user;
    posts += status == 0;
}

static void fork_on_first(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    (void)self;
    if (event != 'T' || timeouts > 1)
        return;
    ck_assert_int_eq(sockref_loop_post(loop, count_post, NULL), 0);
    child = fork();
}

/* Neither the timers that are due, nor what was posted. */
START_TEST(a_child_that_is_forked_in_it_is_told_nothing_more)
{
    sockref_handlers handlers = recording_all();
    struct record other = {0};
    sockref_conn *second;
    uint64_t due;
    int fds[2], status;

    unix_pair(fds);
    ck_assert_int_eq(sockref_adopt(loop, fds[1], &handlers, &other, &second), 0);
    drive_all();
    record.hook = other.hook = fork_on_first;
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 1), 0);
    ck_assert_int_eq(sockref_conn_set_timeout(second, 1), 0);
    due = sr_clock_after_ms(1);
    WAIT_UNTIL(sr_clock_ns() > due);
    status = sockref_loop_dispatch(loop, 0);
    ck_assert_int_ge(child, 0);
    if (child == 0)
        _exit(status == SOCKREF_EFORKED && timeouts == 1 && posts == 0 ? 0 : 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(timeouts, 2);
    ck_assert_int_eq(posts, 1);
    sockref_conn_destroy(second);
    DRIVE_UNTIL(other.stops == 1);
    sockref_conn_release(second);
    close(fds[0]);
}
END_TEST

static int settings;

static int counting_settime(int fd, int flags, const struct itimerspec *value,
                            struct itimerspec *old)
{
    settings++;
    return timerfd_settime(fd, flags, value, old);
}

/* Traffic only notes its time: what it costs is no system call. */
START_TEST(traffic_moves_no_timer_of_the_system)
{
    ck_assert_int_eq(sockref_conn_set_timeout(conn, 100000), 0);
    drive_all();
    sr_sys.timerfd_settime = counting_settime;
    for (unsigned i = 1; i <= 100; i++) {
        send_text(peer, "x");
        DRIVE_UNTIL(record.bytes == i);
    }
    sr_sys.timerfd_settime = timerfd_settime;
    ck_assert_int_eq(settings, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timeout");
    TCase *tcase = tcase_create("timeout");

    tcase_add_checked_fixture(tcase, setup_ready, teardown_adopted);
    tcase_add_test(tcase, silence_is_told_again_and_again);
    tcase_add_test(tcase, the_lent_descriptor_tells_of_it);
    tcase_add_test(tcase, it_is_told_of_one_that_was_set_between_turns);
    tcase_add_test(tcase, bytes_that_come_begin_it_anew);
    tcase_add_test(tcase, bytes_that_go_begin_it_anew);
    tcase_add_test(tcase, a_turn_that_takes_long_is_no_silence);
    tcase_add_test(tcase, what_waits_for_its_turn_is_no_silence);
    tcase_add_test(tcase, zero_ends_it);
    tcase_add_test(tcase, wrong_calls_are_refused);
    tcase_add_test(tcase, without_memory_there_is_none);
    tcase_add_test(tcase, destroy_in_it_is_safe);
    tcase_add_test(tcase, accepted_connections_have_that_of_the_handlers);
    tcase_add_test(tcase, a_child_that_is_forked_in_it_is_told_nothing_more);
    tcase_add_test(tcase, traffic_moves_no_timer_of_the_system);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
