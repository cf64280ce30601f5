/*
 * What a loop counts: written by its thread alone, read by any. What loops that have ended counted
 * is kept for all together.
 */
#ifndef SR_NET_TRAFFIC_H
#define SR_NET_TRAFFIC_H

#include "base/tally.h"

struct sockref_loop;

struct sr_traffic {
    sr_tally callbacks, starved;
    sr_tally accepted, refused;
    sr_tally connected, connect_failed;
    sr_tally bytes_read, bytes_written;
    struct sr_histogram connect;
};

/* A loop has begun, and is listed until it ends. */
void sr_traffic_begin(struct sockref_loop *loop);
void sr_traffic_end(struct sockref_loop *loop);
/* In a forked child: the parent's loops are not counted. */
void sr_traffic_after_fork_in_child(void);

#endif
