/* What the suites of sockref_connect() share: a record of what it tells, addresses that do not
 * answer, and listeners. */
#ifndef TEST_CONNECT_HELPERS_H
#define TEST_CONNECT_HELPERS_H

#include "harness/harness.h"
#include "test-loop-helpers.h"
#include "test-resolver-script.h"

#include <netinet/in.h>

/*
 * What happened, as a word: an attempt b(egun), f(ailed), l(ate); O on_connect, Y on_ready, and the
 * others as in the record. The families of the attempts begun are in tried.
 */
static struct record record;
static char tried[64];
static char message[256];
static int last_failure;
static unsigned begun_port;
static const char *destroy_at; /* the event in which the connection is destroyed, or NULL */

static inline void note_event(char event, sockref_conn *conn)
{
    note(&record, event, conn);
    if (destroy_at && *destroy_at == event)
        sockref_conn_destroy(conn);
}

static inline void on_attempt(sockref_conn *conn, const sockref_address *address, int event,
                              int status, void *user)
{
    static const char letters[] = "?bfl";
    sockref_conn_details details = {.size = sizeof details};
    size_t length = strlen(tried);

    ck_assert_ptr_eq(user, &record);
    ck_assert_uint_eq(address->size, sizeof *address);
    if (event == SOCKREF_ATTEMPT_BEGUN) {
        ck_assert_int_eq(status, 0);
        tried[length] =
            address->family == SOCKREF_FAMILY_UNIX ? 'u' : (char)('0' + address->family);
        tried[length + 1] = '\0';
        begun_port = address->port;
        ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
        ck_assert(details.connecting && details.pending);
        ck_assert_int_eq(details.remote.family, address->family);
        ck_assert_uint_eq(details.remote.port, address->port);
        ck_assert_str_eq(details.remote.host, address->host);
    } else {
        ck_assert_int_lt(status, 0);
        last_failure = status;
    }
    note_event(letters[event], conn);
}

static inline void on_connect(sockref_conn *conn, void *user)
{
    sockref_conn_details details = {.size = sizeof details};

    (void)user;
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    ck_assert(!details.connecting && !details.pending);
    note_event('O', conn);
}

static inline void on_ready(sockref_conn *conn, void *user)
{
    (void)user;
    note_event('Y', conn);
}

static inline void on_error(sockref_conn *conn, int status, void *user)
{
    snprintf(message, sizeof message, "%s", sockref_last_error()->message);
    ck_assert_int_eq(sockref_last_error()->status, status);
    record_error(conn, status, user);
}

static sockref_handlers handlers = {
    .size = sizeof handlers,
    .on_data = record_data,
    .on_end = record_end,
    .on_error = on_error,
    .on_close = record_close,
    .on_stop = record_stop,
    .on_connect = on_connect,
    .on_ready = on_ready,
    .on_attempt = on_attempt,
};

/* ---- addresses that do not answer ---- */

/*
 * A connect() to one of these ports is pending until the test lets it succeed or fail: in place of
 * the socket stands one end of a pair that can't be written to.
 */
#define PORT_OF_SILENCE 1
#define SILENT          4

static struct {
    int peer;    /* -1: not connected to */
    int failure; /* what SO_ERROR tells, or 0 */
    int fd;
} silent[SILENT];

static inline int silent_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    unsigned port = ntohs(((const struct sockaddr_in *)address)->sin_port), i;
    int pair[2];
    char block[4096] = {0};

    i = port - PORT_OF_SILENCE;
    if (address->sa_family == AF_UNIX || i >= SILENT)
        return connect(fd, address, length);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    while (send(pair[0], block, sizeof block, MSG_NOSIGNAL) > 0)
        continue;
    ck_assert_int_eq(dup3(pair[0], fd, O_CLOEXEC), fd);
    close(pair[0]);
    for (int other = 0; other < SILENT; other++)
        if (silent[other].fd == fd)
            silent[other].fd = -1; /* it was closed, and its number is used again */
    silent[i].peer = pair[1];
    silent[i].fd = fd;
    errno = EINPROGRESS;
    return -1;
}

static inline int silent_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
    for (int i = 0; i < SILENT; i++) {
        if (option != SO_ERROR || silent[i].peer < 0 || silent[i].fd != fd || !silent[i].failure)
            continue;
        *(int *)value = silent[i].failure;
        return 0;
    }
    return getsockopt(fd, level, option, value, length);
}

