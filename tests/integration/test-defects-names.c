/* What earlier systems got wrong with names, counts and files; each defect has its number. */
#include "interpose.h"

struct late {
    const char *name;
    sockref *ref;
    int status;
    bool listen;
};

static void *come_late(void *arg)
{
    struct late *late = arg;

    if (late->listen)
        late->status = sockref_registry_listen(NULL, late->name, NULL, &late->ref);
    else
        late->status = sockref_registry_get_or_create(NULL, late->name, &late->ref);
    return NULL;
}

/* The last release stands between its decision and its unlink, while another thread wants the name.
 */
static void meet_a_removal(bool listen)
{
    struct late late = {.name = file("gated.sock"), .status = 1, .listen = listen};
    pthread_t releaser, comer;

    releaser = release_at_gate(start(NULL, late.name));
    ck_assert(!sockref_registry_is_socket_active(NULL, late.name));
    ck_assert_int_eq(pthread_create(&comer, NULL, come_late, &late), 0);
    open_gate();
    ck_assert_int_eq(pthread_join(comer, NULL), 0);
    ck_assert_int_eq(pthread_join(releaser, NULL), 0);
    ck_assert_int_eq(late.status, 0);
    ck_assert(sockref_is_active(late.ref));
    ck_assert(sockref_registry_is_socket_active(NULL, late.name));
    if (!listen)
        ck_assert_ptr_eq(start(NULL, late.name), late.ref);
    ck_assert(is_connectable(late.name));
    ck_assert_uint_eq(sockref_reference_count(late.ref), listen ? 1 : 2);
    if (!listen)
        sockref_release(late.ref);
    sockref_release(late.ref);
    ck_assert(!exists(late.name));
}

START_TEST(d01_last_release_against_get_or_create_gives_the_next_life)
{
    close_gate(CALL_UNLINKAT);
    meet_a_removal(false);
    close_gate(CALL_UNLINKAT);
    meet_a_removal(true);
    before_call = NULL;
}
END_TEST

static void live_and_drop(int number, void *user)
{
    (void)number;
    for (int i = 0; i < *(int *)user; i++) {
        sockref *ref = NULL;

        ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
        ck_assert_msg(is_in_use_at(ref, path), "a held socket is lost");
        sockref_release(ref);
    }
}

START_TEST(d01_a_held_socket_is_never_lost)
{
    int rounds = IS_SANITIZED ? 500 : 3000;

    run_threads(8, live_and_drop, &rounds);
    ck_assert(!exists(path));
}
END_TEST

START_TEST(d02_a_delayed_removal_never_takes_the_next_life)
{
    const char *name = file("gated.sock");
    sockref *ref = start_with(NULL, name, SOCKREF_OPT_CLEANUP_DELAY_MS, 1);
    struct late late = {.name = name, .status = 1, .listen = true};
    pthread_t comer;

    close_gate(CALL_UNLINKAT);
    sockref_release(ref);
    await_gate(); /* the worker is at it */
    ck_assert_int_eq(pthread_create(&comer, NULL, come_late, &late), 0);
    open_gate();
    ck_assert_int_eq(pthread_join(comer, NULL), 0);
    before_call = NULL;
    ck_assert_int_eq(late.status, 0);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert(is_connectable(name));
    sockref_release(late.ref);
    WAIT_UNTIL(!exists(name));
}
END_TEST

START_TEST(d03_open_close_open_connect)
{
    sockref *ref;

    sockref_release(start(NULL, path));
    ref = start(NULL, path);
    ck_assert(is_connectable(path));
    sockref_release(ref);
}
END_TEST

START_TEST(d04_zero_references_stop_the_listener)
{
    int fds = count_fds(), threads = count_threads();

    for (int i = 0; i < 20; i++) {
        sockref *ref = start(NULL, path);
        int fd;

        if (i % 2)
            ck_assert_int_eq(sockref_serve(ref, sockref_echo_handlers(), NULL), 0);
        fd = dial(path);
        sockref_release(ref);
        ck_assert_int_eq(try_dial(path), -ENOENT);
        close(fd);
    }
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    WAIT_UNTIL(count_threads() == threads);
    ck_assert_int_eq(count_fds(), fds);
}
END_TEST

