/* Statuses: their names, as programs compare them, and what they mean. */
#include "base/errno_name.h"

#include <errno.h>
#include <sockref/sockref.h>
#include <stddef.h>
#include <string.h>

struct own {
    const char *name;
    const char *message;
};

/* By -20001 - status. */
static const struct own own[] = {
    {"ESOCKREF_PATH", "the path is not usable as the name of a socket"},
    {"ESOCKREF_PATHLEN", "the path is longer than this platform can name"},
    {"ESOCKREF_FOREIGN", "something that is not sockref's stands at the path"},
    {"ESOCKREF_EXISTS", "the name is live already"},
    {"ESOCKREF_NOTFOUND", "the name, or the host, is not known"},
    {"ESOCKREF_LIMIT", "a configured limit is reached"},
    {"ESOCKREF_CLOSED", "closed, revoked, or the listener was lost"},
    {"ESOCKREF_FORKED", "a handle of the parent process cannot be used in a forked child"},
    {"ESOCKREF_SHUTDOWN", "the registry is shut down"},
    {"ESOCKREF_TIMEOUT", "the time given was not enough"},
    {"ESOCKREF_CANCELED", "cancelled"},
    {"ESOCKREF_BUSY", "somebody else has it"},
    {"ESOCKREF_UNTRUSTED", "somebody else could change the directory"},
    {"ESOCKREF_UNSUPPORTED", "this system cannot do it"},
};

#define OWN_COUNT (sizeof own / sizeof own[0])

static const struct own *find_own(int status)
{
    if (status > SOCKREF_EPATH || SOCKREF_EPATH - status >= (int)OWN_COUNT)
        return NULL;
    return &own[SOCKREF_EPATH - status];
}

const char *sockref_status_name(int status)
{
    const struct own *entry = find_own(status);
    const char *name;

    if (entry)
        return entry->name;
    if (status == 0)
        return "OK";
    if (status < -4095 || status > 4095)
        return "EUNKNOWN";
    name = sr_errno_name(status < 0 ? -status : status);
    return name ? name : "EUNKNOWN";
}

/* NULL where the number is unknown. */
static const char *describe(int number)
{
#ifdef __GLIBC__
    return strerrordesc_np(number);
#else
    return sr_errno_name(number) ? strerror(number) : NULL;
#endif
}

const char *sockref_status_message(int status)
{
    const struct own *entry = find_own(status);
    const char *message;

    if (entry)
        return entry->message;
    if (status == 0)
        return "success";
    if (status < -4095 || status > 4095)
        return "unknown status";
    message = describe(status < 0 ? -status : status);
    return message ? message : "unknown status";
}
