/* What the files of the addon share. Everything here belongs to one environment and its thread, but
 * where said. */
#ifndef SOCKREF_NODE_BINDING_H
#define SOCKREF_NODE_BINDING_H

#include <node_api.h>
#include <sockref/net.h>
#include <sockref/pool.h>
#include <sockref/sockref.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace sr
{

void give_back(sockref *ref);
void give_back(sockref_registry *registry);
void give_back(sockref_pool *pool);

struct Watcher;
void end_watcher(Watcher *watcher);

/*
 * What a wrapped object points to: a pointer of the library and the number of native calls that use
 * it now. A close meanwhile only marks it; the last user gives the pointer back. The object itself
 * is freed by its finalizer, or by the last user after it.
 */
template <typename T> class Handle
{
  public:
    explicit Handle(T *pointer) : pointer_(pointer)
    {
    }

    T *get() const
    {
        return closed_ ? nullptr : pointer_;
    }
    void enter()
    {
        users_++;
    }

    Watcher *watcher = nullptr; /* of a reference that somebody listens to (watch.cc) */

    void leave()
    {
        if (--users_ > 0)
            return;
        if (dropped_)
            delete this;
        else if (closed_)
            give();
    }

    void close()
    {
        closed_ = true;
        if (users_ == 0)
            give();
    }

    /* The finalizer's delete. */
    void drop()
    {
        closed_ = true;
        if (users_ > 0)
            dropped_ = true;
        else
            delete this;
    }

  private:
    ~Handle()
    {
        give();
    }

    void give()
    {
        T *pointer = pointer_;

        if (watcher)
            end_watcher(watcher);
        pointer_ = nullptr;
        if (pointer)
            give_back(pointer);
    }

    T *pointer_;
    unsigned users_ = 0;
    bool closed_ = false;
    bool dropped_ = false;
};

/* Keeps a handle's pointer valid for the length of a native call. */
template <typename T> class Pin
{
  public:
    Pin() = default;
    Pin(const Pin &) = delete;
    Pin &operator=(const Pin &) = delete;
    ~Pin()
    {
        reset();
    }

    void reset(Handle<T> *handle = nullptr)
    {
        if (handle)
            handle->enter();
        if (handle_)
            handle_->leave();
        handle_ = handle;
    }

    T *get() const
    {
        return handle_ ? handle_->get() : nullptr;
    }

  private:
    Handle<T> *handle_ = nullptr;
};

/* A failure, copied: the library's own record lasts until the next failing call of its thread. */
struct Failure {
    int status = 0;
    int os_errno = 0;
    bool has_path = false;
    std::string message, syscall, path;

    static Failure of(int status); /* with sockref_last_error(), where that tells of this status */
    static Failure plain(int status, const char *message);
};

/* Watches the loop's descriptor and has dispatch() called on the environment's thread. */
class Driver
{
  public:
    virtual ~Driver() = default;
    virtual void ref() = 0;
    virtual void unref() = 0;
    /* No dispatch comes after this; frees the driver, perhaps later. */
    virtual void close() = 0;
};

struct Env;
class Batch;

Driver *new_uv_driver(Env *self, int fd, std::string *why);
Driver *new_thread_driver(Env *self, int fd, std::string *why);

struct Start;

/* An event on its way to JavaScript (watch.cc). */
struct Told {
    uint64_t number; /* of the watcher */
    int event;
};

/* What one environment (main thread or worker) has: its loop, made at the first need, and who needs
 * it. */
struct Env {
    napi_env env = nullptr;
    sockref_loop *loop = nullptr;
    Driver *driver = nullptr;
    const char *driver_name = "none";
    napi_async_context context = nullptr;
    napi_ref make_error = nullptr;                /* of the public layer: builds a SockrefError */
    Batch *batch = nullptr;                       /* events on their way to JavaScript (batch.h) */
    std::unordered_map<uint64_t, Start *> starts; /* told to nobody yet, by number (start.cc) */
    uint64_t last_start = 0;
    std::unordered_map<uint64_t, Watcher *> watchers; /* by number (watch.cc) */
    uint64_t last_watcher = 0;
    std::vector<Told> told;  /* guarded by the mutex of watch.cc */
    napi_ref tell = nullptr; /* of the public layer: emits an event */
    unsigned owners = 1;     /* the environment, work under way */
    unsigned holds = 0;      /* what keeps the process alive: pending starts, ref() */
    bool dispatching = false;
    bool closing = false;
    bool is_node = true; /* and no other runtime that has Node-API */

    static Env *attach(napi_env env); /* at the load of the addon */
    static Env *of(napi_env env);     /* NULL when it is closing. Thread: any */

    bool open_loop(); /* false: an exception is pending */
    void close_loop();
    void dispatch(); /* called by the driver */
    void hold();
    void unhold();
    void acquire()
    {
        owners++;
    }
    void release();
};

/* errors.cc */
napi_value make_error(napi_env env, const Failure &failure);
void throw_failure(napi_env env, const Failure &failure);
void throw_type_error(napi_env env, const char *message);
napi_value number(napi_env env, uint64_t value); /* NULL with a pending RangeError above 2^53-1 */
bool get_path(napi_env env, napi_value value, std::string *out, bool *out_null);

/* The wrapper (node.i), for the hand-written files: NULL with a pending TypeError for anything
 * else. */
napi_value wrap_reference(napi_env env, sockref *ref); /* takes ref, also on failure */
Handle<sockref> *unwrap_reference(napi_env env, napi_value value);
bool unwrap_registry(napi_env env, napi_value value,
                     Handle<sockref_registry> **out); /* null: the default one */
bool unwrap_options(napi_env env, napi_value value, sockref_options **out);

/* start.cc: tells JavaScript of the starts that were settled. */
void settle_starts(Env *self);

/* conn.cc */
napi_value address_value(napi_env env, const sockref_address &address);

/* batch.cc: events wait in a batch, so that one turn costs one call into JavaScript. */
Batch *new_batch(Env *self); /* NULL with a pending exception */
void free_batch(Batch *batch);
void begin_batch(Batch *batch);
bool has_connected(const Batch *batch); /* CONNECT is still to be told of some */
void flush_batch(Batch *batch);

/* watch.cc: tells JavaScript of the events that came; ends all watchers, before the loop goes. */
void tell_watchers(Env *self);
void end_watchers(Env *self);

/* Registers the hand-written functions of one file. */
void add_env(Env *self, napi_value exports);
void add_start(Env *self, napi_value exports);
void add_work(Env *self, napi_value exports);
void add_serve(Env *self, napi_value exports);
void add_conn(Env *self, napi_value exports);
void add_connect(Env *self, napi_value exports);
void add_write(Env *self, napi_value exports);
void add_watch(Env *self, napi_value exports);
void add_stats(Env *self, napi_value exports);
void add_function(Env *self, napi_value exports, const char *name, napi_callback callback);

/* Arguments of a hand-written function; false with a pending TypeError when too few are given. */
bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *args,
              Env **out_self);

napi_value undefined(napi_env env);

} // namespace sr

#endif
