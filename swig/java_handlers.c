/*
 * The handlers of served names and of connections: they call Java, on the thread of the loop.
 *
 * A connection's data is its Java object, until on_close.
 */
#include "java_handlers.h"

#include <unistd.h>

/* What is told only where that is asked for: as ConnectionOptions.java has it. */
#define TELL_DROPS       1
#define TELL_DESCRIPTORS 2

struct sr_java_service {
    jobject object;
};

static struct {
    jclass service;
    jmethodID connection, open, ready, data, descriptor, end, drain, timeout, error, close, drop, stop;
    jclass descriptor_class; /* java.io.FileDescriptor, which has no public way from a number or to it */
    jmethodID descriptor_new;
    jfieldID descriptor_fd;
    char *buffer; /* where the loop reads to: the memory of EventLoop's direct buffer */
    size_t buffer_length;
} java;

static bool find_descriptor(JNIEnv *env)
{
    if (!sr_java_find_class(env, "java/io/FileDescriptor", &java.descriptor_class) ||
        !sr_java_find_method(env, java.descriptor_class, "<init>", "()V", &java.descriptor_new))
        return false;
    java.descriptor_fd = (*env)->GetFieldID(env, java.descriptor_class, "fd", "I");
    return java.descriptor_fd != NULL;
}

bool sr_java_find_handlers(JNIEnv *env)
{
    static const char one[] = "(Lorg/sockref/Connection;)V";
    jclass class;

    if (!sr_java_find_class(env, "org/sockref/Service", &java.service) || !find_descriptor(env))
        return false;
    class = java.service;
    return sr_java_find_method(env, class, "connection", "(J)Lorg/sockref/Connection;", &java.connection) &&
           sr_java_find_method(env, class, "open", one, &java.open) &&
           sr_java_find_method(env, class, "ready", one, &java.ready) &&
           sr_java_find_method(env, class, "data", "(Lorg/sockref/Connection;I)V", &java.data) &&
           sr_java_find_method(env, class, "descriptor", "(Lorg/sockref/Connection;Ljava/io/FileDescriptor;)V",
                               &java.descriptor) &&
           sr_java_find_method(env, class, "end", one, &java.end) &&
           sr_java_find_method(env, class, "drain", one, &java.drain) &&
           sr_java_find_method(env, class, "timeout", one, &java.timeout) &&
           sr_java_find_method(env, class, "error", "(Lorg/sockref/Connection;Lorg/sockref/SockrefException;)V",
                               &java.error) &&
           sr_java_find_method(env, class, "close", "(Lorg/sockref/Connection;Z)V", &java.close) &&
           sr_java_find_method(env, class, "drop", "([B[B)V", &java.drop) &&
           sr_java_find_method(env, class, "stop", "()V", &java.stop);
}

/* The memory lives as long as the VM: its buffer is never collected. */
SHIM(void, loopBuffer)(JNIEnv *env, jclass self, jobject buffer)
{
    (void)self;
    java.buffer = (*env)->GetDirectBufferAddress(env, buffer);
    java.buffer_length = (size_t)(*env)->GetDirectBufferCapacity(env, buffer);
    (void)(*env)->NewGlobalRef(env, buffer);
}

static void call_connection(sockref_conn *conn, struct sr_java_service *service, jmethodID method)
{
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);

    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, method, object);
    sr_java_clear(env);
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jobject local, object = NULL;

    if (!env)
        return;
    local = (*env)->CallObjectMethod(env, service->object, java.connection, (jlong)(uintptr_t)conn);
    sr_java_clear(env);
    if (local) {
        object = (*env)->NewGlobalRef(env, local);
        (*env)->DeleteLocalRef(env, local);
    }
    if (!object) {
        sockref_conn_destroy(conn);
        return;
    }
    sockref_conn_set_data(conn, object);
    call_connection(conn, service, java.open);
}

static void on_connect(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.open);
}

static void on_ready(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.ready);
}

static void *on_buffer(sockref_conn *conn, size_t *inout_length, void *user)
{
    (void)conn;
    (void)user;
    *inout_length = java.buffer_length;
    return java.buffer;
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);

    (void)data;
    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, java.data, object, (jint)length);
    sr_java_clear(env);
}

