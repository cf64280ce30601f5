/* What is counted, as objects that are frozen: readings of one moment. And how a name is. */
#include "binding.h"

#include <initializer_list>
#include <sockref/stats.h>

namespace sr
{

struct Count {
    const char *name;
    uint64_t value;
};

/* Nothing throws here: what is larger than a Number tells exactly is rounded, such as months of
 * nanoseconds. */
static napi_value rounded(napi_env env, uint64_t value)
{
    napi_value result = nullptr;

    napi_create_double(env, static_cast<double>(value), &result);
    return result;
}

static napi_value object_of(napi_env env, std::initializer_list<Count> counts)
{
    napi_value result = nullptr;

    napi_create_object(env, &result);
    for (const Count &count : counts)
        napi_set_named_property(env, result, count.name, rounded(env, count.value));
    return result;
}

static napi_value histogram_of(napi_env env, const sockref_histogram &histogram)
{
    napi_value result, buckets = nullptr, bucket;
    uint64_t bound = 1000;

    result = object_of(env, {{"count", histogram.count}, {"sumNs", histogram.sum_ns}});
    napi_create_array_with_length(env, SOCKREF_HISTOGRAM_BUCKETS, &buckets);
    for (uint32_t i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++, bound *= 4) {
        bucket = object_of(env, {{"le", bound}, {"count", histogram.buckets[i]}});
        napi_object_freeze(env, bucket);
        napi_set_element(env, buckets, i, bucket);
    }
    napi_object_freeze(env, buckets);
    napi_set_named_property(env, result, "buckets", buckets);
    napi_object_freeze(env, result);
    return result;
}

static napi_value status_name(napi_env env, int status)
{
    napi_value result = nullptr;

    if (status == 0)
        napi_get_null(env, &result);
    else
        napi_create_string_utf8(env, sockref_status_name(status), NAPI_AUTO_LENGTH, &result);
    return result;
}

static napi_value failed(napi_env env, int status)
{
    throw_failure(env, Failure::of(status));
    return nullptr;
}

/* registry_stats(registry|null) -> object */
static napi_value registry_stats(napi_env env, napi_callback_info info)
{
    Handle<sockref_registry> *registry = nullptr;
    sockref_registry_stats stats = {};
    napi_value args[1], result;
    Env *self;
    int err;

    if (!get_args(env, info, 1, args, &self) || !unwrap_registry(env, args[0], &registry))
        return nullptr;
    stats.size = sizeof stats;
    err = sockref_registry_get_stats(registry ? registry->get() : nullptr, &stats);
    if (err < 0)
        return failed(env, err);
    result = object_of(env, {{"created", stats.created},
                             {"joined", stats.joined},
                             {"reused", stats.reused},
                             {"failed", stats.failed},
                             {"closed", stats.closed},
                             {"revoked", stats.revoked},
                             {"removed", stats.removed},
                             {"removeFailed", stats.remove_failed},
                             {"deferred", stats.deferred}});
    napi_set_named_property(env, result, "lastRemoveError",
                            status_name(env, stats.last_remove_status));
    napi_set_named_property(env, result, "removal", histogram_of(env, stats.removal));
    napi_object_freeze(env, result);
    return result;
}

/* reference_stats(reference) -> object */
static napi_value reference_stats(napi_env env, napi_callback_info info)
{
    Handle<sockref> *ref;
    sockref_stats stats = {};
    napi_value args[1], result;
    Env *self;
    int err;

    if (!get_args(env, info, 1, args, &self) || !(ref = unwrap_reference(env, args[0])))
        return nullptr;
    stats.size = sizeof stats;
    err = ref->get() ? sockref_get_stats(ref->get(), &stats) : SOCKREF_ECLOSED;
    if (err < 0)
        return failed(env, err);
    result = object_of(env, {{"references", stats.references},
                             {"connections", stats.connections},
                             {"accepted", stats.accepted},
                             {"refused", stats.refused},
                             {"bytesRead", stats.bytes_read},
                             {"bytesWritten", stats.bytes_written},
                             {"servedNs", stats.served_ns}});
    napi_object_freeze(env, result);
    return result;
}

/* loop_stats() -> object: of all loops of the process */
static napi_value loop_stats(napi_env env, napi_callback_info info)
{
    sockref_loop_stats stats = {};
    napi_value result, is_starving = nullptr;
    Env *self;
    int err;

    if (!get_args(env, info, 0, nullptr, &self))
        return nullptr;
    stats.size = sizeof stats;
    err = sockref_loop_get_stats(nullptr, &stats);
    if (err < 0)
        return failed(env, err);
    result = object_of(env, {{"callbacks", stats.callbacks},
                             {"pending", stats.pending},
                             {"oldestNs", stats.oldest_ns},
                             {"newestNs", stats.newest_ns},
                             {"starved", stats.starved},
                             {"accepted", stats.accepted},
                             {"refused", stats.refused},
                             {"connected", stats.connected},
                             {"connectFailed", stats.connect_failed},
                             {"bytesRead", stats.bytes_read},
                             {"bytesWritten", stats.bytes_written}});
    napi_get_boolean(env, stats.is_starving != 0, &is_starving);
    napi_set_named_property(env, result, "isStarving", is_starving);
    napi_set_named_property(env, result, "connect", histogram_of(env, stats.connect));
    napi_object_freeze(env, result);
    return result;
}

/* registry_metrics(registry|null) -> text */
static napi_value registry_metrics(napi_env env, napi_callback_info info)
{
    Handle<sockref_registry> *registry = nullptr;
    napi_value args[1], result = nullptr;
    std::string text(4096, '\0');
    sockref_registry *pointer;
    Env *self;
    int length;

    if (!get_args(env, info, 1, args, &self) || !unwrap_registry(env, args[0], &registry))
        return nullptr;
    pointer = registry ? registry->get() : nullptr;
    /* It may have grown from one call to the next. */
    while ((length = sockref_registry_write_metrics(pointer, &text[0], text.size())) >= 0 &&
           static_cast<size_t>(length) >= text.size())
        text.resize(static_cast<size_t>(length) + static_cast<size_t>(length) / 8 + 1);
    if (length < 0)
        return failed(env, length);
    napi_create_string_utf8(env, text.data(), static_cast<size_t>(length), &result);
    return result;
}

static void set_answer(napi_env env, napi_value object, const char *name, int answer)
{
    napi_value value = nullptr;

    if (answer < 0)
        napi_get_null(env, &value);
    else
        napi_get_boolean(env, answer != 0, &value);
    napi_set_named_property(env, object, name, value);
}

/* check_health(reference) -> object */
static napi_value check_health(napi_env env, napi_callback_info info)
{
    napi_value args[1], result = nullptr;
    sockref_health health = {};
    Handle<sockref> *ref;
    Env *self;
    int err;

    if (!get_args(env, info, 1, args, &self) || !(ref = unwrap_reference(env, args[0])))
        return nullptr;
    health.size = sizeof health;
    err = ref->get() ? sockref_check_health(ref->get(), &health) : SOCKREF_ECLOSED;
    if (err < 0)
        return failed(env, err);
    napi_create_object(env, &result);
    set_answer(env, result, "isFileOurs", health.is_file_ours);
    set_answer(env, result, "isReachable", health.is_reachable);
    set_answer(env, result, "isAccepting", health.is_accepting);
    napi_object_freeze(env, result);
    return result;
}

void add_stats(Env *self, napi_value exports)
{
    add_function(self, exports, "registry_stats", registry_stats);
    add_function(self, exports, "reference_stats", reference_stats);
    add_function(self, exports, "loop_stats", loop_stats);
    add_function(self, exports, "registry_metrics", registry_metrics);
    add_function(self, exports, "check_health", check_health);
}

} // namespace sr
