/* The spelling of TCP names, tcp:HOST:PORT. */
#ifndef SR_NAME_TCP_H
#define SR_NAME_TCP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SR_TCP_HOST_MAX 253 /* longest host name */
#define SR_TCP_ZONE_MAX 32
#define SR_TCP_NAME_MAX 96 /* longest canonical spelling, with its NUL */

/* The parts of a name; host points into it and has no NUL at its end. */
struct sr_tcp_parts {
    const char *host; /* without brackets */
    size_t host_length;
    bool is_bracketed;
    uint16_t port;
};

/* A name to listen on. */
struct sr_tcp {
    int family; /* AF_INET, AF_INET6; AF_UNSPEC: every address of both */
    union {
        struct in_addr v4;
        struct in6_addr v6;
    } address;
    char zone[SR_TCP_ZONE_MAX]; /* of an IPv6 address, by name or number; or empty */
    uint16_t port;
};

#define SR_TCP_PREFIX "tcp:"

static inline bool sr_tcp_is_name(const char *name)
{
    return name[0] == SR_TCP_PREFIX[0] && /* no path, and no abstract name, begins so */
           strncmp(name, SR_TCP_PREFIX, sizeof SR_TCP_PREFIX - 1) == 0;
}

/* Take a name apart. Returns NULL, or what is wrong with it. */
const char *sr_tcp_split(const char *name, struct sr_tcp_parts *out_parts);
/* Read a numeric host, without brackets. Returns whether it is one; the port is left. */
bool sr_tcp_read_host(const char *host, size_t length, struct sr_tcp *out_tcp);
/* Read a name to listen on. Returns NULL, or what is wrong with it. */
const char *sr_tcp_parse(const char *name, struct sr_tcp *out_tcp);
/* Whether it is a TCP name with port 0: the system chooses one when it is bound. */
bool sr_tcp_draws_port(const char *name);
/* The one spelling of a name. Returns its length. */
size_t sr_tcp_format(const struct sr_tcp *tcp, char out[SR_TCP_NAME_MAX]);

#endif
