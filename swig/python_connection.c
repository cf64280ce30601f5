/* Handlers in Python, and their connections. All handlers run inside dispatch or loop_end, with the GIL. */
enum {
    ON_CONNECTION, ON_CONNECT, ON_READY, ON_DATA, ON_DESCRIPTOR, ON_END, ON_DRAIN, ON_TIMEOUT, ON_ATTEMPT, ON_DROP,
    ON_ERROR, ON_CLOSE, ON_STOP, HANDLER_COUNT
};

/* The handlers of a served name, or of one connection of connect or adopt; lives until on_stop. */
struct service {
    struct loop_state *state;
    PyObject *handlers[HANDLER_COUNT]; /* callables, or NULL */
    PyObject *report;                  /* is given the exceptions of handlers, or NULL */
    char *name;                        /* what is connected to, or NULL */
};

typedef struct {
    PyObject_HEAD
    sockref_conn *conn;
    struct loop_state *state;
    PyObject *data; /* anything of the user's */
    bool closed;
    bool large; /* the last read was */
} ConnectionObject;

static PyTypeObject *connection_type;
static PyObject *make_info, *make_peer; /* what info() and peer() answer; they stand in sockref/_connection.py */

static PyObject *set_connection_values(PyObject *Py_UNUSED(self), PyObject *args)
{
    if (!PyArg_ParseTuple(args, "OO", &make_info, &make_peer))
        return NULL;
    Py_INCREF(make_info);
    Py_INCREF(make_peer);
    Py_RETURN_NONE;
}

/* An exception of a handler goes to the host and never stops the loop; only those that end a program do. */
static void report(struct service *service, PyObject *handler)
{
    bool fatal = !PyErr_ExceptionMatches(PyExc_Exception);
    PyObject *error, *result;

    if (!fatal && !service->report) {
        PyErr_WriteUnraisable(handler);
        return;
    }
    error = take_raised();
    if (fatal) {
        keep_fatal(service->state, error);
    } else {
        result = PyObject_CallFunctionObjArgs(service->report, error, NULL);
        if (!result)
            PyErr_WriteUnraisable(service->report);
        Py_XDECREF(result);
    }
    Py_DECREF(error);
}

/* Call a handler, if there is one; the first argument is NULL where the connection is over, others where there are none. */
static void call_handler(struct service *service, int which, PyObject *first, PyObject *second)
{
    PyObject *handler = service->handlers[which];
    PyObject *result;

    if (!handler || !first || service->state->muted)
        return;
    Py_INCREF(first);
    result = PyObject_CallFunctionObjArgs(handler, first, second, NULL);
    if (!result)
        report(service, handler);
    Py_XDECREF(result);
    Py_DECREF(first);
}

/* The same with a second argument that was just made, and is taken; it is NULL where that failed. */
static void call_with_new(struct service *service, int which, PyObject *first, PyObject *second)
{
    if (!second)
        report(service, service->handlers[which]);
    else
        call_handler(service, which, first, second);
    Py_XDECREF(second);
}

static struct service *service_new(PyObject *loop, PyObject *handlers, PyObject *reporter, const char *name)
{
    struct loop_state *state = loop_of(loop);
    struct service *service;
    PyObject *handler;

    if (!state)
        return NULL;
    if (!PyTuple_Check(handlers) || PyTuple_Size(handlers) != HANDLER_COUNT) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple of handlers");
        return NULL;
    }
    service = calloc(1, sizeof(*service));
    if (service && name)
        service->name = strdup(name);
    if (!service || (name && !service->name)) {
        free(service);
        PyErr_NoMemory();
        return NULL;
    }
    service->state = state;
    state->references++;
    service->report = reporter == Py_None ? NULL : Py_NewRef(reporter);
    for (int i = 0; i < HANDLER_COUNT; i++) {
        handler = PyTuple_GetItem(handlers, i); /* borrowed */
        service->handlers[i] = handler == Py_None ? NULL : Py_NewRef(handler);
    }
    return service;
}

