/* Options: what was set, and what holds for one call. */
#include "ref/options.h"

#include "base/error.h"
#include "base/sys.h"
#include "name/path.h"
#include "ref/entry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define DAY_MS (24 * 60 * 60 * 1000)

/* By number; one with no name is no number. */
static const struct {
    const char *name;
    int64_t fallback, least, most;
    bool of_registry; /* not allowed at a call */
} table[SR_OPTION_COUNT] = {
    [SOCKREF_OPT_MODE] = {"mode", 0600, -1, 0777, false},
    [SOCKREF_OPT_BACKLOG] = {"backlog", 4096, 1, INT32_MAX, false},
    [SOCKREF_OPT_SHARE] = {"share", 1, 0, 1, false},
    [SOCKREF_OPT_GUARD] = {"guard", 1, 0, 2, false},
    [SOCKREF_OPT_CLEANUP_DELAY_MS] = {"cleanup delay", 0, 0, DAY_MS, false},
    [SOCKREF_OPT_CLEANUP_TIMEOUT_MS] = {"cleanup time-out", 5000, 0, DAY_MS, false},
    [SOCKREF_OPT_START_TIMEOUT_MS] = {"start time-out", 5000, 0, DAY_MS, false},
    [SOCKREF_OPT_MAX_SOCKETS] = {"limit of sockets", 1024, 1, 1 << 29, true},
    [SOCKREF_OPT_MAX_REFERENCES] = {"limit of references", 65536, 1, SR_COUNT_MASK / 2, true},
    [SOCKREF_OPT_MAX_CONNECTIONS] = {"limit of connections", 0, 0, INT32_MAX, false},
    [SOCKREF_OPT_MAX_BUFFERED] = {"limit of buffered bytes", 16 << 20, 0, INT64_MAX, false},
    [SOCKREF_OPT_UNIQUE] = {"unique", 0, 0, 1, false},
    [SOCKREF_OPT_EXCLUSIVE] = {"exclusive", 0, 0, 1, false},
    [SOCKREF_OPT_HANDOVER] = {"hand-over", 1, 0, 1, false},
    [SOCKREF_OPT_IPV6_ONLY] = {"IPv6 only", 0, 0, 1, false},
    [SOCKREF_OPT_REUSE_PORT] = {"reuse of the port", 0, 0, 1, false},
    [SOCKREF_OPT_KEEP_FILE] = {"keeping of the file", 0, 0, 1, true},
    [SOCKREF_OPT_BIND_ONLY] = {"bind-only switch", 0, 0, 1, false},
};

sockref_options *sockref_options_new(void)
{
    sockref_options *self = sr_sys.calloc(1, sizeof *self);

    if (!self)
        sr_error_no_memory();
    return self;
}

void sr_options_clear(sockref_options *self)
{
    free(self->directory);
    self->directory = NULL;
}

void sockref_options_free(sockref_options *self)
{
    if (!self)
        return;
    sr_options_clear(self);
    free(self);
}

/* A mode is read in octal. */
static int refuse_mode(int64_t value)
{
    if (value < 0)
        return sr_error_argument("the mode must be from 0 to 0777, or -1, not %" PRId64, value);
    return sr_error_argument("the mode must be from 0 to 0777, or -1, not %#" PRIo64,
                             (uint64_t)value);
}

int sockref_options_set_int(sockref_options *self, int option, int64_t value)
{
    if (!self)
        return sr_error_argument("the options are NULL");
    if (option < 1 || option >= SR_OPTION_COUNT || !table[option].name)
        return sr_error_argument("%d is not an option that is a number", option);
    if (value < table[option].least || value > table[option].most)
        return option == SOCKREF_OPT_MODE
                   ? refuse_mode(value)
                   : sr_error_argument(
                         "the %s must be from %" PRId64 " to %" PRId64 ", not %" PRId64,
                         table[option].name, table[option].least, table[option].most, value);
    self->values[option] = value;
    self->set |= 1u << option;
    return 0;
}

static int copy_string(const char *value, char **out)
{
    size_t size;

    *out = NULL;
    if (!value)
        return 0;
    size = strlen(value) + 1;
    *out = sr_sys.malloc(size);
    if (!*out)
        return sr_error_no_memory();
    memcpy(*out, value, size);
    return 0;
}

int sockref_options_set_string(sockref_options *self, int option, const char *value)
{
    char *copy;
    int status;

    if (!self)
        return sr_error_argument("the options are NULL");
    if (option != SOCKREF_OPT_DIRECTORY)
        return sr_error_argument("%d is not an option that is a string", option);
    status = value ? sr_path_check_directory(value) : 0;
    if (status == 0)
        status = copy_string(value, &copy);
    if (status < 0)
        return status;
    free(self->directory);
    self->directory = copy;
    return 0;
}

int sr_options_copy(const sockref_options *from, sockref_options *to)
{
    if (!from) {
        memset(to, 0, sizeof *to);
        return 0;
    }
    *to = *from;
    return copy_string(from->directory, &to->directory);
}

int sr_options_check_call(const sockref_options *options)
{
    if (!options)
        return 0;
    if (options->directory)
        return sr_error_argument("the directory belongs to a registry: give it there");
    for (int i = 1; i < SR_OPTION_COUNT; i++)
        if (table[i].of_registry && options->set & 1u << i)
            return sr_error_argument("the %s belongs to a registry: give it there", table[i].name);
    return 0;
}

void sr_settings_init(struct sr_settings *self)
{
    for (int i = 0; i < SR_OPTION_COUNT; i++)
        self->values[i] = table[i].fallback;
}

void sr_settings_apply(struct sr_settings *self, const sockref_options *options)
{
    for (uint32_t left = options ? options->set : 0; left; left &= left - 1) {
        int option = __builtin_ctz(left);

        self->values[option] = options->values[option];
    }
}
