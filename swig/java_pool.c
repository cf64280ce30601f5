/* Pools: what SocketPool.java asks of one. It refuses what needs an open pool where that is closed. */
#include "java_handlers.h"

#include <sockref/pool.h>

static sockref_pool *pool_of(jlong pool)
{
    return (sockref_pool *)(uintptr_t)pool;
}

SHIM(jlong, poolNew)(JNIEnv *env, jclass self)
{
    sockref_pool *pool = NULL;

    (void)self;
    sr_java_checked(env, sockref_pool_new(&pool));
    return (jlong)(uintptr_t)pool;
}

SHIM(void, poolFree)(JNIEnv *env, jclass self, jlong pool)
{
    (void)env;
    (void)self;
    sockref_pool_free(pool_of(pool));
}

SHIM(jint, poolAdd)(JNIEnv *env, jclass self, jlong pool, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);

    (void)self;
    return reference ? sr_java_checked(env, sockref_pool_add(pool_of(pool), reference)) : SOCKREF_ECLOSED;
}

SHIM(jint, poolRemove)(JNIEnv *env, jclass self, jlong pool, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);

    (void)self;
    return reference ? sr_java_checked(env, sockref_pool_remove(pool_of(pool), reference)) : SOCKREF_ECLOSED;
}

SHIM(jint, poolListen)
(JNIEnv *env, jclass self, jlong pool, jlong registry, jbyteArray path, jint count, jlong options)
{
    char *bytes = NULL;
    int status;

    (void)self;
    if (!sr_java_bytes(env, path, &bytes))
        return -ENOMEM;
    status = sr_java_checked(env, sockref_pool_listen(pool_of(pool), (sockref_registry *)(uintptr_t)registry, bytes,
                                                      (unsigned)count, (sockref_options *)(uintptr_t)options));
    free(bytes);
    return status;
}

SHIM(jlong, poolPick)(JNIEnv *env, jclass self, jlong pool, jint policy)
{
    sockref *ref = NULL;

    (void)self;
    sr_java_checked(env, sockref_pool_pick(pool_of(pool), policy, &ref));
    return (jlong)(uintptr_t)ref;
}

SHIM(jlong, poolSize)(JNIEnv *env, jclass self, jlong pool)
{
    (void)env;
    (void)self;
    return (jlong)sockref_pool_size(pool_of(pool));
}
