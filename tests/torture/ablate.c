/*
 * Safeguards, removed one at a time, to show that the torture sees it. They are removed in the
 * table of system calls: a lock that is not taken, an answer that is not true. The library itself
 * stays as it is.
 */
#include "torture/crash.h"

#include "base/sys.h"
#include "name/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static struct sr_sys base;

/* What the safeguard before a removal has looked at last. */
static _Thread_local struct stat seen;
static _Thread_local char seen_leaf[256];

/* ---- locks ---- */

#define TO_THE_END INT64_MAX

struct range {
    int64_t from, to;
};

/* Change the lock of what a range has of the one that was asked for. */
static int lock_part(int fd, short type, const struct flock *asked, const struct range *range)
{
    int64_t end = asked->l_len ? asked->l_start + asked->l_len - 1 : TO_THE_END;
    struct range part = {asked->l_start > range->from ? asked->l_start : range->from,
                         end < range->to ? end : range->to};
    struct flock lock = *asked;

    if (part.from > part.to)
        return 0;
    lock.l_type = type;
    lock.l_start = part.from;
    lock.l_len = part.to == TO_THE_END ? 0 : part.to - part.from + 1;
    return base.lock(fd, F_OFD_SETLK, &lock);
}

/* Lock of what is asked for these ranges only. The first has nothing that is held for long. */
static int lock_only(const struct range kept[2], int fd, int command, struct flock *lock)
{
    int refused;

    if (command != F_OFD_SETLK || lock->l_type != F_WRLCK)
        return base.lock(fd, command, lock);
    if (lock_part(fd, F_WRLCK, lock, &kept[0]) < 0)
        return -1;
    if (lock_part(fd, F_WRLCK, lock, &kept[1]) == 0)
        return 0;
    refused = errno;
    lock_part(fd, F_UNLCK, lock, &kept[0]);
    errno = refused;
    return -1;
}

static int lock_without_change(int fd, int command, struct flock *lock)
{
    static const struct range kept[] = {{-1, -1}, {SR_BYTE_OWNER, TO_THE_END}};

    return lock_only(kept, fd, command, lock);
}

static int lock_without_owner(int fd, int command, struct flock *lock)
{
    static const struct range kept[] = {{SR_BYTE_CHANGE, SR_BYTE_CHANGE},
                                        {SR_BYTE_FIRST, TO_THE_END}};

    return lock_only(kept, fd, command, lock);
}

static int lock_without_slots(int fd, int command, struct flock *lock)
{
    static const struct range kept[] = {{SR_BYTE_HEIR, SR_BYTE_SLOTS - 1},
                                        {SR_BYTE_CHANGE, SR_BYTE_OWNER}};

    return lock_only(kept, fd, command, lock);
}

/* ---- the re-check: does the name lead to the file that was locked? ---- */

static int fstat_noted(int fd, struct stat *out)
{
    int status = base.fstat(fd, out);

    if (crash_is_in(FUNCTION_check_opened))
        seen = *out;
    return status;
}

static int fstatat_as_opened(int dir, const char *path, struct stat *out, int flags)
{
    if (!crash_is_in(FUNCTION_leads_here))
        return base.fstatat(dir, path, out, flags);
    *out = seen;
    return 0;
}

/* ---- the probe: has nobody the socket bound? ---- */

static int connect_refused(int fd, const struct sockaddr *address, socklen_t length)
{
    if (!crash_is_in(FUNCTION_connect_inode))
        return base.connect(fd, address, length);
    errno = ECONNREFUSED;
    return -1;
}

/* ---- the control socket: a joiner hears of the end of its owner ---- */

/* It is connected to somebody who never says anything. */
static int connect_elsewhere(int fd, const struct sockaddr *address, socklen_t length)
{
    int pair[2];

    if (!crash_is_in(FUNCTION_sr_control_connect))
        return base.connect(fd, address, length);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return -1;
    return base.replace(pair[0], fd) < 0 ? -1 : 0;
}

/* ---- renaming aside: what is removed is what was looked at ---- */

static int rename_not(int dir, const char *from, const char *to)
{
    if (!crash_is_in(FUNCTION_rename_aside))
        return base.rename_new(dir, from, to);
    strncpy(seen_leaf, from, sizeof seen_leaf - 1);
    nanosleep(&(struct timespec){0, (long)crash_draw(1000000)}, NULL);
    return 0;
}

