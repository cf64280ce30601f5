/* The socket and its file: src/name/sockfile.c. */
#include "name/sockfile.h"

#include "base/error.h"
#include "base/fd.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/path.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sr_sockfile file;

static int try_bind(const char *path, int mode)
{
    struct sr_place place;
    int status = sr_place_open(path, &place);

    if (status < 0)
        return status;
    status = sr_sockfile_bind(&place, path, mode, 16, &file, NULL);
    sr_place_close(&place); /* nothing when it was taken */
    return status;
}

static void bind_at(const char *path)
{
    harness_assert_ok(try_bind(path, 0600));
}

static void end(const char *path)
{
    harness_assert_ok(sr_sockfile_remove(&file, path));
    sr_sockfile_close(&file);
}

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
    const char *path = harness_text("@%0106d", 1);
    const char *shorter = harness_text("@%0105d", 0);

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

/* ---- what stands in the way ---- */

static void put_file(const char *path)
{
    harness_write(path, "precious");
}

static void put_dir(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

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

static int foreign;

static void put_live(const char *path)
{
    foreign = harness_bind(path);
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

/* ---- directories where others may add files ---- */

START_TEST(in_a_sticky_directory_the_file_is_renamed_aside_first)
{
    const char *dir = harness_sticky_dir(), *path;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
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
START_TEST(in_a_sticky_directory_another_file_is_put_back)
{
    const char *dir = harness_sticky_dir(), *path;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
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

START_TEST(in_a_sticky_directory_a_socket_that_replaces_ours_is_seen)
{
    const char *dir = harness_sticky_dir(), *path;
    struct sr_place place;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
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
START_TEST(in_a_sticky_directory_a_socket_that_replaces_ours_keeps_its_mode)
{
    const char *dir = harness_sticky_dir(), *path;
    struct sr_place place;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
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

static const char *own_path;

/* Somebody who recovers the name takes it for the rest of a removal that was killed. */
static void put_back_now(void *arg)
{
    struct sr_place place;

    (void)arg;
    harness_assert_ok(sr_place_open(own_path, &place));
    ck_assert_int_eq(sr_sockfile_restore(&place, sr_path_leaf(own_path), own_path), 0);
    sr_place_close(&place);
}

/* After the renaming: before it is looked at, or before it is unlinked. */
static void put_back_later(void *arg)
{
    faults_before(arg ? FAULTS_unlinkat : FAULTS_fstatat, put_back_now, NULL);
}

START_TEST(in_a_sticky_directory_a_removal_survives_that_its_file_is_put_back)
{
    const char *dir = harness_sticky_dir();

    if (!dir)
        return;
    own_path = harness_text("%s/a", dir);
    bind_at(own_path);
    faults_install();
    faults_before(FAULTS_rename_new, put_back_later, (void *)(intptr_t)_i);
    end(own_path);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

START_TEST(in_a_sticky_directory_nothing_is_put_over_a_third_file)
{
    const char *dir = harness_sticky_dir(), *path;
    glob_t kept;

    if (!dir)
        return;
    path = harness_text("%s/a", dir);
    bind_at(path);
    faults_install();
    faults_before(FAULTS_rename_new, replace_and_put, (void *)path);
    end(path);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_uint_eq(harness_files(), 2);
    ck_assert_int_eq(glob(harness_text("%s/.sockref-kept-*", dir), 0, NULL, &kept), 0);
    ck_assert_uint_eq(kept.gl_pathc, 1);
    ck_assert(harness_holds(kept.gl_pathv[0], "precious"));
    globfree(&kept);
}
END_TEST

#define RACES 2000

struct race {
    const char *path;
    pthread_barrier_t barrier;
    unsigned made, destroyed;
};

/* Another program of ours that takes the path away from us with a file, again and again. */
static void *take_away(void *arg)
{
    struct race *race = arg;

    for (int i = 0; i < RACES; i++) {
        const char *own = harness_text("%s.%d", race->path, i);

        harness_write(own, "precious");
        pthread_barrier_wait(&race->barrier);
        if (rename(own, race->path) == 0)
            race->made++;
        pthread_barrier_wait(&race->barrier);
        pthread_barrier_wait(&race->barrier);
    }
    return NULL;
}

static bool is_aside_kept(const char *dir)
{
    const char *aside = strstr(sockref_last_error()->message, ".a.sraside");

    return aside && harness_holds(harness_text("%s/%s", dir, aside), "precious");
}

START_TEST(in_a_sticky_directory_a_racing_replacer_loses_nothing)
{
    struct race race = {0};
    const char *dir = harness_sticky_dir();
    pthread_t thread;

    if (!dir)
        return;
    race.path = harness_text("%s/a", dir);
    pthread_barrier_init(&race.barrier, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, take_away, &race), 0);
    for (int i = 0; i < RACES; i++) {
        int status;

        bind_at(race.path);
        pthread_barrier_wait(&race.barrier);
        status = sr_sockfile_remove(&file, race.path);
        pthread_barrier_wait(&race.barrier);
        sr_sockfile_close(&file);
        if (!harness_holds(race.path, "precious") && !(status < 0 && is_aside_kept(dir)))
            race.destroyed++;
        unlink(race.path);
        pthread_barrier_wait(&race.barrier);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&race.barrier);
    ck_assert_uint_eq(race.made, RACES);
    ck_assert_uint_eq(race.destroyed, 0);
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

/* ---- adopting: register_new ---- */

static int adopt(const char *path, int fd)
{
    struct sr_place place;
    int status;

    harness_assert_ok(sr_place_open(path, &place));
    status = sr_sockfile_adopt(&place, path, fd, &file, NULL);
    sr_place_close(&place);
    return status;
}

START_TEST(a_listener_of_the_callers_is_adopted)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);

    harness_assert_ok(adopt(path, fd));
    ck_assert_int_eq(file.fd, fd);
    ck_assert_uint_eq(file.inode, harness_inode(path));
    end(path);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(an_abstract_listener_is_adopted)
{
    const char *path = harness_text("@sockref-adopt-%ld", (long)getpid());
    int fd = harness_bind(path);

    harness_assert_fails(adopt(harness_text("%sx", path), fd), SOCKREF_EFOREIGN);
    harness_assert_fails(adopt("@sockref-adopt", fd), SOCKREF_EFOREIGN);
    harness_assert_ok(adopt(path, fd));
    end(path);
}
END_TEST

START_TEST(a_long_bound_path_is_adopted)
{
    const char *path = harness_long_path(300, 20);
    int fd = harness_bind(path); /* by a name in /proc that leads nowhere afterwards */
    int status = adopt(path, fd);

    if (status == 0) {
        end(path);
        return;
    }
    ck_assert_int_eq(status, SOCKREF_EFOREIGN);
    close(fd);
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static int make_pipe(void)
{
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    close(fds[1]);
    return fds[0];
}

static int make_unbound(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int make_bound(int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", harness_at("a"));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int make_deaf(void)
{
    return make_bound(SOCK_STREAM);
}

static int make_datagram(void)
{
    return make_bound(SOCK_DGRAM);
}

static int make_packets(void)
{
    int fd = make_bound(SOCK_SEQPACKET);

    ck_assert_int_eq(listen(fd, 1), 0);
    return fd;
}

static int make_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || listen(fd, 1) < 0)
        return make_pipe();
    return fd;
}

static int make_abstract(void)
{
    return harness_bind(harness_text("@sockref-foreign-%ld", (long)getpid()));
}

static int make_elsewhere(void)
{
    return harness_bind(harness_at("b"));
}

static int (*const foreigners[])(void) = {make_pipe,     make_unbound,  make_deaf,
                                          make_datagram, make_packets,  make_tcp,
                                          make_abstract, make_elsewhere};

/* Decision 12. */
START_TEST(what_is_not_the_listener_at_the_path_is_foreign)
{
    const char *path = harness_at("a");
    int fd = foreigners[_i](), status, there = -1;

    if (!harness_exists(path))
        there = harness_bind(path); /* a live socket of somebody else */
    status = adopt(path, fd);
    ck_assert_msg(status == SOCKREF_EFOREIGN, "%s", sockref_status_name(status));
    harness_assert_error(SOCKREF_EFOREIGN);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0); /* still the caller's, still open */
    ck_assert_uint_eq(harness_noted(), 0);
    ck_assert(harness_is_socket(path));
    close(fd);
    if (there >= 0)
        close(there);
    unlink(path);
    unlink(harness_at("b"));
}
END_TEST

START_TEST(a_number_that_is_no_descriptor_is_a_wrong_argument)
{
    int fd = harness_bind(harness_at("a"));

    harness_assert_fails(adopt(harness_at("a"), -1), -EINVAL);
    harness_assert_fails(adopt(harness_at("a"), 100000), -EINVAL);
    close(fd);
    unlink(harness_at("a"));
}
END_TEST

START_TEST(a_listener_whose_file_is_gone_is_refused)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);

    ck_assert_int_eq(unlink(path), 0);
    harness_assert_fails(adopt(path, fd), SOCKREF_EFOREIGN);
    put_file(path);
    harness_assert_fails(adopt(path, fd), SOCKREF_EFOREIGN);
    ck_assert(harness_holds(path, "precious"));
    close(fd);
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
    tcase_add_loop_test(tcase, what_stands_there_is_not_touched, 0, OBSTACLES);
    tcase_add_loop_test(tcase, d13_another_file_at_the_path_is_not_removed, 0, 10);
    tcase_add_test(tcase, d14_a_file_that_is_gone_is_no_error);
    tcase_add_test(tcase, the_file_is_removed_where_its_directory_went);
    tcase_add_loop_test(tcase, a_refused_removal_is_told, 0, 3);
    tcase_add_test(tcase, in_a_sticky_directory_the_file_is_renamed_aside_first);
    tcase_add_test(tcase, in_a_sticky_directory_another_file_is_put_back);
    tcase_add_test(tcase, in_a_sticky_directory_a_socket_that_replaces_ours_is_seen);
    tcase_add_test(tcase, in_a_sticky_directory_a_socket_that_replaces_ours_keeps_its_mode);
    tcase_add_loop_test(tcase, in_a_sticky_directory_a_removal_survives_that_its_file_is_put_back,
                        0, 2);
    tcase_add_test(tcase, in_a_sticky_directory_nothing_is_put_over_a_third_file);
    tcase_add_test(tcase, in_a_sticky_directory_a_racing_replacer_loses_nothing);
    tcase_add_loop_test(tcase, j23_a_refused_start_leaves_nothing, 0,
                        (int)(sizeof refusals / sizeof refusals[0]));
    tcase_add_test(tcase, a_directory_replaced_meanwhile_refuses_the_start);
    tcase_add_test(tcase, a_socket_in_the_old_directory_is_not_taken_for_ours);
    tcase_add_test(tcase, a_listener_of_the_callers_is_adopted);
    tcase_add_test(tcase, an_abstract_listener_is_adopted);
    tcase_add_test(tcase, a_long_bound_path_is_adopted);
    tcase_add_loop_test(tcase, what_is_not_the_listener_at_the_path_is_foreign, 0, 8);
    tcase_add_test(tcase, a_number_that_is_no_descriptor_is_a_wrong_argument);
    tcase_add_test(tcase, a_listener_whose_file_is_gone_is_refused);
    return harness_run(suite);
}
