/* Waiting and turns: src/net/backend_epoll.c, src/net/backend_poll.c, src/net/reactor.c */
#include "test-loop-helpers.h"

#include "net/loop.h"

#include <sys/eventfd.h>

/* ---- each backend by itself ---- */

static int (*const makers[])(bool lent, struct sr_backend **out_backend) = {sr_backend_epoll,
                                                                            sr_backend_poll};
static struct sr_backend *backend;
static struct sr_event events[64];
static int ends[2];
static struct sr_source source;

static int look(int timeout_ms)
{
    return backend->ops->wait(backend, events, 64, timeout_ms);
}

static void open_backend(int which, bool lent)
{
    ck_assert_int_eq(makers[which](lent, &backend), 0);
    backend->ops->begin(backend);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    source = (struct sr_source){.fd = ends[0]};
}

static void close_backend(void)
{
    backend->ops->set(backend, &source, 0);
    backend->ops->free(backend);
    close(ends[0]);
    close(ends[1]);
}

START_TEST(events_are_told_by_level)
{
    open_backend(_i, false);
    ck_assert_int_eq(backend->ops->set(backend, &source, SR_READ), 0);
    ck_assert_int_eq(look(0), 0);
    send_text(ends[1], "x");
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(look(PATIENCE_MS), 1);
        ck_assert_ptr_eq(events[0].source, &source);
        ck_assert_uint_eq(events[0].ready, SR_READ);
    }
    ck_assert_int_eq(backend->ops->set(backend, &source, SR_READ | SR_WRITE), 0);
    ck_assert_int_eq(look(0), 1);
    ck_assert_uint_eq(events[0].ready, SR_READ | SR_WRITE);
    ck_assert_int_eq(backend->ops->set(backend, &source, 0), 0);
    ck_assert_int_eq(look(0), 0);
    close_backend();
}
END_TEST

START_TEST(many_sources_come_and_go)
{
    enum { MANY = 200 };
    static struct sr_source sources[MANY];
    int far[MANY], pair[2], found = 0;

    open_backend(_i, false);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        sources[i] = (struct sr_source){.fd = pair[0]};
        far[i] = pair[1];
        send_text(far[i], "x");
        ck_assert_int_eq(backend->ops->set(backend, &sources[i], SR_READ), 0);
    }
    for (int i = 0; i < MANY; i += 2)
        ck_assert_int_eq(backend->ops->set(backend, &sources[i], 0), 0);
    for (int round = 0; round < 20 && found < MANY / 2; round++) {
        int count = look(0);

        for (int i = 0; i < count; i++) {
            ck_assert_int_eq((events[i].source - sources) % 2, 1);
            backend->ops->set(backend, events[i].source, 0);
            found++;
        }
    }
    ck_assert_int_eq(found, MANY / 2);
    for (int i = 0; i < MANY; i++) {
        close(sources[i].fd);
        close(far[i]);
    }
    close_backend();
}
END_TEST

START_TEST(all_busy_sources_get_their_turn)
{
    enum { MANY = 150 };
    static struct sr_source sources[MANY];
    int seen[MANY] = {0};
    int far[MANY], pair[2], different = 0;

    open_backend(_i, false);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        sources[i] = (struct sr_source){.fd = pair[0]};
        far[i] = pair[1];
        send_text(far[i], "x");
        ck_assert_int_eq(backend->ops->set(backend, &sources[i], SR_READ), 0);
    }
    for (int round = 0; round < 6; round++) {
        int count = look(0);

        for (int i = 0; i < count; i++)
            different += seen[events[i].source - sources]++ == 0;
    }
    ck_assert_int_eq(different, MANY);
    for (int i = 0; i < MANY; i++) {
        backend->ops->set(backend, &sources[i], 0);
        close(sources[i].fd);
        close(far[i]);
    }
    close_backend();
}
END_TEST

START_TEST(a_wake_ends_one_wait)
{
    open_backend(_i, false);
    sr_backend_wake(backend);
    sr_backend_wake(backend);
    ck_assert_int_eq(look(PATIENCE_MS), 0);
    ck_assert_int_eq(look(0), 0);
    sr_backend_wake(backend);
    ck_assert_int_eq(look(PATIENCE_MS), 0);
    close_backend();
}
END_TEST

