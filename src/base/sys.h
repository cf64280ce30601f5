/*
 * Every allocation and every system call of the library goes through this one table, so that a test
 * can make the n-th of each kind fail. free() is not in it: giving memory back can't fail.
 */
#ifndef SR_BASE_SYS_H
#define SR_BASE_SYS_H

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>

struct sr_sys {
    void *(*malloc)(size_t size);
    void *(*calloc)(size_t count, size_t size);
    void *(*realloc)(void *memory, size_t size);
    void *(*aligned_alloc)(size_t alignment, size_t size);
    void *(*mmap)(size_t size); /* anonymous, private, zeroed; MAP_FAILED on failure */

    int (*openat)(int dir, const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    int (*fstat)(int fd, struct stat *out);
    int (*fstatat)(int dir, const char *path, struct stat *out, int flags);
    int (*fchmod)(int fd, mode_t mode);
    int (*chmod)(const char *path, mode_t mode);
    int (*mkdir)(const char *path, mode_t mode);
    int (*unlinkat)(int dir, const char *path, int flags);
    int (*rename_new)(int dir, const char *from, const char *to); /* never over another file */
    int (*rename)(int dir, const char *from, const char *to);
    int (*link)(int dir, const char *from, const char *to); /* never over another file either */
    int (*duplicate)(int fd);                               /* close-on-exec */
    int (*replace)(int fd, int old);                        /* dup3, close-on-exec */
    int (*tame)(int fd);                                    /* non-blocking, close-on-exec */
    int (*lock)(int fd, int command, struct flock *lock);   /* fcntl, F_OFD_* */
    ssize_t (*pread)(int fd, void *buffer, size_t length, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t length, off_t offset);
    int (*fstatfs)(int fd, struct statfs *out);
    /* statx, not through a link, of the descriptor itself by "": as fstatat, but for times; and
     * when the inode was made, 0: not told. */
    int (*birth)(int dir, const char *path, struct stat *out, uint64_t *out_ns);
    int (*touch)(int dir, const char *path); /* utimensat, now, not through a link */

    int (*socket)(int domain, int type, int protocol);
    int (*bind)(int fd, const struct sockaddr *address, socklen_t length);
    int (*listen)(int fd, int backlog);
    int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
    int (*accept4)(int fd, struct sockaddr *address, socklen_t *length, int flags);
    int (*shutdown)(int fd, int how);
    int (*getsockopt)(int fd, int level, int option, void *value, socklen_t *length);
    int (*setsockopt)(int fd, int level, int option, const void *value, socklen_t length);
    int (*getsockname)(int fd, struct sockaddr *address, socklen_t *length);
    int (*getpeername)(int fd, struct sockaddr *address, socklen_t *length);
    ssize_t (*recv)(int fd, void *buffer, size_t length, int flags);
    ssize_t (*send)(int fd, const void *buffer, size_t length, int flags);
    ssize_t (*sendmsg)(int fd, const struct msghdr *message, int flags);
    ssize_t (*recvmsg)(int fd, struct msghdr *message, int flags);
    int (*socketpair)(int domain, int type, int protocol, int fds[2]);
    int (*pidfd_open)(pid_t pid, unsigned flags);

    int (*epoll_create1)(int flags);
    int (*epoll_ctl)(int epoll, int operation, int fd, struct epoll_event *event);
    int (*epoll_wait)(int epoll, struct epoll_event *events, int count, int timeout_ms);
    int (*poll)(struct pollfd *fds, nfds_t count, int timeout_ms);
    int (*eventfd)(unsigned initial, int flags);
    int (*timerfd_create)(int clock, int flags);
    int (*timerfd_settime)(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);
    int (*pipe2)(int fds[2], int flags);
    ssize_t (*read)(int fd, void *buffer, size_t length);
    ssize_t (*write)(int fd, const void *buffer, size_t length);

    int (*thread_create)(pthread_t *out, const pthread_attr_t *attr, void *(*body)(void *),
                         void *arg); /* returns an errno value, as pthread_create */
    int (*spawn_guard)(const char *program, int command, int pidfd, pid_t *out_pid); /* or -errno */
};

extern struct sr_sys sr_sys;

#endif
