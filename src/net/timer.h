/* Timers of a loop: an intrusive pairing heap, so that adding one never fails. Loop thread only. */
#ifndef SR_NET_TIMER_H
#define SR_NET_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct sr_timer {
    struct sr_timer *child, *next; /* the first child, the next sibling */
    struct sr_timer **link;        /* what points at this one; NULL: it is not running */
    uint64_t when_ns;
    void (*fire)(
        struct sr_timer *self); /* the timer has been removed, and may be added again or freed */
};

struct sr_timers {
    struct sr_timer *first;
};

static inline bool sr_timer_is_running(const struct sr_timer *self)
{
    return self->link != 0;
}

/* Start one, or move one that runs. */
void sr_timer_add(struct sr_timers *timers, struct sr_timer *self, uint64_t when_ns);
/* Stop one; nothing if it does not run. */
void sr_timer_remove(struct sr_timers *timers, struct sr_timer *self);
/* When the next one is due; SR_CLOCK_NEVER if there is none. */
uint64_t sr_timer_next(const struct sr_timers *timers);
/* Fire all that are due at a moment; after one that forked, no more in the child. One that adds
 * itself again must do so for a later moment. */
void sr_timer_run(struct sr_timers *timers, uint64_t now_ns);

#endif
