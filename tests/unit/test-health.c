/* Whether a name is well: src/net/health.c. G40. */
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sockref/net.h>
#include <sockref/stats.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static sockref_registry *registry;
static sockref_loop *loop;
static int connections;
static sockref_conn *last;

/* No thread of the library runs yet, whose calls would be replaced under it. */
static void setup(void)
{
    faults_install();
    registry = harness_registry(0);
    harness_assert_ok(sockref_loop_new(&loop));
    connections = 0;
    last = NULL;
}

static void teardown(void)
{
    sockref_loop_free(loop);
    sockref_registry_free(registry);
}

/* What is found, as text: whether the file is ours, it is reachable, it is accepting. */
static const char *health_of(const sockref *ref)
{
    sockref_health health = {.size = sizeof health};

    harness_assert_ok(sockref_check_health(ref, &health));
    ck_assert_uint_eq(health.size, sizeof health);
    return harness_text("%d %d %d", health.is_file_ours, health.is_reachable, health.is_accepting);
}

static bool is_health(const sockref *ref, const char *expected)
{
    return strcmp(health_of(ref), expected) == 0;
}

#define assert_health(ref, expected) ck_assert_str_eq(health_of(ref), expected)

/* Dispatch what is due, until there is nothing. */
static void drive(void)
{
    for (int quiet = 0; quiet < 3;)
        quiet = sockref_loop_dispatch(loop, 1) > 0 ? 0 : quiet + 1;
}

#define DRIVE_UNTIL(condition)                                                                     \
    do {                                                                                           \
        uint64_t until_ = sr_clock_after_ms(HARNESS_PATIENCE_MS);                                  \
        while (!(condition)) {                                                                     \
            ck_assert_msg(sr_clock_ns() < until_, "still not: %s", #condition);                    \
            ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);                                  \
        }                                                                                          \
    } while (0)

static void count_connection(sockref_conn *conn, void *user)
{
    (void)user;
    connections++;
    last = conn;
}

static const sockref_handlers counting = {.size = sizeof counting,
                                          .on_connection = count_connection};

static sockref *serve(const char *path)
{
    sockref *ref = harness_listen(registry, path);

    harness_assert_ok(sockref_serve_on(ref, loop, &counting, NULL));
    drive();
    return ref;
}

static bool has_waiting(const sockref *ref)
{
    struct pollfd queue = {.fd = sockref_fd(ref), .events = POLLIN};

    return poll(&queue, 1, 0) == 1;
}

/* ---- served and not ---- */

START_TEST(g40_a_name_that_is_served_is_well)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    assert_health(ref, "1 1 0"); /* nobody serves it */
    harness_assert_ok(sockref_serve_on(ref, loop, &counting, NULL));
    assert_health(ref, "1 1 0"); /* its loop is not dispatched */
    drive();
    assert_health(ref, "1 1 1");
    harness_assert_ok(sockref_unserve(ref, true));
    assert_health(ref, "1 1 0");
    sockref_release(ref);
}
END_TEST

START_TEST(g40_the_service_notices_nothing)
{
    sockref *served = serve(harness_at("a")), *unserved = harness_listen(registry, harness_at("b"));

    for (int i = 0; i < 10; i++) {
        assert_health(served, "1 1 1");
        assert_health(unserved, "1 1 0");
    }
    ck_assert(!has_waiting(served) && !has_waiting(unserved));
    drive();
    ck_assert_int_eq(connections, 0);
    sockref_release(served);
    sockref_release(unserved);
}
END_TEST

START_TEST(g40_the_library_has_a_loop_of_its_own)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    WAIT_UNTIL(is_health(ref, "1 1 1"));
    sockref_release(ref);
}
END_TEST

/* Beyond the limit peers wait, or are turned away. */
START_TEST(g40_at_its_limit_it_does_not_accept)
{
    sockref *ref = serve(harness_at("a"));
    int peer;

    harness_assert_ok(sockref_set_max_connections(ref, 1));
    assert_health(ref, "1 1 1");
    peer = harness_dial(harness_at("a"));
    DRIVE_UNTIL(connections == 1);
    assert_health(ref, "1 1 0");
    harness_assert_ok(sockref_set_max_connections(ref, 2));
    assert_health(ref, "1 1 1");
    harness_assert_ok(sockref_set_max_connections(ref, 1));
    close(peer);
    DRIVE_UNTIL(sockref_connection_count(ref) == 0);
    assert_health(ref, "1 1 1");
    sockref_release(ref);
}
END_TEST

