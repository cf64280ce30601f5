/* Full and read-only disks, directories that go away or are replaced. */
#include "util.h"

#include <sched.h>
#include <sys/mount.h>

/* What is mounted here is seen by this process only, and goes with it. */

static int on_a_disk(const char *options, int (*work)(void *user))
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", directory, "tmpfs", 0, options) < 0)
        return 77;
    return work(directory);
}

#define ON_A_DISK(options, work)                                                                   \
    do {                                                                                           \
        pid_t pid_ = fork();                                                                       \
        int status_;                                                                               \
        if (pid_ == 0)                                                                             \
            _exit(on_a_disk(options, work));                                                       \
        status_ = end_of(pid_);                                                                    \
        if (WIFEXITED(status_) && WEXITSTATUS(status_) == 77)                                      \
            SKIP("no file system can be mounted here");                                            \
        ck_assert(exited_well(status_));                                                           \
    } while (0)

/* A start with no room for its socket, and one with no room for the one or the other file beside
 * it.
 */
static int start_on_full_disk(int share, const char *call)
{
    int stand = count_entries(directory);
    sockref *ref = NULL;

    EXPECT(listen_with(file("full.sock"), SOCKREF_OPT_SHARE, share, 0, 0, &ref) == -ENOSPC);
    EXPECT(ref == NULL);
    EXPECT(sockref_last_error()->os_errno == ENOSPC);
    EXPECT(strcmp(sockref_last_error()->syscall, call) == 0);
    EXPECT(strcmp(sockref_last_error()->path, file("full.sock")) == 0);
    EXPECT(count_entries(directory) == stand);
    EXPECT(is_connectable(path));
    return 0;
}

