/* Connecting: src/net/connect.c and src/net/dial.c. J2, J14, J23, J36, J37, D47, D49. */
#include "base/error.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "net/address.h"
#include "unit/test-loop-helpers.h"
#include "unit/test-resolver-script.h"

#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

static void note_event(char event, sockref_conn *conn)
{
    note(&record, event, conn);
    if (destroy_at && *destroy_at == event)
        sockref_conn_destroy(conn);
}

static void on_attempt(sockref_conn *conn, const sockref_address *address, int event, int status,
                       void *user)
{
    static const char letters[] = "?bfl";
    size_t length = strlen(tried);

    ck_assert_ptr_eq(user, &record);
    ck_assert_uint_eq(address->size, sizeof *address);
    if (event == SOCKREF_ATTEMPT_BEGUN) {
        ck_assert_int_eq(status, 0);
        tried[length] =
            address->family == SOCKREF_FAMILY_UNIX ? 'u' : (char)('0' + address->family);
        tried[length + 1] = '\0';
        begun_port = address->port;
    } else {
        ck_assert_int_lt(status, 0);
        last_failure = status;
    }
    note_event(letters[event], conn);
}

static void on_connect(sockref_conn *conn, void *user)
{
    sockref_conn_details details = {.size = sizeof details};

    (void)user;
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    ck_assert(!details.connecting && !details.pending);
    note_event('O', conn);
}

static void on_ready(sockref_conn *conn, void *user)
{
    (void)user;
    note_event('Y', conn);
}

static void on_error(sockref_conn *conn, int status, void *user)
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

static int silent_connect(int fd, const struct sockaddr *address, socklen_t length)
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

static int silent_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
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
static void answer(unsigned number, int failure)
{
    char block[4096];

    silent[number].failure = failure;
    while (recv(silent[number].peer, block, sizeof block, 0) > 0)
        continue;
}

/* Whether an attempt's socket is closed. */
static bool is_given_up(unsigned number)
{
    char byte;

    answer(number, silent[number].failure);
    return recv(silent[number].peer, &byte, 1, 0) == 0;
}

static sockref_address addresses[8];
static sockref_connect_options options;

static void add_address(int family, unsigned port)
{
    sockref_address *to = &addresses[options.address_count++];

    *to = (sockref_address){.size = sizeof *to, .family = family, .port = port};
    strcpy(to->host, family == SOCKREF_FAMILY_IPV4 ? "127.0.0.1" : "::1");
    to->host_length = strlen(to->host);
    options.addresses = addresses;
}

/* ---- cases ---- */

static unsigned threads_before;

static void begin_case(void)
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

static void end_case(void)
{
    teardown();
    for (int i = 0; i < SILENT; i++)
        if (silent[i].peer >= 0)
            close(silent[i].peer);
    ck_assert(UNDER_SANITIZER || harness_threads_become(1));
}

static sockref_conn *begin(const char *name)
{
    sockref_conn *conn = NULL;

    harness_assert_ok(sockref_connect(loop, name, &options, &handlers, &record, &conn));
    ck_assert_ptr_nonnull(conn);
    return conn;
}

/* Nothing is heard of it any more, and it ended once. */
static void end(sockref_conn *conn)
{
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == 1);
    drive_all();
    ck_assert_int_eq(record.closes, 1);
    ck_assert_int_eq(record.stops, 1);
    sockref_conn_release(conn);
}

static void expect_failure(const char *name, int status, const char *events)
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

static unsigned port_of(sockref *ref)
{
    sockref_address address = {.size = sizeof address};

    harness_assert_ok(sockref_local_address(ref, &address));
    return address.port;
}

static sockref *echo_at(const char *name)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(NULL, name, NULL, &ref));
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    return ref;
}

static sockref *listen_at(const char *name)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(NULL, name, NULL, &ref));
    return ref;
}

/* A port that nobody listens on. */
static unsigned free_port(void)
{
    sockref *ref = listen_at("tcp:127.0.0.1:0");
    unsigned port = port_of(ref);

    sockref_release(ref);
    return port;
}

/* ---- what a name may be ---- */

/* J14: the order; what was written before goes out then. */
static void expect_echo(const char *name, const char *events)
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

START_TEST(a_path_is_connected_to)
{
    sockref *ref = echo_at(path);

    expect_echo(path, "bOYD");
    ck_assert_str_eq(tried, "u");
    sockref_release(ref);
}
END_TEST

