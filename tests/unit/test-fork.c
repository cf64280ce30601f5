/* fork(): src/ref/fork.c. U8, D19, G7 of a child. */
#include "base/fd.h"
#include "base/sys.h"
#include "harness/clone.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"
#include "name/guard.h"
#include "name/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static sockref_registry *registry;
static sockref *ref;

static void setup(void)
{
    registry = harness_registry(0);
    ref = harness_listen(registry, harness_at("a"));
}

static void teardown(void)
{
    sockref_release(ref);
    sockref_registry_free(registry);
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return __LINE__ & 0xff;                                                                \
    } while (0)

static int use_parents_handles(void *arg)
{
    sockref_registry *own = registry;
    sockref *none = NULL;
    int fd = *(int *)arg;

    CHECK(!sockref_is_active(ref));
    CHECK(!sockref_is_owner(ref));
    CHECK(sockref_fd(ref) == -1);
    CHECK(strcmp(sockref_path(ref), harness_at("a")) == 0);
    CHECK(sockref_reference_count(ref) == 1);
    CHECK(sockref_holder_count(ref) == 0);
    CHECK(!sockref_acquire(ref) && sockref_last_error()->status == SOCKREF_EFORKED);
    CHECK(sockref_set_watch(ref, NULL, NULL, NULL) == SOCKREF_EFORKED);
    CHECK(sockref_registry_listen(own, harness_at("b"), NULL, &none) == SOCKREF_EFORKED);
    CHECK(sockref_registry_get_or_create(own, harness_at("b"), &none) == SOCKREF_EFORKED);
    CHECK(sockref_registry_get_existing(own, harness_at("a"), &none) == SOCKREF_EFORKED);
    CHECK(sockref_registry_register_new(own, harness_at("a"), 0, &none) == SOCKREF_EFORKED);
    CHECK(sockref_registry_cleanup(own, harness_at("a")) == SOCKREF_EFORKED);
    CHECK(sockref_registry_cleanup_all(own, NULL) == SOCKREF_EFORKED);
    CHECK(sockref_registry_sweep(own, harness_dir(), NULL) == SOCKREF_EFORKED);
    CHECK(sockref_registry_drain(own, -1) == SOCKREF_EFORKED);
    CHECK(sockref_registry_shutdown(own, 0) == SOCKREF_EFORKED);
    CHECK(!sockref_registry_is_socket_active(own, harness_at("a")));
    CHECK(sockref_registry_active_socket_count(own) == 0);
    CHECK(fcntl(fd, F_GETFD) == -1); /* the listener is closed here */
    CHECK(sr_fd_count() == 0);
    faults_install();
    sockref_release(ref);
    sockref_registry_free(own);
    for (int kind = 0; kind < FAULTS_KINDS; kind++)
        CHECK(faults_calls(kind) == 0); /* it gives back its count, and that is all */
    CHECK(harness_is_socket(harness_at("a")));
    return 0;
}

/* U8, L40 */
static int know_oneself(void *unused)
{
    struct sr_record record;

    (void)unused;
    sr_record_of_self(&record);
    faults_install();
    sr_record_of_self(&record); /* known by now, and no more what the parent was */
    CHECK(faults_calls(FAULTS_openat) == 0);
    CHECK(record.pid == (uint64_t)getpid());
    return 0;
}

/* The number alone does not tell: it may be that of an ancestor that has ended. */
START_TEST(what_a_process_knows_of_itself_is_not_its_childs)
{
    ck_assert_int_eq(harness_in_child(know_oneself, NULL), 0);
}
END_TEST

START_TEST(handles_of_the_parent_are_inert)
{
    int fd = sockref_fd(ref);

    ck_assert_int_eq(harness_in_child(use_parents_handles, &fd), 0);
    ck_assert(sockref_is_active(ref));
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(harness_can_dial(harness_at("a")));
}
END_TEST

static int exit_normally(void *arg)
{
    (void)arg;
    sockref_release(ref);
    exit(0);
}

/* D19: the child's exit removes nothing of the parent. */
START_TEST(d19_a_childs_exit_leaves_the_parents_file)
{
    ck_assert_int_eq(harness_in_child(exit_normally, NULL), 0);
    ck_assert(harness_can_dial(harness_at("a")));
}
END_TEST

