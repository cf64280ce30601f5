/*
 * fork() and exit.
 *
 * In a forked child the parent's threads, locks and descriptors are not ours: the descriptors are
 * closed (without unlocking or unlinking anything), every entry gets the bit that says so, and the
 * registries are forgotten; their memory stays, for handles point into it. The child begins with an
 * empty default registry.
 *
 * At the orderly end of the process the files of all names that are still held are removed. Nothing
 * is freed and nobody is waited for.
 */
#include "ref/fork.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/map.h"
#include "name/guard.h"
#include "name/record.h"
#include "ref/hooks.h"
#include "ref/state.h"

#include <sys/mman.h>
#include <unistd.h>

_Atomic unsigned sr_fork_generation;
atomic_bool sr_exiting;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Atomic pid_t home; /* the process whose names these are; 0: there are none */
/* A byte that is 1 in that process; the kernel clears it in a child, so that nobody has to ask for
 * the number of the process at each end of a name. NULL: it can't. */
static volatile char *_Atomic mark;

static void prepare(void) SR_UNCHECKED
{
    sr_mutex_lock(&sr_registry_list_mutex);
    sr_guard_before_fork();
    sr_fd_before_fork();
}

static void in_parent(void) SR_UNCHECKED
{
    sr_fd_after_fork_in_parent();
    sr_guard_after_fork_in_parent();
    sr_mutex_unlock(&sr_registry_list_mutex);
}

static void mark_entries(sockref_registry *self)
{
    uint32_t made = atomic_load(&self->slab.made);

    atomic_store(&self->is_barred, true);
    for (uint32_t i = 0; i < made; i++)
        atomic_fetch_or(&sr_slab_at(&self->slab, i)->word, SR_FORKED);
}

static void set_home(void)
{
    volatile char *known = atomic_load(&mark);

    atomic_store(&home, getpid());
    if (known)
        *known = 1;
}

/* The same question at the end of a process, where a child that shares our memory asks as well. */
static bool is_away(void)
{
    pid_t known = atomic_load(&home);

    return known != 0 && known != getpid();
}

static void in_child(void) SR_UNCHECKED
{
    struct sr_list *node;

    atomic_fetch_add(&sr_fork_generation, 1);
    set_home();
    SR_LIST_EACH(node, &sr_registry_list)
    {
        mark_entries(SR_LIST_OWNER(node, sockref_registry, node));
    }
    sr_registry_forget_all();
    sr_cleanup_after_fork();
    sr_remove_after_fork();
    sr_record_after_fork();
    sr_guard_after_fork();
    sr_log_after_fork();
    sr_fd_after_fork_in_child();
    sr_hooks.after_fork_in_child();
}

static void make_mark(void)
{
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    char *page = sr_map_new(size);

    if (!page)
        return;
    if (madvise(page, size, MADV_WIPEONFORK) < 0) {
        sr_map_free(page, size);
        return;
    }
    *page = 1;
    atomic_store(&mark, page);
}

static void install(void)
{
    make_mark();
    set_home();
    pthread_atfork(prepare, in_parent, in_child);
}

bool sr_fork_was_unseen(void)
{
    const volatile char *known = atomic_load_explicit(&mark, memory_order_acquire);

    return known ? *known == 0 : is_away();
}

void sr_fork_install(void)
{
    pthread_once(&once, install);
}

__attribute__((destructor)) static void at_exit(void)
{
    atomic_store(&sr_exiting, true);
    if (!is_away())
        sr_remove_at_exit();
}