START_TEST(the_lent_descriptor_tells_events_wakes_and_deadlines)
{
    open_backend(_i, true);
    ck_assert_int_eq(backend->ops->set(backend, &source, SR_READ), 0);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    ck_assert(!is_readable(backend->fd, 20));

    send_text(ends[1], "x");
    ck_assert(is_readable(backend->fd, PATIENCE_MS));
    backend->ops->begin(backend);
    ck_assert_int_eq(look(0), 1);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    ck_assert(is_readable(backend->fd, PATIENCE_MS)); /* nobody read it */
    backend->ops->begin(backend);
    backend->ops->set(backend, &source, 0);
    ck_assert_int_eq(look(0), 0);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    ck_assert(!is_readable(backend->fd, 20));

    sr_backend_wake(backend);
    ck_assert(is_readable(backend->fd, PATIENCE_MS));
    backend->ops->begin(backend);
    ck_assert_int_eq(look(0), 0);
    backend->ops->end(backend, sr_clock_after_ms(30), false);
    ck_assert(is_readable(backend->fd, PATIENCE_MS));
    backend->ops->begin(backend);
    ck_assert_int_eq(look(0), 0);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    ck_assert(!is_readable(backend->fd, 20));
    close_backend();
}
END_TEST

START_TEST(a_change_outside_a_dispatch_is_seen)
{
    open_backend(_i, true);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    send_text(ends[1], "x");
    ck_assert(!is_readable(backend->fd, 20));
    ck_assert_int_eq(backend->ops->set(backend, &source, SR_READ), 0);
    ck_assert(is_readable(backend->fd, PATIENCE_MS));
    close_backend();
}
END_TEST

/* While somebody polls a socket the kernel keeps it alive, and its peer would not see the end. */
START_TEST(a_source_that_left_can_be_closed_at_once)
{
    char byte;

    open_backend(_i, true);
    ck_assert_int_eq(backend->ops->set(backend, &source, SR_READ), 0);
    backend->ops->end(backend, SR_CLOCK_NEVER, false);
    ck_assert(!is_readable(backend->fd, 20));
    backend->ops->set(backend, &source, 0);
    close(ends[0]);
    ck_assert_int_eq(recv(ends[1], &byte, 1, 0), 0);
    ends[0] = -1;
    close_backend();
}
END_TEST

static int calls_left;

static int count_down(void)
{
    if (calls_left-- > 0)
        return 0;
    errno = EMFILE;
    return -1;
}

static int failing_epoll(int flags)
{
    return count_down() < 0 ? -1 : epoll_create1(flags);
}

static int failing_event(unsigned initial, int flags)
{
    return count_down() < 0 ? -1 : eventfd(initial, flags);
}

static int failing_timer(int clock, int flags)
{
    return count_down() < 0 ? -1 : timerfd_create(clock, flags);
}

static int failing_pipe(int fds[2], int flags)
{
    return count_down() < 0 ? -1 : pipe2(fds, flags);
}

START_TEST(what_fails_when_it_is_made_leaves_nothing)
{
    size_t before = sr_fd_count();
    int status;

    sr_sys.epoll_create1 = failing_epoll;
    sr_sys.eventfd = failing_event;
    sr_sys.timerfd_create = failing_timer;
    sr_sys.pipe2 = failing_pipe;
    for (int n = 0;; n++) {
        calls_left = n;
        status = makers[_i](true, &backend);
        if (status == 0)
            break;
        ck_assert_int_eq(status, -EMFILE);
        ck_assert_uint_eq(sr_fd_count(), before);
        ck_assert_int_lt(n, 10);
    }
    sr_sys.epoll_create1 = epoll_create1;
    sr_sys.eventfd = eventfd;
    sr_sys.timerfd_create = timerfd_create;
    sr_sys.pipe2 = pipe2;
    backend->ops->free(backend);
    ck_assert_uint_eq(sr_fd_count(), before);
}
END_TEST

/* ---- turns ---- */

static int ran;
static struct sr_task task;

static void count_run(struct sr_task *self)
{
    (void)self;
    ran++;
}

static void post_again(struct sr_task *self)
{
    if (++ran < 1000)
        sr_loop_post(loop, self);
}

START_TEST(a_posted_task_runs_once_in_the_next_turn)
{
    ran = 0;
    task = (struct sr_task){.run = count_run};
    ck_assert(sr_loop_post(loop, &task));
    ck_assert(sr_loop_post(loop, &task));
    ck_assert_int_eq(ran, 0);
    ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 0);
    ck_assert_int_eq(ran, 1);
    ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 0);
    ck_assert_int_eq(ran, 1);
}
END_TEST

