/*
 * Finding a name that is active, and counting a reference to it.
 *
 * The common case touches one slot of the index and one entry, and takes no lock: the caller's
 * spelling is looked up as it is, for only checked and folded spellings are ever in the index. What
 * is not found so goes the long way: check, fold, look under the mutex, look by the identity of the
 * directory.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/thread.h"
#include "name/path.h"
#include "name/tcp.h"
#include "ref/state.h"

#include <errno.h>
#include <string.h>

#define REVIVED 4 /* got, out of LINGER: it is to be counted as a holder again */

/*
 * How long a lookup that another thread got ahead of keeps away from the entry, in pauses of the
 * processor: about a microsecond. The other one counts and releases in its own cache meanwhile; if
 * both went on at once, the line would travel for each of their steps, and a lookup would take
 * twice as long.
 */
#define BACKOFF 32

enum outcome { COUNTED, NOT_ACTIVE, AT_LIMIT };

/* Add one to the count of an active entry; the hash says whether it is (still) the one that is
 * wanted. */
static enum outcome count_one(sockref *entry, uint64_t hash)
{
    for (;;) {
        uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);

        if (!sr_word_is_active(word) ||
            atomic_load_explicit(&entry->hash, memory_order_relaxed) != hash)
            return NOT_ACTIVE;
        if (sr_word_count(word) >= entry->registry->max_references)
            return AT_LIMIT;
        if (SR_LIKELY(atomic_compare_exchange_weak_explicit(
                &entry->word, &word, word + 1, memory_order_acquire, memory_order_relaxed)))
            return COUNTED;
        sr_spin(BACKOFF);
    }
}

/* Short keys are padded with zeros, and compared a word at a time; the path's own end is not read
 * past. */
static bool is_key(const sockref *entry, const char *path, size_t length)
{
    const char *key = sr_entry_key(entry);
    uint64_t a, b;

    if (length < 8 || length > SR_INLINE_KEY)
        return strcmp(key, path) == 0;
    if (key[length] != '\0')
        return false;
    for (size_t at = 0; at + 8 <= length; at += 8) {
        memcpy(&a, key + at, 8);
        memcpy(&b, path + at, 8);
        if (a != b)
            return false;
    }
    memcpy(&a, key + length - 8, 8);
    memcpy(&b, path + length - 8, 8);
    return a == b;
}

/* A reference to the active entry of exactly this spelling, without a lock; NULL: look the long
 * way. */
static sockref *find_fast(sockref_registry *self, const char *path)
{
    size_t length = strlen(path);
    uint64_t hash = sr_hash_bytes(self->seed, path, length);
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;

    sr_table_begin(&self->table, (uint32_t)hash, &walk);
    while (sr_table_next(&walk, &kind, &index)) {
        sockref *entry = sr_slab_at(&self->slab, index);

        sr_prefetch_to_write(entry);
        if (kind != SR_TABLE_KEY || count_one(entry, hash) != COUNTED)
            continue;
        if (SR_LIKELY(is_key(entry, path, length)))
            return entry;
        sockref_release(entry); /* two paths of one hash */
    }
    return NULL;
}

/* What to do with an entry that was found under the mutex. */
enum found {
    FOUND_COUNTED,
    FOUND_REVIVED, /* out of LINGER */
    FOUND_DYING,   /* wait for its end, or take it for gone */
    FOUND_LIMIT,
};

static enum found count_found(sockref_registry *self, sockref *entry, bool create)
    SR_REQUIRES(self->mutex)
{
    uint64_t word = atomic_load(&entry->word);
    enum outcome outcome;

    switch (sr_word_state(word)) {
    case SR_GRACE:
        sr_remove_stop_delay(self, entry);
        sr_entry_change(entry, SR_LISTENING, 1);
        atomic_fetch_add(&self->active, 1);
        return FOUND_COUNTED;
    case SR_LINGER:
        if (!create)
            return FOUND_DYING;
        sr_entry_change(entry, SR_STARTING, 1);
        atomic_fetch_add(&self->active, 1);
        return FOUND_REVIVED;
    case SR_FRESH:
        if (!create)
            return FOUND_DYING;
        if (sr_word_count(word) >= self->max_references)
            return FOUND_LIMIT;
        sr_entry_change(entry, SR_STARTING, 1);
        atomic_fetch_add(&self->active, 1);
        return FOUND_COUNTED;
    default:
        outcome = count_one(entry, atomic_load_explicit(&entry->hash, memory_order_relaxed));
        return outcome == COUNTED ? FOUND_COUNTED : outcome == AT_LIMIT ? FOUND_LIMIT : FOUND_DYING;
    }
}

static int refuse_closed(const sockref_registry *self)
{
    if (atomic_load_explicit(&self->phase, memory_order_relaxed) == SR_OPEN)
        return 0;
    return sr_error_set(SOCKREF_ESHUTDOWN, NULL, "the registry is shut down");
}

/* One try, with the mutex held; SR_PARKED: it is on its way out, wait for a change. */
static int get_locked(sockref_registry *self, const struct sr_name *name, bool create,
                      sockref **out_ref) SR_REQUIRES(self->mutex)
{
    sockref *entry = sr_names_find_key(self, name);
    int status = refuse_closed(self);

    if (status < 0)
        return status;
    if (!entry && name->has_place) {
        entry = sr_names_find_place(self, name);
        if (entry && sr_word_is_active(atomic_load(&entry->word)))
            sr_names_add_alias(self, entry, name);
    }
    if (!entry && !create)
        return SOCKREF_ENOTFOUND;
    if (!entry) {
        status = sr_names_create(self, name, SR_NAMED, out_ref);
        if (status == 0)
            atomic_fetch_add(&self->active, 1);
        return status;
    }
    switch (count_found(self, entry, create)) {
    case FOUND_COUNTED:
        *out_ref = entry;
        return 0;
    case FOUND_REVIVED:
        *out_ref = entry;
        return REVIVED;
    case FOUND_LIMIT:
        return sr_registry_refuse_limit(self, name->path);
    default:
        return create ? SR_PARKED : SOCKREF_ENOTFOUND;
    }
}

