/*
 * What a connection promises, as a model: which callbacks may come and when, and what each call
 * returns. Calls go to the connection and the model alike, callbacks are held against it; what is
 * not as the model says ends the case.
 */
#ifndef TEST_CONN_MODEL_H
#define TEST_CONN_MODEL_H

#include <sockref/net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONNS      4
#define HIGH_WATER 30000u
#define MOST       300000u /* that may be queued */

struct model {
    sockref_conn *conn;
    int peer; /* -1: closed */
    bool is_tcp;
    /* Ours. */
    bool ready, ended, destroyed, paused, told_end, told_error, closed, stopped;
    bool drain_owed;
    unsigned timeout_ms;
    uint64_t taken; /* bytes of ours that a call took */
    unsigned lent;  /* pieces that are not back */
    uint64_t lent_end;
    uint64_t got; /* bytes that on_data told */
    /* The peer's. */
    bool peer_shut, peer_saw_end, peer_broken;
    uint64_t peer_sent, peer_got;
};

/* The script that is being played; all is chosen by its seed. */
struct script {
    uint64_t seed, random_state;
    struct model *models[CONNS];
    bool may_lack, lacks_memory; /* in this script; now */
    bool in_call;
    int depth; /* of calls in callbacks; at 1 they make none */
    const char *last_call;
    uint64_t events; /* of all scripts */
};
extern struct script script;

/* What the connections of a script are adopted with; user is their model. */
extern const sockref_handlers model_handlers;

uint32_t model_chance(uint32_t below);
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
    MODEL_HOLD,
    MODEL_COUNT,
    MODEL_CALLS
};
void model_call_plain(struct model *model, enum model_call which);
/* Some call, of any kind. */
void model_call_something(struct model *model);

#endif
