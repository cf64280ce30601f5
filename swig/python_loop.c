/*
 * Loops and starts. Python drives each loop: a reader of an asyncio loop, or a Python thread, waits for its
 * descriptor and calls dispatch, which keeps the GIL, so that handlers run where Python runs.
 */

/*
 * What the library keeps of Python for a loop: a connection's object, a service. The garbage collector sees it as
 * what the loop refers to, for the loop's end is its end.
 */
struct kept {
    struct kept *next, **link;
    int (*traverse)(struct kept *self, visitproc visit, void *arg);
};

/* A loop outlives its Python object as long as services and connections still point here. */
struct loop_state {
    unsigned references;
    unsigned fork_generation;
    sockref_loop *loop;   /* NULL once it is freed */
    PyObject *object;     /* its Loop, borrowed: it lives at least until loop is freed */
    PyObject *context;    /* what dispatch runs in when it is asked for: that of who made the loop */
    unsigned long thread; /* the loop thread */
    PyObject *fatal;      /* KeyboardInterrupt or SystemExit of a handler, for dispatch to raise */
    PyObject *block;      /* the bytes object that is read into, or NULL */
    Py_buffer view;       /* what a BufferedProtocol lent to be read into; obj is NULL where there is none */
    struct kept *kept;
    bool dispatching;
    bool asked_for; /* the asyncio loop has _dispatch_soon among what it calls next */
    bool came_soon; /* that was it: what the descriptor had to tell in this turn is done */
    bool muted; /* the interpreter ends, or this is a forked child: no handler is called */
};

typedef struct {
    PyObject_HEAD
    struct loop_state *state;
    PyObject *weakrefs;
} LoopObject;

static PyTypeObject *loop_type;
static PyObject *copy_context; /* contextvars.copy_context */

/* It has one reference to each thing that traverse visits, at the least, until forget(). */
static void keep(struct loop_state *state, struct kept *kept, int (*traverse)(struct kept *, visitproc, void *))
{
    kept->traverse = traverse;
    kept->next = state->kept;
    kept->link = &state->kept;
    if (kept->next)
        kept->next->link = &kept->next;
    state->kept = kept;
}

static void forget(struct kept *kept)
{
    *kept->link = kept->next;
    if (kept->next)
        kept->next->link = kept->link;
}

static void state_release(struct loop_state *state)
{
    if (--state->references)
        return;
    Py_XDECREF(state->fatal);
    Py_XDECREF(state->block);
    Py_XDECREF(state->context);
    free(state);
}

static bool interpreter_ends(void)
{
    PyObject *question = PySys_GetObject("is_finalizing"); /* borrowed */
    PyObject *answer = question ? PyObject_CallNoArgs(question) : NULL;
    bool ends = !answer || PyObject_IsTrue(answer) != 0;

    Py_XDECREF(answer);
    PyErr_Clear();
    return ends;
}

/* Loop */

static PyObject *loop_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {NULL};
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct loop_state *state;
    LoopObject *self;
    int status;

    if (!PyArg_ParseTupleAndKeywords(args, keywords, "", names))
        return NULL;
    state = calloc(1, sizeof(*state));
    if (!state)
        return PyErr_NoMemory();
    status = sockref_loop_new(&state->loop);
    if (status < 0) {
        free(state);
        raise_status(status);
        return NULL;
    }
    state->references = 1;
    state->fork_generation = fork_generation;
    state->thread = PyThread_get_thread_ident();
    state->context = PyObject_CallNoArgs(copy_context);
    self = state->context ? (LoopObject *)alloc(type, 0) : NULL;
    if (!self) {
        sockref_loop_free(state->loop);
        state_release(state);
        return NULL;
    }
    self->state = state;
    state->object = (PyObject *)self;
    return (PyObject *)self;
}

/* Ends starts, connections and services: their last callbacks run in here. */
static void loop_end(struct loop_state *state)
{
    sockref_loop *loop = state->loop;

    if (!loop)
        return;
    state->loop = NULL;
    state->thread = PyThread_get_thread_ident();
    state->muted = state->fork_generation != fork_generation || interpreter_ends();
    sockref_loop_free(loop);
    Py_CLEAR(state->context);
}

/* Keep the first KeyboardInterrupt or SystemExit for dispatch to raise, which comes soon. Takes nothing. */
static void keep_fatal(struct loop_state *state, PyObject *error)
{
    if (!state->fatal)
        state->fatal = Py_NewRef(error);
    if (!state->dispatching)
        sockref_loop_wake(state->loop);
}

/* The exception that is set, with its traceback; clears it. */
static PyObject *take_raised(void)
{
    PyObject *kind, *value, *trace;

    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return value;
}

