/*
 * The end of a name: by its last release, by revocation, after a delay, and at the exit of the
 * process.
 *
 * The file goes first, while the descriptor still pins its inode; then the service is told, then
 * the descriptor is closed (a served one by its loop), then the entry leaves the index and those
 * who wait for the name are woken.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "name/path.h"
#include "ref/fork.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <time.h>

#define UNSEEN_MS 1000 /* a start that failed waits so long at most, to leave nothing behind */

uint64_t sr_entry_change(sockref *entry, enum sr_state state, int64_t add)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed), next;

    do
        next = sr_word_with_state(word, state) + (uint64_t)add;
    while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, next, memory_order_acq_rel,
                                                  memory_order_relaxed));
    return next;
}

/*
 * Take the right to change an entry that is held: to another state, and one count for us. Returns
 * false when its last reference has just gone: then whoever released it ends it.
 */
static bool take_held(sockref *entry, enum sr_state state)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed), next;

    do {
        if (sr_word_count(word) == 0)
            return false;
        next = sr_word_with_state(word, state) + 1;
    } while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, next, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return true;
}

static void log_failure(sockref *entry, int status)
{
    sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, status, sr_entry_path(entry), "%s",
           sockref_last_error()->message);
}

static uint64_t patience_of(const sockref *entry)
{
    return sr_clock_after_ms(
        sr_registry_option(entry->registry, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));
}

/* ---- removals that have to wait are the worker's ---- */

static atomic_uint deferred_count;

static void defer(sockref *entry, void (*over)(sockref *entry))
{
    sockref_registry *self = entry->registry;
    struct sr_deadline *deferred = &entry->rest->life->deferred;
    bool begun;

    deferred->entry = entry;
    deferred->over = over;
    deferred->delay_ms = 1;
    atomic_fetch_add(&deferred_count, 1);
    sr_mutex_lock(&self->mutex);
    sr_registry_hold_locked(self);
    begun = sr_cleanup_begin(deferred);
    sr_mutex_unlock(&self->mutex);
    if (!begun)
        over(entry); /* there is no thread to be had: this one waits */
}

static void remove_deferred(sockref *entry)
{
    sockref_registry *self = entry->registry;

    sr_remove_dying(entry, true);
    atomic_fetch_sub(&deferred_count, 1);
    sr_registry_unhold(self);
}

/* At exit: what was released just before may be on its way to another holder. */
static void await_deferred(uint64_t deadline)
{
    const struct timespec pause = {0, 200000};

    while (atomic_load(&deferred_count) > 0 && sr_clock_ns() < deadline)
        nanosleep(&pause, NULL);
}

void sr_remove_after_fork(void)
{
    atomic_store(&deferred_count, 0);
}

/* ---- the socket and what stands beside it ---- */

enum fate {
    ENDED,   /* nothing of ours is left; or it was passed on */
    WAITS,   /* byte 0 is busy, or passing it on takes time */
    LINGERS, /* others hold it, and it is served */
};

/* Pass the listener on to another holder, if that is wanted and this thread may wait. */
static bool hand_over(struct sr_life *life, uint64_t deadline)
{
    return life->hands_over && sr_share_hand_over(life->share, &life->file, deadline);
}

static bool is_served(struct sr_life *life)
{
    bool served;

    sr_mutex_lock(&life->registry->mutex);
    served = life->service != NULL;
    sr_mutex_unlock(&life->registry->mutex);
    return served;
}

/* The last reference of the owner's is gone. Returns a fate, or a described status with the same
 * effect as ENDED. */
static int end_owned(struct sr_life *life, bool wait, uint64_t deadline)
{
    struct sr_share *share = life->share;
    int status = sr_share_enter(share, wait ? deadline : 0);
    bool has_others = status == 0 && sr_share_has_others(share);

    if (status == SR_LOCK_BUSY || has_others)
        sr_share_free_slot(share); /* else it goes with all the rest */
    if (status == SR_LOCK_BUSY)
        return WAITS;
    if (has_others) {
        if (is_served(life) && atomic_load(&life->registry->phase) == SR_OPEN &&
            sr_joint_linger(life) == 0) {
            sr_share_leave(share);
            return LINGERS;
        }
        if (life->hands_over && !wait) {
            sr_share_leave(share);
            return WAITS;
        }
        if (hand_over(life, deadline))
            return ENDED;
    }
    return sr_share_end(share, &life->file, has_others || status < 0);
}

