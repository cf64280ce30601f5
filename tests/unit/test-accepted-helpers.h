/* What the suites of an accepted connection share: one that is served by the case's loop, and its
 * peer. */
#ifndef TEST_ACCEPTED_HELPERS_H
#define TEST_ACCEPTED_HELPERS_H

#include "test-loop-helpers.h"

static struct record record;
static sockref *ref;
static int peer;

static inline void setup_pair(void)
{
    setup();
    memset(&record, 0, sizeof record);
    ref = serve_here(NULL, &recording, &record);
    peer = dial();
    DRIVE_UNTIL(record.connections == 1);
}

static inline void teardown_pair(void)
{
    if (peer >= 0)
        close(peer);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    ck_assert_int_eq(record.closes, record.connections);
    teardown();
}

static inline void close_peer(void)
{
    close(peer);
    peer = -1;
}

static char block[65536];

static inline void fill_until_full(sockref_conn *conn)
{
    int status = 0;

    for (int i = 0; status == 0; i++) {
        ck_assert_int_lt(i, 1000);
        status = sockref_conn_write(conn, block, sizeof block);
    }
    ck_assert_int_eq(status, SOCKREF_WRITE_FULL);
}

static inline void drain_peer(uint64_t *inout_bytes)
{
    static char buffer[65536];
    ssize_t length;

    while ((length = peek_some(peer, buffer, sizeof buffer)) > 0)
        *inout_bytes += (uint64_t)length;
}

#endif
