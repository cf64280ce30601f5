/*
 * The lock file of a name, ".NAME.srlock" beside its socket. Bytes of it are locked by open file
 * description, so the kernel frees them with the process, and two descriptors of one process see
 * each other:
 *
 *     byte 0           the right to change what stands at the name; short
 *     byte 1           there is an owner; as long as it listens
 *     byte 2           the slot of an owner that has started the name: taken with bytes 0 and 1,
 *                      and freed before byte 1 is
 *     byte 3           a hand-over is being written down; short
 *     from byte 1000   one slot for each other holder
 *
 * A lock file may be unlinked and made anew. A lock of byte 0 counts only while the file's name
 * leads to the file that was locked; whoever removes the file holds byte 0.
 */
#ifndef SR_NAME_LOCKFILE_H
#define SR_NAME_LOCKFILE_H

#include "name/place.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum {
    SR_BYTE_CHANGE = 0,
    SR_BYTE_OWNER = 1,
    SR_BYTE_FIRST = 2,    /* a slot */
    SR_BYTE_HEIR = 3,     /* who has byte 1 by a hand-over, until the record tells of it */
    SR_BYTE_SLOTS = 1000, /* and all after it */
};

#define SR_LOCK_BUSY 1 /* somebody else has the byte */

struct sr_lockfile {
    int fd; /* noted; -1: not open */
    dev_t device;
    ino_t inode;
    bool is_blank; /* nothing was ever written to it when byte 0 was taken */
};

#define SR_LOCKFILE_NAME_MAX 96
/* The name of a file that goes with a leaf: ".LEAF<suffix>", or by a hash where that is too long.
 */
void sr_lockfile_name(const char *leaf, const char *suffix, char out[SR_LOCKFILE_NAME_MAX]);

/*
 * Open the lock file of a checked path, lock byte 0 and see that the name still leads to it. With
 * create it is made if it is missing, else -ENOENT is returned, not described. Returns 0,
 * SR_LOCK_BUSY with nothing kept, or a described status. Never waits.
 */
int sr_lockfile_enter(const struct sr_place *place, const char *path, bool create,
                      struct sr_lockfile *out);
/* What was locked beside byte 0. */
struct sr_taken {
    bool is_owner; /* byte 1 */
    int64_t slot;  /* or 0 */
};
/* The same with create, but byte 1 is locked as well where it is free, and mostly a slot with it.
 */
int sr_lockfile_enter_to_own(const struct sr_place *place, const char *path,
                             struct sr_lockfile *out, struct sr_taken *out_taken);
/* Lock byte 0 of one that is open. Returns 0, SR_LOCK_BUSY, or a described status. Never waits. */
int sr_lockfile_reenter(struct sr_lockfile *self, const char *path);
/* The same, but BUSY as well where anybody else has any byte, a slot for example. */
int sr_lockfile_reenter_alone(struct sr_lockfile *self, const char *path);
/* Whether the lock file's name still leads to this one, or that can't be told. */
bool sr_lockfile_is_current(const struct sr_lockfile *self, const struct sr_place *place,
                            const char *path);
enum sr_lock_name { SR_LOCK_NAMES_THIS, SR_LOCK_NAMES_ANOTHER, SR_LOCK_NAMES_NONE };
/* What the lock file's name leads to: an enum sr_lock_name, or -errno, not described. */
int sr_lockfile_find_name(const struct sr_lockfile *self, const struct sr_place *place,
                          const char *path);
void sr_lockfile_leave(struct sr_lockfile *self); /* free byte 0 */

/* Describe and return that /proc is missing, by way of which the others are asked. */
int sr_lockfile_refuse_without_proc(const char *path);

/* Whether a file at such a name is a lock file of the place's user, which nobody else could change.
 */
bool sr_lockfile_is_ours(const struct sr_place *place, const struct stat *info);

/* Lock one byte. Returns 0, SR_LOCK_BUSY, or a described status. Never waits. */
int sr_lockfile_take(struct sr_lockfile *self, const char *path, int64_t byte);
void sr_lockfile_free(struct sr_lockfile *self, int64_t byte);
/* Take a slot that is free, with a random number to begin with; returns its byte, or a described
 * status. */
int64_t sr_lockfile_take_slot(struct sr_lockfile *self, const char *path, uint64_t random);
/* Whether somebody else has started the name, owns it and holds it; where it can't be told: no. */
bool sr_lockfile_has_starter(const struct sr_lockfile *self);
/* Whether somebody else has the owner's byte, or a slot; where it can't be told: yes. */
bool sr_lockfile_has_owner(const struct sr_lockfile *self);
bool sr_lockfile_has_slots(const struct sr_lockfile *self);
#define SR_LOCK_MORE   1
#define SR_COUNTING_NS 200000000u /* so long a caller may be held by it */
/* Count the slots that others have, for some time at most. Returns 0; SR_LOCK_MORE where there may
 * be more than were counted by then; or -errno, not described. */
int sr_lockfile_count_slots(const struct sr_lockfile *self, uint64_t most_ns, uint64_t *out_count);

/* What others have of it at this moment; no byte is taken, and a descriptor to read is enough. */
struct sr_locks {
    bool changing, owner; /* bytes 0 and 1 */
};
/* Ask for that. Returns 0 or -errno, not described. */
int sr_lockfile_look(const struct sr_lockfile *self, struct sr_locks *out);

/* Remove the file, if its name still leads to it; byte 0 must be held. 0 or a described status. */
int sr_lockfile_unlink(const struct sr_lockfile *self, const struct sr_place *place,
                       const char *path);
/* The same where that has just been looked at. */
int sr_lockfile_unlink_name(const struct sr_place *place, const char *path);
/*
 * After a start that failed: the same, unless somebody has a slot or byte 1, or the record tells of
 * what a dead owner left. A failure is logged, the thread's error stays.
 */
void sr_lockfile_discard(const struct sr_lockfile *self, const struct sr_place *place,
                         const char *path);
/* Free every byte, then close; nothing if it is not open. */
void sr_lockfile_close(struct sr_lockfile *self);

#endif
