/* Serving, and what may happen at the same time: src/net/serve.c */
#include "test-loop-helpers.h"

#include "harness/faults.h"
#include "net/loop.h"
#include "ref/state.h"

#include <pthread.h>
#include <semaphore.h>

static struct record record;
static sockref *ref;

/* The wrappers are there before the loop is: the poll backend has a thread that makes calls. */
static void setup_ref(void)
{
    faults_install();
    setup();
    memset(&record, 0, sizeof record);
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
}

static void teardown_ref(void)
{
    sockref_release(ref);
    if (loop)
        drive_all();
    teardown();
    faults_clear();
}

/* ---- the loop is freed meanwhile ---- */

static void leave_it(void)
{
}

static void unserve_it(void)
{
    (void)sockref_unserve(ref, true);
}

static void revoke_it(void)
{
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
}

/* And what befalls the name then, before the one who serves goes on. */
static void (*const befalls[])(void) = {leave_it, unserve_it, revoke_it};

static void free_loop(void *then)
{
    sockref_loop_free(loop);
    loop = NULL;
    (*(void (*const *)(void))then)();
}

/* It has a place in the loop and is not attached; it is attached and has not begun. */
static const enum faults_kind moments[] = {FAULTS_calloc, FAULTS_tame};

START_TEST(a_loop_that_is_freed_meanwhile_is_refused)
{
    void (*const *then)(void) = &befalls[_i / 2];
    bool is_revoked = *then == revoke_it;

    faults_before(moments[_i % 2], free_loop, (void *)(uintptr_t)then);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), SOCKREF_ECLOSED);
    ck_assert_ptr_null(loop);
    ck_assert_int_eq(record.stops, 0);

    /* Nothing of it is left: another loop may serve. */
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record),
                     is_revoked ? SOCKREF_ECLOSED : 0);
    sockref_release(ref);
    ref = NULL;
    DRIVE_UNTIL(record.stops == !is_revoked);
}
END_TEST

static void end_service(void *then)
{
    (*(void (*const *)(void))then)();
    ck_assert_int_ge(sockref_loop_dispatch(loop, 0), 0);
}

/* The loop hears of its end first. */
START_TEST(a_service_that_ends_before_it_begins_is_stopped)
{
    void (*const *then)(void) = &befalls[1 + _i];

    faults_before(FAULTS_tame, end_service, (void *)(uintptr_t)then);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    ck_assert_int_eq(record.stops, 0);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(sockref_unserve(ref, true),
                     *then == revoke_it ? SOCKREF_ECLOSED : SOCKREF_ENOTFOUND);
}
END_TEST

static sem_t ends, has_served;

static void wait_in_close(sockref_conn *conn, bool had_error, void *user)
{
    (void)conn;
    (void)had_error;
    (void)user;
    sem_post(&ends);
    while (sem_wait(&has_served) < 0)
        continue;
}

static void *free_it(void *unused)
{
    sockref_loop_free(loop);
    return unused;
}

static void begin_to_free(void *thread)
{
    ck_assert_int_eq(pthread_create(thread, NULL, free_it, NULL), 0);
    while (sem_wait(&ends) < 0)
        continue;
}

/* It is in the midst of its end, and takes what comes yet. */
START_TEST(a_service_of_a_loop_that_is_being_freed_is_stopped)
{
    const sockref_handlers waiting = {.size = sizeof waiting, .on_close = wait_in_close};
    pthread_t thread;
    int pair[2];

    sem_init(&ends, 0, 0);
    sem_init(&has_served, 0, 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(sockref_adopt(loop, pair[0], &waiting, NULL, NULL), 0);
    faults_before(FAULTS_tame, begin_to_free, &thread);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    sem_post(&has_served);
    pthread_join(thread, NULL);
    ck_assert_int_eq(record.stops, 1);
    close(pair[1]);
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
}
END_TEST

#define RACES 500

static sockref_loop *raced;
static pthread_barrier_t barrier;
static int raced_status;

static void *serve_often(void *arg)
{
    for (int i = 0; i < RACES; i++) {
        pthread_barrier_wait(&barrier);
        raced_status = sockref_serve_on(ref, raced, &recording, &record);
        pthread_barrier_wait(&barrier);
    }
    return arg;
}

START_TEST(serving_races_with_the_end_of_the_loop)
{
    pthread_t thread;
    int served = 0;

    pthread_barrier_init(&barrier, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, serve_often, NULL), 0);
    for (int i = 0; i < RACES; i++) {
        ck_assert_int_eq(sockref_loop_new(&raced), 0);
        sr_loop_acquire(raced); /* for who comes late */
        pthread_barrier_wait(&barrier);
        sockref_loop_free(raced);
        pthread_barrier_wait(&barrier);
        ck_assert(raced_status == 0 || raced_status == SOCKREF_ECLOSED);
        served += raced_status == 0;
        ck_assert_int_eq(record.stops, served);
        ck_assert_int_eq(sockref_unserve(ref, true), SOCKREF_ENOTFOUND);
        sr_loop_release(raced);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&barrier);
}
END_TEST

/* ---- its socket is replaced meanwhile ---- */

static char moved_path[96];

static void listen_at(int fd, const char *at)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, at);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
}

