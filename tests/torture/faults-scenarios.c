/* The scenarios: each releases all it got, whatever has failed. */
#include "torture/faults.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const faults_leaves[] = {"a", "b", "sticky/a", NULL};
bool faults_may_leave;

static sockref_registry *first, *second;
static sockref_options *options;

/* ---- the directory ---- */

static char base[100];

static const char *at(const char *leaf)
{
    static char path[200];

    snprintf(path, sizeof path, "%s/%s", base, leaf);
    return path;
}

/* In memory, where it is quickest. */
const char *faults_make_dir(void)
{
    snprintf(base, sizeof base, "%s/sockref-faults-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(base) || mkdir(at("sticky"), 0700) < 0 || chmod(at("sticky"), 01777) < 0) {
        fprintf(stderr, "torture-faults: no directory: %s\n", strerror(errno));
        exit(2);
    }
    return base;
}

static void clear(const char *path)
{
    DIR *stream = opendir(path);
    struct dirent *item;
    char file[400];

    while (stream && (item = readdir(stream))) {
        snprintf(file, sizeof file, "%s/%s", path, item->d_name);
        if (item->d_type != DT_DIR)
            unlink(file);
    }
    if (stream)
        closedir(stream);
}

void faults_remove_dir(void)
{
    clear(at("sticky"));
    clear(base);
    rmdir(at("sticky"));
    rmdir(base);
}

/* ---- steps ---- */

static bool make_registries(void)
{
    if (sockref_registry_new(options, &first) < 0)
        first = NULL;
    if (sockref_registry_new(options, &second) < 0)
        second = NULL;
    return first && second;
}

static void free_registries(void)
{
    sockref_registry_drain(first, 5000);
    sockref_registry_drain(second, 5000);
    sockref_registry_free(first);
    sockref_registry_free(second);
}

static bool can_dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), status;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    status = connect(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    return status == 0;
}

static bool is_settled(void *ref)
{
    return sockref_is_owner(ref) || !sockref_is_active(ref);
}

static bool is_lost(void *ref)
{
    return !sockref_is_active(ref);
}

/* Whoever gets a reference can use it. */
static sockref *listen_at(sockref_registry *registry, const char *leaf, const sockref_options *own)
{
    sockref *ref = faults_listen(registry, at(leaf), own);

    if (ref && sockref_is_active(ref) && !can_dial(at(leaf)) && sockref_is_active(ref) &&
        !faults_is_removal())
        faults_wrong("a start succeeded, and nobody can connect: %s", strerror(errno));
    return ref;
}

static sockref *listen_with(sockref_registry *registry, const char *leaf, int option, int64_t value)
{
    sockref_options *own = sockref_options_new();
    sockref *ref;

    sockref_options_set_int(own, option, value);
    ref = listen_at(registry, leaf, own);
    sockref_options_free(own);
    return ref;
}

static void check_one_owner(sockref *a, sockref *b)
{
    if (a && b && sockref_is_owner(a) && sockref_is_owner(b))
        faults_wrong("two owners");
}

/* Another process has listened there, and was killed. */
static void leave_dead(const char *leaf)
{
    pid_t pid = fork();

    if (pid == 0) {
        sockref_options *own = sockref_options_new();
        sockref *ref;

        sockref_options_set_int(own, SOCKREF_OPT_GUARD, 0);
        if (sockref_registry_listen(NULL, leaf ? at(leaf) : NULL, own, &ref) < 0)
            _exit(1);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
}

static void set_up(void)
{
    unsetenv("XDG_RUNTIME_DIR");
    setenv("SOCKREF_DIR", base, 1);
    chmod(base, 0700);
    options = sockref_options_new();
    sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, 150);
}

/* With a guard that runs already, so that its start is not in every scenario. */
static void set_up_guarded(void)
{
    sockref *ref = NULL;

    set_up();
    if (sockref_registry_listen(NULL, at("a"), NULL, &ref) < 0)
        faults_wrong("nothing fails, but a start: %s", sockref_last_error()->message);
    sockref_release(ref);
    if (sockref_registry_drain(NULL, 10000) < 0)
        faults_wrong("nothing fails, but a release: %s", sockref_last_error()->message);
}

