/*
 * What a connection promises, as a model: which callbacks may come and when, and what each call
 * returns. Calls go to the connection and the model alike, callbacks are held against it; what is
 * not as the model says ends the case.
 */
#ifndef TEST_CONN_MODEL_H
#define TEST_CONN_MODEL_H

#include "fuzz.h"

#include <sockref/net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define CONNS      4
#define HIGH_WATER 30000u
#define MOST       300000u /* that may be queued */
#define ROOM       70000u  /* where on_buffer says to read to */
#define BUNDLES    16u     /* of descriptors, that are on their way to a connection */

/* Descriptors that the peer passed, and with which byte. */
struct bundle {
    uint64_t place;
    unsigned fds;
};

struct model {
    sockref_conn *conn;
    int peer; /* -1: closed */
    bool is_tcp;
    /* Ours. */
    bool ready, ended, destroyed, paused, told_end, told_error, closed, stopped;
    bool drain_owed, ends_itself, is_unheld, takes_descriptors, told_descriptor;
    void *data;
    unsigned char *room; /* or NULL: there is no on_buffer */
    void *read_to;       /* what on_buffer said last; NULL: the loop's own */
    struct bundle bundles[BUNDLES];
    unsigned bundles_sent, bundles_got;
    uint64_t descriptor_place; /* of the one that was told last */
    unsigned timeout_ms;
    uint64_t taken; /* bytes of ours that a call took */
    uint64_t fds_taken;
    unsigned lent; /* pieces that are not back */
    uint64_t lent_end;
    uint64_t got; /* bytes that on_data told */
    /* The peer's. */
    bool peer_shut, peer_saw_end, peer_broken;
    uint64_t peer_sent, peer_got, peer_fds;
};

/* The script that is being played; all is chosen by its seed. */
struct script {
    struct model *models[CONNS];
    bool may_lack, lacks_memory; /* in this script; now */
    bool by_descriptor;          /* dispatched only where the loop's descriptor says so */
    unsigned posts;              /* that have not come */
    bool in_call;
    int depth; /* of calls in callbacks; at 1 they make none */
    const char *last_call;
};
extern struct script script;

/* What the connections of a script are adopted with, in part; user is their model. */
extern const sockref_handlers model_handlers;

size_t model_some_length(void);

/* It is not as the model says: the case ends, and tells the seed. */
void model_wrong(const struct model *model, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define EXPECT(model, condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            model_wrong(model, "%s", #condition);                                                  \
    } while (0)

/* Bytes by their place in a stream, so that none can be lost, doubled or moved unseen. */
void model_fill_bytes(unsigned char *bytes, size_t length, uint64_t place, unsigned direction);
void model_check_bytes(const struct model *model, const unsigned char *bytes, size_t length,
                       uint64_t place, unsigned direction);

sockref_conn_details model_look(const struct model *model);
/* Hold all that the connection tells of itself against the model. */
void model_check(const struct model *model);

/* Pausing is undone twice as often as it is done, so that most of them read. */
enum model_call {
    MODEL_END,
    MODEL_PAUSE,
    MODEL_RESUME,
    MODEL_RESUME_TOO,
    MODEL_TIMEOUT,
    MODEL_NODELAY,
    MODEL_KEEPALIVE,
    MODEL_HOLD,
    MODEL_COUNT,
    MODEL_PEER,
    MODEL_DATA,
    MODEL_CALLS
};
void model_call_plain(struct model *model, enum model_call which);
/* Some call, of any kind. */
void model_call_something(struct model *model);
/* Perhaps some calls, on any of them. */
void model_act_in_callback(void);

#endif
