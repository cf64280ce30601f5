/*
 * Handlers that wait: of a start that joined a name, for when its registry owns it.
 *
 * They outlive the call that gave them, and with it the loop that they name, so that is counted,
 * and lists them. on_stop is told once: by the loop that is freed, or by whoever takes them from
 * it first.
 */
#include "net/kept.h"

#include "base/error.h"
#include "base/sys.h"
#include "net/serve.h"

#include <stdlib.h>

struct sr_kept {
    struct sr_list node;       /* of the loop's; guarded by its mutex */
    struct sockref_loop *loop; /* counted; NULL: the library's own, which is freed with nobody */
    bool stopped;              /* on_stop was told; guarded by the loop's mutex */
    sockref_options options;   /* only what this floor has hung on them */
};

int sr_kept_make(const sockref_options *options, struct sr_kept **out_kept)
{
    struct sockref_loop *loop = options->net.loop;
    struct sr_kept *self;
    bool closing = false;

    if (loop && sr_loop_is_foreign(loop))
        return sr_loop_refuse_foreign();
    self = sr_sys.calloc(1, sizeof *self);
    if (!self)
        return sr_error_no_memory();
    sr_list_init(&self->node);
    self->loop = loop;
    self->options.net = options->net;
    if (loop) {
        sr_mutex_lock(&loop->mutex);
        closing = loop->closing;
        if (!closing) {
            sr_loop_acquire(loop);
            sr_list_append(&loop->kept, &self->node);
        }
        sr_mutex_unlock(&loop->mutex);
    }
    if (closing) {
        free(self);
        return sr_error_set(SOCKREF_ECLOSED, NULL, "the loop is being freed");
    }
    *out_kept = self;
    return 0;
}

/* Returns whether on_stop is owed still; if so, it is the caller's to tell. */
static bool take(struct sr_kept *self)
{
    bool owed;

    if (!self->loop)
        return true;
    sr_mutex_lock(&self->loop->mutex);
    owed = !self->stopped;
    sr_list_remove(&self->node);
    sr_mutex_unlock(&self->loop->mutex);
    return owed;
}

void sr_kept_forget(struct sr_kept *self)
{
    if (!self)
        return;
    (void)take(self);
    if (self->loop)
        sr_loop_release(self->loop);
    free(self);
}

int sr_kept_serve(struct sr_kept *self, struct sr_life *life, struct sr_service **out_service)
{
    int status;

    if (!take(self))
        return sr_error_set(SOCKREF_ECLOSED, NULL, "the loop of its handlers was freed");
    status = sr_serve_options(&self->options, life, out_service);
    if (status == 0)
        sr_kept_forget(self);
    return status;
}

void sr_kept_drop(struct sr_kept *self)
{
    if (!self)
        return;
    if (take(self))
        sr_serve_unused(&self->options);
    sr_kept_forget(self);
}

/* Take the first one from the loop, with a copy of what is to be told, for the record may go at
 * once. Returns whether there was one. */
static bool stop_first(struct sockref_loop *loop, sockref_options *out_options)
{
    struct sr_kept *first = NULL;

    sr_mutex_lock(&loop->mutex);
    if (!sr_list_is_empty(&loop->kept)) {
        first = SR_LIST_OWNER(loop->kept.next, struct sr_kept, node);
        sr_list_remove(&first->node);
        first->stopped = true;
        *out_options = first->options;
    }
    sr_mutex_unlock(&loop->mutex);
    return first != NULL;
}

void sr_kept_stop_all(struct sockref_loop *loop)
{
    sockref_options options;

    while (!sr_loop_is_foreign(loop) && stop_first(loop, &options))
        sr_serve_tell_unused(loop, &options);
}
