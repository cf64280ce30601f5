/* The end of a registry: drain, shutdown, free, and the removal of all that it holds. */
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "name/path.h"
#include "name/sweep.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <stdlib.h>

static int refuse_in_callback(void)
{
    if (sr_hooks.in_callback())
        return sr_error_set(SOCKREF_EBUSY, NULL,
                            "not inside a callback: what it would wait for could be this callback");
    return 0;
}

/* Wait for a change; false at the deadline. */
static bool wait_for_change(sockref_registry *self, uint64_t deadline) SR_REQUIRES(self->mutex)
{
    return sr_cond_wait(&self->changed, &self->mutex, deadline) == 0;
}

/* Entries that are on their way out: removals under way, and dying ones whose releaser is at it. */
static bool has_dying(const sockref_registry *self)
{
    uint32_t made = atomic_load(&self->slab.made);

    for (uint32_t i = 0; i < made; i++) {
        uint64_t word = atomic_load(&sr_slab_at(&self->slab, i)->word);
        enum sr_state state = sr_word_state(word);

        if (state == SR_REMOVING || (sr_word_count(word) == 0 && state != SR_FREE &&
                                     state != SR_GRACE && state != SR_LINGER))
            return true;
    }
    return false;
}

int sockref_registry_drain(sockref_registry *self, int timeout_ms)
{
    uint64_t deadline = sr_clock_after_ms(timeout_ms);
    int status = sr_registry_enter_any(&self);
    bool done;
    int cancel;

    if (status == 0)
        status = refuse_in_callback();
    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    sr_mutex_lock(&self->mutex);
    while (!(done = self->pending == 0 && !has_dying(self)))
        if (!wait_for_change(self, deadline))
            break;
    sr_mutex_unlock(&self->mutex);
    if (done && sr_hooks.drain(deadline) < 0)
        done = false;
    sr_thread_end_uncancelled(cancel);
    if (!done)
        return sr_error_set(SOCKREF_ETIMEOUT, NULL,
                            "something of the registry was still on its way out after %d ms",
                            timeout_ms);
    return 0;
}

/* The next entry from an index on that can be revoked or removed. */
static sockref *find_held(const sockref_registry *self, uint32_t *inout_index, bool grace_only)
{
    uint32_t made = atomic_load(&self->slab.made);

    for (; *inout_index < made; ++*inout_index) {
        sockref *entry = sr_slab_at(&self->slab, *inout_index);
        uint64_t word = atomic_load(&entry->word);

        if (!entry->rest->in_table)
            continue;
        if (sr_word_state(word) == SR_GRACE || sr_word_state(word) == SR_LINGER)
            return entry;
        if (!grace_only && sr_word_count(word) > 0 && sr_word_state(word) != SR_REMOVING)
            return entry;
    }
    return NULL;
}

/* Revoke all that is held; starts under way are waited for until the deadline. */
static int revoke_all(sockref_registry *self, uint64_t deadline, bool grace_only,
                      uint64_t *inout_count)
{
    struct sr_error *error = NULL; /* what first_error is the status of */
    int first_error = 0;

    for (uint32_t index = 0;; index++) {
        sockref *entry;
        int status;

        sr_mutex_lock(&self->mutex);
        entry = find_held(self, &index, grace_only);
        if (!entry) {
            sr_mutex_unlock(&self->mutex);
            break;
        }
        status = sr_remove_revoke_unlock(self, entry, deadline);
        if (status == SOCKREF_ENOTFOUND)
            continue;
        if (status != SOCKREF_ETIMEOUT)
            ++*inout_count;
        if (status < 0 && first_error == 0) {
            first_error = status;
            error = sr_error_take();
        }
    }
    sr_error_give(error);
    return first_error;
}

int sockref_registry_cleanup_all(sockref_registry *self, uint64_t *out_count)
{
    int status = sr_registry_enter(&self);
    uint64_t count = 0, deadline;
    int cancel;

    if (status < 0)
        return status;
    deadline = sr_clock_after_ms(sr_registry_option(self, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));
    cancel = sr_thread_begin_uncancelled();
    status = revoke_all(self, deadline, false, &count);
    sr_thread_end_uncancelled(cancel);
    if (out_count)
        *out_count = count;
    return status;
}

static void notify_all(sockref_registry *self, int event)
{
    uint32_t made = atomic_load(&self->slab.made);

    for (uint32_t i = 0; i < made; i++)
        sr_watch_notify(sr_slab_at(&self->slab, i), event);
}

