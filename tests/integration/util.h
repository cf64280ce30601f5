/*
 * What the integration suites share, and how they are run. They use nothing of the library but its
 * public interface, on real files, sockets, threads and processes. Each case has a directory of its
 * own and leaves everything as it was.
 */
#ifndef TEST_UTIL_H
#define TEST_UTIL_H

#include "case.h"
#include "crew.h"
#include "files.h"
#include "plain-sockets.h"
#include "roles.h"
#include "starts.h"
#include "waiting.h"

#include <sockref/net.h>

/* What hardly depends on the backend is shown at full length with the usual one only. */
#define IS_BRIEF (IS_SANITIZED || getenv("SOCKREF_TEST_BACKEND"))

/* What this machine can't show is said, and does not count as shown. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        fprintf(stderr, "skipped: %s: %s\n", __func__, reason);                                    \
        return;                                                                                    \
    } while (0)

/* What the sanitizers are told: a program may fork while it has threads, and one that exits with
 * references held frees nothing. */
static bool is_role __attribute__((unused));

#if defined(__SANITIZE_ADDRESS__)
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return is_role;
}
#elif defined(__SANITIZE_THREAD__)
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

static inline int run_suite(Suite *suite, int argc, char **argv, const struct role *roles)
{
    SRunner *runner;
    int failed;

    if (argc == 5 && strcmp(argv[1], "--as") == 0) {
        srunner_free(srunner_create(suite)); /* a role is no suite */
        is_role = true;
        talk = atoi(argv[3]);
        fcntl(talk, F_SETFD, FD_CLOEXEC);
        for (; roles && roles->name; roles++)
            if (strcmp(roles->name, argv[2]) == 0)
                return roles->play(argv[4]);
        return 126;
    }
    signal(SIGPIPE, SIG_DFL);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline TCase *add_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_add_checked_fixture(tcase, setup, teardown);
    suite_add_tcase(suite, tcase);
    return tcase;
}

#endif
