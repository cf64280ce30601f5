/*
 * Programs that know nothing of sockref: what they put in the place of a socket of ours is never
 * destroyed, at whatever moment they do it (I2); and none of them sees a connection that nobody
 * made.
 *
 * The directory is one where others may add files, so a removal renames aside and looks. Whether a
 * file is destroyed is told by the count of its links, which a descriptor of it still knows.
 */
#define CASE_ON_DISK true
#include "holder.h"

#define REPLACEMENTS (IS_SANITIZED ? 500 : 10000)
#define JOINS        (IS_SANITIZED ? 500 : 10000)

static char shared[80], spot[112], fresh[112];

static bool make_shared_directory(void)
{
    if (geteuid() != 0)
        return false; /* it must be root's */
    snprintf(shared, sizeof shared, "%s/shared", directory);
    snprintf(spot, sizeof spot, "%s/a.sock", shared);
    snprintf(fresh, sizeof fresh, "%s/fresh", shared);
    ck_assert_int_eq(mkdir(shared, 0700), 0);
    ck_assert_int_eq(chmod(shared, 01777), 0);
    return true;
}

static void remove_shared_directory(void)
{
    ck_assert_int_eq(rmdir(shared), 0); /* nothing is in it */
}

/* ---- the other program, as a thread: it acts once a round, some time after the start sign ---- */

static struct {
    pthread_t thread;
    atomic_int sign;      /* the number of the round that may begin */
    atomic_int acted;     /* the number of the round that is over */
    atomic_long delay_ns; /* how long to wait after the sign; negative: it is to end */
    atomic_llong when_ns; /* when it had replaced the file */
    int listener;         /* where it is a socket, else -1 */
    int inode;
} foreign;

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_for(const atomic_int *value, int number)
{
    while (atomic_load(value) < number)
        sched_yield();
}

/* Over what stands there, or after it has been taken away. */
static void replace(int round)
{
    if (round % 3 == 0)
        unlink(spot);
    if (rename(fresh, spot) < 0)
        abort();
}

static void *act_when_told(void *unused)
{
    for (int round = 1;; round++) {
        int64_t until;

        wait_for(&foreign.sign, round);
        if (foreign.delay_ns < 0)
            return unused;
        until = now_ns() + foreign.delay_ns;
        while (now_ns() < until)
            continue;
        replace(round);
        atomic_store(&foreign.when_ns, now_ns());
        atomic_store(&foreign.acted, round);
    }
}

static void begin_foreign(void)
{
    memset(&foreign, 0, sizeof foreign);
    ck_assert_int_eq(pthread_create(&foreign.thread, NULL, act_when_told, NULL), 0);
}

static void end_foreign(int rounds)
{
    foreign.delay_ns = -1;
    atomic_store(&foreign.sign, rounds + 1);
    ck_assert_int_eq(pthread_join(foreign.thread, NULL), 0);
}

/* What it will put there: a file, or a socket that it serves. */
static void prepare(int round)
{
    foreign.listener = -1;
    if (round % 2)
        write_file(fresh, "precious");
    else
        foreign.listener = bind_plain(fresh);
    foreign.inode = open(fresh, O_PATH | O_CLOEXEC);
    ck_assert_int_ge(foreign.inode, 0);
}

/* It stands at the name, unharmed. */
static bool stands(void)
{
    struct stat info, there;

    ck_assert_int_eq(fstat(foreign.inode, &info), 0);
    ck_assert_msg(info.st_nlink > 0, "%s that was put there is destroyed",
                  foreign.listener >= 0 ? "a served socket" : "a file");
    return lstat(spot, &there) == 0 && there.st_ino == info.st_ino;
}

static void check_and_take_away(int round)
{
    WAIT_UNTIL(stands());
    if (foreign.listener >= 0)
        ck_assert(is_connectable(spot));
    else
        ck_assert(file_holds(spot, "precious"));
    WAIT_UNTIL(count_entries(shared) == 1); /* a guard may still be at work beside it */
    ck_assert_msg(stands(), "round %d: moved away after all", round);
    ck_assert_int_eq(unlink(spot), 0);
    close(foreign.inode);
    if (foreign.listener >= 0)
        close(foreign.listener);
}

/* ---- what of ours it meets ---- */

static sockref *own;

static void prepare_release(void)
{
    own = start(NULL, spot);
    ck_assert(sockref_is_owner(own));
}

static void do_release(void)
{
    sockref_release(own);
}

static int start_and_die(void *user)
{
    sockref *ref;

    (void)user;
    EXPECT(listen_with(spot, SOCKREF_OPT_GUARD, 0, 0, 0, &ref) == 0);
    _exit(0); /* nothing is removed */
}

