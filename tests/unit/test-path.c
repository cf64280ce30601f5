/* Path rules: src/name/path.c. V4, D6, D7, D8, D29, D31, U6. */
#include "name/path.h"

#include "harness/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A path is made of a pattern: "%a" stands for as many 'a' as count says. */
struct rule {
    const char *pattern;
    int status;
    unsigned count;
};

static const struct rule rules[] = {
    /* plain */
    {"/a", 0, 0},
    {"/tmp/a.sock", 0, 0},
    {"/a/b/c/d/e/f/g", 0, 0},
    {"/run/user/1000/app/name.sock", 0, 0},
    {"/a.", 0, 0},
    {"/.a", 0, 0},
    {"/...", 0, 0},
    {"/....", 0, 0},
    {"/a/...", 0, 0},
    {"/.../a", 0, 0},
    /* D7: dots that are no component */
    {"/a..b", 0, 0},
    {"/a..b.sock", 0, 0},
    {"/a../b", 0, 0},
    {"/..a/b", 0, 0},
    {"/a/..b", 0, 0},
    {"/a/b..", 0, 0},
    {"/a..", 0, 0},
    {"/..a", 0, 0},
    {"/a/.b", 0, 0},
    {"/a/b.", 0, 0},
    {"/.a/.b/.c", 0, 0},
    /* D7: dots that lead elsewhere */
    {"/..", SOCKREF_EPATH, 0},
    {"/../a", SOCKREF_EPATH, 0},
    {"/a/..", SOCKREF_EPATH, 0},
    {"/a/../b", SOCKREF_EPATH, 0},
    {"/a/b/../../c", SOCKREF_EPATH, 0},
    {"/dir/../dir/x.sock", SOCKREF_EPATH, 0},
    {"/a//../b", SOCKREF_EPATH, 0},
    {"/./../b", SOCKREF_EPATH, 0},
    {"/a/../", SOCKREF_EPATH, 0},
    {"//..//a", SOCKREF_EPATH, 0},
    {"/..//a", SOCKREF_EPATH, 0},
    {"/a/./../b", SOCKREF_EPATH, 0},
    {"/a/.././b", SOCKREF_EPATH, 0},
    {"/a/.../../b", SOCKREF_EPATH, 0},
    {"..", SOCKREF_EPATH, 0},
    {"../a", SOCKREF_EPATH, 0},
    {"@a/../b", SOCKREF_EPATH, 0},
    {"@a/..", SOCKREF_EPATH, 0},
    /* D8: what folds is allowed */
    {"//a", 0, 0},
    {"/./a", 0, 0},
    {"/a//b", 0, 0},
    {"/a///b", 0, 0},
    {"/a/./b", 0, 0},
    {"/a/././b", 0, 0},
    {"/a/.//./b", 0, 0},
    {"////////a", 0, 0},
    /* no file name */
    {"/", SOCKREF_EPATH, 0},
    {"//", SOCKREF_EPATH, 0},
    {"///", SOCKREF_EPATH, 0},
    {"/.", SOCKREF_EPATH, 0},
    {"//.", SOCKREF_EPATH, 0},
    {"/./", SOCKREF_EPATH, 0},
    {"/./.", SOCKREF_EPATH, 0},
    {"/a/", SOCKREF_EPATH, 0},
    {"/a//", SOCKREF_EPATH, 0},
    {"/a/.", SOCKREF_EPATH, 0},
    {"/a/./", SOCKREF_EPATH, 0},
    {"/a/./.", SOCKREF_EPATH, 0},
    {"/a/b/", SOCKREF_EPATH, 0},
    {"/tmp/a.sock/", SOCKREF_EPATH, 0},
    /* D31: empty; relative */
    {"", SOCKREF_EPATH, 0},
    {"a", SOCKREF_EPATH, 0},
    {"a.sock", SOCKREF_EPATH, 0},
    {"a/b", SOCKREF_EPATH, 0},
    {"./a", SOCKREF_EPATH, 0},
    {".", SOCKREF_EPATH, 0},
    {"~", SOCKREF_EPATH, 0},
    {"~/a", SOCKREF_EPATH, 0},
    {" /a", SOCKREF_EPATH, 0},
    {"\\a", SOCKREF_EPATH, 0},
    {"C:\\a", SOCKREF_EPATH, 0},
    {"unix:/a", SOCKREF_EPATH, 0},
    {"file:///a", SOCKREF_EPATH, 0},
    {"$HOME/a", SOCKREF_EPATH, 0},
    /* D29: paths are bytes */
    {"/a b", 0, 0},
    {"/ ", 0, 0},
    {"/a/ b /c ", 0, 0},
    {"/\x80", 0, 0},
    {"/\xff", 0, 0},
    {"/a\xff\xfe", 0, 0},
    {"/\xff/\xff", 0, 0},
    {"/\xc3\xa4.sock", 0, 0},
    {"/\xf0\x9f\x98\x80", 0, 0},
    {"/\xc3", 0, 0},
    {"/\xed\xa0\x80", 0, 0},
    {"/a\\b", 0, 0},
    {"/a:b", 0, 0},
    {"/a*?[]", 0, 0},
    {"/a'b\"c", 0, 0},
    {"/a$b`c`", 0, 0},
    {"/%s%n%d", 0, 0},
    {"/@a", 0, 0},
    {"/a@b", 0, 0},
    {"/-a", 0, 0},
    {"/~", 0, 0},
    /* abstract */
    {"@a", 0, 0},
    {"@", SOCKREF_EPATH, 0},
    {"@@", 0, 0},
    {"@/a", 0, 0},
    {"@/", 0, 0},
    {"@a/", 0, 0},
    {"@.", 0, 0},
    {"@a b", 0, 0},
    {"@\xff", 0, 0},
    {"@a//b", 0, 0},
    {"@..a", 0, 0},
    {"@..", 0, 0}, /* one component, "@..": no ".." */
    {"@a\n", SOCKREF_EPATH, 0},
    {"@\x01", SOCKREF_EPATH, 0},
    {"@\x7f", SOCKREF_EPATH, 0},
    /* U6: lengths of names that are bound as they are, in bytes without the NUL */
    {"/%a", 0, 1},
    {"/%a", 0, 84},
    {"/%a", 0, 85},
    {"/%a", 0, 86},
    {"/%a", 0, 105},
    {"/%a", 0, 106}, /* 107 in all: the last that every program can name */
    {"/%a", SOCKREF_EPATHLEN, 107},
    {"/%a", SOCKREF_EPATHLEN, 108},
    {"/%a", SOCKREF_EPATHLEN, 109},
    {"/%a", SOCKREF_EPATHLEN, 255},
    {"/%a", SOCKREF_EPATHLEN, 256},
    {"/%a", SOCKREF_EPATHLEN, 4094},
    {"/%a", SOCKREF_EPATHLEN, 4095},
    {"/%a", SOCKREF_EPATHLEN, 4096},
    {"/%a", SOCKREF_EPATHLEN, 100000},
    /* longer ones by way of the directory: the last component counts */
    {"/%a/b", 0, 104},
    {"/%a/b", 0, 105},
    {"/%a/b", 0, 106},
    {"/%a/b", 0, 107},
    {"/%a/b", 0, 255},
    {"/%a/b", 0, 4091},
    {"/%a/b", 0, 4092},
    {"/%a/b", SOCKREF_EPATHLEN, 4093},
    {"/%a/b", SOCKREF_EPATHLEN, 4094},
    {"/%a/b", SOCKREF_EPATHLEN, 5000},
    {"/0123456789012345678901/%a", 0, 83},
    {"/0123456789012345678901/%a", 0, 84},
    {"/0123456789012345678901/%a", 0, 85},
    {"/0123456789012345678901/%a", SOCKREF_EPATHLEN, 86},
    {"/0123456789012345678901/%a", SOCKREF_EPATHLEN, 87},
    {"/01234567890123456789/%a", 0, 85},
    {"/01234567890123456789/%a", SOCKREF_EPATHLEN, 86},
    {"/012345678901234567890/%a", SOCKREF_EPATHLEN, 86},
    {"/0123456789012345678/%a", 0, 86}, /* 107 in all: no limit of the leaf */
    {"/0123456789012345678/%a", SOCKREF_EPATHLEN, 87},
    {"//%a", 0, 105},
    {"//%a", SOCKREF_EPATHLEN, 106},
    {"/./%a", 0, 104},
    {"/./%a", SOCKREF_EPATHLEN, 105},
    /* abstract lengths */
    {"@%a", 0, 1},
    {"@%a", 0, 105},
    {"@%a", 0, 106},
    {"@%a", SOCKREF_EPATHLEN, 107},
    {"@%a", SOCKREF_EPATHLEN, 108},
    {"@%a", SOCKREF_EPATHLEN, 5000},
    {"@%a/b", SOCKREF_EPATHLEN, 107},
    /* what is wrong in two ways is no path before it is too long */
    {"%a", SOCKREF_EPATH, 5000},
    {"/%a/", SOCKREF_EPATH, 5000},
    {"/%a/..", SOCKREF_EPATH, 5000},
    {"/%a\n", SOCKREF_EPATH, 5000},
};

