/* Addresses of sockets: as the kernel has them, and as sockref_address does. */
#include "net/address.h"

#include "base/error.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/tcpsock.h"
#include "ref/registry.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof((sockref_address *)0)->host > sizeof((struct sockaddr_un *)0)->sun_path,
               "any path that the kernel tells fits");

static void read_unix(const struct sr_sockaddr *from, sockref_address *out)
{
    const char *path = from->address.un.sun_path;
    size_t length = 0;

    out->family = SOCKREF_FAMILY_UNIX;
    if (from->size > offsetof(struct sockaddr_un, sun_path))
        length = from->size - offsetof(struct sockaddr_un, sun_path);
    if (length == 0) {
        out->family = SOCKREF_FAMILY_NONE; /* a client that was not bound */
        return;
    }
    if (path[0] != '\0')
        length = strnlen(path, length);
    memcpy(out->host, path, length);
    if (path[0] == '\0')
        out->host[0] = '@';
    out->host_length = length;
}

static void read_v4(const struct sockaddr_in *from, sockref_address *out)
{
    out->family = SOCKREF_FAMILY_IPV4;
    out->port = ntohs(from->sin_port);
    inet_ntop(AF_INET, &from->sin_addr, out->host, sizeof out->host);
    out->host_length = strlen(out->host);
}

static void read_v6(const struct sockaddr_in6 *from, sockref_address *out)
{
    char zone[IF_NAMESIZE];

    out->family = SOCKREF_FAMILY_IPV6;
    out->port = ntohs(from->sin6_port);
    inet_ntop(AF_INET6, &from->sin6_addr, out->host, sizeof out->host);
    out->host_length = strlen(out->host);
    if (from->sin6_scope_id == 0)
        return;
    if (!if_indextoname(from->sin6_scope_id, zone))
        snprintf(zone, sizeof zone, "%u", (unsigned)from->sin6_scope_id);
    snprintf(out->host + out->host_length, sizeof out->host - out->host_length, "%%%s", zone);
    out->host_length = strlen(out->host);
}

int sr_address_from_tcp(const struct sr_tcp *tcp, struct sr_sockaddr *out)
{
    struct sockaddr_storage address;
    int status = sr_tcpsock_address(tcp, &address, &out->size);

    if (status == 0)
        memcpy(&out->address, &address, out->size);
    return status;
}

void sr_address_read(const struct sr_sockaddr *from, sockref_address *out)
{
    memset(out, 0, sizeof *out);
    out->size = sizeof *out;
    if (from->size < sizeof from->address.any.sa_family)
        return;
    switch (from->address.any.sa_family) {
    case AF_UNIX:
        read_unix(from, out);
        break;
    case AF_INET:
        read_v4(&from->address.v4, out);
        break;
    case AF_INET6:
        read_v6(&from->address.v6, out);
        break;
    }
}

int sr_address_of(int fd, bool peer, sockref_address *out)
{
    struct sr_sockaddr address = {.size = sizeof address.address};
    int failed = peer ? sr_sys.getpeername(fd, &address.address.any, &address.size)
                      : sr_sys.getsockname(fd, &address.address.any, &address.size);

    if (failed < 0)
        return -errno;
    sr_address_read(&address, out);
    return 0;
}

static int write_unix(const sockref_address *from, struct sr_sockaddr *out)
{
    struct sockaddr_un *to = &out->address.un;
    bool is_abstract = from->host_length > 1 && from->host[0] == '@';

    if (from->host_length == 0 || from->host_length > sizeof to->sun_path)
        return -EINVAL;
    if (!is_abstract && memchr(from->host, '\0', from->host_length))
        return -EINVAL;
    to->sun_family = AF_UNIX;
    memcpy(to->sun_path, from->host, from->host_length);
    out->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + from->host_length);
    if (is_abstract)
        to->sun_path[0] = '\0';
    else if (from->host_length < sizeof to->sun_path)
        out->size++;
    return 0;
}

static int write_tcp(const sockref_address *from, struct sr_sockaddr *out)
{
    const int family = from->family == SOCKREF_FAMILY_IPV4 ? AF_INET : AF_INET6;
    struct sr_tcp tcp;

    if (from->port > UINT16_MAX || !sr_tcp_read_host(from->host, from->host_length, &tcp) ||
        tcp.family != family)
        return -EINVAL;
    tcp.port = (uint16_t)from->port;
    return sr_address_from_tcp(&tcp, out) < 0 ? -EINVAL : 0;
}

int sr_address_write(const sockref_address *from, struct sr_sockaddr *out)
{
    struct sr_sockaddr address = {0};
    int status = -EINVAL;

    if (from->host_length < sizeof from->host && from->family == SOCKREF_FAMILY_UNIX)
        status = write_unix(from, &address);
    else if (from->host_length < sizeof from->host &&
             (from->family == SOCKREF_FAMILY_IPV4 || from->family == SOCKREF_FAMILY_IPV6))
        status = write_tcp(from, &address);
    if (status == 0)
        *out = address;
    return status;
}

bool sr_address_is_sized(const sockref_address *address)
{
    return address->size >= sizeof address->size && address->size <= sizeof *address;
}

void sr_address_give(const sockref_address *address, sockref_address *out)
{
    const size_t size = out->size;

    memcpy(out, address, size);
    out->size = size;
}

/* The kernel tells a path as it was bound: perhaps by way of a descriptor, where it was too long.
 */
static void name_path(const sockref *ref, sockref_address *address)
{
    const char *path = sockref_path(ref);
    size_t length = strlen(path);

    if (!sr_path_is_file(path) || length >= sizeof address->host)
        return;
    memcpy(address->host, path, length + 1);
    address->host_length = length;
}

static void see_role(struct sr_life *life, void *arg)
{
    enum sr_role *role = arg;

    *role = life->role;
}

int sockref_local_address(const sockref *self, sockref_address *out_address)
{
    enum sr_role role = SR_ROLE_LISTENER;
    sockref_address address;
    int fd, status;

    if (!self || !out_address)
        return sr_error_argument("%s is NULL", self ? "out_address" : "the reference");
    if (!sr_address_is_sized(out_address))
        return sr_error_argument("the size of the address is %zu; set it to "
                                 "sizeof(sockref_address), which is %zu for this library",
                                 out_address->size, sizeof address);
    fd = sr_registry_listening_fd(self);
    if (fd < 0)
        return fd;
    (void)sr_registry_visit(self, see_role, &role);
    if (role == SR_ROLE_CONNECTED)
        return sr_error_set(SOCKREF_ECLOSED, sockref_path(self),
                            "a connection has the socket, and tells its address");
    status = sr_address_of(fd, false, &address);
    if (status < 0)
        return sr_error_system(-status, "getsockname", sockref_path(self));
    name_path(self, &address);
    sr_address_give(&address, out_address);
    return 0;
}
