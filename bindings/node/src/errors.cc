/* Failures of the library as JavaScript errors, and the conversions that every file needs. */
#include "binding.h"

#include <cstring>

namespace sr
{

Failure Failure::of(int status)
{
    const sockref_error *last = sockref_last_error();
    Failure failure;

    if (!last || last->status != status)
        return plain(status, sockref_status_message(status));
    failure.status = status;
    failure.os_errno = last->os_errno;
    failure.message =
        last->message && *last->message ? last->message : sockref_status_message(status);
    if (last->syscall)
        failure.syscall = last->syscall;
    failure.has_path = last->path != nullptr;
    if (last->path)
        failure.path = last->path;
    return failure;
}

Failure Failure::plain(int status, const char *message)
{
    Failure failure;

    failure.status = status;
    failure.message = message;
    return failure;
}

static napi_value text(napi_env env, const std::string &value)
{
    napi_value result = nullptr;

    napi_create_string_utf8(env, value.data(), value.size(), &result);
    return result;
}

napi_value undefined(napi_env env)
{
    napi_value result = nullptr;

    napi_get_undefined(env, &result);
    return result;
}

/* Without the public layer, as in its own tests, a plain Error with a code has to do. */
static napi_value plain_error(napi_env env, const Failure &failure)
{
    napi_value error = nullptr;

    napi_create_error(env, text(env, sockref_status_name(failure.status)),
                      text(env, failure.message), &error);
    return error;
}

napi_value make_error(napi_env env, const Failure &failure)
{
    Env *self = Env::of(env);
    napi_value make = nullptr, global = nullptr, error = nullptr, arguments[6];

    if (!self || !self->make_error ||
        napi_get_reference_value(env, self->make_error, &make) != napi_ok || !make)
        return plain_error(env, failure);
    napi_get_global(env, &global);
    napi_create_int32(env, failure.status, &arguments[0]);
    arguments[1] = text(env, sockref_status_name(failure.status));
    arguments[2] = text(env, failure.message);
    napi_create_int32(env, failure.os_errno, &arguments[3]);
    arguments[4] = failure.syscall.empty() ? undefined(env) : text(env, failure.syscall);
    arguments[5] = failure.has_path ? text(env, failure.path) : undefined(env);
    if (napi_call_function(env, global, make, 6, arguments, &error) != napi_ok)
        return nullptr;
    return error;
}

void throw_failure(napi_env env, const Failure &failure)
{
    napi_value error = make_error(env, failure);

    if (error)
        napi_throw(env, error);
}

void throw_type_error(napi_env env, const char *message)
{
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
}

napi_value number(napi_env env, uint64_t value)
{
    napi_value result = nullptr;

    if (value > 9007199254740991ULL) {
        napi_throw_range_error(env, "ERR_OUT_OF_RANGE",
                               "the count is larger than a Number can tell");
        return nullptr;
    }
    napi_create_double(env, static_cast<double>(value), &result);
    return result;
}

bool get_path(napi_env env, napi_value value, std::string *out, bool *out_null)
{
    napi_valuetype type = napi_undefined;
    bool is_buffer = false;
    void *data = nullptr;
    size_t length = 0;

    napi_typeof(env, value, &type);
    *out_null = type == napi_null;
    if (*out_null)
        return true;
    napi_is_buffer(env, value, &is_buffer);
    if (!is_buffer || napi_get_buffer_info(env, value, &data, &length) != napi_ok) {
        throw_type_error(env, "expected a Buffer");
        return false;
    }
    out->assign(length > 0 ? static_cast<const char *>(data) : "", length);
    if (out->find('\0') == std::string::npos)
        return true;
    Failure failure = Failure::plain(SOCKREF_EPATH, "the path has a NUL byte; take it out");
    failure.has_path = true;
    failure.path = *out;
    throw_failure(env, failure);
    return false;
}

bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *args, Env **out_self)
{
    size_t given = count;
    void *data = nullptr;

    if (napi_get_cb_info(env, info, args ? &given : nullptr, args, nullptr, &data) != napi_ok)
        return false;
    *out_self = static_cast<Env *>(data);
    if ((!args || given >= count) && !(*out_self)->closing)
        return true;
    throw_type_error(env, "too few arguments");
    return false;
}

void add_function(Env *self, napi_value exports, const char *name, napi_callback callback)
{
    napi_value function = nullptr;

    if (napi_create_function(self->env, name, NAPI_AUTO_LENGTH, callback, self, &function) ==
        napi_ok)
        napi_set_named_property(self->env, exports, name, function);
}

void give_back(sockref *ref)
{
    sockref_release(ref);
}

void give_back(sockref_registry *registry)
{
    sockref_registry_free(registry);
}

void give_back(sockref_pool *pool)
{
    sockref_pool_free(pool);
}

} // namespace sr
