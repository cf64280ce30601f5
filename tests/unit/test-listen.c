/* Starting and sharing listeners, and adopting them: src/ref/listen.c. */
#include "base/fd.h"
#include "base/sys.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "ref/state.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static sockref_registry *registry;

static void setup(void)
{
    registry = harness_registry(0);
}

static void teardown(void)
{
    sockref_registry_free(registry);
}

/* G8, G18, L01 */
START_TEST(the_first_listen_binds)
{
    const char *path = harness_at("a");
    sockref *ref = harness_listen(registry, path);

    ck_assert(harness_is_socket(path));
    ck_assert_uint_eq(harness_mode(path), 0600);
    ck_assert(harness_can_dial(path));
    ck_assert_str_eq(sockref_path(ref), path);
    ck_assert(sockref_is_active(ref));
    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    ck_assert(sockref_registry_is_socket_active(registry, path));
    sockref_release(ref);
    ck_assert(!harness_exists(path));
}
END_TEST

/* L02, L03, L04 */
START_TEST(later_listens_share)
{
    const char *path = harness_at("a");
    sockref *refs[100];
    ino_t inode = 0;

    for (unsigned i = 0; i < 100; i++) {
        refs[i] = harness_listen(registry, path);
        ck_assert_ptr_eq(refs[i], refs[0]);
        ck_assert_uint_eq(sockref_reference_count(refs[0]), i + 1);
        if (i == 0)
            inode = harness_inode(path);
        ck_assert_uint_eq(harness_inode(path), inode);
    }
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    for (unsigned i = 0; i < 100; i++) {
        ck_assert(harness_can_dial(path));
        sockref_release(refs[i]);
    }
    ck_assert(!harness_exists(path));
    ck_assert_int_eq(harness_dial(path), -ENOENT);
}
END_TEST

/* D3: open, close the last, open again, connect. */
START_TEST(d3_the_second_life_works_like_the_first)
{
    const char *path = harness_at("a");

    for (int i = 0; i < 50; i++) {
        sockref *ref = harness_listen(registry, path);

        ck_assert(harness_can_dial(path));
        sockref_release(ref);
        ck_assert(!harness_exists(path));
    }
}
END_TEST

/* D4, J23: nothing is left of a listener. */
START_TEST(d4_the_last_release_gives_all_back)
{
    unsigned descriptors = harness_descriptors(), threads = harness_threads();

    sockref_release(harness_listen(registry, harness_at("a")));
    ck_assert_uint_eq(harness_descriptors(), descriptors);
    ck_assert_uint_eq(harness_threads(), threads);
    ck_assert_uint_eq(harness_noted(), 0);
}
END_TEST

/* Decision 5 */
START_TEST(a_start_needs_no_thread)
{
    sockref *ref;

    faults_install();
    ref = harness_listen(registry, harness_at("a"));
    ck_assert_uint_eq(faults_calls(FAULTS_thread_create), 0);
    sockref_release(ref);
}
END_TEST

/* U9 */
START_TEST(descriptors_do_not_leak_to_programs)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    ck_assert_int_eq(fcntl(sockref_fd(ref), F_GETFD), FD_CLOEXEC);
    ck_assert(fcntl(sockref_fd(ref), F_GETFL) & O_NONBLOCK);
    sockref_release(ref);
}
END_TEST

/* T4: the name and the options are copied. */
START_TEST(what_is_given_may_go_at_once)
{
    char *path = strdup(harness_at("a-name-that-is-longer-than-an-entry-keeps"));
    sockref_options *options = harness_options(SOCKREF_OPT_MODE, 0640, 0);
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(registry, path, options, &ref));
    memset(path, 'x', strlen(path));
    free(path);
    sockref_options_free(options);
    ck_assert_str_eq(sockref_path(ref), harness_at("a-name-that-is-longer-than-an-entry-keeps"));
    sockref_release(ref);
}
END_TEST

START_TEST(wrong_arguments_are_told)
{
    int fd = harness_bind(harness_at("a"));
    sockref *ref = NULL;

    harness_assert_fails(sockref_registry_listen(registry, harness_at("b"), NULL, NULL), -EINVAL);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at("a"), fd, NULL),
                         -EINVAL);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at("a"), -1, &ref),
                         -EINVAL);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at("a"), 99999, &ref),
                         -EINVAL);
    ck_assert_ptr_null(ref);
    close(fd);
    unlink(harness_at("a"));
}
END_TEST

