/* Ends of a service that is not the name's, its limit, and its count: src/net/serve.c,
 * src/net/listener.c */
#include "test-conn-helpers.h"

#include <pthread.h>
#include <stdatomic.h>

static sockref *ref;
static int clients[8];

static void setup_served(void)
{
    sockref_handlers handlers = recording_all();

    setup();
    ref = serve_here(NULL, &handlers, &record);
    memset(clients, -1, sizeof clients);
}

static void close_clients(void)
{
    for (int i = 0; i < 8; i++)
        if (clients[i] >= 0)
            close(clients[i]);
    memset(clients, -1, sizeof clients);
}

static void teardown_served(void)
{
    sockref_release(ref);
    close_clients();
    DRIVE_UNTIL(sockref_loop_hold_count(loop) == 0);
    teardown();
}

static void connect_clients(int count)
{
    for (int i = 0; i < count; i++)
        clients[i] = dial();
    DRIVE_UNTIL(record.connections == count);
}

START_TEST(unserved_with_destroy_ends_all_and_stays_active)
{
    connect_clients(2);
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    ck_assert_int_eq(record.closes, 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.closes, 2);
    ck_assert(sockref_is_active(ref));
    ck_assert_uint_eq(sockref_connection_count(ref), 0);
    ck_assert_int_eq(sockref_unserve(ref, true), SOCKREF_ENOTFOUND);
}
END_TEST

START_TEST(unserved_without_destroy_connections_go_on)
{
    char byte;

    connect_clients(2);
    ck_assert_int_eq(sockref_unserve(ref, false), 0);
    drive_all();
    ck_assert_int_eq(record.stops + record.closes, 0);
    send_text(clients[0], "x");
    DRIVE_UNTIL(record.bytes == 1);
    clients[2] = dial(); /* waits in the kernel's queue */
    drive_all();
    ck_assert_int_eq(record.connections, 2);
    close(clients[0]);
    close(clients[1]);
    clients[0] = clients[1] = -1;
    DRIVE_UNTIL(record.ends == 2);
    ck_assert_int_eq(peek_some(clients[2], &byte, 1), -1);
    sockref_loop_free(loop);
    ck_assert_int_eq(record.closes, 2);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

START_TEST(it_may_be_served_anew_at_once)
{
    struct record second = {0};
    sockref_handlers handlers = recording_all();

    connect_clients(1);
    ck_assert_int_eq(sockref_unserve(ref, false), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &second), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &second), SOCKREF_EBUSY);
    clients[1] = dial();
    DRIVE_UNTIL(second.connections == 1);
    ck_assert_uint_eq(sockref_connection_count(ref), 1);
    send_text(clients[0], "old");
    send_text(clients[1], "new");
    DRIVE_UNTIL(record.bytes == 3 && second.bytes == 3);
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    DRIVE_UNTIL(second.stops == 1);
    ck_assert_int_eq(record.stops, 0);
    sockref_loop_free(loop);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_int_eq(record.closes, 1);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

START_TEST(serving_and_unserving_in_turn_loses_no_client)
{
    const sockref_handlers *echo = sockref_echo_handlers();
    char buffer[2];

    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    DRIVE_UNTIL(record.stops == 1);
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(sockref_serve(ref, echo, NULL), 0);
        ck_assert_int_eq(sockref_unserve(ref, i % 2), 0);
    }
    ck_assert_int_eq(sockref_serve(ref, echo, NULL), 0);
    clients[0] = dial();
    send_text(clients[0], "x");
    ck_assert_int_eq(recv(clients[0], buffer, 1, 0), 1);
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    ck_assert_int_eq(recv(clients[0], buffer, 1, 0), 0);
}
END_TEST

static atomic_bool is_unserved;
static pthread_t unserver;
static int accepts;

static void *unserve_and_dial(void *arg)
{
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    clients[1] = dial();
    atomic_store(&is_unserved, true);
    return arg;
}

/* The second call would take whoever came meanwhile. Nobody comes where unserving waits for it. */
static int accept_late(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (++accepts == 2) {
        uint64_t until = sr_clock_after_ms(50);

        pthread_create(&unserver, NULL, unserve_and_dial, NULL);
        while (!atomic_load(&is_unserved) && sr_clock_ns() < until)
            poll(NULL, 0, 1);
    }
    return accept4(fd, address, length, flags);
}

