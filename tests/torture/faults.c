/*
 * torture-faults: every system call of start, join, release, hand-over and sweep fails once. For
 * each scenario all calls are noted, by where they are made, and counted there; then it runs
 * once for each of them and each errno, in a process of its own.
 *
 * After each run nothing is left: no file, descriptor, entry, reference or thread (I3, I8); a start
 * that failed has changed nothing and is described (I9). Where the system refused to remove a file,
 * that is told, and the next start and release at that path, or a sweep, removes it.
 *
 * Usage: torture-faults [SCENARIO [SITE NTH ERRNO]], as told where one failed.
 */
#include "torture/faults.h"

#include "base/fd.h"
#include "torture/crash.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SITES_MOST  1024
#define NTH_MOST    12 /* of one site; later ones are of a loop that waits */
#define RUN_SECONDS 60
#define LEAST       10000
#define TOLD_MOST   20
#define JOBS        16 /* they wait for most of the time */

struct sites {
    _Atomic uint32_t count;
    struct {
        _Atomic uint64_t key;
        _Atomic uint32_t calls;
    } at[SITES_MOST];
};

/* Of all scenarios, which run side by side. */
struct totals {
    _Atomic uint64_t faults, missed, wrong;
    _Atomic uint64_t places[SITES_MOST];
};

static struct totals *totals;

/* What is to fail, in a child. */
static struct sites *sites;
static bool is_noting, is_over;
static uint64_t wanted_key;
static uint32_t wanted_nth;
static int wanted_errno;
static _Atomic uint32_t passed;
static atomic_bool *struck;

const char *faults_dir;
static const char *scenario_name;
static _Atomic unsigned reported;

/* ---- the fault ---- */

static void note_call(uint64_t key)
{
    for (uint32_t i = 0; i < SITES_MOST; i++) {
        uint64_t found = 0;

        if (atomic_compare_exchange_strong(&sites->at[i].key, &found, key))
            atomic_fetch_add(&sites->count, 1);
        else if (found != key)
            continue;
        atomic_fetch_add(&sites->at[i].calls, 1);
        return;
    }
}

/* In any run of any scenario. */
static void note_place(uint64_t key)
{
    for (uint32_t i = 0; i < SITES_MOST; i++) {
        uint64_t found = atomic_load_explicit(&totals->places[i], memory_order_relaxed);

        if (found == key ||
            (found == 0 && atomic_compare_exchange_strong(&totals->places[i], &found, key)) ||
            found == key)
            return;
    }
}

static int on_call(unsigned member, uint64_t key, bool after)
{
    (void)member;
    if (after)
        return 0;
    note_place(key);
    if (is_noting)
        note_call(key);
    if (is_over || key != wanted_key || atomic_fetch_add(&passed, 1) + 1 != wanted_nth)
        return 0;
    atomic_store(struck, true);
    return wanted_errno;
}

/* ---- what is told ---- */

static void describe_fault(FILE *out)
{
    uint64_t distance;

    fprintf(out, "%s", scenario_name);
    if (wanted_nth == 0)
        return;
    fprintf(out, ": call %u of %s in %s", wanted_nth, crash_member(crash_member_of(wanted_key)),
            symbols_find(CRASH_WORKER, crash_site_of(wanted_key), &distance));
    fprintf(out, "+%#llx fails with %s", (unsigned long long)distance,
            sockref_status_name(-wanted_errno));
}

static void begin_message(void)
{
    fputs("torture-faults: ", stderr);
    describe_fault(stderr);
    fputs(": ", stderr);
}

void faults_wrong(const char *format, ...)
{
    va_list args;

    begin_message();
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, " ('%s' %#llx %u %d)\n", scenario_name, (unsigned long long)wanted_key,
            wanted_nth, wanted_errno);
    fflush(stderr);
    _exit(1);
}

/* A file that the system refused to remove may be left, if that is told. */
static void record(const sockref_log_record *record, void *user)
{
    (void)user;
    if (strcmp(record->event, "cleanup_failed") == 0)
        atomic_fetch_add(&reported, 1);
}

/* ---- what there is ---- */

struct state {
    uint64_t references, entries;
};

struct files {
    char names[4000]; /* each as "/NAME#INODE/" */
};

