/*
 * The Java binding's hand-written part: loading, exceptions, bytes, loops, starts and watches.
 * Served names are in java_serve.c, what handlers are told in java_handlers.c, connections in java_conn.c,
 * java_connect.c and java_channel.c, counters in java_stats.c, pools in java_pool.c.
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

#define JAVA_VERSION       JNI_VERSION_10
/* What an exception's parts and an upcall's arguments need at most. */
#define FRAME       8

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

static JavaVM *java_vm;

/* Events that the loop's thread has not taken yet. */
static struct {
    pthread_mutex_t mutex;
    struct event *first, **last;
    size_t count;
    sockref_loop *loop; /* woken by an event; no loop that was dispatched is ever freed */
    atomic_bool waiting;
} events = {.mutex = PTHREAD_MUTEX_INITIALIZER, .last = &events.first};

static struct {
    jclass exception;
    jmethodID exception_of;
    jclass operation;
    jmethodID operation_settle;
} java;

bool sr_java_find_class(JNIEnv *env, const char *name, jclass *out_class)
{
    jclass local = (*env)->FindClass(env, name);

    if (!local)
        return false;
    *out_class = (*env)->NewGlobalRef(env, local);
    (*env)->DeleteLocalRef(env, local);
    return *out_class != NULL;
}

bool sr_java_find_method(JNIEnv *env, jclass class, const char *name, const char *signature,
                        jmethodID *out_method)
{
    *out_method = (*env)->GetMethodID(env, class, name, signature);
    return *out_method != NULL;
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
    if (!sr_java_find_class(env, "org/sockref/SockrefException", &java.exception) ||
        !sr_java_find_class(env, "org/sockref/StartOperation", &java.operation) || !sr_java_find_handlers(env) ||
        !sr_java_find_conn(env) || !sr_java_find_connect(env))
        return JNI_ERR;
    java.exception_of = (*env)->GetStaticMethodID(
        env, java.exception, "of", "(IILjava/lang/String;[B[B[B)Lorg/sockref/SockrefException;");
    if (!java.exception_of ||
        !sr_java_find_method(env, java.operation, "settle", "(JLorg/sockref/SockrefException;)V",
                     &java.operation_settle))
        return JNI_ERR;
    return JAVA_VERSION;
}

JNIEnv *sr_java_env(void)
{
    JNIEnv *env = NULL;

    return (*java_vm)->GetEnv(java_vm, (void **)&env, JAVA_VERSION) == JNI_OK ? env : NULL;
}

void sr_java_clear(JNIEnv *env)
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

jbyteArray sr_java_new_address(JNIEnv *env, int family, unsigned port, const char *host, size_t length)
{
    jbyte head[3] = {(jbyte)family, (jbyte)(port >> 8), (jbyte)port};
    jbyteArray array = (*env)->NewByteArray(env, (jsize)(length + sizeof head));

    if (array) {
        (*env)->SetByteArrayRegion(env, array, 0, sizeof head, head);
        (*env)->SetByteArrayRegion(env, array, sizeof head, (jsize)length, (const jbyte *)host);
    }
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

jobject sr_java_new_exception(JNIEnv *env, int status)
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
    jobject exception = sr_java_new_exception(env, status);

    if (exception)
        (*env)->Throw(env, exception);
}

void sr_java_throw_last(JNIEnv *env)
{
    sr_java_throw(env, sockref_last_error()->status);
}

void sr_java_throw_own(JNIEnv *env, int status, const char *syscall, const char *message)
{
    jobject exception = make_exception(env, status, syscall, NULL, message);

    if (exception && !(*env)->ExceptionCheck(env))
        (*env)->Throw(env, exception);
}

void sr_java_throw_closed(JNIEnv *env)
{
    sr_java_throw_own(env, SOCKREF_ECLOSED, NULL, "the handle is closed");
}

void sr_java_throw_no_memory(JNIEnv *env)
{
    sr_java_throw_own(env, -ENOMEM, NULL, sockref_status_message(-ENOMEM));
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
        sr_java_throw_no_memory(env);
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

SHIM(void, loopFree)(JNIEnv *env, jclass self, jlong loop)
{
    (void)env;
    (void)self;
    sockref_loop_free((sockref_loop *)(uintptr_t)loop);
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
    JNIEnv *env = sr_java_env();
    jobject exception = NULL;

    if (!env) {
        /* The VM is gone: there is nobody to tell. */
        sockref_release(ref);
        free(start);
        return;
    }
    if (status < 0) {
        exception = sr_java_new_exception(env, status);
        sr_java_clear(env);
    }
    (*env)->CallVoidMethod(env, start->operation, java.operation_settle, (jlong)(uintptr_t)ref,
                           exception);
    sr_java_clear(env);
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
        sr_java_throw_no_memory(env);
        return 0;
    }
    start->operation = (*env)->NewGlobalRef(env, operation);
    if (!start->operation) {
        free(start);
        sr_java_throw_no_memory(env);
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

