/*
 * Starting a listener, or sharing the one that is there.
 *
 * One thread at a time has the right to start a name (FRESH, STARTING); it makes the file calls
 * with no lock held. Others are parked until it is done: then they share what it started, or, if it
 * failed, one of them tries.
 */
#include "ref/attempt.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "name/path.h"
#include "name/sockname.h"
#include "name/tcp.h"
#include "ref/hooks.h"

#include <errno.h>
#include <time.h>

/* Whether a spelling leads elsewhere than to the entry that was known by it: the directory is
 * another one now; or, where it did not exist before, another entry has the place already. */
static bool leads_elsewhere(sockref_registry *self, const sockref *entry,
                            const struct sr_name *name) SR_REQUIRES(self->mutex)
{
    const struct sr_entry_rest *rest = entry->rest;

    if (!name->has_place)
        return false;
    if (rest->has_place)
        return rest->device != name->device || rest->inode != name->inode;
    return sr_names_find_place(self, name) != NULL;
}

/* The entry of the name, with the directory's identity of this moment. */
static sockref *find(sockref_registry *self, struct sr_attempt *attempt) SR_REQUIRES(self->mutex)
{
    struct sr_name *name = &attempt->name;
    sockref *entry = sr_names_find_key(self, name);

    if (entry && leads_elsewhere(self, entry, name)) {
        sr_names_drop_key(self, entry, name);
        entry = NULL;
    }
    if (!entry && name->has_place) {
        entry = sr_names_find_place(self, name);
        if (entry && sr_word_is_active(atomic_load(&entry->word)))
            sr_names_add_alias(self, entry, name);
    }
    return entry;
}

static int park(sockref_registry *self, struct sr_attempt *attempt, sockref *entry)
    SR_REQUIRES(self->mutex)
{
    if (attempt->waiter) {
        attempt->waiter->entry = entry;
        sr_list_append(&self->waiters, &attempt->waiter->node);
    }
    return SR_PARKED;
}

static int share(sockref_registry *self, struct sr_attempt *attempt, sockref *entry)
    SR_REQUIRES(self->mutex)
{
    uint64_t word = atomic_load(&entry->word);

    if (sr_attempt_is_exclusive(attempt))
        return sr_error_set(
            sr_word_state(word) == SR_JOINED ? SOCKREF_EBUSY : SOCKREF_EEXISTS, attempt->name.path,
            sr_word_state(word) == SR_JOINED ? "another registry listens on the name"
                                             : "this registry listens on the name already");
    do {
        if (sr_word_count(word) == 0)
            return park(self, attempt, entry);
        if (sr_word_count(word) >= self->max_references)
            return sr_registry_refuse_limit(self, attempt->name.path);
    } while (!atomic_compare_exchange_weak(&entry->word, &word, word + 1));
    return 0;
}

#define START   2 /* begin: the caller has the right to start the entry */
#define REVIVED 4 /* begin: shared, out of LINGER */

/* Look at the entry that was found, or make one. Returns 0: shared, REVIVED, START, SR_PARKED, or a
 * described status. */
static int begin(sockref_registry *self, struct sr_attempt *attempt, sockref **out_entry)
    SR_REQUIRES(self->mutex)
{
    sockref *entry = find(self, attempt);
    uint64_t word;
    int status;

    if (!entry) {
        status = sr_names_create(self, &attempt->name, SR_FRESH, out_entry);
        return status < 0 ? status : START;
    }
    *out_entry = entry;
    if (attempt->fd >= 0)
        return sr_error_set(SOCKREF_EEXISTS, attempt->name.path,
                            "the name is known to this registry already");
    word = atomic_load(&entry->word);
    switch (sr_word_state(word)) {
    case SR_LISTENING:
    case SR_MENDING:
    case SR_JOINED:
        return share(self, attempt, entry);
    case SR_LINGER:
        if (sr_attempt_is_exclusive(attempt))
            return sr_error_set(SOCKREF_EBUSY, attempt->name.path,
                                "other registries hold the name");
        sr_entry_change(entry, SR_STARTING, 1);
        atomic_fetch_add(&self->active, 1);
        return REVIVED;
    case SR_GRACE:
        sr_remove_stop_delay(self, entry);
        sr_entry_change(entry, SR_LISTENING, 1);
        atomic_fetch_add(&self->active, 1);
        return 0;
    case SR_NAMED:
        if (attempt->name.has_place && !entry->rest->has_place &&
            (status = sr_names_set_place(self, entry, &attempt->name)) < 0)
            return status;
        do {
            if (sr_word_count(word) == 0)
                return park(self, attempt, entry);
            if (sr_word_count(word) >= self->max_references)
                return sr_registry_refuse_limit(self, attempt->name.path);
        } while (!atomic_compare_exchange_weak(&entry->word, &word,
                                               sr_word_with_state(word, SR_STARTING) + 1));
        return START;
    default:
        return park(self, attempt, entry);
    }
}

