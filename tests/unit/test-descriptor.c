/* Descriptors that are passed along, and those that nobody wants: src/net/conn_read.c,
 * src/net/conn_write.c */
#include "test-conn-helpers.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <sys/resource.h>
#include <sys/stat.h>

#define MOST 300

static int got[MOST], got_count;
static size_t bytes_at[MOST]; /* that had come before it */

static void take_descriptor(sockref_conn *self, int fd, void *user)
{
    struct record *r = user;

    ck_assert_int_lt(got_count, MOST);
    bytes_at[got_count] = r->bytes;
    got[got_count++] = fd;
    note(user, 'F', self);
}

static void setup_taking(void)
{
    sockref_handlers handlers = recording_all();

    setup();
    handlers.on_descriptor = take_descriptor;
    adopt_pair(unix_pair, &handlers);
    DRIVE_UNTIL(count_of('Y') == 1);
}

static void teardown_taking(void)
{
    for (int i = 0; i < got_count; i++)
        close(got[i]);
    teardown_adopted();
}

static void setup_plain(void)
{
    setup();
    adopt_recording(unix_pair, NULL);
    DRIVE_UNTIL(count_of('Y') == 1);
}

/* As a peer without the library does. */
static void pass(const int *fds, size_t count, const char *text)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(MOST * sizeof(int))] = {0};
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    ck_assert_int_eq(sendmsg(peer, &message, 0), (ssize_t)strlen(text));
}

/* Read exactly so many bytes, while the loop runs. Returns the descriptor that came with them, or
 * -1. */
static int receive(size_t length)
{
    static char buffer[1 << 20];
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(8 * sizeof(int))];
    uint64_t until = deadline();
    size_t had = 0;
    int fd = -1;

    while (had < length) {
        struct iovec part = {buffer, length - had < sizeof buffer ? length - had : sizeof buffer};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        struct cmsghdr *head;
        ssize_t some;

        ck_assert(sr_clock_ns() < until);
        sockref_loop_dispatch(loop, 0);
        some = recvmsg(peer, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (some <= 0)
            continue;
        had += (size_t)some;
        head = CMSG_FIRSTHDR(&message);
        if (!head)
            continue;
        ck_assert_int_eq(fd, -1);
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
    }
    return fd;
}

static bool is_same_file(int a, int b)
{
    struct stat first, second;

    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

START_TEST(it_comes_before_its_bytes_and_is_the_callees)
{
    int pipes[2];

    ck_assert_int_eq(pipe(pipes), 0);
    send_text(peer, "first");
    DRIVE_UNTIL(record.bytes == 5);
    pass(pipes, 2, "second");
    DRIVE_UNTIL(record.bytes == 11);
    ck_assert_str_eq(record.events, "YDFFD");
    for (int i = 0; i < 2; i++) {
        ck_assert(is_same_file(pipes[i], got[i]));
        ck_assert_int_eq(fcntl(got[i], F_GETFD), FD_CLOEXEC);
        ck_assert_uint_eq(bytes_at[i], 5);
        close(pipes[i]);
    }
    end_adopted();
    ck_assert_int_ge(fcntl(got[0], F_GETFD), 0);
}
END_TEST

START_TEST(without_the_handler_none_is_ever_installed)
{
    int fds[64];
    unsigned before = harness_descriptors();

    for (int i = 0; i < 64; i++)
        fds[i] = peer;
    for (int i = 0; i < 20; i++) {
        uint64_t had = record.bytes;

        pass(fds, 64, "uninvited");
        DRIVE_UNTIL(record.bytes == had + 9);
        ck_assert_uint_eq(harness_descriptors(), before);
    }
}
END_TEST

START_TEST(of_very_many_in_a_message_those_without_room_are_closed)
{
    int fds[250];
    unsigned before = harness_descriptors();

    for (int i = 0; i < 250; i++)
        fds[i] = peer;
    harness_log();
    pass(fds, 250, "flood");
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_uint_eq(harness_logged("descriptors_lost"), 1);
    ck_assert_int_eq(got_count, SR_FD_MOST_RECEIVED);
    ck_assert_uint_eq(harness_descriptors(), before + SR_FD_MOST_RECEIVED);
}
END_TEST

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

/* Whoever set the socket so; the system may know no pidfds, and then only credentials come. */
START_TEST(what_the_system_tells_of_the_sender_takes_nothing)
{
    const int one = 1, fd = sockref_conn_fd(conn);
    int fds[SR_FD_MOST_RECEIVED];
    unsigned before = harness_descriptors();

    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof one), 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof one);
    send_text(peer, "first");
    DRIVE_UNTIL(record.bytes == 5);
    ck_assert_uint_eq(harness_descriptors(), before);
    for (int i = 0; i < SR_FD_MOST_RECEIVED; i++)
        fds[i] = peer;
    harness_log();
    pass(fds, SR_FD_MOST_RECEIVED, "second");
    DRIVE_UNTIL(record.bytes == 11);
    ck_assert_uint_eq(harness_logged("descriptors_lost"), 0);
    ck_assert_int_eq(got_count, SR_FD_MOST_RECEIVED);
    ck_assert_uint_eq(harness_descriptors(), before + SR_FD_MOST_RECEIVED);
}
END_TEST

