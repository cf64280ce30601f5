/* No descriptor is closed twice: its number may be another one's by then. It is seen where it is
 * not. */
#include "base/sys.h"
#include "harness/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int (*real_close)(int fd);

static int close_once(int fd)
{
    int status = real_close(fd);

    if (status < 0 && errno == EBADF) {
        fprintf(stderr, "descriptor %d was closed twice\n", fd);
        abort();
    }
    return status;
}

void harness_watch_closing(void)
{
    real_close = sr_sys.close;
    sr_sys.close = close_once;
}
