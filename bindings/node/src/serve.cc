/*
 * Connections served in JavaScript: the hot path, so by hand.
 *
 * The library's handlers only note what happened. A batch of up to 64 events goes to JavaScript in
 * one call, at most one event of a connection in each, so that what a handler does (pause, destroy)
 * counts before the next event of the same connection is told. An event is four numbers in an array
 * that both sides see:
 *
 *     kind   slot        a                   b
 *     OPEN   connection  service
 *     DATA   connection  offset in the pool  length
 *     DATA   connection  index of its own    -1
 *     ERROR  connection  status
 *     CLOSE  connection  had an error
 *     END    connection
 *     DRAIN  connection
 *     STOP   service
 *
 * Short data lies in a pool buffer of which JavaScript takes slices; long data has a buffer of its
 * own. The array ends with a cursor, the next event to tell: when a handler throws, the exception
 * is reported as any uncaught one, and the next call begins there.
 *
 * What happens while JavaScript runs, or while nothing dispatches, waits in a queue of its own
 * until it can be told. A slot is free again when its CLOSE or STOP was told.
 */
#include "binding.h"

#include <cstring>
#include <vector>

namespace sr
{

namespace
{

enum Kind { OPEN, DATA, END, DRAIN, ERROR, CLOSE, STOP };

constexpr int batch_size = 64;
constexpr int cursor = batch_size * 4;
constexpr size_t pool_size = 32 * 1024;
constexpr size_t pooled_limit = 4 * 1024;

struct Event {
    int32_t kind, slot, a, b;
};

struct Service {
    Env *self;
    int32_t slot;
};

struct Conn {
    Env *self;
    sockref_conn *handle; /* ours; NULL when it is over */
    int32_t slot;
    uint64_t told = 0; /* the number of the batch with an event of it */
};

/* Numbers for things, small ones first. */
template <typename T> class Slots
{
  public:
    int32_t add(T *thing)
    {
        int32_t slot;

        if (free_.empty()) {
            slot = static_cast<int32_t>(things_.size());
            things_.push_back(thing);
        } else {
            slot = free_.back();
            free_.pop_back();
            things_[slot] = thing;
        }
        return slot;
    }

    T *get(int32_t slot) const
    {
        return slot >= 0 && static_cast<size_t>(slot) < things_.size() ? things_[slot] : nullptr;
    }

    void remove(int32_t slot)
    {
        delete things_[slot];
        things_[slot] = nullptr;
        free_.push_back(slot);
    }

    ~Slots()
    {
        for (T *thing : things_)
            delete thing;
    }

  private:
    std::vector<T *> things_;
    std::vector<int32_t> free_;
};

} // namespace

class Batch
{
  public:
    explicit Batch(Env *self) : self_(self)
    {
    }

    ~Batch()
    {
        for (napi_ref ref : {events_ref_, deliver_, pool_ref_})
            if (ref)
                napi_delete_reference(self_->env, ref);
    }

    bool open()
    {
        napi_value memory = nullptr, array = nullptr;
        void *data = nullptr;

        if (napi_create_arraybuffer(self_->env, (cursor + 1) * sizeof *events_, &data, &memory) !=
                napi_ok ||
            napi_create_typedarray(self_->env, napi_int32_array, cursor + 1, memory, 0, &array) !=
                napi_ok ||
            napi_create_reference(self_->env, array, 1, &events_ref_) != napi_ok)
            return false;
        events_ = static_cast<int32_t *>(data);
        return true;
    }

    /* The array of events, for the public layer. */
    napi_value set_deliver(napi_value deliver)
    {
        napi_value array = nullptr;

        if (deliver_)
            napi_delete_reference(self_->env, deliver_);
        deliver_ = nullptr;
        napi_create_reference(self_->env, deliver, 1, &deliver_);
        napi_get_reference_value(self_->env, events_ref_, &array);
        return array;
    }

    void begin()
    {
        pool_data_ = nullptr; /* what ran meanwhile may have detached it: look again */
        take_late();
        flush();
    }

