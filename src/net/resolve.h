/*
 * Looking up hosts: on threads of the library's, since getaddrinfo() blocks, with the result
 * delivered on a loop.
 *
 * There are at most SR_RESOLVE_THREADS threads. Each ends when nothing waits any more. A lookup
 * that hangs keeps its thread, also when it is cancelled, until getaddrinfo() gives up; while that
 * many hang, others wait.
 */
#ifndef SR_NET_RESOLVE_H
#define SR_NET_RESOLVE_H

#include "net/address.h"
#include "net/loop.h"

#include <netdb.h>

#define SR_RESOLVE_THREADS 4
#define SR_RESOLVE_WAITING 4096 /* lookups that wait at most */

struct sr_lookup;

/* What was found; the port of each address is 0. */
struct sr_found {
    size_t count;
    struct sr_sockaddr addresses[];
};

/* Loop thread: 0 and what was found, which the callee frees; or a described status. */
typedef void (*sr_lookup_fn)(void *user, int status, struct sr_found *found);

/*
 * Begin to look a host up; loop thread. family: AF_UNSPEC, AF_INET or AF_INET6. done comes once, in
 * a later turn, unless it is cancelled. Returns 0 or a described status.
 */
int sr_resolve_begin(struct sockref_loop *loop, const char *host, int family, sr_lookup_fn done,
                     void *user, struct sr_lookup **out_lookup);
/* done does not come; loop thread, at most once, and not when it has come. */
void sr_resolve_cancel(struct sr_lookup *self);
/* What needs no lookup: a numeric host, "localhost", or none. Returns 1 with what it is; 0: it does
 * need one; or a described status. */
int sr_resolve_at_once(const char *host, int family, struct sr_found **out_found);

/* Wait until no thread is left that looks up nothing that is still wanted. Returns 0 or -ETIMEDOUT.
 */
int sr_resolve_drain(uint64_t deadline_ns);
/* In a forked child: threads and lookups were the parent's. */
void sr_resolve_after_fork_in_child(void);

/* The system's functions, for tests to replace. They are not in sr_sys, which the guard has too: a
 * program that is linked statically can't look hosts up. */
struct sr_resolver {
    int (*getaddrinfo)(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);
    void (*freeaddrinfo)(struct addrinfo *list);
};
extern struct sr_resolver sr_resolver;

#endif
