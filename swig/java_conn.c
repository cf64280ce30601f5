/* Connections that call handlers: on the loop's thread only, before on_close; Connection.java sees to both. */
#include "java_handlers.h"

static struct {
    jclass runnable;
    jmethodID run;
} java;

bool sr_java_find_conn(JNIEnv *env)
{
    return sr_java_find_class(env, "java/lang/Runnable", &java.runnable) &&
           sr_java_find_method(env, java.runnable, "run", "()V", &java.run);
}

/* A part of an array, until sr_java_copy_end(); false: thrown. */
static bool begin_copy(JNIEnv *env, struct sr_java_copy *out_copy, jbyteArray data, jint offset, jint length)
{
    if (!sr_java_copy_begin(out_copy, length)) {
        sr_java_throw_no_memory(env);
        return false;
    }
    (*env)->GetByteArrayRegion(env, data, offset, length, out_copy->bytes);
    return true;
}

SHIM(jint, connWrite)
(JNIEnv *env, jclass self, jlong conn, jbyteArray data, jint offset, jint length)
{
    struct sr_java_copy copy;
    int status;

    (void)self;
    if (!begin_copy(env, &copy, data, offset, length))
        return -1;
    status = sockref_conn_write((sockref_conn *)(uintptr_t)conn, copy.bytes, (size_t)length);
    sr_java_copy_end(&copy);
    return sr_java_checked(env, status);
}

/* Where bytes of a direct buffer lie; one without any may have no address. False: thrown. */
static bool find_bytes(JNIEnv *env, jobject buffer, jint offset, jint length, const char **out_bytes)
{
    const char *address = (*env)->GetDirectBufferAddress(env, buffer);

    if (!address && length > 0) {
        sr_java_throw_own(env, -EINVAL, NULL, "the buffer has no address");
        return false;
    }
    *out_bytes = address ? address + offset : NULL;
    return true;
}

SHIM(jint, connWriteDirect)
(JNIEnv *env, jclass self, jlong conn, jobject buffer, jint offset, jint length)
{
    const char *bytes;

    (void)self;
    if (!find_bytes(env, buffer, offset, length, &bytes))
        return -1;
    return sr_java_checked(env, sockref_conn_write((sockref_conn *)(uintptr_t)conn, bytes, (size_t)length));
}

SHIM(jint, connSendDescriptor)
(JNIEnv *env, jclass self, jlong conn, jobject descriptor, jbyteArray data)
{
    int fd = sr_java_descriptor_number(env, descriptor);
    jint length = (*env)->GetArrayLength(env, data);
    struct sr_java_copy copy;
    int status;

    (void)self;
    if (!begin_copy(env, &copy, data, 0, length))
        return -1;
    status = sockref_conn_send_fd((sockref_conn *)(uintptr_t)conn, fd, copy.bytes, (size_t)length);
    sr_java_copy_end(&copy);
    return sr_java_checked(env, status);
}

SHIM(void, connEnd)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    sr_java_checked(env, sockref_conn_end((sockref_conn *)(uintptr_t)conn));
}

SHIM(void, connPause)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    sr_java_checked(env, sockref_conn_pause((sockref_conn *)(uintptr_t)conn));
}

SHIM(void, connResume)(JNIEnv *env, jclass self, jlong conn)
{
    (void)self;
    sr_java_checked(env, sockref_conn_resume((sockref_conn *)(uintptr_t)conn));
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
        (*env)->CallVoidMethod(env, lent->told, java.run);
        sr_java_clear(env);
        (*env)->DeleteGlobalRef(env, lent->buffer);
        (*env)->DeleteGlobalRef(env, lent->told);
    }
    free(lent);
}

SHIM(jint, connWriteLent)
(JNIEnv *env, jclass self, jlong conn, jobject buffer, jint offset, jint length, jobject told)
{
    const char *bytes;
    struct lent *lent;
    int status = -ENOMEM;

    (void)self;
    if (!find_bytes(env, buffer, offset, length, &bytes))
        return -1;
    lent = malloc(sizeof *lent);
    if (!lent) {
        sr_java_throw_no_memory(env);
        return -1;
    }
    lent->buffer = (*env)->NewGlobalRef(env, buffer);
    lent->told = (*env)->NewGlobalRef(env, told);
    if (lent->buffer && lent->told)
        status = sockref_conn_write_own((sockref_conn *)(uintptr_t)conn, bytes, (size_t)length, on_written, lent);
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
    sr_java_checked(env, sockref_conn_set_timeout((sockref_conn *)(uintptr_t)conn, (unsigned)timeout_ms));
}

SHIM(void, connSetKeepAlive)(JNIEnv *env, jclass self, jlong conn, jboolean on, jint delay_ms)
{
    (void)self;
    sr_java_checked(env, sockref_conn_set_keepalive((sockref_conn *)(uintptr_t)conn, on, (unsigned)delay_ms));
}

SHIM(void, connSetNoDelay)(JNIEnv *env, jclass self, jlong conn, jboolean on)
{
    (void)self;
    sr_java_checked(env, sockref_conn_set_nodelay((sockref_conn *)(uintptr_t)conn, on));
}

/* As ConnectionInfo.java reads them; out_addresses gets the local and the remote one. */
SHIM(jlongArray, connInfo)(JNIEnv *env, jclass self, jlong conn, jobjectArray out_addresses)
{
    sockref_conn_details info = {.size = sizeof info};
    int status = sockref_conn_info((sockref_conn *)(uintptr_t)conn, &info);
    const sockref_address *ends[] = {&info.local, &info.remote};
    jlongArray array;

    (void)self;
    if (sr_java_checked(env, status) < 0)
        return NULL;
    for (jsize i = 0; i < 2; i++) {
        jbyteArray address = sr_java_address(env, ends[i]);

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
    if (sr_java_checked(env, status) < 0)
        return NULL;
    array = (*env)->NewLongArray(env, 3);
    if (array)
        (*env)->SetLongArrayRegion(env, array, 0, 3, (const jlong[]){peer.pid, peer.uid, peer.gid});
    return array;
}

/* Answers the connection, of which the object is told. */
SHIM(jlong, connConnect)
(JNIEnv *env, jclass self, jlong loop, jbyteArray name, jlongArray numbers, jbyteArray local_host,
 jobjectArray addresses, jlong from, jlongArray conn_numbers, jobject object, jobject connection)
{
    sockref_handlers handlers;
    sockref_conn_options conn_options;
    sockref_connect_options options = {0};
    sockref_conn *conn = NULL;
    struct sr_java_service *service = NULL;
    jobject kept = NULL;
    char *bytes = NULL;
    int status = 0;

    (void)self;
    if (!sr_java_bytes(env, name, &bytes) || !sr_java_handlers(env, conn_numbers, &handlers, &conn_options) ||
        !sr_java_connect_options(env, numbers, local_host, addresses, from, &options))
        goto out;
    service = sr_java_service_new(env, object);
    if (!service)
        goto out;
    kept = (*env)->NewGlobalRef(env, connection);
    status = kept ? sockref_connect((sockref_loop *)(uintptr_t)loop, bytes, &options, &handlers, service, &conn)
                  : -ENOMEM;
    if (status < 0) {
        sr_java_throw(env, status);
        (*env)->DeleteGlobalRef(env, kept);
        sr_java_service_free(env, service);
        goto out;
    }
    sockref_conn_set_data(conn, kept);
    sockref_conn_release(conn);

out:
    sr_java_connect_options_free(&options);
    free(bytes);
    return (jlong)(uintptr_t)conn;
}
