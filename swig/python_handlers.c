/* Handlers in Python. All run inside dispatch or loop_end, with the GIL; python_connection.c has their connections. */
enum {
    ON_CONNECTION, ON_CONNECT, ON_READY, ON_DATA, ON_DESCRIPTOR, ON_END, ON_DRAIN, ON_TIMEOUT, ON_ATTEMPT, ON_DROP,
    ON_ERROR, ON_CLOSE, ON_STOP, HANDLER_COUNT
};

/* The handlers of a served name, or of one connection of connect or adopt; lives until on_stop. */
struct service {
    struct loop_state *state;
    struct kept kept;
    PyObject *handlers[HANDLER_COUNT]; /* callables, or NULL */
    PyObject *report;                  /* is given the exceptions of handlers, or NULL */
    char *name;                        /* what is connected to, or NULL */
};

typedef struct {
    PyObject_HEAD
    sockref_conn *conn;
    struct loop_state *state;
    PyObject *data; /* anything of the user's */
    struct kept kept; /* until on_close */
    bool closed;
    bool large; /* the last read was */
} ConnectionObject;

static PyTypeObject *connection_type;

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
            drop_failure(service->state, service->report);
        Py_XDECREF(result);
    }
    Py_DECREF(error);
}

/* Call a handler, if there is one, unless the first argument, the connection, is NULL: then it is over. */
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

static int traverse_service(struct kept *kept, visitproc visit, void *arg)
{
    struct service *service = (struct service *)((char *)kept - offsetof(struct service, kept));

    for (int i = 0; i < HANDLER_COUNT; i++)
        Py_VISIT(service->handlers[i]);
    Py_VISIT(service->report);
    return 0;
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
    keep(state, &service->kept, traverse_service);
    return service;
}

static void service_free(struct service *service)
{
    forget(&service->kept);
    for (int i = 0; i < HANDLER_COUNT; i++)
        Py_XDECREF(service->handlers[i]);
    Py_XDECREF(service->report);
    state_release(service->state);
    free(service->name);
    free(service);
}

/*
 * The object of a connection, before there is one: making it may collect, which runs Python, and so lets the thread of
 * the loop run.
 */
static ConnectionObject *connection_new(struct service *service)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(connection_type, Py_tp_alloc);
    ConnectionObject *self = (ConnectionObject *)alloc(connection_type, 0);

    if (!self)
        return NULL;
    self->state = service->state;
    self->state->references++;
    self->data = Py_NewRef(Py_None);
    return self;
}

static int traverse_kept_connection(struct kept *kept, visitproc visit, void *arg)
{
    ConnectionObject *self = (ConnectionObject *)((char *)kept - offsetof(ConnectionObject, kept));

    Py_VISIT(self);
    return 0;
}

/* The connection takes the object until on_close. */
static void connection_attach(ConnectionObject *self, sockref_conn *conn)
{
    self->conn = sockref_conn_acquire(conn);
    sockref_conn_set_data(conn, self);
    keep(self->state, &self->kept, traverse_kept_connection);
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct service *service = user;
    ConnectionObject *self = service->state->muted ? NULL : connection_new(service);

    if (!self) {
        if (PyErr_Occurred())
            report(service, service->handlers[ON_CONNECTION]);
        sockref_conn_destroy(conn);
        return;
    }
    connection_attach(self, conn);
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
    forget(&self->kept);
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

/* What connect and adopt have in common: self and the service are taken, also where they failed. */
static PyObject *connection_made(ConnectionObject *self, struct service *service, int status, sockref_conn *conn)
{
    if (status < 0) {
        raise_status(status);
        Py_DECREF(self);
        service_free(service);
        return NULL;
    }
    connection_attach(self, conn);
    sockref_conn_release(conn);
    return Py_NewRef((PyObject *)self);
}

static PyObject *connect_handlers(const char *name, PyObject *loop, PyObject *handlers, PyObject *reporter,
                                  PyObject *connect_options, PyObject *options)
{
    sockref_connect_options how;
    sockref_conn_options begin;
    sockref_handlers table;
    struct service *service;
    struct pin *from;
    sockref_conn *conn = NULL;
    ConnectionObject *self;
    PyObject *made = NULL;
    int status;

    if (!read_conn_options(options, &begin) || !read_connect_options(connect_options, &how, &from))
        return NULL;
    service = service_new(loop, handlers, reporter, name);
    self = service ? connection_new(service) : NULL;
    if (!self) {
        if (service)
            service_free(service);
        goto out;
    }
    table = service_table(service, &begin);
    status = sockref_connect(service->state->loop, name, &how, &table, service, &conn);
    made = connection_made(self, service, status, conn);

out:
    pin_leave(from);
    return made;
}

/* fd is taken on success only. */
static PyObject *adopt_handlers(int fd, PyObject *loop, PyObject *handlers, PyObject *reporter, PyObject *options)
{
    struct service *service;
    sockref_conn_options begin;
    sockref_handlers table;
    sockref_conn *conn = NULL;
    ConnectionObject *self;
    int status;

    if (!read_conn_options(options, &begin))
        return NULL;
    service = service_new(loop, handlers, reporter, NULL);
    self = service ? connection_new(service) : NULL;
    if (!self) {
        if (service)
            service_free(service);
        return NULL;
    }
    table = service_table(service, &begin);
    status = sockref_adopt(service->state->loop, fd, &table, service, &conn);
    return connection_made(self, service, status, conn);
}
