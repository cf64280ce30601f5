/* Start or join, and what stands in the way: src/name/start.c, src/name/join.c, src/name/recover.c.
 * I2, I9. */
#include "base/error.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/lockfile.h"
#include "name/place.h"
#include "name/record.h"
#include "name/sockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NOBODY 65534

static sockref_registry *here, *there;
static int foreign;

static void setup(void)
{
    here = harness_registry(0);
    there = harness_registry(0);
    foreign = -1;
}

static void teardown(void)
{
    sockref_registry_free(here);
    sockref_registry_free(there);
    if (foreign >= 0)
        close(foreign);
}

static void put_foreign(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    foreign = harness_bind(path);
}

static void take_foreign_away(const char *path)
{
    close(foreign);
    foreign = -1;
    ck_assert_int_eq(unlink(path), 0);
}

/* A start that waits so long at most. */
static int start(const char *path, int timeout_ms, sockref **out)
{
    sockref_options *options = harness_options(SOCKREF_OPT_START_TIMEOUT_MS, timeout_ms, 0);
    int status = sockref_registry_listen(here, path, options, out);

    sockref_options_free(options);
    return status;
}

/* In a process of its own: own the name without a guard, and die. */
static int own_and_die(void *path)
{
    sockref_options *options = sockref_options_new();
    sockref *ref;
    int status;

    if (!options || sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0) < 0)
        _exit(2);
    status = sockref_registry_listen(NULL, path, options, &ref);
    _exit(status == 0 ? 0 : 1);
}

static void leave_owner_dead(const char *path)
{
    ck_assert_int_eq(harness_in_child(own_and_die, (void *)path), 0);
    ck_assert(harness_is_socket(path));
}

/* ---- a foreign socket ---- */

START_TEST(a_displaced_owner_is_not_joined)
{
    const char *path = harness_at("a");
    sockref *owner = harness_listen(there, path), *ref;

    put_foreign(path);
    harness_assert_fails(start(path, 100, &ref), SOCKREF_EBUSY);
    ck_assert_uint_eq(sockref_holder_count(owner), 1);
    sockref_release(owner);
    ck_assert(harness_can_dial(path));
    take_foreign_away(path);
}
END_TEST

START_TEST(what_a_displaced_dead_owner_left_beside_it_goes)
{
    const char *path = harness_at("a");
    sockref *ref;

    leave_owner_dead(path);
    put_foreign(path);
    harness_assert_fails(start(path, 100, &ref), SOCKREF_EFOREIGN);
    ck_assert_uint_eq(harness_beside(), 0);
    ck_assert(harness_can_dial(path));
    take_foreign_away(path);
}
END_TEST