/* V8, L19 */
START_TEST(what_the_system_refuses_is_told)
{
    sockref *ref = NULL;

    harness_assert_fails(sockref_registry_listen(registry, harness_at("none/a"), NULL, &ref),
                         -ENOENT);
    ck_assert_int_eq(sockref_last_error()->os_errno, ENOENT);
    harness_write(harness_at("file"), "");
    harness_assert_fails(sockref_registry_listen(registry, harness_at("file/a"), NULL, &ref),
                         -ENOTDIR);
    ck_assert_int_eq(mkdir(harness_at("open"), 0700), 0);
    ck_assert_int_eq(chmod(harness_at("open"), 0777), 0);
    harness_assert_fails(sockref_registry_listen(registry, harness_at("open/a"), NULL, &ref),
                         SOCKREF_EUNTRUSTED);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_ptr_null(ref);
}
END_TEST

/* Without sharing there is nothing that others could be told by it. */
START_TEST(alone_it_listens_where_others_may_put_files)
{
    static const mode_t modes[] = {0777, 0770, 01777};
    sockref_options *alone = harness_options(SOCKREF_OPT_SHARE, 0, 0);
    const char *dir = harness_at("open"), *path = harness_at("open/a");
    sockref *ref;

    ck_assert_int_eq(mkdir(dir, 0700), 0);
    ck_assert_int_eq(chmod(dir, modes[_i]), 0);
    if (_i == 2 && geteuid() == 0) /* sticky, and another user's */
        ck_assert_int_eq(chown(dir, 65534, 65534), 0);
    harness_leave_dead(path); /* that is looked into there as well */
    harness_assert_ok(sockref_registry_listen(registry, path, alone, &ref));
    ck_assert(harness_can_dial(path));
    ck_assert_uint_eq(harness_mode(path), 0600);
    faults_install();
    sockref_release(ref);
    ck_assert_uint_eq(faults_calls(FAULTS_rename_new), 1);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
    sockref_options_free(alone);
}
END_TEST

static int listen_as_nobody(void *arg)
{
    sockref *ref = NULL;

    if (setgid(65534) < 0 || setuid(65534) < 0)
        return 99;
    return -sockref_registry_listen(NULL, arg, NULL, &ref) & 0xff;
}

START_TEST(an_unwritable_directory_is_told)
{
    if (geteuid() == 0)
        ck_assert_int_eq(harness_in_child(listen_as_nobody, (void *)"/usr/a"), EACCES);
}
END_TEST

START_TEST(a_start_that_fails_leaves_a_held_name_as_it_was)
{
    const char *path = harness_at("a");
    sockref *named, *ref = NULL;

    harness_assert_ok(sockref_registry_get_or_create(registry, path, &named));
    harness_write(path, "a file");
    harness_assert_fails(sockref_registry_listen(registry, path, NULL, &ref), SOCKREF_EFOREIGN);
    ck_assert_ptr_null(ref);
    ck_assert(sockref_is_active(named));
    ck_assert(!sockref_is_owner(named));
    ck_assert_uint_eq(sockref_reference_count(named), 1);
    ck_assert_uint_eq(harness_files(), 1);
    ck_assert_int_eq(unlink(path), 0);
    ref = harness_listen(registry, path);
    ck_assert_ptr_eq(ref, named);
    ck_assert(sockref_is_owner(named));
    ck_assert_uint_eq(sockref_reference_count(named), 2);
    sockref_release(named);
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
}
END_TEST

/* Decision 16, L33 */
START_TEST(exclusive_owns_or_fails)
{
    sockref_options *options = harness_options(SOCKREF_OPT_EXCLUSIVE, 1, 0);
    sockref_registry *other = harness_registry(0);
    sockref *ref, *none = NULL;

    harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), options, &ref));
    harness_assert_fails(sockref_registry_listen(registry, harness_at("a"), options, &none),
                         SOCKREF_EEXISTS);
    harness_assert_fails(sockref_registry_listen(other, harness_at("a"), options, &none),
                         SOCKREF_EBUSY);
    ck_assert(harness_can_dial(harness_at("a")));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
    sockref_options_free(options);
    sockref_registry_free(other);
}
END_TEST

