/* What is told of a name from outside: src/name/inspect.c. I2: nothing is changed by it. */
#include "base/fd.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "name/inspect.h"
#include "name/listing.h"
#include "name/lockfile.h"
#include "name/probe.h"
#include "name/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK ".a.sock.srlock"

static sockref_registry *here, *there;
static struct sr_inspected seen;

static void setup(void)
{
    here = harness_registry(SOCKREF_OPT_GUARD, 0, 0);
    there = harness_registry(SOCKREF_OPT_GUARD, 0, 0);
}

static void teardown(void)
{
    sockref_registry_free(here);
    sockref_registry_free(there);
}

static const char *name(void)
{
    return harness_at("a.sock");
}

static int look_at(const char *path)
{
    uint64_t patience_ns = 1000000000;

    return sr_inspect_name(path, &patience_ns, &seen);
}

static void inspect(const char *path, enum sr_inspect_state state)
{
    memset(&seen, 0x55, sizeof seen);
    harness_assert_ok(look_at(path));
    ck_assert_msg(seen.state == state, "%s is in state %d, not %d (%s)", path, (int)seen.state,
                  (int)state, seen.note ? seen.note : "");
}

static void expect_note(const char *part)
{
    ck_assert_msg(seen.note && strstr(seen.note, part), "\"%s\" is not in \"%s\"", part,
                  seen.note ? seen.note : "");
}

/* In a process of its own: own the name without a guard, and die. */
static int own_and_die(void *path)
{
    sockref_options *options = sockref_options_new();
    sockref *ref;

    if (!options || sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0) < 0)
        _exit(2);
    _exit(sockref_registry_listen(NULL, path, options, &ref) == 0 ? 0 : 1);
}

static void leave_owner_dead(void)
{
    ck_assert_int_eq(harness_in_child(own_and_die, (void *)name()), 0);
    ck_assert(harness_is_socket(name()));
}

static void sweep_away(void)
{
    uint64_t count;

    harness_assert_ok(sockref_registry_sweep(here, harness_dir(), &count));
    ck_assert_int_eq(harness_beside(), 0);
}

/* ---- states ---- */

START_TEST(nothing_is_absent)
{
    harness_write(harness_at("file"), "");
    inspect(name(), SR_INSPECT_ABSENT);
    ck_assert(!seen.has_lock && !seen.has_user && seen.pid == 0 && seen.program[0] == '\0');
    ck_assert_int_eq(seen.bound, SR_INSPECT_UNBOUND);
    inspect(harness_at("none/a.sock"), SR_INSPECT_ABSENT);
    expect_note("directory");
    inspect(harness_at("file/a.sock"), SR_INSPECT_ABSENT);
}
END_TEST

START_TEST(an_owner_that_listens_is_live)
{
    char program[16] = "";
    FILE *comm = fopen("/proc/self/comm", "r");
    sockref *owner, *joiner;

    ck_assert_ptr_nonnull(comm);
    ck_assert_int_eq(fscanf(comm, "%15[^\n]", program), 1);
    fclose(comm);
    owner = harness_listen(here, name());
    inspect(name(), SR_INSPECT_LIVE);
    ck_assert_int_eq(seen.bound, SR_INSPECT_BOUND);
    ck_assert_ptr_null(seen.note);
    ck_assert(seen.has_lock && seen.has_user);
    ck_assert_uint_eq(seen.pid, (uint64_t)getpid());
    ck_assert_str_eq(seen.program, program);
    ck_assert_uint_eq(seen.user, geteuid());
    ck_assert_uint_eq(seen.holders, 1);
    joiner = harness_listen(there, name());
    inspect(name(), SR_INSPECT_LIVE);
    ck_assert_uint_eq(seen.holders, 2);
    sockref_release(joiner);
    inspect(name(), SR_INSPECT_LIVE);
    ck_assert_uint_eq(seen.holders, 1);
    sockref_release(owner);
    inspect(name(), SR_INSPECT_ABSENT);
}
END_TEST

