/* The name that a socket tells of itself: what it was bound to, as a name is written. */
#include "name/sockname.h"

#include "base/error.h"
#include "base/sys.h"
#include "name/tcpsock.h"

#include <sockref/sockref.h>
#include <string.h>
#include <sys/un.h>

/* Returns the number of bytes, or 0 where they can't be a name: unnamed, or an abstract name with a
 * NUL in it. */
static size_t read_unix(const struct sockaddr_un *address, socklen_t size, char *out)
{
    size_t length;

    if (size <= offsetof(struct sockaddr_un, sun_path))
        return 0;
    length = size - offsetof(struct sockaddr_un, sun_path);
    if (length > sizeof address->sun_path) /* a path without a NUL: the kernel counts one */
        length = sizeof address->sun_path;
    memcpy(out, address->sun_path, length);
    out[length] = '\0';
    if (out[0] != '\0')
        return strlen(out);
    out[0] = '@';
    return strlen(out) == length ? length : 0;
}

int sr_sockname_read(int fd, char out[SR_SOCKNAME_MAX])
{
    struct sockaddr_un address = {0};
    socklen_t size = sizeof address;
    struct sr_tcp tcp;

    _Static_assert(SR_SOCKNAME_MAX > sizeof address.sun_path, "any path fits");
    _Static_assert(SR_SOCKNAME_MAX >= SR_TCP_NAME_MAX, "any TCP name fits");
    if (sr_tcpsock_read(fd, &tcp)) {
        sr_tcp_format(&tcp, out);
        return 0;
    }
    if (sr_sys.getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
        address.sun_family == AF_UNIX && read_unix(&address, size, out) > 0)
        return 0;
    return sr_error_set(SOCKREF_EFOREIGN, NULL,
                        "the descriptor is not a socket that is bound to a name: give its path");
}
