/* The guard: src/name/guard.c, src/guard and src/base/spawn.c, with real processes and signals. */
#include "name/guard.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/guard_wire.h"
#include "name/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a process that is guarded ---- */

struct host {
    pid_t pid;
    int line;  /* to it; each step of its body is answered by a number */
    int guard; /* pidfd of its guard, from the first step; -1 */
};

#define NAMES_MAX 1000

/* What the body of a host has; in the test they are nothing. */
static int line;
static struct name {
    struct sr_place place;
    struct sr_guarded guarded;
    struct sr_lockfile lock;
    const char *path;
    int listener;
} names[NAMES_MAX];

/* In a host: tell a number, and go on when the test says so. */
static void step(int number)
{
    char go;

    if (write(line, &number, sizeof number) != sizeof number || read(line, &go, 1) != 1)
        _exit(99);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            _exit(98);                                                                             \
        }                                                                                          \
    } while (0)

static int open_process(pid_t pid)
{
    int fd = sr_sys.pidfd_open(pid, 0);

    ck_assert_msg(fd >= 0, "process %d: %m", (int)pid);
    return fd;
}

static int send_signal(int process, int number)
{
    return (int)syscall(SYS_pidfd_send_signal, process, number, NULL, 0);
}

static bool has_ended(int process, int timeout_ms)
{
    struct pollfd poll_end = {.fd = process, .events = POLLIN};

    return poll(&poll_end, 1, timeout_ms) > 0;
}

/* The number that a host tells next. */
static int hear(struct host *host)
{
    struct pollfd told = {.fd = host->line, .events = POLLIN};
    int number = 0;

    ck_assert_msg(poll(&told, 1, HARNESS_PATIENCE_MS) == 1, "the host is stuck");
    ck_assert_msg(read(host->line, &number, sizeof number) == sizeof number, "the host has failed");
    return number;
}

static int go_on(struct host *host)
{
    ck_assert_int_eq(write(host->line, "", 1), 1);
    return hear(host);
}

/* The one of the test is not meant. */
static void have_no_guard(void)
{
    sr_guard_after_fork();
    sr_fd_after_fork_in_child();
}

/* Start a process whose body's first step tells the guard's process id. */
static struct host begin(void (*body)(void *arg), void *arg)
{
    struct host host;
    int fds[2];
    pid_t guard;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    host.pid = fork();
    if (host.pid == 0) {
        have_no_guard();
        close(fds[0]);
        line = fds[1];
        body(arg);
        _exit(0);
    }
    close(fds[1]);
    host.line = fds[0];
    guard = hear(&host);
    ck_assert_int_gt(guard, 0);
    host.guard = open_process(guard);
    return host;
}

