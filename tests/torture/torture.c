/*
 * torture: kills processes that use the library, at every boundary of every system call that it
 * makes, and looks whether what it promises holds. Usage: torture KILLS GUARD; see README.md beside
 * this file.
 *
 * It runs in rounds: some seconds of workers on some paths, each killed one replaced by another;
 * then all end, and when their guards have gone nothing may be left. In every other round guards
 * are killed too; then files may be left, but a sweep and a start find and remove them.
 */
#include "torture/arena.h"
#include "torture/crash.h"
#include "torture/tell.h"
#include "torture/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS     12
#define GROUP       4 /* workers in a process group */
#define AGENTS_MOST 4
#define SLOTS       (WORKERS + AGENTS_MOST)
#define AGENTS_IN   8 /* in one round of so many there are agents */
#define ROUND_KILLS 500
#define ROUND_NS    3000000000u
#define STUCK_NS    20000000000
#define QUIET_NS    10000000000u

static const struct torture_profile profiles[] = {
    {.name = "mixed",
     .start = 350,
     .release = 250,
     .use = 200,
     .revoke = 30,
     .sweep = 20,
     .shut = 10,
     .fork = 15,
     .finish = 10,
     .paths = 6,
     .favourite = 2,
     .serve_in = 3},
    {.name = "hand-over",
     .start = 400,
     .release = 350,
     .use = 50,
     .revoke = 5,
     .sweep = 2,
     .shut = 5,
     .fork = 5,
     .finish = 10,
     .paths = 1,
     .favourite = 1,
     .serve_in = 20},
    {.name = "sticky",
     .start = 400,
     .release = 300,
     .use = 30,
     .revoke = 30,
     .sweep = 20,
     .shut = 5,
     .fork = 5,
     .finish = 10,
     .paths = 2,
     .favourite = 1,
     .serve_in = 20,
     .only_sticky = true},
    {.name = "ends",
     .start = 400,
     .release = 100,
     .use = 30,
     .revoke = 10,
     .sweep = 5,
     .shut = 10,
     .fork = 250,
     .finish = 60,
     .paths = 4,
     .favourite = 1,
     .serve_in = 10},
};
#define PROFILES (sizeof profiles / sizeof *profiles)

const struct torture_profile *torture_profile;

static char run_dir[160];
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

/* ---- processes ---- */

/* Nobody outlives the driver. */
static void become_child(pid_t driver)
{
    sigprocmask(SIG_SETMASK, &old_mask, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != driver)
        _exit(0);
}

static void begin_worker(int index)
{
    struct crash_slot *slot = &crash_table->slots[index];
    pid_t *group = &groups[index / GROUP];
    uint64_t seed = draw(UINT64_MAX);
    pid_t pid, driver = getpid();

    atomic_fetch_add(&slot->life, 1);
    atomic_store(&slot->beat_ns, crash_now());
    pid = fork();
    if (pid < 0)
        give_up("fork: %s", strerror(errno));
    if (pid == 0) {
        become_child(driver);
        while (atomic_load(&slot->pid) != getpid())
            sched_yield();
        torture_worker(index, seed);
    }
    crash_count(COUNT_workers);
    if (*group == 0 || setpgid(pid, *group) < 0) {
        setpgid(pid, 0);
        *group = pid;
    }
    atomic_store(&slot->group, *group);
    atomic_store(&slot->pid, pid);
}

/* In other languages; the commands are in $TORTURE_AGENTS, with ';' between them. */
static void begin_agents(void)
{
    static char commands[4000];
    const char *all = getenv("TORTURE_AGENTS");
    char *rest = commands, *command;
    pid_t driver = getpid();

    snprintf(commands, sizeof commands, "%s", all ? all : "");
    for (int i = WORKERS; i < SLOTS && (command = strtok_r(rest, ";", &rest)); i++) {
        uint64_t seed = draw(UINT64_MAX);
        pid_t pid = fork();

        if (pid == 0) {
            become_child(driver);
            torture_shepherd(i, seed, command);
        }
        atomic_store(&crash_table->slots[i].beat_ns, crash_now());
        atomic_store(&crash_table->slots[i].doing_path, -1);
        atomic_store(&crash_table->slots[i].pid, pid);
    }
}