/* Of a directory and those below it. */
static void add_files(const char *path, struct files *out)
{
    DIR *stream = opendir(path);
    struct dirent *item;
    char below[400];

    while (stream && (item = readdir(stream))) {
        size_t length = strlen(out->names);

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        snprintf(below, sizeof below, "%s/%s", path, item->d_name);
        if (item->d_type == DT_DIR)
            add_files(below, out);
        else
            snprintf(out->names + length, sizeof out->names - length, "/%s#%lu/", item->d_name,
                     (unsigned long)item->d_ino);
    }
    if (stream)
        closedir(stream);
}

static void take_files(struct files *out)
{
    out->names[0] = '\0';
    add_files(faults_dir, out);
}

static bool has_file(const struct files *files, const char *leaf)
{
    char begin[300];

    snprintf(begin, sizeof begin, "/%s#", leaf);
    return strstr(files->names, begin) != NULL;
}

/* Whether all of them are among the others: what was lost before may go meanwhile. */
static bool is_part_of(const struct files *files, const struct files *others)
{
    const char *at = files->names, *end;
    char one[300];

    for (; *at; at = end + 1) {
        end = strchr(at + 1, '/');
        snprintf(one, sizeof one, "%.*s/", (int)(end - at), at);
        if (!strstr(others->names, one))
            return false;
    }
    return true;
}

static struct state take_state(void)
{
    struct state state;

    sockref_live_counts(&state.references, &state.entries, NULL);
    return state;
}

/* There are no more than there were. */
static bool is_within(void *most)
{
    const struct state *before = most, now = take_state();

    return now.references <= before->references && now.entries <= before->entries;
}

static unsigned count_in(const char *path)
{
    DIR *stream = opendir(path);
    unsigned count = 0;

    while (stream && readdir(stream))
        count++;
    if (stream)
        closedir(stream);
    return count;
}

