/*
 * Random scripts: what a seed decides, and how they are run. A failure tells its seed; FUZZ_SEED=n
 * repeats that script alone. FUZZ_SECONDS=n ("make fuzz") goes on for so long with seeds of the
 * clock, in one process, and ends with one line of totals.
 */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <check.h>
#include <stdatomic.h>
#include <stdint.h>

struct fuzz {
    _Atomic uint64_t seed; /* of this script */
    uint64_t scripts, steps;
    _Atomic uint64_t callbacks;
};
extern struct fuzz fuzz;

/* A number below another one; each thread has its own row of them. */
uint32_t fuzz_chance(uint32_t below);

/* In a case: play so many scripts, or those that the environment says. */
void fuzz_play(uint64_t scripts, void (*play)(void));

/* The main function of a suite with this one case. */
int fuzz_main(const char *name, const TTest *test, SFun setup, SFun teardown);

/* Any thread: say what is wrong, and end the process. */
_Noreturn void fuzz_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define FUZZ_EXPECT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #condition);                                \
    } while (0)

#endif
