/*
 * Looking whether a name is well.
 *
 * What is known of it is copied with the registry's mutex held, the file is looked at without. Its
 * service is asked under the mutex as well, for it may be gone afterwards.
 *
 * The path is asked for a connection as a name on disk is looked at elsewhere: by a datagram
 * socket, which no listener notices. An abstract name can't be asked so, since each type of socket
 * has names of its own there; it belongs to the socket that was bound as long as that is open, as a
 * port does. Who has joined one looks for it in the kernel's table of sockets.
 */
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "base/thread.h"
#include "name/path.h"
#include "name/probe.h"
#include "ref/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sockref/stats.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* What is known of a name. */
struct view {
    enum sr_hold hold;
    int status;            /* why it can't be told; described by whoever looks at it */
    const char *syscall;   /* that refused */
    struct sr_place place; /* its directory is a duplicate; -1: there is no file */
    dev_t device;
    ino_t inode; /* of the socket; 0: another holder is just changing it */
    bool listens;
    int is_accepting;
};

static void refuse(struct view *view, int os_errno, const char *syscall)
{
    view->status = -os_errno;
    view->syscall = syscall;
}

/* A program may have had a name listen that was only bound. */
static void see_socket(struct view *view, const struct sr_life *life)
{
    int listens = 0;
    socklen_t size = sizeof listens;

    if (life->role != SR_ROLE_CONNECTED &&
        sr_sys.getsockopt(life->file.fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
        refuse(view, errno, "getsockopt");
    view->listens = listens != 0;
}

static bool is_full(const struct sr_life *life)
{
    uint64_t most = atomic_load_explicit(&life->max_connections, memory_order_relaxed);

    return most > 0 && life->service->count(life->service) >= most;
}

static void see(struct sr_life *life, enum sr_hold hold, void *arg)
{
    struct view *view = arg;

    view->hold = hold;
    view->is_accepting = -1;
    if (hold == SR_HOLD_OWNED) {
        see_socket(view, life);
        view->is_accepting =
            life->service && life->service->accepts(life->service) && !is_full(life);
        view->device = life->file.device;
        view->inode = life->file.inode;
    } else if (hold == SR_HOLD_JOINED && life->share) {
        view->device = (dev_t)life->share->socket.device;
        view->inode = (ino_t)life->share->socket.inode;
    }
    if (life->file.place.dir < 0 || view->status < 0)
        return;
    view->place.dir = sr_fd_duplicate(life->file.place.dir);
    if (view->place.dir < 0)
        refuse(view, -view->place.dir, "fcntl");
}

/* Ask what stands at the path as it is spelled. Returns 0 or a described status. */
static int ask_pinned(const struct view *view, int pin, const char *path, bool *out_is_ours,
                      int *out_is_reachable)
{
    struct stat info;
    int status = 0;

    if (sr_sys.fstat(pin, &info) < 0)
        return sr_error_system(errno, "fstat", path);
    *out_is_ours = info.st_dev == view->device && info.st_ino == view->inode;
    *out_is_reachable = 0;
    if (S_ISSOCK(info.st_mode))
        status = sr_probe_stream(pin, out_is_reachable);
    return status < 0 ? sr_error_system(-status, "socket", path) : 0;
}

static bool is_absence(int status)
{
    return status == -ENOENT || status == -ENOTDIR || status == -ELOOP;
}

/* The directory may be another one than the spelling leads to, so both are looked at. Returns 0 or
 * a described status. */
static int look_at_file(const struct view *view, const char *path, sockref_health *health)
{
    int pin, status, is_there;
    bool is_ours = false;

    health->is_file_ours = 0;
    health->is_reachable = 0;
    pin = sr_fd_open(AT_FDCWD, path, O_PATH);
    if (is_absence(pin))
        return 0;
    if (pin < 0)
        return sr_error_system(-pin, "open", path);
    status = ask_pinned(view, pin, path, &is_ours, &health->is_reachable);
    sr_fd_close(pin);
    if (status < 0)
        return status;
    is_there = sr_place_leads_to(&view->place, sr_path_leaf(path), view->device, view->inode);
    if (is_there < 0)
        return sr_error_system(-is_there, "fstatat", path);
    health->is_file_ours = view->inode == 0 ? -1 : is_there && is_ours;
    if (health->is_file_ours == 1 && view->hold == SR_HOLD_OWNED && !view->listens)
        health->is_reachable = 0;
    return 0;
}

/* Returns 0 or a described status. */
static int look_without_file(const struct view *view, const char *path, sockref_health *health)
{
    int found = view->hold == SR_HOLD_OWNED ? view->listens : sr_probe_abstract(path);

    if (found < 0)
        return sr_error_system(-found, "read", "/proc/net/unix");
    health->is_file_ours = -1;
    health->is_reachable = found;
    return 0;
}

static int check(const sockref *self, sockref_health *health)
{
    struct view view = {.place = {.dir = -1}};
    int status = sr_registry_visit_held(self, see, &view);

    if (status < 0)
        return sr_registry_refuse(self, status);
    if (view.status < 0)
        return sr_error_system(-view.status, view.syscall, sockref_path(self));
    health->is_accepting = view.is_accepting;
    if (view.place.dir < 0)
        return look_without_file(&view, sockref_path(self), health);
    status = look_at_file(&view, sockref_path(self), health);
    sr_fd_close(view.place.dir);
    return status;
}

int sockref_check_health(const sockref *self, sockref_health *out_health)
{
    sockref_health health = {0};
    int status, cancel;

    if (!self || !out_health)
        return sr_error_argument("%s is NULL", self ? "out_health" : "the reference");
    status = sr_error_check_size(out_health->size, sizeof health);
    if (status < 0)
        return status;
    cancel = sr_thread_begin_uncancelled();
    status = check(self, &health);
    sr_thread_end_uncancelled(cancel);
    if (status < 0)
        return status;
    health.size = out_health->size;
    memcpy(out_health, &health, health.size);
    return 0;
}
