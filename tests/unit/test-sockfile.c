/* The socket is bound, with its mode, or nothing is left: src/name/sockfile.c. */
#include "base/fd.h"
#include "harness/faults.h"
#include "test-sockfile-helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(a_bound_socket_listens_and_is_removed)
{
    const char *path = harness_at("a");

    bind_at(path);
    ck_assert(harness_is_socket(path));
    ck_assert_uint_eq(file.inode, harness_inode(path));
    ck_assert(harness_can_dial(path));
    ck_assert_int_eq(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
    end(path);
    ck_assert(!harness_exists(path));
    harness_assert_ok(sr_sockfile_remove(&file, path)); /* once more: nothing */
}
END_TEST

/* U6, L15: paths beyond what an address holds, up to the longest that is allowed. */
START_TEST(long_paths_are_bound_by_their_directory)
{
    static const size_t lengths[][2] = {{106, 10},  {107, 10},  {108, 10},  {109, 10}, {200, 85},
                                        {1000, 85}, {4094, 85}, {4095, 85}, {4095, 1}, {107, 60}};
    const char *path = harness_long_path(lengths[_i][0], lengths[_i][1]);
    struct sockaddr_un address = {0};
    socklen_t length = sizeof address;

    ck_assert_uint_eq(strlen(path), lengths[_i][0]);
    bind_at(path);
    ck_assert(harness_is_socket(path));
    ck_assert(harness_can_dial(path));
    if (lengths[_i][0] <= 107) { /* decision 19: the spelling itself, where it fits */
        ck_assert_int_eq(getsockname(file.fd, (struct sockaddr *)&address, &length), 0);
        ck_assert_int_eq(strncmp(address.sun_path, path, sizeof address.sun_path), 0);
    }
    end(path);
    ck_assert(!harness_exists(path));
}
END_TEST

START_TEST(an_abstract_name_has_no_file)
{
    const char *path = harness_text("@sockref-test-%ld", (long)getpid());

    bind_at(path);
    ck_assert(!file.has_file);
    ck_assert(harness_can_dial(path));
    ck_assert_uint_eq(harness_files(), 0);
    end(path);
    ck_assert_int_eq(harness_dial(path), -ECONNREFUSED);
}
END_TEST

START_TEST(the_longest_abstract_name_is_bound_to_its_last_byte)
{
    const char *path = harness_text("@%0105d1", (int)getpid());
    const char *shorter = harness_text("@%0105d", (int)getpid());

    bind_at(path);
    ck_assert(harness_can_dial(path));
    ck_assert_int_eq(harness_dial(shorter), -ECONNREFUSED);
    end(path);
}
END_TEST

/* ---- V5, D23: the mode ---- */

static const struct {
    mode_t mask;
    int mode;
    unsigned expected;
} modes[] = {
    {0, 0600, 0600},   {022, 0600, 0600},  {077, 0600, 0600}, {0777, 0600, 0600}, {0, 0660, 0660},
    {022, 0660, 0660}, {077, 0660, 0660},  {0, 0666, 0666},   {022, 0666, 0666},  {077, 0777, 0777},
    {0, 0000, 0000},   {077, 0000, 0000},  {0, -1, 0777},     {022, -1, 0755},    {077, -1, 0700},
    {0177, -1, 0600},  {0777, 0400, 0400}, {027, 0750, 0750},
};

START_TEST(the_mode_is_the_one_asked_for)
{
    const char *path = harness_at("a");
    mode_t before = umask(modes[_i].mask);

    harness_assert_ok(try_bind(path, modes[_i].mode));
    ck_assert_uint_eq(harness_mode(path), modes[_i].expected);
    ck_assert_uint_eq(umask(before), modes[_i].mask); /* never touched */
    end(path);
}
END_TEST

/* A descriptor of the file costs two calls: it is opened for those alone who ask for it. */
START_TEST(the_file_is_opened_where_that_is_asked_for)
{
    const char *path = harness_at("a");
    struct sr_place place;
    int pin = -1;

    harness_assert_ok(sr_place_open(path, &place));
    faults_install();
    harness_assert_ok(sr_sockfile_bind(&place, path, 0600, 16, &file, _i == 0 ? NULL : &pin));
    ck_assert_uint_eq(faults_calls(FAULTS_openat), (unsigned)_i);
    ck_assert((pin >= 0) == (_i == 1));
    sr_fd_close(pin);
    end(path);
}
END_TEST

#define BINDS 10000

struct watched {
    const char *path;
    _Atomic int over, seen;
    _Atomic unsigned wider;
};

/* Another process looks at the file as fast as it can. */
static void watch_mode(struct watched *watched, unsigned allowed)
{
    struct stat info;

    while (!atomic_load(&watched->over)) {
        if (lstat(watched->path, &info) < 0 || !S_ISSOCK(info.st_mode))
            continue;
        atomic_store(&watched->seen, 1);
        if (info.st_mode & 0777 & ~allowed)
            atomic_fetch_or(&watched->wider, info.st_mode & 0777);
    }
    _exit(0);
}

/* V5, D23: no moment with wider bits, for a narrow mode and for one that the umask has to be
 * widened to. */
START_TEST(the_mode_is_never_wider_than_asked)
{
    static const struct {
        mode_t mask;
        int mode;
    } cases[] = {{0, 0600}, {077, 0660}};
    struct watched *watched =
        mmap(NULL, sizeof *watched, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid;

    ck_assert_ptr_ne(watched, MAP_FAILED);
    watched->path = harness_at("a");
    pid = fork();
    if (pid == 0)
        watch_mode(watched, (unsigned)cases[_i].mode);
    umask(cases[_i].mask);
    for (int i = 0; i < BINDS || !atomic_load(&watched->seen); i++) {
        harness_assert_ok(try_bind(watched->path, cases[_i].mode));
        end(watched->path);
    }
    atomic_store(&watched->over, 1);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_msg(watched->wider == 0, "a mode of %o was seen", watched->wider);
    munmap(watched, sizeof *watched);
}
END_TEST

static void check_not_connectable(void *arg)
{
    ck_assert_int_eq(harness_dial(arg), -ECONNREFUSED);
}

/* The mode is right before anybody can connect. */
START_TEST(nobody_connects_before_the_mode_is_right)
{
    const char *path = harness_at("a");

    umask(077);
    faults_install();
    faults_before(FAULTS_chmod, check_not_connectable, (void *)path);
    harness_assert_ok(try_bind(path, 0666));
    ck_assert_uint_eq(faults_calls(FAULTS_chmod), 1);
    end(path);
}
END_TEST

#define NOT_POSSIBLE 77

/* In a child: its mounts are its own. */
static int bind_without_proc(void *path)
{
    umask(077);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        umount2("/proc", MNT_DETACH) < 0)
        return NOT_POSSIBLE;
    if (try_bind(path, 0666) != SOCKREF_EUNSUPPORTED)
        return 1;
    return strstr(sockref_last_error()->message, "/proc") ? 0 : 2;
}

/* A mode that the umask narrows, and a path that no address has room for. */
START_TEST(what_needs_proc_is_told)
{
    const char *path = _i == 0 ? harness_at("a") : harness_long_path(200, 85);
    int status = harness_in_child(bind_without_proc, (void *)path);

    if (status == NOT_POSSIBLE)
        return;
    ck_assert_int_eq(status, 0);
    ck_assert(!harness_exists(path));
}
END_TEST

/* ---- what stands in the way ---- */

static void put_fifo(const char *path)
{
    ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static void put_link(const char *path)
{
    harness_write(harness_at("target"), "precious");
    ck_assert_int_eq(symlink("target", path), 0);
}

static void put_dangling(const char *path)
{
    ck_assert_int_eq(symlink("nowhere", path), 0);
}

static void put_device(const char *path)
{
    if (mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0)
        put_file(path);
}

static const struct {
    void (*put)(const char *path);
    int status;
    const char *word;
} obstacles[] = {
    {put_file, SOCKREF_EFOREIGN, "file"},
    {put_dir, SOCKREF_EFOREIGN, "directory"},
    {put_fifo, SOCKREF_EFOREIGN, "FIFO"},
    {put_link, SOCKREF_EFOREIGN, "symbolic link"},
    {put_dangling, SOCKREF_EFOREIGN, "symbolic link"},
    {put_device, SOCKREF_EFOREIGN, ""},
    {put_live, -EADDRINUSE, "socket"},
    {harness_leave_dead, -EADDRINUSE, "socket"},
};

#define OBSTACLES ((int)(sizeof obstacles / sizeof obstacles[0]))

/* D11, D13, L17, L18: told, and left alone. */
START_TEST(what_stands_there_is_not_touched)
{
    const char *path = harness_at("a");
    unsigned files;
    ino_t inode;

    foreign = -1;
    obstacles[_i].put(path);
    files = harness_files();
    inode = harness_inode(path);
    harness_assert_fails(try_bind(path, 0600), obstacles[_i].status);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, obstacles[_i].word));
    ck_assert_int_eq(sockref_last_error()->os_errno, EADDRINUSE);
    ck_assert_str_eq(sockref_last_error()->path, path);
    ck_assert_uint_eq(harness_inode(path), inode);
    ck_assert_uint_eq(harness_files(), files);
    ck_assert_uint_eq(harness_noted(), 0);
    if (foreign >= 0) {
        ck_assert(harness_can_dial(path));
        close(foreign);
    }
    remove(path);
}
END_TEST

