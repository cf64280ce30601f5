/* Finding names, and their spellings: src/ref/lookup.c and src/ref/names.c. D7, D8, D16, G5, G6,
 * G17, G25, V7. */
#include "base/hash.h"
#include "harness/faults.h"
#include "harness/harness.h"
#include "ref/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static sockref_registry *registry;

static void setup(void)
{
    registry = harness_registry(SOCKREF_OPT_MAX_SOCKETS, 200000, 0);
}

static void teardown(void)
{
    sockref_registry_free(registry);
}

static uint64_t calls(void)
{
    uint64_t sum = 0;

    for (int kind = 0; kind < FAULTS_KINDS; kind++)
        sum += faults_calls(kind);
    return sum;
}

static sockref *name_it(const char *path)
{
    sockref *ref = NULL;

    harness_assert_ok(sockref_registry_get_or_create(registry, path, &ref));
    return ref;
}

static sockref *find(const char *path)
{
    sockref *ref = NULL;

    harness_assert_ok(sockref_registry_get_existing(registry, path, &ref));
    return ref;
}

/* G5, L21 */
START_TEST(a_name_is_counted_and_not_bound)
{
    sockref *ref = name_it(harness_at("a")), *again = name_it(harness_at("a"));

    ck_assert_ptr_eq(ref, again);
    ck_assert_uint_eq(sockref_reference_count(ref), 2);
    ck_assert(sockref_is_active(ref));
    ck_assert(!sockref_is_owner(ref));
    ck_assert_int_eq(sockref_fd(ref), -1);
    ck_assert_uint_eq(harness_files(), 0);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    sockref_release(ref);
    sockref_release(again);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
}
END_TEST

/* G6, G3 */
START_TEST(what_is_not_active_is_not_found)
{
    sockref *none = NULL;

    harness_assert_fails(sockref_registry_get_existing(registry, harness_at("a"), &none),
                         SOCKREF_ENOTFOUND);
    sockref_release(name_it(harness_at("a")));
    harness_assert_fails(sockref_registry_get_existing(registry, harness_at("a"), &none),
                         SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_get_existing(registry, NULL, &none), -EINVAL);
    harness_assert_fails(sockref_registry_get_existing(registry, harness_at("a"), NULL), -EINVAL);
    harness_assert_fails(sockref_registry_get_or_create(registry, harness_at("a"), NULL), -EINVAL);
    ck_assert_ptr_null(none);
    ck_assert(!sockref_registry_is_socket_active(registry, NULL));
}
END_TEST

/* D8, L20: three spellings, one name, the first one shown. */
START_TEST(d8_three_spellings_are_one_name)
{
    sockref *refs[6];

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    ck_assert_int_eq(symlink("d", harness_at("link")), 0);
    refs[0] = harness_listen(registry, harness_at("d//a"));
    refs[1] = harness_listen(registry, harness_at("d/a"));
    refs[2] = harness_listen(registry, harness_at("link/a"));
    refs[3] = name_it(harness_at("./d/./a"));
    refs[4] = find(harness_at("link//a"));
    refs[5] = find(harness_at("link/./a"));
    ck_assert(sockref_registry_is_socket_active(registry, harness_at("d/././a")));
    ck_assert(sockref_registry_is_socket_active(registry, harness_at("link/a")));
    for (int i = 1; i < 6; i++)
        ck_assert_ptr_eq(refs[i], refs[0]);
    ck_assert_uint_eq(sockref_reference_count(refs[0]), 6);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
    ck_assert_str_eq(sockref_path(refs[2]), harness_at("d//a"));
    for (int i = 0; i < 6; i++) {
        ck_assert(harness_can_dial(harness_at("link/a")));
        sockref_release(refs[i]);
    }
    ck_assert_uint_eq(harness_sockets(), 0);
    ck_assert(!sockref_registry_is_socket_active(registry, harness_at("link/a")));
}
END_TEST

