/* Between the generated wrapper and the hand-written files of the Java binding. */
#ifndef SR_JAVA_SHIM_H
#define SR_JAVA_SHIM_H

#include <errno.h>
#include <jni.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define SHIM(RESULT, NAME) JNIEXPORT RESULT JNICALL Java_org_sockref_Shim_##NAME

/* Throw status as this thread's last error describes it. */
void sr_java_throw(JNIEnv *env, int status);
/* The same for calls that tell the status by sockref_last_error() alone. */
void sr_java_throw_last(JNIEnv *env);
/* Throw SOCKREF_ECLOSED. */
void sr_java_throw_closed(JNIEnv *env);
/* Throw what failed in the binding: the thread's last error tells of something else. */
void sr_java_throw_own(JNIEnv *env, int status, const char *syscall, const char *message);
void sr_java_throw_no_memory(JNIEnv *env);
/* A SockrefException; NULL with a Java exception pending if that could not be made. */
jobject sr_java_new_exception(JNIEnv *env, int status);
/* Copy bytes and a NUL into *out_bytes, which is to be freed; null is NULL. False: thrown. */
bool sr_java_bytes(JNIEnv *env, jbyteArray array, char **out_bytes);
/* A byte[] of a string; NULL for NULL, and where it is thrown. */
jbyteArray sr_java_new_bytes(JNIEnv *env, const char *text);
/* An address as Addresses.java reads it; NULL where it is thrown. */
jbyteArray sr_java_new_address(JNIEnv *env, int family, unsigned port, const char *host, size_t length);

/* The environment of this thread; NULL where it is none of Java's, or no longer. */
JNIEnv *sr_java_env(void);
/* After an upcall: nothing is left pending. */
void sr_java_clear(JNIEnv *env);

/* Bytes on their way between an array and the system: on the stack, and in memory of their own where they are many. */
struct sr_java_copy {
    jbyte stack[16384];
    jbyte *bytes;
};

/* False: no memory. */
static inline bool sr_java_copy_begin(struct sr_java_copy *self, jint length)
{
    self->bytes = (size_t)length <= sizeof self->stack ? self->stack : malloc((size_t)length);
    return self->bytes != NULL;
}

static inline void sr_java_copy_end(struct sr_java_copy *self)
{
    if (self->bytes != self->stack)
        free(self->bytes);
}

bool sr_java_find_class(JNIEnv *env, const char *name, jclass *out_class);
bool sr_java_find_method(JNIEnv *env, jclass class, const char *name, const char *signature,
                         jmethodID *out_method);

/* When the library is loaded: what java_handlers.c, java_conn.c and java_connect.c call. */
bool sr_java_find_handlers(JNIEnv *env);
bool sr_java_find_conn(JNIEnv *env);
bool sr_java_find_connect(JNIEnv *env);

struct sockref_connect_options;
/* Fill in what ConnectOptions.java numbers, with memory that is to be freed; from is a reference, or 0. False: thrown. */
bool sr_java_connect_options(JNIEnv *env, jlongArray numbers, jbyteArray local_host, jobjectArray addresses,
                             jlong from, struct sockref_connect_options *out);
void sr_java_connect_options_free(struct sockref_connect_options *options);

#endif
