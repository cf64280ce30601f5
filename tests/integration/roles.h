/*
 * Processes: this program again, playing another role. Parent and child talk over a socket, one
 * byte at a time.
 */
#ifndef TEST_ROLES_H
#define TEST_ROLES_H

#include "waiting.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sockref/sockref.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

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

#endif
