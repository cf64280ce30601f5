/* Where the program of the guard is, and its start. */
#include "name/guard_program.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/sys.h"
#include "name/place.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sockref/sockref.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PROGRAM "sockref-guard"

static bool is_program(const char *path)
{
    return path[0] == '/' && sr_place_allows(path, X_OK);
}

/* $SOCKREF_GUARD, or beside the library, or where it is installed. */
static int find_program(char out[SR_PATH_MAX + 1])
{
    static const char anchor;
    const char *named = secure_getenv("SOCKREF_GUARD"), *slash;
    Dl_info library = {0};

    if (named && named[0]) {
        snprintf(out, SR_PATH_MAX + 1, "%s", named);
        if (is_program(out))
            return 0;
        return sr_error_wrapped(
            SOCKREF_EUNSUPPORTED, ENOENT, "faccessat", out,
            "SOCKREF_GUARD is not the absolute path of a program that may be run");
    }
    if (dladdr(&anchor, &library) && library.dli_fname &&
        (slash = strrchr(library.dli_fname, '/'))) {
        int length = snprintf(out, SR_PATH_MAX + 1, "%.*s/" PROGRAM,
                              (int)(slash - library.dli_fname), library.dli_fname);

        if (length <= SR_PATH_MAX && is_program(out))
            return 0;
    }
    snprintf(out, SR_PATH_MAX + 1, "%s/" PROGRAM, SR_PKGLIBEXECDIR);
    if (is_program(out))
        return 0;
    return sr_error_wrapped(SOCKREF_EUNSUPPORTED, ENOENT, "faccessat", out,
                            "the program " PROGRAM " is neither beside the library nor at %s: "
                            "install it%s",
                            out,
                            getauxval(AT_SECURE) ? " there; SOCKREF_GUARD is ignored in a program "
                                                   "whose file gives it rights"
                                                 : ", or name it in SOCKREF_GUARD");
}

int sr_guard_program_find(char out_program[SR_PATH_MAX + 1])
{
    if (getpid() == 1)
        return sr_error_set(SOCKREF_EUNSUPPORTED, NULL,
                            "nothing outlives the first process of a namespace, no guard either");
    return find_program(out_program);
}

int sr_guard_program_start(struct sr_guard_process *out)
{
    char program[SR_PATH_MAX + 1];
    int fds[2], pidfd, status, on = 1;

    status = sr_guard_program_find(program);
    if (status < 0)
        return status;
    status = sr_fd_socketpair(SOCK_SEQPACKET, fds);
    if (status < 0)
        return sr_error_system(-status, "socketpair", NULL);
    pidfd = sr_fd_pidfd(getpid()); /* where there is none, the end of the socket must do */
    if (sr_sys.setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        status = -errno;
    else
        status = sr_sys.spawn_guard(program, fds[1], pidfd < 0 ? -1 : pidfd, &out->pid);
    if (pidfd >= 0)
        sr_fd_close(pidfd);
    sr_fd_close(fds[1]);
    out->command = fds[0];
    if (status < 0) {
        sr_fd_close(fds[0]);
        sr_error_wrapped(status, -status, "posix_spawn", program, "the guard %s: %s", program,
                         sockref_status_message(status));
    }
    return status;
}

int sr_guard_program_refuse(void)
{
    char program[SR_PATH_MAX + 1];
    int status = sr_guard_program_find(program);

    if (status < 0)
        return status;
    return sr_error_set(SOCKREF_EUNSUPPORTED, program,
                        "%s does not work as a guard: is it " PROGRAM " of this version?", program);
}