/* G24: the second look by an alias costs no more than the mutex. */
START_TEST(a_known_alias_is_found_without_a_new_allocation)
{
    sockref *ref, *again;
    uint64_t before;

    ck_assert_int_eq(symlink(".", harness_at("link")), 0);
    ref = name_it(harness_at("a"));
    sockref_release(name_it(harness_at("link/a")));
    faults_install();
    before = faults_calls(FAULTS_malloc) + faults_calls(FAULTS_calloc);
    again = find(harness_at("link/a"));
    ck_assert_uint_eq(faults_calls(FAULTS_malloc) + faults_calls(FAULTS_calloc), before);
    ck_assert_ptr_eq(again, ref);
    sockref_release(again);
    sockref_release(ref);
}
END_TEST

/* An alias without memory: found all the same. */
START_TEST(without_memory_a_spelling_is_found_by_its_place)
{
    sockref *ref = name_it(harness_at("a")), *again = NULL;

    ck_assert_int_eq(symlink(".", harness_at("link")), 0);
    faults_install();
    faults_arm_from(FAULTS_ALLOCATIONS, 1, ENOMEM);
    harness_assert_ok(sockref_registry_get_existing(registry, harness_at("link/a"), &again));
    ck_assert_ptr_eq(again, ref);
    ck_assert(sockref_registry_is_socket_active(registry, harness_at("link/a")));
    faults_disarm();
    sockref_release(again);
    sockref_release(ref);
}
END_TEST

/* Decision 11: the directory was replaced; the spelling leaves its old entry. */
START_TEST(a_spelling_follows_its_directory)
{
    const char *path = harness_at("d/a");
    sockref *old, *fresh;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    old = harness_listen(registry, path);
    ck_assert_int_eq(rename(harness_at("d"), harness_at("e")), 0);
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    fresh = harness_listen(registry, path);
    ck_assert_ptr_ne(old, fresh);
    ck_assert(harness_can_dial(path));
    ck_assert(harness_can_dial(harness_at("e/a")));
    ck_assert_ptr_eq(find(path), fresh);
    ck_assert_ptr_eq(find(harness_at("e/a")), old);
    sockref_release(fresh);
    sockref_release(old);
    sockref_release(old);
    ck_assert(!harness_exists(harness_at("e/a")));
    ck_assert(harness_can_dial(path));
    sockref_release(fresh);
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

/* It was counted when there was no directory yet. */
START_TEST(a_spelling_from_before_its_directory_leads_to_the_name)
{
    sockref *early = name_it(harness_at("d/a")), *owner, *ref;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    ck_assert_int_eq(symlink("d", harness_at("link")), 0);
    owner = harness_listen(registry, harness_at(_i ? "link/a" : "d/a"));
    ref = harness_listen(registry, harness_at(_i ? "d/a" : "link/a"));
    ck_assert_ptr_eq(ref, owner);
    ck_assert(sockref_is_owner(ref));
    ck_assert_uint_eq(sockref_holder_count(ref), 1);
    ck_assert((early == owner) == (_i == 0));
    sockref_release(find(harness_at("d/a")));
    sockref_release(early);
    sockref_release(owner);
    sockref_release(ref);
    ck_assert_uint_eq(harness_sockets(), 0);
}
END_TEST

/* The same to and fro: each listen finds the entry of the directory that is there now. */
START_TEST(a_spelling_follows_its_directory_to_and_fro)
{
    const char *path = harness_at("d/a");
    sockref *refs[2], *now;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    refs[0] = harness_listen(registry, path);
    ck_assert_int_eq(rename(harness_at("d"), harness_at("spare")), 0);
    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    refs[1] = harness_listen(registry, path);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(rename(harness_at("d"), harness_at("t")), 0);
        ck_assert_int_eq(rename(harness_at("spare"), harness_at("d")), 0);
        ck_assert_int_eq(rename(harness_at("t"), harness_at("spare")), 0);
        now = harness_listen(registry, path);
        ck_assert_ptr_eq(now, refs[i % 2]);
        ck_assert_ptr_eq(find(path), now);
        sockref_release(now);
        sockref_release(now);
    }
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    ck_assert_uint_eq(harness_sockets(), 0);
    ck_assert_uint_eq(registry->table.used, 0); /* no spelling is left behind */
}
END_TEST

