/* Who takes over a name, and who lets go of it: src/name/handover.c, src/name/share.c. I1. */
#include "base/clock.h"
#include "base/fd.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "name/mend.h"
#include "name/share.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

static void bind_alone(struct holder *out, const char *path, int mode)
{
    const struct sr_wish wish = {.mode = mode, .fd = -1};
    struct sr_patience patience = {0};
    struct sr_place place;

    ck_assert_int_eq(sr_place_open(path, &place), 0);
    ck_assert_int_eq(sr_share_bind_alone(&place, path, &wish, &patience, &out->share, &out->file),
                     SR_SHARE_OWNED);
}

/* Somebody has removed the file. */
static void mend(struct holder *owner)
{
    struct sr_sockfile fresh;

    ck_assert_int_eq(sr_share_mend(&owner->share, &owner->file, 8, &fresh), 0);
    ck_assert_int_ge(fresh.fd, 0);
    fresh.place = owner->file.place;
    sr_fd_close(owner->file.fd);
    owner->file = fresh;
}

/* Nobody is to connect to a name before it is served. */
START_TEST(what_only_was_bound_is_bound_again)
{
    const char *path = harness_at("a");
    struct holder owner;

    bind_alone(&owner, path, 0600);
    ck_assert_int_eq(unlink(path), 0);
    mend(&owner);
    ck_assert(harness_is_socket(path));
    ck_assert_int_eq(harness_dial(path), -ECONNREFUSED);
    ck_assert_int_eq(sr_sockfile_remove(&owner.file, path), 0);
    die(&owner);
}
END_TEST

static const int modes[] = {-1, 0600, 0666, 0777};

/* Also where the umask has become another one. */
START_TEST(what_is_bound_again_has_the_mode_that_it_had)
{
    const char *path = harness_at("a");
    mode_t before = umask(027);
    struct holder owner;
    unsigned mode;

    bind_alone(&owner, path, modes[_i]);
    mode = harness_mode(path);
    umask(modes[_i] < 0 ? 0 : 077);
    for (int round = 0; round < 2; round++) {
        ck_assert_int_eq(unlink(path), 0);
        mend(&owner);
        ck_assert_uint_eq(harness_mode(path), mode);
    }
    umask(before);
    ck_assert_int_eq(sr_sockfile_remove(&owner.file, path), 0);
    die(&owner);
}
END_TEST

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

