/*
 * Anything may be done in any callback: each of these does each of those to the connection that
 * calls and to another one that has events in the same turn. Whatever it was, every connection gets
 * on_close exactly once and nothing afterwards, every lent piece comes back once, and the service
 * stops.
 */
#include "test-conn-helpers.h"

#define CONNS 8

struct life {
    sockref_conn *conn;
    bool over;
};

static struct life lives[CONNS];
static int born, lent, given_back, posted, post_ran;
static struct record served;
static sockref *ref;
static int ends[2]; /* the peers of the first two */

/* ---- what is done ---- */

static void given(int status, void *user);
static void ran_post(int status, void *user);
static sockref_handlers all_handlers(void);

static void lend_to(sockref_conn *self)
{
    lent += sockref_conn_write_own(self, block, 1000, given, NULL) >= 0;
}

static void do_nothing(sockref_conn *self)
{
    (void)self;
}

static void do_end(sockref_conn *self)
{
    sockref_conn_end(self);
}

static void do_write(sockref_conn *self)
{
    sockref_conn_write(self, block, sizeof block);
    sockref_conn_write(self, "x", 1);
}

static void do_fill(sockref_conn *self)
{
    while (sockref_conn_write(self, block, sizeof block) == 0)
        continue;
}

static void do_try_write(sockref_conn *self)
{
    sockref_conn_try_write(self, block, 100);
}

static void do_pause(sockref_conn *self)
{
    sockref_conn_pause(self);
}

static void do_resume(sockref_conn *self)
{
    sockref_conn_pause(self);
    sockref_conn_resume(self);
}

static void do_time(sockref_conn *self)
{
    sockref_conn_set_timeout(self, 1);
}

static void do_untime(sockref_conn *self)
{
    sockref_conn_set_timeout(self, 0);
}

static void do_tune(sockref_conn *self)
{
    sockref_conn_details info = {.size = sizeof info};

    sockref_conn_set_nodelay(self, true);
    sockref_conn_set_keepalive(self, true, 1000);
    sockref_conn_hold(self, false);
    ck_assert_int_eq(sockref_conn_info(self, &info), 0);
}

static void do_send_fd(sockref_conn *self)
{
    sockref_conn_send_fd(self, ends[0] >= 0 ? ends[0] : 0, "fd", 2);
}

static void do_release_name(sockref_conn *self)
{
    (void)self;
    sockref_release(ref);
    ref = NULL;
}

static void do_unserve(sockref_conn *self)
{
    (void)self;
    sockref_unserve(ref, true);
}

static void do_unserve_gently(sockref_conn *self)
{
    (void)self;
    sockref_unserve(ref, false);
}

static void do_limit(sockref_conn *self)
{
    (void)self;
    sockref_set_max_connections(ref, 1);
}

static void do_post(sockref_conn *self)
{
    (void)self;
    posted += sockref_loop_post(loop, ran_post, NULL) == 0;
}

static void do_adopt(sockref_conn *self)
{
    sockref_handlers handlers = all_handlers();
    int fds[2];

    (void)self;
    handlers.on_stop = NULL;
    unix_pair(fds);
    if (sockref_adopt(loop, fds[1], &handlers, &served, NULL) < 0)
        close(fds[1]);
    close(fds[0]);
}

static void (*const actions[])(sockref_conn *self) = {
    sockref_conn_destroy,
    sockref_conn_destroy_soon,
    sockref_conn_reset,
    do_nothing,
    do_end,
    do_write,
    do_fill,
    do_try_write,
    lend_to,
    do_pause,
    do_resume,
    do_time,
    do_untime,
    do_tune,
    do_send_fd,
    do_release_name,
    do_unserve,
    do_unserve_gently,
    do_limit,
    do_post,
    do_adopt,
};

#define ACTIONS ((int)(sizeof actions / sizeof actions[0]))

/* ---- where it is done ---- */

static char where;
static int action;
static bool of_other, done;

static struct life *life_of(sockref_conn *self)
{
    struct life *life = sockref_conn_data(self);

    if (!life) {
        ck_assert_int_lt(born, CONNS);
        life = &lives[born++];
        life->conn = sockref_conn_acquire(self);
        sockref_conn_set_data(self, life);
    }
    return life;
}

static void happen(char event, sockref_conn *self)
{
    sockref_conn *victim = self;

    if (self)
        ck_assert(!life_of(self)->over);
    if (event != where || done)
        return;
    for (int i = 0; i < born && (of_other || !victim); i++)
        if (lives[i].conn != self)
            victim = lives[i].conn;
    done = true;
    actions[action](victim);
}

static void given(int status, void *user)
{
    (void)status;
    (void)user;
    given_back++;
    happen('W', NULL);
}

static void ran_post(int status, void *user)
{
    (void)status;
    (void)user;
    post_ran++;
    happen('P', NULL);
}

