/* What registries, names and loops count: src/ref/stats.c, src/net/traffic.c. G39, G41, T15. */
#include "test-loop-helpers.h"

#include "harness/faults.h"
#include "harness/harness.h"
#include "net/loop.h"
#include "ref/state.h"

#include <pthread.h>
#include <sockref/stats.h>
#include <stdatomic.h>

static sockref_registry *registry, *other;
static struct record record;

static void begin_case(void)
{
    setup();
    memset(&record, 0, sizeof record);
    harness_assert_ok(sockref_registry_new(NULL, &registry));
    harness_assert_ok(sockref_registry_new(NULL, &other));
}

static void end_case(void)
{
    sockref_registry_free(registry);
    sockref_registry_free(other);
    teardown();
}

static sockref_registry_stats counted(sockref_registry *of)
{
    sockref_registry_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_registry_get_stats(of, &stats));
    return stats;
}

static sockref_stats counted_of(const sockref *ref)
{
    sockref_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_get_stats(ref, &stats));
    return stats;
}

static sockref_loop_stats counted_in(const sockref_loop *of)
{
    sockref_loop_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_loop_get_stats(of, &stats));
    return stats;
}

/* The counters as text: created, joined, reused, failed | closed, revoked | removed, not removed,
 * deferred. */
static const char *counts_of(sockref_registry *of)
{
    sockref_registry_stats stats = counted(of);
    static char text[128];

    ck_assert_uint_eq(stats.removal.count, stats.removed + stats.remove_failed);
    snprintf(text, sizeof text, "%d %d %d %d | %d %d | %d %d %d", (int)stats.created,
             (int)stats.joined, (int)stats.reused, (int)stats.failed, (int)stats.closed,
             (int)stats.revoked, (int)stats.removed, (int)stats.remove_failed, (int)stats.deferred);
    return text;
}

static sockref *listen_in(sockref_registry *in)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(in, path, NULL, &ref));
    return ref;
}

/* ---- registries ---- */

START_TEST(g39_a_life_is_counted_at_its_ends)
{
    sockref *ref = listen_in(registry), *again;

    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    again = listen_in(registry);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(sockref_acquire(ref));
    sockref_release(again);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 1 0 | 1 0 0");
    ck_assert_uint_gt(counted(registry).removal.sum_ns, 0);
    ck_assert_int_eq(counted(registry).last_remove_status, 0);
    ck_assert_str_eq(counts_of(other), "0 0 0 0 | 0 0 | 0 0 0");
}
END_TEST

