/* Descriptors and the set of those that are ours: src/base/fd.c. */
#include "base/fd.h"
#include "base/sys.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_dir(void)
{
    return sr_fd_open(AT_FDCWD, harness_dir(), O_PATH | O_DIRECTORY);
}

static int open_socket(void)
{
    return sr_fd_socket(AF_UNIX, SOCK_STREAM);
}

static int open_accepted(void)
{
    const char *name = harness_text("@sockref-test-fd-%d", (int)getpid());
    int listener = harness_bind(name);
    int client = harness_dial(name);
    int fd = sr_fd_accept(listener);

    close(client);
    close(listener);
    return fd;
}

static const struct {
    int (*open)(void);
    enum faults_kind kind;
    bool blocks; /* O_NONBLOCK means nothing for it */
} ways[] = {
    {open_dir, FAULTS_openat, true},
    {open_socket, FAULTS_socket, false},
    {sr_fd_epoll, FAULTS_epoll_create1, true},
    {sr_fd_event, FAULTS_eventfd, false},
    {sr_fd_timer, FAULTS_timerfd_create, false},
    {open_accepted, FAULTS_accept4, false},
};

#define WAYS ((int)(sizeof ways / sizeof ways[0]))

/* U9 */
START_TEST(descriptors_are_closed_on_exec_and_do_not_block)
{
    int fd = ways[_i].open();

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    if (!ways[_i].blocks)
        ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
    ck_assert_uint_eq(harness_noted(), 1);
    sr_fd_close(fd);
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(a_refusal_is_told_and_nothing_is_noted)
{
    faults_install();
    faults_arm(FAULTS_BIT(ways[_i].kind), 1, EMFILE);
    ck_assert_int_eq(ways[_i].open(), -EMFILE);
    ck_assert(faults_struck());
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

static bool streams_are_closed(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return false;
    return true;
}

static int open_without_streams(void *unused)
{
    int fds[2];

    (void)unused;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        close(fd);
    for (int i = 0; i < WAYS; i++) {
        int fd = ways[i].open();

        if (fd <= STDERR_FILENO || fcntl(fd, F_GETFD) != FD_CLOEXEC || !streams_are_closed())
            return 1 + i;
        sr_fd_close(fd);
    }
    if (sr_fd_pipe(fds) < 0 || fds[0] <= STDERR_FILENO || fds[1] <= STDERR_FILENO)
        return 20;
    sr_fd_close_both(fds[0], fds[1]);
    faults_install();
    for (int nth = 1; nth <= 3; nth++) {
        faults_arm(FAULTS_BIT(FAULTS_duplicate), nth == 3 ? 2 : 1, EMFILE);
        if ((nth == 1 ? sr_fd_event() : sr_fd_pipe(fds)) != -EMFILE || !faults_struck())
            return 20 + nth;
    }
    return streams_are_closed() && harness_noted() == 0 ? 0 : 30;
}

/* What a program prints where it has closed them must reach no lock file and no connection. */
START_TEST(none_takes_the_place_of_a_standard_stream)
{
    ck_assert_int_eq(harness_in_child(open_without_streams, NULL), 0);
}
END_TEST

START_TEST(a_pipe_has_two_ends)
{
    int fds[2];
    char byte = 'x';

    ck_assert_int_eq(sr_fd_pipe(fds), 0);
    ck_assert_uint_eq(harness_noted(), 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        ck_assert(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
    }
    ck_assert_int_eq(write(fds[1], &byte, 1), 1);
    ck_assert_int_eq(read(fds[0], &byte, 1), 1);
    sr_fd_close(fds[0]);
    sr_fd_close(fds[1]);
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_pipe2), 1, ENFILE);
    ck_assert_int_eq(sr_fd_pipe(fds), -ENFILE);
}
END_TEST

START_TEST(one_can_take_the_place_of_another)
{
    int old = open_socket(), fresh = sr_fd_event();

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_replace), 1, EMFILE);
    ck_assert_int_eq(sr_fd_replace(fresh, old), -EMFILE);
    ck_assert_uint_eq(harness_noted(), 2); /* nothing changed */
    ck_assert_int_eq(sr_fd_replace(fresh, old), 0);
    ck_assert_uint_eq(harness_noted(), 1);
    ck_assert_int_eq(fcntl(fresh, F_GETFD), -1);
    ck_assert_int_eq(fcntl(old, F_GETFD), FD_CLOEXEC);
    sr_fd_close(old);
}
END_TEST

START_TEST(closing_none_is_allowed)
{
    sr_fd_close(-1);
    sr_fd_close(-EMFILE);
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

START_TEST(what_comes_from_outside_is_noted_and_let_go)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    ck_assert_int_eq(sr_fd_adopt(fd), 0);
    ck_assert_int_eq(sr_fd_adopt(fd), 0);
    ck_assert_uint_eq(harness_noted(), 1);
    sr_fd_disown(fd);
    sr_fd_disown(fd);
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC); /* still open */
    close(fd);
}
END_TEST

/* Returns whether there are numbers beyond the first page. */
static bool raise_limit(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur > 5000;
}

/* A number beyond the first page needs memory for its page. */
START_TEST(high_numbers_are_noted_too)
{
    int fd, high;

    if (!raise_limit())
        return;
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    high = fcntl(fd, F_DUPFD_CLOEXEC, 5000);
    ck_assert_int_ge(high, 5000);
    close(fd);
    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_int_eq(sr_fd_adopt(high), -ENOMEM);
    ck_assert_int_eq(sr_fd_adopt(high), 0);
    ck_assert_uint_eq(harness_noted(), 1);
    sr_fd_close(high);
}
END_TEST

static int high_end;

