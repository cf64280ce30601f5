/*
 * Connections with the n-th allocation failing, and the n-th system call of each kind, for every n
 * until nothing fails any more. Whatever fails: each connection that was taken gets on_close and
 * on_stop once, each lent piece and each post comes back once, and nothing is left.
 */
#include "test-conn-helpers.h"

#include "harness/faults.h"
#include "harness/harness.h"

static int taken, closes, stops, lent, given, posted, ran;
static const char *what;
static sockref *ref;

static void count_close(sockref_conn *self, bool had_error, void *user)
{
    (void)self, (void)had_error, (void)user;
    closes++;
}

static void count_stop(void *user)
{
    (void)user;
    stops++;
}

static void count_given(int status, void *user)
{
    (void)status, (void)user;
    given++;
}

static void count_ran(int status, void *user)
{
    (void)status, (void)user;
    ran++;
}

static void echo(sockref_conn *self, const void *data, size_t length, void *user)
{
    (void)user;
    sockref_conn_write(self, data, length);
    sockref_conn_write(self, data, length);
}

static void close_it(sockref_conn *self, int fd, void *user)
{
    (void)self, (void)user;
    close(fd);
}

static const sockref_conn_options conn_options = {
    .size = sizeof conn_options,
    .flags = SOCKREF_CONN_NODELAY | SOCKREF_CONN_KEEPALIVE | SOCKREF_CONN_OUTLIVE,
    .timeout_ms = 100000,
    .keepalive_delay_ms = 2000,
};
static const sockref_handlers handlers = {
    .size = sizeof handlers,
    .on_data = echo,
    .on_close = count_close,
    .on_stop = count_stop,
    .on_descriptor = close_it,
    .options = &conn_options,
};

static void turn(int times)
{
    while (times-- > 0)
        sockref_loop_dispatch(loop, 0);
}

static void lend_to(sockref_conn *self, size_t length)
{
    lent += sockref_conn_write_own(self, block, length, count_given, NULL) >= 0;
}

static sockref_conn *adopt(int fd)
{
    sockref_conn *self = NULL;

    if (sockref_adopt(loop, fd, &handlers, NULL, &self) < 0) {
        ck_assert_ptr_null(self);
        ck_assert_int_eq(close(fd), 0); /* it is still the caller's */
        return NULL;
    }
    taken++;
    return self;
}

