/*
 * The description of a thread's last failing call. A floor that fails describes it where it
 * happened and returns the status; the floors above pass the status on.
 */
#ifndef SR_BASE_ERROR_H
#define SR_BASE_ERROR_H

#include "base/attr.h"

#include <stddef.h>

/* A whole description, detached from its thread. */
struct sr_error;

/* Describe a failure of sockref's own; returns status. Path may be NULL. */
int sr_error_set(int status, const char *path, const char *format, ...) SR_PRINTF(3, 4);
/* Describe a system call that refused with os_errno; returns -os_errno. */
int sr_error_system(int os_errno, const char *syscall, const char *path);
/* The same, with a status of sockref's own that it amounts to. */
int sr_error_wrapped(int status, int os_errno, const char *syscall, const char *path,
                     const char *format, ...) SR_PRINTF(5, 6);
/* Describe and return -ENOMEM. */
int sr_error_no_memory(void);
/* Describe and return -EINVAL. */
int sr_error_argument(const char *format, ...) SR_PRINTF(1, 2);
/* Refuse the size of a caller's struct that this library knows less of. Returns 0 or a described
 * -EINVAL. */
int sr_error_check_size(size_t size, size_t most);

/* Detach this thread's description, to carry it to another thread; NULL if there is none. */
struct sr_error *sr_error_take(void);
/* Make it this thread's description; takes it; NULL leaves all as it is. */
void sr_error_give(struct sr_error *error);
void sr_error_free(struct sr_error *error);

#endif