/* Nothing new from now on; starts under way are cancelled. Returns whether this call closed it. */
static bool close_registry(sockref_registry *self, enum sr_phase phase)
{
    struct sr_list woken = SR_LIST_INIT(woken);
    bool was_open;

    sr_mutex_lock(&self->mutex);
    was_open = atomic_load(&self->phase) == SR_OPEN;
    if (was_open || phase == SR_SHUT)
        sr_registry_set_phase_locked(self, phase);
    sr_registry_changed_locked(self, NULL, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    if (was_open)
        sr_hooks.cancel_starts(self);
    return was_open;
}

/* Wait until no name is in use. */
static bool wait_for_holders(sockref_registry *self, uint64_t deadline)
{
    bool done;

    sr_mutex_lock(&self->mutex);
    while (!(done = atomic_load(&self->active) == 0))
        if (!wait_for_change(self, deadline))
            break;
    sr_mutex_unlock(&self->mutex);
    return done;
}

/* Revoke what is held, and wait for what was let go of; what lingers nevertheless, for its release
 * came first, ends too. */
static int end_all(sockref_registry *self, uint64_t deadline, uint64_t *inout_count)
{
    int status = revoke_all(self, deadline, false, inout_count), late;
    struct sr_error *error = status < 0 ? sr_error_take() : NULL;

    sr_mutex_lock(&self->mutex);
    while (has_dying(self) && wait_for_change(self, deadline))
        continue;
    sr_mutex_unlock(&self->mutex);
    late = revoke_all(self, deadline, true, inout_count);
    sr_error_give(error);
    return status < 0 ? status : late;
}

static int shut_down(sockref_registry *self, int timeout_ms)
{
    uint64_t deadline = sr_clock_after_ms(timeout_ms), count = 0, end;
    int status;
    bool done;

    if (!close_registry(self, SR_SHUTTING))
        return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the registry is being shut down already");
    status = sr_registry_enter_any(&self);
    if (status < 0)
        return status; /* a callback of a start has forked, and this is the child */
    notify_all(self, SOCKREF_WATCH_SHUTDOWN);
    done = wait_for_holders(self, deadline);
    end = sr_clock_after_ms(sr_registry_option(self, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));
    status = end_all(self, end, &count);
    sr_mutex_lock(&self->mutex);
    sr_registry_set_phase_locked(self, self->is_default ? SR_OPEN : SR_SHUT);
    sr_mutex_unlock(&self->mutex);
    if (status < 0)
        return status;
    if (!done)
        return sr_error_set(SOCKREF_ETIMEOUT, NULL,
                            "%llu names were held after %d ms and have been revoked",
                            (unsigned long long)count, timeout_ms);
    return 0;
}

int sockref_registry_shutdown(sockref_registry *self, int timeout_ms)
{
    int status = sr_registry_enter(&self), cancel;

    if (status == 0)
        status = refuse_in_callback();
    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    status = shut_down(self, timeout_ms);
    sr_thread_end_uncancelled(cancel);
    return status;
}

void sockref_registry_free(sockref_registry *self)
{
    uint64_t count = 0, deadline = 0;
    int cancel;

    if (!self || sr_registry_is_forked(self))
        return;
    cancel = sr_thread_begin_uncancelled();
    close_registry(self, SR_SHUT);
    if (sr_registry_is_forked(self))
        goto out;                /* as in shut_down() */
    if (!sr_hooks.in_callback()) /* what would be waited for could be this callback */
        deadline =
            sr_clock_after_ms(sr_registry_option(self, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));
    revoke_all(self, deadline, true, &count);
    sr_mutex_lock(&self->mutex);
    while (deadline != 0 && has_dying(self) && wait_for_change(self, deadline))
        continue;
    sr_registry_unhold_unlock(self);
out:
    sr_thread_end_uncancelled(cancel);
}

int sockref_registry_sweep(sockref_registry *self, const char *directory, uint64_t *out_count)
{
    char *fallback = NULL;
    uint64_t count = 0;
    int status = sr_registry_enter_any(&self), cancel;

    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    if (directory)
        status = sr_path_check_directory(directory);
    else
        status = sr_place_default(self->options.directory, &fallback);
    if (status == 0)
        status = sr_sweep_directory(directory ? directory : fallback, &count);
    free(fallback);
    sr_thread_end_uncancelled(cancel);
    if (out_count)
        *out_count = count;
    return status;
}