START_TEST(g40_without_descriptors_it_does_not_accept)
{
    sockref *ref;
    int peer;

    ref = serve(harness_at("a"));
    faults_arm(FAULTS_BIT(FAULTS_accept4), 1, ENOMEM);
    peer = harness_dial(harness_at("a"));
    while (!faults_struck()) /* without waiting: the pause ends in a turn as well */
        ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
    assert_health(ref, "1 1 0");
    DRIVE_UNTIL(connections == 1);
    assert_health(ref, "1 1 1");
    close(peer);
    sockref_release(ref);
}
END_TEST

/* Who has just come waits a moment wherever the loop is busy; that is no reason yet. */
START_TEST(g40_a_loop_that_leaves_a_peer_waiting_does_not_accept)
{
    sockref *ref = serve(harness_at("a"));
    int peer = harness_dial(harness_at("a"));

    assert_health(ref, "1 1 1");
    WAIT_UNTIL(is_health(ref, "1 1 0"));
    assert_health(ref, "1 1 0");
    DRIVE_UNTIL(connections == 1);
    assert_health(ref, "1 1 1");
    close(peer);
    sockref_release(ref);
}
END_TEST

/* However long ago the look before was: the peer that waited then was taken. */
START_TEST(g40_a_loop_that_had_its_turn_accepts)
{
    sockref *ref = serve(harness_at("a"));
    int peers[2] = {harness_dial(harness_at("a")), -1};
    uint64_t seen_ns = sr_clock_ns();

    assert_health(ref, "1 1 1");
    DRIVE_UNTIL(connections == 1);
    peers[1] = harness_dial(harness_at("a"));
    WAIT_UNTIL(sr_clock_ns() - seen_ns > 1100000000u);
    assert_health(ref, "1 1 1");
    DRIVE_UNTIL(connections == 2);
    close(peers[0]);
    close(peers[1]);
    sockref_release(ref);
}
END_TEST

static void do_nothing(int status, void *user)
{
    (void)status;
    (void)user;
}

START_TEST(g40_a_loop_that_leaves_a_function_waiting_does_not_accept)
{
    sockref *ref = serve(harness_at("a"));

    harness_assert_ok(sockref_loop_post(loop, do_nothing, NULL));
    assert_health(ref, "1 1 1");
    WAIT_UNTIL(is_health(ref, "1 1 0"));
    drive();
    assert_health(ref, "1 1 1");
    sockref_release(ref);
}
END_TEST

static sem_t is_inside, may_leave;

static void stay_inside(sockref_conn *conn, void *user)
{
    (void)user;
    sem_post(&is_inside);
    sem_wait(&may_leave);
    sockref_conn_destroy(conn);
}

START_TEST(g40_a_callback_that_does_not_return_holds_its_loop_back)
{
    static const sockref_handlers staying = {.size = sizeof staying, .on_connection = stay_inside};
    sockref *ref = harness_listen(registry, harness_at("a"));
    int peers[2];

    sem_init(&is_inside, 0, 0);
    sem_init(&may_leave, 0, 0);
    harness_assert_ok(sockref_serve(ref, &staying, NULL));
    peers[0] = harness_dial(harness_at("a"));
    sem_wait(&is_inside);
    assert_health(ref, "1 1 1");
    peers[1] = harness_dial(harness_at("a"));
    WAIT_UNTIL(is_health(ref, "1 1 0"));
    sem_post(&may_leave);
    sem_post(&may_leave);
    WAIT_UNTIL(is_health(ref, "1 1 1"));
    close(peers[0]);
    close(peers[1]);
    sockref_release(ref);
    harness_assert_ok(sockref_registry_drain(registry, HARNESS_PATIENCE_MS));
    sem_destroy(&is_inside);
    sem_destroy(&may_leave);
}
END_TEST

/* Who connects to a full queue waits, and is not refused. */
START_TEST(g40_a_full_queue_is_reachable)
{
    sockref_options *options = harness_options(SOCKREF_OPT_BACKLOG, 1, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int peers[16], count = 0, status = 0;
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), options, &ref));
    strcpy(address.sun_path, harness_at("a"));
    while (status == 0) {
        ck_assert_int_lt(count, 16);
        peers[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        status = connect(peers[count++], (struct sockaddr *)&address, sizeof address);
    }
    ck_assert_int_eq(errno, EAGAIN);
    assert_health(ref, "1 1 0");
    while (count > 0)
        close(peers[--count]);
    sockref_release(ref);
    sockref_options_free(options);
}
END_TEST

