/* The names in a directory. */
#ifndef SR_NAME_LISTING_H
#define SR_NAME_LISTING_H

#include "name/place.h"

#include <stddef.h>

struct sr_listing {
    char **leaves; /* in order */
    size_t count;
};

/*
 * The names that have a socket or a lock file in the directory of a place. Where a lock file does
 * not tell its leaf and no file has such a one, its leaf is one that leads to the same lock file.
 * What would be no name behind the path of the directory is left out. Returns 0 or a described
 * status, with nothing to free.
 */
int sr_listing_read(const struct sr_place *place, const char *directory, struct sr_listing *out);
void sr_listing_free(struct sr_listing *self);

#endif
