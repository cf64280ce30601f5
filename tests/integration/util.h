/*
 * What the integration suites share. They use nothing of the library but its public interface, on
 * real files, sockets, threads and processes. Each case has a directory of its own and leaves
 * everything as it was.
 */
#ifndef TEST_UTIL_H
#define TEST_UTIL_H

#include "harness/sanitized.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sockref/net.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What hardly depends on the backend is shown at full length with the usual one only. */
#define IS_BRIEF (IS_SANITIZED || getenv("SOCKREF_TEST_BACKEND"))

#define PATIENCE_MS 25000

/* What this machine can't show is said, and does not count as shown. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        fprintf(stderr, "skipped: %s: %s\n", __func__, reason);                                    \
        return;                                                                                    \
    } while (0)

static inline int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for a condition; the case fails where it does not come true in time. */
#define WAIT_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = now_ms() + PATIENCE_MS;                                                   \
        while (!(condition)) {                                                                     \
            ck_assert_msg(now_ms() < until_, "still not: %s", #condition);                         \
            poll(NULL, 0, 1);                                                                      \
        }                                                                                          \
    } while (0)

static inline int count_entries(const char *name)
{
    DIR *stream = opendir(name);
    struct dirent *item;
    int count = 0;

    if (!stream)
        return -1;
    while ((item = readdir(stream)))
        count += item->d_name[0] != '.' || (item->d_name[1] && item->d_name[1] != '.');
    closedir(stream);
    return count;
}

static inline int count_fds(void)
{
    return count_entries("/proc/self/fd") - 1; /* without the one that looks */
}

static inline int count_threads(void)
{
    return count_entries("/proc/self/task");
}

/* Files. */

static inline bool exists(const char *name)
{
    struct stat info;

    return lstat(name, &info) == 0;
}

static inline bool is_socket(const char *name)
{
    struct stat info;

    return lstat(name, &info) == 0 && S_ISSOCK(info.st_mode);
}

static inline unsigned mode_of(const char *name)
{
    struct stat info;

    ck_assert_int_eq(lstat(name, &info), 0);
    return info.st_mode & 07777;
}

static inline ino_t inode_of(const char *name)
{
    struct stat info;

    ck_assert_int_eq(lstat(name, &info), 0);
    return info.st_ino;
}

static inline void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

static inline bool file_holds(const char *name, const char *text)
{
    char found[256] = "";
    FILE *file = fopen(name, "r");
    size_t length;

    if (!file)
        return false;
    length = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    return length == strlen(text) && memcmp(found, text, length) == 0;
}

static int sockets_found __attribute__((unused)), beside_found __attribute__((unused));

/* Lock files and control sockets, which stand beside a shared socket. */
static inline bool is_beside(const char *leaf)
{
    size_t length = strlen(leaf);

    return leaf[0] == '.' && length > 7 &&
           (strcmp(leaf + length - 7, ".srlock") == 0 || strcmp(leaf + length - 6, ".srctl") == 0);
}

static inline int note_socket(const char *name, const struct stat *info, int type, struct FTW *at)
{
    (void)type;
    if (is_beside(name + at->base))
        beside_found++;
    else
        sockets_found += S_ISSOCK(info->st_mode);
    return 0;
}

static inline int count_beside(const char *name)
{
    beside_found = 0;
    nftw(name, note_socket, 8, FTW_PHYS);
    return beside_found;
}

static inline int count_sockets(const char *name)
{
    sockets_found = 0;
    nftw(name, note_socket, 8, FTW_PHYS);
    return sockets_found;
}

static inline int remove_one(const char *name, const struct stat *info, int type, struct FTW *at)
{
    (void)info, (void)type, (void)at;
    return remove(name);
}

/* The case: its directory, a path in it, and what must be found again at its end. */

static char directory[64], path[96];
static struct {
    uint64_t references, entries, buffers;
    int fds, threads;
} before;

static inline void *end_at_once(void *unused)
{
    return unused;
}

/* A sanitizer starts a thread of its own with the first one of the program: that is to be there
 * before. */
