/* Pools that several processes have of the same names, and what handlers hear of a pool. G42, G43.
 */
#include "util.h"

#include <sockref/pool.h>
#include <sockref/stats.h>

#define MEMBERS 3

/* ---- in the child ---- */

static int own_pool(const char *name)
{
    sockref_pool *pool;
    int status = sockref_pool_new(&pool);

    if (status == 0)
        status = sockref_pool_listen(pool, NULL, name, MEMBERS, NULL);
    if (status < 0)
        fprintf(stderr, "no pool: %s\n", sockref_last_error()->message);
    say(status == 0 ? 'o' : 'x');
    (void)hear(); /* until it is killed, or told to end */
    sockref_pool_free(pool);
    return 0;
}

static const struct role roles[] = {{"owner", own_pool}, {NULL, NULL}};

/* ---- in the test ---- */

static sockref_pool *pool;

static void begin_case(void)
{
    setup();
    ck_assert_int_eq(sockref_pool_new(&pool), 0);
}

static void end_case(void)
{
    sockref_pool_free(pool);
    teardown();
}

static const char *member(int index)
{
    static _Thread_local char name[128];

    snprintf(name, sizeof name, "%s.%d", path, index);
    return name;
}

static struct child spawn_owner(void)
{
    struct child child = spawn("owner", path);

    ck_assert_int_eq(hear_from(child.talk), 'o');
    return child;
}

static sockref *pick(void)
{
    sockref *ref;
    int status = sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &ref);

    ck_assert_msg(status == 0, "%s", sockref_last_error()->message);
    return ref;
}

static void pick_all(sockref *refs[MEMBERS])
{
    for (int i = 0; i < MEMBERS; i++)
        refs[i] = pick();
}

static int count_owned(sockref *const refs[MEMBERS])
{
    int owned = 0;

    for (int i = 0; i < MEMBERS; i++)
        owned += sockref_is_owner(refs[i]);
    return owned;
}

static void release_all(sockref *refs[MEMBERS])
{
    for (int i = 0; i < MEMBERS; i++)
        sockref_release(refs[i]);
}

static bool are_active(sockref *const refs[MEMBERS])
{
    return sockref_is_active(refs[0]) || sockref_is_active(refs[1]) || sockref_is_active(refs[2]);
}

START_TEST(g42_one_process_owns_the_names_and_another_joins)
{
    sockref_health health = {.size = sizeof health};
    struct child child = spawn_owner();
    sockref *refs[MEMBERS];

    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, MEMBERS, NULL), 0);
    pick_all(refs);
    ck_assert_int_eq(count_owned(refs), 0);
    for (int i = 0; i < MEMBERS; i++) {
        ck_assert_str_eq(sockref_path(refs[i]), member(i));
        ck_assert_uint_eq(sockref_holder_count(refs[i]), 2);
        ck_assert(is_connectable(member(i)));
        ck_assert_int_eq(sockref_check_health(refs[i], &health), 0);
        ck_assert(health.is_file_ours == 1 && health.is_reachable == 1);
        ck_assert_int_eq(health.is_accepting, -1);
    }
    /* Told to end, the owner hands all of them over. */
    say_to(child.talk, 'e');
    ck_assert(exited_well(end_child(&child)));
    WAIT_UNTIL(count_owned(refs) == MEMBERS);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert(is_connectable(member(i)));
    release_all(refs);
}
END_TEST

START_TEST(g43_members_of_a_killed_owner_are_passed_over)
{
    struct child child = spawn_owner();
    sockref *refs[MEMBERS], *own = start(NULL, file("own")), *none = NULL;

    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, MEMBERS, NULL), 0);
    pick_all(refs);
    ck_assert_int_eq(count_owned(refs), 0);
    ck_assert_int_eq(kill(child.pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_child(&child)));
    WAIT_UNTIL(!are_active(refs));
    ck_assert_int_eq(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &none), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(sockref_pool_add(pool, own), 0);
    for (int i = 0; i < 2 * MEMBERS; i++) {
        none = pick();
        ck_assert_ptr_eq(none, own);
        sockref_release(none);
    }
    ck_assert_int_eq(sockref_pool_remove(pool, own), 0);
    sockref_release(own);

    /* The names are started anew, in the places of those that were lost. */
    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, MEMBERS, NULL), 0);
    ck_assert_uint_eq(sockref_pool_size(pool), MEMBERS);
    release_all(refs);
    pick_all(refs);
    ck_assert_int_eq(count_owned(refs), MEMBERS);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert(is_connectable(member(i)));
    release_all(refs);
}
END_TEST

static atomic_int stops;

static void on_stop(void *user)
{
    (void)user;
    atomic_fetch_add(&stops, 1);
}

static const sockref_handlers counting = {.size = sizeof counting, .on_stop = on_stop};

/* Each that was started is served, and stops once: also those before one that fails. */
START_TEST(g42_handlers_stop_once_for_each_that_was_started)
{
    sockref_options *options = make_options(0, 0);

    ck_assert_int_eq(sockref_options_set_handlers(options, &counting, NULL), 0);
    atomic_store(&stops, 0);
    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, MEMBERS, options), 0);
    for (int i = 0; i < MEMBERS; i++)
        ck_assert(is_connectable(member(i)));
    ck_assert_int_eq(atomic_load(&stops), 0);
    sockref_pool_free(pool);
    WAIT_UNTIL(atomic_load(&stops) == MEMBERS);

    ck_assert_int_eq(sockref_pool_new(&pool), 0);
    write_file(member(2), "not a socket");
    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, MEMBERS + 2, options), SOCKREF_EFOREIGN);
    WAIT_UNTIL(atomic_load(&stops) == MEMBERS + 2);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert_int_eq(atomic_load(&stops), MEMBERS + 2);
    ck_assert_int_eq(unlink(member(2)), 0);
    sockref_options_free(options);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("pools");
    TCase *tcase = tcase_create("pools");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, g42_one_process_owns_the_names_and_another_joins);
    tcase_add_test(tcase, g43_members_of_a_killed_owner_are_passed_over);
    tcase_add_test(tcase, g42_handlers_stop_once_for_each_that_was_started);
    suite_add_tcase(suite, tcase);
    return run_suite(suite, argc, argv, roles);
}
