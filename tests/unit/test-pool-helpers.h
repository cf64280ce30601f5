/* A pool for each case, and what to do with it. */
#ifndef TEST_POOL_HELPERS_H
#define TEST_POOL_HELPERS_H

#include "harness/harness.h"

#include <sockref/pool.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 3

static sockref_registry *registry;
static sockref_pool *pool;

static void setup(void)
{
    registry = harness_registry(0);
    harness_assert_ok(sockref_pool_new(&pool));
}

static void teardown(void)
{
    sockref_pool_free(pool);
    sockref_registry_free(registry);
}

static const char *member(unsigned index)
{
    return harness_text("%s.%u", harness_at("p"), index);
}

/* Members p.0 to p.2. */
static void fill(void)
{
    harness_assert_ok(sockref_pool_listen(pool, registry, harness_at("p"), MEMBERS, NULL));
}

static sockref *pick_held(int policy)
{
    sockref *ref;

    harness_assert_ok(sockref_pool_pick(pool, policy, &ref));
    return ref;
}

/* The number at the end of a path. */
static int index_of(const sockref *ref)
{
    return atoi(strrchr(sockref_path(ref), '.') + 1);
}

/* Which one is picked; it is released. */
static int pick(int policy)
{
    sockref *ref = pick_held(policy);
    int index = index_of(ref);

    sockref_release(ref);
    return index;
}

static int take_turn(void)
{
    return pick(SOCKREF_POOL_ROUND_ROBIN);
}

static sockref *existing(unsigned index)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_get_existing(registry, member(index), &ref));
    return ref;
}

#endif