static int end_joined(struct sr_life *life, bool wait, uint64_t deadline)
{
    const struct timespec pause = {0, 1000000};
    int status;

    sr_joint_end(life);
    status = sr_share_let_go(life->share, &life->file.place);
    while (status == SR_LOCK_BUSY && wait && sr_clock_ns() < deadline) {
        nanosleep(&pause, NULL);
        status = sr_share_let_go(life->share, &life->file.place);
    }
    return status == SR_LOCK_BUSY ? (int)WAITS : status;
}

/* What the end of a life means for its name on disk. */
static int end_name(sockref *entry, struct sr_life *life, bool wait)
{
    struct sr_share *share = life->share;
    uint64_t deadline = wait ? patience_of(entry) : 0;
    int status;

    if (!share || !sr_share_is_shared(share))
        return sr_sockfile_remove(&life->file, sr_entry_path(entry));
    if (share->is_owner)
        status = end_owned(life, wait, deadline);
    else
        status = end_joined(life, wait, deadline);
    if (status == WAITS && wait) {
        /* Somebody has kept byte 0 for all that time: the file goes by its identity alone. */
        status = share->is_owner ? sr_sockfile_remove(&life->file, share->path) : ENDED;
    }
    return status;
}

void sr_remove_unseen(struct sr_life *life)
{
    struct sr_share *share = life->share;

    if (!share) {
        /* an abstract name has no file */
    } else if (!sr_share_is_shared(share)) {
        sr_sockfile_remove(&life->file, share->path);
    } else if (share->is_owner) {
        sr_share_free_slot(share);
        if (sr_share_enter(share, sr_clock_after_ms(UNSEEN_MS)) != SR_LOCK_BUSY)
            sr_share_end(share, &life->file, true);
        else
            sr_sockfile_remove(&life->file, share->path);
    } else {
        end_joined(life, true, sr_clock_after_ms(UNSEEN_MS));
    }
    sockref_options_free(life->kept);
    life->kept = NULL;
    sr_joint_close(life);
}

static void linger_on(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);

    sr_mutex_lock(&self->mutex);
    sr_entry_change(entry, SR_LINGER, 0);
    sr_registry_changed_locked(self, entry, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
}

/* Nobody uses the handlers that a joiner gave. */
static void drop_kept(struct sr_life *life)
{
    if (!life->kept)
        return;
    sr_hooks.serve_unused(life->kept);
    sockref_options_free(life->kept);
    life->kept = NULL;
}

/* The name's files are gone: close, and free the entry. */
static int finish_dying(sockref *entry, int status)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    struct sr_life *life = entry->rest->life;
    struct sr_service *service;

    if (status < 0)
        log_failure(entry, status);
    sr_joint_end(life);
    sr_log(SR_LOG_CLOSED, SOCKREF_LOG_DEBUG, 0, sr_entry_path(entry), "closed");
    sr_mutex_lock(&self->mutex);
    service = sr_service_take(self, life);
    entry->rest->life = NULL;
    life->entry = NULL;
    sr_mutex_unlock(&self->mutex);
    if (service) {
        service->stop(service);
        sr_sockfile_retire(&life->file);
        atomic_store(&self->retired_ns, sr_clock_ns());
    }
    drop_kept(life);
    sr_joint_close(life);
    sr_life_release(life);
    sr_mutex_lock(&self->mutex);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
    return status;
}

int sr_remove_dying(sockref *entry, bool wait)
{
    int status = end_name(entry, entry->rest->life, wait);

    if (status == LINGERS) {
        linger_on(entry);
        return 0;
    }
    if (status == WAITS) {
        defer(entry, remove_deferred);
        return 0;
    }
    return finish_dying(entry, status);
}

/* Have the cleanup delay run where one was asked for. Returns false where the life ends now. */
static bool begin_delay(sockref *entry)
{
    struct sr_entry_more *more = entry->rest->more;
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    bool begun = false;

    if (!more || more->deadline.delay_ms == 0)
        return false;
    sr_mutex_lock(&self->mutex);
    if (atomic_load(&self->phase) == SR_OPEN) {
        sr_registry_hold_locked(self);
        begun = sr_cleanup_begin(&more->deadline);
        if (!begun)
            self->holds--;
    }
    if (begun) {
        sr_entry_change(entry, SR_GRACE, 0);
        atomic_fetch_sub(&self->active, 1);
        sr_registry_changed_locked(self, entry, &woken);
    }
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    return begun;
}

