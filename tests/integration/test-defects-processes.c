/* What earlier systems got wrong with failures, exits, forks and surroundings; each defect has its
 * number. */
#include "interpose.h"

#include <sys/resource.h>

static atomic_int countdown;

/* The n-th system call of those that pass here fails. */
static int fail_nth(enum call call, const char *name)
{
    (void)call, (void)name;
    return atomic_fetch_sub(&countdown, 1) == 1 ? EIO : 0;
}

START_TEST(d17_a_failure_anywhere_leaves_the_registry_usable)
{
    int failed = 0, fds = count_fds();

    for (int nth = 1; nth <= 12; nth++) {
        sockref *ref = NULL;
        int status;

        countdown = nth;
        before_call = fail_nth;
        status = sockref_registry_listen(NULL, path, NULL, &ref);
        sockref_release(ref);
        before_call = NULL;
        failed += status < 0;
        if (status < 0) {
            ck_assert_int_eq(status, -EIO);
            ck_assert_ptr_null(ref);
        }
        ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
        ck_assert(!sockref_registry_is_socket_active(NULL, path));
        ck_assert_int_eq(sockref_registry_get_existing(NULL, path, &ref), SOCKREF_ENOTFOUND);
        unlink(path); /* where the removal was what failed */
        ck_assert_int_eq(count_fds(), fds);
        ref = start(NULL, path);
        ck_assert(is_connectable(path));
        sockref_release(ref);
    }
    ck_assert_int_ge(failed, 5); /* open, socket, fchmod, bind, listen */
}
END_TEST

static int hold(const char *argument)
{
    const char *where = argument + 1; /* the first byte says whether there is a guard */
    sockref_options *options = sockref_options_new();
    sockref_registry *registry;
    sockref *ref, *named;
    char name[256];

    snprintf(name, sizeof name, "%s/named.sock", where);
    if (sockref_options_set_int(options, SOCKREF_OPT_GUARD, argument[0] - '0') < 0 ||
        sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, where) < 0 ||
        sockref_registry_new(options, &registry) < 0 ||
        sockref_registry_listen(registry, NULL, NULL, &ref) < 0 ||
        sockref_registry_listen(registry, name, NULL, &named) < 0)
        return 3;
    say('r');
    return hear() == 'g' ? 0 : 4;
}

static int hold_and_return(const char *argument)
{
    return hold(argument);
}

static int hold_and_exit(const char *argument)
{
    exit(hold(argument));
}

static void *exit_there(void *status)
{
    exit(*(int *)status);
}

static int hold_and_leave_main(const char *argument)
{
    static int status;
    pthread_t thread;

    status = hold(argument);
    pthread_create(&thread, NULL, exit_there, &status);
    pthread_exit(NULL);
}

static int hold_and_quit(const char *argument)
{
    _exit(hold(argument));
}

static int hold_and_abort(const char *argument)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    hold(argument);
    abort();
}

static const struct {
    const char *role;
    bool kill, orderly;
} ends[] = {{"return", false, true}, {"exit", false, true},   {"pthread_exit", false, true},
            {"_exit", false, false}, {"abort", false, false}, {"exit", true, false}};

static struct child spawn_holder(const char *role, int guard)
{
    char argument[80];

    snprintf(argument, sizeof argument, "%d%s", guard, directory);
    return spawn(role, argument);
}

