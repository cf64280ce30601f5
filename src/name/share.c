/*
 * Start or join.
 *
 * Under byte 0 of the lock file the byte 1 decides: who gets it owns the name, clears away what a
 * dead owner left, says in the record that it binds, binds, and says that it lives. Who does not
 * get it joins, after it has seen, still under byte 0, that the owner's socket stands there and is
 * alive: an owner that is about to die can still have its byte.
 *
 * The guard is told of a name before its lock file can exist, and of the socket right after its
 * bind, so that it knows of everything that a kill can leave.
 */
#include "name/share.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/random.h"
#include "base/sys.h"
#include "name/control.h"
#include "name/path.h"
#include "name/probe.h"
#include "name/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ZOMBIE_AFTER_NS 100000000u /* how long a dead owner's byte may stay busy */

/* One try. */
struct
try {
    struct sr_place *place;
    const char *path;
    const struct sr_wish *wish;
    struct sr_patience *patience;
    struct sr_share *share;
    struct sr_sockfile file;
    struct sr_record record; /* of the owner that was found */
};

/* To be tried again; what is described now is for the case that there is no more time. */
static int later(struct try *try, int status)
{
    try->patience->status = status;
    return SR_SHARE_LATER;
}

static int later_changing(struct try *try)
{
    return later(try, sr_error_set(SOCKREF_ETIMEOUT, try->path,
                                   "another process was changing the name all the time"));
}

/* Somebody was faster, without the lock file. */
static int later_occupied(struct try *try)
{
    return later(try, sr_error_set(SOCKREF_EBUSY, try->path,
                                   "another registry or program bound the path meanwhile"));
}

static int describe_owner(const struct try *try, int status, const char *what)
{
    if (try->record.state == SR_RECORD_NONE)
        return sr_error_set(status, try->path, "%s", what);
    return sr_error_set(
        status, try->path, "%s; its owner is process %" PRIu64 " (%s), holders: %" PRIu64, what,
        try->record.pid, try->record.program, sr_lockfile_count_slots(&try->share->lock));
}

/* Have the guard know, before there is anything. Without one a start goes on, unless it was asked
 * for. */
static int tell_guard(struct try *try, bool has_lock)
{
    int status;

    if (try->wish->guard == 0)
        return 0;
    status = sr_guard_watch(&try->share->guarded, try->place, try->share->path, has_lock);
    if (status == 0)
        return 0;
    if (try->wish->guard == 2)
        return status;
    sr_log(SR_LOG_GUARD_FAILED, SOCKREF_LOG_WARNING, status, try->path,
           "the name goes without a guard: %s", sockref_last_error()->message);
    return 0;
}

/* Since when the owner seems to be dying; whether that is long enough to call it a zombie. */
static bool is_zombie(struct try *try)
{
    uint64_t now = sr_clock_ns();

    if (try->patience->since_ns == 0)
        try->patience->since_ns = now;
    return now - try->patience->since_ns >= ZOMBIE_AFTER_NS && sr_record_is_dead(&try->record);
}

static int read_record(struct try *try)
{
    int status = sr_record_read(try->share->lock.fd, &try->record);

    return status < 0 ? sr_error_system(-status, "pread", try->path) : 0;
}

/*
 * The owner is proven dead, but a child of it, which never became another program, holds its lock:
 * what it bound is removed, and the lock file's name goes on to a new one. Without byte 2 it may be
 * an heir who has byte 1, and has not written the record yet.
 */
static int retire(struct try *try)
{
    struct sr_identity socket;
    int status = sr_lockfile_take(&try->share->lock, try->path, SR_BYTE_HEIR);

    if (status == SR_LOCK_BUSY)
        return later_changing(try);
    if (status == 0)
        status = read_record(try);
    if (status < 0)
        return status;
    if (!sr_record_is_dead(&try->record))
        return later_changing(try);
    socket = (struct sr_identity){.is_known = try->record.state == SR_RECORD_LIVE,
                                  .device = try->record.device,
                                  .inode = try->record.inode};
    status = sr_recover(&try->share->lock, try->place, try->path,
                        try->record.born_ns ? &socket : NULL, SR_RECOVER_RETIRED);
    if (status < 0)
        return status;
    if (status == SR_RECOVER_ALIVE)
        return later(try, describe_owner(try, SOCKREF_EBUSY,
                                         "a child of the name's dead owner keeps it alive"));
    status = sr_lockfile_unlink(&try->share->lock, try->place, try->path);
    return status < 0 ? status : later_changing(try);
}

/* Byte 1 is busy, but its owner's socket is not what it should be. */
static int await_death(struct try *try, const char *what)
{
    if (is_zombie(try))
        return retire(try);
    return later(try, describe_owner(try, SOCKREF_EBUSY, what));
}

