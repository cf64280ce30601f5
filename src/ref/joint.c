/*
 * What other holders of a name do, as the service thread of this process hears it.
 *
 * A joiner waits on its connection to the owner's control socket: the owner goes, or hands the
 * listener to this process or to another one. An owner whose own references are gone, while others
 * hold the name, waits on its control socket for the last of them to go.
 *
 * A joint belongs to a life and counts it; it owns the descriptor that it waits for, which stays
 * open until the service thread has let go of it.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "name/mend.h"
#include "name/path.h"
#include "ref/fork.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define UNCLEAR_MS 5   /* until the locks tell what became of an owner that does not answer */
#define LOOK_MS    100 /* a holder that could not connect is looked for by its lock alone */
#ifndef ATTEND_MS      /* tests have less patience */
#define ATTEND_MS 2000
#endif

struct sr_joint {
    struct sr_fdwatch watch;
    struct sr_life *life; /* counted */

    /* Of attend(), which looks without the right to the entry. */
    bool is_told;    /* that the name is displaced */
    bool is_severed; /* the file leads to a socket that could not be put in the place of the old */
    dev_t lock_device;
    ino_t lock_inode; /* 0: there is no lock file */
    char leaf[];
};

static struct sr_joint *of(struct sr_fdwatch *watch)
{
    return SR_LIST_OWNER(watch, struct sr_joint, watch);
}

static void ended(struct sr_fdwatch *watch)
{
    struct sr_joint *self = of(watch);
    sockref_registry *registry = self->life->registry;

    sr_fd_close(watch->fd);
    sr_life_release(self->life);
    free(self);
    sr_registry_pending_done(registry);
}

/* Have it end, without the mutex; drain waits until it has. */
static void end(struct sr_joint *self)
{
    sockref_registry *registry = self->life->registry;

    sr_mutex_lock(&registry->mutex);
    registry->pending++; /* the joint holds the registry already */
    sr_mutex_unlock(&registry->mutex);
    sr_hooks.fdwatch_end(&self->watch);
}

static struct sr_joint *make(struct sr_life *life, const char *leaf, int fd, unsigned every_ms,
                             bool (*ready)(struct sr_fdwatch *watch))
{
    struct sr_joint *self = sr_sys.calloc(1, sizeof *self + strlen(leaf) + 1);

    if (!self)
        return NULL;
    memcpy(self->leaf, leaf, strlen(leaf) + 1);
    self->watch.fd = fd;
    self->watch.every_ms = every_ms;
    self->watch.ready = ready;
    self->watch.ended = ended;
    self->life = life;
    sr_life_acquire(life);
    return self;
}

/* Have one wait for a descriptor, which it takes on success. */
static int begin(struct sr_life *life, int fd, unsigned every_ms,
                 bool (*ready)(struct sr_fdwatch *watch))
{
    sockref_registry *registry = life->registry;
    struct sr_joint *self = make(life, "", fd, every_ms, ready);
    int status;

    if (!self)
        return sr_error_no_memory();
    sr_mutex_lock(&registry->mutex);
    sr_registry_hold_locked(registry);
    life->joint = self;
    sr_mutex_unlock(&registry->mutex);
    status = sr_hooks.fdwatch_begin(&self->watch);
    if (status == 0)
        return 0;
    sr_mutex_lock(&registry->mutex);
    life->joint = NULL;
    registry->holds--; /* the life's entry holds it as well */
    sr_mutex_unlock(&registry->mutex);
    sr_life_release(life);
    free(self);
    return status;
}

struct sr_joint *sr_joint_take(struct sr_life *life)
{
    struct sr_joint *self = life->joint;

    life->joint = NULL;
    return self;
}

void sr_joint_end_taken(struct sr_joint *self, struct sr_share *share)
{
    if (!self)
        return;
    if (share && share->stale == self->watch.fd)
        share->stale = -1; /* closed by the joint */
    if (share && share->control == self->watch.fd && self->watch.fd >= 0) {
        share->control = -1;
        sr_sys.shutdown(self->watch.fd, SHUT_RDWR); /* the owner hears it now */
    }
    end(self);
}

void sr_joint_end(struct sr_life *life)
{
    struct sr_joint *self;

    sr_mutex_lock(&life->registry->mutex);
    self = sr_joint_take(life);
    sr_mutex_unlock(&life->registry->mutex);
    sr_joint_end_taken(self, life->share);
}

