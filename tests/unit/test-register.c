/* Sockets that the program bound, given to a registry, also with no name: src/ref/listen.c. J31,
 * J36. */
#include "test-tcp-helpers.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

START_TEST(a_registered_port_is_closed_at_the_end)
{
    sockref *ref = NULL, *none = NULL;
    uint16_t port, wrong;
    int fd = bind_port(&port), other = bind_port(&wrong);
    const char *name = harness_text("tcp:localhost:%u", port);

    harness_assert_fails(
        sockref_registry_register_new(registry, harness_text("tcp:localhost:%u", wrong), fd, &ref),
        SOCKREF_EFOREIGN);
    harness_assert_fails(
        sockref_registry_register_new(registry, harness_text("tcp:[::1]:%u", port), fd, &ref),
        SOCKREF_EFOREIGN);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at("a"), fd, &ref),
                         SOCKREF_EFOREIGN);
    harness_assert_fails(
        sockref_registry_register_new(registry, harness_text("tcp::%u", port), fd, &ref),
        SOCKREF_EFOREIGN);
    harness_assert_ok(sockref_registry_register_new(registry, name, fd, &ref));
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert_str_eq(sockref_path(ref), name);
    harness_assert_fails(sockref_registry_register_new(registry, name, other, &none),
                         SOCKREF_EEXISTS);
    ck_assert(can_dial_port(AF_INET, port));
    sockref_release(ref);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_int_eq(dial_port(AF_INET, port), -ECONNREFUSED);
    ck_assert_int_ge(fcntl(other, F_GETFD), 0);
    close(other);
}
END_TEST

START_TEST(a_port_that_does_not_listen_is_refused)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, (_i ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    sockref *none = NULL;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    harness_assert_fails(
        sockref_registry_register_new(
            registry, harness_text("tcp:127.0.0.1:%u", ntohs(address.sin_port)), fd, &none),
        SOCKREF_EFOREIGN);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    close(fd);
}
END_TEST

/* "Every address" is that of either family. */
START_TEST(a_port_of_every_address_is_registered)
{
    struct sockaddr_storage address = {.ss_family = _i ? AF_INET6 : AF_INET};
    socklen_t size = _i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const char *name;
    sockref *ref = NULL;

    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    name = harness_text("tcp::%u", ntohs(((struct sockaddr_in *)&address)->sin_port));
    harness_assert_ok(sockref_registry_register_new(registry, name, fd, &ref));
    ck_assert_str_eq(sockref_path(ref), name);
    sockref_release(ref);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(a_socket_tells_its_name)
{
    const char *path = harness_at("a"), *name = harness_text("@sockref-tcp-%d", (int)getpid());
    int tcp, file = harness_bind(path), abstract = harness_bind(name);
    uint16_t port;
    sockref *ref = NULL;

    tcp = bind_port(&port);
    harness_assert_ok(sockref_registry_register_new(registry, NULL, tcp, &ref));
    ck_assert_str_eq(sockref_path(ref), harness_text("tcp:127.0.0.1:%u", port));
    sockref_release(ref);
    harness_assert_ok(sockref_registry_register_new(registry, NULL, file, &ref));
    ck_assert_str_eq(sockref_path(ref), path);
    sockref_release(ref);
    ck_assert(!harness_exists(path));
    harness_assert_ok(sockref_registry_register_new(registry, NULL, abstract, &ref));
    ck_assert_str_eq(sockref_path(ref), name);
    sockref_release(ref);
}
END_TEST

/* Then the kernel tells one byte more than the address has room for: a NUL. */
START_TEST(a_path_that_fills_the_address_is_told_whole)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = harness_long_path(sizeof address.sun_path, 20);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockref *ref = NULL;

    memcpy(address.sun_path, path, sizeof address.sun_path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    harness_assert_ok(sockref_registry_register_new(registry, NULL, fd, &ref));
    ck_assert_str_eq(sockref_path(ref), path);
    sockref_release(ref);
    ck_assert(!harness_exists(path));
}
END_TEST

START_TEST(what_tells_no_name_is_refused)
{
    const pid_t pid = getpid();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC), unbound, abstract;
    sockref *none = NULL;

    unbound = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, "\0sockref\0", 9); /* and a number, to be no other process's */
    memcpy(address.sun_path + 9, &pid, sizeof pid);
    ck_assert_int_eq(bind(abstract, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 9 + sizeof pid)),
                     0);
    ck_assert_int_eq(listen(abstract, 1), 0);
    harness_assert_fails(sockref_registry_register_new(registry, NULL, file, &none),
                         SOCKREF_EFOREIGN);
    harness_assert_fails(sockref_registry_register_new(registry, NULL, unbound, &none),
                         SOCKREF_EFOREIGN);
    harness_assert_fails(sockref_registry_register_new(registry, NULL, abstract, &none),
                         SOCKREF_EFOREIGN);
    harness_assert_fails(sockref_registry_register_new(registry, NULL, -1, &none), -EINVAL);
    ck_assert_ptr_null(none);
    close(file);
    close(unbound);
    close(abstract);
}
END_TEST

START_TEST(a_kept_file_stays)
{
    sockref_registry *own = harness_registry(SOCKREF_OPT_KEEP_FILE, 1, 0);
    const char *path = harness_at("a");
    int fd = harness_bind(path);
    sockref *ref = NULL, *again;

    harness_assert_ok(sockref_registry_register_new(own, path, fd, &ref));
    ck_assert_uint_eq(harness_beside(), 0);
    ck_assert_uint_eq(harness_noted(), 2); /* the socket and its directory: no lock file */
    again = harness_listen(own, harness_at(".//a"));
    ck_assert_ptr_eq(again, ref);
    sockref_release(again);
    ck_assert(harness_can_dial(path));
    if (_i)
        harness_assert_ok(sockref_registry_cleanup(own, path));
    sockref_release(ref);
    ck_assert(harness_is_socket(path));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    unlink(path);
    /* What the registry itself binds goes as ever. */
    sockref_release(harness_listen(own, path));
    ck_assert(!harness_exists(path));
    sockref_registry_free(own);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("register");
    TCase *tcase = harness_tcase(suite, "register");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_registered_port_is_closed_at_the_end);
    tcase_add_loop_test(tcase, a_port_that_does_not_listen_is_refused, 0, 2);
    tcase_add_loop_test(tcase, a_port_of_every_address_is_registered, 0, 2);
    tcase_add_test(tcase, a_socket_tells_its_name);
    tcase_add_test(tcase, a_path_that_fills_the_address_is_told_whole);
    tcase_add_test(tcase, what_tells_no_name_is_refused);
    tcase_add_loop_test(tcase, a_kept_file_stays, 0, 2);
    return harness_run(suite);
}
