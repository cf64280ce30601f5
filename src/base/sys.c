/* The table of system calls, filled with the real ones. */
#include "base/sys.h"

#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* C libraries got it late. */
#ifndef STATX_BTIME
#include <linux/stat.h>
static int statx(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
    return (int)syscall(SYS_statx, dir, path, flags, mask, out);
}
#endif

static void *map(size_t size)
{
    return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int open_at(int dir, const char *path, int flags, mode_t mode)
{
    return openat(dir, path, flags, mode);
}

static int rename_new(int dir, const char *from, const char *to)
{
    return (int)syscall(SYS_renameat2, dir, from, dir, to, RENAME_NOREPLACE);
}

static int rename_over(int dir, const char *from, const char *to)
{
    return renameat(dir, from, dir, to);
}

static int link_new(int dir, const char *from, const char *to)
{
    return linkat(dir, from, dir, to, 0);
}

static int duplicate(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int replace(int fd, int old)
{
    return dup3(fd, old, O_CLOEXEC);
}

static int tame(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
        return -1;
    return fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int stat_fd(int fd, struct stat *out)
{
    return fstat(fd, out);
}

static int stat_at(int dir, const char *path, struct stat *out, int flags)
{
    return fstatat(dir, path, out, flags);
}

static int lock(int fd, int command, struct flock *value)
{
    return fcntl(fd, command, value);
}

static int birth(int dir, const char *path, struct stat *out, uint64_t *out_ns)
{
    struct statx info;

    if (statx(dir, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME,
              &info) < 0)
        return -1;
    *out = (struct stat){
        .st_dev = makedev(info.stx_dev_major, info.stx_dev_minor),
        .st_ino = info.stx_ino,
        .st_mode = info.stx_mode,
        .st_nlink = info.stx_nlink,
        .st_uid = info.stx_uid,
        .st_gid = info.stx_gid,
        .st_size = (off_t)info.stx_size,
    };
    *out_ns = info.stx_mask & STATX_BTIME
                  ? (uint64_t)info.stx_btime.tv_sec * 1000000000u + info.stx_btime.tv_nsec
                  : 0;
    return 0;
}

static int touch(int dir, const char *path)
{
    return utimensat(dir, path, NULL, AT_SYMLINK_NOFOLLOW);
}

static int pidfd_open(pid_t pid, unsigned flags)
{
    return (int)syscall(SYS_pidfd_open, pid, flags);
}

struct sr_sys sr_sys = {
    .malloc = malloc,
    .calloc = calloc,
    .realloc = realloc,
    .aligned_alloc = aligned_alloc,
    .mmap = map,
    .openat = open_at,
    .close = close,
    .fstat = stat_fd,
    .fstatat = stat_at,
    .fchmod = fchmod,
    .chmod = chmod,
    .mkdir = mkdir,
    .unlinkat = unlinkat,
    .rename_new = rename_new,
    .rename = rename_over,
    .link = link_new,
    .duplicate = duplicate,
    .replace = replace,
    .tame = tame,
    .lock = lock,
    .pread = pread,
    .pwrite = pwrite,
    .fstatfs = fstatfs,
    .birth = birth,
    .touch = touch,
    .socket = socket,
    .bind = bind,
    .listen = listen,
    .connect = connect,
    .accept4 = accept4,
    .shutdown = shutdown,
    .getsockopt = getsockopt,
    .setsockopt = setsockopt,
    .getsockname = getsockname,
    .getpeername = getpeername,
    .recv = recv,
    .send = send,
    .sendmsg = sendmsg,
    .recvmsg = recvmsg,
    .socketpair = socketpair,
    .pidfd_open = pidfd_open,
    .epoll_create1 = epoll_create1,
    .epoll_ctl = epoll_ctl,
    .epoll_wait = epoll_wait,
    .poll = poll,
    .eventfd = eventfd,
    .timerfd_create = timerfd_create,
    .timerfd_settime = timerfd_settime,
    .pipe2 = pipe2,
    .read = read,
    .write = write,
    .thread_create = pthread_create,
    .spawn_guard = sr_spawn_guard,
};
