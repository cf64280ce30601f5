/*
 * torture: kills processes that use the library, at every boundary of every system call that it
 * makes, and looks whether what it promises holds. Usage: torture KILLS GUARD; see README.md beside
 * this file.
 *
 * It runs in rounds: some seconds of workers on some paths, each killed one replaced by another;
 * then all end, and when their guards have gone nothing may be left. In every other round guards
 * are killed too; then files may be left, but a sweep and a start find and remove them.
 *
 * Some teams do so at once, in directories of their own, so that the end of one's round leaves
 * nobody idle. What is done in a round is the more often chosen, the more kills it is good for at
 * points that have too few.
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

#define TEAMS       3
#define WORKERS     8
#define GROUP       4 /* workers in a process group */
#define AGENTS_MOST 4
#define SLOTS       (WORKERS + AGENTS_MOST)
#define AGENTS_IN   12 /* in one round of so many there are agents */
#define FOREIGNERS  3
#define ROUND_KILLS 500
#define ROUND_NS    3000000000u
#define STUCK_NS    60000000000
#define QUIET_NS    30000000000u
#define HUNTED      12 /* rarest points, that a hunt is for */
#define HUNT_IN     3  /* of so many rounds all but one are hunts */
#define RARE_FEW    1000
#define RARE_MANY   8000
#define STOPPED_MS  400   /* longer than an heir may take to answer */
#define PATIENCE_MS 30000 /* of a start, on a machine that others use as well */

static const struct torture_mix everything = {350, 250, 200, 30, 20, 10, 15, 10},
                                relays = {400, 350, 35, 5, 2, 5, 5, 10},
                                removals = {450, 400, 5, 50, 60, 5, 5, 10},
                                exits = {500, 50, 10, 10, 5, 10, 5, 300},
                                forks = {400, 100, 30, 10, 50, 10, 250, 60},
                                starts = {400, 300, 30, 30, 20, 5, 5, 10};

static const struct torture_profile profiles[] = {
    {.name = "mixed",
     .mix = &everything,
     .paths = 6,
     .favourite = 2,
     .serve_in = 3,
     .foreigners = 1},
    {.name = "hand-over",
     .mix = &relays,
     .relays = true,
     .paths = 1,
     .favourite = 1,
     .serve_in = 200},
    {.name = "heirs",
     .mix = &relays,
     .relays = true,
     .paths = 1,
     .favourite = 1,
     .serve_in = 100,
     .only_sticky = true,
     .stops = true,
     .focused = true,
     .focus = FUNCTION_succeed},
    {.name = "displaced",
     .mix = &removals,
     .paths = 3,
     .favourite = 3,
     .serve_in = 50,
     .foreigners = 3,
     .is_hasty = true,
     .only_sticky = true},
    {.name = "aside",
     .mix = &removals,
     .paths = 3,
     .favourite = 3,
     .serve_in = 50,
     .foreigners = 3,
     .is_hasty = true,
     .only_sticky = true,
     .focused = true,
     .focus = FUNCTION_rename_aside},
    {.name = "exits", .mix = &exits, .abandons = true, .paths = 2, .favourite = 2, .serve_in = 10},
    {.name = "sticky",
     .mix = &starts,
     .paths = 2,
     .favourite = 1,
     .serve_in = 20,
     .foreigners = 1,
     .only_sticky = true},
    {.name = "ends", .mix = &forks, .paths = 4, .favourite = 1, .serve_in = 10, .foreigners = 1},
};
#define PROFILES (sizeof profiles / sizeof *profiles)
#define KINDS    (2 * (uint32_t)PROFILES) /* each with and without guards killed */

const struct torture_profile *torture_profile;

static uint64_t kills_wanted, deadline;
static unsigned wanted; /* kills of each point */
static char run_dir[160];
static int own_team;
static pid_t groups[WORKERS / GROUP], foreigners[FOREIGNERS];
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
    struct crash_slot *slot = &crash_team->slots[index];
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
        atomic_store(&crash_team->slots[i].beat_ns, crash_now());
        atomic_store(&crash_team->slots[i].doing_path, -1);
        atomic_store(&crash_team->slots[i].pid, pid);
    }
}

