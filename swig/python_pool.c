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

static PyObject *pool_add(struct pin *pin, struct pin *ref_pin)
{
    sockref_pool *pool = open_pool(pin);
    sockref *ref = pool ? open_reference(ref_pin) : NULL;
    int status;

    if (!ref)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = sockref_pool_add(pool, ref);
    Py_END_ALLOW_THREADS
    return answer(status);
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
