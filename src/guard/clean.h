/* What the guard does when its parent is gone. */
#ifndef SR_GUARD_CLEAN_H
#define SR_GUARD_CLEAN_H

/* Try once to remove what is left of each name. Returns whether any is to be tried again. */
int sr_clean_once(void);
/* The same again and again, until nothing is left or it is no use. */
void sr_clean_rest(void);

#endif
