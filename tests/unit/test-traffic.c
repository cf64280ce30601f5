/* What loops and services count, and what waits for a loop: src/net/traffic.c. G41, T15. */
#include "test-stats-helpers.h"

#include "harness/faults.h"
#include "net/loop.h"
#include "ref/state.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- names and loops ---- */

static void send_back(sockref_conn *conn, const void *data, size_t length, void *user)
{
    record_data(conn, data, length, user);
    ck_assert_int_ge(sockref_conn_write(conn, data, length), 0);
    ck_assert_int_ge(sockref_conn_write(conn, "!", 1), 0);
}

static const sockref_handlers answering = {
    .size = sizeof answering,
    .on_connection = record_connection,
    .on_data = send_back,
    .on_close = record_close,
    .on_stop = record_stop,
};

static void stop_serving(sockref *ref)
{
    int stops = record.stops;

    sockref_release(ref);
    DRIVE_UNTIL(record.stops == stops + 1);
}

START_TEST(g41_bytes_are_counted_in_both_directions)
{
    sockref *ref = serve_here(NULL, &answering, &record);
    char big[40000] = {1}, back[sizeof big];
    size_t got = 0;
    int fd = dial();

    ck_assert_uint_eq(counted_of(ref).accepted, 0);
    send_text(fd, "five!");
    DRIVE_UNTIL(record.bytes == 5);
    drive_all();
    ck_assert_uint_eq(counted_of(ref).accepted, 1);
    ck_assert_uint_eq(counted_of(ref).connections, 1);
    ck_assert_uint_eq(counted_of(ref).bytes_read, 5);
    ck_assert_uint_eq(counted_of(ref).bytes_written, 6);
    ck_assert_uint_eq(counted_of(ref).references, 1);
    ck_assert_uint_gt(counted_of(ref).served_ns, 0);
    ck_assert_int_eq(send(fd, big, sizeof big, MSG_NOSIGNAL), (ssize_t)sizeof big);
    while (got < sizeof big + 7) {
        ssize_t length = peek_some(fd, back, sizeof back);

        got += length > 0 ? (size_t)length : 0;
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
    }
    close(fd);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_uint_eq(counted_of(ref).connections, 0);
    ck_assert_uint_eq(counted_of(ref).bytes_read, record.bytes);
    ck_assert_uint_ge(counted_of(ref).bytes_written, got);
    ck_assert_uint_eq(counted_in(loop).bytes_read, counted_of(ref).bytes_read);
    ck_assert_uint_eq(counted_in(loop).bytes_written, counted_of(ref).bytes_written);
    ck_assert_uint_eq(counted_in(loop).accepted, 1);
    ck_assert_uint_eq(counted_in(loop).refused, 0);
    stop_serving(ref);
}
END_TEST

/* What the socket did not take at once is counted when it does. */
START_TEST(g41_bytes_that_waited_are_counted_when_they_go)
{
    sockref *ref = serve_here(NULL, &recording, &record);
    size_t size = 4000000, got = 0;
    char *block = calloc(1, size);
    int fd = dial();

    DRIVE_UNTIL(record.connections == 1);
    ck_assert_int_eq(sockref_conn_write(record.conn, block, size), SOCKREF_WRITE_FULL);
    ck_assert_uint_lt(counted_of(ref).bytes_written, size);
    while (got < size) {
        ssize_t length = peek_some(fd, block, size);

        got += length > 0 ? (size_t)length : 0;
        ck_assert_uint_ge(counted_of(ref).bytes_written, got);
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
    }
    ck_assert_uint_eq(counted_of(ref).bytes_written, size);
    ck_assert_uint_eq(counted_in(loop).bytes_written, size);
    close(fd);
    free(block);
    stop_serving(ref);
}
END_TEST

START_TEST(g41_a_service_counts_from_its_beginning)
{
    sockref *ref = serve_here(NULL, &recording, &record);
    int fd = dial();

    DRIVE_UNTIL(record.connections == 1);
    ck_assert_uint_eq(counted_of(ref).accepted, 1);
    harness_assert_ok(sockref_unserve(ref, true));
    ck_assert_uint_eq(counted_of(ref).accepted, 0);
    ck_assert_uint_eq(counted_of(ref).served_ns, 0);
    DRIVE_UNTIL(record.stops == 1);
    record.stops = 0;
    harness_assert_ok(sockref_serve_on(ref, loop, &recording, &record));
    ck_assert_uint_eq(counted_of(ref).accepted, 0);
    ck_assert_uint_gt(counted_of(ref).served_ns, 0);
    ck_assert_uint_eq(counted_in(loop).accepted, 1);
    close(fd);
    stop_serving(ref);
}
END_TEST

