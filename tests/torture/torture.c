/*
 * torture: kills processes that use the library, at every boundary of every system call that it makes,
 * and looks whether what it promises holds. Usage: torture KILLS GUARD; see tests/torture/README.
 *
 * It runs in rounds: some seconds of workers on some paths, each killed one replaced by another; then all
 * end, and when their guards have gone nothing may be left. In every other round guards are killed too;
 * then files may be left, but a sweep and a start find and remove them.
 */
#include "torture/crash.h"
#include "torture/worker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sockref/sockref.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS      8
#define GROUP        4 /* workers in a process group */
#define ROUND_KILLS  400
#define ROUND_NS     3000000000u
#define STUCK_NS     20000000000u
#define QUIET_NS     5000000000u
#define ARENAS       4

struct torture_path torture_paths[CRASH_PATHS];
int torture_paths_count;

struct arena {
    const char *name;
    char base[160];
    bool has_sticky;
};

static struct arena arenas[ARENAS];
static int arenas_count;
static char run_dir[160];
static char skipped[200];
static pid_t groups[WORKERS / GROUP], foreigner;
static sigset_t old_mask;
static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1du >> 20) % below;
}

__attribute__((noreturn, format(printf, 1, 2))) static void give_up(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("torture: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static uint64_t count(enum crash_counter counter)
{
    return atomic_load(&crash_table->counters[counter]);
}

/* ---- where ---- */

static bool make_directory(char out[160], const char *where)
{
    snprintf(out, 160, "%s/sockref-torture-XXXXXX", where);
    return mkdtemp(out) != NULL;
}

static void add_arena(const char *name, const char *where)
{
    struct arena *arena = &arenas[arenas_count];
    char path[200];

    if (!make_directory(arena->base, where))
        return;
    arena->name = name;
    snprintf(path, sizeof path, "%s/own", arena->base);
    if (mkdir(path, 0700) < 0)
        give_up("%s: %s", path, strerror(errno));
    snprintf(path, sizeof path, "%s/sticky", arena->base);
    arena->has_sticky = geteuid() == 0 && mkdir(path, 01777) == 0 && chmod(path, 01777) == 0;
    arenas_count++;
}

static bool mount_overlay(const char *base, char out[160])
{
    static const char *const parts[] = {"lower", "upper", "work", "merged"};
    char path[200], options[700];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", base, parts[i]);
        mkdir(path, 0755);
    }
    snprintf(out, 160, "%.140s/merged", base);
    snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base, base,
             base);
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("overlay", out, "overlay", 0, options) == 0;
}

static void choose_arenas(void)
{
    const char *disk = getenv("TORTURE_DISK") ? getenv("TORTURE_DISK")
                       : getenv("TMPDIR")     ? getenv("TMPDIR")
                                              : "/tmp";
    char base[160], merged[160];

    add_arena("tmpfs", "/dev/shm");
    add_arena("disk", disk);
    if (make_directory(base, disk) && mount_overlay(base, merged))
        add_arena("overlayfs", merged);
    else
        snprintf(skipped, sizeof skipped, "overlayfs skipped: %s", strerror(errno));
}

static void add_path(const char *base, const char *leaf, enum path_class class, bool sticky)
{
    struct torture_path *path = &torture_paths[torture_paths_count++];

    snprintf(path->text, sizeof path->text, "%s/%s/%s", base, sticky ? "sticky" : "own", leaf);
    path->class = class;
    path->sticky = sticky;
}

static void choose_paths(const struct arena *arena)
{
    torture_paths_count = 0;
    add_path(arena->base, "a", PLAIN, false);
    add_path(arena->base, "b", PLAIN, false);
    add_path(arena->base, "alone", ALONE, false);
    add_path(arena->base, "foreign", FOREIGN, false);
    if (!arena->has_sticky)
        return;
    add_path(arena->base, "a", PLAIN, true);
    add_path(arena->base, "foreign", FOREIGN, true);
}

static void copy_guard(const char *from)
{
    char to[200], block[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    ssize_t got;

    snprintf(to, sizeof to, "%s/sockref-guard", run_dir);
    out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    if (in < 0 || out < 0)
        give_up("%s: %s", from, strerror(errno));
    while ((got = read(in, block, sizeof block)) > 0)
        if (write(out, block, (size_t)got) != got)
            give_up("%s: %s", to, strerror(errno));
    close(in);
    close(out);
    setenv("SOCKREF_GUARD", to, 1);
}

static void remove_tree(const char *path)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fprintf(stderr, "torture: %s could not be removed\n", path);
}

/* ---- processes ---- */

static void become_child(void)
{
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
}

