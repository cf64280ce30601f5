/*
 * pool PATH: serve three sockets, PATH.0 to PATH.2, and have each client connect to the next one.
 *
 * Each client sends its number, and the socket that it came to sends it back.
 */
#include <sockref/net.h>
#include <sockref/pool.h>
#include <sockref/stats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKETS 3
#define CLIENTS 6

static int fail(void)
{
    fprintf(stderr, "%s\n", sockref_last_error()->message);
    return EXIT_FAILURE;
}

/* Send a number to a path, and read it back. Returns it, or -1. */
static int ask(const char *path, char number)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char answer = -1;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        write(fd, &number, 1) != 1 || read(fd, &answer, 1) != 1)
        perror(path);
    close(fd);
    return answer;
}

static int run(sockref_pool *pool)
{
    sockref_health health = {.size = sizeof health};
    sockref *held[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        if (sockref_pool_pick(pool, SOCKREF_POOL_LEAST_REFERENCES, &held[i]) < 0 ||
            sockref_check_health(held[i], &health) < 0)
            return fail();
        printf("client %d: %s says %d; it is %s\n", i, sockref_path(held[i]),
               ask(sockref_path(held[i]), (char)i),
               health.is_file_ours && health.is_reachable ? "well" : "ill");
    }
    for (int i = 0; i < CLIENTS; i++)
        sockref_release(held[i]); /* a real client does so when its connection is over */
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    sockref_options *options = sockref_options_new();
    sockref_pool *pool = NULL;
    int result;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    /* Each member is served from its first moment. */
    if (!options || sockref_options_set_handlers(options, sockref_echo_handlers(), NULL) < 0 ||
        sockref_pool_new(&pool) < 0 ||
        sockref_pool_listen(pool, NULL, argv[1], SOCKETS, options) < 0)
        result = fail();
    else
        result = run(pool);
    sockref_pool_free(pool); /* the last references: the files go */
    sockref_options_free(options);
    return result;
}
