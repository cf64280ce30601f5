/* Life-cycle scenarios: names, spellings, counts, registries and pools. tests/lifecycle.md has the
 * list. */
#include "util.h"

#include <sockref/pool.h>
#include <sockref/stats.h>

START_TEST(L01_a_started_name_has_a_file_an_owner_and_one_count)
{
    sockref *ref = start(NULL, path);

    ck_assert(is_socket(path));
    ck_assert_uint_eq(mode_of(path), 0600);
    ck_assert_str_eq(sockref_path(ref), path);
    ck_assert(sockref_is_active(ref));
    ck_assert(sockref_is_owner(ref));
    ck_assert_int_ge(sockref_fd(ref), 0);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    ck_assert(sockref_registry_is_socket_active(NULL, path));
    sockref_release(ref);
}
END_TEST

START_TEST(L02_a_second_start_shares_the_name)
{
    sockref *ref = start(NULL, path);
    ino_t inode = inode_of(path);
    sockref *again = start(NULL, path);

    ck_assert_ptr_eq(ref, again);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_int_eq(count_sockets(directory), 1);
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    sockref_release(ref);
    sockref_release(again);
}
END_TEST

START_TEST(L03_one_of_two_references_keeps_the_name)
{
    sockref *ref = start(NULL, path), *again = start(NULL, path);

    sockref_release(again);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert(sockref_is_active(ref));
    ck_assert(is_socket(path));
    ck_assert(is_connectable(path));
    sockref_release(ref);
}
END_TEST

START_TEST(L04_the_last_release_removes_the_file_before_it_returns)
{
    uint64_t active = sockref_registry_active_socket_count(NULL);
    sockref *ref = start(NULL, path);

    sockref_release(ref);
    ck_assert(!exists(path));
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), active);
    ck_assert_int_eq(try_dial(path), -ENOENT);
}
END_TEST

START_TEST(L05_a_second_life_works_like_the_first)
{
    for (int life = 0; life < 100; life++) {
        sockref *ref = start(NULL, path);
        int fd, accepted;

        ck_assert_uint_eq(sockref_reference_count(ref), 1);
        fd = dial(path);
        accepted = accept(sockref_fd(ref), NULL, NULL);
        ck_assert_int_ge(accepted, 0);
        close(accepted);
        close(fd);
        sockref_release(ref);
        ck_assert(!exists(path));
    }
}
END_TEST

static void release_once(sockref **ref)
{
    sockref_release(*ref);
    *ref = NULL;
}

START_TEST(L07_a_handle_that_is_closed_twice_releases_once)
{
    sockref *ref = start(NULL, path), *other = start(NULL, path);

    release_once(&ref);
    release_once(&ref);
    ck_assert_uint_eq(sockref_reference_count(other), 1);
    ck_assert(is_connectable(path));
    release_once(&other);
}
END_TEST

START_TEST(L11_each_acquired_count_is_released_on_its_own)
{
    sockref *ref = start(NULL, path), *more[5];

    for (unsigned i = 0; i < 5; i++) {
        more[i] = sockref_acquire(ref);
        ck_assert_ptr_eq(more[i], ref);
        ck_assert_uint_eq(sockref_reference_count(ref), i + 2);
    }
    sockref_release(ref);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(is_socket(path));
        ck_assert_uint_eq(sockref_reference_count(more[4]), 5 - i);
        sockref_release(more[i]);
    }
    ck_assert(!exists(path));
}
END_TEST

START_TEST(L14_dots_spaces_and_any_bytes_come_back_exactly)
{
    static const char *const leaves[] = {
        "a..b.sock", "with some spaces", " leading", "\xff\xfe\x80.sock", "na\xefve", "..a",
        "a..",       "*?[\"'$`"};

    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        const char *name = file(leaves[i]);
        sockref *ref = start(NULL, name);

        ck_assert(is_socket(name));
        ck_assert_int_eq(strcmp(sockref_path(ref), name), 0);
        ck_assert(sockref_registry_is_socket_active(NULL, name));
        ck_assert(is_connectable(name));
        sockref_release(ref);
        ck_assert(!exists(name));
    }
}
END_TEST