static void begin_worker(int index)
{
    struct crash_slot *slot = &crash_table->slots[index];
    pid_t *group = &groups[index / GROUP];
    uint64_t seed = draw(UINT64_MAX);
    pid_t pid;

    atomic_fetch_add(&slot->life, 1);
    atomic_store(&slot->beat_ns, crash_now());
    atomic_store(&slot->group, *group); /* before it can be killed with the group */
    pid = fork();
    if (pid < 0)
        give_up("fork: %s", strerror(errno));
    if (pid == 0) {
        atomic_store(&slot->pid, getpid());
        if (*group == 0 || setpgid(0, *group) < 0)
            setpgid(0, 0);
        atomic_store(&slot->group, getpgrp());
        become_child();
        torture_worker(index, seed);
    }
    crash_count(COUNT_workers);
    atomic_store(&slot->pid, pid);
    if (*group == 0 || setpgid(pid, *group) < 0)
        *group = pid;
}

static void begin_foreigner(void)
{
    uint64_t seed = draw(UINT64_MAX);

    foreigner = fork();
    if (foreigner == 0) {
        setpgid(0, 0);
        become_child();
        torture_foreigner(seed);
    }
}

static void judge_end(int index, int status)
{
    struct crash_slot *slot = &crash_table->slots[index];
    bool expected = atomic_load(&slot->dying) == atomic_load(&slot->life);

    for (int i = 0; i < CRASH_RECENT; i++) /* one that had just joined the group */
        expected |= crash_table->recent[i].group == atomic_load(&slot->group);

    if ((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
        (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && expected))
        return;
    crash_wrong(COUNT_crashes, "slot %d, process %d ended with %s %d", index,
                (int)atomic_load(&slot->pid), WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* Reap all that has ended. Returns false when there is no child any more. */
static bool reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
        if (pid == foreigner) {
            foreigner = 0;
            if (status != 0)
                crash_wrong(COUNT_crashes, "the foreigner ended with %#x", (unsigned)status);
        }
        for (int i = 0; i < WORKERS; i++) {
            if (atomic_load(&crash_table->slots[i].pid) != pid)
                continue;
            judge_end(i, status);
            atomic_store(&crash_table->slots[i].pid, 0);
            break;
        }
    }
    return pid == 0;
}

static bool has_workers(void)
{
    for (int i = 0; i < WORKERS; i++)
        if (atomic_load(&crash_table->slots[i].pid) != 0)
            return true;
    return foreigner != 0;
}

static void pause_for_child(int ms)
{
    const struct timespec most = {0, ms * 1000000L};
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigtimedwait(&child, NULL, &most);
}

/* Where a debugger is there, it tells. */
static void show_stacks(pid_t pid)
{
    char command[300];

    snprintf(command, sizeof command,
             "(head -3 /proc/%d/task/*/status; cat /proc/%d/task/*/wchan; gdb -p %d -batch -ex "
             "'thread apply all bt' 2>/dev/null | grep -a '^[#T]') >&2",
             (int)pid, (int)pid, (int)pid);
    if (system(command) != 0)
        fputs("torture: no stacks\n", stderr);
}

static void look_for_stuck(void)
{
    static uint64_t last;
    uint64_t now = crash_now();

    /* The machine stood still: nobody is to blame. */
    for (int i = 0; now - last > 1000000000u && i < WORKERS; i++)
        atomic_store(&crash_table->slots[i].beat_ns, now);
    last = now;
    for (int i = 0; i < WORKERS; i++) {
        struct crash_slot *slot = &crash_table->slots[i];
        pid_t pid = atomic_load(&slot->pid);
        int path = atomic_load(&slot->doing_path);

        if (pid == 0 || now - atomic_load(&slot->beat_ns) < STUCK_NS)
            continue;
        crash_wrong(COUNT_stuck, "slot %d, process %d does %d at %s", i, (int)pid,
                    atomic_load(&slot->doing), path < 0 ? "nothing" : torture_paths[path].text);
        show_stacks(pid);
        crash_mark_dying(i, false);
        kill(pid, SIGKILL);
        atomic_store(&slot->beat_ns, now);
    }
}

/* Stop a guard for a while. */
static pid_t stopped;
static uint64_t continue_at;

static void play_with_guards(void)
{
    uint32_t begun = atomic_load(&crash_table->next_guard);

    if (stopped != 0) {
        if (crash_now() < continue_at)
            return;
        kill(stopped, SIGCONT);
        stopped = 0;
    } else if (begun > 0 && draw(50) == 0) {
        pid_t pid = atomic_load(&crash_table->guards[(begun - 1 - draw(8)) % CRASH_GUARDS]);
        siginfo_t state = {0};

        /* One of our children by now, or it is over. */
        if (pid <= 0 || waitid(P_PID, (id_t)pid, &state, WNOHANG | WNOWAIT | WEXITED) < 0 ||
            state.si_pid != 0)
            return;
        if (kill(pid, SIGSTOP) == 0) {
            crash_count(COUNT_guard_stops);
            stopped = pid;
            continue_at = crash_now() + (1 + draw(40)) * 1000000;
        }
    }
}

/* ---- quiet ---- */

static void kill_children(void)
{
    char path[64], text[4096];
    FILE *in;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    in = fopen(path, "r");
    if (in && fgets(text, sizeof text, in)) {
        for (char *at = strtok(text, " \n"); at; at = strtok(NULL, " \n")) {
            crash_wrong(COUNT_left_processes, "process %s", at);
            kill(atoi(at), SIGKILL);
        }
    }
    if (in)
        fclose(in);
}

static void wait_for_quiet(void)
{
    uint64_t since = crash_now(), took;

    atomic_store(&crash_table->stop, true);
    while (has_workers()) {
        reap();
        pause_for_child(1);
        look_for_stuck();
    }
    if (stopped)
        kill(stopped, SIGCONT);
    stopped = 0;
    since = crash_now();
    while (reap()) {
        if (crash_now() - since > QUIET_NS) {
            kill_children();
            since = crash_now();
        }
        pause_for_child(2);
    }
    took = crash_now() - since;
    if (took > atomic_load(&crash_table->worst_quiet_ns))
        atomic_store(&crash_table->worst_quiet_ns, took);
}

/* What SHARE 0 may leave: there is nothing that tells of it before it is bound and pinned. */
static bool is_of_alone(const char *leaf)
{
    return strcmp(leaf, "alone") == 0 || strcmp(leaf, ".alone.srlock") == 0;
}

/* Names of what is in a directory, removed if asked for. Returns how many. */
static unsigned list_files(const char *base, const char *sub, bool remove, char *out, size_t size)
{
    char path[300], file[600];
    struct dirent *item;
    unsigned found = 0;
    DIR *stream;

    snprintf(path, sizeof path, "%s/%s", base, sub);
    stream = opendir(path);
    while (stream && (item = readdir(stream))) {
        size_t length = strlen(out);

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if (is_of_alone(item->d_name))
            crash_count(COUNT_left_alone);
        else
            found++;
        snprintf(out + length, size - length, " %s/%s", sub, item->d_name);
        snprintf(file, sizeof file, "%s/%s", path, item->d_name);
        if (remove)
            unlink(file);
    }
    if (stream)
        closedir(stream);
    return found;
}

static unsigned list_left(const struct arena *arena, bool remove, char *out, size_t size)
{
    out[0] = '\0';
    return list_files(arena->base, "own", remove, out, size) +
           (arena->has_sticky ? list_files(arena->base, "sticky", remove, out, size) : 0);
}

/* Guards were killed as well: what they left goes by a sweep, or by the next start. */
static void recover_left(const struct arena *arena)
{
    char directory[200];
    pid_t pid = fork();

    if (pid > 0) {
        while (reap())
            pause_for_child(1);
        return;
    }
    become_child();
    for (int i = 0; i < 2; i++) {
        snprintf(directory, sizeof directory, "%s/%s", arena->base, i ? "sticky" : "own");
        if (i == 0 || arena->has_sticky)
            sockref_registry_sweep(NULL, directory, NULL);
    }
    for (int i = 0; i < torture_paths_count; i++) {
        sockref *ref = NULL;
        struct stat info;

        if (lstat(torture_paths[i].text, &info) < 0)
            continue;
        if (sockref_registry_listen(NULL, torture_paths[i].text, NULL, &ref) < 0)
            fprintf(stderr, "torture: %s: %s\n", torture_paths[i].text, sockref_last_error()->message);
        sockref_release(ref);
    }
    exit(0);
}

static void check_left(const struct arena *arena, bool strict)
{
    char names[2000];
    unsigned left = list_left(arena, strict, names, sizeof names);

    if (left > 0 && !strict) {
        recover_left(arena);
        left = list_left(arena, true, names, sizeof names);
    }
    if (left > 0)
        crash_wrong(COUNT_left_files, "%u on %s%s:%s", left, arena->name,
                    strict ? "" : ", after a sweep", names);
}

/* ---- rounds ---- */

static void run_round(const struct arena *arena, bool strict, uint64_t kills)
{
    uint64_t until = crash_now() + ROUND_NS, first = count(COUNT_kills);

    choose_paths(arena);
    for (int i = 0; i < CRASH_PATHS; i++)
        atomic_store(&crash_table->owners[i], 0);
    atomic_store(&crash_table->stop, false);
    atomic_store(&crash_table->kills_guards, !strict);
    atomic_store(&crash_table->kills_workers, true);
    begin_foreigner();
    while (crash_now() < until && count(COUNT_kills) - first < kills) {
        for (int i = 0; i < WORKERS; i++)
            if (atomic_load(&crash_table->slots[i].pid) == 0)
                begin_worker(i);
        pause_for_child(2);
        reap();
        play_with_guards();
        look_for_stuck();
    }
    wait_for_quiet();
    atomic_store(&crash_table->kills_workers, false);
    atomic_store(&crash_table->kills_guards, false);
    check_left(arena, strict);
    crash_count(COUNT_rounds);
}

static uint64_t count_wrong(void)
{
    uint64_t sum = 0;

    for (int i = FIRST_WRONG; i < CRASH_COUNTS; i++)
        sum += count((enum crash_counter)i);
    return sum;
}

/* ---- what is told ---- */

static void tell_points(unsigned *out_points, unsigned *out_cold, unsigned *out_least)
{
    const char *list = getenv("TORTURE_POINTS");
    FILE *out = list ? fopen(list, "w") : NULL;

    *out_points = *out_cold = 0;
    *out_least = ~0u;
    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        const struct crash_point *point = &crash_table->points[i];
        unsigned hits = atomic_load(&point->hits);

        if (atomic_load(&point->key) == 0)
            continue;
        ++*out_points;
        *out_cold += hits < crash_table->target;
        if (hits < *out_least)
            *out_least = hits;
        if (out) {
            fprintf(out, "%u hits %llu seen ", hits, (unsigned long long)atomic_load(&point->seen));
            crash_print_point(out, i);
            fputc('\n', out);
        }
    }
    if (out)
        fclose(out);
}