START_TEST(an_abstract_name_is_connected_to)
{
    const char *name = harness_text("@sockref-connect-%d", (int)getpid());
    sockref *ref = echo_at(name);

    expect_echo(name, "bOYD");
    sockref_release(ref);
}
END_TEST

START_TEST(a_tcp_name_is_connected_to)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    expect_echo(sockref_path(ref), "bOYD");
    ck_assert_str_eq(tried, "4");
    ck_assert_uint_eq(begun_port, port_of(ref));
    ck_assert_int_eq(atomic_load(&script_calls), 0);
    sockref_release(ref);
}
END_TEST

START_TEST(an_ipv6_name_is_connected_to)
{
    sockref *ref;

    if (!harness_has_v6())
        return;
    ref = echo_at("tcp:[::1]:0");
    expect_echo(sockref_path(ref), "bOYD");
    ck_assert_str_eq(tried, "6");
    sockref_release(ref);
}
END_TEST

/* The name of a listener on every address leads to it. */
START_TEST(a_name_without_a_host_is_this_machine)
{
    sockref *ref = echo_at("tcp::0");
    sockref_conn *conn = begin(sockref_path(ref));

    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_int_eq(tried[0], '6');
    end(conn);
    sockref_release(ref);
}
END_TEST

START_TEST(a_relative_path_is_the_systems)
{
    const char *leaf = strrchr(directory, '/') + 1;
    const char *names[] = {"s.sock", "./s.sock", harness_text("../%s/s.sock", leaf)};
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    sockref *ref = echo_at(path);

    ck_assert_int_eq(chdir(directory), 0);
    expect_echo(names[_i], "bOYD");
    ck_assert_int_eq(fchdir(before), 0);
    close(before);
    sockref_release(ref);
}
END_TEST

/* By way of a descriptor of its directory, which is closed with the attempt. */
START_TEST(a_path_may_be_longer_than_an_address)
{
    char deep[sizeof directory + 160], name[sizeof deep + 32];
    const char *given = name;
    int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    sockref *ref;

    snprintf(deep, sizeof deep, "%s/%0120d", directory, 7);
    ck_assert_int_eq(mkdir(deep, 0700), 0);
    snprintf(name, sizeof name, "%s/s.sock", deep);
    ref = echo_at(name);
    if (_i) {
        ck_assert_int_eq(chdir(directory), 0);
        given = name + strlen(directory) + 1;
    }
    expect_echo(given, "bOYD");
    ck_assert_int_eq(fchdir(before), 0);
    close(before);
    sockref_release(ref);
    ck_assert_int_eq(rmdir(deep), 0);
}
END_TEST

/* ---- what can't be connected to ---- */

START_TEST(a_missing_file_is_told)
{
    expect_failure(harness_text("%s/none", directory), -ENOENT, "bfXZS");
    ck_assert_int_eq(last_failure, -ENOENT);
}
END_TEST

START_TEST(a_missing_directory_of_a_long_path_is_told)
{
    expect_failure(harness_text("%s/%0120d/s.sock", directory, 7), -ENOENT, "XZS");
}
END_TEST

START_TEST(a_dead_socket_refuses)
{
    harness_leave_dead(path);
    expect_failure(path, -ECONNREFUSED, "bfXZS");
    unlink(path);
}
END_TEST

START_TEST(a_socket_of_another_type_is_told)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    expect_failure(path, -EPROTOTYPE, "bfXZS");
    close(fd);
    unlink(path);
}
END_TEST

START_TEST(permission_is_asked_of_the_system)
{
    sockref *ref;

    if (geteuid() == 0) {
        fputs("skipped: the superuser may connect to anything\n", stderr);
        return;
    }
    ref = echo_at(path);
    ck_assert_int_eq(chmod(path, 0), 0);
    expect_failure(path, -EACCES, "bfXZS");
    sockref_release(ref);
}
END_TEST

START_TEST(a_port_without_a_listener_refuses)
{
    expect_failure(harness_text("tcp:127.0.0.1:%u", free_port()), -ECONNREFUSED, "bfXZS");
    ck_assert_ptr_nonnull(strstr(message, "(127.0.0.1:"));
}
END_TEST

START_TEST(an_address_of_ours_that_is_not_here_is_told)
{
    options.local_host = "203.0.113.77";
    expect_failure("tcp:127.0.0.1:9", -EADDRNOTAVAIL, "bfXZS");
    ck_assert_ptr_nonnull(strstr(message, "bind"));
}
END_TEST

