/*
 * All that is counted as OpenMetrics text, version 1.0.
 *
 * The samples of a family stand together, so what the names tell is read into memory first, each
 * under the registry's mutex by itself; the text is made with no lock held.
 */
#include "base/error.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "ref/registry.h"
#include "ref/stats.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_OF_SECOND   1000000000u
#define REPLACEMENT    "\xef\xbf\xbd" /* U+FFFD, for a byte that is no UTF-8 */
#define MOST_OF_A_BYTE 3              /* what one byte of a path becomes in a label */
#define FIRST_ROWS     64u

/* The bounds of a histogram's buckets in seconds. */
static const char *const bounds[SOCKREF_HISTOGRAM_BUCKETS] = {
    "1e-06",    "4e-06",    "1.6e-05",  "6.4e-05",  "0.000256", "0.001024",  "0.004096",
    "0.016384", "0.065536", "0.262144", "1.048576", "4.194304", "16.777216", "67.108864",
};

/* ---- the text ---- */

struct text {
    char *to;
    size_t room;
    uint64_t length; /* of all, whether there was room or not */
};

static void put(struct text *self, const char *piece)
{
    size_t length = strlen(piece), fits = 0;

    if (self->length + 1 < self->room) {
        fits = self->room - 1 - (size_t)self->length;
        if (fits > length)
            fits = length;
        memcpy(self->to + self->length, piece, fits);
    }
    self->length += length;
}

static void put_count(struct text *self, uint64_t value)
{
    char digits[24];

    snprintf(digits, sizeof digits, "%" PRIu64, value);
    put(self, digits);
}

/* The decimal point is the same in every locale. */
static void put_seconds(struct text *self, uint64_t ns)
{
    char digits[40];

    snprintf(digits, sizeof digits, "%" PRIu64 ".%09" PRIu64, ns / NS_OF_SECOND, ns % NS_OF_SECOND);
    put(self, digits);
}

static void end_sample(struct text *self)
{
    put(self, "\n");
}

enum unit { NONE, BYTES, SECONDS };

struct family {
    const char *name, *type;
    enum unit unit;
    const char *help;
};

static void put_family(struct text *self, const struct family *family)
{
    static const char *const units[] = {[BYTES] = "bytes", [SECONDS] = "seconds"};

    put(self, "# TYPE ");
    put(self, family->name);
    put(self, " ");
    put(self, family->type);
    if (family->unit != NONE) {
        put(self, "\n# UNIT ");
        put(self, family->name);
        put(self, " ");
        put(self, units[family->unit]);
    }
    put(self, "\n# HELP ");
    put(self, family->name);
    put(self, " ");
    put(self, family->help);
    put(self, "\n");
}

static void put_sample(struct text *self, const struct family *family, const char *label,
                       uint64_t value)
{
    put(self, family->name);
    if (family->type[0] == 'c')
        put(self, "_total");
    if (label) {
        put(self, "{path=\"");
        put(self, label);
        put(self, "\"}");
    }
    put(self, " ");
    if (family->unit == SECONDS)
        put_seconds(self, value);
    else
        put_count(self, value);
    end_sample(self);
}

static void put_value(struct text *self, const struct family *family, uint64_t value)
{
    put_family(self, family);
    put_sample(self, family, NULL, value);
}

static void put_bucket(struct text *self, const struct family *family, const char *bound,
                       uint64_t value)
{
    put(self, family->name);
    put(self, "_bucket{le=\"");
    put(self, bound);
    put(self, "\"} ");
    put_count(self, value);
    end_sample(self);
}

static void put_histogram(struct text *self, const struct family *family,
                          const sockref_histogram *value)
{
    uint64_t below = 0;

    put_family(self, family);
    for (unsigned i = 0; i < SOCKREF_HISTOGRAM_BUCKETS; i++) {
        below += value->buckets[i];
        put_bucket(self, family, bounds[i], below);
    }
    put_bucket(self, family, "+Inf", value->count);
    put(self, family->name);
    put(self, "_count ");
    put_count(self, value->count);
    end_sample(self);
    put(self, family->name);
    put(self, "_sum ");
    put_seconds(self, value->sum_ns);
    end_sample(self);
}

/* ---- names ---- */

struct row {
    char *label; /* the path, escaped */
    sockref_stats stats;
};

struct rows {
    struct row *rows;
    size_t count, room;
};

/* No path has a line's end. Returns where the label ends. */
static char *escape(char *to, const char *path)
{
    const char *at = path;
    size_t length;

    for (; *at; at += length ? length : 1) {
        length = sr_utf8_length(at);
        if (length == 0) {
            memcpy(to, REPLACEMENT, strlen(REPLACEMENT));
            to += strlen(REPLACEMENT);
        } else if (*at == '\\' || *at == '"') {
            *to++ = '\\';
            *to++ = *at;
        } else {
            memcpy(to, at, length);
            to += length;
        }
    }
    *to = '\0';
    return to;
}

