/*
 * Crash points: the boundaries of the system calls that the library makes. A point is the call,
 * where in the library it is made, and whether it is before or after it; after a call that changes
 * nothing for anybody else there is none, since the one before the next call is the same. Points
 * are numbered on first sight, in a table that all processes of a run share; whether to be killed
 * at one is decided on the spot.
 */
#ifndef TORTURE_CRASH_H
#define TORTURE_CRASH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define CRASH_POINTS 4096 /* a power of two */
#define CRASH_TEAMS  4
#define CRASH_SLOTS  16 /* of a team */
#define CRASH_PATHS  16
#define CRASH_RECENT 64
#define CRASH_GUARDS 256
#define CRASH_KINDS  32
#define CRASH_THIN   48

/* The programs that have the wrapped system calls in them. */
enum crash_image {
    CRASH_WORKER,
    CRASH_GUARD,
    CRASH_AGENT, /* the shared library, in a process of another language */
    CRASH_IMAGES
};

/* What a run counts. Those from FIRST_WRONG on must be 0. */
/* clang-format off */
#define CRASH_COUNTERS(X)                                                                          \
    X(kills) X(point_kills) X(group_kills) X(guard_kills) X(agent_kills) X(guard_stops) X(worker_stops)            \
    X(owners) X(joins) X(hand_overs) X(losses) X(uses) X(releases) X(cleanups) X(sweeps)           \
    X(shutdowns) X(exits) X(guard_removals) X(guards) X(workers) X(agents) X(foreign_binds)        \
    X(foreign_checks) X(refused_starts) X(rounds) X(wrong_rounds) X(left_alone) X(kept_files) X(two_owners)      \
    X(foreign_removed) X(lost_paths) X(stale_holders) X(failed_joins) X(failed_starts)             \
    X(slow_starts) X(no_answers) X(left_files) X(left_locks) X(left_descriptors) X(bad_closes)     \
    X(left_processes) X(stuck) X(crashes)
/* clang-format on */

enum crash_counter {
#define X(name) COUNT_##name,
    CRASH_COUNTERS(X)
#undef X
        CRASH_COUNTS
};
#define FIRST_WRONG COUNT_two_owners

extern const char *const crash_counter_names[CRASH_COUNTS];

/* Functions that a safeguard is removed in, see ablate.c, or that some kills are directed at. */
#define CRASH_FUNCTIONS(X)                                                                         \
    X(leads_here)                                                                                  \
    X(check_opened)                                                                                \
    X(connect_inode)                                                                               \
    X(rename_aside) X(remove_aside_once) X(remove_target) X(sr_control_connect) X(succeed)

enum crash_function {
#define X(name) FUNCTION_##name,
    CRASH_FUNCTIONS(X)
#undef X
        FUNCTIONS
};

extern const char *const crash_function_names[FUNCTIONS];

struct crash_range {
    uint64_t from, to; /* within the program */
};

