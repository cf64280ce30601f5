/*
 * Looking up hosts.
 *
 * A lookup is QUEUED, then RUNNING on a thread, then DONE and posted to its loop; the mutex guards
 * which. Who cancels it frees it, but for a running one: that is DROPPED, and its thread frees it.
 * So a loop never waits for a thread, and a thread that comes back from a slow server touches
 * nothing of a connection that is gone. The loop is counted, since it may be freed meanwhile.
 *
 * A thread takes what waits, and ends when nothing does, so that an idle process has none. They are
 * detached, and block all signals.
 */
#include "net/resolve.h"

#include "base/error.h"
#include "base/mutex.h"
#include "base/sys.h"
#include "base/thread.h"
#include "name/tcp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct sr_resolver sr_resolver = {.getaddrinfo = getaddrinfo, .freeaddrinfo = freeaddrinfo};

enum state { QUEUED, RUNNING, DROPPED, DONE };

struct sr_lookup {
    struct sr_task task;
    struct sr_list node; /* of the queue */
    enum state state;    /* guarded by the mutex */
    struct sockref_loop *loop;
    sr_lookup_fn done;
    void *user;
    int family;
    int failure; /* of getaddrinfo(), or 0 */
    int os_errno;
    struct sr_found *found;
    char host[];
};

static struct sr_mutex mutex = SR_MUTEX_INIT;
static struct sr_cond cond = {PTHREAD_COND_INITIALIZER};
static struct sr_list queue SR_GUARDED_BY(mutex) = SR_LIST_INIT(queue);
static unsigned waiting SR_GUARDED_BY(mutex); /* in the queue */
static unsigned threads SR_GUARDED_BY(mutex);
static unsigned wanted SR_GUARDED_BY(mutex); /* lookups that are running, and not dropped */
static struct sr_last_word gone[SR_RESOLVE_THREADS] SR_GUARDED_BY(mutex);

static void make_cond(void) __attribute__((constructor));

static void make_cond(void)
{
    sr_cond_init(&cond); /* by the monotonic clock, which no initializer can say */
}

static void free_lookup(struct sr_lookup *self)
{
    sr_loop_release(self->loop);
    free(self->found);
    free(self);
}

/* ---- results ---- */

static struct sr_found *make_found(size_t count)
{
    struct sr_found *found = sr_sys.calloc(1, sizeof *found + count * sizeof(struct sr_sockaddr));

    if (found)
        found->count = count;
    return found;
}

static bool is_usable(const struct addrinfo *info)
{
    return (info->ai_family == AF_INET && info->ai_addrlen == sizeof(struct sockaddr_in)) ||
           (info->ai_family == AF_INET6 && info->ai_addrlen == sizeof(struct sockaddr_in6));
}

static struct sr_found *copy_list(const struct addrinfo *list)
{
    const struct addrinfo *info;
    struct sr_found *found;
    size_t count = 0;

    for (info = list; info; info = info->ai_next)
        count += is_usable(info);
    found = make_found(count);
    if (!found)
        return NULL;
    count = 0;
    for (info = list; info; info = info->ai_next) {
        if (!is_usable(info))
            continue;
        memcpy(&found->addresses[count].address, info->ai_addr, info->ai_addrlen);
        found->addresses[count++].size = info->ai_addrlen;
    }
    return found;
}

static int describe_missing(const char *host, int family)
{
    return sr_error_wrapped(SOCKREF_ENOTFOUND, 0, "getaddrinfo", NULL,
                            family == AF_INET    ? "the host %s has no IPv4 address"
                            : family == AF_INET6 ? "the host %s has no IPv6 address"
                                                 : "there is no host %s",
                            host);
}

/* Describe why a lookup failed; returns the status. */
static int describe(const struct sr_lookup *self)
{
    int os_errno = EIO;

    switch (self->failure) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return describe_missing(self->host, self->family);
    case EAI_MEMORY:
        return sr_error_no_memory();
    case EAI_AGAIN:
        os_errno = EAGAIN;
        break;
    case EAI_SYSTEM:
        os_errno = self->os_errno ? self->os_errno : EIO;
        break;
    }
    return sr_error_wrapped(-os_errno, os_errno, "getaddrinfo", NULL,
                            "the host %s could not be looked up: %s", self->host,
                            gai_strerror(self->failure));
}

