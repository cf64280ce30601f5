/*
 * Loops, starts and connections. Python drives each loop: a reader of an asyncio loop, or a Python thread,
 * waits for its descriptor and calls dispatch, which keeps the GIL, so that handlers run where Python runs.
 */

/* A loop outlives its Python object as long as services and connections still point here. */
struct loop_state {
    unsigned references;
    unsigned fork_generation;
    sockref_loop *loop;   /* NULL once it is freed */
    unsigned long thread; /* the loop thread */
    PyObject *fatal;      /* KeyboardInterrupt or SystemExit of a handler, for dispatch to raise */
    bool dispatching;
    bool muted; /* the interpreter ends, or this is a forked child: no handler is called */
};

typedef struct {
    PyObject_HEAD
    struct loop_state *state;
    PyObject *weakrefs;
} LoopObject;

enum { ON_CONNECTION, ON_DATA, ON_END, ON_DRAIN, ON_ERROR, ON_CLOSE, ON_STOP, HANDLER_COUNT };

/* The handlers of one served name; lives until on_stop. */
struct service {
    struct loop_state *state;
    PyObject *handlers[HANDLER_COUNT]; /* callables, or NULL */
    PyObject *report;                  /* is given the exceptions of handlers, or NULL */
};

typedef struct {
    PyObject_HEAD
    sockref_conn *conn;
    struct loop_state *state;
    PyObject *data; /* anything of the user's */
    bool closed;
} ConnectionObject;

static PyTypeObject *loop_type;
static PyTypeObject *connection_type;

static void state_release(struct loop_state *state)
{
    if (--state->references)
        return;
    Py_XDECREF(state->fatal);
    free(state);
}

static bool interpreter_ends(void)
{
    PyObject *question = PySys_GetObject("is_finalizing"); /* borrowed */
    PyObject *answer = question ? PyObject_CallNoArgs(question) : NULL;
    bool ends = !answer || PyObject_IsTrue(answer) != 0;

    Py_XDECREF(answer);
    PyErr_Clear();
    return ends;
}

/* Loop */

static PyObject *loop_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct loop_state *state;
    LoopObject *self;
    int status;

    if (!PyArg_ParseTuple(args, "") || (keywords && PyDict_Size(keywords)))
        return NULL;
    state = calloc(1, sizeof(*state));
    if (!state)
        return PyErr_NoMemory();
    status = sockref_loop_new(&state->loop);
    if (status < 0) {
        free(state);
        raise_status(status);
        return NULL;
    }
    state->references = 1;
    state->fork_generation = fork_generation;
    state->thread = PyThread_get_thread_ident();
    self = (LoopObject *)alloc(type, 0);
    if (!self) {
        sockref_loop_free(state->loop);
        free(state);
        return NULL;
    }
    self->state = state;
    return (PyObject *)self;
}

/* Ends starts, connections and services: their last callbacks run in here. */
static void loop_end(struct loop_state *state)
{
    sockref_loop *loop = state->loop;

    if (!loop)
        return;
    state->loop = NULL;
    state->thread = PyThread_get_thread_ident();
    state->muted = state->fork_generation != fork_generation || interpreter_ends();
    sockref_loop_free(loop);
}

static void loop_dealloc(PyObject *object)
{
    LoopObject *self = (LoopObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyObject *kind, *value, *trace;

    PyErr_Fetch(&kind, &value, &trace);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    if (self->state) {
        loop_end(self->state);
        state_release(self->state);
    }
    PyErr_Restore(kind, value, trace);
    release(object);
    Py_DECREF(type);
}

static PyObject *loop_close(PyObject *object, PyObject *Py_UNUSED(args))
{
    struct loop_state *state = ((LoopObject *)object)->state;

    if (state->dispatching) {
        PyErr_SetString(PyExc_RuntimeError, "a loop cannot be closed inside its own handlers");
        return NULL;
    }
    loop_end(state);
    Py_RETURN_NONE;
}

static PyObject *loop_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
    int fd = sockref_loop_fd(((LoopObject *)object)->state->loop);

    if (fd < 0) {
        raise_status(fd);
        return NULL;
    }
    return PyLong_FromLong(fd);
}

static PyObject *loop_wake(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_loop_wake(((LoopObject *)object)->state->loop);
    Py_RETURN_NONE;
}

