/*
 * Events on their way to JavaScript, and what they are about: services and connections.
 *
 * The library's handlers only note what happened. A batch of up to 64 events goes to JavaScript in
 * one call, at most one event of a connection in each, so that what a handler does (pause, destroy)
 * counts before the next event of the same connection is told. A batch is full with 128 KiB of what
 * was read, too, so that a handler finds it in the processor's cache. An event is four numbers in an
 * array that both sides see:
 *
 *     kind     slot        a                      b
 *     OPEN     connection  service
 *     DATA     connection  offset in the pool     length
 *     DATA     connection  index among the large  -length
 *     END      connection
 *     DRAIN    connection
 *     ERROR    connection  status                 FROM_*: what failed
 *     CLOSE    connection  had an error
 *     STOP     service
 *     CONNECT  connection
 *     TIMEOUT  connection
 *     ATTEMPT  connection  SOCKREF_ATTEMPT_* and  status
 *                          16 * its index
 *     WRITTEN  connection  status
 *     LENT     connection  length, in the buffer that was lent
 *
 * The array ends with a cursor, the next event to tell: when a handler throws, the exception is
 * reported as any uncaught one, and the next call begins there.
 *
 * CONNECT is told last of a dispatch, or before the next event of its connection: a server of the
 * same loop has the connection by then, as in Node, and may be closed by who hears of it.
 *
 * What happens while JavaScript runs, or while nothing dispatches, waits in a queue of its own
 * until it can be told. A slot is free again when its CLOSE or STOP was told.
 */
#ifndef SOCKREF_NODE_BATCH_H
#define SOCKREF_NODE_BATCH_H

#include "binding.h"
#include "reads.h"

#include <deque>
#include <memory>
#include <utility>

namespace sr
{

enum Kind {
    OPEN,
    DATA,
    END,
    DRAIN,
    ERROR,
    CLOSE,
    STOP,
    CONNECT,
    TIMEOUT,
    ATTEMPT,
    WRITTEN,
    LENT
};

enum { FROM_OTHER, FROM_BIND, FROM_WRITE };

struct Event {
    int32_t kind, slot, a, b;
};

struct Service {
    Env *self;
    int32_t slot;
    bool holds; /* each of its connections holds the process */
};

struct Conn {
    Env *self;
    sockref_conn *handle; /* ours; NULL when it is over */
    int32_t slot = -1;
    bool holds;         /* counts in self->holds */
    bool ended = false; /* our side */
    bool peer_ended = false;
    bool is_writing = false;   /* WRITTEN will be told */
    bool is_connected = false; /* CONNECT is still to be told */
    uint64_t told = 0; /* the number of the batch with an event of it */
    Lent lent;         /* where its reads go */
    std::unique_ptr<std::vector<sockref_address>> tried; /* of a connect to several */
    std::unique_ptr<sockref_conn_details> last; /* taken where both sides end, for it is over then */

    Conn(Env *env, sockref_conn *conn, bool holding);
    ~Conn();
    Conn(const Conn &) = delete;
    Conn &operator=(const Conn &) = delete;
    void keep_details();
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

class Batch
{
  public:
    explicit Batch(Env *self);
    ~Batch();
    Batch(const Batch &) = delete;
    Batch &operator=(const Batch &) = delete;

    bool open(); /* false: an exception is pending */
    napi_value set_deliver(napi_value deliver);
    void begin();
    void flush();
    bool has_connected() const
    {
        return !connected_.empty();
    }
    void tell_connected();
    void begin_event(const Conn *conn); /* tells what waits of it */
    void event(Kind kind, int32_t slot, int32_t a = 0, int32_t b = 0);
    void data(Conn *conn, const void *data, size_t length);
    void *room(Conn *conn, size_t *inout_length);
    void focus(const Conn *conn, napi_value resource);

    Slots<Conn> conns;
    Slots<Service> services;

  private:
    void append(const Event &event);
    void take_late();
    bool is_awaited(const void *memory, size_t length) const;
    bool is_of_focused() const;
    void tell();
    void forget_told();
    void drop_focus();

    Env *self_;
    int32_t *events_ = nullptr;
    int count_ = 0;
    size_t bytes_ = 0; /* that were read and wait to be told */
    uint64_t number_ = 1;
    bool flushing_ = false;
    napi_ref events_ref_ = nullptr, deliver_ = nullptr;
    const Conn *focused_ = nullptr;
    napi_async_context focus_ = nullptr; /* what is read of it alone is told in this context */
    Reads reads_;
    std::vector<std::pair<const char *, size_t>> lent_; /* memory with bytes that wait to be told */
    std::vector<Event> late_;
    std::deque<int32_t> connected_; /* whose CONNECT is still to be told */
};

/* conn.cc: the handlers that every connection has. */
void set_conn_handlers(sockref_handlers *handlers, bool tell_end);
Conn *find_conn(napi_env env, Env *self, napi_value slot); /* NULL: it is over */

} // namespace sr

#endif