static void set_up_alone(void)
{
    set_up_guarded();
    sockref_options_set_int(options, SOCKREF_OPT_SHARE, 0);
}

static void set_up_dead(void)
{
    set_up_guarded();
    leave_dead("a");
}

static void set_up_dead_alone(void)
{
    set_up_alone();
    leave_dead("a");
}

static void set_up_dead_sticky(void)
{
    set_up_guarded();
    leave_dead("sticky/a");
}

static void set_up_dead_alone_sticky(void)
{
    set_up_alone();
    leave_dead("sticky/a");
}

/* Of all that it had its control socket alone. */
static void set_up_dead_control(void)
{
    set_up_dead();
    unlink(at("a"));
    unlink(at(".a.srlock"));
}

static void set_up_dead_defaults(void)
{
    set_up_guarded();
    leave_dead(NULL);
    leave_dead(NULL);
    leave_dead("a");
}

/* ---- scenarios ---- */

static void start_and_release_at(const char *leaf)
{
    sockref *ref;

    if (make_registries()) {
        ref = listen_at(first, leaf, NULL);
        sockref_release(ref);
    }
    free_registries();
}

static void start_and_release(void)
{
    start_and_release_at("a");
}

static void start_in_sticky(void)
{
    start_and_release_at("sticky/a");
}

static void join_at(const char *leaf)
{
    sockref *a, *b;

    if (make_registries()) {
        a = listen_at(first, leaf, NULL);
        b = listen_at(second, leaf, NULL);
        check_one_owner(a, b);
        if (b)
            sockref_holder_count(b);
        sockref_release(b);
        if (a && sockref_is_active(a) && !can_dial(at(leaf)))
            faults_wrong("a joiner has gone, and nobody can connect");
        sockref_release(a);
    }
    free_registries();
}

static void join_and_release(void)
{
    join_at("a");
}

static void join_in_sticky(void)
{
    join_at("sticky/a");
}

/* Which of both ends first is the owner. */
static void hand_over_at(const char *leaf)
{
    sockref *a, *b;

    if (make_registries()) {
        a = listen_at(first, leaf, NULL);
        b = listen_at(second, leaf, NULL);
        sockref_release(a);
        if (b && !faults_wait(is_settled, b, 10000))
            faults_wrong("the owner has gone, and its joiner never hears of it");
        if (b && sockref_is_active(b) && !can_dial(at(leaf)))
            faults_wrong("what was handed over does not answer");
        sockref_release(b);
    }
    free_registries();
}

static void hand_over(void)
{
    hand_over_at("a");
}

static void hand_over_in_sticky(void)
{
    hand_over_at("sticky/a");
}

static void lose_and_start(void)
{
    sockref *a, *b, *c;
    bool owns;

    if (make_registries()) {
        a = listen_at(first, "a", NULL);
        b = listen_at(second, "a", NULL);
        owns = a && sockref_is_owner(a);
        sockref_registry_cleanup(first, at("a"));
        if (b && owns && !sockref_is_active(a) && !faults_wait(is_lost, b, 10000))
            faults_wrong("the owner was revoked, and its joiner never hears of it");
        c = listen_at(second, "a", NULL);
        sockref_release(c);
        sockref_release(b);
        sockref_release(a);
    }
    free_registries();
}

static void serve_and_linger(void)
{
    sockref *a, *b;

    if (make_registries()) {
        a = listen_at(first, "a", NULL);
        if (a)
            sockref_serve(a, sockref_echo_handlers(), NULL);
        b = listen_at(second, "a", NULL);
        sockref_release(a);
        sockref_release(b);
    }
    free_registries();
}

static void exclusive(void)
{
    sockref *a, *b;

    if (make_registries()) {
        a = listen_with(first, "a", SOCKREF_OPT_EXCLUSIVE, 1);
        b = listen_with(second, "a", SOCKREF_OPT_EXCLUSIVE, 1);
        if (a && b)
            faults_wrong("two exclusive owners");
        sockref_release(b);
        sockref_release(a);
    }
    free_registries();
}

