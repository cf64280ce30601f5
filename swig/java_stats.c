/* Counters, health and metrics, as numbers in the order that the records of Java read them. */
#include "java_handlers.h"

#include <sockref/stats.h>

#define COUNT_OF(ARRAY) ((jsize)(sizeof(ARRAY) / sizeof(ARRAY)[0]))
/* What there is room for at first, and for growth between two tries. */
#define METRICS_SLACK   4096

/* Numbers, and a histogram behind them; NULL: there is none, or the array is thrown. */
static jlongArray new_numbers(JNIEnv *env, const jlong *numbers, jsize count, const sockref_histogram *histogram)
{
    jlong spread[2 + SOCKREF_HISTOGRAM_BUCKETS];
    jsize more = histogram ? COUNT_OF(spread) : 0;
    jlongArray array = (*env)->NewLongArray(env, count + more);

    if (!array)
        return NULL;
    (*env)->SetLongArrayRegion(env, array, 0, count, numbers);
    if (histogram) {
        spread[0] = (jlong)histogram->count;
        spread[1] = (jlong)histogram->sum_ns;
        for (int i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++)
            spread[2 + i] = (jlong)histogram->buckets[i];
        (*env)->SetLongArrayRegion(env, array, count, more, spread);
    }
    return array;
}

SHIM(jlongArray, registryStats)(JNIEnv *env, jclass self, jlong registry)
{
    sockref_registry_stats stats = {.size = sizeof stats};

    (void)self;
    if (sr_java_checked(env, sockref_registry_get_stats((sockref_registry *)(uintptr_t)registry, &stats)) < 0)
        return NULL;
    const jlong numbers[] = {
        (jlong)stats.created, (jlong)stats.joined,  (jlong)stats.reused,  (jlong)stats.failed,
        (jlong)stats.closed,  (jlong)stats.revoked, (jlong)stats.removed, (jlong)stats.remove_failed,
        (jlong)stats.deferred, stats.last_remove_status,
    };
    return new_numbers(env, numbers, COUNT_OF(numbers), &stats.removal);
}

SHIM(jlongArray, socketStats)(JNIEnv *env, jclass self, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);
    sockref_stats stats = {.size = sizeof stats};

    (void)self;
    if (!reference || sr_java_checked(env, sockref_get_stats(reference, &stats)) < 0)
        return NULL;
    const jlong numbers[] = {
        (jlong)stats.references, (jlong)stats.connections,   (jlong)stats.accepted,  (jlong)stats.refused,
        (jlong)stats.bytes_read, (jlong)stats.bytes_written, (jlong)stats.served_ns,
    };
    return new_numbers(env, numbers, COUNT_OF(numbers), NULL);
}

/* Of all loops of the process. */
SHIM(jlongArray, loopStats)(JNIEnv *env, jclass self)
{
    sockref_loop_stats stats = {.size = sizeof stats};

    (void)self;
    if (sr_java_checked(env, sockref_loop_get_stats(NULL, &stats)) < 0)
        return NULL;
    const jlong numbers[] = {
        (jlong)stats.callbacks,      (jlong)stats.pending,    (jlong)stats.oldest_ns,     (jlong)stats.newest_ns,
        (jlong)stats.starved,        stats.is_starving,       (jlong)stats.accepted,      (jlong)stats.refused,
        (jlong)stats.connected,      (jlong)stats.connect_failed, (jlong)stats.bytes_read, (jlong)stats.bytes_written,
    };
    return new_numbers(env, numbers, COUNT_OF(numbers), &stats.connect);
}

SHIM(jlongArray, checkHealth)(JNIEnv *env, jclass self, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);
    sockref_health health = {.size = sizeof health};

    (void)self;
    if (!reference || sr_java_checked(env, sockref_check_health(reference, &health)) < 0)
        return NULL;
    const jlong numbers[] = {health.is_file_ours, health.is_reachable, health.is_accepting};
    return new_numbers(env, numbers, COUNT_OF(numbers), NULL);
}

/* Written again where it has outgrown its room. */
SHIM(jbyteArray, metrics)(JNIEnv *env, jclass self, jlong registry)
{
    jbyteArray array = NULL;
    char *text = NULL;
    size_t room;
    int length = 0;

    (void)self;
    do {
        free(text);
        room = (size_t)length + METRICS_SLACK;
        text = malloc(room);
        if (!text) {
            sr_java_throw_no_memory(env);
            return NULL;
        }
        length = sr_java_checked(
            env, sockref_registry_write_metrics((sockref_registry *)(uintptr_t)registry, text, room));
    } while (length >= 0 && (size_t)length >= room);
    if (length >= 0)
        array = sr_java_new_bytes(env, text);
    free(text);
    return array;
}