START_TEST(what_a_killed_owner_left_is_stale)
{
    leave_owner_dead();
    inspect(name(), SR_INSPECT_STALE);
    ck_assert_int_eq(seen.bound, SR_INSPECT_UNBOUND);
    ck_assert_uint_ne(seen.pid, 0);
    ck_assert_uint_ne(seen.pid, (uint64_t)getpid());
    ck_assert_uint_eq(seen.holders, 0);
    ck_assert_int_eq(unlink(name()), 0);
    inspect(name(), SR_INSPECT_STALE);
    expect_note("only its lock file");
    sweep_away();
    inspect(name(), SR_INSPECT_ABSENT);
}
END_TEST

/* A slot of a holder that takes its time to hear of the end. */
static int take_slot(void)
{
    struct flock slot = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1007, .l_len = 1};
    int fd = open(harness_at(LOCK), O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &slot), 0);
    return fd;
}

START_TEST(holders_of_a_dead_owner_are_counted)
{
    int slot;

    leave_owner_dead();
    slot = take_slot();
    inspect(name(), SR_INSPECT_STALE);
    ck_assert_uint_eq(seen.holders, 1);
    expect_note("not let go");
    ck_assert_int_eq(unlink(name()), 0);
    inspect(name(), SR_INSPECT_STALE);
    expect_note("not let go");
    close(slot);
    inspect(name(), SR_INSPECT_STALE);
    ck_assert_uint_eq(seen.holders, 0);
    sweep_away();
}
END_TEST

/* Change a byte of the record, or put it back. */
static void flip_record(void)
{
    int fd = open(harness_at(LOCK), O_RDWR | O_CLOEXEC);
    char byte;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pread(fd, &byte, 1, 40), 1);
    byte ^= 1;
    ck_assert_int_eq(pwrite(fd, &byte, 1, 40), 1);
    close(fd);
}

START_TEST(a_torn_record_tells_of_nobody)
{
    sockref *owner = harness_listen(here, name());

    flip_record();
    inspect(name(), SR_INSPECT_DYING); /* a start waits for it */
    expect_note("record");
    ck_assert_uint_eq(seen.pid, 0);
    ck_assert_str_eq(seen.program, "");
    ck_assert_uint_eq(seen.holders, 1);
    flip_record();
    inspect(name(), SR_INSPECT_LIVE);
    sockref_release(owner);
    leave_owner_dead();
    flip_record();
    inspect(name(), SR_INSPECT_STALE);
    ck_assert_uint_eq(seen.pid, 0);
    flip_record();
    sweep_away();
}
END_TEST

START_TEST(what_is_no_socket_is_foreign)
{
    const char *path = name();

    for (int i = 0; i < 2; i++) { /* as it is, and with what a dead owner left beside it */
        harness_write(path, "precious");
        inspect(path, SR_INSPECT_FOREIGN);
        expect_note("a file");
        ck_assert_int_eq(seen.bound, SR_INSPECT_UNBOUND);
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkdir(path, 0700), 0);
        inspect(path, SR_INSPECT_FOREIGN);
        expect_note("a directory");
        ck_assert_int_eq(rmdir(path), 0);
        ck_assert_int_eq(symlink("/dev/null", path), 0);
        inspect(path, SR_INSPECT_FOREIGN);
        expect_note("a symbolic link");
        ck_assert_int_eq(unlink(path), 0);
        ck_assert_int_eq(mkfifo(path, 0600), 0);
        inspect(path, SR_INSPECT_FOREIGN);
        expect_note("a FIFO");
        ck_assert_int_eq(unlink(path), 0);
        if (i == 0) {
            leave_owner_dead();
            ck_assert_int_eq(unlink(path), 0);
        }
    }
    sweep_away();
}
END_TEST