static void prepare_recovery(void)
{
    ck_assert(in_child(start_and_die, NULL));
    ck_assert_int_eq(count_entries(shared), 3);
}

static void do_recovery(void)
{
    int status = sockref_registry_listen(NULL, spot, NULL, &own);

    if (status == 0)
        sockref_release(own);
    else /* what stands there, or what was just bound is gone */
        ck_assert_msg(status == SOCKREF_EFOREIGN || status == -ENOENT, "%s",
                      sockref_last_error()->message);
}

static struct child victim;

static void prepare_death(void)
{
    victim = spawn_holder_of(spot);
    ck_assert_int_eq(tell(&victim, START), OWNED);
}

static void do_death(void)
{
    kill_child(&victim); /* and its guard does the rest */
}

static const struct {
    const char *name;
    void (*prepare)(void), (*run)(void);
    long longest_ns; /* of the time that a replacement waits */
    int percent;     /* of all replacements */
} scenes[] = {
    {"release", prepare_release, do_release, 100000, 79},
    {"recovery by a start", prepare_recovery, do_recovery, 300000, 20},
    {"recovery by the guard", prepare_death, do_death, 5000000, 1},
};

START_TEST(nothing_foreign_is_destroyed_by_a_removal)
{
    int rounds = REPLACEMENTS * scenes[_i].percent / 100, meanwhile = 0;
    unsigned seed = 1;

    if (!make_shared_directory())
        SKIP("only root can make a directory that everybody may use");
    begin_foreign();
    for (int round = 1; round <= rounds; round++) {
        int64_t begun, over;

        scenes[_i].prepare();
        prepare(round);
        foreign.delay_ns = rand_r(&seed) % scenes[_i].longest_ns;
        atomic_store(&foreign.sign, round);
        begun = now_ns();
        scenes[_i].run();
        over = now_ns();
        wait_for(&foreign.acted, round);
        meanwhile += foreign.when_ns > begun && foreign.when_ns < over;
        check_and_take_away(round);
    }
    end_foreign(rounds);
    fprintf(stderr, "%s: %d replacements, %d of them meanwhile\n", scenes[_i].name, rounds,
            meanwhile);
    /* The moments are not all too late, but for a sanitizer, which changes who runs when. */
    ck_assert(IS_SANITIZED || meanwhile > 0);
    remove_shared_directory();
}
END_TEST

/* ---- ghosts ---- */

static atomic_int connections;

static void count_connection(sockref_conn *conn, void *user)
{
    (void)conn, (void)user;
    atomic_fetch_add(&connections, 1);
}

static void join_and_leave(sockref_registry *registry)
{
    sockref *ref = start(registry, path);

    ck_assert(!sockref_is_owner(ref));
    sockref_release(ref);
}

START_TEST(joins_leave_no_connection_behind)
{
    static const sockref_handlers handlers = {.size = sizeof handlers,
                                              .on_connection = count_connection};
    sockref_registry *second = make_registry(0, 0);
    struct child other = spawn_holder_of(path);
    sockref *ref = start(NULL, path);
    uint64_t references;
    int fds = count_fds(), fd;

    atomic_store(&connections, 0);
    for (int i = 0; i < JOINS / 2; i++)
        join_and_leave(second);
    /* Nobody serves it: whoever had connected would wait in the queue. */
    ck_assert_int_eq(accept(sockref_fd(ref), NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(sockref_serve(ref, &handlers, NULL), 0);
    for (int i = JOINS / 2; i < JOINS; i++)
        join_and_leave(second);
    for (int i = 0; i < JOINS / 100; i++) {
        ck_assert_int_eq(tell(&other, START), JOINED);
        ck_assert_int_eq(tell(&other, RELEASE), DONE);
    }
    sockref_live_counts(&references, NULL, NULL);
    ck_assert_uint_eq(references, before.references + 1); /* no handle of a connection */
    /* They are seen in order: when the first client is, nobody was before it. */
    fd = dial(path);
    WAIT_UNTIL(connections > 0);
    ck_assert_int_eq(connections, 1);
    close(fd);
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(ref);
    end_in_order(&other);
    ck_assert_int_eq(sockref_registry_drain(second, PATIENCE_MS), 0);
    sockref_registry_free(second);
    WAIT_UNTIL(count_fds() < fds);
}
END_TEST

static const struct role roles[] = {HOLDER_ROLE, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("foreign");
    TCase *tcase = add_case(suite, "foreign");

    tcase_set_timeout(tcase, 400);
    tcase_add_loop_test(tcase, nothing_foreign_is_destroyed_by_a_removal, 0,
                        sizeof scenes / sizeof scenes[0]);
    tcase_add_test(tcase, joins_leave_no_connection_behind);
    return run_suite(suite, argc, argv, roles);
}
