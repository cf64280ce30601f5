/*
 * Starts: a promise for each, settled exactly once.
 *
 * The library calls on_start() on the loop, that is in our dispatch; or, when a registry or the
 * loop is freed first, inside that call, which may be a finalizer's. So it only notes the outcome,
 * and JavaScript is told by settle_starts() at the end of a dispatch.
 */
#include "binding.h"

#include <mutex>
#include <vector>

namespace sr
{

struct Start {
    Env *self;
    Handle<sockref_registry> *registry; /* not pinned: to free it cancels the start */
    uint64_t number;
    napi_deferred deferred = nullptr;
    sockref *ref = nullptr;
    Failure failure;
    bool settled = false;

    Start(Env *env, Handle<sockref_registry> *where)
        : self(env), registry(where), number(++env->last_start)
    {
    }
};

/* Guards the outcomes of all starts. */
static std::mutex &outcome_mutex()
{
    static std::mutex *mutex = new std::mutex;

    return *mutex;
}

static void on_start(int status, sockref *ref, void *user)
{
    Start *start = static_cast<Start *>(user);
    Env *self = start->self;

    if (self->closing) {
        sockref_release(ref);
        self->starts.erase(start->number);
        delete start;
        return;
    }
    std::lock_guard<std::mutex> lock(outcome_mutex());
    start->ref = ref;
    if (status < 0)
        start->failure = Failure::of(status);
    start->settled = true;
    if (!self->dispatching)
        sockref_loop_wake(self->loop);
}

static std::vector<Start *> take_settled(Env *self)
{
    std::vector<Start *> settled;
    std::lock_guard<std::mutex> lock(outcome_mutex());

    for (auto it = self->starts.begin(); it != self->starts.end();) {
        if (!it->second->settled) {
            ++it;
            continue;
        }
        settled.push_back(it->second);
        it = self->starts.erase(it);
    }
    return settled;
}

static void settle(Start *start)
{
    Env *self = start->self;
    napi_env env = self->env;
    napi_value value, error = nullptr;

    if (start->failure.status == 0) {
        value = wrap_reference(env, start->ref);
        if (value)
            napi_resolve_deferred(env, start->deferred, value);
        else if (napi_get_and_clear_last_exception(env, &error) == napi_ok)
            napi_reject_deferred(env, start->deferred, error);
    } else {
        error = make_error(env, start->failure);
        if (!error)
            napi_get_and_clear_last_exception(env, &error);
        napi_reject_deferred(env, start->deferred, error);
    }
    self->unhold();
    delete start;
}

void settle_starts(Env *self)
{
    std::vector<Start *> settled = take_settled(self);
    napi_callback_scope scope = nullptr;
    napi_value resource = nullptr;

    if (settled.empty())
        return;
    napi_create_object(self->env, &resource);
    napi_open_callback_scope(self->env, resource, self->context, &scope);
    for (Start *start : settled)
        settle(start);
    if (scope)
        napi_close_callback_scope(self->env, scope);
}

/* start(registry|null, path|null, options) -> [number, promise] */
static napi_value start(napi_env env, napi_callback_info info)
{
    napi_value args[3], promise = nullptr, number = nullptr, result = nullptr;
    Handle<sockref_registry> *registry = nullptr;
    sockref_options *options = nullptr;
    std::string path;
    bool null = false;
    Start *start;
    Env *self;
    int err;

    if (!get_args(env, info, 3, args, &self) || !unwrap_registry(env, args[0], &registry) ||
        !get_path(env, args[1], &path, &null) || !unwrap_options(env, args[2], &options) ||
        !self->open_loop())
        return nullptr;
    start = new Start(self, registry);
    if (napi_create_promise(env, &start->deferred, &promise) != napi_ok) {
        delete start;
        return nullptr;
    }
    self->starts[start->number] = start;
    self->hold();
    sockref_options_set_loop(options, self->loop);
    err = sockref_registry_start_listener(registry ? registry->get() : nullptr,
                                          null ? nullptr : path.c_str(), options, on_start, start);
    if (err < 0) {
        /* It failed at once and will not come: the promise goes the same way. */
        std::lock_guard<std::mutex> lock(outcome_mutex());
        start->failure = Failure::of(err);
        start->settled = true;
        sockref_loop_wake(self->loop);
    }
    napi_create_double(env, static_cast<double>(start->number), &number);
    napi_create_array_with_length(env, 2, &result);
    napi_set_element(env, result, 0, number);
    napi_set_element(env, result, 1, promise);
    return result;
}

/* cancel_start(number): its promise tells whether it was in time. */
static napi_value cancel_start(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    double number = 0;
    Start *start = nullptr;
    Env *self;

    if (!get_args(env, info, 1, args, &self))
        return nullptr;
    napi_get_value_double(env, args[0], &number);
    {
        std::lock_guard<std::mutex> lock(outcome_mutex());
        auto found = self->starts.find(static_cast<uint64_t>(number));

        if (found != self->starts.end() && !found->second->settled)
            start = found->second;
    }
    if (start && (!start->registry || start->registry->get()))
        sockref_registry_cancel_start(start->registry ? start->registry->get() : nullptr, on_start,
                                      start);
    return undefined(env);
}

void add_start(Env *self, napi_value exports)
{
    add_function(self, exports, "start", sr::start);
    add_function(self, exports, "cancel_start", cancel_start);
}

} // namespace sr