static const struct {
    const char *name;
    int status;
} lookups[] = {
    {"tcp:none.test:80", SOCKREF_ENOTFOUND},
    {"tcp:nodata.test:80", SOCKREF_ENOTFOUND},
    {"tcp:again.test:80", -EAGAIN},
    {"tcp:memory.test:80", -ENOMEM},
};

START_TEST(a_lookup_that_fails_is_told)
{
    expect_failure(lookups[_i].name, lookups[_i].status, "XZS");
}
END_TEST

START_TEST(a_family_that_the_host_lacks_is_told)
{
    options.family = SOCKREF_FAMILY_IPV6;
    expect_failure(_i ? "tcp:127.0.0.1:80" : "tcp:4.test:80", SOCKREF_ENOTFOUND, "XZS");
    ck_assert_ptr_nonnull(strstr(message, "no IPv6 address"));
}
END_TEST

/* ---- lookup and families ---- */

/* D47 */
START_TEST(d47_localhost_with_only_ipv4_listening)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    if (!harness_has_v6()) {
        sockref_release(ref);
        return;
    }
    expect_echo(harness_text("tcp:%s:%u", _i ? "localhost" : "6.4.test", port_of(ref)), "bfbOYD");
    ck_assert_str_eq(tried, "64");
    ck_assert_int_eq(last_failure, -ECONNREFUSED);
    sockref_release(ref);
}
END_TEST

START_TEST(the_order_is_the_resolvers_with_the_families_in_turn)
{
    static const char *const orders[][2] = {
        {"6.6.4.4.test", "6464"}, {"4.4.6.test", "464"}, {"6.6.test", "66"}, {"4.6.test", "46"}};

    if (!harness_has_v6())
        return;
    expect_failure(harness_text("tcp:%s:%u", orders[_i][0], free_port()), -ECONNREFUSED,
                   harness_text("%.*sXZS", (int)strlen(orders[_i][1]) * 2, "bfbfbfbf"));
    ck_assert_str_eq(tried, orders[_i][1]);
}
END_TEST

START_TEST(one_family_may_be_asked_for)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    options.family = SOCKREF_FAMILY_IPV4;
    expect_echo(harness_text("tcp:%s:%u", _i ? "localhost" : "6.4.test", port_of(ref)), "bOYD");
    ck_assert_str_eq(tried, "4");
    sockref_release(ref);
}
END_TEST

/* ---- attempts ---- */

/* RFC 8305: they go on beside each other, and the first to connect wins. */
START_TEST(a_late_attempt_may_win)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    add_address(SOCKREF_FAMILY_IPV4, 3);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blblb") == 0);
    ck_assert_int_eq(last_failure, -ETIMEDOUT);
    answer((unsigned)_i, 0);
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_str_eq(record.events, "blblbOY");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(is_given_up((unsigned)i), i != _i);
    end(conn);
    ck_assert_int_eq(atomic_load(&script_calls), 0);
}
END_TEST

/* Their events come in one turn: the second one's is of an attempt that is closed. */
START_TEST(two_attempts_may_be_answered_at_once)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    if (_i & 2)
        destroy_at = "O";
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(0, _i & 1 ? ECONNREFUSED : 0);
    answer(1, 0);
    DRIVE_UNTIL(strchr(record.events, 'O'));
    ck_assert_int_eq(record.errors, 0);
    end(conn);
}
END_TEST

START_TEST(both_may_fail_at_once)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(0, ENETUNREACH);
    answer(1, ECONNRESET);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "blbffXZS");
    ck_assert(record.status == -ENETUNREACH || record.status == -ECONNRESET);
    ck_assert_int_eq(record.status, last_failure);
    sockref_conn_release(conn);
}
END_TEST

/* The next one need not wait for the delay. */
START_TEST(a_failure_begins_the_next_attempt)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 1000000;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    answer(0, EHOSTUNREACH);
    DRIVE_UNTIL(strcmp(record.events, "bfb") == 0);
    ck_assert_int_eq(last_failure, -EHOSTUNREACH);
    answer(1, 0);
    DRIVE_UNTIL(strcmp(record.events, "bfbOY") == 0);
    end(conn);
}
END_TEST

START_TEST(an_older_failure_leaves_the_newest_its_delay)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 50;
    for (unsigned port = 1; port <= 3; port++)
        add_address(SOCKREF_FAMILY_IPV4, port);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strncmp(record.events, "blb", 3) == 0);
    answer(0, ECONNREFUSED);
    DRIVE_UNTIL(strchr(record.events, 'f') && tried[2]);
    /* The third begins when the second is late, whenever the first failed. */
    ck_assert_msg(strcmp(record.events, "blbflb") == 0 || strcmp(record.events, "blblbf") == 0,
                  "%s", record.events);
    end(conn);
}
END_TEST

