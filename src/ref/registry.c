/*
 * Registries: their life, the list of all, what keeps one in memory, waiting for it and ending it.
 *
 * The default registry is made at the first need and stays for the length of the process; a
 * shutdown ends what it holds and opens it again. Others go when their owner has freed them and
 * nothing of them is left.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/sys.h"
#include "base/thread.h"
#include "name/guard.h"
#include "name/path.h"
#include "name/sweep.h"
#include "ref/fork.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct sr_mutex sr_registry_list_mutex = SR_MUTEX_INIT;
struct sr_list sr_registry_list = SR_LIST_INIT(sr_registry_list);

sockref_registry *_Atomic sr_registry_default;

static int make(const sockref_options *options, sockref_registry **out_registry)
{
    sockref_registry *self;

    sr_fork_install();
    self = sr_sys.aligned_alloc(SR_CACHE_LINE, sizeof *self);
    if (!self)
        return sr_error_no_memory();
    memset(self, 0, sizeof *self);
    if (sr_options_copy(options, &self->options) < 0)
        goto free_self;
    if (sr_table_init(&self->table) < 0) {
        sr_error_no_memory();
        goto clear_options;
    }
    sr_settings_init(&self->settings);
    sr_settings_apply(&self->settings, &self->options);
    self->max_references = (uint64_t)self->settings.values[SOCKREF_OPT_MAX_REFERENCES];
    self->seed = sr_hash_seed();
    self->fork_generation = atomic_load(&sr_fork_generation);
    sr_mutex_init(&self->mutex);
    sr_cond_init(&self->changed);
    sr_list_init(&self->waiters);
    self->holds = 1;
    self->slab.registry = self;
    *out_registry = self;
    return 0;

clear_options:
    sr_options_clear(&self->options);
free_self:
    free(self);
    return -ENOMEM;
}

/* What comes too late for the walk of the exit begins nothing. */
static void enlist_locked(sockref_registry *self) SR_REQUIRES(sr_registry_list_mutex)
{
    if (atomic_load(&sr_exiting))
        atomic_store(&self->is_barred, true);
    sr_list_append(&sr_registry_list, &self->node);
}

/* Nothing keeps it any more. */
static void unmake(sockref_registry *self)
{
    sr_mutex_lock(&sr_registry_list_mutex);
    sr_list_remove(&self->node);
    sr_mutex_unlock(&sr_registry_list_mutex);
    sr_slab_destroy(&self->slab);
    sr_table_destroy(&self->table);
    sr_options_clear(&self->options);
    sr_mutex_destroy(&self->mutex);
    sr_cond_destroy(&self->changed);
    free(self->default_path);
    free(self);
}

static int get_default(sockref_registry **out_registry)
{
    sockref_registry *none = NULL, *self;
    bool is_first;
    int status;

    self = atomic_load_explicit(&sr_registry_default, memory_order_acquire);
    if (SR_LIKELY(self)) {
        *out_registry = self;
        return 0;
    }
    status = make(NULL, &self);
    if (status < 0)
        return status;
    self->is_default = true;
    sr_list_init(&self->node);
    /* At once in the list: whoever forks must find what others have begun to use. */
    sr_mutex_lock(&sr_registry_list_mutex);
    is_first = atomic_compare_exchange_strong(&sr_registry_default, &none, self);
    if (is_first)
        enlist_locked(self);
    sr_mutex_unlock(&sr_registry_list_mutex);
    if (!is_first)
        unmake(self);
    *out_registry = is_first ? self : none;
    return 0;
}

void sr_registry_set_phase_locked(sockref_registry *self, enum sr_phase phase)
{
    atomic_store(&self->phase, phase);
    atomic_store(&self->is_barred, phase != SR_OPEN || atomic_load(&sr_exiting));
    if (atomic_load(&sr_exiting)) /* which bars it without the mutex, perhaps in between */
        atomic_store(&self->is_barred, true);
}

bool sr_registry_is_forked(const sockref_registry *self)
{
    return SR_UNLIKELY(self->fork_generation !=
                       atomic_load_explicit(&sr_fork_generation, memory_order_relaxed));
}

