/* Bytes that a socket did not take yet, in pieces; made when the first is queued, freed with the
 * last. */
#ifndef SR_NET_OUTBUF_H
#define SR_NET_OUTBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sr_outbuf;

/* Add a copy of the bytes; *inout_self may be NULL and is made then. Returns 0, or -ENOMEM and
 * nothing changed. */
int sr_outbuf_add(struct sr_outbuf **inout_self, const void *data, size_t length);
/*
 * Send what fits. Returns 0 with *out_blocked set if the socket is full, or -errno. When all is
 * sent, *inout_self is freed and NULL.
 */
int sr_outbuf_send(struct sr_outbuf **inout_self, int fd, bool *out_blocked);
uint64_t sr_outbuf_bytes(const struct sr_outbuf *self); /* 0 for NULL */
void sr_outbuf_free(struct sr_outbuf *self);

#endif