START_TEST(the_status_is_that_of_the_last_to_fail)
{
    sockref_conn *conn;

    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    answer(1, ECONNREFUSED);
    DRIVE_UNTIL(strcmp(record.events, "blbf") == 0);
    drive_all();
    ck_assert_int_eq(record.errors, 0);
    answer(0, ENETUNREACH);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "blbffXZS");
    ck_assert_int_eq(record.status, -ENETUNREACH);
    ck_assert_ptr_nonnull(strstr(message, "127.0.0.1:1"));
    sockref_conn_release(conn);
}
END_TEST

START_TEST(one_by_one_gives_up_who_is_late)
{
    sockref_conn *conn;

    options.flags = SOCKREF_CONNECT_ONE_BY_ONE;
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
    ck_assert(is_given_up(0));
    for (int i = 0; i < 3; i++) /* the last one has all the time there is */
        ck_assert_int_ge(sockref_loop_dispatch(loop, 20), 0);
    ck_assert_str_eq(record.events, "blb");
    answer(1, _i ? ECONNREFUSED : 0);
    DRIVE_UNTIL(strchr(record.events, _i ? 'S' : 'Y'));
    ck_assert_str_eq(record.events, _i ? "blbfXZS" : "blbOY");
    end(conn);
}
END_TEST

START_TEST(first_only_has_no_next)
{
    sockref_conn *conn;

    options.flags = SOCKREF_CONNECT_FIRST_ONLY;
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    conn = begin("tcp:4.test:80");
    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 20), 0);
    ck_assert_str_eq(record.events, "b");
    answer(0, ECONNREFUSED);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfXZS");
    sockref_conn_release(conn);
}
END_TEST

/* In the order they have, and with the name's port where they have none. */
START_TEST(addresses_that_are_known_are_tried_as_they_are)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    if (harness_has_v6())
        add_address(SOCKREF_FAMILY_IPV6, free_port());
    add_address(SOCKREF_FAMILY_IPV4, free_port());
    add_address(SOCKREF_FAMILY_IPV4, 0);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    expect_echo(harness_text("tcp:none.test:%u", port_of(ref)),
                options.address_count == 4 ? "bfbfbOYD" : "bfbOYD");
    ck_assert_str_eq(tried, options.address_count == 4 ? "644" : "44");
    ck_assert_int_eq(atomic_load(&script_calls), 0);
    sockref_release(ref);
}
END_TEST

/* An older program's addresses are shorter, all of them. */
START_TEST(addresses_have_the_size_they_say)
{
    const size_t size = offsetof(sockref_address, host) + 16;
    sockref *ref = echo_at("tcp:127.0.0.1:0");
    unsigned char old[2 * sizeof(sockref_address)];

    add_address(SOCKREF_FAMILY_IPV4, free_port());
    add_address(SOCKREF_FAMILY_IPV4, port_of(ref));
    addresses[0].size = addresses[1].size = size;
    memcpy(old, &addresses[0], size);
    memcpy(old + size, &addresses[1], size);
    memcpy(addresses, old, 2 * size);
    expect_echo("tcp:none.test:1", "bfbOYD");
    sockref_release(ref);
}
END_TEST

/* ---- our end ---- */

static sockref_address local_of(sockref_conn *conn)
{
    sockref_conn_details details = {.size = sizeof details};

    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    return details.local;
}

START_TEST(our_address_and_port_may_be_chosen)
{
    sockref *ref = listen_at("tcp:127.0.0.1:0");
    sockref_address local;
    sockref_conn *conn;

    if (_i & 1)
        options.local_host = "127.0.0.2";
    if (_i & 2)
        options.local_port = free_port();
    conn = begin(harness_text("tcp:localhost:%u", port_of(ref)));
    DRIVE_UNTIL(strchr(record.events, 'Y') || record.errors);
    ck_assert_int_eq(record.status, 0);
    local = local_of(conn);
    ck_assert_str_eq(local.host, _i & 1 ? "127.0.0.2" : "127.0.0.1");
    if (_i & 2)
        ck_assert_uint_eq(local.port, options.local_port);
    end(conn);
    sockref_release(ref);
}
END_TEST

