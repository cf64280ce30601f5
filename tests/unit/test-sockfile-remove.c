/* The file is removed by its identity, also where others may add files: src/name/sockfile.c. */
#include "harness/faults.h"
#include "name/lockfile.h"
#include "name/path.h"
#include "test-sockfile-helpers.h"

#include <errno.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- removal by identity ---- */

static void replace_by_file(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    put_file(path);
}

static void replace_by_socket(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    put_live(path);
}

static void replace_by_dead(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    harness_leave_dead(path);
}

static void replace_by_link(const char *path)
{
    ck_assert_int_eq(rename(path, harness_at("moved")), 0);
    ck_assert_int_eq(symlink("moved", path), 0);
}

static void replace_by_dir(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    put_dir(path);
}

static const struct {
    void (*replace)(const char *path);
    bool keeps_ours; /* under another name */
} replacements[] = {
    {replace_by_file, false}, {replace_by_socket, false}, {replace_by_dead, false},
    {replace_by_link, true},  {replace_by_dir, false},
};

/* D10, D13, D14: another file at the path stays, whatever it is; the loss is logged. */
START_TEST(d13_another_file_at_the_path_is_not_removed)
{
    bool sticky = _i >= 5;
    const char *dir = sticky ? harness_sticky_dir() : harness_dir(), *path;
    ino_t inode;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
    foreign = -1;
    harness_log();
    bind_at(path);
    replacements[_i % 5].replace(path);
    inode = harness_inode(path);
    harness_assert_ok(sr_sockfile_remove(&file, path));
    ck_assert_uint_eq(harness_inode(path), inode);
    ck_assert_uint_eq(harness_logged("displaced"), 1);
    sr_sockfile_close(&file);
    if (foreign >= 0) {
        ck_assert(harness_can_dial(path));
        close(foreign);
    }
    remove(path);
    if (replacements[_i % 5].keeps_ours)
        ck_assert_int_eq(unlink(harness_at("moved")), 0);
}
END_TEST

START_TEST(d14_a_file_that_is_gone_is_no_error)
{
    const char *path = harness_at("a");

    harness_log();
    bind_at(path);
    ck_assert_int_eq(unlink(path), 0);
    harness_assert_ok(sr_sockfile_remove(&file, path));
    ck_assert_uint_eq(harness_logged("displaced"), 0);
    sr_sockfile_close(&file);
    bind_at(path);
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, ENOENT); /* gone between the look and the removal */
    harness_assert_ok(sr_sockfile_remove(&file, path));
    faults_disarm();
    unlink(path);
    sr_sockfile_close(&file);
}
END_TEST

