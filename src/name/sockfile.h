/* The socket and its file: bind, identify, remove; never somebody else's. */
#ifndef SR_NAME_SOCKFILE_H
#define SR_NAME_SOCKFILE_H

#include "name/place.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A bound, listening socket. The inode of its file is pinned by the descriptor, so (device, inode)
 * is its identity as long as fd is open: the file is removed before the descriptor is closed.
 */
struct sr_sockfile {
    int fd;                /* noted; -1 when there is none */
    atomic_bool has_file;  /* false: abstract, or removed already */
    bool adopted;          /* the caller bound it */
    bool is_tcp;           /* not a Unix socket */
    struct sr_place place; /* owned */
    dev_t device;          /* of the file */
    ino_t inode;
    uint64_t born_ns; /* of the file; 0: this file system does not tell */
};

/* Address of a leaf by the descriptor of its directory; false where it is too long. */
struct sockaddr_un;
bool sr_sockfile_address(const struct sr_place *place, const char *leaf, struct sockaddr_un *out);

/*
 * Bind and listen at a checked path; takes place on success only. mode -1: the umask decides. The
 * file has no wider permissions than that at any moment. backlog 0: only bind. out_pin, which may
 * be NULL: an O_PATH descriptor of the file, noted, for the caller to close; -1: none could be had.
 * Returns 0 or a described status, with nothing left behind.
 */
int sr_sockfile_bind(struct sr_place *place, const char *path, int mode, int backlog,
                     struct sr_sockfile *out_file, int *out_pin);
/* Listen on a socket that was only bound; nothing happens where it listens already. path is for
 * what is told. Returns 0 or a described status. */
int sr_sockfile_listen(int fd, int backlog, const char *path);
/* Connect to an abstract name, once. Returns a noted descriptor or a described status. */
int sr_sockfile_dial(const struct sr_place *place, const char *path);
/* Take a descriptor that the caller bound at a checked path; takes fd and place on success only. */
int sr_sockfile_adopt(struct sr_place *place, const char *path, int fd,
                      struct sr_sockfile *out_file, int *out_pin);
/*
 * Remove the file if it is still this one. A file that is gone, or another one in its place, is no
 * error. Returns 0 or a described status.
 */
int sr_sockfile_remove(struct sr_sockfile *self, const char *path);
/*
 * In a directory where others may add files: put back what a removal that was killed has renamed
 * aside. Returns 0; 1: the name is taken, and it stands aside still; or a described status.
 */
#define SR_ASIDE_SUFFIX ".sraside"
int sr_sockfile_restore(const struct sr_place *place, const char *leaf, const char *path);
/* What stands aside is not known to be ours: give it a name that nobody wants, and say so. */
void sr_sockfile_keep(const struct sr_place *place, const char *aside, const char *path);
/*
 * Remove a leaf of a directory if it is this inode. One that is gone, or another one in its place,
 * is no error. Returns 1 if it was removed, 0, or a described status.
 */
int sr_sockfile_remove_inode(const struct sr_place *place, const char *leaf, dev_t device,
                             ino_t inode, const char *path);
/*
 * Close the socket now, while somebody still counts on the descriptor's number: what stands there
 * from now on accepts nothing. Where that can't be done it stays open until sr_sockfile_close().
 */
void sr_sockfile_retire(struct sr_sockfile *self);
/* Close the descriptor and the directory; the file must have been removed. */
void sr_sockfile_close(struct sr_sockfile *self);

#endif
