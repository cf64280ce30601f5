/* Handlers of a joiner, which wait until it owns the name: src/net/kept.c */
#include "test-loop-helpers.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <stdatomic.h>

static sockref_registry *elsewhere; /* owns the name, as another process would */
static sockref *owner, *joiner;
static struct record record;

static sockref_options *recording_here(void)
{
    sockref_options *options = sockref_options_new();

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &record), 0);
    return options;
}

static void join(void)
{
    sockref_options *options = recording_here();

    harness_assert_ok(sockref_registry_listen(NULL, path, options, &joiner));
    sockref_options_free(options);
    ck_assert(!sockref_is_owner(joiner));
}

static void setup_owned(void)
{
    setup();
    memset(&record, 0, sizeof record);
    harness_assert_ok(sockref_registry_new(NULL, &elsewhere));
    harness_assert_ok(sockref_registry_listen(elsewhere, path, NULL, &owner));
}

static void setup_joined(void)
{
    setup_owned();
    join();
}

/* Before there is a thread that makes calls. */
static void setup_failing(void)
{
    faults_install();
    setup_owned();
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

/* ---- on_stop that comes inside the call ends the name there: it may be asked for again ---- */

static sockref *again;
static atomic_int asked; /* what the call for it returned; 1: there was none */

static void ask_again(void *user)
{
    (void)user;
    asked = sockref_registry_listen(NULL, path, NULL, &again);
}

static void setup_asking(void)
{
    static const sockref_handlers handlers = {.size = sizeof handlers, .on_stop = ask_again};
    sockref_options *options = sockref_options_new();

    setup_joined();
    release_it();
    asked = 1;
    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_options_set_handlers(options, &handlers, NULL), 0);
    harness_assert_ok(sockref_registry_listen(NULL, path, options, &joiner));
    sockref_options_free(options);
    DRIVE_UNTIL(record.stops == 1); /* of the joiner before */
}

static void teardown_asking(void)
{
    sockref_release(again);
    teardown_joined();
}

static void end_it(int status, sockref *ref, void *user)
{
    const int *which = user;

    (void)ref;
    ck_assert_int_eq(status, SOCKREF_ECANCELED);
    ck_assert_int_eq(asked, 1);
    befalls[*which]();
    ck_assert_int_eq(asked, 0);
}

START_TEST(the_name_can_be_asked_for_in_on_stop)
{
    char other[sizeof path + 8];
    sockref_options *options = sockref_options_new();

    snprintf(other, sizeof other, "%s.other", path);
    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    harness_assert_ok(sockref_registry_start_listener(NULL, other, options, end_it, &_i));
    sockref_options_free(options);
    free_loop(); /* takes no on_stop any more when it cancels the start */
    harness_assert_ok(asked);
    ck_assert(sockref_is_active(again));
}
END_TEST

static void *no_memory(size_t count, size_t size)
{
    (void)count;
    (void)size;
    errno = ENOMEM;
    return NULL;
}

START_TEST(the_name_can_be_asked_for_where_it_cannot_be_served)
{
    sr_sys.calloc = no_memory; /* for the service, and for the way to its loop */
    own_it();
    WAIT_UNTIL(asked != 1);
    sr_sys.calloc = calloc;
    harness_assert_ok(asked);
    ck_assert_ptr_eq(again, joiner);
}
END_TEST

static int join_on_the_parents_loop(void *arg)
{
    sockref_options *options = sockref_options_new();
    sockref *ref = NULL;
    int status;

    (void)arg;
    if (sockref_options_set_loop(options, loop) < 0 ||
        sockref_options_set_handlers(options, &recording, &record) < 0)
        return 2;
    status = sockref_registry_listen(NULL, path, options, &ref);
    sockref_options_free(options);
    sockref_release(ref);
    return status == SOCKREF_EFORKED && sockref_last_error()->status == status ? 0 : 1;
}

START_TEST(the_loop_of_a_parent_is_refused)
{
    ck_assert_int_eq(harness_in_child(join_on_the_parents_loop, NULL), 0);
    ck_assert_str_eq(record.events, "");
}
END_TEST

static void join_or_fail(uint64_t kinds, uint64_t nth)
{
    sockref_options *options = recording_here();
    int status;

    faults_arm(kinds, nth, ENOMEM);
    status = sockref_registry_listen(NULL, path, options, &joiner);
    faults_disarm();
    sockref_options_free(options);
    if (status == 0)
        return;
    harness_assert_error(-ENOMEM);
    ck_assert_ptr_null(joiner);
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    ck_assert_uint_eq(sockref_holder_count(owner), 1);
    ck_assert_str_eq(record.events, "");
}

START_TEST(without_memory_or_threads_nobody_joins)
{
    join_or_fail(FAULTS_BIT(FAULTS_thread_create), 1);
    ck_assert_ptr_null(joiner);
    for (uint64_t nth = 1; !joiner; nth++)
        join_or_fail(FAULTS_ALLOCATIONS, nth);
    sockref_release(joiner);
    joiner = NULL;
    DRIVE_UNTIL(record.stops == 1);
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
    /* The thread sanitizer can't bear a new thread in a child, which waits for the owner's news. */
    if (!IS_SANITIZED)
        tcase_add_test(tcase, the_loop_of_a_parent_is_refused);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("failures");
    tcase_add_checked_fixture(tcase, setup_failing, teardown_joined);
    tcase_add_test(tcase, without_memory_or_threads_nobody_joins);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("on_stop");
    tcase_add_checked_fixture(tcase, setup_asking, teardown_asking);
    tcase_add_loop_test(tcase, the_name_can_be_asked_for_in_on_stop, 0, 2);
    tcase_add_test(tcase, the_name_can_be_asked_for_where_it_cannot_be_served);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