START_TEST(d05_the_default_name_is_shared_and_unique_is_asked_for)
{
    sockref_registry *registry = make_registry_here();
    sockref *refs[] = {start(registry, NULL), start(registry, NULL),
                       start_with(registry, NULL, SOCKREF_OPT_UNIQUE, 1),
                       start_with(registry, NULL, SOCKREF_OPT_UNIQUE, 1)};

    ck_assert_ptr_eq(refs[0], refs[1]);
    ck_assert_ptr_ne(refs[2], refs[3]);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 3);
    for (int i = 0; i < 4; i++)
        sockref_release(refs[i]);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(d06_a_refused_path_is_never_bound)
{
    const char *const refused[] = {file("../x.sock"), file("a/../x.sock"), "", "x",
                                   file("x/"),        file("a\nb"),        "@"};
    unsigned binds = calls[CALL_BIND], sockets = calls[CALL_SOCKET];

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        ck_assert_int_eq(try_start(NULL, refused[i]), SOCKREF_EPATH);
    ck_assert_uint_eq(calls[CALL_BIND], binds);
    ck_assert_uint_eq(calls[CALL_SOCKET], sockets);
    ck_assert_int_eq(count_entries(directory), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

START_TEST(d07_one_rule_for_paths_in_every_function)
{
    const struct {
        const char *leaf;
        bool allowed;
    } table[] = {{"a..b.sock", true}, {"...", true},   {"with space", true}, {"\xe2\x82\xac", true},
                 {"a/../b", false},   {"a\nb", false}, {"..", false},        {"b/", false}};

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *name = file(table[i].leaf);
        sockref *ref = NULL, *found = NULL;

        if (table[i].allowed) {
            ck_assert_int_eq(sockref_registry_get_existing(NULL, name, &found), SOCKREF_ENOTFOUND);
            ck_assert_int_eq(sockref_registry_cleanup(NULL, name), SOCKREF_ENOTFOUND);
            ck_assert_int_eq(sockref_registry_get_or_create(NULL, name, &ref), 0);
            ck_assert(sockref_registry_is_socket_active(NULL, name));
            sockref_release(start(NULL, name));
            sockref_release(ref);
        } else {
            ck_assert_int_eq(sockref_registry_get_existing(NULL, name, &found), SOCKREF_EPATH);
            ck_assert_int_eq(sockref_registry_cleanup(NULL, name), SOCKREF_EPATH);
            ck_assert_int_eq(sockref_registry_get_or_create(NULL, name, &ref), SOCKREF_EPATH);
            ck_assert_int_eq(try_start(NULL, name), SOCKREF_EPATH);
            ck_assert(!sockref_registry_is_socket_active(NULL, name));
        }
    }
}
END_TEST

START_TEST(d08_spellings_are_one_name)
{
    char spellings[5][200];
    sockref *refs[5];

    ck_assert_int_eq(mkdir(file("d"), 0700), 0);
    ck_assert_int_eq(symlink("d", file("l")), 0);
    ck_assert_int_eq(symlink(directory, file("d/up")), 0);
    snprintf(spellings[0], 200, "%s/d/s.sock", directory);
    snprintf(spellings[1], 200, "%s//d///s.sock", directory);
    snprintf(spellings[2], 200, "%s/./d/./s.sock", directory);
    snprintf(spellings[3], 200, "%s/l/s.sock", directory);
    snprintf(spellings[4], 200, "%s/d/up/l/up//./d/s.sock", directory);
    for (int i = 0; i < 5; i++) {
        refs[i] = start(NULL, spellings[i]);
        ck_assert_ptr_eq(refs[i], refs[0]);
    }
    ck_assert_uint_eq(sockref_reference_count(refs[0]), 5);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    for (int i = 0; i < 5; i++) {
        ck_assert(is_connectable(spellings[4 - i]));
        ck_assert(sockref_registry_is_socket_active(NULL, spellings[4 - i]));
        sockref_release(refs[i]);
    }
    for (int i = 0; i < 5; i++)
        ck_assert(!sockref_registry_is_socket_active(NULL, spellings[i]));
}
END_TEST

START_TEST(d09_register_new_does_not_overwrite_a_live_name)
{
    sockref *ref = start(NULL, path), *other = NULL;
    int fd = bind_plain(file("other.sock"));

    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &other), SOCKREF_EEXISTS);
    ck_assert_ptr_null(other);
    ck_assert(sockref_is_active(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(is_connectable(path));
    sockref_release(ref);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &ref), 0); /* in any state */
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &other), SOCKREF_EEXISTS);
    sockref_release(ref);
    close(fd);
    unlink(file("other.sock"));
}
END_TEST

