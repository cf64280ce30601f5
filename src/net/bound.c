/*
 * The socket of a name that is only bound, for a connection.
 *
 * It is to be closed when the connection is over, for the peer to see that, whoever still holds the
 * name. So something else gets its number there: a descriptor of the socket's file, which pins the
 * inode, and so tells the file from others, as the socket did; or, without a file, a socket that is
 * nothing. File calls are not made under the registry's mutex, so there are two visits.
 */
#include "net/bound.h"

#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"
#include "ref/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct place {
    int dir; /* our own, of the file; -1: there is no file */
    int status;
    dev_t device;
    ino_t inode;
};

static void look(struct sr_life *life, void *arg)
{
    struct place *place = arg;

    if (life->role != SR_ROLE_BOUND) {
        place->status = -EISCONN;
        return;
    }
    if (!life->file.has_file)
        return;
    place->dir = sr_fd_duplicate(life->file.place.dir);
    place->status = place->dir < 0 ? place->dir : 0;
    place->device = life->file.device;
    place->inode = life->file.inode;
}

/* Returns a noted descriptor or -errno. */
static int open_pin(const struct place *place, const char *leaf)
{
    struct stat info;
    int status = 0, pin = sr_fd_open(place->dir, leaf, O_PATH | O_NOFOLLOW);

    if (pin < 0)
        return pin;
    if (sr_sys.fstat(pin, &info) < 0)
        status = -errno;
    else if (info.st_dev != place->device || info.st_ino != place->inode)
        status = -ESTALE;
    if (status < 0)
        sr_fd_close(pin);
    return status < 0 ? status : pin;
}

struct exchange {
    int instead; /* for the name */
    int fd;      /* what was taken, or -errno */
};

static void take(struct sr_life *life, void *arg)
{
    struct exchange *exchange = arg;
    int status, fd = life->role == SR_ROLE_BOUND ? sr_fd_duplicate(life->file.fd) : -EISCONN;

    status = fd < 0 ? fd : sr_fd_replace(exchange->instead, life->file.fd);
    if (status < 0)
        sr_fd_close(fd);
    else
        life->role = SR_ROLE_CONNECTED;
    exchange->fd = status < 0 ? status : fd;
}

int sr_bound_take(const sockref *ref)
{
    struct place place = {.dir = -1};
    struct exchange exchange = {.fd = -EBADF};

    if (sr_registry_visit(ref, look, &place) < 0)
        return -EBADF;
    if (place.status < 0)
        return place.status;
    exchange.instead = place.dir < 0 ? sr_fd_socket(AF_UNIX, SOCK_STREAM)
                                     : open_pin(&place, sr_path_leaf(sockref_path(ref)));
    sr_fd_close(place.dir);
    if (exchange.instead < 0)
        return exchange.instead;
    (void)sr_registry_visit(ref, take, &exchange);
    if (exchange.fd < 0)
        sr_fd_close(exchange.instead);
    return exchange.fd;
}
