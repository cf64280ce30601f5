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

static int lock_without(int64_t byte, int fd, int command, struct flock *lock)
{
    bool is_it = byte == SR_BYTE_SLOTS ? lock->l_start >= SR_BYTE_SLOTS : lock->l_start == byte;
    struct flock rest = *lock;

    if (command != F_OFD_SETLK || lock->l_type != F_WRLCK)
        return base.lock(fd, command, lock);
    if (lock->l_len == 2 && byte <= SR_BYTE_OWNER) { /* both at once */
        rest.l_start = byte == SR_BYTE_CHANGE ? SR_BYTE_OWNER : SR_BYTE_CHANGE;
        rest.l_len = 1;
        return base.lock(fd, command, &rest);
    }
    return is_it ? 0 : base.lock(fd, command, lock);
}

static int lock_without_change(int fd, int command, struct flock *lock)
{
    return lock_without(SR_BYTE_CHANGE, fd, command, lock);
}

static int lock_without_owner(int fd, int command, struct flock *lock)
{
    return lock_without(SR_BYTE_OWNER, fd, command, lock);
}

static int lock_without_slots(int fd, int command, struct flock *lock)
{
    return lock_without(SR_BYTE_SLOTS, fd, command, lock);
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
    if (!crash_is_in(FUNCTION_sr_probe_inode))
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
} safeguards[ABLATIONS] = {
    [NONE] = {"none", 0},
    /* byte 0 is not locked */
    [CHANGE] = {"byte-of-changes", BIT(two_owners) | BIT(lost_paths) | BIT(failed_joins) |
                                       BIT(failed_starts) | BIT(left_files) | BIT(left_locks)},
    /* byte 1 is not locked */
    [OWNER] = {"byte-of-the-owner", BIT(two_owners) | BIT(lost_paths) | BIT(failed_joins) |
                                        BIT(stale_holders) | BIT(failed_starts) | BIT(slow_starts)},
    /* the bytes of the holders are not locked: an owner knows of nobody to hand over to */
    [SLOTS] = {"slots", BIT(lost_paths) | BIT(failed_joins) | BIT(stale_holders) | BIT(left_files) |
                            BIT(left_locks) | BIT(two_owners)},
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
