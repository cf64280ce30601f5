#include "core.h"
#include <ctype.h>
#include <errno.h>
#include <sockref/net.h>
#include <stddef.h>

static sockref *held;

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    const unsigned char *said = data;
    int status = 0;

    (void)user;
    while (length > 0 && status >= 0) {
        unsigned char answer[4096];
        size_t part = length < sizeof answer ? length : sizeof answer;

        for (size_t i = 0; i < part; i++)
            answer[i] = (unsigned char)toupper(said[i]);
        status = sockref_conn_write(conn, answer, part);
        said += part;
        length -= part;
    }
    if (status == SOCKREF_WRITE_FULL)
        sockref_conn_pause(conn); /* until the client has read what is there */
}

static void on_drain(sockref_conn *conn, void *user)
{
    (void)user;
    sockref_conn_resume(conn);
}

int core_start(const char *path)
{
    const sockref_handlers handlers = {
        .size = sizeof handlers, .on_data = on_data, .on_drain = on_drain};
    sockref_options *options;
    int status;

    if (held != NULL)
        return -EALREADY;
    options = sockref_options_new();
    status = options == NULL ? -ENOMEM : sockref_options_set_handlers(options, &handlers, NULL);
    if (status == 0)
        status = sockref_registry_listen(NULL, path, options, &held);
    sockref_options_free(options);
    return status;
}

const char *core_error(void)
{
    return sockref_last_error()->message;
}

int core_references(void)
{
    return (int)sockref_reference_count(held);
}

void core_stop(void)
{
    sockref_release(held);
    held = NULL;
}