/* Look at the owner's socket, pinned by inode. Returns 0, SR_SHARE_LATER or a described status. */
static int inspect(struct try *try, int inode, struct stat *out_info)
{
    const struct sr_record *record = &try->record;

    if (sr_sys.fstat(inode, out_info) < 0)
        return sr_error_system(errno, "fstat", try->path);
    if (!S_ISSOCK(out_info->st_mode))
        return describe_owner(try, SOCKREF_EFOREIGN,
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

static int check_joinable(struct try *try, const struct stat *info)
{
    const struct sr_wish *wish = try->wish;
    mode_t mode = info->st_mode & 0777;

    if (wish->fd >= 0 || wish->exclusive)
        return describe_owner(try, SOCKREF_EBUSY, "another registry listens on the name");
    if (wish->asks_mode && wish->mode >= 0 && (mode & ~(mode_t)wish->mode) != 0) {
        char what[80];

        snprintf(what, sizeof what, "the name is shared with mode %04o, wider than %04o",
                 (unsigned)mode, (unsigned)wish->mode);
        return describe_owner(try, SOCKREF_EBUSY, what);
    }
    return 0;
}

static int join(struct try *try)
{
    struct sr_share *share = try->share;
    struct stat info;
    int status, inode;

    status = read_record(try);
    if (status < 0)
        return status;
    inode = sr_fd_open(try->place->dir, sr_path_leaf(try->path), O_PATH | O_NOFOLLOW);
    if (inode == -ENOENT)
        return await_death(try, "the file of a live listener is gone");
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
        return await_death(try, "the listener that has the name is ending");
    }
    if (status < 0)
        return status;
    share->socket = (struct sr_identity){true, info.st_dev, info.st_ino, try->record.born_ns};
    share->life = try->record.life;
    share->generation = try->record.generation;
    return SR_SHARE_JOINED;
}

static int take_slot(struct sr_share *self, uint64_t random)
{
    int64_t slot = sr_lockfile_take_slot(&self->lock, self->path, random);

    if (slot < 0)
        return (int)slot;
    self->slot = slot;
    return 0;
}

/* Write down what it has; who it is stands in the record already. */
static int write_down(struct sr_share *self, struct sr_record *record, enum sr_record_state state)
{
    int status;

    record->state = state;
    record->life = self->life;
    record->generation = self->generation;
    record->device = self->socket.device;
    record->inode = self->socket.inode;
    record->born_ns = self->socket.born_ns;
    status = sr_record_write(self->lock.fd, record);
    return status < 0 ? sr_error_system(-status, "pwrite", self->path) : 0;
}

int sr_share_write_record(struct sr_share *self, enum sr_record_state state)
{
    struct sr_record record;

    sr_record_of_self(&record);
    return write_down(self, &record, state);
}

void sr_share_identify(struct sr_share *self, const struct sr_sockfile *file, int pin)
{
    self->socket = (struct sr_identity){true, file->device, file->inode, file->born_ns};
    sr_guard_pin(&self->guarded, file->device, file->inode, pin);
    sr_fd_close(pin);
}

static int bind_or_adopt(struct try *try, int *out_pin)
{
    const struct sr_wish *wish = try->wish;

    if (wish->fd >= 0)
        return sr_sockfile_adopt(try->place, try->path, wish->fd, &try->file, out_pin);
    return sr_sockfile_bind(try->place, try->path, wish->mode, wish->backlog, &try->file, out_pin);
}

/* Undo: what was adopted stays the caller's, file and descriptor. Returns 0, or why the file
 * stays. */
static int unbind(struct try *try)
{
    struct sr_error *error = sr_error_take();
    int status = 0;

    try->place->dir = try->file.place.dir;
    sr_guard_unpin(&try->share->guarded);
    if (try->wish->fd >= 0) {
        sr_fd_disown(try->file.fd);
    } else {
        status = sr_sockfile_remove(&try->file, try->path);
        sr_fd_close(try->file.fd);
    }
    try->file.fd = -1;
    sr_error_give(error);
    return status;
}

/* With bytes 0 and 1 held, and nothing at the name. */
static int own(struct try *try)
{
    static const struct sr_record empty;
    struct sr_share *share = try->share;
    struct sr_record record;
    int status, pin;

    sr_record_of_self(&record);
    share->life = record.life;
    share->generation = try->record.generation + 1;
    share->socket = (struct sr_identity){0};
    status = write_down(share, &record, SR_RECORD_BINDING);
    if (status == 0)
        status = bind_or_adopt(try, &pin);
    if (status < 0)
        goto clear;
    sr_share_identify(share, &try->file, pin);
    status = sr_control_listen(&try->file.place, try->path, &share->control);
    if (status == 0)
        status = take_slot(share, share->life);
    if (status == 0)
        status = write_down(share, &record, SR_RECORD_LIVE);
    if (status < 0)
        goto unbind;
    share->is_owner = true;
    return SR_SHARE_OWNED;

unbind:
    sr_control_remove(&try->file.place, try->path, &share->control);
    if (unbind(try) < 0)
        return status; /* the record helps whoever tries next */
clear:
    sr_record_write(share->lock.fd, &empty);
    return status;
}

/*
 * Whether nobody has left anything: the lock file is new, and nothing stands at the path. What then
 * stands in the way all the same is seen by the binds, which replace nothing.
 */
static bool is_untouched(const struct try *try)
{
    return try->share->lock.is_blank && !try->place->shared && try->wish->fd < 0 &&
           sr_place_lacks(try->place, sr_path_leaf(try->path));
}

static int recover_and_own(struct try *try)
{
    struct sr_share *share = try->share;
    int status;

    if (is_untouched(try)) {
        status = own(try);
        if (status != SOCKREF_EFOREIGN && status != -EADDRINUSE)
            return status;
    }
    if (try->wish->fd < 0) {
        status = sr_recover(&share->lock, try->place, try->path, NULL, SR_RECOVER_START);
        if (status == SR_RECOVER_ALIVE) {
            status = sr_error_set(SOCKREF_EFOREIGN, try->path,
                                  "a socket stands at the path that may still be somebody's");
            return later(try, status);
        }
        if (status < 0)
            return status;
    }
    return own(try);
}

/* With byte 0 held, and byte 1 where nobody else has it. */
static int decide(struct try *try, bool is_owner)
{
    struct sr_share *share = try->share;
    int status;

    if (!is_owner)
        return join(try);
    status = recover_and_own(try);
    if (status != SR_SHARE_OWNED)
        sr_lockfile_discard(&share->lock, try->place, try->path);
    return status == -EADDRINUSE ? later_occupied(try) : status;
}

static void forget(struct try *try)
{
    struct sr_error *error = sr_error_take();

    sr_share_close(try->share);
    sr_error_give(error);
}

static int try_init(struct try *try, struct sr_place *place, const char *path,
                    const struct sr_wish *wish, struct sr_patience *patience,
                    struct sr_share *share)
{
    size_t size = strlen(path) + 1;

    memset(share, 0, sizeof *share);
    share->lock.fd = share->control = share->stale = -1;
    sr_list_init(&share->guarded.node);
    share->path = sr_sys.malloc(size);
    if (!share->path)
        return sr_error_no_memory();
    memcpy(share->path, path, size);
    memset(try, 0, sizeof *try);
    try->place = place;
    try->path = path;
    try->wish = wish;
    try->patience = patience;
    try->share = share;
    try->file.fd = -1;
    return 0;
}

int sr_share_start(struct sr_place *place, const char *path, const struct sr_wish *wish,
                   struct sr_patience *patience, struct sr_share *out, struct sr_sockfile *out_file)
{
    struct try try;
    bool is_owner;
    int status = try_init(&try, place, path, wish, patience, out);

    if (status < 0)
        return status;
    status = tell_guard(&try, true);
    if (status < 0)
        goto forget;
    status = sr_lockfile_enter_to_own(place, path, &out->lock, &is_owner);
    if (status == SR_LOCK_BUSY)
        status = later_changing(&try);
    else if (status == 0)
        status = decide(&try, is_owner);
    if (status != SR_SHARE_OWNED && status != SR_SHARE_JOINED)
        goto forget;
    sr_lockfile_leave(&out->lock);
    if (status == SR_SHARE_OWNED) {
        *out_file = try.file;
    } else {
        *out_file = (struct sr_sockfile){.fd = -1, .place = *place};
        place->dir = -1;
    }
    return status;

forget:
    forget(&try);
    return status;
}

bool sr_share_is_shared(const struct sr_share *self)
{
    return self->lock.fd >= 0;
}

static int bind_alone(struct try *try)
{
    int pin, status = bind_or_adopt(try, &pin);

    if (status == 0)
        sr_share_identify(try->share, &try->file, pin);
    return status == 0 ? SR_SHARE_OWNED : status;
}

/* Something stands in the way: what a dead owner left is cleared away under the lock file. */
static int bind_after_recovery(struct try *try)
{
    struct sr_lockfile *lock = &try->share->lock; /* closed by the caller */
    int status;

    sr_guard_forget(&try->share->guarded); /* it is to look at the lock file as well from now on */
    status = tell_guard(try, true);
    if (status == 0)
        status = sr_lockfile_enter(try->place, try->path, true, lock);
    if (status == SR_LOCK_BUSY)
        return later_changing(try);
    if (status < 0)
        return status;
    status = sr_lockfile_take(lock, try->path, SR_BYTE_OWNER);
    if (status == SR_LOCK_BUSY) {
        sr_record_read(lock->fd, &try->record);
        status = describe_owner(try, SOCKREF_EBUSY, "another registry listens on the name");
    } else if (status == 0) {
        status = sr_recover(lock, try->place, try->path, NULL, SR_RECOVER_ALONE);
        if (status == SR_RECOVER_ALIVE)
            status = later(
                try, sr_error_set(SOCKREF_EBUSY, try->path,
                                  "a socket stands at the path that may still be somebody's"));
        if (status == 0)
            status = bind_alone(try);
        sr_lockfile_discard(lock, status == SR_SHARE_OWNED ? &try->file.place : try->place,
                            try->path);
    }
    return status == -EADDRINUSE ? later_occupied(try) : status;
}

int sr_share_bind_alone(struct sr_place *place, const char *path, const struct sr_wish *wish,
                        struct sr_patience *patience, struct sr_share *out,
                        struct sr_sockfile *out_file)
{
    struct try try;
    int status = try_init(&try, place, path, wish, patience, out);

    if (status < 0)
        return status;
    if (place->dir >= 0)
        status = tell_guard(&try, false);
    if (status == 0)
        status = bind_alone(&try);
    if (status == -EADDRINUSE && place->dir >= 0)
        status = bind_after_recovery(&try);
    sr_lockfile_close(&out->lock);
    if (status != SR_SHARE_OWNED) {
        forget(&try);
        return status;
    }
    out->is_owner = true;
    *out_file = try.file;
    return status;
}

/* ---- what a holder does later ---- */

int sr_share_enter(struct sr_share *self, uint64_t deadline_ns)
{
    struct timespec pause = {0, 20000};

    for (;;) {
        int status = sr_lockfile_reenter(&self->lock, self->path);

        if (status != SR_LOCK_BUSY || sr_clock_ns() >= deadline_ns)
            return status;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 2000000)
            pause.tv_nsec *= 2;
    }
}

