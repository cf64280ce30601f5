/* A descriptor that the ref floor waits for; sr_hooks has the functions. */
#ifndef SR_REF_FDWATCH_H
#define SR_REF_FDWATCH_H

#include <stdbool.h>

/*
 * Embedded in what it is for. The memory and the descriptor are lent from fdwatch_begin() until
 * ended(). A descriptor is watched by one at a time.
 */
struct sr_fdwatch {
    int fd;            /* set before begin; -1: only the interval */
    unsigned every_ms; /* 0, or call ready() also whenever so much time has passed; set before
                          begin, later by fdwatch_every() */
    /*
     * fd is readable, ended or broken, or the time has passed. Called again as long as fd is so: at
     * once, or, where it returns that it could not see to it now, some milliseconds later. Service
     * thread, no lock held; may call end, and may come before begin has returned.
     */
    bool (*ready)(struct sr_fdwatch *self);
    /*
     * The last call, after fdwatch_end(). May free the memory and close fd, or begin again. Service
     * thread, no lock held.
     */
    void (*ended)(struct sr_fdwatch *self);
    void *inside; /* the net floor's own */
};

#endif
