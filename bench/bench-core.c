/*
 * The core under measurement: references, lookups, create cycles, cleanup latency, lost sockets,
 * memory. bench/run runs it beside its peers; each command prints its figures on one line.
 *
 *   pair      THREADS OPS              acquire + release of one object, ns
 *   existing  LIVE THREADS PATTERN OPS get_existing + release, ns; PATTERN: same | random
 *   active    LIVE THREADS OPS         is_socket_active, ns
 *   cycle     THREADS OPS DIR          listen + last release, ns
 *   lag       SAMPLES DIR              last release -> file gone beside a busy reader, us: p50 p99
 *   stale     OPS                      live names lost, per million: two threads get, look and drop
 * one path memory    LIVE                     resident bytes per entry
 */
#include "peers/harness.h"

#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

static char **paths;
static sockref **held;
static long live;
static int randomly;
static const char *directory;
static sockref_registry *registry;

static void check(int status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, sockref_last_error()->message);
    exit(1);
}

static void make_registry(int64_t names)
{
    sockref_options *options = sockref_options_new();

    check(sockref_options_set_int(options, SOCKREF_OPT_MAX_SOCKETS, names), "options");
    check(sockref_options_set_int(options, SOCKREF_OPT_SHARE, 0), "options");
    check(sockref_options_set_int(options, SOCKREF_OPT_GUARD, 0), "options");
    check(sockref_registry_new(options, &registry), "registry_new");
    sockref_options_free(options);
}

static void fill(void)
{
    paths = calloc((size_t)live, sizeof *paths);
    held = calloc((size_t)live, sizeof *held);
    for (long i = 0; i < live; i++) {
        char path[64];

        snprintf(path, sizeof path, "/nonexistent/svc-%08ld.sock", i);
        paths[i] = strdup(path);
    }
}

static void hold_all(void)
{
    for (long i = 0; i < live; i++)
        check(sockref_registry_get_or_create(registry, paths[i], &held[i]), "get_or_create");
}

static void pair(int thread, long count, void *shared)
{
    (void)thread;
    for (long i = 0; i < count; i++)
        sockref_release(sockref_acquire(shared));
}

static void existing(int thread, long count, void *unused)
{
    uint64_t x = 88172645463325252u + (uint64_t)thread;
    sockref *ref = NULL;

    (void)unused;
    for (long i = 0; i < count; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        check(sockref_registry_get_existing(
                  registry, paths[randomly ? (long)(x % (uint64_t)live) : live / 2], &ref),
              "get_existing");
        sockref_release(ref);
    }
}

static void active(int thread, long count, void *unused)
{
    const char *path = paths[live / 2];

    (void)thread;
    (void)unused;
    for (long i = 0; i < count; i++)
        if (!sockref_registry_is_socket_active(registry, path))
            abort();
}

static void cycle(int thread, long count, void *unused)
{
    sockref *ref;

    (void)unused;
    for (long i = 0; i < count; i++) {
        char path[256];

        snprintf(path, sizeof path, "%s/c%d-%ld.sock", directory, thread, i);
        check(sockref_registry_listen(registry, path, NULL, &ref), "listen");
        sockref_release(ref);
    }
}

static atomic_bool stop;
static atomic_long lost;

static void *read_busily(void *unused)
{
    sockref *ref;

    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        check(sockref_registry_get_existing(registry, paths[7], &ref), "get_existing");
        sockref_release(ref);
    }
    return unused;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void lag(long samples)
{
    double *us = calloc((size_t)samples, sizeof *us);
    struct stat info;
    pthread_t reader;

    pthread_create(&reader, NULL, read_busily, NULL);
    for (long i = 0; i < samples; i++) {
        char path[256];
        sockref *ref;
        double begin;

        snprintf(path, sizeof path, "%s/l%ld.sock", directory, i);
        check(sockref_registry_listen(registry, path, NULL, &ref), "listen");
        begin = now_ns();
        sockref_release(ref);
        while (stat(path, &info) == 0)
            sched_yield();
        us[i] = (now_ns() - begin) / 1000;
    }
    stop = 1;
    pthread_join(reader, NULL);
    qsort(us, (size_t)samples, sizeof *us, by_size);
    printf("%.1f %.1f\n", us[samples / 2], us[samples * 99 / 100]);
}

static void stale(int thread, long count, void *unused)
{
    sockref *ref, *same;

    (void)thread;
    (void)unused;
    for (long i = 0; i < count; i++) {
        check(sockref_registry_get_or_create(registry, "/nonexistent/one.sock", &ref), "get");
        if (sockref_registry_get_existing(registry, "/nonexistent/one.sock", &same) < 0) {
            lost++;
        } else {
            lost += same != ref;
            sockref_release(same);
        }
        sockref_release(ref);
    }
}

static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;

    if (!file || fscanf(file, "%*s %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int run_live(int argc, char **argv)
{
    live = atol(argv[2]);
    make_registry(live + 16);
    fill();
    if (strcmp(argv[1], "memory") == 0) {
        long before = resident();

        hold_all();
        printf("%.1f\n", (double)(resident() - before) / (double)live);
        return 0;
    }
    hold_all();
    if (strcmp(argv[1], "existing") == 0 && argc > 5) {
        long count = atol(argv[5]);

        randomly = strcmp(argv[4], "random") == 0;
        run_threads(atoi(argv[3]), count / 10 + 1, existing, NULL);
        printf("%.2f\n", run_threads(atoi(argv[3]), count, existing, NULL));
        return 0;
    }
    if (strcmp(argv[1], "active") == 0 && argc > 4) {
        printf("%.2f\n", run_threads(atoi(argv[3]), atol(argv[4]), active, NULL));
        return 0;
    }
    return 2;
}

int main(int argc, char **argv)
{
    sockref *ref;

    if (argc < 3)
        return 2;
    if (strcmp(argv[1], "existing") == 0 || strcmp(argv[1], "active") == 0 ||
        strcmp(argv[1], "memory") == 0)
        return run_live(argc, argv);
    make_registry(2000);
    if (strcmp(argv[1], "pair") == 0 && argc > 3) {
        long count = atol(argv[3]);

        check(sockref_registry_get_or_create(registry, "/nonexistent/pair.sock", &ref), "get");
        run_threads(atoi(argv[2]), count / 10, pair, ref);
        printf("%.3f\n", run_threads(atoi(argv[2]), count, pair, ref));
        return 0;
    }
    if (strcmp(argv[1], "cycle") == 0 && argc > 4) {
        directory = argv[4];
        printf("%.1f\n", run_threads(atoi(argv[2]), atol(argv[3]), cycle, NULL));
        return 0;
    }
    if (strcmp(argv[1], "lag") == 0 && argc > 3) {
        directory = argv[3];
        live = 1000;
        fill();
        hold_all();
        lag(atol(argv[2]));
        return 0;
    }
    if (strcmp(argv[1], "stale") == 0) {
        long count = atol(argv[2]);

        run_threads(2, count, stale, NULL);
        printf("%g\n", (double)lost * 1e6 / (2.0 * (double)count));
        return 0;
    }
    return 2;
}
