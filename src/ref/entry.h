/*
 * An entry: what a registry knows of one name; a pointer to it is a reference (struct sockref).
 *
 * Count and state are one atomic word, so "from none to one while dying" cannot be:
 *
 *     bits 0-35 count | 36 forked | 37-40 state | 41 low limit | 42-63 generation
 *
 *     FREE      not in use; on the registry's free list
 *     NAMED     counted, nothing bound                              active
 *     FRESH     a start is under way on a name that nobody holds
 *     STARTING  a start is under way on a name that is held; or a revival, out of LINGER  active
 *     LISTENING bound and listening                                 active
 *     JOINED    another registry, of this process or another one, listens  active
 *     TURNING   what was joined is being looked at: the owner has gone, or hands the name on
 *     MENDING   listening, while files of it that somebody has removed are made again      active
 *     GRACE     count 0, the cleanup delay runs
 *     LINGER    count 0, but others hold the name: it listens until the last of them goes
 *     REMOVING  somebody removes it; its name stays taken meanwhile
 *     REVOKED   taken out of the registry; handles are left
 *
 * Who moves between them. FRESH, STARTING and REMOVING have one thread that has the right to change
 * the entry and holds one count of it (a removal by the last release: none); all others wait, or
 * look elsewhere. TURNING and MENDING are the service thread's, which holds no count: references
 * come and go meanwhile, and if none is left it ends the life. Whoever takes the count to 0 in
 * NAMED, LISTENING, JOINED or REVOKED has the duty to end the life; nobody else touches an entry of
 * these states with count 0, and no count is ever added to it. GRACE ends by the worker, LINGER by
 * the service thread, or both by whoever wants the name again; all decide under the registry's
 * mutex.
 *
 * Adding to a count that is not 0 in an active state needs no lock, everything else is done with
 * the registry's mutex held, but for the file calls of a start or removal, which run with no lock.
 * Entries stay in memory until their registry goes, so a reader that comes too late still reads an
 * entry: a FREE one, or one of a later life.
 */
#ifndef SR_REF_ENTRY_H
#define SR_REF_ENTRY_H

#include "base/attr.h"
#include "base/list.h"
#include "ref/cleanup.h"
#include "ref/life.h"

#include <sockref/sockref.h>
#include <stdatomic.h>
#include <stdint.h>

enum sr_state {
    SR_FREE,
    SR_NAMED,
    SR_FRESH,
    SR_STARTING,
    SR_LISTENING,
    SR_GRACE,
    SR_REMOVING,
    SR_REVOKED,
    SR_JOINED,
    SR_TURNING,
    SR_LINGER,
    SR_MENDING,
};

#define SR_COUNT_MASK       (((uint64_t)1 << 36) - 1)
#define SR_FORKED           ((uint64_t)1 << 36)
#define SR_STATE_SHIFT      37
#define SR_STATE_MASK       ((uint64_t)15 << SR_STATE_SHIFT)
#define SR_LOW_LIMIT        ((uint64_t)1 << 41) /* the limit of references is below SR_FEW */
#define SR_GENERATION_SHIFT 42

/* Where none of these bits is set, an acquire need not know the limit: the count is below SR_FEW,
 * and the limit is not. */
#define SR_FEW         65536u
#define SR_LOOK_CLOSER ((SR_COUNT_MASK & ~(uint64_t)(SR_FEW - 1)) | SR_FORKED | SR_LOW_LIMIT)

#define SR_INLINE_KEY 31 /* longest key that is kept in the entry itself */

/* Another spelling of the name, valid for this life. */
struct sr_alias {
    struct sr_alias *next;
    uint32_t hash;
    char path[];
};

struct sr_watch;

/* What most entries never have. */
struct sr_entry_more {
    char *display; /* the caller's spelling, where it is not the key */
    struct sr_alias *aliases;
    struct sr_watch *watch;
    struct sr_deadline deadline; /* delay_ms is 0 where no cleanup delay was asked for */
};

/* What few operations look at; beside the entry, so that a lookup touches one cache line of it. */
struct sr_entry_rest {
    struct sr_life *life;               /* set before LISTENING is seen, until the last release */
    struct sr_entry_more *_Atomic more; /* or NULL; written with the mutex held, read without */
    uint64_t device, inode;             /* of the directory, where has_place */
    uint32_t place_hash;
    uint32_t index;     /* in the slab */
    uint32_t next_free; /* index + 1 */
    uint32_t told;      /* events on their way to the watch; guarded by the mutex */
    bool has_place;
    bool in_table;
    bool is_left; /* freed, but not to be used again before those events have come */
};

/* One cache line: all that a lookup, an acquire and a release need. */
struct sockref {
    _Alignas(SR_CACHE_LINE) _Atomic uint64_t word;
    sockref_registry *registry;
    _Atomic uint64_t hash; /* of the key */
    struct sr_entry_rest *rest;
    union {
        char text[SR_INLINE_KEY + 1]; /* a last byte that is not 0 says: it is the pointer */
        char *heap;
    } key;
};

_Static_assert(sizeof(struct sockref) == SR_CACHE_LINE, "an entry is one cache line");

static inline enum sr_state sr_word_state(uint64_t word)
{
    return (enum sr_state)((word & SR_STATE_MASK) >> SR_STATE_SHIFT);
}

static inline uint64_t sr_word_count(uint64_t word)
{
    return word & SR_COUNT_MASK;
}

static inline uint64_t sr_word_with_state(uint64_t word, enum sr_state state)
{
    return (word & ~SR_STATE_MASK) | (uint64_t)state << SR_STATE_SHIFT;
}

/* Active: counted by somebody, and not revoked, forked away or on its way out. */
static inline bool sr_word_is_active(uint64_t word)
{
    const unsigned active = 1u << SR_NAMED | 1u << SR_STARTING | 1u << SR_LISTENING |
                            1u << SR_JOINED | 1u << SR_TURNING | 1u << SR_MENDING;

    return sr_word_count(word) > 0 && !(word & SR_FORKED) && (active >> sr_word_state(word) & 1);
}

/* Whether this registry has the listener, and its name. */
static inline bool sr_word_listens(uint64_t word)
{
    return sr_word_state(word) == SR_LISTENING || sr_word_state(word) == SR_MENDING;
}

static inline const char *sr_entry_key(const sockref *entry)
{
    return entry->key.text[SR_INLINE_KEY] ? entry->key.heap : entry->key.text;
}

static inline const char *sr_entry_path(const sockref *entry)
{
    const struct sr_entry_more *more = entry->rest->more;

    return more && more->display ? more->display : sr_entry_key(entry);
}

/* Move to another state and add to the count in one step, whatever the count is. Returns the word
 * after. */
uint64_t sr_entry_change(sockref *entry, enum sr_state state, int64_t add);

#endif
