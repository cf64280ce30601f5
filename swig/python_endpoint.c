/* Where transports come from: a served name, a connect, or a socket that is connected already. */

/* Lives until on_stop. */
struct endpoint {
    struct loop_state *state;
    struct kept kept;
    PyObject *host;    /* the asyncio loop */
    PyObject *factory; /* makes a protocol */
    PyObject *context; /* of who began to serve */
    PyObject *clients; /* serving: the set of transports */
    PyObject *settle;  /* connecting: called once with (transport, protocol, exception); what is not there is None */
    PyObject *stopped; /* serving: called at the end */
    PyObject *failed;  /* connecting: a list for what each address fails with, or NULL */
    char *name;        /* what is connected to, or NULL */
    bool one_by_one;
    bool tcp; /* addresses are looked up at once: they tell peers apart, also in connection_lost() */
};

static int traverse_endpoint(struct kept *kept, visitproc visit, void *arg)
{
    struct endpoint *endpoint = (struct endpoint *)((char *)kept - offsetof(struct endpoint, kept));

    Py_VISIT(endpoint->host);
    Py_VISIT(endpoint->factory);
    Py_VISIT(endpoint->context);
    Py_VISIT(endpoint->clients);
    Py_VISIT(endpoint->settle);
    Py_VISIT(endpoint->stopped);
    Py_VISIT(endpoint->failed);
    return 0;
}

static struct endpoint *endpoint_new(PyObject *loop, PyObject *host, PyObject *factory, const char *name)
{
    struct loop_state *state = loop_of(loop);
    struct endpoint *endpoint;

    if (!state)
        return NULL;
    endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint && name)
        endpoint->name = strdup(name);
    if (!endpoint || (name && !endpoint->name)) {
        free(endpoint);
        PyErr_NoMemory();
        return NULL;
    }
    endpoint->state = state;
    state->references++;
    endpoint->host = Py_NewRef(host);
    endpoint->factory = Py_NewRef(factory);
    keep(state, &endpoint->kept, traverse_endpoint);
    return endpoint;
}

static void endpoint_free(struct endpoint *endpoint)
{
    forget(&endpoint->kept);
    Py_XDECREF(endpoint->host);
    Py_XDECREF(endpoint->factory);
    Py_XDECREF(endpoint->context);
    Py_XDECREF(endpoint->clients);
    Py_XDECREF(endpoint->settle);
    Py_XDECREF(endpoint->stopped);
    Py_XDECREF(endpoint->failed);
    state_release(endpoint->state);
    free(endpoint->name);
    free(endpoint);
}

/* Tell the task that connects, once. */
static void settle(struct endpoint *endpoint, PyObject *transport, PyObject *protocol, PyObject *error)
{
    PyObject *callable = endpoint->settle, *result;

    if (!callable)
        return;
    endpoint->settle = NULL;
    if (!endpoint->state->muted && endpoint->state->loop) {
        result = PyObject_CallFunctionObjArgs(callable, transport ? transport : Py_None,
                                              protocol ? protocol : Py_None, error ? error : Py_None, NULL);
        if (!result)
            drop_failure(endpoint->state, callable);
        Py_XDECREF(result);
    }
    Py_DECREF(callable);
}

/* Make the protocol. Returns its connection_made(), which it must have; NULL with an exception. */
static PyObject *begin_protocol(struct endpoint *endpoint, PyObject *self)
{
    struct transport *transport = transport_of(self);
    PyObject *protocol, *made = NULL;

    if (endpoint->tcp && !keep_addresses(transport))
        return NULL;
    protocol = call_in_context(transport, endpoint->factory, NULL);
    if (protocol)
        made = PyObject_GetAttrString(protocol, "connection_made");
    if (made && !take_protocol(transport, protocol))
        Py_CLEAR(made);
    Py_XDECREF(protocol);
    return made;
}

/* Takes made. What connection_made() raises is told, and the connection goes on, as with asyncio. */
static void tell_made(PyObject *self, PyObject *made)
{
    PyObject *result = call_in_context(transport_of(self), made, self);
    PyObject *error = result ? NULL : tell_failure(self, "Exception in protocol.connection_made()");

    Py_DECREF(made);
    Py_XDECREF(result);
    Py_XDECREF(error);
}

static PyObject *accept_transport(struct endpoint *endpoint, sockref_conn *conn, PyObject **out_made)
{
    PyObject *context = PyObject_CallMethod(endpoint->context, "copy", NULL);
    PyObject *self = context ? transport_new(endpoint->state, endpoint->host, context) : NULL;

    Py_XDECREF(context);
    if (!self)
        return NULL;
    transport_attach(self, conn);
    Py_DECREF(self); /* the connection has it */
    *out_made = begin_protocol(endpoint, self);
    if (*out_made && PySet_Add(endpoint->clients, self) == 0)
        return self;
    Py_CLEAR(*out_made);
    return NULL;
}