static void tell(uint64_t took_ns)
{
    static const char *const names[] = {
#define X(name) #name,
        CRASH_COUNTERS(X)
#undef X
    };
    double seconds = (double)took_ns / 1e9;
    unsigned points, cold, least;

    tell_points(&points, &cold, &least);
    printf("torture: %llu kills in %.0f s (%.0f/s), %u points, least hits %u, %u below %u;",
           (unsigned long long)count(COUNT_kills), seconds, (double)count(COUNT_kills) / seconds, points,
           least, cold, crash_table->target);
    for (int i = COUNT_kills + 1; i < CRASH_COUNTS; i++) {
        char name[40];

        snprintf(name, sizeof name, "%s", names[i]);
        for (char *at = name; *at; at++)
            *at = *at == '_' ? ' ' : *at;
        printf("%s %llu %s", i == FIRST_WRONG ? "; wrong:" : i == COUNT_kills + 1 ? "" : ",",
               (unsigned long long)count((enum crash_counter)i), name);
    }
    printf("; worst start %.0f ms, worst end of guards %.0f ms; on", 
           (double)atomic_load(&crash_table->worst_start_ns) / 1e6,
           (double)atomic_load(&crash_table->worst_quiet_ns) / 1e6);
    for (int i = 0; i < arenas_count; i++)
        printf(" %s", arenas[i].name);
    printf("%s%s; SEED=%llu\n", skipped[0] ? ", " : "", skipped,
           (unsigned long long)crash_table->seed);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    uint64_t kills = argc > 1 ? strtoull(argv[1], NULL, 10) : 40000, since;
    uint64_t most_wrong = number_from("TORTURE_WRONG", 10);
    char table[200];
    sigset_t child;

    if (argc != 3)
        give_up("usage: torture KILLS GUARD");
    umask(022);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &old_mask);
    choose_arenas();
    if (!make_directory(run_dir, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"))
        give_up("no directory: %s", strerror(errno));
    copy_guard(argv[2]);
    snprintf(table, sizeof table, "%s/table", run_dir);
    if (!crash_open(table, true))
        give_up("%s: %s", table, strerror(errno));
    since = crash_now();
    crash_table->seed = number_from("SEED", since % 1000000007);
    crash_table->target = (uint32_t)number_from("TORTURE_TARGET", 100);
    crash_table->eager = (uint32_t)number_from("TORTURE_EAGER", 16);
    crash_table->rare = (uint32_t)number_from("TORTURE_RARE", 600);
    random_state = crash_table->seed * 0x9e3779b97f4a7c15u | 1;
    for (unsigned round = 0; count(COUNT_kills) < kills && count_wrong() < most_wrong; round++)
        run_round(&arenas[round % (unsigned)arenas_count], round / (unsigned)arenas_count % 2 == 0,
                  ROUND_KILLS);
    tell(crash_now() - since);
    for (int i = 0; i < arenas_count; i++)
        remove_tree(arenas[i].base);
    remove_tree(run_dir);
    return count_wrong() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
