/*
 * A worker: starts, joins, uses, serves, releases and hands over names at random, and checks what it is
 * promised meanwhile. It is killed at any of the crash points.
 */
#include "torture/worker.h"

#include "base/fd.h"
#include "ref/registry.h"
#include "ref/state.h"
#include "torture/crash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sockref/net.h>
#include <sockref/sockref.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define REGISTRIES   2
#define LOSS_NS      1000000000u /* a holder hears of a loss within this */
#define ANSWER_NS    3000000000u
#define SLOW_NS      2000000000u
#define AT_MOST      3 /* names held by one registry */

enum doing { IDLE, LISTENING, RELEASING, USING, CLEANING, SWEEPING, SHUTTING, ENDING };

/* One life of a name here. Its watch counts it as well. */
struct hold {
    pthread_mutex_t mutex;
    int users; /* main thread, watch */
    int registry, path;
    unsigned count; /* references */
    sockref *ref;
    bool is_ending; /* it may not be published any more */
    bool is_published;
    bool served;
    bool delays;
};

static int own_slot;
static uint32_t own_life;
static uint64_t state;
static sockref_registry *registries[REGISTRIES];
static struct hold *holds[REGISTRIES][CRASH_PATHS];
static bool is_shut[REGISTRIES];

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state * 0x2545f4914f6cdd1du >> 33) % below;
}

static void beat(enum doing doing, int path)
{
    struct crash_slot *slot = &crash_table->slots[own_slot];

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
    const struct crash_slot *slot = &crash_table->slots[owner >> 4 & 0xfff];
    uint32_t life = (uint32_t)(owner >> 16);

    return atomic_load(&slot->life) != life || atomic_load(&slot->dying) == life;
}

static void publish(struct hold *hold)
{
    uint64_t own = owner_value(hold->registry), before;

    if (hold->is_ending || hold->is_published)
        return;
    hold->is_published = true;
    before = atomic_exchange(&crash_table->owners[hold->path], own);
    if (before != 0 && !is_dying(before))
        crash_wrong(COUNT_two_owners, "%s: slot %d life %u and slot %d life %u",
                    torture_paths[hold->path].text, own_slot, own_life, (int)(before >> 4 & 0xfff),
                    (unsigned)(before >> 16));
}

static void unpublish(struct hold *hold)
{
    uint64_t own = owner_value(hold->registry);

    pthread_mutex_lock(&hold->mutex);
    hold->is_ending = true;
    if (hold->is_published)
        atomic_compare_exchange_strong(&crash_table->owners[hold->path], &own, 0);
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

static void drop(void *user)
{
    struct hold *hold = user;
    int left;

    pthread_mutex_lock(&hold->mutex);
    left = --hold->users;
    pthread_mutex_unlock(&hold->mutex);
    if (left == 0)
        free(hold);
}

/* ---- clients ---- */

static void answer(int listener)
{
    int fd;

    while (listener >= 0 && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        (void)!send(fd, "y", 1, MSG_NOSIGNAL);
        close(fd);
    }
}

/* Answer those who have connected to what is owned here. */
static void pump(void)
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
            atomic_load(&crash_table->stop))
            return; /* also where the owner has gone */
        if (++looks > 200 && crash_now() - since > ANSWER_NS) {
            crash_wrong(COUNT_no_answers, "%s: nobody answers", torture_paths[hold->path].text);
            return;
        }
    }
}

