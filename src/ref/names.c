/*
 * Entries by name. An entry is known by its folded spelling, by the place of its file (identity of
 * the directory and leaf) where that could be looked up, and by any other spelling that was found
 * to lead to that place.
 */
#include "base/error.h"
#include "base/hash.h"
#include "base/sys.h"
#include "name/path.h"
#include "ref/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int sr_name_init(struct sr_name *self, const sockref_registry *registry, const char *path)
{
    int status = sr_path_check(path);

    if (status < 0)
        return status;
    memset(self, 0, sizeof *self);
    self->path = self->key = path;
    if (sr_path_needs_fold(path)) {
        self->buffer = sr_sys.malloc(sr_path_fold_room(path));
        if (!self->buffer)
            return sr_error_no_memory();
        sr_path_fold(path, self->buffer);
        if (strcmp(path, self->buffer) != 0)
            self->key = self->buffer;
    }
    self->hash = sr_hash_bytes(registry->seed, self->key, strlen(self->key));
    return 0;
}

void sr_name_clear(struct sr_name *self)
{
    free(self->buffer);
}

void sr_name_set_place(struct sr_name *self, const sockref_registry *registry, uint64_t device,
                       uint64_t inode)
{
    const char *leaf = sr_path_leaf(self->key);
    uint64_t seed = sr_hash_mix(registry->seed ^ device, inode | 1);

    self->device = device;
    self->inode = inode;
    self->place_hash = (uint32_t)sr_hash_bytes(seed, leaf, strlen(leaf));
    self->has_place = true;
}

void sr_name_locate(struct sr_name *self, const sockref_registry *registry)
{
    dev_t device;
    ino_t inode;

    if (sr_path_is_file(self->key) && sr_place_find(self->key, &device, &inode) == 0)
        sr_name_set_place(self, registry, device, inode);
}

static bool has_alias(const sockref *entry, const char *path)
{
    const struct sr_alias *alias = entry->rest->more ? entry->rest->more->aliases : NULL;

    for (; alias; alias = alias->next)
        if (strcmp(alias->path, path) == 0)
            return true;
    return false;
}

sockref *sr_names_find_key(sockref_registry *self, const struct sr_name *name)
{
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;

    sr_table_begin(&self->table, (uint32_t)name->hash, &walk);
    while (sr_table_next(&walk, &kind, &index)) {
        sockref *entry = sr_slab_at(&self->slab, index);

        if (kind == SR_TABLE_KEY && strcmp(sr_entry_key(entry), name->key) == 0)
            return entry;
        if (kind == SR_TABLE_ALIAS && has_alias(entry, name->key))
            return entry;
    }
    return NULL;
}

static bool is_at(const sockref *entry, const struct sr_name *name)
{
    const struct sr_entry_rest *rest = entry->rest;

    return rest->has_place && rest->device == name->device && rest->inode == name->inode &&
           strcmp(sr_path_leaf(sr_entry_key(entry)), sr_path_leaf(name->key)) == 0;
}

/* A place may be added to an entry that is held. */
static bool copy_place(const sockref *entry, struct sr_name *out)
{
    sr_mutex_lock(&entry->registry->mutex);
    out->has_place = entry->rest->has_place;
    out->device = entry->rest->device;
    out->inode = entry->rest->inode;
    sr_mutex_unlock(&entry->registry->mutex);
    return out->has_place;
}

bool sr_names_are_one(const sockref *entry, const sockref *other)
{
    const char *key = sr_entry_key(entry), *other_key = sr_entry_key(other);
    struct sr_name place, other_place;

    if (strcmp(key, other_key) == 0)
        return true;
    return strcmp(sr_path_leaf(key), sr_path_leaf(other_key)) == 0 && copy_place(entry, &place) &&
           copy_place(other, &other_place) && place.device == other_place.device &&
           place.inode == other_place.inode;
}

sockref *sr_names_find_place(sockref_registry *self, const struct sr_name *name)
{
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;

    sr_table_begin(&self->table, name->place_hash, &walk);
    while (sr_table_next(&walk, &kind, &index)) {
        sockref *entry = sr_slab_at(&self->slab, index);

        if (kind == SR_TABLE_PLACE && is_at(entry, name))
            return entry;
    }
    return NULL;
}