/* Whether the exception that is set is one that asyncio lets through. */
static bool ends_program(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* The exception that is set, unless it ends the program: then dispatch raises it, and NULL is returned. */
static PyObject *take_failure(struct loop_state *state)
{
    bool fatal = ends_program();
    PyObject *error = take_raised();

    if (!fatal)
        return error;
    keep_fatal(state, error);
    Py_DECREF(error);
    return NULL;
}

/*
 * Something is over, and asyncio tells so with what call_soon() was given at that moment: dispatch comes then, and not
 * when the descriptor is looked at. Where it cannot, it comes as always.
 */
static void dispatch_soon(struct loop_state *state, PyObject *host)
{
    PyObject *method, *arguments, *keywords, *handle = NULL;

    if (state->dispatching || state->asked_for || !state->loop || state->fork_generation != fork_generation)
        return;
    method = PyObject_GetAttrString(host, "call_soon");
    arguments = Py_BuildValue("(N)", PyObject_GetAttrString(state->object, "_dispatch_soon"));
    keywords = Py_BuildValue("{sO}", "context", state->context);
    if (method && arguments && keywords)
        handle = PyObject_Call(method, arguments, keywords);
    state->asked_for = handle != NULL;
    if (!handle)
        Py_XDECREF(take_failure(state)); /* the asyncio loop is closed */
    Py_XDECREF(handle);
    Py_XDECREF(keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(method);
}

/* For what the binding itself has called: nobody is told of an exception but the interpreter. */
static void drop_failure(struct loop_state *state, PyObject *origin)
{
    PyObject *error = take_failure(state);

    if (!error)
        return;
    set_raised(error);
    PyErr_WriteUnraisable(origin);
}

/* (error, origin): the same for what Python has caught. It never fails, whatever the program's hook does. */
static PyObject *write_unraisable(PyObject *Py_UNUSED(self), PyObject *args)
{
    PyObject *error, *origin;

    if (!PyArg_ParseTuple(args, "OO", &error, &origin))
        return NULL;
    set_raised(Py_NewRef(error));
    PyErr_WriteUnraisable(origin);
    Py_RETURN_NONE;
}

/* The loop that this thread dispatches, for callbacks that know no loop. */
static _Thread_local struct loop_state *dispatched;

/* Raise what was kept. Returns whether there was anything. */
static bool raise_fatal(struct loop_state *state)
{
    PyObject *fatal = state->fatal;

    state->fatal = NULL;
    set_raised(fatal);
    return fatal != NULL;
}

static int loop_traverse(PyObject *object, visitproc visit, void *arg)
{
    struct loop_state *state = ((LoopObject *)object)->state;
    int status = 0;

    Py_VISIT(Py_TYPE(object));
    if (!state)
        return 0;
    Py_VISIT(state->fatal);
    Py_VISIT(state->context);
    for (struct kept *kept = state->kept; kept && status == 0; kept = kept->next)
        status = kept->traverse(kept, visit, arg);
    return status;
}

static int loop_clear(PyObject *object)
{
    LoopObject *self = (LoopObject *)object;

    if (self->state)
        loop_end(self->state);
    return 0;
}

static void loop_dealloc(PyObject *object)
{
    LoopObject *self = (LoopObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    PyObject *kind, *value, *trace;

    PyObject_GC_UnTrack(object);
    PyErr_Fetch(&kind, &value, &trace);
    if (self->weakrefs)
        PyObject_ClearWeakRefs(object);
    loop_clear(object);
    if (self->state)
        state_release(self->state);
    PyErr_Restore(kind, value, trace);
    release(object);
    Py_DECREF(type);
}

static PyObject *loop_close(PyObject *object, PyObject *Py_UNUSED(args))
{
    struct loop_state *state = ((LoopObject *)object)->state;

    if (state->dispatching) {
        PyErr_SetString(PyExc_RuntimeError, "a loop cannot be closed inside its own handlers");
        return NULL;
    }
    loop_end(state);
    if (raise_fatal(state))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *loop_fileno(PyObject *object, PyObject *Py_UNUSED(args))
{
    int fd = sockref_loop_fd(((LoopObject *)object)->state->loop);

    if (fd < 0) {
        raise_status(fd);
        return NULL;
    }
    return PyLong_FromLong(fd);
}

static PyObject *loop_wake(PyObject *object, PyObject *Py_UNUSED(args))
{
    sockref_loop_wake(((LoopObject *)object)->state->loop);
    Py_RETURN_NONE;
}

static PyObject *dispatch_now(struct loop_state *state)
{
    struct loop_state *outer = dispatched;
    int count;

    state->thread = PyThread_get_thread_ident();
    state->asked_for = false;
    state->dispatching = true;
    dispatched = state;
    count = sockref_loop_dispatch(state->loop, 0);
    dispatched = outer;
    state->dispatching = false;
    PyBuffer_Release(&state->view); /* lent, but nothing came */
    if (raise_fatal(state))
        return NULL;
    if (count < 0) {
        raise_status(count);
        return NULL;
    }
    return PyLong_FromLong(count);
}

static PyObject *loop_dispatch(PyObject *object, PyObject *Py_UNUSED(args))
{
    struct loop_state *state = ((LoopObject *)object)->state;
    bool is_done = state->came_soon;

    state->came_soon = false;
    /* A handler may run the host's loop inside itself: what is due waits for the outer dispatch. */
    return state->dispatching || is_done ? PyLong_FromLong(0) : dispatch_now(state);
}

/* What else is due waits for the next turn, where the descriptor is readable still. */
static PyObject *loop_dispatch_soon(PyObject *object, PyObject *Py_UNUSED(args))
{
    struct loop_state *state = ((LoopObject *)object)->state;

    if (state->dispatching || !state->asked_for)
        return PyLong_FromLong(0);
    state->came_soon = true;
    return dispatch_now(state);
}

static PyMethodDef loop_methods[] = {
    {"fileno", loop_fileno, METH_NOARGS, "The descriptor to wait on for readability."},
    {"dispatch", loop_dispatch, METH_NOARGS, "Run the callbacks that are due; tell how many ran."},
    {"_dispatch_soon", loop_dispatch_soon, METH_NOARGS, NULL},
    {"wake", loop_wake, METH_NOARGS, "Make the descriptor readable. Any thread."},
    {"close", loop_close, METH_NOARGS, "End the loop, its starts, connections and services."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef loop_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LoopObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc, (void *)"A loop of the library, driven by Python."},
    {Py_tp_new, (void *)loop_new},
    {Py_tp_dealloc, (void *)loop_dealloc},
    {Py_tp_traverse, (void *)loop_traverse},
    {Py_tp_clear, (void *)loop_clear},
    {Py_tp_methods, loop_methods},
    {Py_tp_members, loop_members},
    {0, NULL},
};

static PyType_Spec loop_spec = {"sockref._lowlevel.Loop", sizeof(LoopObject), 0,
                                Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, loop_slots};

static struct loop_state *loop_of(PyObject *object)
{
    if (!PyObject_TypeCheck(object, loop_type)) {
        PyErr_Format(PyExc_TypeError, "expected a Loop, not %R", object);
        return NULL;
    }
    return ((LoopObject *)object)->state;
}

/* Starts */

/* Runs where its loop is dispatched, or where its loop or registry ends: there without the GIL, maybe. */
static void on_start(int status, sockref *ref, void *user)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *callback = user;
    PyObject *handle = NULL, *error = NULL, *result, *kind, *trace;

    if (status < 0)
        error = new_error(status);
    else
        handle = wrap_reference(ref);
    if (!handle && !error) {
        PyErr_Fetch(&kind, &error, &trace);
        PyErr_NormalizeException(&kind, &error, &trace);
        Py_XDECREF(kind);
        Py_XDECREF(trace);
    }
    result = PyObject_CallFunctionObjArgs(callback, handle ? handle : Py_None, error ? error : Py_None, NULL);
    if (!result && dispatched)
        drop_failure(dispatched, callback);
    else if (!result)
        PyErr_WriteUnraisable(callback);
    Py_XDECREF(result);
    Py_XDECREF(handle);
    Py_XDECREF(error);
    Py_DECREF(callback);
    PyGILState_Release(gil);
}

/* callback(handle or None, exception or None) comes exactly once after this returned 0. */
static int start_listener(sockref_registry *self, const char *path, const sockref_options *options, PyObject *callback)
{
    int status;

    Py_INCREF(callback);
    status = sockref_registry_start_listener(self, path, options, on_start, callback);
    if (status < 0)
        Py_DECREF(callback);
    return status;
}

/* Whether the callback will come with SOCKREF_ECANCELED. */
static bool cancel_start(sockref_registry *self, PyObject *callback)
{
    return sockref_registry_cancel_start(self, on_start, callback) == 0;
}

static PyObject *options_set_loop(sockref_options *options, PyObject *loop)
{
    struct loop_state *state = loop_of(loop);
    int status;

    if (!state)
        return NULL;
    status = sockref_options_set_loop(options, state->loop);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyTypeObject *add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);

    if (!type || PyModule_AddObjectRef(module, name, type) < 0) {
        Py_XDECREF(type);
        return NULL;
    }
    return (PyTypeObject *)type; /* ours for ever */
}

static PyObject *after_fork_in_child(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    fork_generation++;
    events_after_fork_in_child();
    Py_RETURN_NONE;
}
