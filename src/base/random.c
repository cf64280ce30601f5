/* Random numbers. */
#include "base/random.h"

#include "base/clock.h"

#include <sys/random.h>
#include <unistd.h>

uint64_t sr_random(void)
{
    uint64_t number;

    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        number = sr_clock_ns() ^ (uint64_t)getpid() << 40 ^ (uint64_t)(uintptr_t)&number;
    return number;
}
