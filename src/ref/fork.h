/* What a child of fork() may do with what its parent had: nothing but let go. */
#ifndef SR_REF_FORK_H
#define SR_REF_FORK_H

#include <stdatomic.h>
#include <stdbool.h>

/* Goes up by one in each forked child; what was made under another number is the parent's. */
extern _Atomic unsigned sr_fork_generation;
/* The process is in its exit handlers: nothing new is begun. */
extern atomic_bool sr_exiting;

/*
 * Whether this process is a child that was made without the fork handlers, by the bare system call:
 * it shares the parent's locks, and must not let go of anything.
 */
bool sr_fork_was_unseen(void);
/* Have the fork handlers and the exit hook in place; cheap after the first time. */
void sr_fork_install(void);

#endif
