/*
 * A native core: a service that says in capitals what it is told.
 *
 * It has its own reference to its name. Front ends in other languages take theirs by the package
 * sockref of their language, in the same process, and whoever lets go last ends the listener.
 */
#ifndef CORE_H
#define CORE_H
#ifdef __cplusplus
extern "C" {
#endif

/* Serve the path. Returns 0, or a negative status. */
int core_start(const char *path);
/* What the last failure of this thread was, in words. */
const char *core_error(void);
/* How many references there are to the name, of the core and of all front ends; 0 without one. */
int core_references(void);
/* Let the core's reference go. The service goes on until the front ends have let go of theirs. */
void core_stop(void);

#ifdef __cplusplus
}
#endif
#endif