static void begin_foreigner(void)
{
    uint64_t seed = draw(UINT64_MAX);
    pid_t driver = getpid();

    foreigner = fork();
    if (foreigner == 0) {
        setpgid(0, 0);
        become_child(driver);
        torture_foreigner(seed);
    }
}

static void judge_end(int index, int status)
{
    struct crash_slot *slot = &crash_table->slots[index];
    bool expected = atomic_load(&slot->dying) == atomic_load(&slot->life);

    for (int i = 0; i < CRASH_RECENT; i++) /* it had just come into the group */
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
        for (int i = 0; i < SLOTS; i++) {
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
    for (int i = 0; i < SLOTS; i++)
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

    snprintf(
        command, sizeof command,
        "(head -3 /proc/%d/task/*/status; cat /proc/%d/task/*/wchan; timeout 20 gdb -p %d -batch "
        "-ex 'thread apply all bt' 2>/dev/null | grep -a '^[#T]') >&2",
        (int)pid, (int)pid, (int)pid);
    if (system(command) != 0)
        fputs("torture: no stacks\n", stderr);
}

static void look_for_stuck(void)
{
    static uint64_t last;
    uint64_t now = crash_now();

    /* The machine stood still: nobody is to blame. */
    for (int i = 0; now - last > 1000000000u && i < SLOTS; i++)
        atomic_store(&crash_table->slots[i].beat_ns, now);
    last = now;
    for (int i = 0; i < SLOTS; i++) {
        struct crash_slot *slot = &crash_table->slots[i];
        pid_t pid = atomic_load(&slot->pid);
        int path = atomic_load(&slot->doing_path);

        if (pid == 0 || (int64_t)(now - atomic_load(&slot->beat_ns)) < STUCK_NS)
            continue;
        crash_wrong(COUNT_stuck, "slot %d, process %d does %d at %s", i, (int)pid,
                    atomic_load(&slot->doing), path < 0 ? "nothing" : torture_paths[path].text);
        show_stacks(pid);
        crash_mark_dying(i, false);
        kill(pid, SIGKILL);
        atomic_store(&slot->beat_ns, crash_now());
    }
}

/* A guard is stopped for a while. */
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
    uint64_t since;

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
    crash_worst(&crash_table->worst_quiet_ns, crash_now() - since);
}

/* ---- rounds ---- */

/* Which file system, what is done there, and whether guards are killed, in turn. */
static void run_round(uint32_t round)
{
    const struct arena *arena = &arenas[round % (uint32_t)arenas_count];
    bool strict = round / (uint32_t)arenas_count % 2 == 0;
    uint64_t until = crash_now() + ROUND_NS, first = count(COUNT_kills), wrong = tell_wrong();

    torture_profile = &profiles[round / (2 * (uint32_t)arenas_count) % PROFILES];
    crash_table->round = round;
    random_state = ((crash_table->seed << 20) + round + 1) * 0x9e3779b97f4a7c15u;
    arena_choose_paths(arena, torture_profile);
    for (int i = 0; i < CRASH_PATHS; i++)
        atomic_store(&crash_table->owners[i], 0);
    atomic_store(&crash_table->stop, false);
    atomic_store(&crash_table->kills_guards, !strict);
    atomic_store(&crash_table->kills, true);
    begin_foreigner();
    if (round % AGENTS_IN == AGENTS_IN - 1)
        begin_agents();
    while (crash_now() < until && count(COUNT_kills) - first < ROUND_KILLS) {
        for (int i = 0; i < WORKERS; i++)
            if (atomic_load(&crash_table->slots[i].pid) == 0)
                begin_worker(i);
        pause_for_child(2);
        reap();
        play_with_guards();
        look_for_stuck();
    }
    wait_for_quiet();
    atomic_store(&crash_table->kills, false);
    atomic_store(&crash_table->kills_guards, false);
    arena_check_left(arena, strict);
    crash_count(COUNT_rounds);
    if (tell_wrong() == wrong)
        return;
    crash_count(COUNT_wrong_rounds);
    fprintf(stderr, "torture: round %u, %s on %s, %s: once more by SEED=%llu ROUND=%u\n", round,
            torture_profile->name, arena->name, strict ? "no guard killed" : "guards killed",
            (unsigned long long)crash_table->seed, round);
}

