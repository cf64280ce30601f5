/* Directories, and what is left in them. */
#include "torture/arena.h"

#include "torture/crash.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN "sockref-own" /* a guard locks directories of such a name, against cleaners */

struct arena arenas[ARENAS_MOST];
int arenas_count;
char arenas_skipped[400];
unsigned arenas_skipped_count;
struct torture_path torture_paths[CRASH_PATHS];
int torture_paths_count;

/* ---- where ---- */

bool arena_make_directory(char out[160], const char *where)
{
    snprintf(out, 160, "%.100s/sockref-torture-XXXXXX", where);
    return mkdtemp(out) != NULL;
}

void arena_remove_tree(const char *path)
{
    char command[300];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fprintf(stderr, "torture: %s could not be removed\n", path);
}

static void skip(const char *name)
{
    size_t length = strlen(arenas_skipped);

    arenas_skipped_count++;
    snprintf(arenas_skipped + length, sizeof arenas_skipped - length, "%s%s: %s",
             length ? ", " : "", name, strerror(errno));
}

static bool add_arena(const char *name, const char *where)
{
    struct arena *arena = &arenas[arenas_count];
    char path[200];

    if (!arena_make_directory(arena->base, where))
        return false;
    arena->name = name;
    snprintf(path, sizeof path, "%s/" OWN, arena->base);
    if (mkdir(path, 0700) < 0)
        return false;
    snprintf(path, sizeof path, "%s/sticky", arena->base);
    arena->has_sticky = geteuid() == 0 && mkdir(path, 01777) == 0 && chmod(path, 01777) == 0;
    arenas_count++;
    return true;
}

/* In a namespace of this program's own, so that nothing of it can be left. */
static bool mount_overlay(const char *base, char out[160])
{
    static const char *const parts[] = {"lower", "upper", "work", "merged"};
    char path[200], options[700];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", base, parts[i]);
        mkdir(path, 0755);
    }
    snprintf(out, 160, "%.140s/merged", base);
    snprintf(options, sizeof options, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", base,
             base, base);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return false;
    return mount("overlay", out, "overlay", 0, options) == 0;
}

static char overlay_base[160];

void arenas_choose(void)
{
    const char *disk = getenv("TORTURE_DISK") ? getenv("TORTURE_DISK")
                       : getenv("TMPDIR")     ? getenv("TMPDIR")
                                              : "/tmp";
    char merged[160];

    if (!add_arena("disk", disk))
        skip("disk");
    if (!add_arena("tmpfs", "/dev/shm"))
        skip("tmpfs");
    if (!arena_make_directory(overlay_base, disk) || !mount_overlay(overlay_base, merged) ||
        !add_arena("overlayfs", merged))
        skip("overlayfs");
}

void arenas_remove(void)
{
    char merged[200];

    for (int i = 0; i < arenas_count; i++)
        arena_remove_tree(arenas[i].base);
    snprintf(merged, sizeof merged, "%s/merged", overlay_base);
    if (overlay_base[0])
        umount2(merged, MNT_DETACH);
    if (overlay_base[0])
        arena_remove_tree(overlay_base);
}

static void add_path(const struct arena *arena, const char *leaf, enum path_class class,
                     bool sticky)
{
    struct torture_path *path = &torture_paths[torture_paths_count++];

    snprintf(path->text, sizeof path->text, "%s/%s/%s", arena->base, sticky ? "sticky" : OWN, leaf);
    path->class = class;
    path->sticky = sticky;
}

void arena_choose_paths(const struct arena *arena, const struct torture_profile *profile)
{
    bool only_sticky = profile->only_sticky && arena->has_sticky;

    torture_paths_count = 0;
    if (!only_sticky) {
        add_path(arena, "a", PLAIN, false);
        add_path(arena, "b", PLAIN, false);
        add_path(arena, "alone", ALONE, false);
        add_path(arena, "foreign", FOREIGN, false);
    }
    if (arena->has_sticky) {
        if (profile->foreigners > 0)
            add_path(arena, "foreign", FOREIGN, true);
        if (profile->is_hasty) {
            add_path(arena, "foreign-2", FOREIGN, true);
            add_path(arena, "foreign-3", FOREIGN, true);
        }
        add_path(arena, "a", PLAIN, true);
    }
    if ((uint32_t)torture_paths_count > profile->paths)
        torture_paths_count = (int)profile->paths;
}