/* Have a pending attempt be over: connected, or failed with an errno. */
static inline void answer(unsigned number, int failure)
{
    char block[4096];

    silent[number].failure = failure;
    while (recv(silent[number].peer, block, sizeof block, 0) > 0)
        continue;
}

/* Whether an attempt's socket is closed. */
static inline bool is_given_up(unsigned number)
{
    char byte;

    answer(number, silent[number].failure);
    return recv(silent[number].peer, &byte, 1, 0) == 0;
}

static sockref_address addresses[8];
static sockref_connect_options options;

static inline void add_address(int family, unsigned port)
{
    sockref_address *to = &addresses[options.address_count++];

    *to = (sockref_address){.size = sizeof *to, .family = family, .port = port};
    strcpy(to->host, family == SOCKREF_FAMILY_IPV4 ? "127.0.0.1" : "::1");
    to->host_length = strlen(to->host);
    options.addresses = addresses;
}

/* ---- cases ---- */

static unsigned threads_before;

static inline void begin_case(void)
{
    script_begin();
    for (int i = 0; i < SILENT; i++)
        silent[i].peer = silent[i].fd = -1;
    sr_sys.connect = silent_connect;
    sr_sys.getsockopt = silent_getsockopt;
    options.size = sizeof options;
    setup();
    drive_all();
    threads_before = harness_threads();
}

static inline void end_case(void)
{
    teardown();
    for (int i = 0; i < SILENT; i++)
        if (silent[i].peer >= 0)
            close(silent[i].peer);
    ck_assert(IS_SANITIZED || harness_threads_become(1));
}

static inline sockref_conn *begin(const char *name)
{
    sockref_conn *conn = NULL;

    harness_assert_ok(sockref_connect(loop, name, &options, &handlers, &record, &conn));
    ck_assert_ptr_nonnull(conn);
    return conn;
}

/* Nothing is heard of it any more, and it ended once. */
static inline void end(sockref_conn *conn)
{
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == 1);
    drive_all();
    ck_assert_int_eq(record.closes, 1);
    ck_assert_int_eq(record.stops, 1);
    sockref_conn_release(conn);
}

static inline void expect_failure(const char *name, int status, const char *events)
{
    sockref_conn *conn = begin(name);

    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, events);
    ck_assert_msg(record.status == status, "%s: %s instead of %s", name,
                  sockref_status_name(record.status), sockref_status_name(status));
    ck_assert(record.had_error);
    ck_assert_str_ne(message, "");
    sockref_conn_release(conn);
}

static inline unsigned port_of(sockref *ref)
{
    sockref_address address = {.size = sizeof address};

    harness_assert_ok(sockref_local_address(ref, &address));
    return address.port;
}

static inline sockref *echo_at(const char *name)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(NULL, name, NULL, &ref));
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    return ref;
}

static inline sockref *listen_at(const char *name)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(NULL, name, NULL, &ref));
    return ref;
}

/* A port that nobody listens on. */
static inline unsigned free_port(void)
{
    sockref *ref = listen_at("tcp:127.0.0.1:0");
    unsigned port = port_of(ref);

    sockref_release(ref);
    return port;
}

/* J14: the order; what was written before goes out then. */
static inline void expect_echo(const char *name, const char *events)
{
    sockref_conn *conn = begin(name);
    sockref_conn_details details = {.size = sizeof details};

    ck_assert_int_eq(sockref_conn_write(conn, "hello", 5), 0);
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    ck_assert(details.connecting && details.pending);
    ck_assert_int_eq(details.state, SOCKREF_CONN_OPENING);
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_str_eq(record.events, events);
    ck_assert_str_eq(record.data, "hello");
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    ck_assert_int_eq(details.state, SOCKREF_CONN_OPEN);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert(!record.had_error);
    ck_assert_int_eq(record.errors, 0);
    sockref_conn_release(conn);
}

/* A listener whose queue is full, and a connection that waits in it. */
static inline int fill_queue(sockref **out_ref)
{
    sockref_options *small = harness_options(SOCKREF_OPT_BACKLOG, 1, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int clients[8], count = 0;

    harness_assert_ok(sockref_registry_listen(NULL, path, small, out_ref));
    sockref_options_free(small);
    strcpy(address.sun_path, path);
    for (;; count++) {
        ck_assert_int_lt(count, 8);
        clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(clients[count], (struct sockaddr *)&address, sizeof address) < 0)
            break;
    }
    ck_assert_int_eq(errno, EAGAIN);
    while (count >= 0)
        close(clients[count--]);
    return sockref_fd(*out_ref);
}

#endif
