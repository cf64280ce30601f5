/* A child that the C library does not know of: no handler of fork() has run in it, and it has all
 * descriptors. */
#ifndef TEST_CLONE_H
#define TEST_CLONE_H

#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static inline pid_t clone_raw(void)
{
#if defined(__s390x__) /* takes the stack first */
    return (pid_t)syscall(SYS_clone, 0, SIGCHLD, 0, 0, 0);
#else
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
}

#endif
