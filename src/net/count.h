/*
 * Live connection handles and queued pieces of data. Each thread adds to a line of its own, the sum
 * is made when somebody asks.
 */
#ifndef SR_NET_COUNT_H
#define SR_NET_COUNT_H

#include <stdint.h>

enum sr_count_kind { SR_COUNT_HANDLES, SR_COUNT_BUFFERS, SR_COUNT_KINDS };

void sr_count_add(enum sr_count_kind kind, int64_t change);
uint64_t sr_count_sum(enum sr_count_kind kind);

#endif
