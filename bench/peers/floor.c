/* Floors under the registry.
 *   floor cycle    THREADS OPS DIR   socket+bind+listen+close+unlink, ns per op
 *   floor abstract THREADS OPS       the same on an abstract name: no file, no unlink
 *   floor safe     THREADS OPS DIR   what a safe cycle must call: the directory pinned and looked
 *                                    at, the mode set before bind, the file identified after it
 *                                    and again before unlink
 *   floor found    THREADS OPS DIR   the same, and the look by the spelling that was bound: that it
 *                                    leads to the file in the pinned directory
 *   floor steps    OPS DIR           ns of each system call of the cycle, in order
 *   floor lag      SAMPLES DIR       close+unlink -> file gone, us: p50 p99
 *   floor lookup   KIND LIVE THREADS PATTERN OPS
 *                                    KIND: free | mutex; hash the path, probe, compare, add unless
 *                                    zero, release; no entry ever changes, so "free" is what a
 *                                    lock-free read path can reach at best
 */
#include "harness.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char *dir;
static int is_abstract;
static int by_spelling;
static void die(const char *w)
{
    perror(w);
    exit(1);
}
static double steps[5];
static int timed;
static void cycle(int t, long n, void *a)
{
    (void)a;
    struct sockaddr_un u;
    memset(&u, 0, sizeof u);
    u.sun_family = AF_UNIX;
    for (long i = 0; i < n; i++) {
        double s[6];
        int l =
            snprintf(u.sun_path + is_abstract, sizeof u.sun_path - 1, "%s/f%d-%ld.sock", dir, t, i);
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)l + 1);
        if (timed)
            s[0] = now_ns();
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            die("socket");
        if (timed)
            s[1] = now_ns();
        if (bind(fd, (struct sockaddr *)&u, len))
            die("bind");
        if (timed)
            s[2] = now_ns();
        if (listen(fd, 128))
            die("listen");
        if (timed)
            s[3] = now_ns();
        close(fd);
        if (timed)
            s[4] = now_ns();
        if (!is_abstract && unlink(u.sun_path))
            die("unlink");
        if (timed) {
            s[5] = now_ns();
            for (int k = 0; k < 5; k++)
                steps[k] += s[k + 1] - s[k];
        }
    }
}

static void safe_cycle(int t, long n, void *a)
{
    (void)a;
    struct sockaddr_un u;
    memset(&u, 0, sizeof u);
    u.sun_family = AF_UNIX;
    for (long i = 0; i < n; i++) {
        struct stat st;
        int l = snprintf(u.sun_path, sizeof u.sun_path, "%s/s%d-%ld.sock", dir, t, i);
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)l + 1);
        const char *leaf = strrchr(u.sun_path, '/') + 1;
        int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (d < 0 || fstat(d, &st))
            die("open");
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&u, len))
            die("bind");
        if (by_spelling && fstatat(AT_FDCWD, u.sun_path, &st, AT_SYMLINK_NOFOLLOW))
            die("look");
        if (fstatat(d, leaf, &st, AT_SYMLINK_NOFOLLOW) || listen(fd, 4096))
            die("listen");
        if (fstatat(d, leaf, &st, AT_SYMLINK_NOFOLLOW) || unlinkat(d, leaf, 0))
            die("unlink");
        close(fd);
        close(d);
    }
}

