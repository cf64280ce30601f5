/* Handlers of a joiner, which wait until it owns the name: src/net/kept.c */
#include "test-loop-helpers.h"

#include "harness/harness.h"

static sockref_registry *elsewhere; /* owns the name, as another process would */
static sockref *owner, *joiner;
static struct record record;

static void join(void)
{
    sockref_options *options = sockref_options_new();

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &record), 0);
    harness_assert_ok(sockref_registry_listen(NULL, path, options, &joiner));
    sockref_options_free(options);
    ck_assert(!sockref_is_owner(joiner));
}

static void setup_joined(void)
{
    setup();
    memset(&record, 0, sizeof record);
    harness_assert_ok(sockref_registry_new(NULL, &elsewhere));
    harness_assert_ok(sockref_registry_listen(elsewhere, path, NULL, &owner));
    join();
}

static void teardown_joined(void)
{
    sockref_release(joiner);
    sockref_release(owner);
    sockref_registry_free(elsewhere);
    teardown();
}

static void let_owner_go(void)
{
    sockref_release(owner);
    owner = NULL;
}

static void free_loop(void)
{
    sockref_loop_free(loop);
    loop = NULL;
}

START_TEST(they_serve_when_the_name_is_owned)
{
    int fd;

    let_owner_go();
    WAIT_UNTIL(sockref_is_owner(joiner));
    fd = dial();
    DRIVE_UNTIL(record.connections == 1);
    close(fd);
    sockref_release(joiner);
    joiner = NULL;
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

static void release_it(void)
{
    sockref_release(joiner);
    joiner = NULL;
}

static void revoke_it(void)
{
    harness_assert_ok(sockref_registry_cleanup(NULL, path));
    ck_assert(!sockref_is_active(joiner));
}

static void own_it(void)
{
    let_owner_go();
    WAIT_UNTIL(sockref_is_owner(joiner));
    ck_assert(sockref_is_active(joiner));
}

static void lose_it(void)
{
    ck_assert_int_eq(sockref_registry_cleanup(elsewhere, path), 0);
    WAIT_UNTIL(!sockref_is_active(joiner));
}

static void (*const befalls[])(void) = {release_it, revoke_it, own_it, lose_it};
#define BEFALLS (int)(sizeof befalls / sizeof befalls[0])

/* The loop had to outlive the call that was given it, and no more; nothing comes for it later. */
START_TEST(a_loop_that_is_freed_stops_them)
{
    free_loop();
    ck_assert_str_eq(record.events, "S");
    befalls[_i]();
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert_str_eq(record.events, "S");
}
END_TEST

START_TEST(what_is_owned_after_that_may_be_served_anew)
{
    struct record anew = {0};
    int fd;

    free_loop();
    own_it();
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    WAIT_UNTIL(sockref_serve_on(joiner, loop, &recording, &anew) == 0);
    fd = dial();
    DRIVE_UNTIL(anew.connections == 1);
    close(fd);
    release_it();
    DRIVE_UNTIL(anew.stops == 1);
    ck_assert_str_eq(record.events, "S");
}
END_TEST

START_TEST(what_is_never_owned_stops_on_the_loop)
{
    if (befalls[_i] == own_it)
        return;
    befalls[_i]();
    ck_assert_int_eq(record.stops, 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_str_eq(record.events, "S");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kept");
    TCase *tcase = tcase_create("kept");

    tcase_add_checked_fixture(tcase, setup_joined, teardown_joined);
    tcase_add_test(tcase, they_serve_when_the_name_is_owned);
    tcase_add_loop_test(tcase, a_loop_that_is_freed_stops_them, 0, BEFALLS);
    tcase_add_test(tcase, what_is_owned_after_that_may_be_served_anew);
    tcase_add_loop_test(tcase, what_is_never_owned_stops_on_the_loop, 0, BEFALLS);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
