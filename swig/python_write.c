/*
 * Bytes-like objects go out. What the socket does not take at once is copied, but for large bytes objects, which are
 * kept and sent from where they lie.
 */
enum { LARGE_WRITE = 1 << 14, HUGE_WRITE = 1 << 20 };

static void on_written(int Py_UNUSED(status), void *user)
{
    Py_DECREF((PyObject *)user);
}

static int write_kept(sockref_conn *conn, PyObject *bytes, const char *data, size_t length)
{
    int status;

    Py_INCREF(bytes);
    status = sockref_conn_write_own(conn, data, length, on_written, bytes);
    if (status < 0)
        Py_DECREF(bytes);
    return status;
}

/*
 * The socket first: mostly it takes all, and then the object is free again at once, so that the next one finds its
 * memory in the cache. Not where the queue has a limit, which must be looked at before the first byte goes.
 */
static int write_without_limit(sockref_conn *conn, PyObject *bytes, const char *data, size_t length)
{
    int64_t taken = sockref_conn_try_write(conn, data, length);
    int status;

    if (taken < 0)
        return (int)taken;
    if ((size_t)taken == length)
        return 0;
    status = write_kept(conn, bytes, data + taken, length - (size_t)taken);
    if (status < 0 && taken > 0)
        sockref_conn_destroy(conn); /* a part is gone, so the stream is broken */
    return status;
}

/* Write any bytes-like object. Returns false with a TypeError or BufferError for anything else; else out_status is
 * that of sockref_conn_write(). */
static bool write_object(sockref_conn *conn, PyObject *object, int *out_status)
{
    Py_ssize_t length;
    Py_buffer view;
    char *data;

    if (!PyBytes_CheckExact(object)) {
        if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0)
            return false;
        *out_status = sockref_conn_write(conn, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
        return true;
    }
    if (PyBytes_AsStringAndSize(object, &data, &length) < 0)
        return false;
    if (length < HUGE_WRITE)
        *out_status = sockref_conn_write(conn, data, (size_t)length);
    else
        *out_status = write_kept(conn, object, data, (size_t)length);
    return true;
}