START_TEST(a_socket_that_the_record_does_not_tell_of_is_foreign)
{
    sockref *owner;
    int foreign;

    leave_owner_dead();
    ck_assert_int_eq(rename(name(), harness_at("kept")), 0); /* its number is not used again */
    foreign = harness_bind(name());
    inspect(name(), SR_INSPECT_FOREIGN);
    ck_assert_int_eq(seen.bound, SR_INSPECT_BOUND);
    expect_note("another program");
    close(foreign);
    ck_assert_int_eq(unlink(name()), 0);
    ck_assert_int_eq(unlink(harness_at("kept")), 0);
    owner = harness_listen(here, name());
    ck_assert_int_eq(unlink(name()), 0);
    inspect(name(), SR_INSPECT_DYING);
    expect_note("nothing stands");
    foreign = harness_bind(name());
    inspect(name(), SR_INSPECT_FOREIGN);
    expect_note("live owner");
    ck_assert_uint_eq(seen.pid, (uint64_t)getpid());
    close(foreign);
    ck_assert_int_eq(unlink(name()), 0);
    sockref_release(owner);
}
END_TEST

static const struct between {
    bool has_owner, answers, lives;
    uint32_t state;
    enum sr_inspect_state expected;
    const char *note;
} betweens[] = {
    {true, false, true, SR_RECORD_LIVE, SR_INSPECT_DYING, "does not answer"},
    {true, true, false, SR_RECORD_LIVE, SR_INSPECT_DYING, "the owner is dead"},
    {true, true, true, SR_RECORD_LIVE, SR_INSPECT_LIVE, NULL},
    {true, true, true, SR_RECORD_BINDING, SR_INSPECT_STARTING, NULL},
    {true, true, true, SR_RECORD_NONE, SR_INSPECT_DYING, "tells nothing"},
    {false, true, true, SR_RECORD_LIVE, SR_INSPECT_DYING, "has no owner"},
    {false, true, true, SR_RECORD_BINDING, SR_INSPECT_DYING, "has no owner"},
    {false, true, false, SR_RECORD_LIVE, SR_INSPECT_STALE, NULL},
};

/* What a lock file tells of a socket at the path, by its byte 1 and its record. */
START_TEST(what_is_between_live_and_stale_is_told)
{
    const struct between *between = &betweens[_i];
    struct flock owner = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = SR_BYTE_OWNER, .l_len = 1};
    int fd, inode, socket;
    struct sr_record record;
    struct stat info;

    leave_owner_dead();
    ck_assert_int_eq(unlink(name()), 0);
    socket = harness_bind(name());
    fd = open(harness_at(LOCK), O_RDWR | O_CLOEXEC);
    inode = open(name(), O_PATH | O_CLOEXEC);
    ck_assert_int_eq(sr_record_read(fd, &record), 0);
    if (between->lives)
        sr_record_of_self(&record);
    record.state = between->state;
    ck_assert_int_eq(sr_sys.birth(inode, "", &info, &record.born_ns), 0);
    record.device = info.st_dev;
    record.inode = info.st_ino;
    ck_assert_int_eq(sr_record_write(fd, &record), 0);
    if (!between->answers)
        close(socket);
    if (between->has_owner)
        ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &owner), 0);
    inspect(name(), between->expected);
    if (between->note)
        expect_note(between->note);
    else
        ck_assert_ptr_null(seen.note);
    if (between->expected == SR_INSPECT_LIVE) {
        record.pid_namespace++;
        ck_assert_int_eq(sr_record_write(fd, &record), 0);
        inspect(name(), SR_INSPECT_LIVE);
        expect_note("another pid namespace");
    }
    close(inode);
    close(fd);
    if (between->answers)
        close(socket);
    ck_assert_int_eq(unlink(name()), 0);
    sweep_away();
}
END_TEST

