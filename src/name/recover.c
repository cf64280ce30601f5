/*
 * Recovery. Nothing here looks at times or tries to connect: that the owner is gone is told by the
 * lock of byte 1, which the caller has got; that the socket is the owner's, by its identity; that
 * nobody has it bound, by the probe.
 */
#include "name/recover.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/probe.h"
#include "name/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <unistd.h>

/* One file that may have been left. */
struct relic {
    const struct sr_place *place;
    const char *leaf;
    const char *path;
    const struct sr_record *record;
    const struct sr_identity *pinned;
    enum sr_recover_by by;
    bool is_control; /* the control socket: its name is sockref's own */
    bool is_aside;   /* a removal that was killed has renamed it */
};

/* How sure it is that a socket is what the dead owner bound. */
static enum sr_record_match prove(const struct relic *relic, int inode, const struct stat *info)
{
    const struct sr_identity *pinned = relic->pinned;

    if (pinned && pinned->is_known && pinned->device == info->st_dev &&
        pinned->inode == info->st_ino)
        return SR_RECORD_CERTAIN; /* whoever pinned it kept its number from being used again */
    return sr_record_match(relic->record, inode, info);
}

static bool needs_proof(const struct relic *relic)
{
    return relic->by == SR_RECOVER_RECORDED || relic->by == SR_RECOVER_RETIRED;
}

static int refuse_foreign(const struct relic *relic, const char *what)
{
    if (needs_proof(relic))
        return 0;
    return sr_error_set(SOCKREF_EFOREIGN, relic->path,
                        "%s stands at %s and was not touched: remove it, or use another path", what,
                        relic->leaf);
}

static const char *kind_of(mode_t mode)
{
    return S_ISREG(mode)    ? "a file"
           : S_ISDIR(mode)  ? "a directory"
           : S_ISLNK(mode)  ? "a symbolic link"
           : S_ISFIFO(mode) ? "a FIFO"
                            : "a device";
}

/* Nobody has it bound. */
static int judge_dead(const struct relic *relic, enum sr_record_match proof,
                      const struct stat *info, bool *out_remove)
{
    if (relic->is_control || proof != SR_RECORD_OTHER) {
        *out_remove = true;
        return 0;
    }
    if (needs_proof(relic) && relic->record->state != SR_RECORD_BINDING)
        return 0;
    if (sr_probe_is_fresh(info))
        return SR_RECOVER_ALIVE;
    *out_remove = true;
    return 0;
}

/* Somebody has it bound: the dead owner itself, for some moments yet; a child of it that inherited
 * the descriptor; or another program. */
static int judge_alive(const struct relic *relic, enum sr_record_match proof, bool *out_remove)
{
    bool is_ours = relic->is_control || proof != SR_RECORD_OTHER;

    if ((relic->is_control || proof == SR_RECORD_CERTAIN) && sr_record_is_dead(relic->record)) {
        *out_remove = true;
        return 0;
    }
    if (is_ours || relic->record->state == SR_RECORD_BINDING)
        return SR_RECOVER_ALIVE;
    if (relic->by == SR_RECOVER_ALONE)
        return sr_error_set(SOCKREF_EBUSY, relic->path,
                            "another registry or program serves the socket at the path");
    return refuse_foreign(relic, "a socket that another program serves");
}

static int judge(const struct relic *relic, int inode, const struct stat *info, bool *out_remove)
{
    enum sr_record_match proof;
    int probe;

    if (!S_ISSOCK(info->st_mode))
        return refuse_foreign(relic, kind_of(info->st_mode));
    if (info->st_uid != geteuid())
        return refuse_foreign(relic, "a socket of another user");
    proof = prove(relic, inode, info);
    probe = sr_probe_inode(inode);
    if (probe < 0)
        return sr_error_system(-probe, "socket", relic->path);
    if (probe != SR_PROBE_DEAD)
        return judge_alive(relic, proof, out_remove);
    return judge_dead(relic, proof, info, out_remove);
}

static int recover_relic(const struct relic *relic, bool *inout_removed)
{
    bool remove = false;
    struct stat info;
    int status;
    int inode = sr_fd_open(relic->place->dir, relic->leaf, O_PATH | O_NOFOLLOW);

    if (inode == -ENOENT)
        return 0;
    if (inode < 0)
        return sr_error_system(-inode, "open", relic->path);
    if (sr_sys.fstat(inode, &info) < 0)
        status = sr_error_system(errno, "fstat", relic->path);
    else
        status = judge(relic, inode, &info, &remove);
    if (remove && (relic->is_control || relic->is_aside)) {
        if (sr_sys.unlinkat(relic->place->dir, relic->leaf, 0) == 0)
            *inout_removed = true;
        else if (errno != ENOENT)
            status = sr_error_system(errno, "unlinkat", relic->path);
    } else if (remove) {
        status = sr_sockfile_remove_inode(relic->place, relic->leaf, info.st_dev, info.st_ino,
                                          relic->path);
        *inout_removed |= status > 0;
        status = status < 0 ? status : 0;
    }
    sr_fd_close(inode);
    return status;
}