/* Only addresses of the same family can be reached from it. */
START_TEST(our_address_says_the_family)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");

    options.local_host = "127.0.0.1";
    expect_echo(harness_text("tcp:6.4.test:%u", port_of(ref)), "bOYD");
    ck_assert_str_eq(tried, "4");
    sockref_release(ref);
}
END_TEST

/* ---- the time there is ---- */

START_TEST(the_time_includes_the_lookup)
{
    options.timeout_ms = 20;
    expect_failure("tcp:slow.4.test:80", -ETIMEDOUT, "XZS");
    ck_assert_ptr_nonnull(strstr(message, "20 milliseconds"));
    script_let_go(1);
}
END_TEST

START_TEST(the_time_includes_the_attempts)
{
    options.timeout_ms = 60;
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    expect_failure("tcp:4.test:80", -ETIMEDOUT, "blbXZS");
    ck_assert(is_given_up(0) && is_given_up(1));
}
END_TEST

START_TEST(a_connection_that_is_made_has_no_time_limit)
{
    sockref *ref = echo_at("tcp:127.0.0.1:0");
    sockref_conn *conn;

    options.timeout_ms = 1000;
    conn = begin(sockref_path(ref));
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_ptr_null(loop->timers.first);
    end(conn);
    sockref_release(ref);
}
END_TEST

/* A listener whose queue is full, and a connection that waits in it. */
static int fill_queue(sockref **out_ref)
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

/* As a blocking connect() would wait. */
START_TEST(a_full_queue_is_waited_for)
{
    sockref *ref;
    int listener = fill_queue(&ref), fd;
    sockref_conn *conn = begin(path);

    for (int i = 0; i < 3; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 5), 0);
    ck_assert_str_eq(record.events, "b");
    while ((fd = accept(listener, NULL, NULL)) >= 0)
        close(fd);
    DRIVE_UNTIL(strchr(record.events, 'Y') || record.errors);
    ck_assert_str_eq(record.events, "bOY");
    end(conn);
    sockref_release(ref);
}
END_TEST

START_TEST(a_full_queue_is_waited_for_no_longer_than_asked)
{
    sockref *ref;

    fill_queue(&ref);
    options.timeout_ms = 30;
    expect_failure(path, -ETIMEDOUT, "bXZS");
    sockref_release(ref);
}
END_TEST

/* The listener goes while its queue is full. */
START_TEST(a_full_queue_may_end)
{
    sockref *ref;
    sockref_conn *conn;

    fill_queue(&ref);
    conn = begin(path);
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfXZS");
    ck_assert_int_eq(record.status, -ENOENT);
    sockref_conn_release(conn);
}
END_TEST

/* ---- cancelling ---- */

static sockref_conn *begin_silent(void)
{
    options.attempt_delay_ms = 10;
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV4, 2);
    return begin("tcp:4.test:80");
}

START_TEST(it_is_destroyed_before_it_begins)
{
    end(begin(_i ? path : "tcp:4.test:80"));
    ck_assert_str_eq(record.events, "ZS");
    ck_assert_int_eq(atomic_load(&script_calls), 0);
}
END_TEST

/* D47: under the address sanitizer, what the thread comes back to is gone. */
START_TEST(d47_it_is_destroyed_in_its_lookup)
{
    sockref_conn *conn = begin("tcp:slow.6.4.test:80");

    DRIVE_UNTIL(atomic_load(&script_running) == 1);
    end(conn);
    ck_assert_str_eq(record.events, "ZS");
    script_let_go(1);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    drive_all();
    ck_assert_str_eq(record.events, "ZS");
}
END_TEST

