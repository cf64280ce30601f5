/* Keeping what is in use from programs that remove old files. */
#ifndef SR_GUARD_KEEP_H
#define SR_GUARD_KEEP_H

#include "name/place.h"

#define SR_KEEP_EVERY_MS 3600000 /* they go by hours and days */

/*
 * Hold the lock that systemd-tmpfiles respects on the directory of a checked path, if that is one
 * of the default ones, in which nobody but sockref has files. Returns its descriptor, or -1.
 */
int sr_keep_directory(const struct sr_place *place, const char *path);
/* Give the files of every name that is watched over the time of now. */
void sr_keep_names(void);

#endif