static PyObject *loop_dispatch(PyObject *object, PyObject *Py_UNUSED(args))
{
    struct loop_state *state = ((LoopObject *)object)->state;
    PyObject *fatal;
    int count;

    if (state->dispatching) {
        /* A handler runs the host's loop inside itself: what is due waits for the outer dispatch. */
        return PyLong_FromLong(0);
    }
    state->thread = PyThread_get_thread_ident();
    state->dispatching = true;
    count = sockref_loop_dispatch(state->loop, 0);
    state->dispatching = false;
    if (state->fatal) {
        fatal = state->fatal;
        state->fatal = NULL;
        set_raised(fatal);
        return NULL;
    }
    if (count < 0) {
        raise_status(count);
        return NULL;
    }
    return PyLong_FromLong(count);
}

static PyMethodDef loop_methods[] = {
    {"fileno", loop_fileno, METH_NOARGS, "The descriptor to wait on for readability."},
    {"dispatch", loop_dispatch, METH_NOARGS, "Run the callbacks that are due; tell how many ran."},
    {"wake", loop_wake, METH_NOARGS, "Make the descriptor readable. Any thread."},
    {"close", loop_close, METH_NOARGS, "End the loop, its starts, connections and services."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef loop_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LoopObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, (void *)"A loop of the library, driven by Python."},
    {Py_tp_new, (void *)loop_new},
    {Py_tp_dealloc, (void *)loop_dealloc},
    {Py_tp_methods, loop_methods},
    {Py_tp_members, loop_members},
    {0, NULL},
};

static PyType_Spec loop_spec = {"sockref._lowlevel.Loop", sizeof(LoopObject), 0, Py_TPFLAGS_DEFAULT, loop_slots};

static struct loop_state *loop_of(PyObject *object)
{
    if (!PyObject_TypeCheck(object, loop_type)) {
        PyErr_Format(PyExc_TypeError, "expected a Loop, not %R", object);
        return NULL;
    }
    return ((LoopObject *)object)->state;
}

/* Starts */

/* Runs where its loop is dispatched, or where its loop or registry ends: there without the GIL, maybe. */
static void on_start(int status, sockref *ref, void *user)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *callback = user;
    PyObject *handle = NULL, *error = NULL, *result, *kind, *trace;

    if (status < 0)
        error = new_error(status);
    else
        handle = wrap_reference(ref);
    if (!handle && !error) {
        PyErr_Fetch(&kind, &error, &trace);
        PyErr_NormalizeException(&kind, &error, &trace);
        Py_XDECREF(kind);
        Py_XDECREF(trace);
    }
    result = PyObject_CallFunctionObjArgs(callback, handle ? handle : Py_None, error ? error : Py_None, NULL);
    if (!result)
        PyErr_WriteUnraisable(callback);
    Py_XDECREF(result);
    Py_XDECREF(handle);
    Py_XDECREF(error);
    Py_DECREF(callback);
    PyGILState_Release(gil);
}

/* callback(handle or None, exception or None) comes exactly once after this returned 0. */
static int start_listener(sockref_registry *self, const char *path, const sockref_options *options, PyObject *callback)
{
    int status;

    Py_INCREF(callback);
    status = sockref_registry_start_listener(self, path, options, on_start, callback);
    if (status < 0)
        Py_DECREF(callback);
    return status;
}

/* Whether the callback will come with SOCKREF_ECANCELED. */
static bool cancel_start(sockref_registry *self, PyObject *callback)
{
    return sockref_registry_cancel_start(self, on_start, callback) == 0;
}

static PyObject *options_set_loop(sockref_options *options, PyObject *loop)
{
    struct loop_state *state = loop_of(loop);
    int status;

    if (!state)
        return NULL;
    status = sockref_options_set_loop(options, state->loop);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Handlers: all run inside dispatch or loop_end, with the GIL. */

/* An exception of a handler goes to the host and never stops the loop; only those that end a program do. */
static void report(struct service *service, PyObject *handler)
{
    PyObject *kind, *value, *trace, *result;

    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Fetch(&kind, &value, &trace);
        PyErr_NormalizeException(&kind, &value, &trace);
        if (trace)
            PyException_SetTraceback(value, trace);
        if (!service->state->fatal)
            service->state->fatal = Py_NewRef(value);
        Py_XDECREF(kind);
        Py_XDECREF(value);
        Py_XDECREF(trace);
        return;
    }
    if (!service->report) {
        PyErr_WriteUnraisable(handler);
        return;
    }
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace)
        PyException_SetTraceback(value, trace);
    result = PyObject_CallFunctionObjArgs(service->report, value, NULL);
    if (!result)
        PyErr_WriteUnraisable(service->report);
    Py_XDECREF(result);
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(trace);
}