struct crash_point {
    _Atomic uint64_t key; /* all of what it is; 0: free */
    _Atomic uint32_t hits, passes;
    _Atomic uint32_t passes_in[CRASH_KINDS];
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

/* Processes that share names. Teams know nothing of each other. */
struct crash_team {
    uint32_t round, kind;      /* of now */
    enum crash_function focus; /* where kills are frequent; FUNCTIONS: nowhere */
    _Atomic uint32_t common;   /* passes of a point that is not rare any more */
    atomic_bool kills;         /* workers may be killed */
    atomic_bool kills_guards;  /* then files may be left to the next start, or a sweep */
    atomic_bool stop;          /* workers are to end */
    _Atomic uint64_t wrong;
    struct crash_slot slots[CRASH_SLOTS];
    _Atomic uint64_t owners[CRASH_PATHS]; /* who believes to own a path; 0: nobody */
    _Atomic uint32_t recent_at;
    struct {
        uint64_t ns;
        pid_t pid;
        uint64_t key;
        pid_t group; /* that was killed with it, or 0 */
    } recent[CRASH_RECENT];
    _Atomic uint32_t next_guard;
    _Atomic pid_t guards[CRASH_GUARDS]; /* the latest */
};

struct crash_table {
    uint64_t seed;
    uint64_t kills;        /* of the whole run */
    uint32_t target;       /* hits that each point should get */
    uint32_t patience_ms;  /* of a start */
    _Atomic uint32_t rare; /* elsewhere, one kill in so many passes */
    int ablation;          /* the safeguard that is removed; 0: none */
    _Atomic uint32_t rounds;
    _Atomic uint64_t counters[CRASH_COUNTS];
    _Atomic uint64_t worst_start_ns, worst_quiet_ns;
    _Atomic uint32_t points_count, points_lost;
    /* Wrappers within the library: a call belongs to their callers. */
    struct crash_range thin[CRASH_IMAGES][CRASH_THIN];
    struct crash_range functions[CRASH_IMAGES][FUNCTIONS];
    char on[100], skipped[400]; /* file systems */
    unsigned skipped_count;
    struct crash_team teams[CRASH_TEAMS];
    _Atomic uint64_t kind_ns[CRASH_KINDS]; /* how long there were rounds of this kind */
    struct crash_point points[CRASH_POINTS];
};

extern struct crash_table *crash_table;
extern struct crash_team *crash_team; /* of this process */

/* Map the table; make it, zeroed, where create. */
bool crash_open(const char *path, bool create);
/* The team that this process belongs to; the first one without it. */
void crash_join(int team);
/* From now on this process may be killed at the points it passes; slot -1: not a worker. */
void crash_begin(enum crash_image image, int slot, uint64_t seed);
/* A boundary was reached. */
void crash_pass(uint64_t key);
uint64_t crash_now(void);
uint64_t crash_draw(uint64_t below);

void crash_count(enum crash_counter counter);
void crash_worst(_Atomic uint64_t *worst, uint64_t value);
/* Something that must not be: counted and told. */
void crash_wrong(enum crash_counter counter, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void crash_print_point(FILE *out, uint64_t key);
/* What it is, whatever its number: the program, the call, and the function that makes it. */
void crash_name_point(uint64_t key, char out_image[8], char out_member[20], char out_function[60]);
/* The worker of a slot, and those of its group if asked for, are about to be killed. */
void crash_mark_dying(int slot, bool group);
/* Whether this process was marked so. */
bool crash_is_ending(void);

/* ---- wrap.c: the wrapped system calls ---- */

/* Put the wrappers into the table of system calls of this process. */
void crash_wrap(enum crash_image image);
/* Where set, it is asked in place of the table at every boundary; see faults.c. Returns an errno
 * that the call is to fail with, before it, or 0. */
extern int (*crash_hook)(unsigned member, uint64_t key, bool after);
const char *crash_member(unsigned member);
unsigned crash_member_of(uint64_t key);
bool crash_is_after(uint64_t key);
enum crash_image crash_image_of(uint64_t key);
uint64_t crash_site_of(uint64_t key); /* a return address within the program */
/* Whether the call that this thread makes is made in this function. */
bool crash_is_in(enum crash_function function);
bool crash_is_site_in(uint64_t key, enum crash_function function);

/* ---- ablate.c ---- */

struct sr_sys;
/* Replace members by those that do without the safeguard of the table. */
void crash_ablate(struct sr_sys *inout_sys);
/* The number of a safeguard by its name; 0: there is none. NULL in place of a name after the last.
 */
int crash_ablation(const char *name);
const char *crash_ablation_name(int number);
/* Whether this is what the safeguard of the table keeps from happening; or from never happening. */
bool crash_ablation_shows(enum crash_counter counter);
bool crash_ablation_lacks(enum crash_counter counter);

/* ---- symbols.c ---- */

/* Read the functions of a program, and put into the table where those are that matter to it.
 * Returns what is wrong, or NULL. */
const char *symbols_load(enum crash_image image, const char *program);
/* The function around an address, and the distance from its begin. */
const char *symbols_find(enum crash_image image, uint64_t address, uint64_t *out_distance);

#endif
