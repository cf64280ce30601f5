/*
 * The wrapped system calls: one wrapper for each member of the table of system calls, with a crash
 * point before it, and one after it if it changes something for others.
 */
#include "torture/crash.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH 8

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[];

int (*crash_hook)(unsigned member, uint64_t key, bool after);

static struct sr_sys real;
static enum crash_image image;
static _Thread_local uint64_t site; /* of the call that this thread makes */

/* ---- where a call is made ---- */

static bool is_thin(uint64_t address)
{
    const struct crash_range *range = crash_table->thin[image];

    for (int i = 0; i < CRASH_THIN && range[i].to != 0; i++)
        if (address >= range[i].from && address < range[i].to)
            return true;
    return false;
}

/* The innermost return address of this program that lies outside of its wrappers. */
static uint64_t find_site(void **frame)
{
    uint64_t address = 0;

    for (int depth = 0; depth < DEPTH; depth++) {
        void **next = frame[0];
        uintptr_t here = (uintptr_t)frame[1];

        if (here < (uintptr_t)__ehdr_start || here >= (uintptr_t)etext)
            break;
        address = here - (uintptr_t)__ehdr_start;
        if (!crash_table || !is_thin(address))
            break;
        if (next <= frame || (uintptr_t)next - (uintptr_t)frame > 1 << 20 || (uintptr_t)next % 8)
            break;
        frame = next;
    }
    return address;
}

/* All of what a point is. */
static uint64_t key_of(unsigned member, bool after)
{
    return site << 16 | (uint64_t)(member + 1) << 8 | (uint64_t)image << 1 | after;
}

unsigned crash_member_of(uint64_t key)
{
    return (unsigned)(key >> 8 & 0xff) - 1;
}

bool crash_is_after(uint64_t key)
{
    return key & 1;
}

enum crash_image crash_image_of(uint64_t key)
{
    return (enum crash_image)(key >> 1 & 0x7f);
}

uint64_t crash_site_of(uint64_t key)
{
    return key >> 16;
}

bool crash_is_site_in(uint64_t key, enum crash_function function)
{
    const struct crash_range *range = &crash_table->functions[crash_image_of(key)][function];

    return crash_site_of(key) >= range->from && crash_site_of(key) < range->to;
}

bool crash_is_in(enum crash_function function)
{
    return crash_is_site_in(key_of(0, false), function);
}

/* Returns an errno that the call is to fail with. */
static int pass(unsigned member, bool after)
{
    int saved_errno = errno, failure = 0;

    if (crash_hook)
        failure = crash_hook(member, key_of(member, after), after);
    else if (crash_table)
        crash_pass(key_of(member, after));
    errno = saved_errno;
    return failure;
}

/* ---- the wrappers ---- */

