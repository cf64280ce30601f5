/*
 * What is read becomes bytes. Small reads are copied out of the loop's buffer. Where the last read of a
 * connection was large, the next one goes straight into a bytes object of the size that waits; asking for that
 * size is far cheaper than the copy.
 */
enum { LARGE_READ = 1 << 14, LARGEST_READ = 1 << 18 };

/* Where to read to, for on_buffer; NULL: the loop's own buffer. */
static void *lend_block(struct loop_state *state, sockref_conn *conn, size_t *inout_length)
{
    int waiting = 0;

    Py_CLEAR(state->block);
    if (ioctl(sockref_conn_fd(conn), FIONREAD, &waiting) < 0 || waiting < LARGE_READ)
        return NULL;
    if (waiting > LARGEST_READ)
        waiting = LARGEST_READ;
    state->block = PyBytes_FromStringAndSize(NULL, waiting);
    if (!state->block) {
        PyErr_Clear(); /* on_data says so, if the small object cannot be had either */
        return NULL;
    }
    *inout_length = (size_t)waiting;
    return PyBytes_AsString(state->block);
}

/* What on_data got, as bytes; NULL with an exception. */
static PyObject *take_bytes(struct loop_state *state, const void *data, size_t length)
{
    PyObject *block = state->block, *bytes;

    if (!block || PyBytes_AsString(block) != data)
        return PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
    state->block = NULL;
    if ((size_t)PyBytes_Size(block) == length)
        return block;
    bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
    Py_DECREF(block);
    return bytes;
}
