/*
 * The question is asked by connecting a datagram socket: the kernel looks the socket up before it
 * sees that the types differ, so nothing is queued and no listener notices. ECONNREFUSED says that
 * nobody has the inode bound.
 */
#include "name/probe.h"

#include "base/fd.h"
#include "base/sys.h"

#include <errno.h>
#include <stdio.h>
#include <sys/un.h>
#include <time.h>

#define FRESH_MS 500

/* Returns 0 where it was connected, why it was refused, or -errno where there is no descriptor. */
static int ask(int inode)
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
    int reason = ask(inode);

    if (reason < 0)
        return reason;
    return reason == ECONNREFUSED ? SR_PROBE_DEAD
           : reason == EACCES     ? SR_PROBE_DENIED
                                  : SR_PROBE_ALIVE;
}

int sr_probe_stream(int inode, int *out_answer)
{
    int reason = ask(inode);

    if (reason < 0)
        return reason;
    *out_answer = -1;
    if (reason == EPROTOTYPE)
        *out_answer = 1;
    else if (reason == ECONNREFUSED || reason == 0) /* nobody, or a datagram socket */
        *out_answer = 0;
    return 0;
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
