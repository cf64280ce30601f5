/*
 * What a connection tells its asyncio protocol, through its transport. The fields of a transport lie behind those of
 * asyncio.Transport, which is its base, so that isinstance() tells.
 *
 * The connection holds the object until on_close. What a protocol raises goes to the exception handler of the
 * asyncio loop, and the turn goes on. Callbacks run in a context of the connection's own, as asyncio has it.
 *
 * Our side of a connection is shut down here and not by sockref_conn_end(), after which the library would close the
 * connection with the end of the peer's side: asyncio leaves that to the protocol.
 */
enum {
    CLOSING = 1 << 0,        /* close() or abort() was called, or it failed or is over */
    READING_PAUSED = 1 << 1, /* by pause_reading() */
    READING_HELD = 1 << 2,   /* until the task that connected has gone on */
    WRITING_PAUSED = 1 << 3, /* resume_writing() is owed */
    EOF_WRITTEN = 1 << 4,    /* by write_eof() */
    EOF_SENT = 1 << 5,       /* the system knows */
    LARGE_READS = 1 << 6,    /* the last read was large */
    LENDING = 1 << 7         /* get_buffer() runs: what is read next comes even if it pauses reading */
};

/* The limits that asyncio begins with; and with how much is queued the library says that it is full: by them, where
 * marks are wanted. */
enum { HIGH_WATER = 1 << 16, LOW_WATER = HIGH_WATER / 4, MARKED_FROM = HIGH_WATER - LOW_WATER * 5 / 4 - 1 };

/* What each read and write looks at comes first, so that it lies in few cache lines. */
struct transport {
    sockref_conn *conn; /* NULL when it is over */
    struct loop_state *state;
    unsigned flags;
    unsigned marks; /* those that on_mark has not met yet */
    PyObject *context;
    PyObject *received;   /* data_received of the protocol, or buffer_updated; NULL where it has none */
    PyObject *get_buffer; /* of a BufferedProtocol; else NULL */
    size_t high_water, low_water;
    size_t unmarked; /* bytes written after the last mark */
    PyObject *protocol;
    PyObject *host;  /* the asyncio loop */
    PyObject *extra; /* what get_extra_info() has found: a dict, or NULL */
    PyObject *error; /* for connection_lost(), or NULL */
    PyObject *weakrefs;
    struct kept kept; /* while the library has the object */
};

static PyTypeObject *transport_type;
static Py_ssize_t transport_offset;
static PyObject *buffered_protocol; /* asyncio.BufferedProtocol */
static PyObject *run_in_context;    /* contextvars.Context.run, of which the context is the first argument */

static struct transport *transport_of(PyObject *self)
{
    return (struct transport *)((char *)self + transport_offset);
}

/* The library has one reference, and each mark another. */
static int traverse_kept_transport(struct kept *kept, visitproc visit, void *arg)
{
    struct transport *transport = (struct transport *)((char *)kept - offsetof(struct transport, kept));
    PyObject *self = (PyObject *)((char *)transport - transport_offset);

    for (unsigned references = 1 + transport->marks; references > 0; references--)
        Py_VISIT(self);
    return 0;
}

static PyObject *transport_new(struct loop_state *state, PyObject *host, PyObject *context)
{
    allocfunc alloc = (allocfunc)PyType_GetSlot(transport_type, Py_tp_alloc);
    PyObject *self = alloc(transport_type, 0);
    struct transport *transport;

    if (!self)
        return NULL;
    transport = transport_of(self);
    transport->state = state;
    state->references++;
    transport->host = Py_NewRef(host);
    transport->context = Py_NewRef(context);
    transport->high_water = HIGH_WATER;
    transport->low_water = LOW_WATER;
    return self;
}

/* The library takes the object until on_close. */
static void transport_attach(PyObject *self, sockref_conn *conn)
{
    struct transport *transport = transport_of(self);

    transport->conn = sockref_conn_acquire(conn);
    sockref_conn_set_data(conn, Py_NewRef(self));
    keep(transport->state, &transport->kept, traverse_kept_transport);
}

/* Whether Python may be called: not when the loop ends, and its asyncio loop is closed. */
static bool may_call(const struct transport *transport)
{
    return !transport->state->muted && transport->state->loop;
}

/* Nothing is read into what a BufferedProtocol lent: it may change its size again. */
static void return_view(struct loop_state *state)
{
    if (state->view.obj)
        PyBuffer_Release(&state->view);
}

