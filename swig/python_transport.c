/* The methods of a transport, all for the thread of its loop; python_protocol.c tells what it is. */
static PyObject *running_loop; /* asyncio._get_running_loop */

/* An asyncio loop may be run by another thread than before, and not have dispatched yet. */
static bool moved_here(struct transport *transport)
{
    PyObject *running = PyObject_CallNoArgs(running_loop);
    bool ours = running && running == transport->host;

    Py_XDECREF(running);
    PyErr_Clear();
    if (ours)
        transport->state->thread = PyThread_get_thread_ident();
    return ours;
}

static struct transport *enter(PyObject *self)
{
    struct transport *transport = transport_of(self);

    if (transport->state->thread == PyThread_get_thread_ident() || moved_here(transport))
        return transport;
    PyErr_SetString(PyExc_RuntimeError, "a transport belongs to the thread of its loop; use call_soon_threadsafe()");
    return NULL;
}

static PyObject *refuse_after_eof(const char *method)
{
    PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()", method);
    return NULL;
}

/*
 * A write that asks to stop though little is queued: the connection is broken. on_error tells why later in the turn,
 * but who writes as long as he may must see it now.
 */
static void look_for_failure(struct transport *transport)
{
    sockref_conn_details found = {.size = sizeof(found)};

    if (queued_of(transport) <= MARKED_FROM && sockref_conn_info(transport->conn, &found) == 0 &&
        found.state == SOCKREF_CONN_CLOSED) {
        transport->flags |= CLOSING;
        dispatch_soon(transport->state, transport->host);
    }
}

static PyObject *write_checked(PyObject *self, struct transport *transport, PyObject *data)
{
    int status;

    if (!write_any(self, data, &status))
        return NULL;
    if (status < 0 && status != SOCKREF_ECLOSED) {
        raise_status(status);
        return NULL;
    }
    if (status == SOCKREF_WRITE_FULL)
        look_for_failure(transport);
    if ((status == SOCKREF_WRITE_FULL || marked_from(transport) < MARKED_FROM) && !pause_if_full(self))
        return NULL; /* less is queued else */
    Py_RETURN_NONE;
}

/* What is written after close() is dropped, as asyncio does; wrong types are refused even so. */
static PyObject *write_nowhere(struct transport *transport, PyObject *data)
{
    Py_buffer view;

    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyBuffer_Release(&view);
    if (transport->flags & EOF_WRITTEN)
        return refuse_after_eof("write");
    Py_RETURN_NONE;
}

/* The one argument of a method, given by position or by its name, as asyncio's methods take it; borrowed. */
static PyObject *only_argument(const char *name, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    Py_ssize_t by_name = keywords ? PyTuple_Size(keywords) : 0;

    if (count == 1 && by_name == 0)
        return args[0];
    if (count == 0 && by_name == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(keywords, 0), name) == 0)
        return args[0];
    PyErr_Format(PyExc_TypeError, "expected one argument, '%s'", name);
    return NULL;
}

static PyObject *transport_write(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    struct transport *transport = enter(self);
    PyObject *data = transport ? only_argument("data", args, count, keywords) : NULL;

    if (!data)
        return NULL;
    if (transport->flags & (EOF_WRITTEN | CLOSING))
        return write_nowhere(transport, data);
    return write_checked(self, transport, data);
}

static PyObject *transport_writelines(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    struct transport *transport = enter(self);
    PyObject *list = transport ? only_argument("list_of_data", args, count, keywords) : NULL;
    PyObject *empty, *joined, *result;

    if (!list)
        return NULL;
    if (transport->flags & EOF_WRITTEN)
        return refuse_after_eof("writelines");
    empty = PyBytes_FromStringAndSize(NULL, 0);
    joined = empty ? PyObject_CallMethod(empty, "join", "(O)", list) : NULL;
    Py_XDECREF(empty);
    if (!joined)
        return NULL;
    result = transport->flags & CLOSING ? Py_NewRef(Py_None) : write_checked(self, transport, joined);
    Py_DECREF(joined);
    return result;
}

static PyObject *transport_write_eof(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    if (!(transport->flags & (CLOSING | EOF_WRITTEN))) {
        transport->flags |= EOF_WRITTEN;
        send_eof(self);
    }
    Py_RETURN_NONE;
}

static PyObject *transport_can_write_eof(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    Py_RETURN_TRUE;
}

