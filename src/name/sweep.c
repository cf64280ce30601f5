/*
 * Sweep: what dead processes left in a directory.
 *
 * A lock file tells of a name that was shared: where nobody holds any byte of it, what its record
 * tells of is removed, and then the file. That is looked at before it is locked, so that a sweep is
 * not in the way of those who live. In a directory that is ours alone a socket of this user under a
 * default name, which only sockref makes, with nobody who has it bound, was left as well.
 */
#include "name/sweep.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "name/listing.h"
#include "name/path.h"
#include "name/place.h"
#include "name/probe.h"
#include "name/recover.h"
#include "name/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_SUFFIX ".srlock"
#define PREFIX      "sockref-"

/* "sockref-PID-16 hex digits.sock" */
static bool is_default_leaf(const char *leaf)
{
    size_t digits, hex;

    if (strncmp(leaf, PREFIX, strlen(PREFIX)) != 0)
        return false;
    leaf += strlen(PREFIX);
    digits = strspn(leaf, "0123456789");
    if (digits == 0 || leaf[digits] != '-')
        return false;
    leaf += digits + 1;
    hex = strspn(leaf, "0123456789abcdef");
    return hex == 16 && strcmp(leaf + hex, ".sock") == 0;
}

/* Whether the process that a default name tells of may be in the middle of its bind(). */
static bool is_being_bound(const char *leaf, const struct stat *info)
{
    long pid = strtol(leaf + strlen(PREFIX), NULL, 10);

    return sr_probe_is_fresh(info) && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

/* Look at one socket and remove it if it is dead and ours. Returns 1 if it was removed. */
static int sweep_socket(const struct sr_place *place, const char *leaf, const char *path)
{
    struct stat info;
    int status = 0;
    int inode = sr_fd_open(place->dir, leaf, O_PATH | O_NOFOLLOW);

    if (inode < 0)
        return inode == -ENOENT ? 0 : sr_error_system(-inode, "open", path);
    if (sr_sys.fstat(inode, &info) < 0)
        status = sr_error_system(errno, "fstat", path);
    else if (S_ISSOCK(info.st_mode) && info.st_uid == geteuid() &&
             sr_probe_inode(inode) == SR_PROBE_DEAD && !is_being_bound(leaf, &info))
        status = sr_sockfile_remove_inode(place, leaf, info.st_dev, info.st_ino, path);
    sr_fd_close(inode);
    return status;
}

/* Whether a lock file is of this user, and nobody lives who holds it; asked without locking
 * anything.
 */
static bool is_left(const struct sr_place *place, const char *lock_name)
{
    struct sr_lockfile lock = {
        .fd = sr_fd_open(place->dir, lock_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)};
    struct stat info;
    bool left = lock.fd >= 0 && sr_sys.fstat(lock.fd, &info) == 0 &&
                sr_lockfile_is_ours(place, &info) && !sr_lockfile_has_owner(&lock) &&
                !sr_lockfile_has_slots(&lock);

    sr_fd_close(lock.fd < 0 ? -1 : lock.fd);
    return left;
}

/* A name that has a lock file: returns 1 if something was removed. */
static int sweep_lock(const struct sr_place *place, const char *path, const char *lock_name)
{
    bool removed = false;
    int status;

    if (!is_left(place, lock_name))
        return 0;
    status = sr_recover_name(place, path, NULL, &removed);
    return status < 0 ? status : removed || sr_place_lacks(place, lock_name);
}

static int sweep_name(const struct sr_place *place, const char *path)
{
    const char *leaf = sr_path_leaf(path);
    char lock_name[SR_LOCKFILE_NAME_MAX];
    struct stat info;

    sr_lockfile_name(leaf, LOCK_SUFFIX, lock_name);
    if (sr_sys.fstatat(place->dir, lock_name, &info, AT_SYMLINK_NOFOLLOW) == 0)
        return sweep_lock(place, path, lock_name);
    return !place->shared && is_default_leaf(leaf) ? sweep_socket(place, leaf, path) : 0;
}

static int sweep_names(const struct sr_listing *listing, const struct sr_place *place,
                       const char *directory, uint64_t *inout_count)
{
    struct sr_error *error = NULL; /* what first_error is the status of */
    char path[SR_PATH_MAX + SR_LEAF_MAX + 2];
    int first_error = 0;

    for (size_t i = 0; i < listing->count; i++) {
        int status;

        snprintf(path, sizeof path, "%s/%s", directory, listing->leaves[i]);
        status = sweep_name(place, path);
        if (status == 1) {
            ++*inout_count;
            sr_log(SR_LOG_SWEPT, SOCKREF_LOG_INFO, 0, path, "what a dead process left was removed");
        } else if (status < 0 && first_error == 0) {
            first_error = status;
            error = sr_error_take();
        }
    }
    sr_error_give(error);
    return first_error;
}

int sr_sweep_directory(const char *directory, uint64_t *inout_count)
{
    struct sr_listing listing;
    struct sr_place place;
    int status = sr_place_open_directory(directory, &place);

    if (status < 0)
        return status;
    status = sr_listing_read(&place, directory, &listing);
    if (status == 0) {
        status = sweep_names(&listing, &place, directory, inout_count);
        sr_listing_free(&listing);
    }
    sr_place_close(&place);
    return status;
}
