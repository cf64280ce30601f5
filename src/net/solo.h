/*
 * Connections that no listener has accepted: each is its own owner, with handlers of its own, and
 * has a place in its loop until on_stop has returned.
 */
#ifndef SR_NET_SOLO_H
#define SR_NET_SOLO_H

#include "net/conn.h"

/*
 * Make one in two steps, on any thread:
 *
 *     status = sr_solo_make(loop, handlers, user, connecting, &conn);
 *     ...             conn belongs to this thread alone: hang on it what is needed
 *     status = sr_solo_begin(conn);
 *
 * loop: NULL is the library's own. connecting: who makes the connection, see conn.h; NULL where it
 * gets its descriptor in between. Two handles are counted: the loop's, and the caller's.
 *
 * make checks and copies the handlers. It returns 0 or a described status.
 */
int sr_solo_make(struct sockref_loop *loop, const sockref_handlers *handlers, void *user,
                 struct sr_connecting *connecting, struct sockref_conn **out_conn);
/*
 * Hand it to its loop, whose thread may be done with it before this returns. Returns 0, or
 * SOCKREF_ECLOSED, described: the loop is being freed meanwhile; then drop it.
 */
int sr_solo_begin(struct sockref_conn *conn);
/* Have it keep a reference, which is counted, until it is over; NULL is none. Returns 0 or a
 * described status. */
int sr_solo_keep(struct sockref_conn *conn, sockref *ref);
/* Give back one that never began, both handles included; its descriptor stays the caller's. */
void sr_solo_drop(struct sockref_conn *conn);

/* The loop ends: close all. */
void sr_solo_stop_all(struct sockref_loop *loop);
/* In a forked child: only the loop's memory goes. */
void sr_solo_forget_all(struct sockref_loop *loop);

#endif
