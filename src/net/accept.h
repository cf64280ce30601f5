/* What a listener does while it listens; but for the last one on the loop's thread. */
#ifndef SR_NET_ACCEPT_H
#define SR_NET_ACCEPT_H

#include "net/listener.h"

/* Accept when there is something to accept, unless something stands against it. */
void sr_accept_watch(struct sr_listener *self);
/* Accept no more. */
void sr_accept_end(struct sr_listener *self);
/* What the listener's timer does. */
void sr_accept_end_pause(struct sr_timer *timer);
/* A descriptor is free again, whoever's it was: all who wait for one may try. */
void sr_accept_resume_all(struct sockref_loop *loop);
/* Have a descriptor in reserve, to answer with when there are no others. */
void sr_accept_keep_spare(struct sockref_loop *loop);

/* Whether what comes now is left to wait, the limit of connections apart. Any thread, with the
 * registry's mutex held. */
bool sr_accept_is_held_back(struct sr_listener *self);

#endif
