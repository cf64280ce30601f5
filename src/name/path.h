/* Path rules: what may name a socket, and when two spellings are trivially the same. */
#ifndef SR_NAME_PATH_H
#define SR_NAME_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define SR_PATH_MAX     4095
#define SR_SUN_PATH_MAX 107 /* bytes before the NUL that every program can name */

/* Check a name: absolute path or '@' and an abstract one. Returns 0, or a described SOCKREF_EPATH,
 * EPATHLEN, -EINVAL for NULL. */
int sr_path_check(const char *path);
/* The same rules, but only the answer, and nothing is described. */
bool sr_path_is_usable(const char *path);
/* Check a directory path: absolute, no "..", no control byte; "/" and trailing slashes are fine. */
int sr_path_check_directory(const char *path);

bool sr_path_is_abstract(const char *path);
/* Where the last component of a checked path begins. */
const char *sr_path_leaf(const char *path);
/* Whether a checked path has "//" or "/./" to fold. */
bool sr_path_needs_fold(const char *path);
/* Fold them; out has room for strlen(path) + 1 bytes. Returns the new length. */
size_t sr_path_fold(const char *path, char *out);

#endif
