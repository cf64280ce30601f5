/*
 * What can be told of a name from outside: who owns it, how many hold it, what was left. Nothing is
 * changed: no lock is taken, no file made or written, and nobody is connected to.
 */
#ifndef SR_NAME_INSPECT_H
#define SR_NAME_INSPECT_H

#include "name/listing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum sr_inspect_state {
    SR_INSPECT_ABSENT,   /* nothing stands there */
    SR_INSPECT_STARTING, /* an owner is about to bind it */
    SR_INSPECT_LIVE,     /* an owner listens */
    SR_INSPECT_DYING,    /* there is no owner to join, and yet something of one is alive */
    SR_INSPECT_STALE,    /* a dead owner left it */
    SR_INSPECT_UNSHARED, /* a socket that no lock file tells of */
    SR_INSPECT_FOREIGN,  /* something that sockref did not make, or can't trust */
};

enum sr_inspect_bound { SR_INSPECT_UNBOUND, SR_INSPECT_BOUND, SR_INSPECT_UNCLEAR };

struct sr_inspected {
    enum sr_inspect_state state;
    enum sr_inspect_bound bound; /* whether somebody has the socket at the path */
    const char *note;            /* a sentence that says more, static; NULL: there is no more */
    bool has_lock;               /* its locks and its record were read */
    uint64_t holders;            /* over all processes, where it has a lock file */
    uint64_t pid;                /* of the owner, living or dead; 0: not told */
    char program[16];            /* its name; "": not told */
    bool has_user;
    uid_t user; /* whose lock file or socket it is */
};

/*
 * Inspect a path or an abstract name. A name that is changing is waited for, a fifth of a second at
 * most, and all names together no longer than the patience that is given, and taken from. Returns
 * 0, or a described status where that can't be told.
 */
int sr_inspect_name(const char *path, uint64_t *inout_patience_ns, struct sr_inspected *out);

/* The names in a directory, whoever may change it. Returns 0 or a described status. */
int sr_inspect_directory(const char *directory, struct sr_listing *out);

#endif
