/* A process that uses some of the paths without the library. What it puts there stays where it is.
 */
#include "torture/crash.h"
#include "torture/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define AWAY_NS 5000000000u

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state * 0x2545f4914f6cdd1du >> 33) % below;
}

static int bind_foreign(const char *path, struct stat *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fchmod(fd, FOREIGN_MODE) < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, 100) < 0 || lstat(path, out) < 0) {
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

/* A file of ours stays where it is; where removals look by renaming aside, it may be away for a
 * moment. */
static void hold_foreign(const struct torture_path *path, const struct stat *what)
{
    for (uint32_t i = draw(torture_profile->is_hasty ? 4 : 30); i > 0; i--) {
        uint64_t since = crash_now();
        bool there;

        while (!(there = stands(path->text, what)) && path->sticky &&
               crash_now() - since < AWAY_NS) {
            if (torture_profile->is_hasty && draw(2)) /* it gives up what is away */
                return;
            poll(NULL, 0, 1);
        }
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

void torture_foreigner(uint64_t seed, int number)
{
    state = seed | 1;
    while (!atomic_load(&crash_team->stop)) {
        int index = (int)draw((uint32_t)torture_paths_count), fd;
        const struct torture_path *path = &torture_paths[index];
        struct stat what;

        if (path->class != FOREIGN || index % (int)torture_profile->foreigners != number)
            continue;
        if (draw(4) == 0) { /* not a socket */
            fd = open(path->text, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, FOREIGN_MODE);
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