static void sweep_directory(void)
{
    uint64_t count;

    if (make_registries())
        sockref_registry_sweep(first, base, &count);
    free_registries();
    faults_may_leave =
        true; /* only what is ours for sure goes, and what was dead before may stay */
}

/* The third holder is not the heir, and hears of the new owner. */
static void hand_over_twice(void)
{
    sockref_registry *third = NULL;
    sockref *a, *b, *c = NULL;

    if (make_registries() && sockref_registry_new(options, &third) == 0) {
        a = listen_at(first, "a", NULL);
        b = listen_at(second, "a", NULL);
        c = listen_at(third, "a", NULL);
        sockref_release(a);
        if (b && c && !faults_wait(is_settled, b, 2000) && !faults_wait(is_settled, c, 10000))
            faults_wrong("the owner has gone, and its joiners never hear of it");
        check_one_owner(b, c);
        sockref_release(b);
        if (c && sockref_is_active(c) && !faults_wait(is_settled, c, 10000))
            faults_wrong("the second owner has gone, and the last holder never hears of it");
        sockref_release(c);
    }
    sockref_registry_drain(third, 5000);
    sockref_registry_free(third);
    free_registries();
}

/* The owner ends while others hold: they are told, and one of them starts anew. */
static void end_without_heir(void)
{
    sockref *a, *b, *c;

    if (make_registries()) {
        a = listen_with(first, "a", SOCKREF_OPT_HANDOVER, 0);
        b = listen_at(second, "a", NULL);
        sockref_release(a);
        if (b && !faults_wait(is_settled, b, 10000))
            faults_wrong("the owner has gone, and its joiner never hears of it");
        c = listen_at(first, "a", NULL);
        check_one_owner(b, c);
        sockref_release(c);
        sockref_release(b);
    }
    free_registries();
}

static void shut_down(void)
{
    sockref *a, *b, *c;

    if (make_registries()) {
        a = listen_at(first, "a", NULL);
        b = listen_at(second, "a", NULL);
        c = listen_at(first, "b", NULL);
        sockref_registry_shutdown(first, 0);
        sockref_release(c);
        sockref_release(a);
        sockref_release(b);
    }
    free_registries();
}

/* After a delay by the worker; a start cancels it. */
static void delayed(void)
{
    sockref *a, *b;

    if (make_registries()) {
        a = listen_with(first, "a", SOCKREF_OPT_CLEANUP_DELAY_MS, 2);
        b = listen_at(second, "a", NULL);
        sockref_release(a);
        a = listen_at(first, "a", NULL);
        sockref_release(b);
        sockref_release(a);
        sockref_registry_cleanup_all(first, NULL);
    }
    free_registries();
}

static void on_displaced(sockref *ref, int event, void *user)
{
    (void)ref;
    if (event == SOCKREF_WATCH_DISPLACED)
        atomic_store((atomic_bool *)user, true);
}

static bool was_told(void *told)
{
    return atomic_load((atomic_bool *)told);
}

static bool is_complete(void *leaf)
{
    return faccessat(AT_FDCWD, at(leaf), F_OK, AT_SYMLINK_NOFOLLOW) == 0 && can_dial(at("a"));
}

/* Somebody removes what stands there, which the owner makes again: where a call fails, then at its
 * next look. Where the new socket can't have the number of the old one, that is told. */
static void mend(const char *suffix)
{
    static atomic_bool told;
    char leaf[40];
    sockref *a;

    snprintf(leaf, sizeof leaf, suffix[0] ? ".a%s" : "a", suffix);
    if (make_registries() && (a = listen_at(first, "a", NULL))) {
        bool watched = sockref_set_watch(a, on_displaced, &told, NULL) == 0;

        unlink(at(leaf));
        if (watched && sockref_is_active(a) && faults_wait(was_told, &told, 1000) &&
            !faults_is_of("replace") && !faults_wait(is_complete, leaf, 5000) &&
            sockref_is_active(a))
            faults_wrong("%s was removed, and is not made again", leaf);
        sockref_release(a);
    }
    free_registries();
}

