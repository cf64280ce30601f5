/*
 * TCP listeners. The kernel's bind() is the only exclusion there is: no file stands for the port,
 * so nothing is left behind by a process that dies, and nothing is shared between processes.
 */
#include "name/tcpsock.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"

#include <errno.h>
#include <net/if.h>
#include <sockref/sockref.h>
#include <stdlib.h>
#include <string.h>

static uint32_t zone_number(const char *zone)
{
    char *end;
    unsigned long number = strtoul(zone, &end, 10);

    return *end == '\0' && number <= UINT32_MAX ? (uint32_t)number : if_nametoindex(zone);
}

int sr_tcpsock_address(const struct sr_tcp *tcp, struct sockaddr_storage *out, socklen_t *out_size)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(tcp->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(tcp->port)};

    memset(out, 0, sizeof *out);
    if (tcp->family == AF_INET) {
        v4.sin_addr = tcp->address.v4;
        memcpy(out, &v4, sizeof v4);
        *out_size = sizeof v4;
        return 0;
    }
    if (tcp->family == AF_INET6)
        v6.sin6_addr = tcp->address.v6;
    if (tcp->zone[0]) {
        v6.sin6_scope_id = zone_number(tcp->zone);
        if (v6.sin6_scope_id == 0)
            return -ENODEV;
    }
    memcpy(out, &v6, sizeof v6);
    *out_size = sizeof v6;
    return 0;
}

bool sr_tcpsock_read(int fd, struct sr_tcp *out_tcp)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } address = {0};
    socklen_t size = sizeof address;
    struct sr_tcp tcp = {0};

    if (sr_sys.getsockname(fd, &address.any, &size) < 0)
        return false;
    tcp.family = address.any.sa_family;
    if (tcp.family == AF_INET) {
        tcp.address.v4 = address.v4.sin_addr;
        tcp.port = ntohs(address.v4.sin_port);
    } else if (tcp.family == AF_INET6) {
        tcp.address.v6 = address.v6.sin6_addr;
        tcp.port = ntohs(address.v6.sin6_port);
        if (address.v6.sin6_scope_id)
            if_indextoname(address.v6.sin6_scope_id, tcp.zone);
    } else {
        return false;
    }
    *out_tcp = tcp;
    return true;
}

static int set_option(int fd, int level, int option, int value, const char *path)
{
    if (sr_sys.setsockopt(fd, level, option, &value, sizeof value) < 0)
        return sr_error_system(errno, "setsockopt", path);
    return 0;
}

static int set_options(int fd, int family, const struct sr_tcp_wish *wish, const char *path)
{
    /* Connections of a listener before that are not over must not keep the port from this one. */
    int status = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, path);

    if (status == 0 && wish->reuse_port)
        status = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1, path);
    if (status == 0 && family == AF_INET6)
        status = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, wish->ipv6_only, path);
    return status;
}

static int describe_bind(int os_errno, const char *path)
{
    if (os_errno == EADDRINUSE)
        return sr_error_wrapped(-EADDRINUSE, EADDRINUSE, "bind", path,
                                "another socket has the port: stop its owner, or use another port");
    return sr_error_system(os_errno, "bind", path);
}

/* Returns a noted descriptor, or a described status. */
static int bind_family(const struct sr_tcp *tcp, const struct sr_tcp_wish *wish, const char *path)
{
    struct sockaddr_storage address;
    socklen_t size;
    int status = sr_tcpsock_address(tcp, &address, &size), fd;

    if (status < 0)
        return sr_error_wrapped(status, -status, "if_nametoindex", path, "there is no interface %s",
                                tcp->zone);
    fd = sr_fd_socket(address.ss_family, SOCK_STREAM);
    if (fd == -ENOMEM)
        return sr_error_no_memory();
    if (fd < 0)
        return sr_error_system(-fd, "socket", path);
    status = set_options(fd, address.ss_family, wish, path);
    if (status == 0 && sr_sys.bind(fd, (struct sockaddr *)&address, size) < 0)
        status = describe_bind(errno, path);
    /* Two that are bound with SO_REUSEADDR, and do not listen yet, meet here. */
    if (status == 0 && wish->backlog && sr_sys.listen(fd, wish->backlog) < 0)
        status = errno == EADDRINUSE ? describe_bind(errno, path)
                                     : sr_error_system(errno, "listen", path);
    if (status == 0)
        return fd;
    sr_fd_close(fd);
    return status;
}

/* Whether a system without IPv6 would answer so. */
static bool lacks_v6(int status)
{
    return status == -EAFNOSUPPORT || status == -EADDRNOTAVAIL;
}

int sr_tcpsock_bind(const char *path, const struct sr_tcp_wish *wish, struct sr_sockfile *out_file,
                    uint16_t *out_port)
{
    struct sr_tcp tcp, bound;
    int fd;

    (void)sr_tcp_parse(path, &tcp); /* it was checked */
    fd = bind_family(&tcp, wish, path);
    if (tcp.family == AF_UNSPEC && lacks_v6(fd) && !wish->ipv6_only) {
        tcp.family = AF_INET;
        fd = bind_family(&tcp, wish, path);
    }
    if (fd < 0)
        return fd;
    if (tcp.port == 0 && !sr_tcpsock_read(fd, &bound)) {
        int status = sr_error_system(errno, "getsockname", path);

        sr_fd_close(fd);
        return status;
    }
    *out_port = tcp.port == 0 ? bound.port : tcp.port;
    *out_file = (struct sr_sockfile){.fd = fd, .is_tcp = true, .place = {.dir = -1}};
    return 0;
}

static bool is_listener(int fd)
{
    int type = 0, listening = 0;
    socklen_t size = sizeof type;

    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return false;
    size = sizeof listening;
    return sr_sys.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

/* Every address is one address for the kernel, of either family. */
static void spell_out(struct sr_tcp *tcp, int family)
{
    if (tcp->family == AF_UNSPEC)
        tcp->family = family;
}

static bool is_bound_at(int fd, const char *path)
{
    struct sockaddr_storage wanted, found;
    socklen_t wanted_size, found_size;
    struct sr_tcp bound, tcp;

    (void)sr_tcp_parse(path, &tcp); /* it was checked */
    if (!sr_tcpsock_read(fd, &bound))
        return false;
    spell_out(&tcp, bound.family);
    return sr_tcpsock_address(&tcp, &wanted, &wanted_size) == 0 &&
           sr_tcpsock_address(&bound, &found, &found_size) == 0 && wanted_size == found_size &&
           memcmp(&wanted, &found, found_size) == 0;
}

int sr_tcpsock_adopt(const char *path, int fd, struct sr_sockfile *out_file)
{
    if (!is_listener(fd) || !is_bound_at(fd, path))
        return sr_error_set(SOCKREF_EFOREIGN, path,
                            "the descriptor is not a TCP socket that listens at the name");
    if (sr_fd_adopt(fd) < 0)
        return sr_error_no_memory();
    *out_file =
        (struct sr_sockfile){.fd = fd, .adopted = true, .is_tcp = true, .place = {.dir = -1}};
    return 0;
}
