/*
 * Joining the owner of a name.
 *
 * That byte 1 is busy does not say that its owner can be joined: one that is about to die can still
 * have it. So the joiner sees, under byte 0, that the owner's socket stands there and is alive.
 * Where it is not, the death is waited for; and where a child of a dead owner, which never became
 * another program, keeps the byte, the lock file is retired.
 */
#include "name/try.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/control.h"
#include "name/path.h"
#include "name/probe.h"
#include "name/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sockref/sockref.h>
#include <stdio.h>

#define ZOMBIE_AFTER_NS 100000000u /* how long a dead owner's byte may stay busy */

int sr_try_later(struct sr_try *try, int status)
{
    try->patience->status = status;
    return SR_SHARE_LATER;
}

int sr_try_later_changing(struct sr_try *try)
{
    return sr_try_later(try, sr_error_set(SOCKREF_ETIMEOUT, try->path,
                                          "another process was changing the name all the time"));
}

int sr_try_describe_owner(const struct sr_try *try, int status, const char *what)
{
    uint64_t count;
    int counted;

    if (try->record.state == SR_RECORD_NONE)
        return sr_error_set(status, try->path, "%s", what);
    counted = sr_lockfile_count_slots(&try->share->lock, SR_COUNTING_NS, &count);
    return sr_error_set(
        status, try->path, "%s; its owner is process %" PRIu64 " (%s), holders: %s%" PRIu64, what,
        try->record.pid, try->record.program, counted == 0 ? "" : "at least ", count);
}

/* Since when the owner seems to be dying; whether that is long enough to call it a zombie. */
static bool is_zombie(struct sr_try *try)
{
    uint64_t now = sr_clock_ns();

    if (try->patience->since_ns == 0)
        try->patience->since_ns = now;
    return now - try->patience->since_ns >= ZOMBIE_AFTER_NS && sr_record_is_dead(&try->record);
}

static int read_record(struct sr_try *try)
{
    int status = sr_record_read(try->share->lock.fd, &try->record);

    return status < 0 ? sr_error_system(-status, "pread", try->path) : 0;
}

/*
 * The owner is proven dead, but a child of it, which never became another program, holds its lock:
 * what it bound is removed, and the lock file's name goes on to a new one. Without byte 3 it may be
 * an heir who has byte 1, and has not written the record yet.
 */
static int retire(struct sr_try *try)
{
    struct sr_identity socket;
    int status = sr_lockfile_take(&try->share->lock, try->path, SR_BYTE_HEIR);

    if (status == SR_LOCK_BUSY)
        return sr_try_later_changing(try);
    if (status == 0)
        status = read_record(try);
    if (status < 0)
        return status;
    if (!sr_record_is_dead(&try->record))
        return sr_try_later_changing(try);
    socket = (struct sr_identity){.is_known = try->record.state == SR_RECORD_LIVE,
                                  .device = try->record.device,
                                  .inode = try->record.inode};
    status = sr_recover(&try->share->lock, try->place, try->path,
                        try->record.born_ns ? &socket : NULL, SR_RECOVER_RETIRED);
    if (status < 0)
        return status;
    if (status == SR_RECOVER_ALIVE)
        return sr_try_later(
            try, sr_try_describe_owner(try, SOCKREF_EBUSY,
                                       "a child of the name's dead owner keeps it alive"));
    status = sr_lockfile_unlink(&try->share->lock, try->place, try->path);
    return status < 0 ? status : sr_try_later_changing(try);
}

/* Byte 1 is busy, but its owner's socket is not what it should be. */
static int await_death(struct sr_try *try, const char *what)
{
    if (is_zombie(try))
        return retire(try);
    return sr_try_later(try, sr_try_describe_owner(try, SOCKREF_EBUSY, what));
}

/* Look at the owner's socket, pinned by inode. Returns 0, SR_SHARE_LATER or a described status. */
static int inspect(struct sr_try *try, int inode, struct stat *out_info)
{
    const struct sr_record *record = &try->record;

    if (sr_sys.fstat(inode, out_info) < 0)
        return sr_error_system(errno, "fstat", try->path);
    if (!S_ISSOCK(out_info->st_mode))
        return sr_try_describe_owner(
            try, SOCKREF_EFOREIGN,
            "something else than a socket stands at the path of a live listener");
    if (record->state != SR_RECORD_LIVE || record->device != out_info->st_dev ||
        record->inode != out_info->st_ino)
        return await_death(try, "another socket stands at the path of a live listener");
    if (sr_probe_inode(inode) == SR_PROBE_DEAD)
        return await_death(try, "the listener that has the name does not answer");
    if (sr_record_is_dead(record)) /* a child of it that never became another program */
        return await_death(try, "the listener that has the name is dead");
    return 0;
}

static int check_joinable(struct sr_try *try, const struct stat *info)
{
    const struct sr_wish *wish = try->wish;
    mode_t mode = info->st_mode & 0777;

    if (wish->fd >= 0 || wish->exclusive)
        return sr_try_describe_owner(try, SOCKREF_EBUSY, "another registry listens on the name");
    if (wish->asks_mode && wish->mode >= 0 && (mode & ~(mode_t)wish->mode) != 0) {
        char what[80];

        snprintf(what, sizeof what, "the name is shared with mode %04o, wider than %04o",
                 (unsigned)mode, (unsigned)wish->mode);
        return sr_try_describe_owner(try, SOCKREF_EBUSY, what);
    }
    return 0;
}

int sr_try_join(struct sr_try *try)
{
    struct sr_share *share = try->share;
    struct stat info;
    int status, inode;

    status = read_record(try);
    if (status < 0)
        return status;
    inode = sr_fd_open(try->place->dir, sr_path_leaf(try->path), O_PATH | O_NOFOLLOW);
    if (inode == -ENOENT)
        return await_death(try, "somebody has removed the file of a live listener");
    if (inode < 0)
        return sr_error_system(-inode, "open", try->path);
    status = inspect(try, inode, &info);
    sr_fd_close(inode);
    if (status == 0)
        status = check_joinable(try, &info);
    if (status == 0)
        status = sr_share_take_slot(share);
    if (status != 0)
        return status;
    status = sr_control_connect(try->place, try->path, &share->control);
    if (status == SR_CONTROL_REFUSED) {
        sr_share_free_slot(share);
        return await_death(try, "the listener that has the name does not answer");
    }
    if (status < 0)
        return status;
    share->socket = (struct sr_identity){true, info.st_dev, info.st_ino, try->record.born_ns};
    share->life = try->record.life;
    share->generation = try->record.generation;
    return SR_SHARE_JOINED;
}