int sr_registry_enter_any(sockref_registry **inout_registry)
{
    if (!*inout_registry) {
        int status = get_default(inout_registry);

        if (status < 0)
            return status;
    }
    if (sr_registry_is_forked(*inout_registry))
        return sr_error_set(SOCKREF_EFORKED, NULL,
                            "the registry belongs to the parent process: make one in the child");
    return 0;
}

int sr_registry_enter_slowly(sockref_registry **inout_registry)
{
    int status = sr_registry_enter_any(inout_registry);

    if (status < 0)
        return status;
    if (SR_UNLIKELY(atomic_load_explicit(&sr_exiting, memory_order_relaxed)))
        return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the process is ending");
    if (SR_UNLIKELY(atomic_load_explicit(&(*inout_registry)->phase, memory_order_relaxed)))
        return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the registry is shut down");
    return 0;
}

int sr_registry_resolve(sockref_registry **inout_registry)
{
    return sr_registry_enter(inout_registry);
}

int sockref_registry_new(const sockref_options *options, sockref_registry **out_registry)
{
    sockref_registry *self;
    int status;

    if (!out_registry)
        return sr_error_argument("out_registry is NULL");
    if (atomic_load(&sr_exiting))
        return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the process is ending");
    status = make(options, &self);
    if (status < 0)
        return status;
    sr_mutex_lock(&sr_registry_list_mutex);
    enlist_locked(self);
    sr_mutex_unlock(&sr_registry_list_mutex);
    *out_registry = self;
    return 0;
}

void sr_registry_hold_locked(sockref_registry *self)
{
    self->holds++;
}

void sr_registry_unhold_unlock(sockref_registry *self)
{
    bool last = --self->holds == 0;

    sr_mutex_unlock(&self->mutex);
    if (last)
        unmake(self);
}

void sr_registry_unhold(sockref_registry *self)
{
    sr_mutex_lock(&self->mutex);
    sr_registry_unhold_unlock(self);
}

void sr_registry_pending_add(sockref_registry *self)
{
    sr_mutex_lock(&self->mutex);
    self->pending++;
    sr_registry_hold_locked(self);
    sr_mutex_unlock(&self->mutex);
}

void sr_registry_pending_done(sockref_registry *self)
{
    sr_mutex_lock(&self->mutex);
    self->pending--;
    self->changes++;
    sr_cond_broadcast(&self->changed);
    sr_registry_unhold_unlock(self);
}

void sr_registry_changed_locked(sockref_registry *self, const sockref *entry,
                                struct sr_list *out_woken)
{
    struct sr_list *node, *next;

    self->changes++;
    sr_cond_broadcast(&self->changed);
    SR_LIST_EACH_SAFE(node, next, &self->waiters)
    {
        struct sr_waiter *waiter = SR_LIST_OWNER(node, struct sr_waiter, node);

        if (entry && waiter->entry != entry)
            continue;
        sr_list_remove(node);
        waiter->entry = NULL;
        sr_list_append(out_woken, node);
    }
}

void sr_registry_wake(struct sr_list *woken)
{
    while (!sr_list_is_empty(woken)) {
        struct sr_waiter *waiter = SR_LIST_OWNER(woken->next, struct sr_waiter, node);

        sr_list_remove(&waiter->node);
        waiter->wake(waiter);
    }
}

bool sr_registry_unpark(sockref_registry *self, struct sr_waiter *waiter)
{
    bool was_parked;

    sr_mutex_lock(&self->mutex);
    was_parked = waiter->entry != NULL;
    if (was_parked) {
        sr_list_remove(&waiter->node);
        waiter->entry = NULL;
    }
    sr_mutex_unlock(&self->mutex);
    return was_parked;
}

/* Default names are drawn anew each time, so no later start would find what a killed process left.
 */
static void sweep_once(sockref_registry *self, const char *directory)
{
    struct sr_error *error;
    uint64_t count = 0;

    if (atomic_exchange(&self->has_swept, true))
        return;
    error = sr_error_take();
    sr_sweep_directory(directory, &count);
    sr_error_give(error);
}