static int make_room(struct rows *self)
{
    size_t room = self->room ? self->room * 2 : FIRST_ROWS;
    struct row *rows;

    if (self->count < self->room)
        return 0;
    rows = sr_sys.realloc(self->rows, room * sizeof *rows);
    if (!rows)
        return sr_error_no_memory();
    self->rows = rows;
    self->room = room;
    return 0;
}

static int add_row(struct rows *self, const struct sr_name_stats *name)
{
    char escaped[MOST_OF_A_BYTE * SR_PATH_MAX + 1];
    size_t size = (size_t)(escape(escaped, name->path) - escaped) + 1;
    struct row *row;
    int status = make_room(self);

    if (status < 0)
        return status;
    row = &self->rows[self->count];
    row->label = sr_sys.malloc(size);
    if (!row->label)
        return sr_error_no_memory();
    memcpy(row->label, escaped, size);
    row->stats = name->stats;
    self->count++;
    return 0;
}

static void clear_rows(struct rows *self)
{
    for (size_t i = 0; i < self->count; i++)
        free(self->rows[i].label);
    free(self->rows);
}

static int compare(const void *a, const void *b)
{
    const struct row *one = a, *other = b;

    return strcmp(one->label, other->label);
}

static void merge(struct row *to, const struct row *from)
{
    to->stats.references += from->stats.references;
    to->stats.connections += from->stats.connections;
    to->stats.accepted += from->stats.accepted;
    to->stats.refused += from->stats.refused;
    to->stats.bytes_read += from->stats.bytes_read;
    to->stats.bytes_written += from->stats.bytes_written;
    if (to->stats.served_ns < from->stats.served_ns)
        to->stats.served_ns = from->stats.served_ns;
}

/* No two samples may have one label, which names share whose directory was exchanged, or whose
 * bytes were replaced. */
static void unite(struct rows *self)
{
    size_t last = 0;

    if (self->count == 0)
        return;
    qsort(self->rows, self->count, sizeof *self->rows, compare);
    for (size_t i = 1; i < self->count; i++) {
        if (compare(&self->rows[last], &self->rows[i]) != 0) {
            self->rows[++last] = self->rows[i];
            continue;
        }
        merge(&self->rows[last], &self->rows[i]);
        free(self->rows[i].label);
    }
    self->count = last + 1;
}

/* Returns 0, or a described status with what was read so far. */
static int read_names(sockref_registry *registry, struct rows *out)
{
    struct sr_name_stats name;
    uint32_t index = 0;
    int status = 0;

    while (status == 0 && sr_stats_next_name(registry, &index, &name))
        status = add_row(out, &name);
    return status;
}

/* ---- what there is ---- */

/* A number of a struct, and its family. */
struct number {
    struct family family;
    size_t at; /* of an uint64_t */
};

static uint64_t number_of(const struct number *number, const void *stats)
{
    return *(const uint64_t *)((const char *)stats + number->at);
}