START_TEST(g41_what_is_not_served_here_tells_its_references)
{
    sockref *owner = listen_in(registry), *joiner = listen_in(other);
    sockref_stats stats;

    sockref_acquire(joiner);
    stats = counted_of(joiner);
    ck_assert_uint_eq(stats.references, 2);
    ck_assert_uint_eq(stats.served_ns, 0);
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    stats = counted_of(owner);
    ck_assert_uint_eq(stats.references, 1);
    ck_assert_uint_eq(stats.connections + stats.accepted + stats.served_ns, 0);
    WAIT_UNTIL(!sockref_is_active(joiner));
    sockref_release(joiner);
    sockref_release(joiner);
    sockref_release(owner);
}
END_TEST

static int drops;

static void note_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    (void)local;
    (void)remote;
    (void)user;
    drops++;
}

START_TEST(g41_connections_beyond_the_limit_are_counted_as_refused)
{
    sockref_handlers handlers = recording;
    sockref_options *options;
    sockref *ref;
    int fds[3];

    handlers.on_drop = note_drop;
    options = harness_options(SOCKREF_OPT_MAX_CONNECTIONS, 1, 0);
    ref = serve_here(options, &handlers, &record);
    for (int i = 0; i < 3; i++)
        fds[i] = dial();
    DRIVE_UNTIL(drops == 2);
    ck_assert_uint_eq(counted_of(ref).accepted, 1);
    ck_assert_uint_eq(counted_of(ref).refused, 2);
    ck_assert_uint_eq(counted_in(loop).accepted, 1);
    ck_assert_uint_eq(counted_in(loop).refused, 2);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    sockref_options_free(options);
    stop_serving(ref);
}
END_TEST

START_TEST(g41_who_is_turned_away_without_a_descriptor_is_refused)
{
    sockref *ref = serve_here(NULL, &recording, &record);
    char byte;
    int fd;

    drive_all();
    fd = dial();
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_accept4), 1, EMFILE);
    DRIVE_UNTIL(counted_of(ref).refused == 1);
    faults_clear();
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    ck_assert_uint_eq(counted_of(ref).accepted, 0);
    ck_assert_uint_eq(counted_in(loop).refused, 1);
    close(fd);
    stop_serving(ref);
}
END_TEST

START_TEST(g41_who_is_closed_for_want_of_memory_is_refused)
{
    sockref *ref = serve_here(NULL, &recording, &record);
    char byte;
    int fd;

    drive_all();
    fd = dial();
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_malloc), 1, ENOMEM);
    while (!faults_struck())
        ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);
    faults_clear();
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    ck_assert_uint_eq(counted_of(ref).accepted, 0);
    ck_assert_uint_eq(counted_of(ref).refused, 1);
    ck_assert_uint_eq(counted_in(loop).refused, 1);
    close(fd);
    stop_serving(ref);
}
END_TEST

static sockref_conn *connect_to(const char *name)
{
    sockref_conn *conn;

    harness_assert_ok(sockref_connect(loop, name, NULL, &recording, &record, &conn));
    return conn;
}

static void end_connection(sockref_conn *conn)
{
    int stops = record.stops;

    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == stops + 1);
    sockref_conn_release(conn);
}

START_TEST(g41_only_connections_that_were_made_have_a_latency)
{
    sockref *ref = listen_in(registry);
    sockref_conn *conn = connect_to(harness_text("%s/none", directory));
    sockref_loop_stats stats;

    DRIVE_UNTIL(record.errors == 1);
    DRIVE_UNTIL(record.stops == 1);
    sockref_conn_release(conn);
    stats = counted_in(loop);
    ck_assert_uint_eq(stats.connect_failed, 1);
    ck_assert_uint_eq(stats.connected, 0);
    ck_assert_uint_eq(stats.connect.count, 0);
    conn = connect_to(path);
    DRIVE_UNTIL(counted_in(loop).connected == 1);
    stats = counted_in(loop);
    ck_assert_uint_eq(stats.connect_failed, 1);
    ck_assert_uint_eq(stats.connect.count, 1);
    ck_assert_uint_gt(stats.connect.sum_ns, 0);
    end_connection(conn);
    end_connection(connect_to(path)); /* one that was given up is neither */
    stats = counted_in(loop);
    ck_assert_uint_eq(stats.connected, 1);
    ck_assert_uint_eq(stats.connect_failed, 1);
    sockref_release(ref);
}
END_TEST

/* ---- all loops together ---- */

static bool has_echo_come(int fd)
{
    char byte;

    return peek_some(fd, &byte, 1) == 1;
}

