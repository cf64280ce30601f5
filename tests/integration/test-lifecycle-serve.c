/* Life-cycle scenarios: serving. tests/lifecycle.md has the list. */
#include "util.h"

#include <sockref/stats.h>

#define MUCH 65536

/* Send all and read as much back; both ends move at once, so nothing has to fit a buffer. */
static void exchange(int fd, const char *data, size_t length)
{
    size_t sent = 0, received = 0;
    char back[4096];

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (received < length) {
        struct pollfd item = {.fd = fd, .events = sent < length ? POLLIN | POLLOUT : POLLIN};
        ssize_t got;

        ck_assert_msg(poll(&item, 1, PATIENCE_MS) == 1, "after %zu bytes nothing comes", received);
        if (item.revents & POLLOUT) {
            got = send(fd, data + sent, length - sent, MSG_NOSIGNAL);
            sent += got > 0 ? (size_t)got : 0;
        }
        if (item.revents & POLLIN) {
            got = recv(fd, back, sizeof back, 0);
            ck_assert_int_gt(got, 0);
            ck_assert_int_eq(memcmp(back, data + received, (size_t)got), 0);
            received += (size_t)got;
        }
    }
}

START_TEST(L06_an_echo_gives_every_byte_back)
{
    char *data = malloc(MUCH), last;
    sockref *ref = start(NULL, path);
    int fd;

    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    fd = dial(path);
    memset(data, 0, MUCH);
    exchange(fd, data, MUCH);
    for (size_t i = 0; i < MUCH; i++)
        data[i] = (char)(i * 7 + i / 256);
    exchange(fd, data, MUCH);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    fcntl(fd, F_SETFL, 0);
    ck_assert_int_eq(read(fd, &last, 1), 0);
    close(fd);
    free(data);
    sockref_release(ref);
    ck_assert(!exists(path));
}
END_TEST

START_TEST(L06_an_echo_serves_many_clients_at_once)
{
    sockref *ref = start(NULL, path);
    int fds[50];

    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    for (int i = 0; i < 50; i++)
        fds[i] = dial(path);
    for (int i = 49; i >= 0; i--)
        exchange(fds[i], "hello", 5);
    for (int i = 0; i < 50; i++)
        close(fds[i]);
    sockref_release(ref);
}
END_TEST

struct record {
    pthread_mutex_t mutex;
    char events[64];
    pthread_t thread;
    int wrong_thread;
    atomic_int stopped;
};

static void note(struct record *record, char event)
{
    size_t length;

    pthread_mutex_lock(&record->mutex);
    length = strlen(record->events);
    if (length == 0)
        record->thread = pthread_self();
    record->wrong_thread += !pthread_equal(record->thread, pthread_self());
    ck_assert_uint_lt(length, sizeof record->events - 1);
    record->events[length] = event;
    pthread_mutex_unlock(&record->mutex);
}

static void on_connection(sockref_conn *conn, void *user)
{
    (void)conn;
    note(user, 'C');
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    note(user, 'D');
    ck_assert_int_ge(sockref_conn_write(conn, data, length), 0);
}

static void on_end(sockref_conn *conn, void *user)
{
    note(user, 'E');
    ck_assert_int_eq(sockref_conn_end(conn), 0);
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    (void)conn;
    note(user, had_error ? 'X' : 'Z');
}

static void on_stop(void *user)
{
    note(user, 'S');
    atomic_store(&((struct record *)user)->stopped, 1);
}

static const sockref_handlers handlers = {.size = sizeof handlers,
                                          .on_connection = on_connection,
                                          .on_data = on_data,
                                          .on_end = on_end,
                                          .on_close = on_close,
                                          .on_stop = on_stop};

static bool has(struct record *record, const char *events)
{
    bool same;

    pthread_mutex_lock(&record->mutex);
    same = strcmp(record->events, events) == 0;
    pthread_mutex_unlock(&record->mutex);
    return same;
}

static void converse(struct record *record)
{
    int fd = dial(path);
    char last;

    WAIT_UNTIL(has(record, "C"));
    exchange(fd, "ping", 4);
    WAIT_UNTIL(has(record, "CD"));
    shutdown(fd, SHUT_WR);
    fcntl(fd, F_SETFL, 0);
    ck_assert_int_eq(read(fd, &last, 1), 0);
    WAIT_UNTIL(has(record, "CDEZ"));
    close(fd);
}

START_TEST(L42_handlers_come_in_order_on_the_service_thread)
{
    struct record record = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(sockref_serve(ref, &handlers, &record), 0);
    converse(&record);
    sockref_release(ref);
    WAIT_UNTIL(atomic_load(&record.stopped));
    ck_assert(has(&record, "CDEZS"));
    ck_assert_int_eq(record.wrong_thread, 0);
    ck_assert(!pthread_equal(record.thread, pthread_self()));
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
}
END_TEST

