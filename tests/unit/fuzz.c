/* Random scripts. */
#include "fuzz.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct fuzz fuzz;

static _Thread_local uint64_t state, state_of; /* which script it belongs to */

uint32_t fuzz_chance(uint32_t below)
{
    uint64_t seed = atomic_load(&fuzz.seed);

    if (state_of != seed)
        state = state_of = seed;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

void fuzz_play(uint64_t scripts, void (*play)(void))
{
    const char *alone = getenv("FUZZ_SEED"), *seconds = getenv("FUZZ_SECONDS");
    uint64_t end = seconds ? sr_clock_after_ms(strtol(seconds, NULL, 10) * 1000) : 0;
    uint64_t first = seconds ? sr_clock_ns() : 1;

    if (alone) {
        atomic_store(&fuzz.seed, strtoull(alone, NULL, 10));
        play();
        return;
    }
    while (seconds ? sr_clock_ns() < end : fuzz.scripts < scripts) {
        atomic_store(&fuzz.seed, first + fuzz.scripts++);
        play();
    }
}

void fuzz_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "FUZZ_SEED=%llu: ", (unsigned long long)atomic_load(&fuzz.seed));
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

int fuzz_main(const char *name, const TTest *test, SFun setup, SFun teardown)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    const char *seconds = getenv("FUZZ_SECONDS");
    SRunner *runner;
    int failed;

    if (seconds)
        setenv("CK_FORK", "no", 1); /* for the totals */
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (seconds)
        printf("%s: %llu scripts, %llu steps, %llu callbacks, %d failed\n", name,
               (unsigned long long)fuzz.scripts, (unsigned long long)fuzz.steps,
               (unsigned long long)atomic_load(&fuzz.callbacks), failed);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
