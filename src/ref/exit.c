/*
 * The orderly end of the process: the files of all names that are still held go, or another holder
 * takes them over. Nothing is freed, and what can't be had soon is left to the guard.
 */
#include "ref/remove.h"

#include "base/clock.h"
#include "ref/fork.h"

#include <time.h>

/* How long the exit waits, for all names together. */
struct last_wait {
    unsigned pauses;    /* so many, for what a thread of this process may never let go of */
    uint64_t others_ns; /* until then, for other processes: byte 0, and an heir for a listener */
};

#define PAUSE_NS 200000
#define PAUSES   (50000000 / PAUSE_NS) /* a twentieth of a second */

/* Returns false where there is no more time. */
static bool pause_once(struct last_wait *wait)
{
    const struct timespec pause = {0, PAUSE_NS};

    if (wait->pauses == 0)
        return false;
    wait->pauses--;
    nanosleep(&pause, NULL);
    return true;
}

static bool lock_soon(struct sr_mutex *mutex, struct last_wait *wait) SR_UNCHECKED
{
    while (pthread_mutex_trylock(&mutex->raw) != 0)
        if (!pause_once(wait))
            return false;
    return true;
}

/* What does not succeed is left to the guard. */
static void leave_at_exit(struct sr_life *life, const char *path, struct last_wait *wait)
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

enum taken {
    NOTHING, /* it has no files, or is not asked for */
    TAKEN,   /* the right to change it is this thread's, for good */
    BUSY,    /* another thread has it, for a moment */
};

/* Names that were joined go first: nobody would answer where one of this process offers its
 * listener to another one of it. */
enum whom { JOINED_ONES, ALL };

static enum taken take(sockref_registry *self, sockref *entry, enum whom whom)
    SR_REQUIRES(self->mutex)
{
    enum sr_state state = sr_word_state(atomic_load(&entry->word));

    if (whom == JOINED_ONES && state != SR_JOINED)
        return state == SR_TURNING ? BUSY : NOTHING;
    switch (state) {
    case SR_FREE:
    case SR_NAMED:
    case SR_REVOKED:
        return NOTHING;
    case SR_LISTENING:
    case SR_JOINED:
        return sr_remove_take_held(entry) ? TAKEN : BUSY;
    case SR_GRACE:
        sr_remove_stop_delay(self, entry);
        sr_entry_change(entry, SR_REMOVING, 1);
        return TAKEN;
    case SR_LINGER:
        sr_entry_change(entry, SR_REMOVING, 1);
        return TAKEN;
    default:
        return BUSY;
    }
}

/* Whoever holds it, or waits for it, finds it revoked; the count that was taken is not given back.
 */
static void settle(sockref_registry *self, sockref *entry, struct last_wait *wait) SR_UNCHECKED
{
    struct sr_list woken = SR_LIST_INIT(woken);

    if (!lock_soon(&self->mutex, wait))
        return;
    sr_entry_change(entry, SR_REVOKED, 0);
    sr_registry_changed_locked(self, entry, &woken);
    sr_mutex_unlock(&self->mutex);
    sr_registry_wake(&woken);
}

/* Returns whether another thread is at one of its names. */
static bool leave_names(sockref_registry *self, enum whom whom, struct last_wait *wait) SR_UNCHECKED
{
    uint32_t made = atomic_load(&self->slab.made);
    bool busy = false;

    for (uint32_t i = 0; i < made; i++) {
        sockref *entry = sr_slab_at(&self->slab, i);
        enum taken taken;

        if (!lock_soon(&self->mutex, wait))
            return busy;
        taken = take(self, entry, whom);
        sr_mutex_unlock(&self->mutex);
        busy |= taken == BUSY;
        if (taken != TAKEN)
            continue;
        leave_at_exit(entry->rest->life, sr_entry_path(entry), wait);
        settle(self, entry, wait);
    }
    return busy;
}

/* Nobody gives back what keeps it. One that nothing keeps is in the list only until the thread that
 * takes it down has the list's mutex. */
static bool hold_soon(sockref_registry *self, struct last_wait *wait) SR_UNCHECKED
{
    bool is_kept;

    atomic_store(&self->is_barred, true);
    if (!lock_soon(&self->mutex, wait))
        return false;
    is_kept = self->holds > 0;
    if (is_kept)
        sr_registry_hold_locked(self);
    sr_mutex_unlock(&self->mutex);
    return is_kept;
}

/* The registry after one, or the first, which stays; NULL at the end. */
static sockref_registry *next_registry(sockref_registry *before,
                                       struct last_wait *wait) SR_UNCHECKED
{
    sockref_registry *next = NULL;
    struct sr_list *node;

    if (!lock_soon(&sr_registry_list_mutex, wait))
        return NULL;
    node = before ? before->node.next : sr_registry_list.next;
    while (node != &sr_registry_list &&
           !hold_soon(SR_LIST_OWNER(node, sockref_registry, node), wait))
        node = node->next;
    if (node != &sr_registry_list)
        next = SR_LIST_OWNER(node, sockref_registry, node);
    sr_mutex_unlock(&sr_registry_list_mutex);
    return next;
}

static bool leave_all(enum whom whom, struct last_wait *wait)
{
    sockref_registry *self = NULL;
    bool busy = false;

    while ((self = next_registry(self, wait)))
        busy |= leave_names(self, whom, wait);
    return busy;
}

void sr_remove_at_exit(void)
{
    struct last_wait wait = {.pauses = PAUSES, .others_ns = sr_clock_after_ms(1000)};

    /* What was released just before may be on its way to another holder. */
    sr_remove_await_deferred(wait.others_ns);
    while (leave_all(JOINED_ONES, &wait) && pause_once(&wait))
        continue;
    while (leave_all(ALL, &wait) && pause_once(&wait))
        continue;
}