void sr_share_leave(struct sr_share *self)
{
    sr_lockfile_leave(&self->lock);
}

int sr_share_take_slot(struct sr_share *self)
{
    return self->slot != 0 ? 0 : take_slot(self, sr_random());
}

void sr_share_free_slot(struct sr_share *self)
{
    if (self->slot != 0)
        sr_lockfile_free(&self->lock, self->slot);
    self->slot = 0;
}

bool sr_share_has_others(const struct sr_share *self)
{
    return sr_lockfile_has_slots(&self->lock);
}

uint64_t sr_share_count_others(const struct sr_share *self)
{
    return sr_lockfile_count_slots(&self->lock);
}

int sr_share_end(struct sr_share *self, struct sr_sockfile *file, bool has_others)
{
    static const struct sr_record empty;
    int status = sr_sockfile_remove(file, self->path), beside;

    if (!sr_share_is_shared(self))
        return status;
    beside = sr_control_remove(&file->place, self->path, &self->control);
    sr_peers_clear(&self->peers);
    if (status < 0 || beside < 0) /* the record helps whoever tries next */
        return status < 0 ? status : beside;
    if (!has_others || !sr_share_has_others(self))
        return sr_lockfile_unlink(&self->lock, &file->place, self->path);
    sr_record_write(self->lock.fd, &empty); /* the inode's number may be used again */
    return 0;
}

