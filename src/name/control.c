/*
 * The control socket. Its messages are one word each, on a connection that keeps messages apart.
 * An owner accepts only when it has a reason to look, so joining costs it nothing; connections wait
 * in the kernel's queue meanwhile, and one that finds the queue full does without.
 */
#include "name/control.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/bound.h"
#include "name/lockfile.h"
#include "name/path.h"
#include "name/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUE 4096

/* By the spelling of a path; false where that is too long. */
static bool address_beside(const char *path, const char *leaf, struct sockaddr_un *out)
{
    size_t before = (size_t)(sr_path_leaf(path) - path), length = strlen(leaf);

    if (before + length > SR_SUN_PATH_MAX)
        return false;
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->sun_path, path, before);
    memcpy(out->sun_path + before, leaf, length + 1);
    return true;
}

/* By the spelling only where that is asked for, and fits. */
static int address_of(const struct sr_place *place, const char *path, bool by_path,
                      char leaf[SR_LOCKFILE_NAME_MAX], struct sockaddr_un *out)
{
    sr_lockfile_name(sr_path_leaf(path), ".srctl", leaf);
    if ((by_path && address_beside(path, leaf, out)) || sr_sockfile_address(place, leaf, out))
        return 0;
    return sr_error_set(SOCKREF_EPATHLEN, path, "the name is too long for its control socket");
}

static int bind_control(int fd, const struct sr_place *place, const char *path, const char *leaf,
                        const struct sockaddr_un *address)
{
    int refused;

    if (sr_sys.fchmod(fd, 0600) < 0)
        return sr_error_system(errno, "fchmod", path);
    if (sr_sys.bind(fd, (const struct sockaddr *)address, sizeof *address) < 0) {
        refused = errno;
        if (refused == EADDRINUSE)
            return sr_error_set(SOCKREF_EFOREIGN, path,
                                "something that is not ours stands at %s: remove it", leaf);
        return sr_error_system(refused, "bind", path);
    }
    if (sr_sys.listen(fd, QUEUE) == 0)
        return 0;
    refused = errno;
    sr_sys.unlinkat(place->dir, leaf, 0);
    return sr_error_system(refused, "listen", path);
}

int sr_control_listen(const struct sr_place *place, const char *path, bool by_path, int *out_fd)
{
    char leaf[SR_LOCKFILE_NAME_MAX];
    struct sockaddr_un address;
    int status = address_of(place, path, by_path, leaf, &address), fd;

    if (status < 0)
        return status;
    fd = sr_fd_socket(AF_UNIX, SOCK_SEQPACKET);
    if (fd < 0)
        return fd == -ENOMEM ? sr_error_no_memory() : sr_error_system(-fd, "socket", path);
    status = bind_control(fd, place, path, leaf, &address);
    if (status < 0) {
        sr_fd_close(fd);
        return status;
    }
    *out_fd = fd;
    return 0;
}

/* Where others may add files, one of them may have bound the name when its owner had gone. */
static bool is_trusted(const struct sr_place *place, int fd)
{
    struct ucred owner = {0};
    socklen_t size = sizeof owner;

    return !place->shared || (sr_sys.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) == 0 &&
                              owner.uid == place->user);
}

/* A umask of its owner's can have left not even this user the right to connect. Returns whether he
 * has it now. */
static bool give_right(const struct sr_place *place, const char *leaf)
{
    int pin = sr_fd_open(place->dir, leaf, O_PATH | O_NOFOLLOW);
    struct stat info;
    bool given;

    if (pin < 0)
        return false;
    given = sr_sys.fstat(pin, &info) == 0 && S_ISSOCK(info.st_mode) && info.st_uid == place->user &&
            !(info.st_mode & S_IWUSR) && sr_fd_change_mode(pin, 0600) == 0;
    sr_fd_close(pin);
    return given;
}

int sr_control_connect(const struct sr_place *place, const char *path, int *out_fd)
{
    char leaf[SR_LOCKFILE_NAME_MAX];
    struct sockaddr_un address;
    int status = address_of(place, path, false, leaf, &address), fd;

    if (status < 0)
        return status;
    fd = sr_fd_socket(AF_UNIX, SOCK_SEQPACKET);
    if (fd < 0)
        return fd == -ENOMEM ? sr_error_no_memory() : sr_error_system(-fd, "socket", path);
    do
        status = sr_sys.connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
    while (status == EACCES && give_right(place, leaf));
    if (status == 0 && is_trusted(place, fd)) {
        *out_fd = fd;
        return 0;
    }
    if (status == 0)
        status = ECONNREFUSED;
    sr_fd_close(fd);
    switch (status) {
    case EAGAIN:
        return 0;
    case ENOENT:
        if (!sr_fd_has_proc()) /* it was there before a chroot() */
            return sr_lockfile_refuse_without_proc(path);
        return SR_CONTROL_REFUSED;
    case ECONNREFUSED:
        return SR_CONTROL_REFUSED;
    default:
        return sr_error_system(status, "connect", path);
    }
}

