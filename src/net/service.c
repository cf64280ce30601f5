/*
 * The library's own loop and its thread.
 *
 * Places are counted under one mutex. The thread looks at the count after each dispatch, under that
 * mutex: at zero it takes the loop out of current and ends, and who comes later makes a new loop
 * and a new thread. So a place is never taken in a loop whose thread has decided to end.
 */
#include "net/service.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/sys.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define PAUSE_AFTER_FAILURE_MS 10

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_cond cond = {PTHREAD_COND_INITIALIZER};
static struct sockref_loop *current SR_GUARDED_BY(mutex);
static uint64_t places SR_GUARDED_BY(mutex); /* in current */
static unsigned ending SR_GUARDED_BY(mutex); /* threads that have left current and are not gone */
static struct sr_last_word last_word SR_GUARDED_BY(mutex);

static void make_cond(void) __attribute__((constructor));

static void make_cond(void)
{
    sr_cond_init(&cond); /* by the monotonic clock, which no initializer can say */
}

/* Returns whether nobody has a place: then the loop is out of current. */
static bool resign(void)
{
    bool over;

    sr_mutex_lock(&mutex);
    over = places == 0;
    if (over) {
        current = NULL;
        ending++;
        sr_cond_broadcast(&cond);
    }
    sr_mutex_unlock(&mutex);
    return over;
}

/* A backend that fails does so at once, each time: don't let it take the processor. */
static void bear(int status)
{
    sr_log(SR_LOG_THREAD_FAILED, SOCKREF_LOG_ERROR, status, NULL, "the service loop failed: %s",
           sockref_status_message(status));
    sr_sys.poll(NULL, 0, PAUSE_AFTER_FAILURE_MS);
}

static void *serve(void *arg)
{
    struct sockref_loop *loop = arg;
    int status;

    pthread_setname_np(pthread_self(), "sockref");
    do {
        status = sockref_loop_dispatch(loop, -1);
        if (status == SOCKREF_EFORKED)
            return NULL; /* a callback forked; this is the child's only thread, and it ends */
        if (status < 0)
            bear(status);
    } while (!resign());
    sockref_loop_free(loop);
    sr_mutex_lock(&mutex);
    ending--;
    last_word = sr_thread_last_word();
    sr_cond_broadcast(&cond);
    sr_mutex_unlock(&mutex);
    return NULL;
}

/* Where the thread can't be had the loop is left to the caller, who frees it without the mutex. */
static int start_locked(struct sockref_loop **out_unused) SR_REQUIRES(mutex)
{
    struct sockref_loop *loop;
    int status = sr_loop_make(true, &loop);

    if (status < 0)
        return status;
    status = sr_thread_start(serve, loop, true, NULL);
    if (status == 0)
        current = loop;
    else
        *out_unused = loop;
    return status;
}

static int enter_own(struct sockref_loop **out_loop)
{
    struct sockref_loop *unused = NULL;
    int status = 0;

    sr_mutex_lock(&mutex);
    if (!current)
        status = start_locked(&unused);
    if (status == 0) {
        places++;
        *out_loop = current;
        sr_loop_acquire(current);
    }
    sr_mutex_unlock(&mutex);
    sockref_loop_free(unused);
    return status;
}

int sr_service_enter(struct sockref_loop **inout_loop)
{
    struct sockref_loop *loop = *inout_loop;
    bool closing;

    if (!loop)
        return enter_own(inout_loop);
    if (sr_loop_is_foreign(loop))
        return sr_loop_refuse_foreign();
    sr_mutex_lock(&loop->mutex);
    closing = loop->closing;
    if (!closing)
        sr_loop_acquire(loop); /* under the lock, after which it may be freed */
    sr_mutex_unlock(&loop->mutex);
    if (closing)
        return sr_error_set(SOCKREF_ECLOSED, NULL, "the loop is being freed");
    return 0;
}

void sr_service_leave(struct sockref_loop *loop)
{
    if (loop->own) {
        sr_mutex_lock(&mutex);
        if (--places == 0)
            sockref_loop_wake(
                loop); /* never blocks; the thread can't end before the mutex is free */
        sr_mutex_unlock(&mutex);
    }
    sr_loop_release(loop);
}

struct sr_notice {
    struct sr_call call;
    struct sockref_loop *loop;
    sockref *ref;
    int event;
    sockref_watch_fn fn;
    void *user;
};

static void deliver(struct sr_task *task)
{
    struct sr_notice *notice = SR_LIST_OWNER(task, struct sr_notice, call.task);
    struct sockref_loop *loop = notice->loop;

    loop->ran++;
    notice->fn(notice->ref, notice->event, notice->user);
    if (sr_loop_is_foreign(loop))
        return;
    free(notice);
    sr_service_leave(loop);
}

struct sr_notice *sr_service_reserve(void)
{
    struct sr_notice *notice = sr_sys.calloc(1, sizeof *notice);

    if (notice)
        (void)sr_service_enter(&notice->loop); /* else it is tried again when there is an event */
    return notice;
}

void sr_service_unreserve(struct sr_notice *notice)
{
    if (notice && notice->loop && !sr_loop_is_foreign(notice->loop))
        sr_service_leave(notice->loop);
    free(notice);
}

int sr_service_notify(struct sr_notice *notice, sockref *ref, int event, sockref_watch_fn fn,
                      void *user)
{
    int status = 0;

    if (!notice)
        notice = sr_sys.calloc(1, sizeof *notice);
    if (!notice)
        return -ENOMEM;
    notice->call.task.run = deliver;
    notice->ref = ref;
    notice->event = event;
    notice->fn = fn;
    notice->user = user;
    if (!notice->loop)
        status = sr_service_enter(&notice->loop);
    if (status < 0) {
        free(notice);
        return status;
    }
    sr_loop_post_call(notice->loop, &notice->call);
    return 0;
}

static bool is_ending(void) SR_REQUIRES(mutex)
{
    return ending > 0 || (current && places == 0);
}

int sr_service_drain(uint64_t deadline_ns)
{
    struct sr_last_word word;
    int status = 0;

    sr_mutex_lock(&mutex);
    while (is_ending() && status == 0)
        status = sr_cond_wait(&cond, &mutex, deadline_ns);
    if (!is_ending())
        status = 0;
    word = last_word;
    sr_mutex_unlock(&mutex);
    return status < 0 ? status : sr_thread_wait_gone(&word, deadline_ns);
}

void sr_service_after_fork_in_child(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    sr_cond_init(&cond);
    current = NULL;
    places = 0;
    ending = 0;
    last_word.thread = 0;
}
