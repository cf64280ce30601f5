/*
 * Descriptors and the set of those that are ours: a bit for each number, in pages that are made on
 * demand and never given back, so that setting and clearing a bit takes no lock. The pages are in
 * groups, made so as well: the system decides how high a number may be.
 */
#include "base/fd.h"

#include "base/attr.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BITS   4096u
#define WORD_BITS   64u
#define PAGE_WORDS  (PAGE_BITS / WORD_BITS)
#define GROUP_PAGES 256u /* 1048576 descriptors, the kernel's default ceiling */
#define GROUP_COUNT (INT_MAX / PAGE_BITS / GROUP_PAGES + 1)

#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

/* For what a program may have switched on for its socket: credentials and a pidfd of the sender. */
#define SENDER_ROOM (CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int)))

typedef _Atomic uint64_t word;

struct group {
    void *_Atomic pages[GROUP_PAGES]; /* PAGE_WORDS words each */
};

static word first_page[PAGE_WORDS];
static struct group first_group = {{first_page}};
static void *_Atomic groups[GROUP_COUNT] = {&first_group};

/* The gate: how many are opening a descriptor now, and whether a fork wants them out. */
static atomic_int opening;
static atomic_bool closed;

static void enter(void)
{
    for (;;) {
        atomic_fetch_add(&opening, 1);
        if (SR_LIKELY(!atomic_load(&closed)))
            return;
        atomic_fetch_sub(&opening, 1);
        while (atomic_load(&closed))
            sched_yield();
    }
}

static void leave(void)
{
    atomic_fetch_sub(&opening, 1);
}

/* What stands at a place; zeroed memory is put there where that is wanted and nothing does. */
static void *part_at(void *_Atomic *place, size_t size, bool make)
{
    void *part = atomic_load_explicit(place, memory_order_acquire), *none = NULL;

    if (part || !make)
        return part;
    part = sr_sys.calloc(1, size);
    if (!part)
        return NULL;
    if (atomic_compare_exchange_strong(place, &none, part))
        return part;
    free(part);
    return none;
}

static word *page_of(int fd, bool make)
{
    unsigned index = (unsigned)fd / PAGE_BITS;
    struct group *group;

    if (SR_LIKELY(index == 0))
        return first_page;
    if (fd < 0)
        return NULL;
    group = part_at(&groups[index / GROUP_PAGES], sizeof *group, make);
    return group ? part_at(&group->pages[index % GROUP_PAGES], sizeof first_page, make) : NULL;
}

/* The first page from an index on, which becomes its own; NULL: there are no more. */
static word *next_page(unsigned *inout_index)
{
    for (; *inout_index < GROUP_PAGES * GROUP_COUNT; ++*inout_index) {
        struct group *group = atomic_load(&groups[*inout_index / GROUP_PAGES]);
        word *page = group ? atomic_load(&group->pages[*inout_index % GROUP_PAGES]) : NULL;

        if (page)
            return page;
        if (!group)
            *inout_index += GROUP_PAGES - 1;
    }
    return NULL;
}

static uint64_t bit_of(int fd)
{
    return (uint64_t)1 << ((unsigned)fd % WORD_BITS);
}

static word *word_of(word *page, int fd)
{
    return &page[(unsigned)fd % PAGE_BITS / WORD_BITS];
}

int sr_fd_adopt(int fd)
{
    word *page = page_of(fd, true);

    if (!page)
        return -ENOMEM;
    atomic_fetch_or_explicit(word_of(page, fd), bit_of(fd), memory_order_relaxed);
    return 0;
}

void sr_fd_disown(int fd)
{
    word *page = page_of(fd, false);

    if (page)
        atomic_fetch_and_explicit(word_of(page, fd), ~bit_of(fd), memory_order_relaxed);
}

/* Out of the places of the standard streams: where one of them is closed, what the program prints
 * to it must reach no file or socket of ours. Returns -1 with errno, and the descriptor closed. */
static int lift(int fd)
{
    int lifted, reason;

    if (SR_LIKELY(fd > STDERR_FILENO) || fd < 0)
        return fd;
    lifted = sr_sys.duplicate(fd);
    reason = errno;
    sr_sys.close(fd);
    errno = reason;
    return lifted;
}

/* Note the result of a call that opens, inside the gate. */
static int noted(int opened)
{
    int fd = lift(opened), status = fd;

    if (fd < 0) {
        status = -errno;
    } else if (sr_fd_adopt(fd) < 0) {
        sr_sys.close(fd);
        status = -ENOMEM;
    }
    leave();
    return status;
}

int sr_fd_open_mode(int dir, const char *path, int flags, mode_t mode)
{
    enter();
    return noted(sr_sys.openat(dir, path, flags | O_CLOEXEC, mode));
}

int sr_fd_open(int dir, const char *path, int flags)
{
    return sr_fd_open_mode(dir, path, flags, 0);
}

