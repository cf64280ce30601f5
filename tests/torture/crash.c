/* Crash points. The wrappers are generated, one for each member of the table of system calls. */
#include "torture/crash.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct crash_table *crash_table;
int (*crash_hook)(unsigned member, uint64_t key, bool after);

static struct sr_sys real;
static enum crash_image image;
static int own_slot = -1;
static pid_t own_pid; /* a forked child has another one */
static uint64_t own_seed;
static _Thread_local uint64_t random_state;
static _Atomic uint32_t spared; /* boundaries that are passed before a point with few hits is looked for */

extern char __executable_start[], etext[];

/* ---- the table ---- */

uint64_t crash_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool crash_open(const char *path, bool create)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
    void *at;

    if (fd < 0)
        return false;
    if (create && ftruncate(fd, sizeof *crash_table) < 0) {
        close(fd);
        return false;
    }
    at = mmap(NULL, sizeof *crash_table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    crash_table = at == MAP_FAILED ? NULL : at;
    return crash_table != NULL;
}

void crash_count(enum crash_counter counter)
{
    atomic_fetch_add(&crash_table->counters[counter], 1);
}

void crash_mark_dying(int slot, bool group)
{
    struct crash_slot *slots = crash_table->slots;
    pid_t pgid = atomic_load(&slots[slot].group);

    atomic_store(&slots[slot].dying, atomic_load(&slots[slot].life));
    for (int i = 0; group && i < CRASH_SLOTS; i++)
        if (atomic_load(&slots[i].group) == pgid)
            atomic_store(&slots[i].dying, atomic_load(&slots[i].life));
}

static uint64_t draw(void)
{
    if (random_state == 0)
        random_state = (own_seed ^ (uint64_t)syscall(SYS_gettid) * 0x9e3779b97f4a7c15u) | 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du >> 16;
}

static uint64_t key_of(unsigned member, const uint64_t *frames, unsigned depth, bool after)
{
    uint64_t key = 0xcbf29ce484222325u ^ (uint64_t)image << 1 ^ (uint64_t)after ^ (uint64_t)member << 8;

    for (unsigned i = 0; i < depth; i++)
        key = (key ^ frames[i]) * 0x100000001b3u ^ key >> 29;
    return key ? key : 1;
}

static struct crash_point *find(uint64_t key, unsigned member, const uint64_t *frames, unsigned depth,
                                bool after)
{
    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        struct crash_point *point = &crash_table->points[(key + i) % CRASH_POINTS];
        uint64_t found = atomic_load(&point->key);

        if (found == 0 && atomic_compare_exchange_strong(&point->key, &found, key)) {
            point->image = (uint8_t)image;
            point->member = (uint8_t)member;
            point->after = after;
            point->depth = (uint8_t)depth;
            memcpy(point->frames, frames, depth * sizeof *frames);
            atomic_store(&point->ready, true);
            atomic_fetch_add(&crash_table->points_count, 1);
            return point;
        }
        if (found == key)
            return point;
    }
    atomic_fetch_add(&crash_table->points_lost, 1);
    return NULL;
}

static void die(struct crash_point *point)
{
    bool is_worker = own_slot >= 0 && own_pid == getpid();
    bool group = is_worker && image == CRASH_WORKER && draw() % 20 == 0;
    uint32_t at = atomic_fetch_add(&crash_table->recent_at, 1) % CRASH_RECENT;

    crash_table->recent[at].ns = crash_now();
    crash_table->recent[at].pid = getpid();
    crash_table->recent[at].point = (uint32_t)(point - crash_table->points);
    crash_table->recent[at].group = group ? getpgrp() : 0;
    atomic_fetch_add(&point->hits, 1);
    crash_count(COUNT_kills);
    crash_count(image == CRASH_GUARD ? COUNT_guard_kills : COUNT_point_kills);
    if (group)
        crash_count(COUNT_group_kills);
    if (is_worker)
        crash_mark_dying(own_slot, group);
    kill(group ? 0 : getpid(), SIGKILL);
    for (;;)
        pause();
}

void crash_at(unsigned member, const uint64_t *frames, unsigned depth, bool after)
{
    struct crash_point *point;
    uint64_t key = key_of(member, frames, depth, after);
    bool is_cold, eager;
    uint32_t one_in;

    point = find(key, member, frames, depth, after);
    if (!point)
        return;
    atomic_fetch_add_explicit(&point->seen, 1, memory_order_relaxed);
    if (!atomic_load(image == CRASH_GUARD ? &crash_table->kills_guards
                                          : &crash_table->kills_workers))
        return;
    is_cold = atomic_load_explicit(&point->hits, memory_order_relaxed) < crash_table->target;
    eager = atomic_load_explicit(&spared, memory_order_relaxed) == 0 ||
            atomic_fetch_sub_explicit(&spared, 1, memory_order_relaxed) == 1;
    one_in = is_cold && eager ? crash_table->eager : crash_table->rare;
    if (draw() % one_in == 0)
        die(point);
}

