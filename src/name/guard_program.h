/* The program of the guard, which runs as a process of its own. */
#ifndef SR_NAME_GUARD_PROGRAM_H
#define SR_NAME_GUARD_PROGRAM_H

#include "name/path.h"

#include <sys/types.h>

struct sr_guard_process {
    int command; /* noted; its end tells the guard that this process is gone */
    pid_t pid;
};

/* Whether there can be a guard. Returns 0, or a described status. */
int sr_guard_program_find(char out_program[SR_PATH_MAX + 1]);
/* Start one. Returns 0, or a described status. */
int sr_guard_program_start(struct sr_guard_process *out);
/* What was started is no guard. Returns a described status. */
int sr_guard_program_refuse(void);

#endif