static int use_own(void *arg)
{
    sockref_registry *own = NULL;
    sockref *mine = NULL, *other = NULL, *joined = NULL;

    (void)arg;
    CHECK(sockref_registry_active_socket_count(NULL) == 0);
    CHECK(sockref_registry_listen(NULL, harness_at("child"), NULL, &mine) == 0);
    CHECK(harness_can_dial(harness_at("child")));
    CHECK(sockref_registry_new(NULL, &own) == 0);
    CHECK(sockref_registry_listen(own, harness_at("child2"), NULL, &other) == 0);
    CHECK(sockref_registry_listen(own, harness_at("of-the-default-registry"), NULL, &joined) == 0);
    CHECK(!sockref_is_owner(joined) && sockref_holder_count(joined) == 2);
    sockref_release(mine);
    CHECK(!harness_exists(harness_at("child")));
    exit(0); /* with others held */
}

START_TEST(the_child_has_registries_of_its_own)
{
    sockref *held = harness_listen(NULL, harness_at("of-the-default-registry"));

    ck_assert_int_eq(harness_in_child(use_own, NULL), 0);
    ck_assert(!harness_exists(harness_at("child2")));
    ck_assert(harness_can_dial(harness_at("of-the-default-registry")));
    sockref_release(held);
}
END_TEST

static int fork_again(void *arg)
{
    sockref *mine = NULL;

    CHECK(sockref_registry_listen(NULL, harness_at("child"), NULL, &mine) == 0);
    ref = mine;
    CHECK(harness_in_child(exit_normally, arg) == 0);
    CHECK(harness_can_dial(harness_at("child")));
    exit(0);
}

START_TEST(a_grandchild_leaves_the_childs_file)
{
    ck_assert_int_eq(harness_in_child(fork_again, NULL), 0);
    ck_assert(!harness_exists(harness_at("child")));
    ck_assert(harness_can_dial(harness_at("a")));
}
END_TEST

static int draw_default(void *arg)
{
    int fd = *(int *)arg;
    sockref *mine = NULL;

    CHECK(sockref_registry_listen(NULL, NULL, NULL, &mine) == 0);
    CHECK(write(fd, sockref_path(mine), strlen(sockref_path(mine)) + 1) > 0);
    sockref_release(mine);
    return 0;
}

/* Decision 18 */
START_TEST(the_child_draws_another_default_name)
{
    char path[256];
    sockref *held;
    int fds[2];

    ck_assert_int_eq(setenv("SOCKREF_DIR", harness_at("d"), 1), 0);
    ck_assert_int_eq(sockref_registry_listen(NULL, NULL, NULL, &held), 0);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(harness_in_child(draw_default, &fds[1]), 0);
    ck_assert_int_gt(read(fds[0], path, sizeof path), 0);
    ck_assert_str_ne(path, sockref_path(held));
    ck_assert(harness_can_dial(sockref_path(held)));
    close(fds[0]);
    close(fds[1]);
    sockref_release(held);
}
END_TEST

static int in_delay(void *arg)
{
    (void)arg;
    CHECK(harness_threads() <= 2); /* the child's, and a sanitizer's */
    CHECK(harness_exists(harness_at("delayed")));
    exit(0);
}

START_TEST(a_delay_is_the_parents)
{
    sockref_registry *own = harness_registry(SOCKREF_OPT_CLEANUP_DELAY_MS, 1000000, 0);

    sockref_release(harness_listen(own, harness_at("delayed")));
    ck_assert_int_eq(harness_in_child(in_delay, NULL), 0);
    ck_assert(harness_can_dial(harness_at("delayed")));
    sockref_registry_free(own);
}
END_TEST

static atomic_bool stop;

static int check_descriptors(void *arg)
{
    (void)arg;
    CHECK(sr_fd_count() == 0);
    CHECK(sockref_registry_active_socket_count(registry) == 0);
    sockref_release(ref);
    return 0;
}