/* As long as a reference is active its path leads to its socket, or there is a loss to be heard. */
static void use(struct hold *hold)
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
            crash_wrong(fd >= 0 ? COUNT_stale_holders : COUNT_lost_paths,
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

/* ---- starts and ends ---- */

static bool is_allowed(int status, const struct torture_path *path, bool exclusive, int registry)
{
    if (status == SOCKREF_ESHUTDOWN)
        return is_shut[registry];
    if (exclusive && (status == SOCKREF_EBUSY || status == SOCKREF_EEXISTS))
        return true;
    if (path->class == ALONE)
        return status == SOCKREF_EBUSY;
    if (path->class == FOREIGN)
        return status == SOCKREF_EFOREIGN || status == -EADDRINUSE;
    return false;
}

static void check_duration(uint64_t since, const struct torture_path *path)
{
    uint64_t took = crash_now() - since, worst = atomic_load(&crash_table->worst_start_ns);

    while (took > worst &&
           !atomic_compare_exchange_weak(&crash_table->worst_start_ns, &worst, took))
        continue;
    if (took > SLOW_NS)
        crash_wrong(COUNT_slow_starts, "%s: a start took %.3f s", path->text, (double)took / 1e9);
}

/* One place for the call, so that the crash points in it are the same ones. */
__attribute__((noinline)) static int listen_at(int registry, const char *path,
                                               const sockref_options *options, sockref **out)
{
    return sockref_registry_listen(registries[registry], path, options, out);
}

static void begin_watch(struct hold *hold)
{
    hold->users++;
    if (sockref_set_watch(hold->ref, on_event, hold, drop) < 0)
        drop(hold);
    pthread_mutex_lock(&hold->mutex);
    if (sockref_is_owner(hold->ref))
        publish(hold);
    pthread_mutex_unlock(&hold->mutex);
}

static void start(int registry, int index)
{
    const struct torture_path *path = &torture_paths[index];
    struct hold *hold = holds[registry][index];
    sockref_options *options = sockref_options_new();
    bool exclusive = draw(40) == 0, serves = draw(3) == 0, delays = draw(40) == 0;
    sockref *ref = NULL;
    uint64_t since;
    int status;

    sockref_options_set_int(options, SOCKREF_OPT_SHARE, path->class != ALONE);
    if (exclusive)
        sockref_options_set_int(options, SOCKREF_OPT_EXCLUSIVE, 1);
    if (draw(4) == 0)
        sockref_options_set_int(options, SOCKREF_OPT_HANDOVER, 0);
    if (delays)
        sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS, 1 + draw(10));
    beat(LISTENING, index);
    since = crash_now();
    status = listen_at(registry, path->text, options, &ref);
    check_duration(since, path);
    beat(IDLE, -1);
    sockref_options_free(options);
    if (status < 0) {
        crash_count(COUNT_refused_starts);
        if (!is_allowed(status, path, exclusive, registry))
            crash_wrong(COUNT_failed_starts, "%s: %s (%s)", path->text, sockref_status_name(status),
                        sockref_last_error()->message);
        return;
    }
    crash_count(sockref_is_owner(ref) ? COUNT_owners : COUNT_joins);
    if (hold && hold->ref == ref) {
        hold->count++;
        return;
    }
    if (hold) { /* the name was lost, and this is another life of it */
        unpublish(hold);
        while (hold->count-- > 0)
            sockref_release(hold->ref);
        drop(hold);
    }
    hold = calloc(1, sizeof *hold);
    pthread_mutex_init(&hold->mutex, NULL);
    hold->users = 1;
    hold->registry = registry;
    hold->path = index;
    hold->count = 1;
    hold->ref = ref;
    hold->delays = delays;
    holds[registry][index] = hold;
    begin_watch(hold);
    if (serves)
        hold->served = sockref_serve(ref, sockref_echo_handlers(), NULL) == 0;
}

__attribute__((noinline)) static void release_once(struct hold *hold)
{
    beat(RELEASING, hold->path);
    sockref_release(hold->ref);
    crash_count(COUNT_releases);
}

static void end(struct hold *hold)
{
    holds[hold->registry][hold->path] = NULL;
    unpublish(hold);
    while (hold->count > 0) {
        hold->count--;
        release_once(hold);
    }
    drop(hold);
}

static void release_one(struct hold *hold)
{
    if (hold->count == 1) {
        end(hold);
        return;
    }
    hold->count--;
    release_once(hold);
}

static struct hold *any_hold(void)
{
    struct hold *found = NULL;
    unsigned seen = 0;

    for (int r = 0; r < REGISTRIES; r++)
        for (int p = 0; p < torture_paths_count; p++)
            if (holds[r][p] && draw(++seen) == 0)
                found = holds[r][p];
    return found;
}

static unsigned count_holds(int registry)
{
    unsigned count = 0;

    for (int p = 0; p < torture_paths_count; p++)
        count += holds[registry][p] != NULL;
    return count;
}

static void end_all(void)
{
    for (int r = 0; r < REGISTRIES; r++)
        for (int p = 0; p < torture_paths_count; p++)
            if (holds[r][p])
                end(holds[r][p]);
}

static void revoke_name(struct hold *hold)
{
    int status;

    unpublish(hold);
    beat(CLEANING, hold->path);
    status = sockref_registry_cleanup(registries[hold->registry], torture_paths[hold->path].text);
    crash_count(COUNT_cleanups);
    if (status < 0 && status != SOCKREF_ENOTFOUND && status != SOCKREF_ETIMEOUT)
        crash_wrong(COUNT_failed_starts, "%s: cleanup: %s (%s)", torture_paths[hold->path].text,
                    sockref_status_name(status), sockref_last_error()->message);
    end(hold);
}

