/* The lock file of a name. */
#include "name/lockfile.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/record.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A longer one is known by its hash: its control socket has to fit behind /proc/self/fd/N/. */
#define LEAF_MOST   (SR_LEAF_BY_FD_MAX - sizeof "..srctl" + 1)
#define SLOT_RANGE  ((uint64_t)1 << 40)
#define SLOT_TRIES  64
#define FEW_SLOTS   16 /* are counted, however long it takes */
#define V9FS        0x01021997
#define NFS         0x6969
#define SMB         0x517b
#define CIFS        0xff534d42
#define SMB2        0xfe534d42
#define MOST_REOPEN 1000 /* each time somebody else has removed the file: that is progress */

void sr_lockfile_name(const char *leaf, const char *suffix, char out[SR_LOCKFILE_NAME_MAX])
{
    size_t length = strlen(leaf);

    if (length <= LEAF_MOST) { /* several times in a start, so not by printf */
        out[0] = '.';
        memcpy(out + 1, leaf, length);
        memcpy(out + 1 + length, suffix, strlen(suffix) + 1);
        return;
    }
    snprintf(out, SR_LOCKFILE_NAME_MAX, ".~%.40s~%016llx%s", leaf,
             (unsigned long long)sr_hash_bytes(0, leaf, length), suffix);
}

/* One F_OFD_* call on a range; retried when a signal interrupts it. Returns 0 or -errno. */
static int lock_range(int fd, int command, short type, int64_t from, int64_t length,
                      struct flock *out)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = length};
    int status;

    do
        status = sr_sys.lock(fd, command, &lock);
    while (status < 0 && errno == EINTR);
    if (status < 0)
        return -errno;
    if (out)
        *out = lock;
    return 0;
}

static int describe_lock(int status, const char *path)
{
    if (status == -EACCES || status == -EPERM)
        return sr_error_wrapped(SOCKREF_EUNSUPPORTED, -status, "fcntl", path,
                                "this process may not lock files: have its sandbox allow it, or "
                                "use an abstract name, or share 0");
    if (status == -EINVAL || status == -ENOSYS || status == -EOPNOTSUPP || status == -ENOLCK)
        return sr_error_wrapped(SOCKREF_EUNSUPPORTED, -status, "fcntl", path,
                                "this file system has no locks of open file descriptions: use "
                                "another directory, an abstract name, or share 0");
    return sr_error_system(-status, "fcntl", path);
}

/* What is locked is EAGAIN alone; EACCES is a sandbox's, and would be waited for in vain. */
static int take_range(struct sr_lockfile *self, const char *path, int64_t from, int64_t length)
{
    int status = lock_range(self->fd, F_OFD_SETLK, F_WRLCK, from, length, NULL);

    if (status == -EAGAIN)
        return SR_LOCK_BUSY;
    return status < 0 ? describe_lock(status, path) : 0;
}

int sr_lockfile_take(struct sr_lockfile *self, const char *path, int64_t byte)
{
    return take_range(self, path, byte, 1);
}

/* Bytes 0, 1 and 2 at once; where one of them is busy, 0 and 1 one after the other. */
static int take_to_own(struct sr_lockfile *self, const char *path, struct sr_taken *out)
{
    int status = take_range(self, path, SR_BYTE_CHANGE, SR_BYTE_FIRST - SR_BYTE_CHANGE + 1), owner;

    *out = (struct sr_taken){status == 0, status == 0 ? SR_BYTE_FIRST : 0};
    if (status != SR_LOCK_BUSY)
        return status;
    status = sr_lockfile_take(self, path, SR_BYTE_CHANGE);
    if (status != 0)
        return status;
    owner = sr_lockfile_take(self, path, SR_BYTE_OWNER);
    out->is_owner = owner == 0;
    return owner < 0 ? owner : 0;
}

void sr_lockfile_free(struct sr_lockfile *self, int64_t byte)
{
    lock_range(self->fd, F_OFD_SETLK, F_UNLCK, byte, 1, NULL);
}

void sr_lockfile_leave(struct sr_lockfile *self)
{
    sr_lockfile_free(self, SR_BYTE_CHANGE);
}

