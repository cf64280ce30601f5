/* What the command prints of names. */
#ifndef SR_CLI_REPORT_H
#define SR_CLI_REPORT_H

#include "name/inspect.h"

#include <stdbool.h>
#include <stddef.h>

enum { SR_REPORT_COLUMNS = 7 };

enum sr_report_form {
    SR_REPORT_COLUMNED, /* for people: a header, columns as wide as their longest */
    SR_REPORT_TABBED,   /* for programs: a line for each name, "-" for what is not told */
    SR_REPORT_JSON,     /* an object on a line for each name */
};

struct sr_report {
    enum sr_report_form form;
    char *(*rows)[SR_REPORT_COLUMNS]; /* columned: kept to the end */
    size_t count, room;
};

/* Add what is told of a path. Returns whether there was memory. */
bool sr_report_add(struct sr_report *self, const char *path, const struct sr_inspected *seen);
/* Print what was kept, and give it back. */
void sr_report_end(struct sr_report *self);

#endif
