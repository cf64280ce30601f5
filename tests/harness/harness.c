/* What the C suites share. */
#include "harness/harness.h"

#include "base/clock.h"
#include "base/fd.h"
#include "harness/faults.h"
#include "name/guard.h"
#include "ref/hooks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct text {
    struct text *next;
    char bytes[];
};

static char suite_dir[256], case_dir[512];
static struct text *texts;
static pthread_mutex_t texts_mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned base_descriptors, base_threads;
static size_t base_noted;

/* ---- texts and paths ---- */

static char *keep(size_t size)
{
    struct text *text = malloc(sizeof *text + size);

    if (!text)
        abort();
    pthread_mutex_lock(&texts_mutex);
    text->next = texts;
    texts = text;
    pthread_mutex_unlock(&texts_mutex);
    return text->bytes;
}

const char *harness_text(const char *format, ...)
{
    va_list arguments, again;
    char *out;
    int length;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    out = keep((size_t)length + 1);
    vsnprintf(out, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return out;
}

const char *harness_dir(void)
{
    return case_dir;
}

const char *harness_at(const char *leaf)
{
    return harness_text("%s/%s", case_dir, leaf);
}

const char *harness_long_path(size_t length, size_t leaf_length)
{
    char *path = keep(length + 1);
    size_t at = strlen(case_dir), end = length - leaf_length - 1;

    ck_assert_uint_gt(length, at + leaf_length + 4);
    memcpy(path, case_dir, at);
    while (at < end) {
        size_t part = end - at > 202 ? 200 : end - at - 1;

        path[at++] = '/';
        memset(path + at, 'd', part);
        at += part;
        path[at] = '\0';
        ck_assert_msg(mkdir(path, 0700) == 0 || errno == EEXIST, "mkdir %s: %m", path);
    }
    path[at++] = '/';
    memset(path + at, 'f', leaf_length);
    path[length] = '\0';
    return path;
}

const char *harness_sticky_dir(void)
{
    const char *path;

    if (geteuid() != 0)
        return NULL;
    path = harness_at("sticky");
    if (mkdir(path, 0700) == 0)
        ck_assert_int_eq(chmod(path, 01777), 0);
    return path;
}

/* ---- what is left ---- */

static unsigned found_sockets, found_files, found_beside;

/* Lock files and control sockets, which stand beside a shared socket. */
static bool is_beside(const char *leaf)
{
    size_t length = strlen(leaf);

    return leaf[0] == '.' && length > 7 &&
           (strcmp(leaf + length - 7, ".srlock") == 0 || strcmp(leaf + length - 6, ".srctl") == 0);
}

static int count_file(const char *path, const struct stat *info, int type, struct FTW *at)
{
    if (is_beside(path + at->base)) {
        found_beside++;
        return 0;
    }
    if (S_ISSOCK(info->st_mode))
        found_sockets++;
    if (type != FTW_D && type != FTW_DNR && type != FTW_DP)
        found_files++;
    return 0;
}

static void look(void)
{
    found_sockets = found_files = found_beside = 0;
    nftw(case_dir, count_file, 16, FTW_PHYS);
}

unsigned harness_sockets(void)
{
    look();
    return found_sockets;
}

unsigned harness_files(void)
{
    look();
    return found_files;
}

unsigned harness_beside(void)
{
    look();
    return found_beside;
}

static unsigned count_directory(const char *path)
{
    DIR *stream = opendir(path);
    unsigned count = 0;

    ck_assert_ptr_nonnull(stream);
    while (readdir(stream))
        count++;
    closedir(stream);
    return count - 2;
}

unsigned harness_descriptors(void)
{
    return count_directory("/proc/self/fd") - 1; /* but the one that looks */
}

size_t harness_noted(void)
{
    return sr_fd_count() - base_noted;
}

unsigned harness_threads(void)
{
    return count_directory("/proc/self/task");
}

bool harness_threads_become(unsigned count)
{
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);

    while (harness_threads() != count) {
        if (sr_clock_ns() > deadline)
            return false;
        sched_yield();
    }
    return true;
}