/* Type, name, whether it changes something for others, parameters, arguments. */
/* clang-format off */
#define CALLS(X)                                                                                   \
    X(int, openat, flags & O_CREAT, (int dir, const char *path, int flags, mode_t mode),           \
      (dir, path, flags, mode))                                                                    \
    X(int, close, 0, (int fd), (fd))                                                               \
    X(int, fstat, 0, (int fd, struct stat *out), (fd, out))                                        \
    X(int, fstatat, 0, (int dir, const char *path, struct stat *out, int flags),                   \
      (dir, path, out, flags))                                                                     \
    X(int, fchmod, 1, (int fd, mode_t mode), (fd, mode))                                           \
    X(int, chmod, 1, (const char *path, mode_t mode), (path, mode))                                \
    X(int, mkdir, 1, (const char *path, mode_t mode), (path, mode))                                \
    X(int, unlinkat, 1, (int dir, const char *path, int flags), (dir, path, flags))                \
    X(int, rename_new, 1, (int dir, const char *from, const char *to), (dir, from, to))            \
    X(int, rename, 1, (int dir, const char *from, const char *to), (dir, from, to))                \
    X(int, link, 1, (int dir, const char *from, const char *to), (dir, from, to))                  \
    X(int, duplicate, 0, (int fd), (fd))                                                           \
    X(int, replace, 1, (int fd, int old), (fd, old))                                               \
    X(int, tame, 1, (int fd), (fd))                                                                \
    X(int, lock, command == F_OFD_SETLK, (int fd, int command, struct flock *value),               \
      (fd, command, value))                                                                        \
    X(ssize_t, pread, 0, (int fd, void *buffer, size_t length, off_t offset),                      \
      (fd, buffer, length, offset))                                                                \
    X(ssize_t, pwrite, 1, (int fd, const void *buffer, size_t length, off_t offset),               \
      (fd, buffer, length, offset))                                                                \
    X(int, fstatfs, 0, (int fd, struct statfs *out), (fd, out))                                    \
    X(int, birth, 0, (int dir, const char *path, struct stat *out, uint64_t *out_ns),              \
      (dir, path, out, out_ns))                                                                    \
    X(int, touch, 1, (int dir, const char *path), (dir, path))                                     \
    X(int, socket, 0, (int domain, int type, int protocol), (domain, type, protocol))              \
    X(int, bind, 1, (int fd, const struct sockaddr *address, socklen_t length),                    \
      (fd, address, length))                                                                       \
    X(int, listen, 1, (int fd, int backlog), (fd, backlog))                                        \
    X(int, connect, 1, (int fd, const struct sockaddr *address, socklen_t length),                 \
      (fd, address, length))                                                                       \
    X(int, accept4, 1, (int fd, struct sockaddr *address, socklen_t *length, int flags),           \
      (fd, address, length, flags))                                                                \
    X(int, shutdown, 1, (int fd, int how), (fd, how))                                              \
    X(int, getsockopt, 0, (int fd, int level, int option, void *value, socklen_t *length),         \
      (fd, level, option, value, length))                                                          \
    X(int, setsockopt, 0, (int fd, int level, int option, const void *value, socklen_t length),    \
      (fd, level, option, value, length))                                                          \
    X(int, getsockname, 0, (int fd, struct sockaddr *address, socklen_t *length),                  \
      (fd, address, length))                                                                       \
    X(int, getpeername, 0, (int fd, struct sockaddr *address, socklen_t *length),                  \
      (fd, address, length))                                                                       \
    X(ssize_t, recv, 0, (int fd, void *buffer, size_t length, int flags),                          \
      (fd, buffer, length, flags))                                                                 \
    X(ssize_t, send, 1, (int fd, const void *buffer, size_t length, int flags),                    \
      (fd, buffer, length, flags))                                                                 \
    X(ssize_t, sendmsg, 1, (int fd, const struct msghdr *message, int flags),                      \
      (fd, message, flags))                                                                        \
    X(ssize_t, recvmsg, 0, (int fd, struct msghdr *message, int flags), (fd, message, flags))      \
    X(int, socketpair, 0, (int domain, int type, int protocol, int fds[2]),                        \
      (domain, type, protocol, fds))                                                               \
    X(int, pidfd_open, 0, (pid_t pid, unsigned flags), (pid, flags))                               \
    X(int, epoll_create1, 0, (int flags), (flags))                                                 \
    X(int, epoll_ctl, 0, (int epoll, int operation, int fd, struct epoll_event *event),            \
      (epoll, operation, fd, event))                                                               \
    X(int, epoll_wait, 0, (int epoll, struct epoll_event *events, int count, int timeout_ms),      \
      (epoll, events, count, timeout_ms))                                                          \
    X(int, poll, 0, (struct pollfd *fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms))  \
    X(int, eventfd, 0, (unsigned initial, int flags), (initial, flags))                            \
    X(int, timerfd_create, 0, (int clock, int flags), (clock, flags))                              \
    X(int, timerfd_settime, 0, (int fd, int flags, const struct itimerspec *value,                 \
      struct itimerspec *old),                                                                     \
      (fd, flags, value, old))                                                                     \
    X(int, pipe2, 0, (int fds[2], int flags), (fds, flags))                                        \
    X(ssize_t, read, 0, (int fd, void *buffer, size_t length), (fd, buffer, length))               \
    X(ssize_t, write, 0, (int fd, const void *buffer, size_t length), (fd, buffer, length))        \
    X(int, thread_create, 0, (pthread_t *out, const pthread_attr_t *attr,                          \
      void *(*body)(void *), void *arg),                                                           \
      (out, attr, body, arg))                                                                      \
    X(int, spawn_guard, 1, (const char *program, int command, int pidfd, pid_t *out_pid),          \
      (program, command, pidfd, out_pid))
