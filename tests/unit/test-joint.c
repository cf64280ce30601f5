/* What a registry hears of the other holders of a name: src/ref/joint.c. U7. */
#include "harness/harness.h"
#include "harness/wait.h"

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

static void setup(void)
{
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
    sockref_release(joiner);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(harness_beside(), 0);
}
END_TEST

/* ---- an owner whose file goes ---- */

static void replace(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
    harness_write(path, "precious");
}

static void remove_socket(const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
}

static void remove_lock(const char *path)
{
    (void)path;
    ck_assert_int_eq(unlink(harness_at(".a.srlock")), 0);
}

START_TEST(the_loss_of_a_file_is_told_once)
{
    static void (*const losses[])(const char *path) = {replace, remove_socket, remove_lock};
    const char *path = harness_at("a");
    sockref *ref = listen_watched(here, path);

    losses[_i](path);
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert(sockref_is_active(ref));
    ck_assert_int_ge(sockref_fd(ref), 0);

    /* Two more looks: the second name's loss is told after them. */
    if (_i == 0) {
        sockref *other = listen_watched(here, harness_at("b"));

        ck_assert_int_eq(unlink(harness_at("b")), 0);
        wait_for(&heard, SOCKREF_WATCH_DISPLACED);
        sockref_release(other);
        ck_assert_uint_eq(wait_count(&heard), 2);
    }
    sockref_release(ref);
    if (_i == 0) {
        ck_assert(harness_holds(path, "precious"));
        ck_assert_int_eq(unlink(path), 0);
    }
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
    remove_socket(path);
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
    remove_socket(harness_at("b"));
    wait_for(&heard, SOCKREF_WATCH_DISPLACED);
    ck_assert_uint_eq(wait_count(&heard), 1);
    sockref_release(kept);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("joint");
    TCase *joiner = harness_tcase(suite, "joiner");
    TCase *loss = harness_tcase(suite, "loss");

    tcase_add_checked_fixture(joiner, setup, teardown);
    tcase_add_test(joiner, the_loss_of_the_owner_is_told);
    tcase_add_test(joiner, what_is_handed_over_is_the_same_socket);
    tcase_add_checked_fixture(loss, setup, teardown);
    tcase_add_loop_test(loss, the_loss_of_a_file_is_told_once, 0, 3);
    tcase_add_loop_test(loss, a_loss_is_told_to_a_watch_that_was_there_before, 0, 2);
    tcase_add_test(loss, the_end_of_a_name_is_no_loss);
    return harness_run(suite);
}