/* It was bound by a path that leads to another directory now, or did so then. */
static void remove_elsewhere(int fd)
{
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address;
    struct stat info;

    if (sr_sys.getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        sr_sys.fstatat(AT_FDCWD, address.sun_path, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISSOCK(info.st_mode) && sr_bound_to(fd, &info) == SR_BOUND_HERE)
        sr_sys.unlinkat(AT_FDCWD, address.sun_path, 0);
}

int sr_control_remove(const struct sr_place *place, const char *path, int *inout_fd)
{
    char leaf[SR_LOCKFILE_NAME_MAX];
    struct stat info;
    int status = 0;

    sr_lockfile_name(sr_path_leaf(path), ".srctl", leaf);
    if (sr_sys.fstatat(place->dir, leaf, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            remove_elsewhere(*inout_fd);
        else
            status = sr_error_system(errno, "fstatat", path);
    } else if (S_ISSOCK(info.st_mode) && info.st_uid == place->user &&
               sr_sys.unlinkat(place->dir, leaf, 0) < 0)
        status = sr_error_system(errno, "unlinkat", path);
    sr_fd_close(*inout_fd);
    *inout_fd = -1;
    return status;
}

void sr_control_remove_own(const struct sr_place *place, const char *path, int *inout_fd)
{
    char leaf[SR_LOCKFILE_NAME_MAX];
    struct stat info;

    sr_lockfile_name(sr_path_leaf(path), ".srctl", leaf);
    if (sr_sys.fstatat(place->dir, leaf, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISSOCK(info.st_mode) && sr_bound_to(*inout_fd, &info) == SR_BOUND_HERE)
        sr_sys.unlinkat(place->dir, leaf, 0);
    sr_fd_close(*inout_fd);
    *inout_fd = -1;
}

int sr_control_send(int fd, enum sr_control_word word, const int *fds)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(SR_CONTROL_FDS * sizeof(int))] = {0};
    uint32_t text = word;
    struct iovec part = {&text, sizeof text};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds) {
        struct cmsghdr *head;

        message.msg_control = room;
        message.msg_controllen = sizeof room;
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(SR_CONTROL_FDS * sizeof(int));
        memcpy(CMSG_DATA(head), fds, SR_CONTROL_FDS * sizeof(int));
    }
    if (sr_sys.sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return -errno;
    return 0;
}

int sr_control_receive(int fd, enum sr_control_word *out_word, int out_fds[SR_CONTROL_FDS])
{
    uint32_t word = 0;
    bool lost;
    ssize_t got = sr_fd_receive(fd, &word, sizeof word, out_fds, SR_CONTROL_FDS, &lost);

    if (got == -EAGAIN || got == -EINTR)
        return -EAGAIN;
    if (got == (ssize_t)sizeof word) {
        *out_word = (enum sr_control_word)word;
        return 0;
    }
    for (int i = 0; i < SR_CONTROL_FDS; i++)
        sr_fd_close(out_fds[i]);
    return -ECONNRESET;
}

static bool has_gone(int fd)
{
    struct pollfd state = {.fd = fd, .events = POLLRDHUP};

    return sr_sys.poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void let_gone_go(struct sr_peers *self)
{
    size_t kept = 0;

    for (size_t i = 0; i < self->count; i++) {
        if (has_gone(self->fds[i]))
            sr_fd_close(self->fds[i]);
        else
            self->fds[kept++] = self->fds[i];
    }
    self->count = kept;
}

static bool make_room(struct sr_peers *self)
{
    size_t room = self->room ? self->room * 2 : 8;
    int *fds;

    if (self->count < self->room)
        return true;
    fds = sr_sys.realloc(self->fds, room * sizeof *fds);
    if (!fds)
        return false;
    self->fds = fds;
    self->room = room;
    return true;
}

bool sr_peers_extend(struct sr_peers *self, int control)
{
    for (;;) {
        int fd = make_room(self) ? sr_fd_accept(control) : -ENOMEM;

        if (fd < 0)
            return fd == -EAGAIN;
        if (has_gone(fd))
            sr_fd_close(fd);
        else
            self->fds[self->count++] = fd;
    }
}

bool sr_peers_accept(struct sr_peers *self, int control)
{
    let_gone_go(self);
    return sr_peers_extend(self, control);
}

void sr_peers_clear(struct sr_peers *self)
{
    while (self->count > 0)
        sr_fd_close(self->fds[--self->count]);
    free(self->fds);
    self->fds = NULL;
    self->room = 0;
}
