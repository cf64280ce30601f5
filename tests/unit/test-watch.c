/* Watching a name: src/ref/watch.c. The net floor delivers; here its hook is the case's own. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct watcher {
    int calls, last_event;
    sockref *last_ref;
    atomic_int freed;
};

static struct hook {
    sockref *ref;
    int event;
    sockref_watch_fn fn;
    void *user;
} queue[64];
static int queued;
static int (*notify)(struct sr_notice *notice, sockref *ref, int event, sockref_watch_fn fn,
                     void *user); /* the net floor's */
static sockref_registry *registry;
static sockref *ref;

static int put_in_queue(struct sr_notice *notice, sockref *subject, int event, sockref_watch_fn fn,
                        void *user)
{
    sr_hooks.notice_unreserve(notice);
    queue[queued++] = (struct hook){subject, event, fn, user};
    return 0;
}

/* As the service thread does. */
static void deliver_all(void)
{
    for (int i = 0; i < queued; i++) {
        queue[i].fn(queue[i].ref, queue[i].event, queue[i].user);
    }
    queued = 0;
}

static void note(sockref *subject, int event, void *user)
{
    struct watcher *watcher = user;

    ck_assert_int_eq(atomic_load(&watcher->freed), 0);
    ck_assert_str_eq(sockref_path(subject), harness_at("a"));
    watcher->calls++;
    watcher->last_event = event;
    watcher->last_ref = subject;
}

static void note_free(void *user)
{
    atomic_fetch_add(&((struct watcher *)user)->freed, 1);
}

static void release_it(sockref *subject, int event, void *user)
{
    (void)user;
    if (event == SOCKREF_WATCH_SHUTDOWN)
        sockref_release(subject);
    ck_assert_uint_eq(sockref_reference_count(subject), 0);
}

static void setup(void)
{
    queued = 0;
    notify = sr_hooks.notify;
    sr_hooks.notify = put_in_queue;
    registry = harness_registry(0);
    ref = harness_listen(registry, harness_at("a"));
}

static void teardown(void)
{
    sockref_registry_free(registry);
}

START_TEST(a_revocation_is_told)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    ck_assert_int_eq(watcher.calls, 0); /* not on this thread */
    deliver_all();
    ck_assert_int_eq(watcher.calls, 1);
    ck_assert_int_eq(watcher.last_event, SOCKREF_WATCH_LOST);
    ck_assert_ptr_eq(watcher.last_ref, ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
}
END_TEST

/* G44: holders are told before they are revoked. */
/* J24: it keeps the entry's memory and the watcher's data all the same. */
START_TEST(an_event_on_its_way_is_no_reference)
{
    struct watcher watcher = {0};
    sockref *other;

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    ck_assert_int_eq(queued, 1);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(ref);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    other = harness_listen(registry, harness_at("a"));
    ck_assert_ptr_ne(other, ref); /* the event still tells of the one before */
    deliver_all();
    ck_assert_int_eq(watcher.calls, 0);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
    ck_assert_uint_eq(sockref_reference_count(other), 1);
    sockref_release(other);
}
END_TEST

START_TEST(a_last_release_inside_the_callback_of_its_watch)
{
    harness_assert_ok(sockref_set_watch(ref, release_it, NULL, NULL));
    sockref_registry_shutdown(registry, 0);
    deliver_all();
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

START_TEST(a_shutdown_is_told_first)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    ck_assert_int_eq(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert_int_eq(queued, 2);
    ck_assert_int_eq(queue[0].event, SOCKREF_WATCH_SHUTDOWN);
    ck_assert_int_eq(queue[1].event, SOCKREF_WATCH_LOST);
    deliver_all();
    ck_assert_int_eq(watcher.calls, 2);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
}
END_TEST

START_TEST(the_last_release_is_no_loss)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    sockref_release(ref);
    ck_assert_int_eq(queued, 0);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
}
END_TEST

