/*
 * Start or join.
 *
 * Under byte 0 of the lock file the byte 1 decides: who gets it owns the name, clears away what a
 * dead owner left, says in the record that it binds, binds, and says that it lives. Who does not
 * get it joins.
 *
 * The guard is told of a name before its lock file can exist, and of the socket right after its
 * bind, so that it knows of everything that a kill can leave.
 */
#include "name/try.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "name/control.h"
#include "name/path.h"
#include "name/recover.h"

#include <errno.h>
#include <sockref/sockref.h>

/* Somebody was faster, without the lock file. */
static int later_occupied(struct sr_try *try)
{
    return sr_try_later(try, sr_error_set(SOCKREF_EBUSY, try->path,
                                          "another registry or program bound the path meanwhile"));
}

/* What stands there was made by somebody, and it is too early to tell whether it is dead. */
static int later_unclear(struct sr_try *try, int status)
{
    return sr_try_later(try, sr_error_set(status, try->path,
                                          "a socket stands at the path that may still be "
                                          "somebody's: stop who serves it, or remove it"));
}

static int confirm_guard(struct sr_try *try)
{
    int status = sr_guard_confirm(&try->patience->guard);

    if (status != SR_GUARD_SILENT)
        return status;
    return sr_try_later(
        try, sr_error_set(SOCKREF_EUNSUPPORTED, try->path, "the guard has not answered yet"));
}

/* The guard has answered before it is told anything, so that tries which wait for that leave it
 * nothing to read. */
static int tell_demanded_guard(struct sr_try *try, bool has_lock)
{
    int status = confirm_guard(try);

    if (status == 0)
        status = sr_guard_watch(&try->share->guarded, try->place, try->share->path, has_lock);
    return status == 0 ? confirm_guard(try) : status; /* it may be another one by now */
}

/* Have the guard know, before there is anything. Without one a start goes on, unless it was asked
 * for. Returns 0, SR_SHARE_LATER or a described status. */
static int tell_guard(struct sr_try *try, bool has_lock)
{
    int status;

    if (try->wish->guard == 0)
        return 0;
    if (try->wish->guard == 2)
        return tell_demanded_guard(try, has_lock);
    status = sr_guard_watch(&try->share->guarded, try->place, try->share->path, has_lock);
    if (status == 0)
        return 0;
    sr_log(SR_LOG_GUARD_FAILED, SOCKREF_LOG_WARNING, status, try->path,
           "the name goes without a guard: %s", sockref_last_error()->message);
    return 0;
}

/* The pin is for the guard; -1: there is none to be told. */
static int bind_or_adopt(struct sr_try *try, int *out_pin)
{
    const struct sr_wish *wish = try->wish;
    int *pin = try->share->guarded.id != 0 ? out_pin : NULL;

    *out_pin = -1;
    if (wish->fd >= 0)
        return sr_sockfile_adopt(try->place, try->path, wish->fd, &try->file, pin);
    return sr_sockfile_bind(try->place, try->path, wish->mode, wish->backlog, &try->file, pin);
}

/* Undo: what was adopted stays the caller's, file and descriptor. Returns 0, or why the file
 * stays. */
static int unbind(struct sr_try *try)
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

/* The same for the control socket. */
static int unbind_control(struct sr_try *try)
{
    struct sr_error *error = sr_error_take();
    int status = sr_control_remove(try->place, try->path, &try->share->control);

    sr_error_give(error);
    return status;
}

/* With bytes 0 and 1 held, and nothing at the name. */
static int own(struct sr_try *try)
{
    static const struct sr_record empty;
    struct sr_share *share = try->share;
    struct sr_record record;
    int status, pin, left = 0;

    sr_record_of_self(&record);
    share->life = record.life;
    share->generation = try->record.generation + 1;
    share->socket = (struct sr_identity){0};
    status = sr_share_write_down(share, &record, SR_RECORD_BINDING);
    if (status == 0)
        status = sr_control_listen(try->place, try->path, try->wish->fd < 0, &share->control);
    if (status < 0)
        goto clear;
    status = bind_or_adopt(try, &pin); /* and see that the path leads to where both are now */
    if (status < 0)
        goto unbind_control;
    sr_share_identify(share, &try->file, pin);
    status = sr_share_take_slot(share);
    if (status == 0)
        status = sr_share_write_down(share, &record, SR_RECORD_LIVE);
    if (status < 0)
        goto unbind;
    share->is_owner = true;
    return SR_SHARE_OWNED;

unbind:
    left = unbind(try);
unbind_control:
    left |= unbind_control(try);
    if (left < 0)
        return status; /* the record helps whoever tries next */
clear:
    sr_record_write(share->lock.fd, &empty);
    return status;
}