static PyObject *transport_send_fd(PyObject *self, PyObject *args)
{
    struct transport *transport = enter(self);
    PyObject *result;

    if (!transport)
        return NULL;
    if (transport->flags & EOF_WRITTEN)
        return refuse_after_eof("send_fd");
    if (transport->flags & CLOSING) {
        raise_own(SOCKREF_ECLOSED, NULL);
        return NULL;
    }
    result = send_descriptor(transport->conn, args);
    if (!result)
        return NULL;
    Py_DECREF(result);
    if (!pause_if_full(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *transport_close(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    close_transport(transport);
    dispatch_soon(transport->state, transport->host);
    Py_RETURN_NONE;
}

static PyObject *transport_abort(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    transport->flags |= CLOSING;
    sockref_conn_destroy(transport->conn);
    dispatch_soon(transport->state, transport->host);
    Py_RETURN_NONE;
}

static PyObject *transport_is_closing(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyBool_FromLong(transport_of(self)->flags & CLOSING);
}

static PyObject *transport_pause_reading(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    if (!(transport->flags & (CLOSING | READING_PAUSED))) {
        transport->flags |= READING_PAUSED;
        if (!(transport->flags & LENDING))
            sockref_conn_pause(transport->conn);
    }
    Py_RETURN_NONE;
}

static void read_again(struct transport *transport, unsigned no_more)
{
    if ((transport->flags & CLOSING) || !(transport->flags & no_more))
        return;
    transport->flags &= ~no_more;
    if (!(transport->flags & (READING_PAUSED | READING_HELD)))
        sockref_conn_resume(transport->conn);
}

static PyObject *transport_resume_reading(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    read_again(transport, READING_PAUSED);
    Py_RETURN_NONE;
}

static PyObject *transport_begin_reading(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    if (!transport)
        return NULL;
    read_again(transport, READING_HELD);
    Py_RETURN_NONE;
}

static PyObject *transport_is_reading(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyBool_FromLong(!(transport_of(self)->flags & (CLOSING | READING_PAUSED)));
}

/* A mark as a number, which is no more than the largest there is; negative ones are left to the caller. */
static bool read_mark(PyObject *object, Py_ssize_t *out_mark)
{
    *out_mark = PyNumber_AsSsize_t(object, NULL);
    return *out_mark != -1 || !PyErr_Occurred();
}

static PyObject *transport_set_write_buffer_limits(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"high", "low", NULL};
    struct transport *transport = enter(self);
    PyObject *high = Py_None, *low = Py_None;
    Py_ssize_t high_water = HIGH_WATER, low_water = 0;

    if (!transport || !PyArg_ParseTupleAndKeywords(args, keywords, "|OO", names, &high, &low))
        return NULL;
    if ((low != Py_None && !read_mark(low, &low_water)) || (high != Py_None && !read_mark(high, &high_water)))
        return NULL;
    if (high == Py_None && low != Py_None && low_water >= 0)
        high_water = low_water > PY_SSIZE_T_MAX / 4 ? PY_SSIZE_T_MAX : 4 * low_water;
    if (low == Py_None)
        low_water = high_water / 4;
    if (high_water < low_water || low_water < 0) {
        PyErr_Format(PyExc_ValueError, "high (%zd) must be >= low (%zd) must be >= 0", high_water, low_water);
        return NULL;
    }
    transport->high_water = (size_t)high_water;
    transport->low_water = (size_t)low_water;
    if (!pause_if_full(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *transport_get_write_buffer_limits(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = transport_of(self);

    return Py_BuildValue("(nn)", (Py_ssize_t)transport->low_water, (Py_ssize_t)transport->high_water);
}

static PyObject *transport_get_write_buffer_size(PyObject *self, PyObject *Py_UNUSED(args))
{
    struct transport *transport = enter(self);

    return transport ? PyLong_FromSize_t(queued_of(transport)) : NULL;
}

static PyObject *transport_set_protocol(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    struct transport *transport = enter(self);
    PyObject *protocol = transport ? only_argument("protocol", args, count, keywords) : NULL;

    if (!protocol || !take_protocol(transport, protocol))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *transport_get_protocol(PyObject *self, PyObject *Py_UNUSED(args))
{
    PyObject *protocol = transport_of(self)->protocol;

    return Py_NewRef(protocol ? protocol : Py_None);
}

/* The descriptor, or -1. */
static PyObject *transport_fileno(PyObject *self, PyObject *Py_UNUSED(args))
{
    return PyLong_FromLong(sockref_conn_fd(transport_of(self)->conn));
}

static PyObject *transport_peer(PyObject *self, PyObject *Py_UNUSED(args))
{
    return peer_value(transport_of(self)->conn);
}

static PyObject *transport_reduce(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    PyErr_SetString(PyExc_TypeError, "cannot copy or pickle a transport");
    return NULL;
}

/* Asked by loop.sendfile(). Frameworks take this exception, which uvloop has as well, as advice to do it themselves. */
static PyObject *transport_refuse_sendfile(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    PyErr_SetString(PyExc_NotImplementedError, "sockref.aio has no sendfile(): read the file, and write");
    return NULL;
}

/* Asked by loop.start_tls() and StreamWriter.start_tls(). */
static PyObject *transport_refuse_tls(PyObject *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    PyErr_SetString(PyExc_NotImplementedError,
                    "sockref.aio has no TLS: give SocketReference.socket() to asyncio.start_unix_server() or "
                    "asyncio.start_server(), which have");
    return NULL;
}

static PyObject *transport_repr(PyObject *self)
{
    struct transport *transport = transport_of(self);
    int fd = sockref_conn_fd(transport->conn);
    const char *state = fd < 0 ? "closed" : transport->flags & CLOSING ? "closing" : "open";

    return PyUnicode_FromFormat("<sockref.aio.Transport %s fd=%d%s%s>", state, fd,
                                transport->flags & READING_PAUSED ? " reading-paused" : "",
                                transport->flags & WRITING_PAUSED ? " writing-paused" : "");
}

static int transport_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct transport *transport = transport_of(self);

    Py_VISIT(transport->host);
    Py_VISIT(transport->context);
    Py_VISIT(transport->protocol);
    Py_VISIT(transport->received);
    Py_VISIT(transport->get_buffer);
    Py_VISIT(transport->extra);
    Py_VISIT(transport->error);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int transport_clear(PyObject *self)
{
    struct transport *transport = transport_of(self);

    Py_CLEAR(transport->host);
    Py_CLEAR(transport->context);
    Py_CLEAR(transport->protocol);
    Py_CLEAR(transport->received);
    Py_CLEAR(transport->get_buffer);
    Py_CLEAR(transport->extra);
    Py_CLEAR(transport->error);
    return 0;
}

static void transport_dealloc(PyObject *self)
{
    struct transport *transport = transport_of(self);
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

    PyObject_GC_UnTrack(self);
    if (transport->weakrefs)
        PyObject_ClearWeakRefs(self);
    transport_clear(self);
    sockref_conn_release(transport->conn);
    if (transport->state)
        state_release(transport->state);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef transport_methods[] = {
    {"write", (PyCFunction)(void (*)(void))transport_write, METH_FASTCALL | METH_KEYWORDS,
     "write($self, /, data)\n--\n\nSend bytes: the socket is tried first, what is left is queued."},
    {"writelines", (PyCFunction)(void (*)(void))transport_writelines, METH_FASTCALL | METH_KEYWORDS,
     "writelines($self, /, list_of_data)\n--\n\nSend several pieces as one."},
    {"write_eof", transport_write_eof, METH_NOARGS,
     "write_eof($self, /)\n--\n\nSend no more when all that is queued is written; reading goes on."},
    {"can_write_eof", transport_can_write_eof, METH_NOARGS, "can_write_eof($self, /)\n--\n\nTrue."},
    {"send_fd", transport_send_fd, METH_VARARGS,
     "send_fd($self, file, data, /)\n--\n\nPass a descriptor to the peer of a Unix socket, with at least one byte.\n\n"
     "A duplicate is sent: the file stays the program's. The peer's protocol gets it by descriptor_received(), where\n"
     "it takes descriptors in."},
    {"close", transport_close, METH_NOARGS,
     "close($self, /)\n--\n\nRead no more, send what is queued, then end: connection_lost(None) is called."},
    {"abort", transport_abort, METH_NOARGS,
     "abort($self, /)\n--\n\nEnd at once; what is queued is dropped. connection_lost(None) is called."},
    {"is_closing", transport_is_closing, METH_NOARGS,
     "is_closing($self, /)\n--\n\nWhether it is closed or on its way there."},
    {"pause_reading", transport_pause_reading, METH_NOARGS,
     "pause_reading($self, /)\n--\n\nHave data_received() called no more until resume_reading()."},
    {"resume_reading", transport_resume_reading, METH_NOARGS, "resume_reading($self, /)\n--\n\nRead again."},
    {"is_reading", transport_is_reading, METH_NOARGS,
     "is_reading($self, /)\n--\n\nWhether it is neither paused nor closing."},
    {"set_write_buffer_limits", (PyCFunction)(void (*)(void))transport_set_write_buffer_limits,
     METH_VARARGS | METH_KEYWORDS,
     "set_write_buffer_limits($self, /, high=None, low=None)\n--\n\n"
     "Set with how many queued bytes pause_writing() and resume_writing() are called."},
    {"get_write_buffer_limits", transport_get_write_buffer_limits, METH_NOARGS,
     "get_write_buffer_limits($self, /)\n--\n\n(low, high), in bytes."},
    {"get_write_buffer_size", transport_get_write_buffer_size, METH_NOARGS,
     "get_write_buffer_size($self, /)\n--\n\nThe bytes that are queued."},
    {"set_protocol", (PyCFunction)(void (*)(void))transport_set_protocol, METH_FASTCALL | METH_KEYWORDS,
     "set_protocol($self, /, protocol)\n--\n\nHave another protocol called from now on."},
    {"get_protocol", transport_get_protocol, METH_NOARGS,
     "get_protocol($self, /)\n--\n\nThe protocol; None when the connection is lost."},
    {"get_extra_info", (PyCFunction)(void (*)(void))transport_get_extra_info, METH_VARARGS | METH_KEYWORDS,
     "get_extra_info($self, /, name, default=None)\n--\n\n"
     "'peername', 'sockname', 'socket' (a TransportSocket), 'peercred' (a PeerCredentials)."},
    {"_begin_reading", transport_begin_reading, METH_NOARGS, NULL},
    {"_fileno", transport_fileno, METH_NOARGS, NULL},
    {"_peer", transport_peer, METH_NOARGS, NULL},
    {"__reduce__", transport_reduce, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef transport_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct transport, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef transport_getset[] = {
    {"_sendfile_compatible", transport_refuse_sendfile, NULL, NULL, NULL},
    {"_start_tls_compatible", transport_refuse_tls, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot transport_slots[] = {
    {Py_tp_doc, (void *)"A connection as an asyncio.Transport.\n\n"
                        "Made by the functions of sockref.aio only, and used on the thread of its asyncio loop only."},
    {Py_tp_dealloc, (void *)transport_dealloc},
    {Py_tp_repr, (void *)transport_repr},
    {Py_tp_traverse, (void *)transport_traverse},
    {Py_tp_clear, (void *)transport_clear},
    {Py_tp_methods, transport_methods},
    {Py_tp_members, transport_members},
    {Py_tp_getset, transport_getset},
    {0, NULL},
};

/* Its size is that of its base, which only the interpreter knows, and of ours. */
static bool add_transport_type(PyObject *module)
{
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    PyObject *contextvars = PyImport_ImportModule("contextvars");
    PyObject *base = asyncio ? PyObject_GetAttrString(asyncio, "Transport") : NULL;
    PyObject *size = base ? PyObject_GetAttrString(base, "__basicsize__") : NULL;
    PyObject *context = contextvars ? PyObject_GetAttrString(contextvars, "Context") : NULL;
    PyType_Spec spec = {"sockref.aio.Transport", 0, 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, transport_slots};
    PyObject *type = NULL;

    if (size && context) {
        transport_offset = PyLong_AsSsize_t(size);
        transport_members[0].offset += transport_offset;
        spec.basicsize = (int)(transport_offset + (Py_ssize_t)sizeof(struct transport));
        type = PyType_FromSpecWithBases(&spec, base);
        buffered_protocol = PyObject_GetAttrString(asyncio, "BufferedProtocol");
        running_loop = PyObject_GetAttrString(asyncio, "_get_running_loop");
        copy_context = PyObject_GetAttrString(contextvars, "copy_context");
        run_in_context = PyObject_GetAttrString(context, "run");
    }
    Py_XDECREF(context);
    Py_XDECREF(size);
    Py_XDECREF(base);
    Py_XDECREF(asyncio);
    Py_XDECREF(contextvars);
    transport_type = (PyTypeObject *)type; /* ours for ever */
    return type && buffered_protocol && running_loop && copy_context && run_in_context &&
           PyModule_AddObjectRef(module, "Transport", type) == 0;
}
