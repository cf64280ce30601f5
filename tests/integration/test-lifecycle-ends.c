/* Life-cycle scenarios: cleanup, delays, drain, shutdown, sweep, cancelling. tests/lifecycle.md has
 * the list. */
#include "interpose.h"

static void release_at_thread_end(void *ref)
{
    sockref_release(ref);
}

/* C has no finalizers but this one: what a thread's key holds when it ends. */
static void *drop_handle(void *arg)
{
    static pthread_key_t key;
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(pthread_key_create(&key, release_at_thread_end), 0);
    ck_assert_int_eq(pthread_setspecific(key, ref), 0);
    ck_assert(is_connectable(path));
    if (arg) { /* closed before: the finalizer has nothing to give back */
        pthread_setspecific(key, NULL);
        sockref_release(ref);
    }
    return NULL;
}

START_TEST(L09_a_handle_dropped_without_close_is_released_by_its_finalizer)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, drop_handle, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(!exists(path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

START_TEST(L10_close_and_then_the_finalizer_is_one_release)
{
    sockref *other = start(NULL, path);
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, drop_handle, path), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_uint_eq(sockref_reference_count(other), 1);
    ck_assert(is_connectable(path));
    sockref_release(other);
}
END_TEST

START_TEST(L23_cleanup_takes_the_file_and_leaves_the_handles)
{
    sockref *ref = start(NULL, path), *again = sockref_acquire(ref), *next;

    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    ck_assert(!exists(path));
    ck_assert(!sockref_is_active(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_str_eq(sockref_path(ref), path);
    ck_assert_int_ge(fcntl(sockref_fd(ref), F_GETFD), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    next = start(NULL, path);
    ck_assert_ptr_ne(next, ref);
    sockref_release(ref);
    sockref_release(again);
    ck_assert(sockref_is_active(next));
    ck_assert_uint_eq(sockref_reference_count(next), 1);
    ck_assert(is_connectable(path));
    sockref_release(next);
}
END_TEST

START_TEST(L24_cleanup_of_what_is_not_known_touches_nothing)
{
    const char *dead = file("dead.sock");

    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), SOCKREF_ENOTFOUND);
    write_file(path, "text");
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_ENOTFOUND);
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert(file_holds(path, "text"));
    leave_dead_socket(dead);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, dead), SOCKREF_ENOTFOUND);
    ck_assert(is_socket(dead));
    unlink(dead);
}
END_TEST

