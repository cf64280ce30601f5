/*
 * Mutex and condition, annotated for clang's thread-safety analysis.
 *
 * Lock order, outermost first; a thread takes a later one while it holds an earlier one, never the
 * reverse:
 *   1. registry list (ref/registry.c)  all registries of the process; also held across fork()
 *   2. pool          (ref/pool.c)      its members
 *   3. registry      (ref/state.h)     the table, free entries, waiters; no file call is made with
 * it
 *   4. start         (net/start.c)     the starts that are under way
 *   5. service       (net/service.c)   the library's own loop; loops are made with it held
 *   6. resolve       (net/resolve.c)   the lookups of hosts
 *   7. traffic       (net/traffic.c)   the list of loops
 *   8. loop          (net/loop.h)      tasks posted to a loop
 *   9. cleanup       (ref/cleanup.c)   the deadlines of the worker
 *  10. guard         (name/guard.c)    the names watched over; also held across fork(), and never
 *                                      while a guard is started
 *  11. log           (base/log.c)      who receives records
 * The mutexes of the poll backend and of a listener are leaves.
 * No callback of a user runs with any of them held.
 */
#ifndef SR_BASE_MUTEX_H
#define SR_BASE_MUTEX_H

#include "base/attr.h"

#include <pthread.h>
#include <stdint.h>

struct SR_CAPABILITY("mutex") sr_mutex {
    pthread_mutex_t raw;
};

#define SR_MUTEX_INIT                                                                              \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }

struct sr_cond {
    pthread_cond_t raw;
};

void sr_mutex_init(struct sr_mutex *self);
void sr_mutex_destroy(struct sr_mutex *self);
void sr_mutex_lock(struct sr_mutex *self) SR_ACQUIRES(*self);
void sr_mutex_unlock(struct sr_mutex *self) SR_RELEASES(*self);

/* Waits by the monotonic clock. */
void sr_cond_init(struct sr_cond *self);
void sr_cond_destroy(struct sr_cond *self);
void sr_cond_broadcast(struct sr_cond *self);
/* Returns 0, or -ETIMEDOUT at the deadline (sr_clock_ns(); SR_CLOCK_NEVER waits without end). */
int sr_cond_wait(struct sr_cond *self, struct sr_mutex *mutex, uint64_t deadline_ns)
    SR_REQUIRES(*mutex);

#endif