START_TEST(a_new_watch_replaces_the_old)
{
    struct watcher first = {0}, second = {0}, third = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &first, note_free));
    harness_assert_ok(sockref_set_watch(ref, note, &second, note_free));
    ck_assert_int_eq(atomic_load(&first.freed), 1);
    harness_assert_ok(sockref_set_watch(ref, NULL, &third, note_free));
    ck_assert_int_eq(atomic_load(&second.freed), 1);
    ck_assert_int_eq(atomic_load(&third.freed), 1);
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    ck_assert_int_eq(queued, 0);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&first.freed), 1);
}
END_TEST

START_TEST(a_replaced_watch_is_still_told_what_is_on_its_way)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    sr_watch_notify(ref, SOCKREF_WATCH_OWNER);
    harness_assert_ok(sockref_set_watch(ref, NULL, NULL, NULL));
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
    deliver_all();
    ck_assert_int_eq(watcher.calls, 1);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
    sockref_release(ref);
}
END_TEST

START_TEST(what_is_revoked_is_not_watched)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    harness_assert_fails(sockref_set_watch(ref, note, &watcher, note_free), SOCKREF_ECLOSED);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0); /* not taken */
    harness_assert_fails(sockref_set_watch(NULL, note, &watcher, note_free), -EINVAL);
    sockref_release(ref);
}
END_TEST

START_TEST(without_memory_nothing_is_taken)
{
    struct watcher old = {0}, watcher = {0};
    bool struck = true;

    faults_install(); /* before there is a thread */
    harness_assert_ok(sockref_set_watch(ref, note, &old, note_free));
    for (uint64_t nth = 1; struck; nth++) {
        faults_arm(FAULTS_ALLOCATIONS, nth, ENOMEM);
        struck = sockref_set_watch(ref, note, &watcher, note_free) < 0;
        if (struck) {
            harness_assert_error(-ENOMEM);
            ck_assert_int_eq(atomic_load(&old.freed) + atomic_load(&watcher.freed), 0);
        }
    }
    ck_assert_int_eq(atomic_load(&old.freed), 1);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
}
END_TEST

static void revoke_first(void *unused)
{
    (void)unused;
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
}

START_TEST(a_watch_that_meets_a_revocation_is_not_taken)
{
    struct watcher watcher = {0};

    faults_install();
    faults_before(FAULTS_malloc, revoke_first, NULL);
    harness_assert_fails(sockref_set_watch(ref, note, &watcher, note_free), SOCKREF_ECLOSED);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
}
END_TEST

static int have_no_memory(struct sr_notice *notice, sockref *subject, int event,
                          sockref_watch_fn fn, void *user)
{
    (void)subject;
    (void)event;
    (void)fn;
    (void)user;
    sr_hooks.notice_unreserve(notice);
    return -ENOMEM;
}

START_TEST(what_can_not_be_told_is_logged)
{
    struct watcher watcher = {0};

    harness_log();
    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    sr_hooks.notify = have_no_memory;
    sr_watch_notify(ref, SOCKREF_WATCH_OWNER);
    ck_assert_uint_eq(harness_logged("thread_failed"), 1);
    sr_hooks.notify = put_in_queue;
    sr_watch_notify(ref, SOCKREF_WATCH_OWNER); /* the next one is told */
    deliver_all();
    ck_assert_int_eq(watcher.calls, 1);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
}
END_TEST

static pid_t child;

/* What is on its way is the last that keeps the watch. */
static void fork_inside(sockref *subject, int event, void *user)
{
    note(subject, event, user);
    harness_assert_ok(sockref_set_watch(subject, NULL, NULL, NULL));
    child = fork();
}

