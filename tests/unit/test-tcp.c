/* TCP listeners: src/name/tcpsock.c, and what a registry makes of them. J31, J36. */
#include "test-tcp-helpers.h"

#include "base/sys.h"
#include "harness/faults.h"

#include <fcntl.h>
#include <poll.h>

START_TEST(a_port_is_bound_by_the_first_and_closed_with_the_last)
{
    sockref *ref = harness_listen(registry, "tcp:127.0.0.1:0"), *again;
    uint16_t port = port_of(ref);
    const char *name = harness_text("tcp:127.0.0.1:%u", port);

    ck_assert_str_eq(sockref_path(ref), name);
    ck_assert(sockref_is_owner(ref) && sockref_is_active(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert(can_dial_port(AF_INET, port));
    ck_assert(sockref_registry_is_socket_active(registry, name));
    ck_assert(sockref_registry_is_socket_active(registry, harness_text("tcp:localhost:%u", port)));
    harness_assert_ok(
        sockref_registry_get_existing(registry, harness_text("tcp:localhost:0%u", port), &again));
    ck_assert_ptr_eq(again, ref);
    sockref_release(again);
    again = harness_listen(registry, harness_text("tcp:localhost:%u", port));
    ck_assert_ptr_eq(again, ref);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    sockref_release(ref);
    ck_assert(can_dial_port(AF_INET, port));
    sockref_release(again);
    ck_assert_int_eq(dial_port(AF_INET, port), -ECONNREFUSED);
    ck_assert(!sockref_registry_is_socket_active(registry, name));
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

START_TEST(each_listen_on_port_0_is_a_name_of_its_own)
{
    sockref *a = harness_listen(registry, "tcp::0"), *b = harness_listen(registry, "tcp::0");

    ck_assert_ptr_ne(a, b);
    ck_assert_str_ne(sockref_path(a), sockref_path(b));
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 2);
    ck_assert_str_eq(sockref_path(a), harness_text("tcp::%u", port_of(a)));
    sockref_release(a);
    sockref_release(b);
}
END_TEST

START_TEST(port_0_names_nothing_before_it_is_bound)
{
    sockref *none = NULL;
    uint16_t port;
    int fd = bind_port(&port);

    harness_assert_fails(sockref_registry_get_or_create(registry, "tcp:127.0.0.1:0", &none),
                         SOCKREF_EPATH);
    harness_assert_fails(sockref_registry_get_existing(registry, "tcp:127.0.0.1:0", &none),
                         SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_register_new(registry, "tcp:127.0.0.1:0", fd, &none),
                         SOCKREF_EFOREIGN);
    harness_assert_fails(sockref_registry_cleanup(registry, "tcp:127.0.0.1:0"), SOCKREF_ENOTFOUND);
    ck_assert(!sockref_registry_is_socket_active(registry, "tcp:127.0.0.1:0"));
    ck_assert_ptr_null(none);
    close(fd);
}
END_TEST

/* A held name with nothing bound is what a listen on it, or on port 0, begins. */
START_TEST(a_counted_name_is_bound_by_a_listen)
{
    sockref *named, *ref;
    uint16_t port;

    close(bind_port(&port));
    harness_assert_ok(
        sockref_registry_get_or_create(registry, harness_text("tcp:localhost:%u", port), &named));
    ck_assert_str_eq(sockref_path(named), harness_text("tcp:localhost:%u", port));
    ck_assert(!sockref_is_owner(named));
    ref = harness_listen(registry, harness_text("tcp:127.0.0.1:%u", port));
    ck_assert_ptr_eq(ref, named);
    ck_assert(sockref_is_owner(named));
    sockref_release(ref);
    sockref_release(named);
}
END_TEST

START_TEST(a_port_in_use_is_told_with_the_name)
{
    sockref_registry *other = harness_registry(0);
    sockref *none = NULL, *ref;
    const char *name;
    uint16_t port;
    int fd = bind_port(&port);

    name = harness_text("tcp:127.0.0.1:%u", port);
    harness_assert_fails(sockref_registry_listen(registry, name, NULL, &none), -EADDRINUSE);
    ck_assert_str_eq(sockref_last_error()->path, name);
    ck_assert_str_eq(sockref_last_error()->syscall, "bind");
    ck_assert_int_eq(sockref_last_error()->os_errno, EADDRINUSE);
    close(fd);
    ref = harness_listen(registry, name);
    /* Not shared beyond its registry. */
    harness_assert_fails(sockref_registry_listen(other, name, NULL, &none), -EADDRINUSE);
    ck_assert_ptr_null(none);
    sockref_release(ref);
    sockref_release(harness_listen(other, name));
    sockref_registry_free(other);
}
END_TEST

/* A listener that closed first leaves its connections in TIME_WAIT on the port. */
START_TEST(a_port_is_bound_again_at_once)
{
    sockref *ref = harness_listen(registry, "tcp:127.0.0.1:0");
    const char *name = harness_text("%s", sockref_path(ref));
    int client = dial_port(AF_INET, port_of(ref)), server;
    struct pollfd item = {.fd = sockref_fd(ref), .events = POLLIN};

    ck_assert_int_ge(client, 0);
    ck_assert_int_eq(poll(&item, 1, HARNESS_PATIENCE_MS), 1);
    server = accept(sockref_fd(ref), NULL, NULL);
    ck_assert_int_ge(server, 0);
    sockref_release(ref);
    close(server);
    close(client);
    sockref_release(harness_listen(registry, name));
}
END_TEST

START_TEST(exclusive_owns_or_fails)
{
    sockref_options *options = harness_options(SOCKREF_OPT_EXCLUSIVE, 1, 0);
    sockref *ref = NULL, *none = NULL;

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", options, &ref));
    harness_assert_fails(sockref_registry_listen(registry, sockref_path(ref), options, &none),
                         SOCKREF_EEXISTS);
    ck_assert_ptr_null(none);
    sockref_release(ref);
    sockref_options_free(options);
}
END_TEST

START_TEST(share_and_guard_mean_nothing_to_a_port)
{
    sockref_options *options =
        harness_options(SOCKREF_OPT_SHARE, _i & 1, SOCKREF_OPT_GUARD, _i & 2, 0);
    sockref *ref = NULL;

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", options, &ref));
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
    ck_assert_uint_eq(harness_noted(), 1);
    sockref_release(ref);
    sockref_options_free(options);
}
END_TEST

START_TEST(a_revoked_port_is_free_at_once)
{
    sockref *ref = harness_listen(registry, "tcp:127.0.0.1:0"), *next;
    const char *name = harness_text("%s", sockref_path(ref));
    uint16_t port = port_of(ref);
    sockref_address address = {.size = sizeof address};
    int fd = sockref_fd(ref);

    harness_assert_ok(sockref_registry_cleanup(registry, name));
    ck_assert(!sockref_is_active(ref));
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    harness_assert_fails(sockref_local_address(ref, &address), SOCKREF_ECLOSED);
    ck_assert_int_eq(dial_port(AF_INET, port), -ECONNREFUSED);
    next = harness_listen(registry, name);
    ck_assert_ptr_ne(next, ref);
    sockref_release(ref);
    ck_assert(can_dial_port(AF_INET, port));
    sockref_release(next);
}
END_TEST

START_TEST(a_delay_keeps_the_port)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 1000000, 0);
    sockref *ref = NULL, *again;
    const char *name;
    uint16_t port;

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", options, &ref));
    name = harness_text("%s", sockref_path(ref));
    port = port_of(ref);
    sockref_release(ref);
    ck_assert(can_dial_port(AF_INET, port));
    again = harness_listen(registry, name);
    ck_assert_ptr_eq(again, ref);
    sockref_release(again);
    harness_assert_ok(sockref_registry_cleanup(registry, name));
    ck_assert_int_eq(dial_port(AF_INET, port), -ECONNREFUSED);
    sockref_options_free(options);
}
END_TEST