/* G4, L34 */
START_TEST(two_registries_join_each_other)
{
    sockref_registry *other = harness_registry(0);
    sockref *ref = harness_listen(registry, harness_at("a")), *apart, *none = NULL, *joined;
    harness_assert_fails(sockref_registry_get_existing(other, harness_at("a"), &none),
                         SOCKREF_ENOTFOUND);
    ck_assert(!sockref_registry_is_socket_active(other, harness_at("a")));
    harness_assert_fails(sockref_registry_cleanup(other, harness_at("a")), SOCKREF_ENOTFOUND);
    joined = harness_listen(other, harness_at("a"));
    ck_assert(!sockref_is_owner(joined) && sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(joined), 2);
    harness_assert_ok(sockref_registry_cleanup(other, harness_at("a")));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    sockref_release(joined);
    ck_assert(harness_can_dial(harness_at("a")));
    apart = harness_listen(other, harness_at("b"));
    ck_assert_uint_eq(sockref_registry_active_socket_count(other), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    sockref_release(ref);
    ref = harness_listen(other, harness_at("a")); /* free now */
    sockref_release(ref);
    sockref_release(apart);
    sockref_registry_free(other);
}
END_TEST

/* G9, D5, L31 */
START_TEST(d5_the_default_name_is_shared_and_a_unique_one_is_fresh)
{
    sockref_options *options = sockref_options_new(),
                    *unique = harness_options(SOCKREF_OPT_UNIQUE, 1, 0);
    sockref_registry *own;
    sockref *refs[4], *same;

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(options, &own));
    for (int i = 0; i < 4; i++)
        harness_assert_ok(sockref_registry_listen(own, NULL, i < 2 ? NULL : unique, &refs[i]));
    ck_assert_ptr_eq(refs[0], refs[1]);
    ck_assert_ptr_ne(refs[2], refs[3]);
    ck_assert_ptr_ne(refs[0], refs[2]);
    ck_assert_uint_eq(harness_sockets(), 3);
    harness_assert_ok(sockref_registry_get_or_create(own, NULL, &same));
    ck_assert_ptr_eq(same, refs[0]);
    sockref_release(same);
    for (int i = 0; i < 4; i++)
        sockref_release(refs[i]);
    sockref_options_free(options);
    sockref_options_free(unique);
    sockref_registry_free(own);
}
END_TEST

/* Also of a call that takes no options. */
START_TEST(each_name_of_a_registry_of_unique_ones_is_fresh)
{
    sockref_options *options = harness_options(SOCKREF_OPT_UNIQUE, 1, 0);
    sockref_registry *own;
    sockref *refs[4];

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_dir()));
    harness_assert_ok(sockref_registry_new(options, &own));
    for (int i = 0; i < 4; i++)
        harness_assert_ok(i < 2 ? sockref_registry_listen(own, NULL, NULL, &refs[i])
                                : sockref_registry_get_or_create(own, NULL, &refs[i]));
    ck_assert_uint_eq(sockref_registry_active_socket_count(own), 4);
    for (int i = 0; i < 4; i++)
        sockref_release(refs[i]);
    sockref_options_free(options);
    sockref_registry_free(own);
}
END_TEST

/* V6, L26 */
/* A cleaner of old files, or the end of a session, removes it while it is empty. */
START_TEST(the_directory_of_the_default_name_is_made_again)
{
    const char *home = harness_at("home");
    sockref_options *options = sockref_options_new();
    sockref_registry *own = NULL;

    harness_assert_ok(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, home));
    harness_assert_ok(sockref_registry_new(options, &own));
    for (int i = 0; i < 2; i++) {
        sockref_release(harness_listen(own, NULL));
        ck_assert_uint_eq(harness_mode(home), 0700);
        ck_assert_int_eq(rmdir(home), 0);
    }
    harness_write(home, "something else");
    harness_assert_fails(sockref_registry_listen(own, NULL, NULL, &(sockref *){NULL}), -ENOTDIR);
    sockref_registry_free(own);
    sockref_options_free(options);
}
END_TEST

