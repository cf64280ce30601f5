/* A queue of pieces, each a block with room at its end for small additions. */
#include "net/outbuf.h"

#include "base/sys.h"
#include "net/count.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ROOM 4000u /* the least room of a piece: many small writes share one */
#define MOST_IOV   64

struct piece {
    struct piece *next;
    size_t start, end, room;
    unsigned char bytes[];
};

struct sr_outbuf {
    struct piece *first, *last;
    uint64_t bytes;
};

uint64_t sr_outbuf_bytes(const struct sr_outbuf *self)
{
    return self ? self->bytes : 0;
}

static struct piece *make_piece(size_t length)
{
    size_t room = length > PIECE_ROOM ? length : PIECE_ROOM;
    struct piece *piece = room < length || room > SIZE_MAX - sizeof *piece
                              ? NULL
                              : sr_sys.malloc(sizeof *piece + room);

    if (!piece)
        return NULL;
    piece->next = NULL;
    piece->start = piece->end = 0;
    piece->room = room;
    sr_count_add(SR_COUNT_BUFFERS, 1);
    return piece;
}

static void free_piece(struct piece *piece)
{
    sr_count_add(SR_COUNT_BUFFERS, -1);
    free(piece);
}

static void fill(struct piece *piece, const void *data, size_t length)
{
    memcpy(piece->bytes + piece->end, data, length);
    piece->end += length;
}

/* What the last piece has no room for goes to a new one, which is made before anything is changed.
 */
int sr_outbuf_add(struct sr_outbuf **inout_self, const void *data, size_t length)
{
    struct sr_outbuf *self = *inout_self;
    struct piece *last = self ? self->last : NULL, *piece = NULL;
    size_t fits = last ? last->room - last->end : 0;

    if (fits > length)
        fits = length;
    if (fits < length) {
        piece = make_piece(length - fits);
        if (!piece)
            return -ENOMEM;
    }
    if (!self) {
        self = sr_sys.calloc(1, sizeof *self);
        if (!self) {
            free_piece(piece);
            return -ENOMEM;
        }
        *inout_self = self;
    }
    if (fits > 0)
        fill(last, data, fits);
    if (piece) {
        fill(piece, (const unsigned char *)data + fits, length - fits);
        if (last)
            last->next = piece;
        else
            self->first = piece;
        self->last = piece;
    }
    self->bytes += length;
    return 0;
}

static void drop_sent(struct sr_outbuf *self, size_t sent)
{
    struct piece *piece;
    size_t here;

    self->bytes -= sent;
    while (sent > 0) {
        piece = self->first;
        here = piece->end - piece->start;
        if (sent < here) {
            piece->start += sent;
            return;
        }
        sent -= here;
        self->first = piece->next;
        if (!self->first)
            self->last = NULL;
        free_piece(piece);
    }
}

static size_t gather(struct sr_outbuf *self, struct iovec *iov, int *out_count)
{
    size_t length = 0;
    int count = 0;

    for (struct piece *piece = self->first; piece && count < MOST_IOV; piece = piece->next) {
        iov[count].iov_base = piece->bytes + piece->start;
        iov[count].iov_len = piece->end - piece->start;
        length += iov[count++].iov_len;
    }
    *out_count = count;
    return length;
}

int sr_outbuf_send(struct sr_outbuf **inout_self, int fd, bool *out_blocked)
{
    struct sr_outbuf *self = *inout_self;
    struct iovec iov[MOST_IOV];
    struct msghdr message;
    size_t length;
    ssize_t sent;
    int count;

    *out_blocked = false;
    while (self->first) {
        length = gather(self, iov, &count);
        memset(&message, 0, sizeof message);
        message.msg_iov = iov;
        message.msg_iovlen = (size_t)count;
        sent = count == 1 ? sr_sys.send(fd, iov[0].iov_base, length, MSG_NOSIGNAL)
                          : sr_sys.sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return -errno;
        if (sent > 0)
            drop_sent(self, (size_t)sent);
        if (sent < 0 || (size_t)sent < length) {
            *out_blocked = true;
            return 0;
        }
    }
    free(self);
    *inout_self = NULL;
    return 0;
}

void sr_outbuf_free(struct sr_outbuf *self)
{
    struct piece *piece, *next;

    if (!self)
        return;
    for (piece = self->first; piece; piece = next) {
        next = piece->next;
        free_piece(piece);
    }
    free(self);
}
