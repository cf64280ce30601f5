/* How a guard lives: that it is replaced, what its host sees of it, and what it reads: src/guard
 * and src/base/spawn.c, with real processes and signals. */
#include "base/clock.h"
#include "base/spawn.h"
#include "name/guard_wire.h"
#include "test-guard-helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

/* ---- guards that fail ---- */

static void open_two(void *arg)
{
    pid_t guard;

    (void)arg;
    own_name(&names[0], harness_at("a"));
    open_name(&names[1], harness_at("forgotten"));
    guard = sr_guard_status();
    step(guard);
    sr_guard_forget(&names[1].guarded);
    own_name(&names[2], harness_at("b"));
    CHECK(sr_guard_status() != guard);
    step(sr_guard_status());
}

START_TEST(a_dead_guard_is_replaced_and_told_all)
{
    struct host host = begin(open_two, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert_uint_eq(files(), 1);
    ck_assert(harness_is_socket(harness_at("forgotten")));
}
END_TEST

static void pin_late(void *arg)
{
    (void)arg;
    watch_name(&names[0], harness_at("a"), false);
    names[0].listener = harness_bind(harness_at("a"));
    step(sr_guard_status());
    pin_name(&names[0]);
    step(sr_guard_status());
}

START_TEST(a_pin_notices_it_too)
{
    struct host host = begin(pin_late, NULL);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert(!harness_exists(harness_at("a")));
}
END_TEST

static pid_t pid_of(int process)
{
    FILE *stream = fopen(harness_text("/proc/self/fdinfo/%d", process), "r");
    char text[64];
    int pid = 0;

    ck_assert_ptr_nonnull(stream);
    while (fgets(text, sizeof text, stream))
        sscanf(text, "Pid: %d", &pid);
    fclose(stream);
    return pid;
}

static void open_until_replaced(void *arg)
{
    pid_t guard;
    int i = 0;

    (void)arg;
    own_name(&names[i++], numbered(0));
    guard = sr_guard_status();
    step(guard);
    while (sr_guard_status() == guard) {
        CHECK(i < NAMES_MAX - 1);
        open_name(&names[i], numbered(i));
        forget_name(&names[i]); /* what is not told of these does not matter */
        CHECK(unlink(numbered(i)) == 0);
        close(names[i].listener);
        i++;
    }
    own_name(&names[i], numbered(i));
    step(sr_guard_status());
    step(0);
}

START_TEST(a_stopped_guard_is_replaced)
{
    struct host host = begin(open_until_replaced, NULL);
    struct host old = host;

    ck_assert_int_eq(send_signal(old.guard, SIGSTOP), 0);
    await_stop(pid_of(old.guard));
    host.guard = open_process(go_on(&host));
    /* The old one wakes up, finds itself alone and ends; the names are not dead. */
    ck_assert_int_eq(send_signal(old.guard, SIGCONT), 0);
    await_guard(&old);
    ck_assert_uint_eq(harness_sockets(), 2);
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

START_TEST(it_is_not_terminated_while_its_parent_lives)
{
    static const int signals[] = {SIGTERM, SIGINT,  SIGHUP,  SIGPIPE,
                                  SIGQUIT, SIGUSR1, SIGALRM, SIGTSTP};
    struct host host = begin(own_one, NULL);

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        ck_assert_int_eq(send_signal(host.guard, signals[i]), 0);
    ck_assert(!has_ended(host.guard, 50));
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

/* ---- what the host sees of it ---- */

static atomic_int children_ended;

static void count_child(int number)
{
    (void)number;
    atomic_fetch_add(&children_ended, 1);
}

static void be_a_host_with_children(void *arg)
{
    void (*handler)(int) = *(void (**)(int))arg;
    struct sigaction before;

    CHECK(signal(SIGCHLD, handler) != SIG_ERR);
    own_name(&names[0], harness_at("a"));
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    step(sr_guard_status());
    own_name(&names[1], harness_at("b")); /* by another one */
    CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
    CHECK(atomic_load(&children_ended) == 0);
    CHECK(sigaction(SIGCHLD, NULL, &before) == 0 && before.sa_handler == handler);
    step(sr_guard_status());
}

static void (*const handlers[])(int) = {count_child, SIG_IGN, SIG_DFL};

START_TEST(the_host_has_no_child)
{
    struct host host = begin(be_a_host_with_children, (void *)&handlers[_i]);

    kill_guard(&host);
    host.guard = open_process(go_on(&host));
    end(&host);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

static void be_an_odd_host(void *arg)
{
    sigset_t all;

    line = fcntl(line, F_DUPFD_CLOEXEC, 100);
    CHECK(setenv("LD_PRELOAD", "", 1) == 0);
    CHECK(dup2(0, 4) == 4 && dup2(0, 5) == 5 && dup2(0, 77) == 77); /* not close-on-exec */
    CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_pidfd_open), 1, arg ? ENOSYS : 0);
    CHECK(chdir(harness_dir()) == 0);
    open_name(&names[0], harness_at("a"));
    step(sr_guard_status());
    step(0);
}

static const char *link_of(pid_t pid, const char *what)
{
    static char target[512];
    ssize_t length =
        readlink(harness_text("/proc/%d/%s", (int)pid, what), target, sizeof target - 1);

    target[length < 0 ? 0 : length] = '\0';
    return target;
}

/* Wait until it reads what it was told: it is prepared then. */
static void await_sleep(pid_t pid)
{
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);

    while (strncmp(link_of(pid, "fd/5"), harness_dir(), strlen(harness_dir())) != 0) {
        ck_assert_uint_lt(sr_clock_ns(), deadline);
        sched_yield();
    }
}

static unsigned count_descriptors(pid_t pid)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += link_of(pid, harness_text("fd/%d", fd))[0] != '\0';
    return count;
}

