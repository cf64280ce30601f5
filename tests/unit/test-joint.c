/* What a registry hears of the other holders of a name: src/ref/joint.c. U7. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/wait.h"
#include "ref/state.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <sockref/net.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static sockref_registry *here, *there;
static struct wait_events heard;

static void note(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)user;
    wait_add(&heard, event);
}

static sockref *listen_watched(sockref_registry *registry, const char *path)
{
    sockref *ref = harness_listen(registry, path);

    harness_assert_ok(sockref_set_watch(ref, note, NULL, NULL));
    return ref;
}

/* No thread of the library runs yet, whose calls would be replaced under it. */
static void setup(void)
{
    faults_install();
    wait_init(&heard);
    here = harness_registry(0);
    there = harness_registry(0);
}

static void teardown(void)
{
    sockref_registry_free(here);
    sockref_registry_free(there);
}

/* ---- a joiner ---- */

START_TEST(the_loss_of_the_owner_is_told)
{
    sockref_options *options = harness_options(SOCKREF_OPT_HANDOVER, 0, 0);
    const char *path = harness_at("a");
    sockref *owner, *joiner;

    harness_assert_ok(sockref_registry_listen(here, path, options, &owner));
    joiner = listen_watched(there, path);
    ck_assert(!sockref_is_owner(joiner));
    ck_assert_uint_eq(sockref_holder_count(joiner), 2);
    sockref_release(owner);
    wait_for(&heard, SOCKREF_WATCH_LOST);
    ck_assert(!sockref_is_active(joiner));
    ck_assert(!harness_exists(path));
    sockref_release(joiner);
    sockref_options_free(options);
}
END_TEST

static sem_t is_inside, may_leave;

static void stay(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)event;
    (void)user;
    sem_post(&is_inside);
    sem_wait(&may_leave);
}

/* What waited for the owner of a name that was joined is not over with the release. */
START_TEST(drain_waits_for_the_end_of_a_watch)
{
    sockref_options *options = harness_options(SOCKREF_OPT_HANDOVER, 0, 0);
    sockref_registry *third = harness_registry(0);
    sockref *owner, *other, *told, *joiner;
    size_t noted;

    sem_init(&is_inside, 0, 0);
    sem_init(&may_leave, 0, 0);
    harness_assert_ok(sockref_registry_listen(here, harness_at("a"), options, &owner));
    other = harness_listen(here, harness_at("b"));
    told = harness_listen(there, harness_at("a"));
    harness_assert_ok(sockref_set_watch(told, stay, NULL, NULL));
    noted = harness_noted();
    joiner = harness_listen(third, harness_at("b"));
    sockref_release(owner);
    sem_wait(&is_inside); /* the service thread is at it */
    sockref_release(joiner);
    harness_assert_fails(sockref_registry_drain(third, 20), SOCKREF_ETIMEOUT);
    sem_post(&may_leave);
    harness_assert_ok(sockref_registry_drain(third, HARNESS_PATIENCE_MS));
    ck_assert_uint_le(harness_noted(), noted);
    sockref_release(told);
    sockref_release(other);
    sockref_registry_free(third);
    sockref_options_free(options);
    sem_destroy(&is_inside);
    sem_destroy(&may_leave);
}
END_TEST

