/*
 * What a process can do for which a sandbox refuses a system call all its life. Sandboxes that are
 * older than the C library refuse what they do not know by EPERM, where the kernel says ENOSYS.
 */
#include "harness/sanitized.h"
#include "harness/wait.h"
#include "test-guard-helpers.h"

#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define NOT_POSSIBLE 77
#define LOW_HALF     (__BYTE_ORDER == __BIG_ENDIAN ? 4 : 0)

static const struct refusal {
    uint32_t call, first; /* its first argument; 0: whatever it is */
    int reason;
} refusals[] = {
    {SYS_faccessat2, 0, EPERM},      {SYS_faccessat2, 0, ENOSYS},
    {SYS_statx, 0, EPERM},           {SYS_renameat2, 0, EPERM},
    {SYS_close_range, 0, EPERM},     {SYS_pidfd_open, 0, EPERM},
    {SYS_pidfd_open, 0, ENOSYS},     {SYS_getrandom, 0, ENOSYS},
    {SYS_prlimit64, 0, EPERM},       {SYS_flock, 0, EPERM},
    {SYS_utimensat, 0, EPERM},       {SYS_fstatfs, 0, EPERM},
    {SYS_madvise, 0, EPERM},         {SYS_kill, 0, EPERM},
    {SYS_socket, AF_NETLINK, EPERM}, {SYS_socket, AF_NETLINK, EAFNOSUPPORT},
};
#define REFUSALS (int)(sizeof refusals / sizeof refusals[0])

/* From now on, and to the guard as well. */
static bool refuse(const struct refusal *what)
{
    uint16_t compare = what->first == 0 ? BPF_JGE : BPF_JEQ;
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, what->call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + LOW_HALF),
        BPF_JUMP(BPF_JMP | compare | BPF_K, what->first, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)what->reason),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof steps / sizeof steps[0], steps};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* In a child, which ends without a word. */
static int share_and_end(void *refusal)
{
    sockref_options *options = harness_options(SOCKREF_OPT_GUARD, 2, 0);
    sockref_options *home = sockref_options_new();
    const char *path = harness_at("a");
    sockref_registry *other;
    sockref *owner, *joiner;

    have_no_guard();
    if (!refuse(refusal))
        return NOT_POSSIBLE;
    if (sockref_options_set_string(home, SOCKREF_OPT_DIRECTORY, harness_dir()) < 0 ||
        sockref_registry_new(home, &other) < 0 ||
        sockref_registry_listen(NULL, path, options, &owner) < 0 ||
        sockref_registry_listen(other, path, options, &joiner) < 0)
        return 1;
    if (sockref_holder_count(owner) != 2 || !harness_can_dial(path))
        return 2;
    sockref_release(joiner);
    sockref_release(owner);
    if (harness_sockets() + harness_files() + harness_beside() > 0)
        return 3;
    if (sockref_registry_listen(other, NULL, options, &joiner) < 0 ||
        sockref_registry_listen(NULL, path, options, &owner) < 0)
        return 4;
    return 0;
}

START_TEST(there_is_another_way)
{
    int result;

    if (IS_SANITIZED && refusals[_i].call == SYS_prlimit64)
        return; /* a sanitizer's own part of the guard ends without it */
    result = harness_in_child(share_and_end, (void *)&refusals[_i]);
    ck_assert_msg(result == 0 || result == NOT_POSSIBLE, "%d: system call %u", result,
                  (unsigned)refusals[_i].call);
    WAIT_UNTIL(harness_sockets() + harness_files() + harness_beside() == 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("refused");
    TCase *tcase = harness_tcase(suite, "refused");

    tcase_add_loop_test(tcase, there_is_another_way, 0, REFUSALS);
    return harness_run(suite);
}
