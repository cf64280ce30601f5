/*
 * bind() gives no descriptor of the file that it makes, and whoever looks it up by its name may
 * find what somebody else has put there since. The kernel's socket diagnosis tells the inode. It
 * gives 32 bits of its number, and the device as the file system has it, which is not always what
 * stat() says: where they differ nothing is known.
 */
#include "name/bound.h"

#include "base/fd.h"
#include "base/sys.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/sysmacros.h>

#define KERNEL_MINOR_BITS 20

struct question {
    struct nlmsghdr head;
    struct unix_diag_req body;
};

/* Room for one answer. */
union answer {
    struct nlmsghdr head;
    char bytes[1024];
};

static bool find_inode(const union answer *answer, size_t length, struct unix_diag_vfs *out)
{
    const struct rtattr *item;
    size_t left;

    if (length < NLMSG_LENGTH(sizeof(struct unix_diag_msg)) ||
        answer->head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    left = length - NLMSG_LENGTH(sizeof(struct unix_diag_msg));
    item = (const struct rtattr *)(answer->bytes + NLMSG_LENGTH(sizeof(struct unix_diag_msg)));
    for (; RTA_OK(item, left); item = RTA_NEXT(item, left)) {
        if (item->rta_type != UNIX_DIAG_VFS || RTA_PAYLOAD(item) < sizeof *out)
            continue;
        memcpy(out, RTA_DATA(item), sizeof *out);
        return true;
    }
    return false;
}

static bool ask(int diagnosis, ino_t socket, struct unix_diag_vfs *out)
{
    const struct question question = {
        .head = {.nlmsg_len = sizeof question,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = ~0u,
                 .udiag_ino = (uint32_t)socket,
                 .udiag_show = UDIAG_SHOW_VFS,
                 .udiag_cookie = {~0u, ~0u}},
    };
    union answer answer;
    ssize_t got;

    if (sr_sys.send(diagnosis, &question, sizeof question, 0) < 0)
        return false;
    got = sr_sys.recv(diagnosis, &answer, sizeof answer, MSG_DONTWAIT);
    return got > 0 && find_inode(&answer, (size_t)got, out);
}

enum sr_bound sr_bound_to(int fd, const struct stat *file)
{
    uint32_t device = (uint32_t)major(file->st_dev) << KERNEL_MINOR_BITS | minor(file->st_dev);
    struct unix_diag_vfs found = {0};
    struct stat socket;
    bool known;
    int diagnosis;

    if (sr_sys.fstat(fd, &socket) < 0)
        return SR_BOUND_UNKNOWN;
    diagnosis = sr_fd_netlink(NETLINK_SOCK_DIAG);
    if (diagnosis < 0)
        return SR_BOUND_UNKNOWN;
    known = ask(diagnosis, socket.st_ino, &found);
    sr_fd_close(diagnosis);
    if (!known || found.udiag_vfs_dev != device)
        return SR_BOUND_UNKNOWN;
    return found.udiag_vfs_ino == (uint32_t)file->st_ino ? SR_BOUND_HERE : SR_BOUND_ELSEWHERE;
}
