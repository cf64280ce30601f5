/*
 * Inspection.
 *
 * A look asks the lock file's locks, its record and the socket one after the other, and then again
 * whether they are what they were. Where they are not, or where somebody has byte 0, the name is
 * changing: it is looked at again, some times. What is told then is what the next start would find:
 * an owner to join, one to wait for, something to replace, or something to leave alone.
 *
 * Whose names they are does not matter here, and a lock file is trusted where its own user could:
 * so root sees those of others.
 */
#include "name/inspect.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/lockfile.h"
#include "name/path.h"
#include "name/probe.h"
#include "name/record.h"
#include "name/sockfile.h"
#include "name/tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_LOOKS   12
#define FIRST_NAP_NS 100000 /* twice as long each time: a fifth of a second in all */

enum lock_kind {
    NO_LOCK,
    FALSE_LOCK, /* something at its name that nobody would trust */
    LOCK,
};

/* One look at a file's name. */
struct look {
    const struct sr_place *place;
    const char *path;
    enum lock_kind kind;
    struct sr_lockfile lock; /* not open where there is none */
    struct stat lock_info;
    struct sr_locks locks;
    uint64_t holders; /* counted when nothing changes any more */
    bool has_more;
    struct sr_record record;
    int inode; /* what stands at the path, pinned; -1: nothing */
    struct stat info;
    int probe; /* of a socket, an enum sr_probe */
    bool is_settled;
};

/* To read, without a trace in its times where that may be had. */
static int open_to_read(int dir, const char *name)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    int fd = sr_fd_open(dir, name, flags | O_NOATIME);

    return fd == -EPERM ? sr_fd_open(dir, name, flags) : fd;
}

/* ---- one look ---- */

static bool is_trusted(const struct look *look)
{
    struct sr_place place = *look->place;

    place.user = look->lock_info.st_uid;
    return sr_lockfile_is_ours(&place, &look->lock_info);
}