struct sr_share *sr_joint_take_share(struct sr_life *life)
{
    struct sr_share *share = life->share;

    life->share = NULL;
    return share;
}

void sr_joint_close(struct sr_life *life)
{
    struct sr_share *share;

    sr_mutex_lock(&life->registry->mutex);
    share = sr_joint_take_share(life);
    sr_mutex_unlock(&life->registry->mutex);
    if (share)
        sr_share_close(share);
}

/* ---- a joiner ---- */

/*
 * Take the right to change an entry of this joint, from one state to another that others leave
 * alone. Returns it, or NULL where the joint or the process is over, or somebody else is at it.
 */
static sockref *begin_turn(struct sr_joint *self, enum sr_state state, enum sr_state next)
{
    sockref_registry *registry = self->life->registry;
    sockref *entry = NULL;
    uint64_t word;

    sr_mutex_lock(&registry->mutex);
    if (self->life->joint == self && self->life->entry && !atomic_load(&sr_exiting)) {
        entry = self->life->entry;
        word = atomic_load(&entry->word);
        do {
            if (sr_word_state(word) != state || sr_word_count(word) == 0 || (word & SR_FORKED)) {
                entry = NULL;
                break;
            }
        } while (
            !atomic_compare_exchange_weak(&entry->word, &word, sr_word_with_state(word, next)));
    }
    sr_mutex_unlock(&registry->mutex);
    return entry;
}

/* Give the right back. Where no reference is left, this thread has the duty of the last release. */
static void end_turn(sockref *entry, enum sr_state state)
{
    sockref_registry *registry = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    uint64_t word;

    sr_mutex_lock(&registry->mutex);
    word = sr_entry_change(entry, state, 0);
    sr_registry_changed_locked(registry, entry, &woken);
    sr_mutex_unlock(&registry->mutex);
    sr_registry_wake(&woken);
    if (sr_word_count(word) == 0)
        sr_remove_last(entry, word);
}

static bool hear(struct sr_fdwatch *watch);

/* How often to look without being told. */
static unsigned interval(const struct sr_share *share, enum sr_news news)
{
    if (news == SR_NEWS_UNCLEAR)
        return UNCLEAR_MS;
    return share->control < 0 ? LOOK_MS : 0;
}

/* Wait on the connection that has replaced the one of this joint. */
static void follow(struct sr_joint *self, sockref *entry, unsigned every_ms)
{
    struct sr_life *life = self->life;
    int status;

    life->share->stale = -1; /* it is this joint's, which closes it */
    sr_mutex_lock(&life->registry->mutex);
    life->joint = NULL;
    sr_mutex_unlock(&life->registry->mutex);
    end(self);
    status = begin(life, life->share->control, every_ms, hear);
    if (status < 0)
        sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_ERROR, status, sr_entry_path(entry),
               "nobody waits for the owner's end any more: %s", sockref_last_error()->message);
}

/* What becomes of a joiner's handlers when it owns the name; one of them, or none. */
struct served {
    struct sr_service *service; /* made of them, and to begin */
    struct sr_kept *unused;     /* could not serve */
};

/* The listener was passed to us. */
static void own(struct sr_joint *self, sockref *entry, struct served *out)
{
    struct sr_life *life = self->life;
    struct sr_kept *kept = life->kept;
    int status;

    life->share->stale = -1;
    sr_mutex_lock(&life->registry->mutex);
    life->joint = NULL;
    life->kept = NULL;
    sr_mutex_unlock(&life->registry->mutex);
    end(self);
    status = kept ? sr_hooks.kept_serve(kept, life, &out->service) : 0;
    if (status < 0) {
        out->unused = kept;
        sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_ERROR, status, sr_entry_path(entry),
               "what was handed over is not served: %s", sockref_last_error()->message);
    }
    sr_log(SR_LOG_OWNER_CHANGED, SOCKREF_LOG_INFO, 0, sr_entry_path(entry), "owned from now on");
}

/* After the turn, for it may call on_stop, which may ask for the name. */
static void begin_served(const struct served *served, struct sr_life *life)
{
    if (served->service)
        sr_hooks.serve_begin(served->service, life);
    sr_hooks.kept_drop(served->unused);
}

/* The owner is gone, and the name with it: for those who hold it here it is as revoked. */
static void lose(sockref *entry)
{
    uint64_t word = atomic_load(&entry->word);

    do {
        if (sr_word_count(word) == 0) {
            end_turn(entry, SR_JOINED);
            return;
        }
    } while (!atomic_compare_exchange_weak(&entry->word, &word,
                                           sr_word_with_state(word, SR_REMOVING) + 1));
    sr_remove_lost(entry);
}

