/* The inside of a registry, for the files of this floor alone. */
#ifndef SR_REF_STATE_H
#define SR_REF_STATE_H

#include "base/mutex.h"
#include "ref/entry.h"
#include "ref/options.h"
#include "ref/registry.h"
#include "ref/slab.h"
#include "ref/stats.h"
#include "ref/table.h"

enum sr_phase {
    SR_OPEN,
    SR_SHUTTING, /* shutdown waits for holders */
    SR_SHUT,     /* shut down, or freed by its owner: nothing new */
};

struct sockref_registry {
    struct sr_table table;
    struct sr_slab slab;
    uint64_t max_references;
    uint64_t seed; /* of the hashes of its names */
    /* Not 0 where calls must look closer: not open, the process is ending, or this is a forked
     * child. */
    atomic_bool is_barred;
    bool is_default;
    unsigned fork_generation;
    _Atomic int phase; /* enum sr_phase; written with the mutex held */
    struct sockref_options options;
    struct sr_settings settings; /* what holds for a call that sets nothing */

    _Alignas(SR_CACHE_LINE) struct sr_mutex mutex;
    struct sr_cond changed; /* an entry changed its state, or a pending count or an entry went */
    uint64_t changes;       /* goes up with each of these */
    struct sr_list waiters; /* struct sr_waiter */
    uint32_t entries;       /* in any state but FREE */
    uint32_t holds;         /* what keeps the memory: the owner, entries, pending, delays */
    uint32_t pending;       /* what drain waits for */
    char *default_path;     /* drawn at the first need */
    atomic_bool has_swept;  /* the directory of default names */
    _Atomic uint64_t active;
    _Atomic uint64_t retired_ns; /* when a served listener was last closed under its loop */
    struct sr_list node;         /* of the list of all registries, guarded by its mutex */
    struct sr_stats stats;
};

/* ---- registry.c ---- */

extern sockref_registry *_Atomic sr_registry_default;

/* The long way of sr_registry_enter(). */
int sr_registry_enter_slowly(sockref_registry **inout_registry);

/* NULL becomes the default one; refuse a forked or ending one. Returns 0 or a described status. */
static inline int sr_registry_enter(sockref_registry **inout_registry)
{
    sockref_registry *self = *inout_registry;

    if (!self)
        self = atomic_load_explicit(&sr_registry_default, memory_order_acquire);
    if (SR_UNLIKELY(!self || atomic_load_explicit(&self->is_barred, memory_order_relaxed)))
        return sr_registry_enter_slowly(inout_registry);
    *inout_registry = self;
    return 0;
}

void sr_registry_set_phase_locked(sockref_registry *self, enum sr_phase phase)
    SR_REQUIRES(self->mutex);
/* The same for what is still allowed after a shutdown. */
int sr_registry_enter_any(sockref_registry **inout_registry);
bool sr_registry_is_forked(const sockref_registry *self);
/* Keep the memory; with the mutex held. */
void sr_registry_hold_locked(sockref_registry *self) SR_REQUIRES(self->mutex);
/* Let go, unlock, and free a registry that nothing keeps any more: self may be gone afterwards. */
void sr_registry_unhold_unlock(sockref_registry *self) SR_RELEASES(self->mutex);
/*
 * Say that an entry changed: its waiters move to a list, to be woken by sr_registry_wake() once the
 * mutex is free. NULL wakes all waiters.
 */
void sr_registry_changed_locked(sockref_registry *self, const sockref *entry,
                                struct sr_list *out_woken) SR_REQUIRES(self->mutex);
void sr_registry_wake(struct sr_list *woken);
/* A name has as many references as one may have. Returns SOCKREF_ELIMIT, described. */
int sr_registry_refuse_limit(const sockref_registry *self, const char *path);
/* The path of a name that was given as NULL: copied into out, SR_PATH_MAX + 1 bytes. */
int sr_registry_default_path(sockref_registry *self, bool unique, char *out);

/* All registries, for those who visit them: fork, exit, live counts. */
extern struct sr_mutex sr_registry_list_mutex;
extern struct sr_list sr_registry_list SR_GUARDED_BY(sr_registry_list_mutex);
/* In a forked child: every registry there was is the parent's now. */
void sr_registry_forget_all(void);

/* ---- names.c: entries by name; all with the mutex held ---- */

/* A name as it is looked up: the folded key, its hash, and where its directory is, if that is
 * known. */
struct sr_name {
    const char *path; /* the caller's spelling */
    const char *key;  /* folded; path itself where there was nothing to fold */
    uint64_t hash;
    bool has_place;
    uint32_t place_hash; /* of these and the last component */
    uint64_t device, inode;
    char *buffer; /* of key, owned, or NULL */
};

/* Check and fold a path; give it back with sr_name_clear(). Returns 0 or a described status. */
int sr_name_init(struct sr_name *self, const sockref_registry *registry, const char *path);
void sr_name_clear(struct sr_name *self);
void sr_name_set_place(struct sr_name *self, const sockref_registry *registry, uint64_t device,
                       uint64_t inode);
/* Look where its directory is now; where that can't be told it stays known by its spelling alone.
 */
void sr_name_locate(struct sr_name *self, const sockref_registry *registry);

sockref *sr_names_find_key(sockref_registry *self, const struct sr_name *name)
    SR_REQUIRES(self->mutex);
/* By directory and leaf; name must have a place. */
sockref *sr_names_find_place(sockref_registry *self, const struct sr_name *name)
    SR_REQUIRES(self->mutex);
/* Whether two entries that are held, of whatever registries, are one file's or have one spelling.
 */
