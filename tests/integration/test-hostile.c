/*
 * Slow, stuck and hostile peers. Whatever they do, another connection of the same service goes on
 * being answered, and what is kept for them is bounded.
 */
#include "util.h"

#include <netinet/in.h>
#include <sys/resource.h>

#define HIGH_WATER 65536u

/* ---- the service: an echo with a time-out, on the library's own thread ---- */

static sockref *ref;
static atomic_int connections, ended, errors, timeouts, stops;
static _Atomic uint64_t most_queued;

static void count_connection(sockref_conn *conn, void *user)
{
    (void)conn, (void)user;
    atomic_fetch_add(&connections, 1);
}

static void note_queued(sockref_conn *conn)
{
    uint64_t queued;

    sockref_conn_bytes(conn, NULL, NULL, &queued);
    if (queued > atomic_load(&most_queued))
        atomic_store(&most_queued, queued);
}

static void send_back(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)user;
    if (sockref_conn_write(conn, data, length) == SOCKREF_WRITE_FULL)
        sockref_conn_pause(conn);
    note_queued(conn);
}

static void go_on(sockref_conn *conn, void *user)
{
    (void)user;
    sockref_conn_resume(conn);
}

static void give_up(sockref_conn *conn, void *user)
{
    (void)user;
    atomic_fetch_add(&timeouts, 1);
    sockref_conn_destroy(conn);
}

static void count_error(sockref_conn *conn, int status, void *user)
{
    (void)conn, (void)user;
    ck_assert(status == -ECONNRESET || status == -EPIPE);
    atomic_fetch_add(&errors, 1);
}

static void count_close(sockref_conn *conn, bool had_error, void *user)
{
    (void)conn, (void)had_error, (void)user;
    atomic_fetch_add(&ended, 1);
}

static void count_stop(void *user)
{
    (void)user;
    atomic_fetch_add(&stops, 1);
}

static void serve(const char *name, unsigned timeout_ms)
{
    const sockref_conn_options options = {
        .size = sizeof options, .timeout_ms = timeout_ms, .high_water = HIGH_WATER};
    const sockref_handlers handlers = {
        .size = sizeof handlers,
        .on_connection = count_connection,
        .on_data = send_back,
        .on_drain = go_on,
        .on_timeout = give_up,
        .on_error = count_error,
        .on_close = count_close,
        .on_stop = count_stop,
        .options = &options,
    };

    ref = start(NULL, name);
    ck_assert_int_eq(sockref_serve(ref, &handlers, NULL), 0);
}

static void stop(void)
{
    sockref_release(ref);
    WAIT_UNTIL(atomic_load(&stops) == 1);
    ck_assert_int_eq(ended, connections);
}

static bool can_read(int fd, int timeout_ms)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};

    return poll(&item, 1, timeout_ms) == 1;
}

