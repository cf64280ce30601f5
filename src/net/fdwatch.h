/* Descriptors that the ref floor waits for, on the service thread: see ref/fdwatch.h. */
#ifndef SR_NET_FDWATCH_H
#define SR_NET_FDWATCH_H

#include "net/backend.h"
#include "ref/fdwatch.h"

/* The hooks of the same names, see ref/hooks.h. */
int sr_fdwatch_begin(struct sr_fdwatch *watch);
void sr_fdwatch_end(struct sr_fdwatch *watch);
void sr_fdwatch_every(struct sr_fdwatch *watch, unsigned every_ms);

void sr_fdwatch_event(struct sr_source *source);

#endif
