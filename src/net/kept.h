/* Handlers of a joiner, kept for when it owns the name. */
#ifndef SR_NET_KEPT_H
#define SR_NET_KEPT_H

#include "net/loop.h"
#include "ref/life.h"
#include "ref/options.h"

/* The hooks of the same names, see ref/hooks.h. */
int sr_kept_make(const sockref_options *options, struct sr_kept **out_kept);
int sr_kept_serve(struct sr_kept *self, struct sr_life *life, struct sr_service **out_service);
void sr_kept_drop(struct sr_kept *self);
void sr_kept_forget(struct sr_kept *self);

/* The loop ends: on_stop of all that would be called on it. Loop thread. */
void sr_kept_stop_all(struct sockref_loop *loop);

#endif