/* Names that have no file, and those that nobody has started. */
START_TEST(g39_every_kind_of_name_is_counted)
{
    sockref *ref;
    int fd = harness_bind(path);

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &ref));
    sockref_release(ref);
    harness_assert_ok(
        sockref_registry_listen(registry, harness_text("@%s/a", directory), NULL, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 2 0 | 2 0 0");
    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 2 0 | 2 0 0");
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 3 0 | 3 0 0");
    harness_assert_ok(sockref_registry_get_or_create(registry, path, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 3 0 | 3 0 0");
}
END_TEST

START_TEST(g39_joining_is_counted_and_what_becomes_of_it)
{
    sockref *owner = listen_in(registry), *joiner = listen_in(other);

    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 0 0 | 0 0 0");
    sockref_release(joiner);
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 1 0 | 1 0 0");
    joiner = listen_in(other);
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 1 | 1 0 0");
    WAIT_UNTIL(!sockref_is_active(joiner));
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 2 0 0 | 1 1 | 2 0 0");
    sockref_release(owner);
    sockref_release(joiner);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 1 | 1 0 0");
}
END_TEST

static int outcome, outcomes;

static void note_start(int status, sockref *ref, void *user)
{
    (void)user;
    outcome = status;
    outcomes++;
    sockref_release(ref);
}

static sockref_options *on_the_loop(void)
{
    sockref_options *options;

    options = harness_options(0);
    harness_assert_ok(sockref_options_set_loop(options, loop));
    return options;
}

START_TEST(g39_starts_that_fail_or_are_cancelled_are_counted)
{
    sockref_options *options = on_the_loop();
    char nowhere[128];
    sockref *ref;

    snprintf(nowhere, sizeof nowhere, "%s/none/s.sock", directory);
    ck_assert_int_lt(sockref_registry_listen(registry, nowhere, NULL, &ref), 0);
    ck_assert_str_eq(counts_of(registry), "0 0 0 1 | 0 0 | 0 0 0");
    harness_assert_ok(
        sockref_registry_start_listener(registry, nowhere, options, note_start, NULL));
    DRIVE_UNTIL(outcomes == 1);
    ck_assert_int_lt(outcome, 0);
    ck_assert_str_eq(counts_of(registry), "0 0 0 2 | 0 0 | 0 0 0");
    /* This one is bound by the call itself, and given back. */
    harness_assert_ok(sockref_registry_start_listener(registry, path, options, note_start, NULL));
    harness_assert_ok(sockref_registry_cancel_start(registry, note_start, NULL));
    DRIVE_UNTIL(outcomes == 2);
    ck_assert_int_eq(outcome, SOCKREF_ECANCELED);
    ck_assert_str_eq(counts_of(registry), "1 0 0 3 | 1 0 | 1 0 0");
    harness_assert_ok(sockref_registry_start_listener(registry, path, options, note_start, NULL));
    DRIVE_UNTIL(outcomes == 3);
    ck_assert_int_eq(outcome, 0);
    ck_assert_str_eq(counts_of(registry), "2 0 0 3 | 2 0 | 2 0 0");
    sockref_options_free(options);
}
END_TEST

START_TEST(g39_revocations_are_counted)
{
    sockref *ref = listen_in(registry), *unbound;
    uint64_t count;

    harness_assert_ok(
        sockref_registry_get_or_create(registry, harness_text("%s/unbound", directory), &unbound));
    harness_assert_ok(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 2 | 1 0 0");
    sockref_release(ref);
    sockref_release(unbound);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 2 | 1 0 0");
    ref = listen_in(registry);
    harness_assert_fails(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 0 3 | 2 0 0");
    sockref_release(ref);
}
END_TEST

/* D14 */
START_TEST(d14_a_removal_that_fails_is_counted_and_its_error_kept)
{
    sockref *ref = listen_in(registry);

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EROFS);
    sockref_release(ref);
    ck_assert(faults_struck());
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 0 1 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EROFS);
    ref = listen_in(registry);
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EACCES);
    ck_assert_int_eq(sockref_registry_cleanup(registry, path), -EACCES);
    faults_clear();
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "2 0 0 0 | 1 1 | 0 2 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EACCES);
    sockref_release(listen_in(registry)); /* goes well, and the error is kept */
    ck_assert_str_eq(counts_of(registry), "3 0 0 0 | 2 1 | 1 2 0");
    ck_assert_int_eq(counted(registry).last_remove_status, -EACCES);
}
END_TEST

START_TEST(g39_an_end_that_waits_is_counted_as_deferred)
{
    sockref *owner = listen_in(registry), *joiner = listen_in(other);

    sockref_release(owner); /* the worker passes the listener on */
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 1 0 1");
    WAIT_UNTIL(sockref_is_owner(joiner));
    sockref_release(joiner);
    harness_assert_ok(sockref_registry_drain(other, PATIENCE_MS));
    ck_assert_str_eq(counts_of(other), "0 1 0 0 | 1 0 | 1 0 0");
}
END_TEST

START_TEST(g39_a_cleanup_delay_ends_a_name_once)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 3600000, 0);
    uint64_t before;
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(registry, path, options, &ref));
    sockref_release(ref);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    ref = listen_in(registry);
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 0 0 | 0 0 0");
    sockref_release(ref);
    before = sr_clock_ns();
    harness_assert_ok(sockref_registry_cleanup(registry, path));
    ck_assert_str_eq(counts_of(registry), "1 0 1 0 | 1 0 | 1 0 0");
    ck_assert_uint_le(counted(registry).removal.sum_ns, sr_clock_ns() - before);
    sockref_options_free(options);
}
END_TEST