static void service_free(struct service *service)
{
    for (int i = 0; i < HANDLER_COUNT; i++)
        Py_XDECREF(service->handlers[i]);
    Py_XDECREF(service->report);
    state_release(service->state);
    free(service->name);
    free(service);
}

/* The object of a connection that begins; the connection keeps it until on_close. */
static ConnectionObject *connection_begin(struct service *service, sockref_conn *conn)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(connection_type, Py_tp_alloc);
    ConnectionObject *self = (ConnectionObject *)alloc(connection_type, 0);

    if (!self)
        return NULL;
    self->conn = sockref_conn_acquire(conn);
    self->state = service->state;
    self->state->references++;
    self->data = Py_NewRef(Py_None);
    sockref_conn_set_data(conn, self);
    return self;
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct service *service = user;
    ConnectionObject *self = service->state->muted ? NULL : connection_begin(service, conn);

    if (!self) {
        if (PyErr_Occurred())
            report(service, service->handlers[ON_CONNECTION]);
        sockref_conn_destroy(conn);
        return;
    }
    call_handler(service, ON_CONNECTION, (PyObject *)self, NULL);
}

static void on_connect(sockref_conn *conn, void *user)
{
    call_handler(user, ON_CONNECT, sockref_conn_data(conn), NULL);
}

static void on_ready(sockref_conn *conn, void *user)
{
    call_handler(user, ON_READY, sockref_conn_data(conn), NULL);
}

static void *on_buffer(sockref_conn *conn, size_t *inout_length, void *user)
{
    ConnectionObject *self = sockref_conn_data(conn);

    return self && self->large ? lend_block(((struct service *)user)->state, conn, inout_length) : NULL;
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct service *service = user;
    ConnectionObject *self = sockref_conn_data(conn);
    PyObject *bytes = take_bytes(service->state, data, length);

    if (!bytes) {
        report(service, service->handlers[ON_DATA]);
        sockref_conn_destroy(conn);
        return;
    }
    if (self)
        self->large = length >= LARGE_READ;
    call_with_new(service, ON_DATA, (PyObject *)self, bytes);
}

static void on_descriptor(sockref_conn *conn, int fd, void *user)
{
    struct service *service = user;

    if (service->state->muted || !sockref_conn_data(conn)) {
        close(fd);
        return;
    }
    call_with_new(service, ON_DESCRIPTOR, sockref_conn_data(conn), PyLong_FromLong(fd));
}

static void on_end(sockref_conn *conn, void *user)
{
    call_handler(user, ON_END, sockref_conn_data(conn), NULL);
}

static void on_drain(sockref_conn *conn, void *user)
{
    call_handler(user, ON_DRAIN, sockref_conn_data(conn), NULL);
}

static void on_timeout(sockref_conn *conn, void *user)
{
    call_handler(user, ON_TIMEOUT, sockref_conn_data(conn), NULL);
}

static void on_attempt(sockref_conn *conn, const sockref_address *address, int event, int status, void *user)
{
    PyObject *error = status < 0 ? connection_error(status, ((struct service *)user)->name) : Py_NewRef(Py_None);
    PyObject *told = error ? Py_BuildValue("NiN", address_value(address), event, error) : NULL;

    call_with_new(user, ON_ATTEMPT, sockref_conn_data(conn), told);
}

