/* What dead processes left: src/name/sweep.c. U2, N9, D18. */
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEAD_1 "sockref-5194301-0123456789abcdef.sock"
#define DEAD_2 "sockref-4194304-fedcba9876543210.sock"

static uint64_t swept;

static int sweep(void)
{
    swept = 99;
    return sockref_registry_sweep(NULL, harness_dir(), &swept);
}

START_TEST(an_empty_directory_has_nothing_to_sweep)
{
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
}
END_TEST

START_TEST(dead_sockets_with_a_default_name_go)
{
    harness_log();
    harness_leave_dead(harness_at(DEAD_1));
    harness_leave_dead(harness_at(DEAD_2));
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 2);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_logged("swept"), 2);
    harness_assert_ok(sockref_registry_sweep(NULL, harness_dir(), NULL));
}
END_TEST

/* U2: liveness is what the kernel says, not the process's number in the name. */
/* A bind() that is under way looks so for a moment. */
START_TEST(a_fresh_socket_of_a_process_that_lives_stays)
{
    const char *path =
        harness_text("%s/sockref-%d-0123456789abcdef.sock", harness_dir(), (int)getpid());
    const struct timespec pause = {0, 10000000};

    harness_leave_dead(path);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_is_socket(path));
    for (int i = 0; i < HARNESS_PATIENCE_MS / 10 && swept == 0; i++) {
        nanosleep(&pause, NULL); /* its age is what counts */
        harness_assert_ok(sweep());
    }
    ck_assert_uint_eq(swept, 1);
}
END_TEST

START_TEST(a_live_socket_stays_and_notices_nothing)
{
    int fd = harness_bind(harness_at(DEAD_1)), queued;

    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_is_socket(harness_at(DEAD_1)));
    queued = accept(fd, NULL, NULL);
    ck_assert_int_eq(queued, -1);
    ck_assert_int_eq(errno, EAGAIN); /* no ghost client */
    close(fd);
    unlink(harness_at(DEAD_1));
}
END_TEST

/* A listener whose queue is full is alive too. */
START_TEST(a_listener_with_a_full_queue_stays)
{
    int fd = harness_bind(harness_at(DEAD_1)), clients[8], count = 0;

    ck_assert_int_eq(listen(fd, 0), 0);
    clients[count++] = harness_dial(harness_at(DEAD_1));
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    while (count > 0)
        close(clients[--count]);
    close(fd);
    unlink(harness_at(DEAD_1));
}
END_TEST

static const char *const others[] = {
    "a.sock",
    "sockref.sock",
    "sockref-1.sock",
    "sockref-1-0123.sock",
    "sockref-5194301-0123456789abcdef",
    "sockref-5194301-0123456789abcdef.sock.bak",
    "sockref-5194301-0123456789abcdef0.sock",
    "sockref-1-0123456789ABCDEF.sock",
    "sockref-x-0123456789abcdef.sock",
    "sockref--0123456789abcdef.sock",
    "sockref-1-0123456789abcdeg.sock",
    "xsockref-5194301-0123456789abcdef.sock",
    ".sockref-5194301-0123456789abcdef.sock",
    "sockref-5194301-0123456789abcdef.sock ",
};

/* I2: only what sockref made. */
START_TEST(other_names_stay)
{
    harness_leave_dead(harness_at(others[_i]));
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_is_socket(harness_at(others[_i])));
    unlink(harness_at(others[_i]));
}
END_TEST

/* D13, D38 */
START_TEST(what_is_no_socket_stays)
{
    harness_write(harness_at(DEAD_1), "precious");
    ck_assert_int_eq(mkdir(harness_at(DEAD_2), 0700), 0);
    ck_assert_int_eq(symlink("target", harness_at("sockref-3-0123456789abcdef.sock")), 0);
    harness_leave_dead(harness_at("target"));
    ck_assert_int_eq(mkfifo(harness_at("sockref-4-0123456789abcdef.sock"), 0600), 0);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_holds(harness_at(DEAD_1), "precious"));
    ck_assert_uint_eq(harness_files(), 4);
    unlink(harness_at("target"));
}
END_TEST

START_TEST(sockets_of_another_user_stay)
{
    if (geteuid() != 0)
        return;
    harness_leave_dead(harness_at(DEAD_1));
    ck_assert_int_eq(chown(harness_at(DEAD_1), 65534, 65534), 0);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    unlink(harness_at(DEAD_1));
}
END_TEST

/* Anybody may put files with such names into a directory like /tmp. */
START_TEST(what_is_no_lock_file_of_this_user_is_no_failure)
{
    ck_assert_int_eq(mkfifo(harness_at(".fifo.srlock"), 0600), 0);
    harness_write(harness_at(".theirs.srlock"), "");
    ck_assert_int_eq(chmod(harness_at(".theirs.srlock"), geteuid() == 0 ? 0600 : 0666), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(chown(harness_at(".theirs.srlock"), 65534, 65534), 0);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert_uint_eq(harness_beside(), 2);
    ck_assert_int_eq(unlink(harness_at(".fifo.srlock")) | unlink(harness_at(".theirs.srlock")), 0);
}
END_TEST

static int own_and_die(void *path)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 0, 0);
    sockref *ref;
    int status = sockref_registry_listen(NULL, path, options, &ref);

    sockref_options_free(options);
    _exit(status == 0 ? 0 : 1);
}

