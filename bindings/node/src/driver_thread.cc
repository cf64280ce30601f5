/*
 * The driver for runtimes without libuv: a thread that polls the loop's descriptor and does nothing
 * else. When it is readable the thread asks JavaScript's thread, by a threadsafe function, to
 * dispatch, and waits until that is done. SOCKREF_NODE_DRIVER=thread asks for it.
 *
 * Node calls a threadsafe function up to a thousand times in a row while it is asked anew, and no
 * timer and no immediate comes in between. So the thread hears that a dispatch is done from a second
 * one, which is called when the first has returned.
 */
#include "binding.h"

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sr
{

namespace
{

class ThreadDriver final : public Driver
{
  public:
    static ThreadDriver *make(Env *self, int fd, std::string *why)
    {
        ThreadDriver *driver = new ThreadDriver(self, fd);

        if (!driver->open_pipe() || !driver->open_functions()) {
            *why = "no pipe or threadsafe function could be made";
            driver->release();
            return nullptr;
        }
        if (!driver->start_thread() ||
            napi_add_env_cleanup_hook(self->env, on_env_end, driver) != napi_ok) {
            *why = "no thread could be started";
            driver->close();
            return nullptr;
        }
        return driver;
    }

    void ref() override
    {
        napi_ref_threadsafe_function(self_->env, dispatch_);
    }
    void unref() override
    {
        napi_unref_threadsafe_function(self_->env, dispatch_);
    }

    void close() override
    {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        while (write(pipe_[1], "", 1) < 0 && errno == EINTR)
            ;
        if (thread_.joinable())
            thread_.join();
        closed_ = true;
        release();
    }

  private:
    ThreadDriver(Env *self, int fd) : self_(self), fd_(fd)
    {
    }

    ~ThreadDriver() override
    {
        for (int fd : pipe_)
            if (fd >= 0)
                ::close(fd);
    }

    bool open_pipe()
    {
        if (pipe(pipe_) < 0)
            return false;
        fcntl(pipe_[0], F_SETFD, FD_CLOEXEC);
        fcntl(pipe_[1], F_SETFD, FD_CLOEXEC);
        return true;
    }

    bool open_function(napi_threadsafe_function_call_js call, napi_threadsafe_function *out)
    {
        napi_value name = nullptr;

        napi_create_string_utf8(self_->env, "sockref", NAPI_AUTO_LENGTH, &name);
        if (napi_create_threadsafe_function(self_->env, nullptr, nullptr, name, 1, 1, this,
                                            on_finalize, this, call, out) != napi_ok)
            return false;
        functions_++;
        return true;
    }

    bool open_functions()
    {
        return open_function(on_wake, &dispatch_) && open_function(on_dispatched, &answer_) &&
               napi_unref_threadsafe_function(self_->env, answer_) == napi_ok;
    }

    /* The finalizer of the last function frees this. */
    void release()
    {
        napi_threadsafe_function dispatch = dispatch_, answer = answer_;

        if (functions_ == 0) {
            delete this;
            return;
        }
        napi_release_threadsafe_function(dispatch, napi_tsfn_abort);
        if (answer)
            napi_release_threadsafe_function(answer, napi_tsfn_abort);
    }

    bool start_thread()
    {
        sigset_t all, old;
        bool started = true;

        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        try {
            thread_ = std::thread([this] { run(); });
        } catch (const std::system_error &) {
            started = false;
        }
        pthread_sigmask(SIG_SETMASK, &old, nullptr);
        return started;
    }

    void run()
    {
        struct pollfd fds[2] = {{fd_, POLLIN, 0}, {pipe_[0], POLLIN, 0}};

        for (;;) {
            if (poll(fds, 2, -1) < 0) {
                if (errno == EINTR)
                    continue;
                return;
            }
            std::unique_lock<std::mutex> lock(mutex_);
            if (stopping_)
                return;
            asked_ = true;
            if (napi_call_threadsafe_function(dispatch_, nullptr, napi_tsfn_nonblocking) != napi_ok)
                return;
            changed_.wait(lock, [this] { return !asked_ || stopping_; });
        }
    }

    void answer()
    {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            asked_ = false;
        }
        changed_.notify_all();
    }

    static void on_wake(napi_env env, napi_value, void *context, void *)
    {
        ThreadDriver *driver = static_cast<ThreadDriver *>(context);

        if (!env || driver->closed_)
            return;
        driver->self_->dispatch();
        if (!driver->closed_)
            napi_call_threadsafe_function(driver->answer_, nullptr, napi_tsfn_nonblocking);
    }

    static void on_dispatched(napi_env env, napi_value, void *context, void *)
    {
        ThreadDriver *driver = static_cast<ThreadDriver *>(context);

        if (env && !driver->closed_)
            driver->answer();
    }

    static void on_env_end(void *data)
    {
        static_cast<ThreadDriver *>(data)->self_->close_loop();
    }
    static void on_finalize(napi_env, void *data, void *)
    {
        ThreadDriver *driver = static_cast<ThreadDriver *>(data);

        if (--driver->functions_ == 0)
            delete driver;
    }

    Env *self_;
    int fd_;
    int pipe_[2] = {-1, -1};
    napi_threadsafe_function dispatch_ = nullptr, answer_ = nullptr;
    int functions_ = 0; /* of these, that are not finalized */
    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool asked_ = false;    /* guarded by mutex_ */
    bool stopping_ = false; /* guarded by mutex_ */
    bool closed_ = false;
};

} // namespace

Driver *new_thread_driver(Env *self, int fd, std::string *why)
{
    return ThreadDriver::make(self, fd, why);
}

} // namespace sr
