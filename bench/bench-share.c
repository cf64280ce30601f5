/*
 * Names shared between processes under measurement. bench/run runs it beside the bare system calls;
 * each command prints its figures on one line.
 *
 *   start   OPS DIR       listen + last release of a shared name, with a guard, ns
 *   alone   OPS DIR       the same without sharing and guard, ns
 *   join    OPS DIR       listen + last release of a name that another process owns, ns
 *   killed  SAMPLES DIR   SIGKILL of the only holder -> its file gone, us: p50 p99
 *   taken   SAMPLES DIR   SIGKILL of the owner -> another holder owns the name, us: p50 p99
 */
#include "peers/harness.h"

#include <signal.h>
#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[256];
static sockref_options *options;

static void check(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, sockref_last_error()->message);
    exit(1);
}

static void cycles(long count)
{
    sockref *ref;
    double began;

    for (long i = 0; i < count / 10 + 1; i++) { /* warm, and the guard is there */
        check(sockref_registry_listen(NULL, path, options, &ref), "listen");
        sockref_release(ref);
    }
    began = now_ns();
    for (long i = 0; i < count; i++) {
        check(sockref_registry_listen(NULL, path, options, &ref), "listen");
        sockref_release(ref);
    }
    printf("%.1f\n", (now_ns() - began) / (double)count);
}

/* A process that owns the name until it is killed. */
static pid_t own(void)
{
    int ready[2];
    char byte;
    pid_t pid;

    if (pipe(ready) < 0)
        exit(1);
    pid = fork();
    if (pid == 0) {
        sockref *ref;

        check(sockref_registry_listen(NULL, path, options, &ref), "listen");
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        exit(1);
    close(ready[0]);
    return pid;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void print(double *samples, long count)
{
    qsort(samples, (size_t)count, sizeof *samples, by_size);
    printf("%.1f %.1f\n", samples[count / 2], samples[count - 1 - count / 100]);
}

static void killed(long count)
{
    double *samples = calloc((size_t)count, sizeof *samples);
    struct stat info;

    for (long i = 0; i < count; i++) {
        pid_t pid = own();
        double began = now_ns();

        kill(pid, SIGKILL);
        while (stat(path, &info) == 0)
            continue;
        samples[i] = (now_ns() - began) / 1000;
        waitpid(pid, NULL, 0);
    }
    print(samples, count);
}

static atomic_bool is_lost;

static void note(sockref *ref, int event, void *user)
{
    (void)ref, (void)user;
    if (event == SOCKREF_WATCH_LOST)
        atomic_store(&is_lost, true);
}

static void taken(long count)
{
    double *samples = calloc((size_t)count, sizeof *samples);

    for (long i = 0; i < count; i++) {
        pid_t pid = own();
        sockref *joined, *owned;
        double began;

        atomic_store(&is_lost, false);
        check(sockref_registry_listen(NULL, path, options, &joined), "join");
        check(sockref_set_watch(joined, note, NULL, NULL), "watch");
        began = now_ns();
        kill(pid, SIGKILL);
        while (!atomic_load(&is_lost))
            continue;
        check(sockref_registry_listen(NULL, path, options, &owned), "listen");
        samples[i] = (now_ns() - began) / 1000;
        if (!sockref_is_owner(owned))
            exit(1);
        sockref_release(owned);
        sockref_release(joined);
        waitpid(pid, NULL, 0);
    }
    print(samples, count);
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? atol(argv[2]) : 0;
    pid_t owner;

    if (argc < 4 || count <= 0)
        return 2;
    snprintf(path, sizeof path, "%s/shared.sock", argv[3]);
    options = sockref_options_new();
    if (strcmp(argv[1], "alone") == 0) {
        check(sockref_options_set_int(options, SOCKREF_OPT_SHARE, 0), "options");
        check(sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0), "options");
    }
    if (strcmp(argv[1], "start") == 0 || strcmp(argv[1], "alone") == 0) {
        cycles(count);
    } else if (strcmp(argv[1], "join") == 0) {
        owner = own();
        cycles(count);
        kill(owner, SIGKILL);
        waitpid(owner, NULL, 0);
    } else if (strcmp(argv[1], "killed") == 0) {
        killed(count);
    } else if (strcmp(argv[1], "taken") == 0) {
        taken(count);
    } else {
        return 2;
    }
    return 0;
}
