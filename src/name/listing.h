/* What stands in a directory, and which names its lock files go with. */
#ifndef SR_NAME_LISTING_H
#define SR_NAME_LISTING_H

#include "name/place.h"

#include <dirent.h>
#include <stdbool.h>

/* Open the directory of a place to read it, with further flags for open(). NULL: errno says why. */
DIR *sr_listing_open(const struct sr_place *place, int flags);
/* Whether a file has the name of a lock file, ".LEAF.srlock". */
bool sr_listing_is_lock(const char *name);
/* The leaf that the name of such a file tells, SR_LEAF_MAX + 1 bytes. */
void sr_listing_told_leaf(const char *lock_name, char *out);
/*
 * The leaf that such a lock file goes with, SR_LEAF_MAX + 1 bytes. The name of the file tells it,
 * unless it is a long one: then a file is looked for that has such a leaf. Where there is none the
 * leaf is one that leads to the same lock file. Returns 0 or a described status.
 */
int sr_listing_find_leaf(const struct sr_place *place, const char *lock_name, char *out);

#endif