static bool hear(struct sr_fdwatch *watch)
{
    struct sr_joint *self = of(watch);
    struct sr_life *life = self->life;
    sockref *entry = begin_turn(self, SR_JOINED, SR_TURNING);
    enum sr_state next = SR_JOINED;
    int offer[SR_CONTROL_FDS];
    struct served served = {0};
    enum sr_news news;

    if (!entry)
        return false;
    news = sr_share_hear(life->share, &life->file.place, offer);
    if (news == SR_NEWS_OFFERED) {
        if (sr_word_count(atomic_load(&entry->word)) == 0) {
            sr_share_decline(life->share, offer);
        } else if (sr_share_take_over(life->share, offer, &life->file)) {
            own(self, entry, &served);
            next = SR_LISTENING;
        }
    } else if (news == SR_NEWS_LOST) {
        lose(entry);
        return true;
    }
    if (next == SR_JOINED && life->share->control != watch->fd)
        follow(self, entry, interval(life->share, news));
    else if (next == SR_JOINED && watch->every_ms != interval(life->share, news))
        sr_hooks.fdwatch_every(watch, interval(life->share, news));
    if (next == SR_LISTENING || news == SR_NEWS_OWNER)
        sr_watch_notify(entry, SOCKREF_WATCH_OWNER);
    end_turn(entry, next);
    if (next == SR_LISTENING) {
        begin_served(&served, life);
        sr_joint_attend(entry);
    }
    return news != SR_NEWS_UNCLEAR; /* the end of a connection is there still */
}

int sr_joint_begin(struct sr_life *life)
{
    return begin(life, life->share->control, interval(life->share, SR_NEWS_NONE), hear);
}

/* ---- an owner whose watch wants to know what becomes of the files ---- */

/* What can't be told is no loss. */
static bool is_displaced(const struct sr_joint *self)
{
    const struct sr_sockfile *file = &self->life->file;
    char beside[SR_LOCKFILE_NAME_MAX];

    if (self->is_severed ||
        sr_place_leads_to(&file->place, self->leaf, file->device, file->inode) == 0)
        return true;
    if (self->lock_inode == 0)
        return false;
    sr_lockfile_name(self->leaf, ".srlock", beside);
    if (sr_place_leads_to(&file->place, beside, self->lock_device, self->lock_inode) == 0)
        return true;
    sr_lockfile_name(self->leaf, ".srctl", beside);
    return sr_place_lacks(&file->place, beside);
}

/* Put another socket in the place of the one whose file is gone; that may have begun to listen when
 * this one was bound already. */
static int install(struct sr_life *life, const struct sr_sockfile *fresh)
{
    int status;

    sr_mutex_lock(&life->registry->mutex);
    life->file.device = fresh->device;
    life->file.inode = fresh->inode;
    life->file.born_ns = fresh->born_ns;
    if (life->role == SR_ROLE_LISTENER)
        (void)sr_sockfile_listen(fresh->fd, life->backlog, life->share->path);
    if (life->service)
        status = life->service->move(life->service, fresh->fd, life->file.fd);
    else if ((status = sr_fd_replace(fresh->fd, life->file.fd)) < 0)
        sr_fd_close(fresh->fd);
    sr_mutex_unlock(&life->registry->mutex);
    return status;
}

/* Make again what is gone, with the right to the entry. Returns 0, or why it did not work. */
static int mend(struct sr_joint *self)
{
    struct sr_life *life = self->life;
    struct sr_sockfile fresh;
    int status = sr_share_mend(life->share, &life->file, life->backlog, &fresh);

    if (fresh.fd >= 0) { /* the number may be over a limit that was lowered */
        int installed = install(life, &fresh);

        self->is_severed = installed < 0;
        status = installed < 0 ? installed : status;
    }
    self->lock_device = life->share->lock.device;
    if (self->lock_inode != 0)
        self->lock_inode = life->share->lock.inode;
    return status;
}

/*
 * A name that ends at the same time removes its files: then the state is another one, and there is
 * nothing to tell. What could be made again is no loss any more; the rest is told once.
 */
