/* Starts that do not block: src/net/start.c */
#include "test-loop-helpers.h"

#include "net/loop.h"
#include "ref/state.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>

struct outcome {
    atomic_int calls;
    int status, told; /* told: what sockref_last_error() said inside */
    sockref *ref;
    pthread_t thread;
};

static void on_start(int status, sockref *ref, void *user)
{
    struct outcome *outcome = user;

    outcome->status = status;
    outcome->ref = ref;
    outcome->told = sockref_last_error()->status;
    outcome->thread = pthread_self();
    outcome->calls++;
}

static struct record handled; /* of the options' handlers */

static sockref_options *options_here(bool with_handlers)
{
    sockref_options *options = sockref_options_new();

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    memset(&handled, 0, sizeof handled);
    if (with_handlers)
        ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &handled), 0);
    return options;
}

/* ---- a start that is held in the middle of its bind, so that others must wait ---- */

static sem_t inside, go_on;
static pthread_t holder;
static sockref *held_ref;
static int held_status;

static int held_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    sem_post(&inside);
    sem_wait(&go_on);
    return bind(fd, address, length);
}

static void *hold_start(void *arg)
{
    held_ref = NULL;
    held_status = sockref_registry_listen(arg, path, NULL, &held_ref);
    return NULL;
}

static void begin_holding(sockref_registry *registry)
{
    sem_init(&inside, 0, 0);
    sem_init(&go_on, 0, 0);
    sr_sys.bind = held_bind;
    pthread_create(&holder, NULL, hold_start, registry);
    sem_wait(&inside);
    sr_sys.bind = bind;
}

static void end_holding(void)
{
    sem_post(&go_on);
    pthread_join(holder, NULL);
}

/* ---- the ways that a start may end ---- */

START_TEST(a_start_succeeds_on_its_loop)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(false);

    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    ck_assert_int_eq(outcome.calls, 0);
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, 0);
    ck_assert(sockref_is_owner(outcome.ref));
    ck_assert(pthread_equal(outcome.thread, pthread_self()));
    drive_all();
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, on_start, &outcome), SOCKREF_ENOTFOUND);
    sockref_release(outcome.ref);
}
END_TEST

START_TEST(a_start_fails_with_its_description)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);

    close(fd);
    sockref_loop_dispatch(NULL, 0); /* some other failure of this thread */
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    ck_assert_int_eq(sockref_last_error()->status, -EINVAL);
    sockref_options_free(options);
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, SOCKREF_EFOREIGN);
    ck_assert_int_eq(outcome.told, SOCKREF_EFOREIGN);
    ck_assert_ptr_null(outcome.ref);
    DRIVE_UNTIL(handled.stops == 1);
    drive_all();
    ck_assert_str_eq(handled.events, "S");
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(a_start_waits_for_another_one)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);

    begin_holding(NULL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    drive_all();
    ck_assert_int_eq(outcome.calls, 0);
    end_holding();
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, 0);
    ck_assert_ptr_eq(outcome.ref, held_ref);
    DRIVE_UNTIL(handled.stops == 1); /* the other one listens, and our handlers are not used */
    sockref_release(outcome.ref);
    sockref_release(held_ref);
}
END_TEST

START_TEST(a_start_times_out)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, 30), 0);
    begin_holding(NULL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ETIMEOUT);
    ck_assert_int_eq(outcome.told, SOCKREF_ETIMEOUT);
    ck_assert_int_eq(handled.stops, 1);
    end_holding();
    drive_all();
    ck_assert_int_eq(outcome.calls, 1);
    sockref_release(held_ref);
}
END_TEST

static int byte_0_calls;

/* Byte 0 is busy in the first try. */
static int lock_later(int fd, int command, struct flock *lock)
{
    if (command != F_OFD_SETLK || lock->l_type != F_WRLCK || lock->l_start != 0 ||
        ++byte_0_calls > 2)
        return fcntl(fd, command, lock);
    errno = EAGAIN;
    return -1;
}

