/*
 * One name between processes: start it or join it, find out what other holders do, hand it on, let
 * go of it. Nothing here waits, but where a time is given; whoever gets SR_SHARE_LATER tries again.
 *
 * Byte 0 of the lock file is held inside a call only, but for sr_share_enter() and what follows it.
 */
#ifndef SR_NAME_SHARE_H
#define SR_NAME_SHARE_H

#include "name/control.h"
#include "name/guard.h"
#include "name/lockfile.h"
#include "name/recover.h"
#include "name/sockfile.h"

#include <stdbool.h>
#include <stdint.h>

/* What a holder of a name has of it beside the socket. Stays where it is: the guard's list has it.
 */
struct sr_share {
    const char *path;        /* the caller's, who keeps it as long */
    struct sr_lockfile lock; /* not open where the name is not shared */
    struct sr_guarded guarded;
    struct sr_identity socket; /* the name's, also where another process owns it */
    int64_t slot;              /* 0: none */
    int control;               /* noted; an owner's listens, a joiner's is connected; -1: none */
    int stale;     /* a connection that control has replaced: to be closed by who watches it; -1 */
    uint64_t life; /* of the name, from a start until nobody owns it */
    uint32_t generation; /* of the owner that was last heard of */
    bool is_owner;
    bool is_unclear;       /* the record did not tell of an owner when it was last looked at */
    struct sr_peers peers; /* whom an owner has accepted on its control socket */
};

/* What a start asks for. */
struct sr_wish {
    int mode; /* -1: the umask decides */
    bool asks_mode;
    int backlog; /* 0: only bind */
    bool exclusive;
    int guard; /* as SOCKREF_OPT_GUARD */
    int fd;    /* a descriptor to take instead of binding, or -1 */
};

/* What a start remembers between its tries; zero before the first. */
struct sr_patience {
    uint64_t since_ns; /* since when an owner seems to be dying; 0: it does not */
    int status;        /* to be returned, with what is described, when there is no more time */
    struct sr_guard_wait guard;
};

/* Whether what a start waits for now has a limit of its own, and the start's does not count. */
static inline bool sr_patience_is_untimed(const struct sr_patience *self)
{
    return self->guard.until_ns != 0;
}

enum { SR_SHARE_OWNED, SR_SHARE_JOINED, SR_SHARE_LATER };

/* ---- start.c ---- */

/*
 * Try to start or join. OWNED fills in out_file, and takes place; JOINED takes place as well, and
 * its file has no descriptor. LATER describes what it would wait for, and nothing is kept. Else a
 * described status, nothing kept.
 */
int sr_share_start(struct sr_place *place, const char *path, const struct sr_wish *wish,
                   struct sr_patience *patience, struct sr_share *out,
                   struct sr_sockfile *out_file);
/*
 * The same without sharing: the bind is the exclusion, and the lock file is only looked into where
 * something stands in the way. OWNED, LATER, or a described status.
 */
int sr_share_bind_alone(struct sr_place *place, const char *path, const struct sr_wish *wish,
                        struct sr_patience *patience, struct sr_share *out,
                        struct sr_sockfile *out_file);

/* ---- share.c ---- */

bool sr_share_is_shared(const struct sr_share *self);

/* Take byte 0: 0, SR_LOCK_BUSY at the deadline (0: don't wait), or a described status. */
int sr_share_enter(struct sr_share *self, uint64_t deadline_ns);
/* The same without waiting, and BUSY as well where there is another holder. */
int sr_share_enter_alone(struct sr_share *self);
void sr_share_leave(struct sr_share *self);

/* Count as a holder, or no more. The first may fail, described. */
int sr_share_take_slot(struct sr_share *self);
void sr_share_free_slot(struct sr_share *self);
/* Holders other than this one. */
bool sr_share_has_others(const struct sr_share *self);
uint64_t sr_share_count_others(const struct sr_share *self);

/*
 * The owner ends the name, with byte 0 held: the socket's file goes, then the control socket, then,
 * where no other holder is, the lock file. has_others: whether there was one since byte 0 was
 * taken; without byte 0 nobody becomes one. Returns 0 or a described status.
 */
int sr_share_end(struct sr_share *self, struct sr_sockfile *file, bool has_others);
/*
 * A joiner lets go: its slot is freed, and where the owner is gone and no other holder is left,
 * what remains is removed. 0, SR_LOCK_BUSY: to be tried again, or a described status. Never waits.
 */
int sr_share_let_go(struct sr_share *self, const struct sr_place *place);
/* Unlock, close and have the guard forget: nothing is left. Nothing happens the second time. */
void sr_share_close(struct sr_share *self);

/* Write down in the lock file who this is and what it has; it owns the name. 0 or described. */
int sr_share_write_record(struct sr_share *self, enum sr_record_state state);
/* The same where a record tells already who this is. */
int sr_share_write_down(struct sr_share *self, struct sr_record *record,
                        enum sr_record_state state);
/* What was bound becomes the name's identity, for the record, and for the guard at once. Takes the
 * descriptor that pins it, which may be -1. */
void sr_share_identify(struct sr_share *self, const struct sr_sockfile *file, int pin);

/* ---- handover.c ---- */

/*
 * The owner, with byte 0 held, passes its listener to another holder. Returns whether it did: then
 * the file is not ours any more, and sr_share_close() is to follow. Waits until the deadline.
 */
bool sr_share_hand_over(struct sr_share *self, struct sr_sockfile *file, uint64_t deadline_ns);

enum sr_news {
    SR_NEWS_NONE,    /* nothing has happened */
    SR_NEWS_OWNER,   /* another holder owns it now */
    SR_NEWS_UNCLEAR, /* the owner is gone or going: ask again in some milliseconds */
    SR_NEWS_LOST,    /* the owner is gone, and the name with it */
    SR_NEWS_OFFERED, /* the listener is offered: sr_share_take_over() or sr_share_decline() */
};
/* What a joiner hears from its control socket, or finds out by the locks. Never waits. */
enum sr_news sr_share_hear(struct sr_share *self, const struct sr_place *place,
                           int out_offer[SR_CONTROL_FDS]);
/* Take what was offered: the file gets its descriptor and identity. Returns whether it came to
 * that. Takes the offer. */
bool sr_share_take_over(struct sr_share *self, int offer[SR_CONTROL_FDS],
                        struct sr_sockfile *inout_file);
void sr_share_decline(struct sr_share *self, int offer[SR_CONTROL_FDS]);

#endif
