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

/* Where hardly anybody comes, nobody can be killed often: that is told, but it is not wrong. */
static bool is_rare(unsigned passes, unsigned wanted)
{
    return passes < 20 * wanted + 300;
}

void tell_points(unsigned wanted, struct tell_points *out)
{
    *out = (struct tell_points){.least = UINT32_MAX};
    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        uint64_t key = atomic_load(&crash_table->points[i].key);
        unsigned hits = atomic_load(&crash_table->points[i].hits);
        unsigned passes = atomic_load(&crash_table->points[i].passes);

        if (!is_wanted(key))
            continue;
        out->count++;
        if (hits < wanted && is_rare(passes, wanted)) {
            out->rare++;
            continue;
        }
        out->under += hits < wanted;
        if (hits < out->least)
            out->least = hits;
    }
}

static void list_points(unsigned wanted)
{
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
            fputc('\n', out);
        }
        if (!is_wanted(key) || hits >= wanted || ++listed > LISTED)
            continue;
        fprintf(stderr,
                "torture: %s: %u kills, %u passes: ", is_rare(passes, wanted) ? "rare" : "FAILED",
                hits, passes);
        crash_print_point(stderr, key);
        fputc('\n', stderr);
    }
    if (out)
        fclose(out);
}

/* A line of key=value, by tabs. */
static void tell_summary(unsigned wanted, const struct tell_points *points, double seconds)
{
    printf(
        "torture\tkills=%llu\tseconds=%.0f\trate=%.0f\tpoints=%u\tleast=%u\tunder_%u=%u\trare=%u",
        (unsigned long long)count(COUNT_kills), seconds, (double)count(COUNT_kills) / seconds,
        points->count, points->least, wanted, points->under, points->rare);
    for (int i = COUNT_kills + 1; i < CRASH_COUNTS; i++)
        printf("\t%s=%llu", crash_counter_names[i], (unsigned long long)count(i));
    printf("\tworst_start_ms=%.0f\tworst_end_of_guards_ms=%.0f\ton=",
           (double)atomic_load(&crash_table->worst_start_ns) / 1e6,
           (double)atomic_load(&crash_table->worst_quiet_ns) / 1e6);
    for (int i = 0; i < arenas_count; i++)
        printf("%s%s", i ? "," : "", arenas[i].name);
    if (arenas_skipped_count)
        printf("\tskipped=%s", arenas_skipped);
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
        if (count(needed[i]) > 0)
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
    failed = count(COUNT_wrong_rounds) + (points.under > 0) + count_missing() +
             (atomic_load(&crash_table->points_lost) > 0) +
             (count(COUNT_wrong_rounds) == 0 && tell_wrong() > 0);
    tell_summary(wanted, &points, seconds);
    printf("torture: %llu passed, %llu failed, %u skipped\n",
           (unsigned long long)(count(COUNT_rounds) - count(COUNT_wrong_rounds)),
           (unsigned long long)failed, arenas_skipped_count);
    return failed == 0;
}
