/*
 * What the guard does when its parent is gone.
 *
 * It removes nothing unless the locks, or the kernel where there are none, say that nobody has the
 * name any more. So it may clean as well when it only seems that the parent is gone: another guard
 * has taken its place, or the program was replaced by exec, which closes what it had.
 *
 * How often a name is tried depends on what stands in the way. While a lock of its owner is held,
 * or its socket bound, that is either another process, which has a guard of its own, or what closes
 * in a moment: a child of the parent's between fork and exec, or an exec that is under way.
 */
#include "guard/clean.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "guard/watched.h"
#include "name/probe.h"

#include <sys/stat.h>
#include <unistd.h>

enum patience {
    IN_USE_MS = 500,
    FAILING_MS = 10000,
    BUSY_MS = 60000, /* somebody is at the name: it may be a process that was stopped */
};

#define FIRST_PAUSE_MS 1
#define LAST_PAUSE_MS  50

static uint64_t begun_ns;

static bool is_over(enum patience patience)
{
    return sr_clock_ns() - begun_ns > (uint64_t)patience * 1000000u;
}

static bool clean_locked(struct sr_watched *name)
{
    bool removed = false;
    int status = sr_recover_name(&name->dir->place, name->path, &name->pinned, &removed);

    if (status == SR_LOCK_BUSY)
        return is_over(BUSY_MS);
    if (status < 0)
        return is_over(FAILING_MS);
    return removed || is_over(IN_USE_MS);
}

/* A mode that does not let even this user connect is widened, for him alone, to ask. */
static int probe(const struct sr_watched *name)
{
    int answer = sr_probe_inode(name->inode);
    struct stat info;

    if (answer != SR_PROBE_DENIED || sr_sys.fstat(name->inode, &info) < 0 ||
        (info.st_mode & S_IWUSR))
        return answer;
    if (sr_fd_change_mode(name->inode, (info.st_mode & 07777) | S_IWUSR) < 0)
        return answer;
    answer = sr_probe_inode(name->inode);
    if (answer != SR_PROBE_DEAD)
        (void)sr_fd_change_mode(name->inode, info.st_mode & 07777);
    return answer;
}

/* Without a lock file the name belongs to whoever has the pinned inode bound. */
static bool clean_pinned(struct sr_watched *name)
{
    if (!name->pinned.is_known)
        return true;
    switch (probe(name)) {
    case SR_PROBE_ALIVE:
        return is_over(IN_USE_MS);
    case SR_PROBE_DENIED:
        return true;
    case SR_PROBE_DEAD:
        break;
    default:
        return is_over(FAILING_MS);
    }
    return sr_recover_pinned(&name->dir->place, name->path, &name->pinned) == 0 ||
           is_over(FAILING_MS);
}

/* As the user whose name it is: the process may have been started with more rights than he has. */
static bool act_for(uid_t user)
{
    return geteuid() == user || (seteuid(getuid()) == 0 && seteuid(user) == 0);
}

static bool clean(struct sr_watched *name)
{
    if (!act_for(name->dir->place.user))
        return true;
    return name->has_lock ? clean_locked(name) : clean_pinned(name);
}

int sr_clean_once(void)
{
    begun_ns = sr_clock_ns();
    return sr_watched_settle(clean) > 0;
}

void sr_clean_rest(void)
{
    int pause_ms = FIRST_PAUSE_MS;

    while (sr_watched_settle(clean) > 0) {
        sr_sys.poll(NULL, 0, pause_ms);
        pause_ms = 2 * pause_ms < LAST_PAUSE_MS ? 2 * pause_ms : LAST_PAUSE_MS;
    }
}
