/* The totals of a run. */
#include "torture/tell.h"

#include "torture/arena.h"
#include "torture/crash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTED 40 /* points under the minimum */

static uint64_t count(int counter)
{
    return atomic_load(&crash_table->counters[counter]);
}

uint64_t tell_wrong(void)
{
    uint64_t sum = 0;

    for (int i = FIRST_WRONG; i < CRASH_COUNTS; i++)
        if (crash_table->ablation == 0 || crash_ablation_shows((enum crash_counter)i))
            sum += count(i);
    return sum;
}

/* Those of other languages' processes are the same ones as the workers', in another program. */
static bool is_wanted(uint64_t key)
{
    return key != 0 && crash_image_of(key) != CRASH_AGENT;
}

/* ---- excuses: points that nobody has to be killed at, by the file of that name ---- */

#define EXCUSES 200
#define OFTEN   20 /* times the minimum: a point that is passed so often needs no excuse */

static struct excuse {
    char word[8], image[8], member[20], function[60];
} excuses[EXCUSES];
static unsigned excuses_count;

const char *tell_read_excuses(const char *path)
{
    FILE *in = fopen(path, "r");
    char line[300];

    if (!in)
        return "cannot be read";
    while (fgets(line, sizeof line, in)) {
        struct excuse *excuse = &excuses[excuses_count];

        if (line[0] == '#' || line[0] == '\n' || line[0] == ' ')
            continue;
        if (excuses_count == EXCUSES ||
            sscanf(line, "%7s %7s %19s %59s", excuse->word, excuse->image, excuse->member,
                   excuse->function) != 4 ||
            (strcmp(excuse->word, "seldom") != 0 && strcmp(excuse->word, "never") != 0)) {
            fclose(in);
            return "has a line that is no excuse";
        }
        excuses_count++;
    }
    fclose(in);
    return NULL;
}

static const struct excuse *find_excuse(uint64_t key)
{
    char image[8], member[20], function[60];

    crash_name_point(key, image, member, function);
    for (unsigned i = 0; i < excuses_count; i++)
        if ((strcmp(excuses[i].image, image) == 0 || strcmp(excuses[i].image, "-") == 0) &&
            strcmp(excuses[i].member, member) == 0 && strcmp(excuses[i].function, function) == 0)
            return &excuses[i];
    return NULL;
}

enum verdict {
    ENOUGH,
    TOO_FEW,
    EXCUSED,
    NO_EXCUSE, /* there is one, and it is not true */
};

static enum verdict judge(const struct crash_point *point, unsigned wanted)
{
    unsigned hits = atomic_load(&point->hits), passes = atomic_load(&point->passes);
    const struct excuse *excuse = wanted > 0 ? find_excuse(atomic_load(&point->key)) : NULL;

    if (excuse && strcmp(excuse->word, "never") == 0)
        return NO_EXCUSE;
    if (excuse && passes < OFTEN * wanted)
        return EXCUSED;
    return hits < wanted ? TOO_FEW : ENOUGH;
}

bool tell_is_excused(const struct crash_point *point)
{
    return find_excuse(atomic_load(&point->key)) != NULL;
}

/* ---- points ---- */

void tell_points(unsigned wanted, struct tell_points *out)
{
    *out = (struct tell_points){.least = UINT32_MAX};
    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        const struct crash_point *point = &crash_table->points[i];
        unsigned hits = atomic_load(&point->hits);
        enum verdict verdict;

        if (!is_wanted(atomic_load(&point->key)))
            continue;
        verdict = judge(point, wanted);
        out->count++;
        out->excused += verdict == EXCUSED;
        out->under += verdict == TOO_FEW;
        out->not_excused += verdict == NO_EXCUSE;
        if (verdict != EXCUSED && hits < out->least)
            out->least = hits;
    }
}

