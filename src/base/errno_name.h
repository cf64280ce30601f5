/* The names of error numbers. */
#ifndef SR_BASE_ERRNO_NAME_H
#define SR_BASE_ERRNO_NAME_H

/* Such as "EACCES"; NULL where there is none. */
const char *sr_errno_name(int number);

#endif