START_TEST(a_start_whose_loop_was_late_tries_again)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(false);

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, 20), 0);
    sr_sys.lock = lock_later;
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    ck_assert_int_eq(byte_0_calls, 2);
    poll(NULL, 0, 200); /* the program does something else */
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, 0);
    sockref_release(outcome.ref);
}
END_TEST

START_TEST(a_start_on_a_loop_that_is_always_late_times_out)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(false);

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, 20), 0);
    begin_holding(NULL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    sockref_loop_dispatch(loop, 0);
    for (int i = 0; i < 4 && outcome.calls == 0; i++) {
        poll(NULL, 0, 250); /* what the program does between two looks */
        sockref_loop_dispatch(loop, 0);
    }
    end_holding();
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ETIMEOUT);
    sockref_release(held_ref);
}
END_TEST

START_TEST(a_waiting_start_is_cancelled)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);

    begin_holding(NULL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    if (_i == 1)
        drive_all(); /* its timer runs */
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, on_start, NULL), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, on_start, &outcome), 0);
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, on_start, &outcome), SOCKREF_ENOTFOUND);
    ck_assert_int_eq(outcome.calls, 0);
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_int_eq(outcome.told, SOCKREF_ECANCELED);
    ck_assert_int_eq(handled.stops, 1);
    end_holding();
    drive_all();
    ck_assert_int_eq(outcome.calls, 1);
    sockref_release(held_ref);
}
END_TEST

START_TEST(a_cancelled_start_that_had_succeeded_is_released)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);

    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    ck_assert_int_eq(access(path, F_OK), 0); /* it was tried at once */
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, on_start, &outcome), 0);
    DRIVE_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_int_eq(access(path, F_OK), -1);
    DRIVE_UNTIL(handled.stops == 1);
    drive_all();
    ck_assert_int_eq(handled.stops, 1);
}
END_TEST

START_TEST(freeing_its_loop_cancels_a_start)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);

    if (_i == 1)
        begin_holding(NULL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome), 0);
    sockref_options_free(options);
    if (_i == 1)
        drive_all();
    sockref_loop_free(loop);
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_int_eq(handled.stops, 1);
    if (_i == 1) {
        end_holding();
        sockref_release(held_ref);
    }
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

START_TEST(freeing_its_registry_cancels_a_start_before_it_returns)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);
    sockref_registry *registry;

    ck_assert_int_eq(sockref_registry_new(NULL, &registry), 0);
    if (_i == 1)
        begin_holding(registry);
    ck_assert_int_eq(sockref_registry_start_listener(registry, path, options, on_start, &outcome),
                     0);
    sockref_options_free(options);
    if (_i == 1)
        drive_all();
    sockref_registry_free(registry);
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_ptr_null(outcome.ref);
    if (_i == 1) {
        end_holding();
        sockref_release(held_ref);
    }
    DRIVE_UNTIL(handled.stops == 1);
    drive_all();
    ck_assert_int_eq(outcome.calls, 1);
    ck_assert_int_eq(handled.stops, 1);
    ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(a_start_without_a_loop_comes_on_the_service_thread)
{
    struct outcome outcome = {0};

    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, NULL, on_start, &outcome), 0);
    WAIT_UNTIL(outcome.calls == 1);
    ck_assert_int_eq(outcome.status, 0);
    ck_assert(!pthread_equal(outcome.thread, pthread_self()));
    sockref_release(outcome.ref);
}
END_TEST

START_TEST(what_is_wrong_at_once_is_told_at_once)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(true);
    sockref_registry *registry;

    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, "x", options, on_start, &outcome),
                     SOCKREF_EPATH);
    ck_assert_int_eq(sockref_registry_cancel_start(NULL, NULL, NULL), -EINVAL);
    ck_assert_int_eq(sockref_registry_new(NULL, &registry), 0);
    ck_assert_int_eq(sockref_registry_shutdown(registry, 0), 0);
    ck_assert_int_eq(sockref_registry_start_listener(registry, path, options, on_start, &outcome),
                     SOCKREF_ESHUTDOWN);
    sockref_registry_free(registry);
    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_MAX_SOCKETS, 5), 0);
    ck_assert_int_eq(sockref_registry_start_listener(NULL, path, options, on_start, &outcome),
                     -EINVAL);
    sockref_options_free(options);
    drive_all();
    ck_assert_int_eq(outcome.calls, 0);
    ck_assert_int_eq(handled.stops, 0);
}
END_TEST

