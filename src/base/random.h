/* Numbers that nobody else draws. */
#ifndef SR_BASE_RANDOM_H
#define SR_BASE_RANDOM_H

#include <stdint.h>

/* Never waits: before the system has enough of its own, from the clock and the process. */
uint64_t sr_random(void);

#endif