/* ---- families ---- */

START_TEST(every_address_is_both_families)
{
    sockref *ref = harness_listen(registry, "tcp::0");
    sockref_address address = {.size = sizeof address};

    ck_assert(can_dial_port(AF_INET, port_of(ref)));
    if (harness_has_v6()) {
        ck_assert(can_dial_port(AF_INET6, port_of(ref)));
        harness_assert_ok(sockref_local_address(ref, &address));
        ck_assert_int_eq(address.family, SOCKREF_FAMILY_IPV6);
        ck_assert_str_eq(address.host, "::");
    }
    sockref_release(ref);
}
END_TEST

START_TEST(ipv6_only_leaves_ipv4_out)
{
    sockref_options *options = harness_options(SOCKREF_OPT_IPV6_ONLY, 1, 0);
    sockref *ref = NULL;

    if (harness_has_v6()) {
        harness_assert_ok(
            sockref_registry_listen(registry, _i ? "tcp::0" : "tcp:[::]:0", options, &ref));
        ck_assert(can_dial_port(AF_INET6, port_of(ref)));
        ck_assert_int_eq(dial_port(AF_INET, port_of(ref)), -ECONNREFUSED);
        sockref_release(ref);
    }
    sockref_options_free(options);
}
END_TEST

START_TEST(an_ipv6_address_is_one_name)
{
    sockref *ref, *again;

    if (!harness_has_v6())
        return;
    ref = harness_listen(registry, "tcp:[0:0::1]:0");
    again = harness_listen(registry, harness_text("tcp:[::0001]:%u", port_of(ref)));
    ck_assert_ptr_eq(ref, again);
    ck_assert_str_eq(sockref_path(ref), harness_text("tcp:[::1]:%u", port_of(ref)));
    ck_assert(can_dial_port(AF_INET6, port_of(ref)));
    ck_assert_int_eq(dial_port(AF_INET, port_of(ref)), -ECONNREFUSED);
    sockref_release(ref);
    sockref_release(again);
}
END_TEST

