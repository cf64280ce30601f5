/* The name that a socket tells of itself. */
#ifndef SR_NAME_SOCKNAME_H
#define SR_NAME_SOCKNAME_H

#define SR_SOCKNAME_MAX 128 /* longest one, with its NUL */

/* Read where a Unix or TCP socket is bound, as a name; not checked. Returns 0 or a described
 * SOCKREF_EFOREIGN. */
int sr_sockname_read(int fd, char out[SR_SOCKNAME_MAX]);

#endif
