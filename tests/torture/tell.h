/* What is told at the end of a run. */
#ifndef TORTURE_TELL_H
#define TORTURE_TELL_H

#include "torture/crash.h"

#include <stdbool.h>
#include <stdint.h>

/* Points; those with less kills than wanted, without an excuse and with one; those whose excuse is
 * not true; and the least kills of those without one. */
struct tell_points {
    unsigned count, under, excused, not_excused, least;
};

/* Returns what is wrong with the file, or NULL. */
const char *tell_read_excuses(const char *path);

bool tell_is_excused(const struct crash_point *point);
void tell_points(unsigned wanted, struct tell_points *out);
/* All that must be zero; without a safeguard, what that shows by. */
uint64_t tell_wrong(void);
/* Note the file systems of this process, for the closing lines. */
void tell_places(void);
/* The closing lines. Returns whether all is well. */
bool tell_end(unsigned wanted, double seconds);

#endif
