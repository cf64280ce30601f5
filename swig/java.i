/*
 * The private Java module: package-private classes of org.sockref, in C mode and without directors. What people
 * use is written by hand in bindings/java; loops, callbacks and bytes are in java_shim.c and beside it.
 *
 * A path is a byte[], so that every name can be told. A call pins its handle by a user count (Handle.java): enter
 * before, exit after, and a close between the two waits for the exit.
 */
%module(package="org.sockref") SockrefNative

%pragma(java) moduleclassmodifiers="final class"
%pragma(java) jniclassclassmodifiers="final class"
%pragma(java) jniclasscode=%{
  static {
    NativeLoader.load();
  }
%}

%{
#include "java_shim.h"
%}

%rename(NativeReference) sockref;
%rename(NativeRegistry) sockref_registry;
%rename(NativeOptions) sockref_options;

/* A status: negative is thrown. */
%typemap(out, throws="SockrefException") int {
    $result = (jint)$1;
    if ($1 < 0)
        sr_java_throw(jenv, $1);
}

/* Numbers that only grow fit a long. */
%typemap(jni) uint64_t "jlong"
%typemap(jtype) uint64_t "long"
%typemap(jstype) uint64_t "long"
%typemap(javaout) uint64_t { return $jnicall; }
%typemap(out) uint64_t "$result = (jlong)$1;"

/* Bytes in: copied with a NUL behind them; null is NULL. Freed also when the call threw. */
%typemap(jni) const char *path, const char *directory, const char *value "jbyteArray"
%typemap(jtype) const char *path, const char *directory, const char *value "byte[]"
%typemap(jstype) const char *path, const char *directory, const char *value "byte[]"
%typemap(javain) const char *path, const char *directory, const char *value "$javainput"
%typemap(in) const char *path, const char *directory, const char *value {
    if (!sr_java_bytes(jenv, $input, &$1))
        return $null;
}
%typemap(freearg) const char *path, const char *directory, const char *value "free($1);"
/* Bytes out, of sockref_path(). */
%typemap(out) const char *path "$result = sr_java_new_bytes(jenv, $1);"

/* int f(..., sockref **out_ref) returns the reference. */
%typemap(in, numinputs=0) sockref **out_ref (sockref *ref = NULL) "$1 = &ref;"
%typemap(in, numinputs=0) sockref_registry **out_registry (sockref_registry *registry = NULL) "$1 = &registry;"
%typemap(in, numinputs=0) uint64_t *out_count (uint64_t count = 0) "$1 = &count;"

%define SR_RETURNS(FUNCTION, CTYPE, JAVATYPE)
%typemap(jni) int FUNCTION "jlong"
%typemap(jtype) int FUNCTION "long"
%typemap(jstype) int FUNCTION "JAVATYPE"
%typemap(javaout) int FUNCTION { return JAVATYPE.of($jnicall); }
%typemap(out, throws="SockrefException") int FUNCTION {
    if ($1 < 0)
        sr_java_throw(jenv, $1);
}
%enddef
%typemap(argout) sockref **out_ref "$result = (jlong)(uintptr_t)*$1;"
%typemap(argout) sockref_registry **out_registry "$result = (jlong)(uintptr_t)*$1;"
%typemap(argout) uint64_t *out_count "$result = (jlong)*$1;"

SR_RETURNS(sockref_registry_new, sockref_registry, NativeRegistry)
SR_RETURNS(sockref_registry_get_or_create, sockref, NativeReference)
SR_RETURNS(sockref_registry_get_existing, sockref, NativeReference)
/* Not there is no error: null. */
%typemap(javaout) int sockref_registry_get_existing {
      long pointer = $jnicall;
      return pointer == 0 ? null : NativeReference.of(pointer);
    }
%typemap(out, throws="SockrefException") int sockref_registry_get_existing {
    if ($1 < 0 && $1 != SOCKREF_ENOTFOUND)
        sr_java_throw(jenv, $1);
}
SR_RETURNS(sockref_registry_register_new, sockref, NativeReference)
SR_RETURNS(sockref_registry_listen, sockref, NativeReference)

%define SR_COUNTS(FUNCTION)
%typemap(jni) int FUNCTION "jlong"
%typemap(jtype) int FUNCTION "long"
%typemap(jstype) int FUNCTION "long"
%typemap(javaout) int FUNCTION { return $jnicall; }
%typemap(out, throws="SockrefException") int FUNCTION {
    if ($1 < 0)
        sr_java_throw(jenv, $1);
}
%enddef
SR_COUNTS(sockref_registry_cleanup_all)
SR_COUNTS(sockref_registry_sweep)

