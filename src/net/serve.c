/* The public side of serving: handlers and loops in options, sockref_serve() and the two hooks of a
 * start. */
#include "net/serve.h"

#include "base/error.h"
#include "base/sys.h"
#include "net/handlers.h"
#include "net/listener.h"
#include "net/service.h"
#include "ref/registry.h"

#include <stdlib.h>

_Static_assert(sizeof(struct sr_handlers) == sizeof(((struct sr_options_net *)0)->handlers),
               "options have no room for the handlers");

static const struct sr_handlers *handlers_of(const sockref_options *options)
{
    return (const struct sr_handlers *)options->net.handlers;
}

int sockref_options_set_loop(sockref_options *self, sockref_loop *loop)
{
    if (!self)
        return sr_error_argument("the options are NULL");
    self->net.loop = loop;
    return 0;
}

int sockref_options_set_handlers(sockref_options *self, const sockref_handlers *handlers,
                                 void *user)
{
    int status;

    if (!self)
        return sr_error_argument("the options are NULL");
    if (!handlers) {
        self->net.has_handlers = false;
        return 0;
    }
    status = sr_handlers_check(handlers);
    if (status < 0)
        return status;
    self->net.has_handlers = true;
    sr_handlers_copy(handlers, (struct sr_handlers *)self->net.handlers);
    self->net.user = user;
    return 0;
}

/* A listener with its place in a loop, not attached yet. */
static int make_listener(sockref_loop *loop, const struct sr_handlers *handlers, void *user,
                         struct sr_listener **out_listener)
{
    int status = sr_service_enter(&loop);

    if (status < 0)
        return status;
    status = sr_listener_make(loop, handlers, user, out_listener);
    if (status < 0)
        sr_service_leave(loop);
    return status;
}

struct listening {
    const char *path;
    int status;
};

static void listen_if_bound(struct sr_life *life, void *arg)
{
    struct listening *listening = arg;

    if (life->role == SR_ROLE_CONNECTED)
        listening->status = sr_error_set(SOCKREF_EBUSY, listening->path,
                                         "a connection has the socket: it can't listen any more");
    else if (life->role == SR_ROLE_BOUND)
        listening->status = sr_sockfile_listen(life->file.fd, life->backlog, listening->path);
    if (listening->status == 0)
        life->role = SR_ROLE_LISTENER;
}

/* A name that was only bound begins to listen. Whether there is one is seen later. */
static int begin_to_listen(const sockref *ref)
{
    struct listening listening = {.path = sockref_path(ref)};

    (void)sr_registry_visit(ref, listen_if_bound, &listening);
    return listening.status;
}

int sockref_serve_on(sockref *self, sockref_loop *loop, const sockref_handlers *handlers,
                     void *user)
{
    struct sr_handlers kept;
    struct sr_listener *listener;
    struct sr_life *life;
    int status;

    if (!self || !handlers)
        return sr_error_argument("%s is NULL", self ? "handlers" : "the reference");
    status = sr_handlers_check(handlers);
    if (status < 0)
        return status;
    sr_handlers_copy(handlers, &kept);
    status = make_listener(loop, &kept, user, &listener);
    if (status < 0)
        return status;
    status = begin_to_listen(self);
    if (status == 0)
        status = sr_registry_attach(self, &listener->service, &life);
    if (status < 0) {
        sr_listener_drop(listener);
        return status;
    }
    if (!sr_listener_begin(listener, life))
        return sr_error_set(SOCKREF_ECLOSED, sockref_path(self), "the loop is being freed");
    return 0;
}

int sockref_serve(sockref *self, const sockref_handlers *handlers, void *user)
{
    return sockref_serve_on(self, NULL, handlers, user);
}