START_TEST(a_socket_without_a_lock_file_is_unshared)
{
    sockref_options *options = harness_options(SOCKREF_OPT_SHARE, 0, 0);
    sockref *alone;

    harness_assert_ok(sockref_registry_listen(here, name(), options, &alone));
    sockref_options_free(options);
    inspect(name(), SR_INSPECT_UNSHARED);
    ck_assert_int_eq(seen.bound, SR_INSPECT_BOUND);
    ck_assert(!seen.has_lock && seen.has_user && seen.user == geteuid());
    expect_note("live");
    sockref_release(alone);
    harness_leave_dead(name());
    inspect(name(), SR_INSPECT_UNSHARED);
    ck_assert_int_eq(seen.bound, SR_INSPECT_UNBOUND);
    expect_note("dead");
    unlink(name());
}
END_TEST

static struct sr_sys real;

static int never_the_lock(int dir, const char *path, int flags, mode_t mode)
{
    ck_assert_str_ne(path, LOCK);
    return real.openat(dir, path, flags, mode);
}

START_TEST(a_lock_file_that_others_could_change_is_not_believed)
{
    sockref *owner = harness_listen(here, name());

    ck_assert_int_eq(chmod(harness_at(LOCK), 0640), 0);
    inspect(name(), SR_INSPECT_FOREIGN);
    expect_note("trusted");
    ck_assert(!seen.has_lock && seen.pid == 0);
    ck_assert_int_eq(chmod(harness_at(LOCK), 0600), 0);
    inspect(name(), SR_INSPECT_LIVE);
    sockref_release(owner);
    ck_assert_int_eq(mkfifo(harness_at(LOCK), 0600), 0);
    real = sr_sys;
    sr_sys.openat = never_the_lock; /* who waits for a reader would go on */
    inspect(name(), SR_INSPECT_FOREIGN);
    sr_sys = real;
    unlink(harness_at(LOCK));
}
END_TEST

/* Root sees the names of others. */
START_TEST(names_of_another_user_are_told_to_root)
{
    if (geteuid() != 0)
        return;
    leave_owner_dead();
    ck_assert_int_eq(chown(harness_at(LOCK), 65534, 65534), 0);
    inspect(name(), SR_INSPECT_FOREIGN);
    expect_note("another user");
    ck_assert_int_eq(chown(name(), 65534, 65534), 0);
    inspect(name(), SR_INSPECT_STALE);
    ck_assert_uint_eq(seen.user, 65534);
    ck_assert_int_eq(chown(name(), 0, 0), 0);
    ck_assert_int_eq(chown(harness_at(LOCK), 0, 0), 0);
    sweep_away();
}
END_TEST

START_TEST(an_abstract_name_is_live_or_absent)
{
    const char *path = harness_text("@sockref-inspect-%d", (int)getpid());
    sockref *owner = harness_listen(here, path);

    inspect(path, SR_INSPECT_LIVE);
    ck_assert_int_eq(seen.bound, SR_INSPECT_BOUND);
    ck_assert(!seen.has_lock && !seen.has_user);
    inspect(harness_text("%sx", path), SR_INSPECT_ABSENT);
    inspect(harness_text("@%s", path), SR_INSPECT_ABSENT);
    sockref_release(owner);
    inspect(path, SR_INSPECT_ABSENT);
}
END_TEST

START_TEST(what_has_no_answer_is_an_error)
{
    memset(&seen, 0x55, sizeof seen);
    harness_assert_fails(look_at("relative"), SOCKREF_EPATH);
    harness_assert_fails(look_at(""), SOCKREF_EPATH);
    harness_assert_fails(look_at("/tmp/../x"), SOCKREF_EPATH);
    harness_assert_fails(look_at("tcp:127.0.0.1:1"), SOCKREF_EUNSUPPORTED);
    harness_assert_fails(look_at(harness_text("/%05000d", 1)), SOCKREF_EPATHLEN);
    ck_assert_int_eq((int)seen.state, 0x55555555);
}
END_TEST

static int ask_as_another(void *path)
{
    struct sr_listing list;

    if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
        return 1;
    if (look_at(path) != -EACCES || sockref_last_error()->os_errno != EACCES)
        return 2;
    return sr_inspect_directory(harness_dir(), &list) == -EACCES ? 0 : 3;
}

