/* What sockref_connect() was asked for: checked, copied, and the addresses that come of it. */
#ifndef SR_NET_DIAL_H
#define SR_NET_DIAL_H

#include "net/address.h"
#include "net/resolve.h"

#include <stdbool.h>
#include <stdint.h>

struct sr_dial_wish {
    char *name;
    bool is_tcp;
    uint16_t port;
    char *host; /* to look up: of TCP, where no addresses were given */
    struct sr_found *given;

    unsigned flags; /* SOCKREF_CONNECT_* */
    int family;     /* AF_UNSPEC, AF_INET, AF_INET6 */
    uint64_t attempt_delay_ns;
    unsigned timeout_ms;
    struct sr_sockaddr local; /* size 0: any */
    uint16_t local_port;
    sockref *from; /* whose socket is to be connected, or NULL; the connection keeps it */
};

/* Check and copy. Returns 0 or a described status, with nothing kept. */
int sr_dial_wish_init(struct sr_dial_wish *self, const char *name,
                      const sockref_connect_options *options);
void sr_dial_wish_clear(struct sr_dial_wish *self);

/*
 * The address of a Unix name. A path that is too long for one is reached by way of its directory's
 * descriptor, which is noted and has to stay open meanwhile; else that is -1. Returns 0 or a
 * described status.
 */
int sr_dial_unix_address(const struct sr_dial_wish *self, struct sr_sockaddr *out, int *out_dir);
/* A socket to connect: a fresh one, or the one that is bound already. Returns a noted descriptor;
 * or -errno, also as sr_bound_take() does. */
int sr_dial_socket(const struct sr_dial_wish *self, int family);
/* Bind our end of a TCP socket, if that was asked for. Returns 0; or -errno with what it was to be
 * bound to. */
int sr_dial_bind(const struct sr_dial_wish *self, int fd, int family, struct sr_sockaddr *out_own);

/* Bring addresses into the order of RFC 8305: the families in turn, the resolver's first one first.
 */
void sr_dial_interleave(struct sr_found *found);

#endif
