/* The system's side: modes, umask, descriptors, path lengths, signals,
 * exec, other users. */
#include "util.h"

#include <dlfcn.h>
#include <spawn.h>
#include <sys/resource.h>

/* Modes and the umask. */

START_TEST(v5_every_mode_is_exact_whatever_the_umask)
{
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0400, 0640, 0000};
    static const mode_t masks[] = {0, 022, 077, 0777};
    mode_t old = umask(0);

    for (size_t m = 0; m < sizeof masks / sizeof masks[0]; m++) {
        umask(masks[m]);
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            sockref *ref = start_with(NULL, path, SOCKREF_OPT_MODE, modes[i]);

            ck_assert_uint_eq(mode_of(path), modes[i]);
            sockref_release(ref);
            ck_assert(!exists(path));
        }
        ck_assert_uint_eq(umask(old), masks[m]); /* the library has not changed it */
    }
    umask(old);
}
END_TEST

START_TEST(v5_without_a_mode_the_umask_decides)
{
    static const mode_t masks[] = {0, 022, 077};
    mode_t old = umask(0);

    for (size_t m = 0; m < sizeof masks / sizeof masks[0]; m++) {
        sockref *ref;

        umask(masks[m]);
        ref = start_with(NULL, path, SOCKREF_OPT_MODE, -1);
        ck_assert_uint_eq(mode_of(path), 0777 & ~masks[m]);
        sockref_release(ref);
    }
    umask(old);
}
END_TEST

/* Another user. */

static int dial_as_nobody(void *name)
{
    int fd;

    EXPECT(become_nobody());
    fd = try_dial(name);
    return fd >= 0 ? 0 : -fd;
}

START_TEST(v5_another_user_gets_in_only_where_the_mode_says_so)
{
    sockref *ref;

    if (!can_become_nobody())
        SKIP("only root can become another user");
    ck_assert_int_eq(chmod(directory, 0711), 0);
    ref = start(NULL, path);
    ck_assert_int_eq(WEXITSTATUS(end_of(fork_to(dial_as_nobody, path))), EACCES);
    sockref_release(ref);
    ref = start_with(NULL, path, SOCKREF_OPT_MODE, 0666);
    ck_assert_int_eq(WEXITSTATUS(end_of(fork_to(dial_as_nobody, path))), 0);
    sockref_release(ref);
}
END_TEST

static int live_as_nobody(void *user)
{
    const char *base = user;
    char name[256];
    uint64_t count;
    sockref *ref;

    EXPECT(become_nobody());
    snprintf(name, sizeof name, "%s/own/s.sock", base);
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == 0); /* its own directory */
    EXPECT(is_connectable(name));
    sockref_release(ref);
    EXPECT(!exists(name));
    snprintf(name, sizeof name, "%s/sticky/s.sock", base);
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == 0); /* root's, sticky, as /tmp is */
    EXPECT(is_connectable(name));
    sockref_release(ref);
    EXPECT(!exists(name));
    snprintf(name, sizeof name, "%s/sticky/roots.sock", base);
    EXPECT(try_start(NULL, name) == SOCKREF_EFOREIGN);
    snprintf(name, sizeof name, "%s/sticky/dead.sock", base);
    EXPECT(try_start(NULL, name) == SOCKREF_EFOREIGN); /* only root may replace it */
    snprintf(name, sizeof name, "%s/sticky/shared.sock", base);
    EXPECT(try_start(NULL, name) == SOCKREF_EUNTRUSTED); /* root's lock file */
    snprintf(name, sizeof name, "%s/open/s.sock", base);
    EXPECT(try_start(NULL, name) == SOCKREF_EUNTRUSTED);
    snprintf(name, sizeof name, "%s/roots-own", base);
    EXPECT(sockref_registry_sweep(NULL, name, &count) < 0 || count == 0);
    return 0;
}

