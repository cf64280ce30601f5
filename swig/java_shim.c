/*
 * The Java binding's hand-written part: loops, starts, watches, handlers, bytes and exceptions.
 *
 * No thread of the library enters the VM: the Java thread that calls loopDispatch() runs every
 * callback, with its own JNIEnv. What a watch is told on the service thread waits in a queue. An
 * upcall never leaves an exception pending: the Java side catches everything, and what could not be
 * caught there (no memory, a stack overflow) is cleared here, so that the loop goes on.
 *
 * Local references: a dispatch may run many callbacks before it returns to Java, so each callback
 * frees its own.
 */
#include "java_shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sockref/net.h>
#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define SHIM(RESULT, NAME) JNIEXPORT RESULT JNICALL Java_org_sockref_Shim_##NAME
#define JAVA_VERSION       JNI_VERSION_10
/* What an exception's parts and an upcall's arguments need at most. */
#define FRAME       8
#define STACK_BYTES 16384

#define STRINGIFY(X) #X
#define STRING(X)    STRINGIFY(X)

/* A start that is under way: the user pointer of its callback. */
struct start {
    jobject operation;
};

/* What a watch was told. */
struct event {
    struct event *next;
    jlong number; /* of the watch */
    jlong event;
};

/* Handlers of one served name: freed by on_stop. */
struct service {
    jobject object;
};

static JavaVM *java_vm;

/* Events that the loop's thread has not taken yet. */
static struct {
    pthread_mutex_t mutex;
    struct event *first, **last;
    size_t count;
    sockref_loop *loop; /* woken by an event; no loop is ever freed */
    atomic_bool waiting;
} events = {.mutex = PTHREAD_MUTEX_INITIALIZER, .last = &events.first};

static struct {
    jclass exception;
    jmethodID exception_of;
    jclass operation;
    jmethodID operation_settle;
    jclass service;
    jmethodID service_connection;
    jmethodID service_open;
    jmethodID service_data;
    jmethodID service_end;
    jmethodID service_drain;
    jmethodID service_error;
    jmethodID service_close;
    jmethodID service_stop;
} java;

static bool find_class(JNIEnv *env, const char *name, jclass *out_class)
{
    jclass local = (*env)->FindClass(env, name);

    if (!local)
        return false;
    *out_class = (*env)->NewGlobalRef(env, local);
    (*env)->DeleteLocalRef(env, local);
    return *out_class != NULL;
}

static bool find_method(JNIEnv *env, jclass class, const char *name, const char *signature,
                        jmethodID *out_method)
{
    *out_method = (*env)->GetMethodID(env, class, name, signature);
    return *out_method != NULL;
}

static bool find_service(JNIEnv *env)
{
    jclass class;

    if (!find_class(env, "org/sockref/Service", &java.service))
        return false;
    class = java.service;
    return find_method(env, class, "connection", "(J)Lorg/sockref/Connection;",
                       &java.service_connection) &&
           find_method(env, class, "open", "(Lorg/sockref/Connection;)V", &java.service_open) &&
           find_method(env, class, "data", "(Lorg/sockref/Connection;[B)V", &java.service_data) &&
           find_method(env, class, "end", "(Lorg/sockref/Connection;)V", &java.service_end) &&
           find_method(env, class, "drain", "(Lorg/sockref/Connection;)V", &java.service_drain) &&
           find_method(env, class, "error",
                       "(Lorg/sockref/Connection;Lorg/sockref/SockrefException;)V",
                       &java.service_error) &&
           find_method(env, class, "close", "(Lorg/sockref/Connection;Z)V", &java.service_close) &&
           find_method(env, class, "stop", "()V", &java.service_stop);
}

/* All classes are found here, by the loader of this library's class: never later, on some other
 * thread. */
JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm, void *reserved)
{
    JNIEnv *env = NULL;

    (void)reserved;
    if ((*vm)->GetEnv(vm, (void **)&env, JAVA_VERSION) != JNI_OK)
        return JNI_ERR;
    java_vm = vm;
    if (!find_class(env, "org/sockref/SockrefException", &java.exception) ||
        !find_class(env, "org/sockref/StartOperation", &java.operation) || !find_service(env))
        return JNI_ERR;
    java.exception_of = (*env)->GetStaticMethodID(
        env, java.exception, "of", "(IILjava/lang/String;[B[B[B)Lorg/sockref/SockrefException;");
    if (!java.exception_of ||
        !find_method(env, java.operation, "settle", "(JLorg/sockref/SockrefException;)V",
                     &java.operation_settle))
        return JNI_ERR;
    return JAVA_VERSION;
}

