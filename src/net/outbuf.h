/*
 * Bytes that a socket did not take yet, in pieces; made when the first is queued, freed with the
 * last. A piece is a copy, or lent: then its memory is the caller's until it is told that all of it
 * is written.
 */
#ifndef SR_NET_OUTBUF_H
#define SR_NET_OUTBUF_H

#include <sockref/net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sr_outbuf;
struct sr_piece;

/* Add a copy of the bytes; *inout_self may be NULL and is made then. Returns 0, or -ENOMEM and
 * nothing changed. */
int sr_outbuf_add(struct sr_outbuf **inout_self, const void *data, size_t length);
/* Add a piece, and take it; else the same. */
int sr_outbuf_append(struct sr_outbuf **inout_self, struct sr_piece *piece);
/*
 * Send what fits. Returns 0 with *out_blocked set if the socket is full, or -errno. When all is
 * sent, *inout_self is freed and NULL. Lent pieces that are sent go to the list of written ones.
 */
int sr_outbuf_send(struct sr_outbuf **inout_self, int fd, bool *out_blocked,
                   struct sr_piece **inout_written);
uint64_t sr_outbuf_bytes(const struct sr_outbuf *self); /* 0 for NULL */
unsigned sr_outbuf_fds(const struct sr_outbuf *self); /* descriptors that are queued; 0 for NULL */
/* Drop all; lent pieces go to the list of written ones, with a status. */
void sr_outbuf_drop(struct sr_outbuf *self, int status, struct sr_piece **inout_written);
/* In a forked child: only the memory goes. */
void sr_outbuf_forget(struct sr_outbuf *self);

/* A lent piece, of which the first bytes are sent already; NULL without memory. */
struct sr_piece *sr_piece_lend(const void *data, size_t length, sockref_written_fn on_written,
                               void *user);
void sr_piece_skip(struct sr_piece *self, size_t sent);
/* A copy that a descriptor goes with, which this takes on success; NULL without memory. */
struct sr_piece *sr_piece_with_fd(const void *data, size_t length, int fd);
void sr_piece_free(struct sr_piece *self);

/* The list of lent pieces that are to be given back, in order; a pointer to the last of a ring. */
void sr_written_add(struct sr_piece **inout_list, struct sr_piece *piece, int status);
/* Take the first one off. */
struct sr_piece *sr_written_take(struct sr_piece **inout_list);
/* Call on_written of one; its memory is given back before. */
void sr_piece_tell(struct sr_piece *self);
void sr_written_forget(struct sr_piece **inout_list);

#endif