START_TEST(L16_an_abstract_name_is_shared_and_ended_like_a_path)
{
    sockref *ref, *again;
    char name[64];

    snprintf(name, sizeof name, "@sockref-test-%d", (int)getpid());
    ref = start(NULL, name);
    again = start(NULL, name);
    ck_assert_ptr_eq(ref, again);
    ck_assert_str_eq(sockref_path(ref), name);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_int_eq(count_entries(directory), 0);
    sockref_release(again);
    ck_assert(is_connectable(name));
    sockref_release(ref);
    ck_assert(!sockref_registry_is_socket_active(NULL, name));
    ck_assert_int_eq(try_dial(name), -ECONNREFUSED);
    sockref_release(start(NULL, name));
}
END_TEST

START_TEST(L20_three_spellings_are_one_name)
{
    const char *link = file("link"), *leaf = strrchr(directory, '/');
    char doubled[200], dotted[200], linked[200];
    sockref *ref, *second, *third;

    ck_assert_int_eq(symlink(directory, link), 0);
    snprintf(doubled, sizeof doubled, "%.*s/%s//s.sock", (int)(leaf - directory), directory, leaf);
    snprintf(dotted, sizeof dotted, "%s/././s.sock", directory);
    snprintf(linked, sizeof linked, "%s/s.sock", link);
    ref = start(NULL, doubled);
    second = start(NULL, dotted);
    third = start(NULL, linked);
    ck_assert_ptr_eq(ref, second);
    ck_assert_ptr_eq(ref, third);
    ck_assert_uint_eq(sockref_reference_count(ref), 3);
    ck_assert_uint_eq(sockref_registry_active_socket_count(NULL), 1);
    ck_assert_str_eq(sockref_path(third), doubled);
    ck_assert_int_eq(count_sockets(directory), 1);
    ck_assert(sockref_registry_is_socket_active(NULL, path));
    sockref_release(ref);
    sockref_release(second);
    ck_assert(is_connectable(linked));
    sockref_release(third);
    ck_assert(!sockref_registry_is_socket_active(NULL, linked));
}
END_TEST

START_TEST(L21_get_or_create_and_get_existing_bind_nothing)
{
    sockref *ref = NULL, *named, *listening;

    ck_assert_int_eq(sockref_registry_get_existing(NULL, path, &ref), SOCKREF_ENOTFOUND);
    ck_assert_ptr_null(ref);
    ck_assert_int_eq(sockref_registry_get_or_create(NULL, path, &named), 0);
    ck_assert(!exists(path));
    ck_assert(sockref_is_active(named));
    ck_assert(!sockref_is_owner(named));
    ck_assert_int_eq(sockref_fd(named), -1);
    ck_assert(sockref_registry_is_socket_active(NULL, path));
    ck_assert_int_eq(sockref_registry_get_existing(NULL, path, &ref), 0);
    ck_assert_ptr_eq(ref, named);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    listening = start(NULL, path);
    ck_assert_ptr_eq(listening, named);
    ck_assert(sockref_is_owner(named));
    ck_assert_uint_eq(sockref_reference_count(named), 3);
    ck_assert(is_connectable(path));
    sockref_release(listening);
    sockref_release(ref);
    ck_assert(is_socket(path));
    sockref_release(named);
    ck_assert(!exists(path));
    ck_assert_int_eq(sockref_registry_get_existing(NULL, path, &ref), SOCKREF_ENOTFOUND);
}
END_TEST

START_TEST(L22_register_new_takes_a_socket_that_the_program_bound)
{
    int fd = bind_plain(path), other;
    sockref *ref, *again = NULL;

    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &ref), 0);
    ck_assert(sockref_is_owner(ref));
    ck_assert_int_eq(sockref_fd(ref), fd);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    other = bind_plain(file("other.sock"));
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, other, &again), SOCKREF_EEXISTS);
    ck_assert_ptr_null(again);
    sockref_release(ref);
    ck_assert(!exists(path));
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
    ck_assert(is_connectable(file("other.sock")));
    close(other);
    ck_assert_int_eq(unlink(file("other.sock")), 0);
}
END_TEST

