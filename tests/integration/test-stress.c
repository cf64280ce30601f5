/* Many threads over many names, bounded by counts; $STRESS multiplies them. */
#include "util.h"

static long scale(long count)
{
    const char *text = getenv("STRESS");

    return count * (text ? atol(text) : 1) / (IS_BRIEF ? 20 : 1);
}

static atomic_long lost, turns_left;

/* Get and drop one name as fast as it goes; now and then let a client through. */
static void get_and_drop(int number, void *user)
{
    (void)user;
    for (long turn = 0; atomic_fetch_sub(&turns_left, 1) > 0; turn++) {
        sockref *ref = NULL;

        if (turn % 3 == 2) { /* named first, bound later */
            ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &ref), 0);
            atomic_fetch_add(&lost, !sockref_registry_is_socket_active(NULL, path));
            sockref_release(ref);
            continue;
        }
        ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
        if ((turn + number) % 4 == 0)
            atomic_fetch_add(&lost, !is_in_use_at(ref, path));
        else
            atomic_fetch_add(&lost, !sockref_registry_is_socket_active(NULL, path) ||
                                        !sockref_is_active(ref) || !is_socket(path));
        sockref_release(ref);
    }
}

START_TEST(lost_sockets_none_in_a_hundred_thousand_lives_of_two_threads)
{
    atomic_store(&turns_left, scale(100000));
    run_threads(2, get_and_drop, NULL);
    ck_assert_int_eq(lost, 0);
    ck_assert(!exists(path));
}
END_TEST

START_TEST(lost_sockets_none_among_eight_threads)
{
    atomic_store(&turns_left, scale(100000));
    run_threads(8, get_and_drop, NULL);
    ck_assert_int_eq(lost, 0);
    ck_assert(!exists(path));
}
END_TEST

static void acquire_and_drop(int number, void *user)
{
    (void)number;
    while (atomic_fetch_sub(&turns_left, 64) > 0)
        for (int i = 0; i < 64; i++) {
            sockref *ref = NULL;

            if (sockref_registry_get_existing(NULL, path, &ref) < 0 || ref != user)
                atomic_fetch_add(&lost, 1);
            sockref_release(ref);
        }
}

START_TEST(lost_sockets_none_in_a_million_lookups_of_a_held_name)
{
    sockref *ref = start(NULL, path);

    atomic_store(&turns_left, scale(1000000));
    run_threads(4, acquire_and_drop, ref);
    ck_assert_int_eq(lost, 0);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
}
END_TEST

#define NAMES 16

static const char *name_of(unsigned number)
{
    static _Thread_local char name[160];

    /* Half of them by another spelling. */
    snprintf(name, sizeof name, number % 2 ? "%s/%u.sock" : "%s/.//%u.sock", directory,
             number / 2 % NAMES);
    return name;
}

/* Starts, shares, lookups, revocations and sweeps of a few names by all threads. */
static void churn(int number, void *user)
{
    unsigned seed = (unsigned)number * 7919 + 1;

    (void)user;
    while (atomic_fetch_sub(&turns_left, 1) > 0) {
        const char *name = name_of((unsigned)rand_r(&seed));
        sockref *ref = NULL, *other = NULL;
        int status;

        switch (rand_r(&seed) % 16) {
        case 0:
            status = sockref_registry_cleanup(NULL, name);
            ck_assert_msg(status == 0 || status == SOCKREF_ENOTFOUND, "%s",
                          sockref_last_error()->message);
            break;
        case 1:
            sockref_registry_is_socket_active(NULL, name);
            ck_assert_uint_le(sockref_registry_active_socket_count(NULL), NAMES);
            break;
        case 2:
            status = sockref_registry_get_existing(NULL, name, &ref);
            ck_assert(status == 0 || status == SOCKREF_ENOTFOUND);
            break;
        case 3:
            ck_assert_int_eq(sockref_registry_get_or_create(NULL, name, &ref), 0);
            break;
        case 4:
            status = try_start_with(NULL, name, SOCKREF_OPT_EXCLUSIVE, 1, &ref);
            ck_assert(status == 0 || status == SOCKREF_EEXISTS);
            break;
        case 5:
            status = try_start_with(NULL, name, SOCKREF_OPT_CLEANUP_DELAY_MS, 1, &ref);
            ck_assert_int_eq(status, 0);
            break;
        default:
            status = sockref_registry_listen(NULL, name, NULL, &ref);
            ck_assert_msg(status == 0, "%s", sockref_last_error()->message);
            other = sockref_acquire(ref);
            ck_assert_ptr_eq(other, ref);
            break;
        }
        sockref_release(ref);
        sockref_release(other);
    }
}