/* The name of its lock file has a hash of it; without that file nobody would know the socket. */
/* Its owner was killed before it bound the socket. */
START_TEST(a_lock_file_that_is_left_alone_is_a_name)
{
    const char *path = harness_at(".a.srlock");
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
    harness_log();
    harness_assert_ok(sweep());
    ck_assert(!harness_exists(path));
    ck_assert_uint_eq(swept, 1);
    ck_assert_uint_eq(harness_logged("swept"), 1);
}
END_TEST

START_TEST(a_socket_with_a_long_name_goes_with_its_lock_file)
{
    const char *path = harness_at("the_name_of_a_socket_that_is_longer_than_all_names_of_the_files_"
                                  "beside_it_can_be_");

    ck_assert_int_eq(harness_in_child(own_and_die, (void *)path), 0);
    ck_assert(harness_is_socket(path));
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 1);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

#define MANY 20

static struct sr_sys real;
static int readers;

static int count_readers(int dir, const char *path, int flags, mode_t mode)
{
    readers += strcmp(path, ".") == 0;
    return real.openat(dir, path, flags, mode);
}

/* The time that it takes does not grow by the square of them. */
START_TEST(a_directory_is_read_once_whatever_lock_files_it_has)
{
    char lock_name[SR_LOCKFILE_NAME_MAX];

    for (int i = 0; i < MANY; i++) {
        sr_lockfile_name(harness_text("%0100d", i), ".srlock", lock_name);
        ck_assert_int_eq(lock_name[1], '~');
        harness_write(harness_at(lock_name), "");
    }
    real = sr_sys;
    sr_sys.openat = count_readers;
    harness_assert_ok(sweep());
    sr_sys = real;
    ck_assert_int_eq(readers, 1);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

START_TEST(where_others_may_add_files_a_name_alone_proves_nothing)
{
    const char *sticky = harness_sticky_dir();

    if (sticky) {
        harness_leave_dead(harness_text("%s/%s", sticky, DEAD_1));
        harness_assert_ok(sockref_registry_sweep(NULL, sticky, &swept));
        ck_assert_uint_eq(swept, 0);
        ck_assert_uint_eq(harness_sockets(), 1);
        unlink(harness_text("%s/%s", sticky, DEAD_1));
    }
    ck_assert_int_eq(mkdir(harness_at("open"), 0700), 0);
    ck_assert_int_eq(chmod(harness_at("open"), 0777), 0);
    harness_assert_fails(sockref_registry_sweep(NULL, harness_at("open"), &swept),
                         SOCKREF_EUNTRUSTED);
    ck_assert_str_eq(sockref_last_error()->path, harness_at("open"));
}
END_TEST

START_TEST(wrong_directories_are_told)
{
    harness_assert_fails(sockref_registry_sweep(NULL, "relative", NULL), SOCKREF_EPATH);
    harness_assert_fails(sockref_registry_sweep(NULL, "", NULL), SOCKREF_EPATH);
    harness_assert_fails(sockref_registry_sweep(NULL, "@a", NULL), SOCKREF_EPATH);
    harness_assert_fails(sockref_registry_sweep(NULL, harness_text("/%05000d", 1), NULL),
                         SOCKREF_EPATHLEN);
    harness_assert_fails(sockref_registry_sweep(NULL, harness_at("none"), NULL), -ENOENT);
    ck_assert_str_eq(sockref_last_error()->path, harness_at("none"));
    harness_write(harness_at("file"), "");
    harness_assert_fails(sockref_registry_sweep(NULL, harness_at("file"), NULL), -ENOTDIR);
    harness_assert_fails(sockref_registry_sweep(NULL, harness_text("/%04094d", 1), NULL),
                         -ENAMETOOLONG);
}
END_TEST

/* One whose default names go to the directory of the case. */
static sockref_registry *make_registry(void)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *registry;

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(options, &registry));
    sockref_options_free(options);
    return registry;
}

