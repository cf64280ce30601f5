/*
 * The orderly end of the process: the files of all names that are still held go, or another holder
 * takes them over. Nothing is freed, and what can't be had soon is left to the guard.
 */
#include "ref/remove.h"

#include "base/clock.h"
#include "ref/fork.h"

#include <time.h>

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
    uint64_t mutex_ns;  /* until then, for what a thread of this process may never leave */
    uint64_t others_ns; /* until then, for other processes: byte 0, and an heir for a listener */
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
    if (sr_share_enter(share, wait->others_ns) == SR_LOCK_BUSY)
        return;
    if (!sr_share_has_others(share) || !sr_fate_hand_over(life, wait->others_ns))
        sr_share_end(share, &life->file, true);
    sr_lockfile_close(&share->lock);
}

static void remove_files_of(sockref_registry *self, const struct last_wait *wait) SR_UNCHECKED
{
    uint32_t made = atomic_load(&self->slab.made);

    atomic_store(&self->is_barred, true);
    if (!lock_soon(&self->mutex, wait->mutex_ns))
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
    struct last_wait wait = {.others_ns = sr_clock_after_ms(1000)};
    struct sr_list *node;

    /* What was released just before may be on its way to another holder. */
    sr_remove_await_deferred(wait.others_ns);
    wait.mutex_ns = sr_clock_after_ms(50);
    if (!lock_soon(&sr_registry_list_mutex, wait.mutex_ns))
        return;
    SR_LIST_EACH(node, &sr_registry_list)
    {
        remove_files_of(SR_LIST_OWNER(node, sockref_registry, node), &wait);
    }
    sr_mutex_unlock(&sr_registry_list_mutex);
}
