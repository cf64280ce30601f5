/* Pools. What releases references, or starts names, may wait for the system: there the GIL is let go of. */

static void free_pool(void *pointer)
{
    sockref_pool_free(pointer);
}

static PyObject *pool_new(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    sockref_pool *pool;
    int status = sockref_pool_new(&pool);

    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return pin_wrap(pool, free_pool, SWIGTYPE_p_sockref_pool);
}

static sockref_pool *open_pool(struct pin *pin)
{
    sockref_pool *pool = pin_target(pin);

    if (!pool)
        raise_own(SOCKREF_ECLOSED, NULL);
    return pool;
}

static void close_pool(struct pin *pin)
{
    pin->closed = true;
}

/* Returns whether it is a member now; else there is an exception. */
static bool add_member(sockref_pool *pool, PyObject *handle)
{
    struct pin *pin = pin_enter(handle, SWIGTYPE_p_sockref, 0);
    sockref *ref = pin ? open_reference(pin) : NULL;
    int status = 0;

    if (ref)
        status = sockref_pool_add(pool, ref);
    if (status < 0)
        raise_status(status);
    pin_leave(pin);
    return ref && status == 0;
}

/* The caller holds a reference, so the pool's is not the last. */
static void remove_member(sockref_pool *pool, PyObject *handle)
{
    struct pin *pin = pin_enter(handle, SWIGTYPE_p_sockref, 0);

    sockref_pool_remove(pool, pin_target(pin));
    pin_leave(pin);
}

/* Make members of a list of references, of all or of none. */
static PyObject *pool_add(struct pin *pin, PyObject *handles)
{
    sockref_pool *pool = open_pool(pin);
    Py_ssize_t count = pool ? PyList_Size(handles) : -1, added = 0;
    PyObject *kind, *value, *trace;

    if (count < 0)
        return NULL;
    while (added < count && add_member(pool, PyList_GetItem(handles, added)))
        added++;
    if (added == count)
        Py_RETURN_NONE;
    PyErr_Fetch(&kind, &value, &trace);
    while (added-- > 0)
        remove_member(pool, PyList_GetItem(handles, added));
    PyErr_Restore(kind, value, trace);
    return NULL;
}

static PyObject *pool_remove(struct pin *pin, struct pin *ref_pin)
{
    sockref_pool *pool = open_pool(pin);
    sockref *ref = pool ? open_reference(ref_pin) : NULL;
    int status;

    if (!ref)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = sockref_pool_remove(pool, ref);
    Py_END_ALLOW_THREADS
    return answer(status);
}

static PyObject *pool_listen(struct pin *pin, sockref_registry *registry, const char *path, unsigned count,
                             const sockref_options *options)
{
    sockref_pool *pool = open_pool(pin);
    int status;

    if (!pool)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = sockref_pool_listen(pool, registry, path, count, options);
    Py_END_ALLOW_THREADS
    return answer(status);
}

static PyObject *pool_pick(struct pin *pin, int policy)
{
    sockref_pool *pool = open_pool(pin);
    sockref *ref;
    int status;

    if (!pool)
        return NULL;
    status = sockref_pool_pick(pool, policy, &ref);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return wrap_reference(ref);
}

/* 0 after close. */
static PyObject *pool_size(struct pin *pin)
{
    return PyLong_FromUnsignedLongLong(sockref_pool_size(pin_target(pin)));
}