static void sweep(int registry)
{
    char directory[200];
    int status;

    snprintf(directory, sizeof directory, "%s", torture_paths[draw((uint32_t)torture_paths_count)].text);
    *strrchr(directory, '/') = '\0';
    beat(SWEEPING, -1);
    status = sockref_registry_sweep(registries[registry], directory, NULL);
    crash_count(COUNT_sweeps);
    if (status < 0)
        crash_wrong(COUNT_failed_starts, "%s: sweep: %s (%s)", directory, sockref_status_name(status),
                    sockref_last_error()->message);
}

static void shut(int registry)
{
    for (int p = 0; p < torture_paths_count; p++)
        if (holds[registry][p])
            unpublish(holds[registry][p]);
    is_shut[registry] = true;
    beat(SHUTTING, -1);
    sockref_registry_shutdown(registries[registry], (int)draw(3));
    crash_count(COUNT_shutdowns);
    for (int p = 0; p < torture_paths_count; p++)
        if (holds[registry][p])
            end(holds[registry][p]);
    sockref_registry_free(registries[registry]);
    registries[registry] = NULL;
}

/* ---- the end of the process ---- */

/* What leads into the directories of the torture, or is one more socket than there may be. */
static bool find_descriptor(char *out, size_t size)
{
    DIR *stream = opendir("/proc/self/fd");
    char link[300], target[300];
    struct dirent *item;
    unsigned sockets = 0;

    out[0] = '\0';
    while (stream && (item = readdir(stream))) {
        ssize_t length;

        snprintf(link, sizeof link, "/proc/self/fd/%s", item->d_name);
        length = readlink(link, target, sizeof target - 1);
        if (length <= 0)
            continue;
        target[length] = '\0';
        if (strncmp(target, "socket:", 7) == 0)
            sockets++;
        if (strstr(target, "/sockref-torture-"))
            snprintf(out, size, "%s", target);
    }
    if (stream)
        closedir(stream);
    if (sockets > 1) /* the guard's */
        snprintf(out, size, "%u sockets", sockets);
    return out[0] != '\0';
}

static void check_descriptors(void)
{
    uint64_t since = crash_now();
    char left[300];

    while (find_descriptor(left, sizeof left)) {
        if (crash_now() - since > LOSS_NS) {
            crash_wrong(COUNT_left_descriptors, "after the last release: %s", left);
            return;
        }
        poll(NULL, 0, 2);
    }
}

static void end_in_order(void)
{
    uint64_t references, entries, since;

    beat(ENDING, -1);
    end_all();
    for (int r = 0; r < REGISTRIES; r++) {
        int status;

        if (!registries[r])
            continue;
        status = sockref_registry_drain(registries[r], 5000);
        if (status < 0)
            crash_wrong(COUNT_stuck, "drain: %s", sockref_last_error()->message);
        sockref_registry_free(registries[r]);
        registries[r] = NULL;
    }
    since = crash_now();
    do { /* connections end in a later turn of the service thread */
        sockref_live_counts(&references, &entries, NULL);
        if (references == 0 && entries == 0)
            break;
        poll(NULL, 0, 2);
    } while (crash_now() - since < LOSS_NS);
    if (references != 0 || entries != 0)
        crash_wrong(COUNT_left_descriptors, "%llu references and %llu names are left; %s",
                    (unsigned long long)references, (unsigned long long)entries,
                    sockref_last_error()->message);
    check_descriptors();
}

/* Nothing is owned in order any more. */
static void abandon(void)
{
    crash_mark_dying(own_slot, false);
    crash_count(COUNT_exits);
}

__attribute__((noreturn)) static void finish(void)
{
    static char *const nothing[] = {(char *)"true", NULL};

    switch (draw(8)) {
    case 0:
        abandon();
        exit(0);
    case 1:
        abandon();
        _exit(0);
    case 2:
        abandon();
        execv("/bin/true", nothing);
        _exit(0);
    default:
        end_in_order();
        exit(0);
    }
}

/* Children that share what this process has, for a moment. */
static void fork_child(void)
{
    static char *const nothing[] = {(char *)"true", NULL};
    pid_t pid;

    if (draw(2)) {
        if (posix_spawn(&pid, "/bin/true", NULL, NULL, nothing, NULL) == 0)
            waitpid(pid, NULL, 0);
        return;
    }
    pid = fork();
    if (pid == 0) {
        poll(NULL, 0, (int)draw(4));
        _exit(0);
    }
    if (draw(2))
        waitpid(pid, NULL, 0);
}