static void put_numbers(struct text *self, const struct number *numbers, size_t count,
                        const void *stats)
{
    for (size_t i = 0; i < count; i++)
        put_value(self, &numbers[i].family, number_of(&numbers[i], stats));
}

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define AT(field)       offsetof(sockref_registry_stats, field)
static const struct number registry_numbers[] = {
    {{"sockref_names_bound", "counter", NONE, "Names that were bound or registered."}, AT(created)},
    {{"sockref_names_joined", "counter", NONE,
      "Names that were joined: another registry owns them."},
     AT(joined)},
    {{"sockref_starts_reused", "counter", NONE, "Starts that found their name started."},
     AT(reused)},
    {{"sockref_starts_failed", "counter", NONE, "Starts that failed or were cancelled."},
     AT(failed)},
    {{"sockref_names_closed", "counter", NONE, "Names that ended with their last reference."},
     AT(closed)},
    {{"sockref_names_revoked", "counter", NONE, "Names that were revoked."}, AT(revoked)},
    {{"sockref_names_removed", "counter", NONE, "Names of which nothing is left."}, AT(removed)},
    {{"sockref_removes_failed", "counter", NONE, "Names that the system refused to remove."},
     AT(remove_failed)},
    {{"sockref_removes_deferred", "counter", NONE, "Ends that were left to the worker."},
     AT(deferred)},
};
#undef AT
#define AT(field) offsetof(sockref_stats, field)
static const struct number name_numbers[] = {
    {{"sockref_name_references", "gauge", NONE, "References to the name."}, AT(references)},
    {{"sockref_name_connections", "gauge", NONE, "Connections of its service."}, AT(connections)},
    {{"sockref_name_accepted", "counter", NONE, "Connections that its service accepted."},
     AT(accepted)},
    {{"sockref_name_refused", "counter", NONE,
      "Connections closed at once: too many, or no descriptor left."},
     AT(refused)},
    {{"sockref_name_read_bytes", "counter", BYTES, "Bytes that its connections received."},
     AT(bytes_read)},
    {{"sockref_name_written_bytes", "counter", BYTES, "Bytes that its connections sent."},
     AT(bytes_written)},
    {{"sockref_name_served_seconds", "gauge", SECONDS, "For how long it is served."},
     AT(served_ns)},
};
#undef AT
#define AT(field) offsetof(sockref_loop_stats, field)
static const struct number loop_numbers[] = {
    {{"sockref_loop_callbacks", "counter", NONE, "Callbacks that ran."}, AT(callbacks)},
    {{"sockref_loop_pending", "gauge", NONE, "Calls that wait for their loop."}, AT(pending)},
    {{"sockref_loop_oldest_pending_seconds", "gauge", SECONDS,
      "For how long the oldest of them waits."},
     AT(oldest_ns)},
    {{"sockref_loop_newest_pending_seconds", "gauge", SECONDS,
      "For how long the newest of them waits."},
     AT(newest_ns)},
    {{"sockref_loop_starved", "counter", NONE, "Turns that came more than a second late."},
     AT(starved)},
    {{"sockref_connections_accepted", "counter", NONE, "Connections that were accepted."},
     AT(accepted)},
    {{"sockref_connections_refused", "counter", NONE,
      "Connections closed at once: too many, or no descriptor left."},
     AT(refused)},
    {{"sockref_connects_succeeded", "counter", NONE, "Connections that were made."}, AT(connected)},
    {{"sockref_connects_failed", "counter", NONE, "Connections that could not be made."},
     AT(connect_failed)},
    {{"sockref_read_bytes", "counter", BYTES, "Bytes that connections received."}, AT(bytes_read)},
    {{"sockref_written_bytes", "counter", BYTES, "Bytes that connections sent."},
     AT(bytes_written)},
};
#undef AT

static void put_registry(struct text *self, const sockref_registry_stats *stats, uint64_t active)
{
    static const struct family names = {"sockref_names", "gauge", NONE, "Names that are active."};
    static const struct family last = {"sockref_last_remove_status", "gauge", NONE,
                                       "Status of the last removal that the system refused."};
    static const struct family removal = {"sockref_removal_seconds", "histogram", SECONDS,
                                          "How long it took until nothing was left of a name."};

    put_value(self, &names, active);
    put_numbers(self, registry_numbers, COUNT_OF(registry_numbers), stats);
    put_family(self, &last);
    put(self, last.name);
    put(self, stats->last_remove_status < 0 ? " -" : " ");
    put_count(self, (uint64_t) - (int64_t)stats->last_remove_status);
    end_sample(self);
    put_histogram(self, &removal, &stats->removal);
}

static void put_names(struct text *self, const struct rows *rows)
{
    for (size_t i = 0; i < COUNT_OF(name_numbers); i++) {
        const struct number *number = &name_numbers[i];

        put_family(self, &number->family);
        for (size_t row = 0; row < rows->count; row++)
            put_sample(self, &number->family, rows->rows[row].label,
                       number_of(number, &rows->rows[row].stats));
    }
}

static void put_loops(struct text *self, const sockref_loop_stats *stats)
{
    static const struct family starving = {"sockref_loop_starving", "gauge", NONE,
                                           "1: a call has waited for more than a second."};
    static const struct family connect = {"sockref_connect_seconds", "histogram", SECONDS,
                                          "How long it took to connect."};

    put_numbers(self, loop_numbers, COUNT_OF(loop_numbers), stats);
    put_value(self, &starving, (uint64_t)stats->is_starving);
    put_histogram(self, &connect, &stats->connect);
}

int sockref_registry_write_metrics(sockref_registry *self, char *out_text, size_t room)
{
    struct text text = {.to = out_text, .room = room};
    sockref_loop_stats loops = {.size = sizeof loops};
    sockref_registry_stats stats;
    struct rows rows = {0};
    int status;

    if (!out_text && room > 0)
        return sr_error_argument("out_text is NULL, but room is not 0");
    status = sr_stats_read(&self, &stats);
    if (status == 0)
        status = read_names(self, &rows);
    if (status == 0)
        status = sockref_loop_get_stats(NULL, &loops);
    if (status == 0) {
        unite(&rows);
        put_registry(&text, &stats, sockref_registry_active_socket_count(self));
        put_names(&text, &rows);
        put_loops(&text, &loops);
        put(&text, "# EOF\n");
    }
    clear_rows(&rows);
    if (status < 0)
        return status;
    if (room > 0)
        out_text[text.length < room ? text.length : room - 1] = '\0';
    if (text.length > INT_MAX)
        return sr_error_set(SOCKREF_ELIMIT, NULL, "the text is longer than INT_MAX bytes");
    return (int)text.length;
}
