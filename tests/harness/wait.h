/* What a case waits for, with the harness's patience: a condition, or events of another thread. */
#ifndef TEST_WAIT_H
#define TEST_WAIT_H

#include "base/clock.h"
#include "harness/harness.h"

#include <poll.h>
#include <pthread.h>

/* Wait until a condition holds; the case fails where it does not in time. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ = sr_clock_after_ms(HARNESS_PATIENCE_MS);                                  \
        while (!(condition)) {                                                                     \
            ck_assert_msg(sr_clock_ns() < until_, "still not: %s", #condition);                    \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

#define WAIT_MOST 256

struct wait_events {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int events[WAIT_MOST];
    unsigned count, seen; /* seen: those before it were waited for */
};

void wait_init(struct wait_events *self);
void wait_add(struct wait_events *self, int event);
/* Wait for the next event, and assert that it is this one. */
void wait_for(struct wait_events *self, int event);
unsigned wait_count(struct wait_events *self);

#endif
