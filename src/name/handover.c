/*
 * Handing a listener on, and what a joiner hears of its owner.
 *
 * The owner holds byte 0 all the while, so nobody else starts or recovers the name. It offers the
 * descriptors to one holder, with byte 1 free; that one takes byte 1, sees that the names still
 * lead to the lock file and to the socket, tells its guard, writes the record, and answers. Either
 * may be killed after any step: byte 1 then says who owns the name, and the checks after it that
 * there is still something to own.
 */
#include "name/share.h"

#include "base/clock.h"
#include "base/fd.h"
#include "name/path.h"

#include <errno.h>
#include <time.h>

#define ANSWER_WITHIN_NS 300000000u
#define ANSWER_LEAST_NS  1000000u

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Whether a word has come by then; any other word than TAKEN is no. */
static bool hears(int peer, uint64_t until, bool *out_taken)
{
    enum sr_control_word word = SR_CONTROL_DECLINED;
    int none[SR_CONTROL_FDS];

    sr_control_wait(peer, until);
    if (sr_control_receive(peer, &word, none) != 0)
        return false;
    *out_taken = word == SR_CONTROL_TAKEN;
    return true;
}

/* Whether another holder has written itself down as the owner. */
static bool has_successor(const struct sr_share *self)
{
    struct sr_record record;

    return sr_record_read(self->lock.fd, &record) == 0 && record.state == SR_RECORD_LIVE &&
           record.generation != self->generation;
}

/*
 * Returns whether somebody else owns the name now: this peer, or one before that comes late. As
 * long as byte 1 is taken without that it may still be declined; without it nothing may be touched.
 * Nobody can start the name meanwhile, so the silence of one peer leaves the next half of the time.
 */
static bool offer_to(struct sr_share *self, int peer, const int *fds, uint64_t *inout_within_ns,
                     uint64_t deadline_ns)
{
    const struct timespec pause = {0, 1000000};
    uint64_t until = earlier(deadline_ns, sr_clock_ns() + *inout_within_ns);
    bool taken = false, heard;

    sr_lockfile_free(&self->lock, SR_BYTE_OWNER); /* first: the peer may be fast */
    heard = sr_control_send(peer, SR_CONTROL_OFFER, fds) == 0 && hears(peer, until, &taken);
    if (!heard && *inout_within_ns > ANSWER_LEAST_NS)
        *inout_within_ns /= 2;
    while (!taken) {
        if (sr_lockfile_take(&self->lock, self->path, SR_BYTE_OWNER) != SR_LOCK_BUSY)
            return false;
        if (has_successor(self) || sr_clock_ns() >= deadline_ns)
            return true;
        nanosleep(&pause, NULL);
        heard = heard || hears(peer, sr_clock_ns(), &taken);
    }
    return true;
}

bool sr_share_hand_over(struct sr_share *self, struct sr_sockfile *file, uint64_t deadline_ns)
{
    const int fds[SR_CONTROL_FDS] = {file->fd, self->control};
    uint64_t within = ANSWER_WITHIN_NS;
    size_t heir = 0;

    sr_peers_accept(&self->peers, self->control);
    while (heir < self->peers.count &&
           !offer_to(self, self->peers.fds[heir], fds, &within, deadline_ns))
        heir++;
    if (heir == self->peers.count)
        return false;
    for (size_t i = 0; i < self->peers.count; i++)
        if (i != heir)
            sr_control_send(self->peers.fds[i], SR_CONTROL_MOVED, NULL);
    file->has_file = false;
    self->is_owner = false;
    return true;
}

/* Whether the socket that was joined still stands at the path. */
static bool has_socket(const struct sr_share *self, const struct sr_place *place)
{
    return sr_place_leads_to(place, sr_path_leaf(self->path), self->socket.device,
                             self->socket.inode) > 0;
}

void sr_share_decline(struct sr_share *self, int offer[SR_CONTROL_FDS])
{
    for (int i = 0; i < SR_CONTROL_FDS; i++)
        sr_fd_close(offer[i]);
    sr_control_send(self->control, SR_CONTROL_DECLINED, NULL);
}

/* Its owner may have had to make it again. */
static void learn_socket(struct sr_share *self, const struct sr_record *record)
{
    self->socket = (struct sr_identity){true, record->device, record->inode, record->born_ns};
}

/*
 * Whether the record still tells of the life that was joined; learns the owner of now. An offer may
 * be an old one: since it was made the owner may have ended, and somebody else have started the
 * name and died, whose socket is not the one that was offered.
 */
