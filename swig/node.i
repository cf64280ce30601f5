/*
 * Node: the private module under bindings/node/lib. `swig -javascript -napi -c++`.
 *
 * A wrapped reference, registry or pool points to an sr::Handle (binding.h), not to the library's object itself;
 * the typemaps here are the only ones who know. Paths come as Buffers or null. What takes callbacks or
 * may block stands in bindings/node/src.
 */
%module sockref_low

%{
#include "binding.h"

#include <cmath>
#include <fcntl.h>
#include <mutex>

namespace sr {

template <typename T> static Handle<T> *handle_of(T *wrapped)
{
    return reinterpret_cast<Handle<T> *>(wrapped);
}

template <typename T> static void drop(T *wrapped)
{
    if (wrapped)
        handle_of(wrapped)->drop();
}

static std::mutex &init_mutex()
{
    static std::mutex *mutex = new std::mutex;

    return *mutex;
}

static void add_all(napi_env env, napi_value exports);

} // namespace sr

/* The table of types is the process's and is filled at each environment's load. */
#undef NODE_API_MODULE
#define NODE_API_MODULE(name, init)                                                                             \
    static napi_value sockref_node_init(napi_env env, napi_value exports)                                       \
    {                                                                                                           \
        std::lock_guard<std::mutex> lock(sr::init_mutex());                                                     \
        napi_value result = Napi::RegisterModule(env, exports, init);                                           \
                                                                                                                \
        if (result)                                                                                             \
            sr::add_all(env, result);                                                                           \
        return result;                                                                                          \
    }                                                                                                           \
    NAPI_MODULE(name, sockref_node_init)

/* The library's failure becomes a pending SockrefError. */
#define SR_FAIL(status)                                                                                         \
    do {                                                                                                        \
        sr::throw_failure(env, sr::Failure::of(status));                                                        \
        SWIG_fail;                                                                                              \
    } while (0)
#define SR_TYPE_ERROR(message)                                                                                  \
    do {                                                                                                        \
        sr::throw_type_error(env, message);                                                                     \
        SWIG_fail;                                                                                              \
    } while (0)
%}

/* In: handles. A closed one answers ECLOSED; null is no reference, but as a registry it is the default one. */
%typemap(in) sockref *self (sr::Pin<sockref> pin), sockref *ref (sr::Pin<sockref> pin),
             const sockref *ref (sr::Pin<sockref> pin) {
    void *wrapped = nullptr;

    if (!SWIG_IsOK(SWIG_ConvertPtr($input, &wrapped, $descriptor(sockref *), SWIG_POINTER_NO_NULL)))
        SR_TYPE_ERROR("expected a reference");
    pin.reset(sr::handle_of(static_cast<sockref *>(wrapped)));
    $1 = pin.get();
    if (!$1)
        SR_FAIL(SOCKREF_ECLOSED);
}
%typemap(in) sockref_registry *self (sr::Pin<sockref_registry> pin) {
    sr::Handle<sockref_registry> *handle = nullptr;

    if (!sr::unwrap_registry(env, $input, &handle))
        SWIG_fail;
    pin.reset(handle);
    $1 = pin.get();
}
%typemap(in) sockref_pool *self (sr::Pin<sockref_pool> pin) {
    void *wrapped = nullptr;

    if (!SWIG_IsOK(SWIG_ConvertPtr($input, &wrapped, $descriptor(sockref_pool *), SWIG_POINTER_NO_NULL)))
        SR_TYPE_ERROR("expected a pool");
    pin.reset(sr::handle_of(static_cast<sockref_pool *>(wrapped)));
    $1 = pin.get();
    if (!$1)
        SR_FAIL(SOCKREF_ECLOSED);
}
%typemap(in) sockref_options *self, const sockref_options *options {
    sockref_options *options = nullptr;

    if (!sr::unwrap_options(env, $input, &options))
        SWIG_fail;
    $1 = options;
}

/* In: paths, by an object of this frame, so that no way out leaks. */
%typemap(in) const char *path (std::string bytes, bool null), const char *directory (std::string bytes, bool null),
             const char *value (std::string bytes, bool null) {
    if (!sr::get_path(env, $input, &bytes, &null))
        SWIG_fail;
    $1 = null ? nullptr : const_cast<char *>(bytes.c_str());
}
%typemap(freearg) const char *path, const char *directory, const char *value ""