static uint64_t status_of(pid_t pid, const char *format)
{
    FILE *stream = fopen(harness_text("/proc/%d/status", (int)pid), "r");
    unsigned long value = 0;
    char text[256];

    ck_assert_ptr_nonnull(stream);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    while (fgets(text, sizeof text, stream))
        sscanf(text, format, &value);
#pragma GCC diagnostic pop
    fclose(stream);
    return value;
}

START_TEST(it_inherits_nothing)
{
    struct host host = begin(be_an_odd_host, _i ? harness_dir : NULL);
    pid_t pid = pid_of(host.guard);
    char byte;
    int fd;

    await_sleep(pid);
    ck_assert_int_eq(getsid(pid), pid);
    ck_assert_int_eq(getpgid(pid), pid);
    ck_assert_str_eq(link_of(pid, "cwd"), "/");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(link_of(pid, harness_text("fd/%d", i)), "/dev/null");
    ck_assert_int_eq(strncmp(link_of(pid, "fd/3"), "socket:", 7), 0);
    if (_i)
        ck_assert_str_ne(link_of(pid, "fd/4"), "anon_inode:[pidfd]");
    else
        ck_assert_str_eq(link_of(pid, "fd/4"), "anon_inode:[pidfd]");
    ck_assert_uint_eq(status_of(pid, "SigBlk: %lx"), 0);
    fd = open(harness_text("/proc/%d/environ", (int)pid), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(read(fd, &byte, 1), 0);
    close(fd);
    /* its own five, the directory and the pin */
    while (count_descriptors(pid) < 7 - (unsigned)(_i > 0))
        sched_yield();
    ck_assert_uint_eq(count_descriptors(pid), 7 - (unsigned)(_i > 0));
    end(&host);
}
END_TEST

/* Its mounts are its own: a socket, which nobody can open, stands in the place of /dev/null. */
static void own_one_without_null(void *socket)
{
    bool is_possible =
        unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;

    CHECK(!is_possible || mount(socket, "/dev/null", NULL, MS_BIND, NULL) == 0);
    own_one(NULL);
}

/* As after a chroot() to where there is no /dev. */
START_TEST(it_needs_no_null_device)
{
    char *socket = (char *)harness_at("null");
    int listener = harness_bind(socket);
    struct host host = begin(own_one_without_null, socket);
    pid_t pid = pid_of(host.guard);

    await_sleep(pid);
    for (int i = 0; i < 3; i++)
        ck_assert_str_ne(link_of(pid, harness_text("fd/%d", i)), "");
    end(&host);
    close(listener);
    ck_assert_int_eq(unlink(socket), 0);
    ck_assert_uint_eq(files(), 0);
}
END_TEST

/* Sanitizers, and libraries, bring memory of their own: what is meant is the static program. */
static bool is_static(pid_t pid)
{
    FILE *stream = fopen(harness_text("/proc/%d/maps", (int)pid), "r");
    bool has_library = false;
    char text[512];

    ck_assert_ptr_nonnull(stream);
    while (fgets(text, sizeof text, stream))
        has_library |= strstr(text, ".so") != NULL;
    fclose(stream);
    return !has_library;
}

START_TEST(it_is_small)
{
    struct host host = begin(own_one, NULL);
    pid_t pid = pid_of(host.guard);

    await_sleep(pid);
    ck_assert_uint_gt(status_of(pid, "VmRSS: %lu kB"), 0);
    if (is_static(pid))
        ck_assert_uint_lt(status_of(pid, "VmRSS: %lu kB"), 1024);
    end(&host);
}
END_TEST

START_TEST(by_hand_it_does_nothing)
{
    const char *program = getenv("SOCKREF_GUARD");
    char text[256];
    FILE *stream;
    int status;

    if (!program)
        return;
    stream = popen(harness_text("%s 2>&1 3>&-", program), "r");
    ck_assert_ptr_nonnull(stream);
    ck_assert_ptr_nonnull(fgets(text, sizeof text, stream));
    ck_assert_int_eq(strncmp(text, "usage: ", 7), 0);
    ck_assert_ptr_null(fgets(text, sizeof text, stream));
    status = pclose(stream);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}
END_TEST

/* ---- what it reads ---- */

static int send_raw(int fd, const void *bytes, size_t length, int passed)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)bytes, length};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};

    if (passed >= 0) {
        packet.msg_control = &control;
        packet.msg_controllen = sizeof control;
        control.header = (struct cmsghdr){CMSG_LEN(sizeof passed), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
    }
    return (int)sendmsg(fd, &packet, MSG_NOSIGNAL);
}