/* The directory was moved: the pinned one is where we look, not the path. */
START_TEST(the_file_is_removed_where_its_directory_went)
{
    const char *path = harness_at("d/a");

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    bind_at(path);
    ck_assert_int_eq(rename(harness_at("d"), harness_at("e")), 0);
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    put_file(path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert(!harness_exists(harness_at("e/a")));
}
END_TEST

START_TEST(a_refused_removal_is_told)
{
    static const struct {
        enum faults_kind kind;
        int os_errno;
    } refusals[] = {{FAULTS_unlinkat, EROFS}, {FAULTS_unlinkat, EACCES}, {FAULTS_fstatat, EIO}};
    const char *path = harness_at("a");

    bind_at(path);
    faults_install();
    faults_arm(FAULTS_BIT(refusals[_i].kind), 1, refusals[_i].os_errno);
    harness_assert_fails(sr_sockfile_remove(&file, path), -refusals[_i].os_errno);
    ck_assert_str_eq(sockref_last_error()->syscall, faults_name(refusals[_i].kind));
    ck_assert_str_eq(sockref_last_error()->path, path);
    sr_sockfile_close(&file);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* ---- directories where others may add files: for root alone ---- */

static const char *sticky, *path;

static void setup_sticky(void)
{
    sticky = harness_sticky_dir();
    path = harness_text("%s/a", sticky);
}

START_TEST(the_file_is_renamed_aside_first)
{
    bind_at(path);
    faults_install();
    end(path);
    ck_assert_uint_eq(faults_calls(FAULTS_rename_new), 1);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

static void replace_now(void *arg)
{
    replace_by_file(arg);
}

static void put_now(void *arg)
{
    put_file(arg);
}

/* Replaced between the look and the renaming: put back. */
START_TEST(another_file_is_put_back)
{
    bind_at(path);
    faults_install();
    faults_before(FAULTS_rename_new, replace_now, (void *)path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 1);
}
END_TEST

/* Another program's socket takes the path right after our bind: it is not taken for ours. */
static void replace_by_another_socket(void *path)
{
    replace_by_socket(path);
}

START_TEST(a_socket_that_replaces_ours_is_seen)
{
    struct sr_place place;

    harness_assert_ok(sr_place_open(path, &place));
    faults_install();
    faults_before(FAULTS_birth, replace_by_another_socket, (void *)path);
    harness_assert_fails(sr_sockfile_bind(&place, path, -1, 1, &file, NULL), SOCKREF_EFOREIGN);
    sr_place_close(&place);
    ck_assert(harness_is_socket(path));
    close(foreign);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* It takes the path when ours has been found: it is not given our mode. */
START_TEST(a_socket_that_replaces_ours_keeps_its_mode)
{
    struct sr_place place;

    harness_assert_ok(sr_place_open(path, &place));
    umask(077);
    faults_install();
    faults_before(FAULTS_openat, replace_by_another_socket, (void *)path);
    harness_assert_fails(sr_sockfile_bind(&place, path, 0660, 1, &file, NULL), SOCKREF_EFOREIGN);
    sr_place_close(&place);
    ck_assert(harness_is_socket(path));
    ck_assert_uint_eq(harness_mode(path), 0700);
    close(foreign);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* A file is never put over another one that has come meanwhile: both stay, one by another name. */
static void replace_and_put(void *arg)
{
    replace_by_file(arg);
    faults_before(FAULTS_fstatat, put_now, arg);
}

/* Somebody who recovers the name takes it for the rest of a removal that was killed. */
static void put_back_now(void *arg)
{
    struct sr_place place;

    (void)arg;
    harness_assert_ok(sr_place_open(path, &place));
    ck_assert_int_eq(sr_sockfile_restore(&place, sr_path_leaf(path), path), 0);
    sr_place_close(&place);
}

/* After the renaming: before it is looked at, or before it is unlinked. */
static void put_back_later(void *arg)
{
    faults_before(arg ? FAULTS_unlinkat : FAULTS_fstatat, put_back_now, NULL);
}

START_TEST(a_removal_survives_that_its_file_is_put_back)
{
    bind_at(path);
    faults_install();
    faults_before(FAULTS_rename_new, put_back_later, (void *)(intptr_t)_i);
    end(path);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

START_TEST(nothing_is_put_over_a_third_file)
{
    glob_t kept;

    bind_at(path);
    faults_install();
    faults_before(FAULTS_rename_new, replace_and_put, (void *)path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 2);
    ck_assert_int_eq(glob(harness_text("%s/.sockref-kept-*", sticky), 0, NULL, &kept), 0);
    ck_assert_uint_eq(kept.gl_pathc, 1);
    ck_assert(harness_holds(kept.gl_pathv[0], "precious"));
    globfree(&kept);
}
END_TEST

/* ---- where a rename can't be told to replace nothing ---- */

static const int lacking[] = {EINVAL, ENOSYS};

static void setup_lacking(void)
{
    setup_sticky();
    bind_at(path);
    faults_install();
}

START_TEST(the_file_is_removed_all_the_same)
{
    faults_arm_from(FAULTS_BIT(FAULTS_rename_new), 1, lacking[_i]);
    end(path);
    ck_assert_uint_eq(faults_calls(FAULTS_rename), 1);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

START_TEST(another_file_is_put_back_by_its_link)
{
    faults_arm_from(FAULTS_BIT(FAULTS_rename_new), 1, lacking[_i]);
    faults_before(FAULTS_rename, replace_now, (void *)path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 1);
}
END_TEST

START_TEST(nothing_is_linked_over_a_third_file)
{
    faults_arm_from(FAULTS_BIT(FAULTS_rename_new), 1, lacking[_i]);
    faults_before(FAULTS_rename, replace_and_put, (void *)path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 2);
}
END_TEST

/* What has to stay aside is not lost: its name is told. */
START_TEST(what_can_not_be_put_back_is_told)
{
    const char *kept;

    faults_arm_from(FAULTS_BIT(FAULTS_rename_new) | FAULTS_BIT(FAULTS_link), 1, lacking[_i]);
    faults_before(FAULTS_rename, replace_now, (void *)path);
    harness_assert_fails(sr_sockfile_remove(&file, path), -lacking[_i]);
    sr_sockfile_close(&file);
    kept = strstr(sockref_last_error()->message, ".sockref-kept-");
    ck_assert_ptr_nonnull(kept);
    kept = harness_text("%s/%.30s", sticky, kept);
    ck_assert(harness_holds(kept, "precious"));
    ck_assert_int_eq(unlink(kept), 0);
}
END_TEST

/* Of a removal that was killed, by a system that can. */
START_TEST(what_stands_aside_is_put_back_by_its_link)
{
    char aside[SR_LOCKFILE_NAME_MAX];
    struct sr_place place;

    end(path);
    sr_lockfile_name(sr_path_leaf(path), SR_ASIDE_SUFFIX, aside);
    harness_write(harness_text("%s/%s", sticky, aside), "precious");
    harness_assert_ok(sr_place_open(path, &place));
    faults_arm_from(FAULTS_BIT(FAULTS_rename_new), 1, lacking[_i]);
    ck_assert_int_eq(sr_sockfile_restore(&place, sr_path_leaf(path), path), 0);
    sr_place_close(&place);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 1);
}
END_TEST

#define RACES 2000

struct race {
    pthread_barrier_t barrier;
    unsigned made, destroyed;
};

/* Another program of ours that takes the path away from us with a file, again and again. */
static void *take_away(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < RACES; i++) {
        const char *own = harness_text("%s.%d", path, i);

        harness_write(own, "precious");
        pthread_barrier_wait(&race->barrier);
        if (rename(own, path) == 0)
            race->made++;
        pthread_barrier_wait(&race->barrier);
        pthread_barrier_wait(&race->barrier);
    }
    return NULL;
}

static bool is_aside_kept(void)
{
    const char *aside = strstr(sockref_last_error()->message, ".a.sraside");

    return aside && harness_holds(harness_text("%s/%s", sticky, aside), "precious");
}

START_TEST(a_racing_replacer_loses_nothing)
{
    struct race race = {0};
    pthread_t thread;

    faults_install();
    if (_i == 1)
        faults_arm_from(FAULTS_BIT(FAULTS_rename_new), 1, EINVAL);
    pthread_barrier_init(&race.barrier, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_away, &race), 0);
    for (int i = 0; i < RACES; i++) {
        int status;

        bind_at(path);
        pthread_barrier_wait(&race.barrier);
        status = sr_sockfile_remove(&file, path);
        pthread_barrier_wait(&race.barrier);
        sr_sockfile_close(&file);
        if (!harness_holds(path, "precious") && !(status < 0 && is_aside_kept()))
            race.destroyed++;
        unlink(path);
        pthread_barrier_wait(&race.barrier);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&race.barrier);
    ck_assert_uint_eq(race.made, RACES);
    ck_assert_uint_eq(race.destroyed, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockfile-remove");
    TCase *tcase = harness_tcase(suite, "remove");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, d13_another_file_at_the_path_is_not_removed, 0, 10);
    tcase_add_test(tcase, d14_a_file_that_is_gone_is_no_error);
    tcase_add_test(tcase, the_file_is_removed_where_its_directory_went);
    tcase_add_loop_test(tcase, a_refused_removal_is_told, 0, 3);
    if (geteuid() == 0) {
        TCase *shared = harness_tcase(suite, "sticky");

        tcase_set_timeout(shared, 60);
        tcase_add_checked_fixture(shared, setup_sticky, NULL);
        tcase_add_test(shared, the_file_is_renamed_aside_first);
        tcase_add_test(shared, another_file_is_put_back);
        tcase_add_test(shared, a_socket_that_replaces_ours_is_seen);
        tcase_add_test(shared, a_socket_that_replaces_ours_keeps_its_mode);
        tcase_add_loop_test(shared, a_removal_survives_that_its_file_is_put_back, 0, 2);
        tcase_add_test(shared, nothing_is_put_over_a_third_file);
        tcase_add_loop_test(shared, a_racing_replacer_loses_nothing, 0, 2);

        shared = harness_tcase(suite, "lacking");
        tcase_add_checked_fixture(shared, setup_lacking, NULL);
        tcase_add_loop_test(shared, the_file_is_removed_all_the_same, 0, 2);
        tcase_add_loop_test(shared, another_file_is_put_back_by_its_link, 0, 2);
        tcase_add_loop_test(shared, nothing_is_linked_over_a_third_file, 0, 2);
        tcase_add_loop_test(shared, what_can_not_be_put_back_is_told, 0, 2);
        tcase_add_loop_test(shared, what_stands_aside_is_put_back_by_its_link, 0, 2);
    }
    return harness_run(suite);
}
