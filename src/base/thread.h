/* Threads of the library: all signals blocked, so that the host's handlers never run on them. */
#ifndef SR_BASE_THREAD_H
#define SR_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Returns 0 or a described status. With detached set, out_thread may be NULL. */
int sr_thread_start(void *(*body)(void *), void *arg, bool detached, pthread_t *out_thread);
/*
 * Wait until the kernel knows a detached thread no more, which is some microseconds after its last
 * word; 0 is no thread. Returns 0 or -ETIMEDOUT.
 */
int sr_thread_wait_gone(pid_t thread, uint64_t deadline_ns);

#endif
