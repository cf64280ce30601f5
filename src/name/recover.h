/* What a dead owner left behind, and who may remove it. */
#ifndef SR_NAME_RECOVER_H
#define SR_NAME_RECOVER_H

#include "name/lockfile.h"
#include "name/record.h"

/* A socket inode that somebody knows to be ours. */
struct sr_identity {
    bool is_known;
    dev_t device;
    ino_t inode;
    uint64_t born_ns; /* 0: not told; then an inode of that number may be a later one */
};

/* Who asks decides how much proof is needed. */
enum sr_recover_by {
    SR_RECOVER_RECORDED, /* only what was recorded or pinned: guard, sweep, the last holder */
    SR_RECOVER_RETIRED,  /* the same; the record stays, for its file is to go */
    SR_RECOVER_START,    /* also a socket of our user that nobody has bound */
    SR_RECOVER_ALONE,    /* the same, without sharing: one that somebody has bound is EBUSY */
};

/* Somebody has the socket bound, or may be about to, and it is not proven to be a zombie. */
#define SR_RECOVER_ALIVE 1

/*
 * Remove the socket and the control socket of a dead owner, with bytes 0 and 1 held. pinned is what
 * the caller knows of the owner's socket beside the record. Returns 0: nothing of sockref's stands
 * there now; SR_RECOVER_ALIVE; or, described, SOCKREF_EFOREIGN or -errno with nothing of others
 * touched. RECORDED leaves alone what it has no proof for, and returns 0.
 */
int sr_recover(const struct sr_lockfile *lock, const struct sr_place *place, const char *path,
               const struct sr_identity *pinned, enum sr_recover_by by);

/*
 * After the death of a holder, for guards, sweeps and the last release of a joiner: enter the lock
 * file, and where no owner is alive recover what is recorded or pinned; where no slot is busy
 * either, remove the lock file. Returns 0 (also where there was nothing to do), SR_LOCK_BUSY: try
 * again later, or a described status. *inout_removed becomes true where a file was removed.
 */
int sr_recover_name(const struct sr_place *place, const char *path,
                    const struct sr_identity *pinned, bool *inout_removed);

/* The same with byte 0 held already: for the last release of a joiner. Byte 0 stays held. */
int sr_recover_entered(struct sr_lockfile *lock, const struct sr_place *place, const char *path,
                       const struct sr_identity *pinned, bool *inout_removed);

/* Without a lock file: remove the socket at a path if it is the pinned one. 0 or described. */
int sr_recover_pinned(const struct sr_place *place, const char *path,
                      const struct sr_identity *pinned);

#endif
