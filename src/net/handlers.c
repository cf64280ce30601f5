/* What is checked of handlers, and how they are kept. */
#include "net/handlers.h"

#include "base/error.h"

#include <string.h>

#define HIGH_WATER 65536u
#define ALL_FLAGS                                                                                  \
    (SOCKREF_CONN_PAUSED | SOCKREF_CONN_HALF_OPEN | SOCKREF_CONN_AUTO_END | SOCKREF_CONN_NODELAY | \
     SOCKREF_CONN_KEEPALIVE | SOCKREF_CONN_UNHELD | SOCKREF_CONN_OUTLIVE)

static int check_size(const char *what, const char *type, size_t size, size_t most)
{
    if (size < sizeof size || size > most)
        return sr_error_argument(
            "%s: size is %zu; set it to sizeof(%s), which is at most %zu for this library", what,
            size, type, most);
    return 0;
}

/* NULL also where the caller's handlers end before them. */
static const sockref_conn_options *options_of(const sockref_handlers *handlers)
{
    if (handlers->size < offsetof(sockref_handlers, options) + sizeof handlers->options)
        return NULL;
    return handlers->options;
}

static void copy_options(const sockref_conn_options *from, sockref_conn_options *to)
{
    memset(to, 0, sizeof *to);
    if (from)
        memcpy(to, from, from->size);
    to->size = sizeof *to;
}

int sr_handlers_check(const sockref_handlers *handlers)
{
    const sockref_conn_options *options;
    sockref_conn_options copy;
    int status = check_size("handlers", "sockref_handlers", handlers->size, sizeof *handlers);

    if (status < 0)
        return status;
    options = options_of(handlers);
    if (!options)
        return 0;
    status = check_size("options", "sockref_conn_options", options->size, sizeof *options);
    if (status < 0)
        return status;
    copy_options(options, &copy);
    if (copy.flags & ~(unsigned)ALL_FLAGS)
        return sr_error_argument("options: %#x are flags that this library does not know",
                                 copy.flags & ~(unsigned)ALL_FLAGS);
    return 0;
}

void sr_handlers_copy(const sockref_handlers *from, struct sr_handlers *to)
{
    copy_options(options_of(from), &to->options);
    if (to->options.high_water == 0)
        to->options.high_water = HIGH_WATER;
    memset(&to->calls, 0, sizeof to->calls);
    memcpy(&to->calls, from, from->size);
    to->calls.size = sizeof to->calls;
    to->calls.options = NULL;
}