START_TEST(v6_the_limit_of_names)
{
    sockref_registry *own = harness_registry(SOCKREF_OPT_MAX_SOCKETS, 2, 0);
    sockref *first = harness_listen(own, harness_at("a")), *second, *third = NULL;

    harness_assert_ok(sockref_registry_get_or_create(own, harness_at("b"), &second));
    harness_assert_fails(sockref_registry_listen(own, harness_at("c"), NULL, &third),
                         SOCKREF_ELIMIT);
    harness_assert_fails(sockref_registry_get_or_create(own, harness_at("c"), &third),
                         SOCKREF_ELIMIT);
    ck_assert_ptr_null(third);
    ck_assert_uint_eq(harness_files(), 1);
    harness_assert_ok(sockref_registry_get_or_create(own, harness_at("b"), &third)); /* known */
    sockref_release(third);
    sockref_release(second);
    third = harness_listen(own, harness_at("c"));
    sockref_release(third);
    sockref_release(first);
    sockref_registry_free(own);
}
END_TEST

START_TEST(v6_the_limit_of_references)
{
    const char *path = harness_at("a");
    sockref_registry *own = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 3, 0);
    sockref *ref = harness_listen(own, path), *none = NULL;

    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    ck_assert_ptr_null(sockref_acquire(ref));
    harness_assert_error(SOCKREF_ELIMIT);
    harness_assert_fails(sockref_registry_listen(own, path, NULL, &none), SOCKREF_ELIMIT);
    harness_assert_fails(sockref_registry_get_or_create(own, path, &none), SOCKREF_ELIMIT);
    harness_assert_fails(sockref_registry_get_existing(own, path, &none), SOCKREF_ELIMIT);
    harness_assert_fails(sockref_registry_get_existing(own, harness_at(".//a"), &none),
                         SOCKREF_ELIMIT);
    ck_assert_ptr_null(none);
    ck_assert_uint_eq(sockref_reference_count(ref), 3);
    sockref_release(ref);
    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    for (int i = 0; i < 3; i++)
        sockref_release(ref);
    ck_assert(!harness_exists(path));
    sockref_registry_free(own);
}
END_TEST

/* ---- register_new ---- */

/* G7, L22 */
static void *listen_on(void *own)
{
    sockref *ref = NULL;

    sockref_registry_listen(own, harness_at("a"), NULL, &ref);
    return ref;
}

START_TEST(v6_the_limit_of_references_to_what_does_not_listen)
{
    sockref_registry *own = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 1, 0);
    const char *path = harness_at("a");
    sockref *ref = NULL, *none = NULL;

    harness_assert_ok(sockref_registry_get_or_create(own, path, &ref));
    harness_assert_fails(sockref_registry_listen(own, path, NULL, &none), SOCKREF_ELIMIT);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(harness_files(), 0);
    sockref_release(ref);
    sockref_registry_free(own);
}
END_TEST

START_TEST(v6_the_limit_of_references_to_what_is_being_bound)
{
    sockref_registry *own = harness_registry(SOCKREF_OPT_MAX_REFERENCES, 1, 0);
    sockref *none = NULL;
    struct faults_gate gate;
    pthread_t thread;
    void *ref;

    faults_install();
    faults_hold(FAULTS_bind, &gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, listen_on, own), 0);
    faults_wait_held(&gate);
    harness_assert_fails(sockref_registry_get_or_create(own, harness_at("a"), &none),
                         SOCKREF_ELIMIT);
    faults_let_go(&gate);
    ck_assert_int_eq(pthread_join(thread, &ref), 0);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
    sockref_registry_free(own);
}
END_TEST

START_TEST(a_registered_socket_is_removed_at_the_end)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);
    sockref *ref;

    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert(sockref_is_owner(ref));
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
    ck_assert(!harness_exists(path));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

/* D9 */
START_TEST(d9_a_known_name_is_not_registered_again)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);
    sockref *ref, *none = NULL;

    harness_assert_ok(sockref_registry_get_or_create(registry, path, &ref));
    harness_assert_fails(sockref_registry_register_new(registry, path, fd, &none), SOCKREF_EEXISTS);
    sockref_release(ref);
    harness_assert_ok(sockref_registry_register_new(registry, path, fd, &ref));
    harness_assert_fails(sockref_registry_register_new(registry, path, fd, &none), SOCKREF_EEXISTS);
    harness_assert_fails(sockref_registry_register_new(registry, harness_at(".//a"), fd, &none),
                         SOCKREF_EEXISTS);
    ck_assert_ptr_null(none);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
}
END_TEST