/* The environment of this thread; NULL where it is none of Java's, or no longer. */
static JNIEnv *java_env(void)
{
    JNIEnv *env = NULL;

    return (*java_vm)->GetEnv(java_vm, (void **)&env, JAVA_VERSION) == JNI_OK ? env : NULL;
}

static void clear_exception(JNIEnv *env)
{
    if ((*env)->ExceptionCheck(env))
        (*env)->ExceptionClear(env);
}

/* The nearest errno of a status, positive. */
static int status_errno(int status)
{
    switch (status) {
    case SOCKREF_EPATH:
        return EINVAL;
    case SOCKREF_EPATHLEN:
        return ENAMETOOLONG;
    case SOCKREF_EFOREIGN:
        return EADDRINUSE;
    case SOCKREF_EEXISTS:
        return EEXIST;
    case SOCKREF_ENOTFOUND:
        return ENOENT;
    case SOCKREF_ELIMIT:
        return EMFILE;
    case SOCKREF_ECLOSED:
        return EBADF;
    case SOCKREF_EFORKED:
        return EOWNERDEAD;
    case SOCKREF_ESHUTDOWN:
        return ESHUTDOWN;
    case SOCKREF_ETIMEOUT:
        return ETIMEDOUT;
    case SOCKREF_ECANCELED:
        return ECANCELED;
    case SOCKREF_EBUSY:
        return EBUSY;
    case SOCKREF_EUNTRUSTED:
        return EPERM;
    case SOCKREF_EUNSUPPORTED:
        return EOPNOTSUPP;
    default:
        return status < 0 ? -status : status;
    }
}

jbyteArray sr_java_new_bytes(JNIEnv *env, const char *text)
{
    jsize length;
    jbyteArray array;

    if (!text)
        return NULL;
    length = (jsize)strlen(text);
    array = (*env)->NewByteArray(env, length);
    if (array)
        (*env)->SetByteArrayRegion(env, array, 0, length, (const jbyte *)text);
    return array;
}

static jobject make_exception(JNIEnv *env, int status, const char *syscall, const char *path,
                              const char *message)
{
    jstring code = (*env)->NewStringUTF(env, sockref_status_name(status));
    jbyteArray java_syscall = NULL, java_path = NULL, java_message = NULL;

    if (!code)
        return NULL;
    java_syscall = sr_java_new_bytes(env, syscall);
    if ((*env)->ExceptionCheck(env))
        return NULL;
    java_path = sr_java_new_bytes(env, path);
    if ((*env)->ExceptionCheck(env))
        return NULL;
    java_message = sr_java_new_bytes(env, message);
    if ((*env)->ExceptionCheck(env))
        return NULL;
    return (*env)->CallStaticObjectMethod(env, java.exception, java.exception_of, (jint)status,
                                          (jint)status_errno(status), code, java_syscall, java_path,
                                          java_message);
}

/* A SockrefException; NULL with a Java exception pending if that could not be made. */
static jobject new_exception(JNIEnv *env, int status)
{
    const sockref_error *error = sockref_last_error();
    bool described = error->status == status;
    jobject exception = NULL;

    if ((*env)->PushLocalFrame(env, FRAME) < 0)
        return NULL;
    exception = make_exception(env, status, described ? error->syscall : NULL,
                               described ? error->path : NULL,
                               described ? error->message : sockref_status_message(status));
    if ((*env)->ExceptionCheck(env))
        exception = NULL;
    return (*env)->PopLocalFrame(env, exception);
}

void sr_java_throw(JNIEnv *env, int status)
{
    jobject exception = new_exception(env, status);

    if (exception)
        (*env)->Throw(env, exception);
}

void sr_java_throw_last(JNIEnv *env)
{
    sr_java_throw(env, sockref_last_error()->status);
}

/* Of what failed in this file: the thread's last error tells of something else. */
static void throw_own(JNIEnv *env, int status, const char *syscall, const char *message)
{
    jobject exception = make_exception(env, status, syscall, NULL, message);

    if (exception && !(*env)->ExceptionCheck(env))
        (*env)->Throw(env, exception);
}

void sr_java_throw_closed(JNIEnv *env)
{
    throw_own(env, SOCKREF_ECLOSED, NULL, "the handle is closed");
}

static void throw_no_memory(JNIEnv *env)
{
    throw_own(env, -ENOMEM, NULL, sockref_status_message(-ENOMEM));
}

