/* The service thread: drives the library's own loop as long as somebody has a place in it. */
#ifndef SR_NET_SERVICE_H
#define SR_NET_SERVICE_H

#include "net/loop.h"

#include <sockref/sockref.h>

/*
 * Take a place in a loop, which keeps it going: NULL becomes the library's own, whose thread is
 * started if need be. Returns 0 or a described status: -EAGAIN the thread could not be started,
 * SOCKREF_ECLOSED the loop is being freed, SOCKREF_EFORKED.
 */
int sr_service_enter(struct sockref_loop **inout_loop);
/* Give the place back. The thread of the library's own loop ends with the last. */
void sr_service_leave(struct sockref_loop *loop);

/* The hooks of the same names, see ref/hooks.h. */
struct sr_notice *sr_service_reserve(void);
void sr_service_unreserve(struct sr_notice *notice);
int sr_service_notify(struct sr_notice *notice, sockref *ref, int event, sockref_watch_fn fn,
                      void *user);
int sr_service_drain(uint64_t deadline_ns);
void sr_service_after_fork_in_child(void);

#endif
