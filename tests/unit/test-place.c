/* Places, and where default names go: src/name/place.c. D28, U5. */
#include "name/place.h"

#include "base/fd.h"
#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sr_place place;

static const char *make_dir(const char *leaf, mode_t mode)
{
    const char *path = harness_at(leaf);

    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
    return path;
}

static const char *in(const char *directory)
{
    return harness_text("%s/x", directory);
}

START_TEST(a_directory_of_ones_own_is_pinned)
{
    struct stat info;

    harness_assert_ok(sr_place_open(harness_at("x"), &place));
    ck_assert_int_eq(stat(harness_dir(), &info), 0);
    ck_assert_uint_eq(place.device, info.st_dev);
    ck_assert_uint_eq(place.inode, info.st_ino);
    ck_assert(!place.shared);
    ck_assert_uint_eq(harness_noted(), 1);
    sr_place_close(&place);
    sr_place_close(&place);
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

START_TEST(the_root_is_a_directory_too)
{
    if (geteuid() != 0)
        return; /* it may be writable for all in a container */
    harness_assert_ok(sr_place_open("/x", &place));
    sr_place_close(&place);
}
END_TEST

START_TEST(an_abstract_name_has_no_directory)
{
    harness_assert_ok(sr_place_open("@a/b", &place));
    ck_assert_int_eq(place.dir, -1);
    sr_place_close(&place);
}
END_TEST

static const struct {
    mode_t mode;
    bool trusted;
} modes[] = {
    {0700, true},  {0755, true},  {0711, true}, {0770, false}, {0720, false},
    {0702, false}, {0777, false}, {0500, true}, {02755, true}, {02775, false},
};

/* I2: where others could replace the socket nothing is bound. */
START_TEST(a_directory_that_others_may_change_is_not_trusted)
{
    const char *path = make_dir("d", modes[_i].mode);

    if (modes[_i].trusted) {
        harness_assert_ok(sr_place_open(in(path), &place));
        sr_place_close(&place);
    } else {
        harness_assert_fails(sr_place_open(in(path), &place), SOCKREF_EUNTRUSTED);
        ck_assert_str_eq(sockref_last_error()->path, in(path));
        ck_assert_uint_eq(harness_noted(), 0);
    }
}
END_TEST

START_TEST(a_sticky_directory_of_roots_is_shared)
{
    const char *path = harness_sticky_dir();

    if (!path)
        return;
    harness_assert_ok(sr_place_open(in(path), &place));
    ck_assert(place.shared);
    sr_place_close(&place);
}
END_TEST

static int open_as_nobody(void *arg)
{
    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 99;
    return -sr_place_open(arg, &place) & 0xff;
}

START_TEST(a_directory_of_another_user_is_not_trusted)
{
    const char *own = harness_at("nobodys"), *path;

    if (geteuid() != 0)
        return;
    ck_assert_int_eq(mkdir(own, 0755), 0);
    ck_assert_int_eq(chown(own, 65534, 65534), 0);
    harness_assert_fails(sr_place_open(in(own), &place), SOCKREF_EUNTRUSTED);
    path = make_dir("sticky-of-another", 0700);
    ck_assert_int_eq(chown(path, 65534, 65534), 0);
    ck_assert_int_eq(chmod(path, 01777), 0);
    harness_assert_fails(sr_place_open(in(path), &place), SOCKREF_EUNTRUSTED);
    /* root's are trusted by everyone */
    ck_assert_int_eq(harness_in_child(open_as_nobody, (void *)"/usr/x"), 0);
}
END_TEST

START_TEST(what_cannot_be_opened_is_told)
{
    harness_assert_fails(sr_place_open(harness_at("none/x"), &place), -ENOENT);
    ck_assert_str_eq(sockref_last_error()->syscall, "open");
    ck_assert_str_eq(sockref_last_error()->path, harness_at("none/x"));
    harness_write(harness_at("file"), "");
    harness_assert_fails(sr_place_open(harness_at("file/x"), &place), -ENOTDIR);
    ck_assert_int_eq(symlink("loop", harness_at("loop")), 0);
    harness_assert_fails(sr_place_open(harness_at("loop/x"), &place), -ELOOP);
}
END_TEST

START_TEST(a_symlinked_directory_is_the_one_it_leads_to)
{
    struct sr_place other;
    dev_t device;
    ino_t inode;

    make_dir("real", 0700);
    ck_assert_int_eq(symlink("real", harness_at("link")), 0);
    harness_assert_ok(sr_place_open(harness_at("real/x"), &place));
    harness_assert_ok(sr_place_open(harness_at("link/x"), &other));
    ck_assert_uint_eq(place.inode, other.inode);
    ck_assert_int_eq(sr_place_find(harness_at("link/x"), &device, &inode), 0);
    ck_assert_uint_eq(inode, place.inode);
    ck_assert_uint_eq(device, place.device);
    sr_place_close(&place);
    sr_place_close(&other);
}
END_TEST

START_TEST(looking_describes_nothing)
{
    dev_t device;
    ino_t inode;

    harness_write(harness_at("file"), "");
    ck_assert_int_eq(sr_place_find(harness_at("none/x"), &device, &inode), -ENOENT);
    ck_assert_int_eq(sr_place_find(harness_at("file/x"), &device, &inode), -ENOTDIR);
    ck_assert_int_eq(sockref_last_error()->status, 0);
}
END_TEST

START_TEST(a_refused_call_leaves_no_descriptor)
{
    static const enum faults_kind kinds[] = {FAULTS_openat, FAULTS_fstat};

    faults_install();
    faults_arm(FAULTS_BIT(kinds[_i]), 1, EIO);
    harness_assert_fails(sr_place_open(harness_at("x"), &place), -EIO);
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

/* ---- the default directory ---- */

static void clear_environment(void)
{
    unsetenv("SOCKREF_DIR");
    unsetenv("XDG_RUNTIME_DIR");
    setenv("TMPDIR", harness_at("none"), 1);
}

static void assert_default(const char *preferred, const char *expected)
{
    bool was_there = harness_exists(expected);
    char *path = NULL;

    harness_assert_ok(
        sr_place_find_default(preferred, &path)); /* whoever only looks makes nothing */
    ck_assert_str_eq(path, expected);
    ck_assert_int_eq(harness_exists(expected), was_there);
    free(path);
    harness_assert_ok(sr_place_default(preferred, &path));
    ck_assert_str_eq(path, expected);
    ck_assert_uint_eq(harness_mode(path), 0700);
    free(path);
}

START_TEST(the_first_that_will_do_is_taken)
{
    const char *own = harness_text("sockref-%u", (unsigned)geteuid());

    clear_environment();
    make_dir("t", 0700);
    make_dir("x", 0700);
    setenv("TMPDIR", harness_at("t"), 1);
    if (access(harness_text("/run/user/%u", (unsigned)geteuid()), W_OK) != 0)
        assert_default(NULL, harness_text("%s/%s", harness_at("t"), own));
    setenv("XDG_RUNTIME_DIR", harness_at("x"), 1);
    assert_default(NULL, harness_at("x/sockref"));
    setenv("SOCKREF_DIR", harness_at("s///"), 1);
    assert_default(NULL, harness_at("s"));
    assert_default(harness_at("p"), harness_at("p"));
}
END_TEST

START_TEST(one_that_will_not_do_is_passed_over)
{
    clear_environment();
    make_dir("open", 0755);
    make_dir("good", 0700);
    harness_write(harness_at("file"), "");
    ck_assert_int_eq(symlink("good", harness_at("link")), 0);
    setenv("SOCKREF_DIR", harness_at("good"), 1);
    assert_default(harness_at("open"), harness_at("good"));    /* others can look into it */
    assert_default(harness_at("file"), harness_at("good"));    /* no directory */
    assert_default(harness_at("link"), harness_at("good"));    /* could be changed to another */
    assert_default(harness_at("no/such"), harness_at("good")); /* its parent is missing */
    assert_default("relative", harness_at("good"));
    assert_default(harness_text("/%090d", 1), harness_at("good")); /* no room for a name */
    ck_assert_str_eq(sockref_last_error()->message, "");
}
END_TEST

/* D28: no home, no TMPDIR, nothing writable: told, not a crash. */
START_TEST(no_directory_at_all_is_told)
{
    char *path = NULL;

    clear_environment();
    unsetenv("TMPDIR");
    unsetenv("HOME");
    faults_install();
    faults_arm_from(FAULTS_BIT(FAULTS_mkdir), 1, EROFS);
    harness_assert_fails(sr_place_default(harness_at("p"), &path), SOCKREF_EUNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "SOCKREF_DIR"));
    ck_assert_ptr_null(path);
}
END_TEST

START_TEST(no_memory_for_its_path_is_told)
{
    char *path = NULL;

    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_fails(sr_place_default(harness_at("p"), &path), -ENOMEM);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("place");
    TCase *tcase = harness_tcase(suite, "place");

    tcase_add_test(tcase, a_directory_of_ones_own_is_pinned);
    tcase_add_test(tcase, the_root_is_a_directory_too);
    tcase_add_test(tcase, an_abstract_name_has_no_directory);
    tcase_add_loop_test(tcase, a_directory_that_others_may_change_is_not_trusted, 0,
                        (int)(sizeof modes / sizeof modes[0]));
    tcase_add_test(tcase, a_sticky_directory_of_roots_is_shared);
    tcase_add_test(tcase, a_directory_of_another_user_is_not_trusted);
    tcase_add_test(tcase, what_cannot_be_opened_is_told);
    tcase_add_test(tcase, a_symlinked_directory_is_the_one_it_leads_to);
    tcase_add_test(tcase, looking_describes_nothing);
    tcase_add_loop_test(tcase, a_refused_call_leaves_no_descriptor, 0, 2);
    tcase_add_test(tcase, the_first_that_will_do_is_taken);
    tcase_add_test(tcase, one_that_will_not_do_is_passed_over);
    tcase_add_test(tcase, no_directory_at_all_is_told);
    tcase_add_test(tcase, no_memory_for_its_path_is_told);
    return harness_run(suite);
}