/* One of several that lead to the same name, whatever came before and after it. */
START_TEST(one_spelling_of_many_follows_its_directory)
{
    static const char *const links[] = {"1", "2", "3"};
    sockref *old, *fresh;

    ck_assert_int_eq(mkdir(harness_at("d"), 0700) | mkdir(harness_at("e"), 0700), 0);
    old = harness_listen(registry, harness_at("d/a"));
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(symlink("d", harness_at(links[i])), 0);
        sockref_release(find(harness_text("%s/a", harness_at(links[i]))));
    }
    ck_assert_int_eq(unlink(harness_at(links[_i])), 0);
    ck_assert_int_eq(symlink("e", harness_at(links[_i])), 0);
    fresh = harness_listen(registry, harness_text("%s/a", harness_at(links[_i])));
    ck_assert_ptr_ne(fresh, old);
    for (int i = 0; i < 3; i++) {
        sockref *found = find(harness_text("%s/a", harness_at(links[i])));

        ck_assert_ptr_eq(found, i == _i ? fresh : old);
        sockref_release(found);
    }
    sockref_release(fresh);
    harness_assert_fails(sockref_registry_get_existing(
                             registry, harness_text("%s/a", harness_at(links[_i])), &fresh),
                         SOCKREF_ENOTFOUND);
    sockref_release(old);
    ck_assert_uint_eq(registry->table.used, 0);
}
END_TEST

START_TEST(names_that_share_a_leaf_or_directory_are_different)
{
    const char *paths[4];
    sockref *refs[4];

    ck_assert_int_eq(mkdir(harness_at("d"), 0700), 0);
    ck_assert_int_eq(mkdir(harness_at("e"), 0700), 0);
    paths[0] = harness_at("d/a");
    paths[1] = harness_at("e/a");
    paths[2] = harness_at("d/b");
    paths[3] = harness_at("d/a..b\xff ");
    for (int i = 0; i < 4; i++)
        refs[i] = harness_listen(registry, paths[i]);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            ck_assert_ptr_ne(refs[i], refs[k]);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_str_eq(sockref_path(refs[i]), paths[i]);
        sockref_release(refs[i]);
    }
}
END_TEST

/* An abstract name is never taken for a path, nor the reverse. */
START_TEST(abstract_names_are_no_paths)
{
    sockref *file, *abstract;

    ck_assert_int_eq(chdir(harness_dir()), 0);
    ck_assert_int_eq(mkdir(harness_at("@x"), 0700), 0);
    file = harness_listen(registry, harness_at("@x/a"));
    ck_assert(!sockref_registry_is_socket_active(registry, "@x/a"));
    harness_assert_fails(sockref_registry_get_existing(registry, "@x/a", &abstract),
                         SOCKREF_ENOTFOUND);
    harness_assert_fails(sockref_registry_cleanup(registry, "@x/a"), SOCKREF_ENOTFOUND);
    ck_assert(sockref_is_active(file));
    abstract = name_it("@x/a");
    ck_assert_ptr_ne(abstract, file);
    sockref_release(abstract);
    sockref_release(file);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

/* G17, G24, G25: a known name is found, counted and given back without any call at all. */
START_TEST(a_hit_makes_no_system_call)
{
    sockref *ref = harness_listen(registry, harness_at("a"));
    uint64_t before;

    faults_install();
    before = calls();
    for (int i = 0; i < 1000; i++) {
        sockref *again = NULL;

        ck_assert_int_eq(sockref_registry_get_existing(registry, harness_at("a"), &again), 0);
        sockref_release(again);
        ck_assert_int_eq(sockref_registry_get_or_create(registry, harness_at("a"), &again), 0);
        sockref_release(sockref_acquire(again));
        sockref_release(again);
        ck_assert(sockref_registry_is_socket_active(registry, harness_at("a")));
        ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 1);
        ck_assert_uint_eq(sockref_reference_count(ref), 1);
    }
    ck_assert_uint_eq(calls(), before);
    sockref_release(ref);
}
END_TEST