START_TEST(g41_what_a_loop_counted_outlives_it)
{
    sockref_loop_stats before = counted_in(NULL), after;
    sockref *ref = listen_in(registry);
    int fd;

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    fd = dial();
    send_text(fd, "x");
    WAIT_UNTIL(has_echo_come(fd));
    ck_assert_uint_eq(counted_in(NULL).accepted, before.accepted + 1);
    close(fd);
    sockref_release(ref);
    harness_assert_ok(
        sockref_registry_drain(registry, PATIENCE_MS)); /* the service thread is gone */
    after = counted_in(NULL);
    ck_assert_uint_eq(after.accepted, before.accepted + 1);
    ck_assert_uint_eq(after.bytes_read, before.bytes_read + 1);
    ck_assert_uint_eq(after.bytes_written, before.bytes_written + 1);
    ck_assert_uint_eq(counted_in(loop).accepted, 0);
}
END_TEST

START_TEST(t15_callbacks_are_counted_also_those_of_the_end)
{
    uint64_t before = counted_in(NULL).callbacks;

    for (int i = 0; i < 3; i++)
        harness_assert_ok(sockref_loop_post(loop, run, NULL));
    DRIVE_UNTIL(ran == 3);
    ck_assert_uint_eq(counted_in(loop).callbacks, 3);
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    sockref_loop_free(loop);
    ck_assert_int_eq(ran, 4);
    ck_assert_uint_eq(counted_in(NULL).callbacks, before + 4);
    harness_assert_ok(sockref_loop_new(&loop));
    ck_assert_uint_eq(counted_in(loop).callbacks, 0);
}
END_TEST

/* ---- what waits ---- */

START_TEST(t15_what_waits_is_told_with_its_age)
{
    sockref_loop_stats stats = counted_in(loop);

    ck_assert_uint_eq(stats.pending + stats.oldest_ns + stats.newest_ns, 0);
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    WAIT_UNTIL(counted_in(loop).oldest_ns > 2000000);
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    stats = counted_in(loop);
    ck_assert_uint_eq(stats.pending, 2);
    ck_assert_uint_gt(stats.oldest_ns, stats.newest_ns + 1000000);
    ck_assert_uint_ge(counted_in(NULL).pending, 2);
    DRIVE_UNTIL(ran == 2);
    stats = counted_in(loop);
    ck_assert_uint_eq(stats.pending + stats.oldest_ns + stats.newest_ns, 0);
    ck_assert_int_eq(stats.is_starving, 0);
    ck_assert_uint_eq(stats.starved, 0);
}
END_TEST

START_TEST(t15_results_of_starts_wait_and_mere_steps_do_not)
{
    sockref_options *options = on_the_loop();
    sockref_conn *conn;
    sockref *ref;

    /* A listener and a connection that begin have tasks, and no callback waits. */
    ref = serve_here(NULL, &recording, &record);
    conn = connect_to(path);
    ck_assert_uint_eq(counted_in(loop).pending, 0);
    harness_assert_ok(sockref_registry_start_listener(NULL, path, options, note_start, NULL));
    ck_assert_uint_eq(counted_in(loop).pending, 1);
    DRIVE_UNTIL(outcomes == 1);
    ck_assert_uint_eq(counted_in(loop).pending, 0);
    /* Whoever else delivers it takes it from those that wait. */
    harness_assert_ok(sockref_registry_start_listener(registry, harness_text("%s/2", directory),
                                                      options, note_start, NULL));
    ck_assert_uint_eq(counted_in(loop).pending, 1);
    harness_assert_ok(sockref_registry_shutdown(registry, 0));
    ck_assert_int_eq(outcomes, 2);
    drive_all();
    ck_assert_uint_eq(counted_in(loop).pending, 0);
    sockref_options_free(options);
    end_connection(conn);
    stop_serving(ref);
}
END_TEST

static void *listen_elsewhere(void *unused)
{
    (void)unused;
    return listen_in(registry);
}

/* It is parked, and its loop has steps to make for it. */
START_TEST(t15_a_start_that_waits_itself_keeps_nobody_waiting)
{
    sockref_options *options = on_the_loop();
    struct faults_gate gate;
    pthread_t thread;
    void *ref;

    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, listen_elsewhere, NULL), 0);
    faults_wait_held(&gate);
    harness_assert_ok(sockref_registry_start_listener(registry, path, options, note_start, NULL));
    ck_assert_uint_eq(counted_in(loop).pending, 0);
    drive_all();
    ck_assert_int_eq(outcomes, 0);
    faults_let_go(&gate);
    ck_assert_int_eq(pthread_join(thread, &ref), 0);
    DRIVE_UNTIL(outcomes == 1);
    faults_clear();
    ck_assert_int_eq(outcome, 0);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_options_free(options);
    sockref_release(ref);
}
END_TEST

static atomic_int held, let_go, watched;

static void hold(int status, void *user)
{
    (void)status;
    (void)user;
    atomic_store(&held, 1);
    WAIT_UNTIL(atomic_load(&let_go));
}

static void note_watch(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    atomic_store(&watched, event);
}