static void mend_socket(void)
{
    mend("");
}

static void mend_control(void)
{
    mend(".srctl");
}

static void mend_lock(void)
{
    mend(".srlock");
}

static void default_names(void)
{
    sockref *a = NULL, *b = NULL;

    if (make_registries()) {
        a = faults_listen(first, NULL, NULL);
        b = faults_listen(second, NULL, NULL);
        sockref_release(a);
        sockref_release(b);
    }
    free_registries();
}

static void adopt(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    sockref *ref = NULL;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", at("a"));
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 5) < 0)
        faults_wrong("bind: %s", strerror(errno));
    if (make_registries() && sockref_registry_register_new(first, at("a"), fd, &ref) == 0) {
        sockref_release(ref);
    } else {
        if (!can_dial(at("a")))
            faults_wrong("what was not adopted is not the caller's any more");
        close(fd);
        unlink(at("a"));
    }
    free_registries();
}

static void bind_only(void)
{
    sockref_options *own = sockref_options_new();
    sockref *ref = NULL;

    sockref_options_set_int(own, SOCKREF_OPT_BIND_ONLY, 1);
    if (make_registries())
        ref = faults_listen(first, at("a"), own);
    if (ref && can_dial(at("a")))
        faults_wrong("what is only bound takes connections");
    if (ref && sockref_serve(ref, sockref_echo_handlers(), NULL) == 0 && !can_dial(at("a")))
        faults_wrong("it is served, and nobody can connect: %s", strerror(errno));
    sockref_release(ref);
    sockref_options_free(own);
    free_registries();
}

/* The files of the dead may stay where the start that would clear them away fails. */
static void recover_at(const char *leaf)
{
    start_and_release_at(leaf);
    faults_may_leave = true;
}

static void recover_dead(void)
{
    recover_at("a");
}

static void recover_dead_in_sticky(void)
{
    recover_at("sticky/a");
}

const struct faults_scenario faults_scenarios[] = {
    {"first start", set_up, start_and_release},
    {"start and release", set_up_guarded, start_and_release},
    {"start alone", set_up_alone, start_and_release},
    {"join and release", set_up_guarded, join_and_release},
    {"hand over", set_up_guarded, hand_over},
    {"lose and start", set_up_guarded, lose_and_start},
    {"serve and linger", set_up_guarded, serve_and_linger},
    {"exclusive", set_up_guarded, exclusive},
    {"recover", set_up_dead, recover_dead},
    {"recover alone", set_up_dead_alone, recover_dead},
    {"sticky", set_up_guarded, start_in_sticky},
    {"join in sticky", set_up_guarded, join_in_sticky},
    {"hand over in sticky", set_up_guarded, hand_over_in_sticky},
    {"recover in sticky", set_up_dead_sticky, recover_dead_in_sticky},
    {"sweep", set_up_dead_defaults, sweep_directory},
    {"adopt", set_up_guarded, adopt},
    {"bind only", set_up_guarded, bind_only},
    {"hand over twice", set_up_guarded, hand_over_twice},
    {"end without heir", set_up_guarded, end_without_heir},
    {"shut down", set_up_guarded, shut_down},
    {"delayed", set_up_guarded, delayed},
    {"mend socket", set_up_guarded, mend_socket},
    {"mend control socket", set_up_guarded, mend_control},
    {"mend lock file", set_up_guarded, mend_lock},
    {"default names", set_up_guarded, default_names},
    {"first join", set_up, join_and_release},
    {"alone in sticky", set_up_alone, start_in_sticky},
    {"recover alone in sticky", set_up_dead_alone_sticky, recover_dead_in_sticky},
    {"recover control", set_up_dead_control, recover_dead},
    {0},
};

/* ---- errno values ---- */

/* Of those that the system can answer: no ENOENT from where a file may be looked for, since it is
 * believed, and nothing from the wake of a loop, which can't fail. */
