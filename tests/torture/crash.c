/*
 * The table of crash points, and who is killed where.
 *
 * All points should get about as many kills, though some are passed at every start and others once
 * in ten thousand. So most passes of those that are passed often are not kills, while others have
 * too few: a process that is killed early never comes to where it is rarely that one comes. Beside
 * that a few passes are kills wherever they are.
 */
#include "torture/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SELDOM 1000 /* passes */

const char *const crash_counter_names[CRASH_COUNTS] = {
#define X(name) #name,
    CRASH_COUNTERS(X)
#undef X
};

const char *const crash_function_names[FUNCTIONS] = {
#define X(name) #name,
    CRASH_FUNCTIONS(X)
#undef X
};

struct crash_table *crash_table;
struct crash_team *crash_team;

static int own_slot = -1;
static pid_t own_pid; /* a forked child has another one */
static uint64_t own_seed;
static _Thread_local uint64_t random_state;

bool crash_open(const char *path, bool create)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
    void *at;

    if (fd < 0)
        return false;
    if (create && ftruncate(fd, sizeof *crash_table) < 0) {
        close(fd);
        return false;
    }
    at = mmap(NULL, sizeof *crash_table, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    crash_table = at == MAP_FAILED ? NULL : at;
    crash_team = crash_table ? &crash_table->teams[0] : NULL;
    return crash_table != NULL;
}

void crash_join(int team)
{
    crash_team = &crash_table->teams[team >= 0 && team < CRASH_TEAMS ? team : 0];
}

uint64_t crash_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t crash_draw(uint64_t below)
{
    if (random_state == 0)
        random_state = (own_seed ^ (uint64_t)syscall(SYS_gettid) * 0x9e3779b97f4a7c15u) | 1;
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1du >> 16) % below;
}

void crash_count(enum crash_counter counter)
{
    atomic_fetch_add(&crash_table->counters[counter], 1);
}

void crash_worst(_Atomic uint64_t *worst, uint64_t value)
{
    uint64_t before = atomic_load(worst);

    while (value > before && !atomic_compare_exchange_weak(worst, &before, value))
        continue;
}

void crash_mark_dying(int slot, bool group)
{
    struct crash_slot *slots = crash_team->slots;
    pid_t pgid = atomic_load(&slots[slot].group);

    atomic_store(&slots[slot].dying, atomic_load(&slots[slot].life));
    for (int i = 0; group && i < CRASH_SLOTS; i++)
        if (atomic_load(&slots[i].group) == pgid)
            atomic_store(&slots[i].dying, atomic_load(&slots[i].life));
}

bool crash_is_ending(void)
{
    const struct crash_slot *slot = &crash_team->slots[own_slot < 0 ? 0 : own_slot];

    return own_slot >= 0 && atomic_load(&slot->dying) == atomic_load(&slot->life);
}

void crash_begin(enum crash_image image, int slot, uint64_t seed)
{
    own_slot = slot;
    own_pid = getpid();
    own_seed = seed;
    random_state = 0;
    crash_wrap(image);
}

static struct crash_point *find(uint64_t key)
{
    uint64_t at = key * 0x9e3779b97f4a7c15u >> 40;

    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        struct crash_point *point = &crash_table->points[(at + i) % CRASH_POINTS];
        uint64_t found = atomic_load(&point->key);

        if (found == 0 && atomic_compare_exchange_strong(&point->key, &found, key)) {
            atomic_fetch_add(&crash_table->points_count, 1);
            return point;
        }
        if (found == key)
            return point;
    }
    atomic_fetch_add(&crash_table->points_lost, 1);
    return NULL;
}

