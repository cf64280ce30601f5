/*
 * What the end of a life means for its name on disk: the files go, or another holder takes the
 * listener over, or it goes on for those who hold it still.
 */
#include "ref/remove.h"

#include "base/clock.h"
#include "ref/hooks.h"

#include <time.h>

#define UNSEEN_MS 1000 /* a start that failed waits so long at most, to leave nothing behind */

static uint64_t patience_of(const sockref *entry)
{
    return sr_clock_after_ms(
        sr_registry_option(entry->registry, NULL, SOCKREF_OPT_CLEANUP_TIMEOUT_MS));
}

bool sr_fate_hand_over(struct sr_life *life, uint64_t deadline)
{
    return life->hands_over && sr_share_hand_over(life->share, &life->file, deadline);
}

static bool is_served(struct sr_life *life)
{
    bool served;

    sr_mutex_lock(&life->registry->mutex);
    served = life->service != NULL;
    sr_mutex_unlock(&life->registry->mutex);
    return served;
}

/* The last reference of the owner's is gone. Returns a fate, or a described status with the same
 * effect as SR_FATE_ENDED. */
static int end_owned(struct sr_life *life, bool wait, uint64_t deadline)
{
    struct sr_share *share = life->share;
    bool has_others = false;
    int status = sr_share_enter_alone(share);

    if (status == SR_LOCK_BUSY) {
        status = sr_share_enter(share, wait ? deadline : 0);
        has_others = status == 0 && sr_share_has_others(share);
    }
    if (status == SR_LOCK_BUSY || has_others)
        sr_share_free_slot(share); /* else it goes with all the rest */
    if (status == SR_LOCK_BUSY)
        return SR_FATE_WAITS;
    if (has_others) {
        if (is_served(life) && atomic_load(&life->registry->phase) == SR_OPEN &&
            sr_joint_linger(life) == 0) {
            sr_share_leave(share);
            return SR_FATE_LINGERS;
        }
        if (life->hands_over && !wait) {
            sr_share_leave(share);
            return SR_FATE_WAITS;
        }
        if (sr_fate_hand_over(life, deadline))
            return SR_FATE_ENDED;
    }
    return sr_share_end(share, &life->file, has_others || status < 0);
}

static int end_joined(struct sr_life *life, bool wait, uint64_t deadline)
{
    const struct timespec pause = {0, 1000000};
    int status;

    sr_joint_end(life);
    status = sr_share_let_go(life->share, &life->file.place);
    while (status == SR_LOCK_BUSY && wait && sr_clock_ns() < deadline) {
        nanosleep(&pause, NULL);
        status = sr_share_let_go(life->share, &life->file.place);
    }
    return status == SR_LOCK_BUSY ? (int)SR_FATE_WAITS : status;
}

int sr_fate_end(sockref *entry, struct sr_life *life, bool wait)
{
    struct sr_share *share = life->share;
    uint64_t deadline = wait ? patience_of(entry) : 0;
    int status;

    if (!share || !sr_share_is_shared(share))
        return sr_sockfile_remove(&life->file, sr_entry_path(entry));
    if (share->is_owner)
        status = end_owned(life, wait, deadline);
    else
        status = end_joined(life, wait, deadline);
    if (status == SR_FATE_WAITS && wait) {
        /* Somebody has kept byte 0 for all that time: the file goes by its identity alone. */
        status = share->is_owner ? sr_sockfile_remove(&life->file, share->path) : SR_FATE_ENDED;
    }
    return status;
}

void sr_remove_unseen(struct sr_life *life)
{
    struct sr_share *share = life->share;
    int status = 0;

    if (!share) {
        /* an abstract name has no file */
    } else if (!sr_share_is_shared(share)) {
        status = sr_sockfile_remove(&life->file, share->path);
    } else if (share->is_owner) {
        sr_share_free_slot(share);
        if (sr_share_enter(share, sr_clock_after_ms(UNSEEN_MS)) != SR_LOCK_BUSY)
            status = sr_share_end(share, &life->file, true);
        else
            status = sr_sockfile_remove(&life->file, share->path);
    } else {
        status = end_joined(life, true, sr_clock_after_ms(UNSEEN_MS));
    }
    if (status < 0)
        sr_remove_log_failure(share->path, status);
    sr_hooks.kept_forget(life->kept);
    life->kept = NULL;
    sr_joint_close(life);
}
