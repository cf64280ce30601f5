/* The reference itself: one atomic operation each, but for the last release. */
#include "base/error.h"
#include "base/log.h"
#include "ref/fork.h"
#include "ref/state.h"

#include <errno.h>

/* Where an acquire may not just count: a forked child, or the limit. */
static sockref *refuse_acquire(sockref *self, uint64_t before)
{
    atomic_fetch_sub_explicit(&self->word, 1, memory_order_relaxed);
    if (before & SR_FORKED)
        sr_error_set(SOCKREF_EFORKED, sr_entry_path(self),
                     "the reference belongs to the parent process");
    else
        sr_error_set(SOCKREF_ELIMIT, sr_entry_path(self),
                     "the name has %llu references, its limit: release one, or raise the limit",
                     (unsigned long long)self->registry->max_references);
    return NULL;
}

sockref *sockref_acquire(sockref *self)
{
    uint64_t before;

    if (!self) {
        sr_error_argument("the reference is NULL");
        return NULL;
    }
    before = atomic_fetch_add_explicit(&self->word, 1, memory_order_relaxed);
    /* The bit of a fork stands above the count, so one comparison sees both. */
    if (SR_UNLIKELY((before & (SR_COUNT_MASK | SR_FORKED)) >= self->registry->max_references))
        return refuse_acquire(self, before);
    return self;
}

void sockref_release(sockref *self)
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
    if (sr_word_state(word) == SR_LISTENING || sr_word_state(word) == SR_REMOVING ||
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

    return sr_word_is_active(word) && sr_word_state(word) == SR_LISTENING;
}

uint64_t sockref_reference_count(const sockref *self)
{
    return self ? sr_word_count(read_word(self)) : 0;
}

uint64_t sockref_holder_count(const sockref *self)
{
    return sockref_is_active(self) ? 1 : 0;
}
