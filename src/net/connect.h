/* Connecting: from a name to a connected socket. */
#ifndef SR_NET_CONNECT_H
#define SR_NET_CONNECT_H

#include "net/backend.h"

/* The socket of an attempt can be written to: it is connected, or has failed. */
void sr_connect_event(struct sr_source *source);

#endif