#define HOUR_NS 3600000000000u

/* As if the last release had come an hour before. Returns false while the name is looked at. */
static bool age_release(sockref *entry)
{
    bool lingers;

    sr_mutex_lock(&registry->mutex);
    lingers = sr_word_state(atomic_load(&entry->word)) == SR_LINGER;
    if (lingers)
        entry->rest->life->ending_ns -= HOUR_NS;
    sr_mutex_unlock(&registry->mutex);
    return lingers;
}

START_TEST(g39_a_name_that_goes_on_for_others_ends_once)
{
    sockref *owner = listen_in(registry), *joiner;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    joiner = listen_in(other);
    sockref_release(owner);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    WAIT_UNTIL(age_release(owner));
    sockref_release(joiner);
    WAIT_UNTIL(counted(registry).closed == 1);
    ck_assert_uint_lt(counted(registry).removal.sum_ns, HOUR_NS);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 1 0 | 1 0 0");
}
END_TEST

/* ---- histograms ---- */

START_TEST(a_time_is_noted_by_the_first_bound_that_it_does_not_pass)
{
    struct sr_histogram histogram = {0};
    sockref_histogram read = {0};
    uint64_t bound = 1000;

    for (int i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++, bound *= 4) {
        sr_histogram_note(&histogram, bound);
        sr_histogram_note(&histogram, bound + 1);
    }
    sr_histogram_note(&histogram, 0);
    sr_histogram_read(&histogram, &read);
    ck_assert_uint_eq(read.count, 2 * SOCKREF_HISTOGRAM_BUCKETS + 1);
    ck_assert_uint_eq(read.buckets[0], 2);
    for (int i = 1; i < SOCKREF_HISTOGRAM_BUCKETS; i++)
        ck_assert_uint_eq(read.buckets[i], 2);
    ck_assert_uint_eq(read.sum_ns, 2 * ((bound - 1000) / 3) + SOCKREF_HISTOGRAM_BUCKETS);
    sr_histogram_read(&histogram, &read); /* is added */
    ck_assert_uint_eq(read.count, 2 * (2 * SOCKREF_HISTOGRAM_BUCKETS + 1));
}
END_TEST

/* ---- arguments ---- */

START_TEST(sizes_are_checked_and_smaller_ones_filled_only_so_far)
{
    struct {
        sockref_registry_stats stats;
        uint64_t behind;
    } wide = {.behind = 7};
    sockref_loop_stats in_loop = {.size = sizeof in_loop + 1};
    sockref_stats of_ref = {.size = 0};
    sockref *ref = listen_in(registry);

    harness_assert_fails(sockref_registry_get_stats(registry, NULL), -EINVAL);
    harness_assert_fails(sockref_registry_get_stats(registry, &wide.stats), -EINVAL);
    wide.stats.size = sizeof wide.stats + 1;
    harness_assert_fails(sockref_registry_get_stats(registry, &wide.stats), -EINVAL);
    wide.stats.size = offsetof(sockref_registry_stats, joined);
    wide.stats.joined = 77;
    harness_assert_ok(sockref_registry_get_stats(registry, &wide.stats));
    ck_assert_uint_eq(wide.stats.created, 1);
    ck_assert_uint_eq(wide.stats.joined, 77);
    ck_assert_uint_eq(wide.stats.size, offsetof(sockref_registry_stats, joined));
    harness_assert_fails(sockref_loop_get_stats(loop, NULL), -EINVAL);
    harness_assert_fails(sockref_loop_get_stats(loop, &in_loop), -EINVAL);
    in_loop.size = 0;
    harness_assert_fails(sockref_loop_get_stats(NULL, &in_loop), -EINVAL);
    in_loop.size = offsetof(sockref_loop_stats, pending);
    in_loop.pending = 77;
    harness_assert_ok(sockref_loop_get_stats(loop, &in_loop));
    ck_assert_uint_eq(in_loop.pending, 77);
    harness_assert_fails(sockref_get_stats(ref, &of_ref), -EINVAL);
    of_ref.size = sizeof of_ref + 1;
    harness_assert_fails(sockref_get_stats(ref, &of_ref), -EINVAL);
    harness_assert_fails(sockref_get_stats(ref, NULL), -EINVAL);
    harness_assert_fails(sockref_get_stats(NULL, &of_ref), -EINVAL);
    of_ref.size = offsetof(sockref_stats, connections);
    of_ref.connections = 77;
    harness_assert_ok(sockref_get_stats(ref, &of_ref));
    ck_assert_uint_eq(of_ref.references, 1);
    ck_assert_uint_eq(of_ref.connections, 77);
    ck_assert_uint_eq(wide.behind, 7);
    sockref_release(ref);
}
END_TEST