START_TEST(an_unreadable_directory_is_an_error)
{
    ck_assert_int_eq(chmod(harness_dir(), geteuid() == 0 ? 0700 : 0), 0);
    ck_assert_int_eq(harness_in_child(ask_as_another, (void *)name()), 0);
    ck_assert_int_eq(chmod(harness_dir(), 0700), 0);
}
END_TEST

/* ---- what changes meanwhile ---- */

static void *start(void *out)
{
    *(sockref **)out = harness_listen(here, name());
    return NULL;
}

START_TEST(a_start_under_way_is_told)
{
    struct faults_gate gate;
    sockref *owner = NULL;
    pthread_t thread;

    faults_install();
    faults_hold(FAULTS_listen, &gate); /* of the control socket: the name itself is not bound */
    ck_assert_int_eq(pthread_create(&thread, NULL, start, &owner), 0);
    faults_wait_held(&gate);
    inspect(name(), SR_INSPECT_STARTING);
    ck_assert_uint_eq(seen.pid, (uint64_t)getpid());
    faults_let_go(&gate);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    faults_clear();
    inspect(name(), SR_INSPECT_LIVE);
    sockref_release(owner);
}
END_TEST

static void release(void *ref)
{
    sockref_release(ref);
}

static const enum faults_kind looks[] = {
    FAULTS_openat, FAULTS_fstat, FAULTS_fstatat, FAULTS_lock, FAULTS_pread, FAULTS_connect,
};

/* Whatever the look is at when its owner lets go. */
START_TEST(a_name_that_ends_meanwhile_is_looked_at_again)
{
    sockref *owner = harness_listen(here, name());

    faults_install();
    faults_before(looks[_i], release, owner);
    inspect(name(), SR_INSPECT_ABSENT);
    faults_clear();
    ck_assert_int_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static sockref *heir;

static void replace(void *owner)
{
    sockref_release(owner);
    heir = harness_listen(there, name());
}

START_TEST(a_name_that_begins_anew_meanwhile_is_looked_at_again)
{
    sockref *owner = harness_listen(here, name());

    faults_install();
    faults_before(looks[_i], replace, owner);
    inspect(name(), SR_INSPECT_LIVE);
    faults_clear();
    ck_assert_ptr_null(seen.note);
    ck_assert_uint_eq(seen.holders, 1);
    sockref_release(heir);
}
END_TEST

/* ---- what is not done ---- */

static int only_ask(int fd, int command, struct flock *lock)
{
    ck_assert_int_eq(command, F_OFD_GETLK);
    return real.lock(fd, command, lock);
}

static int only_read(int dir, const char *path, int flags, mode_t mode)
{
    ck_assert_int_eq(flags & (O_ACCMODE | O_CREAT | O_TRUNC), O_RDONLY);
    return real.openat(dir, path, flags, mode);
}

static int only_datagrams(int domain, int type, int protocol)
{
    ck_assert_int_eq(type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), SOCK_DGRAM);
    return real.socket(domain, type, protocol);
}

