/*
 * One end of a connection, for exchanges between two languages: the reference for what the agents
 * of all languages do.
 *
 *   agent serve NAME COUNT         listens at NAME, says "ready NAME", serves COUNT connections
 *   agent dial NAME MODE BYTES     connects, and does one exchange
 *
 * A client's first nine bytes are the mode and BYTES, big-endian. What follows:
 *
 *   x  both send BYTES random bytes at once, and end
 *   h  the client sends BYTES and ends; the server then sends as many and ends
 *   a  both send without end; the client destroys its end when BYTES have come
 *   b  both send without end; the server destroys its end when BYTES have come
 *
 * When a connection has closed, each end says one line in JSON: the mode, how many bytes were sent
 * and received, their check sums (CRC-32; without the nine bytes), how often it was told the close,
 * and whether the peer's end was seen in order.
 */
#include <errno.h>
#include <inttypes.h>
#include <sockref/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define HEAD  9
#define PIECE 65536

static uint32_t table[256];
static sockref_loop *loop;
static unsigned left; /* connections to come */

struct end {
    bool is_client;
    unsigned char head[HEAD];
    size_t head_length;
    char mode;
    uint64_t bytes;
    uint64_t sent, received;
    uint32_t sent_crc, received_crc;
    unsigned closes;
    bool ended, end_seen, full;
};

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc32_of(uint32_t crc, const unsigned char *data, size_t length)
{
    crc = ~crc;
    while (length-- > 0)
        crc = table[(crc ^ *data++) & 0xff] ^ (crc >> 8);
    return ~crc;
}

static void must(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "agent.c: %s: %s\n", what, sockref_last_error()->message);
    exit(1);
}

static bool is_endless(const struct end *end)
{
    return end->mode == 'a' || end->mode == 'b';
}

/* Send as much as the connection takes. */
static void pour(sockref_conn *conn, struct end *end)
{
    static unsigned char piece[PIECE];
    int status = 0;

    while (!end->ended && status == 0) {
        size_t length = PIECE;

        if (!is_endless(end) && end->bytes - end->sent < length)
            length = (size_t)(end->bytes - end->sent);
        if (length == 0) {
            end->ended = true;
            must(sockref_conn_end(conn), "end");
            return;
        }
        if (getrandom(piece, length, 0) != (ssize_t)length)
            exit(1);
        status = sockref_conn_write(conn, piece, length);
        if (status == SOCKREF_ECLOSED && is_endless(end))
            return;
        must(status, "write");
        end->sent += length;
        end->sent_crc = crc32_of(end->sent_crc, piece, length);
    }
}

static void begin(sockref_conn *conn, struct end *end)
{
    end->mode = (char)end->head[0];
    for (int i = 1; i < HEAD; i++)
        end->bytes = end->bytes << 8 | end->head[i];
    if (end->is_client || end->mode != 'h')
        pour(conn, end);
}

static void on_connection(sockref_conn *conn, void *user)
{
    struct end *end = calloc(1, sizeof *end);

    (void)user;
    if (!end)
        exit(1);
    sockref_conn_set_data(conn, end);
}

static void on_connect(sockref_conn *conn, void *user)
{
    struct end *end = user;

    sockref_conn_set_data(conn, end);
    must(sockref_conn_write(conn, end->head, HEAD), "write");
    begin(conn, end);
}

static void on_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct end *end = sockref_conn_data(conn);
    const unsigned char *bytes = data;

    (void)user;
    if (!end->is_client && end->head_length < HEAD) {
        size_t take = HEAD - end->head_length < length ? HEAD - end->head_length : length;

        memcpy(end->head + end->head_length, bytes, take);
        end->head_length += take;
        bytes += take;
        length -= take;
        if (end->head_length == HEAD)
            begin(conn, end);
    }
    end->received += length;
    end->received_crc = crc32_of(end->received_crc, bytes, length);
    if (end->mode == (end->is_client ? 'a' : 'b') && end->received >= end->bytes)
        sockref_conn_destroy(conn);
}

static void on_end(sockref_conn *conn, void *user)
{
    struct end *end = sockref_conn_data(conn);

    (void)user;
    end->end_seen = true;
    if (is_endless(end))
        sockref_conn_destroy(conn);
    else if (!end->is_client && end->mode == 'h')
        pour(conn, end);
}

static void on_drain(sockref_conn *conn, void *user)
{
    (void)user;
    pour(conn, sockref_conn_data(conn));
}

static void on_close(sockref_conn *conn, bool had_error, void *user)
{
    struct end *end = sockref_conn_data(conn);

    (void)user;
    if (!end) {
        fprintf(stderr, "agent.c: it could not connect\n");
        exit(1);
    }
    printf("{\"mode\":\"%c\",\"sent\":%" PRIu64 ",\"sent_crc\":%" PRIu32 ",\"received\":%" PRIu64
           ",\"received_crc\":%" PRIu32 ",\"closes\":%u,\"end\":%s,\"error\":%s}\n",
           end->mode, end->sent, end->sent_crc, end->received, end->received_crc, ++end->closes,
           end->end_seen ? "true" : "false", had_error ? "true" : "false");
    fflush(stdout);
    left--;
    if (!end->is_client)
        free(end);
}

static void run(void)
{
    while (left > 0)
        must(sockref_loop_dispatch(loop, -1), "dispatch");
}

static void serve(const char *name, const sockref_handlers *handlers)
{
    sockref *ref;

    must(sockref_registry_listen(NULL, name, NULL, &ref), "listen");
    must(sockref_serve_on(ref, loop, handlers, NULL), "serve");
    printf("ready %s\n", sockref_path(ref));
    fflush(stdout);
    run();
    sockref_release(ref);
}

static void dial(const char *name, const sockref_handlers *handlers, struct end *end)
{
    must(sockref_connect(loop, name, NULL, handlers, end, NULL), "connect");
    run();
}

int main(int argc, char **argv)
{
    static const sockref_handlers handlers = {.size = sizeof handlers,
                                              .on_connection = on_connection,
                                              .on_connect = on_connect,
                                              .on_data = on_data,
                                              .on_end = on_end,
                                              .on_drain = on_drain,
                                              .on_close = on_close};
    struct end client = {.is_client = true};

    make_table();
    must(sockref_loop_new(&loop), "loop_new");
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        left = (unsigned)atoi(argv[3]);
        serve(argv[2], &handlers);
    } else if (argc == 5 && strcmp(argv[1], "dial") == 0) {
        uint64_t bytes = strtoull(argv[4], NULL, 10);

        client.head[0] = (unsigned char)argv[3][0];
        for (int i = 1; i < HEAD; i++)
            client.head[i] = (unsigned char)(bytes >> (8 * (HEAD - 1 - i)));
        left = 1;
        dial(argv[2], &handlers, &client);
    } else {
        fprintf(stderr, "usage: agent serve NAME COUNT | dial NAME MODE BYTES\n");
        return 2;
    }
    sockref_loop_free(loop);
    return 0;
}