static void fork_or_use(unsigned number, void *arg)
{
    (void)arg;
    if (number == 0) {
        for (int i = 0; i < 100; i++)
            ck_assert_int_eq(harness_in_child(check_descriptors, NULL), 0);
        atomic_store(&stop, true);
        return;
    }
    while (!atomic_load(&stop)) {
        sockref *mine = NULL;

        ck_assert_int_eq(
            sockref_registry_listen(registry, harness_at(harness_text("%u", number)), NULL, &mine),
            0);
        sockref_release(mine);
    }
}

/* Decision 31: forks among threads that open and close all the time; no descriptor escapes, no
 * child hangs. */
START_TEST(forks_race_with_starts)
{
    harness_in_threads(3, fork_or_use, NULL);
    ck_assert(harness_can_dial(harness_at("a")));
}
END_TEST

/* ---- the list of the guard's names ---- */

#define MANY 40 /* the room for their ends grows twice */

static struct sr_guarded guarded[MANY];
static sem_t has_moved;

/* Where the list was before, nothing can be read any more. */
static void *move(void *memory, size_t size)
{
    const size_t room = 4096;
    void *moved = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (moved == MAP_FAILED || size > room)
        return NULL;
    memcpy(moved, memory, size / 2);
    if ((uintptr_t)memory % room == 0)
        munmap(memory, room);
    return moved;
}

/* The fork of another thread waits for it. */
static void *move_slowly(void *memory, size_t size)
{
    const struct timespec pause = {0, 50000000};
    void *moved = move(memory, size);

    sem_post(&has_moved);
    nanosleep(&pause, NULL); /* long enough for a fork that does not wait */
    return moved;
}

/* Asserts nothing: the child may have been forked while the other thread did. */
static int watch_many(const char *path)
{
    struct sr_place place;

    CHECK(sr_place_open(path, &place) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(sr_guard_watch(&guarded[i], &place, path, false) == 0);
    for (int i = 0; i < MANY; i++)
        sr_guard_forget(&guarded[i]);
    sr_place_close(&place);
    return 0;
}

static void *watch_and_move(void *path)
{
    return (void *)(intptr_t)watch_many(path);
}

static int watch_in_child(void *path)
{
    sr_sys.realloc = move;
    return watch_many(path);
}

START_TEST(the_list_of_names_is_whole_in_a_child)
{
    const char *path = harness_at("x");
    pthread_t thread;
    void *failed;

    sem_init(&has_moved, 0, 0);
    sr_sys.realloc = move_slowly;
    ck_assert_int_eq(pthread_create(&thread, NULL, watch_and_move, (void *)path), 0);
    for (int moves = 0; moves < 2; moves++)
        while (sem_wait(&has_moved) < 0)
            continue;
    ck_assert_int_eq(harness_in_child(watch_in_child, (void *)path), 0);
    pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);
    sem_destroy(&has_moved);
}
END_TEST

/* D19: such a child has not run the handlers of fork(). */
START_TEST(d19_a_child_of_the_bare_call_leaves_the_parents_file)
{
    int status;
    pid_t child = clone_raw();

    if (child == 0 && _i == 0) {
        sockref_release(ref);
        _exit(0);
    }
    if (child == 0)
        exit(0);
    ck_assert_int_gt(child, 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(harness_can_dial(harness_at("a")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *tcase = harness_tcase(suite, "fork");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, handles_of_the_parent_are_inert);
    tcase_add_test(tcase, what_a_process_knows_of_itself_is_not_its_childs);
    tcase_add_test(tcase, d19_a_childs_exit_leaves_the_parents_file);
    /* A sanitizer's own handlers of the exit are not made for it. */
    tcase_add_loop_test(tcase, d19_a_child_of_the_bare_call_leaves_the_parents_file, 0,
                        IS_SANITIZED ? 1 : 2);
    tcase_add_test(tcase, the_child_has_registries_of_its_own);
    tcase_add_test(tcase, a_grandchild_leaves_the_childs_file);
    tcase_add_test(tcase, the_child_draws_another_default_name);
    /* A sanitizer's own locks are not made for a fork while another thread begins or allocates. */
    if (!IS_SANITIZED) {
        tcase_add_test(tcase, a_delay_is_the_parents);
        tcase_add_test(tcase, forks_race_with_starts);
        tcase_add_test(tcase, the_list_of_names_is_whole_in_a_child);
    }
    return harness_run(suite);
}
