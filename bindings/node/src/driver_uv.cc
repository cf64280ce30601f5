/*
 * The driver that Node itself offers: a uv_poll on the loop's descriptor.
 *
 * libuv's functions are found in the running process and never linked: a link would bind to
 * whatever libuv the machine has. The environment must not end with the poll open, so an
 * asynchronous cleanup hook closes it.
 */
#include "binding.h"

#include <cstdlib>
#include <dlfcn.h>
#include <uv.h>

namespace sr
{

namespace
{

struct Uv {
    decltype(&napi_get_uv_event_loop) get_loop;
    decltype(&uv_handle_size) handle_size;
    decltype(&uv_poll_init) poll_init;
    decltype(&uv_poll_start) poll_start;
    decltype(&uv_close) close;
    decltype(&uv_ref) ref;
    decltype(&uv_unref) unref;
    const char *missing;
};

template <typename F> void find(Uv *uv, F *out, const char *name)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);

    *out = reinterpret_cast<F>(symbol);
    if (!symbol)
        uv->missing = name;
}

const Uv &uv()
{
    static const Uv found = [] {
        Uv uv = {};

        find(&uv, &uv.get_loop, "napi_get_uv_event_loop");
        find(&uv, &uv.handle_size, "uv_handle_size");
        find(&uv, &uv.poll_init, "uv_poll_init");
        find(&uv, &uv.poll_start, "uv_poll_start");
        find(&uv, &uv.close, "uv_close");
        find(&uv, &uv.ref, "uv_ref");
        find(&uv, &uv.unref, "uv_unref");
        return uv;
    }();

    return found;
}

class UvDriver final : public Driver
{
  public:
    /* NULL: *why tells. */
    static UvDriver *make(Env *self, int fd, std::string *why)
    {
        uv_loop_t *loop = nullptr;
        UvDriver *driver;

        if (!self->is_node) { /* it may well have the names, and end the process when they are called */
            *why = "this runtime is not Node, and has no libuv";
            return nullptr;
        }
        if (uv().missing) {
            *why = std::string("this runtime has no ") + uv().missing;
            return nullptr;
        }
        if (uv().get_loop(self->env, &loop) != napi_ok || !loop) {
            *why = "this runtime has no event loop of libuv";
            return nullptr;
        }
        driver = new UvDriver(self);
        if (uv().poll_init(loop, driver->poll_, fd) != 0) {
            *why = "libuv cannot watch the loop's descriptor";
            delete driver;
            return nullptr;
        }
        driver->poll_->data = driver;
        if (uv().poll_start(driver->poll_, UV_READABLE, on_poll) != 0 ||
            napi_add_async_cleanup_hook(self->env, on_env_end, driver, &driver->hook_) != napi_ok) {
            *why = "libuv cannot watch the loop's descriptor";
            uv().close(driver->handle(), on_closed);
            return nullptr;
        }
        return driver;
    }

    void ref() override
    {
        uv().ref(handle());
    }
    void unref() override
    {
        uv().unref(handle());
    }
    void close() override
    {
        uv().close(handle(), on_closed);
    }

  private:
    explicit UvDriver(Env *self)
        : self_(self), poll_(static_cast<uv_poll_t *>(std::calloc(1, uv().handle_size(UV_POLL))))
    {
    }
    ~UvDriver() override
    {
        std::free(poll_);
    }

    uv_handle_t *handle()
    {
        return reinterpret_cast<uv_handle_t *>(poll_);
    }

    static void on_poll(uv_poll_t *poll, int, int)
    {
        static_cast<UvDriver *>(poll->data)->self_->dispatch();
    }

    static void on_env_end(napi_async_cleanup_hook_handle, void *data)
    {
        static_cast<UvDriver *>(data)->self_->close_loop();
    }

    static void on_closed(uv_handle_t *handle)
    {
        UvDriver *driver = static_cast<UvDriver *>(handle->data);

        if (driver->hook_)
            napi_remove_async_cleanup_hook(driver->hook_);
        delete driver;
    }

    Env *self_;
    uv_poll_t *poll_;
    napi_async_cleanup_hook_handle hook_ = nullptr;
};

} // namespace

Driver *new_uv_driver(Env *self, int fd, std::string *why)
{
    return UvDriver::make(self, fd, why);
}

} // namespace sr
