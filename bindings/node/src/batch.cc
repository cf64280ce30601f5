/* The batch: see batch.h. */
#include "batch.h"

#include <cstring>

namespace sr
{

namespace
{

constexpr int batch_size = 64;
constexpr size_t batch_bytes = 128 * 1024;
constexpr int cursor = batch_size * 4;

} // namespace

Batch::Batch(Env *self) : self_(self), reads_(self->env)
{
}

Batch::~Batch()
{
    drop_focus();
    for (napi_ref ref : {events_ref_, deliver_})
        if (ref)
            napi_delete_reference(self_->env, ref);
}

bool Batch::open()
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

/* Gives the array of events. */
napi_value Batch::set_deliver(napi_value deliver)
{
    napi_value array = nullptr;

    if (deliver_)
        napi_delete_reference(self_->env, deliver_);
    deliver_ = nullptr;
    napi_create_reference(self_->env, deliver, 1, &deliver_);
    napi_get_reference_value(self_->env, events_ref_, &array);
    return array;
}

void Batch::begin()
{
    reads_.forget();
    take_late();
    flush();
}

/* Several connections may have been lent the same memory: what waits in it to be told goes first. */
bool Batch::is_awaited(const void *memory, size_t length) const
{
    const char *begin = static_cast<const char *>(memory);

    for (const auto &[other, size] : lent_)
        if (begin < other + size && other < begin + length)
            return true;
    return false;
}

void *Batch::room(Conn *conn, size_t *inout_length)
{
    size_t length = 0;
    void *memory = nullptr;

    if (conn->lent.is_set()) {
        begin_event(conn); /* JavaScript must not run between the read and what is made of it */
        memory = conn->lent.memory(&length);
        if (memory && is_awaited(memory, length)) {
            flush();
            memory = conn->lent.memory(&length);
        }
    }
    if (!memory)
        return reads_.staging(inout_length);
    *inout_length = length;
    return memory;
}

void Batch::data(Conn *conn, const void *data, size_t length)
{
    Event event = {DATA, conn->slot, 0, 0};
    size_t lent_length = 0;

    begin_event(conn);
    if (conn->lent.is_set() && conn->lent.memory(&lent_length) == data) {
        event.kind = LENT;
        event.a = static_cast<int32_t>(length);
        lent_.emplace_back(static_cast<const char *>(data), lent_length);
        bytes_ += length;
        append(event);
        return;
    }
    if (reads_.is_full(length))
        flush();
    if (reads_.take(data, length, &event.a, &event.b)) {
        bytes_ += length;
        append(event);
    }
}

void Batch::event(Kind kind, int32_t slot, int32_t a, int32_t b)
{
    if (!self_->dispatching || flushing_) {
        late_.push_back({kind, slot, a, b});
        if (!self_->dispatching)
            sockref_loop_wake(self_->loop);
        return;
    }
    if (kind == CONNECT) {
        conns.get(slot)->is_connected = true;
        connected_.push_back(slot);
        return;
    }
    if (kind != STOP)
        begin_event(conns.get(slot));
    append({kind, slot, a, b});
}

/* No slot among them is free again: whatever else is told of a connection comes after. */
void Batch::tell_connected()
{
    while (!connected_.empty()) {
        int32_t slot = connected_.front();

        connected_.pop_front();
        conns.get(slot)->is_connected = false;
        begin_event(conns.get(slot));
        append({CONNECT, slot, 0, 0});
    }
}

void Batch::flush()
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

void Batch::append(const Event &event)
{
    if (event.kind != STOP)
        conns.get(event.slot)->told = number_;
    std::memcpy(events_ + count_ * 4, &event, sizeof event);
    if (++count_ == batch_size || bytes_ >= batch_bytes)
        flush();
}

void Batch::begin_event(const Conn *conn)
{
    if (conn->is_connected)
        tell_connected();
    if (conn->told == number_)
        flush();
}

void Batch::take_late()
{
    std::vector<Event> late;

    late.swap(late_);
    for (const Event &event : late) {
        if (event.kind != STOP)
            begin_event(conns.get(event.slot));
        append(event);
    }
}

/*
 * To enter a connection's asynchronous context from JavaScript, inside that of the batch, costs Node
 * as much as all the rest of a call with one event. So what is read of one connection, while it is
 * the only busy one, is told in a context made for that. JavaScript has it made in the scope of the
 * connection's resource, which is also its own: it has the same stores.
 */
void Batch::focus(const Conn *conn, napi_value resource)
{
    napi_value name = nullptr;

    drop_focus();
    if (napi_create_string_utf8(self_->env, "SOCKREFREAD", NAPI_AUTO_LENGTH, &name) == napi_ok &&
        napi_async_init(self_->env, resource, name, &focus_) == napi_ok)
        focused_ = conn;
}

void Batch::drop_focus()
{
    if (focused_)
        napi_async_destroy(self_->env, focus_);
    focused_ = nullptr;
}

bool Batch::is_of_focused() const
{
    return focused_ && count_ == 1 && events_[0] == DATA && events_[1] == focused_->slot;
}

/* Calls deliver(count, pool, large, is_of_focused) until all is told, or JavaScript cannot run any
 * more. */
void Batch::tell()
{
    napi_value deliver = nullptr, global = nullptr, error = nullptr, result, args[4];
    bool of_focused = is_of_focused();
    napi_async_context context = of_focused ? focus_ : self_->context;
    int32_t begun = -1;

    events_[cursor] = 0;
    if (!deliver_ || napi_get_reference_value(self_->env, deliver_, &deliver) != napi_ok)
        return;
    napi_get_global(self_->env, &global);
    napi_create_int32(self_->env, count_, &args[0]);
    args[1] = reads_.pool();
    args[2] = reads_.large();
    napi_get_boolean(self_->env, of_focused, &args[3]);
    for (napi_value &arg : args)
        if (!arg)
            arg = undefined(self_->env);
    while (events_[cursor] < count_ && events_[cursor] > begun) {
        begun = events_[cursor];
        napi_status status =
            napi_make_callback(self_->env, context, global, deliver, 4, args, &result);
        if (status == napi_ok)
            return;
        if (status != napi_pending_exception ||
            napi_get_and_clear_last_exception(self_->env, &error) != napi_ok)
            return;
        napi_fatal_exception(self_->env, error);
    }
}

void Batch::forget_told()
{
    for (int i = 0; i < count_; i++) {
        int32_t kind = events_[i * 4], slot = events_[i * 4 + 1];

        if (kind == CLOSE && conns.get(slot) == focused_)
            drop_focus();
        if (kind == CLOSE)
            conns.remove(slot);
        else if (kind == STOP)
            services.remove(slot);
    }
    count_ = 0;
    bytes_ = 0;
    number_++;
    lent_.clear();
    reads_.forget();
}

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

bool has_connected(const Batch *batch)
{
    return batch->has_connected();
}

void flush_batch(Batch *batch)
{
    batch->tell_connected();
    batch->flush();
}

} // namespace sr
