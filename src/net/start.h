/* Starts that do not block: what the rest of the floor has to do with them. */
#ifndef SR_NET_START_H
#define SR_NET_START_H

#include "net/loop.h"

#include <sockref/sockref.h>

/* The loop ends: its starts get SOCKREF_ECANCELED before this returns. Loop thread. */
void sr_start_cancel_loop(struct sockref_loop *loop);
/* The registry ends: its starts get SOCKREF_ECANCELED before this returns, on this thread. The hook
 * cancel_starts. */
void sr_start_cancel_registry(sockref_registry *registry);
void sr_start_after_fork_in_child(void);

#endif