#define RULES ((int)(sizeof rules / sizeof rules[0]))

static const char *make_path(const struct rule *rule)
{
    static char path[200000];
    const char *hole = rule->count ? strstr(rule->pattern, "%a") : NULL;
    size_t before = hole ? (size_t)(hole - rule->pattern) : 0;

    if (!hole)
        return rule->pattern;
    memcpy(path, rule->pattern, before);
    memset(path + before, 'a', rule->count);
    strcpy(path + before + rule->count, hole + 2);
    return path;
}

static void check(const char *path, int status)
{
    ck_assert_msg(sr_path_check(path) == status, "%.80s (%zu): %s", path, strlen(path),
                  sockref_status_name(sr_path_check(path)));
    ck_assert_int_eq(sr_path_is_usable(path), status == 0);
    if (status == 0)
        return;
    harness_assert_error(status);
    ck_assert_str_eq(sockref_last_error()->path, path);
}

START_TEST(every_rule_holds)
{
    check(make_path(&rules[_i]), rules[_i].status);
}
END_TEST

/* Each control byte, and DEL, at each place; every other byte is allowed. */
static void check_byte(int value)
{
    bool control = value < 0x20 || value == 0x7f;
    char byte = (char)value;
    char paths[4][8] = {
        {'/', byte, 0}, {'/', 'a', byte, 0}, {'/', byte, 'a', '/', 'b', 0}, {'@', byte, 0}};

    for (int i = 0; i < 4; i++) {
        if (value == '/' && i < 2)
            check(paths[i], SOCKREF_EPATH); /* a trailing slash */
        else if (value == '.' && i == 0)
            check(paths[i], SOCKREF_EPATH);
        else
            check(paths[i], control ? SOCKREF_EPATH : 0);
    }
}

