/* A listener that the caller has bound, and what is none: src/name/sockfile.c. */
#include "test-sockfile-helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- adopting: register_new ---- */

static int adopt(const char *path, int fd)
{
    struct sr_place place;
    int status;

    harness_assert_ok(sr_place_open(path, &place));
    status = sr_sockfile_adopt(&place, path, fd, &file, NULL);
    sr_place_close(&place);
    return status;
}

START_TEST(a_listener_of_the_callers_is_adopted)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);

    harness_assert_ok(adopt(path, fd));
    ck_assert_int_eq(file.fd, fd);
    ck_assert_uint_eq(file.inode, harness_inode(path));
    end(path);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(an_abstract_listener_is_adopted)
{
    const char *path = harness_text("@sockref-adopt-%ld", (long)getpid());
    int fd = harness_bind(path);

    harness_assert_fails(adopt(harness_text("%sx", path), fd), SOCKREF_EFOREIGN);
    harness_assert_fails(adopt("@sockref-adopt", fd), SOCKREF_EFOREIGN);
    harness_assert_ok(adopt(path, fd));
    end(path);
}
END_TEST

START_TEST(a_long_bound_path_is_adopted)
{
    const char *path = harness_long_path(300, 20);
    int fd = harness_bind(path); /* by a name in /proc that leads nowhere afterwards */
    int status = adopt(path, fd);

    if (status == 0) {
        end(path);
        return;
    }
    ck_assert_int_eq(status, SOCKREF_EFOREIGN);
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static int make_pipe(void)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    close(fds[1]);
    return fds[0];
}

static int make_unbound(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int make_bound(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", harness_at("a"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int make_deaf(void)
{
    return make_bound(SOCK_STREAM);
}

static int make_datagram(void)
{
    return make_bound(SOCK_DGRAM);
}

static int make_packets(void)
{
    int fd = make_bound(SOCK_SEQPACKET);

    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static int make_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || listen(fd, 1) < 0)
        return make_pipe();
    return fd;
}

static int make_abstract(void)
{
    return harness_bind(harness_text("@sockref-foreign-%ld", (long)getpid()));
}

static int make_elsewhere(void)
{
    return harness_bind(harness_at("b"));
}

static int (*const foreigners[])(void) = {make_pipe,     make_unbound,  make_deaf,
                                          make_datagram, make_packets,  make_tcp,
                                          make_abstract, make_elsewhere};

/* Decision 12. */
START_TEST(what_is_not_the_listener_at_the_path_is_foreign)
{
    const char *path = harness_at("a");
    int fd = foreigners[_i](), status, there = -1;

    if (!harness_exists(path))
        there = harness_bind(path); /* a live socket of somebody else */
    status = adopt(path, fd);
    ck_assert_msg(status == SOCKREF_EFOREIGN, "%s", sockref_status_name(status));
    harness_assert_error(SOCKREF_EFOREIGN);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0); /* still the caller's, still open */
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert(harness_is_socket(path));
    close(fd);
    if (there >= 0)
        close(there);
    unlink(path);
    unlink(harness_at("b"));
}
END_TEST

START_TEST(a_number_that_is_no_descriptor_is_a_wrong_argument)
{
    int fd = harness_bind(harness_at("a"));

    harness_assert_fails(adopt(harness_at("a"), -1), -EINVAL);
    harness_assert_fails(adopt(harness_at("a"), 100000), -EINVAL);
    close(fd);
    unlink(harness_at("a"));
}
END_TEST

START_TEST(a_listener_whose_file_is_gone_is_refused)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);

    ck_assert_int_eq(unlink(path), 0);
    harness_assert_fails(adopt(path, fd), SOCKREF_EFOREIGN);
    put_file(path);
    harness_assert_fails(adopt(path, fd), SOCKREF_EFOREIGN);
    ck_assert(harness_holds(path, "precious"));
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockfile-adopt");
    TCase *tcase = harness_tcase(suite, "adopt");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_listener_of_the_callers_is_adopted);
    tcase_add_test(tcase, an_abstract_listener_is_adopted);
    tcase_add_test(tcase, a_long_bound_path_is_adopted);
    tcase_add_loop_test(tcase, what_is_not_the_listener_at_the_path_is_foreign, 0, 8);
    tcase_add_test(tcase, a_number_that_is_no_descriptor_is_a_wrong_argument);
    tcase_add_test(tcase, a_listener_whose_file_is_gone_is_refused);
    return harness_run(suite);
}
