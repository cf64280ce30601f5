/* Addresses of sockets: as the kernel has them, and as sockref_address does. */
#ifndef SR_NET_ADDRESS_H
#define SR_NET_ADDRESS_H

#include <netinet/in.h>
#include <sockref/net.h>
#include <sys/socket.h>
#include <sys/un.h>

struct sr_sockaddr {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size;
};

struct sr_tcp;

/* Make the address of a TCP name. Returns 0, or -ENODEV where there is no such zone. */
int sr_address_from_tcp(const struct sr_tcp *tcp, struct sr_sockaddr *out);
/* Fill in the whole of an address; a kind that is not known is SOCKREF_FAMILY_NONE. */
void sr_address_read(const struct sr_sockaddr *from, sockref_address *out);
/* The address of one end of a socket. Returns 0 or -errno, nothing described. */
int sr_address_of(int fd, bool peer, sockref_address *out);
/* The other way round, for a numeric host. Returns 0, or -EINVAL; nothing described. */
int sr_address_write(const sockref_address *from, struct sr_sockaddr *out);
/* Whether the size that a caller has set is one that this library knows. */
bool sr_address_is_sized(const sockref_address *address);
/* Give a caller's struct as much as it has room for; its size has been checked, and stays. */
void sr_address_give(const sockref_address *address, sockref_address *out);

#endif
