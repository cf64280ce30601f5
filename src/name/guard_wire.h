/*
 * What the library tells its guard, over a SOCK_SEQPACKET pair: one message a packet, at most one
 * descriptor with it. The kernel says with each on which user's behalf it was sent (SO_PASSCRED);
 * on whose a name is watched over, its WATCH says.
 *
 *     WATCH    a name, before anything of it exists     the directory, O_PATH
 *     PIN      the socket's inode, once it is bound     the inode, O_PATH, if it could be opened
 *     FORGET   nothing is left of it
 *     ASK      it is to say that it is a guard, which is answered by SR_GUARD_VERSION, an uint32_t
 */
#ifndef SR_NAME_GUARD_WIRE_H
#define SR_NAME_GUARD_WIRE_H

#include "name/path.h"

#include <stddef.h>
#include <stdint.h>

#define SR_GUARD_VERSION 3 /* of this; a guard that reads another one ends */

enum sr_guard_op {
    SR_GUARD_WATCH = 1,
    SR_GUARD_PIN,
    SR_GUARD_FORGET,
    SR_GUARD_ASK,
};

struct sr_guard_message {
    uint32_t version;
    uint32_t op;
    uint64_t id;                /* not 0; one is used once */
    uint64_t device, inode;     /* PIN */
    uint32_t has_lock;          /* WATCH */
    char path[SR_PATH_MAX + 1]; /* WATCH: the checked path, sent as far as its NUL */
};

/* All messages are this long at least. */
#define SR_GUARD_HEAD offsetof(struct sr_guard_message, path)

#endif