START_TEST(who_comes_after_it_is_left_to_the_next_service)
{
    char byte;

    sr_sys.accept4 = accept_late;
    clients[0] = dial();
    DRIVE_UNTIL(accepts >= 2);
    sr_sys.accept4 = accept4;
    pthread_join(unserver, NULL);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.connections, 1);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    send_text(clients[1], "x");
    ck_assert_int_eq(recv(clients[1], &byte, 1, 0), 1);
}
END_TEST

START_TEST(drain_waits_for_what_is_unserved)
{
    connect_clients(1);
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    sockref_release(ref);
    ref = NULL;
    ck_assert_int_eq(sockref_registry_drain(NULL, 0),
                     SOCKREF_ETIMEOUT); /* its descriptor is open */
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(sockref_registry_drain(NULL, 0), 0);
}
END_TEST

/* Its loop has not run, and closes the descriptor later. */
START_TEST(an_address_that_was_unserved_is_free_with_its_last_reference)
{
    char name[64] = "tcp:127.0.0.1:0";
    struct record other = {0};
    sockref *served, *again;

    if (_i)
        snprintf(name, sizeof name, "@sockref-unserve-%d", (int)getpid());
    ck_assert_int_eq(sockref_registry_listen(NULL, name, NULL, &served), 0);
    snprintf(name, sizeof name, "%s", sockref_path(served));
    ck_assert_int_eq(sockref_serve_on(served, loop, &recording, &other), 0);
    drive_all();
    ck_assert_int_eq(sockref_unserve(served, true), 0);
    sockref_release(served);
    ck_assert_int_eq(sockref_registry_listen(NULL, name, NULL, &again), 0);
    ck_assert(sockref_is_owner(again));
    ck_assert_int_eq(other.stops, 0);
    sockref_release(again);
    DRIVE_UNTIL(other.stops == 1);
}
END_TEST

/* A wait that ends late keeps what it waits for, as the kernel does. */
static int poll_late(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int kept[8], found;

    for (nfds_t i = 0; i < 8; i++)
        kept[i] = i < count ? dup(fds[i].fd) : -1;
    found = poll(fds, count, timeout_ms);
    poll(NULL, 0, 50);
    for (int i = 0; i < 8; i++)
        if (kept[i] >= 0)
            close(kept[i]);
    return found;
}

/* Before the loop is there, whose thread polls. */
static void setup_late(void)
{
    sr_sys.poll = poll_late;
    setup();
}

START_TEST(an_address_is_free_when_a_wait_ends_late)
{
    struct record other = {0};
    sockref *served, *again;
    char name[64];

    ck_assert_int_eq(sockref_registry_listen(NULL, "tcp:127.0.0.1:0", NULL, &served), 0);
    snprintf(name, sizeof name, "%s", sockref_path(served));
    ck_assert_int_eq(sockref_serve_on(served, loop, &recording, &other), 0);
    drive_all();
    sockref_release(served);
    ck_assert_int_eq(sockref_registry_listen(NULL, name, NULL, &again), 0);
    sockref_release(again);
    DRIVE_UNTIL(other.stops == 1);
}
END_TEST

START_TEST(what_is_not_served_here_is_refused)
{
    sockref *named;

    ck_assert_int_eq(sockref_unserve(NULL, true), -EINVAL);
    ck_assert_int_eq(sockref_set_max_connections(NULL, 1), -EINVAL);
    ck_assert_uint_eq(sockref_connection_count(NULL), 0);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, "@sockref-test-named", &named), 0);
    ck_assert_int_eq(sockref_unserve(named, true), SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_ECLOSED);
    ck_assert_int_eq(sockref_set_max_connections(named, 1), SOCKREF_ECLOSED);
    ck_assert_uint_eq(sockref_connection_count(named), 0);
    sockref_release(named);
}
END_TEST

/* ---- the end of the name ---- */

