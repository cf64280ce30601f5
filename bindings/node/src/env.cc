/*
 * One environment: its loop, its driver and its end.
 *
 * The loop is made when something needs it first. At the end of the environment the cleanup hooks
 * run, last registered first: the driver's stops the watching and frees the loop, which cancels
 * starts, destroys connections and stops services, with no call into JavaScript any more; then this
 * file's own. Finalizers come after that, and need neither.
 */
#include "binding.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <mutex>

namespace sr
{

/* Never destroyed: threads may still look when the process ends. */
static std::mutex &table_mutex()
{
    static std::mutex *mutex = new std::mutex;

    return *mutex;
}

static std::unordered_map<napi_env, Env *> &table()
{
    static auto *map = new std::unordered_map<napi_env, Env *>;

    return *map;
}

static void on_env_end(void *data)
{
    Env *self = static_cast<Env *>(data);

    self->closing = true;
    self->close_loop();
    if (self->is_node) /* Deno has no handle scope here, which this needs there */
        napi_async_destroy(self->env, self->context);
    {
        std::lock_guard<std::mutex> lock(table_mutex());
        table().erase(self->env);
    }
    self->release();
}

static bool runs_in_node(napi_env env)
{
    napi_value versions = nullptr;
    bool found = false;

    napi_get_global(env, &versions);
    for (const char *name : {"process", "versions"})
        if (napi_get_named_property(env, versions, name, &versions) != napi_ok)
            return true;
    for (const char *other : {"bun", "deno"})
        if (napi_has_named_property(env, versions, other, &found) == napi_ok && found)
            return false;
    return true;
}

/* Of the resource: what looks for handles that keep the process alive, as test runners do, asks it. */
static napi_value has_ref(napi_env env, napi_callback_info info)
{
    napi_value result = nullptr;
    Env *self;

    if (!get_args(env, info, 0, nullptr, &self))
        return nullptr;
    napi_get_boolean(env, self->holds > 0, &result);
    return result;
}

/* Not when the loop is made: the stores of whoever needs it first are no others'. */
static bool open_context(Env *self)
{
    napi_value name = nullptr, resource = nullptr;

    napi_create_string_utf8(self->env, "SOCKREF", NAPI_AUTO_LENGTH, &name);
    napi_create_object(self->env, &resource);
    add_function(self, resource, "hasRef", has_ref);
    return napi_async_init(self->env, resource, name, &self->context) == napi_ok;
}

Env *Env::attach(napi_env env)
{
    Env *self = new Env;

    self->env = env;
    self->is_node = runs_in_node(env);
    if (!open_context(self) || napi_add_env_cleanup_hook(env, on_env_end, self) != napi_ok) {
        if (self->context)
            napi_async_destroy(env, self->context);
        delete self;
        return nullptr;
    }
    std::lock_guard<std::mutex> lock(table_mutex());
    table()[env] = self;
    return self;
}

Env *Env::of(napi_env env)
{
    std::lock_guard<std::mutex> lock(table_mutex());
    auto found = table().find(env);

    return found == table().end() ? nullptr : found->second;
}

void Env::release()
{
    if (--owners == 0)
        delete this;
}

static Driver *new_driver(Env *self, int fd, std::string *why)
{
    const char *wanted = std::getenv("SOCKREF_NODE_DRIVER");
    Driver *driver = nullptr;

    if (wanted ? std::strcmp(wanted, "thread") != 0 : self->is_node) {
        self->driver_name = "uv";
        driver = new_uv_driver(self, fd, why);
        if (driver || (wanted && std::strcmp(wanted, "uv") == 0))
            return driver;
    }
    self->driver_name = "thread";
    return new_thread_driver(self, fd, why);
}

bool Env::open_loop()
{
    std::string why;
    int err;

    if (loop)
        return true;
    if (!batch && !(batch = new_batch(this)))
        return false;
    err = sockref_loop_new(&loop);
    if (err < 0) {
        throw_failure(env, Failure::of(err));
        return false;
    }
    driver = new_driver(this, sockref_loop_fd(loop), &why);
    if (!driver) {
        sockref_loop_free(loop);
        loop = nullptr;
        driver_name = "none";
        throw_failure(env, Failure::plain(SOCKREF_EUNSUPPORTED, why.c_str()));
        return false;
    }
    driver->unref();
    return true;
}

void Env::close_loop()
{
    sockref_loop *freed = loop;

    if (!freed)
        return;
    closing = true;
    driver->close();
    driver = nullptr;
    end_watchers(this); /* they wake the loop */
    loop = nullptr;
    sockref_loop_free(freed);
    free_batch(batch);
    batch = nullptr;
}

void Env::dispatch()
{
    napi_handle_scope scope = nullptr;

    if (closing || dispatching || !loop || napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    dispatching = true;
    begin_batch(batch);
    sockref_loop_dispatch(loop, 0);
    if (has_connected(batch))
        sockref_loop_dispatch(loop, 0); /* so that servers here accept what has connected */
    flush_batch(batch);
    dispatching = false;
    settle_starts(this);
    tell_watchers(this);
    napi_close_handle_scope(env, scope);
}

void Env::hold()
{
    if (holds++ == 0 && driver)
        driver->ref();
}

void Env::unhold()
{
    if (--holds == 0 && driver)
        driver->unref();
}

static napi_value set_make_error(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Env *self;

    if (!get_args(env, info, 1, args, &self))
        return nullptr;
    if (self->make_error)
        napi_delete_reference(env, self->make_error);
    self->make_error = nullptr;
    napi_create_reference(env, args[0], 1, &self->make_error);
    return undefined(env);
}

/* hold(), unhold(): of references that keep the process alive. */
static napi_value hold(napi_env env, napi_callback_info info)
{
    Env *self;

    if (!get_args(env, info, 0, nullptr, &self) || !self->open_loop())
        return nullptr;
    self->hold();
    return undefined(env);
}

static napi_value unhold(napi_env env, napi_callback_info info)
{
    Env *self;

    if (!get_args(env, info, 0, nullptr, &self))
        return nullptr;
    self->unhold();
    return undefined(env);
}

static napi_value live_counts(napi_env env, napi_callback_info)
{
    uint64_t references = 0, entries = 0, buffers = 0;
    napi_value result = nullptr, value;

    sockref_live_counts(&references, &entries, &buffers);
    napi_create_object(env, &result);
    if (!(value = number(env, references)))
        return nullptr;
    napi_set_named_property(env, result, "references", value);
    if (!(value = number(env, entries)))
        return nullptr;
    napi_set_named_property(env, result, "entries", value);
    if (!(value = number(env, buffers)))
        return nullptr;
    napi_set_named_property(env, result, "buffers", value);
    return result;
}

static void set_text(napi_env env, napi_value object, const char *key, const char *text)
{
    napi_value value = nullptr;

    napi_create_string_utf8(env, text ? text : "", NAPI_AUTO_LENGTH, &value);
    napi_set_named_property(env, object, key, value);
}

static const char *file_of(const void *address, Dl_info *info)
{
    return dladdr(address, info) && info->dli_fname ? info->dli_fname : "";
}

/* What was built against what: the public layer compares (lib/low.js). Calls nothing but the two
 * versions. */
static napi_value build_info(napi_env env, napi_callback_info info)
{
    napi_value result = nullptr, value = nullptr;
    Dl_info found;
    Env *self;

    if (!get_args(env, info, 0, nullptr, &self))
        return nullptr;
    napi_create_object(env, &result);
    set_text(env, result, "addonFile",
             file_of(reinterpret_cast<const void *>(&table_mutex), &found));
    set_text(env, result, "addonVersion", SOCKREF_VERSION_STRING);
    napi_create_uint32(env, SOCKREF_ABI_VERSION, &value);
    napi_set_named_property(env, result, "addonAbi", value);
    set_text(env, result, "libraryFile",
             file_of(reinterpret_cast<const void *>(&sockref_version), &found));
    set_text(env, result, "libraryVersion", sockref_version());
    napi_create_uint32(env, sockref_abi_version(), &value);
    napi_set_named_property(env, result, "libraryAbi", value);
    set_text(env, result, "driver", self->driver_name);
    return result;
}

void add_env(Env *self, napi_value exports)
{
    add_function(self, exports, "set_make_error", set_make_error);
    add_function(self, exports, "hold", hold);
    add_function(self, exports, "unhold", unhold);
    add_function(self, exports, "live_counts", live_counts);
    add_function(self, exports, "build_info", build_info);
}

} // namespace sr