START_TEST(L25_cleanup_all_tells_the_number_and_leaves_no_file)
{
    sockref *refs[20];
    uint64_t count = 99;

    for (int i = 0; i < 20; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "%d.sock", i);
        refs[i] = start(NULL, file(leaf));
    }
    ck_assert_int_eq(sockref_registry_cleanup_all(NULL, &count), 0);
    ck_assert_uint_eq(count, 20);
    ck_assert_int_eq(count_entries(directory), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    for (int i = 0; i < 20; i++) {
        ck_assert(!sockref_is_active(refs[i]));
        sockref_release(refs[i]);
    }
    ck_assert_int_eq(sockref_registry_cleanup_all(NULL, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(sockref_registry_cleanup_all(NULL, NULL), 0);
}
END_TEST

START_TEST(L28_a_cleanup_delay_keeps_the_file_and_a_start_within_it_finds_it)
{
    sockref *ref = start_with(NULL, path, SOCKREF_OPT_CLEANUP_DELAY_MS, 60000);
    ino_t inode = inode_of(path);
    int64_t began;

    sockref_release(ref);
    ck_assert(is_socket(path));
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    ref = start(NULL, path);
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(is_connectable(path));
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    sockref_release(ref);
    ck_assert(!exists(path));

    ref = start_with(NULL, path, SOCKREF_OPT_CLEANUP_DELAY_MS, 60000);
    sockref_release(ref);
    ck_assert(is_socket(path));
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0); /* it also ends a delay */
    ck_assert(!exists(path));

    ref = start_with(NULL, path, SOCKREF_OPT_CLEANUP_DELAY_MS, 200);
    began = now_ms();
    sockref_release(ref);
    WAIT_UNTIL(!exists(path));
    ck_assert_int_ge(now_ms() - began, 199);
}
END_TEST

struct outcome {
    int calls, status;
    sockref *ref;
};

static void note_outcome(int status, sockref *ref, void *user)
{
    struct outcome *outcome = user;

    outcome->calls++;
    outcome->status = status;
    outcome->ref = ref;
    if (status < 0)
        ck_assert_int_eq(sockref_last_error()->status, status);
}

/* Starts on a loop of the case's own. */
static int start_on(sockref_loop *loop, const char *name, struct outcome *outcome)
{
    sockref_options *options = sockref_options_new();
    int status;

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    status = sockref_registry_start_listener(NULL, name, options, note_outcome, outcome);
    sockref_options_free(options);
    return status;
}

START_TEST(L32_a_cancelled_start_leaves_nothing)
{
    sockref_loop *loop;

    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    for (int i = 0; i < 200; i++) {
        struct outcome outcome = {0};

        ck_assert_int_eq(start_on(loop, path, &outcome), 0);
        if (i % 2) { /* its result has come already */
            DISPATCH_UNTIL(loop, outcome.calls == 1);
            ck_assert_int_eq(sockref_registry_cancel_start(NULL, note_outcome, &outcome),
                             SOCKREF_ENOTFOUND);
            ck_assert_int_eq(outcome.status, 0);
            ck_assert(is_connectable(path));
            sockref_release(outcome.ref);
        } else {
            ck_assert_int_eq(sockref_registry_cancel_start(NULL, note_outcome, &outcome), 0);
            ck_assert_int_eq(sockref_registry_cancel_start(NULL, note_outcome, &outcome),
                             SOCKREF_ENOTFOUND);
            DISPATCH_UNTIL(loop, outcome.calls == 1);
            ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
            ck_assert_ptr_null(outcome.ref);
        }
        ck_assert(!exists(path));
        ck_assert_int_eq(outcome.calls, 1);
    }
    sockref_loop_free(loop);
}
END_TEST

struct holder {
    sockref *ref;
    sockref_registry *registry;
    int status;
    atomic_bool told;
};

static void note_shutdown(sockref *ref, int event, void *user)
{
    (void)ref;
    if (event == SOCKREF_WATCH_SHUTDOWN)
        atomic_store(&((struct holder *)user)->told, true);
}

static void *shut_down(void *arg)
{
    struct holder *holder = arg;

    holder->status = sockref_registry_shutdown(holder->registry, PATIENCE_MS);
    return NULL;
}

START_TEST(L35_shutdown_tells_holders_and_waits_for_them)
{
    struct holder holder = {.registry = make_registry(0, 0)};
    sockref *ref = NULL;
    pthread_t thread;

    holder.ref = start(holder.registry, path);
    ck_assert_int_eq(sockref_set_watch(holder.ref, note_shutdown, &holder, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, shut_down, &holder), 0);
    WAIT_UNTIL(atomic_load(&holder.told));
    ck_assert_int_eq(sockref_registry_listen(holder.registry, path, NULL, &ref), SOCKREF_ESHUTDOWN);
    ck_assert(sockref_is_active(holder.ref));
    sockref_release(holder.ref);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(holder.status, 0);
    ck_assert(!exists(path));
    ck_assert_int_eq(sockref_registry_get_or_create(holder.registry, path, &ref),
                     SOCKREF_ESHUTDOWN);
    ck_assert_int_eq(sockref_registry_shutdown(holder.registry, 0), SOCKREF_ESHUTDOWN);
    ck_assert_ptr_null(ref);
    sockref_registry_free(holder.registry);
}
END_TEST

START_TEST(L35_shutdown_revokes_what_is_held_too_long)
{
    sockref_registry *registry = make_registry(0, 0);
    sockref *ref = start(registry, path);

    ck_assert_int_eq(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert(!exists(path));
    ck_assert(!sockref_is_active(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_int_eq(sockref_registry_cleanup(registry, path), SOCKREF_ESHUTDOWN);
    sockref_registry_free(registry);
    sockref_release(ref);
}
END_TEST

START_TEST(L35_the_default_registry_starts_afresh_after_its_shutdown)
{
    sockref *ref = start(NULL, path), *next;

    ck_assert_int_eq(sockref_registry_shutdown(NULL, 0), SOCKREF_ETIMEOUT);
    ck_assert(!sockref_is_active(ref));
    next = start(NULL, path);
    ck_assert(sockref_is_active(next));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    sockref_release(ref);
    ck_assert(is_connectable(path));
    sockref_release(next);
    ck_assert_int_eq(sockref_registry_shutdown(NULL, 0), 0);
}
END_TEST

START_TEST(L36_drain_returns_when_nothing_is_on_its_way_out)
{
    sockref *kept = start(NULL, path), *ref = start(NULL, file("gated.sock"));
    pthread_t thread;

    ck_assert_int_eq(sockref_registry_drain(NULL, 0), 0); /* names in use are not waited for */
    close_gate(CALL_UNLINKAT);
    thread = release_at_gate(ref);
    ck_assert_int_eq(sockref_registry_drain(NULL, 0), SOCKREF_ETIMEOUT);
    ck_assert_int_eq(sockref_registry_drain(NULL, 20), SOCKREF_ETIMEOUT);
    open_gate();
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert(!exists(file("gated.sock")));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    before_call = NULL;
    sockref_release(kept);
}
END_TEST

START_TEST(L39_sweep_takes_only_dead_sockets_under_default_names)
{
    static const char *const kept[] = {"sockref-5194301-0123456789abcdef.soc",
                                       "sockref-1-0123456789ABCDEF.sock",
                                       "sockref-1-0123456789abcde.sock",
                                       "sockref--0123456789abcdef.sock",
                                       "sockref-a-0123456789abcdef.sock",
                                       "other.sock",
                                       "sockref.sock"};
    const char *dead = file("sockref-5194301-0123456789abcdef.sock");
    const char *live = file("sockref-2-0123456789abcdef.sock");
    const char *plain = file("sockref-3-0123456789abcdef.sock");
    sockref_registry *registry = make_registry_here();
    sockref *ref = start(registry, NULL);
    uint64_t count = 99;
    int fd;

    leave_dead_socket(dead);
    fd = bind_plain(live);
    write_file(plain, "text");
    ck_assert_int_eq(symlink(live, file("sockref-4-0123456789abcdef.sock")), 0);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        leave_dead_socket(file(kept[i]));
    ck_assert_int_eq(sockref_registry_sweep(registry, NULL, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert(!exists(file("sockref-5194301-0123456789abcdef.sock")));
    ck_assert(is_connectable(file("sockref-2-0123456789abcdef.sock")));
    ck_assert(file_holds(file("sockref-3-0123456789abcdef.sock"), "text"));
    ck_assert(exists(file("sockref-4-0123456789abcdef.sock")));
    ck_assert(is_connectable(sockref_path(ref)));
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        ck_assert_int_eq(unlink(file(kept[i])), 0);
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), 0);
    ck_assert_uint_eq(count, 0);
    sockref_release(ref);
    sockref_registry_free(registry);
    close(fd);
    unlink(file("sockref-2-0123456789abcdef.sock"));
}
END_TEST

static int hold_until_killed(const char *argument)
{
    sockref *refs[2];

    for (int i = 0; i < 2; i++) {
        char name[256];

        snprintf(name, sizeof name, "%s/%s", argument,
                 i ? "chosen.sock" : "sockref-5194309-0123456789abcdef.sock");
        if (listen_with(name, SOCKREF_OPT_GUARD, 0, 0, 0, &refs[i]) < 0)
            return 3;
    }
    say('r');
    return hear() ? 4 : 5;
}

/* What a killed process leaves that has no guard: two sockets with what stands beside them. */
static void leave_what_a_kill_leaves(void)
{
    int stood = count_beside(directory);
    struct child child = spawn("hold", directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_child(&child)));
    ck_assert_int_eq(count_beside(directory), stood + 4);
}

START_TEST(L39_sweep_takes_what_the_lock_file_of_a_dead_owner_tells_of)
{
    sockref *ref = start(NULL, path);
    uint64_t count = 99;

    leave_what_a_kill_leaves();
    leave_dead_socket(file("other.sock"));
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(!exists(file("chosen.sock")));
    ck_assert(!exists(file("sockref-5194309-0123456789abcdef.sock")));
    ck_assert(is_socket(file("other.sock")));
    ck_assert(is_connectable(path));
    ck_assert_int_eq(count_beside(directory), 2);
    ck_assert_int_eq(unlink(file("other.sock")), 0);
    sockref_release(ref);
}
END_TEST

/* Where others may bind as well, a name alone proves nothing: only lock files do. */
START_TEST(L39_sweep_goes_by_lock_files_alone_where_others_may_bind)
{
    const char *dead = file("sockref-5194301-0123456789abcdef.sock");
    uint64_t count = 99;
    int fd;

    ck_assert_int_eq(chmod(directory, 01777), 0);
    leave_what_a_kill_leaves();
    leave_dead_socket(dead);
    ck_assert_int_eq(unlink(file("chosen.sock")), 0);
    fd = bind_plain(file("chosen.sock")); /* another program has taken the name */
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), 0);
    ck_assert_uint_ge(count, 1);
    ck_assert(!exists(file("sockref-5194309-0123456789abcdef.sock")));
    ck_assert_int_eq(count_beside(directory), 0);
    ck_assert(is_socket(file("sockref-5194301-0123456789abcdef.sock")));
    ck_assert(is_connectable(file("chosen.sock")));
    close(fd);
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), 0);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(count_sockets(directory), 2);
    ck_assert_int_eq(unlink(file("chosen.sock")), 0);
    ck_assert_int_eq(unlink(file("sockref-5194301-0123456789abcdef.sock")), 0);
}
END_TEST

