/*
 * What a proxy of SWIG points at: a handle, and how many calls run on it now.
 *
 * close() takes the handle away from later calls at once; the last running call gives it back. All fields are
 * guarded by the GIL, which calls that may block let go of while they count as users.
 */
struct pin {
    void *pointer;             /* NULL once it is given back */
    void (*give_back)(void *pointer);
    unsigned users;            /* calls that run on it now */
    bool closed;
    bool dead;                 /* its proxy is gone: free it with the last user */
};

static unsigned fork_generation; /* how many forks lie between this process and the one that imported us */

static PyObject *pin_wrap(void *pointer, void (*give_back)(void *), swig_type_info *type)
{
    struct pin *pin = calloc(1, sizeof(*pin));
    PyObject *proxy;

    if (!pin) {
        give_back(pointer);
        return PyErr_NoMemory();
    }
    pin->pointer = pointer;
    pin->give_back = give_back;
    proxy = SWIG_Python_NewPointerObj(NULL, pin, type, SWIG_POINTER_OWN);
    if (!proxy) {
        give_back(pointer);
        free(pin);
    }
    return proxy;
}

/* Begin a call on what a proxy points at. NULL with a TypeError for anything but a proxy of that type. */
static struct pin *pin_enter(PyObject *object, swig_type_info *type, int disown)
{
    void *found = NULL;
    struct pin *pin;

    if (!SWIG_IsOK(SWIG_ConvertPtr(object, &found, type, disown)) || !found) {
        PyErr_Format(PyExc_TypeError, "expected %s, not %R", SWIG_TypePrettyName(type), object);
        return NULL;
    }
    pin = found;
    pin->users++;
    pin->dead = pin->dead || disown;
    return pin;
}

/* What the call works on: NULL after close. A destructor takes it. */
static void *pin_target(struct pin *pin)
{
    void *pointer = pin->closed ? NULL : pin->pointer;

    if (pin->dead) {
        pin->pointer = NULL;
        pin->closed = true;
    }
    return pointer;
}

/* What the call has raised waits meanwhile, for the end of a handle may call Python. */
static void pin_give_back(struct pin *pin)
{
    void *pointer = pin->pointer;
    PyObject *kind, *value, *trace;

    pin->pointer = NULL;
    PyErr_Fetch(&kind, &value, &trace);
    Py_BEGIN_ALLOW_THREADS
    pin->give_back(pointer);
    Py_END_ALLOW_THREADS
    PyErr_Restore(kind, value, trace);
}

static void pin_leave(struct pin *pin)
{
    if (!pin || --pin->users)
        return;
    if (pin->closed && pin->pointer)
        pin_give_back(pin);
    if (pin->dead)
        free(pin);
}

/* No later call finds the handle; the last that runs gives it back, this one if it is alone. */
static void close_reference(struct pin *pin)
{
    pin->closed = true;
}

static void close_registry(struct pin *pin)
{
    pin->closed = true;
}

static void release_reference(void *pointer)
{
    sockref_release(pointer);
}

static void free_registry(void *pointer)
{
    sockref_registry_free(pointer);
}

static PyObject *wrap_reference(sockref *ref)
{
    return pin_wrap(ref, release_reference, SWIGTYPE_p_sockref);
}

static PyObject *wrap_registry(sockref_registry *registry)
{
    return pin_wrap(registry, free_registry, SWIGTYPE_p_sockref_registry);
}

/* The pointer of a call that needs an open reference, or NULL with an exception. */
static sockref *open_reference(struct pin *pin)
{
    sockref *ref = pin_target(pin);

    if (!ref)
        raise_own(SOCKREF_ECLOSED, NULL);
    return ref;
}

/* A duplicate, so that nobody closes ours and no number outlives the reference. */
static PyObject *dup_fd(struct pin *pin)
{
    sockref_address address = {.size = sizeof address};
    sockref *ref = open_reference(pin);
    int fd, copy, status;

    if (!ref)
        return NULL;
    fd = sockref_fd(ref);
    if (fd < 0) {
        status = sockref_local_address(ref, &address); /* this one says why */
        if (status < 0)
            raise_status(status);
        else
            raise_own(SOCKREF_ECLOSED, sockref_path(ref));
        return NULL;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        set_raised(build_error(-errno, errno, "fcntl", sockref_path(ref), strerror(errno)));
        return NULL;
    }
    return PyLong_FromLong(copy);
}

static PyObject *serve_echo(struct pin *pin)
{
    sockref *ref = open_reference(pin);
    int status;

    if (!ref)
        return NULL;
    status = sockref_serve(ref, sockref_echo_handlers(), NULL);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A process id, or 0. */
static int guard_status(sockref_registry *self)
{
    return sockref_guard_status(self);
}

static PyObject *live_counts(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    uint64_t references, entries, buffers;

    sockref_live_counts(&references, &entries, &buffers);
    return Py_BuildValue("KKK", (unsigned long long)references, (unsigned long long)entries,
                         (unsigned long long)buffers);
}

/* The file that the library was loaded from, or None. */
static PyObject *library_file(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    Dl_info info;

    if (!dladdr((const void *)(uintptr_t)sockref_version, &info) || !info.dli_fname)
        Py_RETURN_NONE;
    return PyUnicode_DecodeFSDefault(info.dli_fname);
}