/* Loop thread. */
static void deliver(struct sr_task *task)
{
    struct sr_lookup *self = SR_LIST_OWNER(task, struct sr_lookup, task);
    struct sr_found *found = self->found;
    sr_lookup_fn done = self->done;
    void *user = self->user;
    int status = 0;

    if (self->failure)
        status = describe(self);
    else if (found->count == 0)
        status = describe_missing(self->host, self->family);
    if (status == 0)
        self->found = NULL;
    free_lookup(self);
    done(user, status, status == 0 ? found : NULL);
}

/* ---- threads ---- */

static void look_up(struct sr_lookup *self)
{
    const struct addrinfo hints = {.ai_family = self->family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;

    errno = 0;
    self->failure = sr_resolver.getaddrinfo(self->host, NULL, &hints, &list);
    self->os_errno = errno;
    if (self->failure)
        return;
    self->found = copy_list(list);
    if (!self->found)
        self->failure = EAI_MEMORY;
    sr_resolver.freeaddrinfo(list);
}

/* The next lookup, or NULL. */
static struct sr_lookup *take_locked(void) SR_REQUIRES(mutex)
{
    struct sr_lookup *next;

    if (sr_list_is_empty(&queue))
        return NULL;
    next = SR_LIST_OWNER(queue.next, struct sr_lookup, node);
    sr_list_remove(&next->node);
    waiting--;
    wanted++;
    next->state = RUNNING;
    return next;
}

/* Give the result to the loop, if anybody wants it still. */
static void finish_locked(struct sr_lookup *self) SR_REQUIRES(mutex)
{
    if (self->state == RUNNING) {
        wanted--;
        self->state = DONE;
        if (sr_loop_post(self->loop, &self->task))
            return;
    }
    free_lookup(self);
}

/* A thread says that it ends. One that did so before in the same place has had the time of a
 * thread's life to be gone. */
static void note_end_locked(void) SR_REQUIRES(mutex)
{
    threads--;
    gone[threads] = sr_thread_last_word();
    sr_cond_broadcast(&cond);
}

static void *work(void *arg)
{
    struct sr_lookup *lookup;

    (void)arg;
    pthread_setname_np(pthread_self(), "sockref-lookup");
    sr_mutex_lock(&mutex);
    while ((lookup = take_locked()) != NULL) {
        sr_mutex_unlock(&mutex);
        look_up(lookup);
        sr_mutex_lock(&mutex);
        finish_locked(lookup);
    }
    note_end_locked();
    sr_mutex_unlock(&mutex);
    return NULL;
}

/* Have a thread for one more lookup, if there may be one more. Without it another one gets to it.
 */
static int ensure_thread_locked(void) SR_REQUIRES(mutex)
{
    int status;

    if (threads == SR_RESOLVE_THREADS)
        return 0;
    threads++;
    status = sr_thread_start(work, NULL, true, NULL);
    if (status == 0)
        return 0;
    threads--;
    return threads > 0 ? 0 : status;
}

int sr_resolve_begin(struct sockref_loop *loop, const char *host, int family, sr_lookup_fn done,
                     void *user, struct sr_lookup **out_lookup)
{
    size_t size = strlen(host) + 1;
    struct sr_lookup *self = sr_sys.calloc(1, sizeof *self + size);
    int status = 0;

    if (!self)
        return sr_error_no_memory();
    self->task.run = deliver;
    sr_list_init(&self->task.node);
    sr_list_init(&self->node);
    self->loop = loop;
    self->done = done;
    self->user = user;
    self->family = family;
    memcpy(self->host, host, size);
    sr_loop_acquire(loop);
    sr_mutex_lock(&mutex);
    if (waiting >= SR_RESOLVE_WAITING)
        status =
            sr_error_set(SOCKREF_ELIMIT, NULL, "%u hosts wait to be looked up already", waiting);
    if (status == 0)
        status = ensure_thread_locked();
    if (status == 0) {
        sr_list_append(&queue, &self->node);
        waiting++;
    }
    sr_mutex_unlock(&mutex);
    if (status < 0) {
        free_lookup(self);
        return status;
    }
    *out_lookup = self;
    return 0;
}

void sr_resolve_cancel(struct sr_lookup *self)
{
    bool is_ours = true;

    sr_mutex_lock(&mutex);
    if (self->state == QUEUED) {
        sr_list_remove(&self->node);
        waiting--;
    } else if (self->state == RUNNING) {
        self->state = DROPPED;
        wanted--;
        is_ours = false;
    }
    sr_mutex_unlock(&mutex);
    if (!is_ours)
        return;
    sr_loop_unpost(self->loop, &self->task);
    free_lookup(self);
}

/* ---- hosts that need no lookup ---- */

static bool is_wanted(int family, int wanted_family)
{
    return wanted_family == AF_UNSPEC || wanted_family == family;
}

static void add_loopback(struct sr_found *found, int family)
{
    struct sr_tcp tcp = {.family = family};
    struct sr_sockaddr *to = &found->addresses[found->count++];

    if (family == AF_INET)
        tcp.address.v4.s_addr = htonl(INADDR_LOOPBACK);
    else
        tcp.address.v6 = in6addr_loopback;
    (void)sr_address_from_tcp(&tcp, to); /* only a zone can be unknown */
}

/* RFC 6761: it is the loopback, whatever a server would say. */
static int find_localhost(int family, struct sr_found **out_found)
{
    struct sr_found *found = make_found(2);

    if (!found)
        return sr_error_no_memory();
    found->count = 0;
    if (is_wanted(AF_INET6, family))
        add_loopback(found, AF_INET6);
    if (is_wanted(AF_INET, family))
        add_loopback(found, AF_INET);
    *out_found = found;
    return 1;
}

static int find_numeric(const char *host, const struct sr_tcp *tcp, int family,
                        struct sr_found **out_found)
{
    struct sr_found *found;

    if (!is_wanted(tcp->family, family))
        return describe_missing(host, family);
    found = make_found(1);
    if (!found)
        return sr_error_no_memory();
    if (sr_address_from_tcp(tcp, &found->addresses[0]) < 0) {
        free(found);
        return sr_error_set(SOCKREF_ENOTFOUND, NULL, "there is no interface %s", tcp->zone);
    }
    *out_found = found;
    return 1;
}

int sr_resolve_at_once(const char *host, int family, struct sr_found **out_found)
{
    struct sr_tcp tcp;

    if (sr_tcp_read_host(host, strlen(host), &tcp))
        return find_numeric(host, &tcp, family, out_found);
    if (host[0] == '\0' || strcasecmp(host, "localhost") == 0)
        return find_localhost(family, out_found);
    return 0;
}

/* ---- the end ---- */

int sr_resolve_drain(uint64_t deadline_ns)
{
    struct sr_last_word ended[SR_RESOLVE_THREADS];
    int status = 0;

    sr_mutex_lock(&mutex);
    while (threads > wanted + waiting && status == 0)
        status = sr_cond_wait(&cond, &mutex, deadline_ns);
    if (threads <= wanted + waiting)
        status = 0;
    memcpy(ended, gone, sizeof ended);
    sr_mutex_unlock(&mutex);
    for (int i = 0; i < SR_RESOLVE_THREADS && status == 0; i++)
        status = sr_thread_wait_gone(&ended[i], deadline_ns);
    return status;
}

void sr_resolve_after_fork_in_child(void) SR_UNCHECKED
{
    sr_mutex_init(&mutex);
    sr_cond_init(&cond);
    sr_list_init(&queue);
    waiting = threads = wanted = 0;
    memset(gone, 0, sizeof gone);
}
