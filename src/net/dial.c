/* What sockref_connect() was asked for: checked, copied, and the addresses that come of it. */
#include "net/dial.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/tcp.h"
#include "net/bound.h"
#include "ref/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_DELAY_MS 250
#define LEAST_DELAY_MS   10
#define ALL_FLAGS        (SOCKREF_CONNECT_ONE_BY_ONE | SOCKREF_CONNECT_FIRST_ONLY)

static char *copy_text(const char *text, size_t length)
{
    char *copy = sr_sys.malloc(length + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* Other than for a listener a path may be relative: the system resolves it, once. */
static int check_path(const char *name)
{
    size_t length = strlen(name);
    const size_t most = sr_path_is_abstract(name) ? SR_SUN_PATH_MAX : SR_PATH_MAX;

    if (length == 0)
        return sr_error_set(SOCKREF_EPATH, name,
                            "an empty name: give a path, '@' and an abstract "
                            "name, or tcp:HOST:PORT");
    if (strcmp(name, "@") == 0)
        return sr_error_set(SOCKREF_EPATH, name,
                            "an abstract name needs at least one byte after '@'");
    if (length > most)
        return sr_error_set(SOCKREF_EPATHLEN, name, "%s may have at most %zu bytes",
                            sr_path_is_abstract(name) ? "an abstract name" : "a path", most);
    if (length > SR_SUN_PATH_MAX && strlen(sr_path_leaf(name)) > (size_t)SR_LEAF_BY_FD_MAX)
        return sr_error_set(SOCKREF_EPATHLEN, name,
                            "a path over %d bytes may end in a name of at most %d bytes",
                            SR_SUN_PATH_MAX, SR_LEAF_BY_FD_MAX);
    return 0;
}

static int take_tcp_name(struct sr_dial_wish *self, const char *name)
{
    struct sr_tcp_parts parts;
    struct sr_tcp tcp;
    const char *fault = sr_tcp_split(name, &parts);

    if (!fault && parts.is_bracketed &&
        (!sr_tcp_read_host(parts.host, parts.host_length, &tcp) || tcp.family != AF_INET6))
        fault = "what stands in brackets is no IPv6 address";
    if (fault)
        return sr_error_set(SOCKREF_EPATH, name, "%s", fault);
    self->is_tcp = true;
    self->port = parts.port;
    self->host = copy_text(parts.host, parts.host_length);
    return self->host ? 0 : sr_error_no_memory();
}

static int take_name(struct sr_dial_wish *self, const char *name)
{
    int status = sr_tcp_is_name(name) ? take_tcp_name(self, name) : check_path(name);

    if (status < 0)
        return status;
    self->name = copy_text(name, strlen(name));
    return self->name ? 0 : sr_error_no_memory();
}

static int take_local(struct sr_dial_wish *self, const sockref_connect_options *options)
{
    struct sr_tcp tcp;

    if (options->local_port > UINT16_MAX)
        return sr_error_argument("%u is no port", options->local_port);
    self->local_port = (uint16_t)options->local_port;
    if (!options->local_host)
        return 0;
    if (!sr_tcp_read_host(options->local_host, strlen(options->local_host), &tcp))
        return sr_error_argument("the local host %s is not a numeric address", options->local_host);
    tcp.port = self->local_port;
    if (sr_address_from_tcp(&tcp, &self->local) < 0)
        return sr_error_argument("there is no interface %s", tcp.zone);
    if (self->family != AF_UNSPEC && self->family != tcp.family)
        return sr_error_argument("the local host %s is of another family than was asked for",
                                 options->local_host);
    self->family = tcp.family;
    return 0;
}

struct bound {
    enum sr_role role;
    int family; /* AF_UNSPEC: not of an Internet socket */
};

static void look_at_bound(struct sr_life *life, void *arg)
{
    struct bound *bound = arg;
    struct sockaddr_storage address;
    socklen_t size = sizeof address;

    bound->role = life->role;
    if (life->file.is_tcp &&
        sr_sys.getsockname(life->file.fd, (struct sockaddr *)&address, &size) == 0)
        bound->family = address.ss_family;
}

/* A host is looked up for what the socket can be connected to; an address is taken as it is. */
static bool needs_lookup(const struct sr_dial_wish *self)
{
    struct sr_tcp numeric;

    return self->is_tcp && !self->given && self->family == AF_UNSPEC &&
           !sr_tcp_read_host(self->host, strlen(self->host), &numeric);
}

static int take_from(struct sr_dial_wish *self, const sockref_connect_options *options)
{
    struct bound bound = {.family = AF_UNSPEC};
    int status;

    if (!options->from)
        return 0;
    if (options->local_host || options->local_port)
        return sr_error_argument("from is bound already: give no local host or port beside it");
    status = sr_registry_visit(options->from, look_at_bound, &bound);
    if (status < 0)
        return sr_registry_refuse(options->from, status);
    if (bound.role == SR_ROLE_LISTENER)
        return sr_error_argument("from is a listener: start it with the option to bind only");
    if (bound.role == SR_ROLE_CONNECTED)
        return sr_error_set(SOCKREF_EBUSY, sockref_path(options->from),
                            "another connection has the socket: it is connected once");
    self->from = options->from;
    self->flags |= SOCKREF_CONNECT_FIRST_ONLY;
    if (needs_lookup(self))
        self->family = bound.family;
    return 0;
}

static int take_family(struct sr_dial_wish *self, int family)
{
    switch (family) {
    case SOCKREF_FAMILY_NONE:
        self->family = AF_UNSPEC;
        return 0;
    case SOCKREF_FAMILY_IPV4:
        self->family = AF_INET;
        return 0;
    case SOCKREF_FAMILY_IPV6:
        self->family = AF_INET6;
        return 0;
    default:
        return sr_error_argument("%d is not the family of a host", family);
    }
}

/* Addresses of an older program are shorter, so its array has other steps. */
static int take_address(struct sr_dial_wish *self, const unsigned char *from)
{
    struct sr_sockaddr *to = &self->given->addresses[self->given->count];
    sockref_address address = {0};

    memcpy(&address.size, from, sizeof address.size);
    if (!sr_address_is_sized(&address))
        return sr_error_argument("addresses: the size is %zu; set it to sizeof(sockref_address), "
                                 "which is at most %zu for this library",
                                 address.size, sizeof address);
    memcpy(&address, from, address.size);
    if (address.port == 0)
        address.port = self->port;
    if ((address.family != SOCKREF_FAMILY_IPV4 && address.family != SOCKREF_FAMILY_IPV6) ||
        sr_address_write(&address, to) < 0)
        return sr_error_argument("address %zu is not a numeric one", self->given->count);
    if (self->family == AF_UNSPEC || self->family == to->address.any.sa_family)
        self->given->count++;
    return 0;
}

static int take_addresses(struct sr_dial_wish *self, const sockref_connect_options *options)
{
    const unsigned char *from = (const unsigned char *)options->addresses;
    const size_t count = options->address_count;
    size_t step;
    int status = 0;

    if (!from)
        return count ? sr_error_argument("addresses is NULL, with a count") : 0;
    if (!self->is_tcp || count == 0)
        return sr_error_argument(count ? "addresses are for a TCP name" : "no address is given");
    self->given = sr_sys.calloc(1, sizeof *self->given + count * sizeof self->given->addresses[0]);
    if (!self->given)
        return sr_error_no_memory();
    memcpy(&step, from, sizeof step);
    for (size_t i = 0; i < count && status == 0; i++)
        status = take_address(self, from + i * step);
    if (status == 0 && self->given->count == 0)
        status = sr_error_argument("no address is of the family that was asked for");
    return status;
}

static int take_options(struct sr_dial_wish *self, const sockref_connect_options *given)
{
    sockref_connect_options options = {.size = sizeof options};
    unsigned delay_ms;
    int status;

    if (given && (given->size < sizeof given->size || given->size > sizeof options))
        return sr_error_argument("options: size is %zu; set it to sizeof(sockref_connect_options), "
                                 "which is at most %zu for this library",
                                 given->size, sizeof options);
    if (given)
        memcpy(&options, given, given->size);
    if (options.flags & ~(unsigned)ALL_FLAGS)
        return sr_error_argument("options: %#x are flags that this library does not know",
                                 options.flags & ~(unsigned)ALL_FLAGS);
    self->flags = options.flags;
    self->timeout_ms = options.timeout_ms;
    delay_ms = options.attempt_delay_ms ? options.attempt_delay_ms : DEFAULT_DELAY_MS;
    if (delay_ms < LEAST_DELAY_MS)
        delay_ms = LEAST_DELAY_MS;
    self->attempt_delay_ns = (uint64_t)delay_ms * 1000000u;
    status = take_family(self, options.family);
    if (status == 0)
        status = take_local(self, &options);
    if (status == 0)
        status = take_addresses(self, &options);
    if (status == 0)
        status = take_from(self, &options);
    return status;
}

int sr_dial_wish_init(struct sr_dial_wish *self, const char *name,
                      const sockref_connect_options *options)
{
    struct sr_dial_wish wish = {0};
    int status = take_name(&wish, name);

    if (status == 0)
        status = take_options(&wish, options);
    if (status < 0)
        sr_dial_wish_clear(&wish);
    else
        *self = wish;
    return status;
}

void sr_dial_wish_clear(struct sr_dial_wish *self)
{
    free(self->name);
    free(self->host);
    free(self->given);
}

/* Returns a descriptor or -errno. */
static int open_directory(const char *path)
{
    char directory[SR_PATH_MAX + 1];
    size_t length = (size_t)(sr_path_leaf(path) - path);

    if (length == 0)
        return sr_fd_open(AT_FDCWD, ".", O_PATH | O_DIRECTORY);
    memcpy(directory, path, length);
    directory[length] = '\0';
    return sr_fd_open(AT_FDCWD, directory, O_PATH | O_DIRECTORY);
}

int sr_dial_unix_address(const struct sr_dial_wish *self, struct sr_sockaddr *out, int *out_dir)
{
    sockref_address address = {.family = SOCKREF_FAMILY_UNIX};
    size_t length = strlen(self->name);
    int dir = -1;

    if (length > SR_SUN_PATH_MAX) {
        if (!sr_fd_has_proc())
            return sr_path_refuse_without_proc("connect", self->name);
        dir = open_directory(self->name);
        if (dir < 0)
            return sr_error_system(-dir, "open", self->name);
        length = (size_t)snprintf(address.host, sizeof address.host, "/proc/self/fd/%d/%s", dir,
                                  sr_path_leaf(self->name));
    } else {
        memcpy(address.host, self->name, length);
    }
    address.host_length = length;
    *out_dir = dir;
    return sr_address_write(&address, out);
}

int sr_dial_socket(const struct sr_dial_wish *self, int family)
{
    return self->from ? sr_bound_take(self->from) : sr_fd_socket(family, SOCK_STREAM);
}

/* The port of our end is chosen when the peer is known, so that connections elsewhere may have the
 * same; and one that was asked for may be in TIME_WAIT. Both are wishes. */
static void ease_bind(int fd, uint16_t port)
{
    const int one = 1;

    if (port)
        (void)sr_sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    else
        (void)sr_sys.setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
}

int sr_dial_bind(const struct sr_dial_wish *self, int fd, int family, struct sr_sockaddr *out_own)
{
    struct sr_sockaddr local = self->local;
    const struct sr_tcp any = {.family = family, .port = self->local_port};

    if (local.size == 0 && self->local_port == 0)
        return 0;
    if (local.size == 0)
        (void)sr_address_from_tcp(&any, &local); /* only a zone can be unknown */
    ease_bind(fd, self->local_port);
    *out_own = local;
    return sr_sys.bind(fd, &local.address.any, local.size) < 0 ? -errno : 0;
}

/* The first address from a place on that is, or is not, of a family. */
static size_t find_family(const struct sr_found *found, size_t from, int family, bool is)
{
    while (from < found->count && (found->addresses[from].address.any.sa_family == family) != is)
        from++;
    return from;
}

void sr_dial_interleave(struct sr_found *found)
{
    const int first = found->count ? found->addresses[0].address.any.sa_family : AF_UNSPEC;

    for (size_t i = 1; i < found->count; i++) {
        size_t next = find_family(found, i, first, i % 2 == 0);
        struct sr_sockaddr moved;

        if (next == found->count)
            return; /* one family alone is left */
        moved = found->addresses[next];
        memmove(&found->addresses[i + 1], &found->addresses[i],
                (next - i) * sizeof found->addresses[0]);
        found->addresses[i] = moved;
    }
}
