/* Threads: all wait for the last one, then run at once. */
#ifndef TEST_CREW_H
#define TEST_CREW_H

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct crew {
    pthread_barrier_t barrier;
    void (*work)(int number, void *user);
    void *user;
    atomic_int next;
};

static inline void *join_crew(void *arg)
{
    struct crew *crew = arg;
    int number = atomic_fetch_add(&crew->next, 1);

    pthread_barrier_wait(&crew->barrier);
    crew->work(number, crew->user);
    return NULL;
}

static inline void run_threads(int count, void (*work)(int number, void *user), void *user)
{
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    struct crew crew = {.work = work, .user = user};
    pthread_attr_t attributes;

    ck_assert_ptr_nonnull(threads);
    pthread_barrier_init(&crew.barrier, NULL, (unsigned)count);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], &attributes, join_crew, &crew), 0);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    pthread_attr_destroy(&attributes);
    pthread_barrier_destroy(&crew.barrier);
    free(threads);
}

#endif
