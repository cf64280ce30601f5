/*
 * Sweep: in a directory that is ours alone, a socket of this user, under a name that only sockref
 * makes, that no process has bound was left by a process that died. Whether one has it bound is
 * asked by connecting a datagram socket: the kernel looks the socket up before it sees that the
 * types differ, so nothing is queued and no listener notices; ECONNREFUSED says that nobody has it.
 */
#include "name/sweep.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* "sockref-PID-16 hex digits.sock" */
static bool is_default_leaf(const char *leaf)
{
    size_t digits, hex;

    if (strncmp(leaf, "sockref-", 8) != 0)
        return false;
    leaf += 8;
    digits = strspn(leaf, "0123456789");
    if (digits == 0 || leaf[digits] != '-')
        return false;
    leaf += digits + 1;
    hex = strspn(leaf, "0123456789abcdef");
    return hex == 16 && strcmp(leaf + hex, ".sock") == 0;
}

/* Whether nobody has the inode bound. */
static bool is_dead(int inode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool dead;
    int fd = sr_fd_socket(AF_UNIX, SOCK_DGRAM);

    if (fd < 0)
        return false;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", inode);
    dead = sr_sys.connect(fd, (struct sockaddr *)&address, sizeof address) < 0 &&
           errno == ECONNREFUSED;
    sr_fd_close(fd);
    return dead;
}

/* Look at one leaf and remove it if it is dead and ours. Returns 1 if it was removed. */
static int sweep_leaf(int dir, const char *leaf)
{
    struct stat pinned, now;
    int status = 0;
    int inode = sr_fd_open(dir, leaf, O_PATH | O_NOFOLLOW);

    if (inode < 0)
        return inode == -ENOENT ? 0 : sr_error_system(-inode, "open", leaf);
    if (sr_sys.fstat(inode, &pinned) < 0) {
        status = sr_error_system(errno, "fstat", leaf);
    } else if (S_ISSOCK(pinned.st_mode) && pinned.st_uid == geteuid() && is_dead(inode) &&
               sr_sys.fstatat(dir, leaf, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
               now.st_dev == pinned.st_dev && now.st_ino == pinned.st_ino) {
        status = sr_sys.unlinkat(dir, leaf, 0) < 0 ? sr_error_system(errno, "unlinkat", leaf) : 1;
    }
    sr_fd_close(inode);
    return status;
}

static int sweep_stream(DIR *stream, uint64_t *inout_count)
{
    struct dirent *item;
    int first_error = 0;

    while ((item = readdir(stream))) {
        int status;

        if (!is_default_leaf(item->d_name))
            continue;
        status = sweep_leaf(dirfd(stream), item->d_name);
        if (status == 1) {
            ++*inout_count;
            sr_log(SR_LOG_SWEPT, SOCKREF_LOG_INFO, 0, item->d_name, "a dead socket was removed");
        } else if (status < 0 && first_error == 0) {
            first_error = status;
        }
    }
    return first_error;
}

int sr_sweep_directory(const char *directory, uint64_t *inout_count)
{
    char inside[SR_PATH_MAX + 4];
    struct sr_place place;
    DIR *stream = NULL;
    int fd, status;

    snprintf(inside, sizeof inside, "%s/.", directory);
    status = sr_place_open(inside, &place);
    if (status < 0)
        return status;
    if (place.shared) {
        sr_place_close(&place);
        return sr_error_set(SOCKREF_EUNTRUSTED, directory,
                            "other users can write to the directory: sweep private ones only");
    }
    fd = sr_sys.openat(place.dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd >= 0)
        stream = fdopendir(fd);
    if (!stream) {
        status = sr_error_system(errno, "open", directory);
        if (fd >= 0)
            sr_sys.close(fd);
    } else {
        status = sweep_stream(stream, inout_count);
        closedir(stream);
    }
    sr_place_close(&place);
    return status;
}
