/* The hooks of the floor below, see ref/hooks.h. */
#ifndef SR_NET_HOOKS_H
#define SR_NET_HOOKS_H

/* Runs by itself when the library is loaded; named, so that a static link can't leave it out. */
void sr_hooks_install(void) __attribute__((constructor));

#endif
