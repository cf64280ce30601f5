/* Which bytes of a path are text. */
#ifndef SR_BASE_UTF8_H
#define SR_BASE_UTF8_H

#include <stddef.h>

/* How many bytes the character has that a NUL-terminated text begins with; 0: it is no UTF-8. */
size_t sr_utf8_length(const char *text);

#endif
