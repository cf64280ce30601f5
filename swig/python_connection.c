/* The methods of a connection of handlers, for the thread of its loop. */
static PyObject *make_info, *make_peer; /* what info() and peer() answer; they stand in sockref/_connection.py */

static PyObject *set_connection_values(PyObject *Py_UNUSED(self), PyObject *args)
{
    if (!PyArg_ParseTuple(args, "OO", &make_info, &make_peer))
        return NULL;
    Py_INCREF(make_info);
    Py_INCREF(make_peer);
    Py_RETURN_NONE;
}

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

    if (!conn || !write_object(conn, data, &status))
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

/* A converter of PyArg_ParseTuple(), whose own formats let a number run over. */
static int read_milliseconds(PyObject *object, void *out_milliseconds)
{
    long long number = PyLong_AsLongLong(object);

    if (number == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return 0;
    if (number < 0 || number > INT32_MAX) {
        PyErr_Format(PyExc_ValueError, "not a number of milliseconds: %R", object);
        return 0;
    }
    *(unsigned *)out_milliseconds = (unsigned)number;
    return 1;
}

static PyObject *connection_set_timeout(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);
    unsigned milliseconds;

    if (!conn || !PyArg_ParseTuple(args, "O&", read_milliseconds, &milliseconds))
        return NULL;
    return answer(sockref_conn_set_timeout(conn, milliseconds));
}

static PyObject *connection_set_keepalive(PyObject *object, PyObject *args)
{
    sockref_conn *conn = on_loop_thread(object);
    unsigned milliseconds = 0;
    int on;

    if (!conn || !PyArg_ParseTuple(args, "p|O&", &on, read_milliseconds, &milliseconds))
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
            drop_failure(posted->state, posted->callable);
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

static PyObject *connection_repr(PyObject *object)
{
    ConnectionObject *self = (ConnectionObject *)object;

    return PyUnicode_FromFormat("<sockref.Connection%s fd=%d>", self->closed ? " closed" : "",
                                sockref_conn_fd(self->conn));
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
     "set_keepalive($self, on, delay_ms=0, /)\n--\n\nProbe a silent TCP peer, first after delay_ms; 0: leave it."},
    {"set_nodelay", connection_set_nodelay, METH_VARARGS,
     "set_nodelay($self, on, /)\n--\n\nSend small pieces over TCP at once, or not."},
    {"call_soon_threadsafe", connection_call_soon_threadsafe, METH_VARARGS,
     "call_soon_threadsafe($self, callback, /, *args)\n--\n\n"
     "Have something called on the thread of its loop. Any thread."},
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
    {Py_tp_repr, (void *)connection_repr},
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