static void remove_listening(sockref *entry)
{
    if (begin_delay(entry))
        return;
    sr_entry_change(entry, SR_REMOVING, 0);
    atomic_fetch_sub(&entry->registry->active, 1);
    sr_remove_dying(entry, false);
}

static void remove_joined(sockref *entry)
{
    sr_entry_change(entry, SR_REMOVING, 0);
    atomic_fetch_sub(&entry->registry->active, 1);
    sr_remove_dying(entry, false);
}

static void remove_named(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);

    sr_mutex_lock(&self->mutex);
    atomic_fetch_sub(&self->active, 1);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
}

static void remove_revoked(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    struct sr_life *life = entry->rest->life;

    sr_mutex_lock(&self->mutex);
    entry->rest->life = NULL;
    if (life)
        life->entry = NULL;
    sr_mutex_unlock(&self->mutex);
    if (life)
        sr_life_release(life);
    sr_mutex_lock(&self->mutex);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
}

void sr_remove_last(sockref *entry, uint64_t word)
{
    if (word & SR_FORKED || sr_fork_was_unseen())
        return;
    switch (sr_word_state(word)) {
    case SR_NAMED:
        remove_named(entry);
        break;
    case SR_LISTENING:
        remove_listening(entry);
        break;
    case SR_JOINED:
        remove_joined(entry);
        break;
    case SR_REVOKED:
        remove_revoked(entry);
        break;
    default:
        break; /* the others are held by whoever changes them */
    }
}

void sr_remove_stop_delay(sockref_registry *self, sockref *entry)
{
    if (sr_cleanup_cancel(&entry->rest->more->deadline))
        self->holds--; /* its entry holds the registry as well */
}

void sr_remove_after_delay(sockref *entry)
{
    sockref_registry *self = entry->registry;
    const struct sr_entry_more *more;
    bool over;

    sr_mutex_lock(&self->mutex);
    more = entry->rest->more;
    over =
        sr_word_state(atomic_load(&entry->word)) == SR_GRACE && more->deadline.at <= sr_clock_ns();
    if (over) {
        sr_remove_stop_delay(self, entry); /* the worker came late, and a later delay is over too */
        sr_entry_change(entry, SR_REMOVING, 0);
    }
    sr_mutex_unlock(&self->mutex);
    if (over)
        sr_remove_dying(entry, false);
    sr_mutex_lock(&self->mutex);
    sr_registry_unhold_unlock(self);
}

/* Out of the index with all that is known, for those who still hold it. */
static void finish_revoke_unlock(sockref_registry *self, sockref *entry, struct sr_service *service)
    SR_RELEASES(self->mutex)
{
    struct sr_list woken = SR_LIST_INIT(woken);

    sr_names_hide(self, entry);
    sr_entry_change(entry, SR_REVOKED, 0);
    sr_registry_changed_locked(self, entry, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    if (service)
        service->stop(service);
    sr_log(SR_LOG_REVOKED, SOCKREF_LOG_INFO, 0, sr_entry_path(entry), "revoked");
    sr_watch_notify(entry, SOCKREF_WATCH_LOST);
    sockref_release(entry);
}

/* Let go of what was joined, and tell those who hold it here; they have a count of ours. */
static int revoke_joined(sockref *entry, bool wait)
{
    sockref_registry *self = entry->registry;
    struct sr_life *life = entry->rest->life;
    int status = end_name(entry, life, wait);

    if (status == WAITS)
        return status;
    if (status < 0)
        log_failure(entry, status);
    drop_kept(life);
    sr_joint_close(life);
    sr_mutex_lock(&self->mutex);
    finish_revoke_unlock(self, entry, NULL);
    return status;
}

static void lose_deferred(sockref *entry)
{
    sockref_registry *self = entry->registry;

    revoke_joined(entry, true);
    atomic_fetch_sub(&deferred_count, 1);
    sr_registry_unhold(self);
}

void sr_remove_lost(sockref *entry)
{
    atomic_fetch_sub(&entry->registry->active, 1);
    if (revoke_joined(entry, false) == WAITS)
        defer(entry, lose_deferred);
}

/* Back to what it was before it was taken to be revoked. */
static void take_back(sockref *entry, enum sr_state state)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);

    sr_mutex_lock(&self->mutex);
    atomic_fetch_add(&self->active, 1);
    sr_entry_change(entry, state, 0);
    sr_registry_changed_locked(self, entry, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    sockref_release(entry);
}