bool sr_java_bytes(JNIEnv *env, jbyteArray array, char **out_bytes)
{
    jsize length;
    char *bytes;

    *out_bytes = NULL;
    if (!array)
        return true;
    length = (*env)->GetArrayLength(env, array);
    bytes = malloc((size_t)length + 1);
    if (!bytes) {
        throw_no_memory(env);
        return false;
    }
    (*env)->GetByteArrayRegion(env, array, 0, length, (jbyte *)bytes);
    bytes[length] = '\0';
    *out_bytes = bytes;
    return true;
}

/* ---- what is loaded */

static jstring file_of(JNIEnv *env, const void *address)
{
    Dl_info info;

    if (!dladdr(address, &info) || !info.dli_fname)
        return (*env)->NewStringUTF(env, "?");
    return (*env)->NewStringUTF(env, info.dli_fname);
}

static bool set_string(JNIEnv *env, jobjectArray array, jsize index, jstring string)
{
    if (!string)
        return false;
    (*env)->SetObjectArrayElement(env, array, index, string);
    (*env)->DeleteLocalRef(env, string);
    return !(*env)->ExceptionCheck(env);
}

/* File, version and ABI number of this binding, then of the library that it was linked with at
 * load. */
SHIM(jobjectArray, identity)(JNIEnv *env, jclass self)
{
    jclass string = (*env)->FindClass(env, "java/lang/String");
    jobjectArray array;
    char abi[24];

    (void)self;
    if (!string)
        return NULL;
    array = (*env)->NewObjectArray(env, 6, string, NULL);
    if (!array)
        return NULL;
    snprintf(abi, sizeof abi, "%u", sockref_abi_version());
    if (!set_string(env, array, 0, file_of(env, (const void *)&java_vm)) ||
        !set_string(env, array, 1, (*env)->NewStringUTF(env, SOCKREF_VERSION_STRING)) ||
        !set_string(env, array, 2, (*env)->NewStringUTF(env, STRING(SOCKREF_ABI_VERSION))) ||
        !set_string(env, array, 3, file_of(env, sockref_version())) ||
        !set_string(env, array, 4, (*env)->NewStringUTF(env, sockref_version())) ||
        !set_string(env, array, 5, (*env)->NewStringUTF(env, abi)))
        return NULL;
    return array;
}

SHIM(jint, statusErrno)(JNIEnv *env, jclass self, jint status)
{
    (void)env;
    (void)self;
    return status_errno(status);
}

SHIM(jlongArray, liveCounts)(JNIEnv *env, jclass self)
{
    uint64_t counts[3];
    jlong longs[3];
    jlongArray array = (*env)->NewLongArray(env, 3);

    (void)self;
    if (!array)
        return NULL;
    sockref_live_counts(&counts[0], &counts[1], &counts[2]);
    for (int i = 0; i < 3; i++)
        longs[i] = (jlong)counts[i];
    (*env)->SetLongArrayRegion(env, array, 0, 3, longs);
    return array;
}

/* ---- the loop */

SHIM(jlong, loopNew)(JNIEnv *env, jclass self)
{
    sockref_loop *loop = NULL;
    int status = sockref_loop_new(&loop);

    (void)self;
    if (status < 0)
        sr_java_throw(env, status);
    return (jlong)(uintptr_t)loop;
}

/* Waiting in native code is no obstacle to the collector. */
SHIM(jboolean, loopDispatch)(JNIEnv *env, jclass self, jlong loop, jint timeout_ms)
{
    int status = sockref_loop_dispatch((sockref_loop *)(uintptr_t)loop, timeout_ms);

    (void)self;
    if (status < 0)
        sr_java_throw(env, status);
    return atomic_load(&events.waiting);
}

SHIM(void, loopWake)(JNIEnv *env, jclass self, jlong loop)
{
    (void)env;
    (void)self;
    sockref_loop_wake((sockref_loop *)(uintptr_t)loop);
}

/* ---- starts */

static void on_start(int status, sockref *ref, void *user)
{
    struct start *start = user;
    JNIEnv *env = java_env();
    jobject exception = NULL;

    if (!env) {
        /* The VM is gone: there is nobody to tell. */
        sockref_release(ref);
        free(start);
        return;
    }
    if (status < 0) {
        exception = new_exception(env, status);
        clear_exception(env);
    }
    (*env)->CallVoidMethod(env, start->operation, java.operation_settle, (jlong)(uintptr_t)ref,
                           exception);
    clear_exception(env);
    if (exception)
        (*env)->DeleteLocalRef(env, exception);
    (*env)->DeleteGlobalRef(env, start->operation);
    free(start);
}

