/* The one worker of the process: ends cleanup delays, and removals that had to wait. */
#ifndef SR_REF_CLEANUP_H
#define SR_REF_CLEANUP_H

#include "base/list.h"

#include <sockref/sockref.h>
#include <stdbool.h>
#include <stdint.h>

/* A delay; part of an entry or a life, so that beginning one can't fail for lack of memory. */
struct sr_deadline {
    struct sr_list node; /* of the worker's list, while it runs */
    sockref *entry;
    uint64_t delay_ms;
    uint64_t at;                  /* sr_clock_ns() */
    void (*over)(sockref *entry); /* the worker calls it, with no lock held; gives the hold back */
};

/*
 * Begin a delay. Called with the registry's mutex held; the caller has counted a hold of the
 * registry for it. Returns false where there is no thread to end it.
 */
bool sr_cleanup_begin(struct sr_deadline *deadline);
/* Returns whether it was running: then it will not end by itself, and the hold is the caller's
 * again. */
bool sr_cleanup_cancel(struct sr_deadline *deadline);
void sr_cleanup_after_fork(void);
/* How often a worker was started: for tests. */
uint64_t sr_cleanup_threads_started(void);

#endif
