/* The names that the guard watches over: a hash table by number, which grows. */
#include "guard/watched.h"

#include "base/fd.h"
#include "base/sys.h"
#include "guard/keep.h"
#include "name/path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define FIRST_BUCKETS     64u
#define SPARE_DESCRIPTORS 16 /* that pins leave free, for directories and cleaning */

static struct sr_watched *first_table[FIRST_BUCKETS], **buckets = first_table;
static size_t buckets_count = FIRST_BUCKETS, names_count;
static struct sr_watched_dir *dirs;

static struct sr_watched **bucket_of(uint64_t id)
{
    return &buckets[id % buckets_count];
}

/* Where the link to a name is, or would be. */
static struct sr_watched **find(uint64_t id)
{
    struct sr_watched **link = bucket_of(id);

    while (*link && (*link)->id != id)
        link = &(*link)->next;
    return link;
}

/* A table that can't grow is slower. */
static void grow(void)
{
    size_t count = 2 * buckets_count, old_count = buckets_count;
    struct sr_watched **table = sr_sys.calloc(count, sizeof(struct sr_watched *)), **old = buckets;

    if (!table)
        return;
    buckets = table;
    buckets_count = count;
    for (size_t i = 0; i < old_count; i++) {
        struct sr_watched *name, *next;

        for (name = old[i]; name; name = next) {
            struct sr_watched **bucket = bucket_of(name->id);

            next = name->next;
            name->next = *bucket;
            *bucket = name;
        }
    }
    if (old != first_table)
        free(old);
}

/* The directory of a checked path. Takes fd. */
static struct sr_watched_dir *acquire_dir(int fd, const char *path, uid_t user)
{
    struct sr_watched_dir *dir;
    struct sr_place place;

    if (fd < 0 || sr_place_from_fd(fd, user, &place) < 0)
        goto close;
    for (dir = dirs; dir; dir = dir->next) {
        if (dir->place.device != place.device || dir->place.inode != place.inode ||
            dir->place.user != user)
            continue;
        dir->place.shared |= place.shared;
        dir->names++;
        sr_fd_close(fd);
        return dir;
    }
    dir = sr_sys.malloc(sizeof *dir);
    if (!dir)
        goto close;
    *dir = (struct sr_watched_dir){.next = dirs, .place = place, .names = 1};
    dir->kept = sr_keep_directory(&place, path);
    dirs = dir;
    return dir;

close:
    sr_fd_close(fd);
    return NULL;
}

static void release_dir(struct sr_watched_dir *dir)
{
    struct sr_watched_dir **link = &dirs;

    if (--dir->names > 0)
        return;
    while (*link != dir)
        link = &(*link)->next;
    *link = dir->next;
    sr_fd_close(dir->kept);
    sr_place_close(&dir->place);
    free(dir);
}

static void remove_at(struct sr_watched **link)
{
    struct sr_watched *name = *link;

    *link = name->next;
    names_count--;
    sr_fd_close(name->inode);
    release_dir(name->dir);
    free(name);
}

void sr_watched_add(uint64_t id, const char *path, bool has_lock, uid_t user, int dir_fd)
{
    size_t length = strlen(path) + 1;
    struct sr_watched_dir *dir = acquire_dir(dir_fd, path, user);
    struct sr_watched *name, **bucket;

    if (!dir)
        return;
    name = sr_sys.malloc(sizeof *name + length);
    if (!name) {
        release_dir(dir);
        return;
    }
    sr_watched_forget(id);
    if (names_count >= buckets_count)
        grow();
    bucket = bucket_of(id);
    *name = (struct sr_watched){
        .next = *bucket, .id = id, .dir = dir, .has_lock = has_lock, .inode = -1};
    memcpy(name->path, path, length);
    *bucket = name;
    names_count++;
}

/* Whether it leaves enough free; rather no pin than not to be told of further names. */
static bool is_spare(int fd)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) < 0 || (rlim_t)fd + SPARE_DESCRIPTORS < limit.rlim_cur;
}

/* It may be removed on no more proof than this, so it is a socket of the user's. */
static bool is_inode(const struct sr_watched *name, int fd, dev_t device, ino_t inode)
{
    struct stat info;

    return fd >= 0 && sr_sys.fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) &&
           info.st_uid == name->dir->place.user && info.st_dev == device && info.st_ino == inode;
}

/* What the parent could not open, its own limit being reached. */
static int open_inode(const struct sr_watched *name, dev_t device, ino_t inode)
{
    int fd = sr_fd_open(name->dir->place.dir, sr_path_leaf(name->path), O_PATH | O_NOFOLLOW);

    if (is_inode(name, fd, device, inode))
        return fd;
    if (fd >= 0)
        sr_fd_close(fd);
    return -1;
}

void sr_watched_pin(uint64_t id, dev_t device, ino_t inode, int fd)
{
    struct sr_watched *name = *find(id);

    if (!name) {
        sr_fd_close(fd);
        return;
    }
    if (fd < 0)
        fd = open_inode(name, device, inode);
    if (fd >= 0 && (!is_spare(fd) || !is_inode(name, fd, device, inode))) {
        sr_fd_close(fd);
        fd = -1;
    }
    sr_fd_close(name->inode);
    name->inode = fd;
    name->pinned = (struct sr_identity){.is_known = fd >= 0, .device = device, .inode = inode};
}

void sr_watched_forget(uint64_t id)
{
    struct sr_watched **link = find(id);

    if (*link)
        remove_at(link);
}

size_t sr_watched_settle(bool (*is_settled)(struct sr_watched *name))
{
    for (size_t i = 0; i < buckets_count; i++) {
        struct sr_watched **link = &buckets[i];

        while (*link) {
            if (is_settled(*link))
                remove_at(link);
            else
                link = &(*link)->next;
        }
    }
    return names_count;
}