static int without_v6(int domain, int type, int protocol)
{
    if (domain == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return socket(domain, type, protocol);
}

START_TEST(every_address_is_ipv4_where_there_is_no_ipv6)
{
    sockref_options *options = harness_options(SOCKREF_OPT_IPV6_ONLY, 1, 0);
    sockref_address address = {.size = sizeof address};
    int (*before)(int, int, int) = sr_sys.socket;
    sockref *ref, *none = NULL;

    sr_sys.socket = without_v6;
    ref = harness_listen(registry, "tcp::0");
    harness_assert_ok(sockref_local_address(ref, &address));
    ck_assert_int_eq(address.family, SOCKREF_FAMILY_IPV4);
    ck_assert_str_eq(address.host, "0.0.0.0");
    ck_assert(can_dial_port(AF_INET, port_of(ref)));
    ck_assert_str_eq(sockref_path(ref), harness_text("tcp::%u", port_of(ref)));
    harness_assert_fails(sockref_registry_listen(registry, "tcp::0", options, &none),
                         -EAFNOSUPPORT);
    harness_assert_fails(sockref_registry_listen(registry, "tcp:[::]:0", NULL, &none),
                         -EAFNOSUPPORT);
    sr_sys.socket = before;
    sockref_release(ref);
    sockref_options_free(options);
}
END_TEST

START_TEST(an_address_that_is_not_here_is_told)
{
    sockref *none = NULL;

    harness_assert_fails(sockref_registry_listen(registry, "tcp:203.0.113.77:0", NULL, &none),
                         -EADDRNOTAVAIL);
    harness_assert_fails(sockref_registry_listen(registry, "tcp:[fe80::1%nowhere0]:0", NULL, &none),
                         -ENODEV);
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(listeners_that_say_so_have_one_port)
{
    sockref_options *options = harness_options(SOCKREF_OPT_REUSE_PORT, 1, 0);
    sockref_registry *other = harness_registry(0);
    sockref *a = NULL, *b = NULL;

    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", options, &a));
    harness_assert_fails(sockref_registry_listen(other, sockref_path(a), NULL, &b), -EADDRINUSE);
    harness_assert_ok(sockref_registry_listen(other, sockref_path(a), options, &b));
    ck_assert_int_ne(sockref_fd(a), sockref_fd(b));
    sockref_release(a);
    ck_assert(can_dial_port(AF_INET, port_of(b)));
    sockref_release(b);
    sockref_registry_free(other);
    sockref_options_free(options);
}
END_TEST

/* ---- calls that fail ---- */

START_TEST(a_call_that_fails_leaves_nothing)
{
    const uint64_t kinds = FAULTS_ALLOCATIONS | FAULTS_BIT(FAULTS_socket) |
                           FAULTS_BIT(FAULTS_setsockopt) | FAULTS_BIT(FAULTS_bind) |
                           FAULTS_BIT(FAULTS_listen) | FAULTS_BIT(FAULTS_getsockname);
    unsigned failures = 0;
    bool struck = true;

    faults_install();
    for (uint64_t nth = 1; struck; nth++) {
        sockref *ref = NULL;
        int status;

        faults_arm(kinds, nth, ENOMEM);
        status = sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &ref);
        faults_disarm();
        struck = faults_struck();
        ck_assert_int_eq(status < 0, ref == NULL);
        if (status < 0) {
            failures++;
            harness_assert_error(-ENOMEM);
        }
        sockref_release(ref);
        ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
        ck_assert_uint_eq(harness_noted(), 0);
    }
    ck_assert_uint_ge(failures, 6);
}
END_TEST

START_TEST(wrong_arguments_are_told)
{
    sockref *ref = harness_listen(registry, "tcp:127.0.0.1:0"), *named;
    sockref_address address = {.size = 0};

    harness_assert_fails(sockref_local_address(NULL, &address), -EINVAL);
    harness_assert_fails(sockref_local_address(ref, NULL), -EINVAL);
    harness_assert_fails(sockref_local_address(ref, &address), -EINVAL);
    address.size = sizeof address + 1;
    harness_assert_fails(sockref_local_address(ref, &address), -EINVAL);
    address.size = sizeof address;
    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("a"), &named));
    harness_assert_fails(sockref_local_address(named, &address), SOCKREF_ECLOSED);
    sockref_release(named);
    sockref_release(ref);
}
END_TEST