%typemap(in) int64_t value {
    double number = 0;

    if (napi_get_value_double(env, $input, &number) != napi_ok || std::floor(number) != number ||
        std::fabs(number) > 9007199254740991.0)
        SR_TYPE_ERROR("expected an integer");
    $1 = static_cast<int64_t>(number);
}

/* Out: a status becomes an exception, an output the result. */
%typemap(out) int {
    if ($1 < 0)
        SR_FAIL($1);
    $result = env.Undefined();
}
%typemap(out) int sockref::dup_fd {
    if ($1 < 0) { /* of an errno of fcntl's the library knows nothing */
        sr::throw_failure(env, $1 > SOCKREF_EPATH ? sr::Failure::plain($1, sockref_status_message($1))
                                                  : sr::Failure::of($1));
        SWIG_fail;
    }
    $result = Napi::Number::New(env, $1);
}
%typemap(out) uint64_t {
    napi_value value = sr::number(env, $1);

    if (!value)
        SWIG_fail;
    $result = Napi::Value(env, value);
}
%typemap(in, numinputs=0) sockref **out_ref (sockref *ref = nullptr) "$1 = &ref;"
%typemap(argout) sockref **out_ref {
    napi_value value = sr::wrap_reference(env, *$1);

    if (!value)
        SWIG_fail;
    $result = Napi::Value(env, value);
}
%typemap(in, numinputs=0) sockref_registry **out_registry (sockref_registry *registry = nullptr) "$1 = &registry;"
%typemap(argout) sockref_registry **out_registry {
    auto *handle = new sr::Handle<sockref_registry>(*$1);

    $result = SWIG_NewPointerObj(handle, $descriptor(sockref_registry *), SWIG_POINTER_OWN);
}
%typemap(in, numinputs=0) sockref_pool **out_pool (sockref_pool *pool = nullptr) "$1 = &pool;"
%typemap(argout) sockref_pool **out_pool {
    auto *handle = new sr::Handle<sockref_pool>(*$1);

    $result = SWIG_NewPointerObj(handle, $descriptor(sockref_pool *), SWIG_POINTER_OWN);
}
%typemap(out) sockref *acquire {
    if (!$1)
        SR_FAIL(sockref_last_error()->status);
    napi_value value = sr::wrap_reference(env, $1);

    if (!value)
        SWIG_fail;
    $result = Napi::Value(env, value);
}
%typemap(out) const char *path {
    const char *path = $1 ? $1 : "";

    $result = Napi::Buffer<char>::Copy(env, path, std::strlen(path));
}

