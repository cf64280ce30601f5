/* Events of one thread that another one waits for, with the harness's patience. */
#ifndef TEST_WAIT_H
#define TEST_WAIT_H

#include <pthread.h>

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