/* Nothing but a lock file is opened: to open a FIFO or a device can do something. */
static int find_lock(struct look *look, const char *name)
{
    const int dir = look->place->dir;

    look->kind = NO_LOCK;
    look->lock.fd = -1;
    if (sr_sys.fstatat(dir, name, &look->lock_info, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : sr_error_system(errno, "fstatat", look->path);
    look->lock.device = look->lock_info.st_dev;
    look->lock.inode = look->lock_info.st_ino;
    look->kind = FALSE_LOCK;
    if (!is_trusted(look))
        return 0;
    look->lock.fd = open_to_read(dir, name);
    if (look->lock.fd == -ENOENT) {
        look->lock.fd = -1;
        look->kind = NO_LOCK; /* by now: the name is looked at again */
        return 0;
    }
    if (look->lock.fd < 0)
        return sr_error_wrapped(look->lock.fd, -look->lock.fd, "open", look->path,
                                "the lock file %s cannot be read: %s", name,
                                sockref_status_message(look->lock.fd));
    if (sr_sys.fstat(look->lock.fd, &look->lock_info) < 0)
        return sr_error_system(errno, "fstat", look->path);
    look->kind = is_trusted(look) ? LOCK : FALSE_LOCK;
    return 0;
}

static int read_lock(const struct look *look, struct sr_locks *out_locks, struct sr_record *out)
{
    int status = sr_lockfile_look(&look->lock, out_locks);

    if (status < 0)
        return sr_error_system(-status, "fcntl", look->path);
    status = sr_record_read(look->lock.fd, out);
    return status < 0 ? sr_error_system(-status, "pread", look->path) : 0;
}

static int look_at_socket(struct look *look)
{
    look->inode = sr_fd_open(look->place->dir, sr_path_leaf(look->path), O_PATH | O_NOFOLLOW);
    if (look->inode == -ENOENT) {
        look->inode = -1;
        return 0;
    }
    if (look->inode < 0)
        return sr_error_system(-look->inode, "open", look->path);
    if (sr_sys.fstat(look->inode, &look->info) < 0)
        return sr_error_system(errno, "fstat", look->path);
    if (!S_ISSOCK(look->info.st_mode))
        return 0;
    look->probe = sr_probe_inode(look->inode);
    return look->probe < 0 ? sr_error_system(-look->probe, "socket", look->path) : 0;
}

/* A start has just made the lock file, and is about to lock it. One that stays so was left by
 * somebody who was killed then. */
static bool is_blank(const struct look *look)
{
    return look->lock_info.st_size == 0 && !look->locks.owner &&
           !sr_lockfile_has_slots(&look->lock) && sr_probe_is_fresh(&look->lock_info);
}

/* Whether all is still as it was seen, and nobody is changing it. */
static int confirm(struct look *look)
{
    const struct sr_place *place = look->place;
    struct sr_locks locks;
    struct sr_record record;
    int found = sr_lockfile_find_name(&look->lock, place, look->path), here, status;

    if (found < 0)
        return sr_error_system(-found, "fstatat", look->path);
    here = look->inode < 0 ? sr_place_lacks(place, sr_path_leaf(look->path))
                           : sr_place_leads_to(place, sr_path_leaf(look->path), look->info.st_dev,
                                               look->info.st_ino);
    look->is_settled = here > 0 && (look->kind == NO_LOCK ? found == SR_LOCK_NAMES_NONE
                                                          : found == SR_LOCK_NAMES_THIS);
    if (look->kind == NO_LOCK && look->inode >= 0 && look->probe == SR_PROBE_DEAD)
        look->is_settled &= !sr_probe_is_fresh(&look->info); /* its bind may be under way */
    if (look->kind != LOCK)
        return 0;
    status = read_lock(look, &locks, &record);
    if (status < 0)
        return status;
    look->is_settled &= !look->locks.changing && !locks.changing && !is_blank(look) &&
                        locks.owner == look->locks.owner &&
                        memcmp(&record, &look->record, sizeof record) == 0;
    return 0;
}

static int count_holders(struct look *look, uint64_t *inout_patience_ns)
{
    uint64_t most = *inout_patience_ns < SR_COUNTING_NS ? *inout_patience_ns : SR_COUNTING_NS, took;
    uint64_t began = sr_clock_ns();
    int status = sr_lockfile_count_slots(&look->lock, most, &look->holders);

    if (status < 0)
        return sr_error_system(-status, "fcntl", look->path);
    look->has_more = status == SR_LOCK_MORE;
    took = sr_clock_ns() - began;
    *inout_patience_ns -= took < *inout_patience_ns ? took : *inout_patience_ns;
    return 0;
}

static void look_away(struct look *look)
{
    sr_fd_close(look->lock.fd < 0 ? -1 : look->lock.fd);
    sr_fd_close(look->inode < 0 ? -1 : look->inode);
}

/* The descriptors are open afterwards, also with a status: look_away(). */
static int look_at(const struct sr_place *place, const char *path, struct look *out)
{
    char name[SR_LOCKFILE_NAME_MAX];
    int status;

    memset(out, 0, sizeof *out);
    out->place = place;
    out->path = path;
    out->inode = -1;
    out->probe = SR_PROBE_DEAD;
    sr_lockfile_name(sr_path_leaf(path), ".srlock", name);
    status = find_lock(out, name);
    if (status == 0 && out->kind == LOCK)
        status = read_lock(out, &out->locks, &out->record);
    if (status == 0)
        status = look_at_socket(out);
    return status == 0 ? confirm(out) : status;
}

/* ---- what it means ---- */

static void conclude(struct sr_inspected *out, enum sr_inspect_state state, const char *note)
{
    out->state = state;
    out->note = note;
}

static const char *name_kind(mode_t mode)
{
    return S_ISREG(mode)    ? "a file stands at the path"
           : S_ISDIR(mode)  ? "a directory stands at the path"
           : S_ISLNK(mode)  ? "a symbolic link stands at the path"
           : S_ISFIFO(mode) ? "a FIFO stands at the path"
                            : "a device stands at the path";
}

static void judge_unshared(const struct look *look, struct sr_inspected *out)
{
    if (look->inode < 0)
        conclude(out, SR_INSPECT_ABSENT, NULL);
    else
        conclude(out, SR_INSPECT_UNSHARED,
                 look->probe == SR_PROBE_DEAD    ? "dead: nobody has the socket"
                 : look->probe == SR_PROBE_ALIVE ? "live: somebody has the socket"
                                                 : "this user may not ask whether it is live");
}

/* Process ids mean something in their namespace only. */
static const char *note_on_live(const struct sr_record *record)
{
    struct sr_record self;

    sr_record_of_self(&self);
    return self.pid_namespace != 0 && self.pid_namespace != record->pid_namespace
               ? "the process id is one of another pid namespace"
               : NULL;
}

/* Byte 1 is busy. */
static void judge_owned(const struct look *look, struct sr_inspected *out)
{
    const struct sr_record *record = &look->record;

    if (record->state == SR_RECORD_BINDING ||
        (record->state == SR_RECORD_NONE && look->locks.changing))
        conclude(out, SR_INSPECT_STARTING, NULL);
    else if (look->inode < 0)
        conclude(out, SR_INSPECT_DYING, "it has an owner, but nothing stands at the path");
    else if (record->state == SR_RECORD_NONE)
        conclude(out, SR_INSPECT_DYING, "it has an owner, but the record tells nothing of it");
    else if (sr_record_match(record, look->inode, &look->info) == SR_RECORD_OTHER)
        conclude(out, SR_INSPECT_FOREIGN, "another socket stands at the path of a live owner");
    else if (look->probe == SR_PROBE_DEAD)
        conclude(out, SR_INSPECT_DYING, "it has an owner, which does not answer");
    else if (sr_record_is_dead(record))
        conclude(out, SR_INSPECT_DYING, "the owner is dead, but a child of it keeps the name");
    else
        conclude(out, SR_INSPECT_LIVE, note_on_live(record));
}

/* There is a lock file, and byte 1 is free. */
static void judge_left(const struct look *look, struct sr_inspected *out)
{
    const struct sr_record *record = &look->record;
    bool is_ours =
        look->inode >= 0 && sr_record_match(record, look->inode, &look->info) != SR_RECORD_OTHER;

    if (look->inode < 0 && look->holders > 0)
        conclude(out, SR_INSPECT_STALE, "others have not let go of it yet");
    else if (look->inode < 0)
        conclude(out, SR_INSPECT_STALE, "only its lock file is left");
    else if (look->info.st_uid != look->lock_info.st_uid)
        conclude(out, SR_INSPECT_FOREIGN, "a socket of another user stands at the path");
    else if (look->probe == SR_PROBE_DEAD || (is_ours && sr_record_is_dead(record)))
        conclude(out, SR_INSPECT_STALE,
                 look->holders > 0 ? "others have not let go of it yet" : NULL);
    else if (is_ours || record->state == SR_RECORD_BINDING)
        conclude(out, SR_INSPECT_DYING, "it has no owner, but somebody has the socket still");
    else
        conclude(out, SR_INSPECT_FOREIGN, "another program has the socket");
}

static void judge(const struct look *look, struct sr_inspected *out)
{
    bool is_socket = look->inode >= 0 && S_ISSOCK(look->info.st_mode);

    memset(out, 0, sizeof *out);
    out->bound = !is_socket || look->probe == SR_PROBE_DEAD ? SR_INSPECT_UNBOUND
                 : look->probe == SR_PROBE_ALIVE            ? SR_INSPECT_BOUND
                                                            : SR_INSPECT_UNCLEAR;
    out->has_user = look->kind == LOCK || look->inode >= 0;
    out->user = look->kind == LOCK ? look->lock_info.st_uid : look->info.st_uid;
    if (look->kind == LOCK) {
        out->has_lock = true;
        out->holders = look->holders;
        out->pid = look->record.pid;
        memcpy(out->program, look->record.program, sizeof out->program);
    }
    if (look->inode >= 0 && !is_socket)
        conclude(out, SR_INSPECT_FOREIGN, name_kind(look->info.st_mode));
    else if (look->kind == NO_LOCK)
        judge_unshared(look, out);
    else if (look->kind == FALSE_LOCK)
        conclude(out, SR_INSPECT_FOREIGN, "what has the name of its lock file can't be trusted");
    else if (look->locks.owner)
        judge_owned(look, out);
    else
        judge_left(look, out);
    if (look->has_more)
        out->note = "it has more holders than could be counted in time";
}

/* ---- names ---- */

/* Returns whether there was time left for a nap. */
static bool nap_once(struct timespec *nap, uint64_t *inout_patience_ns)
{
    if (*inout_patience_ns < (uint64_t)nap->tv_nsec)
        return false;
    *inout_patience_ns -= (uint64_t)nap->tv_nsec;
    nanosleep(nap, NULL);
    nap->tv_nsec *= 2;
    return true;
}

static int inspect_file(const char *path, uint64_t *inout_patience_ns, struct sr_inspected *out)
{
    struct timespec nap = {0, FIRST_NAP_NS};
    struct sr_place place;
    struct look look;
    int status = sr_place_open_any(path, &place);

    if (status == -ENOENT || status == -ENOTDIR) {
        memset(out, 0, sizeof *out);
        conclude(out, SR_INSPECT_ABSENT, "its directory does not exist");
        return 0;
    }
    if (status < 0)
        return status;
    for (int i = 1;; i++) {
        status = look_at(&place, path, &look);
        if (status < 0 || look.is_settled || i == MOST_LOOKS || !nap_once(&nap, inout_patience_ns))
            break;
        look_away(&look);
    }
    if (status == 0 && look.kind == LOCK)
        status = count_holders(&look, inout_patience_ns);
    if (status == 0)
        judge(&look, out);
    look_away(&look);
    sr_place_close(&place);
    return status;
}

static int inspect_abstract(const char *path, struct sr_inspected *out)
{
    int probe = sr_probe_abstract(path);

    if (probe < 0)
        return sr_error_system(-probe, "read", "/proc/net/unix");
    memset(out, 0, sizeof *out);
    if (probe == SR_PROBE_DEAD)
        return 0;
    out->bound = SR_INSPECT_BOUND;
    conclude(out, SR_INSPECT_LIVE, "an abstract name does not tell who has it");
    return 0;
}

int sr_inspect_name(const char *path, uint64_t *inout_patience_ns, struct sr_inspected *out)
{
    int status = sr_path_check(path);

    if (status < 0)
        return status;
    if (sr_tcp_is_name(path))
        return sr_error_set(SOCKREF_EUNSUPPORTED, path,
                            "a TCP name has no file that tells of it: see ss(8)");
    return sr_path_is_abstract(path) ? inspect_abstract(path, out)
                                     : inspect_file(path, inout_patience_ns, out);
}

int sr_inspect_directory(const char *directory, struct sr_listing *out)
{
    struct sr_place place;
    int status = sr_place_open_any_directory(directory, &place);

    if (status < 0)
        return status;
    status = sr_listing_read(&place, directory, out);
    sr_place_close(&place);
    return status;
}
