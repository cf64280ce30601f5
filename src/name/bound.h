/* Which inode a socket is bound to, for sure. */
#ifndef SR_NAME_BOUND_H
#define SR_NAME_BOUND_H

#include <sys/stat.h>

enum sr_bound {
    SR_BOUND_HERE,
    SR_BOUND_ELSEWHERE,
    SR_BOUND_UNKNOWN, /* the system does not tell */
};

/* Ask whether a Unix socket is bound to this file. Never describes. */
enum sr_bound sr_bound_to(int fd, const struct stat *file);

#endif
