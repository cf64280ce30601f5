/* One attempt to start a listener: what listen.c and birth.c share. */
#ifndef SR_REF_ATTEMPT_H
#define SR_REF_ATTEMPT_H

#include "ref/options.h"
#include "ref/state.h"

struct sr_attempt {
    sockref_registry *registry;
    const sockref_options *options;
    struct sr_settings settings;
    struct sr_name name;
    struct sr_place place;
    uint64_t seen; /* the registry's changes, when it was tried */
    struct sr_waiter
        *waiter; /* parked where somebody else is at it; NULL: the caller watches changes */
    int fd;      /* to adopt instead of binding, or -1 */
    struct sr_sockfile drawn;   /* bound already, because its port tells the name; or -1 */
    struct sr_service *service; /* attached, and to begin when all can see the name; or NULL */
    struct sr_patience own_patience;
    struct sr_patience *patience; /* the waiter's, or own */
};

static inline bool sr_attempt_is_exclusive(const struct sr_attempt *attempt)
{
    return attempt->settings.values[SOCKREF_OPT_EXCLUSIVE] != 0;
}

static inline bool sr_attempt_has_handlers(const struct sr_attempt *attempt)
{
    return attempt->options && attempt->options->net.has_handlers;
}

/* ---- birth.c ---- */

/*
 * Make a life that nobody can see yet: all that calls the system. Returns SR_SHARE_OWNED, JOINED,
 * LATER with nothing made, or a described status.
 */
int sr_birth_make(struct sr_attempt *attempt, struct sr_life **out_life);
/* Give back what that has made. */
void sr_birth_discard(struct sr_attempt *attempt, struct sr_life *life);
/* Bind a TCP name with port 0, whose name is known then. Returns 0 or a described status. */
int sr_birth_draw_port(struct sr_attempt *attempt, const char *path, char *out_path);

#endif