/* The FileDescriptor of a number; NULL where there is no memory. */
static jobject new_descriptor(JNIEnv *env, int fd)
{
    jobject descriptor = (*env)->NewObject(env, java.descriptor_class, java.descriptor_new);

    sr_java_clear(env);
    if (descriptor)
        (*env)->SetIntField(env, descriptor, java.descriptor_fd, fd);
    return descriptor;
}

int sr_java_descriptor_number(JNIEnv *env, jobject descriptor)
{
    return (*env)->GetIntField(env, descriptor, java.descriptor_fd);
}

static void on_descriptor(sockref_conn *conn, int fd, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);
    jobject descriptor = env && object ? new_descriptor(env, fd) : NULL;

    if (!descriptor) {
        close(fd);
        return;
    }
    (*env)->CallVoidMethod(env, service->object, java.descriptor, object, descriptor);
    sr_java_clear(env);
    (*env)->DeleteLocalRef(env, descriptor);
}

static void on_end(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.end);
}

static void on_drain(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.drain);
}

static void on_timeout(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.timeout);
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);
    jobject exception;

    if (!env || !object)
        return;
    exception = sr_java_new_exception(env, status);
    sr_java_clear(env);
    (*env)->CallVoidMethod(env, service->object, java.error, object, exception);
    sr_java_clear(env);
    if (exception)
        (*env)->DeleteLocalRef(env, exception);
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);

    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, java.close, object, (jboolean)had_error);
    sr_java_clear(env);
    sockref_conn_set_data(conn, NULL);
    (*env)->DeleteGlobalRef(env, object);
}

jbyteArray sr_java_address(JNIEnv *env, const sockref_address *address)
{
    return sr_java_new_address(env, address->family, address->port, address->host, address->host_length);
}

static void on_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();
    jbyteArray ours = NULL, theirs = NULL;

    if (!env)
        return;
    ours = sr_java_address(env, local);
    if (ours)
        theirs = sr_java_address(env, remote);
    if (theirs)
        (*env)->CallVoidMethod(env, service->object, java.drop, ours, theirs);
    sr_java_clear(env);
    if (ours)
        (*env)->DeleteLocalRef(env, ours);
    if (theirs)
        (*env)->DeleteLocalRef(env, theirs);
}

static void on_stop(void *user)
{
    struct sr_java_service *service = user;
    JNIEnv *env = sr_java_env();

    if (env) {
        (*env)->CallVoidMethod(env, service->object, java.stop);
        sr_java_clear(env);
        (*env)->DeleteGlobalRef(env, service->object);
    }
    free(service);
}

static const sockref_handlers java_handlers = {
    .size = sizeof(sockref_handlers),
    .on_connection = on_connection,
    .on_connect = on_connect,
    .on_ready = on_ready,
    .on_buffer = on_buffer,
    .on_data = on_data,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_timeout = on_timeout,
    .on_error = on_error,
    .on_close = on_close,
    .on_stop = on_stop,
};

struct sr_java_service *sr_java_service_new(JNIEnv *env, jobject object)
{
    struct sr_java_service *self = malloc(sizeof *self);

    if (self)
        self->object = (*env)->NewGlobalRef(env, object);
    if (!self || !self->object) {
        free(self);
        sr_java_throw_no_memory(env);
        return NULL;
    }
    return self;
}

void sr_java_service_free(JNIEnv *env, struct sr_java_service *self)
{
    (*env)->DeleteGlobalRef(env, self->object);
    free(self);
}

bool sr_java_handlers(JNIEnv *env, jlongArray numbers, sockref_handlers *out_handlers,
                      sockref_conn_options *out_options)
{
    jlong values[6];

    (*env)->GetLongArrayRegion(env, numbers, 0, 6, values);
    if ((*env)->ExceptionCheck(env))
        return false;
    *out_handlers = java_handlers;
    out_handlers->options = out_options;
    if (values[5] & TELL_DROPS)
        out_handlers->on_drop = on_drop;
    if (values[5] & TELL_DESCRIPTORS)
        out_handlers->on_descriptor = on_descriptor;
    *out_options = (sockref_conn_options){
        .size = sizeof *out_options,
        .flags = (unsigned)values[0],
        .timeout_ms = (unsigned)values[1],
        .keepalive_delay_ms = (unsigned)values[2],
        .high_water = (size_t)values[3],
        .max_buffered = (uint64_t)values[4],
    };
    return true;
}