/*
 * The owner that only waits for the last holder looks again when somebody connects. Returns whether
 * there is one who will: an owner that ends removes its control socket before it counts the
 * holders.
 */
static bool poke_owner(const struct sr_share *self, const struct sr_place *place)
{
    int fd = -1;

    if (sr_control_connect(place, self->path, &fd) != 0)
        return false;
    sr_fd_close(fd);
    return true;
}

int sr_share_let_go(struct sr_share *self, const struct sr_place *place)
{
    bool removed = false;
    int status;

    sr_share_free_slot(self);
    sr_fd_close(self->control);
    self->control = -1;
    if (sr_lockfile_has_owner(&self->lock) && poke_owner(self, place))
        return 0;
    status = sr_lockfile_reenter(&self->lock, self->path);
    if (status != 0)
        return status;
    if (sr_lockfile_is_current(&self->lock, place, self->path))
        status = sr_recover_entered(&self->lock, place, self->path, NULL, &removed);
    sr_lockfile_leave(&self->lock);
    return status;
}

void sr_share_close(struct sr_share *self)
{
    sr_lockfile_close(&self->lock);
    sr_fd_close(self->control);
    sr_fd_close(self->stale);
    self->control = self->stale = -1;
    sr_peers_clear(&self->peers);
    sr_guard_forget(&self->guarded);
    free(self->path);
    self->path = NULL;
}