START_TEST(t15_calls_of_watches_wait_too)
{
    sockref *ref = listen_in(registry);

    harness_assert_ok(sockref_loop_post(NULL, hold, NULL));
    WAIT_UNTIL(atomic_load(&held));
    ck_assert_uint_eq(counted_in(NULL).pending, 0); /* it runs */
    harness_assert_ok(sockref_set_watch(ref, note_watch, NULL, NULL));
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert_uint_eq(counted_in(NULL).pending, 1);
    atomic_store(&let_go, 1);
    WAIT_UNTIL(atomic_load(&watched) == SOCKREF_WATCH_LOST);
    WAIT_UNTIL(counted_in(NULL).pending == 0);
    sockref_release(ref);
}
END_TEST

/* As if the oldest had been queued earlier than it was. */
static void age_oldest(uint64_t by_ns)
{
    sr_mutex_lock(&loop->mutex);
    SR_LIST_OWNER(loop->calls.next, struct sr_call, waiting)->since_ns -= by_ns;
    sr_mutex_unlock(&loop->mutex);
}

START_TEST(t15_a_loop_that_is_not_dispatched_is_starving)
{
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    ck_assert_int_eq(counted_in(loop).is_starving, 0);
    age_oldest(1000000000);
    ck_assert_int_eq(counted_in(loop).is_starving, 1);
    ck_assert_int_eq(counted_in(NULL).is_starving, 1);
    ck_assert_uint_eq(counted_in(loop).starved, 0); /* no turn has come at all */
    DRIVE_UNTIL(ran == 2);
    ck_assert_int_eq(counted_in(loop).is_starving, 0);
    ck_assert_uint_eq(counted_in(loop).starved, 1);
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    DRIVE_UNTIL(ran == 3);
    ck_assert_uint_eq(counted_in(loop).starved, 1);
}
END_TEST

/* What a turn has taken and not yet run waits still. */
static void look_while_running(int status, void *user)
{
    (void)status;
    *(uint64_t *)user = counted_in(loop).pending;
}

START_TEST(t15_what_stands_behind_a_call_that_runs_waits)
{
    uint64_t seen = 0;

    harness_assert_ok(sockref_loop_post(loop, look_while_running, &seen));
    for (int i = 0; i < 100; i++)
        harness_assert_ok(sockref_loop_post(loop, run, NULL));
    ck_assert_uint_eq(counted_in(loop).pending, 101);
    DRIVE_UNTIL(ran == 100);
    ck_assert_uint_eq(seen, 100);
    ck_assert_uint_eq(counted_in(loop).pending, 0);
}
END_TEST

START_TEST(g41_another_thread_reads_while_a_loop_counts)
{
    sockref *ref = listen_in(registry);
    uint64_t sent = 0, seen = 0;
    char block[1000] = {1};
    int fd;

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    fd = dial();
    for (int i = 0; i < 200; i++) {
        sent += (uint64_t)send(fd, block, sizeof block, MSG_NOSIGNAL);
        ck_assert_uint_ge(counted_of(ref).bytes_read, seen);
        seen = counted_of(ref).bytes_read;
        while (peek_some(fd, block, sizeof block) > 0)
            continue;
    }
    WAIT_UNTIL(counted_of(ref).bytes_read == sent);
    close(fd);
    sockref_release(ref);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic");
    TCase *tcase = tcase_create("traffic");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, g41_bytes_are_counted_in_both_directions);
    tcase_add_test(tcase, g41_bytes_that_waited_are_counted_when_they_go);
    tcase_add_test(tcase, g41_a_service_counts_from_its_beginning);
    tcase_add_test(tcase, g41_what_is_not_served_here_tells_its_references);
    tcase_add_test(tcase, g41_connections_beyond_the_limit_are_counted_as_refused);
    tcase_add_test(tcase, g41_who_is_turned_away_without_a_descriptor_is_refused);
    tcase_add_test(tcase, g41_who_is_closed_for_want_of_memory_is_refused);
    tcase_add_test(tcase, g41_only_connections_that_were_made_have_a_latency);
    tcase_add_test(tcase, g41_what_a_loop_counted_outlives_it);
    tcase_add_test(tcase, t15_callbacks_are_counted_also_those_of_the_end);
    tcase_add_test(tcase, t15_what_waits_is_told_with_its_age);
    tcase_add_test(tcase, t15_results_of_starts_wait_and_mere_steps_do_not);
    tcase_add_test(tcase, t15_a_start_that_waits_itself_keeps_nobody_waiting);
    tcase_add_test(tcase, t15_calls_of_watches_wait_too);
    tcase_add_test(tcase, t15_a_loop_that_is_not_dispatched_is_starving);
    tcase_add_test(tcase, t15_what_stands_behind_a_call_that_runs_waits);
    tcase_add_test(tcase, g41_another_thread_reads_while_a_loop_counts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
