/* Telling the watcher of a name. A watch is counted by its entry and by each event on its way. */
#include "base/error.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <stdlib.h>

struct sr_watch {
    _Atomic unsigned count;
    sockref_watch_fn fn;
    void *user;
    void (*free_user)(void *user);
    struct sr_notice *_Atomic last; /* for the loss, after which nothing is told any more */
};

void sr_watch_rest(struct sr_watch *watch)
{
    if (watch)
        sr_hooks.notice_unreserve(atomic_exchange(&watch->last, NULL));
}

void sr_watch_release(struct sr_watch *watch)
{
    if (!watch || atomic_fetch_sub_explicit(&watch->count, 1, memory_order_acq_rel) != 1)
        return;
    if (watch->free_user)
        watch->free_user(watch->user);
    sr_watch_rest(watch);
    free(watch);
}

static bool is_held(const sockref *entry)
{
    return sr_word_count(atomic_load(&entry->word)) > 0;
}

/*
 * The watch function that the net floor calls: it ends the count that the event held. Where the
 * last reference has gone meanwhile there is nobody to tell.
 */
static void deliver(sockref *ref, int event, void *user)
{
    struct sr_watch *watch = user;

    if (is_held(ref))
        watch->fn(ref, event, watch->user);
    if (sr_registry_is_forked(ref->registry))
        return; /* the callback has forked, and this is the child */
    sr_watch_release(watch);
    sr_names_told(ref);
}

/* Count the watch; and have the entry stay what it is, without being a holder of the name. */
static struct sr_watch *take(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_watch *watch = NULL;

    if (!self)
        return NULL;
    sr_mutex_lock(&self->mutex);
    if (entry->rest->more && is_held(entry))
        watch = entry->rest->more->watch;
    if (watch) {
        atomic_fetch_add(&watch->count, 1);
        entry->rest->told++;
    }
    sr_mutex_unlock(&self->mutex);
    return watch;
}

void sr_watch_notify(sockref *entry, int event)
{
    struct sr_watch *watch = take(entry);
    struct sr_notice *notice = NULL;
    int status;

    if (!watch)
        return;
    if (event == SOCKREF_WATCH_LOST)
        notice = atomic_exchange(&watch->last, NULL);
    status = sr_hooks.notify(notice, entry, event, deliver, watch);
    if (status == 0)
        return;
    sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_ERROR, status, sr_entry_path(entry),
           "a watch could not be told event %d: %s", event, sockref_status_message(status));
    sr_watch_release(watch);
    sr_names_told(entry);
}

static int make(sockref_watch_fn fn, void *user, void (*free_user)(void *user),
                struct sr_watch **out_watch)
{
    struct sr_watch *watch = sr_sys.malloc(sizeof *watch);

    if (!watch)
        return sr_error_no_memory();
    atomic_init(&watch->count, 1);
    watch->fn = fn;
    watch->user = user;
    watch->free_user = free_user;
    atomic_init(&watch->last, sr_hooks.notice_reserve());
    if (!atomic_load(&watch->last)) {
        free(watch);
        return sr_error_no_memory();
    }
    *out_watch = watch;
    return 0;
}

/* Where the watch of an entry stands, which must be active still. */
static int reach(sockref *self, struct sr_entry_more **out_more) SR_REQUIRES(self->registry->mutex)
{
    *out_more = sr_names_more(self);
    if (!sr_word_is_active(atomic_load(&self->word)))
        return sr_error_set(SOCKREF_ECLOSED, sr_entry_path(self), "the name was revoked");
    return *out_more ? 0 : sr_error_no_memory();
}

/* Whether there will be a place for it: before a thread is started for it. */
static int prepare(sockref *self)
{
    struct sr_entry_more *more;
    int status;

    sr_mutex_lock(&self->registry->mutex);
    status = reach(self, &more);
    sr_mutex_unlock(&self->registry->mutex);
    return status;
}

/* Put a watch in its place; the one before comes back. */
static int exchange(sockref *self, struct sr_watch **inout_watch)
{
    struct sr_entry_more *more;
    struct sr_watch *old;
    int status;

    sr_mutex_lock(&self->registry->mutex);
    status = reach(self, &more);
    if (status == 0) {
        old = more->watch;
        more->watch = *inout_watch;
        *inout_watch = old;
    }
    sr_mutex_unlock(&self->registry->mutex);
    return status;
}

static int put(sockref *self, sockref_watch_fn fn, void *user, void (*free_user)(void *user))
{
    struct sr_watch *watch = NULL;
    int status = prepare(self);

    if (status == 0 && fn)
        status = make(fn, user, free_user, &watch);
    if (status < 0)
        return status;
    status = exchange(self, &watch);
    if (status < 0) {
        if (watch)
            watch->free_user = NULL; /* the user's data stays the caller's */
        sr_watch_release(watch);
        return status;
    }
    sr_watch_release(watch);
    if (!fn && free_user)
        free_user(user);
    sr_joint_attend(self);
    return 0;
}

int sockref_set_watch(sockref *self, sockref_watch_fn fn, void *user, void (*free_user)(void *user))
{
    struct sr_error *before;
    int status, cancel;

    if (!self)
        return sr_error_argument("the reference is NULL");
    if (atomic_load(&self->word) & SR_FORKED)
        return sr_error_set(SOCKREF_EFORKED, sr_entry_path(self),
                            "the reference belongs to the parent process");
    cancel = sr_thread_begin_uncancelled();
    before = sr_error_take();
    status = put(self, fn, user, free_user);
    if (status == 0) {
        sr_error_free(sr_error_take()); /* of what is tried again, or was logged */
        sr_error_give(before);
    } else {
        sr_error_free(before);
    }
    sr_thread_end_uncancelled(cancel);
    return status;
}
