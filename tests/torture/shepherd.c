/*
 * Drives an agent: a program in some language that holds one name, as told by lines of JSON (see
 * tests/pairs/agent.c). It is told to start and to close at random, looked after, and killed; with
 * the library of the torture in it, also at the crash points.
 */
#include "torture/crash.h"
#include "torture/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_NS 180000000000u /* languages begin slowly */
#define LOSS_NS   10000000000u
#define PATHS     2 /* the first ones, which are shared by all */

static int own_slot;
static uint64_t state;

/* The agent. */
static pid_t pid;
static int to, from;
static char answer[2000]; /* without spaces */

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state * 0x2545f4914f6cdd1du >> 33) % below;
}

static void beat(void)
{
    atomic_store(&crash_team->slots[own_slot].beat_ns, crash_now());
}

static void begin(const char *command)
{
    const char *library = getenv("TORTURE_LIBRARY");
    char line[1000];
    int in[2], out[2];

    snprintf(line, sizeof line, "exec env %s", command); /* no shell stands between it and a kill */
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        _exit(4);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        dup2(in[0], 0);
        dup2(out[1], 1);
        if (library && library[0])
            setenv("LD_PRELOAD", library, 1);
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(5);
    }
    close(in[0]);
    close(out[1]);
    to = in[1];
    from = out[0];
    crash_count(COUNT_agents);
}

/* Returns false when the agent has gone. */
static bool ask(const char *line)
{
    uint64_t until = crash_now() + ANSWER_NS;
    struct pollfd ready = {.fd = from, .events = POLLIN};
    size_t length = 0;
    char byte;

    if (write(to, line, strlen(line)) < 0)
        return false;
    for (;;) {
        beat();
        if (poll(&ready, 1, 100) == 0) {
            if (crash_now() < until)
                continue;
            crash_wrong(COUNT_stuck, "agent %d does not answer %s", (int)pid, line);
            return false;
        }
        if (read(from, &byte, 1) <= 0)
            return false;
        if (byte == '\n')
            break;
        if (byte != ' ' && length < sizeof answer - 1)
            answer[length++] = byte;
    }
    answer[length] = '\0';
    return true;
}

static bool says(const char *what)
{
    return strstr(answer, what) != NULL;
}

static bool start(const char *path)
{
    char line[400];

    snprintf(line, sizeof line, "{\"cmd\":\"start\",\"path\":\"%s\",\"options\":{}}\n", path);
    if (!ask(line))
        return false;
    if (says("\"ok\":true"))
        crash_count(says("\"owner\":true") ? COUNT_owners : COUNT_joins);
    else
        crash_wrong(COUNT_failed_starts, "%s: agent %d: %s", path, (int)pid, answer);
    return true;
}

static bool can_dial(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), status;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    status = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
    close(fd);
    return status;
}

/* While it is active its path leads to a listener, or there is a loss to be heard. */
static bool look(const char *path)
{
    uint64_t since = crash_now();

    crash_count(COUNT_uses);
    while (!can_dial(path)) {
        if (!ask("{\"cmd\":\"status\"}\n"))
            return false;
        if (!says("\"active\":true"))
            return true;
        if (crash_now() - since > LOSS_NS) {
            crash_wrong(says("\"owner\":true") ? COUNT_lost_paths : COUNT_failed_joins,
                        "%s: agent %d: %s", path, (int)pid, answer);
            return true;
        }
        poll(NULL, 0, 2);
    }
    return true;
}

static void kill_agent(void)
{
    crash_count(COUNT_kills);
    crash_count(COUNT_agent_kills);
    kill(pid, SIGKILL);
}

/* In order, unless it is gone already. */
static void end(bool in_order)
{
    int status;

    if (in_order)
        ask("{\"cmd\":\"exit\"}\n");
    close(to);
    close(from);
    beat();
    if (waitpid(pid, &status, 0) == pid && status != 0 &&
        !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        crash_wrong(COUNT_crashes, "agent %d ended with %#x", (int)pid, (unsigned)status);
}

static bool act(void)
{
    const char *path = torture_paths[draw(PATHS)].text;

    if (!start(path) || !look(path))
        return false;
    switch (draw(6)) {
    case 0:
        kill_agent();
        return false;
    case 1:
        return ask("{\"cmd\":\"close\"}\n");
    default:
        poll(NULL, 0, (int)draw(5));
        return true;
    }
}

void torture_shepherd(int slot, uint64_t seed, const char *command)
{
    own_slot = slot;
    state = seed | 1;
    signal(SIGPIPE, SIG_IGN);
    setenv("TORTURE_SLOT", "-1", 1);
    while (!atomic_load(&crash_team->stop)) {
        bool lives = true;

        begin(command);
        while (lives && !atomic_load(&crash_team->stop))
            lives = act();
        end(lives);
    }
    exit(0);
}
