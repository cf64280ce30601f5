/* Time: the monotonic clock only. */
#ifndef SR_BASE_CLOCK_H
#define SR_BASE_CLOCK_H

#include <stdint.h>

#define SR_CLOCK_NEVER UINT64_MAX

uint64_t sr_clock_ns(void);
/* Now plus a time in milliseconds; a negative one means never. */
uint64_t sr_clock_after_ms(int64_t milliseconds);

#endif