START_TEST(d18_exit_matrix)
{
    int guard = _i >= 6;
    struct child child = spawn_holder(ends[_i % 6].role, guard);
    sockref_registry *registry = make_registry_here();
    uint64_t count = 99;
    int status;

    _i %= 6;
    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(count_sockets(directory), 2);
    ck_assert_int_eq(count_beside(directory), 4);
    if (ends[_i].kill)
        ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    else
        say_to(child.talk, 'g');
    status = end_child(&child);
    if (ends[_i].orderly) {
        ck_assert(exited_well(status));
        ck_assert_int_eq(count_entries(directory), 0);
    } else if (guard) {
        WAIT_UNTIL(count_entries(directory) == 0); /* with nobody else's help */
    } else {
        sockref *ref;

        /* A start is not misled by what stands there, whatever its own name is. */
        ck_assert_int_eq(count_sockets(directory), 2);
        ck_assert_int_eq(try_dial(file("named.sock")), -ECONNREFUSED);
        ref = start(registry, file("other.sock"));
        ck_assert(is_connectable(sockref_path(ref)));
        ck_assert_int_eq(count_sockets(directory), 3);
        /* What the lock files tell of is swept. */
        ck_assert_int_eq(sockref_registry_sweep(registry, NULL, &count), 0);
        ck_assert_uint_eq(count, 2);
        ck_assert_int_eq(count_sockets(directory), 1);
        ck_assert_int_eq(count_beside(directory), 2);
        ck_assert(is_connectable(sockref_path(ref)));
        sockref_release(ref);
        ck_assert_int_eq(count_entries(directory), 0);
    }
    sockref_registry_free(registry);
}
END_TEST

START_TEST(d18_a_start_replaces_what_a_killed_process_left)
{
    struct child child = spawn_holder("exit", 0);
    sockref *ref;

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_child(&child)));
    ck_assert_int_eq(try_dial(file("named.sock")), -ECONNREFUSED);
    ref = start(NULL, file("named.sock"));
    ck_assert(sockref_is_owner(ref));
    ck_assert(is_connectable(file("named.sock")));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(ref);
    ck_assert(!exists(file("named.sock")));
    ck_assert_int_eq(count_beside(directory), 2); /* of the default name */
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, NULL), 0);
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

static int fork_and_let_child_exit(const char *argument)
{
    sockref *ref, *again;
    char name[256];
    int status;
    pid_t pid;

    snprintf(name, sizeof name, "%s/s.sock", argument);
    if (sockref_registry_listen(NULL, name, NULL, &ref) < 0)
        return 3;
    again = sockref_acquire(ref);
    pid = fork();
    if (pid == 0) {
        sockref_release(ref);
        sockref_release(again);
        sockref_registry_cleanup_all(NULL, NULL);
        sockref_registry_shutdown(NULL, 0);
        exit(0);
    }
    if (waitpid(pid, &status, 0) != pid || !exited_well(status))
        return 4;
    if (sockref_reference_count(ref) != 2 || !sockref_is_active(ref))
        return 5;
    say('r');
    return hear() == 'g' ? 0 : 6;
}