/* A fresh default name, malloc'ed. */
static int draw_path(sockref_registry *self, char **out_path)
{
    char *directory, *path;
    uint64_t random;
    size_t size;
    int status = sr_place_default(self->options.directory, &directory);

    if (status < 0)
        return status;
    sweep_once(self, directory);
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = sr_clock_ns();
    size = strlen(directory) + 64;
    path = sr_sys.malloc(size);
    if (path)
        snprintf(path, size, "%s/sockref-%ld-%016llx.sock", directory, (long)getpid(),
                 (unsigned long long)random);
    free(directory);
    if (!path)
        return sr_error_no_memory();
    *out_path = path;
    return 0;
}

int sr_registry_default_path(sockref_registry *self, bool unique, char *out)
{
    char *fresh = NULL, *spare;
    bool known;
    int status, cancel;

    sr_mutex_lock(&self->mutex);
    known = self->default_path && !unique;
    if (known)
        strcpy(out, self->default_path);
    sr_mutex_unlock(&self->mutex);
    if (known)
        return 0;
    cancel = sr_thread_begin_uncancelled();
    status = draw_path(self, &fresh);
    sr_thread_end_uncancelled(cancel);
    if (status < 0)
        return status;
    spare = fresh;
    sr_mutex_lock(&self->mutex);
    if (!unique && !self->default_path) {
        self->default_path = fresh;
        spare = NULL;
    }
    strcpy(out, unique ? fresh : self->default_path);
    sr_mutex_unlock(&self->mutex);
    free(spare);
    return 0;
}

int sr_registry_check_path(sockref_registry *self, const char *path)
{
    char buffer[SR_PATH_MAX + 1];

    if (path)
        return sr_path_check(path);
    return sr_registry_default_path(self, false, buffer);
}

int sr_registry_refuse_limit(const sockref_registry *self, const char *path)
{
    return sr_error_set(SOCKREF_ELIMIT, path,
                        "the name is at its limit of references, %llu: release one, or raise the "
                        "limit",
                        (unsigned long long)self->max_references);
}

int64_t sr_registry_option(const sockref_registry *self, const sockref_options *call, int option)
{
    if (call && call->set & 1u << option)
        return call->values[option];
    return self->settings.values[option];
}

void sr_registry_forget_all(void) SR_UNCHECKED
{
    sr_mutex_init(&sr_registry_list_mutex);
    while (!sr_list_is_empty(&sr_registry_list))
        sr_list_remove(sr_registry_list.next);
    atomic_store(&sr_registry_default, NULL);
}

void sockref_live_counts(uint64_t *out_references, uint64_t *out_entries, uint64_t *out_buffers)
{
    uint64_t references = 0, entries = 0, buffers = 0;
    struct sr_list *node;

    sr_mutex_lock(&sr_registry_list_mutex);
    SR_LIST_EACH(node, &sr_registry_list)
    {
        sockref_registry *self = SR_LIST_OWNER(node, sockref_registry, node);
        uint32_t made = atomic_load(&self->slab.made);

        for (uint32_t i = 0; i < made; i++)
            references += sr_word_count(atomic_load(&sr_slab_at(&self->slab, i)->word));
        sr_mutex_lock(&self->mutex);
        entries += self->entries;
        sr_mutex_unlock(&self->mutex);
    }
    sr_mutex_unlock(&sr_registry_list_mutex);
    sr_hooks.count(&references, &buffers);
    if (out_references)
        *out_references = references;
    if (out_entries)
        *out_entries = entries;
    if (out_buffers)
        *out_buffers = buffers;
}

int sockref_guard_status(sockref_registry *self)
{
    int status = sr_registry_enter_any(&self);

    return status < 0 ? status : sr_guard_status();
}

uint64_t sockref_registry_active_socket_count(sockref_registry *self)
{
    if (!self)
        self = atomic_load_explicit(&sr_registry_default, memory_order_acquire);
    if (!self || sr_registry_is_forked(self))
        return 0;
    return atomic_load_explicit(&self->active, memory_order_relaxed);
}
