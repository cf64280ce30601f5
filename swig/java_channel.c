/*
 * The system calls of the Java channels (Sockets.java).
 *
 * A call answers what the system did, or -errno; it throws nothing. A descriptor is in blocking mode, so that a
 * thread of the system's waits inside the call itself; whoever must not wait says so call by call. Closing wakes who
 * waits there by shutdown(), and the descriptor is closed by the last who leaves (Handle.java): no number is
 * closed under a call.
 */
#include "java_shim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sockref/net.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKETS(RESULT, NAME) JNIEXPORT RESULT JNICALL Java_org_sockref_Sockets_##NAME

/* What is copied between an array and the system at a time. */
#define MOST_COPIED 65536
#define MOST_PIECES 64
/* Of one turn of the poller. */
#define MOST_EVENTS 64
/* Numbers below are standard input and output, and 0 is nothing to Handle.java. */
#define FIRST_FD 3
/* Added to a number of bytes: nothing was left behind them (Sockets.java). */
#define DRAINED ((jlong)1 << 32)

static jint result_of(ssize_t result)
{
    return result < 0 ? -errno : (jint)result;
}

/* A call that brings less than was asked for has left nothing, but for one that ended at a passed descriptor. */
static jlong receive_pieces(int fd, struct iovec *pieces, size_t count, jboolean wait)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    size_t room = 0;
    ssize_t got;

    do
        got = recvmsg(fd, &message, wait ? 0 : MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got <= 0 || message.msg_flags & MSG_CTRUNC)
        return result_of(got);
    for (size_t i = 0; i < count; i++)
        room += pieces[i].iov_len;
    return (size_t)got < room ? got | DRAINED : got;
}

static jint send_pieces(int fd, struct iovec *pieces, size_t count, jboolean wait)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent;

    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return result_of(sent);
}

static jlong receive_bytes(int fd, void *bytes, size_t length, jboolean wait)
{
    return receive_pieces(fd, &(struct iovec){.iov_base = bytes, .iov_len = length}, 1, wait);
}

