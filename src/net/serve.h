/* Serving: what joins a listener, its handlers and a loop. */
#ifndef SR_NET_SERVE_H
#define SR_NET_SERVE_H

#include "net/loop.h"
#include "ref/life.h"
#include "ref/options.h"

/* The hooks of the same names, see ref/hooks.h. */
int sr_serve_options(const sockref_options *options, struct sr_life *life,
                     struct sr_service **out_service);
void sr_serve_begin(struct sr_service *service, struct sr_life *life);
void sr_serve_retract(struct sr_service *service, struct sr_life *life);
void sr_serve_unused(const sockref_options *options);

/* Call on_stop of the handlers in options, if there are any; on the loop's thread. NULL: it can't
 * be reached any more, and on_stop comes here and now. */
void sr_serve_tell_unused(struct sockref_loop *loop, const sockref_options *options);

#endif
