/* What the driver and its processes share. */
#ifndef TORTURE_WORKER_H
#define TORTURE_WORKER_H

#include "torture/crash.h"

#include <stdbool.h>
#include <stdint.h>

enum path_class {
    PLAIN,   /* shared by all workers */
    ALONE,   /* with SHARE 0 */
    FOREIGN, /* a process that does not use the library is there as well */
};

struct torture_path {
    char text[200];
    enum path_class class;
    bool sticky; /* in a directory where others may add files */
};

extern struct torture_path torture_paths[];
extern int torture_paths_count;

/* Permissions of the files of others, by which they are told from the library's. */
#define FOREIGN_MODE 0640

/* What workers do: of 1000 actions so many; the rest is waiting. */
struct torture_mix {
    uint32_t start, release, use, revoke, sweep, shut, fork, finish;
};

/* A sort of round. */
struct torture_profile {
    const char *name;
    const struct torture_mix *mix;
    uint32_t paths;      /* the first so many */
    uint32_t favourite;  /* every other start is at one of the first so many */
    uint32_t serve_in;   /* one start in so many is served */
    uint32_t foreigners; /* each has paths of its own */
    bool is_hasty;       /* they replace and remove all the time */
    bool only_sticky;
    bool stops;    /* workers are stopped for a while */
    bool relays;   /* they hold a name for a moment only */
    bool abandons; /* they end with all that they have */
    bool focused;
    enum crash_function focus; /* where focused: many kills are there */
};

extern const struct torture_profile *torture_profile;

/* A worker in C, until it is killed or has ended. Never returns. */
void torture_worker(int slot, uint64_t seed) __attribute__((noreturn));
/* A process that uses paths of class FOREIGN without the library: of some, one in each. Never
 * returns. */
void torture_foreigner(uint64_t seed, int number) __attribute__((noreturn));
/* Drives an agent in another language, until all are to stop. Never returns. */
void torture_shepherd(int slot, uint64_t seed, const char *command) __attribute__((noreturn));

#endif
