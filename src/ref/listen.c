/*
 * Starting a listener, or sharing the one that is there.
 *
 * One thread at a time has the right to start a name (FRESH, STARTING); it makes the file calls
 * with no lock held. Others are parked until it is done: then they share what it started, or, if it
 * failed, one of them tries.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "name/path.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>

#define MOST_PATIENCE_NS 20000000u

/* One attempt to start. */
struct attempt {
    sockref_registry *registry;
    const sockref_options *options;
    struct sr_settings settings;
    struct sr_name name;
    struct sr_place place;
    struct sr_waiter
        *waiter; /* parked where somebody else is at it; NULL: the caller watches changes */
    int fd;      /* to adopt instead of binding, or -1 */
};

static bool is_exclusive(const struct attempt *attempt)
{
    return attempt->settings.values[SOCKREF_OPT_EXCLUSIVE] != 0;
}

/* The entry of the name, with the directory's identity of this moment. */
static sockref *find(sockref_registry *self, struct attempt *attempt) SR_REQUIRES(self->mutex)
{
    struct sr_name *name = &attempt->name;
    sockref *entry = sr_names_find_key(self, name);

    if (entry && name->has_place && entry->rest->has_place &&
        (entry->rest->device != name->device || entry->rest->inode != name->inode)) {
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

static int park(sockref_registry *self, struct attempt *attempt, sockref *entry)
    SR_REQUIRES(self->mutex)
{
    if (attempt->waiter) {
        attempt->waiter->entry = entry;
        sr_list_append(&self->waiters, &attempt->waiter->node);
    }
    return SR_PARKED;
}

static int share(sockref_registry *self, struct attempt *attempt, sockref *entry)
    SR_REQUIRES(self->mutex)
{
    uint64_t word = atomic_load(&entry->word);

    if (is_exclusive(attempt))
        return sr_error_set(SOCKREF_EEXISTS, attempt->name.path,
                            "this registry listens on the name already");
    do {
        if (sr_word_count(word) == 0)
            return park(self, attempt, entry);
        if (sr_word_count(word) >= self->max_references)
            return sr_error_set(SOCKREF_ELIMIT, attempt->name.path,
                                "the name has %llu references, its limit: release one, or raise "
                                "the limit",
                                (unsigned long long)self->max_references);
    } while (!atomic_compare_exchange_weak(&entry->word, &word, word + 1));
    return 0;
}

#define START 2 /* begin: the caller has the right to start the entry */

/* Look at the entry that was found, or make one. Returns 0: shared, START, SR_PARKED, or a
 * described status. */
static int begin(sockref_registry *self, struct attempt *attempt, sockref **out_entry)
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
        return share(self, attempt, entry);
    case SR_GRACE:
        sr_remove_stop_delay(self, entry);
        sr_entry_change(entry, SR_LISTENING, 1);
        atomic_fetch_add(&self->active, 1);
        return 0;
    case SR_NAMED:
        do {
            if (sr_word_count(word) == 0)
                return park(self, attempt, entry);
        } while (!atomic_compare_exchange_weak(&entry->word, &word,
                                               sr_word_with_state(word, SR_STARTING) + 1));
        return START;
    default:
        return park(self, attempt, entry);
    }
}

/*
 * An abstract name is taken until the kernel has let go of its socket, and a loop that was just in
 * an accept call keeps it for that moment: after a listener was closed under its loop, a name in
 * use is asked for again.
 */
static int bind_patiently(struct attempt *attempt, struct sr_sockfile *out_file)
{
    const int64_t *values = attempt->settings.values;
    const char *path = attempt->name.path;
    uint64_t until = atomic_load(&attempt->registry->retired_ns) + MOST_PATIENCE_NS;
    int status;

    for (;;) {
        status = sr_sockfile_bind(&attempt->place, path, (int)values[SOCKREF_OPT_MODE],
                                  (int)values[SOCKREF_OPT_BACKLOG], out_file);
        if (status != -EADDRINUSE || !sr_path_is_abstract(path) || sr_clock_ns() >= until)
            return status;
        sched_yield();
    }
}

