/* Starting a thread of the library's own. */
#include "base/thread.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_SIZE    (1024u * 1024u) /* callbacks of the host's run on it */
#define GONE_AFTER_NS 1000000000u     /* from then on its number is another thread's */

int sr_thread_start(void *(*body)(void *), void *arg, bool detached, pthread_t *out_thread)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int failed;

    if (pthread_attr_init(&attr) != 0)
        return sr_error_no_memory();
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = sr_sys.thread_create(&thread, &attr, body, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (failed)
        return sr_error_system(failed, "pthread_create", NULL);
    if (out_thread)
        *out_thread = thread;
    return 0;
}

struct sr_last_word sr_thread_last_word(void)
{
    return (struct sr_last_word){(pid_t)syscall(SYS_gettid), sr_clock_ns()};
}

int sr_thread_wait_gone(const struct sr_last_word *word, uint64_t deadline_ns)
{
    while (word->thread && syscall(SYS_tgkill, getpid(), word->thread, 0) == 0) {
        uint64_t now = sr_clock_ns();

        if (now - word->said_ns >= GONE_AFTER_NS)
            return 0;
        if (now >= deadline_ns)
            return -ETIMEDOUT;
        sched_yield();
    }
    return 0;
}