int64_t sr_lockfile_take_slot(struct sr_lockfile *self, const char *path, uint64_t random)
{
    int64_t slot;
    int status;

    for (int i = 0; i < SLOT_TRIES; i++) {
        slot = (int64_t)(SR_BYTE_SLOTS + random % SLOT_RANGE);
        status = sr_lockfile_take(self, path, slot);
        if (status == 0)
            return slot;
        if (status < 0)
            return status;
        random = sr_random();
    }
    return sr_error_set(SOCKREF_ELIMIT, path, "no free slot was found among the name's holders");
}

bool sr_lockfile_has_starter(const struct sr_lockfile *self)
{
    struct flock found;

    return lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_FIRST, 1, &found) == 0 &&
           found.l_type != F_UNLCK;
}

bool sr_lockfile_has_owner(const struct sr_lockfile *self)
{
    struct flock found;

    return lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_OWNER, 1, &found) < 0 ||
           found.l_type != F_UNLCK;
}

bool sr_lockfile_has_slots(const struct sr_lockfile *self)
{
    struct flock found;

    /* An heir's byte is in between: it has a slot as well. */
    return lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_FIRST, 0, &found) < 0 ||
           found.l_type != F_UNLCK;
}

/*
 * The kernel tells any one lock of a range, so the ranges before and after it are asked too. It
 * looks through all locks each time, and one process may hold any number of them: there is an end
 * to it. Returns 0, SR_LOCK_MORE or -errno, with what was counted until then.
 */
static int count_range(const struct sr_lockfile *self, int64_t from, int64_t to, uint64_t until_ns,
                       uint64_t *inout_count)
{
    struct flock found;
    int status;

    while (from <= to) {
        int64_t end;

        if (*inout_count >= FEW_SLOTS && sr_clock_ns() >= until_ns)
            return SR_LOCK_MORE;
        status = lock_range(self->fd, F_OFD_GETLK, F_WRLCK, from, to - from + 1, &found);
        if (status < 0 || found.l_type == F_UNLCK)
            return status;
        end = found.l_len == 0 ? to : found.l_start + found.l_len - 1;
        ++*inout_count;
        if (found.l_start - from < to - end) {
            status = count_range(self, from, found.l_start - 1, until_ns, inout_count);
            from = end + 1;
        } else {
            status = count_range(self, end + 1, to, until_ns, inout_count);
            to = found.l_start - 1;
        }
        if (status != 0)
            return status;
    }
    return 0;
}

int sr_lockfile_count_slots(const struct sr_lockfile *self, uint64_t most_ns, uint64_t *out_count)
{
    uint64_t until_ns = sr_clock_ns() + most_ns;
    int status;

    *out_count = 0;
    status = count_range(self, SR_BYTE_FIRST, SR_BYTE_FIRST, until_ns, out_count);
    return status != 0 ? status
                       : count_range(self, SR_BYTE_SLOTS, SR_BYTE_SLOTS + (int64_t)SLOT_RANGE,
                                     until_ns, out_count);
}

int sr_lockfile_look(const struct sr_lockfile *self, struct sr_locks *out)
{
    struct flock change, owner;
    int status = lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_CHANGE, 1, &change);

    if (status == 0)
        status = lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_OWNER, 1, &owner);
    if (status < 0)
        return status;
    out->changing = change.l_type != F_UNLCK;
    out->owner = owner.l_type != F_UNLCK;
    return 0;
}

static int describe_open(int status, const char *path, const char *name)
{
    switch (status) {
    case -ENOMEM:
        return sr_error_no_memory();
    case -ELOOP:
    case -EISDIR:
    case -ENXIO:
        return sr_error_wrapped(SOCKREF_EUNTRUSTED, -status, "open", path,
                                "%s is not a lock file: remove it, or use another path", name);
    case -EACCES:
        return sr_error_wrapped(status, EACCES, "open", path,
                                "this user may not make or open %s: use a directory that is this "
                                "user's, or an abstract name",
                                name);
    case -EROFS:
        return sr_error_wrapped(status, -status, "open", path,
                                "the file system is read-only: use another directory, or an "
                                "abstract name");
    default:
        return sr_error_wrapped(status, -status, "open", path, "the lock file %s: %s", name,
                                sockref_status_message(status));
    }
}

/* Locks that a server keeps do not go with the process. */
static const char *find_remote(int fd)
{
    struct statfs info;

    if (sr_sys.fstatfs(fd, &info) < 0)
        return NULL;
    switch ((unsigned long)info.f_type & 0xffffffffu) {
    case NFS:
        return "NFS";
    case V9FS:
        return "9p";
    case SMB:
    case CIFS:
    case SMB2:
        return "SMB";
    case CEPH_SUPER_MAGIC:
        return "Ceph";
    case AFS_SUPER_MAGIC:
    case AFS_FS_MAGIC:
        return "AFS";
    default:
        return NULL;
    }
}