static void list_points(unsigned wanted)
{
    static const char *const verdicts[] = {"", "FAILED", "excused", "FAILED, not as excused"};
    const char *list = getenv("TORTURE_POINTS");
    FILE *out = list && list[0] ? fopen(list, "w") : NULL;
    unsigned listed = 0;

    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        const struct crash_point *point = &crash_table->points[i];
        uint64_t key = atomic_load(&point->key);
        unsigned hits = atomic_load(&point->hits), passes = atomic_load(&point->passes);

        if (key != 0 && out) {
            fprintf(out, "%u\t%u\t", hits, passes);
            crash_print_point(out, key);
            for (uint32_t kind = 0; kind < CRASH_KINDS; kind++)
                fprintf(out, "\t%u", atomic_load(&point->passes_in[kind]));
            fputc('\n', out);
        }
        if (!is_wanted(key) || judge(point, wanted) == ENOUGH || ++listed > LISTED)
            continue;
        fprintf(stderr, "torture: %s: %u kills, %u passes: ", verdicts[judge(point, wanted)], hits,
                passes);
        crash_print_point(stderr, key);
        fputc('\n', stderr);
    }
    if (out)
        fclose(out);
}

void tell_places(void)
{
    for (int i = 0; i < arenas_count; i++) {
        size_t length = strlen(crash_table->on);

        snprintf(crash_table->on + length, sizeof crash_table->on - length, "%s%s", i ? "," : "",
                 arenas[i].name);
    }
    snprintf(crash_table->skipped, sizeof crash_table->skipped, "%s", arenas_skipped);
    crash_table->skipped_count = arenas_skipped_count;
}

/* A line of key=value, by tabs. */
static void tell_summary(unsigned wanted, const struct tell_points *points, double seconds)
{
    printf("torture\tkills=%llu\tseconds=%.0f\trate=%.0f\tpoints=%u\tleast=%u\tunder_%u=%"
           "u\texcused=%u",
           (unsigned long long)count(COUNT_kills), seconds, (double)count(COUNT_kills) / seconds,
           points->count, points->least, wanted, points->under, points->excused);
    for (int i = COUNT_kills + 1; i < CRASH_COUNTS; i++)
        printf("\t%s=%llu", crash_counter_names[i], (unsigned long long)count(i));
    printf("\tworst_start_ms=%.0f\tworst_end_of_guards_ms=%.0f\ton=%s",
           (double)atomic_load(&crash_table->worst_start_ns) / 1e6,
           (double)atomic_load(&crash_table->worst_quiet_ns) / 1e6, crash_table->on);
    if (crash_table->skipped_count)
        printf("\tskipped=%s", crash_table->skipped);
    printf("\tseed=%llu\n", (unsigned long long)crash_table->seed);
}

/* A run in which nothing of this sort happened has shown nothing. */
static unsigned count_missing(void)
{
    static const enum crash_counter needed[] = {
        COUNT_owners,         COUNT_joins,         COUNT_hand_overs,  COUNT_losses,
        COUNT_uses,           COUNT_sweeps,        COUNT_group_kills, COUNT_guard_kills,
        COUNT_guard_removals, COUNT_foreign_checks};
    unsigned missing = 0;

    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        if (count(needed[i]) > 0 || (crash_table->ablation && !crash_ablation_lacks(needed[i])))
            continue;
        fprintf(stderr, "torture: %s: there were none\n", crash_counter_names[needed[i]]);
        missing++;
    }
    return missing;
}

bool tell_end(unsigned wanted, double seconds)
{
    struct tell_points points;
    uint64_t failed;

    tell_points(wanted, &points);
    list_points(wanted);
    if (points.under > 0)
        fprintf(stderr, "torture: %u of %u points have less than %u kills\n", points.under,
                points.count, wanted);
    if (atomic_load(&crash_table->points_lost) > 0)
        fprintf(stderr, "torture: there is no room for all points: see CRASH_POINTS\n");
    failed = count(COUNT_wrong_rounds) + (points.under > 0) + (points.not_excused > 0) +
             count_missing() + (atomic_load(&crash_table->points_lost) > 0) +
             (count(COUNT_wrong_rounds) == 0 && tell_wrong() > 0);
    tell_summary(wanted, &points, seconds);
    printf("torture: %llu passed, %llu failed, %u skipped\n",
           (unsigned long long)(count(COUNT_rounds) - count(COUNT_wrong_rounds)),
           (unsigned long long)failed, crash_table->skipped_count);
    return failed == 0;
}