static jint send_bytes(int fd, const void *bytes, size_t length, jboolean wait)
{
    ssize_t sent;

    do
        sent = send(fd, bytes, length, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
    while (sent < 0 && errno == EINTR);
    return result_of(sent);
}

/* ---- one buffer */

static jint at_most(jint length)
{
    return length < MOST_COPIED ? length : MOST_COPIED;
}

SOCKETS(jlong, receive)
(JNIEnv *env, jclass self, jint fd, jbyteArray array, jint offset, jint length, jboolean wait)
{
    struct sr_java_copy copy;
    jlong got;

    (void)self;
    length = at_most(length);
    if (!sr_java_copy_begin(&copy, length))
        return -ENOMEM;
    got = receive_bytes(fd, copy.bytes, (size_t)length, wait);
    if (got > 0)
        (*env)->SetByteArrayRegion(env, array, offset, (jint)got, copy.bytes);
    sr_java_copy_end(&copy);
    return got;
}

SOCKETS(jlong, receiveDirect)
(JNIEnv *env, jclass self, jint fd, jobject buffer, jint offset, jint length, jboolean wait)
{
    char *address = (*env)->GetDirectBufferAddress(env, buffer);

    (void)self;
    return address ? receive_bytes(fd, address + offset, (size_t)length, wait) : -EINVAL;
}

SOCKETS(jint, send)
(JNIEnv *env, jclass self, jint fd, jbyteArray array, jint offset, jint length, jboolean wait)
{
    struct sr_java_copy copy;
    jint sent;

    (void)self;
    length = at_most(length);
    if (!sr_java_copy_begin(&copy, length))
        return -ENOMEM;
    (*env)->GetByteArrayRegion(env, array, offset, length, copy.bytes);
    sent = send_bytes(fd, copy.bytes, (size_t)length, wait);
    sr_java_copy_end(&copy);
    return sent;
}

SOCKETS(jint, sendDirect)
(JNIEnv *env, jclass self, jint fd, jobject buffer, jint offset, jint length, jboolean wait)
{
    const char *address = (*env)->GetDirectBufferAddress(env, buffer);

    (void)self;
    return address ? send_bytes(fd, address + offset, (size_t)length, wait) : -EINVAL;
}

/* ---- several buffers */

/* Pieces of arrays, in copies that lie one behind the other, and pieces of direct buffers where they lie. */
struct pieces {
    struct iovec iov[MOST_PIECES];
    jint offsets[MOST_PIECES];
    bool is_copy[MOST_PIECES];
    size_t count;
    char *copies;
};

/* How many fit, and what the copies take. */
static size_t measure(JNIEnv *env, struct pieces *self, jobjectArray arrays, jintArray offsets, jintArray lengths)
{
    jint sizes[MOST_PIECES];
    jsize count = (*env)->GetArrayLength(env, lengths);
    size_t copied = 0;

    if (count > MOST_PIECES)
        count = MOST_PIECES;
    (*env)->GetIntArrayRegion(env, offsets, 0, count, self->offsets);
    (*env)->GetIntArrayRegion(env, lengths, 0, count, sizes);
    for (jsize i = 0; i < count && copied < MOST_COPIED; i++) {
        jobject array = (*env)->GetObjectArrayElement(env, arrays, i);
        size_t length = (size_t)sizes[i];

        self->is_copy[i] = array != NULL;
        if (array) {
            if (length > MOST_COPIED - copied)
                length = MOST_COPIED - copied;
            copied += length;
            (*env)->DeleteLocalRef(env, array);
        }
        self->iov[i].iov_len = length;
        self->count++;
    }
    return copied;
}

/* Returns 0 or -errno; the copies are to be freed. */
static jint lay_out(JNIEnv *env, struct pieces *self, jobjectArray arrays, jobjectArray buffers, jintArray offsets,
                    jintArray lengths)
{
    size_t copied;
    char *next;

    self->count = 0;
    self->copies = NULL;
    copied = measure(env, self, arrays, offsets, lengths);
    if (copied > 0) {
        self->copies = malloc(copied);
        if (!self->copies)
            return -ENOMEM;
    }
    next = self->copies;
    for (size_t i = 0; i < self->count; i++) {
        if (self->is_copy[i]) {
            self->iov[i].iov_base = next;
            next += self->iov[i].iov_len;
        } else {
            jobject buffer = (*env)->GetObjectArrayElement(env, buffers, (jsize)i);
            char *address = (*env)->GetDirectBufferAddress(env, buffer);

            (*env)->DeleteLocalRef(env, buffer);
            if (!address && self->iov[i].iov_len > 0) {
                free(self->copies);
                return -EINVAL;
            }
            self->iov[i].iov_base = address + self->offsets[i];
        }
    }
    return 0;
}

static void copy_out(JNIEnv *env, const struct pieces *self, jobjectArray arrays, size_t got)
{
    for (size_t i = 0; i < self->count && got > 0; i++) {
        size_t length = got < self->iov[i].iov_len ? got : self->iov[i].iov_len;

        if (self->is_copy[i]) {
            jbyteArray array = (*env)->GetObjectArrayElement(env, arrays, (jsize)i);

            (*env)->SetByteArrayRegion(env, array, self->offsets[i], (jsize)length, self->iov[i].iov_base);
            (*env)->DeleteLocalRef(env, array);
        }
        got -= length;
    }
}

static void copy_in(JNIEnv *env, const struct pieces *self, jobjectArray arrays)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->is_copy[i]) {
            jbyteArray array = (*env)->GetObjectArrayElement(env, arrays, (jsize)i);

            (*env)->GetByteArrayRegion(env, array, self->offsets[i], (jsize)self->iov[i].iov_len,
                                       self->iov[i].iov_base);
            (*env)->DeleteLocalRef(env, array);
        }
    }
}

SOCKETS(jlong, receiveScattered)
(JNIEnv *env, jclass self, jint fd, jobjectArray arrays, jobjectArray buffers, jintArray offsets, jintArray lengths,
 jboolean wait)
{
    struct pieces pieces;
    jlong got = lay_out(env, &pieces, arrays, buffers, offsets, lengths);

    (void)self;
    if (got < 0)
        return got;
    got = receive_pieces(fd, pieces.iov, pieces.count, wait);
    if (got > 0)
        copy_out(env, &pieces, arrays, (size_t)(jint)got);
    free(pieces.copies);
    return got;
}

