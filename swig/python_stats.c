/* What is counted, as tuples in the order of the header; sockref/_stats.py gives the numbers their names. */

static PyObject *histogram_value(const sockref_histogram *histogram)
{
    PyObject *buckets = PyTuple_New(SOCKREF_HISTOGRAM_BUCKETS), *number;

    for (Py_ssize_t i = 0; buckets && i < SOCKREF_HISTOGRAM_BUCKETS; i++) {
        number = PyLong_FromUnsignedLongLong(histogram->buckets[i]);
        if (!number || PyTuple_SetItem(buckets, i, number) < 0)
            Py_CLEAR(buckets);
    }
    if (!buckets)
        return NULL;
    return Py_BuildValue("KKN", (unsigned long long)histogram->count, (unsigned long long)histogram->sum_ns, buckets);
}

static PyObject *registry_stats(sockref_registry *self)
{
    sockref_registry_stats stats = {.size = sizeof(stats)};
    int status = sockref_registry_get_stats(self, &stats);

    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return Py_BuildValue("KKKKKKKKKiN", (unsigned long long)stats.created, (unsigned long long)stats.joined,
                         (unsigned long long)stats.reused, (unsigned long long)stats.failed,
                         (unsigned long long)stats.closed, (unsigned long long)stats.revoked,
                         (unsigned long long)stats.removed, (unsigned long long)stats.remove_failed,
                         (unsigned long long)stats.deferred, stats.last_remove_status,
                         histogram_value(&stats.removal));
}

static PyObject *reference_stats(struct pin *pin)
{
    sockref_stats stats = {.size = sizeof(stats)};
    sockref *ref = open_reference(pin);
    int status;

    if (!ref)
        return NULL;
    status = sockref_get_stats(ref, &stats);
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return Py_BuildValue("KKKKKKK", (unsigned long long)stats.references, (unsigned long long)stats.connections,
                         (unsigned long long)stats.accepted, (unsigned long long)stats.refused,
                         (unsigned long long)stats.bytes_read, (unsigned long long)stats.bytes_written,
                         (unsigned long long)stats.served_ns);
}

/* Of all loops together: those of Python and the library's own. */
static PyObject *loop_stats(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(args))
{
    sockref_loop_stats stats = {.size = sizeof(stats)};
    int status = sockref_loop_get_stats(NULL, &stats);

    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return Py_BuildValue("KKKKKNKKKKKKN", (unsigned long long)stats.callbacks, (unsigned long long)stats.pending,
                         (unsigned long long)stats.oldest_ns, (unsigned long long)stats.newest_ns,
                         (unsigned long long)stats.starved, PyBool_FromLong(stats.is_starving),
                         (unsigned long long)stats.accepted, (unsigned long long)stats.refused,
                         (unsigned long long)stats.connected, (unsigned long long)stats.connect_failed,
                         (unsigned long long)stats.bytes_read, (unsigned long long)stats.bytes_written,
                         histogram_value(&stats.connect));
}

/* None: it can't be told. */
static PyObject *answer_value(int answer)
{
    return answer < 0 ? Py_NewRef(Py_None) : PyBool_FromLong(answer);
}

/* It asks the system about the file, which may be on a slow disk. */
static PyObject *check_health(struct pin *pin)
{
    sockref_health health = {.size = sizeof(health)};
    sockref *ref = open_reference(pin);
    int status;

    if (!ref)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = sockref_check_health(ref, &health);
    Py_END_ALLOW_THREADS
    if (status < 0) {
        raise_status(status);
        return NULL;
    }
    return Py_BuildValue("NNN", answer_value(health.is_file_ours), answer_value(health.is_reachable),
                         answer_value(health.is_accepting));
}

/* Names may come between two attempts, so each has room for some more than the last one needed. */
static PyObject *metrics(sockref_registry *self)
{
    size_t room = 1 << 14;
    char *text = NULL, *more;
    PyObject *value;
    int length;

    for (;;) {
        more = realloc(text, room);
        if (!more) {
            free(text);
            return PyErr_NoMemory();
        }
        text = more;
        Py_BEGIN_ALLOW_THREADS
        length = sockref_registry_write_metrics(self, text, room);
        Py_END_ALLOW_THREADS
        if (length < 0) {
            raise_status(length);
            free(text);
            return NULL;
        }
        if ((size_t)length < room)
            break;
        room = (size_t)length + (size_t)length / 8 + 1;
    }
    value = PyUnicode_DecodeUTF8(text, length, NULL);
    free(text);
    return value;
}
