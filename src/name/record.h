/*
 * The record in a lock file: who owns the name, and which inode its socket is. It tells identities
 * and helps people; whether the owner lives is told by its lock alone.
 */
#ifndef SR_NAME_RECORD_H
#define SR_NAME_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define SR_RECORD_SIZE 128

enum sr_record_state {
    SR_RECORD_NONE,    /* empty, damaged, or of another version */
    SR_RECORD_BINDING, /* the name was free, and the owner is about to bind it */
    SR_RECORD_LIVE     /* device and inode are the socket's */
};

struct sr_record {
    uint32_t state;                          /* enum sr_record_state */
    uint32_t generation;                     /* goes up with each owner of this lock file */
    uint64_t life;                           /* drawn by a start; handing over does not change it */
    uint64_t device, inode, born_ns;         /* born_ns 0: this file system does not tell */
    uint64_t pid, start_time, pid_namespace; /* start_time in the kernel's ticks since the boot */
    uint8_t boot_id[16];                     /* zeros: it could not be read */
    char program[16];
    uint64_t time_namespace; /* another one counts those ticks from another moment */
};

/* Read one; what can't be read is NONE. Returns 0 or -errno. */
int sr_record_read(int fd, struct sr_record *out);
/* Write one whole. Returns 0 or -errno. */
int sr_record_write(int fd, const struct sr_record *record);
/* Fill in who this process is, and a life that no other start has; the rest is zero. */
void sr_record_of_self(struct sr_record *out);
/* In a forked child: what is known is the parent's. */
void sr_record_after_fork(void);
/* How sure it is that an inode is the socket that a record tells of. */
enum sr_record_match {
    SR_RECORD_OTHER,
    SR_RECORD_NUMBERS, /* the numbers agree, but they may be of a later inode */
    SR_RECORD_CERTAIN
};
/* Compare with an inode that a descriptor pins. Asks the file system, describes nothing. */
enum sr_record_match sr_record_match(const struct sr_record *record, int inode,
                                     const struct stat *info);
/* Whether it is proven that the process which wrote it is gone. */
bool sr_record_is_dead(const struct sr_record *record);

#endif
