/*
 * echo PATH: serve a name, share it, talk to it, and see that nothing of it is left.
 *
 * Each step says what happened and ends the program if that is not what was promised.
 */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <sockref/net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void check(bool good, const char *what)
{
    printf("%-4s %s\n", good ? "ok" : "FAIL", what);
    if (good)
        return;
    if (sockref_last_error()->status != 0)
        printf("     %s\n", sockref_last_error()->message);
    exit(EXIT_FAILURE);
}

static void print_counts(const sockref *ref)
{
    uint64_t references, entries, buffers;

    sockref_live_counts(&references, &entries, &buffers);
    printf("     %" PRIu64 " references to this name; alive in all: %" PRIu64
           " references, %" PRIu64 " names, %" PRIu64 " buffers\n",
           sockref_reference_count(ref), references, entries, buffers);
}

/* A peer that knows nothing of this library. */
static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool exchange(int fd)
{
    const char sent[] = "What is said comes back.";
    char got[sizeof sent];
    size_t had = 0;

    if (write(fd, sent, sizeof sent) != (ssize_t)sizeof sent)
        return false;
    while (had < sizeof got) {
        ssize_t length = read(fd, got + had, sizeof got - had);

        if (length <= 0)
            return false;
        had += (size_t)length;
    }
    return memcmp(sent, got, sizeof got) == 0;
}

/* Print the directory of a path; returns whether the path's own name is in it. */
static bool is_listed(const char *path)
{
    char *copy = strdup(path), *other = strdup(path);
    const char *leaf = basename(other);
    DIR *directory = opendir(dirname(copy));
    struct dirent *item;
    bool found = false;
    int count = 0;

    while (directory && (item = readdir(directory)) != NULL) {
        found = found || strcmp(item->d_name, leaf) == 0;
        count++;
    }
    printf("     the directory has %d items; %s is %s\n", count - 2, leaf,
           found ? "one of them" : "not among them");
    if (directory)
        closedir(directory);
    free(copy);
    free(other);
    return found;
}

int main(int argc, char **argv)
{
    sockref *first, *second;
    int fd;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    check(sockref_registry_listen(NULL, argv[1], NULL, &first) == 0, "listen on the name");
    check(sockref_serve(first, sockref_echo_handlers(), NULL) == 0, "serve it with echo");
    print_counts(first);
    check(is_listed(argv[1]), "its file is there");

    check(sockref_registry_listen(NULL, argv[1], NULL, &second) == 0, "listen on it once more");
    check(second == first && sockref_reference_count(first) == 2, "that shares what is there");
    print_counts(first);

    fd = dial(argv[1]);
    check(fd >= 0, "a plain socket connects");
    check(exchange(fd), "and hears its own words");
    sockref_release(second);
    check(exchange(fd), "also after one of two references went");

    sockref_release(first);
    check(!is_listed(argv[1]), "the last release removed the file");
    check(dial(argv[1]) < 0 && (errno == ENOENT || errno == ECONNREFUSED),
          "nobody answers any more");
    check(read(fd, &(char){0}, 1) == 0, "the connection is closed");
    close(fd);
    check(sockref_registry_drain(NULL, 5000) == 0, "nothing is left to wait for");
    return EXIT_SUCCESS;
}
