/* Life-cycle scenarios: exit, fork, the library itself. tests/lifecycle.md has the list. */
#include "util.h"

/* Every orderly way out, with handles held. */

static sockref *hold_some(const char *argument)
{
    sockref *ref = NULL, *served = NULL, *delayed = NULL;
    sockref_registry *registry = NULL;
    sockref_options *options = sockref_options_new();
    char name[256];

    snprintf(name, sizeof name, "%s/1.sock", argument);
    if (sockref_registry_listen(NULL, name, NULL, &ref) < 0)
        return NULL;
    snprintf(name, sizeof name, "%s/2.sock", argument);
    if (sockref_registry_listen(NULL, name, NULL, &served) < 0 ||
        sockref_serve(served, sockref_echo_handlers(), NULL) < 0)
        return NULL;
    snprintf(name, sizeof name, "%s/3.sock", argument);
    sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, 3600 * 1000);
    if (sockref_registry_listen(NULL, name, options, &delayed) < 0)
        return NULL;
    sockref_options_free(options);
    sockref_release(delayed);
    snprintf(name, sizeof name, "%s/4.sock", argument);
    if (sockref_registry_new(NULL, &registry) < 0 ||
        sockref_registry_listen(registry, name, NULL, &ref) < 0)
        return NULL;
    return ref;
}

static int ready(const char *argument)
{
    if (!hold_some(argument))
        return 3;
    say('r');
    return hear() == 'g' ? 0 : 4;
}

static int return_from_main(const char *argument)
{
    return ready(argument);
}

static int call_exit(const char *argument)
{
    exit(ready(argument));
}

static void *exit_from_thread(void *arg)
{
    exit(ready(arg));
}

static int exit_on_another_thread(const char *argument)
{
    pthread_t thread;

    pthread_create(&thread, NULL, exit_from_thread, (void *)argument);
    pthread_join(thread, NULL);
    return 5;
}

static void *exit_last(void *arg)
{
    exit(*(int *)arg);
}

static int leave_main_then_exit(const char *argument)
{
    static int status;
    pthread_t thread;

    status = ready(argument);
    pthread_create(&thread, NULL, exit_last, &status);
    pthread_exit(NULL);
}

static volatile sig_atomic_t terminated;

static void note_termination(int number)
{
    (void)number;
    terminated = 1;
}

static int end_by_a_signal_handler(const char *argument)
{
    struct sigaction action = {.sa_handler = note_termination};
    sigset_t blocked, open;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &open);
    sigaction(SIGTERM, &action, NULL);
    if (ready(argument))
        return 6;
    kill(getpid(), SIGTERM);
    while (!terminated)
        sigsuspend(&open);
    return 0;
}

static const char *const orderly[] = {"return",       "exit",   "thread-exit",
                                      "pthread_exit", "signal", NULL};

