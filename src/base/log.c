/*
 * The log hook. A sink is counted: each record on its way holds one count, so that a replaced
 * sink's user data is freed when the last record is delivered, with no lock held while the host's
 * function runs.
 */
#include "base/log.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/sys.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct sr_log_sink {
    sockref_log_fn fn;
    void *user;
    void (*free_user)(void *user);
    unsigned count; /* guarded by mutex */
};

struct rate {
    uint64_t second; /* which second the count is of */
    unsigned count;
    uint64_t suppressed;
};

static const char *const names[SR_LOG_EVENT_COUNT] = {
    [SR_LOG_LISTENING] = "listening",
    [SR_LOG_CLOSED] = "closed",
    [SR_LOG_REVOKED] = "revoked",
    [SR_LOG_CLEANUP_FAILED] = "cleanup_failed",
    [SR_LOG_DISPLACED] = "displaced",
    [SR_LOG_START_FAILED] = "start_failed",
    [SR_LOG_ACCEPT_PAUSED] = "accept_paused",
    [SR_LOG_ACCEPT_RESUMED] = "accept_resumed",
    [SR_LOG_CONNECTION_FAILED] = "connection_failed",
    [SR_LOG_DESCRIPTORS_LOST] = "descriptors_lost",
    [SR_LOG_SWEPT] = "swept",
    [SR_LOG_GUARD_FAILED] = "guard_failed",
    [SR_LOG_OWNER_CHANGED] = "owner_changed",
    [SR_LOG_THREAD_FAILED] = "thread_failed",
};

static struct sr_mutex mutex = SR_MUTEX_INIT;
struct sr_log_sink *_Atomic sr_log_current; /* written with mutex held */
static struct rate rates[SR_LOG_EVENT_COUNT] SR_GUARDED_BY(mutex);
static _Thread_local unsigned inside;

static void drop(struct sr_log_sink *sink) SR_EXCLUDES(mutex)
{
    unsigned left;

    sr_mutex_lock(&mutex);
    left = --sink->count;
    sr_mutex_unlock(&mutex);
    if (left > 0)
        return;
    if (sink->free_user)
        sink->free_user(sink->user);
    free(sink);
}

/* Returns the sink, counted, or NULL where nobody listens or the rate is reached. */
static struct sr_log_sink *begin(enum sr_log_event event, uint64_t *out_suppressed)
    SR_EXCLUDES(mutex)
{
    struct rate *rate = &rates[event];
    uint64_t second = sr_clock_ns() / 1000000000u;
    struct sr_log_sink *sink;

    sr_mutex_lock(&mutex);
    sink = atomic_load_explicit(&sr_log_current, memory_order_relaxed);
    if (rate->second != second) {
        rate->second = second;
        rate->count = 0;
    }
    if (sink && rate->count >= SR_LOG_BURST) {
        rate->suppressed++;
        sink = NULL;
    }
    if (sink) {
        rate->count++;
        *out_suppressed = rate->suppressed;
        rate->suppressed = 0;
        sink->count++;
    }
    sr_mutex_unlock(&mutex);
    return sink;
}

void sr_log_tell(enum sr_log_event event, int level, int status, const char *path,
                 const char *format, ...)
{
    sockref_log_record record = {sizeof record, level, names[event], NULL, path, status, 0};
    struct sr_error *error;
    char message[512];
    unsigned outside = inside;
    struct sr_log_sink *sink;
    va_list arguments;

    sink = begin(event, &record.suppressed);
    if (!sink)
        return;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    record.message = message;
    error = sr_error_take(); /* the caller's: the host's function may fail at something else */
    inside = outside + 1;
    sink->fn(&record, sink->user);
    inside = outside; /* also in a child that the function has forked */
    drop(sink);
    sr_error_free(sr_error_take());
    sr_error_give(error);
}

void sr_log_after_fork(void)
{
    sr_mutex_init(&mutex);
    inside = 0;
}

int sockref_set_log(sockref_log_fn fn, void *user, void (*free_user)(void *user))
{
    struct sr_log_sink *fresh = NULL, *old;

    if (inside)
        return sr_error_set(SOCKREF_EBUSY, NULL, "the log function cannot replace itself");
    if (fn) {
        fresh = sr_sys.malloc(sizeof *fresh);
        if (!fresh)
            return sr_error_no_memory();
        *fresh = (struct sr_log_sink){fn, user, free_user, 1};
    } else if (free_user) {
        free_user(user);
    }
    sr_mutex_lock(&mutex);
    old = atomic_exchange(&sr_log_current, fresh);
    sr_mutex_unlock(&mutex);
    if (old)
        drop(old);
    return 0;
}