static PyObject *call_in_context(struct transport *transport, PyObject *callable, PyObject *argument)
{
    PyObject *result;

    Py_INCREF(callable); /* set_protocol() may let go of it meanwhile */
    result = PyObject_CallFunctionObjArgs(run_in_context, transport->context, callable, argument, NULL);
    Py_DECREF(callable);
    return result;
}

static PyObject *call_protocol(struct transport *transport, const char *method, PyObject *argument)
{
    PyObject *callable = PyObject_GetAttrString(transport->protocol, method);
    PyObject *result = callable ? call_in_context(transport, callable, argument) : NULL;

    Py_XDECREF(callable);
    return result;
}

static void tell_host(struct loop_state *state, PyObject *host, const char *message, PyObject *error,
                      PyObject *transport, PyObject *protocol)
{
    PyObject *context = Py_BuildValue("{sssO}", "message", message, "exception", error);
    PyObject *result = NULL;

    if (context && (!transport || PyDict_SetItemString(context, "transport", transport) == 0) &&
        (!protocol || PyDict_SetItemString(context, "protocol", protocol) == 0))
        result = PyObject_CallMethod(host, "call_exception_handler", "O", context);
    if (!result)
        drop_failure(state, host);
    Py_XDECREF(result);
    Py_XDECREF(context);
}

/* Tell the asyncio loop what a callback raised. Returns the exception, or NULL where it ends the program. */
static PyObject *tell_failure(PyObject *self, const char *message)
{
    struct transport *transport = transport_of(self);
    PyObject *error = take_failure(transport->state);

    if (error)
        tell_host(transport->state, transport->host, message, error, self, transport->protocol);
    return error;
}

/*
 * A callback has raised, which ends the connection, as asyncio has it: an OSError is told by connection_lost() only,
 * and what ends the program ends nothing else.
 */
static void break_off(PyObject *self, const char *message)
{
    struct transport *transport = transport_of(self);
    PyObject *error = take_failure(transport->state);

    if (!error)
        return;
    if (!PyErr_GivenExceptionMatches(error, PyExc_OSError))
        tell_host(transport->state, transport->host, message, error, self, transport->protocol);
    if (!transport->error)
        transport->error = Py_NewRef(error);
    Py_DECREF(error);
    transport->flags |= CLOSING;
    sockref_conn_destroy(transport->conn);
}

/* Find the methods of a protocol that are called often. */
static bool take_protocol(struct transport *transport, PyObject *protocol)
{
    int buffered = PyObject_IsInstance(protocol, buffered_protocol);
    PyObject *received, *get_buffer = NULL, *old;

    if (buffered < 0)
        return false;
    received = PyObject_GetAttrString(protocol, buffered ? "buffer_updated" : "data_received");
    if (!received && !PyErr_ExceptionMatches(PyExc_AttributeError))
        return false;
    PyErr_Clear(); /* a method that is missing is told where it is called, as asyncio does */
    if (buffered) {
        get_buffer = PyObject_GetAttrString(protocol, "get_buffer");
        if (!get_buffer) {
            Py_XDECREF(received);
            return false;
        }
    }
    old = transport->received;
    transport->received = received;
    Py_XDECREF(old);
    old = transport->get_buffer;
    transport->get_buffer = get_buffer;
    Py_XDECREF(old);
    old = transport->protocol;
    transport->protocol = Py_NewRef(protocol);
    Py_XDECREF(old);
    return true;
}

/* What the library calls. */

static void *lend_view(PyObject *self, size_t *inout_length)
{
    struct transport *transport = transport_of(self);
    Py_buffer *view = &transport->state->view;
    PyObject *hint = PyLong_FromLong(-1), *lent;

    return_view(transport->state);
    transport->flags |= LENDING;
    lent = hint ? call_in_context(transport, transport->get_buffer, hint) : NULL;
    transport->flags &= ~(unsigned)LENDING;
    Py_XDECREF(hint);
    if (lent && PyObject_GetBuffer(lent, view, PyBUF_WRITABLE) == 0 && view->len == 0) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_RuntimeError, "get_buffer() returned an empty buffer");
    }
    Py_XDECREF(lent);
    if (PyErr_Occurred()) {
        break_off(self, "Fatal error: protocol.get_buffer() call failed.");
        transport->flags |= CLOSING; /* whatever it was: there is nowhere to read to */
        sockref_conn_destroy(transport->conn);
        return NULL;
    }
    *inout_length = (size_t)view->len;
    return view->buf;
}

