/* What dead processes left in a directory. */
#ifndef SR_NAME_SWEEP_H
#define SR_NAME_SWEEP_H

#include <stdint.h>

/*
 * Remove sockets of this user with a default leaf that no process has bound. Returns 0, or the
 * first described failure; goes on after one. The path must be a checked directory path.
 */
int sr_sweep_directory(const char *directory, uint64_t *inout_count);

#endif