/* Bind or adopt, and have it served where that was asked for: all that calls the system. */
static int make_life(struct attempt *attempt, struct sr_life **out_life)
{
    const int64_t *values = attempt->settings.values;
    const char *path = attempt->name.path;
    struct sr_life *life = sr_sys.calloc(1, sizeof *life);
    int status;

    if (!life)
        return sr_error_no_memory();
    atomic_init(&life->count, 1);
    life->max_connections = (uint64_t)values[SOCKREF_OPT_MAX_CONNECTIONS];
    life->max_buffered = (uint64_t)values[SOCKREF_OPT_MAX_BUFFERED];
    life->registry = attempt->registry;
    if (attempt->fd >= 0)
        status = sr_sockfile_adopt(&attempt->place, path, attempt->fd, &life->file);
    else
        status = bind_patiently(attempt, &life->file);
    if (status < 0) {
        free(life);
        return status;
    }
    if (attempt->options && attempt->options->net.has_handlers && sr_hooks.serve) {
        status = sr_hooks.serve(attempt->options, life);
        if (status < 0) {
            struct sr_error *error = sr_error_take();

            sr_sockfile_remove(&life->file, path);
            sr_life_release(life);
            sr_error_give(error);
            return status;
        }
    }
    *out_life = life;
    return 0;
}

/* The start failed: the entry goes back to what it was. */
static void give_up(struct attempt *attempt, sockref *entry)
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

static int prepare_delay(const struct attempt *attempt, sockref *entry)
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

/* Let all see it. Refused where the registry was closed meanwhile. */
static int publish(struct attempt *attempt, sockref *entry, struct sr_life *life)
{
    sockref_registry *self = attempt->registry;
    struct sr_list woken = SR_LIST_INIT(woken);
    uint64_t word;
    int status;

    sr_mutex_lock(&self->mutex);
    status = prepare_delay(attempt, entry);
    if (status == 0 && atomic_load(&self->phase) != SR_OPEN)
        status = sr_error_set(SOCKREF_ESHUTDOWN, attempt->name.path, "the registry is shut down");
    if (status == 0 && attempt->name.has_place && !entry->rest->has_place)
        status = sr_names_set_place(self, entry, &attempt->name);
    if (status == 0) {
        word = atomic_load(&entry->word);
        if (sr_word_state(word) == SR_FRESH)
            atomic_fetch_add(&self->active, 1);
        entry->rest->life = life;
        sr_entry_change(entry, SR_LISTENING, 0);
        sr_registry_changed_locked(self, entry, &woken);
    }
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
    return status;
}

static void discard_life(struct attempt *attempt, struct sr_life *life)
{
    struct sr_error *error = sr_error_take();
    struct sr_service *service;

    sr_mutex_lock(&attempt->registry->mutex);
    service = sr_service_take(attempt->registry, life);
    sr_mutex_unlock(&attempt->registry->mutex);
    if (attempt->fd >= 0) {
        /* Taken on success only: the descriptor and its file stay the caller's. */
        sr_fd_disown(life->file.fd);
        life->file.fd = -1;
    } else {
        sr_sockfile_remove(&life->file, attempt->name.path);
    }
    if (service)
        service->stop(service);
    sr_life_release(life);
    sr_error_give(error);
}

static int start(struct attempt *attempt, sockref *entry)
{
    struct sr_life *life = NULL;
    int status = make_life(attempt, &life);

    if (status == 0) {
        status = publish(attempt, entry, life);
        if (status < 0)
            discard_life(attempt, life);
    }
    if (status < 0) {
        struct sr_error *error = sr_error_take();

        give_up(attempt, entry);
        sr_error_give(error);
        sr_log(SR_LOG_START_FAILED, SOCKREF_LOG_INFO, status, attempt->name.path, "%s",
               sockref_last_error()->message);
        return status;
    }
    sr_log(SR_LOG_LISTENING, SOCKREF_LOG_DEBUG, 0, attempt->name.path, "listening");
    return 0;
}

/* A name that is in use by another registry of this process is busy, not foreign. */
static int explain_in_use(const struct attempt *attempt, int status)
{
    struct stat info;
    int dir;

    if (status != -EADDRINUSE || attempt->place.dir < 0)
        return status;
    dir = attempt->place.dir;
    if (sr_sys.fstatat(dir, sr_path_leaf(attempt->name.key), &info, AT_SYMLINK_NOFOLLOW) < 0 ||
        !sr_registry_has_file(info.st_dev, info.st_ino, attempt->registry))
        return status;
    return sr_error_wrapped(SOCKREF_EBUSY, EADDRINUSE, "bind", attempt->name.path,
                            "another registry of this process listens at the path");
}

static int run(struct attempt *attempt, sockref **out_ref)
{
    sockref_registry *self = attempt->registry;
    sockref *entry = NULL;
    int status;

    sr_mutex_lock(&self->mutex);
    if (atomic_load(&self->phase) != SR_OPEN)
        status = sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the registry is shut down");
    else
        status = begin(self, attempt, &entry);
    sr_mutex_unlock(&self->mutex);
    if (status == START) {
        status = start(attempt, entry);
        status = explain_in_use(attempt, status);
    } else if (status == 0 && attempt->options && attempt->options->net.has_handlers &&
               sr_hooks.serve_unused) {
        sr_hooks.serve_unused(attempt->options);
    }
    if (status == 0)
        *out_ref = entry;
    return status;
}

