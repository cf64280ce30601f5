/*
 * Crash points: the boundaries of all system calls that the library makes. A point is the call, where it
 * was made from (some return addresses), before or after it, and which program made it. Points are
 * numbered on first sight, in a table that all processes of a run share; whether to be killed at one is
 * decided on the spot, sooner where a point has few hits.
 */
#ifndef TORTURE_CRASH_H
#define TORTURE_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CRASH_POINTS 16384 /* a power of two */
#define CRASH_FRAMES 3
#define CRASH_SLOTS  64
#define CRASH_PATHS  16
#define CRASH_RECENT 64
#define CRASH_GUARDS 4096

enum crash_image {
    CRASH_WORKER,
    CRASH_GUARD,
    CRASH_NODE,
    CRASH_PYTHON,
    CRASH_JAVA,
    CRASH_IMAGES
};

/* What a run counts. Those from FIRST_WRONG on must be 0. */
#define CRASH_COUNTERS(X)                                                                          \
    X(kills) X(group_kills) X(guard_kills) X(point_kills) X(guard_stops) X(owners) X(joins)        \
    X(hand_overs) X(losses) X(uses) X(releases) X(cleanups) X(sweeps) X(shutdowns) X(exits)        \
    X(guard_removals) X(guards) X(workers) X(foreign_binds) X(foreign_checks) X(refused_starts)    \
    X(rounds) X(left_alone)                                                                                   \
    X(two_owners) X(foreign_removed) X(lost_paths) X(stale_holders) X(failed_joins)                \
    X(failed_starts) X(slow_starts) X(no_answers) X(left_files) X(left_descriptors)                \
    X(left_processes) X(stuck) X(crashes)

enum crash_counter {
#define X(name) COUNT_##name,
    CRASH_COUNTERS(X)
#undef X
        CRASH_COUNTS
};
#define FIRST_WRONG COUNT_two_owners

struct crash_point {
    _Atomic uint64_t key; /* 0: free */
    atomic_bool ready;
    uint8_t image, member, after, depth;
    uint64_t frames[CRASH_FRAMES]; /* within the program */
    _Atomic uint32_t hits;
    _Atomic uint64_t seen;
};

/* One worker at a time. */
struct crash_slot {
    _Atomic pid_t pid;
    _Atomic pid_t group;
    _Atomic uint32_t life;
    _Atomic uint32_t dying; /* the life that is about to be killed or to end */
    _Atomic uint64_t beat_ns;
    _Atomic int doing, doing_path;
};

struct crash_table {
    uint64_t seed;
    uint64_t started_ns;
    uint32_t target;            /* hits that each point should get */
    uint32_t eager, rare;       /* one kill in so many passes: before the target is reached, and after */
    atomic_bool kills_workers;
    atomic_bool kills_guards;   /* then files may be left to the next start, or a sweep */
    atomic_bool stop;           /* workers are to end */
    _Atomic uint64_t kills_left;
    _Atomic uint64_t random;
    _Atomic uint64_t counters[CRASH_COUNTS];
    _Atomic uint64_t worst_start_ns, worst_quiet_ns;
    _Atomic uint32_t points_count, points_lost, next_guard;
    struct crash_slot slots[CRASH_SLOTS];
    _Atomic uint64_t owners[CRASH_PATHS]; /* who believes to own a path; 0: nobody */
    _Atomic uint32_t recent_at;
    struct {
        uint64_t ns;
        pid_t pid;
        uint32_t point;
        pid_t group; /* that was killed with it, or 0 */
    } recent[CRASH_RECENT];
    _Atomic pid_t guards[CRASH_GUARDS]; /* the latest */
    struct crash_point points[CRASH_POINTS];
};

extern struct crash_table *crash_table;

/* Map the table; make it, zeroed, where create. */
bool crash_open(const char *path, bool create);
/* Wrap the system calls of this process; slot -1: not a worker. */
void crash_arm(enum crash_image image, int slot, uint64_t seed);
/* Where set, it is asked in place of the table at every boundary; see torture-faults. Returns an errno
 * that the call is to fail with, before it, or 0. */
extern int (*crash_hook)(unsigned member, uint64_t key, bool after);
/* A boundary was reached. frames are return addresses, less the base of the program. */
void crash_at(unsigned member, const uint64_t *frames, unsigned depth, bool after);
const char *crash_member(unsigned member);
unsigned crash_members(void);

void crash_count(enum crash_counter counter);
/* Something that must not be: counted and told. */
void crash_wrong(enum crash_counter counter, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void crash_print_point(FILE *out, uint32_t index);
void crash_print_recent(FILE *out, unsigned count);
uint64_t crash_now(void);
/* The worker of a slot, and those of its group if asked for, are about to be killed. */
void crash_mark_dying(int slot, bool group);

#endif