static void *on_transport_buffer(sockref_conn *conn, size_t *inout_length, void *Py_UNUSED(user))
{
    PyObject *self = sockref_conn_data(conn);
    struct transport *transport = transport_of(self);

    if (!may_call(transport) || (transport->flags & CLOSING))
        return NULL;
    if (transport->flags & READING_PAUSED) { /* by a get_buffer() after which nothing came */
        sockref_conn_pause(conn);
        return NULL;
    }
    if (transport->get_buffer)
        return lend_view(self, inout_length);
    return transport->flags & LARGE_READS ? lend_block(transport->state, conn, inout_length) : NULL;
}

static void on_transport_data(sockref_conn *conn, const void *data, size_t length, void *Py_UNUSED(user))
{
    PyObject *self = sockref_conn_data(conn);
    struct transport *transport = transport_of(self);
    PyObject *argument, *result;

    if (!may_call(transport) || (transport->flags & CLOSING))
        return;
    if (length < LARGE_READ)
        transport->flags &= ~(unsigned)LARGE_READS;
    else
        transport->flags |= LARGE_READS;
    if (transport->flags & READING_PAUSED)
        sockref_conn_pause(conn); /* it was by get_buffer() */
    if (transport->get_buffer)
        argument = PyLong_FromSize_t(length);
    else
        argument = take_bytes(transport->state, data, length);
    return_view(transport->state);
    if (transport->received)
        result = argument ? call_in_context(transport, transport->received, argument) : NULL;
    else
        result = argument ? call_protocol(transport, "data_received", argument) : NULL;
    Py_XDECREF(argument);
    if (result)
        Py_DECREF(result);
    else
        break_off(self, transport->get_buffer ? "Fatal error: protocol.buffer_updated() call failed."
                                              : "Fatal error: protocol.data_received() call failed.");
}

static void on_transport_descriptor(sockref_conn *conn, int fd, void *Py_UNUSED(user))
{
    PyObject *self = sockref_conn_data(conn);
    struct transport *transport = transport_of(self);
    PyObject *number, *result;

    if (!may_call(transport) || (transport->flags & CLOSING) ||
        !PyObject_HasAttrString(transport->protocol, "descriptor_received")) {
        close(fd);
        return;
    }
    number = PyLong_FromLong(fd);
    result = number ? call_protocol(transport, "descriptor_received", number) : NULL;
    Py_XDECREF(number);
    if (result)
        Py_DECREF(result);
    else
        break_off(self, "Fatal error: protocol.descriptor_received() call failed.");
}

static void close_transport(struct transport *transport)
{
    if (transport->flags & CLOSING)
        return;
    transport->flags |= CLOSING;
    sockref_conn_pause(transport->conn);
    sockref_conn_destroy_soon(transport->conn);
}

static void on_transport_end(sockref_conn *conn, void *Py_UNUSED(user))
{
    PyObject *self = sockref_conn_data(conn);
    struct transport *transport = transport_of(self);
    PyObject *result;
    int stays;

    if (!may_call(transport) || (transport->flags & CLOSING))
        return;
    return_view(transport->state);
    result = call_protocol(transport, "eof_received", NULL);
    stays = result ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    if (stays < 0)
        break_off(self, "Fatal error: protocol.eof_received() call failed.");
    else if (!stays)
        close_transport(transport);
}

static void on_transport_error(sockref_conn *conn, int status, void *Py_UNUSED(user))
{
    struct transport *transport = transport_of(sockref_conn_data(conn));

    transport->flags |= CLOSING;
    if (transport->error || transport->state->muted)
        return;
    transport->error = connection_error(status, NULL);
    if (!transport->error)
        transport->error = take_failure(transport->state);
}

/* It is lost: tell the protocol, if it got that far, and let go of it. */
static void lose(PyObject *self)
{
    struct transport *transport = transport_of(self);
    bool closing = transport->flags & CLOSING;
    PyObject *result, *error;

    return_view(transport->state);
    transport->flags |= CLOSING;
    if (!may_call(transport)) {
        if (!transport->state->muted && !closing &&
            PyErr_ResourceWarning(self, 1, "unclosed transport %R", self) < 0)
            PyErr_WriteUnraisable(self);
    } else if (transport->protocol) {
        result = call_protocol(transport, "connection_lost", transport->error ? transport->error : Py_None);
        error = result ? NULL : tell_failure(self, "Exception in protocol.connection_lost()");
        Py_XDECREF(result);
        Py_XDECREF(error);
    }
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->received);
    Py_CLEAR(transport->get_buffer);
    Py_CLEAR(transport->error);
}