/* What register_new must refuse as foreign. */
static int make_refused(int kind)
{
    struct sockaddr_un address;
    int fd = -1, pair[2];
    char name[64];

    switch (kind) {
    case 0: /* bound, but does not listen */
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        unlink(path);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, make_address(path, &address)), 0);
        break;
    case 1:
        unlink(path);
        fd = socket(AF_UNIX, SOCK_DGRAM, 0);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, make_address(path, &address)), 0);
        break;
    case 2: /* listens elsewhere */
        fd = bind_plain(file("elsewhere.sock"));
        break;
    case 3:
        fd = open("/dev/null", O_RDONLY);
        break;
    case 4:
        ck_assert_int_eq(pipe(pair), 0);
        close(pair[1]);
        fd = pair[0];
        break;
    case 5:
        fd = socket(AF_INET, SOCK_STREAM, 0);
        ck_assert_int_eq(listen(fd, 1), 0);
        break;
    default:
        snprintf(name, sizeof name, "@sockref-test-refused-%d", (int)getpid());
        fd = bind_plain(name);
        break;
    }
    return fd;
}

START_TEST(L22_register_new_refuses_any_other_descriptor)
{
    int live = bind_plain(path), fd = make_refused(_i);
    sockref *ref = NULL;

    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &ref), SOCKREF_EFOREIGN);
    ck_assert_ptr_null(ref);
    ck_assert(is_socket(path));
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    ck_assert(!sockref_registry_is_socket_active(NULL, path));
    close(fd);
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, fd, &ref), -EINVAL);
    ck_assert_int_eq(sockref_registry_register_new(NULL, path, -1, &ref), -EINVAL);
    close(live);
    unlink(path);
    unlink(file("elsewhere.sock"));
}
END_TEST

START_TEST(L31_the_default_name_is_one_and_unique_ones_are_two)
{
    sockref_registry *registry = make_registry_here();
    sockref *ref = start(registry, NULL), *again = start(registry, NULL);
    sockref *first = start_with(registry, NULL, SOCKREF_OPT_UNIQUE, 1);
    sockref *second = start_with(registry, NULL, SOCKREF_OPT_UNIQUE, 1);

    ck_assert_ptr_eq(ref, again);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert_ptr_ne(first, second);
    ck_assert_ptr_ne(first, ref);
    ck_assert_str_ne(sockref_path(first), sockref_path(second));
    ck_assert_uint_eq(sockref_reference_count(first), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 3);
    ck_assert_int_eq(count_sockets(directory), 3);
    ck_assert_int_eq(strncmp(sockref_path(ref), directory, strlen(directory)), 0);
    ck_assert(is_connectable(sockref_path(second)));
    sockref_release(ref);
    sockref_release(again);
    sockref_release(first);
    sockref_release(second);
    sockref_registry_free(registry);
}
END_TEST

START_TEST(L33_an_exclusive_start_leaves_a_live_name_as_it_is)
{
    sockref *ref = start(NULL, path), *other = NULL;
    ino_t inode = inode_of(path);

    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &other), SOCKREF_EEXISTS);
    ck_assert_ptr_null(other);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert(is_connectable(path));
    sockref_release(ref);
    ref = start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1);
    ck_assert(sockref_is_owner(ref));
    sockref_release(ref);
}
END_TEST