bool sr_names_are_one(const sockref *entry, const sockref *other);
/* By spelling, else by place where the name has one. */
sockref *sr_names_find(sockref_registry *self, const struct sr_name *name) SR_REQUIRES(self->mutex);
/* Have an entry known by one more spelling. Without memory it just stays unknown by it. */
void sr_names_add_alias(sockref_registry *self, sockref *entry, const struct sr_name *name)
    SR_REQUIRES(self->mutex);
/* Take a spelling from the entry that it led to, for its directory is another one now. */
void sr_names_drop_key(sockref_registry *self, sockref *entry, const struct sr_name *name)
    SR_REQUIRES(self->mutex);
/* Give an entry, known by its spelling alone so far, its place. Returns 0 or -ENOMEM. */
int sr_names_set_place(sockref_registry *self, sockref *entry, const struct sr_name *name)
    SR_REQUIRES(self->mutex);
/* A new entry with count 1. Returns 0, or a described SOCKREF_ELIMIT or -ENOMEM. */
int sr_names_create(sockref_registry *self, const struct sr_name *name, enum sr_state state,
                    sockref **out_entry) SR_REQUIRES(self->mutex);
/* One event less is on its way. */
void sr_names_told(sockref *entry);
/* Out of the index: nobody finds it any more. */
void sr_names_hide(sockref_registry *self, sockref *entry) SR_REQUIRES(self->mutex);
/* Hidden, with count 0: back to the slab, once no event of it is on its way; drops the entry's
 * hold. Its life is the caller's to give back. */
void sr_names_free_unlock(sockref_registry *self, sockref *entry, struct sr_list *woken)
    SR_RELEASES(self->mutex);
/* The entry's additions, made if need be; NULL: no memory. */
struct sr_entry_more *sr_names_more(sockref *entry);

/* ---- remove.c ---- */

/* The thread that took the count to 0 ends the life; word is what it left. */
void sr_remove_last(sockref *entry, uint64_t word);
/*
 * Revoke an entry that was just found, or remove one whose delay runs. Called with the mutex held,
 * leaves it free. Waits for a start of it until the deadline; 0, for names that nobody holds here:
 * waits for nothing. SOCKREF_ENOTFOUND: it is on its way out already.
 */
int sr_remove_revoke_unlock(sockref_registry *self, sockref *entry, uint64_t deadline)
    SR_RELEASES(self->mutex);
/* The process ends: remove files, or have another holder take them over; waits a second at most. */
void sr_remove_at_exit(void);
/* In a forked child: the parent's removals are not ours to wait for. */
void sr_remove_after_fork(void);
/*
 * A cleanup delay is over (the worker). The entry may have left it meanwhile; the delay's hold
 * keeps its memory, and is given back.
 */
void sr_remove_after_delay(sockref *entry);
/* Take an entry out of its delay, to be used again; with the mutex held. */
void sr_remove_stop_delay(sockref_registry *self, sockref *entry) SR_REQUIRES(self->mutex);

/*
 * End the life of an entry in REMOVING that no reference is left of, and free it. With others
 * holding the name it may go on as LINGER instead, and where it would have to wait the worker does
 * it: `wait` tells that this thread may. Returns 0 or a described status.
 */
int sr_remove_dying(sockref *entry, bool wait);
/* A life that nobody has seen ends: its files go, and its share. */
void sr_remove_unseen(struct sr_life *life);
/* The owner of a joined entry, in REMOVING with a count of ours, is gone. */
void sr_remove_lost(sockref *entry);

/* ---- stats.c ---- */

void sr_stats_count_locked(sockref_registry *self, enum sr_stat stat) SR_REQUIRES(self->mutex);
/* A life is closed or revoked; status: what the removal of its files came to. */
void sr_stats_end_removal_locked(sockref_registry *self, uint64_t took_ns, enum sr_stat end,
                                 int status) SR_REQUIRES(self->mutex);

/* ---- joint.c: what other holders of a name do ---- */

/* Wait for news of the owner; for a life that nobody can see yet. Returns 0 or a described status.
 */
int sr_joint_begin(struct sr_life *life);
/* Have the watch of an entry that listens, if it has one, told of the loss of its files. */
void sr_joint_attend(sockref *entry);
/* Do that no more. Any thread that has the right to change the entry. */
void sr_joint_end(struct sr_life *life);
/* The same in two steps: the first with the mutex held, the second (of NULL as well) without. */
struct sr_joint *sr_joint_take(struct sr_life *life);
void sr_joint_end_taken(struct sr_joint *self, struct sr_share *share);
/* Look now and then whether other holders are left. Returns 0 or a described status. */
int sr_joint_linger(struct sr_life *life);
/* Wanted again out of LINGER: from STARTING, with a count held, to LISTENING. */
void sr_joint_revive(sockref *entry);
/* What is left of the share goes: unlocked, closed, forgotten by the guard. */
void sr_joint_close(struct sr_life *life);
/* Take it, with the mutex held; the caller closes it. */
struct sr_share *sr_joint_take_share(struct sr_life *life);

/* ---- service.c ---- */

/* Take the service from a life that ends, to be stopped without locks; NULL if it is not served. */
struct sr_service *sr_service_take(sockref_registry *self, struct sr_life *life)
    SR_REQUIRES(self->mutex);

/* ---- watch.c ---- */

/* Have the watch of an entry told; with a count of the entry held. */
void sr_watch_notify(sockref *entry, int event);
/* It has nothing to tell any more: give back what it keeps for that. NULL does nothing. */
void sr_watch_rest(struct sr_watch *watch);
/* Detach the watch from an entry that ends: to be freed with sr_watch_release() without locks. */
void sr_watch_release(struct sr_watch *watch);

#endif