static int fill(void *user)
{
    static const char *const calls[] = {"open", "bind", "bind"}; /* lock file, socket, control */
    sockref *ref, *other;
    char name[128];
    int64_t until = now_ms() + PATIENCE_MS;
    int made = 0;

    (void)user;
    EXPECT(sockref_registry_listen(NULL, path, NULL, &ref) == 0);
    for (;; made++) {
        int fd;

        snprintf(name, sizeof name, "%s/%d", directory, made);
        fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    EXPECT(errno == ENOSPC && made >= 3);
    EXPECT(start_on_full_disk(0, "bind") == 0);
    for (int room = 0; room < 3; room++) {
        EXPECT(start_on_full_disk(1, calls[room]) == 0);
        snprintf(name, sizeof name, "%s/%d", directory, --made);
        EXPECT(unlink(name) == 0);
    }
    /* The guard may keep an inode of a start that failed, for a moment. */
    while (sockref_registry_listen(NULL, file("full.sock"), NULL, &other) < 0)
        EXPECT(now_ms() < until);
    sockref_release(other);
    sockref_release(ref); /* a full disk hinders no removal */
    EXPECT(!exists(path));
    EXPECT(sockref_registry_listen(NULL, path, NULL, &ref) == 0);
    sockref_release(ref);
    return 0;
}

START_TEST(a_full_disk_is_enospc_and_leaves_nothing)
{
    ON_A_DISK("size=64k,nr_inodes=12,mode=700", fill);
}
END_TEST

static int failures, failure;

static void note_failure(const sockref_log_record *record, void *user)
{
    (void)user;
    if (strcmp(record->event, "cleanup_failed") == 0) {
        failures++;
        failure = record->status;
    }
}

static int freeze(void *user)
{
    sockref *ref, *other = NULL;

    (void)user;
    EXPECT(sockref_set_log(note_failure, NULL, NULL) == 0);
    /* With its lock file open for writing, a disk is not made read-only. */
    EXPECT(listen_with(path, SOCKREF_OPT_SHARE, 0, 0, 0, &ref) == 0);
    EXPECT(mount(NULL, directory, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    EXPECT(listen_with(file("2.sock"), SOCKREF_OPT_SHARE, 0, 0, 0, &other) == -EROFS);
    EXPECT(sockref_registry_listen(NULL, file("2.sock"), NULL, &other) == -EROFS);
    EXPECT(sockref_last_error()->os_errno == EROFS);
    sockref_release(ref); /* the file must stay; it is told, and the name is free */
    EXPECT(failures == 1 && failure == -EROFS);
    EXPECT(is_socket(path));
    EXPECT(sockref_registry_active_socket_count(NULL) == 0);
    EXPECT(mount(NULL, directory, NULL, MS_REMOUNT, NULL) == 0);
    EXPECT(try_start(NULL, path) == 0); /* in the place of the dead one */
    EXPECT(count_entries(directory) == 0);
    return 0;
}

START_TEST(a_read_only_disk_is_erofs_and_a_failed_removal_is_told)
{
    ON_A_DISK("mode=700", freeze);
}
END_TEST

/* What tells whether a listener is dead is not there. */
static int start_without_proc(const char *argument)
{
    char name[64];
    sockref *ref = NULL;

    snprintf(directory, sizeof directory, "%s", argument);
    snprintf(path, sizeof path, "%s/s.sock", directory);
    snprintf(name, sizeof name, "@sockref-test-without-proc-%d", (int)getpid());
    EXPECT(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
    EXPECT(sockref_registry_listen(NULL, path, NULL, &ref) == SOCKREF_EUNSUPPORTED);
    EXPECT(strstr(sockref_last_error()->message, "/proc"));
    EXPECT(count_entries(directory) == 0);
    EXPECT(listen_with(path, SOCKREF_OPT_SHARE, 0, 0, 0, &ref) == 0);
    EXPECT(is_connectable(path));
    sockref_release(ref);
    EXPECT(sockref_registry_listen(NULL, name, NULL, &ref) == 0);
    sockref_release(ref);
    /* The guard may just be looking there, which makes it busy. */
    EXPECT(umount2("/proc", MNT_DETACH) == 0);
    EXPECT(try_start(NULL, path) == 0);
    return 0;
}

/* A process that has not seen it either. */
static int without_proc(void *user)
{
    execl("/proc/self/exe", "test-disk", "--as", "start-without-proc", "2", (char *)user,
          (char *)NULL);
    return 1;
}

START_TEST(without_proc_nothing_is_shared)
{
    ON_A_DISK("mode=700", without_proc);
}
END_TEST

/* A directory of the run time that no variable names. */
static int have_run_time_directory(void *user)
{
    char home[64];
    sockref *ref;

    snprintf(home, sizeof home, "/run/user/%u/", (unsigned)geteuid());
    EXPECT(mount("none", "/run", "tmpfs", 0, "mode=755") == 0);
    EXPECT(mkdir("/run/user", 0755) == 0 && mkdir(home, 0700) == 0);
    EXPECT(unsetenv("SOCKREF_DIR") == 0 && unsetenv("XDG_RUNTIME_DIR") == 0);
    EXPECT(setenv("TMPDIR", user, 1) == 0);
    EXPECT(sockref_registry_listen(NULL, NULL, NULL, &ref) == 0);
    EXPECT(strncmp(sockref_path(ref), home, strlen(home)) == 0);
    sockref_release(ref);
    return 0;
}

START_TEST(u5_the_run_time_directory_comes_before_tmpdir)
{
    ON_A_DISK("mode=700", have_run_time_directory);
}
END_TEST

START_TEST(a_directory_that_goes_away_under_a_socket_is_no_trouble)
{
    char name[200], moved[200];
    sockref *ref;

    snprintf(name, sizeof name, "%s/d/s.sock", directory);
    snprintf(moved, sizeof moved, "%s/e/s.sock", directory);
    ck_assert_int_eq(mkdir(file("d"), 0700), 0);
    ref = start(NULL, name);
    ck_assert_int_eq(rename(file("d"), file("e")), 0);
    ck_assert_int_eq(mkdir(file("d"), 0700), 0);
    write_file(name, "another file at the old path");
    sockref_release(ref);
    ck_assert(!exists(moved)); /* the socket is removed where it is now */
    ck_assert(file_holds(name, "another file at the old path"));

    ck_assert_int_eq(unlink(name), 0);
    ref = start(NULL, name);
    ck_assert_int_eq(nftw(file("d"), remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
    ck_assert(!exists(file("d")));
    sockref_release(ref);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 0);
}
END_TEST

START_TEST(a_replaced_directory_is_another_name)
{
    char name[200];
    sockref *ref, *other;

    snprintf(name, sizeof name, "%s/d/s.sock", directory);
    ck_assert_int_eq(mkdir(file("d"), 0700), 0);
    ref = start(NULL, name);
    ck_assert_int_eq(rename(file("d"), file("e")), 0);
    ck_assert_int_eq(mkdir(file("d"), 0700), 0);
    other = start(NULL, name);
    ck_assert_ptr_ne(ref, other);
    ck_assert(is_connectable(name));
    ck_assert(is_connectable(file("e/s.sock")));
    sockref_release(ref);
    ck_assert(is_connectable(name));
    ck_assert(!exists(file("e/s.sock")));
    sockref_release(other);
}
END_TEST

static const struct role roles[] = {{"start-without-proc", start_without_proc}, {NULL, NULL}};

int main(int argc, char **argv)
{
    Suite *suite = suite_create("disk");
    TCase *tcase = add_case(suite, "disk");

    tcase_add_test(tcase, a_full_disk_is_enospc_and_leaves_nothing);
    tcase_add_test(tcase, a_read_only_disk_is_erofs_and_a_failed_removal_is_told);
    tcase_add_test(tcase, without_proc_nothing_is_shared);
    tcase_add_test(tcase, u5_the_run_time_directory_comes_before_tmpdir);
    tcase_add_test(tcase, a_directory_that_goes_away_under_a_socket_is_no_trouble);
    tcase_add_test(tcase, a_replaced_directory_is_another_name);
    return run_suite(suite, argc, argv, roles);
}
