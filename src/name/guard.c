/*
 * The guard, seen from the process that it guards.
 *
 * All names that are watched over are in one list, so that a new guard can be told all. Messages
 * are sent with the mutex held and never wait. Where the guard does not take one, the thread that
 * wanted to send it makes the state BUSY and, with the mutex free, gives the guard a moment to
 * read, or starts another one; then it tells what is to be told by then. Meanwhile others who need
 * the guard wait for that thread; the end of a name waits for nobody and is told later, for which
 * watch() has made room.
 */
#include "name/guard.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/mutex.h"
#include "base/sys.h"
#include "name/guard_program.h"
#include "name/guard_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOM_MS        200 /* a guard that reads nothing for so long is stuck */
#define BUFFERS_MS     5   /* nothing tells that less is on its way: it is tried this often */
#define IDLE_TRIES     (ROOM_MS / BUFFERS_MS)
#define ANSWER_MS      5000 /* a busy machine may take long to start a program */
#define STARTS_AT_MOST 5    /* in a second */
#define TRIES          2    /* for one name */

enum state {
    ABSENT,
    RUNNING, /* and all in the list is told */
    BUSY,    /* a thread waits for the guard, or starts one */
};

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_cond changed = {PTHREAD_COND_INITIALIZER};
static enum state state SR_GUARDED_BY(mutex);
static int command SR_GUARDED_BY(mutex) = -1; /* noted; closed by nobody else while BUSY */
static pid_t pid SR_GUARDED_BY(mutex);
/* A guard is to be asked whether it is one; the one of now was asked, and has said so. */
static bool is_demanded SR_GUARDED_BY(mutex);
static bool is_asked SR_GUARDED_BY(mutex), has_answered SR_GUARDED_BY(mutex);
static uint64_t asked_ns SR_GUARDED_BY(mutex);
static int last_failure SR_GUARDED_BY(mutex);
static struct sr_list names SR_GUARDED_BY(mutex) = SR_LIST_INIT(names);
static size_t names_count SR_GUARDED_BY(mutex);
static uint64_t next_id SR_GUARDED_BY(mutex) = 1;
static uint64_t first_id SR_GUARDED_BY(mutex) = 1; /* earlier ones are of the parent process */

/* Ends of names that the guard of now is not told yet. There is room for one of each name. */
static uint64_t *ended SR_GUARDED_BY(mutex);
static size_t ended_count SR_GUARDED_BY(mutex), ended_room SR_GUARDED_BY(mutex);

static uint64_t starts_second SR_GUARDED_BY(mutex);
static unsigned starts_count SR_GUARDED_BY(mutex);

/* ---- messages ---- */

/* What goes with a message beside its bytes. */
struct attached {
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    size_t length;
};

static void attach(struct attached *out, int type, const void *data, size_t size)
{
    const struct cmsghdr header = {
        .cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = type};
    char *at = out->room + out->length;

    memcpy(at, &header, sizeof header);
    memcpy(at + CMSG_LEN(0), data, size);
    out->length += CMSG_SPACE(size);
}

/* Returns 0; -EAGAIN when there could be room later, and -ENOBUFS when it could succeed later
 * nevertheless; or -errno when the guard is gone. */
static int send_message(const struct sr_guard_message *message, size_t length,
                        struct attached *attached) SR_REQUIRES(mutex)
{
    struct iovec part = {(void *)message, length};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = attached->length ? attached->room : NULL,
                            .msg_controllen = attached->length};
    ssize_t sent;

    do
        sent = sr_sys.sendmsg(command, &packet, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return 0;
    /* The last counts what is on its way of all processes of the user. */
    return errno == ENOMEM || errno == ETOOMANYREFS ? -ENOBUFS : -errno;
}

static bool is_passing(int status)
{
    return status == -EAGAIN || status == -ENOBUFS;
}

static void address(struct sr_guard_message *out, enum sr_guard_op op, uint64_t id)
{
    memset(out, 0, SR_GUARD_HEAD);
    out->version = SR_GUARD_VERSION;
    out->op = op;
    out->id = id;
}

/* The kernel tells the real user by itself; of another one it sees whether this process may act for
 * him. */
static void attach_user(struct attached *out, uid_t user)
{
    struct ucred credentials;

    if (user == getuid())
        return;
    credentials = (struct ucred){getpid(), user, getegid()};
    attach(out, SCM_CREDENTIALS, &credentials, sizeof credentials);
}

