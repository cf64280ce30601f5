/* The directories of the torture, on the file systems that can be had. */
#ifndef TORTURE_ARENA_H
#define TORTURE_ARENA_H

#include "torture/worker.h"

#include <stdbool.h>
#include <stddef.h>

struct arena {
    const char *name; /* of the file system */
    char base[160];
    bool has_sticky;
};

#define ARENAS_MOST 3

extern struct arena arenas[ARENAS_MOST];
extern int arenas_count;
/* What could not be had, and why; "" where there is nothing. */
extern char arenas_skipped[400];
extern unsigned arenas_skipped_count;

void arenas_choose(void);
void arenas_remove(void);
/* Paths of a round, in torture_paths. */
void arena_choose_paths(const struct arena *arena, const struct torture_profile *profile);
bool arena_make_directory(char out[160], const char *where);
void arena_remove_tree(const char *path);
/* Count what is left, and tell it, removed by a sweep and a start first if it may be. */
void arena_check_left(const struct arena *arena, bool strict);

#endif
