/* Large zeroed memory, straight from the system; known to a leak checker, which would not look into
 * it. */
#ifndef SR_BASE_MAP_H
#define SR_BASE_MAP_H

#include <stddef.h>

/* NULL: no memory. */
void *sr_map_new(size_t size);
void sr_map_free(void *memory, size_t size);

#endif
