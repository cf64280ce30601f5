/* What the driver and its workers share. */
#ifndef TORTURE_WORKER_H
#define TORTURE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

enum path_class {
    PLAIN,   /* shared by all workers */
    ALONE,   /* with SHARE 0 */
    FOREIGN, /* a process that does not use the library is there as well */
};

struct torture_path {
    char text[200];
    enum path_class class;
    bool sticky; /* in a directory where others may add files */
};

extern struct torture_path torture_paths[];
extern int torture_paths_count;

/* A worker in C, until it is killed or has ended. Never returns. */
void torture_worker(int slot, uint64_t seed) __attribute__((noreturn));
/* A process that uses the paths of class FOREIGN without the library. Never returns. */
void torture_foreigner(uint64_t seed) __attribute__((noreturn));

#endif
