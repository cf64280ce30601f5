/* Two registries for each case, and what was counted. */
#ifndef TEST_STATS_HELPERS_H
#define TEST_STATS_HELPERS_H

#include "test-loop-helpers.h"

#include "harness/harness.h"

#include <sockref/stats.h>

static sockref_registry *registry, *other;
static struct record record;

static void begin_case(void)
{
    setup();
    memset(&record, 0, sizeof record);
    harness_assert_ok(sockref_registry_new(NULL, &registry));
    harness_assert_ok(sockref_registry_new(NULL, &other));
}

static void end_case(void)
{
    sockref_registry_free(registry);
    sockref_registry_free(other);
    teardown();
}

static sockref_registry_stats counted(sockref_registry *of)
{
    sockref_registry_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_registry_get_stats(of, &stats));
    return stats;
}

static sockref_stats counted_of(const sockref *ref)
{
    sockref_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_get_stats(ref, &stats));
    return stats;
}

static sockref_loop_stats counted_in(const sockref_loop *of)
{
    sockref_loop_stats stats = {.size = sizeof stats};

    harness_assert_ok(sockref_loop_get_stats(of, &stats));
    return stats;
}

/* The counters as text: created, joined, reused, failed | closed, revoked | removed, not removed,
 * deferred. */
static const char *counts_of(sockref_registry *of)
{
    sockref_registry_stats stats = counted(of);
    static char text[128];

    ck_assert_uint_eq(stats.removal.count, stats.removed + stats.remove_failed);
    snprintf(text, sizeof text, "%d %d %d %d | %d %d | %d %d %d", (int)stats.created,
             (int)stats.joined, (int)stats.reused, (int)stats.failed, (int)stats.closed,
             (int)stats.revoked, (int)stats.removed, (int)stats.remove_failed, (int)stats.deferred);
    return text;
}

static sockref *listen_in(sockref_registry *in)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(in, path, NULL, &ref));
    return ref;
}

static int outcome, outcomes;

static void note_start(int status, sockref *ref, void *user)
{
    (void)user;
    outcome = status;
    outcomes++;
    sockref_release(ref);
}

static sockref_options *on_the_loop(void)
{
    sockref_options *options;

    options = harness_options(0);
    harness_assert_ok(sockref_options_set_loop(options, loop));
    return options;
}

static int ran;

static void run(int status, void *user)
{
    (void)status;
    (void)user;
    ran++;
}

#endif
