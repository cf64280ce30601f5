/* What loops have counted, alone and together. */
#include "net/traffic.h"

#include "base/clock.h"
#include "base/error.h"
#include "net/loop.h"

#include <string.h>

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_list loops SR_GUARDED_BY(mutex) = SR_LIST_INIT(loops);
static sockref_loop_stats ended SR_GUARDED_BY(mutex); /* of those that were freed */

/* Add what only grows. */
static void add_counts(const struct sr_traffic *from, sockref_loop_stats *inout_stats)
{
    inout_stats->callbacks += sr_tally_read(&from->callbacks);
    inout_stats->starved += sr_tally_read(&from->starved);
    inout_stats->accepted += sr_tally_read(&from->accepted);
    inout_stats->refused += sr_tally_read(&from->refused);
    inout_stats->connected += sr_tally_read(&from->connected);
    inout_stats->connect_failed += sr_tally_read(&from->connect_failed);
    inout_stats->bytes_read += sr_tally_read(&from->bytes_read);
    inout_stats->bytes_written += sr_tally_read(&from->bytes_written);
    sr_histogram_read(&from->connect, &inout_stats->connect);
}

static uint64_t since_of(struct sr_list *node)
{
    return SR_LIST_OWNER(node, struct sr_call, waiting)->since_ns;
}

/* Add what waits in a loop now. */
static void add_waiting(struct sockref_loop *loop, sockref_loop_stats *inout_stats)
{
    uint64_t now, oldest, newest;

    sr_mutex_lock(&loop->mutex);
    if (loop->calls_waiting > 0) {
        now = sr_clock_ns();
        oldest = now - since_of(loop->calls.next);
        newest = now - since_of(loop->calls.prev);
        if (inout_stats->pending == 0 || newest < inout_stats->newest_ns)
            inout_stats->newest_ns = newest;
        if (oldest > inout_stats->oldest_ns)
            inout_stats->oldest_ns = oldest;
        inout_stats->pending += loop->calls_waiting;
        inout_stats->is_starving |= oldest > SR_LOOP_STARVED_NS;
    }
    sr_mutex_unlock(&loop->mutex);
}

static void add_loop(struct sockref_loop *loop, sockref_loop_stats *inout_stats)
{
    add_counts(&loop->traffic, inout_stats);
    add_waiting(loop, inout_stats);
}

void sr_traffic_begin(struct sockref_loop *loop)
{
    sr_mutex_lock(&mutex);
    sr_list_append(&loops, &loop->node);
    sr_mutex_unlock(&mutex);
}

/* In one step, so that the sum never goes down. */
void sr_traffic_end(struct sockref_loop *loop)
{
    sr_mutex_lock(&mutex);
    sr_list_remove(&loop->node);
    add_counts(&loop->traffic, &ended);
    sr_mutex_unlock(&mutex);
}

void sr_traffic_after_fork_in_child(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    sr_list_init(&loops);
    ended = (sockref_loop_stats){0};
}

static void add_all(sockref_loop_stats *out_stats)
{
    struct sr_list *node;

    sr_mutex_lock(&mutex);
    *out_stats = ended;
    SR_LIST_EACH(node, &loops)
    {
        add_loop(SR_LIST_OWNER(node, struct sockref_loop, node), out_stats);
    }
    sr_mutex_unlock(&mutex);
}

int sockref_loop_get_stats(const sockref_loop *self, sockref_loop_stats *out_stats)
{
    sockref_loop_stats stats = {0};
    int status;

    if (!out_stats)
        return sr_error_argument("out_stats is NULL");
    status = sr_error_check_size(out_stats->size, sizeof stats);
    if (status < 0)
        return status;
    if (self && sr_loop_is_foreign(self))
        return sr_loop_refuse_foreign();
    if (self)
        add_loop((sockref_loop *)(uintptr_t)self, &stats); /* its mutex is taken */
    else
        add_all(&stats);
    stats.size = out_stats->size;
    memcpy(out_stats, &stats, stats.size);
    return 0;
}