/*
 * What a removal that was killed has renamed aside goes back; or, where the name is taken, away.
 * As long as it may still be ours it stays where the next one finds it.
 */
static int recover_aside(const struct relic *at_name, bool *inout_removed)
{
    char leaf[SR_LOCKFILE_NAME_MAX];
    struct relic relic = *at_name;
    int status = sr_sockfile_restore(relic.place, relic.leaf, relic.path);

    if (status <= 0)
        return status;
    sr_lockfile_name(relic.leaf, SR_ASIDE_SUFFIX, leaf);
    relic.leaf = leaf;
    relic.by = SR_RECOVER_RECORDED; /* what is not proven ours is kept */
    relic.is_aside = true;
    status = recover_relic(&relic, inout_removed);
    if (status == 0) /* gone, or somebody else's */
        sr_sockfile_keep(relic.place, leaf, relic.path);
    return status;
}

static int recover(const struct sr_lockfile *lock, const struct sr_place *place, const char *path,
                   const struct sr_identity *pinned, enum sr_recover_by by, bool *inout_removed)
{
    static const struct sr_record empty;
    char control[SR_LOCKFILE_NAME_MAX];
    struct sr_record record;
    struct relic relic = {
        .place = place, .path = path, .record = &record, .pinned = pinned, .by = by};
    struct sr_error *error;
    int status, beside;

    status = sr_record_read(lock->fd, &record);
    if (status < 0)
        return sr_error_system(-status, "pread", path);
    relic.leaf = sr_path_leaf(path);
    status = recover_aside(&relic, inout_removed);
    if (status == 0)
        status = recover_relic(&relic, inout_removed);
    if (status != 0 && status != SOCKREF_EFOREIGN)
        return status;
    /* Whatever stands at the name, the control socket is a dead owner's. */
    error = sr_error_take();
    sr_lockfile_name(sr_path_leaf(path), ".srctl", control);
    relic.leaf = control;
    relic.is_control = true;
    relic.pinned = NULL;
    beside = recover_relic(&relic, inout_removed);
    if (beside != 0 && (status == 0 || beside == SR_RECOVER_ALIVE)) {
        sr_error_free(error);
        return beside;
    }
    sr_error_give(error);
    /* What it told of is gone, and the numbers may be used again. */
    if (beside == 0 && record.state != SR_RECORD_NONE && by != SR_RECOVER_RETIRED)
        sr_record_write(lock->fd, &empty);
    return status;
}

int sr_recover(const struct sr_lockfile *lock, const struct sr_place *place, const char *path,
               const struct sr_identity *pinned, enum sr_recover_by by)
{
    bool removed = false;

    return recover(lock, place, path, pinned, by, &removed);
}

/* Whether the pinned socket stands there, though the lock file is gone. */
static bool is_stranded(const struct sr_place *place, const char *path,
                        const struct sr_identity *pinned)
{
    return pinned && pinned->is_known &&
           sr_place_leads_to(place, sr_path_leaf(path), pinned->device, pinned->inode) > 0;
}

int sr_recover_entered(struct sr_lockfile *lock, const struct sr_place *place, const char *path,
                       const struct sr_identity *pinned, bool *inout_removed)
{
    int status = sr_lockfile_take(lock, path, SR_BYTE_OWNER);

    if (status == SR_LOCK_BUSY)
        return 0; /* it has an owner, who sees to it */
    if (status < 0)
        return status;
    status = recover(lock, place, path, pinned, SR_RECOVER_RECORDED, inout_removed);
    if (status == 0 && !sr_lockfile_has_slots(lock))
        status = sr_lockfile_unlink(lock, place, path);
    sr_lockfile_free(lock, SR_BYTE_OWNER);
    return status == SR_RECOVER_ALIVE ? SR_LOCK_BUSY : status;
}

int sr_recover_name(const struct sr_place *place, const char *path,
                    const struct sr_identity *pinned, bool *inout_removed)
{
    struct sr_lockfile lock;
    int status = sr_lockfile_enter(place, path, false, &lock);

    if (status == -ENOENT && is_stranded(place, path, pinned))
        status = sr_lockfile_enter(place, path, true, &lock);
    if (status == -ENOENT)
        return 0;
    if (status == 0) {
        status = sr_recover_entered(&lock, place, path, pinned, inout_removed);
        sr_lockfile_close(&lock);
    }
    return status;
}

int sr_recover_pinned(const struct sr_place *place, const char *path,
                      const struct sr_identity *pinned)
{
    int status =
        sr_sockfile_remove_inode(place, sr_path_leaf(path), pinned->device, pinned->inode, path);

    return status < 0 ? status : 0;
}