/* Call a handler with a connection and, unless it is NULL, an argument, which is taken. */
static void call_handler(struct service *service, int which, PyObject *connection, PyObject *argument)
{
    PyObject *handler = service->handlers[which];
    PyObject *result;

    if (handler && connection && !service->state->muted) {
        Py_INCREF(connection);
        result = PyObject_CallFunctionObjArgs(handler, connection, argument, NULL);
        if (!result)
            report(service, handler);
        Py_XDECREF(result);
        Py_DECREF(connection);
    }
    Py_XDECREF(argument);
}

static void service_free(struct service *service)
{
    for (int i = 0; i < HANDLER_COUNT; i++)
        Py_XDECREF(service->handlers[i]);
    Py_XDECREF(service->report);
    state_release(service->state);
    free(service);
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct service *service = user;
    allocfunc alloc = (allocfunc)PyType_GetSlot(connection_type, Py_tp_alloc);
    ConnectionObject *self = service->state->muted ? NULL : (ConnectionObject *)alloc(connection_type, 0);

    if (!self) {
        if (PyErr_Occurred())
            report(service, service->handlers[ON_CONNECTION]);
        sockref_conn_destroy(conn);
        return;
    }
    self->conn = sockref_conn_acquire(conn);
    self->state = service->state;
    self->state->references++;
    self->data = Py_NewRef(Py_None);
    sockref_conn_set_data(conn, self); /* ours until on_close */
    call_handler(service, ON_CONNECTION, (PyObject *)self, NULL);
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct service *service = user;
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)length);

    if (!bytes) {
        report(service, service->handlers[ON_DATA]);
        sockref_conn_destroy(conn);
        return;
    }
    call_handler(service, ON_DATA, sockref_conn_data(conn), bytes);
}

static void on_end(sockref_conn *conn, void *user)
{
    call_handler(user, ON_END, sockref_conn_data(conn), NULL);
}

static void on_drain(sockref_conn *conn, void *user)
{
    call_handler(user, ON_DRAIN, sockref_conn_data(conn), NULL);
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    struct service *service = user;
    PyObject *error = build_error(status, status > -20000 ? -status : 0, NULL, NULL, sockref_status_message(status));

    if (!error) {
        report(service, service->handlers[ON_ERROR]);
        return;
    }
    call_handler(service, ON_ERROR, sockref_conn_data(conn), error);
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    ConnectionObject *self = sockref_conn_data(conn);

    if (!self)
        return;
    self->closed = true;
    sockref_conn_set_data(conn, NULL);
    call_handler(user, ON_CLOSE, (PyObject *)self, PyBool_FromLong(had_error));
    Py_DECREF(self);
}

static void on_stop(void *user)
{
    struct service *service = user;
    PyObject *handler = service->handlers[ON_STOP];
    PyObject *result;

    if (handler && !service->state->muted) {
        result = PyObject_CallNoArgs(handler);
        if (!result)
            report(service, handler);
        Py_XDECREF(result);
    }
    service_free(service);
}

/* handlers: HANDLER_COUNT callables or None; report: a callable or None. */
static PyObject *serve(struct pin *pin, PyObject *loop, PyObject *handlers, PyObject *reporter)
{
    sockref_handlers table = {
        .size = sizeof(table), .on_connection = on_connection, .on_close = on_close, .on_stop = on_stop};
    sockref *ref = open_reference(pin);
    struct loop_state *state = loop_of(loop);
    struct service *service;
    PyObject *handler;
    int status;

    if (!ref || !state)
        return NULL;
    if (!PyTuple_Check(handlers) || PyTuple_Size(handlers) != HANDLER_COUNT) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple of handlers");
        return NULL;
    }
    service = calloc(1, sizeof(*service));
    if (!service)
        return PyErr_NoMemory();
    service->state = state;
    state->references++;
    service->report = reporter == Py_None ? NULL : Py_NewRef(reporter);
    for (int i = 0; i < HANDLER_COUNT; i++) {
        handler = PyTuple_GetItem(handlers, i); /* borrowed */
        service->handlers[i] = handler == Py_None ? NULL : Py_NewRef(handler);
    }
    table.on_data = service->handlers[ON_DATA] ? on_data : NULL;
    table.on_end = service->handlers[ON_END] ? on_end : NULL;
    table.on_drain = service->handlers[ON_DRAIN] ? on_drain : NULL;
    table.on_error = service->handlers[ON_ERROR] ? on_error : NULL;
    status = sockref_serve_on(ref, state->loop, &table, service);
    if (status < 0) {
        raise_status(status);
        service_free(service);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Connection */

static sockref_conn *on_loop_thread(PyObject *object)
{
    ConnectionObject *self = (ConnectionObject *)object;

    if (self->state->thread != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError, "a Connection belongs to the thread of its loop");
        return NULL;
    }
    return self->conn;
}