static void begin_foreigners(void)
{
    pid_t driver = getpid();

    for (int i = 0; i < (int)torture_profile->foreigners; i++) {
        uint64_t seed = draw(UINT64_MAX);

        foreigners[i] = fork();
        if (foreigners[i] == 0) {
            setpgid(0, 0);
            become_child(driver);
            torture_foreigner(seed, i);
        }
    }
}

static void judge_end(int index, int status)
{
    struct crash_slot *slot = &crash_team->slots[index];
    bool expected = atomic_load(&slot->dying) == atomic_load(&slot->life);

    for (int i = 0; i < CRASH_RECENT; i++) /* it had just come into the group */
        expected |= crash_team->recent[i].group == atomic_load(&slot->group);

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
        for (int i = 0; i < FOREIGNERS; i++) {
            if (pid != foreigners[i])
                continue;
            foreigners[i] = 0;
            if (status != 0)
                crash_wrong(COUNT_crashes, "a foreigner ended with %#x", (unsigned)status);
        }
        for (int i = 0; i < SLOTS; i++) {
            if (atomic_load(&crash_team->slots[i].pid) != pid)
                continue;
            judge_end(i, status);
            atomic_store(&crash_team->slots[i].pid, 0);
            break;
        }
    }
    return pid == 0;
}