START_TEST(L34_two_registries_have_names_and_counts_of_their_own)
{
    sockref_registry *first = make_registry(0, 0), *second = make_registry(0, 0);
    sockref *ref = start(first, path), *other;

    ck_assert(!sockref_registry_is_socket_active(second, path));
    ck_assert_uint_eq(sockref_registry_active_socket_count(first), 1);
    ck_assert_uint_eq(sockref_registry_active_socket_count(second), 0);
    other = start(second, file("other.sock"));
    ck_assert_uint_eq(sockref_registry_active_socket_count(second), 1);
    ck_assert_int_eq(sockref_registry_cleanup(second, path), SOCKREF_ENOTFOUND);
    ck_assert(is_connectable(path));
    sockref_release(ref);
    ref = start(second, path);
    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_registry_active_socket_count(second), 2);
    sockref_registry_free(first);
    sockref_registry_free(second);
    ck_assert(is_connectable(path));
    sockref_release(ref);
    sockref_release(other);
}
END_TEST

START_TEST(L34_a_path_of_one_registry_is_joined_by_another)
{
    sockref_registry *first = make_registry(0, 0), *second = make_registry(0, 0);
    sockref *owner = start(first, path), *joiner = start(second, path), *again, *other = NULL;
    ino_t inode = inode_of(path);

    ck_assert_ptr_ne(owner, joiner);
    ck_assert(sockref_is_owner(owner) && !sockref_is_owner(joiner));
    ck_assert(sockref_is_active(owner) && sockref_is_active(joiner));
    ck_assert_int_eq(sockref_fd(joiner), -1);
    ck_assert_uint_eq(sockref_holder_count(owner), 2);
    ck_assert_uint_eq(sockref_holder_count(joiner), 2);
    again = start(second, path); /* one more reference is not one more holder */
    ck_assert_ptr_eq(again, joiner);
    ck_assert_uint_eq(sockref_reference_count(joiner), 2);
    ck_assert_uint_eq(sockref_reference_count(owner), 1);
    ck_assert_uint_eq(sockref_holder_count(owner), 2);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_EXCLUSIVE, 1, &other), SOCKREF_EBUSY);
    ck_assert_int_eq(try_start_with(second, path, SOCKREF_OPT_EXCLUSIVE, 1, &other), SOCKREF_EBUSY);
    ck_assert_int_eq(try_start_with(NULL, path, SOCKREF_OPT_SHARE, 0, &other), SOCKREF_EBUSY);
    ck_assert_ptr_null(other);
    /* What a joiner's registry cleans up is its own hold. */
    ck_assert_int_eq(sockref_registry_cleanup(second, path), 0);
    ck_assert(!sockref_is_active(joiner));
    ck_assert_uint_eq(sockref_holder_count(joiner), 0);
    ck_assert_uint_eq(sockref_holder_count(owner), 1);
    ck_assert(sockref_is_active(owner));
    ck_assert_uint_eq(inode_of(path), inode);
    ck_assert(is_connectable(path));
    sockref_release(joiner);
    sockref_release(again);
    sockref_release(owner);
    ck_assert_int_eq(count_entries(directory), 0);
    ck_assert_int_eq(sockref_registry_drain(second, PATIENCE_MS), 0);
    sockref_registry_free(first);
    sockref_registry_free(second);
}
END_TEST

static sockref_registry_stats stats_of(sockref_registry *registry)
{
    sockref_registry_stats stats = {.size = sizeof stats};

    ck_assert_int_eq(sockref_registry_get_stats(registry, &stats), 0);
    return stats;
}

START_TEST(L69_a_registry_counts_a_name_that_is_shared_and_released)
{
    sockref_registry *registry = make_registry(0, 0);
    sockref *ref = start(registry, path), *again = start(registry, path);
    sockref_stats of_name = {.size = sizeof of_name};
    sockref_registry_stats stats = stats_of(registry);

    ck_assert_uint_eq(stats.created, 1);
    ck_assert_uint_eq(stats.reused, 1);
    ck_assert_uint_eq(stats.closed, 0);
    ck_assert_int_eq(sockref_get_stats(ref, &of_name), 0);
    ck_assert_uint_eq(of_name.references, 2);
    sockref_release(again);
    sockref_release(ref);
    stats = stats_of(registry);
    ck_assert_uint_eq(stats.created, 1);
    ck_assert_uint_eq(stats.closed, 1);
    ck_assert_uint_eq(stats.removed, 1);
    ck_assert_uint_eq(stats.removal.count, 1);
    sockref_registry_free(registry);
}
END_TEST

