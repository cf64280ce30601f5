/*
 * Connections of the life-cycle scenarios. Both ends run on one loop, which the case dispatches
 * itself, so that nothing happens at another moment than while a case waits; other peers are plain
 * descriptors.
 */
#ifndef TEST_SIDES_H
#define TEST_SIDES_H

#include "util.h"

#include <netinet/in.h>

#define MUCH 300000u

/* One end, and what it was told: c connect or connection, r ready, d data (once in a row), e end,
 * w drain, t time-out, x error, z close, ! drop, S stop. */
struct side {
    char trace[128];
    sockref_conn *conn;
    int status;
    uint64_t received;
    uint32_t sum;
    bool echoes, ends_with_peer;
    int64_t sent_ms, last_traffic_ms, least_silence_ms; /* what comes was sent no earlier */
    char attempt[112];
};

static sockref_loop *loop;
static sockref *ref;
static struct side server, client; /* told until the loop is freed */

static inline void open_loop(void)
{
    setup();
    memset(&server, 0, sizeof server);
    memset(&client, 0, sizeof client);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static inline void close_loop(void)
{
    sockref_release(ref);
    ref = NULL;
    sockref_loop_free(loop);
    teardown();
}

#define TURN_UNTIL(condition) DISPATCH_UNTIL(loop, condition)

static inline void turn_a_few_times(void)
{
    for (int i = 0; i < 5; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
}

static inline void tell(struct side *side, char event)
{
    size_t length = strlen(side->trace);

    if (event == 'd' && length > 0 && side->trace[length - 1] == 'd')
        return;
    ck_assert_uint_lt(length, sizeof side->trace - 1);
    side->trace[length] = event;
}

static inline bool told(const struct side *side, const char *trace)
{
    return strcmp(side->trace, trace) == 0;
}

static inline uint32_t sum_of(uint32_t sum, const void *data, size_t length)
{
    const unsigned char *bytes = data;

    while (length-- > 0)
        sum = sum * 31 + *bytes++;
    return sum;
}

static inline void on_open(sockref_conn *conn, void *user)
{
    struct side *side = user;

    tell(side, 'c');
    sockref_conn_release(side->conn);
    side->conn = sockref_conn_acquire(conn);
}

static inline void on_ready(sockref_conn *conn, void *user)
{
    (void)conn;
    tell(user, 'r');
}

static inline void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct side *side = user;

    tell(side, 'd');
    side->received += length;
    side->sum = sum_of(side->sum, data, length);
    side->last_traffic_ms = side->sent_ms;
    if (side->echoes)
        ck_assert_int_ge(sockref_conn_write(conn, data, length), 0);
}

static inline void on_end(sockref_conn *conn, void *user)
{
    struct side *side = user;

    tell(side, 'e');
    if (side->ends_with_peer)
        ck_assert_int_eq(sockref_conn_end(conn), 0);
}

static inline void on_drain(sockref_conn *conn, void *user)
{
    (void)conn;
    tell(user, 'w');
}

static inline void on_timeout(sockref_conn *conn, void *user)
{
    struct side *side = user;
    int64_t silence = now_ms() - side->last_traffic_ms;

    (void)conn;
    tell(side, 't');
    if (silence < side->least_silence_ms)
        side->least_silence_ms = silence;
}

static inline void on_error(sockref_conn *conn, int status, void *user)
{
    struct side *side = user;

    (void)conn;
    tell(side, 'x');
    side->status = status;
}

static inline void on_close(sockref_conn *conn, bool had_error, void *user)
{
    struct side *side = user;

    (void)conn;
    tell(side, 'z');
    ck_assert(had_error == (side->status != 0));
}

static inline void on_stop(void *user)
{
    struct side *side = user;

    tell(side, 'S');
    sockref_conn_release(side->conn);
    side->conn = NULL;
}

static inline void on_attempt(sockref_conn *conn, const sockref_address *address, int event,
                              int status, void *user)
{
    struct side *side = user;

    (void)conn, (void)status;
    if (event == SOCKREF_ATTEMPT_FAILED)
        memcpy(side->attempt, address->host, sizeof side->attempt);
}

static inline void on_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    (void)local, (void)remote;
    tell(user, '!');
}

static const sockref_handlers handlers = {.size = sizeof handlers,
                                          .on_connection = on_open,
                                          .on_data = on_data,
                                          .on_end = on_end,
                                          .on_drain = on_drain,
                                          .on_error = on_error,
                                          .on_close = on_close,
                                          .on_stop = on_stop,
                                          .on_connect = on_open,
                                          .on_ready = on_ready,
                                          .on_timeout = on_timeout,
                                          .on_attempt = on_attempt};

static inline void serve(const char *name, struct side *side)
{
    ref = start(NULL, name);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &handlers, side), 0);
}

static inline void begin(const char *name, struct side *side)
{
    ck_assert_int_eq(sockref_connect(loop, name, NULL, &handlers, side, NULL), 0);
}

static inline void send_all_values(sockref_conn *conn)
{
    unsigned char values[256];

    for (int i = 0; i < 256; i++)
        values[i] = (unsigned char)i;
    ck_assert_int_eq(sockref_conn_write(conn, values, sizeof values), 0);
}

/* A server or client of the system's own, that reads to the end. Returns how many bytes came. */
static inline size_t read_to_end(int fd, uint32_t *out_sum)
{
    char piece[4096];
    size_t total = 0;
    ssize_t got;

    *out_sum = 0;
    while ((got = read(fd, piece, sizeof piece)) > 0) {
        *out_sum = sum_of(*out_sum, piece, (size_t)got);
        total += (size_t)got;
    }
    ck_assert_int_eq(got, 0);
    return total;
}

/* The same as try_dial(), for a TCP name. */
static inline int dial_tcp(const char *name)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(strncmp(name, "tcp:127.0.0.1:", 14), 0);
    address.sin_port = htons((uint16_t)atoi(name + 14));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -errno;
}

#endif
