/*
 * The guard: a helper process that removes what this process leaves behind when it is killed. It is
 * told of a name before anything of it exists, of the socket's inode once that is bound, and when
 * nothing is left of it. There is one for the process, started with the first name; one that is
 * dead or does not listen is replaced, and told all again.
 */
#ifndef SR_NAME_GUARD_H
#define SR_NAME_GUARD_H

#include "base/list.h"
#include "name/place.h"

#include <stdbool.h>
#include <stdint.h>

/* One name that is watched over; embedded in what it is for. */
struct sr_guarded {
    struct sr_list node;
    uint64_t id;      /* 0: not watched over */
    int dir;          /* of the place: borrowed, open until the name is forgotten */
    uid_t user;       /* of the place */
    const char *path; /* borrowed as well */
    bool has_lock;    /* there is a lock file; else only the pinned inode is removed */
    bool is_told;     /* the guard of now knows it */
    bool is_pinned;
    bool is_pin_told;
    dev_t device;
    ino_t inode;
};

/*
 * Have a name watched over; starts the guard if need be. Returns 0, or a described status when
 * there is no guard and none could be started: then nothing is kept, and the name goes without.
 */
int sr_guard_watch(struct sr_guarded *self, const struct sr_place *place, const char *path,
                   bool has_lock);

/* How a start waits for the guard to answer; zero before its first try. */
struct sr_guard_wait {
    uint64_t until_ns; /* 0: it does not wait */
    bool was_late;     /* that was moved on */
    unsigned refused;  /* programs that were no guard */
};

#define SR_GUARD_SILENT 1 /* it has not answered yet */

/*
 * Whether the guard has said that it is one, for what was started may be another program, or end at
 * once. Returns 0; SR_GUARD_SILENT: to be tried again, without a limit, for there is one here; or a
 * described status when no program does.
 */
int sr_guard_confirm(struct sr_guard_wait *wait);
/*
 * Tell the guard the inode of the socket that was just bound there. fd: an O_PATH descriptor of it;
 * -1: it is looked for.
 */
void sr_guard_pin(struct sr_guarded *self, dev_t device, ino_t inode, int fd);
/* The inode is not held any more, so its number may get another meaning: no later guard is told. */
void sr_guard_unpin(struct sr_guarded *self);
/* Nothing is left of it. Waits for nobody. Does nothing if it is not watched over. */
void sr_guard_forget(struct sr_guarded *self);

/* The guard's process id, 0 if none was needed yet, or the status of the last failure to start one.
 */
int sr_guard_status(void);
/* Around fork(): keep the list of names whole. In the child the guard is the parent's. */
void sr_guard_before_fork(void);
void sr_guard_after_fork_in_parent(void);
void sr_guard_after_fork(void);

#endif
