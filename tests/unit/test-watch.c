/* Watching a name: src/ref/watch.c. The net floor delivers; here its hook is the case's own. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "ref/hooks.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

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
static sockref_registry *registry;
static sockref *ref;

static void put_in_queue(sockref *subject, int event, sockref_watch_fn fn, void *user)
{
    queue[queued++] = (struct hook){subject, event, fn, user};
}

/* As the service thread does. */
static void deliver_all(void)
{
    for (int i = 0; i < queued; i++) {
        queue[i].fn(queue[i].ref, queue[i].event, queue[i].user);
        sockref_release(queue[i].ref);
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

static void setup(void)
{
    queued = 0;
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

/* J24: an event on its way keeps the entry and the watcher's data. */
START_TEST(an_event_on_its_way_outlives_the_last_release)
{
    struct watcher watcher = {0};

    harness_assert_ok(sockref_set_watch(ref, note, &watcher, note_free));
    harness_assert_ok(sockref_registry_cleanup(registry, harness_at("a")));
    sockref_release(ref);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
    deliver_all();
    ck_assert_int_eq(watcher.calls, 1);
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
    ck_assert_int_eq(sockref_registry_shutdown(registry, 0), SOCKREF_ETIMEOUT);
    ck_assert_int_eq(atomic_load(&watcher.freed), 0);
    sockref_release(ref);
    deliver_all();
    ck_assert_int_eq(watcher.calls, 2);
    ck_assert_int_eq(atomic_load(&watcher.freed), 1);
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

    harness_assert_ok(sockref_set_watch(ref, note, &old, note_free));
    faults_install();
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
    tcase_add_test(tcase, a_shutdown_is_told_first);
    tcase_add_test(tcase, an_event_on_its_way_outlives_the_last_release);
    tcase_add_test(tcase, the_last_release_is_no_loss);
    tcase_add_test(tcase, a_new_watch_replaces_the_old);
    tcase_add_test(tcase, a_replaced_watch_is_still_told_what_is_on_its_way);
    tcase_add_test(tcase, what_is_revoked_is_not_watched);
    tcase_add_test(tcase, without_memory_nothing_is_taken);
    tcase_add_test(tcase, watches_are_set_while_others_read);
    return harness_run(suite);
}