const int *faults_errnos(const char *member)
{
    static const struct {
        const char *member;
        int errnos[8];
    } table[] = {
        {"openat", {EMFILE, ENFILE, EACCES, ENOMEM, ELOOP, EIO, EPERM}},
        {"close", {EIO, EINTR, ENOSPC}},
        {"fstat", {EIO, EOVERFLOW, ENOMEM, EACCES}},
        {"fstatat", {EIO, EACCES, ELOOP, ENOMEM, ENOTDIR}},
        {"fchmod", {EINVAL, EPERM, EROFS, EIO}},
        {"chmod", {EPERM, EROFS, ENOENT, EIO}},
        {"mkdir", {EACCES, EROFS, ENOSPC, EDQUOT}},
        {"unlinkat", {EROFS, EACCES, EPERM, EIO, EBUSY, ENOMEM}},
        {"rename_new", {EINVAL, EACCES, EIO, ENOSPC, EROFS, EBUSY}},
        {"duplicate", {EMFILE, EINVAL}},
        {"replace", {EMFILE, EBUSY, EINTR}},
        {"lock", {ENOLCK, EINTR, EAGAIN, EACCES, EIO}},
        {"pread", {EIO, EINTR, ENOMEM, EISDIR}},
        {"pwrite", {ENOSPC, EDQUOT, EIO, EINTR, EFBIG, EPERM}},
        {"fstatfs", {EIO, ENOSYS, EINTR, ENOMEM}},
        {"birth", {ENOSYS, EIO, EINVAL, EPERM}},
        {"touch", {EROFS, EACCES, EPERM}},
        {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT, EPERM}},
        {"bind", {EACCES, EROFS, ENOSPC, EADDRINUSE, ENOMEM, EDQUOT, ENOENT}},
        {"listen", {ENOBUFS, EOPNOTSUPP, EADDRINUSE, EACCES}},
        {"connect", {EACCES, EAGAIN, ENOENT, ENOMEM, EINTR, EPROTOTYPE}},
        {"accept4", {EMFILE, ECONNABORTED, EAGAIN, ENOMEM, ENFILE, EPERM}},
        {"shutdown", {ENOTCONN, ENOMEM}},
        {"getsockopt", {EBADF, ENOBUFS, ENOPROTOOPT}},
        {"setsockopt", {ENOBUFS, EBADF, ENOPROTOOPT}},
        {"getsockname", {ENOBUFS, EBADF}},
        {"getpeername", {ENOBUFS, EBADF, ENOTCONN}},
        {"recv", {ECONNRESET, EAGAIN, EINTR, ENOMEM}},
        {"send", {EPIPE, EAGAIN, ENOBUFS, ECONNRESET, EINTR}},
        {"sendmsg", {EPIPE, EAGAIN, ENOBUFS, ETOOMANYREFS, EINTR, ENOMEM, ECONNRESET}},
        {"recvmsg", {EAGAIN, ECONNRESET, ENOMEM, EINTR, EMFILE}},
        {"socketpair", {EMFILE, ENFILE, ENOBUFS, ENOMEM}},
        {"pidfd_open", {ENOSYS, EMFILE, EPERM, ENODEV, ENOMEM}},
        {"epoll_create1", {EMFILE, ENOMEM, ENFILE}},
        {"epoll_ctl", {ENOMEM, ENOSPC, EPERM, ELOOP}},
        {"epoll_wait", {EINTR}},
        {"poll", {EINTR, ENOMEM, EAGAIN}},
        {"eventfd", {EMFILE, ENFILE, ENOMEM, ENODEV}},
        {"timerfd_create", {EMFILE, ENOMEM, ENFILE}},
        {"timerfd_settime", {EINTR, ECANCELED}},
        {"pipe2", {EMFILE, ENFILE}},
        {"read", {EAGAIN, EINTR, EIO, EISDIR}},
        {"thread_create", {EAGAIN, EPERM, ENOMEM}},
        {"spawn_guard", {EAGAIN, ENOMEM, ENOENT, EACCES, EMFILE, ENOEXEC}},
    };
    static const int none[] = {0};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].member, member) == 0)
            return table[i].errnos;
    return none;
}
