/*
 * The worker that ends cleanup delays, and removals that had to wait: one thread for the process,
 * started with the first delay and gone with the last. Delays stand in a list by their end; since
 * most are of one length, a new one belongs at the tail.
 */
#include "ref/cleanup.h"

#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "ref/state.h"

#include <stdatomic.h>

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_cond changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sr_list running SR_GUARDED_BY(mutex) = SR_LIST_INIT(running);
static bool has_thread SR_GUARDED_BY(mutex);
static _Atomic uint64_t started;

static void init(void)
{
    sr_cond_init(&changed);
}

static struct sr_deadline *first(void) SR_REQUIRES(mutex)
{
    return SR_LIST_OWNER(running.next, struct sr_deadline, node);
}

static void *work(void *unused)
{
    (void)unused;
    sr_mutex_lock(&mutex);
    while (!sr_list_is_empty(&running)) {
        struct sr_deadline *deadline = first();
        void (*over)(sockref * entry);
        sockref *entry;

        if (deadline->at > sr_clock_ns()) {
            sr_cond_wait(&changed, &mutex, deadline->at);
            continue;
        }
        entry = deadline->entry;
        over = deadline->over;
        sr_list_remove(&deadline->node);
        sr_mutex_unlock(&mutex);
        over(entry);
        sr_mutex_lock(&mutex);
    }
    has_thread = false;
    sr_mutex_unlock(&mutex);
    return NULL;
}

static void insert(struct sr_deadline *deadline) SR_REQUIRES(mutex)
{
    struct sr_list *before = running.prev;

    while (before != &running && SR_LIST_OWNER(before, struct sr_deadline, node)->at > deadline->at)
        before = before->prev;
    sr_list_append(before->next, &deadline->node);
}

bool sr_cleanup_begin(struct sr_deadline *deadline)
{
    bool ok = true;

    pthread_once(&once, init);
    deadline->at = sr_clock_after_ms((int64_t)deadline->delay_ms);
    sr_mutex_lock(&mutex);
    insert(deadline);
    if (!has_thread) {
        ok = has_thread = sr_thread_start(work, NULL, true, NULL) == 0;
        if (!ok)
            sr_list_remove(&deadline->node);
        else
            atomic_fetch_add(&started, 1);
    } else if (first() == deadline) {
        sr_cond_broadcast(&changed);
    }
    sr_mutex_unlock(&mutex);
    return ok;
}

bool sr_cleanup_cancel(struct sr_deadline *deadline)
{
    bool was_running;

    sr_mutex_lock(&mutex);
    was_running = !sr_list_is_empty(&deadline->node);
    sr_list_remove(&deadline->node);
    sr_cond_broadcast(&changed);
    sr_mutex_unlock(&mutex);
    return was_running;
}

void sr_cleanup_after_fork(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    sr_cond_init(&changed);
    sr_list_init(&running);
    has_thread = false;
}

uint64_t sr_cleanup_threads_started(void)
{
    return atomic_load(&started);
}
