/* The socket of a name that is only bound, for a connection. */
#ifndef SR_NET_BOUND_H
#define SR_NET_BOUND_H

#include <sockref/sockref.h>

/*
 * Take the socket away from its name, which keeps the number, the file and the right to remove it.
 * Returns a noted descriptor; or -errno: -EISCONN where another connection has the socket, -EBADF
 * where its name was revoked, -ESTALE where another file stands at its path.
 */
int sr_bound_take(const sockref *ref);

#endif
