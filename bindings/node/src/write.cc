/*
 * Writes: the socket is tried first. What it does not take is sent from where it lies, in memory of
 * buffers that JavaScript keeps until WRITTEN is told. There is one such write at a time of a
 * connection.
 */
#include "batch.h"

#include <cstring>

namespace sr
{

namespace
{

constexpr size_t joined_limit = 64 * 1024;

struct Piece {
    const char *data;
    size_t length;
};

} // namespace

static void on_written_part(int, void *)
{
}

/* Of the last piece, and so of all. */
static void on_written(int status, void *user)
{
    Conn *conn = static_cast<Conn *>(user);

    conn->is_writing = false;
    if (!conn->self->closing)
        conn->self->batch->event(WRITTEN, conn->slot, status);
}

/* Returns 1, or why it can't be: then the connection is of no use any more. */
static int write_rest(Conn *conn, const std::vector<Piece> &pieces)
{
    for (const Piece &piece : pieces) {
        bool is_last = &piece == &pieces.back();
        int status = sockref_conn_write_own(conn->handle, piece.data, piece.length,
                                            is_last ? on_written : on_written_part, conn);

        if (status < 0)
            return status;
    }
    conn->is_writing = true;
    return 1;
}

static bool bytes_of(napi_env env, napi_value value, Piece *out)
{
    void *data = nullptr;

    if (napi_get_buffer_info(env, value, &data, &out->length) != napi_ok)
        return false;
    out->data = static_cast<const char *>(data);
    return true;
}

static bool pieces_of(napi_env env, napi_value value, std::vector<Piece> *out)
{
    bool is_array = false;
    uint32_t count = 1;
    napi_value element = value;

    napi_is_array(env, value, &is_array);
    if (is_array)
        napi_get_array_length(env, value, &count);
    out->reserve(count);
    for (uint32_t i = 0; i < count; i++) {
        Piece piece;

        if (is_array && napi_get_element(env, value, i, &element) != napi_ok)
            return false;
        if (!bytes_of(env, element, &piece))
            return false;
        if (piece.length > 0)
            out->push_back(piece);
    }
    return true;
}

/* Tries the pieces as one, where they are not too long for that. Returns how many bytes went. */
static size_t try_joined(Conn *conn, const std::vector<Piece> &pieces)
{
    static thread_local char joined[joined_limit];
    size_t length = 0;
    int64_t taken;

    if (pieces.size() == 1) {
        taken = sockref_conn_try_write(conn->handle, pieces[0].data, pieces[0].length);
        return taken > 0 ? static_cast<size_t>(taken) : 0;
    }
    for (const Piece &piece : pieces) {
        if (piece.length > joined_limit - length)
            return 0;
        std::memcpy(joined + length, piece.data, piece.length);
        length += piece.length;
    }
    taken = sockref_conn_try_write(conn->handle, joined, length);
    return taken > 0 ? static_cast<size_t>(taken) : 0;
}

static void drop_taken(std::vector<Piece> *pieces, size_t taken)
{
    size_t whole = 0;

    while (whole < pieces->size() && taken >= (*pieces)[whole].length)
        taken -= (*pieces)[whole++].length;
    pieces->erase(pieces->begin(), pieces->begin() + static_cast<std::ptrdiff_t>(whole));
    if (taken > 0) {
        pieces->front().data += taken;
        pieces->front().length -= taken;
    }
}

/* conn_send(slot, Buffer or array of them) -> 0: all is taken; 1: WRITTEN will tell, keep them until
 * then; or a status */
static napi_value conn_send(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    std::vector<Piece> pieces;
    int status = 0;
    Conn *conn;
    Env *self;

    if (!get_args(env, info, 2, args, &self))
        return nullptr;
    if (!pieces_of(env, args[1], &pieces)) {
        throw_type_error(env, "expected a Buffer, or an array of them");
        return nullptr;
    }
    conn = find_conn(env, self, args[0]);
    if (!conn || conn->is_writing)
        status = SOCKREF_ECLOSED;
    else if (!pieces.empty())
        drop_taken(&pieces, try_joined(conn, pieces));
    if (status == 0 && !pieces.empty())
        status = write_rest(conn, pieces);
    napi_create_int32(env, status, &result);
    return result;
}

/* conn_try(slot, Buffer) -> how many bytes the socket took */
static napi_value conn_try(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    Piece piece;
    int64_t taken = 0;
    Conn *conn;
    Env *self;

    if (!get_args(env, info, 2, args, &self))
        return nullptr;
    conn = find_conn(env, self, args[0]);
    if (conn && bytes_of(env, args[1], &piece) && piece.length > 0)
        taken = sockref_conn_try_write(conn->handle, piece.data, piece.length);
    napi_create_int64(env, taken > 0 ? taken : 0, &result);
    return result;
}

/* conn_write(slot, bytes) -> false: full, wait for drain. It copies what the socket does not take. */
static napi_value conn_write(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    Piece piece;
    Conn *conn;
    Env *self;
    int status;

    if (!get_args(env, info, 2, args, &self))
        return nullptr;
    if (!(conn = find_conn(env, self, args[0]))) {
        throw_failure(env, Failure::plain(SOCKREF_ECLOSED, "the connection is closed"));
        return nullptr;
    }
    if (!bytes_of(env, args[1], &piece)) {
        throw_type_error(env, "expected a Buffer");
        return nullptr;
    }
    status = sockref_conn_write(conn->handle, piece.data, piece.length);
    if (status < 0) {
        throw_failure(env, Failure::of(status));
        return nullptr;
    }
    napi_get_boolean(env, status != SOCKREF_WRITE_FULL, &result);
    return result;
}

void add_write(Env *self, napi_value exports)
{
    add_function(self, exports, "conn_send", conn_send);
    add_function(self, exports, "conn_try", conn_try);
    add_function(self, exports, "conn_write", conn_write);
}

} // namespace sr
