/* Listeners: src/net/listener.c */
#include "test-loop-helpers.h"

#include "net/loop.h"

#include <pthread.h>
#include <sys/resource.h>

#define FLOOD 60

static struct rlimit limit_before;

/* Let the process open so many descriptors more, and no others. */
static void leave_descriptors(int count)
{
    struct rlimit limit;
    int next = dup(0);

    close(next);
    getrlimit(RLIMIT_NOFILE, &limit_before);
    limit = limit_before;
    limit.rlim_cur = (rlim_t)(next + count);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void restore_descriptors(void)
{
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
}

static int pauses;

static void watch_log(const sockref_log_record *log, void *user)
{
    (void)user;
    pauses += strcmp(log->event, "accept_paused") == 0;
}

START_TEST(a_flood_beyond_the_descriptors_is_survived)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peers[FLOOD], turned_away = 0, late;
    char buffer[8];

    pauses = 0;
    ck_assert_int_eq(sockref_set_log(watch_log, NULL, NULL), 0);
    drive_all();
    for (int i = 0; i < FLOOD; i++)
        peers[i] = dial();
    leave_descriptors(10);
    DRIVE_UNTIL(pauses >= 2);
    ck_assert_int_ge(record.connections, 5);
    ck_assert_int_lt(record.connections, FLOOD);
    ck_assert(sockref_is_active(ref));
    ck_assert(sockref_is_owner(ref));
    ck_assert_int_eq(access(path, F_OK), 0);

    /* One of ours closes, and another one is accepted with its descriptor. */
    late = record.connections;
    sockref_conn_destroy(record.conn);
    DRIVE_UNTIL(record.connections > late);

    restore_descriptors();
    for (int i = 0; i < FLOOD; i++)
        shutdown(peers[i], SHUT_WR);
    for (int i = 0; i < FLOOD; i++) {
        uint64_t until = deadline();

        while (record.ends + record.closes + turned_away < FLOOD && sr_clock_ns() < until) {
            sockref_loop_dispatch(loop, 1);
            if (peek_some(peers[i], buffer, sizeof buffer) == 0)
                break;
            if (record.connections + pauses >= FLOOD)
                break;
        }
    }
    /* Whoever was not turned away, one in a pause, was accepted in the end. */
    DRIVE_UNTIL(record.connections + pauses >= FLOOD);
    for (int i = 0; i < FLOOD; i++)
        close(peers[i]);
    late = dial();
    int before = record.connections;
    DRIVE_UNTIL(record.connections > before);
    close(late);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.closes, record.connections);
    sockref_set_log(NULL, NULL, NULL);
}
END_TEST

static int accept_errno, failing_accepts;

static int failing_accept(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (failing_accepts > 0) {
        failing_accepts--;
        errno = accept_errno;
        return -1;
    }
    return accept4(fd, address, length, flags);
}

static const int accept_errors[] = {ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM};

START_TEST(an_error_of_accept_never_ends_the_listener)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int first = dial(), second = dial();

    accept_errno = accept_errors[_i];
    failing_accepts = 3;
    sr_sys.accept4 = failing_accept;
    /* Where no descriptor was left, one of the two was turned away. */
    DRIVE_UNTIL(record.connections + (accept_errno == EMFILE || accept_errno == ENFILE) >= 2);
    sr_sys.accept4 = accept4;
    close(first);
    close(second);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

START_TEST(who_comes_when_descriptors_run_out_is_turned_away)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial(), next;
    char buffer[8];

    accept_errno = EMFILE;
    failing_accepts = 1;
    sr_sys.accept4 = failing_accept;
    DRIVE_UNTIL(record.connections > 0 || peek_some(peer, buffer, sizeof buffer) == 0);
    ck_assert_int_eq(record.connections, 0);
    next = dial();
    DRIVE_UNTIL(record.connections == 1);
    sr_sys.accept4 = accept4;
    close(peer);
    close(next);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static const sockref_handlers nothing = {.size = sizeof nothing};

/* A connection of the loop that no listener accepted, with a handle. */
static sockref_conn *adopt_one(int *out_peer)
{
    sockref_conn *conn;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(sockref_adopt(loop, pair[0], &nothing, NULL, &conn), 0);
    *out_peer = pair[1];
    return conn;
}

/* Where that comes sooner than the pause could be over, it is what has ended it. It may be one of
 * the listener's, or any of the loop's. */