/* Check all that can be checked before anything happens, and pin the directory. */
static int attempt_init(struct attempt *attempt, sockref_registry *registry, const char *path,
                        const sockref_options *options, char *buffer)
{
    int status = sr_options_check_call(options);

    if (status < 0)
        return status;
    *attempt = (struct attempt){.registry = registry, .options = options, .fd = -1};
    sr_options_resolve(options, &registry->options, &attempt->settings);
    if (!path) {
        bool unique = attempt->settings.values[SOCKREF_OPT_UNIQUE] != 0;

        status = sr_registry_default_path(registry, unique, buffer);
        if (status < 0)
            return status;
        path = buffer;
    }
    status = sr_name_init(&attempt->name, registry, path);
    if (status < 0)
        return status;
    status = sr_place_open(path, &attempt->place);
    if (status < 0) {
        sr_name_clear(&attempt->name);
        return status;
    }
    if (attempt->place.dir >= 0)
        sr_name_set_place(&attempt->name, attempt->place.device, attempt->place.inode);
    return 0;
}

static void attempt_clear(struct attempt *attempt)
{
    sr_place_close(&attempt->place);
    sr_name_clear(&attempt->name);
}

int sr_registry_try_listen(sockref_registry *self, const char *path, const sockref_options *options,
                           struct sr_waiter *waiter, sockref **out_ref)
{
    char buffer[SR_PATH_MAX + 1];
    struct attempt attempt;
    int status = sr_registry_enter(&self);

    if (status == 0)
        status = attempt_init(&attempt, self, path, options, buffer);
    if (status < 0)
        return status;
    attempt.waiter = waiter;
    status = run(&attempt, out_ref);
    attempt_clear(&attempt);
    return status;
}

/* Wait until something of the registry changed since `seen`. */
static int wait_for_change(sockref_registry *self, uint64_t seen, uint64_t deadline,
                           const char *path)
{
    int status = 0;

    sr_mutex_lock(&self->mutex);
    while (self->changes == seen && status == 0)
        status = sr_cond_wait(&self->changed, &self->mutex, deadline);
    sr_mutex_unlock(&self->mutex);
    if (status == 0)
        return 0;
    return sr_error_set(SOCKREF_ETIMEOUT, path,
                        "another start or removal of the name took longer than the start "
                        "time-out");
}

static uint64_t read_changes(sockref_registry *self)
{
    uint64_t changes;

    sr_mutex_lock(&self->mutex);
    changes = self->changes;
    sr_mutex_unlock(&self->mutex);
    return changes;
}

int sockref_registry_listen(sockref_registry *self, const char *path,
                            const sockref_options *options, sockref **out_ref)
{
    char buffer[SR_PATH_MAX + 1];
    uint64_t deadline = SR_CLOCK_NEVER, seen;
    struct attempt attempt;
    int status;

    if (!out_ref)
        return sr_error_argument("out_ref is NULL");
    status = sr_registry_enter(&self);
    if (status == 0)
        status = attempt_init(&attempt, self, path, options, buffer);
    if (status < 0)
        return status;
    for (;;) {
        seen = read_changes(self);
        status = run(&attempt, out_ref);
        if (status != SR_PARKED)
            break;
        if (deadline == SR_CLOCK_NEVER)
            deadline = sr_clock_after_ms(attempt.settings.values[SOCKREF_OPT_START_TIMEOUT_MS]);
        status = wait_for_change(self, seen, deadline, attempt.name.path);
        if (status < 0)
            break;
    }
    attempt_clear(&attempt);
    return status;
}

int sockref_registry_register_new(sockref_registry *self, const char *path, int fd,
                                  sockref **out_ref)
{
    struct attempt attempt;
    struct stat info;
    int status;

    if (!path || !out_ref)
        return sr_error_argument("%s is NULL", path ? "out_ref" : "path");
    /* Now: the directory, opened below, could get the number. */
    if (fd < 0 || sr_sys.fstat(fd, &info) < 0)
        return sr_error_argument("%d is not an open descriptor", fd);
    status = sr_registry_enter(&self);
    if (status == 0)
        status = attempt_init(&attempt, self, path, NULL, NULL);
    if (status < 0)
        return status;
    attempt.fd = fd;
    status = run(&attempt, out_ref);
    attempt_clear(&attempt);
    return status;
}