START_TEST(many_threads_churn_many_names_with_lookups)
{
    atomic_store(&turns_left, scale(100000));
    run_threads(12, churn, NULL);
    WAIT_UNTIL(count_sockets(directory) == 0); /* the delays end */
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

static void start_in_its_delay(int number, void *user)
{
    (void)number;
    while (atomic_fetch_sub(&turns_left, 1) > 0) {
        sockref *ref = NULL;

        ck_assert_int_eq(sockref_registry_listen(user, path, NULL, &ref), 0);
        atomic_fetch_add(&lost, !sockref_registry_is_socket_active(user, path) || !is_socket(path));
        sockref_release(ref);
        if (atomic_load(&turns_left) % 8 == 0)
            poll(NULL, 0, 1); /* as long as the delay: it ends now or never */
    }
}

START_TEST(a_name_is_taken_again_as_its_delay_ends)
{
    sockref_registry *registry = make_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 1);

    atomic_store(&turns_left, scale(40000));
    run_threads(4, start_in_its_delay, registry);
    WAIT_UNTIL(!exists(path));
    ck_assert_int_eq(lost, 0);
    ck_assert_int_eq(sockref_registry_drain(registry, PATIENCE_MS), 0);
    sockref_release(start(registry, path)); /* it still lives */
    sockref_registry_free(registry);
    WAIT_UNTIL(!exists(path));
}
END_TEST

static void serve_and_drop(int number, void *user)
{
    (void)number, (void)user;
    while (atomic_fetch_sub(&turns_left, 1) > 0) {
        sockref *ref = NULL;
        int fd, status;

        ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
        status = sockref_serve(ref, sockref_echo_handlers(), NULL);
        ck_assert(status == 0 || status == SOCKREF_EBUSY);
        fd = dial(path);
        say_to(fd, 'x');
        ck_assert_int_eq(hear_from(fd), 'x');
        close(fd);
        sockref_release(ref);
    }
}

START_TEST(every_client_of_a_held_served_name_is_answered)
{
    atomic_store(&turns_left, scale(10000));
    run_threads(6, serve_and_drop, NULL);
    ck_assert(!exists(path));
}
END_TEST

static atomic_int good;
static atomic_bool forking;

static int live_in_child(void *user)
{
    char name[128];
    sockref *ref;

    (void)user;
    snprintf(name, sizeof name, "%s/child-%d", directory, (int)getpid());
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == 0);
    EXPECT(sockref_registry_active_socket_count(NULL) == 1);
    sockref_release(ref);
    return 0;
}

static void churn_or_fork(int number, void *user)
{
    if (number > 0) {
        while (atomic_load(&forking)) {
            atomic_store(&turns_left, 50);
            churn(number, user);
        }
        return;
    }
    for (int i = 0; i < 50; i++)
        atomic_fetch_add(&good, in_child(live_in_child, NULL));
    atomic_store(&forking, false);
}

START_TEST(a_fork_in_the_midst_of_it_gives_a_child_that_works)
{
    if (IS_SANITIZED)
        SKIP("a sanitizer does not bear forks among busy threads");
    atomic_store(&forking, true);
    run_threads(4, churn_or_fork, NULL);
    ck_assert_int_eq(good, 50);
    WAIT_UNTIL(count_sockets(directory) == 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("stress");
    TCase *tcase = add_case(suite, "stress");

    tcase_set_timeout(tcase, 300); /* for machines that have more to do */
    tcase_add_test(tcase, lost_sockets_none_in_a_hundred_thousand_lives_of_two_threads);
    tcase_add_test(tcase, lost_sockets_none_among_eight_threads);
    tcase_add_test(tcase, lost_sockets_none_in_a_million_lookups_of_a_held_name);
    tcase_add_test(tcase, many_threads_churn_many_names_with_lookups);
    tcase_add_test(tcase, a_name_is_taken_again_as_its_delay_ends);
    tcase_add_test(tcase, every_client_of_a_held_served_name_is_answered);
    tcase_add_test(tcase, a_fork_in_the_midst_of_it_gives_a_child_that_works);
    return run_suite(suite, argc, argv, NULL);
}