static void on_transport_connection(sockref_conn *conn, void *user)
{
    struct endpoint *endpoint = user;
    PyObject *self, *made, *error;

    if (endpoint->state->muted || !endpoint->state->loop) {
        sockref_conn_destroy(conn);
        return;
    }
    self = accept_transport(endpoint, conn, &made);
    if (self) {
        tell_made(self, made);
        return;
    }
    error = take_failure(endpoint->state);
    if (error)
        tell_host(endpoint->state, endpoint->host, "Error on transport creation for incoming connection", error, NULL,
                  NULL);
    Py_XDECREF(error);
    sockref_conn_destroy(conn);
}

/* A connect has succeeded, or an adopted socket begins. */
static void on_transport_ready(sockref_conn *conn, void *user)
{
    struct endpoint *endpoint = user;
    PyObject *self = sockref_conn_data(conn);
    PyObject *protocol, *made, *error;

    if (!endpoint->settle || !may_call(transport_of(self)))
        return; /* of an accepted one */
    if (endpoint->failed)
        PyList_SetSlice(endpoint->failed, 0, PY_SSIZE_T_MAX, NULL); /* what comes now is not of connecting */
    made = begin_protocol(endpoint, self);
    if (!made) {
        error = take_failure(endpoint->state);
        settle(endpoint, NULL, NULL, error);
        Py_XDECREF(error);
        sockref_conn_destroy(conn);
        return;
    }
    protocol = Py_NewRef(transport_of(self)->protocol); /* which connection_made() may replace */
    tell_made(self, made);
    settle(endpoint, self, protocol, NULL);
    Py_DECREF(protocol);
}

static void on_endpoint_error(sockref_conn *conn, int status, void *user)
{
    struct endpoint *endpoint = user;
    PyObject *error;

    if (!endpoint->settle) {
        on_transport_error(conn, status, user);
        return;
    }
    if (endpoint->state->muted)
        return;
    error = connection_error(status, endpoint->name);
    if (!error)
        error = take_failure(endpoint->state);
    settle(endpoint, NULL, NULL, error);
    Py_XDECREF(error);
}

/* What is tried, as a name. */
static const char *name_of_attempt(const struct endpoint *endpoint, const sockref_address *address, char *room,
                                   size_t size)
{
    if (address->family != SOCKREF_FAMILY_IPV4 && address->family != SOCKREF_FAMILY_IPV6)
        return endpoint->name;
    snprintf(room, size, address->family == SOCKREF_FAMILY_IPV6 ? "tcp:[%s]:%u" : "tcp:%s:%u", address->host,
             address->port);
    return room;
}

/* An address failed; or is late, which one by one is a failure and else is followed by one, or by a success. */
static void on_transport_attempt(sockref_conn *Py_UNUSED(conn), const sockref_address *address, int event, int status,
                                 void *user)
{
    struct endpoint *endpoint = user;
    bool is_over = event == SOCKREF_ATTEMPT_FAILED || (event == SOCKREF_ATTEMPT_LATE && endpoint->one_by_one);
    char room[sizeof(address->host) + sizeof("tcp:[]:65535")];
    PyObject *error;

    if (!is_over || endpoint->state->muted)
        return;
    error = connection_error(status, name_of_attempt(endpoint, address, room, sizeof(room)));
    if (!error || PyList_Append(endpoint->failed, error) < 0)
        drop_failure(endpoint->state, endpoint->failed);
    Py_XDECREF(error);
}

static void on_transport_close(sockref_conn *conn, bool Py_UNUSED(had_error), void *user)
{
    struct endpoint *endpoint = user;
    PyObject *self = sockref_conn_data(conn);

    if (!self)
        return;
    sockref_conn_set_data(conn, NULL);
    forget(&transport_of(self)->kept);
    if (endpoint->clients && PySet_Discard(endpoint->clients, self) < 0)
        drop_failure(endpoint->state, self);
    settle(endpoint, NULL, NULL, NULL); /* it was aborted before it was made */
    lose(self);
    sockref_conn_release(transport_of(self)->conn);
    transport_of(self)->conn = NULL;
    Py_DECREF(self);
}

static void on_endpoint_stop(void *user)
{
    struct endpoint *endpoint = user;
    PyObject *result;

    if (endpoint->stopped && !endpoint->state->muted && endpoint->state->loop) {
        result = PyObject_CallNoArgs(endpoint->stopped);
        if (!result)
            drop_failure(endpoint->state, endpoint->stopped);
        Py_XDECREF(result);
    }
    endpoint_free(endpoint);
}

static bool read_endpoint_options(PyObject *options, sockref_conn_options *out_options)
{
    if (!read_conn_options(options, out_options))
        return false;
    out_options->high_water = MARKED_FROM;
    return true;
}

