/* A case: its directory, a path in it, and what must be found again at its end. */
#ifndef TEST_CASE_H
#define TEST_CASE_H

#include "files.h"
#include "harness/sanitized.h"
#include "waiting.h"

#include <pthread.h>
#include <sockref/sockref.h>
#include <stdlib.h>
#include <unistd.h>

/* A suite that is about which file is which needs a file system that gives out numbers again. */
#ifndef CASE_ON_DISK
#define CASE_ON_DISK false
#endif

static char directory[64], path[96];
static struct {
    uint64_t references, entries, buffers;
    int fds, threads;
} before;

static inline void *end_at_once(void *unused)
{
    return unused;
}

/* A sanitizer starts a thread of its own with the first one of the program: that is to be there
 * before. */
static inline void start_what_the_sanitizer_needs(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* The guard is there from the first shared name on, and stays: not what a case leaves behind. */
static inline void start_guard(void)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    sockref_release(ref);
}

/* In memory, and with the other backend on a disk: ext4 takes the longer to make a file, the more
 * were removed in the last seconds. */
static inline void make_directory(void)
{
    bool in_memory =
        !CASE_ON_DISK && !getenv("SOCKREF_TEST_BACKEND") && access("/dev/shm", W_OK) == 0;

    snprintf(directory, sizeof directory, "%s/sockref-test-XXXXXX",
             in_memory ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static inline void setup(void)
{
    if (IS_SANITIZED)
        start_what_the_sanitizer_needs();
    make_directory();
    snprintf(path, sizeof path, "%s/s.sock", directory);
    start_guard();
    sockref_live_counts(&before.references, &before.entries, &before.buffers);
    before.fds = count_fds();
    before.threads = count_threads();
}

static inline void check_counts_are_back(void)
{
    uint64_t references, entries, buffers;

    sockref_live_counts(&references, &entries, &buffers);
    ck_assert_uint_eq(references, before.references);
    ck_assert_uint_eq(entries, before.entries);
    ck_assert_uint_eq(buffers, before.buffers);
}

static inline void teardown(void)
{
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    WAIT_UNTIL(count_threads() == before.threads);
    check_counts_are_back();
    ck_assert_int_eq(count_fds(), before.fds);
    ck_assert_int_eq(count_sockets(directory), 0);
    ck_assert_int_eq(count_beside(directory), 0);
    ck_assert_int_eq(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A path in the directory of the case; one of the last eight that were asked for. */
static inline char *file(const char *leaf)
{
    static _Thread_local char ring[8][512];
    static _Thread_local unsigned next;
    char *out = ring[next++ % 8];

    snprintf(out, sizeof ring[0], "%s/%s", directory, leaf);
    return out;
}

#endif
