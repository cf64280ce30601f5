/* Scenarios in which every system call fails once, and what they share. */
#ifndef TORTURE_FAULTS_H
#define TORTURE_FAULTS_H

#include <sockref/net.h>
#include <sockref/sockref.h>
#include <stdbool.h>
#include <stdio.h>

struct faults_scenario {
    const char *name;
    void (*prepare)(void); /* nothing fails yet */
    void (*run)(void);
};

/* ---- faults-scenarios.c ---- */

extern const struct faults_scenario faults_scenarios[];
/* What they may leave where a removal fails. */
extern const char *const faults_leaves[];
/* A scenario whose child has left something: a file may stay, untold. */
extern bool faults_may_leave;
/* The errno values that a call can fail with, ended by 0. */
const int *faults_errnos(const char *member);
const char *faults_make_dir(void);
void faults_remove_dir(void);

/* ---- faults.c ---- */

extern const char *faults_dir;
/* Start or join; where it fails, nothing may have changed. NULL then. */
sockref *faults_listen(sockref_registry *registry, const char *path,
                       const sockref_options *options);
/* Whether it is this call that fails; or one that is needed for a removal. */
bool faults_is_of(const char *member);
bool faults_is_removal(void);
bool faults_wait(bool (*is_so)(void *arg), void *arg, int ms);
/* Tell, and end the run. */
void faults_wrong(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#endif