START_TEST(L39_sweep_stays_out_of_directories_that_others_may_change)
{
    uint64_t count = 99;

    leave_what_a_kill_leaves();
    leave_dead_socket(file("sockref-5194301-0123456789abcdef.sock"));
    ck_assert_int_eq(chmod(directory, 0777), 0);
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), SOCKREF_EUNTRUSTED);
    ck_assert_int_eq(count_sockets(directory), 3);
    ck_assert_int_eq(count_beside(directory), 4);
    ck_assert_int_eq(chmod(directory, 0700), 0);
    ck_assert_int_eq(sockref_registry_sweep(NULL, file("missing"), NULL), -ENOENT);
    ck_assert_int_eq(sockref_registry_sweep(NULL, "relative", NULL), SOCKREF_EPATH);
    ck_assert_int_eq(sockref_registry_sweep(NULL, directory, &count), 0);
    ck_assert_uint_eq(count, 3);
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

START_TEST(L44_a_start_that_waits_for_a_removal_blocks_no_loop)
{
    const char *name = file("gated.sock");
    sockref *ref = start(NULL, name);
    struct outcome outcome = {0};
    sockref_loop *loop;
    pthread_t thread;
    ino_t inode;

    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    close_gate(CALL_UNLINKAT);
    thread = release_at_gate(ref);
    inode = inode_of(name);
    ck_assert(!sockref_registry_is_socket_active(NULL, name));
    ck_assert_int_eq(start_on(loop, name, &outcome),
                     0); /* returns, though the name is being removed */
    for (int i = 0; i < 20; i++)
        ck_assert_int_ge(sockref_loop_dispatch(loop, 1), 0);
    ck_assert_int_eq(outcome.calls, 0);
    ck_assert_int_eq(sockref_registry_get_existing(NULL, name, &ref), SOCKREF_ENOTFOUND);
    open_gate();
    DISPATCH_UNTIL(loop, outcome.calls == 1);
    ck_assert_int_eq(outcome.status, 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    before_call = NULL;
    ck_assert(is_connectable(name));
    ck_assert(sockref_is_owner(outcome.ref));
    (void)inode;
    sockref_release(outcome.ref);
    sockref_loop_free(loop);
}
END_TEST

START_TEST(L44_a_start_that_waits_too_long_says_so)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_START_TIMEOUT_MS, 50);
    const char *name = file("gated.sock");
    sockref *ref = start(registry, name), *other = NULL;
    pthread_t thread;

    close_gate(CALL_UNLINKAT);
    thread = release_at_gate(ref);
    ck_assert_int_eq(sockref_registry_listen(registry, name, NULL, &other), SOCKREF_ETIMEOUT);
    ck_assert_int_eq(sockref_registry_get_or_create(registry, name, &other), SOCKREF_ETIMEOUT);
    ck_assert_ptr_null(other);
    open_gate();
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    before_call = NULL;
    sockref_release(start(registry, name));
    sockref_registry_free(registry);
}
END_TEST

