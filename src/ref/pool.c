/*
 * Pools.
 *
 * A pool has a reference to each of its members, so an entry stays what it is while it is one, and
 * a pointer tells whether a name is a member already. Counting one more is a step of the entry's
 * word, which calls nobody: picking and adding do it with the mutex held. What may wait, call back
 * or remove files does not: listening comes before it, releasing after it.
 */
#include "base/error.h"
#include "base/mutex.h"
#include "base/sys.h"
#include "base/thread.h"
#include "name/path.h"
#include "name/tcp.h"
#include "ref/fork.h"
#include "ref/options.h"
#include "ref/state.h"

#include <sockref/pool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM  8
#define MOST_LISTEN 1024
#define NAME_ROOM   (SR_PATH_MAX + sizeof ".1023")

struct sockref_pool {
    unsigned generation;
    struct sr_mutex mutex; /* guards what follows */
    /* A forked child frees it without the mutex, whatever a thread of the parent was doing: it is
     * always the array to be freed. */
    sockref **_Atomic members;
    uint64_t room, count;
    uint64_t next; /* whose turn it is */
};

static bool is_foreign(const sockref_pool *self)
{
    return self->generation != atomic_load_explicit(&sr_fork_generation, memory_order_relaxed);
}

static int refuse_foreign(void)
{
    return sr_error_set(SOCKREF_EFORKED, NULL, "the pool belongs to the parent of this process");
}

int sockref_pool_new(sockref_pool **out_pool)
{
    sockref_pool *self;

    if (!out_pool)
        return sr_error_argument("out_pool is NULL");
    sr_fork_install();
    self = sr_sys.calloc(1, sizeof *self);
    if (!self)
        return sr_error_no_memory();
    self->generation = atomic_load(&sr_fork_generation);
    sr_mutex_init(&self->mutex);
    *out_pool = self;
    return 0;
}

/* In reverse order. What happens to them is no failure of the caller's. */
static void release_all(sockref *const *refs, uint64_t count)
{
    struct sr_error *error = sr_error_take();

    while (count > 0)
        sockref_release(refs[--count]);
    sr_error_free(sr_error_take());
    sr_error_give(error);
}

/* Nobody else uses it any more. */
static void free_pool(sockref_pool *self) SR_UNCHECKED
{
    sockref **members = atomic_load(&self->members);

    if (!is_foreign(self)) {
        release_all(members, self->count);
        sr_mutex_destroy(&self->mutex);
    }
    free(members);
    free(self);
}

void sockref_pool_free(sockref_pool *self)
{
    if (self)
        free_pool(self);
}

/* Where a member is; the count: it is none. */
static uint64_t find(const sockref_pool *self, const sockref *ref) SR_REQUIRES(self->mutex)
{
    sockref **members = atomic_load(&self->members);
    uint64_t at = 0;

    while (at < self->count && members[at] != ref)
        at++;
    return at;
}

static int refuse_member(const sockref *ref)
{
    return sr_error_set(SOCKREF_EEXISTS, sockref_path(ref), "the name is a member of the pool");
}

static int make_room(sockref_pool *self, uint64_t more) SR_REQUIRES(self->mutex)
{
    sockref **members = atomic_load(&self->members), **larger;
    uint64_t room = self->room ? self->room * 2 : FIRST_ROOM;

    if (self->count + more <= self->room)
        return 0;
    if (room < self->count + more)
        room = self->count + more;
    larger = sr_sys.malloc(room * sizeof *larger);
    if (!larger)
        return sr_error_no_memory();
    if (self->count > 0)
        memcpy(larger, members, self->count * sizeof *larger);
    atomic_store(&self->members, larger);
    self->room = room;
    free(members);
    return 0;
}

/* Where a revoked member is that had the same name; the count: there is none. */
static uint64_t find_past(const sockref_pool *self, const sockref *ref) SR_REQUIRES(self->mutex)
{
    sockref **members = atomic_load(&self->members);
    uint64_t at = 0;

    while (at < self->count &&
           (sockref_is_active(members[at]) || !sr_names_are_one(members[at], ref)))
        at++;
    return at;
}

/* Make references members, all or none. On success it takes them, and leaves those of revoked
 * members whose place they have taken, or NULL, for the caller to release. */
static int add_all(sockref_pool *self, sockref **inout_refs, uint64_t count)
    SR_REQUIRES(self->mutex)
{
    sockref **members, *past;
    uint64_t at;
    int status;

    for (uint64_t i = 0; i < count; i++)
        if (find(self, inout_refs[i]) < self->count)
            return refuse_member(inout_refs[i]);
    status = make_room(self, count);
    if (status < 0)
        return status;
    members = atomic_load(&self->members);
    for (uint64_t i = 0; i < count; i++) {
        at = find_past(self, inout_refs[i]);
        past = at < self->count ? members[at] : NULL;
        members[at] = inout_refs[i];
        if (!past)
            self->count++;
        inout_refs[i] = past;
    }
    return 0;
}