    void data(Conn *conn, const void *data, size_t length)
    {
        begin_event(conn);
        if (length > pooled_limit) {
            long_data(conn, data, length);
            return;
        }
        if (!pool_room(length))
            return;
        std::memcpy(pool_data_ + pool_used_, data, length);
        append({DATA, conn->slot, static_cast<int32_t>(pool_used_), static_cast<int32_t>(length)});
        pool_used_ += (length + 7) & ~size_t{7};
    }

    void event(Kind kind, int32_t slot, int32_t a = 0)
    {
        if (!self_->dispatching || flushing_) {
            late_.push_back({kind, slot, a, 0});
            if (!self_->dispatching)
                sockref_loop_wake(self_->loop);
            return;
        }
        if (kind != STOP)
            begin_event(conns.get(slot));
        append({kind, slot, a, 0});
    }

    void flush()
    {
        napi_handle_scope scope = nullptr;

        while (count_ > 0) {
            flushing_ = true;
            if (napi_open_handle_scope(self_->env, &scope) == napi_ok) {
                tell();
                napi_close_handle_scope(self_->env, scope);
            }
            forget_told();
            flushing_ = false;
            take_late();
        }
    }

    Slots<Conn> conns;
    Slots<Service> services;

  private:
    void append(const Event &event)
    {
        if (event.kind != STOP)
            conns.get(event.slot)->told = number_;
        std::memcpy(events_ + count_ * 4, &event, sizeof event);
        if (++count_ == batch_size)
            flush();
    }

    void begin_event(const Conn *conn)
    {
        if (conn->told == number_)
            flush();
    }

    void take_late()
    {
        std::vector<Event> late;

        late.swap(late_);
        for (const Event &event : late) {
            if (event.kind != STOP)
                begin_event(conns.get(event.slot));
            append(event);
        }
    }

    void long_data(Conn *conn, const void *data, size_t length)
    {
        napi_value buffer = nullptr;

        if (!long_ && napi_create_array(self_->env, &long_) != napi_ok)
            return;
        if (napi_create_buffer_copy(self_->env, length, data, nullptr, &buffer) != napi_ok)
            return;
        napi_set_element(self_->env, long_, long_count_, buffer);
        append({DATA, conn->slot, static_cast<int32_t>(long_count_++), -1});
    }

    bool pool_room(size_t length)
    {
        napi_value pool = nullptr;
        void *data = nullptr;
        size_t size = 0;

        if (!pool_data_ && pool_ref_ &&
            napi_get_reference_value(self_->env, pool_ref_, &pool) == napi_ok && pool &&
            napi_get_buffer_info(self_->env, pool, &data, &size) == napi_ok && size == pool_size)
            pool_data_ = static_cast<char *>(data);
        if (pool_data_ && pool_used_ + length <= pool_size)
            return true;
        flush(); /* what lies in the old one */
        if (pool_ref_)
            napi_delete_reference(self_->env, pool_ref_);
        pool_ref_ = nullptr;
        if (napi_create_buffer(self_->env, pool_size, &data, &pool) != napi_ok ||
            napi_create_reference(self_->env, pool, 1, &pool_ref_) != napi_ok)
            return false;
        pool_data_ = static_cast<char *>(data);
        pool_used_ = 0;
        return true;
    }

    /* Calls deliver(count, pool, long) until all is told, or JavaScript cannot run any more. */
    void tell()
    {
        napi_value deliver = nullptr, global = nullptr, error = nullptr, result, args[3];
        int32_t begun = -1;

        events_[cursor] = 0;
        if (!deliver_ || napi_get_reference_value(self_->env, deliver_, &deliver) != napi_ok)
            return;
        napi_get_global(self_->env, &global);
        napi_create_int32(self_->env, count_, &args[0]);
        args[1] = args[2] = undefined(self_->env);
        if (pool_ref_)
            napi_get_reference_value(self_->env, pool_ref_, &args[1]);
        if (long_)
            args[2] = long_;
        while (events_[cursor] < count_ && events_[cursor] > begun) {
            begun = events_[cursor];
            napi_status status =
                napi_make_callback(self_->env, self_->context, global, deliver, 3, args, &result);
            if (status == napi_ok)
                return;
            if (status != napi_pending_exception ||
                napi_get_and_clear_last_exception(self_->env, &error) != napi_ok)
                return;
            napi_fatal_exception(self_->env, error);
        }
    }