void harness_assert_clean(void)
{
    uint64_t references, entries, buffers;

    ck_assert_msg(harness_threads_become(base_threads), "%u threads are left",
                  harness_threads() - base_threads);
    sockref_live_counts(&references, &entries, &buffers);
    ck_assert_uint_eq(references, 0);
    ck_assert_uint_eq(entries, 0);
    ck_assert_uint_eq(buffers, 0);
    ck_assert_uint_eq(sr_fd_count(), base_noted);
    ck_assert_uint_eq(harness_descriptors(), base_descriptors);
    ck_assert_uint_eq(harness_sockets(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}

/* ---- fixtures ---- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static void make_dir(char *out, size_t size, const char *parent, const char *name)
{
    int length = snprintf(out, size, "%s/%s-XXXXXX", parent, name);

    if (length < 0 || (size_t)length >= size || !mkdtemp(out)) {
        fprintf(stderr, "harness: cannot make a directory in %s: %s\n", parent, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

#if defined(__SANITIZE_THREAD__)
const char *__tsan_default_options(void);

const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}

static void *tell_number(void *out)
{
    *(pid_t *)out = gettid();
    return NULL;
}

/* The sanitizer has threads of its own, which begin with the first one of the program. */
static void count_threads(void)
{
    pthread_t thread;
    pid_t number;

    ck_assert_int_eq(pthread_create(&thread, NULL, tell_number, &number), 0);
    pthread_join(thread, NULL);
    while (access(harness_text("/proc/self/task/%d", (int)number), F_OK) == 0)
        sched_yield();
    base_threads = harness_threads();
}
#else
static void count_threads(void)
{
    base_threads = harness_threads();
}
#endif

/* It is there from the first shared name on, and stays: not what a case leaves behind. */
static void start_guard(void)
{
    struct sr_guarded guarded = {.id = 0};
    struct sr_place place;

    ck_assert_int_eq(sr_place_open(harness_at("x"), &place), 0);
    ck_assert_int_eq(sr_guard_watch(&guarded, &place, harness_at("x"), true), 0);
    sr_guard_forget(&guarded);
    sr_place_close(&place);
}

static void set_up(void)
{
    make_dir(case_dir, sizeof case_dir, suite_dir, "c");
    count_threads();
    start_guard();
    base_descriptors = harness_descriptors();
    base_noted = sr_fd_count();
}

static void forget(void)
{
    struct text *next;

    sr_hooks.drain(
        sr_clock_after_ms(HARNESS_PATIENCE_MS)); /* its threads end before, not just seem so */
    faults_clear();
    sockref_set_log(NULL, NULL, NULL);
    remove_tree(case_dir);
    for (; texts; texts = next) {
        next = texts->next;
        free(texts);
    }
}

static void tear_down(void)
{
    faults_disarm();
    harness_assert_clean(); /* no thread of the library is left then to see the table change */
    forget();
}

TCase *harness_tcase(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    suite_add_tcase(suite, tcase);
    return tcase;
}

TCase *harness_tcase_tagged(Suite *suite, const char *tag)
{
    TCase *tcase = harness_tcase(suite, tag);

    tcase_set_tags(tcase, tag);
    return tcase;
}

TCase *harness_tcase_unchecked(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, set_up, forget);
    suite_add_tcase(suite, tcase);
    return tcase;
}

int harness_run(Suite *suite)
{
    const char *parent = getenv("TMPDIR");
    SRunner *runner = srunner_create(suite);
    int failed;

    if (!parent || parent[0] != '/' || strlen(parent) > 40)
        parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    make_dir(suite_dir, sizeof suite_dir, parent, "sr");
    harness_watch_closing();
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    remove_tree(suite_dir);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- files ---- */

bool harness_exists(const char *path)
{
    return harness_inode(path) != 0;
}

bool harness_is_socket(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

ino_t harness_inode(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 ? info.st_ino : 0;
}

unsigned harness_mode(const char *path)
{
    struct stat info;

    ck_assert_msg(lstat(path, &info) == 0, "%s: %m", path);
    return info.st_mode & 07777;
}

void harness_write(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_msg(fd >= 0, "%s: %m", path);
    ck_assert_int_eq(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    close(fd);
}

bool harness_holds(const char *path, const char *content)
{
    char bytes[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length;

    if (fd < 0)
        return false;
    length = read(fd, bytes, sizeof bytes);
    close(fd);
    return length == (ssize_t)strlen(content) && memcmp(bytes, content, (size_t)length) == 0;
}

/* ---- sockets of others ---- */

static socklen_t make_address(const char *path, int *out_dir, struct sockaddr_un *out)
{
    size_t length = strlen(path);
    const char *slash = strrchr(path, '/');

    *out_dir = -1;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (length < sizeof out->sun_path) {
        memcpy(out->sun_path, path, length);
    } else {
        char directory[4096];

        memcpy(directory, path, (size_t)(slash - path));
        directory[slash - path] = '\0';
        *out_dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        ck_assert_msg(*out_dir >= 0, "%s: %m", directory);
        snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d%s", *out_dir, slash);
    }
    if (path[0] != '@')
        return sizeof *out;
    out->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

static void close_dir(int dir)
{
    if (dir >= 0)
        close(dir);
}

int harness_bind(const char *path)
{
    struct sockaddr_un address;
    int dir, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t length = make_address(path, &dir, &address);

    ck_assert_int_ge(fd, 0);
    ck_assert_msg(bind(fd, (struct sockaddr *)&address, length) == 0, "%s: %m", path);
    ck_assert_int_eq(listen(fd, 16), 0);
    close_dir(dir);
    return fd;
}

void harness_leave_dead(const char *path)
{
    close(harness_bind(path));
    ck_assert(harness_is_socket(path));
}

int harness_dial(const char *path)
{
    struct sockaddr_un address;
    int dir, status = 0, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = make_address(path, &dir, &address);

    ck_assert_int_ge(fd, 0);
    if (connect(fd, (struct sockaddr *)&address, length) < 0)
        status = -errno;
    close_dir(dir);
    if (status == 0)
        return fd;
    close(fd);
    return status;
}

bool harness_can_dial(const char *path)
{
    int fd = harness_dial(path);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* ---- children and threads ---- */

static bool is_child;

#if defined(__SANITIZE_ADDRESS__)
int __lsan_is_turned_off(void);

/* A child that ends with handles held has leaked nothing that matters: it ends. */
int __lsan_is_turned_off(void)
{
    return is_child;
}
#endif

int harness_in_child(int (*body)(void *arg), void *arg)
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        /* No assertion here: another thread may have held the lock of the test library. */
        is_child = true;
        _exit(body(arg));
    }
    ck_assert_int_ge(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct together {
    pthread_barrier_t barrier;
    void (*body)(unsigned number, void *arg);
    void *arg;
};

struct member {
    struct together *together;
    unsigned number;
};

static void *run_member(void *arg)
{
    struct member *self = arg;

    pthread_barrier_wait(&self->together->barrier);
    self->together->body(self->number, self->together->arg);
    return NULL;
}

void harness_in_threads(unsigned count, void (*body)(unsigned number, void *arg), void *arg)
{
    struct together together = {.body = body, .arg = arg};
    struct member members[HARNESS_THREADS_MAX];
    pthread_t threads[HARNESS_THREADS_MAX];

    ck_assert_uint_le(count, HARNESS_THREADS_MAX);
    pthread_barrier_init(&together.barrier, NULL, count);
    for (unsigned i = 0; i < count; i++) {
        members[i] = (struct member){&together, i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_member, &members[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&together.barrier);
}

/* ---- registries ---- */

static sockref_options *make_options(int option, va_list arguments)
{
    sockref_options *options = sockref_options_new();

    ck_assert_ptr_nonnull(options);
    for (; option; option = va_arg(arguments, int))
        harness_assert_ok(sockref_options_set_int(options, option, va_arg(arguments, int)));
    return options;
}

sockref_options *harness_options(int option, ...)
{
    sockref_options *options;
    va_list arguments;

    va_start(arguments, option);
    options = make_options(option, arguments);
    va_end(arguments);
    return options;
}

sockref_registry *harness_registry(int option, ...)
{
    sockref_registry *registry = NULL;
    sockref_options *options;
    va_list arguments;

    va_start(arguments, option);
    options = make_options(option, arguments);
    va_end(arguments);
    harness_assert_ok(sockref_registry_new(options, &registry));
    sockref_options_free(options);
    return registry;
}

sockref *harness_listen(sockref_registry *registry, const char *path)
{
    sockref *ref = NULL;

    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &ref));
    ck_assert_ptr_nonnull(ref);
    return ref;
}

/* ---- the log ---- */

#define EVENTS_MAX 16

static struct {
    const char *event;
    unsigned count;
} logged[EVENTS_MAX];
static pthread_mutex_t logged_mutex = PTHREAD_MUTEX_INITIALIZER;

static void record_event(const sockref_log_record *record, void *user)
{
    (void)user;
    pthread_mutex_lock(&logged_mutex);
    for (unsigned i = 0; i < EVENTS_MAX; i++) {
        if (logged[i].event && strcmp(logged[i].event, record->event) != 0)
            continue;
        logged[i].event = record->event;
        logged[i].count += 1 + (unsigned)record->suppressed;
        break;
    }
    pthread_mutex_unlock(&logged_mutex);
}

void harness_log(void)
{
    memset(logged, 0, sizeof logged);
    harness_assert_ok(sockref_set_log(record_event, NULL, NULL));
}

unsigned harness_logged(const char *event)
{
    unsigned count = 0;

    pthread_mutex_lock(&logged_mutex);
    for (unsigned i = 0; i < EVENTS_MAX && logged[i].event; i++)
        if (strcmp(logged[i].event, event) == 0)
            count = logged[i].count;
    pthread_mutex_unlock(&logged_mutex);
    return count;
}

bool harness_has_v6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;

    if (fd >= 0)
        close(fd);
    if (!have)
        fputs("skipped: this machine has no ::1\n", stderr);
    return have;
}