static void kill_guard(void)
{
    int guard;

    if (!atomic_load(&crash_table->kills_guards))
        return;
    guard = sockref_guard_status(registries[0]);
    if (guard <= 0)
        return;
    crash_count(COUNT_kills);
    crash_count(COUNT_guard_kills);
    kill(guard, SIGKILL);
}

static void act(void)
{
    uint32_t dice = draw(1000);
    int registry = draw(4) == 0;
    struct hold *hold = any_hold();

    if (!registries[registry]) {
        if (sockref_registry_new(NULL, &registries[registry]) < 0)
            _exit(3);
        is_shut[registry] = false;
    }
    pump();
    if (dice < 350) {
        if (count_holds(registry) < AT_MOST)
            start(registry, (int)(draw(2) ? draw(2) : draw((uint32_t)torture_paths_count)));
    } else if (dice < 600) {
        if (hold)
            release_one(hold);
    } else if (dice < 800) {
        if (hold)
            use(hold);
    } else if (dice < 900) {
        poll(NULL, 0, (int)draw(2));
    } else if (dice < 930) {
        if (hold)
            revoke_name(hold);
    } else if (dice < 950) {
        sweep(registry);
    } else if (dice < 960) {
        shut(registry);
    } else if (dice < 970) {
        fork_child();
    } else if (dice < 975) {
        kill_guard();
    } else if (dice < 985) {
        finish();
    }
}

void torture_worker(int slot, uint64_t seed)
{
    own_slot = slot;
    own_life = atomic_load(&crash_table->slots[slot].life);
    state = seed | 1;
    beat(IDLE, -1);
    crash_arm(CRASH_WORKER, slot, seed);
    while (!atomic_load(&crash_table->stop))
        act();
    if (draw(2))
        end_in_order();
    else
        finish();
    exit(0);
}

/* ---- the foreigner ---- */

static int bind_foreign(const char *path, struct stat *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 100) < 0 ||
        lstat(path, out) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool stands(const char *path, const struct stat *what)
{
    struct stat info;

    return lstat(path, &info) == 0 && info.st_ino == what->st_ino && info.st_dev == what->st_dev;
}

/* A file of ours stays where it is; where removals look by renaming aside, it may be away for a moment. */
static void hold_foreign(const struct torture_path *path, const struct stat *what)
{
    for (uint32_t i = draw(30); i > 0; i--) {
        uint64_t since = crash_now();
        bool there;

        while (!(there = stands(path->text, what)) && path->sticky && crash_now() - since < LOSS_NS)
            poll(NULL, 0, 1);
        crash_count(COUNT_foreign_checks);
        if (!there) {
            crash_wrong(COUNT_foreign_removed, "%s: inode %lu is gone", path->text,
                        (unsigned long)what->st_ino);
            return;
        }
        poll(NULL, 0, (int)draw(2));
    }
    /* Once more where it may just have been away. */
    for (int i = 0; i < (path->sticky ? 5 : 1); i++) {
        if (stands(path->text, what))
            unlink(path->text);
        else if (path->sticky)
            poll(NULL, 0, 2);
    }
}

/* Take the place of whatever stands there, without asking. */
static int replace_foreign(const struct torture_path *path, struct stat *out)
{
    char aside[220];
    int fd;

    snprintf(aside, sizeof aside, "%s.foreign", path->text);
    unlink(aside);
    fd = bind_foreign(aside, out);
    if (fd >= 0 && rename(aside, path->text) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void torture_foreigner(uint64_t seed)
{
    state = seed | 1;
    while (!atomic_load(&crash_table->stop)) {
        int index = (int)draw((uint32_t)torture_paths_count), fd;
        const struct torture_path *path = &torture_paths[index];
        struct stat what;

        if (path->class != FOREIGN)
            continue;
        if (draw(4) == 0) { /* not a socket */
            fd = open(path->text, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
            if (fd >= 0)
                fstat(fd, &what);
        } else if (path->sticky && draw(2)) {
            fd = replace_foreign(path, &what);
        } else {
            fd = bind_foreign(path->text, &what);
        }
        if (fd >= 0) {
            crash_count(COUNT_foreign_binds);
            hold_foreign(path, &what);
            close(fd);
        }
        poll(NULL, 0, (int)draw(5));
    }
    _exit(0);
}