/* All of a file that could change; and that nobody waits to be accepted. */
static const char *times_of(const char *path)
{
    struct stat info;

    ck_assert_int_eq(lstat(path, &info), 0);
    return harness_text("%lu %o %ld.%09ld %ld.%09ld %ld.%09ld %ld", (unsigned long)info.st_ino,
                        (unsigned)info.st_mode, (long)info.st_atim.tv_sec, info.st_atim.tv_nsec,
                        (long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec, (long)info.st_ctim.tv_sec,
                        info.st_ctim.tv_nsec, (long)info.st_size);
}

START_TEST(a_look_changes_nothing)
{
    sockref *owner = harness_listen(here, name());
    const char *socket = times_of(name()), *lock = times_of(harness_at(LOCK)),
               *directory = times_of(harness_dir());
    struct sr_listing list;

    real = sr_sys;
    sr_sys.lock = only_ask;
    sr_sys.openat = only_read;
    sr_sys.socket = only_datagrams;
    for (int i = 0; i < 1000; i++)
        inspect(name(), SR_INSPECT_LIVE);
    harness_assert_ok(sr_inspect_directory(harness_dir(), &list));
    sr_sys = real;
    sr_listing_free(&list);
    ck_assert_str_eq(times_of(name()), socket);
    ck_assert_str_eq(times_of(harness_at(LOCK)), lock);
    ck_assert_str_eq(times_of(harness_dir()), directory);
    ck_assert_int_eq(accept(sockref_fd(owner), NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_eq(sockref_holder_count(owner), 1);
    sockref_release(owner);
}
END_TEST

/* One of the calls fails: then so does the look, or it sees what is there. */
START_TEST(every_call_fails_once)
{
    sockref *owner = harness_listen(here, name());
    struct sr_listing list;
    size_t noted = sr_fd_count();
    bool struck = true;
    int failed = 0;

    faults_install();
    for (uint64_t nth = 1; struck; nth++) {
        int status;

        faults_arm(~(uint64_t)0 & ~FAULTS_BIT(FAULTS_close), nth, EIO);
        status = look_at(name());
        struck = faults_struck();
        faults_disarm();
        if (status < 0) {
            failed++;
            harness_assert_error(status);
        } else {
            ck_assert_int_eq(seen.state, SR_INSPECT_LIVE);
            ck_assert_uint_eq(seen.holders, 1);
        }
        ck_assert_uint_eq(sr_fd_count(), noted);
    }
    ck_assert_int_gt(failed, 10);
    struck = true;
    for (uint64_t nth = 1; struck; nth++) {
        int status;

        faults_arm(~(uint64_t)0 & ~FAULTS_BIT(FAULTS_close), nth, EIO);
        status = sr_inspect_directory(harness_dir(), &list);
        struck = faults_struck();
        faults_disarm();
        if (status < 0)
            harness_assert_error(status);
        else
            sr_listing_free(&list);
        ck_assert_uint_eq(sr_fd_count(), noted);
    }
    faults_clear();
    sockref_release(owner);
}
END_TEST

/* ---- a directory ---- */

START_TEST(a_directory_lists_sockets_and_lock_files)
{
    /* A leaf that its lock file's name has by a hash. */
    const char *path = harness_at("a\303\244 long name, of which only the beginning is told in the "
                                  "name of its lock file");
    sockref *shared = harness_listen(here, harness_at("b.sock")),
            *hashed = harness_listen(here, path);
    struct sr_listing list;

    harness_leave_dead(harness_at("c"));
    harness_leave_dead(harness_at("bad\nname"));
    harness_write(harness_at("file"), "");
    harness_write(harness_at(".gone.srlock"), "");
    harness_assert_ok(sr_inspect_directory(harness_dir(), &list));
    ck_assert_uint_eq(list.count, 4);
    ck_assert_str_eq(list.leaves[0], strrchr(path, '/') + 1);
    ck_assert_str_eq(list.leaves[1], "b.sock");
    ck_assert_str_eq(list.leaves[2], "c");
    ck_assert_str_eq(list.leaves[3], "gone");
    sr_listing_free(&list);
    inspect(path, SR_INSPECT_LIVE);
    inspect(harness_at("b.sock"), SR_INSPECT_LIVE);
    sockref_release(shared);
    sockref_release(hashed);
    unlink(harness_at("c"));
    unlink(harness_at("bad\nname"));
    unlink(harness_at(".gone.srlock"));
    harness_assert_ok(sr_inspect_directory(harness_dir(), &list));
    ck_assert_uint_eq(list.count, 0);
    sr_listing_free(&list);
    harness_assert_fails(sr_inspect_directory(harness_at("none"), &list), -ENOENT);
}
END_TEST

static int calls;

static int count_opened(int dir, const char *path, int flags, mode_t mode)
{
    calls++;
    return real.openat(dir, path, flags, mode);
}

/* The lock file of a leaf that is not told by its name. */
static const char *lock_by_hash(const char *leaf)
{
    char lock_name[SR_LOCKFILE_NAME_MAX];

    sr_lockfile_name(leaf, ".srlock", lock_name);
    ck_assert_int_eq(lock_name[1], '~');
    return harness_at(lock_name);
}

#define LONG "a long name, of which only the beginning is told in the name of its lock file, "
#define MANY 20

/* Whose leaf is no socket, or gone; the time that it takes does not grow by the square of them. */
START_TEST(a_directory_is_read_once_whatever_lock_files_it_has)
{
    const char *lock = lock_by_hash(LONG "plain"), *gone = lock_by_hash(LONG "gone");
    struct sr_listing list;

    harness_write(harness_at(LONG "plain"), "");
    harness_write(harness_at(LONG "bare"), "");
    harness_write(lock, "");
    harness_write(gone, "");
    for (int i = 0; i < MANY; i++)
        harness_write(lock_by_hash(harness_text(LONG "%d", i)), "");
    harness_write(harness_at("." LONG "none.srlock"), "");
    real = sr_sys;
    sr_sys.openat = count_opened;
    calls = 0;
    harness_assert_ok(sr_inspect_directory(harness_dir(), &list));
    sr_sys = real;
    ck_assert_int_eq(calls, 2); /* the directory, and to read it */
    ck_assert_uint_eq(list.count, 2 + MANY);
    ck_assert_str_eq(list.leaves[0], LONG "plain");
    for (size_t i = 1; i < list.count; i++)
        ck_assert_int_eq(list.leaves[i][0], '~');
    sr_listing_free(&list);
    unlink(harness_at(LONG "plain"));
    unlink(harness_at(LONG "bare"));
    unlink(lock);
    unlink(gone);
    for (int i = 0; i < MANY; i++)
        unlink(lock_by_hash(harness_text(LONG "%d", i)));
    unlink(harness_at("." LONG "none.srlock"));
}
END_TEST

static int count_and_ask(int fd, int command, struct flock *lock)
{
    calls += lock->l_start == SR_BYTE_CHANGE; /* asked twice in a look */
    return real.lock(fd, command, lock);
}

/* Who is about to lock it has just made it; else nobody is waited for. */
START_TEST(a_blank_lock_file_that_is_old_is_looked_at_once)
{
    uint64_t no_patience_ns = 0;
    struct stat info;
    int once;

    harness_write(harness_at(LOCK), "");
    ck_assert_int_eq(stat(harness_at(LOCK), &info), 0);
    WAIT_UNTIL(!sr_probe_is_fresh(&info));
    real = sr_sys;
    sr_sys.lock = count_and_ask;
    calls = 0;
    harness_assert_ok(sr_inspect_name(name(), &no_patience_ns, &seen));
    once = calls;
    calls = 0;
    inspect(name(), SR_INSPECT_STALE);
    sr_sys = real;
    ck_assert_int_eq(calls, once);
    unlink(harness_at(LOCK));
}
END_TEST

/* However many there are that somebody keeps so. */
START_TEST(all_names_together_have_one_patience)
{
    uint64_t patience_ns = 1000000;
    sockref *owner = harness_listen(here, name());
    int lock = open(harness_at(LOCK), O_RDWR | O_CLOEXEC), asked;
    struct flock change = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};

    ck_assert_int_eq(fcntl(lock, F_OFD_SETLK, &change), 0);
    real = sr_sys;
    sr_sys.lock = count_and_ask;
    calls = 0;
    harness_assert_ok(sr_inspect_name(name(), &patience_ns, &seen));
    asked = calls;
    ck_assert_uint_lt(patience_ns, 500000); /* the next nap would be longer than all before */
    calls = 0;
    patience_ns = 0;
    harness_assert_ok(sr_inspect_name(name(), &patience_ns, &seen));
    ck_assert_int_eq(asked, 4 * calls);
    sr_sys = real;
    ck_assert_int_eq(seen.state, SR_INSPECT_LIVE);
    close(lock);
    sockref_release(owner);
}
END_TEST

/* As if one process held every other byte of the lock file. */
static int find_at_each(int fd, int command, struct flock *lock)
{
    int64_t from = lock->l_start, length = lock->l_len;

    if (command != F_OFD_GETLK || from < SR_BYTE_SLOTS || length == 1)
        return real.lock(fd, command, lock);
    lock->l_type = F_WRLCK;
    lock->l_start = from + length / 2;
    lock->l_len = 1;
    return 0;
}

/* However many locks there are, nobody is held up by them, and is told that there are more. */
START_TEST(holders_without_end_are_counted_for_some_time)
{
    uint64_t no_patience_ns = 0;
    sockref *owner = harness_listen(here, name());

    real = sr_sys;
    sr_sys.lock = find_at_each;
    harness_assert_ok(sr_inspect_name(name(), &no_patience_ns, &seen));
    ck_assert_uint_ge(sockref_holder_count(owner), 16);
    sr_sys = real;
    ck_assert_int_eq(seen.state, SR_INSPECT_LIVE);
    ck_assert_uint_eq(seen.holders, 16);
    ck_assert_str_eq(seen.note, "it has more holders than could be counted in time");
    sockref_release(owner);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("inspect");
    TCase *states = harness_tcase(suite, "states");
    TCase *changes = harness_tcase(suite, "changes");
    TCase *nothing = harness_tcase(suite, "nothing is done");

    tcase_add_checked_fixture(states, setup, teardown);
    tcase_add_test(states, nothing_is_absent);
    tcase_add_test(states, an_owner_that_listens_is_live);
    tcase_add_test(states, what_a_killed_owner_left_is_stale);
    tcase_add_test(states, holders_of_a_dead_owner_are_counted);
    tcase_add_test(states, a_torn_record_tells_of_nobody);
    tcase_add_test(states, what_is_no_socket_is_foreign);
    tcase_add_test(states, a_socket_that_the_record_does_not_tell_of_is_foreign);
    tcase_add_loop_test(states, what_is_between_live_and_stale_is_told, 0,
                        (int)(sizeof betweens / sizeof betweens[0]));
    tcase_add_test(states, a_socket_without_a_lock_file_is_unshared);
    tcase_add_test(states, a_lock_file_that_others_could_change_is_not_believed);
    tcase_add_test(states, names_of_another_user_are_told_to_root);
    tcase_add_test(states, an_abstract_name_is_live_or_absent);
    tcase_add_test(states, what_has_no_answer_is_an_error);
    tcase_add_test(states, an_unreadable_directory_is_an_error);
    tcase_add_checked_fixture(changes, setup, teardown);
    tcase_add_test(changes, a_start_under_way_is_told);
    tcase_add_loop_test(changes, a_name_that_ends_meanwhile_is_looked_at_again, 0,
                        sizeof looks / sizeof looks[0]);
    tcase_add_loop_test(changes, a_name_that_begins_anew_meanwhile_is_looked_at_again, 0,
                        sizeof looks / sizeof looks[0]);
    tcase_add_test(changes, a_blank_lock_file_that_is_old_is_looked_at_once);
    tcase_add_test(changes, all_names_together_have_one_patience);
    tcase_add_test(changes, holders_without_end_are_counted_for_some_time);
    tcase_add_checked_fixture(nothing, setup, teardown);
    tcase_add_test(nothing, a_look_changes_nothing);
    tcase_add_test(nothing, every_call_fails_once);
    tcase_add_test(nothing, a_directory_lists_sockets_and_lock_files);
    tcase_add_test(nothing, a_directory_is_read_once_whatever_lock_files_it_has);
    return harness_run(suite);
}
