/*
 * sockref: who has a socket, what was left of one, and its removal. It prints what name/inspect.c
 * finds, and runs name/sweep.c.
 */
#include "base/error.h"
#include "cli/report.h"
#include "cli/text.h"
#include "name/inspect.h"
#include "name/listing.h"
#include "name/path.h"
#include "name/place.h"
#include "name/sweep.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS 2000000000u /* for names that are changing, all together */

enum outcome {
    WELL = 0,
    NOT_LIVE = 1,
    FAILED = 2,
};

static const char usage[] =
    "Usage: sockref status [--json] PATH...\n"
    "       sockref list [--json] [DIRECTORY]\n"
    "       sockref sweep [--json] [DIRECTORY]\n"
    "\n"
    "  status  tell of each name who owns it, and how many hold it; changes nothing\n"
    "  list    the same for all names of a directory\n"
    "  sweep   remove what dead owners left in a directory, and tell how many names that were\n"
    "\n"
    "      --json     an object on a line for each name\n"
    "  -h, --help     this text\n"
    "  -V, --version  the version\n"
    "\n"
    "A PATH is that of a socket, or @NAME. Without DIRECTORY it is the default one of this user.\n"
    "Status 0: all names are live; 1: not all are (status alone); 2: an error.\n";

/* A message may quote a name as well. */
static enum outcome complain(const char *about, const char *message)
{
    char *plain = sr_text_plain(about), *what = sr_text_plain(message);

    fprintf(stderr, "sockref: %s: %s\n", plain ? plain : "?", what ? what : "out of memory");
    free(plain);
    free(what);
    return FAILED;
}

static enum outcome complain_of_last(const char *about)
{
    return complain(about, sockref_last_error()->message);
}

static enum outcome complain_of_use(void)
{
    fputs("Try 'sockref --help'.\n", stderr);
    return FAILED;
}

/* ---- what is named on the command line ---- */

/* A path as the library wants it; relative ones are those of the working directory. malloc'ed.
 * NULL is described. */
static char *make_absolute(const char *given)
{
    const bool is_relative =
        given[0] != '\0' && given[0] != '/' && given[0] != '@' && strncmp(given, "tcp:", 4) != 0;
    char *here = is_relative ? getcwd(NULL, 0) : NULL, *path;

    if (is_relative && !here) {
        sr_error_set(-errno, given, "the working directory can't be told");
        return NULL;
    }
    if (!is_relative)
        path = strdup(given);
    else if (asprintf(&path, "%s/%s", strcmp(here, "/") == 0 ? "" : here, given) < 0)
        path = NULL;
    free(here);
    if (!path)
        sr_error_no_memory();
    return path;
}

struct directory {
    char *path;    /* to look at: absolute */
    char *told;    /* as names in it are printed: without slashes at its end */
    bool is_there; /* a default one may be missing */
};

static void directory_free(struct directory *self)
{
    free(self->path);
    free(self->told);
}

static int directory_find(const char *given, struct directory *out)
{
    size_t length;
    int status;

    *out = (struct directory){.is_there = true};
    if (!given) {
        status = sr_place_find_default(NULL, &out->path);
        if (status < 0)
            return status;
        out->is_there = access(out->path, F_OK) == 0;
    } else {
        out->path = make_absolute(given);
        if (!out->path)
            return sockref_last_error()->status;
    }
    out->told = strdup(given ? given : out->path);
    if (!out->told)
        return sr_error_no_memory();
    for (length = strlen(out->told); length > 0 && out->told[length - 1] == '/'; length--)
        out->told[length - 1] = '\0';
    return sr_path_check_directory(out->path);
}

/* ---- the commands ---- */

static bool is_live(const struct sr_inspected *seen)
{
    return seen->state == SR_INSPECT_LIVE ||
           (seen->state == SR_INSPECT_UNSHARED && seen->bound == SR_INSPECT_BOUND);
}

/* Report one name, as it is told. */
static enum outcome report_name(struct sr_report *report, const char *path, const char *told,
                                uint64_t *inout_patience_ns)
{
    struct sr_inspected seen;

    if (sr_inspect_name(path, inout_patience_ns, &seen) < 0)
        return complain_of_last(told);
    if (!sr_report_add(report, told, &seen))
        return complain(told, "out of memory");
    return is_live(&seen) ? WELL : NOT_LIVE;
}