/* ---- every kind of name ---- */

START_TEST(g40_what_is_only_bound_is_not_reachable)
{
    sockref_options *options = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    sockref *refs[2];

    for (int i = 0; i < 2; i++) {
        harness_assert_ok(
            sockref_registry_listen(registry, harness_at(i ? "b" : "a"), options, &refs[i]));
        assert_health(refs[i], "1 0 0");
    }
    ck_assert_int_eq(listen(sockref_fd(refs[0]), 1), 0); /* the program's own doing */
    assert_health(refs[0], "1 1 0");
    harness_assert_ok(sockref_serve_on(refs[1], loop, &counting, NULL));
    drive();
    assert_health(refs[1], "1 1 1");
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    sockref_options_free(options);
}
END_TEST

START_TEST(g40_a_connection_that_took_the_socket_has_its_file)
{
    sockref_options *options = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    sockref *to = serve(harness_at("to")), *from;
    sockref_connect_options connecting = {.size = sizeof connecting};

    harness_assert_ok(sockref_registry_listen(registry, harness_at("from"), options, &from));
    connecting.from = from;
    harness_assert_ok(sockref_connect(loop, harness_at("to"), &connecting, &counting, NULL, NULL));
    DRIVE_UNTIL(connections == 1);
    assert_health(from, "1 0 0");
    sockref_conn_destroy(last);
    drive();
    sockref_release(from);
    sockref_release(to);
    sockref_options_free(options);
}
END_TEST

START_TEST(g40_names_without_a_file)
{
    const char *names[] = {harness_text("@%s", harness_dir()), "tcp:127.0.0.1:0"};
    sockref *ref = harness_listen(registry, names[_i]);

    assert_health(ref, "-1 1 0");
    harness_assert_ok(sockref_serve_on(ref, loop, &counting, NULL));
    drive();
    assert_health(ref, "-1 1 1");
    drive();
    ck_assert_int_eq(connections, 0);
    sockref_release(ref);
}
END_TEST

START_TEST(g40_what_was_registered)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);
    sockref *ref;

    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    assert_health(ref, "1 1 0");
    harness_assert_ok(sockref_serve_on(ref, loop, &counting, NULL));
    drive();
    assert_health(ref, "1 1 1");
    sockref_release(ref);
}
END_TEST

START_TEST(g40_a_long_path)
{
    const char *path = harness_long_path(300, 30);
    sockref *ref = serve(path);

    assert_health(ref, "1 1 1");
    ck_assert_int_eq(unlink(path), 0);
    assert_health(ref, "0 0 1");
    sockref_release(ref);
}
END_TEST

/* ---- what others did to the file ---- */

static void leave_nothing(const char *path)
{
    (void)path;
}

static void leave_file(const char *path)
{
    harness_write(path, "");
}

static int stranger = -1;

static void leave_socket(const char *path)
{
    stranger = harness_bind(path);
}

static void leave_datagram_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    stranger = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(stranger, (struct sockaddr *)&address, sizeof address), 0);
}