START_TEST(a_refused_registration_leaves_descriptor_and_file)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path), other = harness_bind(harness_at("b"));
    sockref *none = NULL;

    harness_assert_fails(sockref_registry_register_new(registry, path, other, &none),
                         SOCKREF_EFOREIGN);
    ck_assert(!sockref_registry_is_socket_active(registry, path));
    ck_assert(harness_can_dial(path));
    ck_assert(harness_can_dial(harness_at("b")));
    close(fd);
    close(other);
    unlink(path);
    unlink(harness_at("b"));
}
END_TEST

/* Also where the name would have been known in a moment. */
START_TEST(a_registration_without_memory_leaves_descriptor_and_file)
{
    static const char *const names[] = {"shared", "alone", "@"};
    const char *name = names[_i], *path = harness_at(name);
    sockref_registry *own =
        harness_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 1, SOCKREF_OPT_SHARE, _i != 1, 0);
    size_t noted = harness_noted();
    sockref *ref = NULL;
    int fd, failures = 0;

    faults_install(); /* before there is a thread that makes calls */
    if (name[0] == '@')
        path = harness_text("@sockref-listen-%ld", (long)getpid());
    fd = harness_bind(path);
    sockref_release(harness_listen(own, harness_at("first"))); /* what it needs once is there */
    harness_assert_ok(sockref_registry_cleanup_all(own, NULL));
    for (;; failures++) {
        int status;

        faults_arm(FAULTS_ALLOCATIONS, (uint64_t)failures + 1, ENOMEM);
        status = sockref_registry_register_new(own, path, fd, &ref);
        faults_disarm();
        if (status == 0)
            break;
        ck_assert_int_eq(status, -ENOMEM);
        ck_assert(harness_can_dial(path));
        ck_assert_uint_eq(harness_noted(), noted);
        ck_assert_uint_eq(harness_beside(), 0);
        ck_assert(!sockref_registry_is_socket_active(own, path));
    }
    ck_assert_int_ge(failures, 2);
    sockref_release(ref);
    sockref_registry_free(own);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert_uint_eq(harness_files(), 0);
}
END_TEST

static int byte_0_calls;

/* Byte 0 is busy in the first two tries, and in the second one the process stands still. */
static int stand_still(int fd, int command, struct flock *lock)
{
    if (command != F_OFD_SETLK || lock->l_type != F_WRLCK || lock->l_start != 0 ||
        ++byte_0_calls > 4)
        return fcntl(fd, command, lock);
    if (byte_0_calls == 3)
        poll(NULL, 0, 200);
    errno = EAGAIN;
    return -1;
}

/* Whom it waits for may have stood still as well. */
START_TEST(a_start_that_stood_still_tries_again)
{
    sockref_options *hasty = harness_options(SOCKREF_OPT_START_TIMEOUT_MS, 20, 0);
    sockref *ref;

    sr_sys.lock = stand_still;
    harness_assert_ok(sockref_registry_listen(registry, harness_at("a"), hasty, &ref));
    ck_assert_int_eq(byte_0_calls, 5);
    sockref_release(ref);
    sockref_options_free(hasty);
}
END_TEST

/* L16 */
START_TEST(abstract_names_are_shared_and_end)
{
    const char *path = harness_text("@sockref-listen-%ld", (long)getpid());
    sockref_registry *other = harness_registry(0);
    sockref *ref = harness_listen(registry, path), *again = harness_listen(registry, path), *joined;

    ck_assert_ptr_eq(ref, again);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert(harness_can_dial(path));
    joined = harness_listen(other, path);
    ck_assert(!sockref_is_owner(joined) && sockref_fd(joined) == -1);
    sockref_release(joined);
    ck_assert(harness_can_dial(path));
    sockref_release(again);
    sockref_release(ref);
    ck_assert_int_eq(harness_dial(path), -ECONNREFUSED);
    sockref_registry_free(other);
}
END_TEST

