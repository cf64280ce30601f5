/* Reading: where to, what came with the bytes, and the end. */
#include "net/conn_state.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"

#include <errno.h>

/* Ask the user where to read to. Returns whether to read now. */
static bool ask_buffer(struct sockref_conn *self, void **out_buffer, size_t *inout_room)
{
    struct sr_conn_owner *owner = self->owner;
    size_t room = *inout_room;
    void *buffer;

    owner->loop->ran++;
    buffer = owner->handlers.on_buffer(self, &room, owner->user);
    if (sr_conn_is_foreign(self) ||
        sr_conn_has(self, SR_CONN_DEAD | SR_CONN_FAILED | SR_CONN_PAUSED))
        return false;
    if (buffer && room > 0) {
        *out_buffer = buffer;
        *inout_room = room;
    }
    return true;
}

/* The peer believes that they have come. */
static void tell_lost(const int *fds)
{
    const char *why = fds[SR_FD_MOST_RECEIVED - 1] >= 0 ? "a message may bring no more"
                                                        : "this process has no more";

    sr_log(SR_LOG_DESCRIPTORS_LOST, SOCKREF_LOG_WARNING, 0, NULL,
           "descriptors that a peer passed are lost: %s", why);
}

/* Returns whether the bytes may be told as well. */
static bool tell_descriptors(struct sockref_conn *self, const int *fds)
{
    struct sr_conn_owner *owner = self->owner;

    for (int i = 0; i < SR_FD_MOST_RECEIVED && fds[i] >= 0; i++) {
        if (sr_conn_has(self, SR_CONN_DEAD)) {
            sr_fd_close(fds[i]);
            continue;
        }
        sr_fd_disown(fds[i]);
        owner->loop->ran++;
        owner->handlers.on_descriptor(self, fds[i], owner->user);
        if (sr_conn_is_foreign(self))
            return false; /* the fork has closed the others */
    }
    return !sr_conn_has(self, SR_CONN_DEAD);
}

static void tell_end(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;
    unsigned options = owner->options.flags;

    sr_conn_raise(self, SR_CONN_EOF_SEEN);
    sr_conn_touch(self);
    if (owner->handlers.on_end) {
        owner->loop->ran++;
        owner->handlers.on_end(self, owner->user);
    }
    if (!(options & SOCKREF_CONN_HALF_OPEN) &&
        (!owner->handlers.on_end || options & SOCKREF_CONN_AUTO_END))
        sr_conn_raise(self, SR_CONN_ENDED);
}

static void tell_data(struct sockref_conn *self, const void *data, size_t length)
{
    struct sr_conn_owner *owner = self->owner;

    sr_conn_count_read(self, length);
    if (owner->handlers.on_data) {
        owner->loop->ran++;
        owner->handlers.on_data(self, data, length, owner->user);
    }
}

/* Nothing came. Returns whether that is something. */
static bool tell_nothing(struct sockref_conn *self, int reason)
{
    if (reason == 0) {
        tell_end(self);
        return true;
    }
    if (reason == EAGAIN || reason == EWOULDBLOCK || reason == EINTR)
        return false;
    sr_conn_fail(self, -reason);
    return true;
}

static bool read_with_descriptors(struct sockref_conn *self, void *buffer, size_t room)
{
    int fds[SR_FD_MOST_RECEIVED];
    bool lost;
    ssize_t length = sr_fd_receive(self->source.fd, buffer, room, fds, SR_FD_MOST_RECEIVED, &lost);

    if (length <= 0)
        return tell_nothing(self, (int)-length);
    if (SR_UNLIKELY(lost)) {
        tell_lost(fds);
        if (sr_conn_is_foreign(self))
            return true;
    }
    if (tell_descriptors(self, fds))
        tell_data(self, buffer, (size_t)length);
    return true;
}

bool sr_conn_read(struct sockref_conn *self)
{
    struct sr_conn_owner *owner = self->owner;
    void *buffer = owner->loop->buffer;
    size_t room = SR_LOOP_BUFFER;
    ssize_t length;

    if (SR_UNLIKELY(owner->handlers.on_buffer != NULL) && !ask_buffer(self, &buffer, &room))
        return true;
    if (SR_UNLIKELY(owner->handlers.on_descriptor != NULL))
        return read_with_descriptors(self, buffer, room);
    length = sr_sys.recv(self->source.fd, buffer, room, 0);
    if (SR_UNLIKELY(length <= 0))
        return tell_nothing(self, length < 0 ? errno : 0);
    tell_data(self, buffer, (size_t)length);
    return true;
}
