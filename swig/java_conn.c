/* The Java binding's handlers: served names and connections, on the thread of the loop. */
#include "java_shim.h"

#include <fcntl.h>
#include <sockref/net.h>
#include <string.h>
#include <unistd.h>

/* What is told only where that is asked for: as ConnectionOptions.java has it. */
#define TELL_DROPS       1
#define TELL_DESCRIPTORS 2

/* Handlers of one served name or of one connection: freed by on_stop. */
struct service {
    jobject object;
};

static struct {
    jclass service;
    jmethodID connection, open, ready, data, descriptor, end, drain, timeout, error, close, drop, stop;
    jclass written;
    jmethodID written_run;
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

    if (!sr_java_find_class(env, "org/sockref/Service", &java.service) ||
        !sr_java_find_class(env, "java/lang/Runnable", &java.written) || !find_descriptor(env))
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
           sr_java_find_method(env, class, "stop", "()V", &java.stop) &&
           sr_java_find_method(env, java.written, "run", "()V", &java.written_run);
}

/* The memory lives as long as the VM: its buffer is never collected. */
SHIM(void, loopBuffer)(JNIEnv *env, jclass self, jobject buffer)
{
    (void)self;
    java.buffer = (*env)->GetDirectBufferAddress(env, buffer);
    java.buffer_length = (size_t)(*env)->GetDirectBufferCapacity(env, buffer);
    (void)(*env)->NewGlobalRef(env, buffer);
}

/* ---- upcalls: data keeps a connection's Java object */

static void call_connection(sockref_conn *conn, struct service *service, jmethodID method)
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
    struct service *service = user;
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
    struct service *service = user;
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

static void on_descriptor(sockref_conn *conn, int fd, void *user)
{
    struct service *service = user;
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
    struct service *service = user;
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
    struct service *service = user;
    JNIEnv *env = sr_java_env();
    jobject object = sockref_conn_data(conn);

    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, java.close, object, (jboolean)had_error);
    sr_java_clear(env);
    sockref_conn_set_data(conn, NULL);
    (*env)->DeleteGlobalRef(env, object);
}

static jbyteArray new_address(JNIEnv *env, const sockref_address *address)
{
    return sr_java_new_address(env, address->family, address->port, address->host, address->host_length);
}

static void on_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    struct service *service = user;
    JNIEnv *env = sr_java_env();
    jbyteArray ours = NULL, theirs = NULL;

    if (!env)
        return;
    ours = new_address(env, local);
    if (ours)
        theirs = new_address(env, remote);
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
    struct service *service = user;
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

/* Handlers that call an object, and how connections begin. NULL: thrown. */
static struct service *new_service(JNIEnv *env, jobject object)
{
    struct service *service = malloc(sizeof *service);

    if (service)
        service->object = (*env)->NewGlobalRef(env, object);
    if (!service || !service->object) {
        free(service);
        sr_java_throw_no_memory(env);
        return NULL;
    }
    return service;
}

static void drop_service(JNIEnv *env, struct service *service)
{
    (*env)->DeleteGlobalRef(env, service->object);
    free(service);
}

/* The handlers, with the options that ConnectionOptions.java numbers, which they borrow. False: thrown. */
static bool fill_handlers(JNIEnv *env, jlongArray numbers, sockref_handlers *out_handlers,
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

/* ---- serving */

SHIM(void, serve)
(JNIEnv *env, jclass self, jlong ref, jlong loop, jobject object, jlongArray numbers)
{
    sockref_handlers handlers;
    sockref_conn_options options;
    struct service *service;
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    if (!fill_handlers(env, numbers, &handlers, &options))
        return;
    service = new_service(env, object);
    if (!service)
        return;
    status = sockref_serve_on((sockref *)(uintptr_t)ref, (sockref_loop *)(uintptr_t)loop, &handlers, service);
    if (status < 0) {
        sr_java_throw(env, status);
        drop_service(env, service);
    }
}

SHIM(void, unserve)(JNIEnv *env, jclass self, jlong ref, jboolean destroy)
{
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    status = sockref_unserve((sockref *)(uintptr_t)ref, destroy);
    if (status < 0)
        sr_java_throw(env, status);
}

SHIM(void, setMaxConnections)(JNIEnv *env, jclass self, jlong ref, jlong most)
{
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    status = sockref_set_max_connections((sockref *)(uintptr_t)ref, (uint64_t)most);
    if (status < 0)
        sr_java_throw(env, status);
}

SHIM(jlong, connectionCount)(JNIEnv *env, jclass self, jlong ref)
{
    (void)env;
    (void)self;
    return (jlong)sockref_connection_count((sockref *)(uintptr_t)ref);
}

SHIM(jbyteArray, localAddress)(JNIEnv *env, jclass self, jlong ref)
{
    sockref_address address = {.size = sizeof address};
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return NULL;
    }
    status = sockref_local_address((sockref *)(uintptr_t)ref, &address);
    if (status < 0) {
        sr_java_throw(env, status);
        return NULL;
    }
    return new_address(env, &address);
}

