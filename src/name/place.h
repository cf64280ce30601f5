/* A place: the directory of a name, pinned by a descriptor, and the last component in it. */
#ifndef SR_NAME_PLACE_H
#define SR_NAME_PLACE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SR_LEAF_MAX 255

struct sr_place {
    int dir;      /* O_PATH, noted; -1 for a name that is no file */
    bool shared;  /* others may put files there: remove by rename-aside */
    dev_t device; /* of the directory */
    ino_t inode;
    uid_t user; /* whose names are looked for there: the effective one of this process */
};

/* Open and pin the directory of a checked path, and check that nobody else could change it. */
int sr_place_open(const char *path, struct sr_place *out_place);
/* The same, but one that others could change is none the worse: it is shared with them. */
int sr_place_open_any(const char *path, struct sr_place *out_place);
/* The same for a checked directory itself. */
int sr_place_open_directory(const char *directory, struct sr_place *out_place);
int sr_place_open_any_directory(const char *directory, struct sr_place *out_place);
/* Take a directory that a process of a user has opened and checked: 0 or -errno, nothing described.
 */
int sr_place_from_fd(int dir, uid_t user, struct sr_place *out_place);
void sr_place_close(struct sr_place *self);
/* Only look where the directory of a checked path is now: 0 or -errno, nothing described. */
int sr_place_find(const char *path, dev_t *out_device, ino_t *out_inode);

/* Whether a leaf leads to an inode: 1, 0, or -errno where that can't be told. */
int sr_place_leads_to(const struct sr_place *self, const char *leaf, dev_t device, ino_t inode);
/* Whether it is sure that nothing stands there. */
bool sr_place_lacks(const struct sr_place *self, const char *leaf);
/* Whether this user may use what stands at a path so: R_OK, W_OK, X_OK, or-ed. */
bool sr_place_allows(const char *path, int mode);

/*
 * The default directory, made if it is missing: the first of preferred (may be NULL), $SOCKREF_DIR,
 * $XDG_RUNTIME_DIR/sockref, /run/user/UID/sockref, $TMPDIR/sockref-UID, /tmp/sockref-UID that is
 * ours alone, writable and short enough. Returns 0 and a malloc'ed path without trailing slash, or
 * a described status.
 */
int sr_place_default(const char *preferred, char **out_path);
/* The same, but nothing is made: the one that would be chosen may be missing. */
int sr_place_find_default(const char *preferred, char **out_path);
/* Make the directory of a default name again that somebody has removed. Returns whether it will do.
 */
bool sr_place_renew(const char *path);

#endif
