/* sockref_loop_post(): the way to a loop's thread. */
#include "net/service.h"

#include "base/error.h"
#include "base/sys.h"

#include <stdlib.h>

struct post {
    struct sr_call call;
    struct sockref_loop *loop; /* a place in it */
    sockref_post_fn fn;
    void *user;
};

static void run(struct sr_task *task)
{
    struct post *self = SR_LIST_OWNER(task, struct post, call.task);
    struct sockref_loop *loop = self->loop;
    sockref_post_fn fn = self->fn;
    void *user = self->user;
    bool closing;

    free(self);
    sr_mutex_lock(&loop->mutex);
    closing = loop->closing;
    sr_mutex_unlock(&loop->mutex);
    loop->ran++;
    fn(closing ? SOCKREF_ECANCELED : 0, user);
    if (!sr_loop_is_foreign(loop))
        sr_service_leave(loop);
}

int sockref_loop_post(sockref_loop *loop, sockref_post_fn fn, void *user)
{
    struct post *self;
    int status;

    if (!fn)
        return sr_error_argument("fn is NULL");
    self = sr_sys.malloc(sizeof *self);
    if (!self)
        return sr_error_no_memory();
    *self = (struct post){.call = {.task = {.run = run}}, .loop = loop, .fn = fn, .user = user};
    status = sr_service_enter(&self->loop);
    if (status < 0)
        goto err_free;
    loop = self->loop;
    if (!sr_loop_post_call(loop, &self->call)) {
        status = sr_error_set(SOCKREF_ECLOSED, NULL, "the loop is being freed");
        goto err_leave;
    }
    return 0;

err_leave:
    sr_service_leave(loop);
err_free:
    free(self);
    return status;
}