/* The answer and the destroying meet. */
START_TEST(d47_it_is_destroyed_with_the_answer_under_way)
{
    sockref_conn *conn = begin("tcp:slow.4.test:80");

    DRIVE_UNTIL(atomic_load(&script_running) == 1);
    script_let_go(1);
    WAIT_UNTIL(atomic_load(&script_running) == 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    end(conn);
    ck_assert_str_eq(record.events, "ZS");
}
END_TEST

START_TEST(it_is_destroyed_in_its_attempts)
{
    sockref_conn *conn = begin_silent();

    DRIVE_UNTIL(strcmp(record.events, _i ? "blb" : "b") == 0);
    end(conn);
    ck_assert_str_eq(record.events, _i ? "blbZS" : "bZS");
    ck_assert(is_given_up(0));
}
END_TEST

START_TEST(it_is_destroyed_where_a_queue_is_full)
{
    sockref *ref;
    sockref_conn *conn;

    fill_queue(&ref);
    conn = begin(path);
    DRIVE_UNTIL(strcmp(record.events, "b") == 0);
    end(conn);
    ck_assert_str_eq(record.events, "bZS");
    sockref_release(ref);
}
END_TEST

/* In each callback there is: nothing but on_close and on_stop follows. */
static const struct {
    const char *at;
    const char *events;
} inside[] = {
    {"b", "bZS"}, {"l", "blZS"}, {"f", "blbfZS"}, {"O", "blbfOZS"}, {"Y", "blbfOYZS"},
};

START_TEST(it_is_destroyed_inside_a_callback)
{
    sockref_conn *conn;

    destroy_at = inside[_i].at;
    conn = begin_silent();
    DRIVE_UNTIL(record.stops == 1 || strcmp(record.events, "blb") == 0);
    if (record.stops == 0) {
        answer(0, ECONNREFUSED);
        DRIVE_UNTIL(record.stops == 1 || strcmp(record.events, "blbf") == 0);
    }
    if (record.stops == 0)
        answer(1, 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, inside[_i].events);
    ck_assert(!record.had_error);
    sockref_conn_release(conn);
}
END_TEST

/* The failure that is told already is told no more. */
START_TEST(it_is_destroyed_inside_the_last_failure)
{
    sockref_conn *conn;

    destroy_at = "f";
    conn = begin(harness_text("tcp:127.0.0.1:%u", free_port()));
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "bfZS");
    ck_assert(!record.had_error);
    sockref_conn_release(conn);
}
END_TEST

enum moment { AT_ONCE, IN_LOOKUP, IN_ATTEMPTS, IN_QUEUE, MOMENTS };

START_TEST(freeing_the_loop_cancels)
{
    sockref *ref = NULL;
    sockref_conn *conn;

    switch ((enum moment)_i) {
    case IN_LOOKUP:
        conn = begin("tcp:slow.4.test:80");
        DRIVE_UNTIL(atomic_load(&script_running) == 1);
        break;
    case IN_ATTEMPTS:
        conn = begin_silent();
        DRIVE_UNTIL(strcmp(record.events, "blb") == 0);
        break;
    case IN_QUEUE:
        fill_queue(&ref);
        conn = begin(path);
        DRIVE_UNTIL(strcmp(record.events, "b") == 0);
        break;
    default:
        conn = begin("tcp:4.test:80");
    }
    memset(record.events, 0, sizeof record.events);
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_str_eq(record.events, "ZS");
    sockref_conn_release(conn);
    script_let_go(1);
    sockref_release(ref);
}
END_TEST

/* In a forked child the parent's connections are dead memory. */
START_TEST(a_forked_child_frees_what_it_got)
{
    sockref_conn *conn = _i ? begin_silent() : begin("tcp:slow.4.test:80");
    pid_t child;
    int status;

    DRIVE_UNTIL(_i ? strcmp(record.events, "blb") == 0 : atomic_load(&script_running) == 1);
    child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        sockref_conn_destroy(conn);
        sockref_loop_free(loop);
        sockref_conn_release(conn);
        _exit(record.closes || record.stops);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    script_let_go(1);
    end(conn);
}
END_TEST

/* ---- the library's own loop ---- */

static atomic_int stopped;

static void count_stop(void *user)
{
    (void)user;
    atomic_fetch_add(&stopped, 1);
}

static void end_at_once(sockref_conn *conn, void *user)
{
    (void)user;
    sockref_conn_destroy(conn);
}

START_TEST(without_a_loop_it_is_the_librarys)
{
    const sockref_handlers own = {
        .size = sizeof own, .on_ready = end_at_once, .on_stop = count_stop};
    sockref *ref = listen_at("tcp:127.0.0.1:0");

    for (int i = 0; i < 10; i++)
        harness_assert_ok(sockref_connect(NULL, i % 2 ? sockref_path(ref) : "tcp:slow.none.test:1",
                                          NULL, &own, NULL, NULL));
    WAIT_UNTIL(atomic_load(&script_running) == SR_RESOLVE_THREADS);
    script_let_go(5);
    WAIT_UNTIL(atomic_load(&stopped) == 10);
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert(UNDER_SANITIZER || harness_threads_become(threads_before));
}
END_TEST

/* ---- wrong arguments ---- */