/* ---- the wrappers ---- */

/* The return addresses above the wrapper's frame, as far as they lie in this program. */
static unsigned walk(void **frame, uint64_t out[CRASH_FRAMES])
{
    unsigned depth = 0;

    while (depth < CRASH_FRAMES) {
        void **next = frame[0];
        uintptr_t address = (uintptr_t)frame[1];

        if (address < (uintptr_t)__executable_start || address >= (uintptr_t)etext)
            break;
        out[depth++] = address - (uintptr_t)__executable_start;
        if (next <= frame || (uintptr_t)next - (uintptr_t)frame > 1 << 20 || (uintptr_t)next % 8)
            break;
        frame = next;
    }
    return depth;
}

/* Returns an errno that the call is to fail with. */
static int pass(unsigned member, void *frame, bool after)
{
    uint64_t frames[CRASH_FRAMES];
    int saved_errno = errno, failure = 0;
    unsigned depth = walk(frame, frames);

    if (crash_hook)
        failure = crash_hook(member, key_of(member, frames, depth, after), after);
    else if (crash_table)
        crash_at(member, frames, depth, after);
    errno = saved_errno;
    return failure;
}

/* clang-format off */
#define CALLS(X)                                                                                   \
    X(int, openat, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode))  \
    X(int, close, (int fd), (fd))                                                                  \
    X(int, fstat, (int fd, struct stat *out), (fd, out))                                           \
    X(int, fstatat, (int dir, const char *path, struct stat *out, int flags),                      \
      (dir, path, out, flags))                                                                     \
    X(int, fchmod, (int fd, mode_t mode), (fd, mode))                                              \
    X(int, chmod, (const char *path, mode_t mode), (path, mode))                                   \
    X(int, mkdir, (const char *path, mode_t mode), (path, mode))                                   \
    X(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))                   \
    X(int, rename_new, (int dir, const char *from, const char *to), (dir, from, to))               \
    X(int, duplicate, (int fd), (fd))                                                              \
    X(int, replace, (int fd, int old), (fd, old))                                                  \
    X(int, lock, (int fd, int command, struct flock *value), (fd, command, value))                 \
    X(ssize_t, pread, (int fd, void *buffer, size_t length, off_t offset),                         \
      (fd, buffer, length, offset))                                                                \
    X(ssize_t, pwrite, (int fd, const void *buffer, size_t length, off_t offset),                  \
      (fd, buffer, length, offset))                                                                \
    X(int, fstatfs, (int fd, struct statfs *out), (fd, out))                                       \
    X(int, birth, (int fd, uint64_t *out_ns), (fd, out_ns))                                        \
    X(int, touch, (int dir, const char *path), (dir, path))                                        \
    X(int, socket, (int domain, int type, int protocol), (domain, type, protocol))                 \
    X(int, bind, (int fd, const struct sockaddr *address, socklen_t length),                       \
      (fd, address, length))                                                                       \
    X(int, listen, (int fd, int backlog), (fd, backlog))                                           \
    X(int, connect, (int fd, const struct sockaddr *address, socklen_t length),                    \
      (fd, address, length))                                                                       \
    X(int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),              \
      (fd, address, length, flags))                                                                \
    X(int, shutdown, (int fd, int how), (fd, how))                                                 \
    X(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *length),            \
      (fd, level, option, value, length))                                                          \
    X(int, getsockname, (int fd, struct sockaddr *address, socklen_t *length),                     \
      (fd, address, length))                                                                       \
    X(ssize_t, recv, (int fd, void *buffer, size_t length, int flags), (fd, buffer, length, flags))\
    X(ssize_t, send, (int fd, const void *buffer, size_t length, int flags),                       \
      (fd, buffer, length, flags))                                                                 \
    X(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))   \
    X(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))         \
    X(int, socketpair, (int domain, int type, int protocol, int fds[2]),                           \
      (domain, type, protocol, fds))                                                               \
    X(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags))                                  \
    X(int, epoll_create1, (int flags), (flags))                                                    \
    X(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event),               \
      (epoll, operation, fd, event))                                                               \
    X(int, epoll_wait, (int epoll, struct epoll_event *events, int count, int timeout_ms),         \
      (epoll, events, count, timeout_ms))                                                          \
    X(int, poll, (struct pollfd *fds, nfds_t count, int timeout_ms), (fds, count, timeout_ms))     \
    X(int, eventfd, (unsigned initial, int flags), (initial, flags))                               \
    X(int, timerfd_create, (int clock, int flags), (clock, flags))                                 \
    X(int, timerfd_settime, (int fd, int flags, const struct itimerspec *value,                    \
      struct itimerspec *old), (fd, flags, value, old))                                            \
    X(int, pipe2, (int fds[2], int flags), (fds, flags))                                           \
    X(ssize_t, read, (int fd, void *buffer, size_t length), (fd, buffer, length))                  \
    X(ssize_t, write, (int fd, const void *buffer, size_t length), (fd, buffer, length))           \
    X(int, thread_create, (pthread_t *out, const pthread_attr_t *attr, void *(*body)(void *),      \
      void *arg), (out, attr, body, arg))                                                          \
    X(int, spawn_guard, (const char *program, int command, int pidfd, pid_t *out_pid),             \
      (program, command, pidfd, out_pid))
