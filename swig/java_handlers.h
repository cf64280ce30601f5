/* Between java_handlers.c and what serves names, connects, and uses connections, and what all of them ask with. */
#ifndef SR_JAVA_HANDLERS_H
#define SR_JAVA_HANDLERS_H

#include "java_shim.h"

#include <sockref/net.h>

/* Handlers of one served name or of one connection: the user pointer of their callbacks, freed by on_stop. */
struct sr_java_service;

/* Handlers that call an object. NULL: thrown. */
struct sr_java_service *sr_java_service_new(JNIEnv *env, jobject object);
/* Where they were given to nobody. */
void sr_java_service_free(JNIEnv *env, struct sr_java_service *self);

/* The callbacks, with the options that ConnectionOptions.java numbers, which they borrow. False: thrown. */
bool sr_java_handlers(JNIEnv *env, jlongArray numbers, sockref_handlers *out_handlers,
                      sockref_conn_options *out_options);

/* An address as Addresses.java reads it; NULL where it is thrown. */
jbyteArray sr_java_address(JNIEnv *env, const sockref_address *address);

/* The number in a java.io.FileDescriptor. */
int sr_java_descriptor_number(JNIEnv *env, jobject descriptor);

/* The reference of a number; NULL: it was closed, which is thrown. */
static inline sockref *sr_java_open_reference(JNIEnv *env, jlong ref)
{
    if (!ref)
        sr_java_throw_closed(env);
    return (sockref *)(uintptr_t)ref;
}

/* What a call answered, which is thrown where it failed. */
static inline jint sr_java_checked(JNIEnv *env, int status)
{
    if (status < 0)
        sr_java_throw(env, status);
    return status;
}

#endif