struct driver {
    sockref_loop *loop;
    atomic_bool over;
    pthread_t thread;
};

static void *drive(void *arg)
{
    struct driver *driver = arg;

    while (!atomic_load(&driver->over))
        ck_assert_int_ge(sockref_loop_dispatch(driver->loop, -1), 0);
    return NULL;
}

START_TEST(L42_handlers_come_on_the_thread_that_drives_their_loop)
{
    struct record record = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    sockref *ref = start(NULL, path);
    struct driver driver = {0};

    ck_assert_int_eq(sockref_loop_new(&driver.loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, driver.loop, &handlers, &record), 0);
    ck_assert_int_eq(sockref_serve(ref, &handlers, &record), SOCKREF_EBUSY);
    ck_assert_int_eq(pthread_create(&driver.thread, NULL, drive, &driver), 0);
    converse(&record);
    ck_assert(pthread_equal(record.thread, driver.thread));
    sockref_release(ref);
    WAIT_UNTIL(atomic_load(&record.stopped));
    ck_assert(has(&record, "CDEZS"));
    ck_assert_int_eq(record.wrong_thread, 0);
    atomic_store(&driver.over, true);
    sockref_loop_wake(driver.loop);
    ck_assert_int_eq(pthread_join(driver.thread, NULL), 0);
    sockref_loop_free(driver.loop); /* not before: a wake may still be under way */
}
END_TEST

START_TEST(L42_a_cleanup_closes_connections_and_stops_last)
{
    struct record record = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    sockref *ref = start(NULL, path);
    char last;
    int fd;

    ck_assert_int_eq(sockref_serve(ref, &handlers, &record), 0);
    fd = dial(path);
    WAIT_UNTIL(has(&record, "C"));
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    WAIT_UNTIL(has(&record, "CZS"));
    ck_assert_int_le(read(fd, &last, 1), 0);
    close(fd);
    sockref_release(ref);
}
END_TEST

/* The last release closes a served socket at once: its loop is not waited for, nor is who waits to
 * be accepted. */
START_TEST(L04_the_last_release_closes_a_served_socket_under_its_loop)
{
    sockref_loop *loop;
    sockref *ref = start(NULL, path);
    int waiting;
    char last;

    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL), 0);
    waiting = dial(path); /* the loop is never dispatched, so it is never accepted */
    sockref_release(ref);
    ck_assert_int_le(read(waiting, &last, 1), 0);
    close(waiting);
    sockref_loop_free(loop);
}
END_TEST

START_TEST(L16_a_served_abstract_name_starts_again_at_once)
{
    char name[64];

    snprintf(name, sizeof name, "@sockref-test-%d", (int)getpid());
    for (int i = 0; i < 200; i++) {
        sockref *ref = start(NULL, name);

        ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
        sockref_release(ref);
    }
}
END_TEST

/* What is served is in use, and drain waits for what ends. */
START_TEST(L36_drain_does_not_wait_for_a_served_name)
{
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, 0), 0);
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
}
END_TEST

static sockref_stats stats_of(const sockref *ref)
{
    sockref_stats stats = {.size = sizeof stats};

    ck_assert_int_eq(sockref_get_stats(ref, &stats), 0);
    return stats;
}

START_TEST(L70_a_served_name_counts_a_connection_and_its_bytes)
{
    sockref *ref = start(NULL, path);
    sockref_stats stats;
    int fd;

    ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
    fd = dial(path);
    exchange(fd, "hello", 5);
    close(fd);
    WAIT_UNTIL(stats_of(ref).connections == 0);
    stats = stats_of(ref);
    ck_assert_uint_eq(stats.accepted, 1);
    ck_assert_uint_eq(stats.refused, 0);
    ck_assert_uint_eq(stats.bytes_read, 5);
    ck_assert_uint_eq(stats.bytes_written, 5);
    sockref_release(ref);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-serve");
    TCase *tcase = add_case(suite, "serve");

    tcase_add_test(tcase, L06_an_echo_gives_every_byte_back);
    tcase_add_test(tcase, L06_an_echo_serves_many_clients_at_once);
    tcase_add_test(tcase, L04_the_last_release_closes_a_served_socket_under_its_loop);
    tcase_add_test(tcase, L16_a_served_abstract_name_starts_again_at_once);
    tcase_add_test(tcase, L36_drain_does_not_wait_for_a_served_name);
    tcase_add_test(tcase, L42_handlers_come_in_order_on_the_service_thread);
    tcase_add_test(tcase, L42_handlers_come_on_the_thread_that_drives_their_loop);
    tcase_add_test(tcase, L42_a_cleanup_closes_connections_and_stops_last);
    tcase_add_test(tcase, L70_a_served_name_counts_a_connection_and_its_bytes);
    return run_suite(suite, argc, argv, NULL);
}