/* The start failed: the entry goes back to what it was. */
static void give_up(struct sr_attempt *attempt, sockref *entry)
{
    sockref_registry *self = attempt->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    uint64_t word, next;
    bool fresh;

    sr_mutex_lock(&self->mutex);
    word = atomic_load(&entry->word);
    do {
        fresh = sr_word_state(word) == SR_FRESH;
        next = sr_word_with_state(word - 1, SR_NAMED);
    } while (!atomic_compare_exchange_weak(&entry->word, &word, next));
    if (sr_word_count(next) == 0) {
        if (!fresh)
            atomic_fetch_sub(&self->active, 1);
        sr_names_free_unlock(self, entry, &woken);
    } else {
        sr_registry_changed_locked(self, entry, &woken);
        sr_mutex_unlock(&self->mutex);
    }
    sr_registry_wake(&woken);
}

static int prepare_delay(const struct sr_attempt *attempt, sockref *entry)
{
    int64_t delay = attempt->settings.values[SOCKREF_OPT_CLEANUP_DELAY_MS];
    struct sr_entry_more *more;

    if (delay == 0 && !entry->rest->more) /* else one may be left of a start that failed */
        return 0;
    more = sr_names_more(entry);
    if (!more)
        return sr_error_no_memory();
    more->deadline.delay_ms = (uint64_t)delay;
    return 0;
}

static int refuse_barred(const struct sr_attempt *attempt)
{
    return sr_error_set(SOCKREF_ESHUTDOWN, attempt->name.path,
                        "the registry is shut down, or the process is ending");
}

/* Let all see it. Refused where the registry was closed meanwhile. */
static int publish(struct sr_attempt *attempt, sockref *entry, struct sr_life *life, bool joined)
{
    sockref_registry *self = attempt->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    uint64_t word;
    int status;

    sr_mutex_lock(&self->mutex);
    status = prepare_delay(attempt, entry);
    if (status == 0 && atomic_load(&self->is_barred))
        status = refuse_barred(attempt);
    if (status == 0) {
        word = atomic_load(&entry->word);
        if (sr_word_state(word) == SR_FRESH)
            atomic_fetch_add(&self->active, 1);
        entry->rest->life = life;
        life->entry = entry;
        sr_entry_change(entry, joined ? SR_JOINED : SR_LISTENING, 0);
        sr_stats_count_locked(self, joined ? SR_STAT_JOINED : SR_STAT_CREATED);
        sr_registry_changed_locked(self, entry, &woken);
    }
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    return status;
}

static int start(struct sr_attempt *attempt, sockref *entry)
{
    struct sr_life *life = NULL;
    struct sr_error *error;
    int status = sr_birth_make(attempt, &life), made = status;

    if (status == SR_SHARE_OWNED || status == SR_SHARE_JOINED) {
        status = publish(attempt, entry, life, made == SR_SHARE_JOINED);
        if (status < 0)
            sr_birth_discard(attempt, life);
        else if (attempt->service)
            sr_hooks.serve_begin(attempt->service, life);
    } else if (status == SR_SHARE_LATER) {
        status = SR_LATER;
    }
    if (status == 0) {
        sr_joint_attend(entry);
        sr_log(SR_LOG_LISTENING, SOCKREF_LOG_DEBUG, 0, attempt->name.path, "%s",
               made == SR_SHARE_JOINED ? "joined" : "listening");
        return 0;
    }
    error = sr_error_take();
    give_up(attempt, entry);
    sr_error_give(error);
    if (status < 0)
        sr_log(SR_LOG_START_FAILED, SOCKREF_LOG_INFO, status, attempt->name.path, "%s",
               sockref_last_error()->message);
    return status;
}

