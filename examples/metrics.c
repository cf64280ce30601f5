/*
 * metrics NAME METRICS: serve a name by echo, and answer whoever asks for metrics over HTTP.
 *
 * Both are names: a path, "@" and an abstract name, or tcp:HOST:PORT. Prometheus is given the port,
 * or try: curl http://127.0.0.1:9464/metrics. An interrupt ends the program.
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <sockref/net.h>
#include <sockref/stats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text in memory of our own, or NULL. Names may be added while it is written: then again. */
static char *write_metrics(int *out_length)
{
    int length = sockref_registry_write_metrics(NULL, NULL, 0), room = 0;
    char *text = NULL;

    while (length >= room) {
        room = length + 4096;
        free(text);
        text = malloc((size_t)room);
        if (!text)
            return NULL;
        length = sockref_registry_write_metrics(NULL, text, (size_t)room);
    }
    *out_length = length;
    return text;
}

/* Whatever is asked for, this is the answer. */
static void on_data(sockref_conn *conn, const void *data, size_t size, void *user)
{
    int length = 0;
    char *text = write_metrics(&length), head[200];

    (void)data;
    (void)size;
    (void)user;
    if (text && length > 0) {
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\nContent-Type: "
                 "application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\r\n",
                 length);
        sockref_conn_write(conn, head, strlen(head));
        sockref_conn_write(conn, text, (size_t)length);
    }
    free(text);
    sockref_conn_destroy_soon(conn);
}

static int serve(const char *name, const sockref_handlers *handlers, sockref **out_ref)
{
    int status = sockref_registry_listen(NULL, name, NULL, out_ref);

    if (status == 0)
        status = sockref_serve(*out_ref, handlers, NULL);
    if (status < 0)
        fprintf(stderr, "%s\n", sockref_last_error()->message);
    return status;
}

int main(int argc, char **argv)
{
    const sockref_handlers handlers = {.size = sizeof handlers, .on_data = on_data};
    sockref *echo = NULL, *metrics = NULL;
    int status, signal_number;
    sigset_t signals;

    if (argc != 3) {
        fprintf(stderr, "usage: %s NAME METRICS\n", argv[0]);
        return 2;
    }
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    status = serve(argv[1], sockref_echo_handlers(), &echo);
    if (status == 0)
        status = serve(argv[2], &handlers, &metrics);
    if (status == 0) {
        printf("%s is served; what is counted: %s\n", sockref_path(echo), sockref_path(metrics));
        fflush(stdout);
        sigwait(&signals, &signal_number);
    }
    sockref_release(metrics);
    sockref_release(echo);
    return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