START_TEST(outliving_connections_go_on_after_the_name)
{
    const sockref_conn_options options = {.size = sizeof options, .flags = SOCKREF_CONN_OUTLIVE};
    sockref_handlers handlers = recording_all();
    sockref *again;

    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    DRIVE_UNTIL(record.stops == 1);
    memset(&record, 0, sizeof record);
    handlers.options = &options;
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &record), 0);
    connect_clients(2);
    sockref_release(ref);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &again), 0);
    drive_all();
    ck_assert_int_eq(record.closes + record.stops, 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    for (int i = 0; i < 2; i++) {
        send_text(clients[i], "x");
        DRIVE_UNTIL(record.bytes == (uint64_t)i + 1);
    }
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(record.stops, 0);
    shutdown(clients[0], SHUT_WR);
    close(clients[1]);
    clients[1] = -1;
    DRIVE_UNTIL(record.ends >= 1);
    ref = again;
    sockref_loop_free(loop);
    ck_assert_int_eq(record.closes, 2);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

START_TEST(on_stop_follows_the_last_that_outlives)
{
    const sockref_conn_options options = {.size = sizeof options,
                                          .flags = SOCKREF_CONN_OUTLIVE | SOCKREF_CONN_AUTO_END};
    sockref_handlers handlers = recording_all();

    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    DRIVE_UNTIL(record.stops == 1);
    memset(&record, 0, sizeof record);
    handlers.options = &options;
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &record), 0);
    connect_clients(2);
    sockref_release(ref);
    ref = NULL;
    drive_all();
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(record.stops, 0);
        close(clients[i]);
        clients[i] = -1;
        DRIVE_UNTIL(record.closes == i + 1);
    }
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

/* ---- the limit, and the count ---- */

START_TEST(the_count_is_true)
{
    ck_assert_uint_eq(sockref_connection_count(ref), 0);
    connect_clients(3);
    ck_assert_uint_eq(sockref_connection_count(ref), 3);
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_uint_eq(sockref_connection_count(ref), 2);
}
END_TEST

START_TEST(a_limit_makes_the_others_wait)
{
    ck_assert_int_eq(sockref_set_max_connections(ref, 2), 0);
    connect_clients(2);
    clients[2] = dial();
    drive_all();
    ck_assert_int_eq(record.connections, 2);
    ck_assert_int_eq(sockref_set_max_connections(ref, 3), 0);
    DRIVE_UNTIL(record.connections == 3);
    ck_assert_int_eq(sockref_set_max_connections(ref, 1), 0); /* those that are there stay */
    clients[3] = dial();
    drive_all();
    ck_assert_int_eq(record.closes, 0);
    ck_assert_int_eq(record.connections, 3);
    ck_assert_int_eq(sockref_set_max_connections(ref, 0), 0);
    DRIVE_UNTIL(record.connections == 4);
}
END_TEST

static int drops;

static void count_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    (void)user;
    ck_assert_int_eq(local->family, SOCKREF_FAMILY_UNIX);
    ck_assert_str_eq(local->host, path);
    ck_assert_int_eq(remote->family, SOCKREF_FAMILY_NONE);
    drops++;
}

START_TEST(with_on_drop_they_are_closed)
{
    sockref_handlers handlers = recording_all();
    char byte;

    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    DRIVE_UNTIL(record.stops == 1);
    memset(&record, 0, sizeof record);
    handlers.on_drop = count_drop;
    ck_assert_int_eq(sockref_set_max_connections(ref, 1), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, &record), 0);
    connect_clients(1);
    clients[1] = dial();
    clients[2] = dial();
    DRIVE_UNTIL(drops == 2);
    ck_assert_int_eq(recv(clients[1], &byte, 1, 0), 0);
    ck_assert_int_eq(record.connections, 1);
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(record.closes == 1);
    clients[3] = dial();
    DRIVE_UNTIL(record.connections == 2);
    ck_assert_int_eq(drops, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unserve");
    TCase *tcase = tcase_create("unserve");

    tcase_add_checked_fixture(tcase, setup_served, teardown_served);
    tcase_add_test(tcase, unserved_with_destroy_ends_all_and_stays_active);
    tcase_add_test(tcase, unserved_without_destroy_connections_go_on);
    tcase_add_test(tcase, it_may_be_served_anew_at_once);
    tcase_add_test(tcase, serving_and_unserving_in_turn_loses_no_client);
    tcase_add_test(tcase, who_comes_after_it_is_left_to_the_next_service);
    tcase_add_test(tcase, drain_waits_for_what_is_unserved);
    tcase_add_loop_test(tcase, an_address_that_was_unserved_is_free_with_its_last_reference, 0, 2);
    tcase_add_test(tcase, what_is_not_served_here_is_refused);
    tcase_add_test(tcase, outliving_connections_go_on_after_the_name);
    tcase_add_test(tcase, on_stop_follows_the_last_that_outlives);
    tcase_add_test(tcase, the_count_is_true);
    tcase_add_test(tcase, a_limit_makes_the_others_wait);
    tcase_add_test(tcase, with_on_drop_they_are_closed);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("late");
    tcase_add_checked_fixture(tcase, setup_late, teardown);
    tcase_add_test(tcase, an_address_is_free_when_a_wait_ends_late);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
