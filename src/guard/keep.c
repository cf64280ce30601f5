/*
 * Programs that clean directories go by the age of files. systemd-tmpfiles leaves a directory alone
 * while somebody holds a BSD lock on it; that is asked for only where no other program would want
 * such a lock for itself. Elsewhere the files are touched from time to time, the socket by its
 * pinned inode, so that a file of somebody else at its path is left as it is.
 */
#include "guard/keep.h"

#include "base/fd.h"
#include "base/sys.h"
#include "guard/watched.h"
#include "name/lockfile.h"
#include "name/path.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

/* ".../sockref/NAME" or ".../sockref-UID/NAME" */
static bool is_default_directory(const char *path)
{
    const char *leaf = sr_path_leaf(path), *at = leaf - 1;

    if (leaf == path)
        return false;
    while (at > path && at[-1] != '/')
        at--;
    return strncmp(at, "sockref/", 8) == 0 || strncmp(at, "sockref-", 8) == 0;
}

int sr_keep_directory(const struct sr_place *place, const char *path)
{
    int fd;

    if (place->shared || !is_default_directory(path))
        return -1;
    fd = sr_fd_open(place->dir, ".", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return fd;
    sr_fd_close(fd);
    return -1;
}

static bool touch(struct sr_watched *name)
{
    char beside[SR_LOCKFILE_NAME_MAX], socket[40];
    const struct sr_place *place = &name->dir->place;

    if (name->dir->kept < 0)
        name->dir->kept = sr_keep_directory(place, name->path);
    sr_lockfile_name(sr_path_leaf(name->path), ".srlock", beside);
    sr_sys.touch(place->dir, beside);
    sr_lockfile_name(sr_path_leaf(name->path), ".srctl", beside);
    sr_sys.touch(place->dir, beside);
    if (name->inode >= 0) {
        snprintf(socket, sizeof socket, "/proc/self/fd/%d", name->inode);
        utimensat(AT_FDCWD, socket, NULL, 0);
    }
    return false;
}

void sr_keep_names(void)
{
    sr_watched_settle(touch);
}
