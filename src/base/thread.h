/* Threads of the library: all signals blocked, so that the host's handlers never run on them. */
#ifndef SR_BASE_THREAD_H
#define SR_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Returns 0 or a described status. With detached set, out_thread may be NULL. */
int sr_thread_start(void *(*body)(void *), void *arg, bool detached, pthread_t *out_thread);

#endif
