/*
 * Handing a listener on, and what a joiner hears of its owner.
 *
 * The owner holds byte 0 all the while, so nobody else starts or recovers the name. It frees byte 1
 * and offers the descriptors to one holder, and to the next as well where that one is silent. Who
 * takes byte 1 first sees that the names still lead to the lock file and to the socket, tells its
 * guard, writes the record, and answers; the others decline. Any of them may be killed after any
 * step: byte 1 then says who owns the name, and the checks after it that there is still something
 * to own.
 */
#include "name/share.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/path.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

/* After so much silence the next one is asked as well. */
#define ASK_NEXT_NS 20000000u
/* A holder that has yet to hear who owns the name now is not connected: it is waited for. */
#define COME_WITHIN_NS 1000000000u
#define LOOK_AGAIN_NS  5000000u
/* Who is asked with so many after it is no longer listened to. */
#define MOST_ASKED 16
#define ROUNDS     2

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Those that have not answered yet, the first one asked first. */
struct offers {
    int peers[MOST_ASKED];
    size_t count;
    int heir;        /* who has taken it; -1 */
    bool is_crowded; /* somebody has declined while another one was asked, who may yet fail */
};

static void remove_offer(struct offers *self, size_t i)
{
    memmove(self->peers + i, self->peers + i + 1, (self->count - i - 1) * sizeof *self->peers);
    self->count--;
}

static void offer_to(struct offers *self, int peer, const int *fds)
{
    if (sr_control_send(peer, SR_CONTROL_OFFER, fds) != 0)
        return;
    if (self->count == MOST_ASKED)
        remove_offer(self, 0);
    self->peers[self->count++] = peer;
}

/* Any other word than TAKEN is no, and so is the end of the connection. */
static void hear_answer(struct offers *self, size_t i)
{
    enum sr_control_word word = SR_CONTROL_DECLINED;
    int none[SR_CONTROL_FDS], status = sr_control_receive(self->peers[i], &word, none);

    if (status == -EAGAIN)
        return;
    for (size_t k = 0; status == 0 && k < SR_CONTROL_FDS; k++)
        sr_fd_close(none[k]); /* nobody else answers with any */
    if (status == 0 && word == SR_CONTROL_TAKEN)
        self->heir = self->peers[i];
    else if (status == 0 && self->count > 1)
        self->is_crowded = true;
    remove_offer(self, i);
}

static int ms_until(uint64_t deadline_ns)
{
    uint64_t now = sr_clock_ns();

    return now < deadline_ns ? (int)((deadline_ns - now + 999999) / 1000000) : 0;
}

/* Wait for answers, until one has come or that time. Returns whether the offer was taken. */
static bool hear_answers(struct offers *self, uint64_t until_ns)
{
    struct pollfd ready[MOST_ASKED];

    for (size_t i = 0; i < self->count; i++)
        ready[i] = (struct pollfd){.fd = self->peers[i], .events = POLLIN};
    if (sr_sys.poll(ready, self->count, ms_until(until_ns)) > 0)
        for (size_t i = self->count; i-- > 0;)
            if (ready[i].revents)
                hear_answer(self, i);
    return self->heir >= 0;
}

/* Whether another holder has written itself down as the owner. */
static bool has_successor(const struct sr_share *self)
{
    struct sr_record record;

    return sr_record_read(self->lock.fd, &record) == 0 && record.state == SR_RECORD_LIVE &&
           record.generation != self->generation;
}

/* Whether there are holders that have not connected, as far as numbers tell. */
static bool expects_more(const struct sr_share *self)
{
    return self->peers.count < sr_share_count_others(self);
}

/* With byte 1 free: ask one after the other, until one takes it or nobody is left who may. */
static bool ask_all(struct sr_share *self, struct offers *offers, const int *fds,
                    uint64_t deadline_ns)
{
    uint64_t now, ask_at = 0, come_until = sr_clock_ns() + COME_WITHIN_NS;
    size_t next = 0;

    while ((now = sr_clock_ns()) < deadline_ns) {
        sr_peers_extend(&self->peers, self->control);
        if (next < self->peers.count && (offers->count == 0 || now >= ask_at)) {
            offer_to(offers, self->peers.fds[next++], fds);
            ask_at = now + ASK_NEXT_NS;
        } else if (next == self->peers.count && offers->count == 0 &&
                   (now >= come_until || !expects_more(self))) {
            return false;
        }
        if (hear_answers(offers, earlier(now + LOOK_AGAIN_NS, deadline_ns)))
            return true;
    }
    return false;
}

/*
 * Take byte 1 back. As long as somebody has it who has not answered, it may still be declined;
 * without it, also where the system can't give it, nothing may be touched. Returns whether somebody
 * else owns the name.
 */
static bool is_taken_anyway(struct sr_share *self, struct offers *offers, uint64_t deadline_ns)
{
    while (sr_lockfile_take(&self->lock, self->path, SR_BYTE_OWNER) != 0)
        if (has_successor(self) || sr_clock_ns() >= deadline_ns ||
            hear_answers(offers, sr_clock_ns() + 1000000))
            return true;
    return false;
}

bool sr_share_hand_over(struct sr_share *self, struct sr_sockfile *file, uint64_t deadline_ns)
{
    const int fds[SR_CONTROL_FDS] = {file->fd, self->control};
    struct offers offers = {.heir = -1, .is_crowded = true};
    bool taken = false;

    sr_peers_accept(&self->peers, self->control);
    for (int round = 0; round < ROUNDS && !taken && offers.is_crowded; round++) {
        offers.is_crowded = false;
        sr_lockfile_free(&self->lock, SR_BYTE_OWNER); /* first: the peer may be fast */
        taken =
            ask_all(self, &offers, fds, deadline_ns) || is_taken_anyway(self, &offers, deadline_ns);
    }
    if (!taken)
        return false;
    for (size_t i = 0; i < self->peers.count; i++)
        if (self->peers.fds[i] != offers.heir)
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
