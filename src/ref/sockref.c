/* The reference itself: one atomic operation each, but for the last release. */
#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "ref/fork.h"
#include "ref/state.h"

#include <errno.h>

SR_COLD static sockref *refuse_null(void)
{
    sr_error_argument("the reference is NULL");
    return NULL;
}

/* Where an acquire may not just count: a forked child, or a limit that may be near. */
SR_COLD static sockref *acquire_slowly(sockref *self, uint64_t before)
{
    /* The bit of a fork stands above the count, so one comparison sees both. */
    if ((before & (SR_COUNT_MASK | SR_FORKED)) < self->registry->max_references)
        return self;
    atomic_fetch_sub_explicit(&self->word, 1, memory_order_relaxed);
    if (before & SR_FORKED)
        sr_error_set(SOCKREF_EFORKED, sr_entry_path(self),
                     "the reference belongs to the parent process");
    else
        sr_registry_refuse_limit(self->registry, sr_entry_path(self));
    return NULL;
}

SR_HOT sockref *sockref_acquire(sockref *self)
{
    uint64_t before;

    if (!self)
        return refuse_null();
    before = atomic_fetch_add_explicit(&self->word, 1, memory_order_relaxed);
    /* Only constants are compared: a load after the addition would wait for it. */
    if (SR_UNLIKELY(before & SR_LOOK_CLOSER))
        return acquire_slowly(self, before);
    return self;
}

SR_HOT void sockref_release(sockref *self)
{
    uint64_t before;

    if (!self)
        return;
    before = atomic_fetch_sub_explicit(&self->word, 1, memory_order_release);
    if (SR_LIKELY(sr_word_count(before) > 1))
        return;
    if (sr_word_count(before) == 0) {
        atomic_fetch_add(&self->word, 1);
        sr_log(SR_LOG_CLEANUP_FAILED, SOCKREF_LOG_ERROR, -EINVAL, NULL,
               "a reference was released more often than it was acquired");
        return;
    }
    /* An acquiring load serves as the fence, and the thread sanitizer understands it. */
    (void)atomic_load_explicit(&self->word, memory_order_acquire);
    sr_remove_last(self, before - 1);
}

const char *sockref_path(const sockref *self)
{
    return self ? sr_entry_path(self) : NULL;
}

static uint64_t read_word(const sockref *self)
{
    return atomic_load_explicit(&self->word, memory_order_acquire);
}

int sockref_fd(const sockref *self)
{
    const struct sr_life *life = NULL;
    uint64_t word;

    if (!self)
        return -1;
    word = read_word(self);
    if (word & SR_FORKED)
        return -1;
    if (sr_word_listens(word) || sr_word_state(word) == SR_REMOVING ||
        sr_word_state(word) == SR_REVOKED)
        life = self->rest->life;
    return life ? life->file.fd : -1;
}

bool sockref_is_active(const sockref *self)
{
    return self && sr_word_is_active(read_word(self));
}

bool sockref_is_owner(const sockref *self)
{
    uint64_t word = self ? read_word(self) : 0;

    return sr_word_is_active(word) && sr_word_listens(word);
}

uint64_t sockref_reference_count(const sockref *self)
{
    return self ? sr_word_count(read_word(self)) : 0;
}

/* A duplicate of the lock file's descriptor, with the same locks; -1 where there is none. */
static int borrow_lock(const sockref *self)
{
    const struct sr_life *life;
    int fd = -1;

    sr_mutex_lock(&self->registry->mutex);
    life = self->rest->life;
    if (life && life->share && sr_share_is_shared(life->share))
        fd = sr_fd_duplicate(life->share->lock.fd);
    sr_mutex_unlock(&self->registry->mutex);
    return fd < 0 ? -1 : fd;
}

uint64_t sockref_holder_count(const sockref *self)
{
    struct sr_lockfile lock = {.fd = -1};
    uint64_t others = 0;
    int cancel;

    if (!sockref_is_active(self))
        return 0;
    cancel = sr_thread_begin_uncancelled();
    lock.fd = borrow_lock(self);
    if (lock.fd >= 0)
        (void)sr_lockfile_count_slots(&lock, SR_COUNTING_NS, &others);
    sr_fd_close(lock.fd);
    sr_thread_end_uncancelled(cancel);
    return others + 1;
}
