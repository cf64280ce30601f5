/* What this floor does for the one below. The table is defined here, so that no link leaves it out.
 */
#include "ref/hooks.h"

#include "net/count.h"
#include "net/fdwatch.h"
#include "net/kept.h"
#include "net/resolve.h"
#include "net/serve.h"
#include "net/service.h"
#include "net/start.h"

static void count(uint64_t *inout_handles, uint64_t *inout_buffers)
{
    *inout_handles += sr_count_sum(SR_COUNT_HANDLES);
    *inout_buffers += sr_count_sum(SR_COUNT_BUFFERS);
}

static int drain(uint64_t deadline_ns)
{
    int status = sr_service_drain(deadline_ns);

    return status < 0 ? status : sr_resolve_drain(deadline_ns);
}

static void after_fork_in_child(void)
{
    sr_resolve_after_fork_in_child();
    sr_start_after_fork_in_child();
    sr_service_after_fork_in_child();
    sr_traffic_after_fork_in_child();
}

struct sr_hooks sr_hooks = {
    .serve = sr_serve_options,
    .serve_begin = sr_serve_begin,
    .serve_retract = sr_serve_retract,
    .serve_unused = sr_serve_unused,
    .kept_make = sr_kept_make,
    .kept_serve = sr_kept_serve,
    .kept_drop = sr_kept_drop,
    .kept_forget = sr_kept_forget,
    .cancel_starts = sr_start_cancel_registry,
    .notice_reserve = sr_service_reserve,
    .notice_unreserve = sr_service_unreserve,
    .notify = sr_service_notify,
    .drain = drain,
    .in_callback = sr_loop_in_callback,
    .fdwatch_begin = sr_fdwatch_begin,
    .fdwatch_end = sr_fdwatch_end,
    .fdwatch_every = sr_fdwatch_every,
    .count = count,
    .after_fork_in_child = after_fork_in_child,
};