static int tell_name(struct sr_guarded *self) SR_REQUIRES(mutex)
{
    size_t length = strlen(self->path) + 1;
    struct sr_guard_message message;
    struct attached attached = {0};
    int status;

    address(&message, SR_GUARD_WATCH, self->id);
    message.has_lock = self->has_lock;
    memcpy(message.path, self->path, length);
    attach(&attached, SCM_RIGHTS, &self->dir, sizeof self->dir);
    attach_user(&attached, self->user);
    status = send_message(&message, SR_GUARD_HEAD + length, &attached);
    if (status == -EPERM)
        status = 0; /* of before the process has dropped its rights: no guard is told any more */
    self->is_told = status == 0;
    return status;
}

static int tell_pin(struct sr_guarded *self, int inode) SR_REQUIRES(mutex)
{
    struct sr_guard_message message;
    struct attached attached = {0};
    int status;

    address(&message, SR_GUARD_PIN, self->id);
    message.device = self->device;
    message.inode = self->inode;
    if (inode >= 0)
        attach(&attached, SCM_RIGHTS, &inode, sizeof inode);
    status = send_message(&message, SR_GUARD_HEAD, &attached);
    self->is_pin_told = status == 0;
    return status;
}

static int tell_ends(void) SR_REQUIRES(mutex)
{
    struct sr_guard_message message;
    struct attached none = {0};
    int status;

    while (ended_count > 0) {
        address(&message, SR_GUARD_FORGET, ended[ended_count - 1]);
        status = send_message(&message, SR_GUARD_HEAD, &none);
        if (status < 0)
            return status;
        ended_count--;
    }
    return 0;
}

static int ask(void) SR_REQUIRES(mutex)
{
    struct sr_guard_message message;
    struct attached none = {0};
    int status;

    address(&message, SR_GUARD_ASK, 0);
    status = send_message(&message, SR_GUARD_HEAD, &none);
    is_asked = status == 0;
    asked_ns = sr_clock_ns();
    return status;
}

/* Open what stands at the name, if it is this inode; else -1. */
static int open_inode(int dir, const char *path, dev_t device, ino_t inode)
{
    int fd = sr_fd_open(dir, sr_path_leaf(path), O_PATH | O_NOFOLLOW);
    struct stat info;

    if (fd < 0)
        return -1;
    if (sr_sys.fstat(fd, &info) == 0 && info.st_dev == device && info.st_ino == inode)
        return fd;
    sr_fd_close(fd);
    return -1;
}

/* Tell all that is not told. Sets *out_progress if any of it was. */
static int tell_all(bool *out_progress) SR_REQUIRES(mutex)
{
    size_t ended_before = ended_count;
    struct sr_list *node;
    int status = tell_ends();

    *out_progress |= ended_count < ended_before;
    SR_LIST_EACH(node, &names)
    {
        struct sr_guarded *name = SR_LIST_OWNER(node, struct sr_guarded, node);

        if (status == 0 && !name->is_told) {
            status = tell_name(name);
            *out_progress |= status == 0;
        }
        if (status == 0 && name->is_pinned && !name->is_pin_told) {
            int inode = open_inode(name->dir, name->path, name->device, name->inode);

            status = tell_pin(name, inode);
            *out_progress |= status == 0;
            sr_fd_close(inode);
        }
        if (status < 0)
            break;
    }
    if (status == 0 && is_demanded && !is_asked) {
        status = ask();
        *out_progress |= status == 0;
    }
    return status;
}

/* ---- starting one ---- */

static bool may_start(void) SR_REQUIRES(mutex)
{
    uint64_t second = sr_clock_ns() / 1000000000u;

    if (second != starts_second) {
        starts_second = second;
        starts_count = 0;
    }
    return starts_count++ < STARTS_AT_MOST;
}

static void become(enum state next) SR_REQUIRES(mutex)
{
    state = next;
    sr_cond_broadcast(&changed);
}

static void drop_guard(void) SR_REQUIRES(mutex)
{
    struct sr_list *node;

    sr_fd_close(command);
    command = -1;
    pid = 0;
    ended_count = 0;
    SR_LIST_EACH(node, &names)
    {
        struct sr_guarded *name = SR_LIST_OWNER(node, struct sr_guarded, node);

        name->is_told = name->is_pin_told = false;
    }
    become(ABSENT);
}

