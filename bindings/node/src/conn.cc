/* Connections: their handlers, and what JavaScript does with each, by its slot. What is over takes
 * every call but a write quietly, for JavaScript may learn of it later. */
#include "batch.h"

#include <cstring>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace sr
{

Conn::Conn(Env *env, sockref_conn *conn, bool holding) : self(env), handle(conn), holds(holding)
{
    slot = env->batch->conns.add(this);
    sockref_conn_set_data(conn, this);
    if (holds)
        env->hold();
}

Conn::~Conn()
{
    if (holds)
        self->unhold();
    lent.set(self->env, nullptr);
}

void Conn::keep_details()
{
    auto details = std::make_unique<sockref_conn_details>();

    details->size = sizeof *details;
    details->local.size = sizeof details->local;
    details->remote.size = sizeof details->remote;
    if (!last && sockref_conn_info(handle, details.get()) == 0)
        last = std::move(details);
}

static Conn *conn_of(sockref_conn *handle)
{
    Conn *conn = static_cast<Conn *>(sockref_conn_data(handle));

    return conn && !conn->self->closing ? conn : nullptr;
}

static void tell(sockref_conn *handle, Kind kind, int32_t a = 0, int32_t b = 0)
{
    if (Conn *conn = conn_of(handle))
        conn->self->batch->event(kind, conn->slot, a, b);
}

static void on_connection(sockref_conn *handle, void *user)
{
    Service *service = static_cast<Service *>(user);

    if (service->self->closing) {
        sockref_conn_destroy(handle);
        return;
    }
    Conn *conn = new Conn(service->self, sockref_conn_acquire(handle), service->holds);
    conn->self->batch->event(OPEN, conn->slot, service->slot);
}

static void on_connect(sockref_conn *handle, void *)
{
    tell(handle, CONNECT);
}

static void *on_buffer(sockref_conn *handle, size_t *inout_length, void *)
{
    Conn *conn = conn_of(handle);

    return conn ? conn->self->batch->room(conn, inout_length) : nullptr;
}

static void on_data(sockref_conn *handle, const void *data, size_t length, void *)
{
    if (Conn *conn = conn_of(handle))
        conn->self->batch->data(conn, data, length);
}

static void on_end(sockref_conn *handle, void *)
{
    Conn *conn = conn_of(handle);

    if (!conn)
        return;
    conn->peer_ended = true;
    if (conn->ended)
        conn->keep_details();
    tell(handle, END);
}

/* Our side ends when this returns: what came before can be answered. */
static void on_last_end(sockref_conn *handle, void *)
{
    if (Conn *conn = conn_of(handle))
        conn->self->batch->begin_event(conn);
}

static void on_drain(sockref_conn *handle, void *)
{
    tell(handle, DRAIN);
}

static void on_timeout(sockref_conn *handle, void *)
{
    tell(handle, TIMEOUT);
}

static int failed_call(int status)
{
    const sockref_error *last = sockref_last_error();

    if (!last || last->status != status || !last->syscall)
        return FROM_OTHER;
    if (std::strcmp(last->syscall, "bind") == 0)
        return FROM_BIND;
    return std::strncmp(last->syscall, "send", 4) == 0 || std::strncmp(last->syscall, "write", 5) == 0
               ? FROM_WRITE
               : FROM_OTHER;
}

static void on_error(sockref_conn *handle, int status, void *)
{
    tell(handle, ERROR, status, failed_call(status));
}

static bool is_same(const sockref_address &one, const sockref_address &other)
{
    return one.family == other.family && one.host_length == other.host_length &&
           std::memcmp(one.host, other.host, one.host_length) == 0;
}

static void on_attempt(sockref_conn *handle, const sockref_address *address, int event, int status,
                       void *)
{
    Conn *conn = conn_of(handle);

    if (!conn || !conn->tried)
        return;
    for (size_t i = 0; i < conn->tried->size(); i++)
        if (is_same((*conn->tried)[i], *address)) {
            tell(handle, ATTEMPT, event + static_cast<int32_t>(i) * 16, status);
            return;
        }
}

static void on_close(sockref_conn *handle, bool had_error, void *)
{
    Conn *conn = static_cast<Conn *>(sockref_conn_data(handle));

    if (!conn)
        return;
    conn->handle = nullptr;
    sockref_conn_set_data(handle, nullptr);
    if (!conn->self->closing) /* else the batch frees what is left */
        conn->self->batch->event(CLOSE, conn->slot, had_error);
    sockref_conn_release(handle);
}

void set_conn_handlers(sockref_handlers *handlers, bool tell_end)
{
    *handlers = {};
    handlers->size = sizeof *handlers;
    handlers->on_connection = on_connection;
    handlers->on_connect = on_connect;
    handlers->on_buffer = on_buffer;
    handlers->on_data = on_data;
    handlers->on_end = tell_end ? on_end : on_last_end;
    handlers->on_drain = on_drain;
    handlers->on_timeout = on_timeout;
    handlers->on_error = on_error;
    handlers->on_attempt = on_attempt;
    handlers->on_close = on_close;
}

static Conn *any_conn(napi_env env, Env *self, napi_value value)
{
    int32_t slot = -1;

    napi_get_value_int32(env, value, &slot);
    return self->batch ? self->batch->conns.get(slot) : nullptr;
}

Conn *find_conn(napi_env env, Env *self, napi_value value)
{
    Conn *conn = any_conn(env, self, value);

    return conn && conn->handle ? conn : nullptr;
}

/* The connection that a function was called for, and its further arguments. */
static Conn *arguments(napi_env env, napi_callback_info info, size_t count, napi_value *args)
{
    Env *self;

    return get_args(env, info, count, args, &self) ? find_conn(env, self, args[0]) : nullptr;
}

static napi_value conn_end(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Conn *conn = arguments(env, info, 1, args);

    if (!conn)
        return nullptr;
    conn->ended = true;
    if (conn->peer_ended)
        conn->keep_details();
    sockref_conn_end(conn->handle);
    return nullptr;
}

/* conn_pause(slot) and its like: calls of the library that take a connection alone. */
template <auto call> static napi_value control(napi_env env, napi_callback_info info)
{
    napi_value args[1];

    if (Conn *conn = arguments(env, info, 1, args))
        call(conn->handle);
    return nullptr;
}

/* conn_set_timeout(slot, milliseconds) */
static napi_value conn_set_timeout(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    uint32_t time = 0;

    if (Conn *conn = arguments(env, info, 2, args)) {
        napi_get_value_uint32(env, args[1], &time);
        sockref_conn_set_timeout(conn->handle, time);
    }
    return nullptr;
}

/* conn_set_keepalive(slot, on, milliseconds, interval in seconds, count): what the library sets, and
 * the probes as Node has them. The system refuses numbers that are none of its own. */
static napi_value conn_set_keepalive(napi_env env, napi_callback_info info)
{
    napi_value args[5];
    uint32_t delay = 0;
    int32_t interval = 0, count = 0;
    bool on = false;
    int fd;

    if (Conn *conn = arguments(env, info, 5, args)) {
        napi_get_value_bool(env, args[1], &on);
        napi_get_value_uint32(env, args[2], &delay);
        napi_get_value_int32(env, args[3], &interval);
        napi_get_value_int32(env, args[4], &count);
        fd = sockref_conn_fd(conn->handle);
        if (sockref_conn_set_keepalive(conn->handle, on, delay) == 0 && on && fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
            setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
        }
    }
    return nullptr;
}

/* conn_set_nodelay(slot, on) */
static napi_value conn_set_nodelay(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    bool on = false;

    if (Conn *conn = arguments(env, info, 2, args)) {
        napi_get_value_bool(env, args[1], &on);
        sockref_conn_set_nodelay(conn->handle, on);
    }
    return nullptr;
}

/* conn_hold(slot, on): whether it keeps the process alive, until its CLOSE is told. */
static napi_value conn_hold(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    bool on = false;
    Conn *conn;
    Env *self;

    if (!get_args(env, info, 2, args, &self) || !(conn = any_conn(env, self, args[0])))
        return nullptr;
    napi_get_value_bool(env, args[1], &on);
    if (on && !conn->holds)
        self->hold();
    else if (!on && conn->holds)
        self->unhold();
    conn->holds = on;
    return nullptr;
}

/* conn_lend(slot, buffer|null): reads go there; each is told before the next one. */
static napi_value conn_lend(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    napi_valuetype type = napi_null;

    if (Conn *conn = arguments(env, info, 2, args)) {
        napi_typeof(env, args[1], &type);
        conn->lent.set(env, type == napi_object ? args[1] : nullptr);
    }
    return nullptr;
}

/* conn_focus(slot, resource): see Batch::focus() */
static napi_value conn_focus(napi_env env, napi_callback_info info)
{
    napi_value args[2];

    if (Conn *conn = arguments(env, info, 2, args))
        conn->self->batch->focus(conn, args[1]);
    return nullptr;
}

napi_value address_value(napi_env env, const sockref_address &address)
{
    napi_value result = nullptr, value = nullptr;

    napi_create_object(env, &result);
    napi_create_string_utf8(env, address.host, address.host_length, &value);
    napi_set_named_property(env, result, "address", value);
    napi_create_int32(env, address.family, &value);
    napi_set_named_property(env, result, "family", value);
    napi_create_uint32(env, address.port, &value);
    napi_set_named_property(env, result, "port", value);
    return result;
}

/* conn_addresses(slot) -> [local, remote]; undefined where it is over, but for one of which both
 * sides ended, until its CLOSE is told */
static napi_value conn_addresses(napi_env env, napi_callback_info info)
{
    sockref_conn_details details = {};
    const sockref_conn_details *found = &details;
    napi_value args[1], result = nullptr;
    Conn *conn;
    Env *self;

    details.size = sizeof details;
    details.local.size = details.remote.size = sizeof details.local;
    if (!get_args(env, info, 1, args, &self) || !(conn = any_conn(env, self, args[0])))
        return nullptr;
    if (conn->last)
        found = conn->last.get();
    else if (!conn->handle || sockref_conn_info(conn->handle, &details) < 0)
        return nullptr;
    napi_create_array_with_length(env, 2, &result);
    napi_set_element(env, result, 0, address_value(env, found->local));
    napi_set_element(env, result, 1, address_value(env, found->remote));
    return result;
}

/* The type of service is an option of the protocol. Returns the level, or -1 where there is none. */
static int service_option(int fd, int *out_option)
{
    int family = 0;
    socklen_t length = sizeof family;

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0)
        return -1;
    *out_option = family == AF_INET6 ? IPV6_TCLASS : IP_TOS;
    return family == AF_INET6 ? IPPROTO_IPV6 : family == AF_INET ? IPPROTO_IP : -1;
}