int sockref_unserve(sockref *self, bool destroy)
{
    struct sr_service *service = NULL;
    int status;

    if (!self)
        return sr_error_argument("the reference is NULL");
    status = sr_registry_take_service(self, &service);
    if (status < 0)
        return sr_registry_refuse(self, status);
    if (!service)
        return sr_error_set(SOCKREF_ENOTFOUND, sockref_path(self), "the name is not served");
    sr_listener_part(service, destroy);
    return 0;
}

static void set_limit(struct sr_life *life, void *arg)
{
    const uint64_t *most = arg;

    atomic_store(&life->max_connections, *most);
    if (life->service)
        life->service->limit(life->service);
}

int sockref_set_max_connections(sockref *self, uint64_t most)
{
    int status;

    if (!self)
        return sr_error_argument("the reference is NULL");
    status = sr_registry_visit(self, set_limit, &most);
    return status < 0 ? sr_registry_refuse(self, status) : 0;
}

static void count(struct sr_life *life, void *arg)
{
    uint64_t *out_count = arg;

    if (life->service)
        *out_count = life->service->count(life->service);
}

uint64_t sockref_connection_count(const sockref *self)
{
    uint64_t connections = 0;

    if (self)
        (void)sr_registry_visit(self, count, &connections);
    return connections;
}

/* Their loop can't be reached any more. */
static void stop_here(void (*on_stop)(void *user), void *user)
{
    sr_loop_enter();
    on_stop(user);
    sr_loop_leave();
}

int sr_serve_options(const sockref_options *options, struct sr_life *life,
                     struct sr_service **out_service)
{
    const struct sr_options_net *net = &options->net;
    struct sr_listener *listener;
    int status = make_listener(net->loop, handlers_of(options), net->user, &listener);

    if (status < 0)
        return status;
    sr_registry_attach_life(life, &listener->service);
    *out_service = &listener->service;
    return 0;
}

void sr_serve_begin(struct sr_service *service, struct sr_life *life)
{
    struct sr_listener *listener = SR_LIST_OWNER(service, struct sr_listener, service);
    void (*on_stop)(void *user) = listener->owner.handlers.on_stop;
    void *user = listener->owner.user;

    if (!sr_listener_begin(listener, life) && on_stop)
        stop_here(on_stop, user);
}

void sr_serve_retract(struct sr_service *service, struct sr_life *life)
{
    sr_listener_retract(SR_LIST_OWNER(service, struct sr_listener, service), life);
}

void sr_serve_tell_unused(struct sockref_loop *loop, const sockref_options *options)
{
    const sockref_handlers *calls = &handlers_of(options)->calls;

    if (!options->net.has_handlers || !calls->on_stop)
        return;
    if (!loop) {
        stop_here(calls->on_stop, options->net.user);
        return;
    }
    loop->ran++;
    calls->on_stop(options->net.user);
}

struct unused {
    struct sr_task task;
    struct sockref_loop *loop;
    sockref_options options; /* only the handlers in it */
};

static void tell(struct sr_task *task)
{
    struct unused *unused = SR_LIST_OWNER(task, struct unused, task);
    struct sockref_loop *loop = unused->loop;

    sr_serve_tell_unused(loop, &unused->options);
    if (sr_loop_is_foreign(loop))
        return;
    free(unused);
    sr_service_leave(loop);
}

/*
 * on_stop is promised once the start has succeeded. Where its loop can't be reached any more,
 * because memory or threads have run out or the loop is being freed, it comes here and now.
 */
void sr_serve_unused(const sockref_options *options)
{
    struct unused *unused;

    if (!options || !options->net.has_handlers)
        return;
    unused = sr_sys.calloc(1, sizeof *unused);
    if (unused) {
        unused->task.run = tell;
        unused->options.net = options->net;
        unused->loop = options->net.loop;
        if (sr_service_enter(&unused->loop) == 0) {
            if (sr_loop_post(unused->loop, &unused->task))
                return;
            sr_service_leave(unused->loop);
        }
        free(unused);
    }
    sr_serve_tell_unused(NULL, options);
}