START_TEST(d19_fork_child_exit_removes_nothing)
{
    struct child child = spawn("fork", directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert(is_connectable(path));
    say_to(child.talk, 'g');
    ck_assert(exited_well(end_child(&child)));
    ck_assert(!exists(path));
}
END_TEST

static int work_and_fail_aloud(const char *argument)
{
    char name[256];
    sockref *ref;

    snprintf(name, sizeof name, "%s/s.sock", argument);
    for (int i = 0; i < 50; i++) {
        if (sockref_registry_listen(NULL, name, NULL, &ref) < 0)
            return 3;
        for (int k = 0; k < 70000; k++) /* more than 16 bits hold, up to the limit */
            if (!sockref_acquire(ref))
                break;
        if (sockref_reference_count(ref) != 65536)
            return 4;
        unlink(name);
        while (sockref_reference_count(ref) > 1)
            sockref_release(ref);
        sockref_release(ref);
        sockref_registry_listen(NULL, "relative", NULL, &ref);
        sockref_registry_cleanup(NULL, name);
    }
    return 0;
}

START_TEST(d25_the_library_prints_nothing_and_counts_wide)
{
    int saved[2] = {dup(1), dup(2)}, out[2];
    struct pollfd item;
    struct child child;

    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    dup2(out[1], 1);
    dup2(out[1], 2);
    child = spawn("aloud", directory);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    close(out[1]);
    ck_assert(exited_well(end_child(&child)));
    item = (struct pollfd){.fd = out[0], .events = POLLIN};
    ck_assert_int_eq(poll(&item, 1, 0), 1);
    ck_assert_int_eq(item.revents & POLLIN, 0); /* the end, and nothing before it */
    close(out[0]);
    close(saved[0]);
    close(saved[1]);
}
END_TEST

static int start_default(const char *argument)
{
    sockref *ref;

    if (sockref_registry_listen(NULL, NULL, NULL, &ref) < 0)
        return 3;
    if (strncmp(sockref_path(ref), argument, strlen(argument)) != 0) {
        fprintf(stderr, "%s is not in %s\n", sockref_path(ref), argument);
        return 4;
    }
    return try_dial(sockref_path(ref)) >= 0 ? 0 : 5;
}

START_TEST(d28_the_default_directory_is_the_first_that_can_be_used)
{
    char number[64], deep[120];
    struct child child;

    snprintf(deep, sizeof deep, "%s/", directory);
    memset(deep + strlen(deep), 'x', 90 - strlen(deep));
    deep[90] = '\0';
    unsetenv("HOME");
    snprintf(number, sizeof number, "/run/user/%u", (unsigned)geteuid());
    setenv("SOCKREF_DIR", file("mine"), 1);
    setenv("XDG_RUNTIME_DIR", directory, 1);
    setenv("TMPDIR", file("missing"), 1);
    child = spawn("default", file("mine/"));
    ck_assert(exited_well(end_child(&child)));
    ck_assert_uint_eq(mode_of(file("mine")), 0700);
    setenv("SOCKREF_DIR", file("missing/deeper"), 1); /* can't be made */
    child = spawn("default", file("sockref/"));
    ck_assert(exited_well(end_child(&child)));
    setenv("SOCKREF_DIR", deep, 1); /* too long for a socket */
    child = spawn("default", file("sockref/"));
    ck_assert(exited_well(end_child(&child)));
    ck_assert_int_eq(chmod(file("sockref"), 0755), 0); /* others may look in: not ours alone */
    unsetenv("SOCKREF_DIR");
    child = spawn("default", exists(number) ? number : "/tmp/sockref-");
    ck_assert(exited_well(end_child(&child)));
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("TMPDIR");
    ck_assert_int_eq(count_sockets(directory), 0);
}
END_TEST

START_TEST(d32_what_is_promised_of_every_end_is_so)
{
    struct child child = spawn_holder("exit", 0);
    sockref_registry *registry = make_registry_here();
    uint64_t count = 0;
    sockref *ref;
    int fd;

    /* Killed without a guard: what is left misleads nobody, blocks no start, and a sweep takes it.
     */
    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_child(&child)));
    ref = start(registry, file("other.sock"));
    ck_assert_int_eq(sockref_registry_sweep(registry, NULL, &count), 0);
    ck_assert_uint_eq(count, 2);
    /* The last release: at once, file, entry and descriptor. */
    fd = sockref_fd(ref);
    sockref_release(ref);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_int_eq(count_entries(directory), 0);
    sockref_registry_free(registry);
}
END_TEST

static const struct role roles[] = {{"return", hold_and_return},
                                    {"exit", hold_and_exit},
                                    {"pthread_exit", hold_and_leave_main},
                                    {"_exit", hold_and_quit},
                                    {"abort", hold_and_abort},
                                    {"fork", fork_and_let_child_exit},
                                    {"aloud", work_and_fail_aloud},
                                    {"default", start_default},
                                    {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("defects-processes");
    TCase *tcase = add_case(suite, "processes");

    tcase_add_test(tcase, d17_a_failure_anywhere_leaves_the_registry_usable);
    tcase_add_loop_test(tcase, d18_exit_matrix, 0, 12);
    tcase_add_test(tcase, d18_a_start_replaces_what_a_killed_process_left);
    tcase_add_test(tcase, d19_fork_child_exit_removes_nothing);
    tcase_add_test(tcase, d25_the_library_prints_nothing_and_counts_wide);
    tcase_add_test(tcase, d28_the_default_directory_is_the_first_that_can_be_used);
    tcase_add_test(tcase, d32_what_is_promised_of_every_end_is_so);
    return run_suite(suite, argc, argv, roles);
}