START_TEST(null_is_the_default_registry_and_a_shut_one_still_tells)
{
    uint64_t before = counted(NULL).created;

    sockref_release(listen_in(NULL));
    ck_assert_uint_eq(counted(NULL).created, before + 1);
    sockref_release(listen_in(registry));
    harness_assert_ok(sockref_registry_shutdown(registry, 0));
    ck_assert_uint_eq(counted(registry).closed, 1);
}
END_TEST

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

static int ran;

static void run(int status, void *user)
{
    (void)status;
    (void)user;
    ran++;
}

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

/* ---- others ---- */

static int count_in_child(void *arg)
{
    sockref *ref = arg;
    sockref_registry_stats stats = {.size = sizeof stats};
    sockref_loop_stats in_loop = {.size = sizeof in_loop};
    sockref_stats of_ref = {.size = sizeof of_ref};
    char text[64];

    if (sockref_registry_get_stats(registry, &stats) != SOCKREF_EFORKED)
        return 1;
    if (sockref_get_stats(ref, &of_ref) != SOCKREF_EFORKED)
        return 2;
    if (sockref_loop_get_stats(loop, &in_loop) != SOCKREF_EFORKED)
        return 3;
    if (sockref_registry_write_metrics(registry, text, sizeof text) != SOCKREF_EFORKED)
        return 4;
    if (sockref_registry_get_stats(NULL, &stats) < 0 || stats.created + stats.closed > 0)
        return 5;
    if (sockref_loop_get_stats(NULL, &in_loop) < 0 || in_loop.callbacks + in_loop.pending > 0)
        return 6;
    sockref_release(listen_in(NULL));
    return counted(NULL).created == 1 && counted(NULL).closed == 1 ? 0 : 7;
}

START_TEST(g39_a_forked_child_counts_its_own)
{
    sockref *ref;

    harness_assert_ok(
        sockref_registry_listen(registry, harness_text("%s/parent", directory), NULL, &ref));
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    sockref_loop_free(loop); /* what it counted is kept, here */
    ck_assert_int_eq(ran, 1);
    harness_assert_ok(sockref_loop_new(&loop));
    harness_assert_ok(sockref_loop_post(loop, run, NULL));
    ck_assert_int_eq(harness_in_child(count_in_child, ref), 0);
    ck_assert_uint_eq(counted_in(loop).pending, 1);
    ck_assert_str_eq(counts_of(registry), "1 0 0 0 | 0 0 | 0 0 0");
    sockref_release(ref);
}
END_TEST

#define LIVES 40

