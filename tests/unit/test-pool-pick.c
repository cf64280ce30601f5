/* Picking from pools, and many who use one: src/ref/pool.c. G42, G43. */
#include "test-pool-helpers.h"

#include "harness/faults.h"
#include "harness/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* ---- picking ---- */

START_TEST(g43_round_robin_takes_one_after_the_other)
{
    sockref *busy;

    fill();
    busy = existing(1); /* which is no matter here */
    for (int i = 0; i < 3 * MEMBERS; i++)
        ck_assert_int_eq(take_turn(), i % MEMBERS);
    sockref_release(busy);
}
END_TEST

START_TEST(g43_round_robin_passes_over_what_was_revoked)
{
    fill();
    harness_assert_ok(sockref_registry_cleanup(registry, member(1)));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(take_turn(), i % 2 ? 2 : 0);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
}
END_TEST

START_TEST(g43_the_fewest_references_are_chosen)
{
    sockref *busy[3];

    fill();
    busy[0] = existing(0);
    busy[1] = existing(2);
    busy[2] = existing(2);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), 1);
    harness_assert_ok(sockref_registry_cleanup(registry, member(1)));
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), 0);
    for (int i = 0; i < 3; i++)
        sockref_release(busy[i]);
}
END_TEST

START_TEST(g43_of_equals_one_comes_after_the_other)
{
    sockref *held[2 * MEMBERS];

    fill();
    for (int i = 0; i < 2 * MEMBERS; i++)
        ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), i % MEMBERS);
    for (int i = 0; i < 2 * MEMBERS; i++) {
        held[i] = pick_held(SOCKREF_POOL_LEAST_REFERENCES);
        ck_assert_int_eq(index_of(held[i]), i % MEMBERS);
        ck_assert_uint_eq(sockref_reference_count(held[i]), 2 + (unsigned)i / MEMBERS);
    }
    for (int i = 0; i < 2 * MEMBERS; i++)
        sockref_release(held[i]);
}
END_TEST

START_TEST(g43_members_at_their_limit_are_passed_over)
{
    sockref_registry *narrow = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 2, 0);
    sockref *held[MEMBERS], *none = NULL;

    harness_assert_ok(sockref_pool_listen(pool, narrow, harness_at("p"), MEMBERS, NULL));
    for (int i = 0; i < MEMBERS; i++)
        held[i] = pick_held(SOCKREF_POOL_ROUND_ROBIN);
    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &none), SOCKREF_ELIMIT);
    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_LEAST_REFERENCES, &none),
                         SOCKREF_ELIMIT);
    ck_assert_ptr_null(none);
    sockref_release(held[1]);
    ck_assert_int_eq(take_turn(), 1);
    ck_assert_int_eq(take_turn(), 1);
    ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), 1);
    /* One that may have more is chosen, though it has more as well. */
    held[1] = pick_held(SOCKREF_POOL_ROUND_ROBIN);
    none = harness_listen(registry, harness_at("wide.9"));
    harness_assert_ok(sockref_pool_add(pool, none));
    harness_assert_ok(sockref_acquire(none) ? 0 : -1);
    ck_assert_int_eq(pick(SOCKREF_POOL_LEAST_REFERENCES), 9);
    sockref_release(none);
    sockref_release(none);
    for (int i = 0; i < MEMBERS; i++)
        sockref_release(held[i]);
    sockref_pool_free(pool);
    sockref_registry_free(narrow);
    harness_assert_ok(sockref_pool_new(&pool));
}
END_TEST

START_TEST(g43_without_an_active_member_there_is_none)
{
    sockref *ref = NULL;

    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &ref),
                         SOCKREF_ENOTFOUND);
    fill();
    harness_assert_ok(sockref_registry_cleanup_all(registry, NULL));
    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &ref),
                         SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_LEAST_REFERENCES, &ref),
                         SOCKREF_ENOTFOUND);
    ck_assert_ptr_null(ref);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
}
END_TEST

START_TEST(g43_an_unknown_policy_is_refused)
{
    sockref *ref = NULL;

    fill();
    harness_assert_fails(sockref_pool_pick(pool, 0, &ref), -EINVAL);
    harness_assert_fails(sockref_pool_pick(pool, 3, &ref), -EINVAL);
    ck_assert_ptr_null(ref);
}
END_TEST

