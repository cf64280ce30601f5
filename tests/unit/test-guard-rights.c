/*
 * The guard of a process that has dropped its rights, or is not itself any more: it removes for
 * each user what is his, and nothing else. src/guard/clean.c, src/guard/watched.c, I2.
 */
#include "test-guard-helpers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sendfile.h>

#define NOBODY 65534

/* To a directory that NOBODY can look into. */
static const char *reachable(const char *leaf)
{
    ck_assert_int_eq(chmod(harness_at(".."), 0711) | chmod(harness_dir(), 0711), 0);
    return harness_at(leaf);
}

static void make_directory_of_nobody(void)
{
    const char *path = reachable("theirs");

    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chown(path, NOBODY, NOBODY), 0);
}

/* The build tree may be where NOBODY can't come. */
static void have_guard_of_nobody(void)
{
    const char *path = reachable("theirs/guard");
    int from = open(getenv("SOCKREF_GUARD"), O_RDONLY | O_CLOEXEC);
    int to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    struct stat info;

    ck_assert(fstat(from, &info) == 0 && fchown(to, NOBODY, NOBODY) == 0);
    ck_assert_int_eq(sendfile(to, from, NULL, (size_t)info.st_size), info.st_size);
    close(from);
    close(to);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", path, 1), 0);
}

/* The process and its guard are at work. */
static void lose_guard_of_nobody(void)
{
    ck_assert_int_eq(unlink(harness_at("theirs/guard")), 0);
}

static void drop_rights(void)
{
    CHECK(setgid(NOBODY) == 0);
    CHECK(setuid(NOBODY) == 0);
}

static void own_before_and_after(void *arg)
{
    bool has_lock = *(bool *)arg;

    (has_lock ? own_name : open_name)(&names[0], harness_at("a"));
    drop_rights();
    (has_lock ? own_name : open_name)(&names[1], harness_at("theirs/b"));
    step(sr_guard_status());
    step(0);
}

/* As a server does that is started by root. */
START_TEST(names_of_both_users_are_removed)
{
    bool has_lock = _i == 1;
    struct host host;

    if (geteuid() != 0)
        return;
    make_directory_of_nobody();
    host = begin(own_before_and_after, &has_lock);
    end(&host);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static void own_after_the_guards_end(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    drop_rights();
    own_name(&names[1], harness_at("theirs/b"));
    step(sr_guard_status());
    step(0);
}

/* Another guard has no more rights than the process has by then: the first name is not its. */
START_TEST(a_later_guard_does_what_it_may)
{
    struct host host;
    int guard;

    if (geteuid() != 0)
        return;
    make_directory_of_nobody();
    have_guard_of_nobody();
    host = begin(own_after_the_guards_end, NULL);
    ck_assert_int_eq(send_signal(host.guard, SIGKILL), 0);
    await_guard(&host);
    guard = go_on(&host);
    ck_assert_int_gt(guard, 0);
    host.guard = open_process(guard);
    lose_guard_of_nobody();
    end(&host);
    ck_assert(!harness_exists(harness_at("theirs/b")));
    ck_assert(harness_is_socket(harness_at("a")));
}
END_TEST

struct prey {
    const char *path;
    bool drops;
};

/* By hand: what the library would never tell. */
static void pin_prey(void *arg)
{
    const struct prey *prey = arg;
    struct stat info;
    int fd;

    open_name(&names[0], harness_at("a"));
    if (prey->drops)
        drop_rights();
    watch_name(&names[1], prey->path, false);
    fd = open(prey->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &info) == 0);
    sr_guard_pin(&names[1].guarded, info.st_dev, info.st_ino, fd);
    step(sr_guard_status());
    step(0);
}

START_TEST(only_a_socket_is_removed)
{
    struct prey prey = {harness_at("file"), false};
    struct host host;

    harness_write(prey.path, "precious");
    host = begin(pin_prey, &prey);
    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert(harness_holds(prey.path, "precious"));
}
END_TEST

/* The guard could, the process could not. */
START_TEST(nothing_of_another_user_is_removed)
{
    struct prey prey = {reachable("dead"), true};
    struct host host;

    if (geteuid() != 0)
        return;
    harness_leave_dead(prey.path);
    host = begin(pin_prey, &prey);
    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert(harness_is_socket(prey.path));
}
END_TEST

/* Root may connect to anything. */
static void open_one_without_rights(void *unused)
{
    (void)unused;
    drop_rights();
    open_name(&names[0], harness_at("theirs/a"));
    CHECK(chmod(names[0].path, 0040) == 0);
    step(sr_guard_status());
    step(0);
}

/* Whether it is dead is asked by connecting. */
START_TEST(a_mode_that_keeps_its_user_out_keeps_nothing)
{
    struct host host;

    if (geteuid() != 0)
        return;
    make_directory_of_nobody();
    have_guard_of_nobody();
    host = begin(open_one_without_rights, NULL);
    lose_guard_of_nobody();
    end(&host);
    ck_assert_uint_eq(harness_files() + harness_sockets(), 0);
}
END_TEST

/* Descriptors on their way count for the user's limit, and the guard does not read at once. */
static void watch_many(void *unused)
{
    const struct rlimit low = {16, 16};

    (void)unused;
    drop_rights(); /* the limit is not root's */
    watch_name(&names[0], harness_at("theirs/a"), true);
    CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
    step(sr_guard_status());
    for (int i = 0; i < 500; i++) {
        CHECK(sr_guard_watch(&names[1].guarded, &names[0].place, names[0].path, true) == 0);
        sr_guard_forget(&names[1].guarded);
    }
    step(sr_guard_status());
}

START_TEST(a_guard_that_reads_is_not_replaced)
{
    struct host host;
    int guard;

    if (geteuid() != 0)
        return;
    make_directory_of_nobody();
    have_guard_of_nobody();
    host = begin(watch_many, NULL);
    guard = go_on(&host);
    lose_guard_of_nobody();
    ck_assert_int_gt(guard, 0);
    ck_assert_msg(!has_ended(host.guard, 0), "it was replaced by %d", guard);
    end(&host);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard-rights");
    TCase *tcase = harness_tcase(suite, "dropped");

    tcase_add_loop_test(tcase, names_of_both_users_are_removed, 0, 2);
    tcase_add_test(tcase, a_mode_that_keeps_its_user_out_keeps_nothing);
    tcase_add_test(tcase, a_guard_that_reads_is_not_replaced);
    tcase = harness_tcase_unchecked(suite, "left");
    tcase_add_test(tcase, a_later_guard_does_what_it_may);
    tcase_add_test(tcase, only_a_socket_is_removed);
    tcase_add_test(tcase, nothing_of_another_user_is_removed);
    return harness_run(suite);
}
