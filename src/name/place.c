/*
 * A place: the directory of a name, pinned by a descriptor.
 *
 * Whoever can write to the directory can put another file in the socket's place, so a directory is
 * trusted only where nobody but this user and root can: owned by one of them, and not writable by
 * group or others, or sticky and owned by root (as /tmp is), where others may add files but not
 * replace ours.
 */
#include "name/place.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room that a default leaf needs, "/sockref-4194304-0123456789abcdef.sock". */
#define DEFAULT_LEAF_ROOM 42

/* Copy the directory part of a checked path: "/" for a file in the root. */
static void directory_of(const char *path, char out[SR_PATH_MAX + 1])
{
    size_t length = (size_t)(sr_path_leaf(path) - path);

    if (length > 1)
        length--;
    memcpy(out, path, length);
    out[length] = '\0';
}

/* Why others could change what stands in a directory, or NULL. */
static const char *find_distrust(const struct stat *dir, uid_t user, bool *out_shared)
{
    bool writable = dir->st_mode & (S_IWGRP | S_IWOTH);
    bool sticky = dir->st_mode & S_ISVTX;

    *out_shared = writable || (dir->st_uid != user && dir->st_uid != 0);
    if (dir->st_uid != user && dir->st_uid != 0)
        return "the directory belongs to another user: use one of your own";
    if (writable && !(sticky && dir->st_uid == 0))
        return "other users can write to the directory: take that permission away, or use a "
               "private one";
    return NULL;
}

/* The path is for what is told. */
static int open_place(const char *directory, const char *path, bool any, struct sr_place *out_place)
{
    struct sr_place place = {.dir = -1, .user = geteuid()};
    const char *distrust;
    struct stat info;
    int status;

    place.dir = sr_fd_open(AT_FDCWD, directory, O_PATH | O_DIRECTORY);
    if (place.dir == -ENOMEM)
        return sr_error_no_memory();
    if (place.dir < 0)
        return sr_error_wrapped(place.dir, -place.dir, "open", path,
                                "the directory %s cannot be opened: %s", directory,
                                sockref_status_message(place.dir));
    if (sr_sys.fstat(place.dir, &info) < 0) {
        status = sr_error_system(errno, "fstat", path);
        goto close_dir;
    }
    distrust = find_distrust(&info, place.user, &place.shared);
    if (distrust && !any) {
        status = sr_error_set(SOCKREF_EUNTRUSTED, path, "%s", distrust);
        goto close_dir;
    }
    place.device = info.st_dev;
    place.inode = info.st_ino;
    *out_place = place;
    return 0;

close_dir:
    sr_fd_close(place.dir);
    return status;
}

static int open_parent(const char *path, bool any, struct sr_place *out_place)
{
    char directory[SR_PATH_MAX + 1];

    if (!sr_path_is_file(path)) {
        *out_place = (struct sr_place){.dir = -1, .user = geteuid()};
        return 0;
    }
    directory_of(path, directory);
    return open_place(directory, path, any, out_place);
}

int sr_place_open(const char *path, struct sr_place *out_place)
{
    return open_parent(path, false, out_place);
}

int sr_place_open_any(const char *path, struct sr_place *out_place)
{
    return open_parent(path, true, out_place);
}

int sr_place_open_directory(const char *directory, struct sr_place *out_place)
{
    return open_place(directory, directory, false, out_place);
}

int sr_place_open_any_directory(const char *directory, struct sr_place *out_place)
{
    return open_place(directory, directory, true, out_place);
}

int sr_place_from_fd(int dir, uid_t user, struct sr_place *out_place)
{
    struct sr_place place = {.dir = dir, .user = user};
    struct stat info;

    if (sr_sys.fstat(dir, &info) < 0)
        return -errno;
    if (!S_ISDIR(info.st_mode))
        return -ENOTDIR;
    (void)find_distrust(&info, place.user, &place.shared);
    place.device = info.st_dev;
    place.inode = info.st_ino;
    *out_place = place;
    return 0;
}

