/*
 * What a holder of a name does with it, until it lets go: the slot that counts it, the record, and
 * the end.
 */
#include "name/share.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"
#include "name/control.h"
#include "name/record.h"

#include <time.h>

int sr_share_write_down(struct sr_share *self, struct sr_record *record, enum sr_record_state state)
{
    int status;

    record->state = state;
    record->life = self->life;
    record->generation = self->generation;
    record->device = self->socket.device;
    record->inode = self->socket.inode;
    record->born_ns = self->socket.born_ns;
    status = sr_record_write(self->lock.fd, record);
    return status < 0 ? sr_error_system(-status, "pwrite", self->path) : 0;
}

int sr_share_write_record(struct sr_share *self, enum sr_record_state state)
{
    struct sr_record record;

    sr_record_of_self(&record);
    return sr_share_write_down(self, &record, state);
}

void sr_share_identify(struct sr_share *self, const struct sr_sockfile *file, int pin)
{
    self->socket = (struct sr_identity){true, file->device, file->inode, file->born_ns};
    sr_guard_pin(&self->guarded, file->device, file->inode, pin);
    sr_fd_close(pin);
}

bool sr_share_is_shared(const struct sr_share *self)
{
    return self->lock.fd >= 0;
}

int sr_share_enter(struct sr_share *self, uint64_t deadline_ns)
{
    struct timespec pause = {0, 20000};

    for (;;) {
        int status = sr_lockfile_reenter(&self->lock, self->path);

        if (status != SR_LOCK_BUSY || sr_clock_ns() >= deadline_ns)
            return status;
        nanosleep(&pause, NULL);
        if (pause.tv_nsec < 2000000)
            pause.tv_nsec *= 2;
    }
}

int sr_share_enter_alone(struct sr_share *self)
{
    return sr_lockfile_reenter_alone(&self->lock, self->path);
}

void sr_share_leave(struct sr_share *self)
{
    sr_lockfile_leave(&self->lock);
}

int sr_share_take_slot(struct sr_share *self)
{
    int64_t slot;

    if (self->slot != 0)
        return 0;
    slot = sr_lockfile_take_slot(&self->lock, self->path, sr_random());
    if (slot < 0)
        return (int)slot;
    self->slot = slot;
    return 0;
}

void sr_share_free_slot(struct sr_share *self)
{
    if (self->slot != 0)
        sr_lockfile_free(&self->lock, self->slot);
    self->slot = 0;
}

bool sr_share_has_others(const struct sr_share *self)
{
    return sr_lockfile_has_slots(&self->lock);
}

uint64_t sr_share_count_others(const struct sr_share *self)
{
    uint64_t count;

    (void)sr_lockfile_count_slots(&self->lock, SR_COUNTING_NS, &count);
    return count;
}

/*
 * Where somebody has removed the files of the name, another owner may have made them anew: then the
 * lock file is his, and so may be the control socket.
 */
int sr_share_end(struct sr_share *self, struct sr_sockfile *file, bool has_others)
{
    static const struct sr_record empty;
    int status = sr_sockfile_remove(file, self->path), beside = 0;
    struct sr_error *error;
    int lock;

    if (!sr_share_is_shared(self))
        return status;
    error = status < 0 ? sr_error_take() : NULL;
    lock = sr_lockfile_find_name(&self->lock, &file->place, self->path);
    if (lock == SR_LOCK_NAMES_ANOTHER)
        sr_control_remove_own(&file->place, self->path, &self->control);
    else if (lock < 0)
        beside = sr_error_system(-lock, "fstatat", self->path);
    else
        beside = sr_control_remove(&file->place, self->path, &self->control);
    sr_peers_clear(&self->peers);
    sr_error_give(error);
    if (status < 0 || beside < 0) /* the record helps whoever tries next */
        return status < 0 ? status : beside;
    if (!has_others || !sr_share_has_others(self))
        return lock == SR_LOCK_NAMES_THIS ? sr_lockfile_unlink_name(&file->place, self->path) : 0;
    sr_record_write(self->lock.fd, &empty); /* the inode's number may be used again */
    return 0;
}

/*
 * The owner that only waits for the last holder, having freed its own slot, looks again when
 * somebody connects. Returns whether there is one who will: an owner that ends removes its control
 * socket before it counts the holders.
 */
static bool poke_owner(const struct sr_share *self, const struct sr_place *place)
{
    int fd = -1;

    if (sr_control_connect(place, self->path, &fd) != 0)
        return false;
    sr_fd_close(fd);
    return true;
}

int sr_share_let_go(struct sr_share *self, const struct sr_place *place)
{
    bool removed = false;
    int status;

    sr_share_free_slot(self);
    sr_fd_close(self->control);
    self->control = -1;
    if (sr_lockfile_has_starter(&self->lock)) /* it counts the holders when it has freed its slot */
        return 0;
    if (sr_lockfile_has_owner(&self->lock) && poke_owner(self, place))
        return 0;
    status = sr_lockfile_reenter(&self->lock, self->path);
    if (status != 0)
        return status;
    if (sr_lockfile_is_current(&self->lock, place, self->path))
        status = sr_recover_entered(&self->lock, place, self->path, NULL, &removed);
    sr_lockfile_leave(&self->lock);
    return status;
}

void sr_share_close(struct sr_share *self)
{
    sr_lockfile_close(&self->lock);
    sr_fd_close(self->control);
    sr_fd_close(self->stale);
    self->control = self->stale = -1;
    sr_peers_clear(&self->peers);
    sr_guard_forget(&self->guarded);
}
