/* Handlers as the library keeps them: whole, whatever size the caller's were, options included. */
#ifndef SR_NET_HANDLERS_H
#define SR_NET_HANDLERS_H

#include <sockref/net.h>

/* It has no pointer into itself, so it may be copied as it is. */
struct sr_handlers {
    sockref_handlers calls;       /* its options are NULL: */
    sockref_conn_options options; /* they are here, with no default left open */
};

/* Refuse what can't be handlers. Returns 0 or a described -EINVAL. */
int sr_handlers_check(const sockref_handlers *handlers);
/* Keep checked ones. Those of an older program are shorter; what they lack is NULL. */
void sr_handlers_copy(const sockref_handlers *from, struct sr_handlers *to);

#endif
