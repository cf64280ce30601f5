/* What is told at the end of a run. */
#ifndef TORTURE_TELL_H
#define TORTURE_TELL_H

#include <stdbool.h>
#include <stdint.h>

/* Points, those with less kills than wanted, and those that nobody passes often enough for it; the
 * least kills of the others. */
struct tell_points {
    unsigned count, under, rare, least;
};

void tell_points(unsigned wanted, struct tell_points *out);
/* All that must be zero; without a safeguard, what that shows by. */
uint64_t tell_wrong(void);
/* The closing lines. Returns whether all is well. */
bool tell_end(unsigned wanted, double seconds);

#endif