static void leave_directory(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void leave_loop(const char *path)
{
    ck_assert_int_eq(symlink(path, path), 0);
}

static void leave_link(const char *path)
{
    ck_assert_int_eq(symlink(harness_at("aside"), path), 0);
}

static const struct {
    void (*leave)(const char *path);
    const char *health;
} replacements[] = {
    {leave_nothing, "0 0 1"},         {leave_file, "0 0 1"},      {leave_socket, "0 1 1"},
    {harness_leave_dead, "0 0 1"},    {leave_directory, "0 0 1"}, {leave_loop, "0 0 1"},
    {leave_datagram_socket, "0 0 1"}, {leave_link, "0 1 1"},
};

#define REPLACEMENTS ((int)(sizeof replacements / sizeof replacements[0]))

START_TEST(g40_a_file_that_was_replaced_is_not_ours)
{
    const char *path = harness_at("a"), *aside = harness_at("aside");
    sockref *ref = serve(path);

    ck_assert_int_eq(rename(path, aside), 0);
    replacements[_i].leave(path);
    assert_health(ref, replacements[_i].health);
    if (stranger >= 0) {
        ck_assert(!has_waiting(ref));
        close(stranger);
    }
    (void)remove(path);
    ck_assert_int_eq(rename(aside, path), 0);
    assert_health(ref, "1 1 1");
    sockref_release(ref);
}
END_TEST

/* The path leads elsewhere, and what stands there is not ours. */
START_TEST(g40_a_directory_that_was_replaced)
{
    const char *directory = harness_at("d"), *aside = harness_at("aside");
    const char *path = harness_at("d/a");
    sockref *ref;
    int fd;

    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ref = serve(path);
    assert_health(ref, "1 1 1");
    ck_assert_int_eq(rename(directory, aside), 0);
    assert_health(ref, "0 0 1");
    harness_write(directory, "");
    assert_health(ref, "0 0 1");
    ck_assert_int_eq(unlink(directory), 0);
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    fd = harness_bind(path);
    assert_health(ref, "0 1 1");
    close(fd);
    assert_health(ref, "0 0 1");
    /* Our file in another directory is not where a release looks for it. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(link(harness_at("aside/a"), path), 0);
    assert_health(ref, "1 1 1");
    ck_assert_int_eq(unlink(harness_at("aside/a")), 0);
    assert_health(ref, "0 1 1");
    ck_assert_int_eq(unlink(path), 0);
    sockref_release(ref);
}
END_TEST

/* ---- other registries and processes ---- */

START_TEST(g40_who_has_joined_sees_the_owners_file)
{
    sockref_registry *there = harness_registry(0);
    sockref *owner = harness_listen(there, harness_at("a"));
    sockref *joined = harness_listen(registry, harness_at("a"));

    ck_assert(!sockref_is_owner(joined));
    assert_health(joined, "1 1 -1");
    assert_health(owner, "1 1 0");
    ck_assert_int_eq(rename(harness_at("a"), harness_at("aside")), 0);
    assert_health(joined, "0 0 -1");
    ck_assert_int_eq(rename(harness_at("aside"), harness_at("a")), 0);
    assert_health(joined, "1 1 -1");
    sockref_release(joined);
    sockref_release(owner);
    sockref_registry_free(there);
}
END_TEST

/* Its file tells nothing, so the kernel is asked whether the owner has it still. */
START_TEST(g40_who_has_joined_an_abstract_name)
{
    sockref_registry *there = harness_registry(0);
    const char *name = harness_text("@%s joined", harness_dir());
    sockref *owner = harness_listen(there, name), *joined = harness_listen(registry, name);

    ck_assert(!sockref_is_owner(joined));
    assert_health(joined, "-1 1 -1");
    assert_health(owner, "-1 1 0");
    sockref_release(owner);
    assert_health(joined, "-1 0 -1");
    sockref_release(joined);
    sockref_registry_free(there);
}
END_TEST

static struct wait_events heard;

static void hear(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    wait_add(&heard, event);
}

START_TEST(g40_what_was_handed_over_is_well)
{
    sockref_registry *there = harness_registry(0);
    sockref *owner = harness_listen(there, harness_at("a"));
    sockref *heir = harness_listen(registry, harness_at("a"));
    struct faults_gate gate;

    wait_init(&heard);
    harness_assert_ok(sockref_set_watch(heir, hear, NULL, NULL));
    faults_hold(FAULTS_recvmsg, &gate); /* the next is the heir's, who hears of the offer */
    sockref_release(owner);
    faults_wait_held(&gate);
    assert_health(heir, "-1 1 -1"); /* just now it changes hands */
    faults_let_go(&gate);
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    WAIT_UNTIL(is_health(heir, "1 1 0"));
    sockref_release(heir);
    sockref_registry_free(there);
}
END_TEST

/* Between the removal and the new file it is seen as it is. */
START_TEST(g40_a_file_that_is_made_again_is_ours)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    sockref *ref;

    wait_init(&heard);
    ref = serve(path);
    harness_assert_ok(sockref_set_watch(ref, hear, NULL, NULL));
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(unlink(path), 0);
    faults_wait_held(&gate);
    assert_health(ref, "0 0 1");
    faults_let_go(&gate);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    assert_health(ref, "1 1 1");
    sockref_release(ref);
}
END_TEST

static void stay(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)event;
    (void)user;
    sem_post(&is_inside);
    sem_wait(&may_leave);
}

