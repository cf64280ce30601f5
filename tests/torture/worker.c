/*
 * A worker: starts, joins, uses, serves, releases and hands over names at random, and checks what
 * it is promised meanwhile. It is killed at any of the crash points.
 */
#include "torture/worker.h"

#include "torture/crash.h"
#include "torture/hold.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOW_NS 10000000000u
#define AT_MOST 3 /* names held by one registry */

static uint64_t state;
static bool is_shut[REGISTRIES];

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state * 0x2545f4914f6cdd1du >> 33) % below;
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
        return status == SOCKREF_EFOREIGN || status == -EADDRINUSE ||
               /* the foreigner may replace and remove what is just being started there */
               (path->sticky && (status == SOCKREF_EBUSY || status == -ENOENT));
    return false;
}

static void check_duration(uint64_t since, const struct torture_path *path)
{
    uint64_t took = crash_now() - since;

    crash_worst(&crash_table->worst_start_ns, took);
    if (took > SLOW_NS)
        crash_wrong(COUNT_slow_starts, "%s: a start took %.3f s", path->text, (double)took / 1e9);
}

/* One place for the call, so that the crash points in it are the same ones. */
__attribute__((noinline)) static int listen_at(int registry, const char *path,
                                               const sockref_options *options, sockref **out)
{
    return sockref_registry_listen(registries[registry], path, options, out);
}

static void start(int registry, int index)
{
    const struct torture_path *path = &torture_paths[index];
    struct hold *hold = holds[registry][index];
    sockref_options *options = sockref_options_new();
    bool exclusive = draw(40) == 0, serves = draw(torture_profile->serve_in) == 0,
         delays = draw(40) == 0;
    sockref *ref = NULL;
    uint64_t since;
    int status;

    sockref_options_set_int(options, SOCKREF_OPT_SHARE, path->class != ALONE);
    /* What a foreign process has may be waited for until the end, so that is the usual one. */
    if (path->class != FOREIGN)
        sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, crash_table->patience_ms);
    if (path->class == PLAIN && index == 1) /* wider than the umask allows */
        sockref_options_set_int(options, SOCKREF_OPT_MODE, 0666);
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

    snprintf(directory, sizeof directory, "%s",
             torture_paths[draw((uint32_t)torture_paths_count)].text);
    *strrchr(directory, '/') = '\0';
    beat(SWEEPING, -1);
    status = sockref_registry_sweep(registries[registry], directory, NULL);
    crash_count(COUNT_sweeps);
    if (status < 0)
        crash_wrong(COUNT_failed_starts, "%s: sweep: %s (%s)", directory,
                    sockref_status_name(status), sockref_last_error()->message);
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

/* Nothing is owned in order any more: the exit hands on what a watch may yet be told is owned. */
static void abandon(void)
{
    for (int r = 0; r < REGISTRIES; r++)
        for (int p = 0; p < torture_paths_count; p++)
            if (holds[r][p])
                unpublish(holds[r][p]);
    crash_mark_dying(own_slot, false);
    crash_count(COUNT_exits);
}

__attribute__((noreturn)) static void finish(void)
{
    static char *const nothing[] = {(char *)"true", NULL};

    switch (torture_profile->abandons && draw(2) ? 0 : draw(8)) {
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
        poll(NULL, 0, (int)draw(20));
        _exit(0);
    }
    if (draw(4) == 0)
        waitpid(pid, NULL, 0);
}

static void kill_guard(void)
{
    int guard;

    if (!atomic_load(&crash_team->kills_guards) || draw(2))
        return;
    guard = sockref_guard_status(registries[0]);
    if (guard <= 0)
        return;
    crash_count(COUNT_kills);
    crash_count(COUNT_guard_kills);
    kill(guard, SIGKILL);
}

static int choose_path(void)
{
    uint32_t count = (uint32_t)torture_paths_count, favourite = torture_profile->favourite;

    return (int)draw(draw(2) && favourite < count ? favourite : count);
}

/* Hold a name for a moment, as all do, so that owners end while others hold it. */
static void relay(int registry)
{
    int path = choose_path();

    if (holds[registry][path]) {
        end(holds[registry][path]);
        return;
    }
    start(registry, path);
    if (draw(2))
        nanosleep(&(struct timespec){0, (long)draw(500000)}, NULL);
}

static void act(void)
{
    const struct torture_mix *mix = torture_profile->mix;
    uint32_t dice = draw(1000), until = 0;
    int registry = draw(4) == 0;
    struct hold *hold = any_hold();

    if (!registries[registry]) {
        if (sockref_registry_new(NULL, &registries[registry]) < 0)
            _exit(3);
        is_shut[registry] = false;
    }
    pump();
    if (torture_profile->relays && draw(20)) {
        relay(registry);
        return;
    }
    if (dice < (until += mix->start)) {
        if (count_holds(registry) < AT_MOST)
            start(registry, choose_path());
    } else if (dice < (until += mix->release)) {
        if (hold)
            release_one(hold);
    } else if (dice < (until += mix->use)) {
        if (hold)
            use(hold);
    } else if (dice < (until += mix->revoke)) {
        if (hold)
            revoke_name(hold);
    } else if (dice < (until += mix->sweep)) {
        sweep(registry);
    } else if (dice < (until += mix->shut)) {
        shut(registry);
    } else if (dice < (until += mix->fork)) {
        fork_child();
        kill_guard();
    } else if (dice < (until += mix->finish)) {
        finish();
    } else {
        poll(NULL, 0, (int)draw(2));
    }
}

void torture_worker(int slot, uint64_t seed)
{
    own_slot = slot;
    own_life = atomic_load(&crash_team->slots[slot].life);
    state = seed | 1;
    beat(IDLE, -1);
    crash_begin(CRASH_WORKER, slot, seed);
    while (!atomic_load(&crash_team->stop))
        act();
    if (draw(2))
        end_in_order();
    else
        finish();
    exit(0);
}