static const struct {
    const char *name;
    int status;
} names[] = {
    {"", SOCKREF_EPATH},
    {"@", SOCKREF_EPATH},
    {"tcp:", SOCKREF_EPATH},
    {"tcp:localhost", SOCKREF_EPATH},
    {"tcp:localhost:", SOCKREF_EPATH},
    {"tcp:localhost:http", SOCKREF_EPATH},
    {"tcp:localhost:65536", SOCKREF_EPATH},
    {"tcp:::1:80", SOCKREF_EPATH},
    {"tcp:[localhost]:80", SOCKREF_EPATH},
    {"tcp:[127.0.0.1]:80", SOCKREF_EPATH},
    {"tcp:[::1]", SOCKREF_EPATH},
    {"tcp:a b:80", SOCKREF_EPATH},
    {"tcp:a\nb:80", SOCKREF_EPATH},
};

static void expect_refusal(const char *name, int status)
{
    sockref_conn *conn = NULL;

    harness_assert_fails(sockref_connect(loop, name, &options, &handlers, &record, &conn), status);
    ck_assert_ptr_null(conn);
    drive_all();
    ck_assert_str_eq(record.events, "");
}

START_TEST(what_is_no_name_is_refused)
{
    expect_refusal(names[_i].name, names[_i].status);
}
END_TEST

START_TEST(what_is_too_long_is_refused)
{
    char text[5000];

    memset(text, 'a', sizeof text);
    text[0] = '@';
    text[108] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN);
    memset(text, 'a', sizeof text);
    text[108] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN); /* a leaf */
    memset(text, 'a', sizeof text);
    for (int i = 1; i < 4096; i += 2)
        text[i] = '/';
    text[4096] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN);
    memset(text, 'a', sizeof text);
    memcpy(text, "tcp:", 4);
    strcpy(text + 4 + 254, ":80");
    expect_refusal(text, SOCKREF_EPATH);
}
END_TEST

static void spoil_size(void)
{
    options.size = 0;
}
static void spoil_larger_size(void)
{
    options.size = sizeof options + 1;
}
static void spoil_flags(void)
{
    options.flags = 4;
}
static void spoil_family(void)
{
    options.family = 5;
}
static void spoil_unix_family(void)
{
    options.family = SOCKREF_FAMILY_UNIX;
}
static void spoil_local_host(void)
{
    options.local_host = "localhost";
}
static void spoil_local_port(void)
{
    options.local_port = 65536;
}
static void spoil_zone(void)
{
    options.local_host = "fe80::1%nowhere0";
}

static void spoil_local_family(void)
{
    options.local_host = "127.0.0.1";
    options.family = SOCKREF_FAMILY_IPV6;
}

static void spoil_addresses(void)
{
    options.address_count = 1;
}

static void spoil_count(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    options.address_count = 0;
}

static void spoil_address(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV6, 1);
    addresses[1].family = SOCKREF_FAMILY_IPV4;
}

static void spoil_address_family(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    addresses[0].family = SOCKREF_FAMILY_UNIX;
}

static void spoil_address_size(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    addresses[0].size = 0;
}

static void spoil_wanted_family(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    options.family = SOCKREF_FAMILY_IPV6;
}

static void (*const spoilers[])(void) = {
    spoil_size,           spoil_larger_size,  spoil_flags,         spoil_family,
    spoil_unix_family,    spoil_local_host,   spoil_local_port,    spoil_zone,
    spoil_local_family,   spoil_addresses,    spoil_count,         spoil_address,
    spoil_address_family, spoil_address_size, spoil_wanted_family,
};

