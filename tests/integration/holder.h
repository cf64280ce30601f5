/*
 * Processes that hold a name: this program again, which does what it is told, and threads that dial
 * a name all the while. One byte is a command, and one its answer.
 */
#ifndef TEST_HOLDER_H
#define TEST_HOLDER_H

#include "harness/clone.h"
#include "util.h"

#include <limits.h>
#include <sched.h>

/* What a holder is told. Each start takes the place of what was held before. */
enum order {
    START = 'a',     /* answered by an enum outcome */
    START_AT_GATE,   /* the same, when the gate opens; it says READY before */
    START_ALONE,     /* share 0 */
    START_UNGUARDED, /* guard 0 */
    START_WIDE,      /* mode 0660 */
    SERVE,           /* echo; DONE, as with all that follow */
    HOLDERS,         /* FIRST_NUMBER and their number */
    DRAIN,    /* accept and close all that wait; FIRST_NUMBER and how many, MOST_DRAINED at most */
    IS_OWNER, /* DONE or FAILED */
    IS_ACTIVE,
    AWAIT_LOST, /* since the start */
    AWAIT_OWNER,
    RELEASE,
    CLONE_TO_STAY, /* a child that the library does not know of; DONE, and then its process id */
    CLONE_TO_EXIT, /* one that ends by exit(); it is waited for */
    END,           /* exit(), with what is held; no answer */
};

enum outcome { OWNED = 'A', JOINED, BUSY, FOREIGN, FAILED, DONE, READY };

#define FIRST_NUMBER 1
#define MOST_DRAINED 100

/* ---- in the child ---- */

static struct {
    sockref *ref;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool heard[SOCKREF_WATCH_SHUTDOWN + 1];
} held = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void note_event(sockref *ref, int event, void *user)
{
    (void)ref, (void)user;
    pthread_mutex_lock(&held.mutex);
    held.heard[event] = true;
    pthread_cond_broadcast(&held.changed);
    pthread_mutex_unlock(&held.mutex);
}

static inline enum outcome await_event(int event)
{
    struct timespec until;
    int status = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&held.mutex);
    while (!held.heard[event] && status == 0)
        status = pthread_cond_timedwait(&held.changed, &held.mutex, &until);
    pthread_mutex_unlock(&held.mutex);
    return held.heard[event] ? DONE : FAILED;
}

/* Have a watch fill in what was heard; a loss that came before the watch is heard as well. */
static inline void listen_to(sockref *ref)
{
    pthread_mutex_lock(&held.mutex);
    memset(held.heard, 0, sizeof held.heard);
    pthread_mutex_unlock(&held.mutex);
    if (sockref_set_watch(ref, note_event, NULL, NULL) == SOCKREF_ECLOSED)
        note_event(ref, SOCKREF_WATCH_LOST, NULL);
}

static inline enum outcome start_held(const char *name, int option, int64_t value)
{
    sockref *ref = NULL;
    int status = listen_with(name, option, value, SOCKREF_OPT_START_TIMEOUT_MS, 20000, &ref);

    if (status == SOCKREF_EBUSY)
        return BUSY;
    if (status == SOCKREF_EFOREIGN)
        return FOREIGN;
    if (status < 0) {
        fprintf(stderr, "a start failed: %s: %s\n", sockref_status_name(status),
                sockref_last_error()->message);
        return FAILED;
    }
    listen_to(ref);
    sockref_release(held.ref);
    held.ref = ref;
    return sockref_is_owner(ref) ? OWNED : JOINED;
}

/* The gate is a pipe that nobody writes to: it opens for all when its other end is closed. */
static inline void await_gate_of_pipe(void)
{
    char word;

    say(READY);
    while (read(atoi(getenv("SOCKREF_TEST_GATE")), &word, 1) > 0)
        continue;
}

static inline char drain_queue(void)
{
    int count = 0, fd;

    while (count < MOST_DRAINED && (fd = accept(sockref_fd(held.ref), NULL, NULL)) >= 0) {
        close(fd);
        count++;
    }
    return (char)(FIRST_NUMBER + count);
}

static inline char clone_to_stay(void)
{
    pid_t pid = clone_raw();

    if (pid == 0) {
        alarm(200); /* whatever becomes of the test */
        for (;;)
            pause();
    }
    if (pid < 0)
        return FAILED;
    say(DONE);
    send(talk, &pid, sizeof pid, MSG_NOSIGNAL);
    return 0;
}

static inline char clone_to_exit(void)
{
    pid_t pid = clone_raw();
    int status;

    if (pid == 0) {
        alarm(20);
        exit(0);
    }
    return waitpid(pid, &status, 0) == pid && exited_well(status) ? DONE : FAILED;
}

