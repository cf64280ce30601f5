/* Options: src/ref/options.c. */
#include "ref/options.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (24 * 60 * 60 * 1000)

static const struct {
    int option;
    int64_t fallback, least, most;
    bool of_registry;
} options[] = {
    {SOCKREF_OPT_MODE, 0600, -1, 0777, false},
    {SOCKREF_OPT_BACKLOG, 4096, 1, INT32_MAX, false},
    {SOCKREF_OPT_SHARE, 1, 0, 1, false},
    {SOCKREF_OPT_GUARD, 1, 0, 2, false},
    {SOCKREF_OPT_CLEANUP_DELAY_MS, 0, 0, DAY_MS, false},
    {SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 5000, 0, DAY_MS, false},
    {SOCKREF_OPT_START_TIMEOUT_MS, 5000, 0, DAY_MS, false},
    {SOCKREF_OPT_MAX_SOCKETS, 1024, 1, 1 << 29, true},
    {SOCKREF_OPT_MAX_REFERENCES, 65536, 1, ((int64_t)1 << 35) - 1, true},
    {SOCKREF_OPT_MAX_CONNECTIONS, 0, 0, INT32_MAX, false},
    {SOCKREF_OPT_MAX_BUFFERED, 16 << 20, 0, INT64_MAX, false},
    {SOCKREF_OPT_UNIQUE, 0, 0, 1, false},
    {SOCKREF_OPT_EXCLUSIVE, 0, 0, 1, false},
    {SOCKREF_OPT_HANDOVER, 1, 0, 1, false},
    {SOCKREF_OPT_IPV6_ONLY, 0, 0, 1, false},
    {SOCKREF_OPT_REUSE_PORT, 0, 0, 1, false},
    {SOCKREF_OPT_KEEP_FILE, 0, 0, 1, true},
};

#define OPTIONS ((int)(sizeof options / sizeof options[0]))

static int64_t resolve(const sockref_options *call, const sockref_options *registry, int option)
{
    struct sr_settings settings;

    sr_settings_init(&settings);
    sr_settings_apply(&settings, registry);
    sr_settings_apply(&settings, call);
    return settings.values[option];
}

START_TEST(the_default_holds_where_nothing_is_set)
{
    sockref_options *empty = sockref_options_new();

    ck_assert_int_eq(resolve(NULL, NULL, options[_i].option), options[_i].fallback);
    ck_assert_int_eq(resolve(empty, empty, options[_i].option), options[_i].fallback);
    sockref_options_free(empty);
}
END_TEST

START_TEST(the_range_is_kept)
{
    sockref_options *set = sockref_options_new();
    int option = options[_i].option;

    harness_assert_ok(sockref_options_set_int(set, option, options[_i].least));
    ck_assert_int_eq(resolve(set, NULL, option), options[_i].least);
    harness_assert_ok(sockref_options_set_int(set, option, options[_i].most));
    ck_assert_int_eq(resolve(set, NULL, option), options[_i].most);
    harness_assert_fails(sockref_options_set_int(set, option, options[_i].least - 1), -EINVAL);
    ck_assert_ptr_nonnull(
        strstr(sockref_last_error()->message, harness_text("%lld", (long long)options[_i].least)));
    harness_assert_fails(sockref_options_set_int(set, option, INT64_MIN), -EINVAL);
    if (options[_i].most < INT64_MAX) {
        harness_assert_fails(sockref_options_set_int(set, option, options[_i].most + 1), -EINVAL);
        harness_assert_fails(sockref_options_set_int(set, option, INT64_MAX), -EINVAL);
    }
    ck_assert_int_eq(resolve(set, NULL, option), options[_i].most); /* a refusal changed nothing */
    sockref_options_free(set);
}
END_TEST

START_TEST(a_mode_is_told_in_octal)
{
    sockref_options *set = sockref_options_new();

    harness_assert_fails(sockref_options_set_int(set, SOCKREF_OPT_MODE, 01777), -EINVAL);
    ck_assert_str_eq(sockref_last_error()->message,
                     "the mode must be from 0 to 0777, or -1, not 01777");
    harness_assert_fails(sockref_options_set_int(set, SOCKREF_OPT_MODE, -2), -EINVAL);
    ck_assert_str_eq(sockref_last_error()->message,
                     "the mode must be from 0 to 0777, or -1, not -2");
    sockref_options_free(set);
}
END_TEST

START_TEST(the_call_is_before_the_registry_and_that_before_the_default)
{
    sockref_options *call = sockref_options_new(), *registry = sockref_options_new();
    int option = options[_i].option;

    harness_assert_ok(sockref_options_set_int(registry, option, options[_i].most));
    ck_assert_int_eq(resolve(call, registry, option), options[_i].most);
    ck_assert_int_eq(resolve(NULL, registry, option), options[_i].most);
    harness_assert_ok(sockref_options_set_int(call, option, options[_i].least));
    ck_assert_int_eq(resolve(call, registry, option), options[_i].least);
    sockref_options_free(call);
    sockref_options_free(registry);
}
END_TEST