/* A class without a constructor has no type of its own in this SWIG, and any other would pass for it. */
%extend sockref {
    sockref() { return nullptr; }
    int dup_fd()
    {
        sockref_address address = {};
        int fd = sockref_fd($self), status;

        if (fd < 0) { /* this one says why */
            address.size = sizeof address;
            status = sockref_local_address($self, &address);
            return status < 0 ? status : SOCKREF_ECLOSED;
        }
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    /* Of its name, as long as somebody holds that. */
    uint64_t id() { return reinterpret_cast<uintptr_t>($self); }
    int serve_echo() { return sockref_serve($self, sockref_echo_handlers(), nullptr); }
}
%extend sockref_registry {
    sockref_registry() { return nullptr; }
}
%extend sockref_options {
    sockref_options() { return sockref_options_new(); }
}

%ignore sockref::fd;
%ignore sockref_options_new;

/* These may wait, or tell a number beside their failure: bindings/node/src/work.cc. */
%ignore sockref_registry_cleanup_all;
%ignore sockref_registry_sweep;
%ignore sockref_registry_drain;
%ignore sockref_registry_shutdown;

%include "sockref.i"

/* Python and Java have shims for it. */
typedef struct sockref_pool sockref_pool;
struct sockref_pool {
};
%extend sockref_pool {
    sockref_pool() { return nullptr; }
    ~sockref_pool() { sr::drop($self); }
    int add(sockref *ref);
    int remove(const sockref *ref);
    int pick(int policy, sockref **out_ref);
    uint64_t size();
}
int sockref_pool_new(sockref_pool **out_pool);

/* A process id, or 0. */
%typemap(out) int sockref_guard_status {
    if ($1 < 0)
        SR_FAIL($1);
    $result = Napi::Number::New(env, $1);
}
int sockref_guard_status(sockref_registry *self);

/* close() at once, beside the finalizer: idempotent, and a call under way keeps the pointer until it ends. */
%typemap(in) sockref *closing, sockref_registry *closing, sockref_pool *closing {
    void *wrapped = nullptr;

    if (!SWIG_IsOK(SWIG_ConvertPtr($input, &wrapped, $1_descriptor, SWIG_POINTER_NO_NULL)))
        SR_TYPE_ERROR("expected a handle");
    $1 = static_cast<$1_ltype>(wrapped);
}
%inline %{
static void close_reference(sockref *closing)
{
    if (closing)
        sr::handle_of(closing)->close();
}

static void close_registry(sockref_registry *closing)
{
    if (closing)
        sr::handle_of(closing)->close();
}

static void close_pool(sockref_pool *closing)
{
    if (closing)
        sr::handle_of(closing)->close();
}
%}

%wrapper %{
namespace sr {

napi_value wrap_reference(napi_env raw_env, sockref *ref)
{
    Napi::Env env(raw_env);
    Napi::Value value;
    Handle<sockref> *handle = new Handle<sockref>(ref);

    try {
        value = SWIG_NewPointerObj(handle, SWIGTYPE_p_sockref, 0);
        if (!value.IsEmpty()) {
            /* Only now the object is the owner: a constructor that throws would own nothing. */
            Napi::ObjectWrap<SWIG_NAPI_ObjectWrap_inst>::Unwrap(value.As<Napi::Object>())->owned = true;
            return value;
        }
    } catch (const Napi::Error &error) {
        error.ThrowAsJavaScriptException();
    }
    handle->drop();
    return nullptr;
}

/* The conversion throws when the environment is being terminated, and our callers are plain C functions. */
static bool convert(napi_env env, napi_value value, void **out, swig_type_info *type, int flags)
{
    try {
        return SWIG_IsOK(SWIG_ConvertPtr(Napi::Value(env, value), out, type, flags));
    } catch (const Napi::Error &) {
        return false;
    }
}

Handle<sockref> *unwrap_reference(napi_env env, napi_value value)
{
    void *wrapped = nullptr;

    if (!convert(env, value, &wrapped, SWIGTYPE_p_sockref, SWIG_POINTER_NO_NULL))
        throw_type_error(env, "expected a reference");
    else if (!wrapped)
        throw_failure(env, Failure::plain(SOCKREF_ECLOSED, "the reference is closed"));
    return static_cast<Handle<sockref> *>(wrapped);
}

bool unwrap_registry(napi_env env, napi_value value, Handle<sockref_registry> **out)
{
    napi_valuetype type = napi_undefined;
    void *wrapped = nullptr;

    if (!convert(env, value, &wrapped, SWIGTYPE_p_sockref_registry, 0)) {
        throw_type_error(env, "expected a registry");
        return false;
    }
    *out = static_cast<Handle<sockref_registry> *>(wrapped);
    napi_typeof(env, value, &type);
    if (type == napi_null || (*out && (*out)->get()))
        return true;
    throw_failure(env, Failure::plain(SOCKREF_ECLOSED, "the registry is closed"));
    return false;
}

bool unwrap_options(napi_env env, napi_value value, sockref_options **out)
{
    void *wrapped = nullptr;

    if (!convert(env, value, &wrapped, SWIGTYPE_p_sockref_options, 0)) {
        throw_type_error(env, "expected options");
        return false;
    }
    *out = static_cast<sockref_options *>(wrapped);
    return true;
}

static void add_all(napi_env env, napi_value exports)
{
    Env *self = Env::attach(env);

    if (!self)
        return;
    add_env(self, exports);
    add_start(self, exports);
    add_work(self, exports);
    add_serve(self, exports);
    add_conn(self, exports);
    add_connect(self, exports);
    add_write(self, exports);
    add_watch(self, exports);
    add_stats(self, exports);
}

} // namespace sr
%}