static void move_socket(void *arg)
{
    int fd = sr_fd_socket(AF_UNIX, SOCK_STREAM);

    (void)arg;
    snprintf(moved_path, sizeof moved_path, "%s/moved", directory);
    listen_at(fd, moved_path);
    sr_mutex_lock(&ref->registry->mutex);
    ref->rest->life->service->move(ref->rest->life->service, fd, sockref_fd(ref));
    sr_mutex_unlock(&ref->registry->mutex);
}

START_TEST(a_socket_that_is_replaced_before_it_begins_is_served)
{
    char original[sizeof path];
    int fd;

    faults_before(FAULTS_tame, move_socket, NULL);
    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    strcpy(original, path);
    strcpy(path, moved_path);
    fd = dial();
    DRIVE_UNTIL(record.connections == 1);
    close(fd);
    ck_assert_int_eq(unlink(moved_path), 0);
    strcpy(path, original);
}
END_TEST

/* ---- a start that fails when its handlers are in place ---- */

static sockref_options *options_here(int delay_ms)
{
    sockref_options *options = sockref_options_new();

    ck_assert_int_eq(sockref_options_set_loop(options, loop), 0);
    ck_assert_int_eq(sockref_options_set_handlers(options, &recording, &record), 0);
    ck_assert_int_eq(sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, delay_ms), 0);
    return options;
}

START_TEST(a_listen_that_fails_calls_nothing)
{
    sockref_options *options = options_here(60000);
    int status = -ENOMEM;

    sockref_release(ref);
    for (unsigned n = 1; status < 0; n++) {
        ck_assert_uint_lt(n, 200);
        ref = NULL;
        faults_arm(FAULTS_ALLOCATIONS, n, ENOMEM);
        status = sockref_registry_listen(NULL, path, options, &ref);
        faults_disarm();
        drive_all();
        ck_assert_int_eq(record.stops, 0);
    }
    sockref_options_free(options);
    ck_assert_int_eq(sockref_registry_cleanup(NULL, path), 0);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

/* ---- somebody else accepts from the same socket ---- */

static int taken;

static void take_it(void *arg)
{
    (void)arg;
    taken = accept4(sockref_fd(ref), NULL, NULL, SOCK_CLOEXEC);
}

START_TEST(what_another_one_accepts_first_is_no_fault)
{
    int peers[2];

    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    drive_all();
    faults_before(FAULTS_accept4, take_it, NULL);
    taken = -1;
    peers[0] = dial();
    DRIVE_UNTIL(taken >= 0);
    drive_all();
    ck_assert_int_eq(record.connections, 0);
    peers[1] = dial();
    DRIVE_UNTIL(record.connections == 1);
    close(taken);
    close(peers[0]);
    close(peers[1]);
}
END_TEST

#define PEERS 60

START_TEST(each_connection_goes_to_one_of_those_who_accept)
{
    int peers[PEERS], ours[PEERS], count = 0, fd;

    ck_assert_int_eq(sockref_serve_on(ref, loop, &recording, &record), 0);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = dial();
        if (i % 3 == 0)
            sockref_loop_dispatch(loop, 0);
        else if (i % 3 == 1 && (fd = accept4(sockref_fd(ref), NULL, NULL, SOCK_CLOEXEC)) >= 0)
            ours[count++] = fd;
    }
    DRIVE_UNTIL(record.connections + count == PEERS);
    drive_all();
    ck_assert_int_gt(count, 0);
    ck_assert_int_eq(record.connections + count, PEERS);
    for (int i = 0; i < count; i++)
        close(ours[i]);
    for (int i = 0; i < PEERS; i++)
        close(peers[i]);
}
END_TEST

/* ---- an abstract name that is not free yet ---- */

static int kept, dials;

/* Each dial of a start is answered by nobody; at the third one what keeps the name goes. */
static int count_dials(int fd, const struct sockaddr *address, socklen_t length)
{
    if (++dials == 3)
        close(kept);
    return connect(fd, address, length);
}

/* As a loop does that is about to leave its wait. */
START_TEST(what_was_closed_and_is_kept_is_not_joined)
{
    sockref *named, *again;

    snprintf(path, sizeof path, "@sockref-serve-%d", (int)getpid());
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &named), 0);
    ck_assert_int_eq(sockref_serve_on(named, loop, &recording, &record), 0);
    kept = dup(sockref_fd(named));
    sockref_release(named);
    DRIVE_UNTIL(record.stops == 1);
    sr_sys.connect = count_dials;
    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &again), 0);
    ck_assert_int_eq(dials, 3);
    ck_assert(sockref_is_owner(again));
    sockref_release(again);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("serve");
    TCase *tcase = tcase_create("serve");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_ref, teardown_ref);
    tcase_add_loop_test(tcase, a_loop_that_is_freed_meanwhile_is_refused, 0, 6);
    tcase_add_loop_test(tcase, a_service_that_ends_before_it_begins_is_stopped, 0, 2);
    tcase_add_test(tcase, a_service_of_a_loop_that_is_being_freed_is_stopped);
    tcase_add_test(tcase, serving_races_with_the_end_of_the_loop);
    tcase_add_test(tcase, a_socket_that_is_replaced_before_it_begins_is_served);
    tcase_add_test(tcase, a_listen_that_fails_calls_nothing);
    tcase_add_test(tcase, what_another_one_accepts_first_is_no_fault);
    tcase_add_test(tcase, each_connection_goes_to_one_of_those_who_accept);
    tcase_add_test(tcase, what_was_closed_and_is_kept_is_not_joined);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
