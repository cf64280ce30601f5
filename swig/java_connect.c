/*
 * Connecting for channels: the loop looks up and tries, and hands the connected descriptor over.
 *
 * The connection of the loop is destroyed as soon as it is made; the channel has a duplicate of its descriptor, of
 * which nothing has been read.
 */
#include "java_shim.h"

#include <fcntl.h>
#include <sockref/net.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3

/* One that is under way: the user pointer of its callbacks, freed by on_stop. */
struct connecting {
    jobject operation; /* ConnectOperation; a global reference */
    bool settled;
};

static struct {
    jclass operation;
    jmethodID settle;
} java;

bool sr_java_find_connect(JNIEnv *env)
{
    return sr_java_find_class(env, "org/sockref/ConnectOperation", &java.operation) &&
           sr_java_find_method(env, java.operation, "settle", "(ILorg/sockref/SockrefException;)V", &java.settle);
}

/* Tell the outcome: a descriptor in blocking mode, or a status. */
static void settle(struct connecting *self, int fd, int status)
{
    JNIEnv *env = sr_java_env();
    jobject exception = NULL;

    if (self->settled || !env)
        return;
    self->settled = true;
    if (status < 0) {
        exception = sr_java_new_exception(env, status);
        sr_java_clear(env);
    }
    (*env)->CallVoidMethod(env, self->operation, java.settle, (jint)fd, exception);
    sr_java_clear(env);
    if (exception)
        (*env)->DeleteLocalRef(env, exception);
}

static int take_descriptor(sockref_conn *conn)
{
    int fd = fcntl(sockref_conn_fd(conn), F_DUPFD_CLOEXEC, FIRST_FD);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0) {
        flags = -errno;
        if (fd >= 0)
            close(fd);
        return flags;
    }
    return fd;
}

static void on_connect(sockref_conn *conn, void *user)
{
    int fd = take_descriptor(conn);

    settle(user, fd < 0 ? -1 : fd, fd < 0 ? fd : 0);
    sockref_conn_destroy(conn);
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    (void)conn;
    settle(user, -1, status);
}

static void on_stop(void *user)
{
    struct connecting *self = user;
    JNIEnv *env = sr_java_env();

    settle(self, -1, SOCKREF_ECANCELED);
    if (env)
        (*env)->DeleteGlobalRef(env, self->operation);
    free(self);
}

static const sockref_conn_options paused = {.size = sizeof paused, .flags = SOCKREF_CONN_PAUSED};
static const sockref_handlers handlers = {
    .size = sizeof handlers,
    .on_connect = on_connect,
    .on_error = on_error,
    .on_stop = on_stop,
    .options = &paused,
};

static bool fill_addresses(JNIEnv *env, jobjectArray texts, sockref_address *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        jbyteArray text = (*env)->GetObjectArrayElement(env, texts, (jsize)i);
        jsize length = (*env)->GetArrayLength(env, text);
        sockref_address *address = &addresses[i];

        address->size = sizeof *address;
        if ((size_t)length >= sizeof address->host) {
            sr_java_throw_own(env, -EINVAL, NULL, "an address is too long");
            return false;
        }
        (*env)->GetByteArrayRegion(env, text, 0, length, (jbyte *)address->host);
        (*env)->DeleteLocalRef(env, text);
        address->host_length = (size_t)length;
        address->family = strchr(address->host, ':') ? SOCKREF_FAMILY_IPV6 : SOCKREF_FAMILY_IPV4;
    }
    return true;
}

bool sr_java_connect_options(JNIEnv *env, jlongArray numbers, jbyteArray local_host, jobjectArray texts,
                             jlong from, struct sockref_connect_options *out)
{
    size_t count = texts ? (size_t)(*env)->GetArrayLength(env, texts) : 0;
    sockref_address *addresses = NULL;
    char *host = NULL;
    jlong values[5];

    (*env)->GetLongArrayRegion(env, numbers, 0, 5, values);
    if ((*env)->ExceptionCheck(env) || !sr_java_bytes(env, local_host, &host))
        return false;
    *out = (sockref_connect_options){
        .size = sizeof *out,
        .flags = (unsigned)values[0],
        .family = (int)values[1],
        .attempt_delay_ms = (unsigned)values[2],
        .timeout_ms = (unsigned)values[3],
        .local_port = (unsigned)values[4],
        .local_host = host,
        .from = (sockref *)(uintptr_t)from,
    };
    if (count == 0)
        return true;
    addresses = calloc(count, sizeof *addresses);
    if (!addresses) {
        sr_java_throw_no_memory(env);
        return false;
    }
    out->addresses = addresses;
    out->address_count = count;
    return fill_addresses(env, texts, addresses, count);
}

void sr_java_connect_options_free(struct sockref_connect_options *options)
{
    free((void *)(uintptr_t)options->local_host);
    free((void *)(uintptr_t)options->addresses);
}

/* Answers the loop's connection, of which the caller has a handle. */
SHIM(jlong, connect)
(JNIEnv *env, jclass self, jlong loop, jbyteArray name, jlongArray numbers, jbyteArray local_host,
 jobjectArray addresses, jlong from, jobject operation)
{
    struct connecting *connecting = calloc(1, sizeof *connecting);
    sockref_connect_options options = {0};
    sockref_conn *conn = NULL;
    char *bytes = NULL;
    int status = -ENOMEM;

    (void)self;
    if (!connecting) {
        sr_java_throw_no_memory(env);
        return 0;
    }
    if (!sr_java_bytes(env, name, &bytes) ||
        !sr_java_connect_options(env, numbers, local_host, addresses, from, &options))
        goto err_free;
    connecting->operation = (*env)->NewGlobalRef(env, operation);
    if (connecting->operation)
        status = sockref_connect((sockref_loop *)(uintptr_t)loop, bytes, &options, &handlers, connecting, &conn);
    if (status < 0) {
        sr_java_throw(env, status);
        (*env)->DeleteGlobalRef(env, connecting->operation);
        goto err_free;
    }
    sr_java_connect_options_free(&options);
    free(bytes);
    return (jlong)(uintptr_t)conn;

err_free:
    sr_java_connect_options_free(&options);
    free(bytes);
    free(connecting);
    return 0;
}

SHIM(void, connRelease)(JNIEnv *env, jclass self, jlong conn)
{
    (void)env;
    (void)self;
    sockref_conn_release((sockref_conn *)(uintptr_t)conn);
}
