/* Members of pools: src/ref/pool.c. G42. */
#include "test-pool-helpers.h"

#include "harness/faults.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static void assert_nothing_started(void)
{
    ck_assert_uint_eq(sockref_pool_size(pool), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_uint_eq(harness_sockets() + harness_beside(), 0);
}

/* ---- members ---- */

START_TEST(g42_several_are_started_and_each_can_be_dialled)
{
    fill();
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    ck_assert_uint_eq(harness_sockets(), MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++)
        ck_assert(harness_can_dial(member(i)));
    sockref_pool_free(pool);
    ck_assert_uint_eq(harness_sockets(), 0);
    harness_assert_ok(sockref_pool_new(&pool));
}
END_TEST

START_TEST(g42_abstract_names_are_told_apart_as_files_are)
{
    const char *name = harness_text("@%s", harness_dir());
    sockref *ref;

    harness_assert_ok(sockref_pool_listen(pool, registry, name, 12, NULL));
    for (int i = 0; i < 12; i++) {
        ref = pick_held(SOCKREF_POOL_ROUND_ROBIN);
        ck_assert_str_eq(sockref_path(ref), harness_text("%s.%d", name, i));
        ck_assert(harness_can_dial(sockref_path(ref)));
        sockref_release(ref);
    }
}
END_TEST

static unsigned port_of(const sockref *ref)
{
    return (unsigned)atoi(strrchr(sockref_path(ref), ':') + 1);
}

START_TEST(g42_port_0_is_another_port_for_each)
{
    unsigned ports[MEMBERS];

    harness_assert_ok(sockref_pool_listen(pool, registry, "tcp:127.0.0.1:0", MEMBERS, NULL));
    for (int i = 0; i < MEMBERS; i++) {
        sockref *ref = pick_held(SOCKREF_POOL_ROUND_ROBIN);

        ports[i] = port_of(ref);
        ck_assert_uint_gt(ports[i], 0);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(ports[i], ports[j]);
        sockref_release(ref);
    }
}
END_TEST

/* Others may have some of the ports: then it fails, and begins elsewhere. */
START_TEST(g42_ports_follow_one_another)
{
    unsigned first = 20000;

    while (sockref_pool_listen(pool, registry, harness_text("tcp:[::ffff:127.0.0.1]:%u", first),
                               MEMBERS, NULL) < 0) {
        harness_assert_error(-EADDRINUSE);
        ck_assert_uint_eq(sockref_pool_size(pool), 0);
        ck_assert_uint_lt(first += MEMBERS, 21000);
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        sockref *ref = pick_held(SOCKREF_POOL_ROUND_ROBIN);

        ck_assert_uint_eq(port_of(ref), first + i);
        sockref_release(ref);
    }
}
END_TEST

START_TEST(g42_fresh_names_are_unique)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *homely;
    sockref *usual;

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(options, &homely));
    sockref_options_free(options);
    options = harness_options(SOCKREF_OPT_MODE, 0640, 0);
    usual = harness_listen(homely, NULL);
    harness_assert_ok(sockref_pool_listen(pool, homely, NULL, MEMBERS, options));
    ck_assert_uint_eq(harness_sockets(), 1 + MEMBERS);
    for (int i = 0; i < MEMBERS; i++) {
        sockref *ref = pick_held(SOCKREF_POOL_ROUND_ROBIN);

        ck_assert_ptr_ne(ref, usual);
        ck_assert_uint_eq(harness_mode(sockref_path(ref)), 0640);
        sockref_release(ref);
    }
    /* It is asked for here only, and the options are as they were. */
    ck_assert_ptr_eq(harness_listen(homely, NULL), usual);
    sockref_release(usual);
    sockref_release(usual);
    sockref_options_free(options);
    sockref_pool_free(pool);
    sockref_registry_free(homely);
    harness_assert_ok(sockref_pool_new(&pool));
}
END_TEST