/* ---- begin and end ---- */

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

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

static void load_symbols(enum crash_image image, const char *program)
{
    const char *problem = symbols_load(image, program);

    if (problem)
        give_up("%s %s", program, problem);
    for (int i = 0; i < FUNCTIONS; i++)
        if (image == CRASH_WORKER && crash_table->functions[image][i].to == 0)
            give_up("%s has no function %s", program, crash_function_names[i]);
}

static void make_table(const char *guard, unsigned wanted)
{
    const char *ablation = getenv("ABLATION");
    char table[200];

    snprintf(table, sizeof table, "%s/table", run_dir);
    if (!crash_open(table, true))
        give_up("%s: %s", table, strerror(errno));
    crash_table->seed = number_from("SEED", crash_now() % 1000000007);
    crash_table->target = wanted + wanted / 20 + 1;
    crash_table->rare = (uint32_t)number_from("TORTURE_RARE", 1000);
    if (ablation && ablation[0] && !(crash_table->ablation = crash_ablation(ablation)))
        give_up("there is no safeguard %s", ablation);
    load_symbols(CRASH_WORKER, "/proc/self/exe");
    load_symbols(CRASH_GUARD, guard);
    if (getenv("TORTURE_LIBRARY") && getenv("TORTURE_LIBRARY")[0])
        load_symbols(CRASH_AGENT, getenv("TORTURE_LIBRARY"));
    setenv("TORTURE_TABLE", table, 1);
}

/* It never hangs: whatever is going on, this ends it. */
static void on_deadline(int number)
{
    static const char text[] = "torture: it was killed at its deadline\n";

    (void)number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(4);
    _exit(3);
}

static bool is_over(uint64_t kills, unsigned wanted, uint64_t deadline)
{
    struct tell_points points;

    /* Then it is known. */
    if (tell_wrong() >= (crash_table->ablation ? 1 : number_from("TORTURE_WRONG", 10)) ||
        crash_now() >= deadline)
        return true;
    tell_points(wanted, &points);
    return count(COUNT_kills) >= kills && (points.under == 0 || crash_table->ablation);
}

int main(int argc, char **argv)
{
    uint64_t kills = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, since = crash_now(), deadline,
             seconds;
    unsigned wanted = (unsigned)number_from("MIN", kills / 400);
    uint32_t round = (uint32_t)number_from("ROUND", 0);
    bool same_round = getenv("ROUND") && getenv("ROUND")[0], well;
    sigset_t child;

    if (argc == 2 && strcmp(argv[1], "--safeguards") == 0) {
        for (int i = 1; crash_ablation_name(i); i++)
            puts(crash_ablation_name(i));
        return EXIT_SUCCESS;
    }
    if (argc != 3 || kills == 0)
        give_up("usage: torture KILLS GUARD | --safeguards");
    seconds = number_from("DEADLINE", 120 + kills / 50);
    deadline = since + seconds * 1000000000u;
    signal(SIGALRM, on_deadline);
    alarm((unsigned)seconds + 120);
    umask(022);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &old_mask);
    arenas_choose();
    if (arenas_count == 0 ||
        !arena_make_directory(run_dir, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"))
        give_up("no directory: %s", strerror(errno));
    copy_guard(argv[2]);
    make_table(argv[2], wanted);
    for (; !is_over(kills, wanted, deadline); round += !same_round)
        run_round(round);
    well = tell_end(wanted, (double)(crash_now() - since) / 1e9);
    arenas_remove();
    arena_remove_tree(run_dir);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
