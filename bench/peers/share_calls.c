/*
 * The floor under a shared start: the system calls of one and of its last release, in the order
 * that the protocol asks for, and nothing beside them. A child reads what is told to a guard, and
 * does nothing about it.
 *
 *   share_calls OPS DIR   ns per op
 */
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#define NAME    "calls.sock" /* not one that a guard may still watch over */
#define LOCK    "." NAME ".srlock"
#define CONTROL "." NAME ".srctl"
#define NAP_MS  1

static int guard;
static struct sockaddr_un served, control;

static void must(int done, const char *what)
{
    if (done)
        return;
    perror(what);
    exit(1);
}

static void tell(size_t length, int with_fd)
{
    static char message[64];
    struct iovec part = {message, length};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } passed = {0};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};

    if (with_fd >= 0) {
        packet.msg_control = &passed;
        packet.msg_controllen = sizeof passed;
        passed.head = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&passed.head), &with_fd, sizeof with_fd);
    }
    must(sendmsg(guard, &packet, MSG_NOSIGNAL) == (ssize_t)length, "sendmsg");
}

/* The guard's part: what it is told is read, some at a time, and the descriptors are closed. */
static void listen_to(int fd)
{
    char message[64], room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    struct iovec part = {message, sizeof message};
    ssize_t length;

    for (;;) {
        struct msghdr packet = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        struct cmsghdr *passed;
        int got;

        length = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (length == 0)
            _exit(0);
        if (length < 0)
            poll(NULL, 0, NAP_MS);
        for (passed = length < 0 ? NULL : CMSG_FIRSTHDR(&packet); passed;
             passed = CMSG_NXTHDR(&packet, passed)) {
            if (passed->cmsg_type != SCM_RIGHTS)
                continue;
            memcpy(&got, CMSG_DATA(passed), sizeof got);
            close(got);
        }
    }
}

static void lock(int fd, int type, off_t length)
{
    struct flock bytes = {.l_type = (short)type, .l_whence = SEEK_SET, .l_len = length};

    must(fcntl(fd, F_OFD_SETLK, &bytes) == 0, "lock");
}

static int bound(int type, const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    must(fd >= 0 && fchmod(fd, 0600) == 0 &&
             bind(fd, (const struct sockaddr *)address, sizeof *address) == 0,
         "bind");
    return fd;
}

static void once(const char *directory)
{
    static const char record[128];
    int at, locked, controlled, fd, pin;
    struct statfs system;
    struct statx made;
    struct stat seen;

    must((int)geteuid() >= 0, "geteuid");
    at = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(at >= 0 && fstat(at, &seen) == 0 && (int)getuid() >= 0, "directory");
    tell(60, at);

    locked = openat(at, LOCK, O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0600);
    must(locked >= 0 && fstat(locked, &seen) == 0 && fstatfs(locked, &system) == 0, "lock file");
    lock(locked, F_WRLCK, 3);
    must(fstatat(at, LOCK, &seen, AT_SYMLINK_NOFOLLOW) == 0, "lock file");
    must(fstatat(at, NAME, &seen, AT_SYMLINK_NOFOLLOW) < 0 && getpid() > 0, "free name");
    must(pwrite(locked, record, sizeof record, 0) == (ssize_t)sizeof record, "record");

    controlled = bound(SOCK_SEQPACKET, &control);
    must(listen(controlled, 4096) == 0, "listen");
    fd = bound(SOCK_STREAM, &served);
    pin = openat(at, NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    must(pin >= 0 && statx(pin, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &made) == 0 &&
             fstatat(AT_FDCWD, served.sun_path, &seen, AT_SYMLINK_NOFOLLOW) == 0 &&
             listen(fd, 4096) == 0,
         "listen");
    tell(36, pin);
    close(pin);
    must(pwrite(locked, record, sizeof record, 0) == (ssize_t)sizeof record, "record");
    lock(locked, F_UNLCK, 1);

    lock(locked, F_WRLCK, 0);
    must(fstatat(at, NAME, &seen, AT_SYMLINK_NOFOLLOW) == 0 && unlinkat(at, NAME, 0) == 0 &&
             fstatat(at, LOCK, &seen, AT_SYMLINK_NOFOLLOW) == 0 &&
             fstatat(at, CONTROL, &seen, AT_SYMLINK_NOFOLLOW) == 0 && unlinkat(at, CONTROL, 0) == 0,
         "remove");
    close(controlled);
    must(unlinkat(at, LOCK, 0) == 0, "remove");
    lock(locked, F_UNLCK, 0);
    close(locked);
    tell(36, -1);
    close(fd);
    close(at);
}

static void address(struct sockaddr_un *out, const char *directory, const char *leaf)
{
    out->sun_family = AF_UNIX;
    must(snprintf(out->sun_path, sizeof out->sun_path, "%s/%s", directory, leaf) <
             (int)sizeof out->sun_path,
         "path");
}

int main(int argc, char **argv)
{
    int ends[2], on = 1;
    double began;
    long count;

    if (argc != 3)
        return 2;
    count = atol(argv[1]);
    address(&served, argv[2], NAME);
    address(&control, argv[2], CONTROL);
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
    guard = ends[0];
    must(setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0, "SO_PASSCRED");
    if (fork() == 0) {
        close(ends[0]);
        listen_to(ends[1]);
    }
    close(ends[1]);
    for (long i = 0; i < count / 10 + 1; i++)
        once(argv[2]);
    began = now_ns();
    for (long i = 0; i < count; i++)
        once(argv[2]);
    printf("%.1f\n", (now_ns() - began) / (double)count);
    close(guard);
    wait(NULL);
    return 0;
}