static sockref_handlers endpoint_table(const sockref_conn_options *options, bool descriptors)
{
    sockref_handlers table = {
        .size = sizeof(table),
        .on_data = on_transport_data,
        .on_buffer = on_transport_buffer,
        .on_end = on_transport_end,
        .on_error = on_endpoint_error,
        .on_close = on_transport_close,
        .on_stop = on_endpoint_stop,
        .on_descriptor = descriptors ? on_transport_descriptor : NULL,
        .options = options,
    };

    return table;
}

/*
 * Serve with transports: a protocol of factory for each connection. clients is a set that has those that are
 * open; stopped is called when the last one is over.
 */
static PyObject *serve_transports(struct pin *pin, PyObject *loop, PyObject *host, PyObject *factory,
                                  PyObject *clients, PyObject *stopped, bool tcp, bool descriptors, PyObject *options)
{
    sockref *ref = open_reference(pin);
    sockref_conn_options begin;
    sockref_handlers table;
    struct endpoint *endpoint;
    int status;

    if (!ref || !read_endpoint_options(options, &begin))
        return NULL;
    endpoint = endpoint_new(loop, host, factory, NULL);
    if (!endpoint)
        return NULL;
    endpoint->tcp = tcp;
    endpoint->clients = Py_NewRef(clients);
    endpoint->stopped = Py_NewRef(stopped);
    endpoint->context = PyObject_CallNoArgs(copy_context);
    table = endpoint_table(&begin, descriptors);
    table.on_connection = on_transport_connection;
    status = endpoint->context ? sockref_serve_on(ref, endpoint->state->loop, &table, endpoint) : 0;
    if (!endpoint->context || status < 0) {
        if (status < 0)
            raise_status(status);
        endpoint_free(endpoint);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* The transport of a connection that is being made; reading is held until _begin_reading(). */
static PyObject *connecting_transport(struct endpoint *endpoint)
{
    PyObject *context = PyObject_CallNoArgs(copy_context);
    PyObject *self = context ? transport_new(endpoint->state, endpoint->host, context) : NULL;

    Py_XDECREF(context);
    if (self)
        transport_of(self)->flags |= READING_HELD;
    return self;
}

static PyObject *begun(PyObject *self, struct endpoint *endpoint, int status, sockref_conn *conn)
{
    if (status < 0) {
        raise_status(status);
        Py_DECREF(self);
        endpoint_free(endpoint);
        return NULL;
    }
    transport_attach(self, conn);
    sockref_conn_release(conn);
    return self;
}

/*
 * Connect to a name. outcome(transport, protocol, exception) is called once; all are None where it was aborted. failed
 * is None, or a list that gets what each address failed with.
 */
static PyObject *connect_transport(const char *name, PyObject *loop, PyObject *host, PyObject *factory,
                                   PyObject *outcome, PyObject *failed, bool descriptors, PyObject *connect_options,
                                   PyObject *options)
{
    sockref_connect_options how;
    sockref_conn_options begin;
    sockref_handlers table;
    struct endpoint *endpoint;
    struct pin *from;
    sockref_conn *conn = NULL;
    PyObject *self;
    int status;

    if (!read_endpoint_options(options, &begin) || !read_connect_options(connect_options, &how, &from))
        return NULL;
    endpoint = endpoint_new(loop, host, factory, name);
    self = endpoint ? connecting_transport(endpoint) : NULL;
    if (!self) {
        if (endpoint)
            endpoint_free(endpoint);
        goto out;
    }
    endpoint->tcp = strncmp(name, "tcp:", 4) == 0;
    endpoint->settle = Py_NewRef(outcome);
    table = endpoint_table(&begin, descriptors);
    table.on_ready = on_transport_ready;
    if (failed != Py_None) {
        endpoint->failed = Py_NewRef(failed);
        endpoint->one_by_one = how.flags & SOCKREF_CONNECT_ONE_BY_ONE;
        table.on_attempt = on_transport_attempt;
    }
    status = sockref_connect(endpoint->state->loop, name, &how, &table, endpoint, &conn);
    self = begun(self, endpoint, status, conn);

out:
    pin_leave(from);
    return self;
}

/* The same for a connected socket; fd is taken on success only. */
static PyObject *adopt_transport(int fd, PyObject *loop, PyObject *host, PyObject *factory, PyObject *outcome, bool tcp,
                                 bool descriptors, PyObject *options)
{
    sockref_conn_options begin;
    sockref_handlers table;
    struct endpoint *endpoint;
    sockref_conn *conn = NULL;
    PyObject *self;
    int status;

    if (!read_endpoint_options(options, &begin))
        return NULL;
    endpoint = endpoint_new(loop, host, factory, NULL);
    self = endpoint ? connecting_transport(endpoint) : NULL;
    if (!self) {
        if (endpoint)
            endpoint_free(endpoint);
        return NULL;
    }
    endpoint->tcp = tcp;
    endpoint->settle = Py_NewRef(outcome);
    table = endpoint_table(&begin, descriptors);
    table.on_ready = on_transport_ready;
    status = sockref_adopt(endpoint->state->loop, fd, &table, endpoint, &conn);
    return begun(self, endpoint, status, conn);
}