/* clang-format on */

enum member {
#define X(type, name, effect, parameters, arguments) MEMBER_##name,
    CALLS(X)
#undef X
        MEMBERS
};

static const char *const member_names[MEMBERS] = {
#define X(type, name, effect, parameters, arguments) #name,
    CALLS(X)
#undef X
};

/* Most fail with -1 and errno. */
static int64_t failed(unsigned member, int failure)
{
    if (member == MEMBER_thread_create)
        return failure;
    if (member == MEMBER_spawn_guard)
        return -failure;
    errno = failure;
    return -1;
}

/* Where a call is made, for people. */
static const char *place(void)
{
    static _Thread_local char text[100];
    uint64_t distance;
    const char *function = symbols_find(image, site, &distance);

    snprintf(text, sizeof text, "%s+%#llx", function, (unsigned long long)distance);
    return text;
}

static void note(unsigned member, int64_t result)
{
    if (!crash_table)
        return;
    if (image == CRASH_GUARD && member == MEMBER_unlinkat && result == 0)
        crash_count(COUNT_guard_removals);
    if (member == MEMBER_close && result < 0 &&
        errno == EBADF) { /* the next time it is another one's */
        crash_wrong(COUNT_bad_closes, "descriptor closed twice, here by %s%s", place(),
                    crash_is_ending() ? ", while the process ends" : "");
        errno = EBADF;
    }
}

#define X(type, name, effect, parameters, arguments)                                               \
    __attribute__((noinline)) static type do_##name parameters                                     \
    {                                                                                              \
        uint64_t outer = site;                                                                     \
        int failure;                                                                               \
        type result;                                                                               \
                                                                                                   \
        site = find_site(__builtin_frame_address(0));                                              \
        failure = pass(MEMBER_##name, false);                                                      \
        if (failure && MEMBER_##name == MEMBER_close)                                              \
            (void)real.name arguments; /* one that fails has closed all the same */                \
        if (failure) {                                                                             \
            site = outer;                                                                          \
            return (type)failed(MEMBER_##name, failure);                                           \
        }                                                                                          \
        result = real.name arguments;                                                              \
        note(MEMBER_##name, result);                                                               \
        if (effect)                                                                                \
            pass(MEMBER_##name, true);                                                             \
        site = outer;                                                                              \
        return result;                                                                             \
    }
CALLS(X)
#undef X

const char *crash_member(unsigned member)
{
    return member < MEMBERS ? member_names[member] : "?";
}

void crash_wrap(enum crash_image what)
{
    image = what;
    if (!real.close)
        real = sr_sys;
    if (crash_table)
        crash_ablate(&real);
#define X(type, name, effect, parameters, arguments) sr_sys.name = do_##name;
    CALLS(X)
#undef X
}

/* ---- programs that begin by themselves ---- */

#ifdef TORTURE_GUARD /* TEAM/sockref-guard, beside the table */
__attribute__((constructor)) static void begin(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    char *slash;
    int team;

    if (length <= 0)
        return;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return;
    *slash = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return;
    team = atoi(slash + 1);
    strcpy(slash, "/table");
    if (!crash_open(path, false))
        return;
    crash_join(team);
    crash_count(COUNT_guards);
    atomic_store(&crash_team->guards[atomic_fetch_add(&crash_team->next_guard, 1) % CRASH_GUARDS],
                 getpid());
    crash_begin(CRASH_GUARD, -1, crash_table->seed ^ crash_now());
}
#endif

#ifdef TORTURE_AGENT /* is told where the table is */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("TORTURE_TABLE"), *slot = getenv("TORTURE_SLOT"),
               *team = getenv("TORTURE_TEAM");

    if (!path || !slot || !team || !crash_open(path, false))
        return;
    crash_join(atoi(team));
    crash_begin(CRASH_AGENT, atoi(slot), crash_table->seed ^ crash_now());
}
#endif