SOCKETS(jint, sendGathered)
(JNIEnv *env, jclass self, jint fd, jobjectArray arrays, jobjectArray buffers, jintArray offsets, jintArray lengths,
 jboolean wait)
{
    struct pieces pieces;
    jint sent = lay_out(env, &pieces, arrays, buffers, offsets, lengths);

    (void)self;
    if (sent < 0)
        return sent;
    copy_in(env, &pieces, arrays);
    sent = send_pieces(fd, pieces.iov, pieces.count, wait);
    free(pieces.copies);
    return sent;
}

/* ---- descriptors */

/* Away from the numbers of standard input and output; takes fd. */
static jint lift(int fd)
{
    int higher, problem;

    if (fd < 0)
        return -errno;
    if (fd >= FIRST_FD)
        return fd;
    higher = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD);
    problem = errno;
    close(fd);
    return higher < 0 ? -problem : higher;
}

SOCKETS(jint, accept)(JNIEnv *env, jclass self, jint fd)
{
    int accepted;

    (void)env;
    (void)self;
    do
        accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    while (accepted < 0 && (errno == EINTR || errno == ECONNABORTED));
    return lift(accepted);
}

SOCKETS(void, close)(JNIEnv *env, jclass self, jint fd)
{
    (void)env;
    (void)self;
    close(fd);
}

SOCKETS(jint, shutdown)(JNIEnv *env, jclass self, jint fd, jboolean input, jboolean output)
{
    (void)env;
    (void)self;
    return result_of(shutdown(fd, input && output ? SHUT_RDWR : input ? SHUT_RD : SHUT_WR));
}

/* The close that follows sends a reset (TCP). */
SOCKETS(void, lingerNot)(JNIEnv *env, jclass self, jint fd)
{
    struct linger linger = {.l_onoff = 1};

    (void)env;
    (void)self;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

SOCKETS(jint, available)(JNIEnv *env, jclass self, jint fd)
{
    int bytes = 0;

    (void)env;
    (void)self;
    return ioctl(fd, FIONREAD, &bytes) < 0 ? -errno : bytes;
}

/* ---- waiting */

/* Returns whether there is input, -errno, or 0 when the time is over. */
SOCKETS(jint, poll)(JNIEnv *env, jclass self, jint fd, jint timeout_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, timeout_ms);

    (void)env;
    (void)self;
    return ready < 0 ? (errno == EINTR ? 1 : -errno) : ready;
}

