/*
 * To be preloaded: makes the removal of some files slow, so that a test can do something meanwhile.
 * unlinkat() of a path whose last component contains "slow" first waits SLOW_UNLINK_MS
 * milliseconds.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void wait_if_slow(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *text = getenv("SLOW_UNLINK_MS");
    long ms = text ? atol(text) : 0;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    if (!strstr(slash ? slash + 1 : path, "slow"))
        return;
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
}

int unlinkat(int dir, const char *path, int flags)
{
    int (*next)(int, const char *, int) =
        (int (*)(int, const char *, int))dlsym(RTLD_NEXT, "unlinkat");

    wait_if_slow(path);
    return next(dir, path, flags);
}
