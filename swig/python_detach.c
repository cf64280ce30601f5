/*
 * Calls that take the descriptor of a socket object. Between such a call and the detach of the object nothing of
 * Python runs: what a signal's handler raises there would leave the descriptor to both, and each closes it.
 */
static PyTypeObject *socket_type; /* _socket.socket, whose methods are not written in Python */

static bool find_socket_type(void)
{
    PyObject *module = PyImport_ImportModule("_socket");

    socket_type = module ? (PyTypeObject *)PyObject_GetAttrString(module, "socket") : NULL; /* ours for ever */
    Py_XDECREF(module);
    return socket_type != NULL;
}

/* (socket, call, *arguments): detach the socket if the call succeeds, and give what it gives. */
static PyObject *call_and_detach(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *socket, *call, *arguments, *result, *fd;

    if (PyTuple_Size(args) < 2) {
        PyErr_SetString(PyExc_TypeError, "expected a socket and something to call");
        return NULL;
    }
    socket = PyTuple_GetItem(args, 0);
    call = PyTuple_GetItem(args, 1);
    arguments = PyTuple_GetSlice(args, 2, PyTuple_Size(args));
    result = arguments ? PyObject_CallObject(call, arguments) : NULL;
    Py_XDECREF(arguments);
    if (!result || !PyObject_TypeCheck(socket, socket_type))
        return result;
    fd = PyObject_CallMethod((PyObject *)socket_type, "detach", "O", socket);
    if (!fd)
        Py_CLEAR(result);
    Py_XDECREF(fd);
    return result;
}
