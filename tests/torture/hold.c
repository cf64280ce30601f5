/* What a worker holds: who owns it, whether clients get an answer, and whether losses are heard. */
#include "torture/hold.h"

#include "ref/registry.h"
#include "ref/state.h"
#include "torture/crash.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_NS 10000000000u

int own_slot;
uint32_t own_life;
sockref_registry *registries[REGISTRIES];
struct hold *holds[REGISTRIES][CRASH_PATHS];

void beat(enum doing doing, int path)
{
    struct crash_slot *slot = &crash_team->slots[own_slot];

    atomic_store(&slot->beat_ns, crash_now());
    atomic_store(&slot->doing, doing);
    atomic_store(&slot->doing_path, path);
}

/* ---- who owns ---- */

static uint64_t owner_value(int registry)
{
    return (uint64_t)own_life << 16 | (uint64_t)own_slot << 4 | (uint64_t)registry | 8;
}

static bool is_dying(uint64_t owner)
{
    const struct crash_slot *slot = &crash_team->slots[owner >> 4 & 0xfff];
    uint32_t life = (uint32_t)(owner >> 16);

    return atomic_load(&slot->life) != life || atomic_load(&slot->dying) == life;
}

static void publish(struct hold *hold)
{
    uint64_t own = owner_value(hold->registry), before;

    if (hold->is_ending || hold->is_published)
        return;
    hold->is_published = true;
    before = atomic_exchange(&crash_team->owners[hold->path], own);
    if (before != 0 && !is_dying(before))
        crash_wrong(COUNT_two_owners, "%s: slot %d life %u and slot %d life %u",
                    torture_paths[hold->path].text, own_slot, own_life, (int)(before >> 4 & 0xfff),
                    (unsigned)(before >> 16));
}

void unpublish(struct hold *hold)
{
    uint64_t own = owner_value(hold->registry);

    pthread_mutex_lock(&hold->mutex);
    hold->is_ending = true;
    if (hold->is_published)
        atomic_compare_exchange_strong(&crash_team->owners[hold->path], &own, 0);
    hold->is_published = false;
    pthread_mutex_unlock(&hold->mutex);
}

static void on_event(sockref *ref, int event, void *user)
{
    struct hold *hold = user;

    if (event == SOCKREF_WATCH_LOST)
        crash_count(COUNT_losses);
    if (event != SOCKREF_WATCH_OWNER || !sockref_is_owner(ref))
        return;
    crash_count(COUNT_hand_overs);
    pthread_mutex_lock(&hold->mutex);
    publish(hold);
    pthread_mutex_unlock(&hold->mutex);
}

void drop(void *user)
{
    struct hold *hold = user;
    int left;

    pthread_mutex_lock(&hold->mutex);
    left = --hold->users;
    pthread_mutex_unlock(&hold->mutex);
    if (left == 0)
        free(hold);
}

void begin_watch(struct hold *hold)
{
    hold->users++;
    if (sockref_set_watch(hold->ref, on_event, hold, drop) < 0)
        drop(hold);
    pthread_mutex_lock(&hold->mutex);
    if (sockref_is_owner(hold->ref))
        publish(hold);
    pthread_mutex_unlock(&hold->mutex);
}

/* ---- clients ---- */

static void answer(int listener)
{
    int fd;

    while (listener >= 0 &&
           (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        (void)!send(fd, "y", 1, MSG_NOSIGNAL);
        close(fd);
    }
}

/* Answer those who have connected to what is owned here. */
void pump(void)
{
    beat(IDLE, -1);
    for (int r = 0; r < REGISTRIES; r++)
        for (int p = 0; p < torture_paths_count; p++)
            if (holds[r][p] && !holds[r][p]->served && sockref_is_owner(holds[r][p]->ref))
                answer(sockref_fd(holds[r][p]->ref));
}

static int dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), failure;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    failure = errno;
    close(fd);
    return -failure;
}

/* The inode that a reference stands for; 0: it can't be told now. */
static ino_t inode_of(sockref *ref)
{
    sockref_registry *registry = ref->registry;
    struct sr_life *life;
    ino_t inode = 0;

    sr_mutex_lock(&registry->mutex);
    life = ref->rest->life;
    if (life && life->share)
        inode = life->share->is_owner ? life->file.inode : life->share->socket.inode;
    sr_mutex_unlock(&registry->mutex);
    return inode;
}

static void wait_for_answer(struct hold *hold, int fd)
{
    uint64_t since = crash_now();
    unsigned looks = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    if (send(fd, "x", 1, MSG_NOSIGNAL) != 1)
        return;
    for (;;) {
        pump();
        if (poll(&ready, 1, 1) == 1 || !sockref_is_active(hold->ref) ||
            atomic_load(&crash_team->stop))
            return; /* also where the owner has gone */
        if (++looks > 200 && crash_now() - since > ANSWER_NS) {
            crash_wrong(COUNT_no_answers, "%s: nobody answers", torture_paths[hold->path].text);
            return;
        }
    }
}

/* As long as a reference is active its path leads to its socket, or there is a loss to be heard. */
void use(struct hold *hold)
{
    const struct torture_path *path = &torture_paths[hold->path];
    uint64_t since = crash_now();
    unsigned looks = 0; /* the whole machine may stand still for a while */
    const char *what = NULL;
    struct stat info;
    ino_t inode;
    int fd;

    crash_count(COUNT_uses);
    for (;;) {
        beat(USING, hold->path);
        fd = dial(path->text);
        inode = inode_of(hold->ref);
        if (!sockref_is_active(hold->ref) || (path->class == FOREIGN && path->sticky)) {
            if (fd >= 0)
                close(fd);
            return;
        }
        if (fd == -EAGAIN)
            return;
        if (fd >= 0) {
            if (stat(path->text, &info) == 0 && inode != 0 && info.st_ino == inode)
                break;
            what = "another socket stands at the path";
            close(fd);
        } else {
            what = strerror(-fd);
        }
        if (++looks > 200 && crash_now() - since > LOSS_NS) {
            crash_wrong(fd >= 0                       ? COUNT_stale_holders
                        : sockref_is_owner(hold->ref) ? COUNT_lost_paths
                                                      : COUNT_failed_joins,
                        "%s: active%s, and no loss heard for %.1f s: %s", path->text,
                        sockref_is_owner(hold->ref) ? " owner" : "", (double)LOSS_NS / 1e9, what);
            return;
        }
        pump();
        poll(NULL, 0, 1);
    }
    wait_for_answer(hold, fd);
    close(fd);
}
