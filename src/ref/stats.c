/* What a registry, and one name of it, have counted. */
#include "ref/stats.h"

#include "base/clock.h"
#include "base/error.h"
#include "ref/state.h"

#include <string.h>

void sr_stats_count_locked(sockref_registry *self, enum sr_stat stat)
{
    sr_tally_add(&self->stats.values[stat], 1);
}

void sr_stats_count_failed(sockref_registry *self)
{
    sr_tally_add_shared(&self->stats.values[SR_STAT_FAILED], 1);
}

void sr_stats_begin_removal(struct sr_life *life)
{
    life->ending_ns = sr_clock_ns();
}

uint64_t sr_stats_removal_took(const struct sr_life *life)
{
    return sr_clock_ns() - life->ending_ns;
}

void sr_stats_end_removal_locked(sockref_registry *self, uint64_t took_ns, enum sr_stat end,
                                 int status)
{
    struct sr_stats *stats = &self->stats;

    sr_histogram_note(&stats->removal, took_ns);
    if (status < 0)
        atomic_store_explicit(&stats->last_remove_status, status, memory_order_relaxed);
    sr_stats_count_locked(self, status < 0 ? SR_STAT_REMOVE_FAILED : SR_STAT_REMOVED);
    sr_stats_count_locked(self, end);
}

int sr_stats_read(sockref_registry **inout_registry, sockref_registry_stats *out_stats)
{
    int status = sr_registry_enter_any(inout_registry);
    const struct sr_stats *stats;

    if (status < 0)
        return status;
    stats = &(*inout_registry)->stats;
    *out_stats = (sockref_registry_stats){
        .size = sizeof *out_stats,
        .created = sr_tally_read(&stats->values[SR_STAT_CREATED]),
        .joined = sr_tally_read(&stats->values[SR_STAT_JOINED]),
        .reused = sr_tally_read(&stats->values[SR_STAT_REUSED]),
        .failed = sr_tally_read(&stats->values[SR_STAT_FAILED]),
        .closed = sr_tally_read(&stats->values[SR_STAT_CLOSED]),
        .revoked = sr_tally_read(&stats->values[SR_STAT_REVOKED]),
        .removed = sr_tally_read(&stats->values[SR_STAT_REMOVED]),
        .remove_failed = sr_tally_read(&stats->values[SR_STAT_REMOVE_FAILED]),
        .deferred = sr_tally_read(&stats->values[SR_STAT_DEFERRED]),
        .last_remove_status =
            atomic_load_explicit(&stats->last_remove_status, memory_order_relaxed),
    };
    sr_histogram_read(&stats->removal, &out_stats->removal);
    return 0;
}

int sockref_registry_get_stats(sockref_registry *self, sockref_registry_stats *out_stats)
{
    sockref_registry_stats stats;
    int status;

    if (!out_stats)
        return sr_error_argument("out_stats is NULL");
    status = sr_error_check_size(out_stats->size, sizeof stats);
    if (status == 0)
        status = sr_stats_read(&self, &stats);
    if (status < 0)
        return status;
    stats.size = out_stats->size;
    memcpy(out_stats, &stats, stats.size);
    return 0;
}

static void read_life(struct sr_life *life, void *arg)
{
    if (life->service)
        life->service->tell(life->service, arg);
}

int sockref_get_stats(const sockref *self, sockref_stats *out_stats)
{
    sockref_stats stats = {0};
    int status;

    if (!self || !out_stats)
        return sr_error_argument("%s is NULL", self ? "out_stats" : "the reference");
    status = sr_error_check_size(out_stats->size, sizeof stats);
    if (status < 0)
        return status;
    status = sr_registry_visit(self, read_life, &stats);
    if (status == SOCKREF_EFORKED)
        return sr_registry_refuse(self, status);
    stats.references = sockref_reference_count(self);
    stats.size = out_stats->size;
    memcpy(out_stats, &stats, stats.size);
    return 0;
}

/* Returns false where the entry is in no use any more. */
static bool read_name(const sockref *entry, struct sr_name_stats *out)
    SR_REQUIRES(entry->registry->mutex)
{
    uint64_t word = atomic_load(&entry->word);

    if (!entry->rest->in_table || !sr_word_is_active(word))
        return false;
    strcpy(out->path, sr_entry_path(entry));
    out->stats = (sockref_stats){.size = sizeof out->stats, .references = sr_word_count(word)};
    if (sr_word_listens(word))
        read_life(entry->rest->life, &out->stats);
    return true;
}

bool sr_stats_next_name(sockref_registry *self, uint32_t *inout_index, struct sr_name_stats *out)
{
    bool found = false;

    while (!found && *inout_index < atomic_load(&self->slab.made)) {
        const sockref *entry = sr_slab_at(&self->slab, (*inout_index)++);

        if (!sr_word_is_active(atomic_load_explicit(&entry->word, memory_order_relaxed)))
            continue;
        sr_mutex_lock(&entry->registry->mutex);
        found = read_name(entry, out);
        sr_mutex_unlock(&entry->registry->mutex);
    }
    return found;
}
