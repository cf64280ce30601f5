/*
 * Python: the private module sockref._lowlevel. The public package is written by hand in bindings/python/sockref.
 *
 * A proxy points at a struct pin (python_pin.c) and not at the handle itself. The GIL is kept, but for calls that
 * may block (%thread below).
 */
%module(package="sockref", threads="1") lowlevel
%nothread;

%insert(begin) %{
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define PY_SSIZE_T_CLEAN
%}

%{
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sockref/net.h>
#include <sockref/pool.h>
#include <sockref/sockref.h>
#include <sockref/stats.h>
%}

%insert(header) "python_error.c"
%insert(header) "python_pin.c"
%insert(header) "python_detach.c"
%insert(header) "python_events.c"
%insert(header) "python_loop.c"
%insert(header) "python_read.c"
%insert(header) "python_write.c"
%insert(header) "python_address.c"
%insert(header) "python_handlers.c"
%insert(header) "python_connection.c"
%insert(header) "python_protocol.c"
%insert(header) "python_send.c"
%insert(header) "python_extra.c"
%insert(header) "python_transport.c"
%insert(header) "python_endpoint.c"
%insert(header) "python_stats.c"
%insert(header) "python_pool.c"

%init %{
    loop_type = add_type(m, "Loop", &loop_spec);
    connection_type = add_type(m, "Connection", &connection_spec);
    if (!loop_type || !connection_type || !add_transport_type(m) || !find_socket_type())
        return -1;
%}

/* Calls on a handle: it stays while the call runs. NULL after close, which answers questions; see %exception. */
%typemap(in) sockref *self (struct pin *pin = NULL), struct sockref *self (struct pin *pin = NULL) {
    pin = pin_enter($input, SWIGTYPE_p_sockref, $disown);
    if (!pin)
        SWIG_fail;
    $1 = pin_target(pin);
}
%typemap(freearg) sockref *self, struct sockref *self "pin_leave(pin$argnum);"
%typemap(in) const sockref *self = sockref *self;
%typemap(freearg) const sockref *self = sockref *self;

/* A shim that wants the pin itself. */
%typemap(in) struct pin *ref {
    $1 = pin_enter($input, SWIGTYPE_p_sockref, 0);
    if (!$1)
        SWIG_fail;
}
%typemap(in) struct pin *registry {
    $1 = pin_enter($input, SWIGTYPE_p_sockref_registry, 0);
    if (!$1)
        SWIG_fail;
}
%typemap(in) struct pin *pool {
    $1 = pin_enter($input, SWIGTYPE_p_sockref_pool, 0);
    if (!$1)
        SWIG_fail;
}
%typemap(freearg) struct pin *ref, struct pin *registry, struct pin *pool "pin_leave($1);"

/* None is the default registry; a closed one is an error, for NULL would be the default one as well. */
%typemap(in) sockref_registry *self (struct pin *pin = NULL), struct sockref_registry *self (struct pin *pin = NULL) {
    if ($disown || $input != Py_None) {
        pin = pin_enter($input, SWIGTYPE_p_sockref_registry, $disown);
        if (!pin)
            SWIG_fail;
        $1 = pin_target(pin);
        if (!$1 && !$disown) {
            raise_own(SOCKREF_ECLOSED, NULL);
            SWIG_fail;
        }
    }
}
%typemap(freearg) sockref_registry *self, struct sockref_registry *self "pin_leave(pin$argnum);"

/* The destructor; the shims take the pin. */
%typemap(in) struct sockref_pool *self (struct pin *pin = NULL) {
    pin = pin_enter($input, SWIGTYPE_p_sockref_pool, $disown);
    if (!pin)
        SWIG_fail;
    $1 = pin_target(pin);
}
%typemap(freearg) struct sockref_pool *self "pin_leave(pin$argnum);"

%exception sockref::acquire {
    if (!arg1) {
        raise_own(SOCKREF_ECLOSED, NULL);
        SWIG_fail;
    }
    $action
}
%typemap(out) sockref *, struct sockref * {
    if (!$1) {
        raise_status(sockref_last_error()->status);
        SWIG_fail;
    }
    $result = wrap_reference($1);
    if (!$result)
        SWIG_fail;
}

/* Outputs are results. */
%typemap(in, numinputs=0) sockref **out_ref (sockref *made = NULL) "$1 = &made;"
%typemap(argout) sockref **out_ref {
    Py_DECREF($result);
    $result = wrap_reference(*$1);
    if (!$result)
        SWIG_fail;
}
%typemap(in, numinputs=0) sockref_registry **out_registry (sockref_registry *made = NULL) "$1 = &made;"
%typemap(argout) sockref_registry **out_registry {
    Py_DECREF($result);
    $result = wrap_registry(*$1);
    if (!$result)
        SWIG_fail;
}
%typemap(in, numinputs=0) uint64_t *out_count (uint64_t counted = 0) "$1 = &counted;"
%typemap(argout) uint64_t *out_count {
    Py_DECREF($result);
    $result = PyLong_FromUnsignedLongLong(*$1);
}