SHIM(void, serveEcho)(JNIEnv *env, jclass self, jlong ref)
{
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    status = sockref_serve((sockref *)(uintptr_t)ref, sockref_echo_handlers(), NULL);
    if (status < 0)
        sr_java_throw(env, status);
}

SHIM(jint, duplicateFd)(JNIEnv *env, jclass self, jlong ref)
{
    int fd;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return -1;
    }
    fd = sockref_fd((sockref *)(uintptr_t)ref);
    if (fd < 0) {
        sr_java_throw_own(env, SOCKREF_ECLOSED, NULL, "nothing is bound here under this name");
        return -1;
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        sr_java_throw_own(env, -errno, "fcntl", sockref_status_message(-errno));
    return fd;
}

/* ---- connections: on the loop's thread only, before on_close; Connection.java sees to both */

static jint written(JNIEnv *env, int status)
{
    if (status < 0)
        sr_java_throw(env, status);
    return status;
}

SHIM(jint, connWrite)
(JNIEnv *env, jclass self, jlong conn, jbyteArray data, jint offset, jint length)
{
    struct sr_java_copy copy;
    int status;

    (void)self;
    if (!sr_java_copy_begin(&copy, length)) {
        sr_java_throw_no_memory(env);
        return -1;
    }
    (*env)->GetByteArrayRegion(env, data, offset, length, copy.bytes);
    status = sockref_conn_write((sockref_conn *)(uintptr_t)conn, copy.bytes, (size_t)length);
    sr_java_copy_end(&copy);
    return written(env, status);
}

SHIM(jint, connWriteDirect)
(JNIEnv *env, jclass self, jlong conn, jobject buffer, jint offset, jint length)
{
    const char *address = (*env)->GetDirectBufferAddress(env, buffer);

    (void)self;
    if (!address) {
        sr_java_throw_own(env, -EINVAL, NULL, "the buffer has no address");
        return -1;
    }
    return written(
        env, sockref_conn_write((sockref_conn *)(uintptr_t)conn, address + offset, (size_t)length));
}

SHIM(jint, connSendDescriptor)
(JNIEnv *env, jclass self, jlong conn, jobject descriptor, jbyteArray data)
{
    int fd = (*env)->GetIntField(env, descriptor, java.descriptor_fd);
    jint length = (*env)->GetArrayLength(env, data);
    struct sr_java_copy copy;
    int status;

    (void)self;
    if (!sr_java_copy_begin(&copy, length)) {
        sr_java_throw_no_memory(env);
        return -1;
    }
    (*env)->GetByteArrayRegion(env, data, 0, length, copy.bytes);
    status = sockref_conn_send_fd((sockref_conn *)(uintptr_t)conn, fd, copy.bytes, (size_t)length);
    sr_java_copy_end(&copy);
    return written(env, status);
}

SHIM(void, connEnd)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    written(env, sockref_conn_end((sockref_conn *)(uintptr_t)conn));
}

SHIM(void, connPause)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    written(env, sockref_conn_pause((sockref_conn *)(uintptr_t)conn));
}

SHIM(void, connResume)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    written(env, sockref_conn_resume((sockref_conn *)(uintptr_t)conn));
}

SHIM(void, connDestroy)(JNIEnv *env, jclass self, jlong conn)
{
    (void)env;
    (void)self;
    sockref_conn_destroy((sockref_conn *)(uintptr_t)conn);
}

/* A buffer that is written from where it lies, and who is told when it is free. */
struct lent {
    jobject buffer, told;
};

static void on_written(int status, void *user)
{
    struct lent *lent = user;
    JNIEnv *env = sr_java_env();

    (void)status;
    if (env) {
        (*env)->CallVoidMethod(env, lent->told, java.written_run);
        sr_java_clear(env);
        (*env)->DeleteGlobalRef(env, lent->buffer);
        (*env)->DeleteGlobalRef(env, lent->told);
    }
    free(lent);
}

SHIM(jint, connWriteLent)
(JNIEnv *env, jclass self, jlong conn, jobject buffer, jint offset, jint length, jobject told)
{
    const char *address = (*env)->GetDirectBufferAddress(env, buffer);
    struct lent *lent = malloc(sizeof *lent);
    int status = -ENOMEM;

    (void)self;
    if (!lent) {
        sr_java_throw_no_memory(env);
        return -1;
    }
    lent->buffer = (*env)->NewGlobalRef(env, buffer);
    lent->told = (*env)->NewGlobalRef(env, told);
    if (lent->buffer && lent->told)
        status = sockref_conn_write_own((sockref_conn *)(uintptr_t)conn, address + offset, (size_t)length,
                                        on_written, lent);
    if (status < 0) {
        sr_java_throw(env, status);
        (*env)->DeleteGlobalRef(env, lent->buffer);
        (*env)->DeleteGlobalRef(env, lent->told);
        free(lent);
    }
    return status;
}