/* The bytes come, and nobody else would tell what is missing. */
START_TEST(of_those_that_find_no_number_the_log_is_told)
{
    struct rlimit before, few;
    int fds[3] = {peer, peer, peer}, top = dup(peer);

    harness_log();
    pass(fds, 3, "starved");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = (rlim_t)top + 1; /* those below it are taken, but for one */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    close(top);
    DRIVE_UNTIL(record.bytes == 7);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(got_count, 1);
    ck_assert_uint_eq(harness_logged("descriptors_lost"), 1);
}
END_TEST

static void destroy_at_first(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    if (event == 'F')
        sockref_conn_destroy(self);
}

START_TEST(destroyed_in_the_handler_the_others_are_closed)
{
    int fds[3] = {peer, peer, peer};
    unsigned before = harness_descriptors();

    record.hook = destroy_at_first;
    pass(fds, 3, "three");
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_int_eq(got_count, 1);
    ck_assert_uint_eq(record.bytes, 0);
    ck_assert_str_eq(record.events, "YFZS");
    ck_assert_uint_eq(harness_descriptors(), before); /* one came, that of the connection went */
}
END_TEST

/* ---- sending ---- */

START_TEST(one_is_sent_with_its_bytes_in_order)
{
    int pipes[2], fd;
    unsigned before;

    ck_assert_int_eq(pipe(pipes), 0);
    before = harness_descriptors();
    ck_assert_int_eq(sockref_conn_write(conn, "before ", 7), 0);
    ck_assert_int_eq(sockref_conn_send_fd(conn, pipes[0], "with ", 5), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "after", 5), 0);
    ck_assert_int_ge(fcntl(pipes[0], F_GETFD), 0);
    drive_all();
    ck_assert_int_eq(receive(7), -1);
    fd = receive(1);
    ck_assert(is_same_file(fd, pipes[0]));
    close(fd);
    expect_text("ith after");
    ck_assert_uint_eq(harness_descriptors(), before);
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

static int given_back;

static void count_back(int status, void *user)
{
    (void)user;
    ck_assert_int_eq(status, 0);
    given_back++;
}

START_TEST(each_keeps_its_place_among_queued_bytes)
{
    uint64_t filled;
    unsigned before;
    int fd;

    fill_until_full(conn);
    filled = details().bytes_written + details().buffered;
    before = harness_descriptors();
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "FD", 2), SOCKREF_WRITE_FULL);
        ck_assert_int_eq(sockref_conn_write_own(conn, block, 1000, count_back, NULL),
                         SOCKREF_WRITE_FULL);
    }
    ck_assert_int_eq(receive(filled), -1);
    for (int i = 0; i < 5; i++) {
        fd = receive(1);
        ck_assert(is_same_file(fd, peer));
        close(fd);
        ck_assert_int_eq(receive(1001), -1);
    }
    DRIVE_UNTIL(given_back == 5);
    ck_assert_uint_eq(harness_descriptors(), before);
}
END_TEST

/* The system counts what all processes of a user have on their way, so it may pass. With a time-out
 * or without one, or changed meanwhile. */