START_TEST(wrong_options_are_refused)
{
    spoilers[_i]();
    expect_refusal("tcp:4.test:80", -EINVAL);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    sockref_handlers wrong = handlers;
    sockref_loop *other;

    expect_refusal(NULL, -EINVAL);
    harness_assert_fails(sockref_connect(loop, path, NULL, NULL, NULL, NULL), -EINVAL);
    wrong.size = sizeof wrong + 1;
    harness_assert_fails(sockref_connect(loop, path, NULL, &wrong, NULL, NULL), -EINVAL);
    add_address(SOCKREF_FAMILY_IPV4, 1);
    expect_refusal(path, -EINVAL);
    options.addresses = NULL;
    options.address_count = 0;
    ck_assert_int_eq(sockref_loop_new(&other), 0);
    sr_mutex_lock(&other->mutex);
    other->closing = true;
    sr_mutex_unlock(&other->mutex);
    harness_assert_fails(sockref_connect(other, path, NULL, &handlers, &record, NULL),
                         SOCKREF_ECLOSED);
    sockref_loop_free(other);
    ck_assert_str_eq(record.events, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connect");
    TCase *tcase = tcase_create("connect");

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))
    tcase_add_checked_fixture(tcase, begin_case, end_case);
    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_path_is_connected_to);
    tcase_add_test(tcase, an_abstract_name_is_connected_to);
    tcase_add_test(tcase, a_tcp_name_is_connected_to);
    tcase_add_test(tcase, an_ipv6_name_is_connected_to);
    tcase_add_test(tcase, a_name_without_a_host_is_this_machine);
    tcase_add_loop_test(tcase, a_relative_path_is_the_systems, 0, 3);
    tcase_add_loop_test(tcase, a_path_may_be_longer_than_an_address, 0, 2);
    tcase_add_test(tcase, a_missing_file_is_told);
    tcase_add_test(tcase, a_missing_directory_of_a_long_path_is_told);
    tcase_add_test(tcase, a_dead_socket_refuses);
    tcase_add_test(tcase, a_socket_of_another_type_is_told);
    tcase_add_test(tcase, permission_is_asked_of_the_system);
    tcase_add_test(tcase, a_port_without_a_listener_refuses);
    tcase_add_test(tcase, an_address_of_ours_that_is_not_here_is_told);
    tcase_add_loop_test(tcase, a_lookup_that_fails_is_told, 0, COUNT(lookups));
    tcase_add_loop_test(tcase, a_family_that_the_host_lacks_is_told, 0, 2);
    tcase_add_loop_test(tcase, d47_localhost_with_only_ipv4_listening, 0, 2);
    tcase_add_loop_test(tcase, the_order_is_the_resolvers_with_the_families_in_turn, 0, 4);
    tcase_add_loop_test(tcase, one_family_may_be_asked_for, 0, 2);
    tcase_add_loop_test(tcase, a_late_attempt_may_win, 0, 3);
    tcase_add_loop_test(tcase, two_attempts_may_be_answered_at_once, 0, 4);
    tcase_add_test(tcase, both_may_fail_at_once);
    tcase_add_test(tcase, a_failure_begins_the_next_attempt);
    tcase_add_test(tcase, an_older_failure_leaves_the_newest_its_delay);
    tcase_add_test(tcase, the_status_is_that_of_the_last_to_fail);
    tcase_add_loop_test(tcase, one_by_one_gives_up_who_is_late, 0, 2);
    tcase_add_test(tcase, first_only_has_no_next);
    tcase_add_test(tcase, addresses_that_are_known_are_tried_as_they_are);
    tcase_add_test(tcase, addresses_have_the_size_they_say);
    tcase_add_loop_test(tcase, our_address_and_port_may_be_chosen, 0, 4);
    tcase_add_test(tcase, our_address_says_the_family);
    tcase_add_test(tcase, the_time_includes_the_lookup);
    tcase_add_test(tcase, the_time_includes_the_attempts);
    tcase_add_test(tcase, a_connection_that_is_made_has_no_time_limit);
    tcase_add_test(tcase, a_full_queue_is_waited_for);
    tcase_add_test(tcase, a_full_queue_is_waited_for_no_longer_than_asked);
    tcase_add_test(tcase, a_full_queue_may_end);
    tcase_add_loop_test(tcase, it_is_destroyed_before_it_begins, 0, 2);
    tcase_add_test(tcase, d47_it_is_destroyed_in_its_lookup);
    tcase_add_test(tcase, d47_it_is_destroyed_with_the_answer_under_way);
    tcase_add_loop_test(tcase, it_is_destroyed_in_its_attempts, 0, 2);
    tcase_add_test(tcase, it_is_destroyed_where_a_queue_is_full);
    tcase_add_loop_test(tcase, it_is_destroyed_inside_a_callback, 0, COUNT(inside));
    tcase_add_test(tcase, it_is_destroyed_inside_the_last_failure);
    tcase_add_loop_test(tcase, freeing_the_loop_cancels, 0, MOMENTS);
    tcase_add_loop_test(tcase, a_forked_child_frees_what_it_got, 0, 2);
    tcase_add_test(tcase, without_a_loop_it_is_the_librarys);
    tcase_add_loop_test(tcase, what_is_no_name_is_refused, 0, COUNT(names));
    tcase_add_test(tcase, what_is_too_long_is_refused);
    tcase_add_loop_test(tcase, wrong_options_are_refused, 0, COUNT(spoilers));
    tcase_add_test(tcase, wrong_arguments_are_refused);
    return run_suite(suite);
}