typedef struct {
    _Alignas(64) atomic_long n;
    size_t len;
    char path[48]; /* in the count's own cache line */
} entry;
static struct slot {
    uint64_t h;
    entry *e;
} * tab;
static uint64_t mask;
static char **paths;
static long live;
static int locked, randomly;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t m = (__uint128_t)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}
static inline uint64_t hash(const char *s, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ n, w;
    for (; n >= 8; n -= 8, s += 8) {
        memcpy(&w, s, 8);
        h = mix(h ^ w, 0xe7037ed1a0b428dbull);
    }
    w = 0;
    memcpy(&w, s, n);
    return mix(h ^ w, 0x8ebc6af09c88c6e3ull);
}
static inline entry *find(const char *p)
{
    size_t n = strlen(p);
    uint64_t h = hash(p, n);
    for (uint64_t i = h & mask;; i = (i + 1) & mask) {
        if (!tab[i].e)
            return NULL;
        if (tab[i].h == h && tab[i].e->len == n && !memcmp(tab[i].e->path, p, n)) {
            entry *e = tab[i].e;
            long v = atomic_load_explicit(&e->n, memory_order_relaxed);
            do {
                if (!v)
                    return NULL;
            } while (!atomic_compare_exchange_weak_explicit(&e->n, &v, v + 1, memory_order_acquire,
                                                            memory_order_relaxed));
            return e;
        }
    }
}
static void lookup(int t, long n, void *a)
{
    (void)a;
    uint64_t x = 88172645463325252ull + (uint64_t)t;
    for (long k = 0; k < n; k++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        const char *p = paths[randomly ? (long)(x % (uint64_t)live) : live / 2];
        entry *e;
        if (locked) {
            pthread_mutex_lock(&mu);
            e = find(p);
            pthread_mutex_unlock(&mu);
        } else
            e = find(p);
        if (!e)
            abort();
        if (atomic_fetch_sub_explicit(&e->n, 1, memory_order_release) == 1)
            abort();
    }
}
static void fill(void)
{
    uint64_t cap = 16;
    while (cap < (uint64_t)live * 2)
        cap *= 2;
    mask = cap - 1;
    tab = calloc(cap, sizeof *tab);
    paths = calloc((size_t)live, sizeof *paths);
    for (long i = 0; i < live; i++) {
        char b[64];
        int l = snprintf(b, sizeof b, "/nonexistent/svc-%08ld.sock", i);
        paths[i] = strdup(b);
        entry *e = aligned_alloc(64, sizeof *e);
        atomic_init(&e->n, 1);
        e->len = (size_t)l;
        strcpy(e->path, b);
        uint64_t h = hash(b, (size_t)l), j = h & mask;
        while (tab[j].e)
            j = (j + 1) & mask;
        tab[j].h = h;
        tab[j].e = e;
    }
}
static int cmp(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (!strcmp(argv[1], "cycle")) {
        dir = argv[4];
        printf("%.1f\n", run_threads(atoi(argv[2]), atol(argv[3]), cycle, NULL));
    } else if (!strcmp(argv[1], "safe") || !strcmp(argv[1], "found")) {
        dir = argv[4];
        by_spelling = !strcmp(argv[1], "found");
        printf("%.1f\n", run_threads(atoi(argv[2]), atol(argv[3]), safe_cycle, NULL));
    } else if (!strcmp(argv[1], "abstract")) {
        static char d[64];
        snprintf(d, sizeof d, "peerbench-%d", (int)getpid());
        dir = d;
        is_abstract = 1;
        printf("%.1f\n", run_threads(atoi(argv[2]), atol(argv[3]), cycle, NULL));
    } else if (!strcmp(argv[1], "steps")) {
        long n = atol(argv[2]);
        dir = argv[3];
        timed = 1;
        cycle(0, n, NULL);
        for (int k = 0; k < 5; k++)
            printf("%.1f ", steps[k] / (double)n);
        puts("");
    } else if (!strcmp(argv[1], "lag")) {
        int n = atoi(argv[2]);
        double *v = calloc((size_t)n, sizeof *v);
        for (int i = 0; i < n; i++) {
            struct sockaddr_un u;
            struct stat st;
            memset(&u, 0, sizeof u);
            u.sun_family = AF_UNIX;
            snprintf(u.sun_path, sizeof u.sun_path, "%s/l%d.sock", argv[3], i);
            int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (bind(fd, (struct sockaddr *)&u, sizeof u) || listen(fd, 128))
                die("bind");
            double t = now_ns();
            close(fd);
            unlink(u.sun_path);
            while (!stat(u.sun_path, &st))
                sched_yield();
            v[i] = (now_ns() - t) / 1000;
        }
        qsort(v, (size_t)n, sizeof *v, cmp);
        printf("%.1f %.1f\n", v[n / 2], v[n * 99 / 100]);
    } else if (!strcmp(argv[1], "lookup") && argc >= 7) {
        locked = !strcmp(argv[2], "mutex");
        live = atol(argv[3]);
        randomly = !strcmp(argv[5], "random");
        fill();
        long ops = atol(argv[6]);
        run_threads(atoi(argv[4]), ops / 10 + 1, lookup, NULL);
        printf("%.2f\n", run_threads(atoi(argv[4]), ops, lookup, NULL));
    } else
        return 2;
    return 0;
}
