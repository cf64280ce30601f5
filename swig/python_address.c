/* Addresses, options and errors of connections, as Python has them. */

static unsigned long scope_of(const char *zone)
{
    char *end;
    unsigned long number = strtoul(zone, &end, 10);

    return *zone && !*end ? number : if_nametoindex(zone);
}

/* As the socket module has addresses: a str or, of the abstract namespace, bytes; a tuple; or None. */
static PyObject *address_value(const sockref_address *address)
{
    const char *host = address->host, *zone;
    PyObject *name, *value;

    if (address->family == SOCKREF_FAMILY_IPV4)
        return Py_BuildValue("sI", host, address->port);
    if (address->family == SOCKREF_FAMILY_IPV6) {
        zone = strchr(host, '%');
        return Py_BuildValue("s#Iik", host, (Py_ssize_t)(zone ? zone - host : (ptrdiff_t)address->host_length),
                             address->port, 0, zone ? scope_of(zone + 1) : 0ul);
    }
    if (address->family != SOCKREF_FAMILY_UNIX)
        return Py_NewRef(Py_None);
    if (host[0] != '@')
        return PyUnicode_DecodeFSDefaultAndSize(host, (Py_ssize_t)address->host_length);
    name = PyBytes_FromStringAndSize(host, (Py_ssize_t)address->host_length);
    if (!name)
        return NULL;
    value = PyObject_CallMethod(name, "replace", "y#y#i", "@", (Py_ssize_t)1, "\0", (Py_ssize_t)1, 1);
    Py_DECREF(name);
    return value;
}

/* The address that a listener is bound to. */
static PyObject *local_address(struct pin *pin)
{
    sockref_address address = {.size = sizeof(address)};
    sockref *ref = open_reference(pin);
    int status;

    if (!ref)
        return NULL;
    status = sockref_local_address(ref, &address);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return address_value(&address);
}

/* options: (flags, timeout_ms, keepalive_delay_ms, high_water, max_buffered). */
static bool read_conn_options(PyObject *options, sockref_conn_options *out_options)
{
    Py_ssize_t high_water;
    unsigned long long max_buffered;

    memset(out_options, 0, sizeof(*out_options));
    out_options->size = sizeof(*out_options);
    if (!PyArg_ParseTuple(options, "IIInK", &out_options->flags, &out_options->timeout_ms,
                          &out_options->keepalive_delay_ms, &high_water, &max_buffered))
        return false;
    out_options->high_water = (size_t)high_water;
    out_options->max_buffered = max_buffered;
    return true;
}

/*
 * options: (flags, family, attempt_delay_ms, timeout_ms, local_host or None, local_port, a reference's proxy or None),
 * which lend the host. The reference stays until out_from, which may be NULL, is left.
 */
static bool read_connect_options(PyObject *options, sockref_connect_options *out_options, struct pin **out_from)
{
    PyObject *from;

    memset(out_options, 0, sizeof(*out_options));
    out_options->size = sizeof(*out_options);
    *out_from = NULL;
    if (!PyArg_ParseTuple(options, "IiIIzIO", &out_options->flags, &out_options->family,
                          &out_options->attempt_delay_ms, &out_options->timeout_ms, &out_options->local_host,
                          &out_options->local_port, &from))
        return false;
    if (from == Py_None)
        return true;
    *out_from = pin_enter(from, SWIGTYPE_p_sockref, 0);
    out_options->from = *out_from ? open_reference(*out_from) : NULL;
    if (!out_options->from)
        pin_leave(*out_from);
    return out_options->from != NULL;
}

/* The exception that on_error tells; name is what was connected to, or NULL. */
static PyObject *connection_error(int status, const char *name)
{
    const sockref_error *last = sockref_last_error();

    if (name && last->status == status && last->syscall && strcmp(last->syscall, "getaddrinfo") == 0)
        return build_error(status, last->os_errno, last->syscall, name, last->message);
    return build_error(status, status > SOCKREF_EPATH ? -status : 0, name ? "connect" : NULL, name,
                       sockref_status_message(status));
}