START_TEST(a_connection_that_ends_lets_the_next_one_in_at_once)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial(), waiting, other = -1, tries = 0;
    bool at_once = false;

    DRIVE_UNTIL(record.connections == 1);
    accept_errno = ENOBUFS;
    sr_sys.accept4 = failing_accept;
    while (!at_once) {
        sockref_conn *adopted = _i == 1 ? adopt_one(&other) : NULL;
        int accepted = record.connections;
        uint64_t before;

        ck_assert_int_lt(tries++, 100);
        drive_all();
        failing_accepts = 1;
        waiting = dial();
        before = sr_clock_ns();
        while (failing_accepts > 0) /* without waiting: no callback comes of it */
            ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
        sockref_conn_destroy(adopted ? adopted : record.conn);
        DRIVE_UNTIL(record.connections > accepted);
        at_once = sr_clock_ns() < before + 10000000u;
        if (adopted)
            close(other);
        sockref_conn_release(adopted);
        close(peer);
        peer = waiting;
    }
    sr_sys.accept4 = accept4;
    close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

#define SERVED 3

static int starving_fd;

static int accept_elsewhere(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (fd != starving_fd)
        return accept4(fd, address, length, flags);
    errno = ENOBUFS;
    return -1;
}

/* Whichever of the loop's listeners it is that waits. */
START_TEST(a_connection_that_ends_lets_another_listener_go_on_at_once)
{
    struct record records[SERVED];
    sockref *refs[SERVED];
    char paths[SERVED][sizeof path], first[sizeof path];
    int peers[SERVED], waiting, tries = 0;
    bool at_once = false;

    memset(records, 0, sizeof records);
    strcpy(first, path);
    for (int i = 0; i < SERVED; i++) {
        snprintf(paths[i], sizeof paths[i], "%s/%d.sock", directory, i);
        strcpy(path, paths[i]);
        refs[i] = serve_here(NULL, &recording, &records[i]);
        peers[i] = dial();
    }
    for (int i = 0; i < SERVED; i++)
        DRIVE_UNTIL(records[i].connections == 1);
    starving_fd = sockref_fd(refs[_i]);
    strcpy(path, paths[_i]);
    while (!at_once) {
        const int ended = (_i + 1) % SERVED;
        uint64_t before;

        ck_assert_int_lt(tries++, 100);
        drive_all();
        sr_sys.accept4 = accept_elsewhere;
        waiting = dial();
        before = sr_clock_ns();
        while (loop->paused == 0)
            ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
        sr_sys.accept4 = accept4;
        sockref_conn_destroy(records[ended].conn);
        DRIVE_UNTIL(records[_i].connections == 1 + tries);
        at_once = sr_clock_ns() < before + 10000000u;
        ck_assert_uint_eq(loop->paused, 0);
        close(waiting);
        close(peers[ended]);
        strcpy(path, paths[ended]);
        peers[ended] = dial();
        strcpy(path, paths[_i]);
        DRIVE_UNTIL(records[ended].connections == 1 + tries);
    }
    for (int i = 0; i < SERVED; i++) {
        close(peers[i]);
        sockref_release(refs[i]);
        DRIVE_UNTIL(records[i].stops == 1);
    }
    strcpy(path, first);
}
END_TEST

START_TEST(no_more_than_max_connections_are_open)
{
    struct record record = {0};
    sockref_options *options = sockref_options_new();
    sockref *ref;
    int peers[5];

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_MAX_CONNECTIONS, 2), 0);
    ref = serve_here(options, &recording, &record);
    sockref_options_free(options);
    for (int i = 0; i < 5; i++)
        peers[i] = dial();
    DRIVE_UNTIL(record.connections == 2);
    drive_all();
    ck_assert_int_eq(record.connections, 2);
    ck_assert(!is_readable(sockref_loop_fd(loop), 0)); /* the waiting ones cost nothing */
    for (int gone = 1; gone <= 3; gone++) {
        sockref_conn_destroy(record.conn);
        DRIVE_UNTIL(record.connections == 2 + gone);
        drive_all();
        ck_assert_int_eq(record.connections - record.closes, 2);
    }
    for (int i = 0; i < 5; i++)
        close(peers[i]);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static sockref *limited;

static int lowering_accept(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    sr_sys.accept4 = accept4;
    ck_assert_int_eq(sockref_set_max_connections(limited, 1), 0);
    return accept4(fd, address, length, flags);
}