static void check_file(const sockref *ref, int expected)
{
    sockref_health health = {.size = sizeof health};

    ck_assert_int_eq(sockref_check_health(ref, &health), 0);
    ck_assert_int_eq(health.is_file_ours, expected);
    ck_assert_int_eq(health.is_reachable, expected);
}

START_TEST(L71_a_name_whose_file_was_removed_is_not_well)
{
    sockref *ref = start(NULL, path);

    check_file(ref, 1);
    ck_assert_int_eq(unlink(path), 0);
    check_file(ref, 0);
    sockref_release(ref);
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

static sockref *pick(sockref_pool *pool, const char *expected)
{
    sockref *ref = NULL;

    ck_assert_int_eq(sockref_pool_pick(pool, SOCKREF_POOL_ROUND_ROBIN, &ref), 0);
    ck_assert_str_eq(sockref_path(ref), expected);
    return ref;
}

START_TEST(L72_a_pool_gives_two_names_in_turn_and_ends_with_the_last_pick)
{
    sockref_pool *pool;
    sockref *picked;

    ck_assert_int_eq(sockref_pool_new(&pool), 0);
    ck_assert_int_eq(sockref_pool_listen(pool, NULL, path, 2, NULL), 0);
    sockref_release(pick(pool, file("s.sock.0")));
    sockref_release(pick(pool, file("s.sock.1")));
    picked = pick(pool, file("s.sock.0"));
    sockref_pool_free(pool);
    ck_assert_int_eq(count_sockets(directory), 1);
    ck_assert(is_connectable(sockref_path(picked)));
    sockref_release(picked);
    ck_assert_int_eq(count_entries(directory), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("lifecycle-names");
    TCase *tcase = add_case(suite, "names");

    tcase_add_test(tcase, L01_a_started_name_has_a_file_an_owner_and_one_count);
    tcase_add_test(tcase, L02_a_second_start_shares_the_name);
    tcase_add_test(tcase, L03_one_of_two_references_keeps_the_name);
    tcase_add_test(tcase, L04_the_last_release_removes_the_file_before_it_returns);
    tcase_add_test(tcase, L05_a_second_life_works_like_the_first);
    tcase_add_test(tcase, L07_a_handle_that_is_closed_twice_releases_once);
    tcase_add_test(tcase, L11_each_acquired_count_is_released_on_its_own);
    tcase_add_test(tcase, L14_dots_spaces_and_any_bytes_come_back_exactly);
    tcase_add_test(tcase, L16_an_abstract_name_is_shared_and_ended_like_a_path);
    tcase_add_test(tcase, L20_three_spellings_are_one_name);
    tcase_add_test(tcase, L21_get_or_create_and_get_existing_bind_nothing);
    tcase_add_test(tcase, L22_register_new_takes_a_socket_that_the_program_bound);
    tcase_add_loop_test(tcase, L22_register_new_refuses_any_other_descriptor, 0, 7);
    tcase_add_test(tcase, L31_the_default_name_is_one_and_unique_ones_are_two);
    tcase_add_test(tcase, L33_an_exclusive_start_leaves_a_live_name_as_it_is);
    tcase_add_test(tcase, L34_two_registries_have_names_and_counts_of_their_own);
    tcase_add_test(tcase, L34_a_path_of_one_registry_is_joined_by_another);
    tcase_add_test(tcase, L69_a_registry_counts_a_name_that_is_shared_and_released);
    tcase_add_test(tcase, L71_a_name_whose_file_was_removed_is_not_well);
    tcase_add_test(tcase, L72_a_pool_gives_two_names_in_turn_and_ends_with_the_last_pick);
    return run_suite(suite, argc, argv, NULL);
}
