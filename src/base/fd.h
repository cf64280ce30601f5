/*
 * Descriptors: every one that the library opens is close-on-exec and non-blocking from birth, has
 * the number of no standard stream, and is noted in one set, so that a forked child can close its
 * copies. Opening and fork() exclude each other, so no descriptor escapes the set.
 */
#ifndef SR_BASE_FD_H
#define SR_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct sockaddr;

/* Each returns a descriptor that is noted, or -errno; nothing is described. Give it to
 * sr_fd_close(). */
int sr_fd_open(int dir, const char *path, int flags);
int sr_fd_open_mode(int dir, const char *path, int flags, mode_t mode);
int sr_fd_socket(int domain, int type);
int sr_fd_netlink(int family);
int sr_fd_accept(int listener);
int sr_fd_duplicate(int fd);
int sr_fd_epoll(void);
int sr_fd_event(void);
int sr_fd_timer(void);
int sr_fd_pipe(int out_fds[2]);
int sr_fd_socketpair(int type, int out_fds[2]); /* AF_UNIX */
int sr_fd_pidfd(pid_t pid);

/*
 * Receive a message with descriptors, which are noted; those that did not come are -1, and those
 * beyond most are closed, as is one of the sender that the socket was set to tell. *out_lost:
 * whether some were, or the process had no more. Returns its length or -errno.
 */
#define SR_FD_MOST_RECEIVED 32
ssize_t sr_fd_receive(int socket, void *data, size_t size, int *out_fds, size_t most,
                      bool *out_lost);

/* Note a descriptor that came from outside; -ENOMEM if that can't be done. */
int sr_fd_adopt(int fd);
/* Forget it; it is somebody else's again. */
void sr_fd_disown(int fd);
/*
 * Put one noted descriptor in the place of another, which is closed; the number of the first is
 * given back. Returns 0, or -errno with nothing changed.
 */
int sr_fd_replace(int fd, int old);
/* Change the mode of a file that a descriptor pins, which may be O_PATH: by way of /proc. Returns 0
 * or -errno. */
int sr_fd_change_mode(int fd, mode_t mode);
/* Whether there is that way now. */
bool sr_fd_has_proc(void);
/* Forget and close; -1 is allowed. */
void sr_fd_close(int fd);
void sr_fd_close_both(int first, int second);

/* How many are noted: the leak oracle of the tests. */
size_t sr_fd_count(void);

/* Around fork(): keep the opening of descriptors out; let it in again; and close all in the child.
 */
void sr_fd_before_fork(void);
void sr_fd_after_fork_in_parent(void);
void sr_fd_after_fork_in_child(void);

#endif
