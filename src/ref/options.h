/* Options: what was set, and what holds for one call. */
#ifndef SR_REF_OPTIONS_H
#define SR_REF_OPTIONS_H

#include <sockref/sockref.h>

#define SR_OPTION_COUNT 20 /* one more than the highest number of an option */

/*
 * What the net floor hangs on a set of options: the loop of a start and the handlers of a service.
 * The ref floor copies it and looks at nothing in it.
 */
struct sr_options_net {
    void *loop; /* sockref_loop, or NULL for the library's own */
    bool has_handlers;
    void *user;
    uint64_t handlers[21]; /* room for a struct sr_handlers; net/serve.c asserts the size */
};

struct sockref_options {
    uint32_t set; /* bit n: option n is set */
    int64_t values[SR_OPTION_COUNT];
    char *directory; /* owned, or NULL */
    struct sr_options_net net;
};

/* Every option with its value: the call's, else the registry's, else the default. */
struct sr_settings {
    int64_t values[SR_OPTION_COUNT];
};

/* Copy; NULL gives an empty set. Returns 0 or -ENOMEM. */
int sr_options_copy(const sockref_options *from, sockref_options *to);
void sr_options_clear(sockref_options *self);
/* Refuse the options that belong to a registry. Returns 0 or -EINVAL. */
int sr_options_check_call(const sockref_options *options);

/* The defaults. */
void sr_settings_init(struct sr_settings *self);
/* What is set in the options, which may be NULL, takes the place of what held. */
void sr_settings_apply(struct sr_settings *self, const sockref_options *options);

#endif
