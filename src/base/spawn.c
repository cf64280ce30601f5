/*
 * Starting a helper process that the host does not notice: no SIGCHLD, and nothing that its wait()
 * could reap. A process between the two makes that so. It is cloned with no exit signal, so only a
 * wait for "clones" sees it, and ours does so at once; the helper is its child, and an orphan when
 * it ends. It can't be spared: exec gives a process the exit signal SIGCHLD. Where the host adopts
 * orphans (PR_SET_CHILD_SUBREAPER, or it is init) the helper becomes its child nevertheless.
 *
 * The process between shares the memory but not the descriptors, so it can put them in their places
 * by itself. The thread that made it stands still meanwhile, as with vfork(). All signals are
 * blocked, so no handler of the host's runs in it. It calls nothing that takes a lock: it may be
 * killed at any point, and the host would be left with it.
 */
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sanitizers must not think that the thread which stands still runs on another stack. */
#define UNWATCHED __attribute__((no_sanitize_address, no_sanitize_thread, noinline))

#if defined(__SANITIZE_THREAD__)
#define SANITIZE_THREAD 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZE_THREAD 1
#endif
#endif

/* The thread sanitizer has a clone() of its own that takes every one for a fork. */
#ifdef SANITIZE_THREAD
int __clone(int (*body)(void *), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

#define STACK_SIZE (256u * 1024u)
#define OUT_OF_WAY 10 /* above all places */

/* Lies in memory that is shared even where the clone gets a copy (valgrind, qemu). */
struct request {
    const char *program;
    int command, pidfd;
    posix_spawnattr_t attributes;
    int status; /* -errno */
    pid_t pid;
    _Alignas(64) char stack[STACK_SIZE];
};

/* Raw calls: sanitizers keep books of descriptors, and these are not the host's. */
UNWATCHED static int put(int fd, int place)
{
    return (int)syscall(SYS_dup3, fd, place, 0);
}

UNWATCHED static int out_of_way(int fd)
{
    return (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUT_OF_WAY);
}

/* Without /dev, as after a chroot(), what can be neither read nor written does as well. */
UNWATCHED static int open_null(void)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);

    return fd < 0 ? (int)syscall(SYS_openat, AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0) : fd;
}

UNWATCHED static int arrange(const struct request *request)
{
    int null = open_null();
    int command = out_of_way(request->command);
    int pidfd = request->pidfd < 0 ? -1 : out_of_way(request->pidfd);

    null = null < 0 ? -1 : out_of_way(null);
    if (null < 0 || command < 0 || (request->pidfd >= 0 && pidfd < 0))
        return -errno;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (put(null, fd) < 0)
            return -errno;
    if (put(command, SR_SPAWN_COMMAND) < 0)
        return -errno;
    if (pidfd < 0)
        syscall(SYS_close, SR_SPAWN_PIDFD);
    else if (put(pidfd, SR_SPAWN_PIDFD) < 0)
        return -errno;
    return 0;
}

UNWATCHED static int between(void *arg)
{
    static char name[] = "sockref-guard";
    char *const arguments[] = {name, NULL}, *const environment[] = {NULL};
    struct request *request = arg;
    int status = arrange(request);

    if (status == 0)
        status = -posix_spawn(&request->pid, request->program, NULL, &request->attributes,
                              arguments, environment);
    request->status = status;
    syscall(SYS_exit_group, 0);
    return 0;
}

static int describe_new_process(posix_spawnattr_t *out)
{
    sigset_t signals;
    int status = posix_spawnattr_init(out);

    if (status)
        return -status;
    sigfillset(&signals);
    posix_spawnattr_setsigmask(out, &signals);
    posix_spawnattr_setsigdefault(out, &signals);
    return -posix_spawnattr_setflags(out, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
}

/* Run the process between, all signals blocked, and reap it. */
static int run(struct request *request)
{
    pid_t pid = clone(between, request->stack + STACK_SIZE, CLONE_VM | CLONE_VFORK, request);
    pid_t reaped;

    if (pid < 0)
        return -errno;
    do
        reaped = waitpid(pid, NULL, __WCLONE);
    while (reaped < 0 && errno == EINTR);
    return request->status;
}

int sr_spawn_guard(const char *program, int command, int pidfd, pid_t *out_pid)
{
    struct request *request = mmap(NULL, sizeof *request, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int cancel_state, saved_errno = errno, status;
    sigset_t all, before;

    if (request == MAP_FAILED)
        return -errno;
    request->program = program;
    request->command = command;
    request->pidfd = pidfd;
    request->status = -EINTR; /* it was killed before it could tell */
    status = describe_new_process(&request->attributes);
    if (status < 0)
        goto unmap;
    sigfillset(&all);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = run(request);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    posix_spawnattr_destroy(&request->attributes);
    if (status == 0)
        *out_pid = request->pid;
    errno = saved_errno;

unmap:
    munmap(request, sizeof *request);
    return status;
}