/* The child gives nothing back: all of it is the parent's. */
START_TEST(a_child_that_its_callback_forks_lets_it_be)
{
    struct watcher watcher = {0};
    int status;

    harness_assert_ok(sockref_set_watch(ref, fork_inside, &watcher, note_free));
    sr_watch_notify(ref, SOCKREF_WATCH_OWNER);
    deliver_all();
    if (child == 0) {
        sockref_release(ref);
        _exit(harness_is_socket(harness_at("a")) ? atomic_load(&watcher.freed) : 2);
    }
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    sockref_release(ref);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static void say(sockref *subject, int event, void *user)
{
    (void)subject;
    ck_assert_int_eq(event, SOCKREF_WATCH_LOST);
    sem_post(user);
}

static void assert_loss_is_told(sockref *subject, const char *name)
{
    struct timespec until;
    sem_t said;

    sem_init(&said, 0, 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HARNESS_PATIENCE_MS / 1000;
    sr_hooks.notify = notify;
    harness_assert_ok(sockref_set_watch(subject, say, &said, NULL));
    faults_arm_from(FAULTS_ALLOCATIONS | FAULTS_BIT(FAULTS_thread_create), 1, ENOMEM);
    harness_assert_ok(sockref_registry_cleanup(registry, name));
    faults_disarm();
    ck_assert_int_eq(sem_timedwait(&said, &until), 0);
    sockref_release(subject);
    sem_destroy(&said);
}

/* Else it would never be told: what is lost is lost once. */
START_TEST(a_loss_is_told_without_memory)
{
    faults_install();
    assert_loss_is_told(ref, harness_at("a"));
}
END_TEST

/* Nothing but the watch keeps the thread. */
START_TEST(the_loss_of_what_is_not_bound_is_told_without_a_thread)
{
    sockref *named;

    faults_install();
    sockref_release(ref);
    harness_assert_ok(sockref_registry_get_or_create(registry, harness_at("b"), &named));
    assert_loss_is_told(named, harness_at("b"));
}
END_TEST

/* It is set all the same, so the call succeeds, and changes no description. */
START_TEST(a_watch_that_gets_no_thread_leaves_the_last_error)
{
    faults_install();
    harness_assert_fails(sockref_set_watch(NULL, say, NULL, NULL), -EINVAL);
    faults_arm_from(FAULTS_BIT(FAULTS_thread_create), 1, EAGAIN);
    ck_assert_int_eq(sockref_set_watch(ref, say, NULL, NULL), 0);
    ck_assert(faults_struck());
    faults_disarm();
    harness_assert_error(-EINVAL);
    sockref_release(ref);
}
END_TEST

static void free_counted(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

static void ignore(sockref *subject, int event, void *user)
{
    (void)subject;
    (void)event;
    (void)user;
}

static void set_and_ask(unsigned number, void *arg)
{
    for (int i = 0; i < 2000; i++) {
        if (number < 2)
            ck_assert_int_eq(sockref_set_watch(ref, ignore, arg, free_counted), 0);
        else
            ck_assert_str_eq(sockref_path(ref), harness_at("a"));
    }
}

/* G24: the path is read while another thread adds what the entry did not have. */
START_TEST(watches_are_set_while_others_read)
{
    atomic_int freed = 0;

    harness_in_threads(4, set_and_ask, &freed);
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&freed), 4000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *tcase = harness_tcase(suite, "watch");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_revocation_is_told);
    tcase_add_test(tcase, an_event_on_its_way_is_no_reference);
    tcase_add_test(tcase, a_last_release_inside_the_callback_of_its_watch);
    tcase_add_test(tcase, a_shutdown_is_told_first);
    tcase_add_test(tcase, the_last_release_is_no_loss);
    tcase_add_test(tcase, a_new_watch_replaces_the_old);
    tcase_add_test(tcase, a_replaced_watch_is_still_told_what_is_on_its_way);
    tcase_add_test(tcase, what_is_revoked_is_not_watched);
    tcase_add_test(tcase, without_memory_nothing_is_taken);
    tcase_add_test(tcase, a_watch_that_meets_a_revocation_is_not_taken);
    tcase_add_test(tcase, what_can_not_be_told_is_logged);
    tcase_add_test(tcase, a_child_that_its_callback_forks_lets_it_be);
    tcase_add_test(tcase, a_loss_is_told_without_memory);
    tcase_add_test(tcase, the_loss_of_what_is_not_bound_is_told_without_a_thread);
    tcase_add_test(tcase, a_watch_that_gets_no_thread_leaves_the_last_error);
    tcase_add_test(tcase, watches_are_set_while_others_read);
    return harness_run(suite);
}