/* Decision 11, G17: a miss costs at most one look at the file system. */
START_TEST(a_miss_looks_once)
{
    sockref *ref = harness_listen(registry, harness_at("a"));

    faults_install();
    ck_assert(!sockref_registry_is_socket_active(registry, harness_at("b")));
    ck_assert_uint_eq(faults_calls(FAULTS_fstatat), 1);
    ck_assert_uint_eq(calls(), 1);
    sockref_release(ref);
    faults_install();
    ck_assert(!sockref_registry_is_socket_active(registry, harness_at("b")));
    ck_assert_uint_eq(calls(), 0); /* nothing is active: nothing to look for */
}
END_TEST

#define MANY 100000

/* D16, G25: with 100000 names the count is one load, and a look few slots; nothing walks over all.
 */
START_TEST(d16_many_names_are_as_quick_as_one)
{
    static sockref *refs[MANY];
    char path[64];
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint64_t longest = 0;
    uint32_t index;

    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "@many-%d", i);
        ck_assert_int_eq(sockref_registry_get_or_create(registry, path, &refs[i]), 0);
    }
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), MANY);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "@many-%d", i);
        sr_table_begin(&registry->table,
                       (uint32_t)sr_hash_bytes(sr_hash_seed(), path, strlen(path)), &walk);
        while (sr_table_next(&walk, &kind, &index) && sr_slab_at(&registry->slab, index) != refs[i])
            continue;
        if (walk.slots->mask + 1 - walk.left > longest)
            longest = walk.slots->mask + 1 - walk.left;
    }
    ck_assert_uint_lt(longest, 500);
    faults_install();
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "@many-%d", i * 97);
        ck_assert(sockref_registry_is_socket_active(registry, path));
        ck_assert_uint_eq(sockref_registry_active_socket_count(registry), MANY);
    }
    ck_assert_uint_eq(calls(), 0);
    for (int i = 0; i < MANY; i++)
        sockref_release(refs[i]);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    ck_assert_uint_eq(registry->table.used, 0);
}
END_TEST

/* Two paths of one 64-bit hash can't be found, so an entry is made to look like one. */
START_TEST(two_paths_of_one_hash_are_told_apart)
{
    sockref *ref = name_it("@collision-a"), *none = NULL, *other;
    uint64_t own = atomic_load(&ref->hash);
    uint64_t hash = sr_hash_bytes(sr_hash_seed(), "@collision-b", 12);

    sr_mutex_lock(&registry->mutex);
    ck_assert_int_eq(sr_table_reserve(&registry->table, 2), 0);
    sr_table_add(&registry->table, (uint32_t)hash, SR_TABLE_KEY, ref->rest->index);
    atomic_store(&ref->hash, hash);
    sr_mutex_unlock(&registry->mutex);
    harness_assert_fails(sockref_registry_get_existing(registry, "@collision-b", &none),
                         SOCKREF_ENOTFOUND);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    other = name_it("@collision-b");
    ck_assert_ptr_ne(other, ref);
    ck_assert_ptr_eq(find("@collision-b"), other);
    ck_assert_uint_eq(sockref_reference_count(ref), 1);
    sockref_release(other);
    sockref_release(other);
    sr_mutex_lock(&registry->mutex);
    sr_table_remove(&registry->table, (uint32_t)hash, SR_TABLE_KEY, ref->rest->index);
    atomic_store(&ref->hash, own);
    sr_mutex_unlock(&registry->mutex);
    sockref_release(ref);
    ck_assert_uint_eq(registry->table.used, 0);
}
END_TEST

/* V7: counts are 64 bit; 2^32 + 5 references. */
START_TEST(v7_counts_do_not_wrap_at_32_bits)
{
    const uint64_t many = ((uint64_t)1 << 32) + 5;
    sockref_options *options = sockref_options_new();
    sockref_registry *own;
    sockref *ref, *none = NULL;
    uint64_t references;

    harness_assert_ok(
        sockref_options_set_int(options, SOCKREF_OPT_MAX_REFERENCES, (int64_t)many + 1));
    harness_assert_ok(sockref_registry_new(options, &own));
    sockref_options_free(options);
    ref = harness_listen(own, harness_at("a"));
    atomic_fetch_add(&ref->word, many - 1);
    ck_assert_uint_eq(sockref_reference_count(ref), many);
    ck_assert(sockref_is_owner(ref));
    sockref_live_counts(&references, NULL, NULL);
    ck_assert_uint_eq(references, many);
    ck_assert_ptr_eq(sockref_acquire(ref), ref);
    ck_assert_ptr_null(sockref_acquire(ref));
    harness_assert_fails(sockref_registry_get_existing(own, harness_at("a"), &none),
                         SOCKREF_ELIMIT);
    ck_assert_uint_eq(sockref_reference_count(ref), many + 1);
    atomic_fetch_sub(&ref->word, many);
    sockref_release(ref);
    ck_assert(!harness_exists(harness_at("a")));
    sockref_registry_free(own);
}
END_TEST

