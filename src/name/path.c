/*
 * Path rules.
 *
 * A name is an absolute path to a file, or '@' and a name of the abstract namespace, or
 * tcp:HOST:PORT (tcp.c). Refused before any side effect: what would reach another file than it says
 * (relative, ".."), what is no file name (empty, trailing slash, "."), what breaks logs and scripts
 * (control bytes), and what this platform can't name. Spaces and bytes from 0x80 are allowed: paths
 * are bytes.
 */
#include "name/path.h"

#include "base/error.h"
#include "name/place.h"
#include "name/tcp.h"

#include <errno.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <string.h>

static bool has_dots(const char *path)
{
    for (const char *at = strstr(path, ".."); at; at = strstr(at + 1, ".."))
        if ((at == path || at[-1] == '/') && (at[2] == '/' || at[2] == '\0'))
            return true;
    return false;
}

#define EACH_BYTE(value) ((value) * (UINT64_MAX / 255))

/* Whether one of eight bytes is below a value of at most 0x80: it borrows from its highest bit. */
static bool has_below(uint64_t bytes, uint64_t value)
{
    return (bytes - EACH_BYTE(value)) & ~bytes & EACH_BYTE(0x80u);
}

static bool has_control_of_eight(uint64_t bytes)
{
    return has_below(bytes, 0x20) || has_below(bytes ^ EACH_BYTE(0x7fu), 1);
}

static bool has_control(const char *path, size_t length)
{
    uint64_t bytes = EACH_BYTE((uint64_t)' ');

    if (length < sizeof bytes) {
        memcpy(&bytes, path, length);
        return has_control_of_eight(bytes);
    }
    for (size_t at = 0; at + sizeof bytes < length; at += sizeof bytes) {
        memcpy(&bytes, path + at, sizeof bytes);
        if (has_control_of_eight(bytes))
            return true;
    }
    memcpy(&bytes, path + length - sizeof bytes, sizeof bytes); /* some are looked at again */
    return has_control_of_eight(bytes);
}

/* What is wrong with the bytes and components of a path, or NULL. */
static const char *find_fault(const char *path)
{
    if (has_control(path, strlen(path)))
        return "a control byte in a path: give a path without it";
    if (has_dots(path))
        return "a \"..\" component could lead elsewhere: give the path without it";
    return NULL;
}

static const char *find_name_fault(const char *path)
{
    struct sr_tcp tcp;
    const char *leaf;

    if (path[0] == '\0')
        return "an empty path: give an absolute one, or '@' and an abstract name";
    if (path[0] == '@' && path[1] == '\0')
        return "an abstract name needs at least one byte after '@'";
    if (path[0] == '@')
        return find_fault(path);
    if (sr_tcp_is_name(path))
        return sr_tcp_parse(path, &tcp);
    if (!sr_path_is_file(path))
        return "a relative path means another file after chdir: give an absolute one";
    leaf = sr_path_leaf(path);
    if (leaf[0] == '\0')
        return "a trailing slash names a directory: give the path of a file";
    if (strcmp(leaf, ".") == 0)
        return "\".\" names a directory: give the path of a file";
    return find_fault(path);
}

/* The limit that a name breaks, or 0. */
static size_t find_limit(const char *path)
{
    size_t length = strlen(path);

    if (sr_path_is_abstract(path))
        return length > SR_SUN_PATH_MAX ? SR_SUN_PATH_MAX : 0;
    if (length > SR_PATH_MAX)
        return SR_PATH_MAX;
    if (length > SR_SUN_PATH_MAX && strlen(sr_path_leaf(path)) > (size_t)SR_LEAF_BY_FD_MAX)
        return SR_LEAF_BY_FD_MAX;
    return 0;
}

int sr_path_check(const char *path)
{
    const char *fault;
    size_t limit;

    if (!path)
        return sr_error_argument("the path is NULL");
    fault = find_name_fault(path);
    if (fault)
        return sr_error_set(SOCKREF_EPATH, path, "%s", fault);
    limit = find_limit(path);
    if (limit == SR_LEAF_BY_FD_MAX)
        return sr_error_set(SOCKREF_EPATHLEN, path,
                            "a path over %d bytes may end in a name of at most %zu bytes; this "
                            "one has %zu: shorten the last component",
                            SR_SUN_PATH_MAX, limit, strlen(sr_path_leaf(path)));
    if (limit)
        return sr_error_set(
            SOCKREF_EPATHLEN, path, "%s may have at most %zu bytes; this one has %zu: shorten it",
            sr_path_is_abstract(path) ? "an abstract name" : "a path", limit, strlen(path));
    return 0;
}

bool sr_path_is_usable(const char *path)
{
    return path && !find_name_fault(path) && find_limit(path) == 0;
}

int sr_path_check_directory(const char *path)
{
    const char *fault = NULL;

    if (!path)
        return sr_error_argument("the directory is NULL");
    if (path[0] != '/')
        fault = path[0] ? "a relative directory changes with chdir: give an absolute one"
                        : "an empty directory path: give an absolute one";
    else
        fault = find_fault(path);
    if (fault)
        return sr_error_set(SOCKREF_EPATH, path, "%s", fault);
    if (strlen(path) > SR_PATH_MAX)
        return sr_error_set(SOCKREF_EPATHLEN, path, "a path may have at most %d bytes",
                            SR_PATH_MAX);
    return 0;
}

const char *sr_path_leaf(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

bool sr_path_needs_fold(const char *path)
{
    if (sr_path_is_file(path))
        return strstr(path, "//") || strstr(path, "/./");
    return sr_tcp_is_name(path);
}

static size_t fold_tcp(const char *path, char *out)
{
    struct sr_tcp tcp;

    (void)sr_tcp_parse(path, &tcp); /* it was checked */
    return sr_tcp_format(&tcp, out);
}

int sr_path_refuse_without_proc(const char *call, const char *path)
{
    return sr_error_wrapped(SOCKREF_EUNSUPPORTED, ENOENT, call, path,
                            "a path of over %d bytes needs /proc: mount it, or use a shorter path",
                            SR_SUN_PATH_MAX);
}

size_t sr_path_fold_room(const char *path)
{
    return sr_tcp_is_name(path) ? SR_TCP_NAME_MAX : strlen(path) + 1;
}

size_t sr_path_fold(const char *path, char *out)
{
    char *to = out;

    if (sr_tcp_is_name(path))
        return fold_tcp(path, out);
    while (*path) {
        if (path[0] == '/' && path[1] == '/') {
            path++;
        } else if (path[0] == '/' && path[1] == '.' && path[2] == '/') {
            path += 2;
        } else {
            *to++ = *path++;
        }
    }
    *to = '\0';
    return (size_t)(to - out);
}
