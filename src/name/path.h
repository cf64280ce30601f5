/* Path rules: what may name a socket, and when two spellings are trivially the same. */
#ifndef SR_NAME_PATH_H
#define SR_NAME_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define SR_PATH_MAX     4095
#define SR_SUN_PATH_MAX 107 /* bytes before the NUL that every program can name */
/*
 * The longest leaf that can be named by way of its directory's descriptor,
 * "/proc/self/fd/NNNNNNN/LEAF": seven digits are the most that a descriptor can have where the
 * kernel's ceiling is at its default.
 */
#define SR_LEAF_BY_FD_MAX (SR_SUN_PATH_MAX - (int)sizeof "/proc/self/fd/1048576/" + 1)

/* Check a name: absolute path, '@' and an abstract one, or tcp:HOST:PORT. Returns 0, or a described
 * SOCKREF_EPATH, EPATHLEN, -EINVAL for NULL. */
int sr_path_check(const char *path);
/* The same rules, but only the answer, and nothing is described. */
bool sr_path_is_usable(const char *path);
/* Describe and return that a path of over SR_SUN_PATH_MAX bytes needs /proc, which is missing. */
int sr_path_refuse_without_proc(const char *call, const char *path);
/* Check a directory path: absolute, no "..", no control byte; "/" and trailing slashes are fine. */
int sr_path_check_directory(const char *path);

static inline bool sr_path_is_abstract(const char *path)
{
    return path[0] == '@';
}

/* Whether a checked name is the path of a file; else it is abstract, or TCP. */
static inline bool sr_path_is_file(const char *path)
{
    return path[0] == '/';
}

/* Where the last component of a checked path begins. */
const char *sr_path_leaf(const char *path);
/* Whether a checked name may have another spelling: a path with "//" or "/./", any TCP name. */
bool sr_path_needs_fold(const char *path);
/* How many bytes the folded name may need, its NUL among them. */
size_t sr_path_fold_room(const char *path);
/* Fold it. Returns the new length. */
size_t sr_path_fold(const char *path, char *out);

#endif