SHIM(jlong, startNew)(JNIEnv *env, jclass self, jobject operation)
{
    struct start *start = malloc(sizeof *start);

    (void)self;
    if (!start) {
        throw_no_memory(env);
        return 0;
    }
    start->operation = (*env)->NewGlobalRef(env, operation);
    if (!start->operation) {
        free(start);
        throw_no_memory(env);
        return 0;
    }
    return (jlong)(uintptr_t)start;
}

/* Takes start, also when it throws. */
SHIM(void, start)
(JNIEnv *env, jclass self, jlong registry, jbyteArray path, jlong options, jlong loop,
 jlong start_pointer)
{
    struct start *start = (struct start *)(uintptr_t)start_pointer;
    char *bytes = NULL;
    int status = 0;

    (void)self;
    if (sr_java_bytes(env, path, &bytes)) {
        status = sockref_options_set_loop((sockref_options *)(uintptr_t)options,
                                          (sockref_loop *)(uintptr_t)loop);
        if (status == 0)
            status = sockref_registry_start_listener((sockref_registry *)(uintptr_t)registry, bytes,
                                                     (sockref_options *)(uintptr_t)options,
                                                     on_start, start);
        free(bytes);
        if (status == 0)
            return;
        sr_java_throw(env, status);
    }
    (*env)->DeleteGlobalRef(env, start->operation);
    free(start);
}

SHIM(void, cancelStart)(JNIEnv *env, jclass self, jlong registry, jlong start)
{
    (void)env;
    (void)self;
    sockref_registry_cancel_start((sockref_registry *)(uintptr_t)registry, on_start,
                                  (void *)(uintptr_t)start);
}

/* ---- watches */

/* On the service thread. */
static void on_event(sockref *ref, int number, void *user)
{
    struct event *event = malloc(sizeof *event);

    (void)ref;
    if (!event)
        return;
    *event = (struct event){.number = (jlong)(uintptr_t)user, .event = number};
    pthread_mutex_lock(&events.mutex);
    *events.last = event;
    events.last = &event->next;
    events.count++;
    atomic_store(&events.waiting, true);
    sockref_loop_wake(events.loop);
    pthread_mutex_unlock(&events.mutex);
}

SHIM(void, watch)(JNIEnv *env, jclass self, jlong ref, jlong loop, jlong number)
{
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    pthread_mutex_lock(&events.mutex);
    events.loop = (sockref_loop *)(uintptr_t)loop;
    pthread_mutex_unlock(&events.mutex);
    status =
        sockref_set_watch((sockref *)(uintptr_t)ref, on_event, (void *)(uintptr_t)number, NULL);
    if (status < 0)
        sr_java_throw(env, status);
}

/* A name that is revoked tells nothing more, whatever this returns. */
SHIM(void, unwatch)(JNIEnv *env, jclass self, jlong ref)
{
    (void)env;
    (void)self;
    sockref_set_watch((sockref *)(uintptr_t)ref, NULL, NULL, NULL);
}

SHIM(jlongArray, takeEvents)(JNIEnv *env, jclass self)
{
    struct event *taken = NULL;
    jlongArray array;
    jsize length;

    (void)self;
    pthread_mutex_lock(&events.mutex);
    length = (jsize)(2 * events.count);
    pthread_mutex_unlock(&events.mutex);
    array = (*env)->NewLongArray(env, length);
    if (!array)
        return NULL;
    for (jsize at = 0; at < length; at += 2) {
        jlong pair[2];

        pthread_mutex_lock(&events.mutex);
        taken = events.first;
        events.first = taken->next;
        events.count--;
        if (!events.first) {
            events.last = &events.first;
            atomic_store(&events.waiting, false);
        }
        pthread_mutex_unlock(&events.mutex);
        pair[0] = taken->number;
        pair[1] = taken->event;
        free(taken);
        (*env)->SetLongArrayRegion(env, array, at, 2, pair);
    }
    return array;
}

/* ---- handlers */

