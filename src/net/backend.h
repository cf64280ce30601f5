/*
 * Waiting for descriptors: what a loop needs of the system, in one small table. Two do it: epoll,
 * and poll(2) where there is none. All functions but wake are for the thread that drives the loop.
 */
#ifndef SR_NET_BACKEND_H
#define SR_NET_BACKEND_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SR_READ  1u /* readable, ended or broken */
#define SR_WRITE 2u /* writable or broken */

enum sr_source_kind { SR_SOURCE_CONN, SR_SOURCE_LISTENER, SR_SOURCE_WATCH, SR_SOURCE_CONNECT };

/* A descriptor in a loop, embedded in what it belongs to. */
struct sr_source {
    int fd;
    uint8_t kind;     /* enum sr_source_kind */
    uint8_t interest; /* what it is in the set for; 0: it is not in the set */
};

struct sr_event {
    struct sr_source *source;
    unsigned ready;
};

struct sr_backend;

struct sr_backend_ops {
    /*
     * Wait for one event at most, up to count are given. Returns their number; a described -errno;
     * or -EINTR, which is for the caller to bear. Wakes and the timer end it with fewer events and
     * are used up.
     */
    int (*wait)(struct sr_backend *self, struct sr_event *events, int count, int timeout_ms);
    /* Change what a source is in the set for; with 0 it leaves. Returns 0 or -errno; leaving never
     * fails. */
    int (*set)(struct sr_backend *self, struct sr_source *source, unsigned interest);
    /*
     * Have the kernel forget a descriptor that is about to be closed under its number; any thread,
     * with the loop's mutex held. The source leaves the set by set() all the same.
     */
    void (*forget)(struct sr_backend *self, int fd);
    /* Make wait return; any thread. */
    void (*wake)(struct sr_backend *self);
    /* A dispatch begins: nobody but it looks at the set. */
    void (*begin)(struct sr_backend *self);
    /*
     * A dispatch ends. The lent descriptor is to become readable with the next event or at the
     * deadline; more tells that not every event was taken.
     */
    void (*end)(struct sr_backend *self, uint64_t deadline_ns, bool more);
    void (*free)(struct sr_backend *self);
    /* Free the memory alone: descriptors and threads were the parent's. */
    void (*free_in_child)(struct sr_backend *self);
};

struct sr_backend {
    const struct sr_backend_ops *ops;
    int fd;             /* to lend to a host; -1 if it was not asked for */
    _Atomic bool woken; /* a wake is on its way: further ones need no system call */
};

/* Make one; lent: a host will wait for fd. Returns 0 or a described status. */
int sr_backend_epoll(bool lent, struct sr_backend **out_backend);
int sr_backend_poll(bool lent, struct sr_backend **out_backend);

static inline void sr_backend_wake(struct sr_backend *self)
{
    if (!atomic_exchange(&self->woken, true))
        self->ops->wake(self);
}

#endif
