/* Time: the monotonic clock only. */
#include "base/clock.h"

#include <time.h>

#define LATE_NS 100000000u /* also how far it is moved on */

uint64_t sr_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sr_clock_after_ms(int64_t milliseconds)
{
    if (milliseconds < 0)
        return SR_CLOCK_NEVER;
    return sr_clock_ns() + (uint64_t)milliseconds * 1000000u;
}

bool sr_clock_is_over(uint64_t *inout_deadline)
{
    uint64_t now = sr_clock_ns();

    if (now < *inout_deadline)
        return false;
    if (now - *inout_deadline < LATE_NS)
        return true;
    *inout_deadline = now + LATE_NS;
    return false;
}

bool sr_clock_is_over_once(uint64_t *inout_deadline, bool *inout_was_late)
{
    const uint64_t deadline = *inout_deadline;
    bool over;

    if (*inout_was_late)
        return sr_clock_ns() >= deadline;
    over = sr_clock_is_over(inout_deadline);
    *inout_was_late = *inout_deadline != deadline;
    return over;
}
