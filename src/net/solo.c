/* Solo connections; and sockref_adopt(), which makes the simplest of them. */
#include "net/solo.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "net/accept.h"
#include "net/conn_state.h"
#include "net/service.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_BUFFERED ((uint64_t)16 << 20) /* as SOCKREF_OPT_MAX_BUFFERED by default */

struct solo {
    struct sr_conn_owner owner; /* of the one connection */
    struct sr_task task;
    struct sr_list node; /* of the loop's solos; guarded by its mutex until the loop is closing */
    sockref *kept;       /* goes when this does, or NULL */
};

static struct solo *of(const struct sockref_conn *conn)
{
    return SR_LIST_OWNER(conn->owner, struct solo, owner);
}

static struct sockref_conn *conn_of(const struct solo *self)
{
    return SR_LIST_OWNER(self->owner.conns.next, struct sockref_conn, node);
}

/* Its only connection is over, and so is this. */
static void conn_gone(struct sr_conn_owner *owner)
{
    struct solo *self = SR_LIST_OWNER(owner, struct solo, owner);
    struct sockref_loop *loop = owner->loop;

    sr_mutex_lock(&loop->mutex);
    sr_list_remove(&self->node);
    sr_mutex_unlock(&loop->mutex);
    sr_loop_unpost(loop, &self->task);
    if (SR_UNLIKELY(loop->paused > 0))
        sr_accept_resume_all(loop);
    sockref_release(self->kept);
    if (owner->handlers.on_stop) {
        loop->ran++;
        owner->handlers.on_stop(owner->user);
        if (sr_loop_is_foreign(loop))
            return;
    }
    free(self);
    sr_service_leave(loop);
}

static void begin(struct sr_task *task)
{
    struct solo *self = SR_LIST_OWNER(task, struct solo, task);
    struct sockref_conn *conn = conn_of(self);
    struct sr_connecting *connecting = conn->extra ? conn->extra->connecting : NULL;

    if (sr_conn_has(conn, SR_CONN_DEAD))
        return;
    sr_conn_begin_timeout(conn);
    if (connecting) {
        connecting->begin(connecting, conn);
    } else {
        sr_conn_open(conn);
        sr_conn_tell_ready(conn);
    }
}

int sr_solo_make(struct sockref_loop *loop, const sockref_handlers *handlers, void *user,
                 struct sr_connecting *connecting, struct sockref_conn **out_conn)
{
    struct sr_handlers kept;
    struct solo *self;
    int status = sr_handlers_check(handlers);

    if (status == 0 && atomic_load(&sr_exiting))
        status = sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the process is ending");
    if (status == 0)
        status = sr_service_enter(&loop);
    if (status < 0)
        return status;
    self = sr_sys.calloc(1, sizeof *self);
    if (!self)
        goto err_leave;
    sr_handlers_copy(handlers, &kept);
    self->owner.loop = loop;
    self->owner.handlers = kept.calls;
    self->owner.options = kept.options;
    self->owner.user = user;
    self->owner.max_buffered = kept.options.max_buffered ? kept.options.max_buffered : MAX_BUFFERED;
    self->owner.is_unix = connecting && connecting->is_unix;
    self->owner.conn_gone = conn_gone;
    sr_list_init(&self->owner.conns);
    sr_list_init(&self->node);
    sr_list_init(&self->task.node);
    self->task.run = begin;
    if (sr_conn_make_unconnected(&self->owner, connecting, out_conn) < 0)
        goto err_free;
    sockref_conn_acquire(*out_conn);
    return 0;

err_free:
    free(self);
err_leave:
    sr_service_leave(loop);
    return sr_error_no_memory();
}

int sr_solo_keep(struct sockref_conn *conn, sockref *ref)
{
    if (ref && !sockref_acquire(ref))
        return sockref_last_error()->status;
    of(conn)->kept = ref;
    return 0;
}

int sr_solo_begin(struct sockref_conn *conn)
{
    struct solo *self = of(conn);
    struct sockref_loop *loop = self->owner.loop;
    bool closing;

    sr_mutex_lock(&loop->mutex);
    closing = loop->closing;
    if (!closing) {
        sr_list_append(&loop->solos, &self->node);
        sr_loop_post_locked(loop, &self->task);
    }
    sr_mutex_unlock(&loop->mutex);
    if (closing)
        return sr_error_set(SOCKREF_ECLOSED, NULL, "the loop is being freed");
    return 0;
}

void sr_solo_drop(struct sockref_conn *conn)
{
    struct solo *self = of(conn);
    struct sockref_loop *loop = self->owner.loop;

    sr_conn_unmake(conn);
    sockref_conn_release(conn);
    sockref_release(self->kept);
    free(self);
    sr_service_leave(loop);
}

/* The loop is closing, so nobody adds one any more. */
void sr_solo_stop_all(struct sockref_loop *loop)
{
    struct sr_list *node;

    SR_LIST_EACH(node, &loop->solos)
    {
        sockref_conn_destroy(conn_of(SR_LIST_OWNER(node, struct solo, node)));
    }
}

void sr_solo_forget_all(struct sockref_loop *loop)
{
    struct sr_list *node, *next;

    SR_LIST_EACH_SAFE(node, next, &loop->solos)
    {
        struct solo *self = SR_LIST_OWNER(node, struct solo, node);

        sr_list_remove(node);
        sr_conn_forget(conn_of(self));
        sockref_release(self->kept);
        free(self);
    }
}

/* ---- adopting ---- */

/* Returns 0, or a described status: it is no connected stream socket. */
static int check_socket(int fd, bool *out_is_unix)
{
    struct sockaddr_storage address;
    socklen_t length;
    int type = 0;

    length = sizeof type;
    if (sr_sys.getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 && errno != ENOTSOCK)
        return sr_error_system(errno, "getsockopt", NULL);
    if (type != SOCK_STREAM)
        return sr_error_argument("%d is no stream socket", fd);
    length = sizeof address;
    if (sr_sys.getpeername(fd, (struct sockaddr *)&address, &length) < 0)
        return sr_error_system(errno, "getpeername", NULL);
    *out_is_unix = address.ss_family == AF_UNIX;
    return 0;
}

/* Make the descriptor one of ours. Returns 0 or a described status. */
static int take(int fd)
{
    if (sr_sys.tame(fd) < 0)
        return sr_error_system(errno, "fcntl", NULL);
    return sr_fd_adopt(fd) < 0 ? sr_error_no_memory() : 0;
}

int sockref_adopt(sockref_loop *loop, int fd, const sockref_handlers *handlers, void *user,
                  sockref_conn **out_conn)
{
    struct sockref_conn *conn;
    bool is_unix = false;
    int status;

    if (!handlers)
        return sr_error_argument("handlers is NULL");
    status = check_socket(fd, &is_unix);
    if (status == 0)
        status = sr_solo_make(loop, handlers, user, NULL, &conn);
    if (status < 0)
        return status;
    status = take(fd);
    if (status < 0)
        goto err_drop;
    conn->source.fd = fd; /* non-blocking, and noted */
    conn->owner->is_unix = is_unix;
    status = sr_solo_begin(conn);
    if (status < 0)
        goto err_disown;
    if (out_conn)
        *out_conn = conn;
    else
        sockref_conn_release(conn);
    return 0;

err_disown:
    sr_fd_disown(fd);
err_drop:
    sr_solo_drop(conn);
    return status;
}