static inline void start_what_the_sanitizer_needs(void)
{
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, end_at_once, NULL), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* The guard is there from the first shared name on, and stays: not what a case leaves behind. */
static inline void start_guard(void)
{
    sockref *ref;

    ck_assert_int_eq(sockref_registry_listen(NULL, path, NULL, &ref), 0);
    sockref_release(ref);
}

static inline void setup(void)
{
    if (IS_SANITIZED)
        start_what_the_sanitizer_needs();
    strcpy(directory, "/tmp/sockref-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/s.sock", directory);
    start_guard();
    sockref_live_counts(&before.references, &before.entries, &before.buffers);
    before.fds = count_fds();
    before.threads = count_threads();
}

static inline void check_counts_are_back(void)
{
    uint64_t references, entries, buffers;

    sockref_live_counts(&references, &entries, &buffers);
    ck_assert_uint_eq(references, before.references);
    ck_assert_uint_eq(entries, before.entries);
    ck_assert_uint_eq(buffers, before.buffers);
}

static inline void teardown(void)
{
    ck_assert_int_eq(sockref_registry_drain(NULL, PATIENCE_MS), 0);
    WAIT_UNTIL(count_threads() == before.threads);
    check_counts_are_back();
    ck_assert_int_eq(count_fds(), before.fds);
    ck_assert_int_eq(count_sockets(directory), 0);
    ck_assert_int_eq(count_beside(directory), 0);
    ck_assert_int_eq(nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* A path in the directory of the case; one of the last eight that were asked for. */
static inline char *file(const char *leaf)
{
    static _Thread_local char ring[8][512];
    static _Thread_local unsigned next;
    char *out = ring[next++ % 8];

    snprintf(out, sizeof ring[0], "%s/%s", directory, leaf);
    return out;
}

/* Sockets that are not sockref's. */

static inline socklen_t make_address(const char *name, struct sockaddr_un *out)
{
    size_t length = strlen(name);

    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    if (length >= sizeof out->sun_path)
        return 0; /* refused by any call */
    memcpy(out->sun_path, name, length);
    if (name[0] == '@')
        out->sun_path[0] = '\0';
    else
        length++;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Connect as any program would. Returns the descriptor or -errno. */
static inline int try_dial(const char *name)
{
    struct sockaddr_un address;
    socklen_t length = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), reason;

    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, length) == 0)
        return fd;
    reason = errno;
    close(fd);
    return -reason;
}

static inline int dial(const char *name)
{
    int fd = try_dial(name);

    ck_assert_msg(fd >= 0, "connect %s: %s", name, strerror(-fd));
    return fd;
}