static inline char obey(enum order order, const char *name)
{
    switch (order) {
    case START:
        return (char)start_held(name, 0, 0);
    case START_AT_GATE:
        await_gate_of_pipe();
        return (char)start_held(name, 0, 0);
    case START_ALONE:
        return (char)start_held(name, SOCKREF_OPT_SHARE, 0);
    case START_UNGUARDED:
        return (char)start_held(name, SOCKREF_OPT_GUARD, 0);
    case START_WIDE:
        return (char)start_held(name, SOCKREF_OPT_MODE, 0660);
    case SERVE:
        return sockref_serve(held.ref, sockref_echo_handlers(), NULL) == 0 ? DONE : FAILED;
    case HOLDERS:
        return (char)(FIRST_NUMBER + sockref_holder_count(held.ref));
    case DRAIN:
        return drain_queue();
    case IS_OWNER:
        return sockref_is_owner(held.ref) ? DONE : FAILED;
    case IS_ACTIVE:
        return sockref_is_active(held.ref) ? DONE : FAILED;
    case AWAIT_LOST:
        return (char)await_event(SOCKREF_WATCH_LOST);
    case AWAIT_OWNER:
        return (char)await_event(SOCKREF_WATCH_OWNER);
    case RELEASE:
        sockref_release(held.ref);
        held.ref = NULL;
        return DONE;
    case CLONE_TO_STAY:
        return clone_to_stay();
    case CLONE_TO_EXIT:
        return clone_to_exit();
    default:
        return FAILED;
    }
}

/* The role of all of these processes; the argument is the name. */
static inline int play_holder(const char *name)
{
    char order, answer;

    while ((order = hear()) != 0 && order != END)
        if ((answer = obey((enum order)order, name)) != 0)
            say(answer);
    return order == END ? 0 : 3;
}

#define HOLDER_ROLE                                                                                \
    {                                                                                              \
        "holder", play_holder                                                                      \
    }

/* ---- in the test ---- */

static inline struct child spawn_holder_of(const char *name)
{
    return spawn("holder", name);
}

static inline int tell(const struct child *child, enum order order)
{
    say_to(child->talk, (char)order);
    return (unsigned char)hear_from(child->talk);
}

static inline int ask_number(const struct child *child, enum order order)
{
    return tell(child, order) - FIRST_NUMBER;
}

/* Has a holder make a child that outlives it. */
static inline pid_t clone_of(const struct child *child)
{
    struct pollfd item = {.fd = child->talk, .events = POLLIN};
    pid_t pid = 0;

    ck_assert_int_eq(tell(child, CLONE_TO_STAY), DONE);
    ck_assert_int_eq(poll(&item, 1, PATIENCE_MS), 1);
    ck_assert_int_eq(recv(child->talk, &pid, sizeof pid, MSG_WAITALL), sizeof pid);
    return pid;
}

static inline void kill_child(struct child *child)
{
    ck_assert_int_eq(kill(child->pid, SIGKILL), 0);
    ck_assert(WIFSIGNALED(end_child(child)));
}

static inline void end_in_order(struct child *child)
{
    say_to(child->talk, END);
    ck_assert(exited_well(end_child(child)));
}

/* A client that dials again and again, and is never refused: not while a name changes hands, nor
 * before or after it. Nobody has to accept: a full queue is no refusal. */
struct dialler {
    const char *name;
    pthread_t thread;
    atomic_bool over;
    atomic_int refusal; /* an errno */
    atomic_long dialled, full;
    atomic_long most; /* to be dialled, until more is allowed */
};

static inline void *dial_on(void *arg)
{
    struct dialler *self = arg;
    struct sockaddr_un address;
    socklen_t length = make_address(self->name, &address);

    while (!atomic_load(&self->over) && !atomic_load(&self->refusal)) {
        int fd;

        if (atomic_load(&self->dialled) >= atomic_load(&self->most)) {
            sched_yield();
            continue;
        }
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fd, (struct sockaddr *)&address, length) == 0) {
            atomic_fetch_add(&self->dialled, 1);
        } else if (errno == EAGAIN) {
            atomic_fetch_add(&self->full, 1);
            poll(NULL, 0, 1);
        } else {
            atomic_store(&self->refusal, errno);
        }
        close(fd);
    }
    return NULL;
}

static inline long dials_of(const struct dialler *self)
{
    return atomic_load(&self->dialled) + atomic_load(&self->full);
}

/* Until it has dialled some more. */
static inline void await_dials(const struct dialler *self)
{
    long before_now = dials_of(self);

    WAIT_UNTIL(dials_of(self) > before_now + 5 || atomic_load(&self->refusal));
}

static inline void begin_dialling(struct dialler *self, const char *name)
{
    memset(self, 0, sizeof *self);
    self->name = name;
    self->most = LONG_MAX;
    ck_assert_int_eq(pthread_create(&self->thread, NULL, dial_on, self), 0);
    await_dials(self);
}

static inline void end_dialling(struct dialler *self)
{
    atomic_store(&self->most, LONG_MAX);
    await_dials(self);
    atomic_store(&self->over, true);
    ck_assert_int_eq(pthread_join(self->thread, NULL), 0);
    ck_assert_msg(self->refusal == 0, "after %ld dials one was refused: %s", dials_of(self),
                  strerror(self->refusal));
}

/* What a watch of the test's own has told, as a bit for each event. */
static inline void collect_events(sockref *ref, int event, void *user)
{
    (void)ref;
    atomic_fetch_or((atomic_uint *)user, 1u << event);
}

#define HEARD(events, event) (atomic_load(&(events)) & (1u << (event)))

#endif