static void kill_host(struct host *host)
{
    int status;

    ck_assert_int_eq(kill(host->pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(host->pid, &status, 0), host->pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(host->line);
}

static void await_guard(struct host *host)
{
    ck_assert_msg(has_ended(host->guard, HARNESS_PATIENCE_MS), "the guard has not ended");
    close(host->guard);
}

/* Kill it; what is there when its guard has ended is what is left. */
static void end(struct host *host)
{
    kill_host(host);
    await_guard(host);
}

/* ---- names in a host ---- */

static void watch_name(struct name *name, const char *path, bool has_lock)
{
    name->path = path;
    CHECK(sr_place_open(path, &name->place) == 0);
    CHECK(sr_guard_watch(&name->guarded, &name->place, path, has_lock) == 0);
}

static void pin_name(struct name *name)
{
    struct stat info;

    CHECK(lstat(name->path, &info) == 0);
    sr_guard_pin(&name->guarded, info.st_dev, info.st_ino, -1);
}

static void open_name(struct name *name, const char *path)
{
    watch_name(name, path, false);
    name->listener = harness_bind(path);
    pin_name(name);
}

/* As an owner does, but for the record. */
static void own_name(struct name *name, const char *path)
{
    watch_name(name, path, true);
    CHECK(sr_lockfile_enter(&name->place, path, true, &name->lock) == 0);
    CHECK(sr_lockfile_take(&name->lock, path, SR_BYTE_OWNER) == 0);
    CHECK(sr_lockfile_take_slot(&name->lock, path, 1) > 0);
    name->listener = harness_bind(path);
    pin_name(name);
    sr_lockfile_leave(&name->lock);
}

static void forget_name(struct name *name)
{
    sr_guard_forget(&name->guarded);
    sr_place_close(&name->place);
}

static const char *numbered(int number)
{
    return harness_text("%s/n%04d", harness_dir(), number);
}

static unsigned files(void)
{
    return harness_files() + harness_beside();
}

/* ---- after SIGKILL ---- */

static void open_one(void *arg)
{
    (void)arg;
    open_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

static void own_one(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

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

/* ---- guards that fail ---- */

static void kill_guard(struct host *host)
{
    ck_assert_int_eq(send_signal(host->guard, SIGKILL), 0);
    await_guard(host);
}

static void open_two(void *arg)
{
    pid_t guard;

    (void)arg;
    own_name(&names[0], harness_at("a"));
    open_name(&names[1], harness_at("forgotten"));
    guard = sr_guard_status();
    step(guard);
    sr_guard_forget(&names[1].guarded);
    own_name(&names[2], harness_at("b"));
    CHECK(sr_guard_status() != guard);
    step(sr_guard_status());
}

START_TEST(a_dead_guard_is_replaced_and_told_all)
{
    struct host host = begin(open_two, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert_uint_eq(files(), 1);
    ck_assert(harness_is_socket(harness_at("forgotten")));
}
END_TEST

static void pin_late(void *arg)
{
    (void)arg;
    watch_name(&names[0], harness_at("a"), false);
    names[0].listener = harness_bind(harness_at("a"));
    step(sr_guard_status());
    pin_name(&names[0]);
    step(sr_guard_status());
}

START_TEST(a_pin_notices_it_too)
{
    struct host host = begin(pin_late, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static pid_t pid_of(int process)
{
    FILE *stream = fopen(harness_text("/proc/self/fdinfo/%d", process), "r");
    char text[64];
    int pid = 0;

    ck_assert_ptr_nonnull(stream);
    while (fgets(text, sizeof text, stream))
        sscanf(text, "Pid: %d", &pid);
    fclose(stream);
    return pid;
}

static void await_stop(pid_t pid)
{
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);
    const char *path = harness_text("/proc/%d/stat", (int)pid);
    char state = 0;

    while (state != 'T') {
        FILE *stream = fopen(path, "r");

        ck_assert_ptr_nonnull(stream);
        ck_assert_int_eq(fscanf(stream, "%*d (%*[^)]) %c", &state), 1);
        fclose(stream);
        ck_assert_uint_lt(sr_clock_ns(), deadline);
        sched_yield();
    }
}

static void open_until_replaced(void *arg)
{
    pid_t guard;
    int i = 0;

    (void)arg;
    own_name(&names[i++], numbered(0));
    guard = sr_guard_status();
    step(guard);
    while (sr_guard_status() == guard) {
        CHECK(i < NAMES_MAX - 1);
        open_name(&names[i], numbered(i));
        forget_name(&names[i]); /* what is not told of these does not matter */
        CHECK(unlink(numbered(i)) == 0);
        close(names[i].listener);
        i++;
    }
    own_name(&names[i], numbered(i));
    step(sr_guard_status());
    step(0);
}

START_TEST(a_stopped_guard_is_replaced)
{
    struct host host = begin(open_until_replaced, NULL);
    struct host old = host;

    ck_assert_int_eq(send_signal(old.guard, SIGSTOP), 0);
    await_stop(pid_of(old.guard));
    host.guard = open_process(go_on(&host));
    /* The old one wakes up, finds itself alone and ends; the names are not dead. */
    ck_assert_int_eq(send_signal(old.guard, SIGCONT), 0);
    await_guard(&old);
    ck_assert_uint_eq(harness_sockets(), 2);
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

START_TEST(it_is_not_terminated_while_its_parent_lives)
{
    static const int signals[] = {SIGTERM, SIGINT,  SIGHUP,  SIGPIPE,
                                  SIGQUIT, SIGUSR1, SIGALRM, SIGTSTP};
    struct host host = begin(own_one, NULL);

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        ck_assert_int_eq(send_signal(host.guard, signals[i]), 0);
    ck_assert(!has_ended(host.guard, 50));
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

/* ---- what the host sees of it ---- */

static atomic_int children_ended;

static void count_child(int number)
{
    (void)number;
    atomic_fetch_add(&children_ended, 1);
}

static void be_a_host_with_children(void *arg)
{
    void (*handler)(int) = *(void (**)(int))arg;
    struct sigaction before;

    CHECK(signal(SIGCHLD, handler) != SIG_ERR);
    own_name(&names[0], harness_at("a"));
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    step(sr_guard_status());
    own_name(&names[1], harness_at("b")); /* by another one */
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    CHECK(atomic_load(&children_ended) == 0);
    CHECK(sigaction(SIGCHLD, NULL, &before) == 0 && before.sa_handler == handler);
    step(sr_guard_status());
}

static void (*const handlers[])(int) = {count_child, SIG_IGN, SIG_DFL};

START_TEST(the_host_has_no_child)
{
    struct host host = begin(be_a_host_with_children, (void *)&handlers[_i]);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void be_an_odd_host(void *arg)
{
    sigset_t all;

    line = fcntl(line, F_DUPFD_CLOEXEC, 100);
    CHECK(setenv("LD_PRELOAD", "", 1) == 0);
    CHECK(dup2(0, 4) == 4 && dup2(0, 5) == 5 && dup2(0, 77) == 77); /* not close-on-exec */
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_pidfd_open), 1, arg ? ENOSYS : 0);
    CHECK(chdir(harness_dir()) == 0);
    open_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

static const char *link_of(pid_t pid, const char *what)
{
    static char target[512];
    ssize_t length =
        readlink(harness_text("/proc/%d/%s", (int)pid, what), target, sizeof target - 1);

    target[length < 0 ? 0 : length] = '\0';
    return target;
}

/* Wait until it reads what it was told: it is prepared then. */
static void await_sleep(pid_t pid)
{
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);

    while (strncmp(link_of(pid, "fd/5"), harness_dir(), strlen(harness_dir())) != 0) {
        ck_assert_uint_lt(sr_clock_ns(), deadline);
        sched_yield();
    }
}

static unsigned count_descriptors(pid_t pid)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += link_of(pid, harness_text("fd/%d", fd))[0] != '\0';
    return count;
}

static uint64_t status_of(pid_t pid, const char *format)
{
    FILE *stream = fopen(harness_text("/proc/%d/status", (int)pid), "r");
    unsigned long value = 0;
    char text[256];

    ck_assert_ptr_nonnull(stream);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    while (fgets(text, sizeof text, stream))
        sscanf(text, format, &value);
#pragma GCC diagnostic pop
    fclose(stream);
    return value;
}

START_TEST(it_inherits_nothing)
{
    struct host host = begin(be_an_odd_host, _i ? harness_dir : NULL);
    pid_t pid = pid_of(host.guard);
    char byte;
    int fd;

    await_sleep(pid);
    ck_assert_int_eq(getsid(pid), pid);
    ck_assert_int_eq(getpgid(pid), pid);
    ck_assert_str_eq(link_of(pid, "cwd"), "/");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(link_of(pid, harness_text("fd/%d", i)), "/dev/null");
    ck_assert_int_eq(strncmp(link_of(pid, "fd/3"), "socket:", 7), 0);
    if (_i)
        ck_assert_str_ne(link_of(pid, "fd/4"), "anon_inode:[pidfd]");
    else
        ck_assert_str_eq(link_of(pid, "fd/4"), "anon_inode:[pidfd]");
    ck_assert_uint_eq(status_of(pid, "SigBlk: %lx"), 0);
    fd = open(harness_text("/proc/%d/environ", (int)pid), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, &byte, 1), 0);
    close(fd);
    /* its own five, the directory and the pin */
    while (count_descriptors(pid) < 7 - (unsigned)(_i > 0))
        sched_yield();
    ck_assert_uint_eq(count_descriptors(pid), 7 - (unsigned)(_i > 0));
    end(&host);
}
END_TEST

/* Sanitizers, and libraries, bring memory of their own: what is meant is the static program. */
static bool is_static(pid_t pid)
{
    FILE *stream = fopen(harness_text("/proc/%d/maps", (int)pid), "r");
    bool has_library = false;
    char text[512];

    ck_assert_ptr_nonnull(stream);
    while (fgets(text, sizeof text, stream))
        has_library |= strstr(text, ".so") != NULL;
    fclose(stream);
    return !has_library;
}

START_TEST(it_is_small)
{
    struct host host = begin(own_one, NULL);
    pid_t pid = pid_of(host.guard);

    await_sleep(pid);
    ck_assert_uint_gt(status_of(pid, "VmRSS: %lu kB"), 0);
    if (is_static(pid))
        ck_assert_uint_lt(status_of(pid, "VmRSS: %lu kB"), 1024);
    end(&host);
}
END_TEST

START_TEST(by_hand_it_does_nothing)
{
    const char *program = getenv("SOCKREF_GUARD");
    char text[256];
    FILE *stream;
    int status;

    if (!program)
        return;
    stream = popen(harness_text("%s 2>&1 3>&-", program), "r");
    ck_assert_ptr_nonnull(stream);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, stream));
    ck_assert_int_eq(strncmp(text, "usage: ", 7), 0);
    ck_assert_ptr_null(fgets(text, sizeof text, stream));
    status = pclose(stream);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
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

/* ---- failures ---- */

static struct sr_place place;
static struct sr_guarded guarded[NAMES_MAX];

static void open_place(void)
{
    have_no_guard();
    harness_assert_ok(sr_place_open(harness_at("a"), &place));
    faults_install();
}

static int watch(int number)
{
    return sr_guard_watch(&guarded[number], &place, harness_at("a"), false);
}

/* The guard of the test itself ends with it. */
START_TEST(a_missing_guard_is_told)
{
    static const char *const named[] = {"/nonexistent", "sockref-guard", "/"};
    const char *before = harness_text("%s", getenv("SOCKREF_GUARD"));

    open_place();
    ck_assert_int_eq(sr_guard_status(), 0);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", named[_i], 1), 0);
    harness_assert_fails(watch(0), _i == 2 ? -EACCES : SOCKREF_EUNSUPPORTED);
    ck_assert_int_eq(sr_guard_status(), _i == 2 ? -EACCES : SOCKREF_EUNSUPPORTED);
    sr_guard_pin(&guarded[0], 1, 2, -1);
    sr_guard_forget(&guarded[0]);
    ck_assert_uint_eq(sr_fd_count(), 1);
    ck_assert_int_eq(setenv("SOCKREF_GUARD", before, 1), 0);
    harness_assert_ok(watch(0));
    ck_assert_int_gt(sr_guard_status(), 0);
}
END_TEST

static const struct {
    enum faults_kind kind;
    int os_errno;
} failures[] = {
    {FAULTS_spawn_guard, EAGAIN},
    {FAULTS_spawn_guard, ENOMEM},
    {FAULTS_socketpair, EMFILE},
};

START_TEST(a_guard_that_cannot_be_started_is_told)
{
    int status = -failures[_i].os_errno;

    open_place();
    faults_arm(FAULTS_BIT(failures[_i].kind), 1, failures[_i].os_errno);
    harness_assert_fails(watch(0), status);
    ck_assert(faults_struck());
    ck_assert_int_eq(sr_guard_status(), status);
    ck_assert_uint_eq(sr_fd_count(), 1);
    harness_assert_ok(watch(0));
    ck_assert_int_gt(sr_guard_status(), 0);
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

/* Room for the end of a name is made when it begins. */
START_TEST(a_name_too_many_for_memory_is_told)
{
    int count = 0;

    open_place();
    faults_arm(FAULTS_BIT(FAULTS_realloc), 1, ENOMEM);
    while (!faults_struck() && count < NAMES_MAX)
        watch(count++);
    ck_assert(faults_struck());
    harness_assert_error(-ENOMEM);
    ck_assert_uint_eq(guarded[count - 1].id, 0);
    harness_assert_ok(watch(count - 1));
    for (int i = 0; i < count; i++)
        sr_guard_forget(&guarded[i]);
}
END_TEST

static const int refusals[] = {EPIPE, ECONNRESET, EAGAIN, EINTR, ENOBUFS, ETOOMANYREFS};

#define REFUSALS ((int)(sizeof refusals / sizeof refusals[0]))

START_TEST(a_message_that_fails_is_sent_again)
{
    struct stat info;
    int fd, guard;

    open_place();
    harness_assert_ok(watch(0));
    guard = sr_guard_status();
    fd = harness_bind(harness_at("a"));
    ck_assert_int_eq(lstat(harness_at("a"), &info), 0);
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino, -1);
    ck_assert(faults_struck());
    ck_assert(guarded[0].is_told && guarded[0].is_pin_told);
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    harness_assert_ok(watch(1));
    ck_assert(faults_struck());
    ck_assert(guarded[1].is_told);
    ck_assert_int_eq(sr_guard_status(), guard); /* it was there after all */
    sr_guard_forget(&guarded[0]);
    sr_guard_forget(&guarded[1]);
    ck_assert_uint_eq(sr_fd_count(), 2);
    close(fd);
}
END_TEST

/* A release waits for nobody. */
START_TEST(an_end_that_cannot_be_told_is_told_later)
{
    uint64_t before;
    int guard;

    open_place();
    harness_assert_ok(watch(0));
    harness_assert_ok(watch(1));
    guard = sr_guard_status();
    faults_arm(FAULTS_BIT(FAULTS_sendmsg), 1, refusals[_i]);
    sr_guard_forget(&guarded[0]);
    ck_assert(faults_struck());
    ck_assert_uint_eq(faults_calls(FAULTS_spawn_guard), 1);
    ck_assert_uint_eq(faults_calls(FAULTS_poll), 0);
    before = faults_calls(FAULTS_sendmsg);
    harness_assert_ok(watch(2));
    if (refusals[_i] == EPIPE || refusals[_i] == ECONNRESET) {
        ck_assert_int_ne(sr_guard_status(), guard);
        ck_assert_uint_eq(faults_calls(FAULTS_sendmsg), before + 2); /* what is watched over */
    } else {
        ck_assert_int_eq(sr_guard_status(), guard);
        sr_guard_forget(&guarded[1]);
        ck_assert_uint_eq(faults_calls(FAULTS_sendmsg), before + 2 + (refusals[_i] != EINTR));
    }
    ck_assert(guarded[2].is_told);
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

static size_t control_length;

static ssize_t spy(int fd, const struct msghdr *message, int flags)
{
    control_length = message->msg_controllen;
    return sendmsg(fd, message, flags);
}

/* Else a number that was pinned could be another inode's later. */
START_TEST(only_the_inode_itself_is_pinned)
{
    struct stat info;
    int fd = harness_bind(harness_at("a"));

    ck_assert_int_eq(lstat(harness_at("a"), &info), 0);
    open_place();
    harness_assert_ok(watch(0));
    sr_sys.sendmsg = spy;
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino + 1, -1);
    ck_assert_uint_eq(control_length, 0);
    sr_guard_pin(&guarded[0], info.st_dev, info.st_ino, -1);
    ck_assert_uint_gt(control_length, 0);
    sr_guard_forget(&guarded[0]);
    ck_assert_uint_eq(control_length, 0);
    ck_assert_uint_eq(sr_fd_count(), 2);
    close(fd);
}
END_TEST

/* None of them is of use, and that costs no more than it must. */
START_TEST(guards_are_not_started_for_ever)
{
    uint64_t before = sr_clock_ns();

    open_place();
    faults_arm_from(FAULTS_BIT(FAULTS_sendmsg), 1, EPIPE);
    for (int i = 0; i < 50; i++)
        ck_assert_int_lt(watch(i), 0);
    ck_assert_uint_le(faults_calls(FAULTS_spawn_guard),
                      5 * (2 + (sr_clock_ns() - before) / 1000000000u));
    ck_assert_int_lt(sr_guard_status(), 0);
    ck_assert_uint_eq(sr_fd_count(), 1);
    faults_disarm();
}
END_TEST

/* ---- threads ---- */

static void churn(unsigned number, void *arg)
{
    struct sr_guarded name;

    (void)arg;
    for (int i = 0; i < 300; i++) {
        CHECK(sr_guard_watch(&name, &place, harness_at("a"), number % 2) == 0);
        sr_guard_pin(&name, 1, number, -1);
        sr_guard_forget(&name);
    }
}

START_TEST(threads_share_one)
{
    open_place();
    harness_in_threads(8, churn, NULL);
    ck_assert_uint_eq(faults_calls(FAULTS_socketpair), faults_calls(FAULTS_spawn_guard));
    ck_assert_uint_eq(sr_fd_count(), 2);
}
END_TEST

static void *watch_in_thread(void *arg)
{
    return (void *)(intptr_t)sr_guard_watch(arg, &place, harness_at("a"), false);
}

static void open_while_one_is_started(void *arg)
{
    struct faults_gate gate;
    pthread_t thread, other;
    struct sr_guarded late, later;
    void *status;

    (void)arg;
    CHECK(sr_place_open(harness_at("a"), &place) == 0);
    open_name(&names[0], harness_at("forgotten"));
    watch_name(&names[1], harness_at("b"), false);
    names[1].listener = harness_bind(harness_at("b"));
    step(sr_guard_status());
    faults_install();
    faults_hold(FAULTS_spawn_guard, &gate);
    CHECK(pthread_create(&thread, NULL, watch_in_thread, &late) == 0);
    faults_wait_held(&gate);
    CHECK(pthread_create(&other, NULL, watch_in_thread, &later) == 0);
    sr_guard_forget(&names[0].guarded);
    pin_name(&names[1]);
    CHECK(sr_guard_status() == 0);
    faults_let_go(&gate);
    CHECK(pthread_join(thread, &status) == 0 && !status);
    CHECK(pthread_join(other, &status) == 0 && !status);
    CHECK(faults_calls(FAULTS_spawn_guard) == 1);
    step(sr_guard_status());
}

/* A release does not wait for it, and nothing that happens meanwhile is lost. */
START_TEST(what_happens_while_one_is_started_is_told)
{
    struct host host = begin(open_while_one_is_started, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert(harness_is_socket(harness_at("forgotten")));
    ck_assert(!harness_exists(harness_at("b")));
}
END_TEST

/* ---- what it reads ---- */

static int send_raw(int fd, const void *bytes, size_t length, int passed)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)bytes, length};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};

    if (passed >= 0) {
        packet.msg_control = &control;
        packet.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){CMSG_LEN(sizeof passed), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
    }
    return (int)sendmsg(fd, &packet, MSG_NOSIGNAL);
}

/* A guard without a process, so its parent is dead when the socket ends. */
static int start_bare(int *out_guard)
{
    int fds[2];
    pid_t pid = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(sr_spawn_guard(getenv("SOCKREF_GUARD"), fds[1], -1, &pid), 0);
    close(fds[1]);
    *out_guard = open_process(pid);
    return fds[0];
}

/* Tell one name and its pin in so many bytes, and wait for the end. */
static void tell_and_end(enum sr_guard_op op, int32_t more, int passed)
{
    struct sr_guard_message message = {.version = SR_GUARD_VERSION, .op = op, .id = 1};
    const char *path = harness_at("a");
    size_t length = SR_GUARD_HEAD + strlen(path) + 1;
    int guard, fd = start_bare(&guard);
    struct stat info;

    ck_assert_int_eq(lstat(path, &info), 0);
    strcpy(message.path, path);
    ck_assert_int_gt(send_raw(fd, "x", 1, -1), 0);
    ck_assert_int_gt(send_raw(fd, &message, (size_t)((int32_t)length + more), passed), 0);
    message.op = SR_GUARD_PIN;
    message.device = info.st_dev;
    message.inode = info.st_ino;
    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, -1), 0);
    message.op = SR_GUARD_FORGET;
    message.id = 2;
    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, passed), 0);
    close(fd);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    close(guard);
}

