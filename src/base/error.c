/*
 * The description of a thread's last failing call: one block behind a pthread key, strings copied.
 * Where there is no memory for a block, a static text is told instead, so that describing never
 * fails.
 */
#include "base/error.h"

#include "base/sys.h"

#include <errno.h>
#include <pthread.h>
#include <sockref/sockref.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sr_error {
    sockref_error public;
    char message[384];
    char path[]; /* as long as it was told */
};

static const sockref_error nothing = {sizeof(sockref_error), 0, 0, NULL, NULL, ""};
static struct sr_error no_memory = {
    .public = {sizeof(sockref_error), -ENOMEM, ENOMEM, NULL, NULL, "out of memory"}};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int have_key;

void sr_error_free(struct sr_error *error)
{
    if (error != &no_memory)
        free(error);
}

static void forget(void *value)
{
    sr_error_free(value);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, forget) == 0;
}

static struct sr_error *current(void)
{
    pthread_once(&once, make_key);
    return have_key ? pthread_getspecific(key) : NULL;
}

static void replace(struct sr_error *error)
{
    struct sr_error *old = current();

    if (!have_key || pthread_setspecific(key, error) != 0)
        sr_error_free(error);
    if (old != error)
        sr_error_free(old);
}

static SR_PRINTF(5, 0) void describe(int status, int os_errno, const char *syscall,
                                     const char *path, const char *format, va_list arguments)
{
    size_t length = path ? strlen(path) + 1 : 0;
    struct sr_error *error = sr_sys.malloc(sizeof *error + length);

    if (!error) {
        replace(&no_memory);
        return;
    }
    memset(error, 0, sizeof *error);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    if (path)
        memcpy(error->path, path, length);
    error->public.size = sizeof error->public;
    error->public.status = status;
    error->public.os_errno = os_errno;
    error->public.syscall = syscall;
    error->public.path = path ? error->path : NULL;
    error->public.message = error->message;
    replace(error);
}

int sr_error_set(int status, const char *path, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    describe(status, 0, NULL, path, format, arguments);
    va_end(arguments);
    return status;
}

int sr_error_wrapped(int status, int os_errno, const char *syscall, const char *path,
                     const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    describe(status, os_errno, syscall, path, format, arguments);
    va_end(arguments);
    return status;
}

int sr_error_system(int os_errno, const char *syscall, const char *path)
{
    return sr_error_wrapped(-os_errno, os_errno, syscall, path, "%s%s%s: %s", syscall,
                            path ? " " : "", path ? path : "", sockref_status_message(-os_errno));
}

int sr_error_no_memory(void)
{
    replace(&no_memory);
    return -ENOMEM;
}

int sr_error_argument(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    describe(-EINVAL, 0, NULL, NULL, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

int sr_error_check_size(size_t size, size_t most)
{
    if (size < sizeof size || size > most)
        return sr_error_argument("the size of the struct is %zu; this library knows %zu", size,
                                 most);
    return 0;
}

struct sr_error *sr_error_take(void)
{
    struct sr_error *error = current();

    if (error)
        pthread_setspecific(key, NULL);
    return error;
}

void sr_error_give(struct sr_error *error)
{
    if (error)
        replace(error);
}

const sockref_error *sockref_last_error(void)
{
    struct sr_error *error = current();

    return error ? &error->public : &nothing;
}