static bool has_workers(void)
{
    for (int i = 0; i < SLOTS; i++)
        if (atomic_load(&crash_team->slots[i].pid) != 0)
            return true;
    for (int i = 0; i < FOREIGNERS; i++)
        if (foreigners[i] != 0)
            return true;
    return false;
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
        atomic_store(&crash_team->slots[i].beat_ns, now);
    last = now;
    for (int i = 0; i < SLOTS; i++) {
        struct crash_slot *slot = &crash_team->slots[i];
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

/* A guard or a worker is stopped for a while. */
static pid_t stopped;
static uint64_t continue_at;

static void stop(pid_t pid, enum crash_counter counter, uint64_t most_ms)
{
    siginfo_t state = {0};

    /* One of our children by now, or it is over. */
    if (pid <= 0 || waitid(P_PID, (id_t)pid, &state, WNOHANG | WNOWAIT | WEXITED) < 0 ||
        state.si_pid != 0 || kill(pid, SIGSTOP) < 0)
        return;
    crash_count(counter);
    stopped = pid;
    continue_at = crash_now() + (1 + draw(most_ms)) * 1000000;
}

static void play(void)
{
    uint32_t begun = atomic_load(&crash_team->next_guard);

    if (stopped != 0) {
        if (crash_now() < continue_at)
            return;
        kill(stopped, SIGCONT);
        stopped = 0;
    } else if (torture_profile->stops && draw(2)) {
        stop(atomic_load(&crash_team->slots[draw(WORKERS)].pid), COUNT_worker_stops, STOPPED_MS);
    } else if (begun > 0 && draw(50) == 0) {
        stop(atomic_load(&crash_team->guards[(begun - 1 - draw(8)) % CRASH_GUARDS]),
             COUNT_guard_stops, 40);
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

    atomic_store(&crash_team->stop, true);
    if (stopped)
        kill(stopped, SIGCONT);
    stopped = 0;
    while (has_workers()) {
        reap();
        pause_for_child(1);
        look_for_stuck();
    }
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

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

/* ---- rounds ---- */

static bool is_strict(uint32_t kind)
{
    return kind < PROFILES;
}

static bool wants_kills(const struct crash_point *point)
{
    uint64_t key = atomic_load(&point->key);

    return key != 0 && crash_image_of(key) != CRASH_AGENT &&
           atomic_load(&point->hits) < crash_table->target && !tell_is_excused(point);
}

static int compare(const void *a, const void *b)
{
    uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;

    return first < second ? -1 : first > second;
}

/* Of the points that want kills, how often the rarer ones were passed at most. */
static uint32_t find_common(bool is_hunt)
{
    static uint32_t passes[CRASH_POINTS];
    size_t wanting = 0, at;

    for (uint32_t i = 0; i < CRASH_POINTS; i++)
        if (wants_kills(&crash_table->points[i]))
            passes[wanting++] = atomic_load(&crash_table->points[i].passes);
    if (wanting == 0)
        return 0;
    qsort(passes, wanting, sizeof *passes, compare);
    at = is_hunt ? HUNTED : wanting / 2;
    return at < wanting ? passes[at] : UINT32_MAX;
}

/* How many kills a round of this kind is good for, at points that are as rare. */
static double worth(uint32_t kind, uint32_t common)
{
    double seconds = (double)atomic_load(&crash_table->kind_ns[kind]) / 1e9, sum = 0;

    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        const struct crash_point *point = &crash_table->points[i];
        double passes, wanted;

        if (!wants_kills(point) || atomic_load(&point->passes) > common ||
            (crash_image_of(atomic_load(&point->key)) == CRASH_GUARD && is_strict(kind)))
            continue;
        passes = (double)atomic_load(&point->passes_in[kind]) / (seconds + 0.1);
        wanted = (double)(crash_table->target - atomic_load(&point->hits));
        sum += passes < wanted ? passes : wanted;
    }
    return sum;
}

/* Each in turn, until all are known; then, in a hunt, the more is to be had by one, the more often.
 */
static uint32_t choose_kind(uint32_t round, bool is_hunt, uint32_t common)
{
    double values[KINDS], sum = 0, dice;

    if (!is_hunt)
        return (round < KINDS ? round : round / HUNT_IN) % KINDS;
    for (uint32_t kind = 0; kind < KINDS; kind++) {
        values[kind] = worth(kind, common);
        sum += values[kind] *= values[kind];
    }
    dice = (double)draw(1000000) / 1e6 * sum;
    for (uint32_t kind = 0; kind < KINDS - 1; kind++) {
        if (dice < values[kind])
            return kind;
        dice -= values[kind];
    }
    return KINDS - 1;
}

/* What is left of the kills, when those that are wanted at points are put aside, is for all. */
static void choose_rare(void)
{
    uint64_t needed = count(COUNT_kills);

    for (uint32_t i = 0; i < CRASH_POINTS; i++) {
        uint32_t hits = atomic_load(&crash_table->points[i].hits);

        if (atomic_load(&crash_table->points[i].key) != 0 && hits < crash_table->target)
            needed += crash_table->target - hits;
    }
    atomic_store(&crash_table->rare,
                 number_from("TORTURE_RARE", needed < kills_wanted ? RARE_FEW : RARE_MANY));
}

static void run_round(uint32_t round, uint32_t kind)
{
    const struct arena *arena = &arenas[round % (uint32_t)arenas_count];
    bool strict = is_strict(kind);
    uint64_t since = crash_now(), first = count(COUNT_kills),
             wrong = atomic_load(&crash_team->wrong);

    torture_profile = &profiles[kind % PROFILES];
    crash_team->round = round;
    crash_team->kind = kind;
    crash_team->focus = torture_profile->focused ? torture_profile->focus : FUNCTIONS;
    random_state = ((crash_table->seed << 20) + round + 1) * 0x9e3779b97f4a7c15u;
    arena_choose_paths(arena, torture_profile);
    for (int i = 0; i < CRASH_PATHS; i++)
        atomic_store(&crash_team->owners[i], 0);
    atomic_store(&crash_team->stop, false);
    atomic_store(&crash_team->kills_guards, !strict);
    atomic_store(&crash_team->kills, true);
    begin_foreigners();
    if (round % AGENTS_IN == AGENTS_IN - 1)
        begin_agents();
    while (crash_now() - since < ROUND_NS && count(COUNT_kills) - first < TEAMS * ROUND_KILLS) {
        for (int i = 0; i < WORKERS; i++)
            if (atomic_load(&crash_team->slots[i].pid) == 0)
                begin_worker(i);
        pause_for_child(2);
        reap();
        play();
        look_for_stuck();
    }
    wait_for_quiet();
    atomic_fetch_add(&crash_table->kind_ns[kind], crash_now() - since);
    atomic_store(&crash_team->kills, false);
    atomic_store(&crash_team->kills_guards, false);
    arena_check_left(arena, strict);
    crash_count(COUNT_rounds);
    if (atomic_load(&crash_team->wrong) == wrong)
        return;
    crash_count(COUNT_wrong_rounds);
    fprintf(stderr, "torture: round %u, %s on %s, %s: once more by SEED=%llu ROUND=%u KIND=%u\n",
            round, torture_profile->name, arena->name, strict ? "no guard killed" : "guards killed",
            (unsigned long long)crash_table->seed, round, kind);
}

/* ---- begin and end ---- */

static void copy_guard(const char *from)
{
    char to[260], block[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC), out;
    ssize_t got;

    snprintf(to, sizeof to, "%s/%d", run_dir, own_team);
    mkdir(to, 0700);
    snprintf(to, sizeof to, "%s/%d/sockref-guard", run_dir, own_team);
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

static bool is_set(const char *name)
{
    const char *text = getenv(name);

    return text && text[0];
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

static void make_table(const char *guard)
{
    const char *ablation = getenv("ABLATION");
    char table[200];

    snprintf(table, sizeof table, "%s/table", run_dir);
    if (!crash_open(table, true))
        give_up("%s: %s", table, strerror(errno));
    crash_table->seed = number_from("SEED", crash_now() % 1000000007);
    crash_table->target = wanted + wanted / 20 + 1;
    crash_table->kills = kills_wanted;
    crash_table->rare = RARE_FEW;
    crash_table->patience_ms = (uint32_t)number_from("TORTURE_PATIENCE", PATIENCE_MS);
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

static bool is_over(void)
{
    struct tell_points points;

    /* Then it is known. */
    if (tell_wrong() >= (crash_table->ablation ? 1 : number_from("TORTURE_WRONG", 10)) ||
        crash_now() >= deadline)
        return true;
    tell_points(wanted, &points);
    return count(COUNT_kills) >= kills_wanted && (points.under == 0 || crash_table->ablation);
}

/* ---- teams ---- */

static void run_team(const char *guard)
{
    uint32_t round = (uint32_t)number_from("ROUND", 0), common;
    bool is_hunt;
    char team[12];

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    crash_join(own_team);
    snprintf(team, sizeof team, "%d", own_team);
    setenv("TORTURE_TEAM", team, 1);
    arenas_choose();
    if (arenas_count == 0)
        give_up("no directory: %s", strerror(errno));
    copy_guard(guard);
    while (!is_over()) {
        if (!is_set("ROUND"))
            round = atomic_fetch_add(&crash_table->rounds, 1);
        choose_rare();
        is_hunt = round >= KINDS && round % HUNT_IN != 0;
        common = find_common(is_hunt);
        atomic_store(&crash_team->common, common);
        run_round(round,
                  (uint32_t)number_from("KIND", choose_kind(round, is_hunt, common)) % KINDS);
    }
    if (own_team == 0)
        tell_places();
    arenas_remove();
}

/* Returns whether all teams have come to their end. */
static bool run_teams(const char *guard)
{
    int teams = is_set("ROUND") ? 1 : TEAMS, status;
    pid_t pids[TEAMS], driver = getpid();
    bool well = true;

    for (own_team = 0; own_team < teams; own_team++) {
        pids[own_team] = fork();
        if (pids[own_team] < 0)
            give_up("fork: %s", strerror(errno));
        if (pids[own_team] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != driver)
                _exit(0);
            run_team(guard);
            exit(0);
        }
    }
    for (int i = 0; i < teams; i++)
        well &= waitpid(pids[i], &status, 0) == pids[i] && status == 0;
    return well;
}

int main(int argc, char **argv)
{
    uint64_t since = crash_now(), seconds;
    const char *problem;
    sigset_t child;
    bool well;

    if (argc == 2 && strcmp(argv[1], "--safeguards") == 0) {
        for (int i = 1; crash_ablation_name(i); i++)
            puts(crash_ablation_name(i));
        return EXIT_SUCCESS;
    }
    kills_wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    if (argc != 3 || kills_wanted == 0)
        give_up("usage: torture KILLS GUARD | --safeguards");
    wanted = (unsigned)number_from("MIN", kills_wanted / 400);
    seconds = number_from("DEADLINE", 120 + kills_wanted / 50);
    deadline = since + seconds * 1000000000u;
    signal(SIGALRM, on_deadline);
    alarm((unsigned)seconds + 120);
    umask(022);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &old_mask);
    if (!arena_make_directory(run_dir, getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp"))
        give_up("no directory: %s", strerror(errno));
    if (is_set("TORTURE_EXCUSES") && (problem = tell_read_excuses(getenv("TORTURE_EXCUSES"))))
        give_up("%s %s", getenv("TORTURE_EXCUSES"), problem);
    make_table(argv[2]);
    well = run_teams(argv[2]);
    well &= tell_end(wanted, (double)(crash_now() - since) / 1e9);
    arena_remove_tree(run_dir);
    return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