static void on_drop(const sockref_address *local, const sockref_address *remote, void *user)
{
    struct service *service = user;
    PyObject *first = address_value(local);

    if (first)
        call_with_new(service, ON_DROP, first, address_value(remote));
    else
        report(service, service->handlers[ON_DROP]);
    Py_XDECREF(first);
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    struct service *service = user;

    call_with_new(service, ON_ERROR, sockref_conn_data(conn), connection_error(status, service->name));
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    ConnectionObject *self = sockref_conn_data(conn);

    if (!self)
        return;
    self->closed = true;
    sockref_conn_set_data(conn, NULL);
    call_with_new(user, ON_CLOSE, (PyObject *)self, PyBool_FromLong(had_error));
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

/* What the library calls: only what somebody wants. */
static sockref_handlers service_table(struct service *service, const sockref_conn_options *options)
{
    sockref_handlers table = {.size = sizeof(table), .options = options, .on_connection = on_connection,
                              .on_close = on_close, .on_stop = on_stop};

    table.on_connect = service->handlers[ON_CONNECT] ? on_connect : NULL;
    table.on_ready = service->handlers[ON_READY] ? on_ready : NULL;
    table.on_data = service->handlers[ON_DATA] ? on_data : NULL;
    table.on_buffer = service->handlers[ON_DATA] ? on_buffer : NULL;
    table.on_descriptor = service->handlers[ON_DESCRIPTOR] ? on_descriptor : NULL;
    table.on_end = service->handlers[ON_END] ? on_end : NULL;
    table.on_drain = service->handlers[ON_DRAIN] ? on_drain : NULL;
    table.on_timeout = service->handlers[ON_TIMEOUT] ? on_timeout : NULL;
    table.on_attempt = service->handlers[ON_ATTEMPT] ? on_attempt : NULL;
    table.on_drop = service->handlers[ON_DROP] ? on_drop : NULL;
    table.on_error = service->handlers[ON_ERROR] ? on_error : NULL;
    return table;
}

/* handlers: HANDLER_COUNT callables or None; reporter: a callable or None. */
static PyObject *serve(struct pin *pin, PyObject *loop, PyObject *handlers, PyObject *reporter, PyObject *options)
{
    sockref *ref = open_reference(pin);
    sockref_conn_options begin;
    sockref_handlers table;
    struct service *service;
    int status;

    if (!ref || !read_conn_options(options, &begin))
        return NULL;
    service = service_new(loop, handlers, reporter, NULL);
    if (!service)
        return NULL;
    table = service_table(service, &begin);
    status = sockref_serve_on(ref, service->state->loop, &table, service);
    if (status < 0) {
        raise_status(status);
        service_free(service);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* What connect and adopt have in common, once the library has taken the service. */
static PyObject *connection_made(struct service *service, sockref_conn *conn)
{
    ConnectionObject *self = connection_begin(service, conn);

    if (!self)
        sockref_conn_destroy(conn);
    sockref_conn_release(conn);
    return Py_XNewRef((PyObject *)self);
}

static PyObject *connect_handlers(const char *name, PyObject *loop, PyObject *handlers, PyObject *reporter,
                                  PyObject *connect_options, PyObject *options)
{
    sockref_connect_options how;
    sockref_conn_options begin;
    sockref_handlers table;
    struct service *service;
    sockref_conn *conn;
    int status;

    if (!read_connect_options(connect_options, &how) || !read_conn_options(options, &begin))
        return NULL;
    service = service_new(loop, handlers, reporter, name);
    if (!service)
        return NULL;
    table = service_table(service, &begin);
    status = sockref_connect(service->state->loop, name, &how, &table, service, &conn);
    if (status < 0) {
        raise_status(status);
        service_free(service);
        return NULL;
    }
    return connection_made(service, conn);
}

/* fd is taken on success only. */
static PyObject *adopt_handlers(int fd, PyObject *loop, PyObject *handlers, PyObject *reporter, PyObject *options)
{
    struct service *service;
    sockref_conn_options begin;
    sockref_handlers table;
    sockref_conn *conn;
    int status;

    if (!read_conn_options(options, &begin))
        return NULL;
    service = service_new(loop, handlers, reporter, NULL);
    if (!service)
        return NULL;
    table = service_table(service, &begin);
    status = sockref_adopt(service->state->loop, fd, &table, service, &conn);
    if (status < 0) {
        raise_status(status);
        service_free(service);
        return NULL;
    }
    return connection_made(service, conn);
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
    int status;

    if (!conn || !write_object(conn, data, true, &status))
        return NULL;
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return PyBool_FromLong(status != SOCKREF_WRITE_FULL);
}

static PyObject *connection_try_write(PyObject *object, PyObject *data)
{
    sockref_conn *conn = on_loop_thread(object);
    Py_buffer view;
    int64_t taken;

    if (!conn || PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    taken = sockref_conn_try_write(conn, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (taken < 0) {
        raise_status((int)taken);
        return NULL;
    }
    return PyLong_FromLongLong(taken);
}

static PyObject *send_descriptor(sockref_conn *conn, PyObject *args)
{
    PyObject *file;
    Py_buffer view;
    int fd, status = -1;

    if (!PyArg_ParseTuple(args, "Oy*", &file, &view))
        return NULL;
    fd = PyObject_AsFileDescriptor(file);
    if (fd >= 0)
        status = sockref_conn_send_fd(conn, fd, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    if (fd < 0)
        return NULL;
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return PyBool_FromLong(status != SOCKREF_WRITE_FULL);
}

static PyObject *connection_send_fd(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? send_descriptor(conn, args) : NULL;
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

static PyObject *connection_destroy_soon(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    if (!conn)
        return NULL;
    sockref_conn_destroy_soon(conn);
    Py_RETURN_NONE;
}

static PyObject *connection_reset(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    if (!conn)
        return NULL;
    sockref_conn_reset(conn);
    Py_RETURN_NONE;
}

static PyObject *connection_set_timeout(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);
    unsigned milliseconds;

    if (!conn || !PyArg_ParseTuple(args, "I", &milliseconds))
        return NULL;
    return answer(sockref_conn_set_timeout(conn, milliseconds));
}

static PyObject *connection_set_keepalive(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);
    unsigned milliseconds = 0;
    int on;

    if (!conn || !PyArg_ParseTuple(args, "p|I", &on, &milliseconds))
        return NULL;
    return answer(sockref_conn_set_keepalive(conn, on, milliseconds));
}

static PyObject *connection_set_nodelay(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);
    int on;

    if (!conn || !PyArg_ParseTuple(args, "p", &on))
        return NULL;
    return answer(sockref_conn_set_nodelay(conn, on));
}

static PyObject *connection_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? PyLong_FromLong(sockref_conn_fd(conn)) : NULL;
}

static PyObject *peer_value(sockref_conn *conn)
{
    sockref_peer peer = {.size = sizeof(peer)};
    int status = sockref_conn_peer(conn, &peer);

    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return PyObject_CallFunction(make_peer, "LLL", (long long)peer.pid, (long long)peer.uid, (long long)peer.gid);
}

static PyObject *connection_peer(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);

    return conn ? peer_value(conn) : NULL;
}

static PyObject *connection_info(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_conn *conn = on_loop_thread(object);
    sockref_conn_details found = {.size = sizeof(found), .local.size = sizeof(found.local),
                                  .remote.size = sizeof(found.remote)};
    int status;

    if (!conn)
        return NULL;
    status = sockref_conn_info(conn, &found);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return PyObject_CallFunction(make_info, "iNNNNIKKKNN", found.state, PyBool_FromLong(found.connecting),
                         PyBool_FromLong(found.pending), PyBool_FromLong(found.destroyed),
                         PyBool_FromLong(found.paused), found.timeout_ms, (unsigned long long)found.bytes_read,
                         (unsigned long long)found.bytes_written, (unsigned long long)found.buffered,
                         address_value(&found.local), address_value(&found.remote));
}

/* What another thread wants to have called on the thread of the loop. */
struct posted {
    struct loop_state *state;
    PyObject *callable;
    PyObject *args;
};

static void run_posted(int status, void *user)
{
    struct posted *posted = user;
    PyObject *result;

    if (status == 0 && !posted->state->muted) {
        result = PyObject_CallObject(posted->callable, posted->args);
        if (!result)
            PyErr_WriteUnraisable(posted->callable);
        Py_XDECREF(result);
    }
    Py_DECREF(posted->callable);
    Py_DECREF(posted->args);
    state_release(posted->state);
    free(posted);
}

static PyObject *connection_call_soon_threadsafe(PyObject *object, PyObject *args)
{
    struct loop_state *state = ((ConnectionObject *)object)->state;
    Py_ssize_t count = PyTuple_Size(args);
    struct posted *posted;
    int status;

    if (count < 1 || !PyCallable_Check(PyTuple_GetItem(args, 0))) {
        PyErr_SetString(PyExc_TypeError, "expected something to call");
        return NULL;
    }
    if (!state->loop) {
        raise_own(SOCKREF_ECLOSED, NULL);
        return NULL;
    }
    posted = calloc(1, sizeof(*posted));
    if (!posted)
        return PyErr_NoMemory();
    posted->args = PyTuple_GetSlice(args, 1, count);
    if (!posted->args) {
        free(posted);
        return NULL;
    }
    posted->callable = Py_NewRef(PyTuple_GetItem(args, 0));
    posted->state = state;
    state->references++;
    status = sockref_loop_post(state->loop, run_posted, posted);
    if (status == 0)
        Py_RETURN_NONE;
    raise_status(status);
    Py_DECREF(posted->callable);
    Py_DECREF(posted->args);
    state->references--;
    free(posted);
    return NULL;
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
    {"try_write", connection_try_write, METH_O,
     "try_write($self, data, /)\n--\n\nSend what the kernel takes at once, and queue nothing; tells how many bytes."},
    {"send_fd", connection_send_fd, METH_VARARGS,
     "send_fd($self, file, data, /)\n--\n\nPass a descriptor to the peer of a Unix socket, with at least one byte.\n\n"
     "A duplicate is sent: the file stays the program's. Returns as write() does."},
    {"pause", connection_pause, METH_NOARGS, "pause($self, /)\n--\n\nRead no more until resume()."},
    {"resume", connection_resume, METH_NOARGS, "resume($self, /)\n--\n\nRead again."},
    {"destroy", connection_destroy, METH_NOARGS,
     "destroy($self, /)\n--\n\nEnd at once; what is queued is dropped. on_close follows; a second call does nothing."},
    {"destroy_soon", connection_destroy_soon, METH_NOARGS,
     "destroy_soon($self, /)\n--\n\nEnd when all that is queued is written."},
    {"reset", connection_reset, METH_NOARGS,
     "reset($self, /)\n--\n\nEnd at once, so that a TCP peer sees a reset."},
    {"set_timeout", connection_set_timeout, METH_VARARGS,
     "set_timeout($self, milliseconds, /)\n--\n\nHave on_timeout called after so long without traffic; 0: no more."},
    {"set_keepalive", connection_set_keepalive, METH_VARARGS,
     "set_keepalive($self, on, delay_ms=0, /)\n--\n\nProbe a silent TCP peer, first after delay_ms; 0: as the system does."},
    {"set_nodelay", connection_set_nodelay, METH_VARARGS,
     "set_nodelay($self, on, /)\n--\n\nSend small pieces over TCP at once, or not."},
    {"call_soon_threadsafe", connection_call_soon_threadsafe, METH_VARARGS,
     "call_soon_threadsafe($self, callback, /, *args)\n--\n\nHave something called on the thread of its loop. Any thread."},
    {"fileno", connection_fileno, METH_NOARGS,
     "fileno($self, /)\n--\n\nThe descriptor, to look at or to set options of; -1 where there is none."},
    {"peer", connection_peer, METH_NOARGS,
     "peer($self, /)\n--\n\nWho the peer of a Unix socket was when it connected, or listened: PeerCredentials."},
    {"info", connection_info, METH_NOARGS,
     "info($self, /)\n--\n\nAll that there is to know of it: ConnectionInfo."},
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
