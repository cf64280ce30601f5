/*
 * What a transport sends, and the flow control of it: pause_writing() is called when more than high_water is queued,
 * resume_writing() when low_water is left. The library tells when a piece is written, so empty pieces are the marks by
 * which that is noticed. Where the queue comes near high_water they stand a step apart, or two, so that resume_writing()
 * comes with about half of low_water left, if not before.
 */
static void on_mark(int status, void *user);

/* Have on_mark called when what is queued now is written. */
static void mark(PyObject *self)
{
    struct transport *transport = transport_of(self);

    if (sockref_conn_write_own(transport->conn, NULL, 0, on_mark, self) < 0)
        return;
    transport->marks++;
    transport->unmarked = 0;
    Py_INCREF(self);
}

static size_t queued_of(const struct transport *transport)
{
    uint64_t queued;

    sockref_conn_bytes(transport->conn, NULL, NULL, &queued);
    return (size_t)queued;
}

static void send_eof(PyObject *self)
{
    struct transport *transport = transport_of(self);

    if (queued_of(transport)) {
        if (!transport->marks)
            mark(self);
        return;
    }
    transport->flags |= EOF_SENT;
    (void)shutdown(sockref_conn_fd(transport->conn), SHUT_WR); /* a peer that is gone is told by the next read */
}

static void tell_resume(PyObject *self)
{
    PyObject *result = call_protocol(transport_of(self), "resume_writing", NULL);
    PyObject *error = result ? NULL : tell_failure(self, "protocol.resume_writing() failed");

    Py_XDECREF(result);
    Py_XDECREF(error);
}

/* Inside a call of the program, which has its context, and is given what ends the program: then false is returned. */
static bool tell_pause(PyObject *self)
{
    PyObject *result = PyObject_CallMethod(transport_of(self)->protocol, "pause_writing", NULL);
    PyObject *error;

    if (!result && ends_program())
        return false;
    error = result ? NULL : tell_failure(self, "protocol.pause_writing() failed");
    Py_XDECREF(result);
    Py_XDECREF(error);
    return true;
}

static void on_mark(int status, void *user)
{
    PyObject *self = user;
    struct transport *transport = transport_of(self);

    transport->marks--;
    if (status >= 0 && may_call(transport) && transport->protocol) {
        if ((transport->flags & WRITING_PAUSED) && queued_of(transport) <= transport->low_water) {
            transport->flags &= ~(unsigned)WRITING_PAUSED;
            tell_resume(self);
        }
        if ((transport->flags & EOF_WRITTEN) && !(transport->flags & EOF_SENT))
            send_eof(self);
        else if ((transport->flags & WRITING_PAUSED) && !transport->marks)
            mark(self);
    }
    Py_DECREF(self);
}

/* Bytes that a write may have without a look at the queue. */
static size_t step_of(const struct transport *transport)
{
    return transport->low_water / 4 + 1;
}

/* With how much is queued marks are wanted. */
static size_t marked_from(const struct transport *transport)
{
    size_t most = transport->high_water - transport->low_water, step = step_of(transport);

    return most > step ? most - step : 0;
}

static void keep_marked(PyObject *self)
{
    struct transport *transport = transport_of(self);

    if (transport->unmarked > step_of(transport) && queued_of(transport) > marked_from(transport))
        mark(self);
    else if ((transport->flags & WRITING_PAUSED) && !transport->marks)
        mark(self);
}

/* What was written is queued. Returns false with an exception that ends the program. */
static bool pause_if_full(PyObject *self)
{
    struct transport *transport = transport_of(self);
    bool full;

    if (transport->flags & CLOSING)
        return true;
    full = !(transport->flags & WRITING_PAUSED) && queued_of(transport) > transport->high_water;
    if (full)
        transport->flags |= WRITING_PAUSED;
    keep_marked(self);
    return !full || tell_pause(self);
}

static int queue_bytes(sockref_conn *conn, PyObject *bytes, const char *data, size_t length)
{
    return bytes && length >= LARGE_WRITE ? write_kept(conn, bytes, data, length)
                                          : sockref_conn_write(conn, data, length);
}

/* A write of more than a step, after which marks are wanted unless the socket takes it. */
static int write_marked(PyObject *self, PyObject *bytes, const char *data, size_t length)
{
    struct transport *transport = transport_of(self);
    size_t low = transport->low_water, step = step_of(transport), here;
    int64_t taken = sockref_conn_try_write(transport->conn, data, length);
    bool begun = taken > 0;
    int status = 0;

    if (taken < 0)
        return (int)taken;
    data += taken;
    length -= (size_t)taken;
    here = length > low ? length - low : length < step ? length : step;
    while (length > 0) {
        status = queue_bytes(transport->conn, bytes, data, here);
        if (status < 0)
            break;
        begun = true;
        mark(self);
        data += here;
        length -= here;
        here = length < step ? length : step;
    }
    if (status < 0 && begun)
        sockref_conn_destroy(transport->conn); /* a part is gone, so the stream is broken */
    return status;
}

/* bytes: the object that the data is of, where it may be kept; else NULL. */
static int write_bytes(PyObject *self, PyObject *bytes, const char *data, size_t length)
{
    struct transport *transport = transport_of(self);

    if (length > step_of(transport) && queued_of(transport) + length > marked_from(transport))
        return write_marked(self, bytes, data, length);
    transport->unmarked += length;
    if (bytes && length >= LARGE_WRITE)
        return write_without_limit(transport->conn, bytes, data, length);
    return sockref_conn_write(transport->conn, data, length);
}

static bool write_any(PyObject *self, PyObject *object, int *out_status)
{
    Py_ssize_t length;
    Py_buffer view;
    char *data;

    if (PyBytes_CheckExact(object)) {
        if (PyBytes_AsStringAndSize(object, &data, &length) < 0)
            return false;
        *out_status = write_bytes(self, object, data, (size_t)length);
        return true;
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
        return false;
    *out_status = write_bytes(self, NULL, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return true;
}
