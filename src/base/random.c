/* Random numbers. */
#include "base/random.h"

#include "base/clock.h"
#include "base/thread.h"

#include <sys/random.h>
#include <unistd.h>

uint64_t sr_random(void)
{
    uint64_t number;
    int cancel = sr_thread_begin_uncancelled(); /* getrandom() is a place where a thread may end */

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        number = sr_clock_ns() ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)&number;
    sr_thread_end_uncancelled(cancel);
    return number;
}