/*
 * Whether nobody has left anything: the lock file is new, and nothing stands at the path. What then
 * stands in the way all the same is seen by the binds, which replace nothing.
 */
static bool is_untouched(const struct sr_try *try)
{
    return try->share->lock.is_blank && !try->place->shared && try->wish->fd < 0 &&
           sr_place_lacks(try->place, sr_path_leaf(try->path));
}

static int recover_and_own(struct sr_try *try)
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
        if (status == SR_RECOVER_ALIVE)
            return later_unclear(try, SOCKREF_EFOREIGN);
        if (status < 0)
            return status;
    }
    return own(try);
}

/* With byte 0 held, and byte 1 where nobody else has it. */
static int decide(struct sr_try *try, const struct sr_taken *taken)
{
    struct sr_share *share = try->share;
    int status;

    if (!taken->is_owner)
        return sr_try_join(try);
    share->slot = taken->slot;
    status = recover_and_own(try);
    if (status != SR_SHARE_OWNED) {
        sr_share_free_slot(share); /* before the holders are counted */
        sr_lockfile_discard(&share->lock, try->place, try->path);
    }
    return status == -EADDRINUSE ? later_occupied(try) : status;
}

static void forget(struct sr_try *try)
{
    struct sr_error *error = sr_error_take();

    sr_share_close(try->share);
    sr_error_give(error);
}

static void try_init(struct sr_try *try, struct sr_place *place, const char *path,
                     const struct sr_wish *wish, struct sr_patience *patience,
                     struct sr_share *share)
{
    *share = (struct sr_share){.path = path, .lock = {.fd = -1}, .control = -1, .stale = -1};
    sr_list_init(&share->guarded.node);
    *try = (struct sr_try){.place = place,
                           .path = path,
                           .wish = wish,
                           .patience = patience,
                           .share = share,
                           .file = {.fd = -1}};
}

int sr_share_start(struct sr_place *place, const char *path, const struct sr_wish *wish,
                   struct sr_patience *patience, struct sr_share *out, struct sr_sockfile *out_file)
{
    struct sr_try try;
    struct sr_taken taken;
    int status;

    try_init(&try, place, path, wish, patience, out);
    status = tell_guard(&try, true);
    if (status != 0)
        goto forget;
    status = sr_lockfile_enter_to_own(place, path, &out->lock, &taken);
    if (status == SR_LOCK_BUSY)
        status = sr_try_later_changing(&try);
    else if (status == 0)
        status = decide(&try, &taken);
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

static int bind_alone(struct sr_try *try)
{
    int pin, status = bind_or_adopt(try, &pin);

    if (status == 0)
        sr_share_identify(try->share, &try->file, pin);
    return status == 0 ? SR_SHARE_OWNED : status;
}

/* Something stands in the way: what a dead owner left is cleared away under the lock file. */
static int bind_after_recovery(struct sr_try *try)
{
    struct sr_lockfile *lock = &try->share->lock; /* closed by the caller */
    int status;

    sr_guard_forget(&try->share->guarded); /* it is to look at the lock file as well from now on */
    status = tell_guard(try, true);
    if (status != 0)
        return status;
    status = sr_lockfile_enter(try->place, try->path, true, lock);
    if (status == SR_LOCK_BUSY)
        return sr_try_later_changing(try);
    if (status == SOCKREF_EUNSUPPORTED) /* what is told of sharing does not help here */
        return sr_error_set(status, try->path,
                            "another socket stands at the path, and it can't be told here whether "
                            "its owner is dead: stop the owner, or remove the file");
    if (status < 0)
        return status;
    status = sr_lockfile_take(lock, try->path, SR_BYTE_OWNER);
    if (status == SR_LOCK_BUSY) {
        sr_record_read(lock->fd, &try->record);
        status = sr_try_describe_owner(try, SOCKREF_EBUSY, "another registry listens on the name");
    } else if (status == 0) {
        status = sr_recover(lock, try->place, try->path, NULL, SR_RECOVER_ALONE);
        if (status == SR_RECOVER_ALIVE)
            status = later_unclear(try, SOCKREF_EBUSY);
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
    struct sr_try try;
    int status;

    try_init(&try, place, path, wish, patience, out);
    status = tell_guard(&try, false);
    if (status == 0)
        status = bind_alone(&try);
    if (status == -EADDRINUSE)
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