static int get_waiting(sockref_registry *self, const struct sr_name *name, bool create,
                       sockref **out_ref)
{
    uint64_t deadline = SR_CLOCK_NEVER;
    int status, cancel = sr_thread_begin_uncancelled();

    sr_mutex_lock(&self->mutex);
    while ((status = get_locked(self, name, create, out_ref)) == SR_PARKED) {
        if (deadline == SR_CLOCK_NEVER)
            deadline =
                sr_clock_after_ms(sr_registry_option(self, NULL, SOCKREF_OPT_START_TIMEOUT_MS));
        if (!sr_clock_is_over(&deadline)) {
            sr_cond_wait(&self->changed, &self->mutex, deadline);
            continue;
        }
        status = sr_error_set(SOCKREF_ETIMEOUT, name->path,
                              "the name's last life was still being removed");
        break;
    }
    sr_mutex_unlock(&self->mutex);
    if (status == REVIVED) {
        sr_joint_revive(*out_ref);
        status = 0;
    }
    sr_thread_end_uncancelled(cancel);
    return status;
}

static int get(sockref_registry *self, const char *path, bool create, sockref **out_ref)
{
    struct sr_name name;
    int status = sr_name_init(&name, self, path);

    if (status == 0 && create && sr_tcp_draws_port(path)) {
        sr_name_clear(&name);
        status = sr_error_set(SOCKREF_EPATH, path,
                              "port 0 names nothing before it is listened on: give a port");
    }
    if (status < 0)
        return status;
    sr_name_locate(&name, self);
    status = get_waiting(self, &name, create, out_ref);
    if (status == SOCKREF_ENOTFOUND)
        sr_error_set(status, path, "the name is not active in this registry");
    sr_name_clear(&name);
    return status;
}

static bool is_unique(const sockref_registry *self)
{
    return sr_registry_option(self, NULL, SOCKREF_OPT_UNIQUE) != 0;
}

int sockref_registry_get_or_create(sockref_registry *self, const char *path, sockref **out_ref)
{
    char buffer[SR_PATH_MAX + 1];
    int status;
    sockref *ref;

    if (!out_ref)
        return sr_error_argument("out_ref is NULL");
    status = sr_registry_enter(&self);
    if (status == 0 && !path) {
        status = sr_registry_default_path(self, is_unique(self), buffer);
        path = buffer;
    }
    if (status < 0)
        return status;
    ref = find_fast(self, path);
    if (!ref)
        status = get(self, path, true, &ref);
    if (status == 0)
        *out_ref = ref;
    return status;
}

int sockref_registry_get_existing(sockref_registry *self, const char *path, sockref **out_ref)
{
    int status;
    sockref *ref;

    if (!path || !out_ref)
        return sr_error_argument("%s is NULL", path ? "out_ref" : "path");
    status = sr_registry_enter(&self);
    if (status < 0)
        return status;
    ref = find_fast(self, path);
    if (!ref)
        status = get(self, path, false, &ref);
    if (status == 0)
        *out_ref = ref;
    return status;
}

/* Whether exactly this spelling is active, without a lock or a count; -1: not sure. */
static int is_active_fast(const sockref_registry *self, const char *path)
{
    uint64_t hash = sr_hash_bytes(self->seed, path, strlen(path));
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;

    sr_table_begin(&self->table, (uint32_t)hash, &walk);
    while (sr_table_next(&walk, &kind, &index)) {
        const sockref *entry = sr_slab_at(&self->slab, index);
        uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire), again;

        if (kind == SR_TABLE_ALIAS)
            return -1;
        /* 64 bits of a hash with a secret key stand for the path. */
        if (kind != SR_TABLE_KEY ||
            atomic_load_explicit(&entry->hash, memory_order_acquire) != hash)
            continue;
        /* The hash is of the life that the word told of, or the entry was used anew meanwhile. A
         * free one has the generation of its last life still: the later word is the answer. */
        again = atomic_load_explicit(&entry->word, memory_order_relaxed);
        if (again >> SR_GENERATION_SHIFT != word >> SR_GENERATION_SHIFT)
            return -1;
        return sr_word_is_active(again);
    }
    return -1;
}

bool sockref_registry_is_socket_active(sockref_registry *self, const char *path)
{
    struct sr_name name;
    sockref *entry;
    bool active;
    int fast;

    if (!path || sr_registry_enter(&self) < 0)
        return false;
    fast = is_active_fast(self, path);
    if (fast >= 0)
        return fast > 0;
    if (atomic_load_explicit(&self->active, memory_order_relaxed) == 0 ||
        !sr_path_is_usable(path) || sr_name_init(&name, self, path) < 0)
        return false;
    sr_name_locate(&name, self);
    sr_mutex_lock(&self->mutex);
    entry = sr_names_find(self, &name);
    active = entry && sr_word_is_active(atomic_load(&entry->word));
    sr_mutex_unlock(&self->mutex);
    sr_name_clear(&name);
    return active;
}