START_TEST(g43_the_turn_stays_when_members_come_and_go)
{
    sockref *ref;

    harness_assert_ok(sockref_pool_listen(pool, registry, harness_at("p"), 5, NULL));
    ck_assert_int_eq(take_turn(), 0);
    ck_assert_int_eq(take_turn(), 1);
    ref = existing(0);
    harness_assert_ok(sockref_pool_remove(pool, ref)); /* whose turn was before */
    ck_assert_int_eq(take_turn(), 2);
    harness_assert_ok(sockref_pool_add(pool, ref));
    sockref_release(ref);
    ref = existing(3);
    harness_assert_ok(sockref_pool_remove(pool, ref)); /* whose turn it is */
    sockref_release(ref);
    ck_assert_int_eq(take_turn(), 4);
    ck_assert_int_eq(take_turn(), 0);
    ck_assert_int_eq(take_turn(), 1);
    ck_assert_int_eq(take_turn(), 2);
}
END_TEST

/* ---- between registries ---- */

static struct wait_events heard;

static void hear(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    wait_add(&heard, event);
}

START_TEST(g43_members_that_lost_their_owner_are_passed_over)
{
    sockref_options *options = harness_options(SOCKREF_OPT_HANDOVER, 0, 0);
    sockref_registry *there = harness_registry(0);
    sockref *owner, *joined;

    wait_init(&heard);
    harness_assert_ok(sockref_registry_listen(there, member(1), options, &owner));
    fill();
    joined = existing(1);
    ck_assert(!sockref_is_owner(joined));
    harness_assert_ok(sockref_set_watch(joined, hear, NULL, NULL));
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_int_eq(take_turn(), i);
    sockref_release(owner);
    wait_for(&heard, SOCKREF_WATCH_LOST);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(take_turn(), i % 2 ? 2 : 0);
    /* Its name can be started anew. */
    sockref_release(joined);
    joined = harness_listen(registry, member(1));
    harness_assert_ok(sockref_pool_add(pool, joined));
    ck_assert(sockref_is_owner(joined));
    sockref_release(joined);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    sockref_registry_free(there);
    sockref_options_free(options);
}
END_TEST

/* ---- threads and processes ---- */

static atomic_uint picked;

static void use(unsigned number, void *arg)
{
    sockref *own = harness_listen(registry, harness_text("%s/t.%u", (const char *)arg, number));
    sockref *ref;

    for (int i = 0; i < 500; i++) {
        harness_assert_ok(sockref_pool_add(pool, own));
        harness_assert_ok(sockref_pool_pick(
            pool, i % 2 ? SOCKREF_POOL_ROUND_ROBIN : SOCKREF_POOL_LEAST_REFERENCES, &ref));
        ck_assert(sockref_is_active(ref));
        sockref_release(ref);
        ck_assert_uint_ge(sockref_pool_size(pool), 1);
        harness_assert_ok(sockref_pool_remove(pool, own));
        atomic_fetch_add(&picked, 1);
    }
    sockref_release(own);
}

START_TEST(g42_threads_add_pick_and_remove_at_once)
{
    fill();
    harness_in_threads(8, use, (void *)harness_dir());
    ck_assert_uint_eq(atomic_load(&picked), 8 * 500);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) {
        sockref *ref = existing(i);

        ck_assert_uint_eq(sockref_reference_count(ref), 2);
        sockref_release(ref);
    }
}
END_TEST

static void hold_some(unsigned number, void *arg)
{
    sockref *(*held)[20] = arg;

    for (int i = 0; i < 20; i++)
        harness_assert_ok(sockref_pool_pick(pool, SOCKREF_POOL_LEAST_REFERENCES, &held[number][i]));
}

/* Each choice sees what the others have chosen. */
START_TEST(g43_threads_share_the_members_evenly)
{
    static sockref *held[6][20];

    fill();
    harness_in_threads(6, hold_some, held);
    for (unsigned i = 0; i < MEMBERS; i++) {
        sockref *ref = existing(i);

        ck_assert_uint_eq(sockref_reference_count(ref), 2 + 6 * 20 / MEMBERS);
        sockref_release(ref);
    }
    for (int i = 0; i < 6 * 20; i++)
        sockref_release(held[i / 20][i % 20]);
}
END_TEST

static void listen_into(unsigned number, void *arg)
{
    sockref_pool *own;

    for (int i = 0; i < 20; i++) {
        int status = sockref_pool_listen(pool, registry, arg, 4, NULL);

        ck_assert_msg(status == 0 || status == SOCKREF_EEXISTS, "%s",
                      sockref_last_error()->message);
        harness_assert_ok(sockref_pool_new(&own));
        harness_assert_ok(sockref_pool_listen(own, registry, arg, 4, NULL));
        ck_assert_uint_eq(sockref_pool_size(own), 4);
        sockref_pool_free(own);
    }
    (void)number;
}

