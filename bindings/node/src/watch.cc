/*
 * What happens to names: lost, owner, displaced, shutdown.
 *
 * The library has one watch for all references of one life of a name, and tells it on its service
 * thread. Here each reference with listeners is a watcher, of its environment, and the watchers of
 * one life hang on what the library was given. The service thread only notes the event for each
 * environment and wakes its loop; JavaScript is told by tell_watchers() at the end of a dispatch.
 *
 * A watcher ends before its reference is given back, and with its environment. So a name in the
 * table is always one that a reference holds, and its address means no other life.
 */
#include "binding.h"

#include <algorithm>
#include <mutex>

namespace sr
{

namespace
{

/* One life of a name: the library's watch owns it. */
struct Name {
    sockref *ref; /* not counted */
    bool is_lost; /* told so already */
    std::vector<Watcher *> watchers;
};

} // namespace

struct Watcher {
    Env *self;
    Handle<sockref> *handle;
    uint64_t number;
    Name *name = nullptr;      /* NULL: another watch has replaced ours */
    napi_ref object = nullptr; /* weak: the public layer's reference */
};

/* Guards the names with their watchers, and the events of every environment. */
static std::mutex &watch_mutex()
{
    static std::mutex *mutex = new std::mutex;

    return *mutex;
}

/* Held while a watch is set, so that two threads do not set one each. Taken before the other. */
static std::mutex &set_mutex()
{
    static std::mutex *mutex = new std::mutex;

    return *mutex;
}

static std::unordered_map<sockref *, Name *> &table()
{
    static auto *map = new std::unordered_map<sockref *, Name *>;

    return *map;
}

static void forget_name(Name *name)
{
    auto found = table().find(name->ref);

    if (found != table().end() && found->second == name)
        table().erase(found);
}

static void join_name(Name *name, Watcher *watcher)
{
    watcher->name = name;
    name->watchers.push_back(watcher);
}

static void leave_name(Watcher *watcher)
{
    Name *name = watcher->name;

    watcher->name = nullptr;
    name->watchers.erase(std::find(name->watchers.begin(), name->watchers.end(), watcher));
    if (name->watchers.empty())
        forget_name(name);
}

/* Thread: the library's. */
static void on_event(sockref *, int event, void *user)
{
    Name *name = static_cast<Name *>(user);
    std::lock_guard<std::mutex> lock(watch_mutex());

    if (event == SOCKREF_WATCH_LOST)
        name->is_lost = true;
    for (Watcher *watcher : name->watchers) {
        watcher->self->told.push_back({watcher->number, event});
        sockref_loop_wake(watcher->self->loop);
    }
}

/* Thread: any; with no lock of ours held. */
static void free_name(void *user)
{
    Name *name = static_cast<Name *>(user);
    std::lock_guard<std::mutex> lock(watch_mutex());

    forget_name(name);
    for (Watcher *watcher : name->watchers)
        watcher->name = nullptr;
    delete name;
}

/* SOCKREF_ECLOSED: it is lost already, and nothing will be told. */
static int begin_watcher(Watcher *watcher, sockref *ref)
{
    std::lock_guard<std::mutex> one_at_a_time(set_mutex());
    Name *name;
    int status;

    {
        std::lock_guard<std::mutex> lock(watch_mutex());
        auto found = table().find(ref);

        if (found != table().end()) {
            if (found->second->is_lost)
                return SOCKREF_ECLOSED;
            join_name(found->second, watcher);
            return 0;
        }
        name = new Name{ref, false, {}};
        table()[ref] = name;
        join_name(name, watcher);
    }
    status = sockref_set_watch(ref, on_event, name, free_name);
    if (status < 0)
        free_name(name);
    return status;
}

void end_watcher(Watcher *watcher)
{
    Env *self = watcher->self;

    {
        std::lock_guard<std::mutex> lock(watch_mutex());

        if (watcher->name)
            leave_name(watcher);
    }
    watcher->handle->watcher = nullptr;
    self->watchers.erase(watcher->number);
    napi_delete_reference(self->env, watcher->object);
    delete watcher;
}

void end_watchers(Env *self)
{
    while (!self->watchers.empty())
        end_watcher(self->watchers.begin()->second);
    if (self->tell)
        napi_delete_reference(self->env, self->tell);
    self->tell = nullptr;
}

/* Calls tell(object, event); what a listener throws is reported as any uncaught exception. */
static void tell(Env *self, const Told &told)
{
    auto found = self->watchers.find(told.number);
    napi_value function = nullptr, global = nullptr, error = nullptr, result = nullptr, args[2];
    napi_env env = self->env;

    if (found == self->watchers.end() || !self->tell ||
        napi_get_reference_value(env, found->second->object, &args[0]) != napi_ok || !args[0])
        return;
    napi_get_reference_value(env, self->tell, &function);
    napi_get_global(env, &global);
    napi_create_int32(env, told.event, &args[1]);
    if (napi_make_callback(env, self->context, global, function, 2, args, &result) ==
            napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
}

void tell_watchers(Env *self)
{
    std::vector<Told> told;
    napi_handle_scope scope = nullptr;

    {
        std::lock_guard<std::mutex> lock(watch_mutex());

        told.swap(self->told);
    }
    for (const Told &one : told) {
        if (self->closing || napi_open_handle_scope(self->env, &scope) != napi_ok)
            return;
        tell(self, one);
        napi_close_handle_scope(self->env, scope);
    }
}

/* set_tell(function): of the public layer */
static napi_value set_tell(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Env *self;

    if (!get_args(env, info, 1, args, &self) || !self->open_loop())
        return nullptr;
    if (self->tell)
        napi_delete_reference(env, self->tell);
    self->tell = nullptr;
    napi_create_reference(env, args[0], 1, &self->tell);
    return undefined(env);
}

/* watch(reference, object): has tell(object, event) called, until the reference is given back.
 * False: it is lost already, and nothing will be told. */
static napi_value watch(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    Handle<sockref> *handle;
    Watcher *watcher;
    Env *self;
    int status = 0;

    if (!get_args(env, info, 2, args, &self) || !(handle = unwrap_reference(env, args[0])) ||
        !self->open_loop())
        return nullptr;
    if (!handle->get()) {
        throw_failure(env, Failure::plain(SOCKREF_ECLOSED, "the reference is closed"));
        return nullptr;
    }
    if (!handle->watcher) {
        watcher = new Watcher{self, handle, ++self->last_watcher};
        napi_create_reference(env, args[1], 0, &watcher->object);
        handle->watcher = watcher;
        self->watchers[watcher->number] = watcher;
        status = begin_watcher(watcher, handle->get());
        if (status < 0)
            end_watcher(watcher);
    }
    if (status < 0 && status != SOCKREF_ECLOSED) {
        throw_failure(env, Failure::of(status));
        return nullptr;
    }
    napi_get_boolean(env, status == 0, &result);
    return result;
}

void add_watch(Env *self, napi_value exports)
{
    add_function(self, exports, "set_tell", set_tell);
    add_function(self, exports, "watch", sr::watch);
}

} // namespace sr
