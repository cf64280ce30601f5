/* What get_extra_info() of a transport answers. It is looked up at the first question, and kept. */
static PyObject *find_extra; /* (transport, name) -> the answer, or None; for what is seldom asked */

static PyObject *set_find_extra(PyObject *Py_UNUSED(self), PyObject *args)
{
    if (!PyArg_ParseTuple(args, "O", &find_extra))
        return NULL;
    Py_INCREF(find_extra);
    Py_RETURN_NONE;
}

static bool keep_extra(struct transport *transport, const char *name, PyObject *found)
{
    if (!transport->extra)
        transport->extra = PyDict_New();
    return transport->extra && PyDict_SetItemString(transport->extra, name, found) == 0;
}

static bool keep_address(struct transport *transport, const char *name, const sockref_address *address, bool tcp)
{
    bool unnamed = !tcp && address->family == SOCKREF_FAMILY_NONE; /* as most clients of Unix sockets are */
    PyObject *value = unnamed ? PyUnicode_FromString("") : address_value(address);
    bool kept = value && (value == Py_None || keep_extra(transport, name, value));

    Py_XDECREF(value);
    return kept;
}

/* Look up both addresses, which are gone at the end. */
static bool keep_addresses(struct transport *transport)
{
    sockref_conn_details found = {.size = sizeof(found), .local.size = sizeof(found.local),
                                  .remote.size = sizeof(found.remote)};
    bool tcp;

    if (sockref_conn_fd(transport->conn) < 0 || sockref_conn_info(transport->conn, &found) < 0)
        return true; /* it is over */
    tcp = found.local.family == SOCKREF_FAMILY_IPV4 || found.local.family == SOCKREF_FAMILY_IPV6;
    return keep_address(transport, "sockname", &found.local, tcp) &&
           keep_address(transport, "peername", &found.remote, tcp);
}

/* The known name that this is, or NULL. */
static const char *extra_name(PyObject *name)
{
    static const char *const names[] = {"peername", "sockname", "socket", "peercred"};

    for (size_t i = 0; PyUnicode_Check(name) && i < sizeof(names) / sizeof(names[0]); i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return names[i];
    return NULL;
}

/* Returns NULL with an exception, or without one where there is no answer. */
static PyObject *kept_extra(struct transport *transport, PyObject *name)
{
    return transport->extra ? Py_XNewRef(PyDict_GetItemWithError(transport->extra, name)) : NULL;
}

/* Returns None where there is no answer, or NULL with an exception. */
static PyObject *look_up_extra(PyObject *self, const char *known, PyObject *name)
{
    struct transport *transport = transport_of(self);
    PyObject *found = NULL;

    if (strcmp(known, "peername") == 0 || strcmp(known, "sockname") == 0) {
        if (keep_addresses(transport))
            found = kept_extra(transport, name);
        return found || PyErr_Occurred() ? found : Py_NewRef(Py_None);
    }
    found = PyObject_CallFunctionObjArgs(find_extra, self, name, NULL);
    if (found && found != Py_None && !keep_extra(transport, known, found))
        Py_CLEAR(found);
    return found;
}

static PyObject *transport_get_extra_info(PyObject *self, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name", "default", NULL};
    PyObject *name, *otherwise = Py_None, *found;
    const char *known;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|O", names, &name, &otherwise))
        return NULL;
    known = extra_name(name);
    if (!known)
        return Py_NewRef(otherwise);
    found = kept_extra(transport_of(self), name);
    if (!found && !PyErr_Occurred())
        found = look_up_extra(self, known, name);
    if (found != Py_None)
        return found;
    Py_DECREF(found);
    return Py_NewRef(otherwise);
}