/* A guard without a process, so its parent is dead when the socket ends. */
static int start_bare(int *out_guard)
{
    int fds[2];
    pid_t pid = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(sr_spawn_guard(getenv("SOCKREF_GUARD"), fds[1], -1, &pid), 0);
    close(fds[1]);
    *out_guard = open_process(pid);
    return fds[0];
}

/* Tell one name and its pin in so many bytes, and wait for the end. */
static void tell_and_end(enum sr_guard_op op, int32_t more, int passed)
{
    struct sr_guard_message message = {.version = SR_GUARD_VERSION, .op = op, .id = 1};
    const char *path = harness_at("a");
    size_t length = SR_GUARD_HEAD + strlen(path) + 1;
    int guard, fd = start_bare(&guard);
    struct stat info;

    ck_assert_int_eq(lstat(path, &info), 0);
    strcpy(message.path, path);
    ck_assert_int_gt(send_raw(fd, "x", 1, -1), 0);
    ck_assert_int_gt(send_raw(fd, &message, (size_t)((int32_t)length + more), passed), 0);
    message.op = SR_GUARD_PIN;
    message.device = info.st_dev;
    message.inode = info.st_ino;
    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, -1), 0);
    message.op = SR_GUARD_FORGET;
    message.id = 2;
    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, passed), 0);
    close(fd);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    close(guard);
}