/* conn_set_tos(slot, number) */
static napi_value conn_set_tos(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    int32_t value = 0;
    int fd, level, option = 0;

    if (Conn *conn = arguments(env, info, 2, args)) {
        fd = sockref_conn_fd(conn->handle);
        level = service_option(fd, &option);
        napi_get_value_int32(env, args[1], &value);
        if (level >= 0)
            setsockopt(fd, level, option, &value, sizeof value);
    }
    return nullptr;
}

/* conn_get_tos(slot) -> the number, or -1 where there is none */
static napi_value conn_get_tos(napi_env env, napi_callback_info info)
{
    napi_value args[1], result = nullptr;
    socklen_t length = sizeof(int);
    int fd, level, option = 0, value = -1;

    if (Conn *conn = arguments(env, info, 1, args)) {
        fd = sockref_conn_fd(conn->handle);
        level = service_option(fd, &option);
        if (level >= 0 && getsockopt(fd, level, option, &value, &length) < 0)
            value = -1;
    }
    napi_create_int32(env, value, &result);
    return result;
}

void add_conn(Env *self, napi_value exports)
{
    add_function(self, exports, "conn_end", conn_end);
    add_function(self, exports, "conn_pause", control<sockref_conn_pause>);
    add_function(self, exports, "conn_resume", control<sockref_conn_resume>);
    add_function(self, exports, "conn_destroy", control<sockref_conn_destroy>);
    add_function(self, exports, "conn_reset", control<sockref_conn_reset>);
    add_function(self, exports, "conn_set_timeout", conn_set_timeout);
    add_function(self, exports, "conn_set_keepalive", conn_set_keepalive);
    add_function(self, exports, "conn_set_nodelay", conn_set_nodelay);
    add_function(self, exports, "conn_hold", conn_hold);
    add_function(self, exports, "conn_lend", conn_lend);
    add_function(self, exports, "conn_focus", conn_focus);
    add_function(self, exports, "conn_addresses", conn_addresses);
    add_function(self, exports, "conn_set_tos", conn_set_tos);
    add_function(self, exports, "conn_get_tos", conn_get_tos);
}

} // namespace sr
