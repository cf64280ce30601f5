/*
 * What the library tells on threads of its own (log records, watches) waits here until a Python thread takes
 * it: no foreign thread enters Python. A full queue drops log records and counts them; watches are never
 * dropped but for lack of memory.
 */
enum { EVENT_LOG, EVENT_WATCH, EVENT_WATCH_END };
enum { EVENT_LOG_MAX = 4096 };

struct event {
    struct event *next;
    int kind;
    int number;          /* level, or a sockref_watch_event */
    int status;
    uint64_t suppressed;
    uint64_t id;         /* of the watch */
    char *path;          /* points into text, or NULL */
    char *message;
    char text[];         /* event, message and path, each with its NUL */
};

struct watch {
    uint64_t id;
};

static struct {
    pthread_mutex_t mutex;
    struct event *first, **last;
    unsigned logs;
    uint64_t dropped;
    int fd; /* an eventfd, readable while the queue is not empty; -1 before the first use */
} events = {.mutex = PTHREAD_MUTEX_INITIALIZER, .last = &events.first, .fd = -1};

static void events_after_fork_in_child(void)
{
    static const pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;

    /* Another thread may have held the mutex, and the counter of the descriptor is the parent's. */
    events.mutex = fresh;
    events.first = NULL;
    events.last = &events.first;
    events.logs = 0;
    if (events.fd >= 0)
        close(events.fd);
    events.fd = -1;
}

static void events_wake(void)
{
    const uint64_t one = 1;

    while (events.fd >= 0 && write(events.fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void events_push(struct event *event)
{
    pthread_mutex_lock(&events.mutex);
    if (event->kind == EVENT_LOG && events.logs == EVENT_LOG_MAX) {
        events.dropped++;
        free(event);
    } else {
        if (event->kind == EVENT_LOG) {
            event->suppressed += events.dropped;
            events.dropped = 0;
            events.logs++;
        }
        *events.last = event;
        events.last = &event->next;
        events_wake();
    }
    pthread_mutex_unlock(&events.mutex);
}

static void on_log(const sockref_log_record *record, void *Py_UNUSED(user))
{
    size_t name = strlen(record->event) + 1;
    size_t message = strlen(record->message) + 1;
    size_t path = record->path ? strlen(record->path) + 1 : 0;
    struct event *event = calloc(1, sizeof(*event) + name + message + path);

    if (!event)
        return;
    event->kind = EVENT_LOG;
    event->number = record->level;
    event->status = record->status;
    event->suppressed = record->suppressed;
    memcpy(event->text, record->event, name);
    event->message = memcpy(event->text + name, record->message, message);
    if (path)
        event->path = memcpy(event->text + name + message, record->path, path);
    events_push(event);
}

static void push_watch(int kind, uint64_t id, int number)
{
    struct event *event = calloc(1, sizeof(*event) + 1);

    if (!event)
        return;
    event->kind = kind;
    event->id = id;
    event->number = number;
    events_push(event);
}

static void on_watch(sockref *Py_UNUSED(ref), int number, void *user)
{
    push_watch(EVENT_WATCH, ((struct watch *)user)->id, number);
}

static void free_watch(void *user)
{
    push_watch(EVENT_WATCH_END, ((struct watch *)user)->id, 0);
    free(user);
}

/* The descriptor to wait on; made at the first call. */
static PyObject *events_fileno(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    if (events.fd < 0)
        events.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (events.fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(events.fd);
}

static PyObject *events_interrupt(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    events_wake();
    Py_RETURN_NONE;
}

static PyObject *event_tuple(const struct event *event)
{
    if (event->kind != EVENT_LOG)
        return Py_BuildValue("iKi", event->kind, (unsigned long long)event->id, event->number);
    return Py_BuildValue("iiyyyiK", event->kind, event->number, event->text, event->message, event->path,
                         event->status, (unsigned long long)event->suppressed);
}

/* Take all that waits, as a list of tuples that begin with their kind. */
static PyObject *events_take(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    PyObject *list = PyList_New(0), *item;
    struct event *event, *next;
    uint64_t count;
    ssize_t got;

    if (!list)
        return NULL;
    pthread_mutex_lock(&events.mutex);
    got = events.fd >= 0 ? read(events.fd, &count, sizeof(count)) : 0;
    (void)got; /* EAGAIN: nothing to forget */
    event = events.first;
    events.first = NULL;
    events.last = &events.first;
    events.logs = 0;
    pthread_mutex_unlock(&events.mutex);
    for (; event; event = next) {
        next = event->next;
        item = list ? event_tuple(event) : NULL;
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        free(event);
    }
    return list;
}

static int set_log(bool wanted)
{
    return sockref_set_log(wanted ? on_log : NULL, NULL, NULL);
}

static PyObject *set_watch(struct pin *pin, uint64_t id)
{
    sockref *ref = open_reference(pin);
    struct watch *watch;
    int status;

    if (!ref)
        return NULL;
    watch = malloc(sizeof(*watch));
    if (!watch)
        return PyErr_NoMemory();
    watch->id = id;
    status = sockref_set_watch(ref, on_watch, watch, free_watch);
    if (status < 0) {
        free(watch);
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *clear_watch(struct pin *pin)
{
    sockref *ref = open_reference(pin);
    int status;

    if (!ref)
        return NULL;
    status = sockref_set_watch(ref, NULL, NULL, NULL);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    Py_RETURN_NONE;
}
