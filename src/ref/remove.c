/*
 * The end of a name by its last release, or after a delay.
 *
 * The file goes first, while the descriptor still pins its inode; then the service is told, then
 * the descriptor is closed (a served one by its loop), then the entry leaves the index and those
 * who wait for the name are woken.
 */
#include "ref/remove.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "name/path.h"
#include "ref/fork.h"
#include "ref/hooks.h"

#include <time.h>

uint64_t sr_entry_change(sockref *entry, enum sr_state state, int64_t add)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed), next;

    do
        next = sr_word_with_state(word, state) + (uint64_t)add;
    while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, next, memory_order_acq_rel,
                                                  memory_order_relaxed));
    return next;
}

bool sr_remove_take_held(sockref *entry)
{
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed), next;

    do {
        if (sr_word_count(word) == 0)
            return false;
        next = sr_word_with_state(word, SR_REMOVING) + 1;
    } while (!atomic_compare_exchange_weak_explicit(&entry->word, &word, next, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return true;
}

void sr_remove_log_failure(const char *path, int status)
{
    sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, status, path, "%s",
           sockref_last_error()->message);
}

/* ---- removals that have to wait are the worker's ---- */

static atomic_uint deferred_count;

void sr_remove_defer(sockref *entry, void (*over)(sockref *entry))
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
    if (begun)
        sr_stats_count_locked(self, SR_STAT_DEFERRED); /* before the worker can be done */
    sr_mutex_unlock(&self->mutex);
    if (!begun)
        over(entry); /* there is no thread to be had: this one waits */
}

void sr_remove_deferred(sockref_registry *self)
{
    atomic_fetch_sub(&deferred_count, 1);
    sr_registry_unhold(self);
}

static void remove_deferred(sockref *entry)
{
    sockref_registry *self = entry->registry;

    sr_remove_dying(entry, true);
    sr_remove_deferred(self);
}

void sr_remove_await_deferred(uint64_t deadline)
{
    const struct timespec pause = {0, 200000};

    while (atomic_load(&deferred_count) > 0 && sr_clock_ns() < deadline)
        nanosleep(&pause, NULL);
}

void sr_remove_after_fork(void)
{
    atomic_store(&deferred_count, 0);
}

void sr_remove_linger_on(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);

    sr_mutex_lock(&self->mutex);
    sr_entry_change(entry, SR_LINGER, 0);
    sr_registry_changed_locked(self, entry, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
}

struct sr_kept *sr_remove_take_kept(struct sr_life *life)
{
    struct sr_kept *kept = life->kept;

    life->kept = NULL;
    if (kept)
        sr_registry_pending_add(life->registry);
    return kept;
}

void sr_remove_drop_kept(sockref_registry *self, struct sr_kept *kept)
{
    if (!kept)
        return;
    sr_hooks.kept_drop(kept);
    sr_registry_pending_done(self);
}

/* A service that was taken from its name before leaves the descriptor open until its loop runs.
 * What has no file is found as long. */
static bool is_kept_by_loop(struct sr_life *life)
{
    return life->file.place.dir < 0 && atomic_load(&life->count) > 1;
}

int sr_remove_finish_dying(sockref *entry, int status)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    struct sr_life *life = entry->rest->life;
    struct sr_service *service;
    struct sr_joint *joint;
    struct sr_share *share;
    struct sr_kept *kept;
    uint64_t took_ns;

    if (status < 0)
        sr_remove_log_failure(sr_entry_path(entry), status);
    sr_log(SR_LOG_CLOSED, SOCKREF_LOG_DEBUG, 0, sr_entry_path(entry), "closed");
    sr_mutex_lock(&self->mutex);
    joint = sr_joint_take(life);
    share = sr_joint_take_share(life);
    service = sr_service_take(self, life);
    entry->rest->life = NULL;
    life->entry = NULL;
    sr_mutex_unlock(&self->mutex);
    sr_joint_end_taken(joint, share);
    if (service)
        service->stop(service);
    if (service || is_kept_by_loop(life)) {
        sr_sockfile_retire(&life->file);
        atomic_store(&self->retired_ns, sr_clock_ns());
    }
    kept = sr_remove_take_kept(life);
    if (share)
        sr_share_close(share);
    took_ns = sr_stats_removal_took(life);
    sr_life_release(life);
    sr_mutex_lock(&self->mutex);
    sr_stats_end_removal_locked(self, took_ns, SR_STAT_CLOSED, status);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
    sr_remove_drop_kept(self, kept);
    return status;
}

int sr_remove_dying(sockref *entry, bool wait)
{
    int status = sr_fate_end(entry, entry->rest->life, wait);

    if (status == SR_FATE_LINGERS) {
        sr_remove_linger_on(entry);
        return 0;
    }
    if (status == SR_FATE_WAITS) {
        sr_remove_defer(entry, remove_deferred);
        return 0;
    }
    return sr_remove_finish_dying(entry, status);
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
    sr_stats_begin_removal(entry->rest->life);
    sr_entry_change(entry, SR_REMOVING, 0);
    atomic_fetch_sub(&entry->registry->active, 1);
    sr_remove_dying(entry, false);
}

static void remove_joined(sockref *entry)
{
    sr_stats_begin_removal(entry->rest->life);
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
    int cancel;

    if (word & SR_FORKED || sr_fork_was_unseen())
        return;
    cancel = sr_thread_begin_uncancelled();
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
    sr_thread_end_uncancelled(cancel);
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
        sr_stats_begin_removal(entry->rest->life);
        sr_entry_change(entry, SR_REMOVING, 0);
    }
    sr_mutex_unlock(&self->mutex);
    if (over)
        sr_remove_dying(entry, false);
    sr_mutex_lock(&self->mutex);
    sr_registry_unhold_unlock(self);
}