static const struct role roles[] = {{"hold", hold_until_killed}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-ends");
    TCase *tcase = add_case(suite, "ends");

    tcase_add_test(tcase, L09_a_handle_dropped_without_close_is_released_by_its_finalizer);
    tcase_add_test(tcase, L10_close_and_then_the_finalizer_is_one_release);
    tcase_add_test(tcase, L23_cleanup_takes_the_file_and_leaves_the_handles);
    tcase_add_test(tcase, L24_cleanup_of_what_is_not_known_touches_nothing);
    tcase_add_test(tcase, L25_cleanup_all_tells_the_number_and_leaves_no_file);
    tcase_add_test(tcase, L28_a_cleanup_delay_keeps_the_file_and_a_start_within_it_finds_it);
    tcase_add_test(tcase, L32_a_cancelled_start_leaves_nothing);
    tcase_add_test(tcase, L35_shutdown_tells_holders_and_waits_for_them);
    tcase_add_test(tcase, L35_shutdown_revokes_what_is_held_too_long);
    tcase_add_test(tcase, L35_the_default_registry_starts_afresh_after_its_shutdown);
    tcase_add_test(tcase, L36_drain_returns_when_nothing_is_on_its_way_out);
    tcase_add_test(tcase, L39_sweep_takes_only_dead_sockets_under_default_names);
    tcase_add_test(tcase, L39_sweep_takes_what_the_lock_file_of_a_dead_owner_tells_of);
    tcase_add_test(tcase, L39_sweep_goes_by_lock_files_alone_where_others_may_bind);
    tcase_add_test(tcase, L39_sweep_stays_out_of_directories_that_others_may_change);
    tcase_add_test(tcase, L44_a_start_that_waits_for_a_removal_blocks_no_loop);
    tcase_add_test(tcase, L44_a_start_that_waits_too_long_says_so);
    return run_suite(suite, argc, argv, roles);
}
