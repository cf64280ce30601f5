/*
 * Making again what somebody has removed from the directory of a name in use: a cleaner of old
 * files, or a person. A bound socket can't get a file again, so another one is bound; it takes the
 * place of the old one, whose connections live on.
 */
#include "name/mend.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"
#include "name/record.h"

#include <errno.h>
#include <sockref/sockref.h>
#include <sys/socket.h>

#define LOCK_WITHIN_MS 100

static bool is_beside_missing(const struct sr_share *share, const struct sr_place *place,
                              const char *suffix)
{
    char name[SR_LOCKFILE_NAME_MAX];

    sr_lockfile_name(sr_path_leaf(share->path), suffix, name);
    return sr_place_lacks(place, name);
}

/* Another lock file, with the bytes of an owner and holder, under the number of the old one. */
static int renew_lock(struct sr_share *share, const struct sr_place *place)
{
    struct sr_lockfile fresh;
    int status = sr_lockfile_enter(place, share->path, true, &fresh);

    if (status != 0)
        return status;
    status = sr_lockfile_take(&fresh, share->path, SR_BYTE_OWNER);
    if (status == 0 && (status = sr_fd_replace(fresh.fd, share->lock.fd)) < 0)
        status = sr_error_system(-status, "dup3", share->path);
    if (status != 0) {
        sr_lockfile_discard(&fresh, place, share->path);
        sr_lockfile_close(&fresh);
        return status;
    }
    share->lock.device = fresh.device;
    share->lock.inode = fresh.inode;
    share->slot = 0;
    status = sr_share_take_slot(share);
    if (status < 0)
        sr_lockfile_leave(&share->lock);
    return status;
}

static int enter(struct sr_share *share, const struct sr_place *place)
{
    if (is_beside_missing(share, place, ".srlock"))
        return renew_lock(share, place);
    return sr_share_enter(share, sr_clock_after_ms(LOCK_WITHIN_MS));
}

/* What only is bound does not; nor does what a connection from it has left in its place. */
static bool listens(int fd)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    return sr_sys.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

/* With the mode of the one before, which its descriptor has as well. */
static int bind_again(const struct sr_sockfile *file, const char *path, int backlog,
                      struct sr_sockfile *out, int *out_pin)
{
    struct sr_place place = file->place;
    struct stat info;
    int status;

    if (sr_sys.fstat(file->fd, &info) < 0)
        return sr_error_system(errno, "fstat", path);
    place.dir = sr_fd_duplicate(file->place.dir);
    if (place.dir < 0)
        return sr_error_system(-place.dir, "fcntl", path);
    status = sr_sockfile_bind(&place, path, (int)(info.st_mode & 0777),
                              listens(file->fd) ? backlog : 0, out, out_pin);
    if (status < 0)
        sr_place_close(&place);
    return status;
}

static int mend_control(struct sr_share *share, const struct sr_place *place)
{
    int fd, status;

    if (!is_beside_missing(share, place, ".srctl"))
        return 0;
    status = sr_control_listen(place, share->path, false, &fd);
    if (status < 0)
        return status;
    status = sr_fd_replace(fd, share->control);
    if (status == 0)
        return 0;
    sr_control_remove(place, share->path, &fd);
    return sr_error_system(-status, "dup3", share->path);
}

/* As in a start, the record tells of what is to come: a kill may come before the guard's pin. */
static int mend_socket(struct sr_share *share, const struct sr_sockfile *file, int backlog,
                       struct sr_sockfile *out_fresh)
{
    bool shared = sr_share_is_shared(share);
    struct sr_sockfile fresh;
    int pin, status = shared ? sr_share_write_record(share, SR_RECORD_BINDING) : 0;

    if (status == 0)
        status = bind_again(file, share->path, backlog, &fresh, &pin);
    if (status < 0) {
        struct sr_error *error = sr_error_take();

        if (shared)
            sr_share_write_record(share, SR_RECORD_LIVE);
        sr_error_give(error);
        return status;
    }
    sr_place_close(&fresh.place);
    sr_guard_unpin(&share->guarded);
    sr_share_identify(share, &fresh, pin); /* what replaces it by now is seen at the next look */
    *out_fresh = fresh;
    return 0;
}

static int mend_entered(struct sr_share *share, const struct sr_sockfile *file, int backlog,
                        struct sr_sockfile *out_fresh)
{
    int status = 0;

    if (sr_place_lacks(&file->place, sr_path_leaf(share->path)))
        status = mend_socket(share, file, backlog, out_fresh);
    if (status < 0 || !sr_share_is_shared(share))
        return status;
    status = mend_control(share, &file->place);
    if (status == 0)
        status = sr_share_write_record(share, SR_RECORD_LIVE);
    return status;
}

/* Whether what is made by the path comes to where the files were. */
static bool is_in_place(const struct sr_share *share, const struct sr_place *place)
{
    dev_t device;
    ino_t inode;

    return sr_place_find(share->path, &device, &inode) == 0 && device == place->device &&
           inode == place->inode;
}

int sr_share_mend(struct sr_share *share, const struct sr_sockfile *file, int backlog,
                  struct sr_sockfile *out_fresh)
{
    int status = 0;

    *out_fresh = (struct sr_sockfile){.fd = -1, .place = {.dir = -1}};
    if (file->adopted)
        return 0;
    if (!is_in_place(share, &file->place))
        return sr_error_set(SOCKREF_EFOREIGN, share->path, "the directory is another one now");
    if (sr_share_is_shared(share))
        status = enter(share, &file->place);
    if (status != 0)
        return status;
    status = mend_entered(share, file, backlog, out_fresh);
    if (!sr_share_is_shared(share))
        return status;
    sr_lockfile_leave(&share->lock);
    if (status == 0) {
        sr_peers_accept(&share->peers, share->control);
        for (size_t i = 0; i < share->peers.count; i++)
            sr_control_send(share->peers.fds[i], SR_CONTROL_MOVED, NULL);
    }
    return status;
}