bool faults_wait(bool (*is_so)(void *arg), void *arg, int ms)
{
    uint64_t until = crash_now() + (uint64_t)ms * 1000000u;

    while (!is_so(arg)) {
        if (crash_now() > until)
            return false;
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return true;
}

static bool is_nothing_new(void *before)
{
    struct files now;

    take_files(&now);
    return is_part_of(&now, before);
}

/* ---- steps of the scenarios ---- */

static void check_files(int status, struct files *before, unsigned reports)
{
    struct files after;
    bool is_as_before;

    if (faults_is_removal() || atomic_load(&reported) > reports)
        return;
    /* A guard that was replaced looks after the name, too: what it has locked, it removes. */
    is_as_before = faults_wait(is_nothing_new, before, 5000);
    take_files(&after);
    if (!is_as_before)
        faults_wrong("a start failed with %s (%s) and left files: %s", sockref_status_name(status),
                     sockref_last_error()->message, after.names);
    /* A sweep knows what a dead process has left by its lock file alone. */
    if (has_file(before, ".a.srlock") && has_file(&after, "a") && !has_file(&after, ".a.srlock"))
        faults_wrong("a start failed with %s (%s) and removed the record of a dead owner, but not "
                     "its socket",
                     sockref_status_name(status), sockref_last_error()->message);
}

sockref *faults_listen(sockref_registry *registry, const char *path, const sockref_options *options)
{
    struct state before = take_state();
    unsigned reports = atomic_load(&reported);
    struct files files;
    sockref *ref = NULL;
    int status;

    take_files(&files);
    status = sockref_registry_listen(registry, path, options, &ref);
    if (status == 0) {
        if (!ref)
            faults_wrong("a start succeeded without a reference");
        return ref;
    }
    if (ref)
        faults_wrong("a start failed and gave a reference");
    if (sockref_last_error()->status != status || !sockref_last_error()->message[0])
        faults_wrong("a start failed with %s, described as %s", sockref_status_name(status),
                     sockref_status_name(sockref_last_error()->status));
    check_files(status, &files, reports);
    if (!faults_wait(is_within, &before, 5000)) /* what happened before may be under way still */
        faults_wrong("a start failed with %s and left a reference or entry",
                     sockref_status_name(status));
    return NULL;
}

bool faults_is_of(const char *member)
{
    return wanted_nth > 0 && strcmp(crash_member(crash_member_of(wanted_key)), member) == 0;
}

bool faults_is_removal(void)
{
    return faults_is_of("unlinkat") || faults_is_of("rename_new") || faults_is_of("fstatat");
}

/* ---- after a run ---- */

static bool is_quiet(void *arg)
{
    uint64_t references, entries;

    (void)arg;
    sockref_live_counts(&references, &entries, NULL);
    return references == 0 && entries == 0 && count_in("/proc/self/task") == 3 &&
           sr_fd_count() <= (sockref_guard_status(NULL) > 0);
}

/* Without any fault: what was left and told goes. */
static void recover_left(void)
{
    struct files left;
    sockref_registry *registry;

    if (sockref_registry_new(NULL, &registry) < 0)
        faults_wrong("no registry");
    sockref_registry_sweep(registry, faults_dir, NULL);
    for (int i = 0; faults_leaves[i]; i++) {
        char path[300];
        sockref *ref = NULL;

        snprintf(path, sizeof path, "%s/%s", faults_dir, faults_leaves[i]);
        if (sockref_registry_listen(registry, path, NULL, &ref) < 0)
            faults_wrong("the next start fails: %s", sockref_last_error()->message);
        sockref_release(ref);
    }
    sockref_registry_free(registry);
    take_files(&left);
    if (left.names[0])
        faults_wrong("files are left after the next start, too: %s", left.names);
}

static void check_left(void)
{
    uint64_t references, entries;
    struct files left;

    if (!faults_wait(is_quiet, NULL, 10000)) {
        sockref_live_counts(&references, &entries, NULL);
        faults_wrong("left: %llu references, %llu entries, %u threads, %zu descriptors (guard: %d)",
                     (unsigned long long)references, (unsigned long long)entries,
                     count_in("/proc/self/task") - 2, sr_fd_count(), sockref_guard_status(NULL));
    }
    is_over = true; /* nothing fails any more */
    take_files(&left);
    if (!left.names[0])
        return;
    /* A lock that can't be asked for counts as held by others, who see to the files; so does a name
     * that can't be looked at. */
    if (atomic_load(&reported) == 0 && !faults_may_leave && !faults_is_of("lock") &&
        !crash_is_site_in(wanted_key, FUNCTION_leads_here))
        faults_wrong("files are left, and nobody was told: %s", left.names);
    recover_left();
}

static void on_alarm(int number)
{
    (void)number;
    faults_wrong("it hangs");
}

__attribute__((noreturn)) static void run_child(const struct faults_scenario *scenario)
{
    signal(SIGALRM, on_alarm);
    alarm(RUN_SECONDS);
    sockref_set_log(record, NULL, NULL);
    scenario->prepare();
    crash_hook = on_call;
    crash_wrap(CRASH_WORKER);
    scenario->run();
    check_left();
    _exit(0);
}

/* ---- all of them ---- */

static uint64_t wrong; /* of this scenario */

/* Returns whether the run was as it should be. */
static bool run(const struct faults_scenario *scenario, uint64_t key, uint32_t nth, int os_errno)
{
    uint64_t bad = atomic_load(&crash_table->counters[COUNT_bad_closes]);
    int status;
    pid_t pid;

    scenario_name = scenario->name;
    wanted_key = key;
    wanted_nth = nth;
    wanted_errno = os_errno;
    atomic_store(struck, false);
    /* Of its own: the guard of the run before, which was not told of the end of its name, may yet
     * look at the path. */
    faults_dir = faults_make_dir();
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        run_child(scenario);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        begin_message();
        fprintf(stderr, "no process: %s\n", strerror(errno));
        status = -1;
    } else if (WIFSIGNALED(status)) {
        begin_message();
        fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
    }
    faults_remove_dir();
    return status == 0 && bad == atomic_load(&crash_table->counters[COUNT_bad_closes]);
}

static void fail_call(const struct faults_scenario *scenario, uint64_t key, uint32_t calls)
{
    const int *errnos = faults_errnos(crash_member(crash_member_of(key)));

    for (uint32_t nth = 1; nth <= calls && nth <= NTH_MOST; nth++)
        for (int i = 0; errnos[i] && wrong < TOLD_MOST; i++) {
            bool well = run(scenario, key, nth, errnos[i]);

            /* With threads, not each one comes each time. */
            atomic_fetch_add(atomic_load(struck) ? &totals->faults : &totals->missed, 1);
            wrong += !well;
        }
}