/* As another thread may do at any moment. */
START_TEST(a_limit_that_is_lowered_during_accept_holds_for_the_next)
{
    struct record record = {0};
    int peers[3];

    limited = serve_here(NULL, &recording, &record);
    peers[0] = dial();
    DRIVE_UNTIL(record.connections == 1);
    sr_sys.accept4 = lowering_accept;
    peers[1] = dial();
    peers[2] = dial();
    DRIVE_UNTIL(record.connections == 2);
    drive_all();
    ck_assert_int_eq(record.connections, 2);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
    sockref_release(limited);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

START_TEST(a_blocking_socket_of_the_program_does_not_block_the_loop)
{
    struct record record = {0};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    sockref *ref;
    int peer, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &ref), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    peer = dial();
    DRIVE_UNTIL(record.connections == 1);
    close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

START_TEST(stop_closes_connections_and_comes_last)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peers[3];
    char byte;

    for (int i = 0; i < 3; i++)
        peers[i] = dial();
    DRIVE_UNTIL(record.connections == 3);
    sockref_release(ref);
    ck_assert_int_eq(access(path, F_OK), -1);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "CCCZZZS");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(recv(peers[i], &byte, 1, 0), 0);
        close(peers[i]);
    }
    drive_all();
    ck_assert_int_eq(record.stops, 1);
}
END_TEST

START_TEST(a_revoked_listener_stops_but_lends_its_descriptor)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int peer = dial();

    DRIVE_UNTIL(record.connections == 1);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "CZS");
    ck_assert_int_ge(sockref_fd(ref), 0);
    ck_assert_int_ge(fcntl(sockref_fd(ref), F_GETFD), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), SOCKREF_ECLOSED);
    close(peer);
    sockref_release(ref);
}
END_TEST

START_TEST(many_connections_at_a_stop_do_not_hold_the_loop)
{
    enum { MANY = 2000 };
    static int peers[MANY];
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int dispatches = 0;

    for (int i = 0; i < MANY; i++) {
        peers[i] = dial();
        if (i % 100 == 0)
            drive_all();
    }
    DRIVE_UNTIL(record.connections == MANY);
    sockref_release(ref);
    for (; record.stops == 0; dispatches++) {
        ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
        sockref_loop_dispatch(loop, 0);
    }
    ck_assert_int_gt(dispatches, 2);
    ck_assert_int_eq(record.closes, MANY);
    for (int i = 0; i < MANY; i++)
        close(peers[i]);
}
END_TEST

START_TEST(connections_are_taken_and_closed_without_growth)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    struct rusage before, after;

    for (int i = 0; i < 20000; i++) {
        if (i == 2000)
            getrusage(RUSAGE_SELF, &before);
        close(dial());
        sockref_loop_dispatch(loop, 0);
        if (record.conn)
            sockref_conn_destroy(record.conn);
    }
    DRIVE_UNTIL(record.connections == 20000);
    getrusage(RUSAGE_SELF, &after);
    ck_assert(IS_SANITIZED || after.ru_maxrss - before.ru_maxrss < 2048);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static void destroy_all(sockref_conn *conn, void *user)
{
    record_connection(conn, user);
    sockref_conn_destroy(conn);
}

static void *dial_often(void *arg)
{
    for (int i = 0; i < 300; i++)
        close(dial());
    return arg;
}

START_TEST(peers_may_come_from_many_threads)
{
    sockref_handlers handlers = recording;
    struct record record = {0};
    pthread_t threads[3];
    sockref *ref;

    handlers.on_connection = destroy_all;
    ref = serve_here(NULL, &handlers, &record);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, dial_often, NULL);
    DRIVE_UNTIL(record.closes == 900);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_flood_beyond_the_descriptors_is_survived);
    tcase_add_loop_test(tcase, an_error_of_accept_never_ends_the_listener, 0,
                        (int)(sizeof accept_errors / sizeof *accept_errors));
    tcase_add_test(tcase, who_comes_when_descriptors_run_out_is_turned_away);
    tcase_add_loop_test(tcase, a_connection_that_ends_lets_the_next_one_in_at_once, 0, 2);
    tcase_add_loop_test(tcase, a_connection_that_ends_lets_another_listener_go_on_at_once, 0,
                        SERVED);
    tcase_add_test(tcase, no_more_than_max_connections_are_open);
    tcase_add_test(tcase, a_limit_that_is_lowered_during_accept_holds_for_the_next);
    tcase_add_test(tcase, a_blocking_socket_of_the_program_does_not_block_the_loop);
    tcase_add_test(tcase, stop_closes_connections_and_comes_last);
    tcase_add_test(tcase, a_revoked_listener_stops_but_lends_its_descriptor);
    tcase_add_test(tcase, many_connections_at_a_stop_do_not_hold_the_loop);
    tcase_add_test(tcase, connections_are_taken_and_closed_without_growth);
    tcase_add_test(tcase, peers_may_come_from_many_threads);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
