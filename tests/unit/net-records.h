/*
 * The records of a script of services and dials: one for each, freed by its last callback; and the
 * handlers that hold what comes against it.
 */
#ifndef TEST_NET_RECORDS_H
#define TEST_NET_RECORDS_H

#include "fuzz.h"

#include <sockref/net.h>
#include <stdbool.h>

#define LOOPS 3
#define OWN   (LOOPS - 1) /* the library's own */
#define DIALS 6

enum stage { BEGUN, CONNECTED, READY, CLOSED };

/* Of a service, or of a dial. */
struct owner {
    int loop;
    atomic_int open; /* connections that are not closed */
    enum stage dialled;
    int slot; /* in dials, or -1 */
};

struct records {
    atomic_int alive;           /* what is to come to its end still */
    atomic_bool ending;         /* everything is to end */
    sockref_conn *dials[DIALS]; /* of this thread's loops, with a handle of ours */
    void (*act)(int loop);      /* what else is done in a callback of this loop, on this thread */
};
extern struct records records;

struct owner *owner_new(int loop);
/* It never began, or has come to its end. */
void owner_free(struct owner *self);

/* Handlers of a service, and of a dial; user is the owner. */
void records_service(sockref_conn_options *options, sockref_handlers *handlers);
void records_dial(sockref_conn_options *options, sockref_handlers *handlers);
/* What is done in a callback beside looking; conn may be NULL. */
void records_act(sockref_conn *conn, const struct owner *owner);

#endif