enum outcome { COUNTED, NOT_ACTIVE, AT_LIMIT };

/* One more reference to a name that the caller has one of, so it stays the name that it is. */
static enum outcome count_one(sockref *ref)
{
    uint64_t word = atomic_load_explicit(&ref->word, memory_order_acquire);

    do {
        if (!sr_word_is_active(word))
            return NOT_ACTIVE;
        if (sr_word_count(word) >= ref->registry->max_references)
            return AT_LIMIT;
    } while (!atomic_compare_exchange_weak_explicit(&ref->word, &word, word + 1,
                                                    memory_order_acquire, memory_order_acquire));
    return COUNTED;
}

static int acquire_active(sockref *ref)
{
    switch (count_one(ref)) {
    case COUNTED:
        return 0;
    case AT_LIMIT:
        return sr_registry_refuse_limit(ref->registry, sr_entry_path(ref));
    default:
        return sr_registry_refuse(ref, atomic_load(&ref->word) & SR_FORKED ? SOCKREF_EFORKED
                                                                           : SOCKREF_ECLOSED);
    }
}

static int refuse_if_member(sockref_pool *self, const sockref *ref)
{
    bool is_member;

    sr_mutex_lock(&self->mutex);
    is_member = find(self, ref) < self->count;
    sr_mutex_unlock(&self->mutex);
    return is_member ? refuse_member(ref) : 0;
}

int sockref_pool_add(sockref_pool *self, sockref *ref)
{
    int status;

    if (!self || !ref)
        return sr_error_argument("%s is NULL", self ? "the reference" : "the pool");
    if (is_foreign(self))
        return refuse_foreign();
    status = acquire_active(ref);
    if (status == SOCKREF_ELIMIT && refuse_if_member(self, ref) < 0)
        status = SOCKREF_EEXISTS; /* the pool's own reference may be the last that it may have */
    if (status < 0)
        return status;
    sr_mutex_lock(&self->mutex);
    status = add_all(self, &ref, 1);
    sr_mutex_unlock(&self->mutex);
    release_all(&ref, 1);
    return status;
}

/* Take a member out; who comes after it moves up, and the turn stays with whom it was. */
static sockref *take_out(sockref_pool *self, uint64_t at) SR_REQUIRES(self->mutex)
{
    sockref **members = atomic_load(&self->members), *member = members[at];

    self->count--;
    memmove(members + at, members + at + 1, (self->count - at) * sizeof *members);
    if (self->next > at)
        self->next--;
    return member;
}

int sockref_pool_remove(sockref_pool *self, const sockref *ref)
{
    sockref *member = NULL;
    uint64_t at;

    if (!self || !ref)
        return sr_error_argument("%s is NULL", self ? "the reference" : "the pool");
    if (is_foreign(self))
        return refuse_foreign();
    sr_mutex_lock(&self->mutex);
    at = find(self, ref);
    if (at < self->count)
        member = take_out(self, at);
    sr_mutex_unlock(&self->mutex);
    if (!member)
        return sr_error_set(SOCKREF_ENOTFOUND, sockref_path(ref),
                            "the name is no member of the pool");
    release_all(&member, 1);
    return 0;
}

/* ---- several at once ---- */

/* How the names of members come from the one that they have in common. */
struct series {
    const char *path; /* NULL: fresh names */
    int prefix;       /* of a TCP name: its bytes before the port */
    unsigned port;    /* the first; 0: none, or the system chooses */
};

/* The name of one member; NULL: a fresh one. */
static const char *write_name(const struct series *series, unsigned index, char out[NAME_ROOM])
{
    if (!series->path)
        return NULL;
    if (series->prefix > 0)
        snprintf(out, NAME_ROOM, "%.*s%u", series->prefix, series->path,
                 series->port ? series->port + index : 0);
    else
        snprintf(out, NAME_ROOM, "%s.%u", series->path, index);
    return out;
}

/* Refuse what can't be named before anything is started. */
static int read_series(const char *path, unsigned count, struct series *out)
{
    struct series series = {.path = path};
    char longest[NAME_ROOM];
    struct sr_tcp tcp;
    int status = path ? sr_path_check(path) : 0;

    if (status == 0 && path && sr_tcp_is_name(path)) {
        (void)sr_tcp_parse(path, &tcp); /* it was checked */
        series.prefix = (int)(strrchr(path, ':') + 1 - path);
        series.port = tcp.port;
        if (series.port && series.port + (count - 1) > UINT16_MAX)
            status = sr_error_set(SOCKREF_EPATH, path,
                                  "there are no %u ports from this one to 65535", count);
    } else if (status == 0 && path) {
        status = sr_path_check(write_name(&series, count - 1, longest));
    }
    *out = series;
    return status;
}

/* Start or join one after the other; on failure *out_started tells how many there are, of which the
 * last may be a member. */