/* Whether a socket is dead is asked by way of it. Asked until it is there. */
static bool has_proc(void)
{
    static atomic_bool known;

    if (!atomic_load(&known))
        atomic_store(&known, sr_fd_has_proc());
    return atomic_load(&known);
}

int sr_lockfile_refuse_without_proc(const char *path)
{
    return sr_error_set(SOCKREF_EUNSUPPORTED, path,
                        "sharing a name needs /proc: mount it, or use share 0");
}

bool sr_lockfile_is_ours(const struct sr_place *place, const struct stat *info)
{
    return S_ISREG(info->st_mode) && info->st_uid == place->user && info->st_nlink <= 1 &&
           !(info->st_mode & (S_IRWXG | S_IRWXO));
}

static int check_opened(struct sr_lockfile *self, const struct sr_place *place, const char *path,
                        const char *name)
{
    const char *remote;
    struct stat info;

    if (sr_sys.fstat(self->fd, &info) < 0)
        return sr_error_system(errno, "fstat", path);
    self->device = info.st_dev;
    self->inode = info.st_ino;
    if (!sr_lockfile_is_ours(place, &info))
        return sr_error_set(SOCKREF_EUNTRUSTED, path,
                            "%s is not a lock file of this user alone: make its mode 0600, or use "
                            "another directory",
                            name);
    if ((info.st_mode & 0600) != 0600 && sr_sys.fchmod(self->fd, 0600) < 0) /* an odd umask */
        return sr_error_system(errno, "fchmod", path);
    if (!has_proc())
        return sr_lockfile_refuse_without_proc(path);
    remote = info.st_size == 0 ? find_remote(self->fd) : NULL; /* one is enough: whoever writes */
    if (remote)
        return sr_error_set(SOCKREF_EUNSUPPORTED, path,
                            "locks on %s do not tell whether a holder has died: use a local "
                            "directory, or share 0",
                            remote);
    return 0;
}

/* A status leaves the descriptor open where there is one. */
static int open_file(const struct sr_place *place, const char *path, const char *name, bool create,
                     struct sr_lockfile *out)
{
    int flags = O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | (create ? O_CREAT : 0);

