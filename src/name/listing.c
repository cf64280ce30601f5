/* What stands in a directory. */
#include "name/listing.h"

#include "base/error.h"
#include "base/sys.h"
#include "name/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LOCK_SUFFIX ".srlock"

DIR *sr_listing_open(const struct sr_place *place, int flags)
{
    int fd = sr_sys.openat(place->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int os_errno = errno;

    if (!stream && fd >= 0)
        sr_sys.close(fd);
    errno = os_errno;
    return stream;
}

bool sr_listing_is_lock(const char *name)
{
    size_t length = strlen(name), suffix = strlen(LOCK_SUFFIX);

    return name[0] == '.' && length > suffix + 1 &&
           strcmp(name + length - suffix, LOCK_SUFFIX) == 0;
}

void sr_listing_told_leaf(const char *lock_name, char *out)
{
    snprintf(out, SR_LEAF_MAX + 1, "%.*s", (int)(strlen(lock_name) - strlen(LOCK_SUFFIX) - 1),
             lock_name + 1);
}

int sr_listing_find_leaf(const struct sr_place *place, const char *lock_name, char *out)
{
    char beside[SR_LOCKFILE_NAME_MAX];
    const struct dirent *item;
    DIR *stream;

    sr_listing_told_leaf(lock_name, out);
    if (out[0] != '~')
        return 0;
    stream = sr_listing_open(place, 0);
    if (!stream)
        return sr_error_system(errno, "open", lock_name);
    while ((item = readdir(stream))) {
        sr_lockfile_name(item->d_name, LOCK_SUFFIX, beside);
        if (strcmp(beside, lock_name) == 0)
            snprintf(out, SR_LEAF_MAX + 1, "%s", item->d_name);
    }
    closedir(stream);
    return 0;
}