static int be_another(int fd, int level, int option, void *value, socklen_t *size)
{
    int status = getsockopt(fd, level, option, value, size);

    if (option == SO_PEERCRED)
        ((struct ucred *)value)->uid++;
    return status;
}

/* Decision 20 */
START_TEST(an_abstract_name_in_use_is_joined_by_its_user_who_shares)
{
    const char *path = harness_text("@sockref-listen-%ld", (long)getpid());
    sockref_options *options[] = {harness_options(SOCKREF_OPT_SHARE, 0, 0),
                                  harness_options(SOCKREF_OPT_EXCLUSIVE, 1, 0)};
    sockref_registry *other = harness_registry(0);
    sockref *ref = harness_listen(other, path), *none = NULL;

    for (int i = 0; i < 2; i++) {
        harness_assert_fails(sockref_registry_listen(registry, path, options[i], &none),
                             SOCKREF_EBUSY);
        ck_assert_int_eq(sockref_last_error()->os_errno, EADDRINUSE);
        sockref_options_free(options[i]);
    }
    sr_sys.getsockopt = be_another;
    harness_assert_fails(sockref_registry_listen(registry, path, NULL, &none), SOCKREF_EFOREIGN);
    sr_sys.getsockopt = getsockopt;
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
    sockref_registry_free(other);
}
END_TEST

/* That the name was in use is what it found on the way. */
START_TEST(a_listen_that_succeeds_leaves_the_last_error)
{
    const char *path = harness_text("@sockref-listen-%ld", (long)getpid());
    sockref_registry *other = harness_registry(0);
    sockref *ref = harness_listen(registry, path), *joined;

    harness_assert_fails(sockref_options_set_int(NULL, SOCKREF_OPT_MODE, 0), -EINVAL);
    joined = harness_listen(other, path);
    harness_assert_error(-EINVAL);
    sockref_release(joined);
    sockref_release(ref);
    sockref_registry_free(other);
}
END_TEST

static int full, dials;

static int make_room_later(int fd, const struct sockaddr *address, socklen_t length)
{
    if (++dials == 3)
        close(accept(full, NULL, NULL));
    return connect(fd, address, length);
}

/* Who owns it is told by a connection, for which there may be no room now. */
START_TEST(an_abstract_name_is_joined_when_its_queue_has_room)
{
    const char *path = harness_text("@sockref-listen-%ld", (long)getpid());
    sockref_options *hasty = harness_options(SOCKREF_OPT_START_TIMEOUT_MS, 20, 0);
    int client, status;
    sockref *ref = NULL;

    full = harness_bind(path);
    ck_assert_int_eq(listen(full, 0), 0);
    client = harness_dial(path);
    status = sockref_registry_listen(registry, path, hasty, &ref);
    ck_assert_int_eq(status, SOCKREF_EBUSY);
    ck_assert_ptr_nonnull(strstr(sockref_last_error()->message, "takes no connection"));
    sr_sys.connect = make_room_later;
    ref = harness_listen(registry, path);
    sr_sys.connect = connect;
    ck_assert_int_eq(dials, 3);
    ck_assert(!sockref_is_owner(ref));
    sockref_release(ref);
    sockref_options_free(hasty);
    close(client);
    close(full);
}
END_TEST

/* A start with a delay fails at each of its allocations; the next one, without a delay, has none.
 */
START_TEST(a_delay_of_a_start_that_failed_is_forgotten)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 1000000, 0);
    const char *path = harness_at("later/a");
    bool struck = true;

    faults_install();
    for (uint64_t nth = 1; struck; nth++) {
        sockref *named, *ref = NULL;

        /* Its directory is not there yet, so a place is to be added when it starts. */
        harness_assert_ok(sockref_registry_get_or_create(registry, path, &named));
        ck_assert_int_eq(mkdir(harness_at("later"), 0700), 0);
        for (unsigned i = 0; i < 11; i++) /* the table is full */
            sr_table_add(&registry->table, i, SR_TABLE_ALIAS, named->rest->index);
        faults_arm(FAULTS_ALLOCATIONS, nth, ENOMEM);
        struck = sockref_registry_listen(registry, path, options, &ref) < 0;
        faults_disarm();
        for (unsigned i = 0; i < 11; i++)
            sr_table_remove(&registry->table, i, SR_TABLE_ALIAS, named->rest->index);
        if (struck) {
            harness_assert_error(-ENOMEM);
            ref = harness_listen(registry, path);
        }
        sockref_release(named);
        sockref_release(ref);
        ck_assert_int_eq(harness_exists(path), !struck);
        harness_assert_ok(sockref_registry_cleanup_all(registry, NULL));
        ck_assert_int_eq(rmdir(harness_at("later")), 0);
    }
    sockref_options_free(options);
}
END_TEST