/* ---- starts that fail leave nothing ---- */

static const struct {
    enum faults_kind kind;
    int os_errno;
    mode_t mask;
} refusals[] = {
    {FAULTS_socket, EMFILE, 0},   {FAULTS_socket, ENFILE, 0}, {FAULTS_fchmod, EINVAL, 0},
    {FAULTS_bind, EACCES, 0},     {FAULTS_bind, EROFS, 0},    {FAULTS_bind, ENOSPC, 0},
    {FAULTS_openat, EIO, 077},    {FAULTS_fstatat, EIO, 0},   {FAULTS_listen, ENOBUFS, 0},
    {FAULTS_openat, EMFILE, 077}, {FAULTS_chmod, EPERM, 077}, {FAULTS_chmod, EROFS, 077},
};

/* J23, D6: a call that is refused half-way leaves neither file nor descriptor. */
START_TEST(j23_a_refused_start_leaves_nothing)
{
    const char *path = harness_at("a");
    struct sr_place place;

    umask(refusals[_i].mask);
    harness_assert_ok(sr_place_open(path, &place));
    faults_install();
    faults_arm(FAULTS_BIT(refusals[_i].kind), 1, refusals[_i].os_errno);
    harness_assert_fails(sr_sockfile_bind(&place, path, 0660, 16, &file, NULL),
                         -refusals[_i].os_errno);
    ck_assert(faults_struck());
    ck_assert_int_eq(sockref_last_error()->os_errno, refusals[_i].os_errno);
    ck_assert_int_ge(place.dir, 0); /* still the caller's */
    sr_place_close(&place);
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

static void move_directory(void *unused)
{
    (void)unused;
    ck_assert_int_eq(rename(harness_at("d"), harness_at("e")), 0);
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
}

/* The directory is replaced between the look and the bind: undone there too. */
START_TEST(a_directory_replaced_meanwhile_refuses_the_start)
{
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    faults_install();
    faults_before(FAULTS_bind, move_directory, NULL);
    ck_assert_int_lt(try_bind(harness_at("d/a"), 0600), 0);
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

/* The old directory has a socket of the same leaf: that one is not taken for ours. */
START_TEST(a_socket_in_the_old_directory_is_not_taken_for_ours)
{
    const char *path = harness_at("d/a");
    int other, status;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    other = harness_bind(path);
    faults_install();
    faults_before(FAULTS_bind, move_directory, NULL);
    status = try_bind(path, 0600);
    if (status == 0)
        end(path);
    ck_assert(harness_can_dial(harness_at("e/a")));
    ck_assert_int_lt(status, 0);
    ck_assert(!harness_exists(path));
    close(other);
    ck_assert_int_eq(unlink(harness_at("e/a")), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockfile");
    TCase *tcase = harness_tcase(suite, "sockfile");

    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_bound_socket_listens_and_is_removed);
    tcase_add_loop_test(tcase, long_paths_are_bound_by_their_directory, 0, 10);
    tcase_add_test(tcase, an_abstract_name_has_no_file);
    tcase_add_test(tcase, the_longest_abstract_name_is_bound_to_its_last_byte);
    tcase_add_loop_test(tcase, the_mode_is_the_one_asked_for, 0,
                        (int)(sizeof modes / sizeof modes[0]));
    tcase_add_loop_test(tcase, the_file_is_opened_where_that_is_asked_for, 0, 2);
    tcase_add_loop_test(tcase, the_mode_is_never_wider_than_asked, 0, 2);
    tcase_add_test(tcase, nobody_connects_before_the_mode_is_right);
    tcase_add_loop_test(tcase, what_needs_proc_is_told, 0, 2);
    tcase_add_loop_test(tcase, what_stands_there_is_not_touched, 0, OBSTACLES);
    tcase_add_loop_test(tcase, j23_a_refused_start_leaves_nothing, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tcase, a_directory_replaced_meanwhile_refuses_the_start);
    tcase_add_test(tcase, a_socket_in_the_old_directory_is_not_taken_for_ours);
    return harness_run(suite);
}