START_TEST(a_file_in_the_place_of_a_live_owners_socket_is_told)
{
    const char *path = harness_at("a");
    sockref *owner = harness_listen(there, path), *ref;

    ck_assert_int_eq(unlink(path), 0);
    harness_write(path, "precious");
    harness_assert_fails(start(path, HARNESS_PATIENCE_MS, &ref), SOCKREF_EFOREIGN);
    ck_assert_ptr_nonnull(
        strstr(sockref_last_error()->message, harness_text("process %ld", (long)getpid())));
    ck_assert_uint_eq(sockref_holder_count(owner), 1);
    sockref_release(owner);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* Somebody has removed what an owner had, all or a part of it. What another one has made since is
 * not the first one's to remove. */
START_TEST(an_owner_without_files_leaves_the_next_ones_alone)
{
    const char *path = harness_at("a"), *lock = harness_at(".a.srlock");
    const char *control = harness_at(".a.srctl");
    sockref *owner = harness_listen(there, path), *next;

    ck_assert_int_eq(unlink(path) | unlink(lock) | unlink(control), 0);
    next = harness_listen(here, path);
    sockref_release(owner);
    ck_assert(harness_can_dial(path));
    ck_assert(harness_is_socket(control));
    ck_assert(harness_exists(lock));
    owner = harness_listen(there, path);
    ck_assert(!sockref_is_owner(owner));
    sockref_release(owner);
    ck_assert_int_eq(unlink(path) | unlink(lock), 0);
    sockref_release(next);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* Somebody has removed socket and lock file: the control socket is seen by the bind alone. */
START_TEST(a_control_socket_alone_is_a_dead_owners)
{
    const char *path = harness_at("a"), *control = harness_at(".a.srctl");
    sockref *ref;

    leave_owner_dead(path);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(unlink(harness_at(".a.srlock")), 0);
    harness_assert_ok(start(path, 1000, &ref));
    ck_assert(harness_can_dial(path));
    ck_assert(harness_is_socket(control));
    sockref_release(ref);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* And while its owner lives it is in the way, and stays. */
START_TEST(a_control_socket_alone_may_be_a_live_owners)
{
    const char *path = harness_at("a"), *control = harness_at(".a.srctl");
    sockref *owner = harness_listen(there, path), *ref;
    ino_t inode = harness_inode(control);

    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(unlink(harness_at(".a.srlock")), 0);
    harness_assert_fails(start(path, 50, &ref), SOCKREF_EFOREIGN);
    ck_assert_uint_eq(harness_inode(control), inode);
    ck_assert_uint_eq(harness_files() + harness_beside(), 1);
    sockref_release(owner);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* ---- something else in the place of the lock file ---- */

static void put_file(const char *at)
{
    harness_write(at, "");
    ck_assert_int_eq(chmod(at, 0600), 0);
}

static void put_file_for_all(const char *at)
{
    harness_write(at, "");
    ck_assert_int_eq(chmod(at, 0660), 0);
}

static void put_second_name(const char *at)
{
    put_file(harness_at("other"));
    ck_assert_int_eq(link(harness_at("other"), at), 0);
}

static void put_link(const char *at)
{
    put_file(harness_at("other"));
    ck_assert_int_eq(symlink(harness_at("other"), at), 0);
}

static void put_directory(const char *at)
{
    ck_assert_int_eq(mkdir(at, 0700), 0);
}

static void put_fifo(const char *at)
{
    ck_assert_int_eq(mkfifo(at, 0600), 0);
}

static void put_file_of_another(const char *at)
{
    put_file(at);
    if (chown(at, NOBODY, NOBODY) < 0)
        put_file_for_all(at);
}

/* Others could change it under its owner, or lead him to it. */
START_TEST(only_a_file_of_this_user_alone_is_a_lock_file)
{
    static void (*const puts[])(const char *) = {
        put_file_for_all, put_second_name,    put_link,           put_directory,
        put_fifo,         harness_leave_dead, put_file_of_another};
    const char *lock = harness_at(".a.srlock");
    struct stat before, after;
    sockref *ref;
    uint64_t count;

    puts[_i](lock);
    ck_assert_int_eq(lstat(lock, &before), 0);
    harness_assert_fails(start(harness_at("a"), HARNESS_PATIENCE_MS, &ref), SOCKREF_EUNTRUSTED);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, ".a.srlock is not a lock file"));
    harness_assert_ok(sockref_registry_sweep(here, harness_dir(), &count));
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(lstat(lock, &after), 0);
    ck_assert_int_eq(memcmp(&before.st_ctim, &after.st_ctim, sizeof before.st_ctim), 0);
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert_int_eq(remove(lock), 0);
}
END_TEST

/* ---- a lock file that goes while it is taken ---- */

static void remove_lock(void *replaces)
{
    const char *lock = harness_at(".a.srlock");

    ck_assert_int_eq(unlink(lock), 0);
    if (replaces)
        put_file(lock);
}

START_TEST(a_lock_file_that_goes_meanwhile_is_taken_anew)
{
    const char *path = harness_at("a");
    sockref *ref, *joined;

    faults_install();
    faults_before(FAULTS_lock, remove_lock, _i ? "" : NULL);
    harness_assert_ok(start(path, HARNESS_PATIENCE_MS, &ref));
    faults_clear();
    joined = harness_listen(there, path); /* by the lock file that is there now */
    ck_assert(!sockref_is_owner(joined));
    ck_assert_uint_eq(sockref_holder_count(ref), 2);
    sockref_release(joined);
    sockref_release(ref);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static int remove_and_lock(int fd, int command, struct flock *lock)
{
    if (command == F_OFD_SETLK && lock->l_type == F_WRLCK)
        (void)!unlink(harness_at(".a.srlock"));
    return fcntl(fd, command, lock);
}

START_TEST(a_lock_file_that_always_goes_is_told)
{
    const struct sr_sys before = sr_sys;
    sockref *ref;

    sr_sys.lock = remove_and_lock;
    harness_assert_fails(start(harness_at("a"), 20, &ref), SOCKREF_ETIMEOUT);
    sr_sys = before;
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* ---- a dead one that nothing is known of ---- */

/* It could be in the middle of its bind(). */
START_TEST(a_dead_socket_is_replaced_when_it_is_not_fresh)
{
    const char *path = harness_at("a");
    sockref *ref;
    ino_t inode;

    harness_leave_dead(path);
    inode = harness_inode(path);
    harness_assert_fails(start(path, 20, &ref), SOCKREF_EFOREIGN);
    ck_assert_uint_eq(harness_inode(path), inode);
    ck_assert_uint_eq(harness_beside(), 0);
    harness_assert_ok(start(path, HARNESS_PATIENCE_MS, &ref));
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
}
END_TEST

/* ---- a directory that is replaced ---- */

static void move_directory(void *unused)
{
    (void)unused;
    ck_assert_int_eq(rename(harness_at("d"), harness_at("e")), 0);
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
}

/* Between the look and the first bind, which is the control socket's: neither is left anywhere. */
START_TEST(a_directory_replaced_meanwhile_has_nothing_left_in_it)
{
    sockref *ref;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    faults_install();
    faults_before(FAULTS_bind, move_directory, NULL);
    ck_assert_int_lt(start(harness_at("d/a"), 1000, &ref), 0);
    faults_clear();
    ck_assert(harness_exists(harness_at("e")));
    ck_assert_uint_eq(harness_files() + harness_beside() + harness_sockets(), 0);
}
END_TEST

START_TEST(what_stands_beside_a_socket_is_for_its_user_alone)
{
    mode_t before = umask(0);
    sockref *ref = harness_listen(here, harness_at("a"));

    umask(before);
    ck_assert_uint_eq(harness_mode(harness_at(".a.srlock")), 0600);
    ck_assert_uint_eq(harness_mode(harness_at(".a.srctl")), 0600);
    sockref_release(ref);
}
END_TEST

/* Root may connect to anything. */
static int share_under_an_odd_umask(void *path)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *other;
    sockref *owner, *joiner;

    if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
        return 1;
    umask(0777);
    if (sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0) < 0 ||
        sockref_registry_new(options, &other) < 0)
        return 2;
    if (sockref_registry_listen(NULL, path, options, &owner) < 0)
        return 3;
    if (sockref_registry_listen(other, path, NULL, &joiner) < 0)
        return 4;
    sockref_options_free(options);
    sockref_release(joiner);
    sockref_release(owner);
    sockref_registry_free(other);
    return 0;
}

START_TEST(a_umask_that_takes_its_users_own_rights_keeps_nobody_from_joining)
{
    const char *path = harness_at("theirs/a");

    ck_assert_int_eq(chmod(harness_at(".."), 0711) | chmod(harness_dir(), 0711), 0);
    ck_assert_int_eq(mkdir(harness_at("theirs"), 0700), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(chown(harness_at("theirs"), NOBODY, NOBODY), 0);
    ck_assert_int_eq(harness_in_child(share_under_an_odd_umask, (void *)path), 0);
    ck_assert_uint_eq(harness_files() + harness_beside() + harness_sockets(), 0);
}
END_TEST

/* It is reached by way of the directory, whose descriptor may be any below the usual ceiling. */
START_TEST(what_stands_beside_a_socket_has_an_address)
{
    const struct sr_place place = {.dir = (1 << 20) - 1};
    char leaf[SR_LEAF_MAX + 1] = "", beside[SR_LOCKFILE_NAME_MAX];
    struct sockaddr_un address;

    for (size_t length = 1; length <= SR_LEAF_MAX; length++) {
        leaf[length - 1] = 'x';
        sr_lockfile_name(leaf, ".srctl", beside);
        ck_assert_msg(sr_sockfile_address(&place, beside, &address), "%zu bytes", length);
    }
}
END_TEST

/* Between vfork and exec a child has a copy of each descriptor, and with it of the locks. */
START_TEST(a_closed_lock_is_free_whoever_has_a_copy_of_its_descriptor)
{
    const char *path = harness_at("a");
    struct sr_lockfile lock, again;
    struct sr_place place;
    int copy;

    harness_assert_ok(sr_place_open(path, &place));
    ck_assert_int_eq(sr_lockfile_enter(&place, path, true, &lock), 0);
    ck_assert_int_eq(sr_lockfile_take(&lock, path, SR_BYTE_OWNER), 0);
    copy = dup(lock.fd);
    sr_lockfile_close(&lock);
    ck_assert_int_eq(sr_lockfile_enter(&place, path, false, &again), 0);
    ck_assert(!sr_lockfile_has_owner(&again));
    close(copy);
    ck_assert_int_eq(sr_lockfile_unlink(&again, &place, path), 0);
    sr_lockfile_close(&again);
    sr_place_close(&place);
}
END_TEST

/* ---- a start that fails ---- */

/* Who does not share is not told to stop sharing. */
START_TEST(without_locks_nobody_is_told_what_he_does_already)
{
    const char *path = harness_at("a");
    sockref_options *alone = harness_options(SOCKREF_OPT_SHARE, 0, 0);
    sockref *ref;

    harness_leave_dead(path);
    faults_install();
    faults_arm_from(FAULTS_BIT(FAULTS_lock), 1, EINVAL);
    harness_assert_fails(sockref_registry_listen(here, path, alone, &ref), SOCKREF_EUNSUPPORTED);
    faults_clear();
    ck_assert(!strstr(sockref_last_error()->message, "share 0"));
    sockref_options_free(alone);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* A sandbox may refuse locks, and not the question who has one. */
static int refused_with;

static int refuse_locks(int fd, int command, struct flock *lock)
{
    if (command != F_OFD_SETLK || lock->l_type != F_WRLCK)
        return fcntl(fd, command, lock);
    errno = refused_with;
    return -1;
}

/* Nobody has what is refused, so it is not waited for; and a lock file that is in use stays. */
START_TEST(a_sandbox_without_locks_is_told_at_once)
{
    const char *path = harness_at("a");
    int (*real)(int, int, struct flock *) = sr_sys.lock;
    struct sr_lockfile other;
    struct sr_place place;
    sockref *ref;

    refused_with = _i == 0 ? EACCES : EPERM;
    harness_assert_ok(sr_place_open(path, &place));
    sr_sys.lock = refuse_locks;
    harness_assert_fails(start(path, HARNESS_PATIENCE_MS, &ref), SOCKREF_EUNSUPPORTED);
    ck_assert_int_eq(sockref_last_error()->os_errno, refused_with);
    ck_assert(strstr(sockref_last_error()->message, "sandbox"));
    ck_assert_uint_eq(harness_beside(), 0);

    sr_sys.lock = real;
    ck_assert_int_eq(sr_lockfile_enter(&place, path, true, &other), 0);
    sr_sys.lock = refuse_locks;
    harness_assert_fails(start(path, HARNESS_PATIENCE_MS, &ref), SOCKREF_EUNSUPPORTED);
    sr_sys.lock = real;
    ck_assert(sr_lockfile_is_current(&other, &place, path));
    harness_assert_ok(sr_lockfile_unlink(&other, &place, path));
    sr_lockfile_close(&other);
    sr_place_close(&place);
}
END_TEST

START_TEST(a_failed_start_leaves_no_lock_file)
{
    const char *path = harness_at("a");
    sockref *ref;

    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_lock), (uint64_t)_i + 1, EIO);
    if (start(path, 1000, &ref) == 0) {
        faults_clear();
        sockref_release(ref);
    }
    faults_clear();
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

START_TEST(a_failed_start_keeps_what_a_dead_owner_is_known_by)
{
    static const int calls[] = {FAULTS_pread, FAULTS_fstat, FAULTS_openat, FAULTS_unlinkat};
    const char *path = harness_at("a");
    uint64_t count;
    sockref *ref;

    for (uint64_t nth = 1; nth <= 8; nth++) {
        bool left;
        int status;

        leave_owner_dead(path);
        faults_install();
        faults_arm(FAULTS_BIT(calls[_i]), nth, EIO);
        status = start(path, 1000, &ref);
        faults_clear();
        if (status == 0)
            sockref_release(ref);
        left = harness_sockets() > 0;
        harness_assert_ok(sockref_registry_sweep(here, harness_dir(), &count));
        ck_assert(count == 1 || !left);
        ck_assert_uint_eq(harness_files(), 0);
        ck_assert_uint_eq(harness_beside(), 0);
    }
}
END_TEST

/* ---- a removal that was killed ---- */

static unsigned count_kept(const char *dir)
{
    unsigned count = 0;
    glob_t kept;

    if (glob(harness_text("%s/.sockref-kept-*", dir), 0, NULL, &kept) == 0) {
        count = (unsigned)kept.gl_pathc;
        for (size_t i = 0; i < kept.gl_pathc; i++)
            unlink(kept.gl_pathv[i]);
        globfree(&kept);
    }
    return count;
}

START_TEST(what_stands_aside_is_found)
{
    const char *dir = harness_sticky_dir(), *path, *aside;
    sockref *ref;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
    aside = harness_text("%s/.a.sraside", dir);
    leave_owner_dead(path);
    ck_assert_int_eq(rename(path, aside), 0);
    if (_i == 1) { /* and the name is taken meanwhile */
        foreign = harness_bind(path);
        harness_assert_fails(start(path, 100, &ref), SOCKREF_EFOREIGN);
        ck_assert(harness_can_dial(path));
        take_foreign_away(path);
    } else {
        harness_assert_ok(start(path, 1000, &ref));
        sockref_release(ref);
    }
    ck_assert(!harness_exists(aside));
    ck_assert_uint_eq(count_kept(dir), 0);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

#define NOT_POSSIBLE 77

/* In a child, whose mounts are its own; as after a chroot(). */
static int join_when_proc_has_gone(void *path)
{
    sockref *owner, *joiner;

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return NOT_POSSIBLE;
    if (sockref_registry_new(NULL, &here) < 0 || sockref_registry_new(NULL, &there) < 0 ||
        sockref_registry_listen(here, path, NULL, &owner) < 0 || umount2("/proc", MNT_DETACH) < 0)
        return 1;
    if (sockref_registry_listen(there, path, NULL, &joiner) != SOCKREF_EUNSUPPORTED)
        return 2;
    if (sockref_holder_count(owner) != 1)
        return 3;
    sockref_release(owner);
    sockref_registry_free(here);
    sockref_registry_free(there);
    return 0;
}

START_TEST(a_join_without_proc_is_refused_at_once)
{
    int status = harness_in_child(join_when_proc_has_gone, (void *)harness_at("a"));

    if (status == NOT_POSSIBLE)
        return;
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static int share_beside_a_stranger(void *path)
{
    sockref_options *options = sockref_options_new();
    sockref *ref;

    if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0 ||
        sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0) < 0)
        return 1;
    if (sockref_registry_listen(NULL, path, options, &ref) < 0)
        return 2;
    sockref_options_free(options);
    sockref_release(ref);
    return harness_exists(path) ? 3 : 0;
}

/* Anybody may make a file of that name, and is to keep nobody from starting by it. */
START_TEST(what_a_stranger_puts_aside_is_in_nobodys_way)
{
    const char *aside;

    if (!harness_sticky_dir())
        return;
    aside = harness_at("sticky/.a.sraside");
    ck_assert_int_eq(chmod(harness_at(".."), 0711) | chmod(harness_dir(), 0711), 0);
    harness_write(aside, "root's");
    ck_assert_int_eq(harness_in_child(share_beside_a_stranger, (void *)harness_at("sticky/a")), 0);
    ck_assert(harness_holds(aside, "root's"));
    ck_assert_int_eq(unlink(aside), 0);
}
END_TEST

/* What somebody else's removal took aside is not ours to remove; but it is not in the way. */
START_TEST(what_stands_aside_and_is_not_ours_is_kept)
{
    const char *dir = harness_sticky_dir(), *path, *aside;
    sockref *ref;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
    aside = harness_text("%s/.a.sraside", dir);
    leave_owner_dead(path);
    harness_write(aside, "precious");
    harness_assert_ok(start(path, 1000, &ref));
    sockref_release(ref);
    ck_assert(!harness_exists(aside));
    ck_assert_uint_eq(count_kept(dir), 1);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

/* Have a dead owner's record tell of this socket; the owner is this process where it is to live. */
static void record_socket(const char *lock, const char *path, bool lives)
{
    int fd = open(lock, O_RDWR | O_CLOEXEC), inode = open(path, O_PATH | O_CLOEXEC);
    struct sr_record record;
    struct stat info;

    ck_assert_int_eq(sr_record_read(fd, &record), 0);
    ck_assert_int_eq(record.state, SR_RECORD_LIVE);
    if (lives)
        sr_record_of_self(&record);
    record.state = SR_RECORD_LIVE;
    ck_assert_int_eq(sr_sys.birth(inode, "", &info, &record.born_ns), 0);
    record.device = info.st_dev;
    record.inode = info.st_ino;
    ck_assert_int_eq(sr_record_write(fd, &record), 0);
    close(inode);
    close(fd);
}

START_TEST(what_stands_aside_and_may_be_ours_is_not_kept)
{
    const char *dir = harness_sticky_dir(), *path, *aside;
    sockref *ref;
    int dying;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
    aside = harness_text("%s/.a.sraside", dir);
    leave_owner_dead(path);
    dying = harness_bind(aside);
    record_socket(harness_text("%s/.a.srlock", dir), aside, true);
    put_foreign(path);
    harness_assert_fails(start(path, 20, &ref), SOCKREF_EFOREIGN);
    ck_assert_uint_eq(count_kept(dir), 0);
    ck_assert(harness_is_socket(aside));
    close(dying);
    harness_assert_fails(start(path, 20, &ref), SOCKREF_EFOREIGN);
    ck_assert_uint_eq(count_kept(dir), 0);
    ck_assert(!harness_exists(aside));
    ck_assert(harness_can_dial(path));
    take_foreign_away(path);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* ---- a record that a power cut has torn ---- */

/* The record of a dead owner that tells of the socket at the path, which is alive. */
static void make_record(const char *path, char out[SR_RECORD_SIZE])
{
    const char *lock = harness_at(".a.srlock");
    int fd;

    leave_owner_dead(path);
    put_foreign(path);
    record_socket(lock, path, false);
    fd = open(lock, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(fd, out, SR_RECORD_SIZE, 0), SR_RECORD_SIZE);
    close(fd);
    ck_assert_int_eq(unlink(harness_at(".a.srctl")), 0);
    ck_assert_int_eq(unlink(lock), 0);
}

static void put_record(const char *bytes, size_t size)
{
    int fd = open(harness_at(".a.srlock"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

static void assert_not_trusted(const char *path, size_t at)
{
    ino_t inode = harness_inode(path);
    sockref *ref = NULL;
    int status = start(path, 20, &ref);

    ck_assert_msg(status == SOCKREF_EFOREIGN, "byte %zu: %s", at, sockref_status_name(status));
    ck_assert_msg(harness_inode(path) == inode, "byte %zu: the socket is gone", at);
    ck_assert_uint_eq(harness_beside(), 0);
}

START_TEST(a_torn_record_is_not_trusted)
{
    const char *path = harness_at("a");
    char whole[SR_RECORD_SIZE], torn[SR_RECORD_SIZE];
    sockref *ref;

    make_record(path, whole);
    for (size_t at = 0; at < sizeof whole; at++) {
        put_record(whole, at); /* cut */
        assert_not_trusted(path, at);
        memcpy(torn, whole, sizeof torn);
        torn[at] ^= (char)(1 + at % 255);
        put_record(torn, sizeof torn);
        assert_not_trusted(path, at);
        memcpy(torn, whole, at); /* the blocks after it were not written */
        memset(torn + at, 0, sizeof torn - at);
        if (memcmp(torn, whole, sizeof torn) == 0)
            continue;
        put_record(torn, sizeof torn);
        assert_not_trusted(path, at);
    }
    /* By the whole one it is the dead owner's, kept alive by a child of it. */
    put_record(whole, sizeof whole);
    harness_assert_ok(start(path, HARNESS_PATIENCE_MS, &ref));
    sockref_release(ref);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("share");
    TCase *tcase = harness_tcase(suite, "share");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_displaced_owner_is_not_joined);
    tcase_add_test(tcase, what_a_displaced_dead_owner_left_beside_it_goes);
    tcase_add_test(tcase, a_file_in_the_place_of_a_live_owners_socket_is_told);
    tcase_add_test(tcase, an_owner_without_files_leaves_the_next_ones_alone);
    tcase_add_test(tcase, a_control_socket_alone_is_a_dead_owners);
    tcase_add_test(tcase, a_control_socket_alone_may_be_a_live_owners);
    tcase_add_loop_test(tcase, only_a_file_of_this_user_alone_is_a_lock_file, 0, 7);
    tcase_add_loop_test(tcase, a_lock_file_that_goes_meanwhile_is_taken_anew, 0, 2);
    tcase_add_test(tcase, a_lock_file_that_always_goes_is_told);
    tcase_add_test(tcase, a_dead_socket_is_replaced_when_it_is_not_fresh);
    tcase_add_test(tcase, a_directory_replaced_meanwhile_has_nothing_left_in_it);
    tcase_add_test(tcase, what_stands_beside_a_socket_is_for_its_user_alone);
    tcase_add_test(tcase, a_umask_that_takes_its_users_own_rights_keeps_nobody_from_joining);
    tcase_add_test(tcase, what_stands_beside_a_socket_has_an_address);
    tcase_add_test(tcase, a_join_without_proc_is_refused_at_once);
    tcase_add_test(tcase, a_closed_lock_is_free_whoever_has_a_copy_of_its_descriptor);
    tcase_add_test(tcase, without_locks_nobody_is_told_what_he_does_already);
    tcase_add_loop_test(tcase, a_sandbox_without_locks_is_told_at_once, 0, 2);
    tcase_add_loop_test(tcase, a_failed_start_leaves_no_lock_file, 0, 8);
    tcase_add_loop_test(tcase, a_failed_start_keeps_what_a_dead_owner_is_known_by, 0, 4);
    tcase_add_loop_test(tcase, what_stands_aside_is_found, 0, 2);
    tcase_add_test(tcase, what_a_stranger_puts_aside_is_in_nobodys_way);
    tcase_add_test(tcase, what_stands_aside_and_is_not_ours_is_kept);
    tcase_add_test(tcase, what_stands_aside_and_may_be_ours_is_not_kept);
    tcase_add_test(tcase, a_torn_record_is_not_trusted);
    return harness_run(suite);
}