static void live_and_look(unsigned number, void *arg)
{
    sockref_registry_stats last = {0}, now;
    char own[128];
    sockref *ref;

    (void)arg;
    snprintf(own, sizeof own, "%s/%u", directory, number / 2);
    for (int i = 0; i < LIVES; i++) {
        harness_assert_ok(sockref_registry_listen(registry, own, NULL, &ref));
        sockref_serve(ref, sockref_echo_handlers(), NULL);
        harness_assert_ok(sockref_loop_post(NULL, run, NULL));
        counted_in(NULL);
        counted_of(ref);
        sockref_release(ref);
        now = counted(registry);
        ck_assert_uint_ge(now.created, last.created);
        ck_assert_uint_ge(now.removal.count, last.removal.count);
        last = now;
    }
}

START_TEST(g39_counts_of_many_threads_add_up)
{
    sockref_registry_stats stats;

    harness_in_threads(4, live_and_look, NULL);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    stats = counted(registry);
    ck_assert_uint_eq(stats.created + stats.reused, 4 * LIVES);
    ck_assert_uint_eq(stats.created, stats.closed);
    ck_assert_uint_eq(stats.removed, stats.closed);
    ck_assert_uint_eq(stats.removal.count, stats.removed);
    ck_assert_uint_eq(counted_in(NULL).pending, 0);
}
END_TEST

/* The library's thread serves, and this one looks. */
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
    Suite *suite = suite_create("stats");
    TCase *tcase = tcase_create("stats");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, g39_a_life_is_counted_at_its_ends);
    tcase_add_test(tcase, g39_every_kind_of_name_is_counted);
    tcase_add_test(tcase, g39_joining_is_counted_and_what_becomes_of_it);
    tcase_add_test(tcase, g39_starts_that_fail_or_are_cancelled_are_counted);
    tcase_add_test(tcase, g39_revocations_are_counted);
    tcase_add_test(tcase, d14_a_removal_that_fails_is_counted_and_its_error_kept);
    tcase_add_test(tcase, g39_an_end_that_waits_is_counted_as_deferred);
    tcase_add_test(tcase, g39_a_cleanup_delay_ends_a_name_once);
    tcase_add_test(tcase, g39_a_name_that_goes_on_for_others_ends_once);
    tcase_add_test(tcase, a_time_is_noted_by_the_first_bound_that_it_does_not_pass);
    tcase_add_test(tcase, sizes_are_checked_and_smaller_ones_filled_only_so_far);
    tcase_add_test(tcase, null_is_the_default_registry_and_a_shut_one_still_tells);
    tcase_add_test(tcase, g41_bytes_are_counted_in_both_directions);
    tcase_add_test(tcase, g41_bytes_that_waited_are_counted_when_they_go);
    tcase_add_test(tcase, g41_a_service_counts_from_its_beginning);
    tcase_add_test(tcase, g41_what_is_not_served_here_tells_its_references);
    tcase_add_test(tcase, g41_connections_beyond_the_limit_are_counted_as_refused);
    tcase_add_test(tcase, g41_who_is_turned_away_without_a_descriptor_is_refused);
    tcase_add_test(tcase, g41_only_connections_that_were_made_have_a_latency);
    tcase_add_test(tcase, g41_what_a_loop_counted_outlives_it);
    tcase_add_test(tcase, t15_callbacks_are_counted_also_those_of_the_end);
    tcase_add_test(tcase, t15_what_waits_is_told_with_its_age);
    tcase_add_test(tcase, t15_results_of_starts_wait_and_mere_steps_do_not);
    tcase_add_test(tcase, t15_a_start_that_waits_itself_keeps_nobody_waiting);
    tcase_add_test(tcase, t15_calls_of_watches_wait_too);
    tcase_add_test(tcase, t15_a_loop_that_is_not_dispatched_is_starving);
    tcase_add_test(tcase, t15_what_stands_behind_a_call_that_runs_waits);
    tcase_add_test(tcase, g39_a_forked_child_counts_its_own);
    tcase_add_test(tcase, g39_counts_of_many_threads_add_up);
    tcase_add_test(tcase, g41_another_thread_reads_while_a_loop_counts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