START_TEST(every_byte_is_allowed_or_refused)
{
    for (int value = 1; value < 256; value++)
        check_byte(value);
}
END_TEST

START_TEST(null_is_a_wrong_argument)
{
    harness_assert_fails(sr_path_check(NULL), -EINVAL);
    ck_assert(!sr_path_is_usable(NULL));
    harness_assert_fails(sr_path_check_directory(NULL), -EINVAL);
}
END_TEST

/* U6: the message tells the limit and the length. */
START_TEST(too_long_tells_the_limit)
{
    harness_assert_fails(sr_path_check(harness_text("@%0*d", 107, 0)), SOCKREF_EPATHLEN);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "107"));
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "108"));
    harness_assert_fails(sr_path_check(harness_text("/%0*d", 120, 0)), SOCKREF_EPATHLEN);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "85"));
    harness_assert_fails(sr_path_check(harness_text("/%0*d/a", 4100, 0)), SOCKREF_EPATHLEN);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "4095"));
}
END_TEST

static const struct {
    const char *path;
    int status;
} directories[] = {
    {"/", 0},
    {"//", 0},
    {"/.", 0},
    {"/a", 0},
    {"/a/", 0},
    {"/a//", 0},
    {"/a/./b", 0},
    {"/a b/\xff", 0},
    {"/..a", 0},
    {"", SOCKREF_EPATH},
    {"a", SOCKREF_EPATH},
    {".", SOCKREF_EPATH},
    {"@a", SOCKREF_EPATH},
    {"/..", SOCKREF_EPATH},
    {"/a/../b", SOCKREF_EPATH},
    {"/a/..", SOCKREF_EPATH},
    {"/a\n", SOCKREF_EPATH},
    {"/a\x7f/b", SOCKREF_EPATH},
};

START_TEST(directories_have_rules_of_their_own)
{
    if (directories[_i].status == 0)
        harness_assert_ok(sr_path_check_directory(directories[_i].path));
    else
        harness_assert_fails(sr_path_check_directory(directories[_i].path), directories[_i].status);
}
END_TEST

START_TEST(a_directory_has_at_most_4095_bytes)
{
    harness_assert_ok(sr_path_check_directory(harness_text("/%0*d", 4094, 0)));
    harness_assert_fails(sr_path_check_directory(harness_text("/%0*d", 4095, 0)), SOCKREF_EPATHLEN);
}
END_TEST