/* The descriptor is handed out as a duplicate only: java_serve.c. */
%ignore sockref::fd;

/* dup(): the handle counts one more; it may have been closed before. */
%javaexception("SockrefException") sockref::acquire {
    if (!arg1) {
        sr_java_throw_closed(jenv);
        return $null;
    }
    $action
    if (!result) {
        sr_java_throw_last(jenv);
        return $null;
    }
}

/* Both counted classes have the same body: a Handle, which a Cleaner frees at the latest. */
%define SR_HANDLE(STRUCT, CLASS)
%typemap(javaclassmodifiers) STRUCT, struct STRUCT "final class"
%typemap(javafinalize) STRUCT, struct STRUCT ""
%typemap(javainterfaces) STRUCT, struct STRUCT "AutoCloseable"
%typemap(javabody) STRUCT, struct STRUCT %{
  private final Handle handle;

  CLASS(long pointer, boolean owned) {
    handle = Handle.of(this, pointer, SockrefNativeJNI::delete_##CLASS);
  }

  /** Where there is no memory for the object, the pointer is freed. */
  static CLASS of(long pointer) {
    try {
      return new CLASS(pointer, true);
    } catch (Throwable t) {
      SockrefNativeJNI.delete_##CLASS(pointer);
      throw t;
    }
  }

  Handle handle() {
    return handle;
  }
%}
%typemap(javadestruct, methodname="close", methodmodifiers="public") STRUCT, struct STRUCT {
    handle.close();
  }
%typemap(javaout) STRUCT *, struct STRUCT * { return new CLASS($jnicall, true); }
%enddef
SR_HANDLE(sockref, NativeReference)
SR_HANDLE(sockref_registry, NativeRegistry)

/*
 * A method's call names its pointer swigCPtr: here that is the one that enter gives. A closed reference is NULL in
 * C: questions answer, acquire is refused.
 */
%define SR_PINNED(METHOD)
%typemap(javaout) METHOD {
    long swigCPtr = handle.enter();
    try {
      return $jnicall;
    } finally {
      handle.exit(swigCPtr);
    }
  }
%enddef
SR_PINNED(const char *sockref::path)
SR_PINNED(bool sockref::is_active)
SR_PINNED(bool sockref::is_owner)
SR_PINNED(uint64_t sockref::reference_count)
SR_PINNED(uint64_t sockref::holder_count)
%typemap(javaout) sockref *sockref::acquire {
    long swigCPtr = handle.enter();
    try {
      return NativeReference.of($jnicall);
    } finally {
      handle.exit(swigCPtr);
    }
  }

/* NULL is the default registry here, so a closed one must not become NULL: Registry.java throws. */
%typemap(javain, pre="    long $javainputPointer = Registry.enter($javainput);",
                 post="      Registry.exit($javainput, $javainputPointer);", throws="SockrefException")
    sockref_registry *, const sockref_registry *, struct sockref_registry * "$javainputPointer"

/* Options live for one call, on one thread. */
%typemap(javaclassmodifiers) sockref_options, struct sockref_options "final class"
%typemap(javafinalize) sockref_options, struct sockref_options ""
%typemap(javainterfaces) sockref_options, struct sockref_options "AutoCloseable"
%typemap(javabody) sockref_options, struct sockref_options %{
  private long swigCPtr;

  NativeOptions(long pointer, boolean owned) {
    swigCPtr = pointer;
  }

  static long pointer(NativeOptions options) {
    return options == null ? 0 : options.swigCPtr;
  }
%}
%typemap(javadestruct, methodname="close", methodmodifiers="public") sockref_options, struct sockref_options {
    $jnicall;
    swigCPtr = 0;
  }
%typemap(javain) sockref_options *, const sockref_options *, struct sockref_options *,
                 const struct sockref_options * "NativeOptions.pointer($javainput)"
%typemap(out, throws="SockrefException") sockref_options *sockref_options_new {
    $result = (jlong)(uintptr_t)$1;
    if (!$1)
        sr_java_throw(jenv, -ENOMEM);
}

%include "sockref.i"

int sockref_guard_status(sockref_registry *self);