static PyObject *answer(int status)
{
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *connection_write(PyObject *object, PyObject *data)
{
    sockref_conn *conn = on_loop_thread(object);
    Py_buffer view;
    int status;

    if (!conn || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    status = sockref_conn_write(conn, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return PyBool_FromLong(status != SOCKREF_WRITE_FULL);
}

static PyObject *connection_end(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? answer(sockref_conn_end(conn)) : NULL;
}

static PyObject *connection_pause(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? answer(sockref_conn_pause(conn)) : NULL;
}

static PyObject *connection_resume(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? answer(sockref_conn_resume(conn)) : NULL;
}

static PyObject *connection_destroy(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    if (!conn)
        return NULL;
    sockref_conn_destroy(conn);
    Py_RETURN_NONE;
}

static PyObject *connection_reduce(PyObject *Py_UNUSED(object), PyObject *Py_UNUSED(args))
{
    PyErr_SetString(PyExc_TypeError, "cannot copy or pickle a Connection");
    return NULL;
}

static PyObject *connection_is_closed(PyObject *object, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((ConnectionObject *)object)->closed);
}

static int connection_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((ConnectionObject *)object)->data);
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static int connection_clear(PyObject *object)
{
    Py_CLEAR(((ConnectionObject *)object)->data);
    return 0;
}

static void connection_dealloc(PyObject *object)
{
    ConnectionObject *self = (ConnectionObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    PyObject_GC_UnTrack(object);
    connection_clear(object);
    sockref_conn_release(self->conn);
    if (self->state)
        state_release(self->state);
    release(object);
    Py_DECREF(type);
}

static PyMethodDef connection_methods[] = {
    {"write", connection_write, METH_O,
     "write($self, data, /)\n--\n\nSend bytes; what the kernel does not take is copied and queued.\n\n"
     "Returns False when it asks to stop until on_drain; all was taken even so.\n"
     "Raises SockrefError: ESOCKREF_CLOSED, ESOCKREF_LIMIT (max_buffered)."},
    {"end", connection_end, METH_NOARGS,
     "end($self, /)\n--\n\nSend no more: the peer sees the end when all that is queued is written."},
    {"pause", connection_pause, METH_NOARGS, "pause($self, /)\n--\n\nRead no more until resume()."},
    {"resume", connection_resume, METH_NOARGS, "resume($self, /)\n--\n\nRead again."},
    {"destroy", connection_destroy, METH_NOARGS,
     "destroy($self, /)\n--\n\nEnd at once; what is queued is dropped. on_close follows; a second call does nothing."},
    {"__reduce__", connection_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef connection_members[] = {
    {"data", T_OBJECT, offsetof(ConnectionObject, data), 0, "Anything that the program keeps with the connection."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef connection_getset[] = {
    {"is_closed", connection_is_closed, NULL, "Whether on_close came.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot connection_slots[] = {
    {Py_tp_doc, (void *)"One connection of a served listener.\n\n"
                        "Made by the library only, and used on the thread of its loop only: inside handlers, or in\n"
                        "tasks of the asyncio loop that serves. It may be kept as long as one likes; its end is\n"
                        "told by on_close, and from then on its methods raise ESOCKREF_CLOSED."},
    {Py_tp_dealloc, (void *)connection_dealloc},
    {Py_tp_traverse, (void *)connection_traverse},
    {Py_tp_clear, (void *)connection_clear},
    {Py_tp_methods, connection_methods},
    {Py_tp_members, connection_members},
    {Py_tp_getset, connection_getset},
    {0, NULL},
};

static PyType_Spec connection_spec = {
    "sockref.Connection", sizeof(ConnectionObject), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, connection_slots};

static PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);

    if (!type || PyModule_AddObjectRef(module, name, type) < 0) {
        Py_XDECREF(type);
        return NULL;
    }
    return (PyTypeObject *)type; /* ours for ever */
}

static PyObject *after_fork_in_child(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    fork_generation++;
    events_after_fork_in_child();
    Py_RETURN_NONE;
}