    out->fd = sr_fd_open_mode(place->dir, name, flags, 0600);
    if (out->fd == -ENOENT && !create)
        return -ENOENT; /* not described */
    if (out->fd == -EACCES && create) {
        struct stat info;

        if (sr_sys.fstatat(place->dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            info.st_uid != place->user)
            return sr_error_wrapped(SOCKREF_EUNTRUSTED, EACCES, "open", path,
                                    "%s is another user's: use another path", name);
    }
    if (out->fd < 0)
        return describe_open(out->fd, path, name);
    return check_opened(out, place, path, name);
}

/* Returns 1, 0, or -errno where it can't be told. */
static int leads_here(const struct sr_lockfile *self, const struct sr_place *place,
                      const char *name, struct stat *out_info)
{
    if (sr_sys.fstatat(place->dir, name, out_info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    return out_info->st_dev == self->device && out_info->st_ino == self->inode;
}

int sr_lockfile_find_name(const struct sr_lockfile *self, const struct sr_place *place,
                          const char *path)
{
    char name[SR_LOCKFILE_NAME_MAX];
    struct stat info;

    sr_lockfile_name(sr_path_leaf(path), ".srlock", name);
    if (sr_sys.fstatat(place->dir, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? SR_LOCK_NAMES_NONE : -errno;
    return info.st_dev == self->device && info.st_ino == self->inode ? SR_LOCK_NAMES_THIS
                                                                     : SR_LOCK_NAMES_ANOTHER;
}

bool sr_lockfile_is_current(const struct sr_lockfile *self, const struct sr_place *place,
                            const char *path)
{
    int found = sr_lockfile_find_name(self, place, path);

    return found < 0 || found == SR_LOCK_NAMES_THIS;
}

int sr_lockfile_unlink_name(const struct sr_place *place, const char *path)
{
    char name[SR_LOCKFILE_NAME_MAX];

    sr_lockfile_name(sr_path_leaf(path), ".srlock", name);
    if (sr_sys.unlinkat(place->dir, name, 0) < 0 && errno != ENOENT)
        return sr_error_system(errno, "unlinkat", path);
    return 0;
}

int sr_lockfile_unlink(const struct sr_lockfile *self, const struct sr_place *place,
                       const char *path)
{
    int found = sr_lockfile_find_name(self, place, path);

    if (found < 0)
        return sr_error_system(-found, "fstatat", path);
    return found == SR_LOCK_NAMES_THIS ? sr_lockfile_unlink_name(place, path) : 0;
}

void sr_lockfile_discard(const struct sr_lockfile *self, const struct sr_place *place,
                         const char *path)
{
    struct sr_error *error = sr_error_take();
    struct sr_record record;
    int status = 0;

    if (sr_record_read(self->fd, &record) == 0 && record.state == SR_RECORD_NONE &&
        !sr_lockfile_has_owner(self) && !sr_lockfile_has_slots(self))
        status = sr_lockfile_unlink(self, place, path);
    if (status < 0)
        sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, status, path, "%s",
               sockref_last_error()->message);
    sr_error_give(error);
}

static bool is_locked(const struct sr_lockfile *self)
{
    struct flock found;

    return lock_range(self->fd, F_OFD_GETLK, F_WRLCK, SR_BYTE_CHANGE, 0, &found) == 0 &&
           found.l_type != F_UNLCK;
}

/* A lock file that this call may have made goes again, unless somebody uses it; one that can't be
 * locked here, as far as that can be told. */
static void abandon(struct sr_lockfile *self, const struct sr_place *place, const char *path)
{
    struct sr_error *error = sr_error_take();
    struct stat info;
    int status;

    if (sr_sys.fstat(self->fd, &info) == 0 && sr_lockfile_is_ours(place, &info)) {
        self->device = info.st_dev;
        self->inode = info.st_ino;
        status = sr_lockfile_take(self, path, SR_BYTE_CHANGE);
        if (status == 0)
            sr_lockfile_discard(self, place, path);
        else if (status == SOCKREF_EUNSUPPORTED && info.st_size == 0 && !is_locked(self))
            (void)sr_lockfile_unlink(self, place, path);
    }
    sr_lockfile_close(self);
    sr_error_give(error);
}

/* With out_taken byte 1 is taken as well where it is free, and a slot with it. */
static int enter_file(const struct sr_place *place, const char *path, bool create,
                      struct sr_taken *out_taken, struct sr_lockfile *out)
{
    struct sr_lockfile self = {.fd = -1};
    char name[SR_LOCKFILE_NAME_MAX];
    struct stat info = {0};
    int status, here;

    sr_lockfile_name(sr_path_leaf(path), ".srlock", name);
    for (int i = 0; i < MOST_REOPEN; i++) {
        status = open_file(place, path, name, create, &self);
        if (status == 0)
            status = out_taken ? take_to_own(&self, path, out_taken)
                               : sr_lockfile_take(&self, path, SR_BYTE_CHANGE);
        if (status < 0 && self.fd >= 0 && create)
            abandon(&self, place, path);
        here = status == 0 ? leads_here(&self, place, name, &info) : 0;
        if (here > 0) {
            self.is_blank = info.st_size == 0;
            *out = self;
            return 0;
        }
        if (here < 0) {
            status = sr_error_system(-here, "fstatat", path);
            if (create)
                abandon(&self, place, path);
        }
        sr_lockfile_close(&self);
        if (status != 0)
            return status;
    }
    return SR_LOCK_BUSY;
}

int sr_lockfile_enter(const struct sr_place *place, const char *path, bool create,
                      struct sr_lockfile *out)
{
    return enter_file(place, path, create, NULL, out);
}

int sr_lockfile_enter_to_own(const struct sr_place *place, const char *path,
                             struct sr_lockfile *out, struct sr_taken *out_taken)
{
    return enter_file(place, path, true, out_taken, out);
}

int sr_lockfile_reenter(struct sr_lockfile *self, const char *path)
{
    return sr_lockfile_take(self, path, SR_BYTE_CHANGE);
}

int sr_lockfile_reenter_alone(struct sr_lockfile *self, const char *path)
{
    return take_range(self, path, SR_BYTE_CHANGE, 0);
}

void sr_lockfile_close(struct sr_lockfile *self)
{
    if (self->fd < 0)
        return;
    lock_range(self->fd, F_OFD_SETLK, F_UNLCK, 0, 0, NULL);
    sr_fd_close(self->fd);
    self->fd = -1;
}