/* Every call on a connection, some of it with a full socket. */
static void use(sockref_conn *self, int other_end)
{
    sockref_conn_details info = {.size = sizeof info};
    sockref_peer who = {.size = sizeof who};

    turn(1);
    sockref_conn_write(self, "first", 5);
    sockref_conn_try_write(self, "second", 6);
    lend_to(self, 10);
    sockref_conn_set_keepalive(self, true, 3000);
    sockref_conn_set_nodelay(self, false);
    sockref_conn_info(self, &info);
    sockref_conn_peer(self, &who);
    turn(1);
    for (int i = 0; i < 8; i++)
        sockref_conn_write(self, block, sizeof block);
    lend_to(self, sizeof block);
    sockref_conn_send_fd(self, other_end, "fd", 2);
    posted += sockref_loop_post(loop, count_ran, NULL) == 0;
    (void)!send(other_end, "echo", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
    for (int i = 0; i < 12; i++) {
        peer = other_end;
        drain_peer();
        turn(1);
    }
}

static void adopted(void (*make)(int fds[2]), void (*end)(sockref_conn *self))
{
    int fds[2];
    sockref_conn *self;

    make(fds);
    self = adopt(fds[1]);
    if (self) {
        use(self, fds[0]);
        end(self);
        turn(2);
        sockref_conn_release(self);
    }
    close(fds[0]);
    turn(3);
}

/* Through a listener; its service is counted as if it had been taken too. */
static void accepted(void)
{
    int fds[2], before = stops, accepted_before = closes;
    uint64_t until;

    if (sockref_serve_on(ref, loop, &handlers, NULL) < 0)
        return;
    for (int i = 0; i < 2; i++) {
        fds[i] = dial();
        send_text(fds[i], "hello");
        turn(3);
    }
    ck_assert_int_eq(sockref_set_max_connections(ref, 1), 0);
    ck_assert_int_eq(sockref_unserve(ref, true), 0);
    until = deadline();
    while (stops == before && sr_clock_ns() < until)
        sockref_loop_dispatch(loop, 1);
    ck_assert_msg(stops == before + 1, "%s: the service did not stop", what);
    stops = before;
    closes = accepted_before; /* told for those that were accepted, which are not counted */
    for (int i = 0; i < 2; i++)
        close(fds[i]);
}

static void play(void)
{
    taken = closes = stops = lent = given = posted = ran = 0;
    if (sockref_loop_new(&loop) < 0) {
        loop = NULL;
        return;
    }
    adopted(unix_pair, sockref_conn_destroy);
    adopted(tcp_pair, sockref_conn_reset);
    adopted(unix_pair, sockref_conn_destroy_soon);
    accepted();
    sockref_loop_free(loop);
    loop = NULL;
}

static struct {
    enum faults_kind kind;
    int reasons[3];
} failures[] = {
    {FAULTS_tame, {EPERM, EBADF}},
    {FAULTS_getsockopt, {EBADF, ENOBUFS}},
    {FAULTS_setsockopt, {EINVAL, ENOBUFS}},
    {FAULTS_getsockname, {ENOBUFS, 0}},
    {FAULTS_getpeername, {ENOTCONN, ENOBUFS}},
    {FAULTS_recvmsg, {EAGAIN, ECONNRESET, EINTR}},
    {FAULTS_send, {EAGAIN, EPIPE, EINTR}},
    {FAULTS_sendmsg, {EAGAIN, ETOOMANYREFS, EINTR}},
    {FAULTS_duplicate, {EMFILE, EBADF}},
    {FAULTS_shutdown, {ENOTCONN, 0}},
    {FAULTS_epoll_ctl, {ENOMEM, ENOSPC}},
    {FAULTS_epoll_wait, {EINTR, 0}},
    {FAULTS_eventfd, {EMFILE, 0}},
    {FAULTS_timerfd_create, {EMFILE, 0}},
    {FAULTS_close, {EIO, 0}},
};

#define FAILURES ((int)(sizeof failures / sizeof failures[0]))

static void check_end(void)
{
    uint64_t handles, entries, buffers;

    sockref_live_counts(&handles, &entries, &buffers);
    ck_assert_msg(closes == taken && stops == taken && given == lent && ran == posted,
                  "%s: %d taken, %d closed, %d stopped, %d of %d lent pieces, %d of %d posts", what,
                  taken, closes, stops, given, lent, ran, posted);
    ck_assert_msg(handles == references_before && buffers == buffers_before &&
                      sr_fd_count() == fds_before,
                  "%s: something is left", what);
}

static void fail_each(uint64_t kinds, const char *name, int reason)
{
    bool struck = true;

    for (uint64_t nth = 1; struck; nth++) {
        unsigned descriptors = harness_descriptors();

        what = harness_text("call %llu of %s fails with %s", (unsigned long long)nth, name,
                            sockref_status_name(reason));
        faults_arm(kinds, nth, reason);
        play();
        struck = faults_struck();
        faults_disarm();
        check_end();
        if (!(kinds & FAULTS_BIT(FAULTS_close)))
            ck_assert_msg(harness_descriptors() == descriptors, "%s: descriptors are left", what);
        ck_assert_uint_lt(nth, 400);
    }
    ck_assert_msg(taken == 3, "%s: not taken without a failure", name);
}

START_TEST(every_allocation_fails_once)
{
    fail_each(FAULTS_ALLOCATIONS, "malloc", ENOMEM);
}
END_TEST

START_TEST(every_system_call_fails_once)
{
    for (int i = 0; i < 3; i++)
        if (failures[_i].reasons[i])
            fail_each(FAULTS_BIT(failures[_i].kind), faults_name(failures[_i].kind),
                      failures[_i].reasons[i]);
}
END_TEST

static void setup_faults(void)
{
    setup();
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    sockref_live_counts(&references_before, &entries_before, &buffers_before);
    fds_before = sr_fd_count();
    faults_install();
}

static void teardown_faults(void)
{
    faults_clear();
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert_int_eq(rmdir(directory), 0);
}

int main(void)
{
    Suite *suite = suite_create("conn-faults");
    TCase *tcase = tcase_create("conn-faults");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_faults, teardown_faults);
    tcase_add_test(tcase, every_allocation_fails_once);
    tcase_add_loop_test(tcase, every_system_call_fails_once, 0, FAILURES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