START_TEST(what_is_handed_over_is_the_same_socket)
{
    const char *path = harness_at("a");
    sockref *owner = harness_listen(here, path), *joiner = listen_watched(there, path);
    ino_t inode = harness_inode(path);

    sockref_release(owner);
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    ck_assert(sockref_is_owner(joiner));
    ck_assert_int_ge(sockref_fd(joiner), 0);
    ck_assert_uint_eq(harness_inode(path), inode);
    ck_assert(harness_can_dial(path));
    ck_assert_uint_eq(sockref_holder_count(joiner), 1);
    harness_assert_ok(
        sockref_registry_drain(here, HARNESS_PATIENCE_MS)); /* it lets go of the lock */
    sockref_release(joiner);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

/* ---- while somebody else changes the name for long ---- */

/* Take byte 0 of the name, as a process that was stopped in the middle of a change has it. */
static int hold_change(const char *lock_file)
{
    struct flock byte = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int fd = open(lock_file, O_RDWR | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    WAIT_UNTIL(fcntl(fd, F_OFD_SETLK, &byte) == 0);
    return fd;
}

static int connect_control(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static uint64_t turns(void)
{
    return faults_calls(FAULTS_epoll_wait) + faults_calls(FAULTS_poll);
}

/* The service thread wakes now and then only: one that spins makes thousands of turns meanwhile. */
static void assert_rests(void)
{
    const uint64_t most_per_ms = 4;
    uint64_t before = turns(), began_ns = sr_clock_ns(), ms;

    poll(NULL, 0, 100);
    ms = (sr_clock_ns() - began_ns) / 1000000u;
    ck_assert_uint_le(turns() - before, ms * most_per_ms);
}

/* The owner ends without byte 0, so its joiner can't tell yet that it is gone. */
START_TEST(a_joiner_rests_while_its_owner_is_unclear)
{
    sockref_registry *hasty = harness_registry(SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 1, 0);
    sockref *owner = harness_listen(hasty, harness_at("a"));
    sockref *joiner = listen_watched(there, harness_at("a"));
    int byte = hold_change(harness_at(".a.srlock"));

    sockref_release(owner);
    harness_assert_ok(sockref_registry_drain(hasty, HARNESS_PATIENCE_MS));
    assert_rests();
    ck_assert(sockref_is_active(joiner));
    close(byte);
    wait_for(&heard, SOCKREF_WATCH_LOST);
    sockref_release(joiner);
    sockref_registry_free(hasty);
}
END_TEST

/* Its end waits for byte 0, while somebody connects. */
START_TEST(a_lingering_owner_rests_while_it_waits)
{
    sockref *owner = harness_listen(here, harness_at("a"));
    sockref *joiner = harness_listen(there, harness_at("a"));
    uint64_t threads;
    int byte, peer;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    sockref_release(owner);
    byte = hold_change(harness_at(".a.srlock"));
    threads = faults_calls(FAULTS_thread_create);
    WAIT_UNTIL(faults_calls(FAULTS_thread_create) > threads); /* it has looked: a worker waits */
    peer = connect_control(harness_at(".a.srctl"));
    assert_rests();
    close(peer);
    close(byte);
    sockref_release(joiner);
    WAIT_UNTIL(harness_beside() == 0);
}
END_TEST

static sockref *started;

static void note_start(int status, sockref *ref, void *user)
{
    (void)user;
    started = ref;
    wait_add(&heard, status);
}

static bool is_waited_for(sockref_registry *registry)
{
    bool result;

    sr_mutex_lock(&registry->mutex);
    result = !sr_list_is_empty(&registry->waiters);
    sr_mutex_unlock(&registry->mutex);
    return result;
}

/* Its owner lets it live on for others in the end: a start that waited meanwhile gets it back. */
START_TEST(a_start_that_waits_for_an_end_hears_that_there_is_none)
{
    const char *path = harness_at("a");
    sockref *owner = harness_listen(here, path), *joiner = harness_listen(there, path);
    int byte;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    byte = hold_change(harness_at(".a.srlock"));
    sockref_release(owner);
    harness_assert_ok(sockref_registry_start_listener(here, path, NULL, note_start, NULL));
    WAIT_UNTIL(is_waited_for(here));
    close(byte);
    wait_for(&heard, 0);
    ck_assert(sockref_is_owner(started));
    ck_assert_uint_eq(sockref_holder_count(started), 2);
    sockref_release(started);
    sockref_release(joiner);
    WAIT_UNTIL(harness_beside() == 0);
}
END_TEST

/* What connects can't be accepted, and so stays. */
START_TEST(a_lingering_owner_rests_without_descriptors)
{
    sockref *owner = harness_listen(here, harness_at("a"));
    sockref *joiner = harness_listen(there, harness_at("a"));
    uint64_t accepts;
    int peer;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    sockref_release(owner);
    faults_arm_from(FAULTS_BIT(FAULTS_accept4), 1, EMFILE);
    accepts = faults_calls(FAULTS_accept4);
    peer = connect_control(harness_at(".a.srctl"));
    WAIT_UNTIL(faults_calls(FAULTS_accept4) > accepts);
    assert_rests();
    faults_disarm();
    close(peer);
    sockref_release(joiner);
    WAIT_UNTIL(harness_beside() == 0);
}
END_TEST

/* Whoever has byte 0, or is offered the listener, may have been stopped for good. */
START_TEST(the_end_of_a_registry_waits_for_no_other_process_for_ever)
{
    sockref_registry *hasty = harness_registry(SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 20, 0);
    sockref *owner = harness_listen(hasty, harness_at("a"));
    sockref *joiner = harness_listen(there, harness_at("a"));
    int byte;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    sockref_release(owner);
    byte = hold_change(harness_at(".a.srlock"));
    sockref_registry_free(hasty);
    close(byte);
    sockref_release(joiner);
    WAIT_UNTIL(harness_beside() == 0);
}
END_TEST

static sockref_registry *ending;

static void free_inside(sockref *ref, int event, void *user)
{
    sockref_registry_free(ending);
    note(ref, event, user);
}

/* The thread that calls is the one on which those who are to take over, or to let go, hear of it.
 */
static void free_with(sockref *(*listen)(sockref_registry *registry, const char *path))
{
    sockref_options *options = harness_options(SOCKREF_OPT_HANDOVER, 0, 0);
    sockref *owner, *told, *heir;

    ending = harness_registry(SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 3600000, 0);
    owner = listen(ending, harness_at("a"));
    heir = listen_watched(there, harness_at("a"));
    sockref_release(owner);
    harness_assert_ok(sockref_registry_listen(here, harness_at("b"), options, &owner));
    told = harness_listen(there, harness_at("b"));
    harness_assert_ok(sockref_set_watch(told, free_inside, NULL, NULL));
    sockref_release(owner);
    wait_for(&heard, SOCKREF_WATCH_LOST);
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    ck_assert(sockref_is_owner(heir));
    sockref_release(told);
    sockref_release(heir);
    sockref_options_free(options);
    WAIT_UNTIL(harness_beside() == 0);
}

static sockref *listen_with_delay(sockref_registry *registry, const char *path)
{
    sockref_options *options = harness_options(SOCKREF_OPT_CLEANUP_DELAY_MS, 3600000, 0);
    sockref *ref = NULL;

    harness_assert_ok(sockref_registry_listen(registry, path, options, &ref));
    sockref_options_free(options);
    return ref;
}

static sockref *listen_and_serve(sockref_registry *registry, const char *path)
{
    sockref *ref = harness_listen(registry, path);

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    return ref;
}

START_TEST(the_end_of_a_registry_inside_a_callback_waits_for_nobody)
{
    free_with(listen_with_delay);
    free_with(listen_and_serve);
}
END_TEST

static void *let_go(void *ref)
{
    sockref_release(ref);
    return NULL;
}

static atomic_bool is_shut_down;

static void *shut_down(void *unused)
{
    (void)unused;
    harness_assert_ok(sockref_registry_shutdown(NULL, HARNESS_PATIENCE_MS));
    atomic_store(&is_shut_down, true);
    return NULL;
}

static bool is_refusing(void)
{
    sockref *none;

    return sockref_registry_get_existing(NULL, harness_at("none"), &none) == SOCKREF_ESHUTDOWN;
}

/* The name does not linger in the default registry when that is open again. */
START_TEST(what_is_released_while_its_registry_is_shut_down_is_passed_on)
{
    sockref *owner = listen_and_serve(NULL, harness_at("a"));
    sockref *heir = listen_watched(there, harness_at("a"));
    struct faults_gate gate;
    pthread_t releases, shuts;

    atomic_store(&is_shut_down, false);
    faults_hold(FAULTS_lock, &gate);
    ck_assert_int_eq(pthread_create(&releases, NULL, let_go, owner), 0);
    faults_wait_held(&gate);
    ck_assert_int_eq(pthread_create(&shuts, NULL, shut_down, NULL), 0);
    WAIT_UNTIL(is_refusing() || atomic_load(&is_shut_down));
    faults_let_go(&gate);
    pthread_join(releases, NULL);
    pthread_join(shuts, NULL);
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    ck_assert(sockref_is_owner(heir));
    sockref_release(heir);
}
END_TEST

/* ---- an owner whose file goes ---- */

static void remove_at(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(a_replacement_is_told_once_and_left_alone)
{
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path), *other;

    remove_at(path);
    harness_write(path, "precious");
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert(sockref_is_active(ref));
    ck_assert_int_ge(sockref_fd(ref), 0);

    /* Two more looks: the second name's loss is told after them. */
    other = listen_watched(here, harness_at("b"));
    remove_at(harness_at("b"));
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    sockref_release(other);
    ck_assert_uint_eq(wait_count(&heard), 2);
    sockref_release(ref);
    ck_assert(harness_holds(path, "precious"));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

static const struct loss {
    bool socket, lock, control;
} losses[] = {{true, false, false}, {false, true, false}, {false, false, true}, {true, true, true}};

/* U7: a cleaner of old files, or a person. */
START_TEST(what_was_removed_is_made_again)
{
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path), *joined;
    int fd = sockref_fd(ref);

    if (losses[_i].socket)
        remove_at(path);
    if (losses[_i].lock)
        remove_at(harness_at(".a.srlock"));
    if (losses[_i].control)
        remove_at(harness_at(".a.srctl"));
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(harness_mode(path), 0600);
    ck_assert(harness_can_dial(path));
    joined = harness_listen(there, path);
    ck_assert(!sockref_is_owner(joined));
    ck_assert_uint_eq(sockref_holder_count(ref), 2);
    sockref_release(joined);
    sockref_release(ref);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

/* What the program bound itself is not made again. */
START_TEST(the_loss_of_a_registered_file_is_told)
{
    const char *path = harness_at("a");
    int fd = harness_bind(path);
    sockref *ref;

    harness_assert_ok(sockref_registry_register_new(here, path, fd, &ref));
    harness_assert_ok(sockref_set_watch(ref, note, NULL, NULL));
    remove_at(path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert(!harness_exists(path));
    ck_assert(sockref_is_active(ref) && sockref_fd(ref) == fd);
    sockref_release(ref);
    ck_assert_uint_eq(wait_count(&heard), 1);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

static atomic_int displaced_for;

static void note_displaced(const sockref_log_record *record, void *path)
{
    if (strcmp(record->event, "displaced") == 0 && strcmp(record->path, path) == 0)
        atomic_store(&displaced_for, record->status);
}

/* As where the limit of descriptors was set below the socket's. */
START_TEST(what_can_not_take_the_place_of_a_lost_socket_is_told)
{
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path);

    harness_assert_ok(sockref_set_log(note_displaced, (void *)path, NULL));
    if (_i)
        harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    faults_arm(FAULTS_BIT(FAULTS_replace), 1, EBADF);
    remove_at(path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert_int_eq(atomic_load(&displaced_for), -EBADF);
    ck_assert(sockref_is_owner(ref));
    ck_assert(!harness_can_dial(path));

    /* Whoever removes what leads nowhere has it made again. */
    remove_at(path);
    WAIT_UNTIL(harness_can_dial(path));
    sockref_release(ref);
    ck_assert_uint_eq(wait_count(&heard), 1);
}
END_TEST

/* Nobody notices that its files are made again at this moment. */
START_TEST(a_name_that_is_mended_is_in_use)
{
    const char *path = harness_at("a");
    struct faults_gate gate;
    sockref *ref = listen_watched(here, path);
    int fd = sockref_fd(ref);

    faults_hold(FAULTS_lock, &gate);
    remove_at(path);
    faults_wait_held(&gate);
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert(sockref_is_owner(ref));
    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    ck_assert_ptr_eq(harness_listen(here, path), ref);
    sockref_release(ref);
    faults_let_go(&gate);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
}
END_TEST

START_TEST(a_name_that_is_served_while_it_is_mended_listens)
{
    sockref_options *bound = harness_options(SOCKREF_OPT_BIND_ONLY, 1, 0);
    const char *path = harness_at("a");
    struct faults_gate gate;
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(here, path, bound, &ref));
    harness_assert_ok(sockref_set_watch(ref, note, NULL, NULL));
    faults_hold(FAULTS_bind, &gate);
    remove_at(path);
    faults_wait_held(&gate);
    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    faults_let_go(&gate);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert(harness_can_dial(path));
    sockref_release(ref);
    sockref_options_free(bound);
}
END_TEST

/* Whoever made the directory anew may want the name there. */
START_TEST(in_another_directory_nothing_is_made)
{
    sockref_registry *alone = harness_registry(SOCKREF_OPT_SHARE, 0, 0);
    const char *directory = harness_at("d");
    uint64_t binds;
    sockref *ref;

    ck_assert_int_eq(mkdir(directory, 0700), 0);
    ref = listen_watched(alone, harness_at("d/a"));
    binds = faults_calls(FAULTS_bind);
    ck_assert_int_eq(rename(directory, harness_at("old")), 0);
    remove_at(harness_at("old/a"));
    ck_assert_int_eq(mkdir(directory, 0700), 0);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert_uint_eq(faults_calls(FAULTS_bind), binds);
    sockref_release(ref);
    sockref_registry_free(alone);
}
END_TEST

/* Who has joined before stays a holder, and can own what was made again; until then nobody else
 * owns it. */
START_TEST(a_joiner_outlives_a_lost_file)
{
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path), *joined = listen_watched(there, path);
    ino_t inode;

    remove_at(path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    inode = harness_inode(path);
    sockref_release(ref);
    wait_for(&heard, SOCKREF_WATCH_OWNER);
    ck_assert(sockref_is_owner(joined));
    ck_assert_uint_eq(wait_count(&heard), 2);
    ck_assert_uint_eq(harness_inode(path), inode);
    ck_assert(harness_can_dial(path));
    sockref_release(joined);
}
END_TEST

static void expect_echo(int fd)
{
    char byte = 0;

    ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
    ck_assert_int_eq(byte, 'x');
}

START_TEST(connections_outlive_a_lost_file)
{
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path);
    int before, after;

    harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
    before = harness_dial(path);
    expect_echo(before);
    remove_at(path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    expect_echo(before);
    after = harness_dial(path);
    ck_assert_int_ge(after, 0);
    expect_echo(after);
    close(before);
    close(after);
    sockref_release(ref);
    harness_assert_ok(sockref_registry_drain(here, HARNESS_PATIENCE_MS));
    ck_assert(!harness_exists(path));
}
END_TEST

/* A watch that is set before there is a listener, or before this registry owns it, counts too. */
START_TEST(a_loss_is_told_to_a_watch_that_was_there_before)
{
    const char *path = harness_at("a");
    sockref *first, *ref;

    if (_i == 0) {
        harness_assert_ok(sockref_registry_get_or_create(here, path, &first));
        harness_assert_ok(sockref_set_watch(first, note, NULL, NULL));
        ref = harness_listen(here, path);
        sockref_release(first);
    } else {
        first = harness_listen(there, path);
        ref = listen_watched(here, path);
        sockref_release(first);
        wait_for(&heard, SOCKREF_WATCH_OWNER);
    }
    remove_at(path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    sockref_release(ref);
}
END_TEST

START_TEST(the_end_of_a_name_is_no_loss)
{
    const char *path = harness_at("a");
    sockref *kept = listen_watched(here, harness_at("b"));

    for (int i = 0; i < 50; i++)
        sockref_release(listen_watched(here, path));
    remove_at(harness_at("b"));
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert_uint_eq(wait_count(&heard), 1);
    sockref_release(kept);
}
END_TEST

/* ---- an owner without references of its own, which is wanted again ---- */

static struct {
    pthread_t thread;
    sockref_registry *registry;
    const char *path;
    int status; /* 1: not asked yet */
} revocation;

/* Whoever makes the call; the service thread makes some as well. */
static void clean_up(void *unused)
{
    if (!pthread_equal(pthread_self(), revocation.thread))
        faults_before(FAULTS_lock, clean_up, unused);
    else
        revocation.status = sockref_registry_cleanup(revocation.registry, revocation.path);
}

/* The thread that counts it as a holder again has the right to it meanwhile. */
START_TEST(a_revocation_waits_until_it_is_counted_again)
{
    sockref_registry *hasty = harness_registry(SOCKREF_OPT_CLEANUP_TIMEOUT_MS, 20, 0);
    const char *path = harness_at("a");
    sockref *owner = harness_listen(hasty, path), *joiner = harness_listen(there, path), *again;

    harness_assert_ok(sockref_serve(owner, sockref_echo_handlers(), NULL));
    sockref_release(owner);
    revocation.thread = pthread_self();
    revocation.registry = hasty;
    revocation.path = path;
    revocation.status = 1;
    faults_before(FAULTS_lock, clean_up, NULL);
    if (_i)
        harness_assert_ok(sockref_registry_get_or_create(hasty, path, &again));
    else
        again = harness_listen(hasty, path);
    ck_assert_int_eq(revocation.status, SOCKREF_ETIMEOUT);
    ck_assert(sockref_is_owner(again));
    ck_assert_uint_eq(sockref_holder_count(joiner), 2);
    ck_assert_uint_eq(sockref_holder_count(again), 2);
    harness_assert_ok(sockref_registry_cleanup(hasty, path));
    sockref_release(again);
    sockref_release(joiner);
    sockref_registry_free(hasty);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("joint");
    TCase *joiner = harness_tcase(suite, "joiner");
    TCase *busy = harness_tcase(suite, "busy");
    TCase *loss = harness_tcase(suite, "loss");
    TCase *revival = harness_tcase(suite, "revival");

    tcase_add_checked_fixture(joiner, setup, teardown);
    tcase_add_test(joiner, the_loss_of_the_owner_is_told);
    tcase_add_test(joiner, drain_waits_for_the_end_of_a_watch);
    tcase_add_test(joiner, what_is_handed_over_is_the_same_socket);
    tcase_add_checked_fixture(busy, setup, teardown);
    tcase_add_test(busy, a_joiner_rests_while_its_owner_is_unclear);
    tcase_add_test(busy, a_lingering_owner_rests_while_it_waits);
    tcase_add_test(busy, a_start_that_waits_for_an_end_hears_that_there_is_none);
    tcase_add_test(busy, a_lingering_owner_rests_without_descriptors);
    tcase_add_test(busy, the_end_of_a_registry_waits_for_no_other_process_for_ever);
    tcase_add_test(busy, the_end_of_a_registry_inside_a_callback_waits_for_nobody);
    tcase_add_test(busy, what_is_released_while_its_registry_is_shut_down_is_passed_on);
    tcase_add_checked_fixture(loss, setup, teardown);
    tcase_add_test(loss, a_replacement_is_told_once_and_left_alone);
    tcase_add_test(loss, the_loss_of_a_registered_file_is_told);
    tcase_add_loop_test(loss, what_was_removed_is_made_again, 0, sizeof losses / sizeof losses[0]);
    tcase_add_loop_test(loss, what_can_not_take_the_place_of_a_lost_socket_is_told, 0, 2);
    tcase_add_test(loss, a_name_that_is_mended_is_in_use);
    tcase_add_test(loss, a_name_that_is_served_while_it_is_mended_listens);
    tcase_add_test(loss, in_another_directory_nothing_is_made);
    tcase_add_test(loss, a_joiner_outlives_a_lost_file);
    tcase_add_test(loss, connections_outlive_a_lost_file);
    tcase_add_loop_test(loss, a_loss_is_told_to_a_watch_that_was_there_before, 0, 2);
    tcase_add_test(loss, the_end_of_a_name_is_no_loss);
    tcase_add_checked_fixture(revival, setup, teardown);
    tcase_add_loop_test(revival, a_revocation_waits_until_it_is_counted_again, 0, 2);
    return harness_run(suite);
}