void sr_place_close(struct sr_place *self)
{
    sr_fd_close(self->dir);
    self->dir = -1;
}

int sr_place_find(const char *path, dev_t *out_device, ino_t *out_inode)
{
    char directory[SR_PATH_MAX + 1];
    struct stat info;

    directory_of(path, directory);
    if (sr_sys.fstatat(AT_FDCWD, directory, &info, 0) < 0)
        return -errno;
    if (!S_ISDIR(info.st_mode))
        return -ENOTDIR;
    *out_device = info.st_dev;
    *out_inode = info.st_ino;
    return 0;
}

int sr_place_leads_to(const struct sr_place *self, const char *leaf, dev_t device, ino_t inode)
{
    struct stat info;

    if (sr_sys.fstatat(self->dir, leaf, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return info.st_dev == device && info.st_ino == inode;
}

bool sr_place_lacks(const struct sr_place *self, const char *leaf)
{
    struct stat info;

    return sr_sys.fstatat(self->dir, leaf, &info, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

/* A sandbox that is older than the C library refuses, by EPERM, the call that asks about the
 * effective user: then the real one must do. */
bool sr_place_allows(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ||
           (errno == EPERM && access(path, mode) == 0);
}

static bool may_write(const char *directory)
{
    return sr_place_allows(directory, W_OK | X_OK);
}

/* Whether a directory exists, or could be made, that is ours alone, writable and short enough. */
static bool is_home(const char *directory, bool make)
{
    char parent[SR_PATH_MAX + 1];
    struct stat info;

    if (strlen(directory) + DEFAULT_LEAF_ROOM > SR_SUN_PATH_MAX)
        return false;
    if (make && sr_sys.mkdir(directory, 0700) < 0 && errno != EEXIST)
        return false;
    if (sr_sys.fstatat(AT_FDCWD, directory, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        if (make || errno != ENOENT)
            return false;
        directory_of(directory, parent);
        return may_write(parent);
    }
    return S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
           (info.st_mode & (S_IRWXG | S_IRWXO)) == 0 && may_write(directory);
}

bool sr_place_renew(const char *path)
{
    char directory[SR_PATH_MAX + 1];

    directory_of(path, directory);
    return is_home(directory, true);
}

static void strip_slashes(char *path)
{
    size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/')
        path[--length] = '\0';
}

static int choose(const char *preferred, bool make, char **out_path)
{
    const struct {
        const char *base;   /* NULL: not a candidate */
        const char *format; /* of base and uid */
    } candidates[] = {
        {preferred, "%s"},
        {secure_getenv("SOCKREF_DIR"), "%s"},
        {secure_getenv("XDG_RUNTIME_DIR"), "%s/sockref"},
        {"/run/user", "%s/%u/sockref"},
        {secure_getenv("TMPDIR"), "%s/sockref-%u"},
        {"/tmp", "%s/sockref-%u"},
    };
    char path[SR_PATH_MAX + 1];

    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        const char *base = candidates[i].base;
        int length;

        if (!base || base[0] != '/')
            continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        length = snprintf(path, sizeof path, candidates[i].format, base, (unsigned)geteuid());
#pragma GCC diagnostic pop
        if (length < 0 || (size_t)length >= sizeof path)
            continue;
        strip_slashes(path);
        if (!is_home(path, make))
            continue;
        *out_path = sr_sys.malloc(strlen(path) + 1);
        if (!*out_path)
            return sr_error_no_memory();
        memcpy(*out_path, path, strlen(path) + 1);
        return 0;
    }
    return sr_error_set(SOCKREF_EUNSUPPORTED, NULL,
                        "no directory for default names is ours alone, writable and short enough: "
                        "set SOCKREF_DIR to one, or give a path or an abstract name");
}

int sr_place_default(const char *preferred, char **out_path)
{
    return choose(preferred, true, out_path);
}

int sr_place_find_default(const char *preferred, char **out_path)
{
    return choose(preferred, false, out_path);
}
