/* Failing calls. The wrappers are generated, one for each member of the table. */
#include "harness/faults.h"

#include "base/sys.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>

static struct sr_sys real;
static bool installed;
static _Atomic uint64_t calls[FAULTS_KINDS];
static _Atomic uint64_t armed; /* kinds */
static _Atomic uint64_t left;  /* calls until the one that fails; 0: it was the last */
static atomic_bool lasting, struck;
static atomic_int failure;
static struct faults_gate *_Atomic gates[FAULTS_KINDS];

static struct {
    void (*_Atomic act)(void *arg);
    void *arg;
} acts[FAULTS_KINDS];

static const char *const names[FAULTS_KINDS] = {
#define X(name) #name,
    FAULTS_EACH(X)
#undef X
};

/* Returns the errno to fail with, or 0. */
static int enter(enum faults_kind kind)
{
    struct faults_gate *gate = atomic_exchange(&gates[kind], NULL);
    void (*act)(void *) = atomic_exchange(&acts[kind].act, NULL);
    uint64_t before;

    atomic_fetch_add(&calls[kind], 1);
    if (gate) {
        sem_post(&gate->reached);
        while (sem_wait(&gate->go) < 0)
            continue;
    }
    if (act)
        act(acts[kind].arg);
    if (!(atomic_load(&armed) & FAULTS_BIT(kind)))
        return 0;
    before = atomic_load(&left);
    while (before > 0 && !atomic_compare_exchange_weak(&left, &before, before - 1))
        continue;
    if (before > 1 || (before == 0 && !atomic_load(&lasting)))
        return 0;
    atomic_store(&struck, true);
    return atomic_load(&failure);
}

#define WRAP(type, name, parameters, arguments, failed)                                            \
    static type do_##name parameters                                                               \
    {                                                                                              \
        int os_errno = enter(FAULTS_##name);                                                       \
                                                                                                   \
        if (os_errno) {                                                                            \
            errno = os_errno;                                                                      \
            return failed;                                                                         \
        }                                                                                          \
        return real.name arguments;                                                                \
    }

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(void *, realloc, (void *memory, size_t size), (memory, size), NULL)
WRAP(void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL)
WRAP(void *, mmap, (size_t size), (size), MAP_FAILED)
WRAP(int, openat, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode), -1)
WRAP(int, fstat, (int fd, struct stat *out), (fd, out), -1)
WRAP(int, fstatat, (int dir, const char *path, struct stat *out, int flags),
     (dir, path, out, flags), -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode), -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
WRAP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags), -1)
WRAP(int, rename_new, (int dir, const char *from, const char *to), (dir, from, to), -1)
WRAP(int, rename, (int dir, const char *from, const char *to), (dir, from, to), -1)
WRAP(int, link, (int dir, const char *from, const char *to), (dir, from, to), -1)
WRAP(int, duplicate, (int fd), (fd), -1)
WRAP(int, replace, (int fd, int old), (fd, old), -1)
WRAP(int, tame, (int fd), (fd), -1)
WRAP(int, lock, (int fd, int command, struct flock *value), (fd, command, value), -1)
WRAP(ssize_t, pread, (int fd, void *buffer, size_t length, off_t offset),
     (fd, buffer, length, offset), -1)
WRAP(ssize_t, pwrite, (int fd, const void *buffer, size_t length, off_t offset),
     (fd, buffer, length, offset), -1)
WRAP(int, fstatfs, (int fd, struct statfs *out), (fd, out), -1)
WRAP(int, birth, (int dir, const char *path, struct stat *out, uint64_t *out_ns),
     (dir, path, out, out_ns), -1)
WRAP(int, touch, (int dir, const char *path), (dir, path), -1)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(int, bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length),
     -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), -1)
WRAP(int, connect, (int fd, const struct sockaddr *address, socklen_t length),
     (fd, address, length), -1)
WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),
     (fd, address, length, flags), -1)
WRAP(int, shutdown, (int fd, int how), (fd, how), -1)
WRAP(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length),
     (fd, level, option, value, length), -1)