START_TEST(another_user_lives_beside_us)
{
    char name[200];
    sockref *shared;
    int fd;

    if (!can_become_nobody())
        SKIP("only root can become another user");
    ck_assert_int_eq(chmod(directory, 0711), 0);
    ck_assert_int_eq(mkdir(file("own"), 0700), 0);
    ck_assert_int_eq(chown(file("own"), NOBODY, NOBODY), 0);
    ck_assert_int_eq(mkdir(file("sticky"), 0700), 0);
    ck_assert_int_eq(chmod(file("sticky"), 01777), 0);
    ck_assert_int_eq(mkdir(file("open"), 0700), 0);
    ck_assert_int_eq(chmod(file("open"), 0777), 0);
    ck_assert_int_eq(mkdir(file("roots-own"), 0755), 0);
    leave_dead_socket(file("roots-own/sockref-5194301-0123456789abcdef.sock"));
    fd = bind_plain(file("sticky/roots.sock"));
    leave_dead_socket(file("sticky/dead.sock"));
    snprintf(name, sizeof name, "%s/sticky/shared.sock", directory);
    shared = start_with(NULL, name, SOCKREF_OPT_MODE, 0666);
    ck_assert(in_child(live_as_nobody, directory));
    ck_assert(is_connectable(name));
    ck_assert_uint_eq(sockref_holder_count(shared), 1);
    sockref_release(shared);
    ck_assert(is_socket(file("sticky/dead.sock")));
    ck_assert(is_socket(file("roots-own/sockref-5194301-0123456789abcdef.sock")));
    ck_assert(is_connectable(file("sticky/roots.sock")));
    ck_assert_int_eq(count_entries(file("sticky")), 2);
    close(fd);
    unlink(file("sticky/dead.sock"));
    unlink(file("sticky/roots.sock"));
    unlink(file("roots-own/sockref-5194301-0123456789abcdef.sock"));
}
END_TEST

START_TEST(in_a_sticky_directory_only_our_own_socket_is_removed)
{
    char name[200];
    sockref *ref;
    int fd;

    if (geteuid() != 0)
        SKIP("only a directory of root's is trusted when it is shared");
    ck_assert_int_eq(mkdir(file("sticky"), 0700), 0);
    ck_assert_int_eq(chmod(file("sticky"), 01777), 0);
    snprintf(name, sizeof name, "%s/sticky/s.sock", directory);
    ref = start(NULL, name);
    sockref_release(ref);
    ck_assert_int_eq(count_entries(file("sticky")), 0);
    ref = start(NULL, name);
    ck_assert_int_eq(unlink(name), 0);
    fd = bind_plain(name);
    sockref_release(ref);
    ck_assert(is_connectable(name));
    ck_assert_int_eq(count_entries(file("sticky")), 1);
    close(fd);
    unlink(name);
}
END_TEST

/* Limits of the system. */

/* Also where something stands at the path that has to be looked at: it is not said to be foreign.
 */
START_TEST(emfile_is_told_and_leaves_nothing)
{
    bool is_stale = _i == 1;
    int fds[64], made = 0, before_it = count_fds(), room = 0;
    struct rlimit old, low;
    sockref *ref;

    if (is_stale)
        leave_dead_socket(path);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){.rlim_cur = (rlim_t)before_it + 32, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    while (made < 64 && (fds[made] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        made++;
    ck_assert_int_eq(errno, EMFILE);
    while (try_start(NULL, path) < 0) { /* for the directory, the lock file, the socket, ... */
        ck_assert_int_eq(sockref_last_error()->status, -EMFILE);
        ck_assert_int_eq(sockref_last_error()->os_errno, EMFILE);
        ck_assert_str_eq(sockref_last_error()->path, path);
        ck_assert(strcmp(sockref_last_error()->syscall, "open") == 0 ||
                  strcmp(sockref_last_error()->syscall, "socket") == 0);
        ck_assert(exists(path) == is_stale);
        ck_assert_int_eq(count_beside(directory), 0);
        close(fds[--made]);
        ck_assert_int_lt(++room, 6);
    }
    ck_assert_int_ge(room, 3);
    sockref_release(start(NULL, path)); /* they are given back, all */
    ref = start_with(NULL, path, SOCKREF_OPT_SHARE, 0);
    ck_assert(is_socket(path));
    sockref_release(ref);
    while (made > 0)
        close(fds[--made]);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(count_fds(), before_it);
}
END_TEST

START_TEST(v4_a_path_of_any_length_is_bound_or_refused_but_never_cut)
{
    char deep[4200], name[4300];
    size_t base;

    /* Around the 107 bytes that fit. */
    ck_assert_int_eq(mkdir(file("in-another-directory"), 0700), 0);
    for (size_t length = 95; length <= 125; length++) {
        sockref *ref;

        snprintf(name, sizeof name, "%s/in-another-directory/", directory);
        base = strlen(name);
        memset(name + base, 'n', length - base);
        name[length] = '\0';
        ref = start(NULL, name);
        ck_assert(is_socket(name));
        ck_assert_int_eq(count_sockets(directory), 1);
        ck_assert_str_eq(sockref_path(ref), name);
        sockref_release(ref);
        ck_assert(!exists(name));
    }
    /* A last component that can't be bound by way of its directory either. */
    memset(name + base, 'n', 100);
    name[base + 100] = '\0';
    ck_assert_int_eq(try_start(NULL, name), SOCKREF_EPATHLEN);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "100"));
    ck_assert_int_eq(count_sockets(directory), 0);
    /* A very deep directory. */
    strcpy(deep, directory);
    while (strlen(deep) + 200 < 4000) {
        size_t at = strlen(deep);

        deep[at] = '/';
        memset(deep + at + 1, 'd', 180);
        deep[at + 181] = '\0';
        ck_assert_int_eq(mkdir(deep, 0700), 0);
    }
    snprintf(name, sizeof name, "%s/s.sock", deep);
    sockref_release(start(NULL, name));
    ck_assert(!exists(name));
    ck_assert_int_eq(count_sockets(directory), 0);
}
END_TEST