static int ask_for_the_parents(void *arg)
{
    sockref_address address = {.size = sizeof address};

    return sockref_local_address(arg, &address) != SOCKREF_EFORKED;
}

START_TEST(a_forked_child_has_no_port)
{
    sockref *ref = harness_listen(registry, "tcp:127.0.0.1:0");

    ck_assert_int_eq(harness_in_child(ask_for_the_parents, ref), 0);
    ck_assert(can_dial_port(AF_INET, port_of(ref)));
    sockref_release(ref);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp");
    TCase *tcase = harness_tcase(suite, "tcp");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_port_is_bound_by_the_first_and_closed_with_the_last);
    tcase_add_test(tcase, each_listen_on_port_0_is_a_name_of_its_own);
    tcase_add_test(tcase, port_0_names_nothing_before_it_is_bound);
    tcase_add_test(tcase, a_counted_name_is_bound_by_a_listen);
    tcase_add_test(tcase, a_port_in_use_is_told_with_the_name);
    tcase_add_test(tcase, a_port_is_bound_again_at_once);
    tcase_add_test(tcase, exclusive_owns_or_fails);
    tcase_add_loop_test(tcase, share_and_guard_mean_nothing_to_a_port, 0, 4);
    tcase_add_test(tcase, a_revoked_port_is_free_at_once);
    tcase_add_test(tcase, a_delay_keeps_the_port);
    tcase_add_test(tcase, every_address_is_both_families);
    tcase_add_loop_test(tcase, ipv6_only_leaves_ipv4_out, 0, 2);
    tcase_add_test(tcase, an_ipv6_address_is_one_name);
    tcase_add_test(tcase, every_address_is_ipv4_where_there_is_no_ipv6);
    tcase_add_test(tcase, an_address_that_is_not_here_is_told);
    tcase_add_test(tcase, listeners_that_say_so_have_one_port);
    tcase_add_test(tcase, a_call_that_fails_leaves_nothing);
    tcase_add_test(tcase, wrong_arguments_are_told);
    tcase_add_test(tcase, a_forked_child_has_no_port);
    return harness_run(suite);
}
