/*
 * The names in a directory.
 *
 * They are found by one pass over the files: what may have one lock file is sorted together, since
 * a lock file that has its name by a hash does not tell the leaf.
 */
#include "name/listing.h"

#include "base/error.h"
#include "base/sys.h"
#include "name/lockfile.h"
#include "name/path.h"
#include "name/sockfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOCK_SUFFIX ".srlock"

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), most = strlen(end);

    return length > most && strcmp(text + length - most, end) == 0;
}

/* What sockref puts beside a socket belongs to that name. */
static bool is_beside(const char *leaf)
{
    return leaf[0] == '.' && (ends_with(leaf, ".srctl") || ends_with(leaf, SR_ASIDE_SUFFIX));
}

/* ".LEAF.srlock", also where it tells the leaf by a hash. */
static bool is_lock(const char *name)
{
    return name[0] == '.' && ends_with(name + 1, LOCK_SUFFIX);
}

/* What a file of the directory is to a name; any file may be the one that a hash stands for. */
enum item_kind { SOCKET, OTHER, LOCK_FILE };

struct item {
    enum item_kind kind;
    char *leaf;
    char lock_name[SR_LOCKFILE_NAME_MAX]; /* of the leaf's lock file */
};

struct items {
    struct item *items;
    size_t count, room;
};

static int add_item(struct items *self, enum item_kind kind, const char *leaf,
                    const char *lock_name)
{
    size_t room = self->room ? self->room * 2 : 16;
    struct item *items = self->items;

    if (self->count == self->room) {
        items = sr_sys.realloc(items, room * sizeof *items);
        if (!items)
            return sr_error_no_memory();
        self->items = items;
        self->room = room;
    }
    items += self->count;
    items->leaf = sr_sys.malloc(strlen(leaf) + 1);
    if (!items->leaf)
        return sr_error_no_memory();
    items->kind = kind;
    strcpy(items->leaf, leaf);
    strcpy(items->lock_name, lock_name);
    self->count++;
    return 0;
}

static void clear_items(struct items *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->items[i].leaf);
    free(self->items);
}

/* Returns 0 or a described status. */
static int add_file(struct items *items, const struct sr_place *place, const char *name)
{
    char leaf[SR_LEAF_MAX + 1], lock_name[SR_LOCKFILE_NAME_MAX];
    struct stat info;
    bool is_socket;

    if (is_lock(name)) {
        snprintf(leaf, sizeof leaf, "%.*s", (int)(strlen(name) - strlen(LOCK_SUFFIX) - 1),
                 name + 1);
        sr_lockfile_name(leaf, LOCK_SUFFIX, lock_name);
        return strcmp(lock_name, name) == 0 ? add_item(items, LOCK_FILE, leaf, name) : 0;
    }
    if (is_beside(name))
        return 0;
    sr_lockfile_name(name, LOCK_SUFFIX, lock_name);
    is_socket =
        sr_sys.fstatat(place->dir, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(info.st_mode);
    if (!is_socket && lock_name[1] != '~')
        return 0;
    return add_item(items, is_socket ? SOCKET : OTHER, name, lock_name);
}

static int read_items(DIR *stream, const struct sr_place *place, const char *directory,
                      struct items *out)
{
    struct dirent *item;
    int status = 0;

    while (status == 0 && (errno = 0, item = readdir(stream)))
        status = add_file(out, place, item->d_name);
    if (status == 0 && errno != 0)
        return sr_error_system(errno, "readdir", directory);
    return status;
}

/* What has one lock file stands together, with the file itself at the end. */
static int compare_items(const void *a, const void *b)
{
    const struct item *one = a, *other = b;
    int order = strcmp(one->lock_name, other->lock_name);

    return order != 0 ? order : (int)one->kind - (int)other->kind;
}

static int compare_leaves(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void take_leaf(struct sr_listing *list, struct item *item, const char *directory)
{
    char path[SR_PATH_MAX + SR_LEAF_MAX + 2];

    snprintf(path, sizeof path, "%s/%s", directory, item->leaf);
    if (!sr_path_is_usable(path))
        return;
    list->leaves[list->count++] = item->leaf;
    item->leaf = NULL;
}

/* Of those with one lock file, before the next. A socket is a name by itself, another file with its
 * lock file, and a lock file whose leaf is gone. */
static void take_names(struct sr_listing *list, struct item *from, const struct item *next,
                       const char *directory)
{
    bool has_lock = next[-1].kind == LOCK_FILE, is_alone = next - from == 1;

    for (; from < next; from++)
        if (from->kind == SOCKET || (has_lock && (from->kind == OTHER || is_alone)))
            take_leaf(list, from, directory);
}

static int make_list(struct items *items, const char *directory, struct sr_listing *out)
{
    struct sr_listing list = {0};
    size_t from = 0;

    if (items->count == 0)
        return 0;
    list.leaves = sr_sys.malloc(items->count * sizeof *list.leaves);
    if (!list.leaves)
        return sr_error_no_memory();
    qsort(items->items, items->count, sizeof *items->items, compare_items);
    for (size_t i = 1; i <= items->count; i++) {
        if (i < items->count &&
            strcmp(items->items[i].lock_name, items->items[from].lock_name) == 0)
            continue;
        take_names(&list, &items->items[from], &items->items[i], directory);
        from = i;
    }
    if (list.count > 0)
        qsort(list.leaves, list.count, sizeof *list.leaves, compare_leaves);
    *out = list;
    return 0;
}

static DIR *open_stream(const struct sr_place *place, int flags)
{
    int fd = sr_sys.openat(place->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int os_errno = errno;

    if (!stream && fd >= 0)
        sr_sys.close(fd);
    errno = os_errno;
    return stream;
}

int sr_listing_read(const struct sr_place *place, const char *directory, struct sr_listing *out)
{
    DIR *stream = open_stream(place, O_NOATIME);
    struct items items = {0};
    int status;

    if (!stream && errno == EPERM)
        stream = open_stream(place, 0);
    if (!stream)
        return sr_error_system(errno, "open", directory);
    status = read_items(stream, place, directory, &items);
    closedir(stream);
    *out = (struct sr_listing){0};
    if (status == 0)
        status = make_list(&items, directory, out);
    clear_items(&items);
    return status;
}

void sr_listing_free(struct sr_listing *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->leaves[i]);
    free(self->leaves);
    *self = (struct sr_listing){0};
}