/* What has no file is found until its socket is closed: that goes now, its number stays. */
static void give_up_address(sockref_registry *self, struct sr_life *life)
{
    struct sr_service *service;

    sr_mutex_lock(&self->mutex);
    service = sr_service_take(self, life);
    sr_mutex_unlock(&self->mutex);
    if (service)
        service->stop(service);
    sr_sockfile_retire(&life->file);
    atomic_store(&self->retired_ns, sr_clock_ns());
}

/*
 * The file goes at once, whoever else holds the name; they learn it by the end of the control
 * socket. Where the registry ends (phase), the listener may be passed on instead.
 */
static int revoke_listening(sockref *entry, uint64_t deadline)
{
    sockref_registry *self = entry->registry;
    struct sr_life *life = entry->rest->life;
    struct sr_share *share = life->share;
    int status = 0;

    if (share && sr_share_is_shared(share)) {
        status = sr_share_enter(share, deadline);
        if (status == SR_LOCK_BUSY) {
            take_back(entry, SR_LISTENING);
            return sr_error_set(SOCKREF_ETIMEOUT, sr_entry_path(entry),
                                "another process was changing the name all the time");
        }
        sr_share_free_slot(share);
        if (atomic_load(&self->phase) != SR_OPEN && sr_share_has_others(share) &&
            hand_over(life, deadline))
            status = 0;
        else
            status = sr_share_end(share, &life->file, true);
    } else {
        status = sr_sockfile_remove(&life->file, sr_entry_path(entry));
    }
    if (status < 0)
        log_failure(entry, status);
    sr_joint_end(life);
    sr_joint_close(life);
    if (life->file.place.dir < 0)
        give_up_address(self, life);
    sr_mutex_lock(&self->mutex);
    finish_revoke_unlock(self, entry, sr_service_take(self, life));
    return status;
}

/* Wait for the start that is under way on an entry. Returns 0, ENOTFOUND when the life is another
 * one, or ETIMEOUT. */
static int wait_for_start(sockref_registry *self, sockref *entry, uint64_t deadline)
    SR_REQUIRES(self->mutex)
{
    uint64_t first = atomic_load(&entry->word), word = first;

    while (sr_word_state(word) == SR_STARTING || sr_word_state(word) == SR_FRESH ||
           sr_word_state(word) == SR_TURNING) {
        if (sr_cond_wait(&self->changed, &self->mutex, deadline) < 0)
            return SOCKREF_ETIMEOUT;
        word = atomic_load(&entry->word);
        if (word >> SR_GENERATION_SHIFT != first >> SR_GENERATION_SHIFT)
            return SOCKREF_ENOTFOUND;
    }
    return 0;
}

/* It lives on for others alone: passed on where the registry ends, else they lose it. */
static int end_lingering(sockref *entry, uint64_t deadline)
{
    struct sr_life *life = entry->rest->life;
    int status = sr_share_enter(life->share, deadline);

    if (status == SR_LOCK_BUSY) {
        linger_on(entry);
        return sr_error_set(SOCKREF_ETIMEOUT, sr_entry_path(entry),
                            "another process was changing the name all the time");
    }
    if (atomic_load(&life->registry->phase) == SR_OPEN || !hand_over(life, deadline))
        status = sr_share_end(life->share, &life->file, true);
    return finish_dying(entry, status);
}

