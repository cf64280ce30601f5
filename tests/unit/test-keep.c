/* What the guard does against programs that remove old files: src/guard/keep.c. U7. */
#include "guard/keep.h"

#include "base/fd.h"
#include "guard/watched.h"
#include "harness/harness.h"
#include "name/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OLD 86400 /* a day after the epoch */

/* A directory of the guard's, and a name in it. */
static const char *add(const char *directory, uint64_t id)
{
    const char *path = harness_text("%s/x", harness_at(directory));
    int dir;

    if (mkdir(harness_at(directory), 0700) < 0)
        ck_assert_int_eq(errno, EEXIST);
    dir = sr_fd_open(AT_FDCWD, harness_at(directory), O_PATH | O_DIRECTORY);
    ck_assert_int_ge(dir, 0);
    sr_watched_add(id, path, true, geteuid(), dir);
    return path;
}

/* Whether systemd-tmpfiles would go in. */
static bool is_locked(const char *directory)
{
    int fd = open(harness_at(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool locked = flock(fd, LOCK_EX | LOCK_NB) < 0;

    ck_assert_int_ge(fd, 0);
    close(fd);
    return locked;
}

START_TEST(cleaners_are_kept_out_of_a_default_directory)
{
    const char *directory = _i == 0 ? "sockref" : "sockref-1000";

    add(directory, 1);
    add(directory, 2);
    ck_assert(is_locked(directory));
    sr_watched_forget(1);
    ck_assert(is_locked(directory));
    sr_watched_forget(2);
    ck_assert(!is_locked(directory));
}
END_TEST

/* Another program may lock a directory of its own. */
START_TEST(other_directories_are_not_locked)
{
    static const char *const others[] = {"mine", "sockrefs", "xsockref"};

    add(others[_i], 1);
    ck_assert(!is_locked(others[_i]));
    sr_watched_forget(1);
}
END_TEST

START_TEST(a_directory_that_a_cleaner_is_in_is_locked_later)
{
    int fd;

    ck_assert_int_eq(mkdir(harness_at("sockref"), 0700), 0);
    fd = open(harness_at("sockref"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX | LOCK_NB), 0);
    add("sockref", 1);
    close(fd);
    ck_assert(!is_locked("sockref"));
    sr_keep_names();
    ck_assert(is_locked("sockref"));
    sr_watched_forget(1);
}
END_TEST

static void make_old(const char *path)
{
    const struct timespec times[] = {{OLD, 0}, {OLD, 0}};

    ck_assert_int_eq(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static bool is_old(const char *path)
{
    struct stat info;

    ck_assert_int_eq(lstat(path, &info), 0);
    ck_assert_int_eq(info.st_mtime == OLD, info.st_atime == OLD);
    return info.st_mtime == OLD;
}

START_TEST(what_is_in_use_does_not_look_old)
{
    const char *path = add("mine", 1);
    const char *lock = harness_at("mine/.x.srlock"), *control = harness_at("mine/.x.srctl");
    struct stat info;
    int fd = harness_bind(path), inode;

    harness_write(lock, "");
    harness_write(control, "");
    inode = sr_fd_open(AT_FDCWD, path, O_PATH | O_NOFOLLOW);
    ck_assert_int_eq(fstat(inode, &info), 0);
    sr_watched_pin(1, info.st_dev, info.st_ino, inode);
    make_old(path);
    make_old(lock);
    make_old(control);
    sr_keep_names();
    ck_assert(!is_old(path));
    ck_assert(!is_old(lock));
    ck_assert(!is_old(control));

    /* Another program's file at the path is not ours to touch. */
    ck_assert_int_eq(unlink(path), 0);
    harness_write(path, "precious");
    make_old(path);
    sr_keep_names();
    ck_assert(is_old(path));
    sr_watched_forget(1);
    close(fd);
    ck_assert_int_eq(unlink(path) | unlink(lock) | unlink(control), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keep");
    TCase *tcase = harness_tcase(suite, "keep");

    tcase_add_loop_test(tcase, cleaners_are_kept_out_of_a_default_directory, 0, 2);
    tcase_add_loop_test(tcase, other_directories_are_not_locked, 0, 3);
    tcase_add_test(tcase, a_directory_that_a_cleaner_is_in_is_locked_later);
    tcase_add_test(tcase, what_is_in_use_does_not_look_old);
    return harness_run(suite);
}
