/* Between the generated wrapper and java_shim.c. */
#ifndef SR_JAVA_SHIM_H
#define SR_JAVA_SHIM_H

#include <errno.h>
#include <jni.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

/* Throw status as this thread's last error describes it. */
void sr_java_throw(JNIEnv *env, int status);
/* The same for calls that tell the status by sockref_last_error() alone. */
void sr_java_throw_last(JNIEnv *env);
/* Throw SOCKREF_ECLOSED. */
void sr_java_throw_closed(JNIEnv *env);
/* Copy bytes and a NUL into *out_bytes, which is to be freed; null is NULL. False: thrown. */
bool sr_java_bytes(JNIEnv *env, jbyteArray array, char **out_bytes);
/* A byte[] of a string; NULL for NULL, and where it is thrown. */
jbyteArray sr_java_new_bytes(JNIEnv *env, const char *text);

#endif