START_TEST(d10_closing_a_revoked_handle_leaves_the_next_owner_alone)
{
    sockref *ref = start(NULL, path);
    uint64_t count;
    int fd;

    ck_assert_int_eq(sockref_registry_cleanup_all(NULL, &count), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert(!sockref_is_active(ref));
    fd = bind_plain(path);
    sockref_release(ref);
    ck_assert(is_connectable(path));
    close(fd);
    unlink(path);
}
END_TEST

START_TEST(d11_cleanup_removes_no_file_that_it_does_not_know)
{
    int fd = bind_plain(file("foreign.sock"));

    write_file(path, "precious");
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, file("foreign.sock")), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(sockref_registry_cleanup_all(NULL, NULL), 0);
    ck_assert(file_holds(path, "precious"));
    ck_assert(is_connectable(file("foreign.sock")));
    close(fd);
    unlink(file("foreign.sock"));
}
END_TEST

static int is_inactive_here(void *ref)
{
    return sockref_is_active(ref) ? 1 : 0;
}

START_TEST(d12_a_reference_is_inactive_after_close_revoke_fork_and_shutdown)
{
    sockref_registry *registry = make_registry(0, 0);
    sockref *ref = start(NULL, path);

    ck_assert(in_child(is_inactive_here, ref));
    ck_assert(sockref_is_active(ref));
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    ck_assert(!sockref_is_active(ref));
    sockref_release(ref);
    sockref_release(start(NULL, path));
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    ref = start(registry, path);
    ck_assert_int_eq(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert(!sockref_is_active(ref));
    sockref_registry_free(registry);
    sockref_release(ref);
}
END_TEST

START_TEST(d13_only_the_socket_that_was_bound_is_removed)
{
    sockref *ref = start(NULL, path);
    int fd;

    ck_assert_int_eq(unlink(path), 0);
    write_file(path, "a user's file");
    sockref_release(ref);
    ck_assert(file_holds(path, "a user's file"));
    unlink(path);

    ref = start(NULL, path);
    ck_assert_int_eq(unlink(path), 0);
    fd = bind_plain(path); /* a socket too, but another one */
    sockref_release(ref);
    ck_assert(is_connectable(path));
    close(fd);
    unlink(path);

    ref = start(NULL, path);
    ck_assert_int_eq(rename(path, file("moved.sock")), 0);
    sockref_release(ref);
    ck_assert(is_socket(file("moved.sock")));
    unlink(file("moved.sock"));
}
END_TEST

static atomic_int failures, last_status;

static void note_failures(const sockref_log_record *record, void *user)
{
    (void)user;
    if (strcmp(record->event, "cleanup_failed") != 0)
        return;
    atomic_fetch_add(&failures, 1);
    last_status = record->status;
    ck_assert_str_eq(record->path, path);
    ck_assert_str_ne(record->message, "");
}

static int fail_unlink(enum call call, const char *name)
{
    (void)name;
    return call == CALL_UNLINKAT ? EROFS : 0;
}

START_TEST(d14_a_removal_that_fails_is_told_and_a_missing_file_is_none)
{
    sockref *ref = start(NULL, path);

    ck_assert_int_eq(sockref_set_log(note_failures, NULL, NULL), 0);
    ck_assert_int_eq(unlink(path), 0);
    sockref_release(ref);
    ck_assert_int_eq(failures, 0);

    ref = start(NULL, path);
    before_call = fail_unlink;
    sockref_release(ref);
    before_call = NULL;
    ck_assert_int_eq(failures, 1);
    ck_assert_int_eq(last_status, -EROFS);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    ck_assert(is_socket(path));
    ck_assert_int_eq(count_beside(directory), 2);

    ref = start(NULL, path); /* in the place of what had to stay, */
    ck_assert(sockref_is_owner(ref));
    sockref_release(ref); /* which goes with it */
    ck_assert_int_eq(failures, 1);
    ck_assert_int_eq(count_entries(directory), 0);

    ref = start(NULL, path);
    before_call = fail_unlink;
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), -EROFS);
    before_call = NULL;
    ck_assert_int_eq(sockref_last_error()->os_errno, EROFS);
    ck_assert_str_eq(sockref_last_error()->syscall, "unlinkat");
    ck_assert(!sockref_is_active(ref));
    sockref_release(ref);
    sockref_release(start(NULL, path));
    ck_assert_int_eq(count_entries(directory), 0);
    ck_assert_int_eq(sockref_set_log(NULL, NULL, NULL), 0);
}
END_TEST

