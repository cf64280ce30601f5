/* What the guard removes, and what it leaves: src/guard/clean.c, with real processes and signals.
 */
#include "base/clock.h"
#include "test-guard-helpers.h"

#include <errno.h>
#include <sys/resource.h>

/* ---- after SIGKILL ---- */

static void (*const bodies[])(void *) = {open_one, own_one};

START_TEST(a_killed_process_leaves_nothing)
{
    struct host host = begin(bodies[_i], NULL);

    ck_assert(harness_can_dial(harness_at("a")));
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void own_in_a_group(void *arg)
{
    CHECK(setpgid(0, 0) == 0);
    own_one(arg);
}

START_TEST(nor_does_a_killed_process_group)
{
    struct host host = begin(own_in_a_group, NULL);

    ck_assert_int_eq(kill(-host.pid, SIGKILL), 0);
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void watch_only(void *arg)
{
    (void)arg;
    watch_name(&names[0], harness_at("a"), true);
    CHECK(sr_lockfile_enter(&names[0].place, harness_at("a"), true, &names[0].lock) == 0);
    step(sr_guard_status());
}

/* It is told before anything exists. */
START_TEST(a_lock_file_alone_is_removed)
{
    struct host host = begin(watch_only, NULL);

    ck_assert_uint_eq(files(), 1);
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void open_and_forget(void *arg)
{
    (void)arg;
    open_name(&names[0], harness_at("a"));
    open_name(&names[1], harness_at("b"));
    sr_guard_forget(&names[0].guarded);
    sr_guard_forget(&names[0].guarded);
    step(sr_guard_status());
}

START_TEST(what_was_forgotten_stays)
{
    struct host host = begin(open_and_forget, NULL);

    end(&host);
    ck_assert(harness_is_socket(harness_at("a")));
    ck_assert(!harness_exists(harness_at("b")));
}
END_TEST

static void open_unpinned(void *arg)
{
    (void)arg;
    watch_name(&names[0], harness_at("a"), false);
    harness_bind(harness_at("a"));
    step(sr_guard_status());
}

START_TEST(without_a_lock_only_the_pinned_inode_is_removed)
{
    struct host host = begin(open_unpinned, NULL);

    end(&host);
    ck_assert(harness_is_socket(harness_at("a")));
}
END_TEST

START_TEST(another_file_at_the_path_stays)
{
    struct host host = begin(bodies[_i], NULL);

    ck_assert_int_eq(unlink(harness_at("a")), 0);
    harness_leave_dead(harness_at("a"));
    end(&host);
    ck_assert(harness_is_socket(harness_at("a")));
    ck_assert_uint_eq(files(), 1); /* the lock file is the dead process's */
}
END_TEST

/* Somebody is at the name, for longer than it is tried at once. */
START_TEST(a_busy_name_is_tried_again)
{
    struct host host = begin(own_one, NULL);
    struct sr_lockfile lock;
    struct sr_place place;

    harness_assert_ok(sr_place_open(harness_at("a"), &place));
    ck_assert_int_eq(sr_lockfile_enter(&place, harness_at("a"), false, &lock), 0);
    kill_host(&host);
    ck_assert(!has_ended(host.guard, 700)); /* longer than it waits for what is merely in use */
    ck_assert(harness_exists(harness_at("a")));
    sr_lockfile_close(&lock);
    await_guard(&host);
    ck_assert_uint_eq(files(), 0);
    sr_place_close(&place);
}
END_TEST

/* As by a bare clone: no handler has run in the child, so it has all descriptors. */
static void leave_a_child(void (*keep)(struct name *name))
{
    step(sr_guard_status());
    if (fork() == 0) {
        keep(&names[0]);
        step(0);
        _exit(0);
    }
    pause();
}

static void keep_all(struct name *name)
{
    (void)name;
}

static void open_and_leave_a_child(void *arg)
{
    (void)arg;
    open_name(&names[0], harness_at("a"));
    leave_a_child(keep_all);
}

START_TEST(a_socket_that_is_still_bound_stays)
{
    struct host host = begin(open_and_leave_a_child, NULL);
    int line_of_child = dup(host.line);

    go_on(&host);
    end(&host);
    ck_assert(harness_can_dial(harness_at("a")));
    close(line_of_child); /* the child ends */
}
END_TEST

static void open_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < NAMES_MAX; i++)
        open_name(&names[i], numbered(i));
    step(sr_guard_status());
}

static rlim_t raise_descriptors(void)
{
    struct rlimit limit;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_max;
}

START_TEST(a_thousand_names_of_one_directory)
{
    struct host host;

    if (raise_descriptors() < 3 * NAMES_MAX)
        return;
    host = begin(open_many, NULL);
    ck_assert_uint_eq(harness_sockets(), NAMES_MAX);
    end(&host);
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

/* How often a process has gone to sleep until now. */
static unsigned long sleeps_of(pid_t pid)
{
    FILE *stream = fopen(harness_text("/proc/%d/status", (int)pid), "r");
    unsigned long count = 0;
    char text[128];

    CHECK(stream);
    while (fgets(text, sizeof text, stream))
        sscanf(text, "voluntary_ctxt_switches: %lu", &count);
    fclose(stream);
    return count;
}

#define MANY 3000

static void open_again_and_again(void *arg)
{
    uint64_t began, ms;
    unsigned long before, sleeps;

    (void)arg;
    watch_name(&names[0], harness_at("a"), true);
    before = sleeps_of(sr_guard_status());
    began = sr_clock_ns();
    for (int i = 0; i < MANY; i++) {
        watch_name(&names[1], harness_at("b"), true);
        forget_name(&names[1]);
    }
    ms = (sr_clock_ns() - began) / 1000000;
    sleeps = sleeps_of(sr_guard_status()) - before;
    CHECK(sleeps <= ms + 20);
    step(sr_guard_status());
}

/* It would cost more than all the rest of a name's life. */
START_TEST(it_is_not_woken_by_each_message)
{
    struct host host = begin(open_again_and_again, NULL);

    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void open_at_the_limit(void *arg)
{
    struct rlimit limit;
    int fd;

    (void)arg;
    watch_name(&names[0], harness_at("a"), false);
    names[0].listener = harness_bind(harness_at("a"));
    fd = dup(0);
    close(fd);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = (rlim_t)fd;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    pin_name(&names[0]);
    step(sr_guard_status());
}

START_TEST(a_pin_needs_no_descriptor_of_the_process)
{
    struct host host = begin(open_at_the_limit, NULL);

    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static void open_and_exec(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    open_name(&names[1], harness_at("b"));
    step(sr_guard_status());
    CHECK(dup2(line, 0) == 0); /* it lives as long as the test holds its line */
    execlp("cat", "cat", (char *)NULL);
    _exit(97);
}

/* The process lives, but the program that had the names does not. */
START_TEST(exec_is_an_end_too)
{
    struct host host = begin(open_and_exec, NULL);

    ck_assert_int_eq(write(host.line, "", 1), 1);
    await_guard(&host);
    ck_assert_uint_eq(files(), 0);
    ck_assert_int_eq(waitpid(host.pid, NULL, WNOHANG), 0);
    kill_host(&host);
}
END_TEST

static void open_with_no_pidfd(void *arg)
{
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_pidfd_open), 1, *(int *)arg);
    open_name(&names[0], harness_at("a"));
    CHECK(faults_struck());
    step(sr_guard_status());
}

/* Old kernels, and sandboxes. */
START_TEST(without_a_pidfd_the_end_of_the_socket_must_do)
{
    int os_errno = ENOSYS;
    struct host host = begin(open_with_no_pidfd, &os_errno);

    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

/* ---- fork ---- */

static void fork_and_go_on(void *arg)
{
    pid_t guard, child;
    int status;

    (void)arg;
    own_name(&names[0], harness_at("a"));
    guard = sr_guard_status();
    child = fork();
    if (child == 0) {
        have_no_guard();
        sr_guard_pin(&names[0].guarded, 1, 2, -1); /* the parent's: nothing happens */
        sr_guard_forget(&names[0].guarded);
        CHECK(sr_guard_status() == 0);
        own_name(&names[1], harness_at("b"));
        CHECK(sr_guard_status() > 0 && sr_guard_status() != guard);
        CHECK(unlink(harness_at("b")) == 0);
        sr_lockfile_unlink(&names[1].lock, &names[1].place, harness_at("b"));
        forget_name(&names[1]);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(sr_guard_status() == guard);
    step(guard);
    step(0);
}

START_TEST(a_forked_childs_end_is_not_its_parents)
{
    struct host host = begin(fork_and_go_on, NULL);

    ck_assert(!has_ended(host.guard, 50));
    ck_assert(harness_can_dial(harness_at("a")));
    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static void own_and_leave_a_child_with_all(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    leave_a_child(keep_all);
}

/* As one between fork and exec, which has the locks for a moment. */
START_TEST(what_a_child_holds_a_little_longer_is_removed_then)
{
    struct host host = begin(own_and_leave_a_child_with_all, NULL);
    int line_of_child = dup(host.line);

    go_on(&host);
    kill_host(&host);
    ck_assert(!has_ended(host.guard, 20));
    close(line_of_child); /* the child ends */
    await_guard(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

/* All but the socket to the guard, and what the test has. */
static void keep_the_command_socket(struct name *name)
{
    close(name->listener);
    close(name->lock.fd);
}

static void own_and_leave_a_child(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    leave_a_child(keep_the_command_socket);
}

/* The pidfd tells what the socket does not. */
START_TEST(a_child_that_keeps_the_command_socket_hides_nothing)
{
    struct host host = begin(own_and_leave_a_child, NULL);
    int line_of_child = dup(host.line);

    go_on(&host);
    end(&host);
    ck_assert_uint_eq(files(), 0);
    close(line_of_child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard");
    TCase *tcase;

    tcase = harness_tcase(suite, "killed");
    tcase_add_loop_test(tcase, a_killed_process_leaves_nothing, 0, 2);
    tcase_add_test(tcase, nor_does_a_killed_process_group);
    tcase_add_test(tcase, a_lock_file_alone_is_removed);
    tcase_add_test(tcase, a_busy_name_is_tried_again);
    tcase_add_test(tcase, a_thousand_names_of_one_directory);
    tcase_add_test(tcase, it_is_not_woken_by_each_message);
    tcase_add_test(tcase, a_pin_needs_no_descriptor_of_the_process);
    tcase_add_test(tcase, exec_is_an_end_too);
    tcase_add_test(tcase, without_a_pidfd_the_end_of_the_socket_must_do);
    tcase_add_test(tcase, a_forked_childs_end_is_not_its_parents);
    tcase_add_test(tcase, what_a_child_holds_a_little_longer_is_removed_then);
    tcase_add_test(tcase, a_child_that_keeps_the_command_socket_hides_nothing);
    tcase = harness_tcase_unchecked(suite, "left");
    tcase_add_test(tcase, what_was_forgotten_stays);
    tcase_add_test(tcase, without_a_lock_only_the_pinned_inode_is_removed);
    tcase_add_loop_test(tcase, another_file_at_the_path_stays, 0, 2);
    tcase_add_test(tcase, a_socket_that_is_still_bound_stays);
    return harness_run(suite);
}
