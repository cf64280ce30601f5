/* Events of one thread that another one waits for. */
#include "harness/wait.h"

#include "harness/harness.h"

#include <time.h>

void wait_init(struct wait_events *self)
{
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->changed, NULL);
    self->count = self->seen = 0;
}

void wait_add(struct wait_events *self, int event)
{
    pthread_mutex_lock(&self->mutex);
    if (self->count < WAIT_MOST)
        self->events[self->count++] = event;
    pthread_cond_broadcast(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

void wait_for(struct wait_events *self, int event)
{
    struct timespec until;
    int got = -1, status = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HARNESS_PATIENCE_MS / 1000;
    pthread_mutex_lock(&self->mutex);
    while (self->seen == self->count && status == 0)
        status = pthread_cond_timedwait(&self->changed, &self->mutex, &until);
    if (self->seen < self->count)
        got = self->events[self->seen++];
    pthread_mutex_unlock(&self->mutex);
    ck_assert_msg(got == event, "event %d instead of %d (-1: none came)", got, event);
}

unsigned wait_count(struct wait_events *self)
{
    unsigned count;

    pthread_mutex_lock(&self->mutex);
    count = self->count;
    pthread_mutex_unlock(&self->mutex);
    return count;
}
