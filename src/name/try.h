/* One try to start a name: what its parts share. start.c and join.c alone use it. */
#ifndef SR_NAME_TRY_H
#define SR_NAME_TRY_H

#include "name/record.h"
#include "name/share.h"

struct sr_try {
    struct sr_place *place;
    const char *path;
    const struct sr_wish *wish;
    struct sr_patience *patience;
    struct sr_share *share;
    struct sr_sockfile file;
    struct sr_record record; /* of the owner that was found */
};

/* To be tried again; what is described now is for the case that there is no more time. */
int sr_try_later(struct sr_try *try, int status);
int sr_try_later_changing(struct sr_try *try);
/* Describe a status, and who owns the name. */
int sr_try_describe_owner(const struct sr_try *try, int status, const char *what);

/*
 * Byte 1 is busy, and byte 0 held: join its owner, or find that it is not alive. Returns
 * SR_SHARE_JOINED, SR_SHARE_LATER or a described status.
 */
int sr_try_join(struct sr_try *try);

#endif
