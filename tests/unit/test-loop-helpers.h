/* What the suites of loops and connections share: a directory, a loop, peers, and a record of
 * callbacks. */
#ifndef TEST_LOOP_HELPERS_H
#define TEST_LOOP_HELPERS_H

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "harness/sanitized.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sockref/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 20000

/* What each case begins with and must find again at its end. */
static char directory[64], path[96];
static sockref_loop *loop;
static size_t fds_before;
static uint64_t references_before, entries_before, buffers_before;

/* The guard is there from the first shared name on, and stays: not what a case leaves behind. */
static void start_guard(void)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    sockref_release(ref);
}

static void setup(void)
{
    strcpy(directory, "/tmp/sockref-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s.sock", directory);
    start_guard();
    fds_before = sr_fd_count();
    sockref_live_counts(&references_before, &entries_before, &buffers_before);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static inline uint64_t deadline(void)
{
    return sr_clock_after_ms(PATIENCE_MS);
}

/* Wait, without a loop of our own, until a condition holds. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ = deadline();                                                              \
        while (!(condition)) {                                                                     \
            ck_assert_msg(sr_clock_ns() < until_, "still not: %s", #condition);                    \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

static inline bool are_counts_back(void)
{
    uint64_t references, entries, buffers;

    sockref_live_counts(&references, &entries, &buffers);
    return references == references_before && entries == entries_before &&
           buffers == buffers_before;
}

/* Everything is as it was: descriptors, counts, and no file is left in the directory. A thread of
 * the library's may have closed a connection, and be about to let go of what it belonged to, and of
 * its loop. */
static void check_nothing_left(void)
{
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    WAIT_UNTIL(are_counts_back());
    WAIT_UNTIL(sr_fd_count() == fds_before);
    ck_assert_int_eq(rmdir(directory), 0);
}

static void teardown(void)
{
    sockref_loop_free(loop);
    loop = NULL;
    check_nothing_left();
}

/* Dispatch until a condition holds; the case fails where it does not in time. */
#define DRIVE_UNTIL(condition)                                                                     \
    do {                                                                                           \
        uint64_t until_ = deadline();                                                              \
        while (!(condition)) {                                                                     \
            ck_assert_msg(sr_clock_ns() < until_, "still not: %s", #condition);                    \
            ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);                                  \
        }                                                                                          \
    } while (0)

/* Dispatch whatever is due now, until there is nothing. */
static inline void drive_all(void)
{
    for (int quiet = 0; quiet < 3;)
        quiet = sockref_loop_dispatch(loop, 1) > 0 ? 0 : quiet + 1;
}

static inline int dial(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static inline void send_text(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Read what is there; 0: the end, -1: nothing yet. */
static inline ssize_t peek_some(int fd, void *buffer, size_t length)
{
    return recv(fd, buffer, length, MSG_DONTWAIT);
}

static inline bool is_readable(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, timeout_ms) == 1;
}

/* What happened, as a word: C connection, D data, E end, R drain, X error, Z close, S stop. */
struct record {
    char events[256];
    char data[256];
    uint64_t bytes;
    int connections, closes, drains, stops, errors, ends;
    int status;
    bool had_error;
    sockref_conn *conn; /* the last one; borrowed */
    void (*hook)(struct record *record, char event, sockref_conn *conn);
};

static inline void note(struct record *record, char event, sockref_conn *conn)
{
    size_t length = strlen(record->events);

    if (length + 1 < sizeof record->events)
        record->events[length] = event;
    if (record->hook)
        record->hook(record, event, conn);
}

static inline void record_connection(sockref_conn *conn, void *user)
{
    struct record *record = user;

    record->connections++;
    record->conn = conn;
    note(record, 'C', conn);
}

static inline void record_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct record *record = user;
    size_t had = strlen(record->data);

    record->bytes += length;
    if (had + length < sizeof record->data)
        memcpy(record->data + had, data, length);
    note(record, 'D', conn);
}

static inline void record_end(sockref_conn *conn, void *user)
{
    ((struct record *)user)->ends++;
    note(user, 'E', conn);
}

static inline void record_drain(sockref_conn *conn, void *user)
{
    ((struct record *)user)->drains++;
    note(user, 'R', conn);
}

static inline void record_error(sockref_conn *conn, int status, void *user)
{
    ((struct record *)user)->errors++;
    ((struct record *)user)->status = status;
    note(user, 'X', conn);
}

static inline void record_close(sockref_conn *conn, bool had_error, void *user)
{
    struct record *record = user;

    record->closes++;
    record->had_error = had_error;
    if (record->conn == conn)
        record->conn = NULL;
    note(record, 'Z', conn);
}

static inline void record_stop(void *user)
{
    ((struct record *)user)->stops++;
    note(user, 'S', NULL);
}

static const sockref_handlers recording = {
    .size = sizeof recording,
    .on_connection = record_connection,
    .on_data = record_data,
    .on_end = record_end,
    .on_drain = record_drain,
    .on_error = record_error,
    .on_close = record_close,
    .on_stop = record_stop,
};

/* Listen on the path of the case and have it served by its loop. */
static inline sockref *serve_here(const sockref_options *options, const sockref_handlers *handlers,
                                  void *user)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, options, &ref), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, handlers, user), 0);
    return ref;
}

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
