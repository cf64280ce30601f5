/*
 * What a start makes: the life of a name, bound or joined, and served where that is asked for. The
 * thread that has the right to start the name does it, with no lock held.
 */
#include "ref/attempt.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/tcpsock.h"
#include "ref/hooks.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_PATIENCE_NS 20000000u
#define DYING_NS         1000000000u /* how long a busy machine may keep what was closed */

/* 0 where the name is only bound. */
static int backlog_of(const struct sr_attempt *attempt)
{
    const int64_t *values = attempt->settings.values;

    return values[SOCKREF_OPT_BIND_ONLY] ? 0 : (int)values[SOCKREF_OPT_BACKLOG];
}

static int bind_tcp(const struct sr_attempt *attempt, const char *path,
                    struct sr_sockfile *out_file, uint16_t *out_port)
{
    const int64_t *values = attempt->settings.values;
    const struct sr_tcp_wish wish = {
        .backlog = backlog_of(attempt),
        .ipv6_only = values[SOCKREF_OPT_IPV6_ONLY] != 0,
        .reuse_port = values[SOCKREF_OPT_REUSE_PORT] != 0,
    };

    return sr_tcpsock_bind(path, &wish, out_file, out_port);
}

static int bind_once(struct sr_attempt *attempt, struct sr_sockfile *out_file)
{
    const int64_t *values = attempt->settings.values;
    const char *path = attempt->name.path;
    uint16_t port;

    if (sr_tcp_is_name(path))
        return bind_tcp(attempt, path, out_file, &port);
    return sr_sockfile_bind(&attempt->place, path, (int)values[SOCKREF_OPT_MODE],
                            backlog_of(attempt), out_file, NULL);
}

/*
 * A name without a file is taken until the kernel has let go of its socket, and a loop that was
 * just in an accept call keeps it for that moment: after a listener was closed under its loop, a
 * name in use is asked for again.
 */
static int bind_patiently(struct sr_attempt *attempt, struct sr_sockfile *out_file)
{
    uint64_t until = atomic_load(&attempt->registry->retired_ns) + MOST_PATIENCE_NS;
    int status;

    for (;;) {
        status = bind_once(attempt, out_file);
        if (status != -EADDRINUSE || sr_clock_ns() >= until)
            return status;
        sched_yield();
    }
}

/* Whether an owner is what this registry had and closed, which a loop keeps still. */
static bool is_dying(const struct sr_attempt *attempt, pid_t owner)
{
    return owner == getpid() &&
           sr_clock_ns() < atomic_load(&attempt->registry->retired_ns) + DYING_NS;
}

static int try_later(struct sr_attempt *attempt)
{
    attempt->patience->status =
        sr_error_wrapped(SOCKREF_EBUSY, EADDRINUSE, "bind", attempt->name.path,
                         "the abstract name is in use, and its owner takes no connection");
    return SR_SHARE_LATER;
}

/* What an abstract name that is in use is: ours to join, where its owner is of our user. Who that
 * is can't be told while its queue is full. */
static int join_abstract(struct sr_attempt *attempt)
{
    struct ucred owner = {0};
    socklen_t size = sizeof owner;
    int fd, status = SR_SHARE_JOINED;

    if (attempt->settings.values[SOCKREF_OPT_SHARE] == 0 || sr_attempt_is_exclusive(attempt))
        return sr_error_wrapped(SOCKREF_EBUSY, EADDRINUSE, "bind", attempt->name.path,
                                "the abstract name is in use");
    fd = sr_sockfile_dial(&attempt->place, attempt->name.path);
    if (fd == -EAGAIN || fd == -ECONNREFUSED)
        return try_later(attempt);
    if (fd < 0)
        return fd;
    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) < 0)
        status = sr_error_system(errno, "getsockopt", attempt->name.path);
    else if (owner.uid != geteuid())
        status = sr_error_wrapped(SOCKREF_EFOREIGN, EADDRINUSE, "bind", attempt->name.path,
                                  "the abstract name belongs to another user");
    else if (is_dying(attempt, owner.pid))
        status = try_later(attempt);
    sr_fd_close(fd);
    return status;
}

static int start_abstract(struct sr_attempt *attempt, struct sr_life *life)
{
    int status = attempt->fd >= 0 ? sr_sockfile_adopt(&attempt->place, attempt->name.path,
                                                      attempt->fd, &life->file, NULL)
                                  : bind_patiently(attempt, &life->file);

    if (status == -EADDRINUSE)
        status = join_abstract(attempt);
    return status;
}

static int start_tcp(struct sr_attempt *attempt, struct sr_life *life)
{
    if (attempt->fd >= 0)
        return sr_tcpsock_adopt(attempt->name.path, attempt->fd, &life->file);
    if (attempt->drawn.fd < 0)
        return bind_patiently(attempt, &life->file);
    life->file = attempt->drawn;
    attempt->drawn.fd = -1;
    return SR_SHARE_OWNED;
}

/* Somebody else bound the descriptor, and the file is theirs: it is never removed. */
static int start_foreign(struct sr_attempt *attempt, struct sr_life *life)
{
    int status =
        sr_sockfile_adopt(&attempt->place, attempt->name.path, attempt->fd, &life->file, NULL);

    life->file.has_file = false;
    return status;
}