static bool is_alive_by_record(struct sr_share *self)
{
    struct sr_record before;

    if (sr_record_read(self->lock.fd, &before) < 0 || before.state != SR_RECORD_LIVE ||
        before.life != self->life)
        return false;
    learn_socket(self, &before);
    self->generation = before.generation;
    return true;
}

static bool write_own_record(struct sr_share *self)
{
    self->generation++;
    return sr_share_write_record(self, SR_RECORD_LIVE) == 0;
}

/*
 * Become the owner by the locks and the record. Until the record tells of it, it tells of the one
 * before, who may die meanwhile: byte 3 keeps others from taking byte 1 for a dead owner's.
 */
static bool succeed(struct sr_share *self, const struct sr_place *place)
{
    if (sr_lockfile_take(&self->lock, self->path, SR_BYTE_OWNER) != 0)
        return false;
    if (is_alive_by_record(self)) {
        sr_guard_pin(&self->guarded, self->socket.device, self->socket.inode, -1);
        if (sr_lockfile_is_current(&self->lock, place, self->path) && has_socket(self, place) &&
            write_own_record(self))
            return true;
        sr_guard_unpin(&self->guarded);
    }
    sr_lockfile_free(&self->lock, SR_BYTE_OWNER);
    return false;
}

bool sr_share_take_over(struct sr_share *self, int offer[SR_CONTROL_FDS],
                        struct sr_sockfile *inout_file)
{
    bool owns = false;

    if (offer[0] >= 0 && offer[1] >= 0 &&
        sr_lockfile_take(&self->lock, self->path, SR_BYTE_HEIR) == 0) {
        owns = succeed(self, &inout_file->place);
        sr_lockfile_free(&self->lock, SR_BYTE_HEIR);
    }
    if (!owns) {
        sr_share_decline(self, offer);
        return false;
    }
    inout_file->fd = offer[0];
    inout_file->device = self->socket.device;
    inout_file->inode = self->socket.inode;
    inout_file->has_file = true;
    sr_control_send(self->control, SR_CONTROL_TAKEN, NULL); /* an owner that died hears nothing */
    self->stale = self->control;
    self->control = offer[1];
    self->is_owner = true;
    return true;
}

/* Whose listener it is by the record, which is looked at without byte 0; its owner answers. */
static enum sr_news compare_record(struct sr_share *self, const struct sr_place *place)
{
    struct sr_record record;

    if (!sr_lockfile_is_current(&self->lock, place, self->path))
        return SR_NEWS_LOST; /* whoever answers has another lock file */
    self->is_unclear = sr_record_read(self->lock.fd, &record) < 0 || record.state != SR_RECORD_LIVE;
    if (self->is_unclear)
        return SR_NEWS_UNCLEAR;
    if (record.life != self->life)
        return SR_NEWS_LOST;
    learn_socket(self, &record);
    if (record.generation == self->generation)
        return SR_NEWS_NONE;
    self->generation = record.generation;
    return SR_NEWS_OWNER;
}

/* The owner does not answer. Without its byte, and with nobody at work on the name, it is gone. */
static enum sr_news look_at_locks(struct sr_share *self)
{
    bool has_owner;

    if (sr_lockfile_has_owner(&self->lock) || sr_lockfile_reenter(&self->lock, self->path) != 0)
        return SR_NEWS_UNCLEAR;
    has_owner = sr_lockfile_has_owner(&self->lock);
    sr_lockfile_leave(&self->lock);
    return has_owner ? SR_NEWS_UNCLEAR : SR_NEWS_LOST;
}

static enum sr_news find_out(struct sr_share *self, const struct sr_place *place)
{
    int fd = -1;

    if (sr_control_connect(place, self->path, &fd) != 0)
        return look_at_locks(self);
    if (self->stale < 0) {
        self->stale = self->control;
        self->control = fd;
    } else {
        sr_fd_close(fd);
    }
    return compare_record(self, place);
}

enum sr_news sr_share_hear(struct sr_share *self, const struct sr_place *place,
                           int out_offer[SR_CONTROL_FDS])
{
    enum sr_control_word word;
    int status;

    if (self->control < 0)
        return find_out(self, place);
    status = sr_control_receive(self->control, &word, out_offer);
    if (status == -EAGAIN)
        return self->is_unclear ? compare_record(self, place) : SR_NEWS_NONE;
    if (status == 0 && word == SR_CONTROL_OFFER)
        return SR_NEWS_OFFERED;
    for (int i = 0; status == 0 && i < SR_CONTROL_FDS; i++)
        sr_fd_close(out_offer[i]);
    return find_out(self, place);
}