/* Anybody may bind the name of a control socket in a directory like /tmp, when it is free. */
START_TEST(another_users_control_socket_tells_nothing)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = ".a.srctl"};
    int none[SR_CONTROL_FDS], control, stranger = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    struct holder owner, joiner;
    const char *path;

    if (!harness_sticky_dir())
        return;
    path = harness_at("sticky/a");
    start(&owner, path, SR_SHARE_OWNED);
    start(&joiner, path, SR_SHARE_JOINED);
    end(&owner);
    ck_assert_int_eq(chdir(harness_sticky_dir()), 0);
    ck_assert_int_eq(seteuid(65534), 0);
    ck_assert_int_eq(bind(stranger, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(stranger, 8), 0);
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(sr_share_hear(&joiner.share, &joiner.file.place, none), SR_NEWS_LOST);
    ck_assert_int_eq(sr_control_connect(&joiner.file.place, path, &control), SR_CONTROL_REFUSED);
    close(stranger);
    ck_assert_int_eq(unlink(harness_at("sticky/.a.srctl")), 0);
    let_go(&joiner);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* ---- an owner that passes its listener on ---- */

struct passing {
    struct holder *owner;
    pthread_t thread;
    _Atomic bool is_over, taken;
};

static void *pass_on(void *arg)
{
    struct passing *self = arg;
    struct holder *owner = self->owner;

    /* Longer than a case waits, so that it is told whether the heir was heard, or missed. */
    atomic_store(&self->taken, sr_share_hand_over(&owner->share, &owner->file,
                                                  sr_clock_after_ms(2 * HARNESS_PATIENCE_MS)));
    atomic_store(&self->is_over, true);
    return NULL;
}

static void begin_to_pass_on(struct passing *out, struct holder *owner)
{
    *out = (struct passing){.owner = owner};
    ck_assert_int_eq(sr_share_enter(&owner->share, 0), 0);
    sr_share_free_slot(&owner->share);
    ck_assert_int_eq(pthread_create(&out->thread, NULL, pass_on, out), 0);
}

/* Returns whether somebody has taken it. */
static bool end_of_passing(struct passing *self)
{
    WAIT_UNTIL(atomic_load(&self->is_over));
    ck_assert_int_eq(pthread_join(self->thread, NULL), 0);
    die(self->owner);
    return atomic_load(&self->taken);
}

static bool has_word(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    return poll(&ready, 1, 0) == 1;
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

/* On a busy machine who was asked first may answer when all others have been asked. */
START_TEST(the_answer_of_a_slow_holder_counts)
{
    const char *path = harness_at("a");
    struct holder owner, slow;
    struct passing passing;
    int silent[12];

    start(&owner, path, SR_SHARE_OWNED);
    start(&slow, path, SR_SHARE_JOINED);
    for (int i = 0; i < 12; i++)
        silent[i] = connect_silently(harness_at(".a.srctl"));
    begin_to_pass_on(&passing, &owner);
    for (int i = 0; i < 12; i++)
        WAIT_UNTIL(has_word(silent[i]));
    ck_assert(takes_over(&slow));
    ck_assert(end_of_passing(&passing));
    ck_assert(harness_can_dial(path));
    end(&slow);
    for (int i = 0; i < 12; i++)
        close(silent[i]);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

static bool is_read(int fd)
{
    int left = -1;

    return ioctl(fd, SIOCOUTQ, &left) == 0 && left == 0;
}

/* Nobody answers so but to have this process keep what it can't use. */
START_TEST(descriptors_that_come_with_an_answer_are_not_kept)
{
    const char *path = harness_at("a");
    struct holder owner, heir;
    struct passing passing;
    int fds[SR_CONTROL_FDS], liar;
    unsigned before;

    start(&owner, path, SR_SHARE_OWNED);
    start(&heir, path, SR_SHARE_JOINED);
    liar = connect_silently(harness_at(".a.srctl"));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    begin_to_pass_on(&passing, &owner);
    WAIT_UNTIL(has_word(liar));
    before = harness_descriptors();
    ck_assert_int_eq(sr_control_send(liar, SR_CONTROL_DECLINED, fds), 0);
    WAIT_UNTIL(is_read(liar));
    ck_assert(takes_over(&heir));
    WAIT_UNTIL(atomic_load(&passing.is_over));
    /* What the heir was offered has come, and it was offered nothing else. */
    ck_assert_uint_eq(harness_descriptors(), before + SR_CONTROL_FDS);
    ck_assert(end_of_passing(&passing));
    end(&heir);
    close(liar);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* It has yet to hear that the owner before has passed the name on. */
START_TEST(a_holder_that_is_not_connected_is_waited_for)
{
    const char *path = harness_at("a");
    struct holder owner, late;
    struct passing passing;
    int none[SR_CONTROL_FDS];

    start(&owner, path, SR_SHARE_OWNED);
    start(&late, path, SR_SHARE_JOINED);
    sr_fd_close(late.share.control);
    late.share.control = -1;
    begin_to_pass_on(&passing, &owner);
    WAIT_UNTIL(!sr_lockfile_has_owner(&late.share.lock) || atomic_load(&passing.is_over));
    ck_assert(!atomic_load(&passing.is_over));
    ck_assert_int_eq(sr_share_hear(&late.share, &late.file.place, none), SR_NEWS_NONE);
    WAIT_UNTIL(has_word(late.share.control));
    ck_assert(takes_over(&late));
    ck_assert(end_of_passing(&passing));
    end(&late);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

/* It has declined since another one was about to take it, which is killed then. */
START_TEST(who_declined_for_another_is_asked_again)
{
    const char *path = harness_at("a");
    struct holder owner, first, second;
    struct passing passing;

    start(&owner, path, SR_SHARE_OWNED);
    start(&first, path, SR_SHARE_JOINED);
    start(&second, path, SR_SHARE_JOINED);
    begin_to_pass_on(&passing, &owner);
    WAIT_UNTIL(has_word(first.share.control));
    ck_assert_int_eq(sr_lockfile_take(&first.share.lock, path, SR_BYTE_HEIR), 0);
    ck_assert_int_eq(sr_lockfile_take(&first.share.lock, path, SR_BYTE_OWNER), 0);
    WAIT_UNTIL(has_word(second.share.control));
    ck_assert(!takes_over(&second));
    ck_assert(!has_word(second.share.control));
    die(&first);
    WAIT_UNTIL(has_word(second.share.control));
    ck_assert(takes_over(&second));
    ck_assert(end_of_passing(&passing));
    ck_assert(harness_can_dial(path));
    end(&second);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

#define SILENT 24

static struct wait_events heard;

static void note(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    wait_add(&heard, event);
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

static void take_byte(void *arg)
{
    struct holder *heir = arg;

    ck_assert_int_eq(sr_lockfile_take(&heir->share.lock, heir->share.path, SR_BYTE_OWNER), 0);
    faults_arm_from(FAULTS_BIT(FAULTS_lock), 1, ENOLCK);
}

/* The system can't tell whose byte 1 is: then it may be an heir's, who has yet to answer. */
START_TEST(what_may_be_an_heirs_is_left_to_him)
{
    const char *path = harness_at("a");
    struct holder owner, heir;

    start(&owner, path, SR_SHARE_OWNED);
    start(&heir, path, SR_SHARE_JOINED);
    ck_assert_int_eq(sr_share_enter(&owner.share, 0), 0);
    sr_share_free_slot(&owner.share);
    faults_install();
    faults_before(FAULTS_sendmsg, take_byte, &heir);
    ck_assert(sr_share_hand_over(&owner.share, &owner.file, sr_clock_after_ms(20)));
    faults_clear();
    ck_assert(harness_is_socket(path));
    die(&owner);
    sr_lockfile_free(&heir.share.lock, SR_BYTE_OWNER);
    let_go(&heir);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heir");
    TCase *tcase = harness_tcase(suite, "offers");

    tcase_add_test(tcase, an_offer_is_taken_also_from_a_dead_owner);
    tcase_add_test(tcase, an_offer_of_an_earlier_life_is_declined);
    tcase_add_test(tcase, who_lets_go_connects_to_an_owner_that_waits);
    tcase_add_test(tcase, another_users_control_socket_tells_nothing);
    tcase = harness_tcase(suite, "mending");
    tcase_add_test(tcase, what_only_was_bound_is_bound_again);
    tcase_add_loop_test(tcase, what_is_bound_again_has_the_mode_that_it_had, 0,
                        sizeof modes / sizeof modes[0]);
    tcase = harness_tcase(suite, "silence");
    tcase_add_test(tcase, the_answer_of_a_slow_holder_counts);
    tcase_add_test(tcase, descriptors_that_come_with_an_answer_are_not_kept);
    tcase_add_test(tcase, a_holder_that_is_not_connected_is_waited_for);
    tcase_add_test(tcase, who_declined_for_another_is_asked_again);
    tcase_add_test(tcase, what_may_be_an_heirs_is_left_to_him);
    tcase_add_test(tcase, holders_that_do_not_answer_keep_nobody_waiting_for_long);
    return harness_run(suite);
}
