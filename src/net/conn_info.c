/* What a connection tells of itself. */
#include "net/conn_state.h"

#include "base/error.h"
#include "base/sys.h"
#include "net/address.h"
#include "net/outbuf.h"

#include <errno.h>
#include <string.h>

static int state_of(const struct sockref_conn *self)
{
    if (sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED))
        return SOCKREF_CONN_CLOSED;
    if (sr_conn_has(self, SR_CONN_CONNECTING))
        return SOCKREF_CONN_OPENING;
    if (sr_conn_has(self, SR_CONN_ENDED))
        return sr_conn_has(self, SR_CONN_EOF_SEEN) ? SOCKREF_CONN_CLOSED : SOCKREF_CONN_READ_ONLY;
    return sr_conn_has(self, SR_CONN_EOF_SEEN) ? SOCKREF_CONN_WRITE_ONLY : SOCKREF_CONN_OPEN;
}

/* The addresses of what is connected; while connecting, the one that is tried. */
static void read_addresses(const struct sockref_conn *self, sockref_conn_details *out)
{
    const struct sr_connecting *connecting = self->extra ? self->extra->connecting : NULL;

    out->local.size = out->remote.size = sizeof(sockref_address);
    if (connecting && connecting->address)
        out->remote = *connecting->address;
    if (self->source.fd < 0)
        return;
    (void)sr_address_of(self->source.fd, false, &out->local);
    (void)sr_address_of(self->source.fd, true, &out->remote);
}

int sockref_conn_info(const sockref_conn *self, sockref_conn_details *out_info)
{
    sockref_conn_details info = {0};
    int status = sr_conn_check(self, 0);

    if (status == 0 && !out_info)
        return sr_error_argument("out_info is NULL");
    if (status == 0)
        status = sr_error_check_size(out_info->size, sizeof info);
    if (status < 0)
        return status;
    info.size = out_info->size;
    info.state = state_of(self);
    info.pending = sr_conn_has(self, SR_CONN_CONNECTING);
    info.destroyed = sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED);
    info.connecting = info.pending && !info.destroyed;
    info.paused = sr_conn_has(self, SR_CONN_PAUSED);
    info.timeout_ms = self->extra ? self->extra->timeout_ms : 0;
    sockref_conn_bytes(self, &info.bytes_read, &info.bytes_written, &info.buffered);
    read_addresses(self, &info);
    memcpy(out_info, &info, info.size);
    return 0;
}

void sockref_conn_bytes(const sockref_conn *self, uint64_t *out_read, uint64_t *out_written,
                        uint64_t *out_queued)
{
    bool known = self && !sr_conn_is_foreign(self);

    if (out_read)
        *out_read = known ? self->bytes_read : 0;
    if (out_written)
        *out_written = known ? self->bytes_written : 0;
    if (out_queued)
        *out_queued = known ? sr_outbuf_bytes(self->out) : 0;
}

int sockref_conn_peer(const sockref_conn *self, sockref_peer *out_peer)
{
    sockref_peer peer = {0};
    struct ucred who;
    socklen_t length = sizeof who;
    int status = sr_conn_check(self, SR_CONN_CLOSED | SR_CONN_CONNECTING);

    if (status == 0 && !out_peer)
        return sr_error_argument("out_peer is NULL");
    if (status == 0)
        status = sr_error_check_size(out_peer->size, sizeof peer);
    if (status < 0)
        return status;
    if (!self->owner->is_unix)
        return sr_error_set(SOCKREF_EUNSUPPORTED, NULL, "only Unix sockets know their peers");
    if (sr_sys.getsockopt(self->source.fd, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0)
        return sr_error_system(errno, "getsockopt", NULL);
    peer.size = out_peer->size;
    peer.pid = who.pid;
    peer.uid = who.uid;
    peer.gid = who.gid;
    memcpy(out_peer, &peer, peer.size);
    return 0;
}

int sockref_conn_fd(const sockref_conn *self)
{
    return self && !sr_conn_is_foreign(self) ? self->source.fd : -1;
}