START_TEST(g42_all_are_started_or_none)
{
    harness_write(member(2), "not a socket");
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), 4, NULL),
                         SOCKREF_EFOREIGN);
    ck_assert_str_eq(sockref_last_error()->path, member(2));
    ck_assert(harness_holds(member(2), "not a socket"));
    ck_assert_int_eq(remove(member(2)), 0);
    assert_nothing_started();
}
END_TEST

START_TEST(g42_what_is_held_already_stays_when_another_fails)
{
    sockref *held = harness_listen(registry, member(0));

    harness_write(member(1), "");
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), 2, NULL),
                         SOCKREF_EFOREIGN);
    ck_assert_uint_eq(sockref_reference_count(held), 1);
    ck_assert(harness_can_dial(member(0)));
    ck_assert_int_eq(remove(member(1)), 0);
    sockref_release(held);
}
END_TEST

START_TEST(g42_what_cant_be_named_is_refused_before_anything_starts)
{
    char name[128] = "@";

    memset(name + 1, 'n', 104); /* with ".9" 107 bytes, with ".10" one too many */
    name[105] = '\0';
    faults_install();
    harness_assert_fails(sockref_pool_listen(pool, registry, name, 11, NULL), SOCKREF_EPATHLEN);
    harness_assert_fails(sockref_pool_listen(pool, registry, "tcp:127.0.0.1:65534", 3, NULL),
                         SOCKREF_EPATH);
    harness_assert_fails(sockref_pool_listen(pool, registry, "tcp:nowhere:1", 2, NULL),
                         SOCKREF_EPATH);
    harness_assert_fails(sockref_pool_listen(pool, registry, "@", 2, NULL), SOCKREF_EPATH);
    harness_assert_fails(sockref_pool_listen(pool, registry, "p", 2, NULL), SOCKREF_EPATH);
    harness_assert_fails(
        sockref_pool_listen(pool, registry, harness_text("%s/", harness_dir()), 2, NULL),
        SOCKREF_EPATH);
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), 0, NULL), -EINVAL);
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), 1025, NULL), -EINVAL);
    ck_assert_uint_eq(faults_calls(FAULTS_socket), 0);
    assert_nothing_started();
    harness_assert_ok(sockref_pool_listen(pool, registry, name, 10, NULL));
}
END_TEST

START_TEST(g42_a_name_is_a_member_once)
{
    sockref *ref;

    fill();
    ref = existing(1);
    harness_assert_fails(sockref_pool_add(pool, ref), SOCKREF_EEXISTS);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    /* The first of these is new, and goes again. */
    harness_assert_ok(sockref_pool_remove(pool, ref));
    sockref_release(ref);
    ck_assert(!harness_exists(member(1)));
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at(".//p"), 4, NULL),
                         SOCKREF_EEXISTS);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS - 1);
    ck_assert_uint_eq(harness_sockets(), MEMBERS - 1);
}
END_TEST

/* Those behind a member are not begun. */
START_TEST(g42_the_first_that_fails_is_the_last_that_is_tried)
{
    sockref *ref = harness_listen(registry, member(0));

    faults_install();
    harness_assert_ok(sockref_pool_add(pool, ref));
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), MEMBERS, NULL),
                         SOCKREF_EEXISTS);
    ck_assert_uint_eq(faults_calls(FAULTS_bind), 0);
    ck_assert_uint_eq(sockref_pool_size(pool), 1);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_uint_eq(harness_sockets(), 1);
    sockref_release(ref);
}
END_TEST

START_TEST(g42_a_member_holds_its_name)
{
    sockref *ref = harness_listen(registry, member(0)), *picked;

    harness_assert_ok(sockref_pool_add(pool, ref));
    sockref_release(ref);
    ck_assert(harness_can_dial(member(0)));
    picked = pick_held(SOCKREF_POOL_ROUND_ROBIN);
    ck_assert_ptr_eq(picked, ref);
    harness_assert_ok(sockref_pool_remove(pool, picked));
    ck_assert_uint_eq(sockref_pool_size(pool), 0);
    ck_assert(harness_can_dial(member(0))); /* as long as it is held */
    harness_assert_fails(sockref_pool_remove(pool, picked), SOCKREF_ENOTFOUND);
    sockref_release(picked);
    ck_assert(!harness_exists(member(0)));
}
END_TEST