static bool asks_mode(const struct sr_attempt *attempt)
{
    const uint32_t bit = 1u << SOCKREF_OPT_MODE;

    return (attempt->options && attempt->options->set & bit) ||
           attempt->registry->options.set & bit;
}

/* The life of a name that stands in a directory, in one block with what it has of that name. */
struct filed {
    struct sr_life life;
    struct sr_share share;
    char path[]; /* of the share */
};

static struct sr_life *allocate(const char *path)
{
    if (!sr_path_is_file(path))
        return sr_sys.malloc(sizeof(struct sr_life));
    return sr_sys.malloc(sizeof(struct filed) + strlen(path) + 1);
}

/* Returns SR_SHARE_OWNED, JOINED, LATER, or a described status. */
static int start_in_directory(struct sr_attempt *attempt, struct sr_life *life)
{
    const int64_t *values = attempt->settings.values;
    struct filed *filed = (struct filed *)life;
    const struct sr_wish wish = {
        .mode = (int)values[SOCKREF_OPT_MODE],
        .asks_mode = asks_mode(attempt),
        .backlog = backlog_of(attempt),
        .exclusive = sr_attempt_is_exclusive(attempt),
        .guard = (int)values[SOCKREF_OPT_GUARD],
        .fd = attempt->fd,
    };
    int (*start)(struct sr_place *, const char *, const struct sr_wish *, struct sr_patience *,
                 struct sr_share *, struct sr_sockfile *) =
        values[SOCKREF_OPT_SHARE] ? sr_share_start : sr_share_bind_alone;
    int status;

    memcpy(filed->path, attempt->name.path, strlen(attempt->name.path) + 1);
    status =
        start(&attempt->place, filed->path, &wish, attempt->patience, &filed->share, &life->file);
    if (status == SR_SHARE_OWNED || status == SR_SHARE_JOINED)
        life->share = &filed->share;
    return status;
}

/* Returns SR_SHARE_OWNED, JOINED, LATER, or a described status. */
static int start_life(struct sr_attempt *attempt, struct sr_life *life)
{
    if (sr_path_is_abstract(attempt->name.path))
        return start_abstract(attempt, life);
    if (!sr_path_is_file(attempt->name.path))
        return start_tcp(attempt, life);
    if (attempt->fd >= 0 && attempt->settings.values[SOCKREF_OPT_KEEP_FILE])
        return start_foreign(attempt, life);
    return start_in_directory(attempt, life);
}

void sr_birth_discard(struct sr_attempt *attempt, struct sr_life *life)
{
    struct sr_error *error = sr_error_take();

    if (attempt->service)
        sr_hooks.serve_retract(attempt->service, life);
    attempt->service = NULL;
    if (attempt->fd >= 0) {
        /* Taken on success only: the descriptor and its file stay the caller's. */
        sr_fd_disown(life->file.fd);
        life->file.fd = -1;
        life->file.has_file = false;
    }
    sr_remove_unseen(life);
    sr_life_release(life);
    sr_error_give(error);
}

/* Have it served, or wait for news of its owner. */
static int attach(struct sr_attempt *attempt, struct sr_life *life, bool joined)
{
    int status = 0;

    if (joined && life->share)
        status = sr_joint_begin(life);
    if (status < 0 || !sr_attempt_has_handlers(attempt))
        return status;
    if (joined)
        return sr_hooks.kept_make(attempt->options, &life->kept);
    return sr_hooks.serve(attempt->options, life, &attempt->service);
}

int sr_birth_make(struct sr_attempt *attempt, struct sr_life **out_life)
{
    const int64_t *values = attempt->settings.values;
    struct sr_life *life = allocate(attempt->name.path);
    int status, attached;

    if (!life)
        return sr_error_no_memory();
    *life = (struct sr_life){
        .count = 1,
        .file = {.fd = -1, .place = {.dir = -1}},
        .max_connections = (uint64_t)values[SOCKREF_OPT_MAX_CONNECTIONS],
        .max_buffered = (uint64_t)values[SOCKREF_OPT_MAX_BUFFERED],
        .registry = attempt->registry,
        .backlog = (int)values[SOCKREF_OPT_BACKLOG],
        .role = values[SOCKREF_OPT_BIND_ONLY] ? SR_ROLE_BOUND : SR_ROLE_LISTENER,
        .hands_over = values[SOCKREF_OPT_HANDOVER] != 0,
    };
    sr_list_init(&life->deferred.node);
    status = start_life(attempt, life);
    if (status < 0 || status == SR_SHARE_LATER) {
        free(life);
        return status;
    }
    attached = attach(attempt, life, status == SR_SHARE_JOINED);
    if (attached < 0) {
        sr_birth_discard(attempt, life);
        return attached;
    }
    *out_life = life;
    return status;
}

int sr_birth_draw_port(struct sr_attempt *attempt, const char *path, char *out_path)
{
    struct sr_tcp tcp;
    uint16_t port;
    int status = bind_tcp(attempt, path, &attempt->drawn, &port);

    if (status < 0)
        return status;
    (void)sr_tcp_parse(path, &tcp); /* it was bound */
    tcp.port = port;
    sr_tcp_format(&tcp, out_path);
    return 0;
}