START_TEST(L37_every_orderly_end_leaves_no_file)
{
    struct child child = spawn(orderly[_i], directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(count_sockets(directory), 4);
    ck_assert(is_connectable(file("2.sock")));
    say_to(child.talk, 'g');
    ck_assert(exited_well(end_child(&child)));
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

static int just_hold(const char *argument)
{
    if (!hold_some(argument))
        return 3;
    say('r');
    return 0;
}

START_TEST(L38_an_open_reference_does_not_keep_the_process_alive)
{
    struct child child = spawn("just-hold", directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert(exited_well(end_child(&child)));
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

/* Fork. */

struct held {
    sockref *ref;
    sockref_registry *registry;
    sockref_loop *loop;
};

static int use_parents_handles(void *user)
{
    struct held *held = user;
    sockref *ref = NULL, *own;
    char name[128];

    EXPECT(!sockref_is_active(held->ref));
    EXPECT(!sockref_is_owner(held->ref));
    EXPECT(sockref_fd(held->ref) == -1);
    EXPECT(sockref_holder_count(held->ref) == 0);
    EXPECT(strcmp(sockref_path(held->ref), path) == 0);
    EXPECT(sockref_acquire(held->ref) == NULL);
    EXPECT(sockref_last_error()->status == SOCKREF_EFORKED);
    EXPECT(sockref_set_watch(held->ref, NULL, NULL, NULL) == SOCKREF_EFORKED);
    EXPECT(sockref_serve(held->ref, sockref_echo_handlers(), NULL) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_listen(held->registry, path, NULL, &ref) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_get_or_create(held->registry, path, &ref) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_get_existing(held->registry, path, &ref) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_cleanup(held->registry, path) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_cleanup_all(held->registry, NULL) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_sweep(held->registry, directory, NULL) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_drain(held->registry, 0) == SOCKREF_EFORKED);
    EXPECT(sockref_registry_shutdown(held->registry, 0) == SOCKREF_EFORKED);
    EXPECT(!sockref_registry_is_socket_active(held->registry, path));
    EXPECT(sockref_registry_active_socket_count(held->registry) == 0);
    EXPECT(sockref_loop_fd(held->loop) == SOCKREF_EFORKED);
    EXPECT(sockref_loop_dispatch(held->loop, 0) == SOCKREF_EFORKED);
    EXPECT(ref == NULL);
    sockref_loop_free(held->loop);
    sockref_release(held->ref);
    sockref_registry_free(held->registry);

    EXPECT(sockref_registry_active_socket_count(NULL) == 0);
    snprintf(name, sizeof name, "%s/child.sock", directory);
    EXPECT(sockref_registry_listen(NULL, name, NULL, &own) == 0);
    EXPECT(sockref_serve(own, sockref_echo_handlers(), NULL) == 0);
    EXPECT(is_connectable(name));
    EXPECT(sockref_registry_active_socket_count(NULL) == 1);
    sockref_release(own);
    EXPECT(!exists(name));
    EXPECT(sockref_registry_listen(NULL, path, NULL, &own) == 0); /* the parent's: joined */
    EXPECT(!sockref_is_owner(own));
    EXPECT(sockref_holder_count(own) == 2);
    sockref_release(own);
    EXPECT(is_connectable(path));
    return 0;
}

START_TEST(L40_a_forked_child_has_inert_handles_and_a_registry_of_its_own)
{
    struct held held = {.registry = make_registry(0, 0)};
    int fd;

    held.ref = start(held.registry, path);
    ck_assert_int_eq(sockref_loop_new(&held.loop), 0);
    ck_assert_int_eq(sockref_serve(held.ref, sockref_echo_handlers(), NULL), 0);
    fd = dial(path);
    ck_assert(in_child(use_parents_handles, &held));
    ck_assert(sockref_is_active(held.ref));
    ck_assert_uint_eq(sockref_reference_count(held.ref), 1);
    ck_assert(is_connectable(path));
    say_to(fd, 'x'); /* the connection of the parent goes on */
    ck_assert_int_eq(hear_from(fd), 'x');
    close(fd);
    sockref_loop_free(held.loop);
    sockref_release(held.ref);
    ck_assert_int_eq(sockref_registry_drain(held.registry, PATIENCE_MS), 0);
    sockref_registry_free(held.registry);
}
END_TEST

static int hold_and_fork(const char *argument)
{
    sockref *ref = hold_some(argument);
    int status = 0;
    pid_t pid;

    if (!ref)
        return 3;
    pid = fork();
    if (pid == 0)
        exit(0); /* with all handlers of exit, and the parent's handles held */
    if (waitpid(pid, &status, 0) != pid || !exited_well(status))
        return 4;
    say('r');
    return hear() == 'g' ? 0 : 5;
}

START_TEST(L40_the_exit_of_a_forked_child_removes_nothing)
{
    struct child child = spawn("fork", directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(count_sockets(directory), 4);
    for (int i = 1; i <= 4; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "%d.sock", i);
        ck_assert(is_connectable(file(leaf)));
    }
    say_to(child.talk, 'g');
    ck_assert(exited_well(end_child(&child)));
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

START_TEST(L45_the_library_tells_the_version_and_the_abi_it_was_built_with)
{
    int major, minor, micro, length = 0;

    ck_assert_uint_eq(sockref_abi_version(), SOCKREF_ABI_VERSION);
    ck_assert_str_eq(sockref_version(), SOCKREF_VERSION_STRING);
    ck_assert_int_eq(sscanf(sockref_version(), "%d.%d.%d%n", &major, &minor, &micro, &length), 3);
    ck_assert_int_eq(sockref_version()[length], '\0');
}
END_TEST

static const struct role roles[] = {
    {"return", return_from_main},
    {"exit", call_exit},
    {"thread-exit", exit_on_another_thread},
    {"pthread_exit", leave_main_then_exit},
    {"signal", end_by_a_signal_handler},
    {"just-hold", just_hold},
    {"fork", hold_and_fork},
    {NULL, NULL},
};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-processes");
    TCase *tcase = add_case(suite, "processes");

    tcase_add_loop_test(tcase, L37_every_orderly_end_leaves_no_file, 0, 5);
    tcase_add_test(tcase, L38_an_open_reference_does_not_keep_the_process_alive);
    tcase_add_test(tcase, L40_a_forked_child_has_inert_handles_and_a_registry_of_its_own);
    tcase_add_test(tcase, L40_the_exit_of_a_forked_child_removes_nothing);
    tcase_add_test(tcase, L45_the_library_tells_the_version_and_the_abi_it_was_built_with);
    return run_suite(suite, argc, argv, roles);
}