START_TEST(nonsense_is_not_heeded)
{
    int32_t of_path = (int32_t)strlen(harness_at("a")) + 1;
    int file;

    harness_write(harness_at("file"), "x");
    file = open(harness_at("file"), O_PATH | O_CLOEXEC);
    harness_leave_dead(harness_at("a"));
    harness_assert_ok(sr_place_open(harness_at("a"), &place));
    tell_and_end(SR_GUARD_WATCH, -(int32_t)SR_GUARD_HEAD - of_path + 3, place.dir);
    tell_and_end(SR_GUARD_WATCH, -of_path - 1, place.dir);
    tell_and_end(SR_GUARD_WATCH, -of_path, place.dir);
    tell_and_end(SR_GUARD_WATCH, -1, place.dir);
    tell_and_end(SR_GUARD_WATCH, 1, place.dir);
    tell_and_end(SR_GUARD_WATCH, 0, -1);
    tell_and_end(SR_GUARD_WATCH, 0, file);
    tell_and_end(SR_GUARD_FORGET, 0, place.dir);
    tell_and_end(77, 0, place.dir);
    ck_assert(harness_is_socket(harness_at("a")));
    tell_and_end(SR_GUARD_WATCH, 0, place.dir); /* what is meant is heeded */
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert(harness_exists(harness_at("file")));
    close(file);
    sr_place_close(&place);
}
END_TEST

