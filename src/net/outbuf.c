/* A queue of pieces. A copy has room at its end for small additions. */
#include "net/outbuf.h"

#include "base/fd.h"
#include "base/sys.h"
#include "net/count.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_ROOM 4000u /* the least room of a copy: many small writes share one */
#define MOST_IOV   64

struct sr_piece {
    struct sr_piece *next;
    const unsigned char *bytes;    /* its own, or lent */
    size_t start, end, room;       /* of a lent one, room is end */
    sockref_written_fn on_written; /* NULL: a copy */
    void *user;
    int status; /* for on_written */
    int fd;     /* to go with the first byte, or -1 */
    unsigned char own[];
};

struct sr_outbuf {
    struct sr_piece *first, *last;
    uint64_t bytes;
    unsigned fds;
};

uint64_t sr_outbuf_bytes(const struct sr_outbuf *self)
{
    return self ? self->bytes : 0;
}

unsigned sr_outbuf_fds(const struct sr_outbuf *self)
{
    return self ? self->fds : 0;
}

static struct sr_piece *make_piece(size_t room)
{
    struct sr_piece *piece =
        room > SIZE_MAX - sizeof *piece ? NULL : sr_sys.malloc(sizeof *piece + room);

    if (!piece)
        return NULL;
    *piece = (struct sr_piece){.bytes = piece->own, .room = room, .fd = -1};
    sr_count_add(SR_COUNT_BUFFERS, 1);
    return piece;
}

void sr_piece_free(struct sr_piece *self)
{
    sr_count_add(SR_COUNT_BUFFERS, -1);
    free(self);
}

static void fill(struct sr_piece *piece, const void *data, size_t length)
{
    memcpy(piece->own + piece->end, data, length);
    piece->end += length;
}

static struct sr_piece *make_copy(const void *data, size_t length)
{
    struct sr_piece *piece = make_piece(length > PIECE_ROOM ? length : PIECE_ROOM);

    if (piece)
        fill(piece, data, length);
    return piece;
}

struct sr_piece *sr_piece_with_fd(const void *data, size_t length, int fd)
{
    struct sr_piece *piece = make_copy(data, length);

    if (piece)
        piece->fd = fd;
    return piece;
}

struct sr_piece *sr_piece_lend(const void *data, size_t length, sockref_written_fn on_written,
                               void *user)
{
    struct sr_piece *piece = make_piece(0);

    if (!piece)
        return NULL;
    piece->bytes = data ? data : ""; /* no offset is added to NULL */
    piece->end = piece->room = length;
    piece->on_written = on_written;
    piece->user = user;
    return piece;
}

void sr_piece_skip(struct sr_piece *self, size_t sent)
{
    self->start += sent;
}

int sr_outbuf_append(struct sr_outbuf **inout_self, struct sr_piece *piece)
{
    struct sr_outbuf *self = *inout_self;

    if (!self) {
        self = sr_sys.calloc(1, sizeof *self);
        if (!self)
            return -ENOMEM;
        *inout_self = self;
    }
    if (self->last)
        self->last->next = piece;
    else
        self->first = piece;
    self->last = piece;
    self->bytes += piece->end - piece->start;
    self->fds += piece->fd >= 0;
    return 0;
}

/* What the last piece has no room for goes to a new one, which is made before anything is changed.
 */
int sr_outbuf_add(struct sr_outbuf **inout_self, const void *data, size_t length)
{
    struct sr_outbuf *self = *inout_self;
    struct sr_piece *last = self ? self->last : NULL, *piece;
    size_t fits = last ? last->room - last->end : 0;

    if (fits > length)
        fits = length;
    if (fits < length) {
        piece = make_copy((const unsigned char *)data + fits, length - fits);
        if (!piece)
            return -ENOMEM;
        if (sr_outbuf_append(inout_self, piece) < 0) {
            sr_piece_free(piece);
            return -ENOMEM;
        }
    }
    if (fits > 0) {
        fill(last, data, fits);
        self->bytes += fits;
    }
    return 0;
}

static void close_fd(struct sr_outbuf *self, struct sr_piece *piece)
{
    if (piece->fd < 0)
        return;
    sr_fd_close(piece->fd);
    piece->fd = -1;
    self->fds--;
}

