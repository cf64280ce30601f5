/* Telling the watcher of a name. A watch is counted by its entry and by each event on its way. */
#include "base/error.h"
#include "base/sys.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <stdlib.h>

struct sr_watch {
    _Atomic unsigned count;
    sockref_watch_fn fn;
    void *user;
    void (*free_user)(void *user);
};

void sr_watch_release(struct sr_watch *watch)
{
    if (!watch || atomic_fetch_sub_explicit(&watch->count, 1, memory_order_acq_rel) != 1)
        return;
    if (watch->free_user)
        watch->free_user(watch->user);
    free(watch);
}

/* The watch function that the net floor calls: it ends the count that the event held. */
static void deliver(sockref *ref, int event, void *user)
{
    struct sr_watch *watch = user;

    watch->fn(ref, event, watch->user);
    sr_watch_release(watch);
}

/* Count the watch and, if it is still held, the entry. */
static struct sr_watch *take(sockref *entry)
{
    sockref_registry *self = entry->registry;
    struct sr_watch *watch = NULL;
    uint64_t word;

    if (!self)
        return NULL;
    sr_mutex_lock(&self->mutex);
    word = atomic_load(&entry->word);
    if (entry->rest->more)
        watch = entry->rest->more->watch;
    do {
        if (!watch || sr_word_count(word) == 0 || sr_word_state(word) == SR_FREE) {
            watch = NULL;
            break;
        }
    } while (!atomic_compare_exchange_weak(&entry->word, &word, word + 1));
    if (watch)
        atomic_fetch_add(&watch->count, 1);
    sr_mutex_unlock(&self->mutex);
    return watch;
}

void sr_watch_notify(sockref *entry, int event)
{
    struct sr_watch *watch = take(entry);

    if (!watch)
        return;
    sr_hooks.notify(entry, event, deliver, watch);
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
    *out_watch = watch;
    return 0;
}

/* Put a watch on an entry that is still active; the one before comes back. */
static int exchange(sockref *self, struct sr_watch **inout_watch)
{
    sockref_registry *registry = self->registry;
    struct sr_entry_more *more;
    int status = 0;

    sr_mutex_lock(&registry->mutex);
    more = sr_names_more(self);
    if (!sr_word_is_active(atomic_load(&self->word)))
        status = sr_error_set(SOCKREF_ECLOSED, sr_entry_path(self), "the name was revoked");
    else if (!more)
        status = sr_error_no_memory();
    if (status == 0 && more) {
        struct sr_watch *old = more->watch;

        more->watch = *inout_watch;
        *inout_watch = old;
    }
    sr_mutex_unlock(&registry->mutex);
    return status;
}

int sockref_set_watch(sockref *self, sockref_watch_fn fn, void *user, void (*free_user)(void *user))
{
    struct sr_watch *watch = NULL;
    int status = 0;

    if (!self)
        return sr_error_argument("the reference is NULL");
    if (atomic_load(&self->word) & SR_FORKED)
        return sr_error_set(SOCKREF_EFORKED, sr_entry_path(self),
                            "the reference belongs to the parent process");
    if (fn)
        status = make(fn, user, free_user, &watch);
    if (status < 0)
        return status;
    status = exchange(self, &watch);
    if (status < 0) {
        free(watch); /* the user's data stays the caller's */
        return status;
    }
    sr_watch_release(watch);
    if (!fn && free_user)
        free_user(user);
    sr_joint_attend(self);
    return 0;
}
