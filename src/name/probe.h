/* Whether anybody has a socket file's inode bound, asked without being noticed. */
#ifndef SR_NAME_PROBE_H
#define SR_NAME_PROBE_H

enum sr_probe {
    SR_PROBE_DEAD,  /* nobody has it bound */
    SR_PROBE_ALIVE, /* somebody has, or it can't be told */
    SR_PROBE_DENIED /* it belongs to somebody who lets us not */
};

/* Ask about an inode that an O_PATH descriptor pins and that is a socket. Never describes. */
enum sr_probe sr_probe_inode(int inode);

#endif
