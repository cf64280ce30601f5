/* Memory that is lent to a connection, and when it is given back: src/net/conn_write.c,
 * src/net/outbuf.c */
#include "counted-sends.h"
#include "test-conn-helpers.h"

#include "harness/faults.h"

#define MOST 64

static struct {
    int count;
    int statuses[MOST];
    int order[MOST];
    bool inside; /* a call of ours is under way */
} told;

static void told_written(int status, void *user)
{
    ck_assert(!told.inside);
    ck_assert_int_lt(told.count, MOST);
    ck_assert_int_eq(record.closes, 0);
    told.statuses[told.count] = status;
    told.order[told.count++] = (int)(intptr_t)user;
}

static int lend(const void *data, size_t length, int number)
{
    int status;

    told.inside = true;
    status = sockref_conn_write_own(conn, data, length, told_written, (void *)(intptr_t)number);
    told.inside = false;
    return status;
}

static void setup_ready(void)
{
    setup();
    adopt_recording(unix_pair, NULL);
    DRIVE_UNTIL(count_of('Y') == 1);
}

START_TEST(what_the_socket_takes_at_once_is_told_in_the_next_turn)
{
    ck_assert_int_eq(lend("lent", 4, 1), 0);
    ck_assert_int_eq(told.count, 0);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    DRIVE_UNTIL(told.count == 1);
    ck_assert_int_eq(told.statuses[0], 0);
    expect_text("lent");
    drive_all();
    ck_assert_int_eq(told.count, 1);
}
END_TEST

static void write_mixed(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    (void)self;
    if (event != 'D')
        return;
    ck_assert_int_eq(sockref_conn_write(conn, "a", 1), 0);
    ck_assert_int_eq(lend("bb", 2, 1), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "c", 1), 0);
    ck_assert_int_eq(lend(NULL, 0, 2), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "d", 1), 0);
    ck_assert_int_eq(lend("eee", 3, 3), 0);
}

START_TEST(copies_and_lent_pieces_keep_their_order_in_two_calls)
{
    record.hook = write_mixed;
    begin_counting_sends();
    send_text(peer, "go");
    expect_text("abbcdeee");
    DRIVE_UNTIL(told.count == 3);
    end_counting_sends();
    ck_assert_int_eq(sends, 1); /* the first of the turn */
    ck_assert_int_eq(sendmsgs, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(told.order[i], i + 1);
        ck_assert_int_eq(told.statuses[i], 0);
    }
}
END_TEST

START_TEST(a_large_one_is_sent_from_where_it_lies)
{
    static unsigned char much[8 << 20], got[sizeof much];
    size_t had = 0;
    uint64_t queued, until = deadline();
    ssize_t length;

    for (size_t i = 0; i < sizeof much; i++)
        much[i] = (unsigned char)(i * 7 + i / 251);
    ck_assert_int_eq(lend(much, sizeof much, 1), SOCKREF_WRITE_FULL);
    drive_all();
    sockref_conn_bytes(conn, NULL, NULL, &queued);
    ck_assert_uint_gt(queued, 0);
    ck_assert_int_eq(told.count, 0);
    while (had < sizeof got) {
        ck_assert(sr_clock_ns() < until);
        length = peek_some(peer, got + had, sizeof got - had);
        had += length > 0 ? (size_t)length : 0;
        if (had < sizeof got)
            sockref_loop_dispatch(loop, 0);
    }
    DRIVE_UNTIL(told.count == 1 && record.drains == 1);
    ck_assert_int_eq(told.statuses[0], 0);
    ck_assert_int_eq(memcmp(much, got, sizeof got), 0);
    ck_assert_uint_eq(details().bytes_written, sizeof much);
}
END_TEST

/* ---- the ends at which it comes back unsent ---- */