WRAP(int, setsockopt, (int fd, int level, int option, const void *value, socklen_t length),
     (fd, level, option, value, length), -1)
WRAP(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length),
     -1)
WRAP(int, getpeername, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length),
     -1)
WRAP(ssize_t, recv, (int fd, void *buffer, size_t length, int flags), (fd, buffer, length, flags),
     -1)
WRAP(ssize_t, send, (int fd, const void *buffer, size_t length, int flags),
     (fd, buffer, length, flags), -1)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(int, socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds), -1)
WRAP(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags), -1)
WRAP(int, epoll_create1, (int flags), (flags), -1)
WRAP(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event),
     (epoll, operation, fd, event), -1)
WRAP(int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout_ms),
     (epoll, events, count, timeout_ms), -1)
WRAP(int, poll, (struct pollfd * fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms), -1)
WRAP(int, eventfd, (unsigned initial, int flags), (initial, flags), -1)
WRAP(int, timerfd_create, (int clock, int flags), (clock, flags), -1)
WRAP(int, timerfd_settime,
     (int fd, int flags, const struct itimerspec *value, struct itimerspec *old),
     (fd, flags, value, old), -1)
WRAP(int, pipe2, (int fds[2], int flags), (fds, flags), -1)
WRAP(ssize_t, read, (int fd, void *buffer, size_t length), (fd, buffer, length), -1)
WRAP(ssize_t, write, (int fd, const void *buffer, size_t length), (fd, buffer, length), -1)
WRAP(int, thread_create,
     (pthread_t * out, const pthread_attr_t *attr, void *(*body)(void *), void *arg),
     (out, attr, body, arg), os_errno)
WRAP(int, spawn_guard, (const char *program, int command, int pidfd, pid_t *out_pid),
     (program, command, pidfd, out_pid), -os_errno)

/* A close that fails has closed all the same. */
static int do_close(int fd)
{
    int os_errno = enter(FAULTS_close), status = real.close(fd);

    if (!os_errno)
        return status;
    errno = os_errno;
    return -1;
}

const char *faults_name(enum faults_kind kind)
{
    return names[kind];
}

void faults_install(void)
{
    if (!installed)
        real = sr_sys;
    installed = true;
    faults_disarm();
    for (int i = 0; i < FAULTS_KINDS; i++) {
        atomic_store(&calls[i], 0);
        atomic_store(&gates[i], NULL);
        atomic_store(&acts[i].act, NULL);
    }
#define X(name) sr_sys.name = do_##name;
    FAULTS_EACH(X)
#undef X
}

void faults_clear(void)
{
    if (!installed)
        return;
    faults_disarm();
    sr_sys = real;
    installed = false;
}

uint64_t faults_calls(enum faults_kind kind)
{
    return atomic_load(&calls[kind]);
}

static void arm(uint64_t kinds, uint64_t nth, int os_errno, bool forever)
{
    atomic_store(&struck, false);
    atomic_store(&failure, os_errno);
    atomic_store(&lasting, forever);
    atomic_store(&left, nth);
    atomic_store(&armed, kinds);
}

void faults_arm(uint64_t kinds, uint64_t nth, int os_errno)
{
    arm(kinds, nth, os_errno, false);
}

void faults_arm_from(uint64_t kinds, uint64_t nth, int os_errno)
{
    arm(kinds, nth, os_errno, true);
}

void faults_disarm(void)
{
    atomic_store(&armed, 0);
}

bool faults_struck(void)
{
    return atomic_load(&struck);
}

void faults_hold(enum faults_kind kind, struct faults_gate *gate)
{
    sem_init(&gate->reached, 0, 0);
    sem_init(&gate->go, 0, 0);
    atomic_store(&gates[kind], gate);
}

void faults_wait_held(struct faults_gate *gate)
{
    while (sem_wait(&gate->reached) < 0)
        continue;
}

void faults_let_go(struct faults_gate *gate)
{
    sem_post(&gate->go);
}

void faults_before(enum faults_kind kind, void (*act)(void *arg), void *arg)
{
    acts[kind].arg = arg;
    atomic_store(&acts[kind].act, act);
}
