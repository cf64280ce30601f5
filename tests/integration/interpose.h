/*
 * Some system calls of the library pass through here: a program's own definition goes before
 * libc's. A test can count them, make one fail, or hold one at a gate.
 */
#ifndef TEST_INTERPOSE_H
#define TEST_INTERPOSE_H

#include "util.h"

#include <dlfcn.h>
#include <stdarg.h>

enum call {
    CALL_SOCKET,
    CALL_BIND,
    CALL_LISTEN,
    CALL_FCHMOD,
    CALL_UNLINKAT,
    CALL_OPENAT,
    CALL_MKDIR,
    CALL_ACCEPT4,
    CALL_COUNT,
};

/* Called before each; an errno value makes it fail. */
static int (*_Atomic before_call)(enum call call, const char *name);
static atomic_uint calls[CALL_COUNT];

static inline int refuse(enum call call, const char *name)
{
    int (*hook)(enum call, const char *) = before_call;
    int reason = hook ? hook(call, name ? name : "") : 0;

    atomic_fetch_add(&calls[call], 1);
    if (reason)
        errno = reason;
    return reason;
}

#pragma GCC visibility push(default)

#define NEXT(name, ...) ((int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

int socket(int domain, int type, int protocol)
{
    if (refuse(CALL_SOCKET, NULL))
        return -1;
    return NEXT(socket, int, int, int)(domain, type, protocol);
}

int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
    if (refuse(CALL_BIND, ((const struct sockaddr_un *)address.__sockaddr_un__)->sun_path))
        return -1;
    return NEXT(bind, int, const struct sockaddr *, socklen_t)(fd, address.__sockaddr__, length);
}

int listen(int fd, int backlog)
{
    if (refuse(CALL_LISTEN, NULL))
        return -1;
    return NEXT(listen, int, int)(fd, backlog);
}

int fchmod(int fd, mode_t mode)
{
    if (refuse(CALL_FCHMOD, NULL))
        return -1;
    return NEXT(fchmod, int, mode_t)(fd, mode);
}

int unlinkat(int dir, const char *name, int flags)
{
    if (refuse(CALL_UNLINKAT, name))
        return -1;
    return NEXT(unlinkat, int, const char *, int)(dir, name, flags);
}

int openat(int dir, const char *name, int flags, ...)
{
    va_list rest;
    mode_t mode;

    va_start(rest, flags);
    mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (refuse(CALL_OPENAT, name))
        return -1;
    return NEXT(openat, int, const char *, int, ...)(dir, name, flags, mode);
}

int mkdir(const char *name, mode_t mode)
{
    if (refuse(CALL_MKDIR, name))
        return -1;
    return NEXT(mkdir, const char *, mode_t)(name, mode);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *__restrict length, int flags)
{
    if (refuse(CALL_ACCEPT4, NULL))
        return -1;
    return NEXT(accept4, int, struct sockaddr *, socklen_t *, int)(fd, address.__sockaddr__, length,
                                                                   flags);
}

#pragma GCC visibility pop

/* A gate: while it is closed, calls of one kind on a leaf with "gated" in it wait. */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool closed;
    int waiting;
    enum call call;
} gate = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, CALL_UNLINKAT};

static inline int wait_at_gate(enum call call, const char *name)
{
    const char *slash = strrchr(name, '/');

    if (call != gate.call || !strstr(slash ? slash : name, "gated"))
        return 0;
    pthread_mutex_lock(&gate.mutex);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    gate.waiting--;
    pthread_mutex_unlock(&gate.mutex);
    return 0;
}

static inline void close_gate(enum call call)
{
    pthread_mutex_lock(&gate.mutex);
    gate.closed = true;
    gate.call = call;
    pthread_mutex_unlock(&gate.mutex);
    before_call = wait_at_gate;
}

/* Wait until somebody stands at the gate. */
static inline void await_gate(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&gate.mutex);
    while (gate.waiting == 0)
        ck_assert_msg(pthread_cond_timedwait(&gate.changed, &gate.mutex, &until) == 0,
                      "nobody comes to the gate");
    pthread_mutex_unlock(&gate.mutex);
}

static inline void open_gate(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.closed = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static inline void *release_there(void *ref)
{
    sockref_release(ref);
    return NULL;
}

/* Release on another thread, which is then on its way through the gate. */
static inline pthread_t release_at_gate(sockref *ref)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, release_there, ref), 0);
    await_gate();
    return thread;
}

#endif
