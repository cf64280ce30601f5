/* One life of a name in a worker. */
#ifndef TORTURE_HOLD_H
#define TORTURE_HOLD_H

#include "torture/crash.h"
#include "torture/worker.h"

#include <pthread.h>
#include <sockref/net.h>
#include <sockref/sockref.h>
#include <stdbool.h>
#include <stdint.h>

#define REGISTRIES 2
#define LOSS_NS    3000000000u /* a holder hears of a loss within this */

enum doing { IDLE, LISTENING, RELEASING, USING, CLEANING, SWEEPING, SHUTTING, ENDING };

/* Its watch counts it as well. */
struct hold {
    pthread_mutex_t mutex;
    int users; /* main thread, watch */
    int registry, path;
    unsigned count; /* references */
    sockref *ref;
    bool is_ending; /* it may not be published any more */
    bool is_published;
    bool served;
};

extern int own_slot;
extern uint32_t own_life;
extern sockref_registry *registries[REGISTRIES];
extern struct hold *holds[REGISTRIES][CRASH_PATHS];

/* What this worker does is known to whoever looks for those that are stuck. */
void beat(enum doing doing, int path);
/* Answer those who have connected to what is owned here. */
void pump(void);
/* As long as a reference is active its path leads to its socket, or there is a loss to be heard. */
void use(struct hold *hold);
/* From now on it counts as owner while it is one; until unpublish(). */
void begin_watch(struct hold *hold);
void unpublish(struct hold *hold);
void drop(void *hold);

#endif
