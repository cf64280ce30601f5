/* Threads that are cancelled inside the library: src/ref/, by src/base/thread.h. I9. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"

#include <sched.h>
#include <sockref/pool.h>
#include <sockref/stats.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static sockref *ref;
static uint64_t swept;

static int listen_on(void)
{
    return sockref_registry_listen(NULL, path, NULL, &ref);
}

static atomic_int starts;

static void on_start(int status, sockref *started, void *user)
{
    (void)status;
    (void)user;
    ref = started;
    atomic_fetch_add(&starts, 1);
}

/* The wait is no place where a thread ends. */
static int start(void)
{
    int status = sockref_registry_start_listener(NULL, path, NULL, on_start, NULL);

    while (status == 0 && atomic_load(&starts) == 0)
        sched_yield();
    return status;
}

static int listen_in_pool(void)
{
    sockref_pool *pool = NULL;
    int status = sockref_pool_new(&pool);

    if (status == 0)
        status = sockref_pool_listen(pool, NULL, path, 1, NULL);
    if (status == 0)
        status = sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &ref);
    sockref_pool_free(pool);
    path = harness_at("a.0");
    return status;
}

static int check_health(void)
{
    sockref_health health = {.size = sizeof health};

    return sockref_check_health(ref, &health);
}

static int release(void)
{
    sockref_release(ref);
    ref = NULL;
    return 0;
}

static int clean_up(void)
{
    return sockref_registry_cleanup(NULL, path);
}

static int clean_all_up(void)
{
    return sockref_registry_cleanup_all(NULL, NULL);
}

static int shut_down(void)
{
    return sockref_registry_shutdown(NULL, 0);
}

static int sweep(void)
{
    return sockref_registry_sweep(NULL, harness_dir(), &swept);
}

static int count_holders(void)
{
    return (int)sockref_holder_count(ref);
}

static const struct {
    int (*call)(void);
    enum faults_kind inside; /* where it is when it is cancelled */
    bool is_held, ends;
    int result;
} calls[] = {
    {listen_on, FAULTS_bind, false, false, 0},
    {listen_on, FAULTS_openat, false, false, 0},
    {start, FAULTS_thread_create, false, false, 0},
    {listen_in_pool, FAULTS_bind, false, false, 0},
    {release, FAULTS_unlinkat, true, true, 0},
    {clean_up, FAULTS_unlinkat, true, true, 0},
    {clean_all_up, FAULTS_unlinkat, true, true, 0},
    {shut_down, FAULTS_unlinkat, true, true, SOCKREF_ETIMEOUT},
    {sweep, FAULTS_openat, false, true, 0},
    {count_holders, FAULTS_close, true, false, 1},
    {check_health, FAULTS_openat, true, false, 0},
};

static int result_of_call;

/* What it came to is looked at by another thread: a test library is not made to be cancelled. */
static void *call(void *arg)
{
    result_of_call = calls[*(int *)arg].call();
    pthread_testcancel();
    return NULL;
}

/* It waits for those who are opening a descriptor. */
static void fork_once(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

/* The call is made whole, the thread ends after it, and everybody else can go on. */
START_TEST(a_call_is_made_whole)
{
    struct faults_gate gate;
    pthread_t thread;
    void *result;

    path = harness_at("a");
    faults_install(); /* for good: a thread of the library may run in the end */
    if (calls[_i].is_held)
        harness_assert_ok(listen_on());
    faults_hold(calls[_i].inside, &gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, call, &_i), 0);
    faults_wait_held(&gate);
    ck_assert_int_eq(pthread_cancel(thread), 0);
    faults_let_go(&gate);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_eq(result, PTHREAD_CANCELED);
    ck_assert_int_eq(result_of_call, calls[_i].result);
    ck_assert(harness_exists(path) == !calls[_i].ends);
    if (atomic_load(&starts) == 0) /* else ThreadSanitizer takes what the child renews for a race */
        fork_once();
    if (ref)
        release();
    harness_assert_ok(listen_on());
    ck_assert(sockref_is_owner(ref));
    release();
}
END_TEST

static void *make_registry(void *out)
{
    pthread_cancel(pthread_self());
    result_of_call = sockref_registry_new(NULL, out);
    pthread_testcancel();
    return NULL;
}

/* It draws a random number for the process. */
START_TEST(the_first_call_is_made_whole)
{
    sockref_registry *registry = NULL;
    pthread_t thread;
    void *result;

    result_of_call = 1;
    ck_assert_int_eq(pthread_create(&thread, NULL, make_registry, &registry), 0);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_ptr_eq(result, PTHREAD_CANCELED);
    ck_assert_int_eq(result_of_call, 0);
    sockref_registry_free(registry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cancel");
    TCase *tcase = harness_tcase(suite, "cancel");

    tcase_add_loop_test(tcase, a_call_is_made_whole, 0, sizeof calls / sizeof calls[0]);
    tcase_add_test(tcase, the_first_call_is_made_whole);
    return harness_run(suite);
}
