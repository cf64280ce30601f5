/*
 * The socket and its file.
 *
 * Bind. The kernel's bind() creates the file and follows or replaces nothing, so it is the
 * exclusion. fchmod() on the descriptor before it gives the file its narrow mode from birth; a mode
 * wider than the umask allows is given through the file's own descriptor, before listen(), so that
 * nobody can connect earlier. The caller's spelling is bound where it fits, since that is what
 * people read in `ss`; longer ones go by way of the directory's descriptor.
 *
 * Remove. What is removed is the inode that was bound, never a path. In a directory that only we
 * can change, look and unlink; where others may add files, the file is first renamed aside to a
 * name of ours, looked at there, and put back if it is another one: there is no call that unlinks
 * by inode.
 */
#include "name/sockfile.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sys.h"
#include "name/bound.h"
#include "name/lockfile.h"
#include "name/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The address to bind or dial: the spelling, or by the directory's descriptor where that is too
 * long. */
static socklen_t make_address(const struct sr_place *place, const char *path,
                              struct sockaddr_un *out)
{
    size_t length = strlen(path);

    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (length <= SR_SUN_PATH_MAX) {
        memcpy(out->sun_path, path, length);
    } else {
        length = (size_t)snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s",
                                  place->dir, sr_path_leaf(path));
    }
    if (sr_path_is_abstract(path)) {
        out->sun_path[0] = '\0';
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

bool sr_sockfile_address(const struct sr_place *place, const char *leaf, struct sockaddr_un *out)
{
    int length;

    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    length = snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d/%s", place->dir, leaf);
    return length > 0 && (size_t)length < sizeof out->sun_path;
}

/* What stands in the way of a bind decides what is told. */
static int describe_occupied(const struct sr_place *place, const char *path)
{
    struct stat info;

    if (place->dir < 0)
        return sr_error_system(EADDRINUSE, "bind", path);
    if (sr_sys.fstatat(place->dir, sr_path_leaf(path), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISSOCK(info.st_mode))
        return sr_error_wrapped(SOCKREF_EFOREIGN, EADDRINUSE, "bind", path,
                                "%s stands at the path and was not touched: remove it, or use "
                                "another path",
                                S_ISREG(info.st_mode)    ? "a file"
                                : S_ISDIR(info.st_mode)  ? "a directory"
                                : S_ISLNK(info.st_mode)  ? "a symbolic link"
                                : S_ISFIFO(info.st_mode) ? "a FIFO"
                                                         : "a device");
    return sr_error_wrapped(-EADDRINUSE, EADDRINUSE, "bind", path,
                            "another socket stands at the path and was not touched: stop its "
                            "owner, or remove the file if it has none");
}

/*
 * Look at a file by its name, or by a descriptor that pins it, for those who use it further. The
 * socket that is bound to it pins it as well.
 */
static int look(struct sr_sockfile *file, const char *path, bool pins, struct stat *out_info,
                int *out_pin)
{
    const char *leaf = sr_path_leaf(path);
    int at = file->place.dir, pin;

    if (pins && (pin = sr_fd_open(at, leaf, O_PATH | O_NOFOLLOW)) != -EMFILE && pin != -ENFILE) {
        if (pin < 0)
            return sr_error_system(-pin, "open", path);
        *out_pin = at = pin;
        leaf = "";
    }
    if (sr_sys.birth(at, leaf, out_info, &file->born_ns) == 0)
        return 0;
    file->born_ns = 0; /* a system that filters statx() */
    return sr_sys.fstatat(at, leaf, out_info, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0
               ? sr_error_system(errno, "fstatat", path)
               : 0;
}

/* Look for the file just bound: it must stand in the pinned directory. */
static int identify(struct sr_sockfile *file, const char *path, bool pins, struct stat *out_info,
                    int *out_pin)
{
    int status = look(file, path, pins, out_info, out_pin);

    if (status < 0)
        return status;
    if (!S_ISSOCK(out_info->st_mode) || out_info->st_uid != file->place.user)
        return sr_error_set(SOCKREF_EFOREIGN, path,
                            "the directory was replaced while the socket was bound");
    file->device = out_info->st_dev;
    file->inode = out_info->st_ino;
    file->has_file = true;
    return 0;
}

/*
 * The same for a spelling that was bound: it must lead to the file that stands in the pinned
 * directory. Where that directory was replaced meanwhile, the one found there is another one's.
 */
static int identify_bound(struct sr_sockfile *file, const char *path, bool pins,
                          struct stat *out_info, int *out_pin)
{
    struct stat there;
    int status = identify(file, path, pins, out_info, out_pin);

    if (status < 0 || strlen(path) > SR_SUN_PATH_MAX)
        return status;
    if (sr_sys.fstatat(AT_FDCWD, path, &there, AT_SYMLINK_NOFOLLOW) < 0)
        status = sr_error_system(errno, "fstatat", path);
    else if (there.st_dev != file->device || there.st_ino != file->inode)
        status = sr_error_set(SOCKREF_EFOREIGN, path,
                              "the directory was replaced while the socket was bound");
    file->has_file = status == 0;
    return status;
}

/* Where others may put files, it may be another program's socket by now that was found. */
static int check_bound(struct sr_sockfile *file, const char *path, const struct stat *info)
{
    if (!file->place.shared || sr_bound_to(file->fd, info) != SR_BOUND_ELSEWHERE)
        return 0;
    file->has_file = false;
    return sr_error_set(SOCKREF_EFOREIGN, path, "the socket was replaced while it was bound");
}

/* Give the file a mode that the umask has narrowed, through a descriptor of the file itself. */
static int widen(struct sr_sockfile *file, const char *path, mode_t mode, int *inout_pin)
{
    int status;

    if (*inout_pin < 0) {
        struct sr_sockfile again = *file;
        struct stat info;

        status = look(&again, path, true, &info, inout_pin);
        if (status < 0)
            return status;
        if (*inout_pin < 0)
            return sr_error_system(EMFILE, "open", path);
        if (info.st_dev != file->device || info.st_ino != file->inode)
            return sr_error_set(SOCKREF_EFOREIGN, path,
                                "the socket was replaced while it was bound");
    }
    status = sr_fd_change_mode(*inout_pin, mode);
    if (status == -ENOENT && !sr_fd_has_proc())
        return sr_error_wrapped(SOCKREF_EUNSUPPORTED, ENOENT, "chmod", path,
                                "a mode that the umask narrows needs /proc: mount it, or change "
                                "the umask");
    return status < 0 ? sr_error_system(-status, "chmod", path) : 0;
}

/* What the umask has decided: whoever makes the file again (mend.c) finds it at the descriptor. */
static int note_mode(const struct sr_sockfile *file, const char *path, mode_t mode)
{
    return sr_sys.fchmod(file->fd, mode) < 0 ? sr_error_system(errno, "fchmod", path) : 0;
}

/*
 * A bind that succeeded, but whose file was not found by the pinned directory: look where the
 * spelling leads now and remove what was created there since, if it is a socket of ours. The
 * descriptor still pins its inode.
 */
static void undo_lost_bind(const struct sr_sockfile *file, const char *path,
                           const struct timespec *since)
{
    enum sr_bound bound;
    struct stat info;

    if (sr_sys.fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    if (!S_ISSOCK(info.st_mode) || info.st_uid != geteuid() ||
        info.st_ctim.tv_sec < since->tv_sec ||
        (info.st_ctim.tv_sec == since->tv_sec && info.st_ctim.tv_nsec < since->tv_nsec))
        return;
    bound = sr_bound_to(file->fd, &info);
    if (bound == SR_BOUND_HERE || (bound == SR_BOUND_UNKNOWN && !file->place.shared))
        sr_sys.unlinkat(AT_FDCWD, path, 0);
}

static int bind_checked(struct sr_sockfile *file, const char *path, int mode, bool pins,
                        int *inout_pin)
{
    struct sockaddr_un address;
    socklen_t length = make_address(&file->place, path, &address);
    struct timespec since;
    struct stat info;
    int status;

    if (mode >= 0 && file->place.dir >= 0 && sr_sys.fchmod(file->fd, (mode_t)mode) < 0)
        return sr_error_system(errno, "fchmod", path);
    clock_gettime(CLOCK_REALTIME_COARSE, &since);
    if (sr_sys.bind(file->fd, (struct sockaddr *)&address, length) < 0) {
        if (errno == EADDRINUSE)
            return describe_occupied(&file->place, path);
        if (errno == ENOENT && strlen(path) > SR_SUN_PATH_MAX && !sr_fd_has_proc())
            return sr_path_refuse_without_proc("bind", path);
        return sr_error_system(errno, "bind", path);
    }
    if (file->place.dir < 0)
        return 0;
    status = identify_bound(file, path, pins, &info, inout_pin);
    if (status == 0)
        status = check_bound(file, path, &info);
    if (status < 0)
        undo_lost_bind(file, address.sun_path, &since);
    else if (mode < 0)
        status = note_mode(file, path, info.st_mode & 0777);
    else if ((info.st_mode & 07777) != (mode_t)mode)
        status = widen(file, path, (mode_t)mode, inout_pin);
    return status;
}

/* To the caller, where it wants one. */
static void give_pin(int pin, int *out_pin)
{
    if (out_pin)
        *out_pin = pin < 0 ? -1 : pin;
    else
        sr_fd_close(pin);
}

int sr_sockfile_bind(struct sr_place *place, const char *path, int mode, int backlog,
                     struct sr_sockfile *out_file, int *out_pin)
{
    struct sr_sockfile file = {.fd = -1, .place = *place};
    int status, pin = -1;

    file.fd = sr_fd_socket(AF_UNIX, SOCK_STREAM);
    if (file.fd == -ENOMEM)
        return sr_error_no_memory();
    if (file.fd < 0)
        return sr_error_system(-file.fd, "socket", path);
    status = bind_checked(&file, path, mode, out_pin != NULL, &pin);
    if (status < 0)
        goto undo;
    if (backlog && sr_sys.listen(file.fd, backlog) < 0) {
        status = sr_error_system(errno, "listen", path);
        goto undo;
    }
    *out_file = file;
    place->dir = -1;
    give_pin(pin, out_pin);
    return 0;

undo:
    sr_fd_close(pin);
    if (file.has_file) {
        struct sr_error *error = sr_error_take();

        sr_sockfile_remove(&file, path);
        sr_error_give(error);
    }
    sr_fd_close(file.fd);
    return status;
}

int sr_sockfile_listen(int fd, int backlog, const char *path)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening)
        return 0;
    return sr_sys.listen(fd, backlog) < 0 ? sr_error_system(errno, "listen", path) : 0;
}

int sr_sockfile_dial(const struct sr_place *place, const char *path)
{
    struct sockaddr_un address;
    socklen_t length = make_address(place, path, &address);
    int fd = sr_fd_socket(AF_UNIX, SOCK_STREAM);

    if (fd < 0)
        return fd == -ENOMEM ? sr_error_no_memory() : sr_error_system(-fd, "socket", path);
    if (sr_sys.connect(fd, (struct sockaddr *)&address, length) == 0)
        return fd;
    sr_error_system(errno, "connect", path);
    sr_fd_close(fd);
    return sockref_last_error()->status;
}

/* Whether a descriptor is a Unix stream socket that listens, bound to a file or to this abstract
 * name. */
static bool is_listener(int fd, const char *path)
{
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address, size = sizeof(int);
    int type = 0, listening = 0;

    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return false;
    size = sizeof listening;
    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
        return false;
    if (sr_sys.getsockname(fd, (struct sockaddr *)&address, &length) < 0 ||
        address.sun_family != AF_UNIX || length <= offsetof(struct sockaddr_un, sun_path))
        return false;
    if (!sr_path_is_abstract(path))
        return address.sun_path[0] == '/' || address.sun_path[0] != '\0';
    return address.sun_path[0] == '\0' &&
           length == offsetof(struct sockaddr_un, sun_path) + strlen(path) &&
           memcmp(address.sun_path + 1, path + 1, strlen(path) - 1) == 0;
}

/* Whether the name that a listener was bound to leads to the same file as the checked path. */
static bool leads_to(int fd, const struct stat *file)
{
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address;
    char bound[sizeof address.sun_path + 1] = {0};
    struct stat info;

    if (sr_sys.getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        return false;
    memcpy(bound, address.sun_path, sizeof address.sun_path);
    return sr_sys.fstatat(AT_FDCWD, bound, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
           info.st_dev == file->st_dev && info.st_ino == file->st_ino;
}

int sr_sockfile_adopt(struct sr_place *place, const char *path, int fd,
                      struct sr_sockfile *out_file, int *out_pin)
{
    struct sr_sockfile file = {.fd = fd, .adopted = true, .place = *place};
    int status, pin = -1;
    struct stat info;

    if (fd < 0 || sr_sys.fstat(fd, &info) < 0)
        return sr_error_argument("%d is not an open descriptor", fd);
    if (!S_ISSOCK(info.st_mode) || !is_listener(fd, path))
        return sr_error_set(SOCKREF_EFOREIGN, path,
                            "the descriptor is not a Unix stream socket that listens at the path");
    if (file.place.dir >= 0) {
        status = identify(&file, path, out_pin != NULL, &info, &pin);
        if (status < 0 && status != -ENOENT)
            goto close_pin;
        if (status == -ENOENT || !leads_to(fd, &info) ||
            sr_bound_to(fd, &info) == SR_BOUND_ELSEWHERE) {
            status = sr_error_set(SOCKREF_EFOREIGN, path,
                                  "the descriptor is bound to another file than the path");
            goto close_pin;
        }
    }
    if (sr_fd_adopt(fd) < 0) {
        status = sr_error_no_memory();
        goto close_pin;
    }
    *out_file = file;
    place->dir = -1;
    give_pin(pin, out_pin);
    return 0;

close_pin:
    sr_fd_close(pin);
    return status;
}

enum { AGAIN = 2, ASIDE_TRIES = 100 };

struct target {
    const struct sr_place *place;
    const char *leaf;
    const char *path; /* for what is told */
    dev_t device;
    ino_t inode;
};

static bool is_same(const struct target *target, const struct stat *info)
{
    return info->st_dev == target->device && info->st_ino == target->inode;
}

static void warn_displaced(const struct target *target)
{
    sr_log(SR_LOG_DISPLACED, SOCKREF_LOG_WARNING, 0, target->path,
           "another file stands at the path; it was left alone");
}

/* Some file systems, and some sandboxes, have no way to rename without replacing. */
static bool is_lacking(int refused)
{
    return refused == EINVAL || refused == ENOSYS;
}

/* Give a name of ours another one, never over another file. Returns 0 or -errno. */
static int rename_own(int dir, const char *from, const char *to)
{
    if (sr_sys.rename_new(dir, from, to) == 0)
        return 0;
    if (!is_lacking(errno))
        return -errno;
    if (sr_sys.link(dir, from, to) < 0 || sr_sys.unlinkat(dir, from, 0) < 0)
        return -errno;
    return 0;
}

int sr_sockfile_restore(const struct sr_place *place, const char *leaf, const char *path)
{
    char aside[SR_LOCKFILE_NAME_MAX];
    struct stat info;
    int status;

    if (!place->shared)
        return 0;
    sr_lockfile_name(leaf, SR_ASIDE_SUFFIX, aside);
    if (sr_sys.fstatat(place->dir, aside, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : sr_error_system(errno, "fstatat", path);
    if (info.st_uid != place->user && place->user != 0)
        return 0; /* none but root can have renamed it */
    status = rename_own(place->dir, aside, leaf);
    if (status == 0 || status == -ENOENT)
        return 0;
    return status == -EEXIST ? 1 : sr_error_system(-status, "renameat2", path);
}

static void name_at_random(char out[SR_LOCKFILE_NAME_MAX])
{
    snprintf(out, SR_LOCKFILE_NAME_MAX, ".sockref-kept-%016llx", (unsigned long long)sr_random());
}

void sr_sockfile_keep(const struct sr_place *place, const char *aside, const char *path)
{
    char kept[SR_LOCKFILE_NAME_MAX];

    name_at_random(kept);
    if (rename_own(place->dir, aside, kept) == 0)
        sr_log(SR_LOG_DISPLACED, SOCKREF_LOG_WARNING, 0, path,
               "two files were at the path in turn; the one before is kept beside it as %s", kept);
}

/* The file has been renamed aside and is not ours: put it back, or keep it and say so. */
static int put_back(const struct target *target, const char *aside)
{
    int status = rename_own(target->place->dir, aside, target->leaf);

    if (status == 0)
        warn_displaced(target);
    else if (status == -EEXIST)
        sr_sockfile_keep(target->place, aside, target->path);
    else if (status != -ENOENT)
        return sr_error_wrapped(status, -status, "renameat2", target->path,
                                "another file that stood at the path is now %s, and cannot be put "
                                "back: %s",
                                aside, sockref_status_message(status));
    return 0;
}

/*
 * Rename the file to a name of ours. It is always the same one, so that whoever comes after a kill
 * finds it; unless something that we may not touch stands there, or all that the system can do is
 * to replace what has that name: nothing has one that was drawn. Returns 0 or -errno.
 */
static int rename_aside(const struct target *target, char out_aside[SR_LOCKFILE_NAME_MAX])
{
    int dir = target->place->dir;

    sr_lockfile_name(target->leaf, SR_ASIDE_SUFFIX, out_aside);
    if (sr_sys.rename_new(dir, target->leaf, out_aside) == 0)
        return 0;
    if (errno != EEXIST && !is_lacking(errno))
        return -errno;
    name_at_random(out_aside);
    if (sr_sys.rename_new(dir, target->leaf, out_aside) == 0 ||
        (is_lacking(errno) && sr_sys.rename(dir, target->leaf, out_aside) == 0))
        return 0;
    return -errno;
}

/* One try: AGAIN where somebody else has put the file back in the middle of it. */
static int remove_aside_once(const struct target *target)
{
    int dir = target->place->dir;
    char aside[SR_LOCKFILE_NAME_MAX];
    struct stat info;
    int status = rename_aside(target, aside);

    if (status < 0)
        return status == -ENOENT ? 0 : sr_error_system(-status, "renameat2", target->path);
    if (sr_sys.fstatat(dir, aside, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return AGAIN;
        status = sr_error_system(errno, "fstatat", target->path);
        (void)rename_own(dir, aside, target->leaf);
        return status;
    }
    if (!is_same(target, &info))
        return put_back(target, aside);
    if (sr_sys.unlinkat(dir, aside, 0) == 0)
        return 1;
    return errno == ENOENT ? AGAIN : sr_error_system(errno, "unlinkat", target->path);
}

static int remove_aside(const struct target *target)
{
    int status = AGAIN;

    for (int i = 0; i < ASIDE_TRIES && status == AGAIN; i++)
        status = remove_aside_once(target);
    if (status != AGAIN)
        return status;
    return sr_error_set(-EBUSY, target->path, "others move the socket's file to and fro");
}

static int remove_target(const struct target *target)
{
    struct stat info;
    int status = sr_sockfile_restore(target->place, target->leaf, target->path);

    if (status < 0)
        return status;
    if (sr_sys.fstatat(target->place->dir, target->leaf, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return 0;
        return sr_error_system(errno, "fstatat", target->path);
    }
    if (!is_same(target, &info)) {
        warn_displaced(target);
        return 0;
    }
    if (target->place->shared)
        return remove_aside(target);
    if (sr_sys.unlinkat(target->place->dir, target->leaf, 0) == 0)
        return 1;
    return errno == ENOENT ? 0 : sr_error_system(errno, "unlinkat", target->path);
}

int sr_sockfile_remove_inode(const struct sr_place *place, const char *leaf, dev_t device,
                             ino_t inode, const char *path)
{
    const struct target target = {place, leaf, path, device, inode};

    return remove_target(&target);
}

int sr_sockfile_remove(struct sr_sockfile *self, const char *path)
{
    const struct target target = {&self->place, sr_path_leaf(path), path, self->device,
                                  self->inode};
    int status;

    if (!self->has_file)
        return 0;
    self->has_file = false;
    status = remove_target(&target);
    return status < 0 ? status : 0;
}

void sr_sockfile_retire(struct sr_sockfile *self)
{
    int placeholder = sr_fd_socket(AF_UNIX, SOCK_STREAM);

    if (placeholder >= 0 && sr_fd_replace(placeholder, self->fd) < 0)
        sr_fd_close(placeholder);
}

void sr_sockfile_close(struct sr_sockfile *self)
{
    sr_fd_close_both(self->fd, self->place.dir);
    self->fd = self->place.dir = -1;
}
