/* A status becomes a Python exception; the classes stand in sockref/_errors.py. */

static PyObject *error_factory; /* (status, os_errno, syscall, path, message) -> exception */

static PyObject *set_error_factory(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *factory, *old;

    if (!PyArg_ParseTuple(args, "O", &factory))
        return NULL;
    old = error_factory;
    error_factory = Py_NewRef(factory);
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *build_error(int status, int os_errno, const char *syscall_name, const char *path, const char *message)
{
    PyObject *text;

    if (!error_factory) {
        PyErr_SetString(PyExc_RuntimeError, "sockref._lowlevel is private: import sockref");
        return NULL;
    }
    text = PyUnicode_DecodeFSDefault(message);
    if (!text)
        return NULL;
    return PyObject_CallFunction(error_factory, "iizyN", status, os_errno, syscall_name, path, text);
}

/* The exception of a call that returned status just now, on this thread. */
static PyObject *new_error(int status)
{
    const sockref_error *last = sockref_last_error();

    if (last->status != status)
        return build_error(status, 0, NULL, NULL, sockref_status_message(status));
    return build_error(status, last->os_errno, last->syscall, last->path, last->message);
}

static void set_raised(PyObject *error)
{
    if (!error)
        return;
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
}

static void raise_status(int status)
{
    set_raised(new_error(status));
}

/* For what this binding refuses itself. */
static void raise_own(int status, const char *path)
{
    set_raised(build_error(status, 0, NULL, path, sockref_status_message(status)));
}
