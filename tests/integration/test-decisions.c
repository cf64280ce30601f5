/*
 * T14: an answer to an event that is given later. A connection begins paused, and is kept; another
 * thread decides whether it is accepted or refused, whenever it likes, and posts the decision to
 * the loop. Nobody waits for it meanwhile.
 */
#include "util.h"

#include <string.h>

#define MOST 16

/* A connection that waits for its decision, and the decision. */
struct guest {
    sockref_conn *conn;
    bool is_welcome;
    atomic_int status; /* that the decision was carried out with; 1: not yet */
};

static struct guest guests[MOST];
static atomic_int guest_count, open_count, data_count;
static atomic_int order[MOST], carried_out; /* numbers of guests, as decisions were carried out */
static int undecided;                       /* how many connections wait for a decision */
static atomic_int stops;

/* The first ones wait, and all others are accepted at once. */
static void on_connection(sockref_conn *conn, void *user)
{
    int number = atomic_load(&guest_count);

    (void)user;
    atomic_fetch_add(&open_count, 1);
    if (number == undecided) {
        sockref_conn_resume(conn);
        return;
    }
    guests[number].conn = sockref_conn_acquire(conn);
    atomic_store(&guests[number].status, 1);
    atomic_store(&guest_count, number + 1);
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)user;
    atomic_fetch_add(&data_count, 1);
    if (sockref_conn_write(conn, data, length) < 0)
        sockref_conn_destroy(conn);
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    (void)conn, (void)had_error, (void)user;
    atomic_fetch_sub(&open_count, 1);
}

static void on_stop(void *user)
{
    (void)user;
    atomic_fetch_add(&stops, 1);
}

static const sockref_conn_options paused = {.size = sizeof paused, .flags = SOCKREF_CONN_PAUSED};
static const sockref_handlers handlers = {.size = sizeof handlers,
                                          .on_connection = on_connection,
                                          .on_data = on_data,
                                          .on_close = on_close,
                                          .on_stop = on_stop,
                                          .options = &paused};

/* On the loop's thread. */
static void carry_out(int status, void *user)
{
    struct guest *guest = user;

    if (status == 0 && guest->is_welcome)
        status = sockref_conn_resume(guest->conn);
    else if (status == 0)
        sockref_conn_reset(guest->conn);
    sockref_conn_release(guest->conn);
    atomic_store(&order[atomic_fetch_add(&carried_out, 1)], (int)(guest - guests));
    atomic_store(&guest->status, status);
}

static void decide(int number, sockref_loop *loop, bool is_welcome)
{
    guests[number].is_welcome = is_welcome;
    ck_assert_int_eq(sockref_loop_post(loop, carry_out, &guests[number]), 0);
}

static void begin_case(void)
{
    setup();
    undecided = 6;
    atomic_store(&guest_count, 0);
    atomic_store(&open_count, 0);
    atomic_store(&data_count, 0);
    atomic_store(&carried_out, 0);
    atomic_store(&stops, 0);
}

static int dial_and_send(const char *text)
{
    int fd = dial(path);

    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    return fd;
}

/* What comes is this, and nothing more. */
static void expect_text(int fd, const char *text)
{
    char buffer[64];
    size_t length = 0;

    while (length < strlen(text)) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        ssize_t got;

        ck_assert_msg(poll(&item, 1, PATIENCE_MS) == 1, "after \"%.*s\" nothing comes", (int)length,
                      buffer);
        got = recv(fd, buffer + length, sizeof buffer - length, 0);
        ck_assert_int_gt(got, 0);
        length += (size_t)got;
    }
    ck_assert_uint_eq(length, strlen(text));
    ck_assert_int_eq(memcmp(buffer, text, length), 0);
}

