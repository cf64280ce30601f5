/*
 * Revocation: a name ends while it is held, because somebody asks for it or because its owner is
 * gone. Those who hold it keep their references, and are told.
 */
#include "ref/remove.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/thread.h"
#include "ref/hooks.h"

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
    int status = sr_fate_end(entry, life, wait);
    struct sr_kept *kept;

    if (status == SR_FATE_WAITS)
        return status;
    if (status < 0)
        sr_remove_log_failure(sr_entry_path(entry), status);
    kept = sr_remove_take_kept(life);
    sr_joint_close(life);
    sr_mutex_lock(&self->mutex);
    sr_stats_end_removal_locked(self, sr_stats_removal_took(life), SR_STAT_REVOKED, status);
    finish_revoke_unlock(self, entry, NULL);
    sr_remove_drop_kept(self, kept);
    return status;
}

static void lose_deferred(sockref *entry)
{
    sockref_registry *self = entry->registry;

    revoke_joined(entry, true);
    sr_remove_deferred(self);
}

void sr_remove_lost(sockref *entry)
{
    atomic_fetch_sub(&entry->registry->active, 1);
    sr_stats_begin_removal(entry->rest->life);
    if (revoke_joined(entry, false) == SR_FATE_WAITS)
        sr_remove_defer(entry, lose_deferred);
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
            sr_fate_hand_over(life, deadline))
            status = 0;
        else
            status = sr_share_end(share, &life->file, true);
    } else {
        status = sr_sockfile_remove(&life->file, sr_entry_path(entry));
    }
    if (status < 0)
        sr_remove_log_failure(sr_entry_path(entry), status);
    sr_joint_end(life);
    sr_joint_close(life);
    if (life->file.place.dir < 0)
        give_up_address(self, life);
    sr_mutex_lock(&self->mutex);
    sr_stats_end_removal_locked(self, sr_stats_removal_took(life), SR_STAT_REVOKED, status);
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
           sr_word_state(word) == SR_TURNING || sr_word_state(word) == SR_MENDING) {
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
        sr_remove_linger_on(entry);
        return sr_error_set(SOCKREF_ETIMEOUT, sr_entry_path(entry),
                            "another process was changing the name all the time");
    }
    if (atomic_load(&life->registry->phase) == SR_OPEN || !sr_fate_hand_over(life, deadline))
        status = sr_share_end(life->share, &life->file, true);
    return sr_remove_finish_dying(entry, status);
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
    if (state == SR_GRACE || (state == SR_LINGER && deadline == 0)) {
        if (state == SR_GRACE)
            sr_remove_stop_delay(self, entry);
        sr_stats_begin_removal(entry->rest->life);
        sr_entry_change(entry, SR_REMOVING, 0);
        sr_mutex_unlock(&self->mutex);
        return sr_remove_dying(entry, deadline != 0);
    }
    if (state == SR_LINGER) {
        sr_stats_begin_removal(entry->rest->life);
        sr_entry_change(entry, SR_REMOVING, 0);
        sr_mutex_unlock(&self->mutex);
        return end_lingering(entry, deadline);
    }
    taken = (state == SR_NAMED || state == SR_LISTENING || state == SR_JOINED) &&
            sr_remove_take_held(entry);
    if (!taken) {
        sr_mutex_unlock(&self->mutex);
        return SOCKREF_ENOTFOUND;
    }
    atomic_fetch_sub(&self->active, 1);
    if (state == SR_NAMED) {
        sr_stats_count_locked(self, SR_STAT_REVOKED);
        finish_revoke_unlock(self, entry, NULL);
        return 0;
    }
    sr_stats_begin_removal(entry->rest->life);
    sr_mutex_unlock(&self->mutex);
    if (state == SR_JOINED)
        return revoke_joined(entry, true);
    return revoke_listening(entry, deadline);
}

int sockref_registry_cleanup(sockref_registry *self, const char *path)
{
    int status = sr_registry_enter(&self), cancel;
    struct sr_name name;
    sockref *entry;

    if (status == 0)
        status = sr_name_init(&name, self, path);
    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    sr_name_locate(&name, self);
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
    sr_thread_end_uncancelled(cancel);
    return status;
}