SHIM(void, connDestroySoon)(JNIEnv *env, jclass self, jlong conn)
{
    (void)env;
    (void)self;
    sockref_conn_destroy_soon((sockref_conn *)(uintptr_t)conn);
}

SHIM(void, connReset)(JNIEnv *env, jclass self, jlong conn)
{
    (void)env;
    (void)self;
    sockref_conn_reset((sockref_conn *)(uintptr_t)conn);
}

SHIM(void, connSetTimeout)(JNIEnv *env, jclass self, jlong conn, jint timeout_ms)
{
    (void)self;
    written(env, sockref_conn_set_timeout((sockref_conn *)(uintptr_t)conn, (unsigned)timeout_ms));
}

SHIM(void, connSetKeepAlive)(JNIEnv *env, jclass self, jlong conn, jboolean on, jint delay_ms)
{
    (void)self;
    written(env, sockref_conn_set_keepalive((sockref_conn *)(uintptr_t)conn, on, (unsigned)delay_ms));
}

SHIM(void, connSetNoDelay)(JNIEnv *env, jclass self, jlong conn, jboolean on)
{
    (void)self;
    written(env, sockref_conn_set_nodelay((sockref_conn *)(uintptr_t)conn, on));
}

/* As ConnectionInfo.java reads them; out_addresses gets the local and the remote one. */
SHIM(jlongArray, connInfo)(JNIEnv *env, jclass self, jlong conn, jobjectArray out_addresses)
{
    sockref_conn_details info = {.size = sizeof info};
    int status = sockref_conn_info((sockref_conn *)(uintptr_t)conn, &info);
    const sockref_address *ends[] = {&info.local, &info.remote};
    jlongArray array;

    (void)self;
    if (status < 0) {
        sr_java_throw(env, status);
        return NULL;
    }
    for (jsize i = 0; i < 2; i++) {
        jbyteArray address = new_address(env, ends[i]);

        if (!address)
            return NULL;
        (*env)->SetObjectArrayElement(env, out_addresses, i, address);
        (*env)->DeleteLocalRef(env, address);
    }
    array = (*env)->NewLongArray(env, 6);
    if (array)
        (*env)->SetLongArrayRegion(env, array, 0, 6,
                                   (const jlong[]){info.state, info.paused, info.timeout_ms, (jlong)info.bytes_read,
                                                   (jlong)info.bytes_written, (jlong)info.buffered});
    return array;
}

SHIM(jlongArray, connPeer)(JNIEnv *env, jclass self, jlong conn)
{
    sockref_peer peer = {.size = sizeof peer};
    int status = sockref_conn_peer((sockref_conn *)(uintptr_t)conn, &peer);
    jlongArray array;

    (void)self;
    if (status < 0) {
        sr_java_throw(env, status);
        return NULL;
    }
    array = (*env)->NewLongArray(env, 3);
    if (array)
        (*env)->SetLongArrayRegion(env, array, 0, 3, (const jlong[]){peer.pid, peer.uid, peer.gid});
    return array;
}

/* ---- connecting, on the loop's thread */

/* Answers the connection, of which the object is told. */
SHIM(jlong, connConnect)
(JNIEnv *env, jclass self, jlong loop, jbyteArray name, jlongArray numbers, jbyteArray local_host,
 jobjectArray addresses, jlongArray conn_numbers, jobject object, jobject connection)
{
    sockref_handlers handlers;
    sockref_conn_options conn_options;
    sockref_connect_options options = {0};
    sockref_conn *conn = NULL;
    struct service *service = NULL;
    jobject kept = NULL;
    char *bytes = NULL;
    int status = 0;

    (void)self;
    if (!sr_java_bytes(env, name, &bytes) || !fill_handlers(env, conn_numbers, &handlers, &conn_options) ||
        !sr_java_connect_options(env, numbers, local_host, addresses, &options))
        goto out;
    service = new_service(env, object);
    if (!service)
        goto out;
    kept = (*env)->NewGlobalRef(env, connection);
    status = kept ? sockref_connect((sockref_loop *)(uintptr_t)loop, bytes, &options, &handlers, service, &conn)
                  : -ENOMEM;
    if (status < 0) {
        sr_java_throw(env, status);
        (*env)->DeleteGlobalRef(env, kept);
        drop_service(env, service);
        goto out;
    }
    sockref_conn_set_data(conn, kept);
    sockref_conn_release(conn);

out:
    sr_java_connect_options_free(&options);
    free(bytes);
    return (jlong)(uintptr_t)conn;
}