START_TEST(one_that_is_refused_for_now_goes_later)
{
    unsigned before = harness_descriptors();
    int fd;

    if (_i == 1)
        ck_assert_int_eq(sockref_conn_set_timeout(conn, 3600000), 0);
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, ETOOMANYREFS);
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "FD", 2), 0);
    ck_assert_int_eq(sockref_conn_write(conn, "after", 5), 0);
    DRIVE_UNTIL(faults_struck());
    if (_i > 1)
        ck_assert_int_eq(sockref_conn_set_timeout(conn, _i == 2 ? 3600000 : 0), 0);
    fd = receive(1);
    ck_assert(is_same_file(fd, peer));
    close(fd);
    expect_text("Dafter");
    ck_assert_int_eq(record.errors, 0);
    ck_assert_uint_eq(harness_descriptors(), before);
}
END_TEST

/* The loop has nothing to do meanwhile, and the end of the connection is not kept. */
START_TEST(one_that_is_refused_for_ever_costs_little)
{
    unsigned before = harness_descriptors();
    uint64_t began = sr_clock_ns(), calls;

    faults_install();
    faults_arm_from(FAULTS_BIT(FAULTS_sendmsg), 1, ETOOMANYREFS);
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "FD", 2), 0);
    DRIVE_UNTIL(faults_struck());
    for (int i = 0; i < 1000; i++)
        sockref_loop_dispatch(loop, 0);
    calls = faults_calls(FAULTS_sendmsg);
    ck_assert_uint_le(calls, 1 + (sr_clock_ns() - began) / 10000000u);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.closes == 1);
    ck_assert_uint_eq(faults_calls(FAULTS_sendmsg), calls);
    ck_assert_uint_lt(harness_descriptors(), before);
}
END_TEST

START_TEST(at_most_so_many_are_queued_and_all_are_closed)
{
    unsigned before = harness_descriptors();
    int status = 0, count = 0;

    fill_until_full(conn);
    while (status >= 0) {
        ck_assert_int_le(count, 64);
        status = sockref_conn_send_fd(conn, peer, "x", 1);
        count += status >= 0;
    }
    ck_assert_int_eq(status, SOCKREF_ELIMIT);
    ck_assert_int_eq(count, 64);
    ck_assert_uint_eq(harness_descriptors(), before + 64);
    sockref_conn_destroy(conn);
    ck_assert_uint_eq(harness_descriptors(), before);
}
END_TEST

START_TEST(what_can_not_be_passed_is_refused)
{
    ck_assert_int_eq(sockref_conn_send_fd(NULL, peer, "x", 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, NULL, 1), -EINVAL);
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "x", 0), -EINVAL);
    ck_assert_int_eq(sockref_conn_send_fd(conn, -1, "x", 1), -EBADF);
    ck_assert_int_eq(sockref_conn_end(conn), 0);
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "x", 1), SOCKREF_ECLOSED);
    end_adopted();
    memset(&record, 0, sizeof record);
    adopt_recording(tcp_pair, NULL);
    drive_all();
    ck_assert_int_eq(sockref_conn_send_fd(conn, peer, "x", 1), SOCKREF_EUNSUPPORTED);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("descriptor");
    TCase *taking = tcase_create("taking"), *plain = tcase_create("plain");

    tcase_add_checked_fixture(taking, setup_taking, teardown_taking);
    tcase_add_test(taking, it_comes_before_its_bytes_and_is_the_callees);
    tcase_add_test(taking, of_very_many_in_a_message_those_without_room_are_closed);
    tcase_add_test(taking, what_the_system_tells_of_the_sender_takes_nothing);
    tcase_add_test(taking, of_those_that_find_no_number_the_log_is_told);
    tcase_add_test(taking, destroyed_in_the_handler_the_others_are_closed);
    suite_add_tcase(suite, taking);
    tcase_add_checked_fixture(plain, setup_plain, teardown_adopted);
    tcase_add_test(plain, without_the_handler_none_is_ever_installed);
    tcase_add_test(plain, one_is_sent_with_its_bytes_in_order);
    tcase_add_test(plain, each_keeps_its_place_among_queued_bytes);
    tcase_add_loop_test(plain, one_that_is_refused_for_now_goes_later, 0, 4);
    tcase_add_test(plain, one_that_is_refused_for_ever_costs_little);
    tcase_add_test(plain, at_most_so_many_are_queued_and_all_are_closed);
    tcase_add_test(plain, what_can_not_be_passed_is_refused);
    suite_add_tcase(suite, plain);
    return run_suite(suite);
}