/* Signals. */

/* What is echoed, nobody reads: who serves writes to closed sockets. */
static int send_and_leave(const char *name)
{
    char data[4096] = {0};
    int fd = try_dial(name);

    if (fd < 0)
        return -1;
    for (int k = 0; k < 16; k++)
        if (send(fd, data, sizeof data, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
    return close(fd);
}

static int meet_sigpipe(const char *argument)
{
    static const char data[4096];
    sockref *own, *driven;
    sockref_loop *loop;
    char names[2][256];

    signal(SIGPIPE, SIG_DFL); /* it would end this process */
    snprintf(names[0], sizeof names[0], "%s/own.sock", argument);
    snprintf(names[1], sizeof names[1], "%s/driven.sock", argument);
    if (sockref_loop_new(&loop) < 0 || sockref_registry_listen(NULL, names[0], NULL, &own) < 0 ||
        sockref_registry_listen(NULL, names[1], NULL, &driven) < 0 ||
        sockref_serve(own, sockref_echo_handlers(), NULL) < 0 ||
        sockref_serve_on(driven, loop, sockref_echo_handlers(), NULL) < 0)
        return 3;
    for (int i = 0; i < 200; i++) {
        int fd = try_dial(names[1]);

        if (fd < 0 || send_and_leave(names[0]) < 0)
            return 4;
        /* What is too much for the kernel waits in the queue; or nothing does. */
        for (int turn = 0; turn < i % 8; turn++) {
            while (send(fd, data, sizeof data, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
                continue;
            sockref_loop_dispatch(loop, 0);
        }
        if (close(fd) < 0 || send_and_leave(names[1]) < 0)
            return 4;
        while (sockref_loop_dispatch(loop, 0) > 0)
            continue;
    }
    sockref_release(own);
    sockref_release(driven);
    sockref_loop_free(loop);
    return sockref_registry_drain(NULL, PATIENCE_MS) == 0 ? 0 : 5;
}

START_TEST(sigpipe_is_never_delivered)
{
    struct child child = spawn("sigpipe", directory);

    ck_assert(exited_well(end_child(&child)));
}
END_TEST

/* exec. */

static int tell_descriptors(const char *argument)
{
    (void)argument;
    for (int i = 0, left = count_fds(); i < left; i++)
        say('d');
    return 0;
}

/*
 * How many descriptors a program has that was executed: without a fork, whose handlers the library
 * has, so that nothing but close-on-exec can have closed any.
 */
static int count_inherited(void)
{
    char number[12], *argv[] = {"/proc/self/exe", "--as", "descriptors", number, "", NULL};
    int pair[2], count = 0;
    pid_t pid;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    snprintf(number, sizeof number, "%d", pair[1]);
    ck_assert_int_eq(posix_spawn(&pid, argv[0], NULL, NULL, argv, environ), 0);
    close(pair[1]);
    while (hear_from(pair[0]) == 'd')
        count++;
    ck_assert(exited_well(end_of(pid)));
    close(pair[0]);
    return count;
}

START_TEST(u9_an_executed_program_inherits_no_descriptor)
{
    int inherited = count_inherited();
    sockref *refs[20];
    sockref_loop *loop;
    int fd;

    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    for (int i = 0; i < 20; i++) {
        char leaf[32];

        snprintf(leaf, sizeof leaf, "%d.sock", i);
        refs[i] = start(NULL, file(leaf));
    }
    ck_assert_int_eq(sockref_serve(refs[0], sockref_echo_handlers(), NULL), 0);
    ck_assert_int_eq(sockref_serve_on(refs[1], loop, sockref_echo_handlers(), NULL), 0);
    fd = dial(sockref_path(refs[0]));
    say_to(fd, 'x');
    ck_assert_int_eq(hear_from(fd), 'x'); /* so it is accepted */
    ck_assert_int_ge(fcntl(sockref_fd(refs[0]), F_GETFL) & O_NONBLOCK, 1);
    ck_assert_int_gt(inherited, 0);
    ck_assert_int_eq(count_inherited(), inherited);
    close(fd);
    for (int i = 0; i < 20; i++)
        sockref_release(refs[i]);
    sockref_loop_free(loop);
}
END_TEST

/* A second copy of the library in the process. */

START_TEST(u3_a_second_copy_of_the_library_has_default_names_of_its_own)
{
    int (*other_listen)(sockref_registry *, const char *, const sockref_options *, sockref **);
    const char *(*other_path)(const sockref *);
    void (*other_release)(sockref *);
    bool (*other_is_owner)(const sockref *);
    sockref *ref, *other = NULL, *joined;
    void *library, *probe;
    Dl_info info;

    probe = dlsym(RTLD_DEFAULT, "sockref_version");
    if (IS_SANITIZED || !probe || !dladdr(probe, &info) || !strstr(info.dli_fname, "libsockref"))
        SKIP("the library is not a shared one, or a sanitizer allows no second copy");
    setenv("SOCKREF_DIR", directory, 1);
    library = dlmopen(LM_ID_NEWLM, info.dli_fname, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    *(void **)&other_listen = dlsym(library, "sockref_registry_listen");
    *(void **)&other_path = dlsym(library, "sockref_path");
    *(void **)&other_release = dlsym(library, "sockref_release");
    *(void **)&other_is_owner = dlsym(library, "sockref_is_owner");
    ck_assert_ptr_ne((void *)other_release, dlsym(RTLD_DEFAULT, "sockref_release"));
    ref = start(NULL, NULL);
    ck_assert_int_eq(other_listen(NULL, NULL, NULL, &other), 0);
    ck_assert_str_ne(sockref_path(ref), other_path(other));
    ck_assert_int_eq(count_sockets(directory), 2);
    ck_assert(is_connectable(sockref_path(ref)));
    ck_assert(is_connectable(other_path(other)));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    sockref_release(ref);
    ck_assert(is_connectable(other_path(other)));
    /* What one has bound, the other joins, and does not take away. */
    joined = start(NULL, other_path(other));
    ck_assert(!sockref_is_owner(joined) && other_is_owner(other));
    ck_assert_uint_eq(sockref_holder_count(joined), 2);
    sockref_release(joined);
    ck_assert(is_connectable(other_path(other)));
    other_release(other);
    ck_assert_int_eq(count_sockets(directory), 0);
    ck_assert_int_eq(count_beside(directory), 0);
    before.fds++; /* its guard's */
    unsetenv("SOCKREF_DIR");
}
END_TEST

static const struct role roles[] = {
    {"sigpipe", meet_sigpipe}, {"descriptors", tell_descriptors}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("system");
    TCase *tcase = add_case(suite, "system");

    tcase_add_test(tcase, v5_every_mode_is_exact_whatever_the_umask);
    tcase_add_test(tcase, v5_without_a_mode_the_umask_decides);
    tcase_add_test(tcase, v5_another_user_gets_in_only_where_the_mode_says_so);
    tcase_add_test(tcase, another_user_lives_beside_us);
    tcase_add_test(tcase, in_a_sticky_directory_only_our_own_socket_is_removed);
    tcase_add_loop_test(tcase, emfile_is_told_and_leaves_nothing, 0, 2);
    tcase_add_test(tcase, v4_a_path_of_any_length_is_bound_or_refused_but_never_cut);
    tcase_add_test(tcase, sigpipe_is_never_delivered);
    tcase_add_test(tcase, u9_an_executed_program_inherits_no_descriptor);
    tcase_add_test(tcase, u3_a_second_copy_of_the_library_has_default_names_of_its_own);
    return run_suite(suite, argc, argv, roles);
}