static void on_event(struct record *r, char event, sockref_conn *self)
{
    (void)r;
    happen(event, self);
    if (event == 'Z')
        life_of(self)->over = true;
}

static char room[100];

static void *lend_room(sockref_conn *self, size_t *inout_length, void *user)
{
    (void)user;
    happen('B', self);
    *inout_length = sizeof room;
    return room;
}

static void take_fd(sockref_conn *self, int fd, void *user)
{
    (void)user;
    close(fd);
    happen('F', self);
}

static sockref_handlers all_handlers(void)
{
    sockref_handlers handlers = recording_all();

    handlers.on_buffer = lend_room;
    handlers.on_descriptor = take_fd;
    return handlers;
}

/* ---- the events, each in the same turn as one of the other connection ---- */

static void pass_fd(int fd)
{
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {0};
    struct iovec part = {"fd", 2};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    int both[2] = {fd, fd};

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof both);
    memcpy(CMSG_DATA(head), both, sizeof both);
    ck_assert_int_eq(sendmsg(fd, &message, 0), 2);
}

static void read_all(int fd)
{
    static char buffer[65536];

    while (peek_some(fd, buffer, sizeof buffer) > 0)
        continue;
}

static void provoke(void)
{
    sockref_conn *first = lives[0].conn;

    send_text(ends[1], "y");
    lend_to(lives[1].conn);
    switch (where) {
    case 'D':
    case 'B':
        send_text(ends[0], "x");
        break;
    case 'E':
        shutdown(ends[0], SHUT_WR);
        break;
    case 'F':
        pass_fd(ends[0]);
        break;
    case 'R':
        do_fill(first);
        break;
    case 'W':
        lend_to(first);
        break;
    case 'P':
        do_post(first);
        break;
    case 'T':
        sockref_conn_set_timeout(first, 1);
        break;
    case 'X':
        close(ends[0]);
        ends[0] = -1;
        sockref_conn_write(first, "x", 1);
        break;
    case 'Z':
        sockref_conn_destroy(first);
        break;
    }
}

static const char kinds[] = "CYDBEFRWPTXZS";

static void begin_scene(void)
{
    sockref_handlers handlers = all_handlers();

    memset(lives, 0, sizeof lives);
    served = (struct record){.hook = on_event};
    born = lent = given_back = posted = post_ran = 0;
    done = false;
    ref = serve_here(NULL, &handlers, &served);
    ends[0] = ends[1] = -1;
}

static void end_scene(void)
{
    uint64_t until = deadline();

    sockref_release(ref);
    while (served.stops == 0 || post_ran < posted || sockref_loop_hold_count(loop) > 0) {
        ck_assert_msg(sr_clock_ns() < until, "%c, action %d: it does not end", where, action);
        for (int i = 0; i < born; i++)
            if (!lives[i].over)
                sockref_conn_destroy(lives[i].conn);
        sockref_loop_dispatch(loop, 1);
    }
    while (sockref_loop_dispatch(loop, 0) > 0)
        continue;
    ck_assert_msg(
        served.stops == 1 && given_back == lent && post_ran == posted && served.closes == born,
        "%c, action %d: %d stops, %d of %d lent pieces, %d of %d posts, %d of %d closes", where,
        action, served.stops, given_back, lent, post_ran, posted, served.closes, born);
    for (int i = 0; i < born; i++)
        sockref_conn_release(lives[i].conn);
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

static void play(void)
{
    for (int i = 0; i < 2; i++)
        ends[i] = dial();
    for (int turns = 0; born < 2 && turns < 100; turns++)
        sockref_loop_dispatch(loop, 1);
    if (born == 2 && where != 'C' && where != 'Y') {
        provoke();
        for (int turns = 0; !done && turns < 200 && where != 'S'; turns++) {
            sockref_loop_dispatch(loop, 1);
            if (ends[0] >= 0)
                read_all(ends[0]);
        }
        if (where != 'S')
            ck_assert_msg(done, "no %c", where);
    }
    for (int turns = 0; turns < 3; turns++)
        sockref_loop_dispatch(loop, 0);
}

static void play_all(int kind)
{
    where = kinds[kind];
    for (action = 0; action < ACTIONS; action++) {
        begin_scene();
        play();
        end_scene();
    }
}

START_TEST(everything_may_be_done_in_every_callback)
{
    play_all(_i);
}
END_TEST

START_TEST(everything_may_be_done_to_another_in_every_callback)
{
    of_other = true;
    play_all(_i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-pairs");
    TCase *tcase = tcase_create("conn-pairs");
    int last = (int)sizeof kinds - 1;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, everything_may_be_done_in_every_callback, 0, last);
    tcase_add_loop_test(tcase, everything_may_be_done_to_another_in_every_callback, 0, last);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