static inline bool is_connectable(const char *name)
{
    int fd = try_dial(name);

    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* A listening socket bound with the system's own calls. */
static inline int bind_plain(const char *name)
{
    struct sockaddr_un address;
    socklen_t length = make_address(name, &address);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
    ck_assert_int_eq(listen(fd, 64), 0);
    return fd;
}

static inline void leave_dead_socket(const char *name)
{
    close(bind_plain(name));
    ck_assert(is_socket(name));
}

/* Starts. */

static inline sockref *start(sockref_registry *registry, const char *name)
{
    sockref *ref = NULL;
    int status = sockref_registry_listen(registry, name, NULL, &ref);

    ck_assert_msg(status == 0, "%s: %s", sockref_status_name(status),
                  sockref_last_error()->message);
    ck_assert_ptr_nonnull(ref);
    return ref;
}

static inline sockref_options *make_options(int option, int64_t value)
{
    sockref_options *options = sockref_options_new();

    ck_assert_ptr_nonnull(options);
    if (option)
        ck_assert_int_eq(sockref_options_set_int(options, option, value), 0);
    return options;
}

static inline int try_start_with(sockref_registry *registry, const char *name, int option,
                                 int64_t value, sockref **out_ref)
{
    sockref_options *options = make_options(option, value);
    int status = sockref_registry_listen(registry, name, options, out_ref);

    sockref_options_free(options);
    return status;
}

static inline sockref *start_with(sockref_registry *registry, const char *name, int option,
                                  int64_t value)
{
    sockref *ref = NULL;

    ck_assert_int_eq(try_start_with(registry, name, option, value, &ref), 0);
    return ref;
}

/* The same for a child, with up to two options (0: none). */
static inline int listen_with(const char *name, int first, int64_t first_value, int second,
                              int64_t second_value, sockref **out_ref)
{
    sockref_options *options = sockref_options_new();
    int status = -ENOMEM;

    if (options && (!first || sockref_options_set_int(options, first, first_value) == 0) &&
        (!second || sockref_options_set_int(options, second, second_value) == 0))
        status = sockref_registry_listen(NULL, name, options, out_ref);
    sockref_options_free(options);
    return status;
}

static inline int try_start(sockref_registry *registry, const char *name)
{
    sockref *ref = NULL;
    int status = sockref_registry_listen(registry, name, NULL, &ref);

    sockref_release(ref);
    return status;
}

static inline sockref_registry *make_registry(int option, int64_t value)
{
    sockref_options *options = make_options(option, value);
    sockref_registry *registry = NULL;

    ck_assert_int_eq(sockref_registry_new(options, &registry), 0);
    sockref_options_free(options);
    return registry;
}

/* A registry whose default names stand in the directory of the case. */
static inline sockref_registry *make_registry_here(void)
{
    sockref_options *options = sockref_options_new();
    sockref_registry *registry = NULL;

    ck_assert_int_eq(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, directory), 0);
    ck_assert_int_eq(sockref_registry_new(options, &registry), 0);
    sockref_options_free(options);
    return registry;
}

/* Whether a held name is registered, and a client gets through to its listener; the client is let
 * go again. */
static inline bool is_in_use_at(sockref *ref, const char *name)
{
    int fd, accepted;

    if (!sockref_is_active(ref) || !sockref_registry_is_socket_active(NULL, name))
        return false;
    fd = try_dial(name);
    if (fd < 0)
        return false;
    /* Whosever connection it is: there is one for each that connected. */
    accepted = accept(sockref_fd(ref), NULL, NULL);
    close(fd);
    if (accepted < 0)
        return false;
    close(accepted);
    return true;
}

/* Threads: all wait for the last one, then run at once. */

struct crew {
    pthread_barrier_t barrier;
    void (*work)(int number, void *user);
    void *user;
    atomic_int next;
};

static inline void *join_crew(void *arg)
{
    struct crew *crew = arg;
    int number = atomic_fetch_add(&crew->next, 1);

    pthread_barrier_wait(&crew->barrier);
    crew->work(number, crew->user);
    return NULL;
}

static inline void run_threads(int count, void (*work)(int number, void *user), void *user)
{
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    struct crew crew = {.work = work, .user = user};
    pthread_attr_t attributes;

    ck_assert_ptr_nonnull(threads);
    pthread_barrier_init(&crew.barrier, NULL, (unsigned)count);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_create(&threads[i], &attributes, join_crew, &crew), 0);
    for (int i = 0; i < count; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    pthread_attr_destroy(&attributes);
    pthread_barrier_destroy(&crew.barrier);
    free(threads);
}

/*
 * Processes: this program again, playing another role. Parent and child talk over a socket, one
 * byte at a time.
 */

struct role {
    const char *name;
    int (*play)(const char *argument);
};

struct child {
    pid_t pid;
    int talk;
};

static int talk __attribute__((unused)) = -1; /* in a child: to the parent */

static inline void say_to(int fd, char word)
{
    ck_assert_int_eq(send(fd, &word, 1, MSG_NOSIGNAL), 1);
}

/* The next byte; 0: the other end has closed. */
static inline char hear_from(int fd)
{
    struct pollfd item = {.fd = fd, .events = POLLIN};
    char word = 0;

    ck_assert_msg(poll(&item, 1, PATIENCE_MS) == 1, "the other process says nothing");
    return recv(fd, &word, 1, 0) == 1 ? word : 0;
}

