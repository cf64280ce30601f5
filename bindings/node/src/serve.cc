/* Listeners that are served in JavaScript, and what is asked of them. */
#include "batch.h"

#include <cerrno>
#include <sys/socket.h>

namespace sr
{

static void on_stop(void *user)
{
    Service *service = static_cast<Service *>(user);

    if (!service->self->closing)
        service->self->batch->event(STOP, service->slot);
}

/* set_deliver(function) -> the array of events */
static napi_value set_deliver(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Env *self;

    if (!get_args(env, info, 1, args, &self) || !self->open_loop())
        return nullptr;
    return self->batch->set_deliver(args[0]);
}

/* serve(reference, flags, holds) -> the slot of the service. Flags are SOCKREF_CONN_*; END is told
 * with HALF_OPEN only. */
static napi_value serve(napi_env env, napi_callback_info info)
{
    sockref_conn_options options = {};
    sockref_handlers handlers;
    napi_value args[3], result = nullptr;
    Handle<sockref> *ref;
    Service *service;
    bool holds = false, tell_end;
    Env *self;
    int err;

    if (!get_args(env, info, 3, args, &self) || !(ref = unwrap_reference(env, args[0])) ||
        !self->open_loop())
        return nullptr;
    options.size = sizeof options;
    napi_get_value_uint32(env, args[1], &options.flags);
    napi_get_value_bool(env, args[2], &holds);
    if (holds)
        options.max_buffered = UINT64_MAX; /* streams have limits of their own */
    tell_end = (options.flags & SOCKREF_CONN_HALF_OPEN) != 0;
    if (!tell_end)
        options.flags |= SOCKREF_CONN_AUTO_END; /* with on_end nothing ends by itself */
    set_conn_handlers(&handlers, tell_end);
    handlers.on_stop = on_stop;
    handlers.options = &options;
    service = new Service{self, -1, holds};
    service->slot = self->batch->services.add(service);
    err =
        ref->get() ? sockref_serve_on(ref->get(), self->loop, &handlers, service) : SOCKREF_ECLOSED;
    if (err < 0) {
        self->batch->services.remove(service->slot);
        throw_failure(env, Failure::of(err));
        return nullptr;
    }
    napi_create_int32(env, service->slot, &result);
    return result;
}

/* unserve(reference): accepts no more; the connections go on. */
static napi_value unserve(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Handle<sockref> *ref;
    Env *self;

    if (get_args(env, info, 1, args, &self) && (ref = unwrap_reference(env, args[0])) && ref->get())
        sockref_unserve(ref->get(), false);
    return nullptr;
}

/* local_address(reference) -> { address, family, port } */
static napi_value local_address(napi_env env, napi_callback_info info)
{
    sockref_address address = {};
    napi_value args[1];
    Handle<sockref> *ref;
    Env *self;
    int err;

    if (!get_args(env, info, 1, args, &self) || !(ref = unwrap_reference(env, args[0])))
        return nullptr;
    address.size = sizeof address;
    err = ref->get() ? sockref_local_address(ref->get(), &address) : SOCKREF_ECLOSED;
    if (err < 0) {
        throw_failure(env, Failure::of(err));
        return nullptr;
    }
    return address_value(env, address);
}

/* descriptor(reference) -> the socket's own, which stays its */
static napi_value descriptor(napi_env env, napi_callback_info info)
{
    napi_value args[1], result = nullptr;
    Handle<sockref> *ref;
    Env *self;
    int fd;

    if (!get_args(env, info, 1, args, &self) || !(ref = unwrap_reference(env, args[0])))
        return nullptr;
    fd = ref->get() ? sockref_fd(ref->get()) : SOCKREF_ECLOSED;
    if (fd < 0) {
        throw_failure(env, Failure::of(fd));
        return nullptr;
    }
    napi_create_int32(env, fd, &result);
    return result;
}

/* listen_fd(fd, backlog) -> 0, and the socket listens now, or a status */
static napi_value listen_fd(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    socklen_t size = sizeof(int);
    int32_t fd = -1, backlog = 0;
    int type = 0, status = 0;
    Env *self;

    if (!get_args(env, info, 2, args, &self))
        return nullptr;
    napi_get_value_int32(env, args[0], &fd);
    napi_get_value_int32(env, args[1], &backlog);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        status = -EINVAL;
    else if (listen(fd, backlog) < 0)
        status = -errno;
    napi_create_int32(env, status, &result);
    return result;
}

void add_serve(Env *self, napi_value exports)
{
    add_function(self, exports, "set_deliver", set_deliver);
    add_function(self, exports, "serve", serve);
    add_function(self, exports, "unserve", unserve);
    add_function(self, exports, "local_address", local_address);
    add_function(self, exports, "descriptor", descriptor);
    add_function(self, exports, "listen_fd", listen_fd);
}

} // namespace sr
