/* What the suites of TCP names share: a registry for each case, and sockets that are not the
 * library's. */
#ifndef TEST_TCP_HELPERS_H
#define TEST_TCP_HELPERS_H

#include "harness/harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sockref/net.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static sockref_registry *registry;

static inline void setup(void)
{
    registry = harness_registry(0);
}

static inline void teardown(void)
{
    sockref_registry_free(registry);
}

static inline uint16_t port_of(sockref *ref)
{
    sockref_address address = {.size = sizeof address};

    harness_assert_ok(sockref_local_address(ref, &address));
    ck_assert_uint_gt(address.port, 0);
    return (uint16_t)address.port;
}

/* Connect as a client does; returns the descriptor or -errno. */
static inline int dial_port(int family, uint16_t port)
{
    struct sockaddr_in v4 = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 v6 = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), failed;

    ck_assert_int_ge(fd, 0);
    failed = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof v4)
                               : connect(fd, (struct sockaddr *)&v6, sizeof v6);
    if (failed == 0)
        return fd;
    failed = -errno;
    close(fd);
    return failed;
}

static inline bool can_dial_port(int family, uint16_t port)
{
    int fd = dial_port(family, port);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A listener that is not the library's, on a port that the system chooses. */
static inline int bind_port(uint16_t *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

#endif