START_TEST(nonsense_is_not_heeded)
{
    int32_t of_path = (int32_t)strlen(harness_at("a")) + 1;
    struct sr_place place;
    int file;

    harness_write(harness_at("file"), "x");
    file = open(harness_at("file"), O_PATH | O_CLOEXEC);
    harness_leave_dead(harness_at("a"));
    harness_assert_ok(sr_place_open(harness_at("a"), &place));
    tell_and_end(SR_GUARD_WATCH, -(int32_t)SR_GUARD_HEAD - of_path + 3, place.dir);
    tell_and_end(SR_GUARD_WATCH, -of_path - 1, place.dir);
    tell_and_end(SR_GUARD_WATCH, -of_path, place.dir);
    tell_and_end(SR_GUARD_WATCH, -1, place.dir);
    tell_and_end(SR_GUARD_WATCH, 1, place.dir);
    tell_and_end(SR_GUARD_WATCH, 0, -1);
    tell_and_end(SR_GUARD_WATCH, 0, file);
    tell_and_end(SR_GUARD_FORGET, 0, place.dir);
    tell_and_end(77, 0, place.dir);
    ck_assert(harness_is_socket(harness_at("a")));
    tell_and_end(SR_GUARD_WATCH, 0, place.dir); /* what is meant is heeded */
    ck_assert(!harness_exists(harness_at("a")));
    ck_assert(harness_exists(harness_at("file")));
    close(file);
    sr_place_close(&place);
}
END_TEST

/* Both are one end of a pipe, whose other end tells when they are closed. */
START_TEST(a_descriptor_too_many_is_closed)
{
    struct sr_guard_message message = {.version = SR_GUARD_VERSION, .op = SR_GUARD_FORGET, .id = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec part = {&message, SR_GUARD_HEAD};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof control};
    int guard, ends[2], fd = start_bare(&guard);
    struct pollfd closed;

    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    control.header = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.header), (int[]){ends[1], ends[1]}, 2 * sizeof(int));
    ck_assert_int_eq(sendmsg(fd, &packet, MSG_NOSIGNAL), SR_GUARD_HEAD);
    close(ends[1]);
    closed = (struct pollfd){.fd = ends[0]};
    ck_assert_int_eq(poll(&closed, 1, HARNESS_PATIENCE_MS), 1);
    ck_assert(!has_ended(guard, 0));
    close(fd);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    close(ends[0]);
    close(guard);
}
END_TEST

/* Then the library is of another version: it is told at the next message that there is no guard. */
START_TEST(another_version_ends_it)
{
    struct sr_guard_message message = {.version = SR_GUARD_VERSION + 1};
    int guard, fd = start_bare(&guard);

    ck_assert_int_gt(send_raw(fd, &message, SR_GUARD_HEAD, -1), 0);
    ck_assert(has_ended(guard, HARNESS_PATIENCE_MS));
    ck_assert_int_eq(send_raw(fd, &message, SR_GUARD_HEAD, -1), -1);
    close(guard);
    close(fd);
}
END_TEST

START_TEST(a_program_that_cannot_be_run_is_told)
{
    pid_t pid = 0;

    ck_assert_int_eq(sr_spawn_guard("/nonexistent", 0, -1, &pid), -ENOENT);
    ck_assert_int_eq(sr_spawn_guard(harness_dir(), 0, -1, &pid), -EACCES);
    ck_assert_int_eq(sr_spawn_guard("/bin/true", 999, -1, &pid), -EBADF);
    ck_assert_int_eq(pid, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard-life");
    TCase *tcase;

    tcase = harness_tcase(suite, "guards");
    tcase_add_test(tcase, a_pin_notices_it_too);
    tcase_add_test(tcase, a_stopped_guard_is_replaced);
    tcase_add_test(tcase, it_is_not_terminated_while_its_parent_lives);
    tcase_add_loop_test(tcase, the_host_has_no_child, 0, 3);
    tcase_add_loop_test(tcase, it_inherits_nothing, 0, 2);
    tcase_add_test(tcase, it_needs_no_null_device);
    tcase_add_test(tcase, it_is_small);
    tcase_add_test(tcase, by_hand_it_does_nothing);
    tcase_add_test(tcase, nonsense_is_not_heeded);
    tcase_add_test(tcase, a_descriptor_too_many_is_closed);
    tcase_add_test(tcase, another_version_ends_it);
    tcase_add_test(tcase, a_program_that_cannot_be_run_is_told);
    tcase = harness_tcase_unchecked(suite, "left");
    tcase_add_test(tcase, a_dead_guard_is_replaced_and_told_all);
    return harness_run(suite);
}
