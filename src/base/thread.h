/*
 * Threads of the library: all signals blocked, so that the host's handlers never run on them. And
 * those of the host inside the library: not cancelled, for what they hold would be held for ever.
 */
#ifndef SR_BASE_THREAD_H
#define SR_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Returns 0 or a described status. With detached set, out_thread may be NULL. */
int sr_thread_start(void *(*body)(void *), void *arg, bool detached, pthread_t *out_thread);
/* When a detached thread said that it ends. */
struct sr_last_word {
    pid_t thread; /* 0: there is none */
    uint64_t said_ns;
};
/* This thread says so now. */
struct sr_last_word sr_thread_last_word(void);
/*
 * Wait until the kernel knows such a thread no more, which is some microseconds after its last
 * word. Returns 0 or -ETIMEDOUT.
 */
int sr_thread_wait_gone(const struct sr_last_word *word, uint64_t deadline_ns);

/* Put off what pthread_cancel() asks of this thread; the state before is for the second, which does
 * not act on it either, but for threads that are cancelled asynchronously. */
static inline int sr_thread_begin_uncancelled(void)
{
    int before;

    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
    return before;
}

static inline void sr_thread_end_uncancelled(int before)
{
    pthread_setcancelstate(before, NULL);
}

#endif