static int run(struct sr_attempt *attempt, sockref **out_ref)
{
    sockref_registry *self = attempt->registry;
    sockref *entry = NULL;
    int status;

    sr_mutex_lock(&self->mutex);
    attempt->seen = self->changes;
    if (atomic_load(&self->is_barred))
        status = refuse_barred(attempt);
    else
        status = begin(self, attempt, &entry);
    if (status == 0 || status == REVIVED)
        sr_stats_count_locked(self, SR_STAT_REUSED);
    sr_mutex_unlock(&self->mutex);
    if (status == START) {
        status = start(attempt, entry);
    } else if (status == 0 || status == REVIVED) {
        if (status == REVIVED)
            sr_joint_revive(entry);
        if (sr_attempt_has_handlers(attempt))
            sr_hooks.serve_unused(attempt->options);
        status = 0;
    }
    if (status == 0)
        *out_ref = entry;
    return status;
}

/* What has handlers is served at once, and so listens; what is registered does already. What is
 * only bound is nothing to join. */
static void take_bind_only(struct sr_attempt *attempt)
{
    int64_t *values = attempt->settings.values;

    if (sr_attempt_has_handlers(attempt) || attempt->fd >= 0)
        values[SOCKREF_OPT_BIND_ONLY] = 0;
    if (values[SOCKREF_OPT_BIND_ONLY])
        values[SOCKREF_OPT_SHARE] = 0;
}

static int open_place(struct sr_attempt *attempt, const char *path)
{
    return attempt->settings.values[SOCKREF_OPT_SHARE] ? sr_place_open(path, &attempt->place)
                                                       : sr_place_open_any(path, &attempt->place);
}

/* Check all that can be checked before anything happens, and pin the directory. */
static int attempt_init(struct sr_attempt *attempt, sockref_registry *registry, const char *path,
                        const sockref_options *options, int fd, char *buffer)
{
    int status = sr_options_check_call(options);
    bool is_default = !path;

    if (status < 0)
        return status;
    *attempt = (struct sr_attempt){.registry = registry,
                                   .options = options,
                                   .settings = registry->settings,
                                   .fd = fd,
                                   .drawn = {.fd = -1, .place = {.dir = -1}}};
    sr_settings_apply(&attempt->settings, options);
    take_bind_only(attempt);
    if (is_default) {
        bool unique = attempt->settings.values[SOCKREF_OPT_UNIQUE] != 0;

        status = sr_registry_default_path(registry, unique, buffer);
        if (status < 0)
            return status;
        path = buffer;
    }
    if (buffer && sr_tcp_draws_port(path)) {
        status = sr_birth_draw_port(attempt, path, buffer);
        if (status < 0)
            return status;
        path = buffer;
    }
    status = sr_name_init(&attempt->name, registry, path);
    if (status < 0)
        goto close_drawn;
    status = open_place(attempt, path);
    if (status == -ENOENT && is_default && sr_place_renew(path)) /* old, and empty since long */
        status = open_place(attempt, path);
    if (status < 0)
        goto clear_name;
    if (attempt->place.dir >= 0)
        sr_name_set_place(&attempt->name, registry, attempt->place.device, attempt->place.inode);
    return 0;

clear_name:
    sr_name_clear(&attempt->name);
close_drawn:
    sr_sockfile_close(&attempt->drawn);
    return status;
}

static void attempt_clear(struct sr_attempt *attempt)
{
    sr_sockfile_close(&attempt->drawn);
    sr_place_close(&attempt->place);
    sr_name_clear(&attempt->name);
}

/* Wait until something of the registry has changed since the try. */
static int wait_for_change(struct sr_attempt *attempt, uint64_t *inout_deadline)
{
    sockref_registry *self = attempt->registry;
    bool changed;

    sr_mutex_lock(&self->mutex);
    while (!(changed = self->changes != attempt->seen) && !sr_clock_is_over(inout_deadline))
        sr_cond_wait(&self->changed, &self->mutex, *inout_deadline);
    sr_mutex_unlock(&self->mutex);
    if (changed)
        return 0;
    return sr_error_set(SOCKREF_ETIMEOUT, attempt->name.path,
                        "another start or removal of the name took longer than the start "
                        "time-out");
}