sockref *sr_names_find(sockref_registry *self, const struct sr_name *name)
{
    sockref *entry = sr_names_find_key(self, name);

    if (!entry && name->has_place)
        entry = sr_names_find_place(self, name);
    return entry;
}

struct sr_entry_more *sr_names_more(sockref *entry)
{
    struct sr_entry_more *more = entry->rest->more;

    if (more)
        return more;
    more = sr_sys.calloc(1, sizeof *more);
    if (!more)
        return NULL;
    more->deadline.entry = entry;
    more->deadline.over = sr_remove_after_delay;
    sr_list_init(&more->deadline.node);
    entry->rest->more = more;
    return more;
}

void sr_names_add_alias(sockref_registry *self, sockref *entry, const struct sr_name *name)
{
    struct sr_entry_more *more = sr_names_more(entry);
    size_t size = strlen(name->key) + 1;
    struct sr_alias *alias;

    if (!more || sr_table_reserve(&self->table, 1) < 0)
        return;
    alias = sr_sys.malloc(sizeof *alias + size);
    if (!alias)
        return;
    alias->hash = (uint32_t)name->hash;
    memcpy(alias->path, name->key, size);
    alias->next = more->aliases;
    more->aliases = alias;
    sr_table_add(&self->table, alias->hash, SR_TABLE_ALIAS, entry->rest->index);
}

void sr_names_drop_key(sockref_registry *self, sockref *entry, const struct sr_name *name)
{
    struct sr_alias **at = entry->rest->more ? &entry->rest->more->aliases : NULL;

    if (strcmp(sr_entry_key(entry), name->key) == 0)
        sr_table_remove(&self->table, (uint32_t)name->hash, SR_TABLE_KEY, entry->rest->index);
    for (; at && *at; at = &(*at)->next) {
        struct sr_alias *alias = *at;

        if (strcmp(alias->path, name->key) != 0)
            continue;
        sr_table_remove(&self->table, alias->hash, SR_TABLE_ALIAS, entry->rest->index);
        *at = alias->next;
        free(alias);
        return;
    }
}

int sr_names_set_place(sockref_registry *self, sockref *entry, const struct sr_name *name)
{
    struct sr_entry_rest *rest = entry->rest;

    if (sr_table_reserve(&self->table, 1) < 0)
        return sr_error_no_memory();
    rest->device = name->device;
    rest->inode = name->inode;
    rest->place_hash = name->place_hash;
    rest->has_place = true;
    sr_table_add(&self->table, rest->place_hash, SR_TABLE_PLACE, rest->index);
    return 0;
}

/* The key, and the display where it differs. Returns 0 or -ENOMEM with nothing kept. */
static int copy_name(sockref *entry, const struct sr_name *name)
{
    size_t length = strlen(name->key), size = strlen(name->path) + 1;
    struct sr_entry_more *more;

    memset(&entry->key, 0, sizeof entry->key);
    if (length <= SR_INLINE_KEY) {
        memcpy(entry->key.text, name->key, length);
    } else {
        entry->key.heap = sr_sys.malloc(length + 1);
        if (!entry->key.heap)
            return -ENOMEM;
        memcpy(entry->key.heap, name->key, length + 1);
        entry->key.text[SR_INLINE_KEY] = 1;
    }
    if (name->key == name->path)
        return 0;
    more = sr_names_more(entry);
    if (more)
        more->display = sr_sys.malloc(size);
    if (!more || !more->display)
        return -ENOMEM;
    memcpy(more->display, name->path, size);
    return 0;
}

static void free_name(sockref *entry)
{
    struct sr_entry_more *more = entry->rest->more;
    struct sr_alias *alias, *next;

    if (entry->key.text[SR_INLINE_KEY])
        free(entry->key.heap);
    memset(&entry->key, 0, sizeof entry->key);
    if (!more)
        return;
    for (alias = more->aliases; alias; alias = next) {
        next = alias->next;
        free(alias);
    }
    free(more->display);
    free(more);
    entry->rest->more = NULL;
}