/* ---- what is left ---- */

/* SHARE 0: until its guard has the inode there is nothing that tells of a bound socket. */
static bool is_of_alone(const char *leaf)
{
    return strcmp(leaf, "alone") == 0;
}

static bool is_lock(const char *leaf)
{
    size_t length = strlen(leaf);

    return length > 7 && strcmp(leaf + length - 7, ".srlock") == 0;
}

/* A file of a foreigner's, which a removal had to move, and which could not go back; or which it
 * has given up while it was away. */
static bool is_kept(const char *leaf, mode_t mode)
{
    return (mode & 0777) == FOREIGN_MODE &&
           (strncmp(leaf, ".sockref-kept-", 14) == 0 ||
            (torture_profile->is_hasty && strncmp(leaf, "foreign", 7) == 0));
}

struct left {
    unsigned files, locks, alone, kept;
    char names[2000];
};

static void list_directory(const char *base, const char *sub, bool remove, struct left *out)
{
    char path[300], file[600];
    struct dirent *item;
    DIR *stream;

    snprintf(path, sizeof path, "%s/%s", base, sub);
    stream = opendir(path);
    while (stream && (item = readdir(stream))) {
        size_t length = strlen(out->names);
        struct stat info = {0};

        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        snprintf(file, sizeof file, "%s/%s", path, item->d_name);
        lstat(file, &info);
        *(is_of_alone(item->d_name)             ? &out->alone
          : is_kept(item->d_name, info.st_mode) ? &out->kept
          : is_lock(item->d_name)               ? &out->locks
                                                : &out->files) += 1;
        snprintf(out->names + length, sizeof out->names - length, " %s/%s", sub, item->d_name);
        if (remove)
            unlink(file);
    }
    if (stream)
        closedir(stream);
}

static void list_left(const struct arena *arena, bool remove, struct left *out)
{
    *out = (struct left){0};
    list_directory(arena->base, OWN, remove, out);
    if (arena->has_sticky)
        list_directory(arena->base, "sticky", remove, out);
}

/* Guards were killed as well: what they left goes by a sweep, or by the next start. */
static void recover(const struct arena *arena)
{
    char directory[200];

    for (int i = 0; i < 2; i++) {
        snprintf(directory, sizeof directory, "%s/%s", arena->base, i ? "sticky" : OWN);
        if (i == 0 || arena->has_sticky)
            sockref_registry_sweep(NULL, directory, NULL);
    }
    for (int i = 0; i < torture_paths_count; i++) {
        sockref *ref = NULL;
        struct stat info;

        if (lstat(torture_paths[i].text, &info) < 0)
            continue;
        if (sockref_registry_listen(NULL, torture_paths[i].text, NULL, &ref) < 0)
            fprintf(stderr, "torture: %s: %s\n", torture_paths[i].text,
                    sockref_last_error()->message);
        sockref_release(ref);
    }
}

/* In a process of its own, and its guard is waited for. */
static void recover_left(const struct arena *arena)
{
    uint64_t until = crash_now() + 20000000000u;
    pid_t pid = fork();

    if (pid == 0) {
        recover(arena);
        exit(0);
    }
    while (crash_now() < until && (waitpid(-1, NULL, WNOHANG) >= 0 || errno == EINTR))
        usleep(1000);
}

void arena_check_left(const struct arena *arena, bool strict)
{
    struct left left;

    list_left(arena, strict, &left);
    if (left.files + left.locks + left.alone + left.kept > 0 && !strict) {
        recover_left(arena);
        list_left(arena, true, &left);
    }
    for (unsigned i = 0; i < left.alone; i++)
        crash_count(COUNT_left_alone);
    for (unsigned i = 0; i < left.kept; i++)
        crash_count(COUNT_kept_files);
    if (left.files + left.locks > 0)
        crash_wrong(left.files ? COUNT_left_files : COUNT_left_locks,
                    "%u files and %u locks on %s%s:%s", left.files, left.locks, arena->name,
                    strict ? "" : ", after a sweep", left.names);
}
