/* Which inode a socket is bound to: src/name/bound.c. */
#include "name/bound.h"

#include "base/fd.h"
#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct stat look(const char *path)
{
    struct stat info;

    ck_assert_int_eq(lstat(path, &info), 0);
    return info;
}

START_TEST(its_own_file_is_told_from_others)
{
    int fd = harness_bind(harness_at("a")), other = harness_bind(harness_at("b"));
    struct stat a = look(harness_at("a")), b = look(harness_at("b")), later;

    ck_assert_int_eq(sr_bound_to(fd, &a), SR_BOUND_HERE);
    ck_assert_int_eq(sr_bound_to(fd, &b), SR_BOUND_ELSEWHERE);
    ck_assert_int_eq(sr_bound_to(other, &b), SR_BOUND_HERE);
    ck_assert_int_eq(rename(harness_at("b"), harness_at("a")), 0);
    later = look(harness_at("a"));
    ck_assert_int_eq(sr_bound_to(fd, &later), SR_BOUND_ELSEWHERE);
    ck_assert_int_eq(sr_bound_to(other, &later), SR_BOUND_HERE);
    close(fd);
    close(other);
    unlink(harness_at("a"));
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

START_TEST(what_cannot_be_asked_is_unknown)
{
    static const int calls[] = {FAULTS_fstat, FAULTS_socket, FAULTS_send, FAULTS_recv};
    int fd = harness_bind(harness_at("a"));
    struct stat a = look(harness_at("a"));

    faults_install();
    faults_arm(FAULTS_BIT(calls[_i]), 1, EACCES);
    ck_assert_int_eq(sr_bound_to(fd, &a), SR_BOUND_UNKNOWN);
    ck_assert_int_eq(sr_bound_to(fd, &a), SR_BOUND_HERE);
    close(fd);
    unlink(harness_at("a"));
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

/* The numbers of another file system say nothing. */
START_TEST(what_has_no_file_is_unknown)
{
    int pair[2];
    struct stat info = look("/");

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(sr_bound_to(pair[0], &info), SR_BOUND_UNKNOWN);
    ck_assert_int_eq(sr_bound_to(-1, &info), SR_BOUND_UNKNOWN);
    close(pair[0]);
    close(pair[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bound");
    TCase *tcase = harness_tcase(suite, "bound");

    tcase_add_test(tcase, its_own_file_is_told_from_others);
    tcase_add_loop_test(tcase, what_cannot_be_asked_is_unknown, 0, 4);
    tcase_add_test(tcase, what_has_no_file_is_unknown);
    return harness_run(suite);
}
