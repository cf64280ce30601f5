/* Connections that JavaScript makes: to a name, or of a descriptor that it has. */
#include "batch.h"

#include <cstring>
#include <sys/socket.h>

namespace sr
{

namespace
{

struct Options {
    sockref_connect_options connect = {};
    sockref_conn_options conn = {};
    std::string local_host;
    std::vector<sockref_address> addresses;
    bool is_told = false;
};

} // namespace

static bool get_number(napi_env env, napi_value object, const char *name, uint32_t *out)
{
    napi_value value = nullptr;

    return napi_get_named_property(env, object, name, &value) == napi_ok &&
           napi_get_value_uint32(env, value, out) == napi_ok;
}

static bool get_text(napi_env env, napi_value object, const char *name, std::string *out)
{
    napi_value value = nullptr;
    size_t length = 0;

    if (napi_get_named_property(env, object, name, &value) != napi_ok ||
        napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok)
        return false;
    out->resize(length);
    return napi_get_value_string_utf8(env, value, &(*out)[0], length + 1, &length) == napi_ok;
}

static bool get_address(napi_env env, napi_value value, sockref_address *out)
{
    std::string host;
    uint32_t family = 0, port = 0;

    *out = {};
    out->size = sizeof *out;
    if (!get_text(env, value, "address", &host) || !get_number(env, value, "family", &family) ||
        !get_number(env, value, "port", &port) || host.size() >= sizeof out->host)
        return false;
    out->family = static_cast<int>(family);
    out->port = port;
    out->host_length = host.size();
    std::memcpy(out->host, host.data(), host.size());
    return true;
}

static bool get_addresses(napi_env env, napi_value object, std::vector<sockref_address> *out)
{
    napi_value list = nullptr, element = nullptr;
    uint32_t count = 0;

    if (napi_get_named_property(env, object, "addresses", &list) != napi_ok ||
        napi_get_array_length(env, list, &count) != napi_ok)
        return false;
    out->resize(count);
    for (uint32_t i = 0; i < count; i++)
        if (napi_get_element(env, list, i, &element) != napi_ok ||
            !get_address(env, element, &(*out)[i]))
            return false;
    return true;
}

/* Whose socket is to be connected: null, or a reference. */
static bool get_from(napi_env env, napi_value object, sockref **out)
{
    napi_value value = nullptr;
    napi_valuetype type = napi_undefined;
    Handle<sockref> *ref;

    if (napi_get_named_property(env, object, "from", &value) != napi_ok ||
        napi_typeof(env, value, &type) != napi_ok)
        return false;
    if (type == napi_null)
        return true;
    ref = unwrap_reference(env, value);
    if (ref)
        *out = ref->get();
    return ref && *out;
}

static bool get_flag(napi_env env, napi_value object, const char *name, bool *out)
{
    napi_value value = nullptr;

    return napi_get_named_property(env, object, name, &value) == napi_ok &&
           napi_get_value_bool(env, value, out) == napi_ok;
}

/* { flags, keepAliveDelay, addresses, isTold, attemptDelay, localHost, localPort, from } */
static bool get_options(napi_env env, napi_value object, Options *out)
{
    out->conn.size = sizeof out->conn;
    out->conn.max_buffered = UINT64_MAX; /* streams have limits of their own */
    out->connect.size = sizeof out->connect;
    if (!get_number(env, object, "flags", &out->conn.flags) ||
        !get_number(env, object, "keepAliveDelay", &out->conn.keepalive_delay_ms) ||
        !get_number(env, object, "attemptDelay", &out->connect.attempt_delay_ms) ||
        !get_number(env, object, "localPort", &out->connect.local_port) ||
        !get_text(env, object, "localHost", &out->local_host) ||
        !get_from(env, object, &out->connect.from) ||
        !get_flag(env, object, "isTold", &out->is_told) ||
        !get_addresses(env, object, &out->addresses)) {
        throw_type_error(env, "expected the options of a connection");
        return false;
    }
    if (!out->local_host.empty())
        out->connect.local_host = out->local_host.c_str();
    if (out->addresses.empty())
        return true;
    out->connect.addresses = out->addresses.data();
    out->connect.address_count = out->addresses.size();
    out->connect.flags = out->is_told ? SOCKREF_CONNECT_ONE_BY_ONE : SOCKREF_CONNECT_FIRST_ONLY;
    return true;
}

/* connect(name, options) -> its slot, or a status */
static napi_value connect_to(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    sockref_handlers handlers;
    sockref_conn *handle = nullptr;
    std::string name;
    bool null = false;
    Options options;
    Env *self;
    int err;

    if (!get_args(env, info, 2, args, &self) || !get_path(env, args[0], &name, &null) ||
        !get_options(env, args[1], &options) || !self->open_loop())
        return nullptr;
    set_conn_handlers(&handlers, true);
    handlers.options = &options.conn;
    err = sockref_connect(self->loop, name.c_str(), &options.connect, &handlers, nullptr, &handle);
    if (err == 0) {
        Conn *conn = new Conn(self, handle, true);

        if (options.is_told)
            conn->tried =
                std::make_unique<std::vector<sockref_address>>(std::move(options.addresses));
        err = conn->slot;
    }
    napi_create_int32(env, err, &result);
    return result;
}

/* adopt(fd, flags) -> its slot, or a status. Takes the descriptor, on success only. */
static napi_value adopt(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    sockref_conn_options options = {};
    sockref_handlers handlers;
    sockref_conn *handle = nullptr;
    int32_t fd = -1;
    Env *self;
    int err;

    if (!get_args(env, info, 2, args, &self) || !self->open_loop())
        return nullptr;
    napi_get_value_int32(env, args[0], &fd);
    options.size = sizeof options;
    options.max_buffered = UINT64_MAX;
    napi_get_value_uint32(env, args[1], &options.flags);
    set_conn_handlers(&handlers, true);
    handlers.options = &options;
    err = sockref_adopt(self->loop, fd, &handlers, nullptr, &handle);
    if (err == 0)
        err = (new Conn(self, handle, true))->slot;
    napi_create_int32(env, err, &result);
    return result;
}

/* socket_family(fd) -> AF_UNIX 1, IPv4 4, IPv6 6 of a stream socket; 0 of anything else */
static napi_value socket_family(napi_env env, napi_callback_info info)
{
    napi_value args[1], result = nullptr;
    struct sockaddr_storage name = {};
    socklen_t length = sizeof name, size = sizeof(int);
    int32_t fd = -1;
    int type = 0, family = 0;
    Env *self;

    if (!get_args(env, info, 1, args, &self))
        return nullptr;
    napi_get_value_int32(env, args[0], &fd);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
        getsockname(fd, reinterpret_cast<struct sockaddr *>(&name), &length) == 0)
        family = name.ss_family == AF_UNIX    ? SOCKREF_FAMILY_UNIX
                 : name.ss_family == AF_INET  ? SOCKREF_FAMILY_IPV4
                 : name.ss_family == AF_INET6 ? SOCKREF_FAMILY_IPV6
                                              : SOCKREF_FAMILY_NONE;
    napi_create_int32(env, family, &result);
    return result;
}

void add_connect(Env *self, napi_value exports)
{
    add_function(self, exports, "connect", connect_to);
    add_function(self, exports, "adopt", adopt);
    add_function(self, exports, "socket_family", socket_family);
}

} // namespace sr
