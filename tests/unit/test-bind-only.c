/* Names that are only bound, and connections from them: SOCKREF_OPT_BIND_ONLY,
 * sockref_connect_options.from. */
#include "test-connect-helpers.h"

#include <sys/stat.h>
#include <sys/wait.h>

static sockref *bind_only(const char *name)
{
    sockref_options *bound = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(NULL, name, bound, &ref));
    sockref_options_free(bound);
    return ref;
}

static int try_to_dial(const char *to)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;

    strcpy(address.sun_path, to);
    status = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    close(fd);
    return status;
}

static int bind_foreign(const char *at)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, at);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* ---- bound ---- */

START_TEST(nobody_can_connect_before_it_is_served)
{
    sockref *ref = bind_only(path);
    struct stat info;

    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert(S_ISSOCK(info.st_mode));
    ck_assert_uint_eq(info.st_mode & 0777, 0600);
    ck_assert_int_eq(try_to_dial(path), -ECONNREFUSED);
    ck_assert(sockref_is_active(ref) && sockref_is_owner(ref));
    ck_assert_int_ge(sockref_fd(ref), 0);
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    ck_assert_int_eq(try_to_dial(path), 0);
    sockref_release(ref);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* Its host may listen itself, as long as it likes. */
START_TEST(what_the_host_listens_on_is_served)
{
    sockref *ref = bind_only(path);
    int first, second;

    ck_assert_int_eq(listen(sockref_fd(ref), 0), 0);
    first = dial();
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    send_text(first, "x");
    DRIVE_UNTIL(is_readable(first, 0));
    harness_assert_ok(sockref_unserve(ref, true));
    drive_all();
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    second = dial();
    send_text(second, "y");
    DRIVE_UNTIL(is_readable(second, 0));
    close(first);
    close(second);
    sockref_release(ref);
}
END_TEST

START_TEST(it_is_not_taken_for_dead)
{
    sockref *ref = bind_only(path), *other;
    sockref_registry *registry;

    harness_assert_ok(sockref_registry_new(NULL, &registry));
    /* It looks like any socket that somebody else has bound. */
    ck_assert_int_eq(sockref_registry_listen(registry, path, NULL, &other), SOCKREF_EFOREIGN);
    ck_assert_int_eq(access(path, F_OK), 0);
    sockref_registry_free(registry);
    sockref_release(ref);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_second_reference_is_counted)
{
    sockref *ref = bind_only(path), *same;

    harness_assert_ok(sockref_registry_listen(NULL, path, NULL, &same));
    ck_assert_ptr_eq(same, ref);
    ck_assert_int_eq(try_to_dial(path), -ECONNREFUSED);
    sockref_release(ref);
    ck_assert_int_eq(access(path, F_OK), 0);
    sockref_release(same);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(with_handlers_it_listens)
{
    sockref_options *bound = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    sockref *ref;

    harness_assert_ok(sockref_options_set_loop(bound, loop));
    harness_assert_ok(sockref_options_set_handlers(bound, sockref_echo_handlers(), NULL));
    harness_assert_ok(sockref_registry_listen(NULL, path, bound, &ref));
    sockref_options_free(bound);
    ck_assert_int_eq(try_to_dial(path), 0);
    sockref_release(ref);
}
END_TEST

START_TEST(what_is_registered_listens)
{
    sockref_options *bound = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockref_registry *registry;
    sockref *ref;

    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    harness_assert_ok(sockref_registry_new(bound, &registry));
    sockref_options_free(bound);
    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    options.from = ref;
    ck_assert_int_eq(sockref_connect(loop, path, &options, &handlers, &record, NULL), -EINVAL);
    ck_assert_int_eq(access(harness_text("%s/.s.sock.srlock", directory), F_OK), 0); /* shared */
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(a_port_is_bound_and_told)
{
    sockref *ref = bind_only("tcp:127.0.0.1:0"), *client;
    sockref_conn *conn;

    ck_assert_uint_ne(port_of(ref), 0);
    ck_assert_str_eq(sockref_path(ref), harness_text("tcp:127.0.0.1:%u", port_of(ref)));
    conn = begin(sockref_path(ref));
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.status, -ECONNREFUSED);
    sockref_conn_release(conn);
    memset(&record, 0, sizeof record);
    harness_assert_ok(sockref_serve_on(ref, loop, sockref_echo_handlers(), NULL));
    client = listen_at(sockref_path(ref));
    expect_echo(sockref_path(client), "bOYD");
    sockref_release(client);
    sockref_release(ref);
}
END_TEST

/* ---- connected from ---- */

static int connect_from(sockref *from, const char *name)
{
    options.from = from;
    return sockref_connect(loop, name, &options, &handlers, &record, NULL);
}

/* Where the accepted connection says that it comes from. */
static sockref_address seen;

static void see_peer(sockref_conn *conn, void *user)
{
    sockref_conn_details details = {.size = sizeof details};

    (void)user;
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    seen = details.remote;
}

static sockref *serve_seeing(const char *name)
{
    static const sockref_handlers seeing = {.size = sizeof seeing, .on_connection = see_peer};
    sockref *ref = listen_at(name);

    harness_assert_ok(sockref_serve_on(ref, loop, &seeing, NULL));
    return ref;
}

START_TEST(a_connection_comes_from_the_port)
{
    sockref *server = serve_seeing("tcp:127.0.0.1:0"), *from = bind_only("tcp:127.0.0.1:0");
    const unsigned port = port_of(from);
    sockref_conn_details details = {.size = sizeof details};
    sockref_conn *conn;

    options.from = from;
    conn = begin(sockref_path(server));
    ck_assert_uint_eq(sockref_reference_count(from), 2);
    sockref_release(from); /* the connection has its own */
    DRIVE_UNTIL(strchr(record.events, 'Y') && seen.port);
    ck_assert_uint_eq(seen.port, port);
    ck_assert_int_eq(sockref_conn_info(conn, &details), 0);
    ck_assert_uint_eq(details.local.port, port);
    ck_assert(sockref_registry_is_socket_active(NULL, harness_text("tcp:127.0.0.1:%u", port)));
    end(conn);
    ck_assert(!sockref_registry_is_socket_active(NULL, harness_text("tcp:127.0.0.1:%u", port)));
    sockref_release(server);
}
END_TEST

START_TEST(a_connection_comes_from_the_path)
{
    const char *own = harness_text("%s/own.sock", directory);
    sockref *server = serve_seeing(path), *from = bind_only(own);
    sockref_conn *conn;

    options.from = from;
    conn = begin(path);
    sockref_release(from);
    DRIVE_UNTIL(strchr(record.events, 'Y') && seen.host_length);
    ck_assert_str_eq(seen.host, own);
    ck_assert_int_eq(access(own, F_OK), 0);
    end(conn);
    ck_assert_int_eq(access(own, F_OK), -1);
    sockref_release(server);
}
END_TEST

/* Whoever holds the name, the socket is closed when the connection is over, and the peer sees it.
 */
static void expect_end(const char *name, const char *own)
{
    sockref *server = serve_seeing(name), *from = bind_only(own);
    sockref_address address = {.size = sizeof address};
    sockref_conn *conn;

    options.from = from;
    conn = begin(sockref_path(server));
    DRIVE_UNTIL(strchr(record.events, 'Y') && sockref_connection_count(server) == 1);
    ck_assert_int_ge(sockref_fd(from), 0);
    ck_assert_int_eq(sockref_local_address(from, &address), SOCKREF_ECLOSED);
    sockref_conn_destroy(conn);
    DRIVE_UNTIL(record.stops == 1 && sockref_connection_count(server) == 0);
    sockref_conn_release(conn);
    ck_assert_uint_eq(sockref_reference_count(from), 1);
    sockref_release(from);
    sockref_release(server);
    memset(&record, 0, sizeof record);
}

START_TEST(its_peer_sees_the_end)
{
    const char *own = harness_text("%s/own.sock", directory);

    expect_end("tcp:127.0.0.1:0", "tcp:127.0.0.1:0");
    expect_end(path, "@sockref-test-own");
    expect_end(path, own);
    ck_assert_int_eq(access(own, F_OK), -1);
}
END_TEST

/* The file is known from another one that got its place, also when the socket is closed. */
START_TEST(a_file_in_its_place_stays)
{
    const char *own = harness_text("%s/own.sock", directory);
    sockref *server = serve_seeing(path), *from = bind_only(own);
    sockref_conn *conn;
    int foreign;

    options.from = from;
    conn = begin(path);
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    end(conn);
    ck_assert_int_eq(access(own, F_OK), 0);
    ck_assert_int_eq(unlink(own), 0);
    foreign = bind_foreign(own);
    sockref_release(from);
    ck_assert_int_eq(access(own, F_OK), 0);
    /* One that stands there before is none to connect from. */
    close(foreign);
    ck_assert_int_eq(unlink(own), 0);
    from = bind_only(own);
    ck_assert_int_eq(unlink(own), 0);
    foreign = bind_foreign(own);
    options.from = from;
    memset(&record, 0, sizeof record);
    expect_failure(path, -ESTALE, "bfXZS");
    sockref_release(from);
    ck_assert_int_eq(access(own, F_OK), 0);
    close(foreign);
    unlink(own);
    sockref_release(server);
}
END_TEST

/* The name that has lost it is ours, not the peer's. */
START_TEST(a_file_that_is_gone_is_told_of_its_name)
{
    const char *own = harness_text("%s/own.sock", directory);
    sockref *from = bind_only(own);

    options.from = from;
    ck_assert_int_eq(unlink(own), 0);
    expect_failure(_i ? "tcp:127.0.0.1:9" : path, -ENOENT, "bfXZS");
    ck_assert_ptr_nonnull(strstr(message, own));
    ck_assert_ptr_null(strstr(message, _i ? "127.0.0.1" : path));
    sockref_release(from);
}
END_TEST

START_TEST(a_failure_lets_go_of_the_name)
{
    const unsigned port = free_port();
    sockref *from = bind_only("tcp:127.0.0.1:0");

    options.from = from;
    expect_failure(harness_text("tcp:127.0.0.1:%u", port), -ECONNREFUSED, "bfXZS");
    ck_assert_uint_eq(sockref_reference_count(from), 1);
    sockref_release(from);
}
END_TEST

/* Whatever is left of a lookup, of a connection that never began to be one, or of its loop. */
START_TEST(destroyed_at_once_it_lets_go_of_the_name)
{
    sockref *from = bind_only("tcp:127.0.0.1:0");
    sockref_conn *conn;

    options.from = from;
    end(begin("tcp:nowhere.example:1"));
    ck_assert_uint_eq(sockref_reference_count(from), 1);
    memset(&record, 0, sizeof record);
    conn = begin("tcp:127.0.0.1:1");
    sockref_loop_free(loop);
    ck_assert_int_eq(record.stops, 1);
    ck_assert_uint_eq(sockref_reference_count(from), 1);
    sockref_conn_release(conn);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    sockref_release(from);
}
END_TEST

START_TEST(a_socket_is_connected_once)
{
    sockref *server = echo_at("tcp:127.0.0.1:0"), *from = bind_only("tcp:127.0.0.1:0");
    sockref_conn *conn;

    options.from = from;
    conn = begin(sockref_path(server));
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    ck_assert_int_eq(connect_from(from, path), SOCKREF_EBUSY);
    ck_assert_int_eq(sockref_serve_on(from, loop, &handlers, &record), SOCKREF_EBUSY);
    end(conn);
    ck_assert_int_eq(connect_from(from, path), SOCKREF_EBUSY);
    sockref_release(from);
    sockref_release(server);
}
END_TEST

/* Of two that begin in the same turn one has the socket. */
START_TEST(the_second_of_two_fails)
{
    sockref *server = echo_at("tcp:127.0.0.1:0"), *from = bind_only("tcp:127.0.0.1:0");
    sockref_conn *first, *second;

    options.from = from;
    first = begin(sockref_path(server));
    second = begin(sockref_path(server));
    DRIVE_UNTIL(record.stops == 1 && strchr(record.events, 'Y'));
    ck_assert_int_eq(record.status, -EISCONN);
    sockref_conn_release(second);
    sockref_conn_destroy(first);
    DRIVE_UNTIL(record.stops == 2);
    sockref_conn_release(first);
    sockref_release(from);
    sockref_release(server);
}
END_TEST

START_TEST(revoked_before_its_turn_it_fails)
{
    sockref *from = bind_only("tcp:127.0.0.1:0");
    sockref_conn *conn;

    options.from = from;
    conn = begin(path);
    harness_assert_ok(sockref_registry_cleanup(NULL, sockref_path(from)));
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.status, -EBADF);
    sockref_conn_release(conn);
    sockref_release(from);
}
END_TEST

/* What a name is looked up for is what the socket can be connected to; an address is taken as it
 * is.
 */
START_TEST(a_host_is_looked_up_in_its_family)
{
    sockref *from = bind_only("tcp:127.0.0.1:0"), *server = echo_at("tcp:127.0.0.1:0");

    options.from = from;
    expect_echo(harness_text("tcp:localhost:%u", port_of(server)), "bOYD");
    ck_assert_str_eq(tried, "4");
    sockref_release(from);
    from = bind_only("tcp:127.0.0.1:0");
    options.from = from;
    memset(&record, 0, sizeof record);
    expect_failure(harness_text("tcp:[::1]:%u", port_of(server)), -EAFNOSUPPORT, "bfXZS");
    sockref_release(from);
    sockref_release(server);
}
END_TEST

START_TEST(what_is_not_bound_alone_is_refused)
{
    sockref *listener = listen_at(path), *named, *from = bind_only("tcp:127.0.0.1:0");

    ck_assert_int_eq(connect_from(listener, "tcp:127.0.0.1:1"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "bind only"));
    harness_assert_ok(sockref_registry_get_or_create(NULL, "@sockref-test-named", &named));
    ck_assert_int_eq(connect_from(named, path), SOCKREF_ECLOSED);
    sockref_release(named);
    options.local_port = 1;
    ck_assert_int_eq(connect_from(from, "tcp:127.0.0.1:1"), -EINVAL);
    options.local_port = 0;
    options.local_host = "127.0.0.1";
    ck_assert_int_eq(connect_from(from, "tcp:127.0.0.1:1"), -EINVAL);
    options.local_host = NULL;
    ck_assert_uint_eq(sockref_reference_count(from), 1);
    harness_assert_ok(sockref_registry_cleanup(NULL, sockref_path(from)));
    ck_assert_int_eq(connect_from(from, path), SOCKREF_ECLOSED);
    sockref_release(from);
    sockref_release(listener);
    ck_assert_int_eq(record.stops, 0);
}
END_TEST

START_TEST(the_limit_of_references_holds)
{
    sockref_options *one = harness_options(SOCKREF_OPT_MAX_REFERENCES, 1, 0);
    sockref_registry *registry;
    sockref *from;

    harness_assert_ok(sockref_options_set_int(one, SOCKREF_OPT_BIND_ONLY, 1));
    harness_assert_ok(sockref_registry_new(one, &registry));
    sockref_options_free(one);
    harness_assert_ok(sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &from));
    ck_assert_int_eq(connect_from(from, path), SOCKREF_ELIMIT);
    sockref_release(from);
    sockref_registry_free(registry);
}
END_TEST

