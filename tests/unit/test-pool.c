/* Pools: src/ref/pool.c. */
#include "harness/faults.h"
#include "harness/harness.h"

#include <sockref/pool.h>
#include <string.h>
#include <unistd.h>

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

/* The number at the end of what is picked; it is released. */
static int pick(int policy)
{
    sockref *ref;
    int index;

    harness_assert_ok(sockref_pool_pick(pool, policy, &ref));
    index = sockref_path(ref)[strlen(sockref_path(ref)) - 1] - '0';
    sockref_release(ref);
    return index;
}

static sockref *existing(unsigned index)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_get_existing(registry, member(index), &ref));
    return ref;
}

START_TEST(g42_several_are_started_and_each_can_be_dialled)
{
    fill();
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    ck_assert_uint_eq(harness_sockets(), MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++)
        ck_assert(harness_can_dial(member(i)));
}
END_TEST

START_TEST(g43_round_robin_takes_one_after_the_other)
{
    fill();
    for (int i = 0; i < 3 * MEMBERS; i++)
        ck_assert_int_eq(pick(SOCKREF_POOL_ROUND_ROBIN), i % MEMBERS);
}
END_TEST

START_TEST(g43_the_fewest_references_are_chosen)
{
    sockref *busy, *busier;

    fill();
    busy = existing(0);
    busier = existing(2);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), 1);
    sockref_release(busy);
    sockref_release(busier);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tcase = harness_tcase(suite, "pool");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, g42_several_are_started_and_each_can_be_dialled);
    tcase_add_test(tcase, g43_round_robin_takes_one_after_the_other);
    tcase_add_test(tcase, g43_the_fewest_references_are_chosen);
    return harness_run(suite);
}