/* Names of each length around the one that the entry keeps itself. */
START_TEST(names_of_all_lengths_are_found)
{
    for (size_t length = 2; length <= 107; length++) {
        char path[128] = "@";
        sockref *ref;

        memset(path + 1, 'n', length - 1);
        ref = name_it(path);
        ck_assert_ptr_eq(find(path), ref);
        ck_assert_str_eq(sockref_path(ref), path);
        path[length - 1] = 'x';
        ck_assert(!sockref_registry_is_socket_active(registry, path));
        sockref_release(ref);
        sockref_release(ref);
    }
}
END_TEST

START_TEST(a_model_agrees)
{
    sockref *refs[40] = {NULL};
    unsigned counts[40] = {0}, active = 0;

    srand(5);
    for (int step = 0; step < 20000; step++) {
        unsigned at = (unsigned)rand() % 40;
        const char *path = harness_text("@model-%u", at);
        sockref *ref = NULL;

        if (counts[at] > 0 && rand() % 2) {
            sockref_release(refs[at]);
            active -= --counts[at] == 0;
        } else if (rand() % 3) {
            ref = name_it(path);
            active += counts[at]++ == 0;
            refs[at] = ref;
        } else {
            int status = sockref_registry_get_existing(registry, path, &ref);

            ck_assert_int_eq(status, counts[at] ? 0 : SOCKREF_ENOTFOUND);
            counts[at] += status == 0;
        }
        ck_assert_uint_eq(sockref_registry_active_socket_count(registry), active);
        ck_assert_int_eq(sockref_registry_is_socket_active(registry, path), counts[at] > 0);
        if (counts[at] > 0)
            ck_assert_uint_eq(sockref_reference_count(refs[at]), counts[at]);
    }
    for (int i = 0; i < 40; i++)
        while (counts[i]-- > 0)
            sockref_release(refs[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lookup");
    TCase *tcase = harness_tcase(suite, "lookup");
    TCase *many = harness_tcase_tagged(suite, "many");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_checked_fixture(many, setup, teardown);
    tcase_add_test(tcase, a_name_is_counted_and_not_bound);
    tcase_add_test(tcase, what_is_not_active_is_not_found);
    tcase_add_test(tcase, d8_three_spellings_are_one_name);
    tcase_add_test(tcase, a_known_alias_is_found_without_a_new_allocation);
    tcase_add_test(tcase, without_memory_a_spelling_is_found_by_its_place);
    tcase_add_test(tcase, a_spelling_follows_its_directory);
    tcase_add_loop_test(tcase, a_spelling_from_before_its_directory_leads_to_the_name, 0, 2);
    tcase_add_test(tcase, a_spelling_follows_its_directory_to_and_fro);
    tcase_add_loop_test(tcase, one_spelling_of_many_follows_its_directory, 0, 3);
    tcase_add_test(tcase, names_that_share_a_leaf_or_directory_are_different);
    tcase_add_test(tcase, abstract_names_are_no_paths);
    tcase_add_test(tcase, a_hit_makes_no_system_call);
    tcase_add_test(tcase, a_miss_looks_once);
    tcase_add_test(many, d16_many_names_are_as_quick_as_one);
    tcase_add_test(tcase, two_paths_of_one_hash_are_told_apart);
    tcase_add_test(tcase, v7_counts_do_not_wrap_at_32_bits);
    tcase_add_test(tcase, names_of_all_lengths_are_found);
    tcase_add_test(tcase, a_model_agrees);
    return harness_run(suite);
}