static int allocations_left;

static void *failing_malloc(size_t size)
{
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static void *failing_calloc(size_t count, size_t size)
{
    return allocations_left-- > 0 ? calloc(count, size) : NULL;
}

/* With a delay of the cleanup a start may fail when its handlers are in place already. */
START_TEST(each_allocation_may_fail)
{
    for (int n = 0;; n++) {
        struct outcome outcome = {0};
        sockref_options *options = options_here(true);
        int status;

        ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, _i * 60000),
                         0);

        allocations_left = n;
        sr_sys.malloc = failing_malloc;
        sr_sys.calloc = failing_calloc;
        status = sockref_registry_start_listener(NULL, path, options, on_start, &outcome);
        sr_sys.malloc = malloc;
        sr_sys.calloc = calloc;
        sockref_options_free(options);
        if (status < 0) {
            ck_assert_int_eq(status, -ENOMEM);
            ck_assert_int_eq(handled.stops, 0);
        } else {
            DRIVE_UNTIL(outcome.calls == 1);
            ck_assert(outcome.status == 0 || outcome.status == -ENOMEM);
            sockref_registry_cleanup(NULL, path);
            sockref_release(outcome.ref);
            DRIVE_UNTIL(handled.stops == 1);
        }
        drive_all();
        ck_assert_int_eq(handled.stops, status == 0);
        ck_assert_int_eq(access(path, F_OK), -1);
        if (status == 0 && outcome.status == 0 && allocations_left > 0)
            break;
        ck_assert_int_lt(n, 200);
    }
}
END_TEST

struct started {
    struct outcome outcome;
    sockref_registry *registry;
    int status; /* of the call */
};

static void *start_here(void *arg)
{
    struct started *started = arg;
    sockref_options *options = options_here(true);

    started->status = sockref_registry_start_listener(started->registry, path, options, on_start,
                                                      &started->outcome);
    sockref_options_free(options);
    return NULL;
}

/* It has a place in the loop, and is not listed among the starts. */
START_TEST(a_start_on_a_loop_that_is_freed_meanwhile_is_refused)
{
    struct started started = {0};
    unsigned before = atomic_load(&loop->count);
    pthread_t thread;

    ck_assert_int_eq(sockref_registry_new(NULL, &started.registry), 0);
    sr_mutex_lock(&started.registry->mutex);
    ck_assert_int_eq(pthread_create(&thread, NULL, start_here, &started), 0);
    WAIT_UNTIL(atomic_load(&loop->count) > before);
    sockref_loop_free(loop);
    loop = NULL;
    sr_mutex_unlock(&started.registry->mutex);
    pthread_join(thread, NULL);
    ck_assert_int_eq(started.status, SOCKREF_ECLOSED);
    ck_assert_int_eq(started.outcome.calls, 0);
    ck_assert_int_eq(handled.stops, 0);
    ck_assert_int_eq(sockref_registry_drain(started.registry, PATIENCE_MS), 0);
    sockref_registry_free(started.registry);
}
END_TEST

static sockref_registry *ending;

static void *shut_down_first(size_t count, size_t size)
{
    sr_sys.calloc = calloc;
    ck_assert_int_eq(sockref_registry_shutdown(ending, 0), 0);
    return calloc(count, size);
}