static void run_scenario(const struct faults_scenario *scenario)
{
    static struct sites noted;

    memset(sites, 0, sizeof *sites);
    is_noting = true;
    if (!run(scenario, 0, 0, 0))
        wrong++;
    is_noting = false;
    memcpy(&noted, sites, sizeof noted);
    for (uint32_t i = 0; i < SITES_MOST && wrong < TOLD_MOST; i++)
        if (noted.at[i].key != 0)
            fail_call(scenario, noted.at[i].key, noted.at[i].calls);
}

static void *map_shared(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        exit(2);
    return at;
}

static void open_table(void)
{
    char table[] = "/tmp/sockref-faults-table-XXXXXX";
    const char *problem;

    close(mkstemp(table));
    if (!crash_open(table, true))
        exit(2);
    unlink(table);
    problem = symbols_load(CRASH_WORKER, "/proc/self/exe");
    if (problem) {
        fprintf(stderr, "torture-faults: the program %s\n", problem);
        exit(2);
    }
}

/* A scenario by itself. */
__attribute__((noreturn)) static void drive(const struct faults_scenario *scenario, char **one)
{
    open_table();
    sites = map_shared(sizeof *sites);
    struck = map_shared(sizeof *struck);
    if (one)
        wrong += !run(scenario, strtoull(one[0], NULL, 0), (uint32_t)strtoul(one[1], NULL, 0),
                      (int)strtol(one[2], NULL, 0));
    else
        run_scenario(scenario);
    atomic_fetch_add(&totals->wrong, wrong);
    if (one)
        printf("%s, %s\n", atomic_load(struck) ? "it came" : "it did not come",
               wrong ? "wrong" : "well");
    exit(0);
}

static void wait_for_one(unsigned *inout_running)
{
    int status;

    if (wait(&status) > 0 && status != 0)
        atomic_fetch_add(&totals->wrong, 1);
    --*inout_running;
}

/* Every place that was passed, for tests/torture/places. */
static void write_places(void)
{
    const char *list = getenv("TORTURE_POINTS");
    FILE *out = list && list[0] ? fopen(list, "w") : NULL;

    for (uint32_t i = 0; out && i < SITES_MOST && atomic_load(&totals->places[i]) != 0; i++) {
        crash_print_point(out, atomic_load(&totals->places[i]));
        fputc('\n', out);
    }
    if (out)
        fclose(out);
}

static bool tell_end(unsigned scenarios, bool is_whole, double seconds)
{
    uint64_t faults = atomic_load(&totals->faults), all_wrong = atomic_load(&totals->wrong);

    if (is_whole && faults < LEAST) {
        fprintf(stderr, "torture-faults: less than %d faults\n", LEAST);
        all_wrong++;
    }
    printf("torture-faults\tfaults=%llu\tseconds=%.0f\tscenarios=%u\tmissed=%llu\twrong=%llu\n",
           (unsigned long long)faults, seconds, scenarios,
           (unsigned long long)atomic_load(&totals->missed), (unsigned long long)all_wrong);
    printf("torture-faults: %llu passed, %llu failed, 0 skipped\n",
           (unsigned long long)(faults > all_wrong ? faults - all_wrong : 0),
           (unsigned long long)all_wrong);
    return all_wrong == 0 && scenarios > 0;
}

int main(int argc, char **argv)
{
    uint64_t since = crash_now();
    unsigned scenarios = 0, running = 0;

    totals = map_shared(sizeof *totals);
    for (const struct faults_scenario *scenario = faults_scenarios; scenario->name; scenario++) {
        if (argc > 1 && strcmp(argv[1], scenario->name) != 0)
            continue;
        if (running == JOBS)
            wait_for_one(&running);
        fflush(NULL);
        if (fork() == 0)
            drive(scenario, argc == 5 ? argv + 2 : NULL);
        running++;
        scenarios++;
    }
    while (running > 0)
        wait_for_one(&running);
    open_table(); /* for the names of functions */
    write_places();
    return tell_end(scenarios, argc == 1, (double)(crash_now() - since) / 1e9) ? EXIT_SUCCESS
                                                                               : EXIT_FAILURE;
}