static void die(struct crash_point *point, uint64_t key)
{
    enum crash_image image = crash_image_of(key);
    bool is_worker = own_slot >= 0 && own_pid == getpid();
    bool group = is_worker && image == CRASH_WORKER && crash_draw(20) == 0;
    uint32_t at = atomic_fetch_add(&crash_team->recent_at, 1) % CRASH_RECENT;

    crash_team->recent[at].ns = crash_now();
    crash_team->recent[at].pid = getpid();
    crash_team->recent[at].key = key;
    crash_team->recent[at].group = group ? getpgrp() : 0;
    atomic_fetch_add(&point->hits, 1);
    crash_count(COUNT_kills);
    crash_count(image == CRASH_GUARD   ? COUNT_guard_kills
                : image == CRASH_AGENT ? COUNT_agent_kills
                                       : COUNT_point_kills);
    if (group)
        crash_count(COUNT_group_kills);
    if (is_worker)
        crash_mark_dying(own_slot, group);
    kill(group ? 0 : getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Processes take turns in an order that the kernel likes; now and then another one is better, above
 * all where they seldom come: what is seldom there may need another one at the same place. */
static void dawdle(bool is_seldom)
{
    uint64_t dice = crash_draw(is_seldom ? 100 : 2000);

    if (dice < 20)
        sched_yield();
    else if (dice < 23)
        nanosleep(&(struct timespec){0, (long)crash_draw(400000)}, NULL);
    else if (is_seldom && dice < 30)
        nanosleep(&(struct timespec){0, (long)crash_draw(4000000)}, NULL);
}

/* Whether a point that wants kills gets one at this pass: the rarest at each, others the less, the
 * less rare they are. */
static bool is_hit(uint32_t passes)
{
    uint32_t common = atomic_load_explicit(&crash_team->common, memory_order_relaxed);

    return passes <= common || (crash_draw(passes) < common && crash_draw(passes) < common);
}

/* In the first part of a run all are. */
static bool is_seldom(uint32_t passes)
{
    return passes < SELDOM &&
           4 * atomic_load_explicit(&crash_table->counters[COUNT_kills], memory_order_relaxed) >
               crash_table->kills;
}

void crash_pass(uint64_t key)
{
    struct crash_point *point = find(key);
    uint32_t passes;
    bool is_cold;

    if (!point)
        return;
    passes = atomic_fetch_add_explicit(&point->passes, 1, memory_order_relaxed) + 1;
    atomic_fetch_add_explicit(&point->passes_in[crash_team->kind], 1, memory_order_relaxed);
    dawdle(is_seldom(passes));
    if (!atomic_load(crash_image_of(key) == CRASH_GUARD ? &crash_team->kills_guards
                                                        : &crash_team->kills))
        return;
    is_cold = atomic_load_explicit(&point->hits, memory_order_relaxed) < crash_table->target;
    if ((is_cold && is_hit(passes)) || crash_draw(crash_table->rare) == 0 ||
        (crash_team->focus < FUNCTIONS && crash_is_site_in(key, crash_team->focus) &&
         crash_draw(4) == 0))
        die(point, key);
}

/* ---- what is told ---- */

static const char *const images[CRASH_IMAGES] = {"worker", "guard", "agent"};

void crash_name_point(uint64_t key, char out_image[8], char out_member[20], char out_function[60])
{
    enum crash_image image = crash_image_of(key);
    uint64_t distance;

    snprintf(out_image, 8, "%s", images[image]);
    snprintf(out_member, 20, "%s", crash_member(crash_member_of(key)));
    snprintf(out_function, 60, "%s", symbols_find(image, crash_site_of(key), &distance));
    out_function[strcspn(out_function, ".")] = '\0'; /* what a compiler adds */
}

void crash_print_point(FILE *out, uint64_t key)
{
    enum crash_image image = crash_image_of(key);
    uint64_t distance;
    const char *function = symbols_find(image, crash_site_of(key), &distance);

    fprintf(out, "%s %s %s in %s+%#llx", images[image], crash_is_after(key) ? "after" : "before",
            crash_member(crash_member_of(key)), function, (unsigned long long)distance);
}

static void print_recent(FILE *out, unsigned count)
{
    uint32_t at = atomic_load(&crash_team->recent_at);
    uint64_t now = crash_now();

    for (uint32_t i = at > count ? at - count : 0; i < at; i++) {
        uint32_t entry = i % CRASH_RECENT;
        uint64_t key = crash_team->recent[entry].key;

        fprintf(out, "    %8.3f ms ago, process %d%s, %s",
                (double)(int64_t)(now - crash_team->recent[entry].ns) / 1e6,
                (int)crash_team->recent[entry].pid,
                crash_team->recent[entry].group ? " and its group" : "", key ? "" : "from outside");
        if (key)
            crash_print_point(out, key);
        fputc('\n', out);
    }
}

void crash_wrong(enum crash_counter counter, const char *format, ...)
{
    uint64_t before = atomic_fetch_add(&crash_table->counters[counter], 1);
    bool is_wanted = !crash_table->ablation || crash_ablation_shows(counter);
    char *text = NULL;
    size_t size = 0;
    va_list args;
    FILE *out;

    if (is_wanted)
        atomic_fetch_add(&crash_team->wrong, 1);
    if (!is_wanted || before >= 5 || !(out = open_memstream(&text, &size)))
        return;
    fprintf(out, "torture: %s: SEED=%llu ROUND=%u, process %d: ", crash_counter_names[counter],
            (unsigned long long)crash_table->seed, crash_team->round, (int)getpid());
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fprintf(out, "\n  the kills before it:\n");
    print_recent(out, 12);
    fclose(out);
    if (write(STDERR_FILENO, text, size) < 0)
        abort();
    free(text);
}