/* The connection in the child is none, and lets go of nothing of the parent's. */
START_TEST(a_forked_child_takes_nothing)
{
    const char *own = harness_text("%s/own.sock", directory);
    sockref *server = serve_seeing(path), *from = bind_only(own);
    sockref_conn *conn;
    int status;
    pid_t child;

    options.from = from;
    conn = begin(path);
    DRIVE_UNTIL(strchr(record.events, 'Y'));
    child = fork();
    if (child == 0) {
        sockref_loop_free(loop);
        sockref_conn_release(conn);
        sockref_release(from);
        _exit(access(own, F_OK) == 0 ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(sockref_reference_count(from), 2);
    sockref_release(from);
    end(conn);
    ck_assert_int_eq(access(own, F_OK), -1);
    sockref_release(server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bind-only");
    TCase *tcase = tcase_create("bound");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, nobody_can_connect_before_it_is_served);
    tcase_add_test(tcase, what_the_host_listens_on_is_served);
    tcase_add_test(tcase, it_is_not_taken_for_dead);
    tcase_add_test(tcase, a_second_reference_is_counted);
    tcase_add_test(tcase, with_handlers_it_listens);
    tcase_add_test(tcase, what_is_registered_listens);
    tcase_add_test(tcase, a_port_is_bound_and_told);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("from");
    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, a_connection_comes_from_the_port);
    tcase_add_test(tcase, a_connection_comes_from_the_path);
    tcase_add_test(tcase, its_peer_sees_the_end);
    tcase_add_test(tcase, a_file_in_its_place_stays);
    tcase_add_loop_test(tcase, a_file_that_is_gone_is_told_of_its_name, 0, 2);
    tcase_add_test(tcase, a_failure_lets_go_of_the_name);
    tcase_add_test(tcase, destroyed_at_once_it_lets_go_of_the_name);
    tcase_add_test(tcase, a_socket_is_connected_once);
    tcase_add_test(tcase, the_second_of_two_fails);
    tcase_add_test(tcase, revoked_before_its_turn_it_fails);
    tcase_add_test(tcase, a_host_is_looked_up_in_its_family);
    tcase_add_test(tcase, what_is_not_bound_alone_is_refused);
    tcase_add_test(tcase, the_limit_of_references_holds);
    tcase_add_test(tcase, a_forked_child_takes_nothing);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
