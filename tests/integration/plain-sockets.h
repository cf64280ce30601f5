/* Sockets that are not sockref's. */
#ifndef TEST_PLAIN_SOCKETS_H
#define TEST_PLAIN_SOCKETS_H

#include "files.h"

#include <check.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static inline socklen_t make_address(const char *name, struct sockaddr_un *out)
{
    size_t length = strlen(name);

    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (length >= sizeof out->sun_path)
        return 0; /* refused by any call */
    memcpy(out->sun_path, name, length);
    if (name[0] == '@')
        out->sun_path[0] = '\0';
    else
        length++;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Connect as any program would. Returns the descriptor or -errno. */
static inline int try_dial(const char *name)
{
    struct sockaddr_un address;
    socklen_t length = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), reason;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, length) == 0)
        return fd;
    reason = errno;
    close(fd);
    return -reason;
}

static inline int dial(const char *name)
{
    int fd = try_dial(name);

    ck_assert_msg(fd >= 0, "connect %s: %s", name, strerror(-fd));
    return fd;
}

static inline bool is_connectable(const char *name)
{
    int fd = try_dial(name);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* A listening socket bound with the system's own calls. */
static inline int bind_plain(const char *name)
{
    struct sockaddr_un address;
    socklen_t length = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    return fd;
}

static inline void leave_dead_socket(const char *name)
{
    close(bind_plain(name));
    ck_assert(is_socket(name));
}

#endif
