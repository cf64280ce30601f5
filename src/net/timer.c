/*
 * A pairing heap: each timer is not later than its children, children are a list of siblings. Every
 * timer knows the pointer that leads to it, so any one can be cut out.
 */
#include "net/timer.h"

#include "base/attr.h"
#include "base/clock.h"
#include "ref/fork.h"

#include <stddef.h>

static void hang(struct sr_timer **link, struct sr_timer *timer)
{
    *link = timer;
    if (timer)
        timer->link = link;
}

/* Join two heaps; the roots have no siblings. */
static struct sr_timer *meld(struct sr_timer *a, struct sr_timer *b)
{
    struct sr_timer *later;

    if (!a || !b)
        return a ? a : b;
    if (b->when_ns < a->when_ns) {
        later = a;
        a = b;
    } else {
        later = b;
    }
    hang(&later->next, a->child);
    hang(&a->child, later);
    return a;
}

/* Join a list of siblings: in pairs from the left, then all from the right. */
static struct sr_timer *meld_all(struct sr_timer *list)
{
    struct sr_timer *pairs = NULL, *all = NULL, *a, *b;

    while (list) {
        a = list;
        b = a->next;
        list = b ? b->next : NULL;
        a->next = NULL;
        if (b)
            b->next = NULL;
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs) {
        a = pairs;
        pairs = a->next;
        a->next = NULL;
        all = meld(all, a);
    }
    return all;
}

void sr_timer_add(struct sr_timers *timers, struct sr_timer *self, uint64_t when_ns)
{
    sr_timer_remove(timers, self);
    self->when_ns = when_ns;
    self->child = self->next = NULL;
    hang(&timers->first, meld(timers->first, self));
}

void sr_timer_remove(struct sr_timers *timers, struct sr_timer *self)
{
    struct sr_timer *children;

    if (!self->link)
        return;
    hang(self->link, self->next);
    self->link = NULL;
    self->next = NULL;
    children = meld_all(self->child);
    self->child = NULL;
    hang(&timers->first, meld(timers->first, children));
}

uint64_t sr_timer_next(const struct sr_timers *timers)
{
    return timers->first ? timers->first->when_ns : SR_CLOCK_NEVER;
}

static unsigned generation_now(void)
{
    return atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

void sr_timer_run(struct sr_timers *timers, uint64_t now_ns)
{
    const unsigned generation = generation_now();
    struct sr_timer *timer;

    /* What fires adds itself again for a later time than now, so this ends. */
    while ((timer = timers->first) != NULL && timer->when_ns <= now_ns) {
        sr_timer_remove(timers, timer);
        timer->fire(timer);
        if (SR_UNLIKELY(generation != generation_now()))
            return;
    }
}