static void lend_unsent(void)
{
    fill_until_full(conn);
    ck_assert_int_eq(lend("one", 3, 1), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(lend(NULL, 0, 2), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(lend("two", 3, 3), SOCKREF_WRITE_FULL);
    drive_all();
    ck_assert_int_eq(told.count, 0);
}

static void check_all_told(int status)
{
    ck_assert_int_eq(told.count, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(told.order[i], i + 1);
        ck_assert_int_eq(told.statuses[i], status);
    }
}

START_TEST(destroy_gives_it_back_cancelled_before_on_close)
{
    lend_unsent();
    sockref_conn_destroy(conn);
    ck_assert_int_eq(told.count, 0);
    DRIVE_UNTIL(record.closes == 1);
    check_all_told(SOCKREF_ECANCELED);
}
END_TEST

START_TEST(a_failure_gives_it_back_with_its_reason)
{
    lend_unsent();
    close_peer();
    DRIVE_UNTIL(record.closes == 1);
    ck_assert(record.had_error);
    check_all_told(record.status);
}
END_TEST

START_TEST(freeing_the_loop_gives_it_back)
{
    lend_unsent();
    sockref_loop_free(loop);
    loop = NULL;
    check_all_told(SOCKREF_ECANCELED);
    ck_assert_str_eq(record.events + strlen(record.events) - 2, "ZS");
    sockref_conn_release(conn);
    conn = NULL;
    close_peer();
}
END_TEST

START_TEST(lent_to_a_broken_connection_it_comes_back_with_the_reason)
{
    close_peer();
    ck_assert_int_eq(lend("lost", 4, 1), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(lend("late", 4, 2), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(told.count, 0);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(told.count, 2);
    ck_assert_int_eq(told.statuses[0], -EPIPE);
    ck_assert_int_eq(told.statuses[1], -EPIPE);
    ck_assert_int_eq(lend("dead", 4, 3), SOCKREF_ECLOSED);
}
END_TEST

/* The third call meets the end of the peer when it sends what is queued. */
static void break_with_a_queue(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    (void)self;
    if (event != 'D')
        return;
    ck_assert_int_eq(lend("sent", 4, 1), 0);
    ck_assert_int_eq(lend("queued", 6, 2), 0);
    close_peer();
    ck_assert_int_eq(lend(block, sizeof block, 3), SOCKREF_WRITE_FULL);
    ck_assert_int_eq(lend(NULL, 0, 4), SOCKREF_WRITE_FULL);
}

START_TEST(a_failure_gives_all_back_in_their_order)
{
    record.hook = break_with_a_queue;
    send_text(peer, "x");
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(told.count, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(told.order[i], i + 1);
        ck_assert_int_eq(told.statuses[i], i == 0 ? 0 : -EPIPE);
    }
}
END_TEST

/* ---- limits and arguments ---- */

START_TEST(it_counts_for_the_limit_of_buffered_bytes)
{
    static char large[17 << 20];
    int status;

    ck_assert_int_eq(lend(large, sizeof large, 1), SOCKREF_ELIMIT);
    do {
        status = lend(large, 1 << 20, 2);
    } while (status >= 0);
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    ck_assert_int_eq(sockref_conn_write(conn, large, 2 << 20), SOCKREF_ELIMIT);
    ck_assert_uint_le(details().buffered, 16 << 20);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    for (int i = 0; i < told.count; i++)
        ck_assert_int_eq(told.order[i], 2);
}
END_TEST

START_TEST(wrong_arguments_take_nothing)
{
    ck_assert_int_eq(sockref_conn_write_own(NULL, "x", 1, told_written, NULL), -EINVAL);
    ck_assert_int_eq(sockref_conn_write_own(conn, "x", 1, NULL, NULL), -EINVAL);
    ck_assert_int_eq(lend(NULL, 1, 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    ck_assert_int_eq(lend("x", 1, 1), SOCKREF_ECLOSED);
    drive_all();
    ck_assert_int_eq(told.count, 0);
}
END_TEST

START_TEST(without_memory_nothing_is_taken)
{
    for (uint64_t nth = 1; nth <= 2; nth++) {
        int before = told.count, status;

        if (nth == 2)
            fill_until_full(conn);
        faults_install();
        faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
        status = lend("x", 1, 1);
        faults_clear();
        ck_assert_int_eq(status, -ENOMEM);
        ck_assert_int_eq(told.count, before);
    }
    drive_all();
    ck_assert_int_eq(told.count, 0);
    ck_assert_int_eq(record.errors, 0);
}
END_TEST

/* ---- what its callback may do ---- */

static int again;

static void lend_again(int status, void *user)
{
    (void)user;
    ck_assert_int_eq(status, 0);
    if (again-- > 0)
        ck_assert_int_eq(sockref_conn_write_own(conn, NULL, 0, lend_again, NULL), 0);
}

START_TEST(its_callback_may_lend_again_without_starving_the_loop)
{
    again = 1000;
    ck_assert_int_eq(sockref_conn_write_own(conn, NULL, 0, lend_again, NULL), 0);
    ck_assert_int_le(sockref_loop_dispatch(loop, 0), 300);
    ck_assert_int_gt(again, 0);
    DRIVE_UNTIL(again < 0);
}
END_TEST

static void destroy_there(int status, void *user)
{
    told_written(status, user);
    sockref_conn_destroy(conn);
}

START_TEST(destroyed_in_its_callback_all_others_still_come)
{
    ck_assert_int_eq(sockref_conn_write_own(conn, "1", 1, destroy_there, (void *)1), 0);
    ck_assert_int_eq(sockref_conn_write_own(conn, "2", 1, destroy_there, (void *)2), 0);
    fill_until_full(conn);
    ck_assert_int_eq(sockref_conn_write_own(conn, "3", 1, destroy_there, (void *)3),
                     SOCKREF_WRITE_FULL);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(told.count, 3);
    ck_assert_int_eq(told.statuses[0], 0);
    ck_assert_int_eq(told.statuses[1], 0);
    ck_assert_int_eq(told.statuses[2], SOCKREF_ECANCELED);
    ck_assert_str_eq(record.events, "YZS");
}
END_TEST

START_TEST(destroyed_in_its_callback_a_failure_is_told_no_more)
{
    lend_unsent();
    ck_assert_int_eq(sockref_conn_write_own(conn, "4", 1, destroy_there, (void *)4),
                     SOCKREF_WRITE_FULL);
    close_peer();
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(told.count, 4);
    ck_assert_int_eq(record.errors, 0);
    ck_assert(!record.had_error);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("written");
    TCase *tcase = tcase_create("written");

    tcase_add_checked_fixture(tcase, setup_ready, teardown_adopted);
    tcase_add_test(tcase, what_the_socket_takes_at_once_is_told_in_the_next_turn);
    tcase_add_test(tcase, copies_and_lent_pieces_keep_their_order_in_two_calls);
    tcase_add_test(tcase, a_large_one_is_sent_from_where_it_lies);
    tcase_add_test(tcase, destroy_gives_it_back_cancelled_before_on_close);
    tcase_add_test(tcase, a_failure_gives_it_back_with_its_reason);
    tcase_add_test(tcase, freeing_the_loop_gives_it_back);
    tcase_add_test(tcase, lent_to_a_broken_connection_it_comes_back_with_the_reason);
    tcase_add_test(tcase, a_failure_gives_all_back_in_their_order);
    tcase_add_test(tcase, it_counts_for_the_limit_of_buffered_bytes);
    tcase_add_test(tcase, wrong_arguments_take_nothing);
    tcase_add_test(tcase, without_memory_nothing_is_taken);
    tcase_add_test(tcase, its_callback_may_lend_again_without_starving_the_loop);
    tcase_add_test(tcase, destroyed_in_its_callback_all_others_still_come);
    tcase_add_test(tcase, destroyed_in_its_callback_a_failure_is_told_no_more);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
