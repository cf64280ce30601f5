/*
 * sockref-guard: removes the sockets of the process that started it when that process is killed.
 *
 * The library starts it, with the command socket and a descriptor of the process in their places.
 * It keeps what it is told, and waits for the end of one or the other. All that it ever says is
 * that it is there.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "base/spawn.h"
#include "base/sys.h"
#include "guard/clean.h"
#include "guard/keep.h"
#include "guard/watched.h"
#include "name/guard_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FIRST_OTHER (SR_SPAWN_PIDFD + 1)
#define CLOSING_MS  100
#define NAP_MS      1 /* far less than it takes to fill the command socket */

enum received {
    MESSAGE,
    NOTHING,
    END, /* or something that this program does not understand */
};

/* ---- preparation ---- */

static bool is_started_by_library(void)
{
    socklen_t length = sizeof(int);
    int type = 0;

    return sr_sys.getsockopt(SR_SPAWN_COMMAND, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
           type == SOCK_SEQPACKET;
}

/* All that a stranger may send; faults of its own still end it. It is started with all blocked. */
static void set_signals(void (*handler)(int))
{
    static const int faults[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
    sigset_t none;

    for (int number = 1; number <= SIGRTMAX; number++) {
        bool is_fault = false;

        for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
            is_fault |= number == faults[i];
        if (!is_fault)
            signal(number, handler);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What was not close-on-exec in the parent. */
static void close_others(void)
{
    struct rlimit limit = {1024, 1024};

    if (syscall(SYS_close_range, FIRST_OTHER, ~0u, 0) == 0)
        return;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur > 65536)
        limit.rlim_cur = 65536;
    for (int fd = FIRST_OTHER; fd < (int)limit.rlim_cur; fd++)
        sr_sys.close(fd);
}

static void prepare(void)
{
    struct rlimit limit;

    set_signals(SIG_IGN);
    close_others();
    if (chdir("/") < 0)
        return; /* a mount is busy for longer */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- messages ---- */

/* What came with a message beside its bytes. */
struct attached {
    int fd; /* -1 */
    uid_t user;
};

/* Takes fd. */
static void add(const struct sr_guard_message *message, size_t length,
                const struct attached *attached)
{
    if (length > 0 && strnlen(message->path, length) == length - 1 &&
        sr_path_is_usable(message->path) && sr_path_is_file(message->path))
        sr_watched_add(message->id, message->path, message->has_lock, attached->user, attached->fd);
    else
        sr_fd_close(attached->fd);
}

static void answer(void)
{
    const uint32_t version = SR_GUARD_VERSION;

    (void)!sr_sys.send(SR_SPAWN_COMMAND, &version, sizeof version, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Takes fd. */
static void handle(const struct sr_guard_message *message, size_t path_length,
                   const struct attached *attached)
{
    switch (message->op) {
    case SR_GUARD_WATCH:
        add(message, path_length, attached);
        return;
    case SR_GUARD_PIN:
        sr_watched_pin(message->id, (dev_t)message->device, (ino_t)message->inode, attached->fd);
        return;
    case SR_GUARD_FORGET:
        sr_watched_forget(message->id);
        break;
    case SR_GUARD_ASK:
        answer();
        break;
    }
    sr_fd_close(attached->fd);
}

/* One comes at most; further ones would stay open for ever. */
static int take_descriptor(const struct cmsghdr *head)
{
    size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    int first = -1;

    for (size_t i = 0; i < count; i++) {
        int fd;

        memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
        if (i == 0)
            first = fd;
        else
            sr_fd_close(fd);
    }
    return first;
}

/* The user is the kernel's word: the process may have dropped the rights that this one has. */
static struct attached detach(struct msghdr *packet)
{
    struct attached attached = {.fd = -1, .user = geteuid()};

    for (struct cmsghdr *head = CMSG_FIRSTHDR(packet); head; head = CMSG_NXTHDR(packet, head)) {
        struct ucred sender;

        if (head->cmsg_level != SOL_SOCKET)
            continue;
        if (head->cmsg_type == SCM_RIGHTS)
            attached.fd = take_descriptor(head);
        if (head->cmsg_type == SCM_CREDENTIALS && head->cmsg_len == CMSG_LEN(sizeof sender)) {
            memcpy(&sender, CMSG_DATA(head), sizeof sender);
            attached.user = sender.uid;
        }
    }
    return attached;
}

static enum received receive(void)
{
    static struct sr_guard_message message;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec part = {&message, sizeof message};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    struct attached attached;
    ssize_t length;

    do /* one that was killed before it read an answer is told first, and once */
        length = sr_sys.recvmsg(SR_SPAWN_COMMAND, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (length < 0 && (errno == EINTR || errno == ECONNRESET));
    if (length < 0 && errno == EAGAIN)
        return NOTHING;
    if (length <= 0)
        return END;
    attached = detach(&packet);
    if ((size_t)length >= SR_GUARD_HEAD && message.version == SR_GUARD_VERSION) {
        handle(&message, (size_t)length - SR_GUARD_HEAD, &attached);
        return MESSAGE;
    }
    sr_fd_close(attached.fd);
    return (size_t)length < sizeof message.version || message.version == SR_GUARD_VERSION ? MESSAGE
                                                                                          : END;
}

/* Read all that there is. Returns NOTHING or END; sets *out_some where there was something. */
static enum received receive_all(bool *out_some)
{
    enum received received;

    *out_some = false;
    while ((received = receive()) == MESSAGE)
        *out_some = true;
    return received;
}

/*
 * Until the parent is gone, or seems so. All that it has sent is read by then: a message counts
 * from the moment that it is in the socket. So where one came, more are waited for by a nap instead
 * of one by one: else a parent whose names come and go would wake this process with each message.
 */
static void listen_to_parent(void)
{
    struct pollfd fds[] = {{.fd = SR_SPAWN_PIDFD, .events = POLLIN},
                           {.fd = SR_SPAWN_COMMAND, .events = POLLIN}};
    uint64_t keep_ns = sr_clock_after_ms(SR_KEEP_EVERY_MS);
    enum received received;
    bool naps = false;

    if (fcntl(SR_SPAWN_PIDFD, F_GETFD) < 0)
        fds[0].fd = -1; /* the system has none */
    do {
        fds[0].revents = 0;
        if (naps)
            sr_sys.poll(fds, 1, NAP_MS);
        else
            sr_sys.poll(fds, 2, SR_KEEP_EVERY_MS);
        if (sr_clock_ns() >= keep_ns) {
            sr_keep_names();
            keep_ns = sr_clock_after_ms(SR_KEEP_EVERY_MS);
        }
        received = receive_all(&naps);
    } while (received == NOTHING && !(fds[0].revents & POLLIN));
    /* It may be in the middle of closing what it had; unless it lives on without this guard. */
    if (!(fds[0].revents & POLLIN))
        sr_sys.poll(&fds[0], 1, CLOSING_MS);
}

int main(void)
{
    if (!is_started_by_library()) {
        fputs("usage: sockref-guard is started by libsockref, when a socket is opened\n", stderr);
        return 2;
    }
    prepare();
    listen_to_parent();
    if (sr_clean_once()) {
        set_signals(SIG_DFL); /* from here on it may take a while */
        sr_clean_rest();
    }
    return EXIT_SUCCESS;
}