/* Nobody starts a drawn name again, so who draws another one looks for what was left. U2. */
START_TEST(the_first_default_name_sweeps_its_directory)
{
    sockref_registry *registry = make_registry();
    sockref *first;

    harness_leave_dead(harness_at(DEAD_1));
    harness_leave_dead(harness_at("other"));
    first = harness_listen(registry, NULL);
    ck_assert(!harness_exists(harness_at(DEAD_1)));
    ck_assert(harness_is_socket(harness_at("other")));
    sockref_release(first);
    ck_assert_int_eq(unlink(harness_at("other")), 0);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(null_is_the_default_directory)
{
    sockref_registry *registry = make_registry();

    harness_leave_dead(harness_at(DEAD_1));
    harness_assert_ok(sockref_registry_sweep(registry, NULL, &swept));
    ck_assert_uint_eq(swept, 1);
    sockref_registry_free(registry);
}
END_TEST

static char told[200];

static void remember_path(const sockref_log_record *record, void *unused)
{
    (void)unused;
    snprintf(told, sizeof told, "%s", record->path);
}

/* Whoever is told has no other way to know where it was. */
START_TEST(what_is_told_is_the_whole_path)
{
    harness_leave_dead(harness_at(DEAD_1));
    harness_assert_ok(sockref_set_log(remember_path, NULL, NULL));
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EPERM);
    harness_assert_fails(sweep(), -EPERM);
    ck_assert_str_eq(sockref_last_error()->path, harness_at(DEAD_1));
    harness_assert_ok(sweep());
    harness_assert_ok(sockref_set_log(NULL, NULL, NULL));
    ck_assert_str_eq(told, harness_at(DEAD_1));
}
END_TEST

/* One that the system refuses does not keep the others. */
START_TEST(it_goes_on_after_a_refusal)
{
    harness_leave_dead(harness_at(DEAD_1));
    harness_leave_dead(harness_at(DEAD_2));
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EPERM);
    harness_assert_fails(sweep(), -EPERM);
    ck_assert_uint_eq(swept, 1);
    ck_assert_uint_eq(harness_sockets(), 1);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 1);
}
END_TEST

static void fail_with_another(void *unused)
{
    (void)unused;
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EIO);
}

static void fail_twice(void *unused)
{
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EPERM);
    faults_before(FAULTS_unlinkat, fail_with_another, unused);
}

START_TEST(the_first_refusal_is_told)
{
    harness_leave_dead(harness_at(DEAD_1));
    harness_leave_dead(harness_at(DEAD_2));
    faults_install();
    faults_before(FAULTS_unlinkat, fail_twice, NULL);
    harness_assert_fails(sweep(), -EPERM);
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 2);
}
END_TEST

static int revived;

static void revive_now(void *arg)
{
    ck_assert_int_eq(unlink(arg), 0);
    revived = harness_bind(arg);
}

/* Replaced by a live one between the question and the removal. */
START_TEST(one_that_was_replaced_meanwhile_stays)
{
    harness_leave_dead(harness_at(DEAD_1));
    faults_install();
    faults_before(FAULTS_connect, revive_now, (void *)harness_at(DEAD_1));
    harness_assert_ok(sweep());
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_can_dial(harness_at(DEAD_1)));
    close(revived);
    unlink(harness_at(DEAD_1));
}
END_TEST

START_TEST(ones_own_listener_stays)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *registry;
    sockref *ref;

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(options, &registry));
    sockref_options_free(options);
    harness_assert_ok(sockref_registry_listen(registry, NULL, NULL, &ref));
    harness_assert_ok(sockref_registry_sweep(registry, NULL, &swept));
    ck_assert_uint_eq(swept, 0);
    ck_assert(harness_can_dial(sockref_path(ref)));
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sweep");
    TCase *tcase = harness_tcase(suite, "sweep");

    tcase_add_test(tcase, an_empty_directory_has_nothing_to_sweep);
    tcase_add_test(tcase, dead_sockets_with_a_default_name_go);
    tcase_add_test(tcase, a_fresh_socket_of_a_process_that_lives_stays);
    tcase_add_test(tcase, a_live_socket_stays_and_notices_nothing);
    tcase_add_test(tcase, a_listener_with_a_full_queue_stays);
    tcase_add_loop_test(tcase, other_names_stay, 0, (int)(sizeof others / sizeof others[0]));
    tcase_add_test(tcase, what_is_no_socket_stays);
    tcase_add_test(tcase, sockets_of_another_user_stay);
    tcase_add_test(tcase, what_is_no_lock_file_of_this_user_is_no_failure);
    tcase_add_test(tcase, a_lock_file_that_is_left_alone_is_a_name);
    tcase_add_test(tcase, a_socket_with_a_long_name_goes_with_its_lock_file);
    tcase_add_test(tcase, a_directory_is_read_once_whatever_lock_files_it_has);
    tcase_add_test(tcase, where_others_may_add_files_a_name_alone_proves_nothing);
    tcase_add_test(tcase, wrong_directories_are_told);
    tcase_add_test(tcase, the_first_default_name_sweeps_its_directory);
    tcase_add_test(tcase, null_is_the_default_directory);
    tcase_add_test(tcase, what_is_told_is_the_whole_path);
    tcase_add_test(tcase, it_goes_on_after_a_refusal);
    tcase_add_test(tcase, the_first_refusal_is_told);
    tcase_add_test(tcase, one_that_was_replaced_meanwhile_stays);
    tcase_add_test(tcase, ones_own_listener_stays);
    return harness_run(suite);
}