/* Upcalls of one connection; data keeps its Java object. */
static void call_connection(sockref_conn *conn, struct service *service, jmethodID method)
{
    JNIEnv *env = java_env();
    jobject object = sockref_conn_data(conn);

    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, method, object);
    clear_exception(env);
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct service *service = user;
    JNIEnv *env = java_env();
    jobject local, object = NULL;

    if (!env)
        return;
    local = (*env)->CallObjectMethod(env, service->object, java.service_connection,
                                     (jlong)(uintptr_t)conn);
    clear_exception(env);
    if (local) {
        object = (*env)->NewGlobalRef(env, local);
        (*env)->DeleteLocalRef(env, local);
    }
    if (!object) {
        sockref_conn_destroy(conn);
        return;
    }
    sockref_conn_set_data(conn, object);
    call_connection(conn, service, java.service_open);
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct service *service = user;
    JNIEnv *env = java_env();
    jobject object = sockref_conn_data(conn);
    jbyteArray bytes;

    if (!env || !object)
        return;
    bytes = (*env)->NewByteArray(env, (jsize)length);
    if (!bytes) {
        /* Bytes must not be lost silently. */
        clear_exception(env);
        sockref_conn_destroy(conn);
        return;
    }
    (*env)->SetByteArrayRegion(env, bytes, 0, (jsize)length, data);
    (*env)->CallVoidMethod(env, service->object, java.service_data, object, bytes);
    clear_exception(env);
    (*env)->DeleteLocalRef(env, bytes);
}

static void on_end(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.service_end);
}

static void on_drain(sockref_conn *conn, void *user)
{
    call_connection(conn, user, java.service_drain);
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    struct service *service = user;
    JNIEnv *env = java_env();
    jobject object = sockref_conn_data(conn);
    jobject exception;

    if (!env || !object)
        return;
    exception = new_exception(env, status);
    clear_exception(env);
    (*env)->CallVoidMethod(env, service->object, java.service_error, object, exception);
    clear_exception(env);
    if (exception)
        (*env)->DeleteLocalRef(env, exception);
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    struct service *service = user;
    JNIEnv *env = java_env();
    jobject object = sockref_conn_data(conn);

    if (!env || !object)
        return;
    (*env)->CallVoidMethod(env, service->object, java.service_close, object, (jboolean)had_error);
    clear_exception(env);
    sockref_conn_set_data(conn, NULL);
    (*env)->DeleteGlobalRef(env, object);
}

static void on_stop(void *user)
{
    struct service *service = user;
    JNIEnv *env = java_env();

    if (env) {
        (*env)->CallVoidMethod(env, service->object, java.service_stop);
        clear_exception(env);
        (*env)->DeleteGlobalRef(env, service->object);
    }
    free(service);
}

static const sockref_handlers java_handlers = {
    .size = sizeof(sockref_handlers),
    .on_connection = on_connection,
    .on_data = on_data,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_error = on_error,
    .on_close = on_close,
    .on_stop = on_stop,
};

SHIM(void, serve)(JNIEnv *env, jclass self, jlong ref, jlong loop, jobject object)
{
    struct service *service;
    int status;

    (void)self;
    if (!ref) {
        sr_java_throw_closed(env);
        return;
    }
    service = malloc(sizeof *service);
    if (!service) {
        throw_no_memory(env);
        return;
    }
    service->object = (*env)->NewGlobalRef(env, object);
    if (!service->object) {
        free(service);
        throw_no_memory(env);
        return;
    }
    status = sockref_serve_on((sockref *)(uintptr_t)ref, (sockref_loop *)(uintptr_t)loop,
                              &java_handlers, service);
    if (status < 0) {
        sr_java_throw(env, status);
        (*env)->DeleteGlobalRef(env, service->object);
        free(service);
    }
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
        throw_own(env, SOCKREF_ECLOSED, NULL, "nothing is bound here under this name");
        return -1;
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        throw_own(env, -errno, "fcntl", sockref_status_message(-errno));
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
    jbyte stack[STACK_BYTES];
    jbyte *bytes = stack;
    int status;

    (void)self;
    if ((size_t)length > sizeof stack) {
        bytes = malloc((size_t)length);
        if (!bytes) {
            throw_no_memory(env);
            return -1;
        }
    }
    (*env)->GetByteArrayRegion(env, data, offset, length, bytes);
    status = sockref_conn_write((sockref_conn *)(uintptr_t)conn, bytes, (size_t)length);
    if (bytes != stack)
        free(bytes);
    return written(env, status);
}

SHIM(jint, connWriteDirect)
(JNIEnv *env, jclass self, jlong conn, jobject buffer, jint offset, jint length)
{
    const char *address = (*env)->GetDirectBufferAddress(env, buffer);

    (void)self;
    if (!address) {
        throw_own(env, -EINVAL, NULL, "the buffer has no address");
        return -1;
    }
    return written(
        env, sockref_conn_write((sockref_conn *)(uintptr_t)conn, address + offset, (size_t)length));
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