/* clang-format on */

enum member {
#define X(type, name, parameters, arguments) MEMBER_##name,
    CALLS(X)
#undef X
        MEMBERS
};

static const char *const member_names[MEMBERS] = {
#define X(type, name, parameters, arguments) #name,
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

static void note_removal(unsigned member, int64_t result)
{
    if (image == CRASH_GUARD && member == MEMBER_unlinkat && result == 0 && crash_table)
        crash_count(COUNT_guard_removals);
}

#define X(type, name, parameters, arguments)                                                       \
    __attribute__((noinline)) static type do_##name parameters                                     \
    {                                                                                              \
        void *frame = __builtin_frame_address(0);                                                  \
        int failure = pass(MEMBER_##name, frame, false);                                           \
        type result;                                                                               \
                                                                                                   \
        if (failure && MEMBER_##name == MEMBER_close)                                              \
            (void)real.name arguments; /* one that fails has closed all the same */                \
        if (failure)                                                                               \
            return (type)failed(MEMBER_##name, failure);                                           \
        result = real.name arguments;                                                              \
        note_removal(MEMBER_##name, result);                                                       \
        pass(MEMBER_##name, frame, true);                                                          \
        return result;                                                                             \
    }
CALLS(X)
#undef X

const char *crash_member(unsigned member)
{
    return member < MEMBERS ? member_names[member] : "?";
}

unsigned crash_members(void)
{
    return MEMBERS;
}

void crash_arm(enum crash_image what, int slot, uint64_t seed)
{
    image = what;
    own_slot = slot;
    own_pid = getpid();
    own_seed = seed;
    random_state = 0;
    atomic_store(&spared, what == CRASH_GUARD ? 0 : (uint32_t)(draw() % (1u << draw() % 13)));
    if (!real.close)
        real = sr_sys;
#define X(type, name, parameters, arguments) sr_sys.name = do_##name;
    CALLS(X)
#undef X
}

/* ---- what is told ---- */

void crash_print_point(FILE *out, uint32_t index)
{
    static const char *const images[] = {"worker", "guard", "node", "python", "java"};
    const struct crash_point *point = &crash_table->points[index];

    fprintf(out, "%s %s %s", images[point->image], point->after ? "after" : "before",
            crash_member(point->member));
    for (unsigned i = 0; i < point->depth; i++)
        fprintf(out, " %#llx", (unsigned long long)point->frames[i]);
}

void crash_print_recent(FILE *out, unsigned count)
{
    uint32_t at = atomic_load(&crash_table->recent_at);
    uint64_t now = crash_now();

    for (uint32_t i = at > count ? at - count : 0; i < at; i++) {
        uint32_t entry = i % CRASH_RECENT;

        fprintf(out, "    %8.3f ms ago, process %d%s, point %u: ",
                (double)(now - crash_table->recent[entry].ns) / 1e6,
                (int)crash_table->recent[entry].pid,
                crash_table->recent[entry].group ? " and its group" : "",
                crash_table->recent[entry].point);
        crash_print_point(out, crash_table->recent[entry].point);
        fputc('\n', out);
    }
}

void crash_wrong(enum crash_counter counter, const char *format, ...)
{
    static const char *const names[] = {
#define X(name) #name,
        CRASH_COUNTERS(X)
#undef X
    };
    uint64_t before = atomic_fetch_add(&crash_table->counters[counter], 1);
    char *text = NULL;
    size_t size = 0;
    va_list args;
    FILE *out;

    if (before >= 5 || !(out = open_memstream(&text, &size)))
        return;
    fprintf(out, "torture: %s: SEED=%llu, process %d: ", names[counter],
            (unsigned long long)crash_table->seed, (int)getpid());
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fprintf(out, "\n  the kills before it:\n");
    crash_print_recent(out, 12);
    fclose(out);
    if (write(STDERR_FILENO, text, size) < 0)
        abort();
    free(text);
}

/* ---- the guard: its program stands beside the table ---- */

#ifdef TORTURE_GUARD
__attribute__((constructor)) static void begin(void)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 16);
    char *slash;

    if (length <= 0)
        return;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (!slash)
        return;
    strcpy(slash, "/table");
    if (!crash_open(path, false))
        return;
    crash_count(COUNT_guards);
    atomic_store(&crash_table->guards[atomic_fetch_add(&crash_table->next_guard, 1) % CRASH_GUARDS],
                 getpid());
    crash_arm(CRASH_GUARD, -1, crash_table->seed ^ crash_now());
}
#endif