/* Then the library is of another version: it is told at the next message that there is no guard. */
START_TEST(another_version_ends_it)
{
    struct sr_guard_message message = {.version = SR_GUARD_VERSION + 1};
    int guard, fd = start_bare(&guard);

    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, -1), 0);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    ck_assert_int_eq(send_raw(fd, &message, SR_GUARD_HEAD, -1), -1);
    close(guard);
    close(fd);
}
END_TEST

START_TEST(a_program_that_cannot_be_run_is_told)
{
    pid_t pid = 0;

    ck_assert_int_eq(sr_spawn_guard("/nonexistent", 0, -1, &pid), -ENOENT);
    ck_assert_int_eq(sr_spawn_guard(harness_dir(), 0, -1, &pid), -EACCES);
    ck_assert_int_eq(sr_spawn_guard("/bin/true", 999, -1, &pid), -EBADF);
    ck_assert_int_eq(pid, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
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
    tcase = harness_tcase_unchecked(suite, "left");
    tcase_add_test(tcase, what_was_forgotten_stays);
    tcase_add_test(tcase, without_a_lock_only_the_pinned_inode_is_removed);
    tcase_add_loop_test(tcase, another_file_at_the_path_stays, 0, 2);
    tcase_add_test(tcase, a_socket_that_is_still_bound_stays);
    tcase_add_test(tcase, a_dead_guard_is_replaced_and_told_all);
    tcase_add_test(tcase, what_happens_while_one_is_started_is_told);
    tcase = harness_tcase(suite, "guards");
    tcase_add_test(tcase, a_pin_notices_it_too);
    tcase_add_test(tcase, a_stopped_guard_is_replaced);
    tcase_add_test(tcase, it_is_not_terminated_while_its_parent_lives);
    tcase_add_loop_test(tcase, the_host_has_no_child, 0, 3);
    tcase_add_loop_test(tcase, it_inherits_nothing, 0, 2);
    tcase_add_test(tcase, it_is_small);
    tcase_add_test(tcase, by_hand_it_does_nothing);
    tcase_add_test(tcase, a_forked_childs_end_is_not_its_parents);
    tcase_add_test(tcase, what_a_child_holds_a_little_longer_is_removed_then);
    tcase_add_test(tcase, a_child_that_keeps_the_command_socket_hides_nothing);
    tcase_add_test(tcase, nonsense_is_not_heeded);
    tcase_add_test(tcase, another_version_ends_it);
    tcase_add_test(tcase, a_program_that_cannot_be_run_is_told);
    tcase = harness_tcase_unchecked(suite, "failures"); /* the guard of the test itself remains */
    tcase_add_loop_test(tcase, a_missing_guard_is_told, 0, 3);
    tcase_add_loop_test(tcase, a_guard_that_cannot_be_started_is_told, 0,
                        (int)(sizeof failures / sizeof failures[0]));
    tcase_add_test(tcase, a_name_too_many_for_memory_is_told);
    tcase_add_loop_test(tcase, a_message_that_fails_is_sent_again, 0, REFUSALS);
    tcase_add_loop_test(tcase, an_end_that_cannot_be_told_is_told_later, 0, REFUSALS);
    tcase_add_test(tcase, only_the_inode_itself_is_pinned);
    tcase_add_test(tcase, guards_are_not_started_for_ever);
    tcase_add_test(tcase, threads_share_one);
    return harness_run(suite);
}
