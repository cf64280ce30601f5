/* The names that the guard watches over. */
#ifndef SR_GUARD_WATCHED_H
#define SR_GUARD_WATCHED_H

#include "name/place.h"
#include "name/recover.h"

#include <stdbool.h>
#include <stdint.h>

/* Names of one user in one directory share one descriptor of it. */
struct sr_watched_dir {
    struct sr_watched_dir *next;
    struct sr_place place;
    int kept; /* what holds the lock that keeps cleaners out; -1: none */
    unsigned names;
};

struct sr_watched {
    struct sr_watched *next; /* of its bucket */
    uint64_t id;
    struct sr_watched_dir *dir;
    bool has_lock;
    struct sr_identity pinned; /* known while inode is held: the number means no other one */
    int inode;                 /* O_PATH; -1: none */
    char path[];               /* checked */
};

/* Each takes the descriptor, which may be -1. What can't be done is left out. */
void sr_watched_add(uint64_t id, const char *path, bool has_lock, uid_t user, int dir);
void sr_watched_pin(uint64_t id, dev_t device, ino_t inode, int fd);
void sr_watched_forget(uint64_t id);

/* Forget every name that is settled; returns how many are left. */
size_t sr_watched_settle(bool (*is_settled)(struct sr_watched *name));

#endif
