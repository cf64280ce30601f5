/* What this floor does for the one below, put into its table when the library is loaded. */
#include "net/hooks.h"

#include "net/count.h"
#include "net/serve.h"
#include "net/service.h"
#include "net/start.h"
#include "ref/hooks.h"

static void count(uint64_t *inout_handles, uint64_t *inout_buffers)
{
    *inout_handles += sr_count_sum(SR_COUNT_HANDLES);
    *inout_buffers += sr_count_sum(SR_COUNT_BUFFERS);
}

static void after_fork_in_child(void)
{
    sr_start_after_fork_in_child();
    sr_service_after_fork_in_child();
}

void sr_hooks_install(void)
{
    sr_hooks = (struct sr_hooks){
        .serve = sr_serve_options,
        .serve_unused = sr_serve_unused,
        .cancel_starts = sr_start_cancel_registry,
        .notify = sr_service_notify,
        .drain = sr_service_drain,
        .in_callback = sr_loop_in_callback,
        .count = count,
        .after_fork_in_child = after_fork_in_child,
    };
}