/* The same for the child, which is no test and must not assert. */
static inline void say(char word)
{
    if (send(talk, &word, 1, MSG_NOSIGNAL) != 1)
        _exit(99);
}

static inline char hear(void)
{
    char word = 0;

    return recv(talk, &word, 1, 0) == 1 ? word : 0;
}

static inline struct child spawn_with(const char *const *command, const char *role,
                                      const char *argument)
{
    const char *argv[24];
    char number[12];
    int pair[2], argc = 0;
    struct child child;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    snprintf(number, sizeof number, "%d", pair[1]);
    for (; command && command[argc]; argc++)
        argv[argc] = command[argc];
    argv[argc++] = "/proc/self/exe";
    if (command) { /* the command's own /proc/self/exe would be another program */
        static char self[4096];
        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

        ck_assert_int_gt(length, 0);
        self[length] = '\0';
        argv[argc - 1] = self;
    }
    argv[argc++] = "--as";
    argv[argc++] = role;
    argv[argc++] = number;
    argv[argc++] = argument ? argument : "";
    argv[argc] = NULL;
    child.pid = fork();
    ck_assert_int_ge(child.pid, 0);
    if (child.pid == 0) {
        fcntl(pair[1], F_SETFD, 0);
        execvp(argv[0], (char **)argv);
        _exit(127);
    }
    close(pair[1]);
    child.talk = pair[0];
    return child;
}

static inline struct child spawn(const char *role, const char *argument)
{
    return spawn_with(NULL, role, argument);
}

/* Wait for the end of a child and give its wait status. */
static inline int end_of(pid_t pid)
{
    int64_t until = now_ms() + PATIENCE_MS;
    int status;
    pid_t ended;

    while ((ended = waitpid(pid, &status, WNOHANG)) == 0) {
        if (now_ms() >= until) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            ck_abort_msg("the child does not end by itself");
        }
        poll(NULL, 0, 1);
    }
    ck_assert_int_eq(ended, pid);
    return status;
}

static inline int end_child(struct child *child)
{
    int status = end_of(child->pid);

    close(child->talk);
    return status;
}

static inline bool exited_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * Run something in a forked child that has no part in the parent's checks; it returns its exit
 * status. The child makes no check of libcheck's: another thread may have held its lock at the
 * fork.
 */
static inline pid_t fork_to(int (*work)(void *user), void *user)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(work(user));
    ck_assert_int_ge(pid, 0);
    return pid;
}

static inline bool in_child(int (*work)(void *user), void *user)
{
    return exited_well(end_of(fork_to(work, user)));
}

/* In a child: fail with the line that tells what was expected. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so in the child: %s (%s)\n", __FILE__, __LINE__,           \
                    #condition, sockref_last_error()->message);                                    \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

#define NOBODY 65534

/* Become an unprivileged user; false: we can't. */
static inline bool become_nobody(void)
{
    return setgid(NOBODY) == 0 && setuid(NOBODY) == 0;
}

static inline bool can_become_nobody(void)
{
    return geteuid() == 0;
}

/* What the sanitizers are told: a program may fork while it has threads, and one that exits with
 * references held frees nothing. */
static bool is_role __attribute__((unused));

#if defined(__SANITIZE_ADDRESS__)
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return is_role;
}
#elif defined(__SANITIZE_THREAD__)
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

static inline int run_suite(Suite *suite, int argc, char **argv, const struct role *roles)
{
    SRunner *runner;
    int failed;

    if (argc == 5 && strcmp(argv[1], "--as") == 0) {
        srunner_free(srunner_create(suite)); /* a role is no suite */
        is_role = true;
        talk = atoi(argv[3]);
        fcntl(talk, F_SETFD, FD_CLOEXEC);
        for (; roles && roles->name; roles++)
            if (strcmp(roles->name, argv[2]) == 0)
                return roles->play(argv[4]);
        return 126;
    }
    signal(SIGPIPE, SIG_DFL);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#endif
