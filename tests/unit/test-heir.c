/* Who takes over a name, and who lets go of it: src/name/handover.c, src/name/share.c. I1. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "name/share.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- offers, as the processes of a name see them ---- */

/* One holder. */
struct holder {
    struct sr_share share;
    struct sr_sockfile file;
};

static void start(struct holder *out, const char *path, int expected)
{
    const struct sr_wish wish = {.mode = 0600, .backlog = 8, .fd = -1};
    struct sr_patience patience = {0};
    struct sr_place place;

    ck_assert_int_eq(sr_place_open(path, &place), 0);
    ck_assert_int_eq(sr_share_start(&place, path, &wish, &patience, &out->share, &out->file),
                     expected);
}

/* As the kernel does for a process that was killed. */
static void die(struct holder *holder)
{
    sr_share_close(&holder->share);
    sr_sockfile_close(&holder->file);
}

static void end(struct holder *owner)
{
    ck_assert_int_eq(sr_share_enter(&owner->share, 0), 0);
    ck_assert_int_eq(sr_share_end(&owner->share, &owner->file, true), 0);
    die(owner);
}

static void offer(struct holder *owner)
{
    const int fds[SR_CONTROL_FDS] = {owner->file.fd, owner->share.control};

    sr_peers_accept(&owner->share.peers, owner->share.control);
    ck_assert_uint_eq(owner->share.peers.count, 1);
    ck_assert_int_eq(sr_control_send(owner->share.peers.fds[0], SR_CONTROL_OFFER, fds), 0);
}

static bool takes_over(struct holder *joiner)
{
    int offered[SR_CONTROL_FDS];

    ck_assert_int_eq(sr_share_hear(&joiner->share, &joiner->file.place, offered), SR_NEWS_OFFERED);
    return sr_share_take_over(&joiner->share, offered, &joiner->file);
}

static void let_go(struct holder *joiner)
{
    ck_assert_int_eq(sr_share_let_go(&joiner->share, &joiner->file.place), 0);
    die(joiner);
}

START_TEST(an_offer_is_taken_also_from_a_dead_owner)
{
    const char *path = harness_at("a");
    struct holder owner, joiner;

    start(&owner, path, SR_SHARE_OWNED);
    start(&joiner, path, SR_SHARE_JOINED);
    offer(&owner);
    die(&owner);
    ck_assert(takes_over(&joiner));
    ck_assert(harness_can_dial(path));
    end(&joiner);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/*
 * The owner of the offer has ended, another one has started the name and died, and its socket has
 * the number of the one that was joined. Who took the offer now would own what nobody can dial, and
 * every start would wait for it in vain.
 */
START_TEST(an_offer_of_an_earlier_life_is_declined)
{
    const char *path = harness_at("a");
    struct holder first, joiner, second, third;

    start(&first, path, SR_SHARE_OWNED);
    start(&joiner, path, SR_SHARE_JOINED);
    offer(&first);
    end(&first);
    start(&second, path, SR_SHARE_OWNED);
    joiner.share.socket.device = second.file.device;
    joiner.share.socket.inode = second.file.inode;
    die(&second);
    ck_assert(!takes_over(&joiner));
    ck_assert(!joiner.share.is_owner);
    start(&third, path, SR_SHARE_OWNED);
    ck_assert(harness_can_dial(path));
    let_go(&joiner);
    end(&third);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* An owner that only waits for the last holder is to look; one that holds the name itself is not.
 */
START_TEST(who_lets_go_connects_to_an_owner_that_waits)
{
    const char *path = harness_at("a");
    struct holder owner, joiner;

    start(&owner, path, SR_SHARE_OWNED);
    for (int waits = 0; waits < 2; waits++) {
        start(&joiner, path, SR_SHARE_JOINED);
        if (waits)
            sr_share_free_slot(&owner.share);
        faults_install();
        let_go(&joiner);
        ck_assert_uint_eq(faults_calls(FAULTS_connect), (uint64_t)waits);
        faults_clear();
    }
    end(&owner);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* ---- silence ---- */

#define SILENT 24

static struct wait_events heard;

static void note(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    wait_add(&heard, event);
}

/* A process that was stopped, for its owner. */
static int connect_silently(const char *control)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", control);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* The name can't be started while its listener is offered around. */
START_TEST(holders_that_do_not_answer_keep_nobody_waiting_for_long)
{
    const char *path = harness_at("a");
    sockref_registry *here = harness_registry(0), *there = harness_registry(0),
                     *third = harness_registry(0);
    sockref_options *options = harness_options(SOCKREF_OPT_START_TIMEOUT_MS, 3000, 0);
    sockref *owner = harness_listen(here, path), *heir, *ref;
    int silent[SILENT];

    wait_init(&heard);
    for (int i = 0; i < SILENT; i++)
        silent[i] = connect_silently(harness_at(".a.srctl"));
    heir = harness_listen(there, path);
    harness_assert_ok(sockref_set_watch(heir, note, NULL, NULL));
    sockref_release(owner);
    harness_assert_ok(sockref_registry_listen(third, path, options, &ref));
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    ck_assert(sockref_is_owner(heir));
    ck_assert(!sockref_is_owner(ref));
    sockref_release(ref);
    sockref_release(heir);
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
    sockref_options_free(options);
    sockref_registry_free(here);
    sockref_registry_free(there);
    sockref_registry_free(third);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heir");
    TCase *tcase = harness_tcase(suite, "offers");

    tcase_add_test(tcase, an_offer_is_taken_also_from_a_dead_owner);
    tcase_add_test(tcase, an_offer_of_an_earlier_life_is_declined);
    tcase_add_test(tcase, who_lets_go_connects_to_an_owner_that_waits);
    tcase = harness_tcase(suite, "silence");
    tcase_add_test(tcase, holders_that_do_not_answer_keep_nobody_waiting_for_long);
    return harness_run(suite);
}