/* It was let in, and finds the registry ended: that is what the call returns, and all. */
START_TEST(a_start_whose_registry_ends_meanwhile_is_refused)
{
    sockref_options *options = options_here(true);
    struct outcome outcome = {0};

    ck_assert_int_eq(sockref_registry_new(NULL, &ending), 0);
    sr_sys.calloc = shut_down_first; /* as it is made */
    ck_assert_int_eq(sockref_registry_start_listener(ending, path, options, on_start, &outcome),
                     SOCKREF_ESHUTDOWN);
    sockref_options_free(options);
    drive_all();
    ck_assert_int_eq(outcome.calls, 0);
    ck_assert_int_eq(handled.stops, 0);
    sockref_registry_free(ending);
}
END_TEST

static sem_t listening;

/* Holds who listens until on_start has come. */
static void wait_for_on_start(const sockref_log_record *log, void *user)
{
    struct outcome *outcome = user;

    if (strcmp(log->event, "listening") != 0)
        return;
    sem_post(&listening);
    WAIT_UNTIL(outcome->calls == 1);
}

/* The handlers are in use already, though the start is not over. */
START_TEST(handlers_that_a_start_put_to_use_are_stopped_once)
{
    struct started started = {0};
    pthread_t thread;

    sem_init(&listening, 0, 0);
    ck_assert_int_eq(sockref_set_log(wait_for_on_start, &started.outcome, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, start_here, &started), 0);
    sem_wait(&listening);
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(started.outcome.calls, 1);
    ck_assert_int_eq(started.outcome.status, SOCKREF_ECANCELED);
    ck_assert_int_eq(handled.stops, 1);
    pthread_join(thread, NULL);
    ck_assert_int_eq(started.status, 0);
    ck_assert_int_eq(handled.stops, 1);
    sockref_set_log(NULL, NULL, NULL);
}
END_TEST

/* The handlers can't be put to use any more. */
START_TEST(handlers_of_a_start_whose_loop_goes_are_stopped_once)
{
    struct started started = {0};
    pthread_t thread;

    sem_init(&inside, 0, 0);
    sem_init(&go_on, 0, 0);
    sr_sys.bind = held_bind;
    ck_assert_int_eq(pthread_create(&thread, NULL, start_here, &started), 0);
    sem_wait(&inside);
    sr_sys.bind = bind;
    sockref_loop_free(loop);
    loop = NULL;
    ck_assert_int_eq(started.outcome.calls, 1);
    ck_assert_int_eq(started.outcome.status, SOCKREF_ECANCELED);
    sem_post(&go_on);
    pthread_join(thread, NULL);
    ck_assert_int_eq(started.outcome.calls, 1);
    ck_assert_int_eq(handled.stops, 1);
}
END_TEST

static void *cancel_it(void *arg)
{
    sockref_registry_cancel_start(NULL, on_start, arg);
    return NULL;
}

START_TEST(cancelling_races_with_the_outcome)
{
    for (int i = 0; i < 300; i++) {
        struct outcome outcome = {0};
        pthread_t thread;

        ck_assert_int_eq(sockref_registry_start_listener(NULL, path, NULL, on_start, &outcome), 0);
        pthread_create(&thread, NULL, cancel_it, &outcome);
        pthread_join(thread, NULL);
        WAIT_UNTIL(outcome.calls == 1);
        ck_assert(outcome.status == 0 || outcome.status == SOCKREF_ECANCELED);
        ck_assert((outcome.status == 0) == (outcome.ref != NULL));
        sockref_release(outcome.ref);
    }
}
END_TEST

START_TEST(freeing_registries_races_with_starts)
{
    size_t fds_of_loop = sr_fd_count() - fds_before;

    for (int i = 0; i < 300; i++) {
        struct outcome outcomes[4] = {0};
        sockref_registry *registry;

        ck_assert_int_eq(sockref_registry_new(NULL, &registry), 0);
        for (int k = 0; k < 4; k++)
            ck_assert_int_eq(
                sockref_registry_start_listener(registry, path, NULL, on_start, &outcomes[k]), 0);
        sockref_registry_free(registry);
        for (int k = 0; k < 4; k++) {
            WAIT_UNTIL(outcomes[k].calls == 1);
            sockref_release(outcomes[k].ref);
        }
    }
    WAIT_UNTIL(sr_fd_count() == fds_before + fds_of_loop); /* no registry is left to drain */
}
END_TEST

