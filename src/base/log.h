/* What the library has to tell goes to the host's log function, limited in rate; nothing is
 * printed. */
#ifndef SR_BASE_LOG_H
#define SR_BASE_LOG_H

#include "base/attr.h"

#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stddef.h>

/* Events, so that each has its own rate: at most SR_LOG_BURST records of one in a second. */
enum sr_log_event {
    SR_LOG_LISTENING,
    SR_LOG_CLOSED,
    SR_LOG_REVOKED,
    SR_LOG_CLEANUP_FAILED,
    SR_LOG_DISPLACED,
    SR_LOG_START_FAILED,
    SR_LOG_ACCEPT_PAUSED,
    SR_LOG_ACCEPT_RESUMED,
    SR_LOG_CONNECTION_FAILED,
    SR_LOG_DESCRIPTORS_LOST,
    SR_LOG_SWEPT,
    SR_LOG_GUARD_FAILED,
    SR_LOG_OWNER_CHANGED,
    SR_LOG_THREAD_FAILED,
    SR_LOG_EVENT_COUNT
};

#define SR_LOG_BURST 16

struct sr_log_sink;
extern struct sr_log_sink *_Atomic sr_log_current; /* who is told; NULL: nobody */

/* Calls out: no lock may be held. */
void sr_log_tell(enum sr_log_event event, int level, int status, const char *path,
                 const char *format, ...) SR_PRINTF(5, 6);

/* Where nobody listens it costs one load, and the arguments are not looked at. */
#define sr_log(...)                                                                                \
    (SR_UNLIKELY(atomic_load_explicit(&sr_log_current, memory_order_relaxed) != NULL)              \
         ? sr_log_tell(__VA_ARGS__)                                                                \
         : (void)0)

/* In a forked child: the locks of the parent's threads are gone. */
void sr_log_after_fork(void);

#endif