START_TEST(d15_deferred_removals_share_one_thread)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 3600 * 1000);
    int threads = count_threads();
    uint64_t count;

    for (int i = 0; i < 500; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "%d.sock", i);
        sockref_release(start(registry, file(leaf)));
        ck_assert_int_le(count_threads(), threads + 1);
    }
    ck_assert_int_eq(count_sockets(directory), 500);
    ck_assert_int_eq(sockref_registry_cleanup_all(registry, &count), 0);
    ck_assert_uint_eq(count, 500);
    ck_assert_int_eq(count_sockets(directory), 0);
    sockref_registry_free(registry);
}
END_TEST

static int exit_with_pending(const char *argument)
{
    char name[256];

    for (int i = 0; i < 1000; i++) {
        sockref_options *options = sockref_options_new();
        sockref *ref = NULL;
        int status;

        sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, 3600 * 1000);
        snprintf(name, sizeof name, "%s/%d.sock", argument, i);
        status = sockref_registry_listen(NULL, name, options, &ref);
        sockref_options_free(options);
        if (status < 0)
            return 1;
        sockref_release(ref);
        if (i == 998)
            say('r');
    }
    return 0;
}

START_TEST(d15_exit_with_a_thousand_pending_removals_leaves_no_file)
{
    struct child child = spawn("pending", directory);

    ck_assert_int_eq(hear_from(child.talk), 'r');
    ck_assert(exited_well(end_child(&child)));
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* What ten thousand questions cost where there are so many names, in time of the processor. */
static int64_t cost_among(int names)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_MAX_SOCKETS, names);
    sockref **refs = calloc((size_t)names, sizeof *refs);
    uint64_t counted = 0, active = 0;
    int64_t began;
    char leaf[32];

    for (int i = 0; i < names; i++) {
        snprintf(leaf, sizeof leaf, "%d", i);
        ck_assert_int_eq(sockref_registry_get_or_create(registry, file(leaf), &refs[i]), 0);
    }
    began = cpu_ns();
    for (int i = 0; i < 10000; i++) {
        counted += sockref_registry_active_socket_count(registry);
        active += sockref_registry_is_socket_active(registry, sockref_path(refs[i % names]));
    }
    began = cpu_ns() - began;
    ck_assert_uint_eq(counted, (uint64_t)names * 10000);
    ck_assert_uint_eq(active, 10000);
    for (int i = 0; i < names; i++)
        sockref_release(refs[i]);
    free(refs);
    sockref_registry_free(registry);
    return began;
}

/* One that looked at each name would take two thousand times as long. */
START_TEST(d16_questions_cost_the_same_however_many_names_there_are)
{
    int64_t few = cost_among(10);

    ck_assert_int_lt(cost_among(20000), few * 100);
}
END_TEST

static const struct role roles[] = {{"pending", exit_with_pending}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("defects-names");
    TCase *tcase = add_case(suite, "names");

    tcase_add_test(tcase, d01_last_release_against_get_or_create_gives_the_next_life);
    tcase_add_test(tcase, d01_a_held_socket_is_never_lost);
    tcase_add_test(tcase, d02_a_delayed_removal_never_takes_the_next_life);
    tcase_add_test(tcase, d03_open_close_open_connect);
    tcase_add_test(tcase, d04_zero_references_stop_the_listener);
    tcase_add_test(tcase, d05_the_default_name_is_shared_and_unique_is_asked_for);
    tcase_add_test(tcase, d06_a_refused_path_is_never_bound);
    tcase_add_test(tcase, d07_one_rule_for_paths_in_every_function);
    tcase_add_test(tcase, d08_spellings_are_one_name);
    tcase_add_test(tcase, d09_register_new_does_not_overwrite_a_live_name);
    tcase_add_test(tcase, d10_closing_a_revoked_handle_leaves_the_next_owner_alone);
    tcase_add_test(tcase, d11_cleanup_removes_no_file_that_it_does_not_know);
    tcase_add_test(tcase, d12_a_reference_is_inactive_after_close_revoke_fork_and_shutdown);
    tcase_add_test(tcase, d13_only_the_socket_that_was_bound_is_removed);
    tcase_add_test(tcase, d14_a_removal_that_fails_is_told_and_a_missing_file_is_none);
    tcase_add_test(tcase, d15_deferred_removals_share_one_thread);
    tcase_add_test(tcase, d15_exit_with_a_thousand_pending_removals_leaves_no_file);
    tcase_add_test(tcase, d16_questions_cost_the_same_however_many_names_there_are);
    return run_suite(suite, argc, argv, roles);
}