/* What the child opens gets the numbers that the registry had in the parent. */
#define OPENED 32

static pid_t forked;
static int opened[OPENED];

static void fork_on_start(int status, sockref *ref, void *user)
{
    on_start(status, ref, user);
    forked = fork();
    for (int i = 0; forked == 0 && i < OPENED; i++)
        opened[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static bool are_open(void)
{
    for (int i = 0; i < OPENED; i++)
        if (fcntl(opened[i], F_GETFD) < 0)
            return false;
    return true;
}

/* A name that waits for the end of its cleanup delay. */
static void leave_in_grace(sockref_registry *registry, const char *name)
{
    sockref_options *options = sockref_options_new();
    sockref *ref;

    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, 600000), 0);
    ck_assert_int_eq(sockref_registry_listen(registry, name, options, &ref), 0);
    sockref_options_free(options);
    sockref_release(ref);
    ck_assert_int_eq(access(name, F_OK), 0);
}

START_TEST(a_fork_while_a_registry_ends_ends_its_end_in_the_child)
{
    struct outcome outcome = {0};
    sockref_options *options = options_here(false);
    sockref_registry *registry;
    char other[sizeof path];
    int ended = 0, status;

    snprintf(other, sizeof other, "%s/o.sock", directory);
    ck_assert_int_eq(sockref_registry_new(NULL, &registry), 0);
    leave_in_grace(registry, other);
    ck_assert_int_eq(
        sockref_registry_start_listener(registry, path, options, fork_on_start, &outcome), 0);
    sockref_options_free(options);
    if (_i == 0)
        ended = sockref_registry_shutdown(registry, 0);
    if (_i == 1 || forked != 0)
        sockref_registry_free(registry);
    if (forked == 0)
        _exit(ended == (_i == 0 ? SOCKREF_EFORKED : 0) && are_open() ? 0 : 1);
    ck_assert_int_eq(ended, 0);
    ck_assert_int_eq(outcome.status, SOCKREF_ECANCELED);
    ck_assert_int_eq(access(other, F_OK), -1);
    ck_assert_int_eq(waitpid(forked, &status, 0), forked);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    drive_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("start");
    TCase *tcase = tcase_create("start");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_start_succeeds_on_its_loop);
    tcase_add_test(tcase, a_start_fails_with_its_description);
    tcase_add_test(tcase, a_start_waits_for_another_one);
    tcase_add_test(tcase, a_start_times_out);
    tcase_add_test(tcase, a_start_whose_loop_was_late_tries_again);
    tcase_add_test(tcase, a_start_on_a_loop_that_is_always_late_times_out);
    tcase_add_loop_test(tcase, a_waiting_start_is_cancelled, 0, 2);
    tcase_add_test(tcase, a_cancelled_start_that_had_succeeded_is_released);
    tcase_add_loop_test(tcase, freeing_its_loop_cancels_a_start, 0, 2);
    tcase_add_loop_test(tcase, freeing_its_registry_cancels_a_start_before_it_returns, 0, 2);
    tcase_add_loop_test(tcase, a_fork_while_a_registry_ends_ends_its_end_in_the_child, 0, 2);
    tcase_add_test(tcase, a_start_without_a_loop_comes_on_the_service_thread);
    tcase_add_test(tcase, what_is_wrong_at_once_is_told_at_once);
    tcase_add_loop_test(tcase, each_allocation_may_fail, 0, 2);
    tcase_add_test(tcase, a_start_on_a_loop_that_is_freed_meanwhile_is_refused);
    tcase_add_test(tcase, a_start_whose_registry_ends_meanwhile_is_refused);
    tcase_add_test(tcase, handlers_that_a_start_put_to_use_are_stopped_once);
    tcase_add_test(tcase, handlers_of_a_start_whose_loop_goes_are_stopped_once);
    tcase_add_test(tcase, cancelling_races_with_the_outcome);
    tcase_add_test(tcase, freeing_registries_races_with_starts);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