/* The mutex is free meanwhile. */
static int replace_guard(void) SR_REQUIRES(mutex)
{
    struct sr_guard_process fresh;
    int status;

    drop_guard();
    if (!may_start()) {
        last_failure = last_failure < 0 ? last_failure : SOCKREF_EUNSUPPORTED;
        return sr_error_set(last_failure, NULL,
                            "the guard was tried %d times within a second, to no avail",
                            STARTS_AT_MOST);
    }
    become(BUSY);
    sr_mutex_unlock(&mutex);
    status = sr_guard_program_start(&fresh);
    sr_mutex_lock(&mutex);
    if (status == 0) {
        command = fresh.command;
        pid = fresh.pid;
        is_asked = has_answered = false;
    } else if (status == SOCKREF_EUNSUPPORTED) {
        starts_count--; /* there is no program: the next one is told so as well */
    }
    last_failure = status;
    become(status < 0 ? ABSENT : RUNNING);
    return status;
}

/* Give the guard a moment to read; the mutex is free meanwhile. Returns whether it may have read.
 */
static bool wait_for_room(int lacking) SR_REQUIRES(mutex)
{
    const bool is_full = lacking == -EAGAIN;
    const int timeout_ms = is_full ? ROOM_MS : BUFFERS_MS;
    struct pollfd waited = {.fd = command, .events = is_full ? POLLOUT : 0};
    uint64_t deadline = sr_clock_after_ms(timeout_ms);
    int ready;

    become(BUSY);
    sr_mutex_unlock(&mutex);
    do
        ready = sr_sys.poll(&waited, 1, timeout_ms);
    while (ready < 0 && errno == EINTR && sr_clock_ns() < deadline);
    sr_mutex_lock(&mutex);
    become(RUNNING);
    return ready > 0 ? !(waited.revents & (POLLERR | POLLHUP)) : !is_full;
}

/* Tell a guard that runs all, as long as it reads now and then. */
static int tell_patiently(void) SR_REQUIRES(mutex)
{
    for (int idle = 0;;) {
        bool progress = false;
        int status = tell_all(&progress);

        idle = progress ? 0 : idle + 1;
        if (!is_passing(status) || idle > IDLE_TRIES || !wait_for_room(status))
            return status;
    }
}

/*
 * Have a guard that is told all, by whatever it takes. Not while BUSY. Returns 0, or a described
 * status with no guard left.
 */
static int mend(void) SR_REQUIRES(mutex)
{
    int status = -EPIPE;

    for (int tries = 0; tries <= TRIES; tries++) {
        if (tries > 0 && (status = replace_guard()) < 0)
            return status;
        if (state == RUNNING && (status = tell_patiently()) == 0)
            return 0;
    }
    drop_guard();
    if (status == -EPIPE || status == -ECONNRESET) /* it has ended */
        status = sr_guard_program_refuse();
    else
        sr_error_system(-status, "sendmsg", NULL);
    last_failure = status;
    return status;
}

/* ---- whether it is one ---- */

/* Hear what the guard has said. Returns 0; -EAGAIN when it has not said anything yet; or -EPIPE
 * when it is no guard, or gone. */
static int hear(void) SR_REQUIRES(mutex)
{
    uint32_t version = 0;
    ssize_t got;

    if (has_answered)
        return 0;
    do
        got = sr_sys.recv(command, &version, sizeof version, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0 && errno == EAGAIN)
        return -EAGAIN;
    has_answered = got == (ssize_t)sizeof version && version == SR_GUARD_VERSION;
    return has_answered ? 0 : -EPIPE;
}

/* Whether the guard is to be waited for no more; the first look at it begins the wait. */
static bool is_over(struct sr_guard_wait *wait)
{
    if (wait->until_ns == 0)
        wait->until_ns = sr_clock_after_ms(ANSWER_MS);
    return sr_clock_is_over_once(&wait->until_ns, &wait->was_late);
}

/* One that others have just started may answer them yet. */
static bool had_its_time(void) SR_REQUIRES(mutex)
{
    return sr_clock_ns() - asked_ns >= (uint64_t)ANSWER_MS * 1000000u;
}

static int confirm(struct sr_guard_wait *wait) SR_REQUIRES(mutex)
{
    int status;

    is_demanded = true;
    do {
        while (state == BUSY)
            sr_cond_wait(&changed, &mutex, SR_CLOCK_NEVER);
        if ((state == ABSENT || !is_asked) && (status = mend()) < 0)
            return status;
        status = hear();
        if (status == 0)
            return 0;
        if (status == -EAGAIN && wait->until_ns == 0 && had_its_time())
            status = -EPIPE; /* those who have asked it did not wait so long */
        if (status == -EAGAIN && !is_over(wait))
            return SR_GUARD_SILENT;
        if (status != -EAGAIN || had_its_time())
            drop_guard();
    } while (status != -EAGAIN && ++wait->refused < TRIES);
    status = sr_guard_program_refuse();
    last_failure = status;
    return status;
}