static void expect_reset(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char byte;

    ck_assert_int_eq(poll(&item, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(recv(fd, &byte, 1, 0), -1);
    ck_assert_int_eq(errno, ECONNRESET);
}

static bool is_silent(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, 0) == 0;
}

static void *decide_in_reverse(void *user)
{
    for (int number = undecided - 1; number >= 0; number--)
        decide(number, user, number % 2 == 0);
    return NULL;
}

/* The library's own loop serves; a thread of the program decides. */
START_TEST(t14_decisions_come_late_and_in_another_order)
{
    sockref *ref = start(NULL, path);
    int fds[MOST], other;
    pthread_t decider;

    ck_assert_int_eq(sockref_serve(ref, &handlers, NULL), 0);
    for (int i = 0; i < undecided; i++) {
        char text[16];

        snprintf(text, sizeof text, "guest %d", i);
        fds[i] = dial_and_send(text);
        WAIT_UNTIL(atomic_load(&guest_count) == i + 1); /* so that they come in this order */
    }
    /* Meanwhile others are served. */
    other = dial_and_send("other");
    expect_text(other, "other");
    for (int i = 0; i < undecided; i++)
        ck_assert(is_silent(fds[i]));
    ck_assert_int_eq(atomic_load(&data_count), 1);

    ck_assert_int_eq(pthread_create(&decider, NULL, decide_in_reverse, NULL), 0);
    for (int i = 0; i < undecided; i++) {
        char text[16];

        snprintf(text, sizeof text, "guest %d", i);
        if (i % 2 == 0)
            expect_text(fds[i], text);
        else
            expect_reset(fds[i]);
    }
    pthread_join(decider, NULL);
    WAIT_UNTIL(atomic_load(&carried_out) == undecided);
    for (int i = 0; i < undecided; i++) {
        ck_assert_int_eq(atomic_load(&order[i]), undecided - 1 - i);
        ck_assert_int_eq(atomic_load(&guests[i].status), 0);
    }
    ck_assert_int_eq(send(other, "!", 1, MSG_NOSIGNAL), 1);
    expect_text(other, "!");
    ck_assert_int_eq(send(fds[0], "more", 4, MSG_NOSIGNAL), 4);
    expect_text(fds[0], "more");
    WAIT_UNTIL(atomic_load(&open_count) == 1 + undecided / 2);
    close(other);
    for (int i = 0; i < undecided; i++)
        close(fds[i]);
    sockref_release(ref);
    WAIT_UNTIL(atomic_load(&stops) == 1);
}
END_TEST

/* All are posted, and that thread is gone, before the loop has its next turn. */
START_TEST(t14_who_decides_does_not_wait_for_the_loop)
{
    sockref *ref = start(NULL, path);
    sockref_loop *loop;
    pthread_t decider;
    int fds[MOST];

    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, NULL), 0);
    for (int i = 0; i < undecided; i++)
        fds[i] = dial_and_send("hello");
    DISPATCH_UNTIL(loop, atomic_load(&guest_count) == undecided);
    ck_assert_int_eq(pthread_create(&decider, NULL, decide_in_reverse, loop), 0);
    ck_assert_int_eq(pthread_join(decider, NULL), 0);
    ck_assert_int_eq(atomic_load(&carried_out), 0);
    DISPATCH_UNTIL(loop, atomic_load(&carried_out) == undecided &&
                             atomic_load(&data_count) == undecided / 2);
    for (int i = 0; i < undecided; i++) {
        if (i % 2 == 0)
            expect_text(fds[i], "hello");
        else
            expect_reset(fds[i]);
        close(fds[i]);
    }
    sockref_release(ref);
    sockref_loop_free(loop);
    ck_assert_int_eq(atomic_load(&stops), 1);
}
END_TEST

/* What it has sent is there all the same, and then its end. */
START_TEST(t14_a_client_that_does_not_wait_is_heard)
{
    sockref *ref = start(NULL, path);
    sockref_loop *loop;
    int fd;

    undecided = 1;
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, NULL), 0);
    fd = dial_and_send("hello");
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    DISPATCH_UNTIL(loop, atomic_load(&guest_count) == 1);
    close(fd);
    for (int i = 0; i < 5; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
    ck_assert_int_eq(atomic_load(&open_count), 1); /* nothing is heard before it is accepted */
    decide(0, loop, true);
    DISPATCH_UNTIL(loop, atomic_load(&open_count) == 0);
    ck_assert_int_eq(atomic_load(&data_count), 1);
    sockref_release(ref);
    sockref_loop_free(loop);
}
END_TEST

/* The name has ended, and its connections with it: whoever decides is told. */
START_TEST(t14_a_decision_that_comes_too_late_is_told)
{
    sockref *ref = start(NULL, path);
    sockref_loop *loop;
    int fds[2];

    undecided = 2;
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, NULL), 0);
    for (int i = 0; i < 2; i++)
        fds[i] = dial_and_send("hello");
    DISPATCH_UNTIL(loop, atomic_load(&guest_count) == 2);
    sockref_release(ref);
    DISPATCH_UNTIL(loop, atomic_load(&stops) == 1);
    decide(0, loop, true);
    DISPATCH_UNTIL(loop, atomic_load(&carried_out) == 1);
    ck_assert_int_eq(atomic_load(&guests[0].status), SOCKREF_ECLOSED);
    decide(1, loop, true);
    sockref_loop_free(loop);
    ck_assert_int_ne(atomic_load(&guests[1].status), 1);
    ck_assert_int_lt(atomic_load(&guests[1].status), 0);
    ck_assert_int_eq(atomic_load(&data_count), 0);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("decisions");
    TCase *tcase = tcase_create("decisions");

    tcase_add_checked_fixture(tcase, begin_case, teardown);
    tcase_add_test(tcase, t14_decisions_come_late_and_in_another_order);
    tcase_add_test(tcase, t14_who_decides_does_not_wait_for_the_loop);
    tcase_add_test(tcase, t14_a_client_that_does_not_wait_is_heard);
    tcase_add_test(tcase, t14_a_decision_that_comes_too_late_is_told);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, argc, argv, NULL);
}
