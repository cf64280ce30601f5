/* The description of a thread's last failing call: src/base/error.c. */
#include "base/error.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

START_TEST(nothing_failed_yet)
{
    const sockref_error *error = sockref_last_error();

    ck_assert_uint_eq(error->size, sizeof *error);
    ck_assert_int_eq(error->status, 0);
    ck_assert_str_eq(error->message, "");
    ck_assert_ptr_null(error->path);
    ck_assert_ptr_null(error->syscall);
}
END_TEST

/* V8 */
START_TEST(a_system_error_keeps_call_errno_and_path)
{
    const sockref_error *error;

    ck_assert_int_eq(sr_error_system(EACCES, "bind", "/a/b"), -EACCES);
    error = sockref_last_error();
    ck_assert_uint_eq(error->size, sizeof *error);
    ck_assert_int_eq(error->status, -EACCES);
    ck_assert_int_eq(error->os_errno, EACCES);
    ck_assert_str_eq(error->syscall, "bind");
    ck_assert_str_eq(error->path, "/a/b");
    ck_assert_ptr_nonnull(strstr(error->message, "bind"));
    ck_assert_ptr_nonnull(strstr(error->message, "/a/b"));
}
END_TEST

START_TEST(a_wrapped_error_keeps_both_numbers)
{
    ck_assert_int_eq(
        sr_error_wrapped(SOCKREF_EBUSY, EADDRINUSE, "bind", "/x", "the name is %s", "taken"),
        SOCKREF_EBUSY);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_EBUSY);
    ck_assert_int_eq(sockref_last_error()->os_errno, EADDRINUSE);
    ck_assert_str_eq(sockref_last_error()->message, "the name is taken");
}
END_TEST

START_TEST(an_argument_error_is_einval)
{
    ck_assert_int_eq(sr_error_argument("%d is wrong", 7), -EINVAL);
    ck_assert_int_eq(sockref_last_error()->status, -EINVAL);
    ck_assert_int_eq(sockref_last_error()->os_errno, 0);
    ck_assert_str_eq(sockref_last_error()->message, "7 is wrong");
}
END_TEST

/* J22: the texts are copies. */
START_TEST(the_path_is_copied_however_long_it_is)
{
    char *path = malloc(5000);

    memset(path, 'p', 4999);
    path[4999] = '\0';
    sr_error_set(SOCKREF_EPATH, path, "wrong");
    memset(path, 'q', 4999);
    free(path);
    ck_assert_uint_eq(strlen(sockref_last_error()->path), 4999);
    ck_assert_int_eq(sockref_last_error()->path[4998], 'p');
}
END_TEST

START_TEST(a_long_message_is_cut_not_spilled)
{
    const char *text = harness_text("%02000d", 1);

    sr_error_set(SOCKREF_EPATH, NULL, "%s", text);
    ck_assert_uint_lt(strlen(sockref_last_error()->message), 2000);
    ck_assert_uint_gt(strlen(sockref_last_error()->message), 100);
}
END_TEST

/* An error may be described with the text of the one before. */
START_TEST(the_old_description_may_be_told_in_the_new_one)
{
    sr_error_set(SOCKREF_EPATH, "/old", "inner");
    sr_error_set(SOCKREF_EBUSY, sockref_last_error()->path, "outer of %s",
                 sockref_last_error()->message);
    ck_assert_str_eq(sockref_last_error()->path, "/old");
    ck_assert_str_eq(sockref_last_error()->message, "outer of inner");
}
END_TEST

/* T8, D17: without memory the description is a static text. */
START_TEST(without_memory_the_description_is_still_there)
{
    faults_install();
    faults_arm_from(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_int_eq(sr_error_set(SOCKREF_EPATH, "/p", "text"), SOCKREF_EPATH);
    ck_assert_int_eq(sockref_last_error()->status, -ENOMEM);
    ck_assert_str_eq(sockref_last_error()->message, "out of memory");
    ck_assert_int_eq(sr_error_no_memory(), -ENOMEM);
    ck_assert_int_eq(sr_error_no_memory(), -ENOMEM);
    faults_disarm();
    sr_error_set(SOCKREF_EPATH, "/p", "text");
    ck_assert_str_eq(sockref_last_error()->message, "text");
}
END_TEST

static void fail_alone(unsigned number, void *arg)
{
    pthread_barrier_t *barrier = arg;

    ck_assert_int_eq(sockref_last_error()->status, 0);
    sr_error_set(SOCKREF_EPATH - (int)number, NULL, "thread %u", number);
    pthread_barrier_wait(barrier);
    ck_assert_int_eq(sockref_last_error()->status, SOCKREF_EPATH - (int)number);
    ck_assert_str_eq(sockref_last_error()->message, harness_text("thread %u", number));
}

START_TEST(each_thread_has_its_own)
{
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, 8);
    sr_error_set(SOCKREF_EBUSY, NULL, "of the main thread");
    harness_in_threads(8, fail_alone, &barrier);
    ck_assert_str_eq(sockref_last_error()->message, "of the main thread");
    pthread_barrier_destroy(&barrier);
}
END_TEST

static void *give(void *arg)
{
    sr_error_give(arg);
    ck_assert_str_eq(sockref_last_error()->message, "carried");
    ck_assert_str_eq(sockref_last_error()->path, "/carried");
    return NULL;
}

START_TEST(a_description_can_be_carried_to_another_thread)
{
    pthread_t thread;
    struct sr_error *error;

    sr_error_set(SOCKREF_EPATH, "/carried", "carried");
    error = sr_error_take();
    ck_assert_ptr_nonnull(error);
    ck_assert_int_eq(sockref_last_error()->status, 0);
    ck_assert_ptr_null(sr_error_take());
    ck_assert_int_eq(pthread_create(&thread, NULL, give, error), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(sockref_last_error()->status, 0);
    sr_error_give(NULL);
    sr_error_free(NULL);
    ck_assert_int_eq(sockref_last_error()->status, 0);
}
END_TEST

/* "Calls that succeed do not change it." */
START_TEST(a_call_that_succeeds_leaves_it)
{
    sockref_registry *registry = harness_registry(0);
    sockref *ref, *other;

    harness_assert_fails(sockref_registry_get_existing(registry, "relative", &ref), SOCKREF_EPATH);
    ref = harness_listen(registry, harness_at("a"));
    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at(".//a"), &other));
    sockref_release(sockref_acquire(ref));
    sockref_registry_is_socket_active(registry, "");
    sockref_registry_is_socket_active(registry, harness_at("none/none"));
    sockref_release(other);
    sockref_release(ref);
    sockref_registry_free(registry);
    harness_assert_error(SOCKREF_EPATH);
    ck_assert_str_eq(sockref_last_error()->path, "relative");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tcase = harness_tcase(suite, "error");

    tcase_add_test(tcase, nothing_failed_yet);
    tcase_add_test(tcase, a_system_error_keeps_call_errno_and_path);
    tcase_add_test(tcase, a_wrapped_error_keeps_both_numbers);
    tcase_add_test(tcase, an_argument_error_is_einval);
    tcase_add_test(tcase, the_path_is_copied_however_long_it_is);
    tcase_add_test(tcase, a_long_message_is_cut_not_spilled);
    tcase_add_test(tcase, the_old_description_may_be_told_in_the_new_one);
    tcase_add_test(tcase, without_memory_the_description_is_still_there);
    tcase_add_test(tcase, each_thread_has_its_own);
    tcase_add_test(tcase, a_description_can_be_carried_to_another_thread);
    tcase_add_test(tcase, a_call_that_succeeds_leaves_it);
    return harness_run(suite);
}
