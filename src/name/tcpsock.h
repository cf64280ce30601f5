/* TCP listeners: bound, or taken from a caller who bound them. */
#ifndef SR_NAME_TCPSOCK_H
#define SR_NAME_TCPSOCK_H

#include "name/sockfile.h"
#include "name/tcp.h"

#include <sys/socket.h>

struct sr_tcp_wish {
    int backlog; /* 0: only bind */
    bool ipv6_only;
    bool reuse_port;
};

/* Make the address of a name. Returns 0, or -ENODEV where there is no such zone. */
int sr_tcpsock_address(const struct sr_tcp *tcp, struct sockaddr_storage *out, socklen_t *out_size);
/* Read where a TCP socket is bound. Returns whether it is one. */
bool sr_tcpsock_read(int fd, struct sr_tcp *out_tcp);
/*
 * Bind and, where that is wanted, listen at a checked TCP name; out_port is what the system chose
 * where the name's port is 0. Returns 0 or a described status, with nothing left behind.
 */
int sr_tcpsock_bind(const char *path, const struct sr_tcp_wish *wish, struct sr_sockfile *out_file,
                    uint16_t *out_port);
/* Take a descriptor that the caller bound at a checked TCP name; takes fd on success only. */
int sr_tcpsock_adopt(const char *path, int fd, struct sr_sockfile *out_file);

#endif