int sr_fd_socket(int domain, int type)
{
    enter();
    return noted(sr_sys.socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int sr_fd_netlink(int family)
{
    enter();
    return noted(sr_sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family));
}

int sr_fd_accept(int listener)
{
    enter();
    return noted(sr_sys.accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int sr_fd_duplicate(int fd)
{
    enter();
    return noted(sr_sys.duplicate(fd));
}

int sr_fd_epoll(void)
{
    enter();
    return noted(sr_sys.epoll_create1(EPOLL_CLOEXEC));
}

int sr_fd_event(void)
{
    enter();
    return noted(sr_sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int sr_fd_timer(void)
{
    enter();
    return noted(sr_sys.timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
}

/* The same for a call that opens two. */
static int noted_pair(int status, int fds[2], int out_fds[2])
{
    if (status == 0 && (fds[0] = lift(fds[0])) < 0) {
        status = -errno;
        sr_sys.close(fds[1]);
    } else if (status == 0 && (fds[1] = lift(fds[1])) < 0) {
        status = -errno;
        sr_sys.close(fds[0]);
    } else if (status < 0) {
        status = -errno;
    } else if (sr_fd_adopt(fds[0]) < 0 || sr_fd_adopt(fds[1]) < 0) {
        sr_fd_disown(fds[0]);
        sr_sys.close(fds[0]);
        sr_sys.close(fds[1]);
        status = -ENOMEM;
    } else {
        out_fds[0] = fds[0];
        out_fds[1] = fds[1];
    }
    leave();
    return status;
}

int sr_fd_pipe(int out_fds[2])
{
    int fds[2];

    enter();
    return noted_pair(sr_sys.pipe2(fds, O_CLOEXEC | O_NONBLOCK), fds, out_fds);
}

int sr_fd_socketpair(int type, int out_fds[2])
{
    int fds[2];

    enter();
    return noted_pair(sr_sys.socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), fds,
                      out_fds);
}

int sr_fd_pidfd(pid_t pid)
{
    enter();
    return noted(sr_sys.pidfd_open(pid, 0)); /* close-on-exec of itself */
}

/* Nobody asked us for the sender; an error may stand in the place of its descriptor. */
static void drop_pidfd(const struct cmsghdr *head)
{
    int fd;

    memcpy(&fd, CMSG_DATA(head), sizeof fd);
    if (fd >= 0)
        sr_sys.close(fd);
}

/* Note the descriptors of a message that was received, inside the gate; they stay in order. Returns
 * whether some are lost: the kernel closes those that it has no room for, or no number. */
static bool note_received(struct msghdr *message, int *out_fds, size_t most)
{
    bool lost = message->msg_flags & MSG_CTRUNC;
    size_t count = 0;

    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
        size_t length = head->cmsg_len - CMSG_LEN(0);

        if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_PIDFD)
            drop_pidfd(head);
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= length; at += sizeof(int)) {
            int fd;

            memcpy(&fd, CMSG_DATA(head) + at, sizeof fd);
            if (count < most && sr_fd_adopt(fd) == 0) {
                out_fds[count++] = fd;
            } else {
                sr_sys.close(fd);
                lost = true;
            }
        }
    }
    return lost;
}

ssize_t sr_fd_receive(int socket, void *data, size_t size, int *out_fds, size_t most,
                      bool *out_lost)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(SR_FD_MOST_RECEIVED * sizeof(int)) + SENDER_ROOM];
    struct iovec part = {data, size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room,
                             .msg_controllen = CMSG_SPACE(most * sizeof(int)) + SENDER_ROOM};
    ssize_t got;

    for (size_t i = 0; i < most; i++)
        out_fds[i] = -1;
    *out_lost = false;
    enter();
    got = sr_sys.recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        got = -errno;
    else
        *out_lost = note_received(&message, out_fds, most);
    leave();
    return got;
}

int sr_fd_replace(int fd, int old)
{
    int status;

    enter();
    status = sr_sys.replace(fd, old) < 0 ? -errno : 0;
    leave();
    if (status == 0)
        sr_fd_close(fd);
    return status;
}

int sr_fd_change_mode(int fd, mode_t mode)
{
    char link[40];

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return sr_sys.chmod(link, mode) < 0 ? -errno : 0;
}

bool sr_fd_has_proc(void)
{
    return access("/proc/self/fd", F_OK) == 0; /* not faccessat(): a sandbox may refuse it */
}

void sr_fd_close(int fd)
{
    sr_fd_close_both(fd, -1);
}

void sr_fd_close_both(int first, int second)
{
    const int fds[] = {first, second};

    if (first < 0 && second < 0)
        return;
    enter();
    for (int i = 0; i < 2; i++) {
        if (fds[i] < 0)
            continue;
        sr_fd_disown(fds[i]);
        sr_sys.close(fds[i]);
    }
    leave();
}

size_t sr_fd_count(void)
{
    size_t count = 0;
    word *page;

    for (unsigned i = 0; (page = next_page(&i)); i++)
        for (unsigned k = 0; k < PAGE_WORDS; k++)
            count += (size_t)__builtin_popcountll(atomic_load(&page[k]));
    return count;
}

void sr_fd_before_fork(void)
{
    atomic_store(&closed, true);
    while (atomic_load(&opening) > 0)
        sched_yield();
}

void sr_fd_after_fork_in_parent(void)
{
    atomic_store(&closed, false);
}

void sr_fd_after_fork_in_child(void)
{
    word *page;

    for (unsigned i = 0; (page = next_page(&i)); i++) {
        for (unsigned k = 0; k < PAGE_WORDS; k++) {
            uint64_t bits = atomic_exchange(&page[k], 0);

            for (; bits; bits &= bits - 1)
                close((int)(i * PAGE_BITS + k * WORD_BITS + (unsigned)__builtin_ctzll(bits)));
        }
    }
    atomic_store(&opening, 0);
    atomic_store(&closed, false);
}
