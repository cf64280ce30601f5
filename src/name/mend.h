/* Making the files of a name again. */
#ifndef SR_NAME_MEND_H
#define SR_NAME_MEND_H

#include "name/share.h"

/*
 * The owner of a name makes again what is missing of its files; what stands there in place of one
 * is left alone. Returns 0, SR_LOCK_BUSY: others are at the name, to be tried again, or a described
 * status. *out_fresh has no descriptor, or it is the socket whose descriptor and identity belong in
 * the place of the file's, which is the caller's to see to; it listens if that one did.
 */
int sr_share_mend(struct sr_share *share, const struct sr_sockfile *file, int backlog,
                  struct sr_sockfile *out_fresh);

#endif
