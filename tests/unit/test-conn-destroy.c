/* Destroying, and all else, in callbacks: src/net/conn_turn.c */
#include "test-accepted-helpers.h"

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

int main(void)
{
    Suite *suite = suite_create("conn-destroy");
    TCase *tcase = tcase_create("conn-destroy");
    int last = (int)sizeof kinds - 1;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_pair, teardown_pair);
    tcase_add_loop_test(tcase, destroy_of_itself_in_any_callback_is_safe, 0, last);
    tcase_add_loop_test(tcase, destroy_of_another_in_any_callback_is_safe, 0, last);
    tcase_add_test(tcase, destroy_in_on_connection_is_safe);
    tcase_add_loop_test(tcase, everything_may_be_called_in_any_callback, 0, last);
    tcase_add_test(tcase, last_release_in_a_callback_ends_all);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
