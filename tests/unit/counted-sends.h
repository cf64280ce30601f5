/* How many calls the library sends with, of each kind. */
#ifndef TEST_COUNTED_SENDS_H
#define TEST_COUNTED_SENDS_H

#include "base/sys.h"

#include <sys/socket.h>

static int sends, sendmsgs;

static inline ssize_t counted_send(int fd, const void *data, size_t length, int flags)
{
    sends++;
    return send(fd, data, length, flags);
}

static inline ssize_t counted_sendmsg(int fd, const struct msghdr *message, int flags)
{
    sendmsgs++;
    return sendmsg(fd, message, flags);
}

static inline void begin_counting_sends(void)
{
    sr_sys.send = counted_send;
    sr_sys.sendmsg = counted_sendmsg;
}

static inline void end_counting_sends(void)
{
    sr_sys.send = send;
    sr_sys.sendmsg = sendmsg;
}

#endif
