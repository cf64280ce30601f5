/*
 * The question is asked by connecting a datagram socket: the kernel looks the socket up before it
 * sees that the types differ, so nothing is queued and no listener notices. ECONNREFUSED says that
 * nobody has the inode bound.
 *
 * Abstract names are looked up by their type as well, so for one of them the kernel's table of
 * sockets is read.
 */
#include "name/probe.h"

#include "base/fd.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

#define FRESH_MS    500
#define UNCONNECTED 1 /* SS_UNCONNECTED: bound only, or listening */

/* Returns 0 where it was connected, why it was refused, or -errno where there is no descriptor. */
static int connect_inode(int inode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int reason = 0, fd = sr_fd_socket(AF_UNIX, SOCK_DGRAM);

    if (fd < 0)
        return fd;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", inode);
    if (sr_sys.connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        reason = errno;
    sr_fd_close(fd);
    return reason;
}

int sr_probe_inode(int inode)
{
    int reason = connect_inode(inode);

    if (reason < 0)
        return reason;
    return reason == ECONNREFUSED ? SR_PROBE_DEAD
           : reason == EACCES     ? SR_PROBE_DENIED
                                  : SR_PROBE_ALIVE;
}

int sr_probe_stream(int inode, int *out_answer)
{
    int reason = connect_inode(inode);

    if (reason < 0)
        return reason;
    *out_answer = -1;
    if (reason == EPROTOTYPE)
        *out_answer = 1;
    else if (reason == ECONNREFUSED || reason == 0) /* nobody, or a datagram socket */
        *out_answer = 0;
    return 0;
}

/* "Num: RefCount Protocol Flags Type St Inode Path", a stream that is not a connection. */
static bool is_bound_line(const char *line, const char *path)
{
    unsigned type, state;
    int at = 0;

    return sscanf(line, "%*s %*s %*s %*s %x %x %*s%n", &type, &state, &at) == 2 && at > 0 &&
           type == SOCK_STREAM && state == UNCONNECTED && line[at] == ' ' &&
           strcmp(line + at + 1, path) == 0;
}

/* Take the whole lines of a text, and move the rest to its front. Returns its length. */
static size_t take_lines(char *text, size_t length, const char *path, bool *inout_found)
{
    char *line = text, *end;

    while ((end = memchr(line, '\n', length - (size_t)(line - text)))) {
        *end = '\0';
        *inout_found |= is_bound_line(line, path);
        line = end + 1;
    }
    length -= (size_t)(line - text);
    memmove(text, line, length);
    return length;
}

int sr_probe_abstract(const char *path)
{
    int fd = sr_fd_open(AT_FDCWD, "/proc/net/unix", O_RDONLY);
    bool found = false;
    size_t length = 0;
    char text[4096]; /* no line is as long */
    ssize_t got;
    int status;

    if (fd < 0)
        return fd;
    while (length < sizeof text &&
           ((got = sr_sys.read(fd, text + length, sizeof text - length)) > 0 ||
            (got < 0 && errno == EINTR)))
        length = take_lines(text, length + (size_t)(got > 0 ? got : 0), path, &found);
    status = length == sizeof text ? -EOVERFLOW : got < 0 ? -errno : 0;
    sr_fd_close(fd);
    if (status < 0)
        return status;
    return found ? SR_PROBE_ALIVE : SR_PROBE_DEAD;
}

bool sr_probe_is_fresh(const struct stat *info)
{
    struct timespec now;
    int64_t age;

    clock_gettime(CLOCK_REALTIME, &now);
    age = (int64_t)(now.tv_sec - info->st_ctim.tv_sec) * 1000 +
          (now.tv_nsec - info->st_ctim.tv_nsec) / 1000000;
    return age >= 0 && age < FRESH_MS;
}
