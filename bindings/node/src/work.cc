/*
 * Calls on a registry that may wait: sweep, drain and shutdown run on a thread of the pool and
 * answer by a promise. The registry is pinned meanwhile, and so is our environment, which may end
 * first. cleanup_all is here for the number that it tells beside a failure.
 */
#include "binding.h"

#include <cmath>

namespace sr
{

struct Work {
    Env *self;
    Pin<sockref_registry> pin;
    sockref_registry *registry = nullptr;
    int (*run)(Work *work);
    bool counts = false; /* the number is the result */
    std::string directory;
    bool default_directory = false;
    int timeout_ms = -1;
    uint64_t count = 0;
    Failure failure;
    napi_async_work work = nullptr;
    napi_deferred deferred = nullptr;
};

static int run_sweep(Work *work)
{
    return sockref_registry_sweep(
        work->registry, work->default_directory ? nullptr : work->directory.c_str(), &work->count);
}

static int run_drain(Work *work)
{
    return sockref_registry_drain(work->registry, work->timeout_ms);
}

static int run_shutdown(Work *work)
{
    return sockref_registry_shutdown(work->registry, work->timeout_ms);
}

/* Thread: one of the pool. */
static void execute(napi_env, void *data)
{
    Work *work = static_cast<Work *>(data);
    int err = work->run(work);

    if (err < 0)
        work->failure = Failure::of(err);
}

static napi_value error_of(napi_env env, const Work *work)
{
    napi_value error = make_error(env, work->failure), count;

    if (error && work->counts && (count = number(env, work->count)))
        napi_set_named_property(env, error, "count", count);
    return error;
}

static void complete(napi_env env, napi_status, void *data)
{
    Work *work = static_cast<Work *>(data);
    napi_handle_scope scope = nullptr;
    napi_value value = nullptr;

    if (!work->self->closing && napi_open_handle_scope(env, &scope) == napi_ok) {
        if (work->failure.status < 0)
            value = error_of(env, work);
        else
            value = work->counts ? number(env, work->count) : undefined(env);
        if (!value) {
            napi_get_and_clear_last_exception(env, &value);
            napi_reject_deferred(env, work->deferred, value);
        } else if (work->failure.status < 0) {
            napi_reject_deferred(env, work->deferred, value);
        } else {
            napi_resolve_deferred(env, work->deferred, value);
        }
        napi_close_handle_scope(env, scope);
    }
    if (!work->self->closing)
        napi_delete_async_work(env, work->work);
    work->self->release();
    delete work;
}

static napi_value queue(Work *work, const char *what)
{
    napi_env env = work->self->env;
    napi_value promise = nullptr, name = nullptr;

    napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &name);
    if (napi_create_promise(env, &work->deferred, &promise) != napi_ok ||
        napi_create_async_work(env, nullptr, name, execute, complete, work, &work->work) !=
            napi_ok ||
        napi_queue_async_work(env, work->work) != napi_ok) {
        delete work;
        return nullptr;
    }
    work->self->acquire();
    return promise;
}

static Work *new_work(napi_env env, napi_value registry, Env *self, int (*run)(Work *))
{
    Handle<sockref_registry> *handle = nullptr;
    Work *work;

    if (!unwrap_registry(env, registry, &handle))
        return nullptr;
    work = new Work;
    work->self = self;
    work->run = run;
    work->pin.reset(handle);
    work->registry = work->pin.get();
    return work;
}

/* sweep(registry|null, directory|null) -> promise of a number */
static napi_value sweep(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    Work *work;
    Env *self;

    if (!get_args(env, info, 2, args, &self) || !(work = new_work(env, args[0], self, run_sweep)))
        return nullptr;
    work->counts = true;
    if (!get_path(env, args[1], &work->directory, &work->default_directory)) {
        delete work;
        return nullptr;
    }
    return queue(work, "sockref.sweep");
}

static napi_value wait_for(napi_env env, napi_callback_info info, int (*run)(Work *),
                           const char *what)
{
    napi_value args[2];
    Work *work;
    Env *self;

    if (!get_args(env, info, 2, args, &self) || !(work = new_work(env, args[0], self, run)))
        return nullptr;
    if (napi_get_value_int32(env, args[1], &work->timeout_ms) != napi_ok) {
        delete work;
        throw_type_error(env, "expected a number of milliseconds");
        return nullptr;
    }
    return queue(work, what);
}

/* drain(registry|null, milliseconds), shutdown(registry|null, milliseconds) -> promise */
static napi_value drain(napi_env env, napi_callback_info info)
{
    return wait_for(env, info, run_drain, "sockref.drain");
}

static napi_value shutdown(napi_env env, napi_callback_info info)
{
    return wait_for(env, info, run_shutdown, "sockref.shutdown");
}

/* cleanup_all(registry|null) -> number; its error tells the number as well */
static napi_value cleanup_all(napi_env env, napi_callback_info info)
{
    napi_value args[1], error;
    Work *work;
    Env *self;
    int err;

    if (!get_args(env, info, 1, args, &self) || !(work = new_work(env, args[0], self, nullptr)))
        return nullptr;
    work->counts = true;
    err = sockref_registry_cleanup_all(work->registry, &work->count);
    if (err < 0) {
        work->failure = Failure::of(err);
        error = error_of(env, work);
        if (error)
            napi_throw(env, error);
        delete work;
        return nullptr;
    }
    napi_value result = number(env, work->count);
    delete work;
    return result;
}

void add_work(Env *self, napi_value exports)
{
    add_function(self, exports, "sweep", sweep);
    add_function(self, exports, "drain", drain);
    add_function(self, exports, "shutdown", shutdown);
    add_function(self, exports, "cleanup_all", cleanup_all);
}

} // namespace sr