static const struct {
    const char *path, *folded;
} folds[] = {
    {"/a", "/a"},         {"/a/b", "/a/b"},        {"//a", "/a"},       {"///a", "/a"},
    {"/a//b", "/a/b"},    {"/a///b//c", "/a/b/c"}, {"/./a", "/a"},      {"/a/./b", "/a/b"},
    {"/a/././b", "/a/b"}, {"/a/.//b", "/a/b"},     {"/a//./b", "/a/b"}, {"//.//.//a", "/a"},
    {"/a./b", "/a./b"},   {"/.a/b", "/.a/b"},      {"/a/.b", "/a/.b"},  {"/a/..b//c", "/a/..b/c"},
    {"/a/b.", "/a/b."},   {"/.././/", "/../"}, /* never given to it; still no surprise */
};

#define FOLDS ((int)(sizeof folds / sizeof folds[0]))

/* D8: what is trivially the same has one key. */
START_TEST(folding)
{
    char out[64];

    ck_assert_uint_eq(sr_path_fold(folds[_i].path, out), strlen(folds[_i].folded));
    ck_assert_str_eq(out, folds[_i].folded);
    ck_assert_int_eq(sr_path_needs_fold(folds[_i].path), strcmp(folds[_i].path, out) != 0);
    ck_assert(!sr_path_needs_fold(out));
}
END_TEST

START_TEST(abstract_names_are_never_folded)
{
    ck_assert(!sr_path_needs_fold("@a//b"));
    ck_assert(!sr_path_needs_fold("@a/./b"));
    ck_assert(sr_path_is_abstract("@a"));
    ck_assert(!sr_path_is_abstract("/@a"));
}
END_TEST

/* Any usable path of these components folds to one that folds to itself and has the same leaf. */
START_TEST(folding_random_paths)
{
    static const char *const parts[] = {"/", "/.", "/a", "/b.", "/..c", "//", "/./", "/dd"};
    char path[256], out[256], again[256];

    srand(1);
    for (int round = 0; round < 20000; round++) {
        path[0] = '\0';
        for (int i = rand() % 12; i >= 0; i--)
            strcat(path, parts[rand() % 8]);
        strcat(path, "/leaf");
        if (!sr_path_is_usable(path))
            continue;
        sr_path_fold(path, out);
        ck_assert_msg(!strstr(out, "//") && !strstr(out, "/./"), "%s", out);
        ck_assert_str_eq(sr_path_leaf(out), "leaf");
        sr_path_fold(out, again);
        ck_assert_str_eq(out, again);
    }
}
END_TEST

/* V4, D6, D31: refused before any side effect, the same way by everyone who takes a path. */
START_TEST(all_functions_refuse_the_same_paths)
{
    const char *path = make_path(&rules[_i]);
    sockref_registry *registry;
    sockref *ref = NULL;
    int fd;

    if (rules[_i].status == 0)
        return;
    registry = harness_registry(0);
    fd = harness_bind(harness_at("own"));
    harness_assert_fails(sockref_registry_listen(registry, path, NULL, &ref), rules[_i].status);
    harness_assert_fails(sockref_registry_get_or_create(registry, path, &ref), rules[_i].status);
    harness_assert_fails(sockref_registry_get_existing(registry, path, &ref), rules[_i].status);
    harness_assert_fails(sockref_registry_register_new(registry, path, fd, &ref), rules[_i].status);
    harness_assert_fails(sockref_registry_cleanup(registry, path), rules[_i].status);
    ck_assert(!sockref_registry_is_socket_active(registry, path));
    ck_assert_ptr_null(ref);
    close(fd);
    ck_assert_int_eq(remove(harness_at("own")), 0);
    ck_assert_uint_eq(harness_files(), 0);
    sockref_registry_free(registry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("path");
    TCase *tcase = harness_tcase(suite, "path");

    tcase_add_loop_test(tcase, every_rule_holds, 0, RULES);
    tcase_add_test(tcase, every_byte_is_allowed_or_refused);
    tcase_add_test(tcase, null_is_a_wrong_argument);
    tcase_add_test(tcase, too_long_tells_the_limit);
    tcase_add_loop_test(tcase, directories_have_rules_of_their_own, 0,
                        (int)(sizeof directories / sizeof directories[0]));
    tcase_add_test(tcase, a_directory_has_at_most_4095_bytes);
    tcase_add_loop_test(tcase, folding, 0, FOLDS);
    tcase_add_test(tcase, abstract_names_are_never_folded);
    tcase_add_test(tcase, folding_random_paths);
    tcase_add_loop_test(tcase, all_functions_refuse_the_same_paths, 0, RULES);
    return harness_run(suite);
}