static int make_high(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 5000);

    close(fd);
    return high;
}

static int open_high(int dir, const char *path, int flags, mode_t mode)
{
    return make_high(openat(dir, path, flags, mode));
}

static int pipe_high(int fds[2], int flags)
{
    int status = pipe2(fds, flags);

    fds[high_end] = make_high(fds[high_end]);
    return status;
}

/* An open, and a pipe by either of its ends. */
START_TEST(what_can_not_be_noted_is_closed)
{
    unsigned before;
    int fds[2], status;

    if (!raise_limit())
        return;
    before = harness_descriptors();
    high_end = _i - 1;
    faults_install();
    sr_sys.openat = open_high;
    sr_sys.pipe2 = pipe_high;
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    status = _i == 0 ? sr_fd_open(AT_FDCWD, "/dev/null", O_RDONLY) : sr_fd_pipe(fds);
    faults_clear();
    ck_assert_int_eq(status, -ENOMEM);
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_uint_eq(harness_descriptors(), before);
}
END_TEST

static int close_all_in_child(void *unused)
{
    (void)unused;
    sr_fd_before_fork();
    sr_fd_after_fork_in_child();
    return sr_fd_count() == 0 ? 0 : 1;
}

/* The numbers that a descriptor has where the system's ceiling is raised. */
START_TEST(no_number_is_too_high)
{
    static const int numbers[] = {(1 << 20) - 1, 1 << 20, 1 << 24, INT_MAX};
    const size_t count = sizeof numbers / sizeof numbers[0];

    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(sr_fd_adopt(numbers[i]), 0);
    ck_assert_uint_eq(harness_noted(), count);
    ck_assert_int_eq(harness_in_child(close_all_in_child, NULL), 0);
    for (size_t i = 0; i < count; i++)
        sr_fd_disown(numbers[i]);
    ck_assert_uint_eq(harness_noted(), 0);
    sr_fd_disown(-1);
    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_int_eq(sr_fd_adopt(1 << 30), -ENOMEM);
}
END_TEST

static int look_in_child(void *arg)
{
    const int *fds = arg;

    return (fcntl(fds[0], F_GETFD) >= 0) | (fcntl(fds[1], F_GETFD) < 0) << 1 |
           (sr_fd_count() != 0) << 2;
}

static int fork_and_look(void *arg)
{
    int status;

    sr_fd_before_fork();
    status = harness_in_child(look_in_child, arg);
    sr_fd_after_fork_in_parent();
    return status;
}

static int close_in_child(void *arg)
{
    sr_fd_before_fork();
    sr_fd_after_fork_in_child();
    return look_in_child(arg);
}

/* U8: what is ours is closed in the child, what is the host's stays. */
START_TEST(a_child_closes_ours_and_only_ours)
{
    int fds[2] = {sr_fd_event(), open("/dev/null", O_RDONLY)};

    ck_assert_int_eq(harness_in_child(close_in_child, fds), 0);
    ck_assert_int_eq(fork_and_look(fds), 1 | 4); /* the handler that closes was not run */
    ck_assert_int_ge(fcntl(fds[0], F_GETFD), 0);
    ck_assert_uint_eq(harness_noted(), 1);
    sr_fd_close(fds[0]);
    close(fds[1]);
}
END_TEST

struct gated {
    atomic_bool stop, opened;
};

static void open_all_the_time(unsigned number, void *arg)
{
    struct gated *gated = arg;

    if (number == 0) {
        for (int i = 0; i < 300; i++) {
            size_t noted, found = 0;

            while (!atomic_load(&gated->opened))
                continue;
            sr_fd_before_fork();
            noted = harness_noted();
            for (int fd = 0; fd < 64; fd++)
                found += fcntl(fd, F_GETFD) == FD_CLOEXEC;
            ck_assert_uint_eq(found, noted); /* open and noted is one step */
            atomic_store(&gated->opened, false);
            sr_fd_after_fork_in_parent();
        }
        atomic_store(&gated->stop, true);
        return;
    }
    while (!atomic_load(&gated->stop)) {
        int fd = sr_fd_event();

        ck_assert_int_ge(fd, 0);
        atomic_store(&gated->opened, true);
        sr_fd_close(fd);
    }
}

START_TEST(fork_and_opening_exclude_each_other)
{
    struct gated gated = {false, false};

    for (int fd = 3; fd < 64; fd++) /* what the runner has open must not count */
        if (fcntl(fd, F_GETFD) == FD_CLOEXEC)
            fcntl(fd, F_SETFD, 0);
    harness_in_threads(4, open_all_the_time, &gated);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fd");
    TCase *tcase = harness_tcase(suite, "fd");

    tcase_add_loop_test(tcase, descriptors_are_closed_on_exec_and_do_not_block, 0, WAYS);
    tcase_add_loop_test(tcase, a_refusal_is_told_and_nothing_is_noted, 0, WAYS);
    tcase_add_test(tcase, none_takes_the_place_of_a_standard_stream);
    tcase_add_test(tcase, a_pipe_has_two_ends);
    tcase_add_test(tcase, one_can_take_the_place_of_another);
    tcase_add_test(tcase, closing_none_is_allowed);
    tcase_add_test(tcase, what_comes_from_outside_is_noted_and_let_go);
    tcase_add_test(tcase, high_numbers_are_noted_too);
    tcase_add_loop_test(tcase, what_can_not_be_noted_is_closed, 0, 3);
    tcase_add_test(tcase, no_number_is_too_high);
    tcase_add_test(tcase, a_child_closes_ours_and_only_ours);
    tcase_add_test(tcase, fork_and_opening_exclude_each_other);
    return harness_run(suite);
}