static int listen_all(sockref_pool *self, sockref_registry *registry, const struct series *series,
                      unsigned count, const sockref_options *options, sockref **out_refs,
                      unsigned *out_started)
{
    char name[NAME_ROOM];
    int status = 0;

    *out_started = 0;
    for (unsigned i = 0; i < count && status == 0; i++) {
        status =
            sockref_registry_listen(registry, write_name(series, i, name), options, &out_refs[i]);
        if (status < 0)
            break;
        *out_started = i + 1;
        status = refuse_if_member(self, out_refs[i]);
    }
    return status;
}

static int listen_and_add(sockref_pool *self, sockref_registry *registry,
                          const struct series *series, unsigned count,
                          const sockref_options *options)
{
    sockref **refs = sr_sys.malloc(count * sizeof(sockref *));
    unsigned started;
    int status;

    if (!refs)
        return sr_error_no_memory();
    status = listen_all(self, registry, series, count, options, refs, &started);
    if (status == 0) {
        sr_mutex_lock(&self->mutex);
        status = add_all(self, refs, count);
        sr_mutex_unlock(&self->mutex);
    }
    release_all(refs, started);
    free(refs);
    return status;
}

int sockref_pool_listen(sockref_pool *self, sockref_registry *registry, const char *path,
                        unsigned count, const sockref_options *options)
{
    sockref_options each = {0};
    struct series series;
    int status, cancel;

    if (!self)
        return sr_error_argument("the pool is NULL");
    if (count < 1 || count > MOST_LISTEN)
        return sr_error_argument("a pool starts from 1 to %d names at once, not %u", MOST_LISTEN,
                                 count);
    if (is_foreign(self))
        return refuse_foreign();
    status = read_series(path, count, &series);
    if (status < 0)
        return status;
    if (options)
        each = *options; /* what it points to stays the caller's */
    if (!path) {
        each.set |= 1u << SOCKREF_OPT_UNIQUE;
        each.values[SOCKREF_OPT_UNIQUE] = 1;
    }
    cancel = sr_thread_begin_uncancelled();
    status = listen_and_add(self, registry, &series, count, &each);
    sr_thread_end_uncancelled(cancel);
    return status;
}

/* ---- picking ---- */

/* The member to be tried next, and what stands in the way of all where there is none. */
static uint64_t choose(const sockref_pool *self, int policy, int *out_obstacle)
    SR_REQUIRES(self->mutex)
{
    sockref **members = atomic_load(&self->members);
    uint64_t chosen = self->count, fewest = UINT64_MAX;

    *out_obstacle = SOCKREF_ENOTFOUND;
    for (uint64_t i = 0; i < self->count; i++) {
        uint64_t at = (self->next + i) % self->count;
        uint64_t word = atomic_load_explicit(&members[at]->word, memory_order_relaxed);

        if (!sr_word_is_active(word))
            continue;
        *out_obstacle = SOCKREF_ELIMIT;
        if (sr_word_count(word) >= members[at]->registry->max_references ||
            sr_word_count(word) >= fewest)
            continue;
        chosen = at;
        fewest = sr_word_count(word);
        if (policy == SOCKREF_POOL_ROUND_ROBIN)
            break;
    }
    return chosen;
}

/* Where another thread is faster with the last reference that the chosen one may have, or the name
 * ends just now, another one is chosen. */
static int pick(sockref_pool *self, int policy, sockref **out_ref) SR_REQUIRES(self->mutex)
{
    sockref *member;
    uint64_t chosen;
    int obstacle;

    do {
        chosen = choose(self, policy, &obstacle);
        if (chosen == self->count)
            return obstacle;
        member = atomic_load(&self->members)[chosen];
    } while (count_one(member) != COUNTED);
    self->next = chosen + 1;
    *out_ref = member;
    return 0;
}

int sockref_pool_pick(sockref_pool *self, int policy, sockref **out_ref)
{
    int status;

    if (!self || !out_ref)
        return sr_error_argument("%s is NULL", self ? "out_ref" : "the pool");
    if (policy != SOCKREF_POOL_ROUND_ROBIN && policy != SOCKREF_POOL_LEAST_REFERENCES)
        return sr_error_argument("%d is no policy of picking", policy);
    if (is_foreign(self))
        return refuse_foreign();
    sr_mutex_lock(&self->mutex);
    status = pick(self, policy, out_ref);
    sr_mutex_unlock(&self->mutex);
    if (status == SOCKREF_ENOTFOUND)
        return sr_error_set(status, NULL, "no member of the pool is active");
    if (status == SOCKREF_ELIMIT)
        return sr_error_set(status, NULL,
                            "every active member of the pool has as many references as it may "
                            "have: release one, or raise the limit");
    return status;
}

uint64_t sockref_pool_size(const sockref_pool *self)
{
    sockref_pool *pool = (sockref_pool *)(uintptr_t)self; /* its mutex is taken */
    uint64_t count;

    if (!self || is_foreign(self))
        return 0;
    sr_mutex_lock(&pool->mutex);
    count = pool->count;
    sr_mutex_unlock(&pool->mutex);
    return count;
}