/* A child that owns a name with no guard until it is killed. */
static pid_t spawn_owner(const char *path)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 0, 0);
    int pair[2];
    char ready;
    pid_t pid;

    ck_assert_int_eq(pipe(pair), 0);
    pid = fork();
    if (pid == 0) {
        sockref *owner;

        if (sockref_registry_listen(NULL, path, options, &owner) == 0)
            (void)!write(pair[1], "", 1);
        for (;;)
            pause();
    }
    close(pair[1]);
    ck_assert_int_eq(read(pair[0], &ready, 1), 1);
    close(pair[0]);
    sockref_options_free(options);
    return pid;
}

/* The service thread would notice, so it is kept busy. */
START_TEST(g40_a_killed_owner_is_not_reachable)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 0, 0);
    sockref *joined, *busy = harness_listen(registry, harness_at("busy"));
    pid_t owner = spawn_owner(harness_at("a"));
    sockref_health health = {.size = sizeof health};
    int status;

    sem_init(&is_inside, 0, 0);
    sem_init(&may_leave, 0, 0);
    harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), options, &joined));
    assert_health(joined, "1 1 -1");
    harness_assert_ok(sockref_set_watch(busy, stay, NULL, NULL));
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("busy")));
    sem_wait(&is_inside);
    kill(owner, SIGKILL);
    ck_assert_int_eq(waitpid(owner, &status, 0), owner);
    assert_health(joined, "1 0 -1");
    sem_post(&may_leave);
    WAIT_UNTIL(!sockref_is_active(joined));
    harness_assert_fails(sockref_check_health(joined, &health), SOCKREF_ECLOSED);
    sockref_release(busy);
    sockref_release(joined);
    sockref_options_free(options);
    harness_assert_ok(sockref_registry_drain(registry, HARNESS_PATIENCE_MS));
    sem_destroy(&is_inside);
    sem_destroy(&may_leave);
}
END_TEST

static int check_in_child(void *ref)
{
    sockref_health health = {.size = sizeof health, .is_file_ours = 7};

    return sockref_check_health(ref, &health) == SOCKREF_EFORKED && health.is_file_ours == 7 ? 0
                                                                                             : 1;
}

START_TEST(g40_a_forked_child_is_told_nothing)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    ck_assert_int_eq(harness_in_child(check_in_child, ref), 0);
    sockref_release(ref);
}
END_TEST

/* ---- refused ---- */

START_TEST(g40_where_nothing_is_bound_nothing_is_looked_at)
{
    sockref_health health = {.size = sizeof health, .is_reachable = 7};
    sockref *named, *revoked = harness_listen(registry, harness_at("a"));

    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("b"), &named));
    harness_assert_fails(sockref_check_health(named, &health), SOCKREF_ECLOSED);
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    harness_assert_fails(sockref_check_health(revoked, &health), SOCKREF_ECLOSED);
    ck_assert_int_eq(health.is_reachable, 7);
    sockref_release(named);
    sockref_release(revoked);
}
END_TEST

START_TEST(g40_sizes)
{
    sockref *ref = harness_listen(registry, harness_at("a"));
    sockref_health health = {.size = sizeof health + 1, .is_reachable = 7, .is_accepting = 7};

    harness_assert_fails(sockref_check_health(NULL, &health), -EINVAL);
    harness_assert_fails(sockref_check_health(ref, NULL), -EINVAL);
    harness_assert_fails(sockref_check_health(ref, &health), -EINVAL);
    health.size = 0;
    harness_assert_fails(sockref_check_health(ref, &health), -EINVAL);
    ck_assert_int_eq(health.is_reachable, 7);
    health.size = offsetof(sockref_health, is_accepting);
    harness_assert_ok(sockref_check_health(ref, &health));
    ck_assert_uint_eq(health.size, offsetof(sockref_health, is_accepting));
    ck_assert_int_eq(health.is_file_ours, 1);
    ck_assert_int_eq(health.is_reachable, 1);
    ck_assert_int_eq(health.is_accepting, 7);
    sockref_release(ref);
}
END_TEST