/* Nobody is told by a call, so the log tells. */
START_TEST(what_a_start_that_failed_can_not_remove_is_told)
{
    sockref_options *options =
        harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 1000000, SOCKREF_OPT_SHARE, _i, 0);
    const char *path = harness_at("a");
    sockref *ref;

    harness_log();
    faults_install();
    /* There is no memory for its delay when it has been bound. */
    faults_arm_from(FAULTS_BIT(FAULTS_calloc) | FAULTS_BIT(FAULTS_unlinkat), 1, EPERM);
    harness_assert_fails(sockref_registry_listen(registry, path, options, &ref), -ENOMEM);
    faults_clear();
    ck_assert(harness_exists(path));
    ck_assert_uint_eq(harness_logged("cleanup_failed"), 1);
    sockref_options_free(options);
    sockref_release(harness_listen(registry, path));
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listen");
    TCase *tcase = harness_tcase(suite, "listen");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, the_first_listen_binds);
    tcase_add_test(tcase, later_listens_share);
    tcase_add_test(tcase, d3_the_second_life_works_like_the_first);
    tcase_add_test(tcase, d4_the_last_release_gives_all_back);
    tcase_add_test(tcase, a_start_needs_no_thread);
    tcase_add_test(tcase, descriptors_do_not_leak_to_programs);
    tcase_add_test(tcase, what_is_given_may_go_at_once);
    tcase_add_test(tcase, wrong_arguments_are_told);
    tcase_add_test(tcase, what_the_system_refuses_is_told);
    tcase_add_loop_test(tcase, alone_it_listens_where_others_may_put_files, 0, 3);
    tcase_add_test(tcase, an_unwritable_directory_is_told);
    tcase_add_test(tcase, a_start_that_fails_leaves_a_held_name_as_it_was);
    tcase_add_test(tcase, exclusive_owns_or_fails);
    tcase_add_test(tcase, two_registries_join_each_other);
    tcase_add_test(tcase, d5_the_default_name_is_shared_and_a_unique_one_is_fresh);
    tcase_add_test(tcase, each_name_of_a_registry_of_unique_ones_is_fresh);
    tcase_add_test(tcase, the_directory_of_the_default_name_is_made_again);
    tcase_add_test(tcase, v6_the_limit_of_names);
    tcase_add_test(tcase, v6_the_limit_of_references);
    tcase_add_test(tcase, v6_the_limit_of_references_to_what_does_not_listen);
    tcase_add_test(tcase, v6_the_limit_of_references_to_what_is_being_bound);
    tcase_add_test(tcase, a_registered_socket_is_removed_at_the_end);
    tcase_add_test(tcase, d9_a_known_name_is_not_registered_again);
    tcase_add_test(tcase, a_refused_registration_leaves_descriptor_and_file);
    tcase_add_loop_test(tcase, a_registration_without_memory_leaves_descriptor_and_file, 0, 3);
    tcase_add_test(tcase, a_start_that_stood_still_tries_again);
    tcase_add_test(tcase, abstract_names_are_shared_and_end);
    tcase_add_test(tcase, an_abstract_name_in_use_is_joined_by_its_user_who_shares);
    tcase_add_test(tcase, a_listen_that_succeeds_leaves_the_last_error);
    tcase_add_test(tcase, an_abstract_name_is_joined_when_its_queue_has_room);
    tcase_add_test(tcase, a_delay_of_a_start_that_failed_is_forgotten);
    tcase_add_loop_test(tcase, what_a_start_that_failed_can_not_remove_is_told, 0, 2);
    return harness_run(suite);
}
