/* Life-cycle scenarios: many threads. tests/lifecycle.md has the list. */
#include "util.h"

/* Each thread has a count of its own on the one handle. */
static void query_and_close(int number, void *user)
{
    sockref *ref = user;

    for (int i = 0; number > 0 && i < 2000; i++) {
        ck_assert_str_eq(sockref_path(ref), path);
        ck_assert_uint_ge(sockref_reference_count(ref), 1);
        ck_assert(sockref_is_active(ref));
        ck_assert(sockref_is_owner(ref));
        ck_assert_int_ge(sockref_fd(ref), 0);
        ck_assert_uint_eq(sockref_holder_count(ref), 1);
    }
    sockref_release(ref);
}

START_TEST(L08_a_close_on_one_thread_disturbs_no_call_on_another)
{
    for (int round = 0; round < 10; round++) {
        sockref *ref = start(NULL, path);

        for (int i = 0; i < 3; i++)
            sockref_acquire(ref);
        run_threads(4, query_and_close, ref);
        ck_assert(!exists(path));
    }
}
END_TEST

static void query_or_clean_up(int number, void *user)
{
    sockref *ref = user;

    if (number == 0)
        ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    for (int i = 0; i < 1000; i++) {
        int status = sockref_set_watch(ref, NULL, NULL, NULL);

        ck_assert(status == 0 || status == SOCKREF_ECLOSED);
        ck_assert_str_eq(sockref_path(ref), path);
        ck_assert_uint_ge(sockref_reference_count(ref), 1);
        ck_assert_int_ge(fcntl(sockref_fd(ref), F_GETFD), 0);
    }
    sockref_release(ref);
}

START_TEST(L08_a_cleanup_on_one_thread_makes_calls_on_others_answer_closed)
{
    for (int round = 0; round < 20; round++) {
        sockref *ref = start(NULL, path);

        for (int i = 0; i < 3; i++)
            sockref_acquire(ref);
        run_threads(4, query_or_clean_up, ref);
        ck_assert(!exists(path));
    }
}
END_TEST

static sockref *started[100];

static void start_one_path(int number, void *user)
{
    (void)user;
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &started[number]), 0);
}

START_TEST(L29_a_hundred_concurrent_starts_of_one_path_share_it)
{
    for (int round = 0; round < 10; round++) {
        run_threads(100, start_one_path, NULL);
        ck_assert_uint_eq(sockref_reference_count(started[0]), 100);
        ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
        ck_assert_int_eq(count_sockets(directory), 1);
        ck_assert(is_connectable(path));
        for (int i = 0; i < 100; i++) {
            ck_assert_ptr_eq(started[i], started[0]);
            sockref_release(started[i]);
        }
        ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
        ck_assert(!exists(path));
    }
}
END_TEST

struct outcomes {
    atomic_int good, bad;
    sockref *_Atomic refs[100];
};

static void note_start(int status, sockref *ref, void *user)
{
    struct outcomes *outcomes = user;

    if (status == 0)
        atomic_store(&outcomes->refs[atomic_fetch_add(&outcomes->good, 1)], ref);
    else
        atomic_fetch_add(&outcomes->bad, 1);
}

START_TEST(L29_a_hundred_starts_without_waiting_share_the_path)
{
    static struct outcomes outcomes;

    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(sockref_registry_start_listener(NULL, path, NULL, note_start, &outcomes),
                         0);
    WAIT_UNTIL(atomic_load(&outcomes.good) + atomic_load(&outcomes.bad) == 100);
    ck_assert_int_eq(outcomes.bad, 0);
    WAIT_UNTIL(atomic_load(&outcomes.refs[99]) != NULL);
    ck_assert_uint_eq(sockref_reference_count(outcomes.refs[0]), 100);
    ck_assert_int_eq(count_sockets(directory), 1);
    for (int i = 0; i < 100; i++)
        sockref_release(outcomes.refs[i]);
    ck_assert(!exists(path));
}
END_TEST

static char *path_of(int number)
{
    char leaf[32];

    snprintf(leaf, sizeof leaf, "%d.sock", number);
    return file(leaf);
}

static void start_a_path(int number, void *user)
{
    (void)user;
    ck_assert_int_eq(sockref_registry_listen(NULL, path_of(number), NULL, &started[number]), 0);
}

static void release_one(int number, void *user)
{
    (void)user;
    sockref_release(started[number]);
    ck_assert(!exists(path_of(number)));
}

START_TEST(L30_a_hundred_paths_closed_at_once_leave_no_file)
{
    for (int round = 0; round < (IS_SANITIZED ? 3 : 10); round++) {
        run_threads(100, start_a_path, NULL);
        ck_assert_int_eq(count_sockets(directory), 100);
        ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 100);
        run_threads(100, release_one, NULL);
        ck_assert_int_eq(count_entries(directory), 0);
        ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
    }
}
END_TEST

static void clone_query_close(int number, void *user)
{
    sockref *ref = user;

    (void)number;
    for (int i = 0; i < 5000; i++) {
        sockref *mine = sockref_acquire(ref), *found = NULL;

        ck_assert_ptr_eq(mine, ref);
        ck_assert(sockref_is_active(mine));
        ck_assert_uint_ge(sockref_reference_count(mine), 2);
        if (i % 10 == 0) {
            ck_assert_int_eq(sockref_registry_get_existing(NULL, path, &found), 0);
            ck_assert_ptr_eq(found, ref);
        }
        if (i % 1000 == 0)
            ck_assert(is_socket(path));
        sockref_release(mine);
        sockref_release(found);
    }
    ck_assert(is_socket(path)); /* this thread's count is not given back yet */
    sockref_release(ref);
}

START_TEST(L41_many_threads_clone_query_and_close_one_name)
{
    sockref *ref = start(NULL, path);

    for (int i = 1; i < 16; i++)
        sockref_acquire(ref);
    run_threads(16, clone_query_close, ref);
    ck_assert(!exists(path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-threads");
    TCase *tcase = add_case(suite, "threads");

    tcase_add_test(tcase, L08_a_close_on_one_thread_disturbs_no_call_on_another);
    tcase_add_test(tcase, L08_a_cleanup_on_one_thread_makes_calls_on_others_answer_closed);
    tcase_add_test(tcase, L29_a_hundred_concurrent_starts_of_one_path_share_it);
    tcase_add_test(tcase, L29_a_hundred_starts_without_waiting_share_the_path);
    tcase_add_test(tcase, L30_a_hundred_paths_closed_at_once_leave_no_file);
    tcase_add_test(tcase, L41_many_threads_clone_query_and_close_one_name);
    return run_suite(suite, argc, argv, NULL);
}