START_TEST(g42_of_threads_that_start_the_same_names_one_adds_them)
{
    harness_in_threads(4, listen_into, (void *)harness_at("p"));
    ck_assert_uint_eq(sockref_pool_size(pool), 4);
    ck_assert_uint_eq(harness_sockets(), 4);
    for (unsigned i = 0; i < 4; i++) {
        sockref *ref = existing(i);

        ck_assert_uint_eq(sockref_reference_count(ref), 2);
        sockref_release(ref);
    }
}
END_TEST

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ & 0xff;                                                                \
    } while (0)

static int use_parents_pool(void *arg)
{
    sockref *parents = arg, *own = NULL;
    sockref_pool *mine;

    CHECK(sockref_registry_listen(NULL, harness_at("own"), NULL, &own) == 0);
    CHECK(sockref_pool_add(pool, own) == SOCKREF_EFORKED);
    CHECK(sockref_pool_remove(pool, parents) == SOCKREF_EFORKED);
    CHECK(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &parents) == SOCKREF_EFORKED);
    CHECK(sockref_last_error()->status == SOCKREF_EFORKED);
    CHECK(sockref_pool_listen(pool, NULL, harness_at("c"), 2, NULL) == SOCKREF_EFORKED);
    CHECK(sockref_pool_size(pool) == 0);
    CHECK(sockref_pool_new(&mine) == 0);
    CHECK(sockref_pool_add(mine, parents) == SOCKREF_EFORKED);
    CHECK(sockref_pool_add(mine, own) == 0);
    sockref_release(own);
    CHECK(harness_can_dial(harness_at("own")));
    sockref_pool_free(mine);
    CHECK(!harness_exists(harness_at("own")));
    faults_install();
    sockref_pool_free(pool);
    for (int kind = 0; kind < FAULTS_KINDS; kind++)
        CHECK(faults_calls(kind) == 0); /* memory, and that is all */
    return 0;
}

START_TEST(g42_in_a_forked_child_a_pool_is_inert)
{
    sockref *ref;

    fill();
    ref = existing(0);
    ck_assert_int_eq(harness_in_child(use_parents_pool, ref), 0);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_int_eq(take_turn(), 0);
    ck_assert(harness_can_dial(member(2)));
    sockref_release(ref);
}
END_TEST

static atomic_bool is_over;

/* It grows as often as can be. */
static void *keep_changing(void *arg)
{
    sockref *const *refs = arg;

    while (!atomic_load(&is_over)) {
        for (int i = 0; i < 20; i++)
            sockref_pool_add(pool, refs[i]);
        for (int i = 0; i < 20; i++)
            sockref_pool_remove(pool, refs[i]);
    }
    return NULL;
}

static int free_parents_pool(void *unused)
{
    (void)unused;
    CHECK(sockref_pool_size(pool) == 0);
    sockref_pool_free(pool);
    return 0;
}

START_TEST(g42_a_child_frees_a_pool_that_another_thread_was_changing)
{
    sockref *refs[20];
    pthread_t thread;

    for (int i = 0; i < 20; i++)
        refs[i] = harness_listen(registry, harness_text("@%s.%d", harness_dir(), i));
    ck_assert_int_eq(pthread_create(&thread, NULL, keep_changing, refs), 0);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(harness_in_child(free_parents_pool, NULL), 0);
    atomic_store(&is_over, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < 20; i++)
        sockref_release(refs[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool-pick");
    TCase *tcase = harness_tcase(suite, "pool-pick");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, g43_round_robin_takes_one_after_the_other);
    tcase_add_test(tcase, g43_round_robin_passes_over_what_was_revoked);
    tcase_add_test(tcase, g43_the_fewest_references_are_chosen);
    tcase_add_test(tcase, g43_of_equals_one_comes_after_the_other);
    tcase_add_test(tcase, g43_members_at_their_limit_are_passed_over);
    tcase_add_test(tcase, g43_without_an_active_member_there_is_none);
    tcase_add_test(tcase, g43_an_unknown_policy_is_refused);
    tcase_add_test(tcase, g43_the_turn_stays_when_members_come_and_go);
    tcase_add_test(tcase, g43_members_that_lost_their_owner_are_passed_over);
    tcase_add_test(tcase, g42_threads_add_pick_and_remove_at_once);
    tcase_add_test(tcase, g43_threads_share_the_members_evenly);
    tcase_add_test(tcase, g42_of_threads_that_start_the_same_names_one_adds_them);
    tcase_add_test(tcase, g42_in_a_forked_child_a_pool_is_inert);
    tcase_add_test(tcase, g42_a_child_frees_a_pool_that_another_thread_was_changing);
    return harness_run(suite);
}