START_TEST(a_task_that_posts_itself_does_not_hold_the_dispatch)
{
    ran = 0;
    task = (struct sr_task){.run = post_again};
    sr_loop_post(loop, &task);
    sockref_loop_dispatch(loop, 0);
    ck_assert_int_lt(ran, 1000);
    WAIT_UNTIL((sockref_loop_dispatch(loop, 0), ran == 1000));
}
END_TEST

START_TEST(a_task_taken_back_does_not_run)
{
    ran = 0;
    task = (struct sr_task){.run = count_run};
    sr_loop_post(loop, &task);
    sr_loop_unpost(loop, &task);
    sockref_loop_dispatch(loop, 0);
    ck_assert_int_eq(ran, 0);
}
END_TEST

static struct sr_timer timer;

static void fire(struct sr_timer *self)
{
    (void)self;
    ran++;
}

static void start_timer(struct sr_task *self)
{
    (void)self;
    sr_timer_add(&loop->timers, &timer, sr_clock_after_ms(20));
}

START_TEST(a_timer_makes_the_lent_descriptor_readable)
{
    ran = 0;
    timer = (struct sr_timer){.fire = fire};
    task = (struct sr_task){.run = start_timer};
    sr_loop_post(loop, &task);
    sockref_loop_dispatch(loop, 0);
    while (ran == 0) {
        ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
        sockref_loop_dispatch(loop, 0);
    }
    ck_assert(!is_readable(sockref_loop_fd(loop), 0));
}
END_TEST

START_TEST(a_timer_fires_in_a_dispatch_that_waits)
{
    ran = 0;
    timer = (struct sr_timer){.fire = fire};
    task = (struct sr_task){.run = start_timer};
    sr_loop_post(loop, &task);
    WAIT_UNTIL((sockref_loop_dispatch(loop, 100), ran == 1));
}
END_TEST

/* With one connection that is always busy, the others are seen all the same. */
START_TEST(a_guessed_connection_does_not_starve_others)
{
    struct record record = {0};
    sockref *ref = serve_here(NULL, &recording, &record);
    int first = dial(), second;
    int dispatches = 0;

    DRIVE_UNTIL(record.connections == 1);
    for (int i = 0; i < 100; i++) {
        send_text(first, "x");
        ck_assert(is_readable(sockref_loop_fd(loop), PATIENCE_MS));
        ck_assert_int_eq(sockref_loop_dispatch(loop, 0), 1);
    }
    ck_assert_uint_eq(record.bytes, 100);
    second = dial();
    while (record.connections < 2) {
        send_text(first, "x");
        sockref_loop_dispatch(loop, 0);
        ck_assert_int_lt(dispatches++, 40);
    }
    close(first);
    close(second);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reactor");
    TCase *backends = tcase_create("backends"), *turns = tcase_create("turns");

    tcase_add_loop_test(backends, events_are_told_by_level, 0, 2);
    tcase_add_loop_test(backends, many_sources_come_and_go, 0, 2);
    tcase_add_loop_test(backends, all_busy_sources_get_their_turn, 0, 2);
    tcase_add_loop_test(backends, a_wake_ends_one_wait, 0, 2);
    tcase_add_loop_test(backends, the_lent_descriptor_tells_events_wakes_and_deadlines, 0, 2);
    tcase_add_loop_test(backends, a_change_outside_a_dispatch_is_seen, 0, 2);
    tcase_add_loop_test(backends, a_source_that_left_can_be_closed_at_once, 0, 2);
    tcase_add_loop_test(backends, what_fails_when_it_is_made_leaves_nothing, 0, 2);
    suite_add_tcase(suite, backends);
    tcase_add_checked_fixture(turns, setup, teardown);
    tcase_add_test(turns, a_posted_task_runs_once_in_the_next_turn);
    tcase_add_test(turns, a_task_that_posts_itself_does_not_hold_the_dispatch);
    tcase_add_test(turns, a_task_taken_back_does_not_run);
    tcase_add_test(turns, a_timer_makes_the_lent_descriptor_readable);
    tcase_add_test(turns, a_timer_fires_in_a_dispatch_that_waits);
    tcase_add_test(turns, a_guessed_connection_does_not_starve_others);
    suite_add_tcase(suite, turns);
    return run_suite(suite);
}
