/* What the command prints of names. */
#include "cli/report.h"

#include "cli/text.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const titles[SR_REPORT_COLUMNS] = {"PATH", "STATE",   "PID", "PROGRAM",
                                                      "USER", "HOLDERS", "NOTE"};

static const char *state_name(enum sr_inspect_state state)
{
    static const char *const names[] = {
        [SR_INSPECT_ABSENT] = "absent",   [SR_INSPECT_STARTING] = "starting",
        [SR_INSPECT_LIVE] = "live",       [SR_INSPECT_DYING] = "dying",
        [SR_INSPECT_STALE] = "stale",     [SR_INSPECT_UNSHARED] = "unshared",
        [SR_INSPECT_FOREIGN] = "foreign",
    };

    return names[state];
}

/* The name of a user, or NULL. */
static const char *user_name(const struct sr_inspected *seen)
{
    const struct passwd *entry = seen->has_user ? getpwuid(seen->user) : NULL;

    return entry ? entry->pw_name : NULL;
}

/* ---- JSON ---- */

static void print_json_string(const char *name, const char *value)
{
    printf(", \"%s\": ", name);
    if (value)
        sr_text_json(stdout, value);
    else
        fputs("null", stdout);
}

static void print_json_number(const char *name, bool is_told, uint64_t value)
{
    if (is_told)
        printf(", \"%s\": %" PRIu64, name, value);
    else
        printf(", \"%s\": null", name);
}

static void print_json(const char *path, const struct sr_inspected *seen)
{
    fputs("{\"path\": ", stdout);
    sr_text_json(stdout, path);
    print_json_string("state", state_name(seen->state));
    printf(", \"bound\": %s", seen->bound == SR_INSPECT_BOUND     ? "true"
                              : seen->bound == SR_INSPECT_UNBOUND ? "false"
                                                                  : "null");
    print_json_number("pid", seen->pid != 0, seen->pid);
    print_json_string("program", seen->program[0] ? seen->program : NULL);
    print_json_string("user", user_name(seen));
    print_json_number("uid", seen->has_user, seen->user);
    print_json_number("holders", seen->has_lock, seen->holders);
    print_json_string("note", seen->note);
    puts("}");
}

/* ---- fields ---- */

static char *number_text(bool is_told, uint64_t value)
{
    char text[24] = "-";

    if (is_told)
        snprintf(text, sizeof text, "%" PRIu64, value);
    return strdup(text);
}

static char *text_or_dash(const char *text)
{
    return text && text[0] ? sr_text_plain(text) : strdup("-");
}

static void free_cells(char *cells[SR_REPORT_COLUMNS])
{
    for (int i = 0; i < SR_REPORT_COLUMNS; i++)
        free(cells[i]);
}

static bool make_cells(const char *path, const struct sr_inspected *seen,
                       char *out[SR_REPORT_COLUMNS])
{
    const char *user = user_name(seen);
    int i = 0;

    out[i++] = sr_text_plain(path);
    out[i++] = strdup(state_name(seen->state));
    out[i++] = number_text(seen->pid != 0, seen->pid);
    out[i++] = text_or_dash(seen->program);
    out[i++] = user ? text_or_dash(user) : number_text(seen->has_user, seen->user);
    out[i++] = number_text(seen->has_lock, seen->holders);
    out[i++] = text_or_dash(seen->note);
    for (i = 0; i < SR_REPORT_COLUMNS; i++)
        if (!out[i])
            break;
    if (i == SR_REPORT_COLUMNS)
        return true;
    free_cells(out);
    return false;
}

static void print_tabbed(char *const cells[SR_REPORT_COLUMNS])
{
    for (int i = 0; i < SR_REPORT_COLUMNS; i++)
        printf("%s%c", cells[i], i + 1 < SR_REPORT_COLUMNS ? '\t' : '\n');
}

static bool keep(struct sr_report *self, char *cells[SR_REPORT_COLUMNS])
{
    if (self->count == self->room) {
        size_t room = self->room ? self->room * 2 : 16;
        char *(*rows)[SR_REPORT_COLUMNS] = realloc(self->rows, room * sizeof *rows);

        if (!rows)
            return false;
        self->rows = rows;
        self->room = room;
    }
    memcpy(self->rows[self->count++], cells, sizeof self->rows[0]);
    return true;
}

bool sr_report_add(struct sr_report *self, const char *path, const struct sr_inspected *seen)
{
    char *cells[SR_REPORT_COLUMNS];

    if (self->form == SR_REPORT_JSON) {
        print_json(path, seen);
        return true;
    }
    if (!make_cells(path, seen, cells))
        return false;
    if (self->form == SR_REPORT_COLUMNED && keep(self, cells))
        return true;
    if (self->form == SR_REPORT_TABBED)
        print_tabbed(cells);
    free_cells(cells);
    return self->form == SR_REPORT_TABBED;
}

static void print_columned(const char *const cells[SR_REPORT_COLUMNS],
                           const size_t widths[SR_REPORT_COLUMNS])
{
    for (int i = 0; i < SR_REPORT_COLUMNS - 1; i++)
        printf("%s%*s", cells[i], (int)(widths[i] - sr_text_width(cells[i]) + 2), "");
    puts(cells[SR_REPORT_COLUMNS - 1]);
}

void sr_report_end(struct sr_report *self)
{
    size_t widths[SR_REPORT_COLUMNS];

    for (int i = 0; i < SR_REPORT_COLUMNS; i++) {
        widths[i] = strlen(titles[i]);
        for (size_t row = 0; row < self->count; row++) {
            size_t width = sr_text_width(self->rows[row][i]);

            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    if (self->count > 0)
        print_columned(titles, widths);
    for (size_t row = 0; row < self->count; row++) {
        print_columned((const char *const *)self->rows[row], widths);
        free_cells(self->rows[row]);
    }
    free(self->rows);
    *self = (struct sr_report){.form = self->form};
}
