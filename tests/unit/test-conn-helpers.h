/* What the suites of adopted connections share: a pair of sockets, of which one is the library's.
 */
#ifndef TEST_CONN_HELPERS_H
#define TEST_CONN_HELPERS_H

#include "test-loop-helpers.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>

static struct record record;
static sockref_conn *conn; /* a handle of ours */
static int peer = -1;      /* its other end */
static int timeouts;

/* Beside those of the record: O connect, Y ready, T timeout. */
static inline void record_connect(sockref_conn *self, void *user)
{
    note(user, 'O', self);
}

static inline void record_ready(sockref_conn *self, void *user)
{
    note(user, 'Y', self);
}

static inline void record_timeout(sockref_conn *self, void *user)
{
    timeouts++;
    note(user, 'T', self);
}

static inline sockref_handlers recording_all(void)
{
    sockref_handlers handlers = recording;

    handlers.on_connect = record_connect;
    handlers.on_ready = record_ready;
    handlers.on_timeout = record_timeout;
    return handlers;
}

static inline int count_of(char event)
{
    int count = 0;

    for (const char *at = record.events; *at; at++)
        count += *at == event;
    return count;
}

static inline void unix_pair(int fds[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fds[0], (struct sockaddr *)&address, sizeof address), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fds[1], 0);
    close(listener);
}

/* The library gets one end of a pair, and the case the other. */
static inline void adopt_pair(void (*make)(int fds[2]), const sockref_handlers *handlers)
{
    int fds[2];

    make(fds);
    peer = fds[0];
    ck_assert_int_eq(sockref_adopt(loop, fds[1], handlers, &record, &conn), 0);
}

static inline void adopt_recording(void (*make)(int fds[2]), const sockref_conn_options *options)
{
    sockref_handlers handlers = recording_all();

    handlers.options = options;
    adopt_pair(make, &handlers);
}

static inline void close_peer(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

/* Whatever the case has made of it, the connection is over, and told so once. */
static inline void end_adopted(void)
{
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.closes, 1);
    sockref_conn_release(conn);
    conn = NULL;
    close_peer();
}

static inline void teardown_adopted(void)
{
    if (conn)
        end_adopted();
    teardown();
}

static inline sockref_conn_details details(void)
{
    sockref_conn_details info = {.size = sizeof info};

    ck_assert_int_eq(sockref_conn_info(conn, &info), 0);
    return info;
}

/* Read all that the peer has got; returns how much. */
static inline uint64_t drain_peer(void)
{
    static char buffer[65536];
    uint64_t got = 0;
    ssize_t length;

    while ((length = peek_some(peer, buffer, sizeof buffer)) > 0)
        got += (uint64_t)length;
    return got;
}

/* Read exactly so much, while the loop runs. */
static inline void expect_text(const char *text)
{
    char buffer[4096];
    size_t had = 0, wanted = strlen(text);
    uint64_t until = deadline();
    ssize_t length;

    ck_assert_uint_lt(wanted, sizeof buffer);
    while (had < wanted) {
        ck_assert_msg(sr_clock_ns() < until, "only %zu bytes of \"%s\"", had, text);
        sockref_loop_dispatch(loop, 0);
        length = peek_some(peer, buffer + had, wanted - had);
        had += length > 0 ? (size_t)length : 0;
    }
    buffer[had] = '\0';
    ck_assert_str_eq(buffer, text);
}

static char block[65536];

static inline void fill_until_full(sockref_conn *self)
{
    int status = 0;

    for (int i = 0; status == 0; i++) {
        ck_assert_int_lt(i, 1000);
        status = sockref_conn_write(self, block, sizeof block);
    }
    ck_assert_int_eq(status, SOCKREF_WRITE_FULL);
}

/* In place of calloc. */
static inline void *no_memory(size_t count, size_t size)
{
    (void)count;
    (void)size;
    errno = ENOMEM;
    return NULL;
}

#endif
