/* Connecting: src/net/connect.c. J2, J14, J37, D47, D49. */
#include "test-connect-helpers.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* ---- what a name may be ---- */

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

/* Which kind of socket it will be is known before there is one. */
START_TEST(a_descriptor_may_be_sent_to_a_path_only)
{
    sockref *ref = listen_at(_i ? "tcp:127.0.0.1:0" : path);
    sockref_conn *conn = begin(sockref_path(ref));
    int status = sockref_conn_send_fd(conn, STDIN_FILENO, "x", 1);

    ck_assert_int_eq(status, _i ? SOCKREF_EUNSUPPORTED : 0);
    end(conn);
    sockref_release(ref);
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

static int told_status;
static char told_message[256];

static void note_told(sockref_conn *conn, int status, void *user)
{
    (void)conn;
    (void)user;
    told_status = status;
    snprintf(told_message, sizeof told_message, "%s", sockref_last_error()->message);
}

#define NOT_POSSIBLE 77

/* In a child: its mounts are its own. ThreadSanitizer allows it no thread. */
static int connect_without_proc(void *name)
{
    const sockref_handlers told = {.size = sizeof told, .on_error = note_told};
    sockref_loop *own;

    if (IS_SANITIZED || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || umount2("/proc", MNT_DETACH) < 0)
        return NOT_POSSIBLE;
    if (sockref_loop_new(&own) < 0 || sockref_connect(own, name, NULL, &told, NULL, NULL) < 0)
        return 1;
    while (told_status == 0 && sockref_loop_dispatch(own, PATIENCE_MS) >= 0)
        continue;
    if (told_status != SOCKREF_EUNSUPPORTED)
        return 2;
    return strstr(told_message, "/proc") ? 0 : 3;
}

/* In place of ENOENT, which would tell that the path is not there. */
START_TEST(a_long_path_without_proc_says_what_is_missing)
{
    int status = harness_in_child(connect_without_proc,
                                  (void *)harness_text("%s/%0120d/s.sock", directory, 7));

    ck_assert(status == 0 || status == NOT_POSSIBLE);
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
    ck_assert_ptr_nonnull(strstr(message, "(203.0.113.77:"));
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
    ck_assert(IS_SANITIZED || harness_threads_become(threads_before));
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
    tcase_add_loop_test(tcase, a_descriptor_may_be_sent_to_a_path_only, 0, 2);
    tcase_add_test(tcase, a_missing_file_is_told);
    tcase_add_test(tcase, a_missing_directory_of_a_long_path_is_told);
    tcase_add_test(tcase, a_long_path_without_proc_says_what_is_missing);
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
    tcase_add_loop_test(tcase, our_address_and_port_may_be_chosen, 0, 4);
    tcase_add_test(tcase, our_address_says_the_family);
    tcase_add_test(tcase, without_a_loop_it_is_the_librarys);
    return run_suite(suite);
}
