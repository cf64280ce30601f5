/*
 * dial NAME: connect to a name, send the input there, and print what comes.
 *
 * A name is a path, "@" and an abstract name, or tcp:HOST:PORT. The end of the input ends our side;
 * the program ends when the peer has ended its own.
 */
#include <errno.h>
#include <poll.h>
#include <sockref/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static sockref_conn *peer;
static bool may_send, is_over;
static int result = EXIT_SUCCESS;

static void on_ready(sockref_conn *conn, void *user)
{
    (void)conn;
    (void)user;
    may_send = true;
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)conn;
    (void)user;
    fwrite(data, 1, length, stdout);
    fflush(stdout);
}

/* What was queued is on its way: the input is read again. */
static void on_drain(sockref_conn *conn, void *user)
{
    (void)conn;
    (void)user;
    may_send = true;
}

static void on_error(sockref_conn *conn, int status, void *user)
{
    const sockref_error *error = sockref_last_error();

    (void)conn;
    (void)user;
    fprintf(stderr, "%s\n",
            error->status == status ? error->message : sockref_status_message(status));
    result = EXIT_FAILURE;
}

static void on_stop(void *user)
{
    (void)user;
    is_over = true;
}

/* Returns whether there is more to come. */
static bool send_input(void)
{
    char buffer[4096];
    ssize_t length = read(STDIN_FILENO, buffer, sizeof buffer);

    if (length < 0 && errno == EINTR)
        return true;
    if (length <= 0) {
        sockref_conn_end(peer);
        return false;
    }
    may_send = sockref_conn_write(peer, buffer, (size_t)length) == 0;
    return true;
}

int main(int argc, char **argv)
{
    const sockref_handlers handlers = {
        .size = sizeof handlers,
        .on_ready = on_ready,
        .on_data = on_data,
        .on_drain = on_drain,
        .on_error = on_error,
        .on_stop = on_stop,
    };
    sockref_loop *loop = NULL;
    bool has_input = true;

    if (argc != 2) {
        fprintf(stderr, "usage: %s NAME\n", argv[0]);
        return 2;
    }
    if (sockref_loop_new(&loop) < 0 ||
        sockref_connect(loop, argv[1], NULL, &handlers, NULL, &peer) < 0) {
        fprintf(stderr, "%s\n", sockref_last_error()->message);
        sockref_loop_free(loop);
        return EXIT_FAILURE;
    }
    while (!is_over) {
        struct pollfd items[] = {
            {.fd = sockref_loop_fd(loop), .events = POLLIN},
            {.fd = has_input && may_send ? STDIN_FILENO : -1, .events = POLLIN}};

        if (poll(items, 2, -1) < 0 && errno != EINTR)
            break;
        if (items[1].revents)
            has_input = send_input();
        sockref_loop_dispatch(loop, 0);
    }
    sockref_conn_release(peer);
    sockref_loop_free(loop);
    return result;
}