/* Wait for a connection or for the bell, which is silenced. */
SOCKETS(void, pollBell)(JNIEnv *env, jclass self, jint fd, jint bell, jint timeout_ms)
{
    struct pollfd both[] = {{.fd = bell, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    eventfd_t value;

    (void)env;
    (void)self;
    if (poll(both, 2, timeout_ms) > 0 && both[0].revents)
        eventfd_read(bell, &value);
}

SOCKETS(jint, bellNew)(JNIEnv *env, jclass self)
{
    (void)env;
    (void)self;
    return lift(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

SOCKETS(void, ring)(JNIEnv *env, jclass self, jint bell)
{
    (void)env;
    (void)self;
    eventfd_write(bell, 1);
}

SOCKETS(jint, pollerNew)(JNIEnv *env, jclass self)
{
    (void)env;
    (void)self;
    return lift(epoll_create1(EPOLL_CLOEXEC));
}

/* Edges: a sign comes once for what is new. */
SOCKETS(jint, pollerSet)
(JNIEnv *env, jclass self, jint poller, jint fd, jboolean is_new, jboolean output)
{
    struct epoll_event event = {.events = EPOLLET | EPOLLIN | EPOLLPRI | EPOLLRDHUP | (output ? EPOLLOUT : 0u),
                                .data.fd = fd};

    (void)env;
    (void)self;
    return result_of(epoll_ctl(poller, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event));
}

/* Level: one sign, then none until it is set again. */
SOCKETS(jint, pollerSetOnce)(JNIEnv *env, jclass self, jint poller, jint fd, jboolean is_new)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = fd};

    (void)env;
    (void)self;
    return result_of(epoll_ctl(poller, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event));
}

SOCKETS(void, pollerRemove)(JNIEnv *env, jclass self, jint poller, jint fd)
{
    (void)env;
    (void)self;
    epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
}

/* Fills in descriptor << 3 and the signs, as Readiness.java numbers them; answers how many. */
SOCKETS(jint, pollerWait)(JNIEnv *env, jclass self, jint poller, jlongArray array, jboolean wait)
{
    struct epoll_event events[MOST_EVENTS];
    jlong told[MOST_EVENTS];
    int count = epoll_wait(poller, events, MOST_EVENTS, wait ? -1 : 0);

    (void)self;
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < count; i++) {
        uint32_t what = events[i].events;
        bool broken = what & (EPOLLHUP | EPOLLERR);
        bool input = broken || what & (EPOLLIN | EPOLLRDHUP);
        bool output = broken || what & EPOLLOUT;
        bool special = broken || what & (EPOLLPRI | EPOLLRDHUP);

        told[i] = (jlong)events[i].data.fd << 3 | (jlong)special << 2 | (jlong)output << 1 | (jlong)input;
    }
    if (count > 0)
        (*env)->SetLongArrayRegion(env, array, 0, count, told);
    return count;
}

/* ---- the listening descriptor */

/* Have the channel's own number lead to the socket of the name; -EAGAIN where nothing is bound here. */
SOCKETS(jint, follow)(JNIEnv *env, jclass self, jint own, jlong reference)
{
    int fd = sockref_fd((sockref *)(uintptr_t)reference);

    (void)env;
    (void)self;
    if (fd < 0)
        return -EAGAIN;
    return dup3(fd, own, O_CLOEXEC) < 0 ? -errno : 0;
}

/* ---- addresses and options */

/* As Addresses.java reads it; NULL where the system refuses. */
SOCKETS(jbyteArray, address)(JNIEnv *env, jclass self, jint fd, jboolean remote)
{
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } name = {.any.sa_family = AF_UNSPEC};
    char text[INET6_ADDRSTRLEN + 16];
    socklen_t length = sizeof name;
    size_t path_length;

    (void)self;
    if ((remote ? getpeername : getsockname)(fd, &name.any, &length) < 0)
        return NULL;
    switch (name.any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &name.in.sin_addr, text, sizeof text);
        return sr_java_new_address(env, SOCKREF_FAMILY_IPV4, ntohs(name.in.sin_port), text, strlen(text));
    case AF_INET6:
        inet_ntop(AF_INET6, &name.in6.sin6_addr, text, sizeof text);
        if (name.in6.sin6_scope_id)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%%%u", name.in6.sin6_scope_id);
        return sr_java_new_address(env, SOCKREF_FAMILY_IPV6, ntohs(name.in6.sin6_port), text, strlen(text));
    default:
        path_length = length > offsetof(struct sockaddr_un, sun_path)
                          ? length - offsetof(struct sockaddr_un, sun_path)
                          : 0;
        if (path_length > sizeof name.un.sun_path)
            path_length = sizeof name.un.sun_path; /* the kernel counts a NUL behind a path that fills it */
        if (path_length > 0 && name.un.sun_path[0] != '\0')
            path_length = strnlen(name.un.sun_path, path_length);
        else if (path_length > 0)
            name.un.sun_path[0] = '@';
        return sr_java_new_address(env, SOCKREF_FAMILY_UNIX, 0, name.un.sun_path, path_length);
    }
}

/* The options, by the numbers of SocketOptions.java. */
static const struct {
    int level, name;
} options[] = {
    {SOL_SOCKET, SO_SNDBUF},    {SOL_SOCKET, SO_RCVBUF},     {SOL_SOCKET, SO_KEEPALIVE},
    {IPPROTO_TCP, TCP_NODELAY}, {IPPROTO_TCP, TCP_KEEPIDLE},
};

SOCKETS(jint, getOption)(JNIEnv *env, jclass self, jint fd, jint option)
{
    int value = 0;
    socklen_t length = sizeof value;

    (void)env;
    (void)self;
    return getsockopt(fd, options[option].level, options[option].name, &value, &length) < 0 ? -errno : value;
}

SOCKETS(jint, setOption)(JNIEnv *env, jclass self, jint fd, jint option, jint value)
{
    (void)env;
    (void)self;
    return result_of(setsockopt(fd, options[option].level, options[option].name, &value, sizeof value));
}

/* Process, user and group of the peer; NULL where the system refuses. */
SOCKETS(jlongArray, peer)(JNIEnv *env, jclass self, jint fd)
{
    struct ucred peer;
    socklen_t length = sizeof peer;
    jlongArray array;

    (void)self;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return NULL;
    array = (*env)->NewLongArray(env, 3);
    if (array)
        (*env)->SetLongArrayRegion(env, array, 0, 3, (const jlong[]){peer.pid, peer.uid, peer.gid});
    return array;
}