START_TEST(g42_what_was_picked_outlives_the_pool)
{
    sockref *picked;

    fill();
    picked = pick_held(SOCKREF_POOL_LEAST_REFERENCES);
    sockref_pool_free(pool);
    ck_assert(sockref_is_active(picked));
    ck_assert(harness_can_dial(sockref_path(picked)));
    ck_assert_uint_eq(harness_sockets(), 1);
    sockref_release(picked);
    harness_assert_ok(sockref_pool_new(&pool));
}
END_TEST

START_TEST(g42_what_is_revoked_is_not_added)
{
    sockref *ref = harness_listen(registry, member(0));

    harness_assert_ok(sockref_registry_cleanup(registry, member(0)));
    harness_assert_fails(sockref_pool_add(pool, ref), SOCKREF_ECLOSED);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(sockref_pool_size(pool), 0);
    sockref_release(ref);
}
END_TEST

/* The same file by way of another directory. */
START_TEST(g42_another_spelling_takes_the_place_of_a_revoked_member)
{
    sockref *ref;

    ck_assert_int_eq(symlink(".", harness_at("link")), 0);
    fill();
    harness_assert_ok(sockref_registry_cleanup(registry, member(1)));
    ref = harness_listen(registry, harness_at("link/p.1"));
    harness_assert_ok(sockref_pool_add(pool, ref));
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    sockref_release(ref);
    ck_assert_int_eq(unlink(harness_at("link")), 0);
}
END_TEST

START_TEST(g42_a_revoked_member_gives_its_place_to_the_next_life)
{
    sockref *ref;

    fill();
    harness_assert_ok(sockref_registry_cleanup(registry, member(1)));
    ref = harness_listen(registry, harness_at("other"));
    harness_assert_ok(sockref_pool_add(pool, ref));
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS + 1);
    harness_assert_ok(sockref_pool_remove(pool, ref));
    sockref_release(ref);
    ref = harness_listen(registry, harness_at(".//p.1"));
    harness_assert_ok(sockref_pool_add(pool, ref));
    sockref_release(ref);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_int_eq(take_turn(), i);
    harness_assert_ok(sockref_registry_cleanup_all(registry, NULL));
    harness_assert_ok(sockref_pool_listen(pool, registry, harness_at("p"), MEMBERS + 1, NULL));
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS + 1);
    for (int i = 0; i <= MEMBERS; i++) /* the new one's turn is after the last */
        ck_assert_int_eq(take_turn(), (MEMBERS + i) % (MEMBERS + 1));
}
END_TEST

START_TEST(g42_a_name_at_its_limit_is_not_added)
{
    sockref_registry *narrow = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 1, 0);
    sockref *ref = harness_listen(narrow, member(0));

    harness_assert_fails(sockref_pool_add(pool, ref), SOCKREF_ELIMIT);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
    sockref_registry_free(narrow);
}
END_TEST

START_TEST(g42_a_member_at_its_limit_is_a_member_already)
{
    sockref_registry *narrow = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 2, 0);
    sockref *ref = harness_listen(narrow, member(0));

    harness_assert_ok(sockref_pool_add(pool, ref));
    harness_assert_fails(sockref_pool_add(pool, ref), SOCKREF_EEXISTS);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    harness_assert_ok(sockref_pool_remove(pool, ref));
    sockref_release(ref);
    sockref_registry_free(narrow);
}
END_TEST

/* They outlive their registry as any reference does. */
START_TEST(g42_members_may_be_of_several_registries)
{
    sockref_registry *other = harness_registry(0);
    sockref *ref = harness_listen(other, member(7));

    fill();
    harness_assert_ok(sockref_pool_add(pool, ref));
    sockref_release(ref);
    sockref_registry_free(other);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert_int_eq(take_turn(), i);
    ck_assert_int_eq(take_turn(), 7);
    ck_assert(harness_can_dial(member(7)));
}
END_TEST