static int fstatat_as_seen(int dir, const char *path, struct stat *out, int flags)
{
    int status;

    if (crash_is_in(FUNCTION_remove_aside_once)) {
        *out = seen;
        return 0;
    }
    status = base.fstatat(dir, path, out, flags);
    if (crash_is_in(FUNCTION_remove_target))
        seen = *out;
    return status;
}

static int unlinkat_at_name(int dir, const char *path, int flags)
{
    return base.unlinkat(dir, crash_is_in(FUNCTION_remove_aside_once) ? seen_leaf : path, flags);
}

/* ---- the guard ---- */

#ifdef TORTURE_GUARD
static int unlinkat_not(int dir, const char *path, int flags)
{
    (void)dir;
    (void)path;
    (void)flags;
    return 0;
}
#endif

/* ---- which ---- */

enum { NONE, CHANGE, OWNER, SLOTS, RECHECK, PROBE, CONTROL, ASIDE, GUARD, ABLATIONS };

#define BIT(counter) ((uint64_t)1 << COUNT_##counter)

static const struct {
    const char *name;
    uint64_t shows; /* what must be seen without it */
    uint64_t lacks; /* what must not be missing, or that is how it is seen */
} safeguards[ABLATIONS] = {
    [NONE] = {"none", 0, 0},
    /* byte 0 is not locked */
    [CHANGE] = {"byte-of-changes", BIT(two_owners) | BIT(lost_paths) | BIT(failed_joins) |
                                       BIT(failed_starts) | BIT(left_files) | BIT(left_locks)},
    /* byte 1 is not locked: nobody joins, and a start waits for a socket that stays alive */
    [OWNER] = {"byte-of-the-owner", BIT(two_owners) | BIT(lost_paths) | BIT(failed_joins) |
                                        BIT(stale_holders) | BIT(failed_starts) | BIT(slow_starts)},
    /* the bytes of the holders are not locked: an owner knows of nobody to hand over to */
    [SLOTS] = {"slots",
               BIT(lost_paths) | BIT(failed_joins) | BIT(stale_holders) | BIT(left_files) |
                   BIT(left_locks) | BIT(two_owners),
               BIT(hand_overs)},
    /* after locking, the lock file's name is not looked at again */
    [RECHECK] = {"re-check", BIT(two_owners) | BIT(lost_paths) | BIT(failed_joins) |
                                 BIT(failed_starts) | BIT(left_files) | BIT(left_locks)},
    /* all sockets look dead */
    [PROBE] = {"probe", BIT(two_owners) | BIT(foreign_removed) | BIT(lost_paths)},
    /* joiners are not connected to the owner, and never hear of its end */
    [CONTROL] = {"control-socket", BIT(failed_joins) | BIT(stale_holders)},
    /* where others may add files: look, then unlink by name */
    [ASIDE] = {"rename-aside", BIT(foreign_removed)},
    /* it removes nothing */
    [GUARD] = {"guard", BIT(left_files) | BIT(left_locks)},
};

int crash_ablation(const char *name)
{
    for (int i = 1; i < ABLATIONS; i++)
        if (strcmp(safeguards[i].name, name) == 0)
            return i;
    return NONE;
}

const char *crash_ablation_name(int number)
{
    return number < ABLATIONS ? safeguards[number].name : NULL;
}

bool crash_ablation_shows(enum crash_counter counter)
{
    return safeguards[crash_table->ablation].shows >> counter & 1;
}

bool crash_ablation_lacks(enum crash_counter counter)
{
    return safeguards[crash_table->ablation].lacks >> counter & 1;
}

void crash_ablate(struct sr_sys *inout_sys)
{
    base = *inout_sys;
    switch (crash_table->ablation) {
    case CHANGE:
        inout_sys->lock = lock_without_change;
        break;
    case OWNER:
        inout_sys->lock = lock_without_owner;
        break;
    case SLOTS:
        inout_sys->lock = lock_without_slots;
        break;
    case RECHECK:
        inout_sys->fstat = fstat_noted;
        inout_sys->fstatat = fstatat_as_opened;
        break;
    case PROBE:
        inout_sys->connect = connect_refused;
        break;
    case CONTROL:
        inout_sys->connect = connect_elsewhere;
        break;
    case ASIDE:
        inout_sys->rename_new = rename_not;
        inout_sys->fstatat = fstatat_as_seen;
        inout_sys->unlinkat = unlinkat_at_name;
        break;
#ifdef TORTURE_GUARD
    case GUARD:
        inout_sys->unlinkat = unlinkat_not;
        break;
#endif
    }
}