int sr_names_create(sockref_registry *self, const struct sr_name *name, enum sr_state state,
                    sockref **out_entry)
{
    struct sr_entry_rest *rest;
    sockref *entry;
    uint64_t word;

    if (self->entries >= (uint64_t)self->settings.values[SOCKREF_OPT_MAX_SOCKETS])
        return sr_error_set(
            SOCKREF_ELIMIT, name->path,
            "the registry is at its limit of names, %u: release one, or raise the limit",
            self->entries);
    if (sr_table_reserve(&self->table, 2) < 0)
        return sr_error_no_memory();
    entry = sr_slab_take(&self->slab);
    if (!entry)
        return sr_error_no_memory();
    if (copy_name(entry, name) < 0) {
        free_name(entry);
        sr_slab_give(&self->slab, entry);
        return sr_error_no_memory();
    }
    rest = entry->rest;
    rest->has_place = false;
    rest->life = NULL;
    rest->in_table = true;
    /* Who reads it without the mutex finds the life before over. */
    atomic_store_explicit(&entry->hash, name->hash, memory_order_release);
    word = atomic_load_explicit(&entry->word, memory_order_relaxed) >> SR_GENERATION_SHIFT;
    word = (word + 1) << SR_GENERATION_SHIFT | (uint64_t)state << SR_STATE_SHIFT | 1;
    if (self->max_references < SR_FEW)
        word |= SR_LOW_LIMIT;
    atomic_store_explicit(&entry->word, word, memory_order_release);
    sr_table_add(&self->table, (uint32_t)name->hash, SR_TABLE_KEY, rest->index);
    if (name->has_place)
        sr_names_set_place(self, entry, name);
    self->entries++;
    sr_registry_hold_locked(self);
    *out_entry = entry;
    return 0;
}

void sr_names_hide(sockref_registry *self, sockref *entry)
{
    struct sr_entry_rest *rest = entry->rest;
    struct sr_alias *alias = rest->more ? rest->more->aliases : NULL;
    uint32_t hash = (uint32_t)atomic_load_explicit(&entry->hash, memory_order_relaxed);

    if (!rest->in_table)
        return;
    rest->in_table = false;
    sr_table_remove(&self->table, hash, SR_TABLE_KEY, rest->index);
    if (rest->has_place)
        sr_table_remove(&self->table, rest->place_hash, SR_TABLE_PLACE, rest->index);
    for (; alias; alias = alias->next)
        sr_table_remove(&self->table, alias->hash, SR_TABLE_ALIAS, rest->index);
}

/* An entry that is left, and that no callback is given any more, may be used again. */
static void give_back_unlock(sockref_registry *self, sockref *entry) SR_RELEASES(self->mutex)
{
    struct sr_entry_rest *rest = entry->rest;

    if (!rest->is_left || rest->told > 0) {
        sr_mutex_unlock(&self->mutex);
        return;
    }
    rest->is_left = false;
    free_name(entry);
    sr_slab_give(&self->slab, entry);
    sr_registry_unhold_unlock(self);
}

void sr_names_free_unlock(sockref_registry *self, sockref *entry, struct sr_list *woken)
{
    struct sr_entry_more *more = entry->rest->more;
    struct sr_watch *watch = more ? more->watch : NULL;
    uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);

    sr_names_hide(self, entry);
    word = sr_word_with_state(word & ~SR_COUNT_MASK, SR_FREE);
    atomic_store_explicit(&entry->word, word, memory_order_release);
    entry->rest->life = NULL;
    self->entries--;
    sr_registry_changed_locked(self, entry, woken);
    if (more)
        more->watch = NULL;
    sr_watch_rest(watch); /* while the registry stays: its end waits for the threads */
    entry->rest->is_left = true;
    give_back_unlock(self, entry);
    sr_watch_release(watch);
}

void sr_names_told(sockref *entry)
{
    sockref_registry *self = entry->registry;

    sr_mutex_lock(&self->mutex);
    entry->rest->told--;
    give_back_unlock(self, entry);
}
