/* Which names a directory has. */
#ifndef SR_NAME_INSPECT_LIST_H
#define SR_NAME_INSPECT_LIST_H

#include <stddef.h>

/* Leaves of a directory that have a lock file, or are sockets; sorted. */
struct sr_inspect_list {
    char **leaves;
    size_t count;
};
/* List the directory of a checked path. Returns 0 or a described status, with nothing to free. */
int sr_inspect_list(const char *directory, struct sr_inspect_list *out);
void sr_inspect_list_free(struct sr_inspect_list *self);

#endif
