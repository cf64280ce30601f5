/* Whether anybody has a socket file's inode bound, asked without being noticed. */
#ifndef SR_NAME_PROBE_H
#define SR_NAME_PROBE_H

#include <stdbool.h>
#include <sys/stat.h>

enum sr_probe {
    SR_PROBE_DEAD,  /* nobody has it bound */
    SR_PROBE_ALIVE, /* somebody has, or it can't be told */
    SR_PROBE_DENIED /* it belongs to somebody who lets us not */
};

/* Ask about an inode that an O_PATH descriptor pins and that is a socket. Returns an enum sr_probe,
 * or -errno where there is no descriptor to ask with. Never describes. */
int sr_probe_inode(int inode);
/* Ask whether it is a socket for connections that somebody has bound: 1, 0, or -1 where it can't be
 * told. Returns 0, or -errno where there is no descriptor to ask with. Never describes. */
int sr_probe_stream(int inode, int *out_answer);

/* The same of a checked abstract name: SR_PROBE_DEAD, SR_PROBE_ALIVE, or -errno. */
int sr_probe_abstract(const char *path);

/*
 * A bind() that is under way has made its file, but does not answer yet. Where nothing else proves
 * that a socket is dead, it has to be older than that.
 */
bool sr_probe_is_fresh(const struct stat *info);

#endif