START_TEST(g42_null_is_refused)
{
    sockref *ref = harness_listen(registry, member(0));

    harness_assert_fails(sockref_pool_new(NULL), -EINVAL);
    harness_assert_fails(sockref_pool_add(NULL, ref), -EINVAL);
    harness_assert_fails(sockref_pool_add(pool, NULL), -EINVAL);
    harness_assert_fails(sockref_pool_remove(NULL, ref), -EINVAL);
    harness_assert_fails(sockref_pool_remove(pool, NULL), -EINVAL);
    harness_assert_fails(sockref_pool_listen(NULL, registry, NULL, 1, NULL), -EINVAL);
    harness_assert_fails(sockref_pool_pick(NULL, SOCKREF_POOL_ROUND_ROBIN, &ref), -EINVAL);
    harness_assert_fails(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, NULL), -EINVAL);
    ck_assert_uint_eq(sockref_pool_size(NULL), 0);
    sockref_pool_free(NULL);
    sockref_release(ref);
}
END_TEST

START_TEST(g42_without_memory_nothing_changes)
{
    sockref *ref = harness_listen(registry, harness_at("more"));
    sockref_pool *none = (sockref_pool *)ref;

    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sockref_pool_new(&none), -ENOMEM);
    ck_assert_ptr_eq(none, ref);
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sockref_pool_add(pool, ref), -ENOMEM);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(sockref_pool_size(pool), 0);
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sockref_pool_listen(pool, registry, harness_at("p"), 2, NULL), -ENOMEM);
    ck_assert_uint_eq(harness_sockets(), 1);
    faults_disarm();
    harness_assert_ok(sockref_pool_add(pool, ref));
    sockref_release(ref);
}
END_TEST

/* A good many, so that it grows more than once. */
START_TEST(g42_pools_grow)
{
    harness_assert_ok(sockref_pool_listen(pool, registry, harness_at("p"), 100, NULL));
    harness_assert_ok(sockref_pool_listen(pool, registry, harness_at("q"), 1, NULL));
    ck_assert_uint_eq(sockref_pool_size(pool), 101);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(take_turn(), i);
    ck_assert_int_eq(take_turn(), 0);
    ck_assert_int_eq(take_turn(), 0);
    ck_assert_int_eq(take_turn(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tcase = harness_tcase(suite, "pool");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, g42_several_are_started_and_each_can_be_dialled);
    tcase_add_test(tcase, g42_abstract_names_are_told_apart_as_files_are);
    tcase_add_test(tcase, g42_port_0_is_another_port_for_each);
    tcase_add_test(tcase, g42_ports_follow_one_another);
    tcase_add_test(tcase, g42_fresh_names_are_unique);
    tcase_add_test(tcase, g42_all_are_started_or_none);
    tcase_add_test(tcase, g42_what_is_held_already_stays_when_another_fails);
    tcase_add_test(tcase, g42_what_cant_be_named_is_refused_before_anything_starts);
    tcase_add_test(tcase, g42_a_name_is_a_member_once);
    tcase_add_test(tcase, g42_the_first_that_fails_is_the_last_that_is_tried);
    tcase_add_test(tcase, g42_a_member_holds_its_name);
    tcase_add_test(tcase, g42_what_was_picked_outlives_the_pool);
    tcase_add_test(tcase, g42_what_is_revoked_is_not_added);
    tcase_add_test(tcase, g42_a_revoked_member_gives_its_place_to_the_next_life);
    tcase_add_test(tcase, g42_another_spelling_takes_the_place_of_a_revoked_member);
    tcase_add_test(tcase, g42_a_name_at_its_limit_is_not_added);
    tcase_add_test(tcase, g42_a_member_at_its_limit_is_a_member_already);
    tcase_add_test(tcase, g42_members_may_be_of_several_registries);
    tcase_add_test(tcase, g42_null_is_refused);
    tcase_add_test(tcase, g42_without_memory_nothing_changes);
    tcase_add_test(tcase, g42_pools_grow);
    return harness_run(suite);
}
