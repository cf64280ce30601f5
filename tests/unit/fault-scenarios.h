/*
 * Scenarios of the library's calls, in which any call beneath them may fail.
 *
 * A call that fails has changed nothing and is described (I9): the scenarios assert it. They give
 * back all that they got.
 */
#ifndef FAULT_SCENARIOS_H
#define FAULT_SCENARIOS_H

#include <sockref/sockref.h>
#include <stdbool.h>

#define FAULT_QUICK_MS 40 /* a start that can't succeed is not to take long */

struct fault_scenario {
    const char *name;
    bool (*run)(void); /* returns whether all of it succeeded */
};

#define FAULT_SCENARIOS 19
extern const struct fault_scenario fault_scenarios[FAULT_SCENARIOS];

/* The run that is on: what it is about, and what it has told. */
extern struct fault_run {
    const char *what;               /* is failing now, for messages */
    const sockref_options *options; /* of the registries that are made; NULL: the defaults */
    bool is_without_memory;
    unsigned reported; /* failures that a status told of, where files may be left */
} fault_run;

#endif