int sr_guard_confirm(struct sr_guard_wait *wait)
{
    int status;

    sr_mutex_lock(&mutex);
    status = confirm(wait);
    sr_mutex_unlock(&mutex);
    if (status != SR_GUARD_SILENT)
        *wait = (struct sr_guard_wait){0};
    return status;
}

/* ---- names ---- */

static bool is_own(const struct sr_guarded *self) SR_REQUIRES(mutex)
{
    return self->id >= first_id;
}

/* Room for the end of one name more. */
static int make_room(void) SR_REQUIRES(mutex)
{
    size_t room = ended_room ? 2 * ended_room : 16;
    uint64_t *larger;

    if (names_count + ended_count < ended_room)
        return 0;
    larger = sr_sys.realloc(ended, room * sizeof *larger);
    if (!larger)
        return sr_error_no_memory();
    ended = larger;
    ended_room = room;
    return 0;
}

static void remove_name(struct sr_guarded *self) SR_REQUIRES(mutex)
{
    sr_list_remove(&self->node);
    names_count--;
    if (self->is_told)
        ended[ended_count++] = self->id;
    self->id = 0;
}

static int add_name(struct sr_guarded *self) SR_REQUIRES(mutex)
{
    int status = make_room();

    if (status < 0)
        return status;
    self->id = next_id++;
    sr_list_append(&names, &self->node);
    names_count++;
    while (state == BUSY)
        sr_cond_wait(&changed, &mutex, SR_CLOCK_NEVER);
    if (self->is_told || (state == RUNNING && tell_name(self) == 0))
        return 0;
    status = mend();
    if (status < 0)
        remove_name(self);
    return status;
}

int sr_guard_watch(struct sr_guarded *self, const struct sr_place *place, const char *path,
                   bool has_lock)
{
    int status;

    *self = (struct sr_guarded){
        .dir = place->dir, .user = place->user, .path = path, .has_lock = has_lock};
    sr_list_init(&self->node);
    sr_mutex_lock(&mutex);
    status = add_name(self);
    sr_mutex_unlock(&mutex);
    return status;
}

void sr_guard_pin(struct sr_guarded *self, dev_t device, ino_t inode, int fd)
{
    int found = -1;

    if (self->id == 0)
        return;
    if (fd < 0)
        fd = found = open_inode(self->dir, self->path, device, inode);
    sr_mutex_lock(&mutex);
    if (is_own(self)) {
        self->device = device;
        self->inode = inode;
        self->is_pinned = true;
        self->is_pin_told = false;
        if (state != BUSY && (state == ABSENT || tell_pin(self, fd) < 0))
            mend();
    }
    sr_mutex_unlock(&mutex);
    sr_fd_close(found);
}

void sr_guard_forget(struct sr_guarded *self)
{
    int status;

    if (self->id == 0)
        return;
    sr_mutex_lock(&mutex);
    if (is_own(self)) {
        remove_name(self);
        status = state == RUNNING ? tell_ends() : 0;
        if (status < 0 && !is_passing(status))
            drop_guard();
    }
    sr_mutex_unlock(&mutex);
    self->id = 0;
}

void sr_guard_unpin(struct sr_guarded *self)
{
    sr_mutex_lock(&mutex);
    self->is_pinned = false;
    sr_mutex_unlock(&mutex);
}

int sr_guard_status(void)
{
    char program[SR_PATH_MAX + 1];
    int status;

    sr_mutex_lock(&mutex);
    status = pid > 0 ? pid : last_failure;
    sr_mutex_unlock(&mutex);
    if (status == SOCKREF_EUNSUPPORTED && sr_guard_program_find(program) < 0)
        return status; /* described */
    if (status < 0)
        sr_error_set(status, NULL, "the guard did not start when it was needed");
    return status;
}

void sr_guard_before_fork(void) SR_UNCHECKED
{
    sr_mutex_lock(&mutex);
}

void sr_guard_after_fork_in_parent(void) SR_UNCHECKED
{
    sr_mutex_unlock(&mutex);
}

void sr_guard_after_fork(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    changed = (struct sr_cond){PTHREAD_COND_INITIALIZER};
    state = ABSENT;
    command = -1;
    pid = 0;
    last_failure = 0;
    is_demanded = false;
    sr_list_init(&names);
    names_count = ended_count = 0;
    first_id = ++next_id;
    starts_count = 0;
}
