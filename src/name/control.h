/*
 * The control socket of a shared name, ".NAME.srctl" beside it: a joiner stays connected to it, so
 * that it learns at once when the owner goes, and so that the owner can pass the listener on. It
 * only tells; the locks are the truth.
 */
#ifndef SR_NAME_CONTROL_H
#define SR_NAME_CONTROL_H

#include "name/place.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SR_CONTROL_FDS     2 /* the listener, and the control socket itself */
#define SR_CONTROL_REFUSED 1

enum sr_control_word {
    SR_CONTROL_OFFER = 1, /* owner to joiner, with descriptors: take over */
    SR_CONTROL_TAKEN,     /* the answer: byte 1 is mine */
    SR_CONTROL_DECLINED,  /* the answer: no */
    SR_CONTROL_MOVED,     /* owner to joiner: somebody else owns the name now, connect anew */
};

/*
 * Bind and listen, with byte 0 held and nothing there. by_path: where it fits, by the spelling of
 * path in place of the directory's descriptor, which is cheaper; then the caller makes sure that it
 * leads to the directory. Returns 0 or a described status.
 */
int sr_control_listen(const struct sr_place *place, const char *path, bool by_path, int *out_fd);
/*
 * Connect. Returns 0, where *out_fd may stay -1 because too many wait to be accepted;
 * SR_CONTROL_REFUSED: nobody listens, or another user; or a described status.
 */
int sr_control_connect(const struct sr_place *place, const char *path, int *out_fd);
/* Remove the owner's control socket, wherever it was bound, and close it. 0 or a described status.
 */
int sr_control_remove(const struct sr_place *place, const char *path, int *inout_fd);
/* The same where another owner's may stand at its name. */
void sr_control_remove_own(const struct sr_place *place, const char *path, int *inout_fd);

/* Send a word, with SR_CONTROL_FDS descriptors or NULL. Returns 0 or -errno. */
int sr_control_send(int fd, enum sr_control_word word, const int *fds);
/* Receive a word; descriptors that do not come are -1. Returns 0; -EAGAIN: there is none;
 * -ECONNRESET: the other side has gone. */
int sr_control_receive(int fd, enum sr_control_word *out_word, int out_fds[SR_CONTROL_FDS]);

/* Those that an owner has accepted. */
struct sr_peers {
    int *fds;
    size_t count, room;
};
/* Accept all that wait, and let go of those that have gone. Returns whether none waits any more. */
bool sr_peers_accept(struct sr_peers *self, int control);
/* The same, but those that are there stay where they are. */
bool sr_peers_extend(struct sr_peers *self, int control);
void sr_peers_clear(struct sr_peers *self);

#endif