/* Statuses are exceptions. */
%typemap(out) int {
    if ($1 < 0) {
        raise_status($1);
        SWIG_fail;
    }
    $result = PyLong_FromLong($1);
}
%typemap(out) int fd "$result = PyLong_FromLong($1);"

/* Paths are bytes without NUL, or None. */
%typemap(in) const char *path, const char *name, const char *directory, const char *value {
    char *bytes = NULL;

    if ($input != Py_None && PyBytes_AsStringAndSize($input, &bytes, NULL) < 0)
        SWIG_fail;
    $1 = bytes;
}
%typemap(freearg) const char *path, const char *name, const char *directory, const char *value ""
%typemap(out) const char *path {
    $result = $1 ? PyBytes_FromString($1) : Py_NewRef(Py_None);
}

%thread sockref_registry_get_or_create;
%thread sockref_registry_register_new;
%thread sockref_registry_listen;
%thread sockref_registry_cleanup;
%thread sockref_registry_cleanup_all;
%thread sockref_registry_sweep;
%thread sockref_registry_drain;
%thread sockref_registry_shutdown;

%include "sockref.i"

%extend sockref {
    int unserve(bool destroy);
    int set_max_connections(uint64_t most);
    uint64_t connection_count();
}

%nodefaultctor sockref_pool;
typedef struct sockref_pool sockref_pool;

struct sockref_pool {
};
%extend sockref_pool {
    ~sockref_pool() { sockref_pool_free($self); }
}

/* The shims. */
void close_reference(struct pin *ref);
void close_registry(struct pin *registry);
PyObject *dup_fd(struct pin *ref);
PyObject *serve_echo(struct pin *ref);
PyObject *serve(struct pin *ref, PyObject *loop, PyObject *handlers, PyObject *reporter, PyObject *options);
PyObject *connect_handlers(const char *name, PyObject *loop, PyObject *handlers, PyObject *reporter,
                           PyObject *connect_options, PyObject *options);
PyObject *adopt_handlers(int fd, PyObject *loop, PyObject *handlers, PyObject *reporter, PyObject *options);
PyObject *serve_transports(struct pin *ref, PyObject *loop, PyObject *host, PyObject *factory, PyObject *clients,
                           PyObject *stopped, bool tcp, bool descriptors, PyObject *options);
PyObject *connect_transport(const char *name, PyObject *loop, PyObject *host, PyObject *factory, PyObject *outcome,
                            PyObject *failed, bool descriptors, PyObject *connect_options, PyObject *options);
PyObject *adopt_transport(int fd, PyObject *loop, PyObject *host, PyObject *factory, PyObject *outcome, bool tcp,
                          bool descriptors, PyObject *options);
PyObject *local_address(struct pin *ref);
PyObject *set_watch(struct pin *ref, uint64_t id);
PyObject *clear_watch(struct pin *ref);
int set_log(bool wanted);
int start_listener(sockref_registry *self, const char *path, const sockref_options *options, PyObject *callback);
bool cancel_start(sockref_registry *self, PyObject *callback);
PyObject *options_set_loop(sockref_options *options, PyObject *loop);
int guard_status(sockref_registry *self);
PyObject *registry_stats(sockref_registry *self);
PyObject *metrics(sockref_registry *self);
PyObject *reference_stats(struct pin *ref);
PyObject *check_health(struct pin *ref);
void close_pool(struct pin *pool);
PyObject *pool_add(struct pin *pool, struct pin *ref);
PyObject *pool_remove(struct pin *pool, struct pin *ref);
PyObject *pool_listen(struct pin *pool, sockref_registry *self, const char *path, unsigned count,
                      const sockref_options *options);
PyObject *pool_pick(struct pin *pool, int policy);
PyObject *pool_size(struct pin *pool);

%native(set_error_factory) PyObject *set_error_factory(PyObject *self, PyObject *args);
%native(set_connection_values) PyObject *set_connection_values(PyObject *self, PyObject *args);
%native(set_find_extra) PyObject *set_find_extra(PyObject *self, PyObject *args);
%native(call_and_detach) PyObject *call_and_detach(PyObject *self, PyObject *args);
%native(loop_stats) PyObject *loop_stats(PyObject *self, PyObject *args);
%native(pool_new) PyObject *pool_new(PyObject *self, PyObject *args);
%native(live_counts) PyObject *live_counts(PyObject *self, PyObject *args);
%native(library_file) PyObject *library_file(PyObject *self, PyObject *args);
%native(write_unraisable) PyObject *write_unraisable(PyObject *self, PyObject *args);
%native(after_fork_in_child) PyObject *after_fork_in_child(PyObject *self, PyObject *args);
%native(events_fileno) PyObject *events_fileno(PyObject *self, PyObject *args);
%native(events_interrupt) PyObject *events_interrupt(PyObject *self, PyObject *args);
%native(events_take) PyObject *events_take(PyObject *self, PyObject *args);

%constant char *BUILT_VERSION = SOCKREF_VERSION_STRING;
%constant unsigned BUILT_ABI = SOCKREF_ABI_VERSION;
