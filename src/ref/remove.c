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
#include "ref/state.h"

#include <errno.h>
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

static int remove_file(sockref *entry, struct sr_life *life)
{
    int status = sr_sockfile_remove(&life->file, sr_entry_path(entry));

    if (status < 0)
        sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, status, sr_entry_path(entry), "%s",
               sockref_last_error()->message);
    return status;
}

/* No handle is left, and nobody else may touch the entry: end its life and free it. */
static int remove_dying(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    struct sr_life *life = entry->rest->life;
    struct sr_service *service;
    int status = remove_file(entry, life);

    sr_log(SR_LOG_CLOSED, SOCKREF_LOG_DEBUG, 0, sr_entry_path(entry), "closed");
    sr_mutex_lock(&self->mutex);
    service = sr_service_take(self, life);
    entry->rest->life = NULL;
    sr_mutex_unlock(&self->mutex);
    if (service) {
        service->stop(service);
        sr_sockfile_retire(&life->file);
        atomic_store(&self->retired_ns, sr_clock_ns());
    }
    sr_life_release(life);
    sr_mutex_lock(&self->mutex);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
    return status;
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
    remove_dying(entry);
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
    sr_mutex_unlock(&self->mutex);
    if (life)
        sr_life_release(life);
    sr_mutex_lock(&self->mutex);
    sr_names_free_unlock(self, entry, &woken);
    sr_registry_wake(&woken);
}

void sr_remove_last(sockref *entry, uint64_t word)
{
    if (word & SR_FORKED)
        return;
    switch (sr_word_state(word)) {
    case SR_NAMED:
        remove_named(entry);
        break;
    case SR_LISTENING:
        remove_listening(entry);
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
        remove_dying(entry);
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

static int revoke_listening_unlock(sockref_registry *self, sockref *entry) SR_RELEASES(self->mutex)
{
    struct sr_life *life = entry->rest->life;
    int status;

    sr_mutex_unlock(&self->mutex);
    status = remove_file(entry, life);
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

    while (sr_word_state(word) == SR_STARTING || sr_word_state(word) == SR_FRESH) {
        if (sr_cond_wait(&self->changed, &self->mutex, deadline) < 0)
            return SOCKREF_ETIMEOUT;
        word = atomic_load(&entry->word);
        if (word >> SR_GENERATION_SHIFT != first >> SR_GENERATION_SHIFT)
            return SOCKREF_ENOTFOUND;
    }
    return 0;
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
        return remove_dying(entry);
    }
    taken = (state == SR_NAMED || state == SR_LISTENING) && take_held(entry, SR_REMOVING);
    if (!taken) {
        sr_mutex_unlock(&self->mutex);
        return SOCKREF_ENOTFOUND;
    }
    atomic_fetch_sub(&self->active, 1);
    if (state == SR_LISTENING)
        return revoke_listening_unlock(self, entry);
    finish_revoke_unlock(self, entry, NULL);
    return 0;
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

static void remove_files_of(sockref_registry *self, uint64_t deadline) SR_UNCHECKED
{
    uint32_t made = atomic_load(&self->slab.made);

    atomic_store(&self->is_barred, true);
    if (!lock_soon(&self->mutex, deadline))
        return;
    for (uint32_t i = 0; i < made; i++) {
        sockref *entry = sr_slab_at(&self->slab, i);
        enum sr_state state = sr_word_state(atomic_load(&entry->word));

        if ((state == SR_LISTENING || state == SR_GRACE) && entry->rest->life)
            sr_sockfile_remove(&entry->rest->life->file, sr_entry_path(entry));
    }
    sr_mutex_unlock(&self->mutex);
}

void sr_remove_at_exit(void) SR_UNCHECKED
{
    uint64_t deadline = sr_clock_after_ms(50);
    struct sr_list *node;

    if (!lock_soon(&sr_registry_list_mutex, deadline))
        return;
    SR_LIST_EACH(node, &sr_registry_list)
    {
        remove_files_of(SR_LIST_OWNER(node, sockref_registry, node), deadline);
    }
    sr_mutex_unlock(&sr_registry_list_mutex);
}
