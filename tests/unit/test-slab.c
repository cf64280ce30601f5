/* Where entries live: src/ref/slab.c. */
#include "ref/slab.h"

#include "harness/faults.h"
#include "harness/harness.h"

#include <errno.h>
#include <stdlib.h>

#define MANY 5000

static struct sr_slab slab;
static sockref *entries[MANY];

static void teardown(void)
{
    sr_slab_destroy(&slab);
}

static void take_all(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        entries[i] = sr_slab_take(&slab);
        ck_assert_ptr_nonnull(entries[i]);
    }
}

START_TEST(entries_stand_in_cache_lines_of_their_own_and_are_numbered)
{
    take_all(MANY);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_uint_eq((uintptr_t)entries[i] % SR_CACHE_LINE, 0);
        ck_assert_uint_eq(entries[i]->rest->index, i);
        ck_assert_ptr_eq(sr_slab_at(&slab, i), entries[i]);
        ck_assert_uint_eq(atomic_load(&entries[i]->word), 0);
        entries[i]->rest->life = (struct sr_life *)entries[i]; /* nobody else's */
    }
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_ptr_eq(entries[i]->rest->life, entries[i]);
}
END_TEST

START_TEST(the_last_given_is_the_next_taken)
{
    take_all(100);
    sr_slab_give(&slab, entries[7]);
    sr_slab_give(&slab, entries[93]);
    ck_assert_ptr_eq(sr_slab_take(&slab), entries[93]);
    ck_assert_ptr_eq(sr_slab_take(&slab), entries[7]);
    ck_assert_uint_eq(sr_slab_take(&slab)->rest->index, 100);
}
END_TEST

/* Decision 10: an entry that was given back is still an entry, with its word. */
START_TEST(an_entry_keeps_its_word_and_place)
{
    take_all(1);
    atomic_store(&entries[0]->word, (uint64_t)5 << SR_GENERATION_SHIFT);
    sr_slab_give(&slab, entries[0]);
    ck_assert_uint_eq(atomic_load(&entries[0]->word), (uint64_t)5 << SR_GENERATION_SHIFT);
    ck_assert_ptr_eq(sr_slab_take(&slab), entries[0]);
    ck_assert_uint_eq(atomic_load(&entries[0]->word), (uint64_t)5 << SR_GENERATION_SHIFT);
}
END_TEST

START_TEST(without_memory_there_is_none_and_later_there_is)
{
    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_ptr_null(sr_slab_take(&slab));
    take_all(64);
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_ptr_null(sr_slab_take(&slab)); /* the second chunk */
    ck_assert_uint_eq(sr_slab_take(&slab)->rest->index, 64);
}
END_TEST

START_TEST(random_takes_and_gives_never_share_an_entry)
{
    static bool taken[MANY];
    unsigned count = 0;

    srand(3);
    for (int step = 0; step < 50000; step++) {
        if (count < MANY && rand() % 2) {
            sockref *entry = sr_slab_take(&slab);

            ck_assert_uint_lt(entry->rest->index, MANY);
            ck_assert(!taken[entry->rest->index]);
            taken[entry->rest->index] = true;
            entries[count++] = entry;
        } else if (count > 0) {
            unsigned at = (unsigned)rand() % count;

            taken[entries[at]->rest->index] = false;
            sr_slab_give(&slab, entries[at]);
            entries[at] = entries[--count];
        }
    }
}
END_TEST

/* J27: what a name costs. */
START_TEST(a_name_costs_one_line_and_what_is_beside_it)
{
    ck_assert_uint_eq(sizeof(struct sockref), 64);
    ck_assert_uint_le(sizeof(struct sr_entry_rest), 64);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slab");
    TCase *tcase = harness_tcase(suite, "slab");

    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, entries_stand_in_cache_lines_of_their_own_and_are_numbered);
    tcase_add_test(tcase, the_last_given_is_the_next_taken);
    tcase_add_test(tcase, an_entry_keeps_its_word_and_place);
    tcase_add_test(tcase, without_memory_there_is_none_and_later_there_is);
    tcase_add_test(tcase, random_takes_and_gives_never_share_an_entry);
    tcase_add_test(tcase, a_name_costs_one_line_and_what_is_beside_it);
    return harness_run(suite);
}