static void take_first(struct sr_outbuf *self, int status, struct sr_piece **inout_written)
{
    struct sr_piece *piece = self->first;

    close_fd(self, piece);
    self->first = piece->next;
    if (!self->first)
        self->last = NULL;
    if (piece->on_written)
        sr_written_add(inout_written, piece, status);
    else
        sr_piece_free(piece);
}

/* Empty pieces go with what stands before them. */
static void drop_sent(struct sr_outbuf *self, size_t sent, struct sr_piece **inout_written)
{
    struct sr_piece *piece;
    size_t here;

    self->bytes -= sent;
    while ((piece = self->first) != NULL) {
        here = piece->end - piece->start;
        if (sent < here) {
            piece->start += sent;
            if (sent > 0)
                close_fd(self, piece);
            return;
        }
        sent -= here;
        take_first(self, 0, inout_written);
    }
}

/* A descriptor goes with the first byte of a message, so its piece begins one. */
static size_t gather(struct sr_outbuf *self, struct iovec *iov, int *out_count)
{
    size_t length = 0;
    int count = 0;

    for (struct sr_piece *piece = self->first; piece && count < MOST_IOV; piece = piece->next) {
        if (piece->fd >= 0 && piece != self->first)
            break;
        iov[count].iov_base = (void *)(uintptr_t)(piece->bytes + piece->start);
        iov[count].iov_len = piece->end - piece->start;
        length += iov[count++].iov_len;
    }
    *out_count = count;
    return length;
}

static ssize_t send_pieces(int fd, struct iovec *iov, int count, int passed)
{
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    struct cmsghdr *head;

    if (passed < 0 && count == 1)
        return sr_sys.send(fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    if (passed >= 0) {
        message.msg_control = room;
        message.msg_controllen = sizeof room;
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(head), &passed, sizeof passed);
    }
    return sr_sys.sendmsg(fd, &message, MSG_NOSIGNAL);
}

int sr_outbuf_send(struct sr_outbuf **inout_self, int fd, bool *out_blocked,
                   struct sr_piece **inout_written)
{
    struct sr_outbuf *self = *inout_self;
    struct iovec iov[MOST_IOV];
    size_t length;
    ssize_t sent;
    int count;

    *out_blocked = false;
    drop_sent(self, 0, inout_written);
    while (self->first) {
        length = gather(self, iov, &count);
        sent = send_pieces(fd, iov, count, self->first->fd);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return -errno;
        if (sent > 0)
            drop_sent(self, (size_t)sent, inout_written);
        if (sent < 0 || (size_t)sent < length) {
            *out_blocked = true;
            return 0;
        }
    }
    free(self);
    *inout_self = NULL;
    return 0;
}

void sr_outbuf_drop(struct sr_outbuf *self, int status, struct sr_piece **inout_written)
{
    if (!self)
        return;
    while (self->first)
        take_first(self, status, inout_written);
    free(self);
}

void sr_outbuf_forget(struct sr_outbuf *self)
{
    struct sr_piece *piece, *next;

    if (!self)
        return;
    for (piece = self->first; piece; piece = next) {
        next = piece->next;
        sr_piece_free(piece);
    }
    free(self);
}

void sr_written_add(struct sr_piece **inout_list, struct sr_piece *piece, int status)
{
    struct sr_piece *last = *inout_list;

    piece->status = status;
    piece->next = last ? last->next : piece;
    if (last)
        last->next = piece;
    *inout_list = piece;
}

struct sr_piece *sr_written_take(struct sr_piece **inout_list)
{
    struct sr_piece *last = *inout_list, *first = last->next;

    if (first == last)
        *inout_list = NULL;
    else
        last->next = first->next;
    return first;
}

void sr_piece_tell(struct sr_piece *self)
{
    sockref_written_fn on_written = self->on_written;
    void *user = self->user;
    int status = self->status;

    sr_piece_free(self);
    on_written(status, user);
}

void sr_written_forget(struct sr_piece **inout_list)
{
    while (*inout_list)
        sr_piece_free(sr_written_take(inout_list));
}