static enum outcome worse(enum outcome a, enum outcome b)
{
    return a > b ? a : b;
}

static enum outcome status(struct sr_report *report, int count, char **names)
{
    enum outcome outcome = WELL;
    uint64_t patience_ns = PATIENCE_NS;

    if (count == 0) {
        complain("status", "a path is needed");
        return complain_of_use();
    }
    for (int i = 0; i < count; i++) {
        char *path = make_absolute(names[i]);

        if (path)
            outcome = worse(outcome, report_name(report, path, names[i], &patience_ns));
        else
            outcome = complain_of_last(names[i]);
        free(path);
    }
    return outcome;
}

/* Whether one of them is live is no matter here: they are listed. */
static enum outcome list_names(struct sr_report *report, const struct directory *directory)
{
    struct sr_listing list;
    enum outcome outcome = WELL;
    uint64_t patience_ns = PATIENCE_NS;

    if (sr_inspect_directory(directory->path, &list) < 0)
        return complain_of_last(directory->path);
    for (size_t i = 0; i < list.count; i++) {
        char *path, *told;

        if (asprintf(&path, "%s/%s", directory->path, list.leaves[i]) < 0)
            path = NULL;
        if (asprintf(&told, "%s/%s", directory->told, list.leaves[i]) < 0)
            told = NULL;
        if (!path || !told)
            outcome = complain(list.leaves[i], "out of memory");
        else if (report_name(report, path, told, &patience_ns) == FAILED)
            outcome = FAILED;
        free(path);
        free(told);
    }
    sr_listing_free(&list);
    return outcome;
}

static enum outcome sweep_names(const struct sr_report *report, const struct directory *directory)
{
    enum outcome outcome = WELL;
    uint64_t count = 0;

    if (directory->is_there && sr_sweep_directory(directory->path, &count) < 0)
        outcome = complain_of_last(directory->path);
    if (outcome != WELL && count == 0)
        return outcome;
    if (report->form == SR_REPORT_JSON) {
        fputs("{\"directory\": ", stdout);
        sr_text_json(stdout, directory->path);
        printf(", \"removed\": %" PRIu64 "}\n", count);
    } else {
        printf("%" PRIu64 "\n", count);
    }
    return outcome;
}

static enum outcome with_directory(struct sr_report *report, bool is_list, int count, char **names)
{
    struct directory directory;
    enum outcome outcome = WELL;

    if (count > 1) {
        complain(names[1], "one directory at most");
        return complain_of_use();
    }
    if (directory_find(names[0], &directory) < 0)
        outcome = complain_of_last(names[0] ? names[0] : "the default directory");
    else if (!is_list)
        outcome = sweep_names(report, &directory);
    else if (directory.is_there)
        outcome = list_names(report, &directory);
    directory_free(&directory);
    return outcome;
}

static enum outcome run(struct sr_report *report, int count, char **words)
{
    if (count == 0) {
        fputs("sockref: a command is needed\n", stderr);
        return complain_of_use();
    }
    if (strcmp(words[0], "status") == 0)
        return status(report, count - 1, words + 1);
    if (strcmp(words[0], "list") == 0 || strcmp(words[0], "sweep") == 0)
        return with_directory(report, words[0][0] == 'l', count - 1, words + 1);
    complain(words[0], "no such command");
    return complain_of_use();
}

static enum outcome obey(int argc, char **argv)
{
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"json", no_argument, NULL, 'j'},
        {"version", no_argument, NULL, 'V'},
        {0},
    };
    struct sr_report report = {.form =
                                   isatty(STDOUT_FILENO) ? SR_REPORT_COLUMNED : SR_REPORT_TABBED};
    enum outcome outcome;
    int option;

    while ((option = getopt_long(argc, argv, "hV", options, NULL)) >= 0) {
        switch (option) {
        case 'h':
            fputs(usage, stdout);
            return WELL;
        case 'V':
            printf("sockref %s\n", sockref_version());
            return WELL;
        case 'j':
            report.form = SR_REPORT_JSON;
            break;
        default:
            return complain_of_use();
        }
    }
    outcome = run(&report, argc - optind, argv + optind);
    sr_report_end(&report);
    return outcome;
}

int main(int argc, char **argv)
{
    enum outcome outcome;

    if (argc > 0)
        argv[0] = "sockref"; /* it stands before messages */
    outcome = obey(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout))
        outcome = complain("standard output", "could not be written");
    return outcome;
}
