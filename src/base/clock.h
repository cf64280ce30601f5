/* Time: the monotonic clock only. */
#ifndef SR_BASE_CLOCK_H
#define SR_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define SR_CLOCK_NEVER UINT64_MAX

uint64_t sr_clock_ns(void);
/* Now plus a time in milliseconds; a negative one means never. */
uint64_t sr_clock_after_ms(int64_t milliseconds);
/*
 * Whether a deadline is over, for who looks as soon as it is. One that is found long over was slept
 * through: this process, its loop or the machine stood still, and so may those who are waited for.
 * It is moved on then, for one more look.
 */
bool sr_clock_is_over(uint64_t *inout_deadline);
/* The same for who may always be late, and would never have the last look: it is moved on once. */
bool sr_clock_is_over_once(uint64_t *inout_deadline, bool *inout_was_late);

#endif