/* One trip of the honest client. */
static void ask(int honest)
{
    char byte = 0;

    ck_assert_int_eq(send(honest, "?", 1, MSG_NOSIGNAL), 1);
    ck_assert(can_read(honest, PATIENCE_MS));
    ck_assert_int_eq(recv(honest, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, '?');
}

static void set_nonblocking(int fd)
{
    ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* Send until the socket takes no more for a while. Returns how much it took. */
static uint64_t stuff(int fd)
{
    static char bytes[65536];
    struct pollfd item = {.fd = fd, .events = POLLOUT};
    uint64_t sent = 0;
    ssize_t length;

    set_nonblocking(fd);
    while (poll(&item, 1, 100) == 1) {
        length = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
        if (length < 0)
            break;
        sent += (uint64_t)length;
    }
    return sent;
}

/* ---- what they do ---- */

#define PEERS 100

START_TEST(a_byte_now_and_then_keeps_nobody_waiting)
{
    int slow[PEERS], honest;

    serve(path, 0);
    honest = dial(path);
    for (int i = 0; i < PEERS; i++)
        slow[i] = dial(path);
    for (int round = 0; round < 20; round++) {
        for (int i = round % 5; i < PEERS; i += 5)
            ck_assert_int_eq(send(slow[i], "x", 1, MSG_NOSIGNAL), 1);
        ask(honest);
    }
    ck_assert_uint_eq(atomic_load(&most_queued), 0);
    for (int i = 0; i < PEERS; i++)
        close(slow[i]);
    ask(honest);
    close(honest);
    stop();
}
END_TEST

START_TEST(who_never_reads_is_read_no_more)
{
    int greedy[4], honest;
    uint64_t taken = 0;

    serve(path, 0);
    honest = dial(path);
    for (int i = 0; i < 4; i++) {
        greedy[i] = dial(path);
        taken += stuff(greedy[i]);
        ask(honest);
    }
    ck_assert_uint_gt(taken, 4 * HIGH_WATER);
    ck_assert_uint_gt(atomic_load(&most_queued), 0);
    ck_assert_uint_le(atomic_load(&most_queued), HIGH_WATER + 65536);
    ask(honest);
    for (int i = 0; i < 4; i++)
        close(greedy[i]);
    close(honest);
    stop();
}
END_TEST

/* A flood when descriptors run out: those that are connected go on, the others wait or are turned
 * away, and afterwards all is as before. */
START_TEST(a_flood_without_descriptors_stops_nobody)
{
    struct rlimit limit, low;
    int flood[64], count = 0, honest, fd;

    serve(path, 0);
    honest = dial(path);
    ask(honest);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){(rlim_t)honest + 40, limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    /* Both ends are of this process: half of them are ours. */
    while (count < 64 && (fd = try_dial(path)) >= 0) {
        flood[count++] = fd;
        ask(honest);
    }
    ck_assert_int_lt(count, 64);
    for (int round = 0; round < 50; round++)
        ask(honest);
    for (int i = 0; i < count; i++)
        close(flood[i]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    fd = dial(path);
    ask(fd);
    close(fd);
    ask(honest);
    close(honest);
    stop();
}
END_TEST

static int dial_tcp(const sockref_address *to)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)to->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

START_TEST(resets_in_the_middle_of_writing_are_errors_of_their_own)
{
    const struct linger none = {.l_onoff = 1};
    sockref_address address = {.size = sizeof address};
    static char bytes[100000];
    int honest, fd;

    serve("tcp:127.0.0.1:0", 0);
    ck_assert_int_eq(sockref_local_address(ref, &address), 0);
    honest = dial_tcp(&address);
    for (int i = 0; i < 30; i++) {
        fd = dial_tcp(&address);
        ck_assert_int_eq(send(fd, bytes, sizeof bytes, MSG_NOSIGNAL), sizeof bytes);
        ck_assert(can_read(fd, PATIENCE_MS));
        ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
        close(fd);
        ask(honest);
    }
    WAIT_UNTIL(atomic_load(&ended) == 30);
    ck_assert_int_gt(errors, 0);
    ask(honest);
    close(honest);
    stop();
}
END_TEST

START_TEST(descriptors_that_nobody_wants_are_never_taken_in)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(200 * sizeof(int))];
    struct iovec part = {"x", 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    struct cmsghdr *head;
    int fds[200], sender, honest, open_now;
    char byte;

    serve(path, 0);
    honest = dial(path);
    sender = dial(path);
    ask(honest);
    ask(sender);
    open_now = count_fds();
    for (int i = 0; i < 200; i++)
        fds[i] = sender;
    memset(room, 0, sizeof room);
    head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(sendmsg(sender, &message, MSG_NOSIGNAL), 1);
        ck_assert(can_read(sender, PATIENCE_MS));
        ck_assert_int_eq(recv(sender, &byte, 1, 0), 1);
        ck_assert_int_eq(count_fds(), open_now);
    }
    ask(honest);
    close(sender);
    close(honest);
    stop();
}
END_TEST

/* Every second one has ended its side and does not read what it is sent. */
START_TEST(who_is_silent_or_half_open_for_ever_is_ended_by_the_time_out)
{
    int silent[PEERS], honest;

    serve(path, 300);
    for (int i = 0; i < PEERS; i++) {
        silent[i] = dial(path);
        if (i % 2 == 0)
            continue;
        if (i < 6)
            stuff(silent[i]);
        shutdown(silent[i], SHUT_WR);
    }
    honest = dial(path);
    while (atomic_load(&timeouts) < PEERS / 2 + 3) {
        ask(honest);
        poll(NULL, 0, 10);
    }
    WAIT_UNTIL(atomic_load(&ended) == PEERS);
    ck_assert_uint_eq(sockref_connection_count(ref), 1);
    for (int i = 0; i < PEERS; i++)
        close(silent[i]);
    ask(honest);
    close(honest);
    stop();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("hostile peers");
    TCase *tcase = add_case(suite, "hostile");

    tcase_add_test(tcase, a_byte_now_and_then_keeps_nobody_waiting);
    tcase_add_test(tcase, who_never_reads_is_read_no_more);
    tcase_add_test(tcase, a_flood_without_descriptors_stops_nobody);
    tcase_add_test(tcase, resets_in_the_middle_of_writing_are_errors_of_their_own);
    tcase_add_test(tcase, descriptors_that_nobody_wants_are_never_taken_in);
    tcase_add_test(tcase, who_is_silent_or_half_open_for_ever_is_ended_by_the_time_out);
    return run_suite(suite, argc, argv, NULL);
}
