/* What the suites of the socket and its file share: one that is bound, and one of somebody else's.
 */
#ifndef TEST_SOCKFILE_HELPERS_H
#define TEST_SOCKFILE_HELPERS_H

#include "harness/harness.h"
#include "name/sockfile.h"

#include <sys/socket.h>
#include <sys/stat.h>

static struct sr_sockfile file;

static inline int try_bind(const char *path, int mode)
{
    struct sr_place place;
    int status = sr_place_open(path, &place);

    if (status < 0)
        return status;
    status = sr_sockfile_bind(&place, path, mode, 16, &file, NULL);
    sr_place_close(&place); /* nothing when it was taken */
    return status;
}

static inline void bind_at(const char *path)
{
    harness_assert_ok(try_bind(path, 0600));
}

static inline void end(const char *path)
{
    harness_assert_ok(sr_sockfile_remove(&file, path));
    sr_sockfile_close(&file);
}

static int foreign; /* a socket of somebody else's */

static inline void put_file(const char *path)
{
    harness_write(path, "precious");
}

static inline void put_dir(const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static inline void put_live(const char *path)
{
    foreign = harness_bind(path);
}

#endif
