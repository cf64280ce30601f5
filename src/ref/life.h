/*
 * The life of a bound name: its listening descriptor, where its file stands, and who serves it.
 *
 * A life is counted: its entry holds one count, a service that accepts from it another. The
 * descriptor is closed with the last of them; the file has been removed by the entry before.
 */
#ifndef SR_REF_LIFE_H
#define SR_REF_LIFE_H

#include "base/list.h"
#include "name/share.h"
#include "name/sockfile.h"
#include "ref/cleanup.h"

#include <sockref/stats.h>
#include <stdatomic.h>

/*
 * Something of a higher floor that serves a listener. While it is attached it holds one count of
 * the life. stop is called at most once, by whoever ends the life (last release or revocation), on
 * any thread, with no lock held;  it must not block, and when it returns no kernel object refers to
 * the socket on the service's behalf, so that the socket can be closed under its number. From then
 * on the service is detached: it may use the life, which it still counts, to take the descriptor
 * out of its loop, and gives its count back with sr_life_release().
 */
struct sr_service {
    void (*stop)(struct sr_service *self);
    /*
     * The socket whose number is `at` goes on under it as another one, which this takes; or, with a
     * status, as it was. Any thread, with the registry's mutex held, so that it stays attached
     * meanwhile.
     */
    int (*move)(struct sr_service *self, int fd, int at);
    /* These with the registry's mutex held as well: how many connections there are; all that is
     * counted, references excepted; the life's limit of connections has changed; and whether it
     * takes connections now, their limit apart. */
    uint64_t (*count)(const struct sr_service *self);
    void (*tell)(const struct sr_service *self, sockref_stats *out_stats);
    void (*limit)(struct sr_service *self);
    bool (*accepts)(struct sr_service *self);
};

struct sr_kept;

/* What became of the socket. One that is only bound may become either. */
enum sr_role { SR_ROLE_LISTENER, SR_ROLE_BOUND, SR_ROLE_CONNECTED };

struct sr_life {
    _Atomic uint32_t count;
    int backlog;
    struct sr_sockfile file;          /* fd, directory, identity */
    _Atomic uint64_t max_connections; /* 0: no limit */
    uint64_t max_buffered;
    sockref_registry *registry; /* alive while the life is attached to an entry or a service */
    struct sr_service *service; /* guarded by the registry's mutex */

    /* Of a name that stands in a directory. */
    struct sr_share *share; /* in the same block; NULL when it is over: taken with the mutex held */
    sockref *entry;         /* guarded by the mutex; NULL: not yet, or no more */
    struct sr_joint *joint; /* guarded by the mutex; waits for what other holders do, or NULL */
    struct sr_kept *kept;   /* a joiner's handlers, for when it owns the name; or NULL */
    enum sr_role role;      /* guarded by the mutex */
    bool hands_over;        /* may pass the listener on at its end */
    struct sr_deadline deferred; /* a removal that has to wait */
    uint64_t ending_ns;          /* when its removal began; of who has the right to the entry */
};

void sr_life_acquire(struct sr_life *self);
void sr_life_release(struct sr_life *self);

#endif
