/* Mutex and condition over pthreads. */
#include "base/mutex.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

void sr_mutex_init(struct sr_mutex *self)
{
    pthread_mutex_init(&self->raw, NULL);
}

void sr_mutex_destroy(struct sr_mutex *self)
{
    pthread_mutex_destroy(&self->raw);
}

void sr_mutex_lock(struct sr_mutex *self) SR_UNCHECKED
{
    pthread_mutex_lock(&self->raw);
}

void sr_mutex_unlock(struct sr_mutex *self) SR_UNCHECKED
{
    pthread_mutex_unlock(&self->raw);
}

void sr_cond_init(struct sr_cond *self)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&self->raw, &attr);
    pthread_condattr_destroy(&attr);
}

void sr_cond_destroy(struct sr_cond *self)
{
    pthread_cond_destroy(&self->raw);
}

void sr_cond_broadcast(struct sr_cond *self)
{
    pthread_cond_broadcast(&self->raw);
}

int sr_cond_wait(struct sr_cond *self, struct sr_mutex *mutex, uint64_t deadline_ns)
{
    struct timespec until;

    if (deadline_ns == SR_CLOCK_NEVER) {
        pthread_cond_wait(&self->raw, &mutex->raw);
        return 0;
    }
    until.tv_sec = (time_t)(deadline_ns / 1000000000u);
    until.tv_nsec = (long)(deadline_ns % 1000000000u);
    return -pthread_cond_timedwait(&self->raw, &mutex->raw, &until);
}
