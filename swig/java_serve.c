/* Served names: what SocketReference.java asks of a reference that listens. */
#include "java_handlers.h"

#include <fcntl.h>

SHIM(void, serve)
(JNIEnv *env, jclass self, jlong ref, jlong loop, jobject object, jlongArray numbers)
{
    sockref_handlers handlers;
    sockref_conn_options options;
    sockref *reference = sr_java_open_reference(env, ref);
    struct sr_java_service *service;

    (void)self;
    if (!reference || !sr_java_handlers(env, numbers, &handlers, &options))
        return;
    service = sr_java_service_new(env, object);
    if (!service)
        return;
    if (sr_java_checked(env, sockref_serve_on(reference, (sockref_loop *)(uintptr_t)loop, &handlers, service)) < 0)
        sr_java_service_free(env, service);
}

SHIM(void, unserve)(JNIEnv *env, jclass self, jlong ref, jboolean destroy)
{
    sockref *reference = sr_java_open_reference(env, ref);

    (void)self;
    if (reference)
        sr_java_checked(env, sockref_unserve(reference, destroy));
}

SHIM(void, setMaxConnections)(JNIEnv *env, jclass self, jlong ref, jlong most)
{
    sockref *reference = sr_java_open_reference(env, ref);

    (void)self;
    if (reference)
        sr_java_checked(env, sockref_set_max_connections(reference, (uint64_t)most));
}

SHIM(jlong, connectionCount)(JNIEnv *env, jclass self, jlong ref)
{
    (void)env;
    (void)self;
    return (jlong)sockref_connection_count((sockref *)(uintptr_t)ref);
}

SHIM(jbyteArray, localAddress)(JNIEnv *env, jclass self, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);
    sockref_address address = {.size = sizeof address};

    (void)self;
    if (!reference || sr_java_checked(env, sockref_local_address(reference, &address)) < 0)
        return NULL;
    return sr_java_address(env, &address);
}

SHIM(void, serveEcho)(JNIEnv *env, jclass self, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);

    (void)self;
    if (reference)
        sr_java_checked(env, sockref_serve(reference, sockref_echo_handlers(), NULL));
}

SHIM(jint, duplicateFd)(JNIEnv *env, jclass self, jlong ref)
{
    sockref *reference = sr_java_open_reference(env, ref);
    sockref_address address = {.size = sizeof address};
    int fd;

    (void)self;
    if (!reference)
        return -1;
    fd = sockref_fd(reference);
    if (fd < 0) { /* this one says why */
        if (sr_java_checked(env, sockref_local_address(reference, &address)) >= 0)
            sr_java_throw_own(env, SOCKREF_ECLOSED, NULL, sockref_status_message(SOCKREF_ECLOSED));
        return -1;
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        sr_java_throw_own(env, -errno, "fcntl", sockref_status_message(-errno));
    return fd;
}
