/* The table of system calls, filled with the real ones. */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static int replace(int fd, int old)
{
    return dup3(fd, old, O_CLOEXEC);
}

static int stat_fd(int fd, struct stat *out)
{
    return fstat(fd, out);
}

static int stat_at(int dir, const char *path, struct stat *out, int flags)
{
    return fstatat(dir, path, out, flags);
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
    .replace = replace,
    .socket = socket,
    .bind = bind,
    .listen = listen,
    .connect = connect,
    .accept4 = accept4,
    .shutdown = shutdown,
    .getsockopt = getsockopt,
    .getsockname = getsockname,
    .recv = recv,
    .send = send,
    .sendmsg = sendmsg,
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
};
