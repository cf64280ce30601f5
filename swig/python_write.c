/* Bytes-like objects go out: large bytes objects are kept and sent from where they lie, the rest is copied. */
enum { LARGE_WRITE = 1 << 14 };

static void on_written(int Py_UNUSED(status), void *user)
{
    Py_DECREF((PyObject *)user);
}

/*
 * Write any bytes-like object. Returns false with a TypeError or BufferError for anything else; else out_status is
 * that of sockref_conn_write().
 */
static bool write_object(sockref_conn *conn, PyObject *data, int *out_status)
{
    Py_ssize_t length;
    Py_buffer view;
    char *bytes;

    if (!PyBytes_CheckExact(data)) {
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
            return false;
        *out_status = sockref_conn_write(conn, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
        return true;
    }
    if (PyBytes_AsStringAndSize(data, &bytes, &length) < 0)
        return false;
    if (length < LARGE_WRITE) {
        *out_status = sockref_conn_write(conn, bytes, (size_t)length);
        return true;
    }
    Py_INCREF(data);
    *out_status = sockref_conn_write_own(conn, bytes, (size_t)length, on_written, data);
    if (*out_status < 0)
        Py_DECREF(data);
    return true;
}
