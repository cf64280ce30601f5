/* Waiting for what must come. */
#ifndef TEST_WAITING_H
#define TEST_WAITING_H

#include <check.h>
#include <poll.h>
#include <sockref/net.h>
#include <stdint.h>
#include <time.h>

#define PATIENCE_MS 25000

static inline int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for a condition; the case fails where it does not come true in time. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = now_ms() + PATIENCE_MS;                                                   \
        while (!(condition)) {                                                                     \
            ck_assert_msg(now_ms() < until_, "still not: %s", #condition);                         \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

/* The same, for what the turns of a loop bring. */
#define DISPATCH_UNTIL(loop, condition)                                                            \
    do {                                                                                           \
        int64_t until_ = now_ms() + PATIENCE_MS;                                                   \
        while (!(condition)) {                                                                     \
            ck_assert_msg(now_ms() < until_, "still not: %s", #condition);                         \
            ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);                                  \
        }                                                                                          \
    } while (0)

#endif
