/*
 * Failing calls: wraps every member of the table of system calls, counts the calls, makes the n-th
 * of some kinds fail, and holds a thread at a call until a test lets it go on.
 */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

/* One for each member of struct sr_sys, in its order. */
/* clang-format off */
#define FAULTS_EACH(X)                                                                             \
    X(malloc) X(calloc) X(realloc) X(aligned_alloc) X(mmap) X(openat) X(close) X(fstat)            \
    X(fstatat) X(fchmod) X(chmod) X(mkdir) X(unlinkat) X(rename_new) X(rename) X(link) X(duplicate) X(replace) X(tame) X(lock)            \
    X(pread) X(pwrite) X(fstatfs) X(birth) X(touch) X(socket) X(bind) X(listen) X(connect) X(accept4)       \
    X(shutdown) X(getsockopt) X(setsockopt) X(getsockname) X(getpeername) X(recv) X(send) X(sendmsg) X(recvmsg)                 \
    X(socketpair) X(pidfd_open) X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(poll) X(eventfd)     \
    X(timerfd_create) X(timerfd_settime) X(pipe2) X(read) X(write) X(thread_create)                \
    X(spawn_guard)
/* clang-format on */

enum faults_kind {
#define X(name) FAULTS_##name,
    FAULTS_EACH(X)
#undef X
        FAULTS_KINDS
};

#define FAULTS_BIT(kind)   ((uint64_t)1 << (kind))
#define FAULTS_ALLOCATIONS (FAULTS_BIT(FAULTS_openat) - 1)

const char *faults_name(enum faults_kind kind);

/* Put the wrappers in place, counts at zero, nothing armed. */
void faults_install(void);
/* Nothing armed any more and nobody held; the wrappers go. */
void faults_clear(void);
/* Calls of a kind since the installation. */
uint64_t faults_calls(enum faults_kind kind);
/* The n-th call from now on of the kinds in the mask, n from 1, fails with an errno; those after it
 * do not. */
void faults_arm(uint64_t kinds, uint64_t nth, int os_errno);
/* All of them from the n-th on fail. */
void faults_arm_from(uint64_t kinds, uint64_t nth, int os_errno);
void faults_disarm(void);
/* Whether the call that was to fail has come. */
bool faults_struck(void);

/* Where the next thread that makes a call of a kind stops, before it is made. */
struct faults_gate {
    sem_t reached, go;
};
void faults_hold(enum faults_kind kind, struct faults_gate *gate);
void faults_wait_held(struct faults_gate *gate);
void faults_let_go(struct faults_gate *gate);

/* Something to be done by the thread that makes the next call of a kind, before it is made. */
void faults_before(enum faults_kind kind, void (*act)(void *arg), void *arg);

#endif