static bool attend(struct sr_fdwatch *watch)
{
    struct sr_joint *self = of(watch);
    bool displaced = is_displaced(self), was_told = self->is_told;
    sockref *entry = displaced ? begin_turn(self, SR_LISTENING, SR_MENDING) : NULL;
    int status;

    if (!displaced)
        self->is_told = false;
    if (!entry)
        return true;
    status = mend(self);
    self->is_told = is_displaced(self);
    if (!was_told) {
        sr_log(SR_LOG_DISPLACED, SOCKREF_LOG_WARNING, status < 0 ? status : 0, sr_entry_path(entry),
               "somebody else has removed or replaced a file of a name in use; %s",
               self->is_told ? "the path does not lead to the listener" : "it was made again");
        sr_watch_notify(entry, SOCKREF_WATCH_DISPLACED);
    }
    end_turn(entry, SR_LISTENING);
    return true;
}

/* With the mutex held: whether there is somebody to tell, and nobody who looks. */
static bool wants_attendance(const sockref *entry)
{
    const struct sr_entry_more *more = entry->rest->more;
    const struct sr_life *life = entry->rest->life;

    return sr_word_state(atomic_load(&entry->word)) == SR_LISTENING && more && more->watch &&
           life && life->share && life->file.place.dir >= 0 && !life->joint;
}

void sr_joint_attend(sockref *entry)
{
    sockref_registry *registry = entry->registry;
    struct sr_joint *self = NULL;
    struct sr_life *life;
    bool unused;

    if (!entry->rest->more) /* who sets a watch after this attends to it as well */
        return;
    sr_mutex_lock(&registry->mutex);
    life = entry->rest->life;
    if (wants_attendance(entry))
        self = make(life, sr_path_leaf(life->share->path), -1, ATTEND_MS, attend);
    if (self) {
        self->lock_device = life->share->lock.device;
        self->lock_inode = sr_share_is_shared(life->share) ? life->share->lock.inode : 0;
        sr_registry_hold_locked(registry);
    }
    sr_mutex_unlock(&registry->mutex);
    if (!self)
        return;
    if (sr_hooks.fdwatch_begin(&self->watch) < 0) {
        sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_WARNING, sockref_last_error()->status, NULL,
               "nobody looks after the file: %s", sockref_last_error()->message);
        sr_life_release(life);
        free(self);
        sr_registry_unhold(registry);
        return;
    }
    sr_mutex_lock(&registry->mutex);
    unused = entry->rest->life != life || !wants_attendance(entry);
    if (!unused)
        life->joint = self;
    sr_mutex_unlock(&registry->mutex);
    if (unused)
        end(self);
}

/* ---- an owner without references of its own ---- */

static bool look(struct sr_fdwatch *watch)
{
    struct sr_joint *self = of(watch);
    struct sr_life *life = self->life;
    sockref_registry *registry = life->registry;
    sockref *entry = NULL;
    bool accepted;

    sr_mutex_lock(&registry->mutex);
    if (life->joint == self && life->entry && !atomic_load(&sr_exiting) &&
        sr_word_state(atomic_load(&life->entry->word)) == SR_LINGER) {
        entry = life->entry;
        sr_stats_begin_removal(life);
        sr_entry_change(entry, SR_REMOVING, 0);
    }
    sr_mutex_unlock(&registry->mutex);
    if (!entry)
        return false;
    accepted = sr_peers_accept(&life->share->peers, life->share->control);
    sr_remove_dying(entry, false);
    return accepted; /* one that has to wait is still there */
}

int sr_joint_linger(struct sr_life *life)
{
    int fd, status;

    if (life->joint && life->joint->watch.ready == look)
        return 0;
    sr_joint_end(life);
    fd = sr_fd_duplicate(life->share->control);
    if (fd < 0)
        return sr_error_system(-fd, "fcntl", life->share->path);
    status = begin(life, fd, LOOK_MS, look);
    if (status < 0)
        sr_fd_close(fd);
    return status;
}

void sr_joint_revive(sockref *entry)
{
    sockref_registry *registry = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    struct sr_life *life = entry->rest->life;

    sr_joint_end(life);
    if (sr_share_take_slot(life->share) < 0)
        sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_WARNING, sockref_last_error()->status,
               life->share->path, "not counted as a holder: %s", sockref_last_error()->message);
    sr_mutex_lock(&registry->mutex);
    sr_entry_change(entry, SR_LISTENING, 0);
    sr_registry_changed_locked(registry, entry, &woken);
    sr_mutex_unlock(&registry->mutex);
    sr_registry_wake(&woken);
    sr_joint_attend(entry);
}
