/* Listeners that are served in JavaScript, and what is asked of them. */
#include "batch.h"

#include <arpa/inet.h>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

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

/* serve(reference, flags, keepalive_delay, holds) -> the slot of the service. Flags are
 * SOCKREF_CONN_*; END is told with HALF_OPEN only. */
static napi_value serve(napi_env env, napi_callback_info info)
{
    sockref_conn_options options = {};
    sockref_handlers handlers;
    napi_value args[4], result = nullptr;
    Handle<sockref> *ref;
    Service *service;
    bool holds = false;
    Env *self;
    int err;

    if (!get_args(env, info, 4, args, &self) || !(ref = unwrap_reference(env, args[0])) ||
        !self->open_loop())
        return nullptr;
    options.size = sizeof options;
    napi_get_value_uint32(env, args[1], &options.flags);
    napi_get_value_uint32(env, args[2], &options.keepalive_delay_ms);
    napi_get_value_bool(env, args[3], &holds);
    if (holds)
        options.max_buffered = UINT64_MAX; /* streams have limits of their own */
    set_conn_handlers(&handlers, (options.flags & SOCKREF_CONN_HALF_OPEN) != 0);
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

/* The name of a bound socket, as listen() takes it; empty where it has none. */
static std::string name_of(const struct sockaddr_storage &address, socklen_t length)
{
    char host[INET6_ADDRSTRLEN] = "";

    if (address.ss_family == AF_UNIX) {
        const char *path = reinterpret_cast<const struct sockaddr_un &>(address).sun_path;
        size_t size = length - offsetof(struct sockaddr_un, sun_path);

        if (size > 0 && path[0] == '\0')
            return "@" + std::string(path + 1, size - 1);
        return std::string(path, strnlen(path, size));
    }
    if (address.ss_family == AF_INET) {
        const auto &in = reinterpret_cast<const struct sockaddr_in &>(address);

        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        return "tcp:" + std::string(host) + ":" + std::to_string(ntohs(in.sin_port));
    }
    const auto &in6 = reinterpret_cast<const struct sockaddr_in6 &>(address);

    inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    return "tcp:[" + std::string(host) + "]:" + std::to_string(ntohs(in6.sin6_port));
}

/* listen_fd(fd, backlog) -> the name of the socket, which listens now, or a status */
static napi_value listen_fd(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    struct sockaddr_storage address = {};
    socklen_t length = sizeof address, size = sizeof(int);
    int32_t fd = -1, backlog = 0;
    int type = 0;
    Env *self;

    if (!get_args(env, info, 2, args, &self))
        return nullptr;
    napi_get_value_int32(env, args[0], &fd);
    napi_get_value_int32(env, args[1], &backlog);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM ||
        getsockname(fd, reinterpret_cast<struct sockaddr *>(&address), &length) < 0 ||
        listen(fd, backlog) < 0) {
        napi_create_int32(env, type == SOCK_STREAM ? -errno : -EINVAL, &result);
        return result;
    }
    std::string name = name_of(address, length);
    napi_create_buffer_copy(env, name.size(), name.data(), nullptr, &result);
    return result;
}

void add_serve(Env *self, napi_value exports)
{
    add_function(self, exports, "set_deliver", set_deliver);
    add_function(self, exports, "serve", serve);
    add_function(self, exports, "unserve", unserve);
    add_function(self, exports, "local_address", local_address);
    add_function(self, exports, "listen_fd", listen_fd);
}

} // namespace sr
