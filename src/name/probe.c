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

enum sr_probe sr_probe_inode(int inode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    enum sr_probe answer = SR_PROBE_ALIVE;
    int fd = sr_fd_socket(AF_UNIX, SOCK_DGRAM);

    if (fd < 0)
        return SR_PROBE_ALIVE;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", inode);
    if (sr_sys.connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        if (errno == ECONNREFUSED)
            answer = SR_PROBE_DEAD;
        else if (errno == EACCES)
            answer = SR_PROBE_DENIED;
    }
    sr_fd_close(fd);
    return answer;
}
