/* What the suites of the guard share: a process that is guarded, step by step, and its names. */
#ifndef TEST_GUARD_HELPERS_H
#define TEST_GUARD_HELPERS_H

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/guard.h"
#include "name/lockfile.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
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
static inline void step(int number)
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

static inline int open_process(pid_t pid)
{
    int fd = sr_sys.pidfd_open(pid, 0);

    ck_assert_msg(fd >= 0, "process %d: %m", (int)pid);
    return fd;
}

static inline int send_signal(int process, int number)
{
    return (int)syscall(SYS_pidfd_send_signal, process, number, NULL, 0);
}

static inline void await_stop(pid_t pid)
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

static inline bool has_ended(int process, int timeout_ms)
{
    struct pollfd poll_end = {.fd = process, .events = POLLIN};

    return poll(&poll_end, 1, timeout_ms) > 0;
}

/* The number that a host tells next. */
static inline int hear(struct host *host)
{
    struct pollfd told = {.fd = host->line, .events = POLLIN};
    int number = 0;

    ck_assert_msg(poll(&told, 1, HARNESS_PATIENCE_MS) == 1, "the host is stuck");
    ck_assert_msg(read(host->line, &number, sizeof number) == sizeof number, "the host has failed");
    return number;
}

static inline int go_on(struct host *host)
{
    ck_assert_int_eq(write(host->line, "", 1), 1);
    return hear(host);
}

/* The one of the test is not meant. */
static inline void have_no_guard(void)
{
    sr_guard_after_fork();
    sr_fd_after_fork_in_child();
}

/* Start a process whose body's first step tells the guard's process id. */
static inline struct host begin(void (*body)(void *arg), void *arg)
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

static inline void kill_host(struct host *host)
{
    int status;

    ck_assert_int_eq(kill(host->pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(host->pid, &status, 0), host->pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    close(host->line);
}

static inline void await_guard(struct host *host)
{
    ck_assert_msg(has_ended(host->guard, HARNESS_PATIENCE_MS), "the guard has not ended");
    close(host->guard);
}

/* Kill it; what is there when its guard has ended is what is left. */
static inline void end(struct host *host)
{
    kill_host(host);
    await_guard(host);
}

static inline void kill_guard(struct host *host)
{
    ck_assert_int_eq(send_signal(host->guard, SIGKILL), 0);
    await_guard(host);
}

/* ---- names in a host ---- */

static inline void watch_name(struct name *name, const char *path, bool has_lock)
{
    name->path = path;
    CHECK(sr_place_open(path, &name->place) == 0);
    CHECK(sr_guard_watch(&name->guarded, &name->place, path, has_lock) == 0);
}

static inline void pin_name(struct name *name)
{
    struct stat info;

    CHECK(lstat(name->path, &info) == 0);
    sr_guard_pin(&name->guarded, info.st_dev, info.st_ino, -1);
}

static inline void open_name(struct name *name, const char *path)
{
    watch_name(name, path, false);
    name->listener = harness_bind(path);
    pin_name(name);
}

/* As an owner does, but for the record. */
static inline void own_name(struct name *name, const char *path)
{
    watch_name(name, path, true);
    CHECK(sr_lockfile_enter(&name->place, path, true, &name->lock) == 0);
    CHECK(sr_lockfile_take(&name->lock, path, SR_BYTE_OWNER) == 0);
    CHECK(sr_lockfile_take_slot(&name->lock, path, 1) > 0);
    name->listener = harness_bind(path);
    pin_name(name);
    sr_lockfile_leave(&name->lock);
}

static inline void forget_name(struct name *name)
{
    sr_guard_forget(&name->guarded);
    sr_place_close(&name->place);
}

static inline const char *numbered(int number)
{
    return harness_text("%s/n%04d", harness_dir(), number);
}

static inline unsigned files(void)
{
    return harness_files() + harness_beside();
}

static inline void open_one(void *arg)
{
    (void)arg;
    open_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

static inline void own_one(void *arg)
{
    (void)arg;
    own_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

#endif
