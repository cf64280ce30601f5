/* A small echo service. */
#include <sockref/net.h>

static void send_back(sockref_conn *conn, const void *data, size_t length, void *user)
{
    int status = sockref_conn_write(conn, data, length);

    (void)user;
    if (status == SOCKREF_WRITE_FULL)
        sockref_conn_pause(conn);
    else if (status < 0)
        sockref_conn_destroy(conn);
}

static void go_on(sockref_conn *conn, void *user)
{
    (void)user;
    sockref_conn_resume(conn);
}

static const sockref_handlers handlers = {
    .size = sizeof handlers,
    .on_data = send_back,
    .on_drain = go_on,
};

const sockref_handlers *sockref_echo_handlers(void)
{
    return &handlers;
}