/* Wait for what a try has to wait for. Returns 0, or a described status when there is no time. */
static int wait_to_retry(struct sr_attempt *attempt, int tried, uint64_t *inout_deadline,
                         unsigned tries)
{
    const unsigned doublings = tries < 6 ? tries : 6;
    struct timespec pause = {0, 50000L << doublings};

    if (tried == SR_PARKED)
        return wait_for_change(attempt, inout_deadline);
    if (!sr_patience_is_untimed(attempt->patience) && sr_clock_is_over(inout_deadline))
        return attempt->patience->status;
    nanosleep(&pause, NULL);
    return 0;
}

/* Try until it is done, or there is no more time. */
static int run_patiently(struct sr_attempt *attempt, sockref **out_ref)
{
    uint64_t deadline = SR_CLOCK_NEVER;
    int status;

    attempt->patience = &attempt->own_patience;
    for (unsigned tries = 0;; tries++) {
        status = run(attempt, out_ref);
        if (status != SR_PARKED && status != SR_LATER)
            return status;
        if (deadline == SR_CLOCK_NEVER &&
            (status == SR_PARKED || !sr_patience_is_untimed(attempt->patience)))
            deadline = sr_clock_after_ms(attempt->settings.values[SOCKREF_OPT_START_TIMEOUT_MS]);
        status = wait_to_retry(attempt, status, &deadline, tries);
        if (status < 0)
            return status;
    }
}

/* With a waiter, which is parked and comes back, it does not wait. fd: to adopt, or -1. */
static int listen_entered(sockref_registry *self, const char *path, const sockref_options *options,
                          struct sr_waiter *waiter, int fd, sockref **out_ref)
{
    char buffer[SR_PATH_MAX + 1];
    struct sr_error *before = sr_error_take();
    struct sr_attempt attempt;
    int status, cancel = sr_thread_begin_uncancelled();

    status = attempt_init(&attempt, self, path, options, fd, fd < 0 ? buffer : NULL);
    if (status == 0) {
        attempt.waiter = waiter;
        if (waiter)
            attempt.patience = &waiter->patience;
        status = waiter ? run(&attempt, out_ref) : run_patiently(&attempt, out_ref);
        attempt_clear(&attempt);
    }
    if (status == 0) {
        /* What failed on the way to it is no failure of the call's. */
        sr_error_free(sr_error_take());
        sr_error_give(before);
    } else {
        sr_error_free(before);
        if (!waiter)
            sr_stats_count_failed(self);
    }
    sr_thread_end_uncancelled(cancel);
    return status;
}

int sr_registry_try_listen(sockref_registry *self, const char *path, const sockref_options *options,
                           struct sr_waiter *waiter, sockref **out_ref)
{
    int status = sr_registry_enter(&self);

    return status < 0 ? status : listen_entered(self, path, options, waiter, -1, out_ref);
}

int sockref_registry_listen(sockref_registry *self, const char *path,
                            const sockref_options *options, sockref **out_ref)
{
    int status;

    if (!out_ref)
        return sr_error_argument("out_ref is NULL");
    status = sr_registry_enter(&self);
    return status < 0 ? status : listen_entered(self, path, options, NULL, -1, out_ref);
}

int sockref_registry_register_new(sockref_registry *self, const char *path, int fd,
                                  sockref **out_ref)
{
    char told[SR_SOCKNAME_MAX];
    struct stat info;
    int status;

    if (!out_ref)
        return sr_error_argument("out_ref is NULL");
    /* Now: the directory, opened below, could get the number. */
    if (fd < 0 || sr_sys.fstat(fd, &info) < 0)
        return sr_error_argument("%d is not an open descriptor", fd);
    status = sr_registry_enter(&self);
    if (status == 0 && !path) {
        status = sr_sockname_read(fd, told);
        path = told;
    }
    return status < 0 ? status : listen_entered(self, path, NULL, NULL, fd, out_ref);
}