static const struct {
    enum faults_kind kind;
    const char *syscall;
} refusals[] = {
    {FAULTS_getsockopt, "getsockopt"}, {FAULTS_duplicate, "fcntl"}, {FAULTS_openat, "open"},
    {FAULTS_fstat, "fstat"},           {FAULTS_socket, "socket"},   {FAULTS_fstatat, "fstatat"},
};

#define REFUSALS ((int)(sizeof refusals / sizeof refusals[0]))

START_TEST(g40_what_the_system_refuses_is_told)
{
    sockref_health health = {.size = sizeof health, .is_file_ours = 7};
    sockref *ref = harness_listen(registry, harness_at("a"));
    unsigned descriptors = harness_descriptors();

    faults_arm(FAULTS_BIT(refusals[_i].kind), 1, EACCES);
    harness_assert_fails(sockref_check_health(ref, &health), -EACCES);
    ck_assert_str_eq(sockref_last_error()->syscall, refusals[_i].syscall);
    ck_assert_int_eq(health.is_file_ours, 7);
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    assert_health(ref, "1 1 0");
    sockref_release(ref);
}
END_TEST

/* Whom the file's mode keeps out. */
START_TEST(g40_where_connecting_is_denied_it_cant_be_told)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    faults_arm(FAULTS_BIT(FAULTS_connect), 1, EACCES);
    assert_health(ref, "1 -1 0");
    sockref_release(ref);
}
END_TEST

static void check_often(unsigned number, void *arg)
{
    sockref_health health = {.size = sizeof health};

    for (int i = 0; i < 200; i++) {
        if (number == 0) {
            harness_assert_ok(sockref_set_max_connections(arg, (uint64_t)i % 2));
            continue;
        }
        harness_assert_ok(sockref_check_health(arg, &health));
        ck_assert_int_eq(health.is_file_ours, 1);
        ck_assert_int_eq(health.is_reachable, 1);
    }
}

START_TEST(g40_threads_may_look_while_it_is_served)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    harness_in_threads(4, check_often, ref);
    sockref_release(ref);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("health");
    TCase *tcase = harness_tcase(suite, "health");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, g40_a_name_that_is_served_is_well);
    tcase_add_test(tcase, g40_the_service_notices_nothing);
    tcase_add_test(tcase, g40_the_library_has_a_loop_of_its_own);
    tcase_add_test(tcase, g40_at_its_limit_it_does_not_accept);
    tcase_add_test(tcase, g40_without_descriptors_it_does_not_accept);
    tcase_add_test(tcase, g40_a_loop_that_leaves_a_peer_waiting_does_not_accept);
    tcase_add_test(tcase, g40_a_loop_that_had_its_turn_accepts);
    tcase_add_test(tcase, g40_a_loop_that_leaves_a_function_waiting_does_not_accept);
    tcase_add_test(tcase, g40_a_callback_that_does_not_return_holds_its_loop_back);
    tcase_add_test(tcase, g40_a_full_queue_is_reachable);
    tcase_add_test(tcase, g40_what_is_only_bound_is_not_reachable);
    tcase_add_test(tcase, g40_a_connection_that_took_the_socket_has_its_file);
    tcase_add_loop_test(tcase, g40_names_without_a_file, 0, 2);
    tcase_add_test(tcase, g40_what_was_registered);
    tcase_add_test(tcase, g40_a_long_path);
    tcase_add_loop_test(tcase, g40_a_file_that_was_replaced_is_not_ours, 0, REPLACEMENTS);
    tcase_add_test(tcase, g40_a_directory_that_was_replaced);
    tcase_add_test(tcase, g40_who_has_joined_sees_the_owners_file);
    tcase_add_test(tcase, g40_who_has_joined_an_abstract_name);
    tcase_add_test(tcase, g40_what_was_handed_over_is_well);
    tcase_add_test(tcase, g40_a_file_that_is_made_again_is_ours);
    tcase_add_test(tcase, g40_a_killed_owner_is_not_reachable);
    tcase_add_test(tcase, g40_a_forked_child_is_told_nothing);
    tcase_add_test(tcase, g40_where_nothing_is_bound_nothing_is_looked_at);
    tcase_add_test(tcase, g40_sizes);
    tcase_add_loop_test(tcase, g40_what_the_system_refuses_is_told, 0, REFUSALS);
    tcase_add_test(tcase, g40_where_connecting_is_denied_it_cant_be_told);
    tcase_add_test(tcase, g40_threads_may_look_while_it_is_served);
    return harness_run(suite);
}
