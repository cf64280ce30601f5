/* Names to entries: what the floors above, and the files of this floor, may ask of a registry. */
#ifndef SR_REF_REGISTRY_H
#define SR_REF_REGISTRY_H

#include "base/list.h"
#include "name/share.h"
#include "ref/life.h"
#include "ref/options.h"

#include <sockref/sockref.h>

/*
 * A start that has to wait for another start or a removal of the same name. It is parked on the
 * registry and woken when that is over: wake is called at most once, on any thread, with no lock
 * held, and must not block.
 */
struct sr_waiter {
    struct sr_list node; /* of the registry's waiters; linked to itself when it is not parked */
    const void *entry;   /* what it waits for */
    struct sr_patience patience; /* with other processes */
    void (*wake)(struct sr_waiter *self);
};

#define SR_PARKED                                                                                  \
    1 /* sr_registry_try_listen: nothing happened yet; the waiter will be woken, try again then */
#define SR_LATER                                                                                   \
    3 /* the same, but nobody will wake it: try again in some milliseconds; when there is no more  \
         time, the waiter's patience has the status, which is described now */

/* NULL becomes the default registry, made if need be. Returns 0 or a described status. */
int sr_registry_resolve(sockref_registry **inout_registry);

/*
 * Listen on a name without waiting. Returns 0 and a reference; a negative status, described; or
 * SR_PARKED or SR_LATER. With options that have handlers, the service is attached before the name
 * can be seen by others.
 */
int sr_registry_try_listen(sockref_registry *self, const char *path, const sockref_options *options,
                           struct sr_waiter *waiter, sockref **out_ref);
/* Take a waiter back. Returns whether it was still parked: then its wake never comes. */
bool sr_registry_unpark(sockref_registry *self, struct sr_waiter *waiter);

/* Validate a name before anything is promised for it. NULL is the default name. Returns 0 or a
 * described status. */
int sr_registry_check_path(sockref_registry *self, const char *path);
int64_t sr_registry_option(const sockref_registry *self, const sockref_options *call, int option);

/*
 * What drain waits for, and what keeps the memory of a freed registry: each add is owed one done.
 * An add is allowed while a reference, a life of this registry or another pending count is held.
 */
void sr_registry_pending_add(sockref_registry *self);
void sr_registry_pending_done(sockref_registry *self);

/*
 * Attach a service to a listener. Returns 0 and the life, counted for the service; or a described
 * status: SOCKREF_EBUSY it is served already, SOCKREF_ECLOSED it does not listen here or was
 * revoked, SOCKREF_EFORKED.
 */
int sr_registry_attach(sockref *ref, struct sr_service *service, struct sr_life **out_life);
/* The same for a life that nobody can see yet. */
void sr_registry_attach_life(struct sr_life *life, struct sr_service *service);
/* The descriptor that a reference listens with, borrowed; or a described status: SOCKREF_ECLOSED it
 * does not listen here or was revoked, SOCKREF_EFORKED. */
int sr_registry_listening_fd(const sockref *ref);
/*
 * Do something with the life of a listener, with the registry's mutex held. Returns 0; or
 * SOCKREF_ECLOSED it does not listen here or was revoked, SOCKREF_EFORKED; nothing is described,
 * which sr_registry_refuse() does.
 */
int sr_registry_visit(const sockref *ref, void (*visit)(struct sr_life *life, void *arg),
                      void *arg);
int sr_registry_refuse(const sockref *ref, int status);
/* How a registry has a name; what is told of one that turns, beside its place, may be changing. */
enum sr_hold { SR_HOLD_OWNED, SR_HOLD_JOINED, SR_HOLD_TURNING };
/* As sr_registry_visit(), also where the name is joined. */
int sr_registry_visit_held(const sockref *ref,
                           void (*visit)(struct sr_life *life, enum sr_hold hold, void *arg),
                           void *arg);
/* Take the service of a listener that lives on, to be stopped without locks; NULL if it is not
 * served. Returns as sr_registry_visit() does. */
int sr_registry_take_service(const sockref *ref, struct sr_service **out_service);
/*
 * Detach a service whose loop ends. Returns whether it was attached still: then its stop never
 * comes. The service keeps its count of the life until it gives it back.
 *
 * An attached service keeps the registry in memory. When it is over it gives that back: with
 * sr_registry_unhold() if it was detached, with sr_registry_pending_done() if it was stopped, for
 * from that moment on drain waits for it.
 */
bool sr_registry_detach(struct sr_life *life, struct sr_service *service);
void sr_registry_unhold(sockref_registry *self);

#endif
