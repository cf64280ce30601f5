/*
 * What the net floor does for the ref floor, which knows nothing of it: that floor defines the
 * table.
 */
#ifndef SR_REF_HOOKS_H
#define SR_REF_HOOKS_H

#include "base/list.h"
#include "ref/fdwatch.h"
#include "ref/options.h"
#include "ref/registry.h"

struct sr_notice; /* of the net floor */

struct sr_hooks {
    /*
     * Make the service that options ask for (options->net) and attach it to a life (set
     * life->service, acquire the life). Returns 0 or a described status. Called by the thread that
     * starts, with no lock held; that thread then does one of the next two, once.
     */
    int (*serve)(const sockref_options *options, struct sr_life *life,
                 struct sr_service **out_service);
    /* Begin to accept. Where the loop has been freed meanwhile on_stop comes here and now. */
    void (*serve_begin)(struct sr_service *service, struct sr_life *life);
    /* Take it back: nobody has seen the life. None of its handlers is called. */
    void (*serve_retract)(struct sr_service *service, struct sr_life *life);
    /* A start with handlers ends without a service of its own: have on_stop called on the options'
     * loop. */
    void (*serve_unused)(const sockref_options *options);
    /*
     * Keep the handlers and the loop of options, which a joiner gave, for when it owns the name.
     * Returns 0 or a described status. Who keeps them does one of the next three, once.
     */
    int (*kept_make)(const sockref_options *options, struct sr_kept **out_kept);
    /* As serve, with them: serve_begin is to follow. Returns 0 and has taken them, or a described
     * status, after which they are to be dropped. */
    int (*kept_serve)(struct sr_kept *kept, struct sr_life *life, struct sr_service **out_service);
    /* There is nothing to serve any more: on_stop, unless their loop was freed and told it. Where
     * their loop can't be reached it comes inside this call, and serve_begin may call it so too. */
    void (*kept_drop)(struct sr_kept *kept);
    /* The start fails: only the memory goes. */
    void (*kept_forget)(struct sr_kept *kept);
    /* The registry ends: every start of it that is under way gets SOCKREF_ECANCELED before this
     * returns. */
    void (*cancel_starts)(sockref_registry *registry);
    /*
     * Have all that notify needs, so that it can't fail: memory, and a place in the service loop,
     * whose thread goes on as long as one is kept. Returns NULL where there is no memory. Where the
     * thread can't be had notify tries again.
     */
    struct sr_notice *(*notice_reserve)(void);
    /* Give back what was not used; NULL does nothing. Never blocks, so the registry's mutex may be
     * held. */
    void (*notice_unreserve)(struct sr_notice *notice);
    /*
     * Have fn(ref, event, user) called on the service thread, by what was reserved for it, which is
     * used up, or NULL. Returns 0 or -errno.
     */
    int (*notify)(struct sr_notice *notice, sockref *ref, int event, sockref_watch_fn fn,
                  void *user);
    /* Wait until no thread of the net floor is ending. Returns 0 or -ETIMEDOUT. */
    int (*drain)(uint64_t deadline_ns);
    /* Whether this thread runs a callback of a loop now. */
    bool (*in_callback)(void);
    /*
     * Begin to watch a descriptor on the service thread, which goes on as long as one is watched.
     * Returns 0 or a described status: then nothing is kept and ended() never comes. Called with no
     * lock held.
     */
    int (*fdwatch_begin)(struct sr_fdwatch *watch);
    /*
     * End it, at most once for each begin that succeeded; any thread. Never blocks and never fails,
     * so the registry's mutex may be held. ended() comes exactly once, never inside this call; in a
     * forked child, for what the parent began, neither it nor ready() comes. Called on the service
     * thread, ready() does not begin any more; elsewhere it may be under way or begin once more.
     */
    void (*fdwatch_end)(struct sr_fdwatch *watch);
    /* Change every_ms, and begin to count it now; only inside ready(). */
    void (*fdwatch_every)(struct sr_fdwatch *watch, unsigned every_ms);
    /* Add connection handles and queued buffers. */
    void (*count)(uint64_t *inout_handles, uint64_t *inout_buffers);
    /* In a forked child, after its descriptors are closed: threads and loops of the parent are
     * gone. */
    void (*after_fork_in_child)(void);
};

extern struct sr_hooks sr_hooks;

#endif
