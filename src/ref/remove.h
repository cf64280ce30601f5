/* The end of names: what fate.c, remove.c, revoke.c and exit.c share. */
#ifndef SR_REF_REMOVE_H
#define SR_REF_REMOVE_H

#include "ref/state.h"

/* ---- fate.c ---- */

enum sr_fate {
    SR_FATE_ENDED,   /* nothing of ours is left; or it was passed on */
    SR_FATE_WAITS,   /* byte 0 is busy, or passing it on takes time */
    SR_FATE_LINGERS, /* others hold it, and it is served */
};

/*
 * End the name of a life, with the right to its entry; `wait` tells that this thread may. Returns a
 * fate, or a described status with the same effect as ENDED.
 */
int sr_fate_end(sockref *entry, struct sr_life *life, bool wait);
/* Pass the listener on to another holder, if that is wanted; with byte 0 held. Waits. */
bool sr_fate_hand_over(struct sr_life *life, uint64_t deadline);

/* ---- remove.c ---- */

/*
 * Take the right to change an entry that is held: to REMOVING, and one count for us. Returns false
 * when its last reference has just gone: then whoever released it ends it.
 */
bool sr_remove_take_held(sockref *entry);
void sr_remove_log_failure(const char *path, int status);
/* Have over(entry) called by the worker, which ends it by sr_remove_deferred(). */
void sr_remove_defer(sockref *entry, void (*over)(sockref *entry));
void sr_remove_deferred(sockref_registry *self);
/* Wait until no removal is deferred. */
void sr_remove_await_deferred(uint64_t deadline);
/* From REMOVING to LINGER. */
void sr_remove_linger_on(sockref *entry);
/*
 * Take the handlers that a joiner gave, which nobody uses any more, or NULL; and drop them, which
 * drain waits for. That may call on_stop, which may start the name again: so only when the entry is
 * not this thread's any more.
 */
struct sr_kept *sr_remove_take_kept(struct sr_life *life);
void sr_remove_drop_kept(sockref_registry *self, struct sr_kept *kept);
/* The name's files are gone, or not (status): close, and free the entry. Returns status. */
int sr_remove_finish_dying(sockref *entry, int status);

#endif