    void forget_told()
    {
        for (int i = 0; i < count_; i++) {
            if (events_[i * 4] == CLOSE)
                conns.remove(events_[i * 4 + 1]);
            else if (events_[i * 4] == STOP)
                services.remove(events_[i * 4 + 1]);
        }
        count_ = 0;
        number_++;
        long_ = nullptr;
        long_count_ = 0;
        pool_data_ = nullptr; /* a handler may have detached it: look again */
    }

    Env *self_;
    int32_t *events_ = nullptr;
    int count_ = 0;
    uint64_t number_ = 1;
    bool flushing_ = false;
    napi_ref events_ref_ = nullptr, deliver_ = nullptr, pool_ref_ = nullptr;
    char *pool_data_ = nullptr;
    size_t pool_used_ = 0;
    napi_value long_ = nullptr; /* of this dispatch's handle scope */
    uint32_t long_count_ = 0;
    std::vector<Event> late_;
};

Batch *new_batch(Env *self)
{
    Batch *batch = new Batch(self);

    if (batch->open())
        return batch;
    delete batch;
    return nullptr;
}

void free_batch(Batch *batch)
{
    delete batch;
}

void begin_batch(Batch *batch)
{
    batch->begin();
}

void flush_batch(Batch *batch)
{
    batch->flush();
}

static Conn *conn_of(sockref_conn *conn)
{
    return static_cast<Conn *>(sockref_conn_data(conn));
}

static void on_connection(sockref_conn *handle, void *user)
{
    Service *service = static_cast<Service *>(user);
    Conn *conn;

    if (service->self->closing) {
        sockref_conn_destroy(handle);
        return;
    }
    conn = new Conn{service->self, sockref_conn_acquire(handle), -1};
    conn->slot = conn->self->batch->conns.add(conn);
    sockref_conn_set_data(handle, conn);
    conn->self->batch->event(OPEN, conn->slot, service->slot);
}

static void on_data(sockref_conn *handle, const void *data, size_t length, void *)
{
    Conn *conn = conn_of(handle);

    if (conn && !conn->self->closing)
        conn->self->batch->data(conn, data, length);
}

static void tell(sockref_conn *handle, Kind kind, int32_t a)
{
    Conn *conn = conn_of(handle);

    if (conn && !conn->self->closing)
        conn->self->batch->event(kind, conn->slot, a);
}

static void on_end(sockref_conn *handle, void *)
{
    tell(handle, END, 0);
}

static void on_drain(sockref_conn *handle, void *)
{
    tell(handle, DRAIN, 0);
}

static void on_error(sockref_conn *handle, int status, void *)
{
    tell(handle, ERROR, status);
}

static void on_close(sockref_conn *handle, bool had_error, void *)
{
    Conn *conn = conn_of(handle);

    if (!conn)
        return;
    conn->handle = nullptr;
    sockref_conn_set_data(handle, nullptr);
    if (!conn->self->closing) /* else the batch frees what is left */
        conn->self->batch->event(CLOSE, conn->slot, had_error);
    sockref_conn_release(handle);
}

static void on_stop(void *user)
{
    Service *service = static_cast<Service *>(user);

    if (!service->self->closing)
        service->self->batch->event(STOP, service->slot);
}

/* set_deliver(function) -> the array of events */
static napi_value set_deliver(napi_env env, napi_callback_info info)
{
    napi_value args[1];
    Env *self;

    if (!get_args(env, info, 1, args, &self) || !self->open_loop())
        return nullptr;
    return self->batch->set_deliver(args[0]);
}

/* serve(reference, half_open) -> the slot of the service */
static napi_value serve(napi_env env, napi_callback_info info)
{
    sockref_handlers handlers = {sizeof handlers, on_connection, on_data,  on_end,
                                 on_drain,        on_error,      on_close, on_stop};
    napi_value args[2], result = nullptr;
    Handle<sockref> *ref;
    Service *service;
    bool half_open = false;
    Env *self;
    int err;

    if (!get_args(env, info, 2, args, &self) || !(ref = unwrap_reference(env, args[0])) ||
        !self->open_loop())
        return nullptr;
    napi_get_value_bool(env, args[1], &half_open);
    if (!half_open)
        handlers.on_end = nullptr;
    service = new Service{self, -1};
    service->slot = self->batch->services.add(service);
    err =
        ref->get() ? sockref_serve_on(ref->get(), self->loop, &handlers, service) : SOCKREF_ECLOSED;
    if (err < 0) {
        self->batch->services.remove(service->slot);
        throw_failure(env, Failure::of(err));
        return nullptr;
    }
    napi_create_int32(env, service->slot, &result);
    return result;
}

/* The connection of the first argument; NULL with a pending ECLOSED when it is over. */
static Conn *get_conn(napi_env env, Env *self, napi_value value)
{
    int32_t slot = -1;
    Conn *conn;

    napi_get_value_int32(env, value, &slot);
    conn = self->batch ? self->batch->conns.get(slot) : nullptr;
    if (conn && conn->handle)
        return conn;
    throw_failure(env, Failure::plain(SOCKREF_ECLOSED, "the connection is closed"));
    return nullptr;
}

/* conn_write(slot, bytes) -> false: full, wait for drain */
static napi_value conn_write(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = nullptr;
    void *data = nullptr;
    size_t length = 0;
    Conn *conn;
    Env *self;
    int status;

    if (!get_args(env, info, 2, args, &self) || !(conn = get_conn(env, self, args[0])))
        return nullptr;
    if (napi_get_buffer_info(env, args[1], &data, &length) != napi_ok) {
        throw_type_error(env, "expected a Buffer");
        return nullptr;
    }
    status = sockref_conn_write(conn->handle, data, length);
    if (status < 0) {
        throw_failure(env, Failure::of(status));
        return nullptr;
    }
    napi_get_boolean(env, status != SOCKREF_WRITE_FULL, &result);
    return result;
}

static napi_value control(napi_env env, napi_callback_info info, int (*call)(sockref_conn *))
{
    napi_value args[1];
    Conn *conn;
    Env *self;
    int status;

    if (!get_args(env, info, 1, args, &self) || !(conn = get_conn(env, self, args[0])))
        return nullptr;
    status = call(conn->handle);
    if (status < 0) {
        throw_failure(env, Failure::of(status));
        return nullptr;
    }
    return undefined(env);
}

static napi_value conn_end(napi_env env, napi_callback_info info)
{
    return control(env, info, sockref_conn_end);
}

static napi_value conn_pause(napi_env env, napi_callback_info info)
{
    return control(env, info, sockref_conn_pause);
}

static napi_value conn_resume(napi_env env, napi_callback_info info)
{
    return control(env, info, sockref_conn_resume);
}

static int destroy(sockref_conn *conn)
{
    sockref_conn_destroy(conn);
    return 0;
}

static napi_value conn_destroy(napi_env env, napi_callback_info info)
{
    return control(env, info, destroy);
}

void add_serve(Env *self, napi_value exports)
{
    add_function(self, exports, "set_deliver", set_deliver);
    add_function(self, exports, "serve", serve);
    add_function(self, exports, "conn_write", conn_write);
    add_function(self, exports, "conn_end", conn_end);
    add_function(self, exports, "conn_pause", conn_pause);
    add_function(self, exports, "conn_resume", conn_resume);
    add_function(self, exports, "conn_destroy", conn_destroy);
}

} // namespace sr
