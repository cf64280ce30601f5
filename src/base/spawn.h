/* Starting a helper process that the host does not notice. */
#ifndef SR_BASE_SPAWN_H
#define SR_BASE_SPAWN_H

#include <sys/types.h>

/* What the helper is given; 0 to 2 lead to /dev/null or nowhere; nothing else is close-on-exec. */
enum {
    SR_SPAWN_COMMAND = 3,
    SR_SPAWN_PIDFD = 4,
};

/*
 * Run a program, by absolute path, in a session of its own: an empty environment, the two
 * descriptors above (pidfd -1: none), no signal ignored, and all blocked until it says what it does
 * with them. It is no child of this process, which gets neither a SIGCHLD nor anything to wait for.
 * Returns 0 or -errno; nothing is described.
 */
int sr_spawn_guard(const char *program, int command, int pidfd, pid_t *out_pid);

#endif