int sr_remove_revoke_unlock(sockref_registry *self, sockref *entry, uint64_t deadline)
{
    int status = wait_for_start(self, entry, deadline);
    enum sr_state state = sr_word_state(atomic_load(&entry->word));
    bool taken;

    if (status == SOCKREF_ETIMEOUT)
        status = sr_error_set(status, sr_entry_path(entry),
                              "a start of the name took longer than the cleanup time-out");
    if (status < 0) {
        sr_mutex_unlock(&self->mutex);
        return status;
    }
    if (state == SR_GRACE) {
        sr_remove_stop_delay(self, entry);
        sr_entry_change(entry, SR_REMOVING, 0);
        sr_mutex_unlock(&self->mutex);
        return sr_remove_dying(entry, true);
    }
    if (state == SR_LINGER) {
        sr_entry_change(entry, SR_REMOVING, 0);
        sr_mutex_unlock(&self->mutex);
        return end_lingering(entry, deadline);
    }
    taken = (state == SR_NAMED || state == SR_LISTENING || state == SR_JOINED) &&
            take_held(entry, SR_REMOVING);
    if (!taken) {
        sr_mutex_unlock(&self->mutex);
        return SOCKREF_ENOTFOUND;
    }
    atomic_fetch_sub(&self->active, 1);
    if (state == SR_NAMED) {
        finish_revoke_unlock(self, entry, NULL);
        return 0;
    }
    sr_mutex_unlock(&self->mutex);
    if (state == SR_JOINED)
        return revoke_joined(entry, true);
    return revoke_listening(entry, deadline);
}

int sockref_registry_cleanup(sockref_registry *self, const char *path)
{
    int status = sr_registry_enter(&self);
    struct sr_name name;
    sockref *entry;

    if (status == 0)
        status = sr_name_init(&name, self, path);
    if (status < 0)
        return status;
    sr_name_locate(&name);
    sr_mutex_lock(&self->mutex);
    entry = sr_names_find(self, &name);
    if (entry) {
        uint64_t deadline =
            sr_clock_after_ms(sr_registry_option(self, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));

        status = sr_remove_revoke_unlock(self, entry, deadline);
    } else {
        sr_mutex_unlock(&self->mutex);
        status = SOCKREF_ENOTFOUND;
    }
    if (status == SOCKREF_ENOTFOUND)
        sr_error_set(status, path, "the name is not active in this registry");
    sr_name_clear(&name);
    return status;
}

/* Take a mutex within a time; the thread that holds it may be stopped for ever. */
static bool lock_soon(struct sr_mutex *mutex, uint64_t deadline) SR_UNCHECKED
{
    const struct timespec pause = {0, 200000};

    while (pthread_mutex_trylock(&mutex->raw) != 0) {
        if (sr_clock_ns() >= deadline)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* How long the exit waits, for all names together. */
struct last_wait {
    uint64_t lock_ns; /* until then, for locks */
    uint64_t heir_ns; /* until then, for the answers of those who are offered a listener */
};

/* What does not succeed is left to the guard. */
static void leave_at_exit(struct sr_life *life, const char *path, const struct last_wait *wait)
{
    struct sr_share *share = life->share;

    if (!share || !sr_share_is_shared(share)) {
        sr_sockfile_remove(&life->file, path);
        return;
    }
    if (!share->is_owner) {
        share->control = -1; /* the service thread may wait for it; it closes with the process */
        sr_share_let_go(share, &life->file.place);
        return;
    }
    sr_share_free_slot(share);
    if (sr_share_enter(share, wait->lock_ns) == SR_LOCK_BUSY)
        return;
    if (!sr_share_has_others(share) || !hand_over(life, wait->heir_ns))
        sr_share_end(share, &life->file, true);
    sr_lockfile_close(&share->lock);
}

static void remove_files_of(sockref_registry *self, const struct last_wait *wait) SR_UNCHECKED
{
    uint32_t made = atomic_load(&self->slab.made);

    atomic_store(&self->is_barred, true);
    if (!lock_soon(&self->mutex, wait->lock_ns))
        return;
    for (uint32_t i = 0; i < made; i++) {
        sockref *entry = sr_slab_at(&self->slab, i);
        enum sr_state state = sr_word_state(atomic_load(&entry->word));

        if ((state == SR_LISTENING || state == SR_GRACE || state == SR_JOINED ||
             state == SR_LINGER) &&
            entry->rest->life)
            leave_at_exit(entry->rest->life, sr_entry_path(entry), wait);
    }
    sr_mutex_unlock(&self->mutex);
}

void sr_remove_at_exit(void) SR_UNCHECKED
{
    const struct last_wait wait = {sr_clock_after_ms(50), sr_clock_after_ms(500)};
    struct sr_list *node;

    await_deferred(wait.heir_ns);
    if (!lock_soon(&sr_registry_list_mutex, wait.lock_ns))
        return;
    SR_LIST_EACH(node, &sr_registry_list)
    {
        remove_files_of(SR_LIST_OWNER(node, sockref_registry, node), &wait);
    }
    sr_mutex_unlock(&sr_registry_list_mutex);
}