START_TEST(what_belongs_to_a_registry_is_refused_at_a_call)
{
    sockref_options *set = sockref_options_new();
    sockref_registry *registry = harness_registry(0);
    sockref *ref = NULL;

    harness_assert_ok(sockref_options_set_int(set, options[_i].option, options[_i].fallback));
    if (options[_i].of_registry) {
        harness_assert_fails(sockref_registry_listen(registry, harness_at("a"), set, &ref),
                             -EINVAL);
        ck_assert_ptr_null(ref);
        ck_assert_uint_eq(harness_files(), 0);
    } else {
        harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), set, &ref));
        sockref_release(ref);
    }
    sockref_options_free(set);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(the_directory_is_refused_at_a_call)
{
    sockref_options *set = sockref_options_new();
    sockref *ref = NULL;

    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_fails(sockref_registry_listen(NULL, harness_at("a"), set, &ref), -EINVAL);
    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, NULL));
    harness_assert_ok(sockref_registry_listen(NULL, harness_at("a"), set, &ref));
    sockref_release(ref);
    sockref_options_free(set);
}
END_TEST

START_TEST(unknown_options_are_refused)
{
    static const int unknown[] = {0, -1, 20, 21, 31, 32, 33, 100, 255, INT32_MAX, INT32_MIN};
    sockref_options *set = sockref_options_new();

    harness_assert_fails(sockref_options_set_int(set, unknown[_i], 0), -EINVAL);
    harness_assert_fails(sockref_options_set_int(set, unknown[_i], 1), -EINVAL);
    harness_assert_fails(sockref_options_set_string(set, unknown[_i], "/a"), -EINVAL);
    ck_assert_uint_eq(set->set, 0);
    sockref_options_free(set);
}
END_TEST

START_TEST(numbers_are_no_strings)
{
    sockref_options *set = sockref_options_new();

    harness_assert_fails(sockref_options_set_int(set, SOCKREF_OPT_DIRECTORY, 1), -EINVAL);
    for (int i = 0; i < OPTIONS; i++)
        harness_assert_fails(sockref_options_set_string(set, options[i].option, "/a"), -EINVAL);
    sockref_options_free(set);
}
END_TEST

START_TEST(null_is_a_wrong_set)
{
    harness_assert_fails(sockref_options_set_int(NULL, SOCKREF_OPT_MODE, 0600), -EINVAL);
    harness_assert_fails(sockref_options_set_string(NULL, SOCKREF_OPT_DIRECTORY, "/a"), -EINVAL);
    sockref_options_free(NULL);
}
END_TEST

/* T4: the string is copied. */
START_TEST(the_directory_is_copied)
{
    sockref_options *set = sockref_options_new();
    char path[] = "/some/where";

    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, path));
    memset(path, 'x', sizeof path - 1);
    ck_assert_str_eq(set->directory, "/some/where");
    harness_assert_fails(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, "relative"),
                         SOCKREF_EPATH);
    harness_assert_fails(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, "/a/../b"),
                         SOCKREF_EPATH);
    harness_assert_fails(
        sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, harness_text("/%05000d", 1)),
        SOCKREF_EPATHLEN);
    ck_assert_str_eq(set->directory, "/some/where");
    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, "/other"));
    ck_assert_str_eq(set->directory, "/other");
    sockref_options_free(set);
}
END_TEST

/* T4: a registry keeps a copy. */
START_TEST(a_registry_keeps_a_copy)
{
    sockref_options *set = harness_options(SOCKREF_OPT_MODE, 0640, 0);
    sockref_registry *registry;
    sockref *ref;

    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(set, &registry));
    harness_assert_ok(sockref_options_set_int(set, SOCKREF_OPT_MODE, 0666));
    sockref_options_free(set);
    harness_assert_ok(sockref_registry_listen(registry, NULL, NULL, &ref));
    ck_assert_int_eq(strncmp(sockref_path(ref), harness_dir(), strlen(harness_dir())), 0);
    ck_assert_uint_eq(harness_mode(sockref_path(ref)), 0640);
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(without_memory_nothing_changes)
{
    sockref_options *set = sockref_options_new(), copy;

    harness_assert_ok(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, "/first"));
    faults_install();
    faults_arm_from(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_ptr_null(sockref_options_new());
    harness_assert_error(-ENOMEM);
    harness_assert_fails(sockref_options_set_string(set, SOCKREF_OPT_DIRECTORY, "/second"),
                         -ENOMEM);
    ck_assert_str_eq(set->directory, "/first");
    harness_assert_fails(sr_options_copy(set, &copy), -ENOMEM);
    sr_options_clear(&copy);
    faults_disarm();
    sockref_options_free(set);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = harness_tcase(suite, "options");

    tcase_add_loop_test(tcase, the_default_holds_where_nothing_is_set, 0, OPTIONS);
    tcase_add_loop_test(tcase, the_range_is_kept, 0, OPTIONS);
    tcase_add_test(tcase, a_mode_is_told_in_octal);
    tcase_add_loop_test(tcase, the_call_is_before_the_registry_and_that_before_the_default, 0,
                        OPTIONS);
    tcase_add_loop_test(tcase, what_belongs_to_a_registry_is_refused_at_a_call, 0, OPTIONS);
    tcase_add_test(tcase, the_directory_is_refused_at_a_call);
    tcase_add_loop_test(tcase, unknown_options_are_refused, 0, 11);
    tcase_add_test(tcase, numbers_are_no_strings);
    tcase_add_test(tcase, null_is_a_wrong_set);
    tcase_add_test(tcase, the_directory_is_copied);
    tcase_add_test(tcase, a_registry_keeps_a_copy);
    tcase_add_test(tcase, without_memory_nothing_changes);
    return harness_run(suite);
}
