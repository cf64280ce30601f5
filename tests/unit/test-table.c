/* The index of a registry: src/ref/table.c. D16, G25. */
#include "ref/table.h"

#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"
#include "harness/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ROOM 4000

/* The model: what should be in the table. */
struct item {
    uint32_t hash, index;
    enum sr_table_kind kind;
};

static struct item model[ROOM];
static unsigned model_count;
static struct sr_table table;

static void setup(void)
{
    model_count = 0;
    ck_assert_int_eq(sr_table_init(&table), 0);
}

static void teardown(void)
{
    sr_table_destroy(&table);
}

static unsigned count_in_table(const struct item *item)
{
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;
    unsigned count = 0;

    sr_table_begin(&table, item->hash, &walk);
    while (sr_table_next(&walk, &kind, &index))
        count += kind == item->kind && index == item->index;
    return count;
}

static void add(uint32_t hash, enum sr_table_kind kind, uint32_t index)
{
    ck_assert_int_eq(sr_table_reserve(&table, 1), 0);
    sr_table_add(&table, hash, kind, index);
    model[model_count++] = (struct item){hash, index, kind};
}

static void remove_at(unsigned at)
{
    sr_table_remove(&table, model[at].hash, model[at].kind, model[at].index);
    ck_assert_uint_eq(count_in_table(&model[at]), 0);
    model[at] = model[--model_count];
}

static void check_all(void)
{
    ck_assert_uint_eq(table.used, model_count);
    for (unsigned i = 0; i < model_count; i++)
        ck_assert_uint_eq(count_in_table(&model[i]), 1);
}

static bool is_known(uint32_t hash, enum sr_table_kind kind, uint32_t index)
{
    for (unsigned i = 0; i < model_count; i++)
        if (model[i].hash == hash && model[i].kind == kind && model[i].index == index)
            return true;
    return false;
}

START_TEST(an_empty_table_has_nothing)
{
    struct item any = {0, 0, SR_TABLE_KEY};

    ck_assert_uint_eq(count_in_table(&any), 0);
    sr_table_remove(&table, 5, SR_TABLE_KEY, 5); /* does nothing */
    ck_assert_uint_eq(table.used, 0);
}
END_TEST

START_TEST(one_hash_may_have_all_kinds_and_many_entries)
{
    for (uint32_t i = 0; i < 30; i++)
        add(0xffffffff, i % 3, i);
    check_all();
    while (model_count > 0)
        remove_at(model_count / 2);
    check_all();
}
END_TEST

#define STEPS (IS_SANITIZED ? 4000 : 20000)

/* The hashes of a round fall on few slots, at the end of the table too, so that chains wrap around.
 */
START_TEST(it_agrees_with_a_simple_array)
{
    static const uint32_t masks[] = {0xffffffff, 0xff, 0x1f, 0x0f, 0x3, 0xfffffff0};
    uint32_t mask = masks[_i % 6];

    srand((unsigned)_i + 1);
    for (int step = 0; step < STEPS; step++) {
        uint32_t hash = ((uint32_t)rand() ^ (uint32_t)rand() << 15) & mask;
        enum sr_table_kind kind = rand() % 3;
        uint32_t index = (uint32_t)(rand() % 500);
        unsigned most = _i < 6 ? 60 : 1500;

        if (model_count < most && (rand() % 100 < 55 || model_count == 0)) {
            if (!is_known(hash, kind, index))
                add(hash, kind, index);
        } else {
            remove_at((unsigned)rand() % model_count);
        }
        if (!is_known(hash, kind, index)) {
            struct item item = {hash, index, kind};

            ck_assert_uint_eq(count_in_table(&item), 0);
            sr_table_remove(&table, hash, kind, index);
        }
        if (step % 500 == 0)
            check_all();
    }
    check_all();
}
END_TEST

START_TEST(it_stays_at_most_three_quarters_full)
{
    for (uint32_t i = 0; i < 3000; i++) {
        add(i * 2654435761u, SR_TABLE_KEY, i);
        ck_assert_uint_le(table.used * 4, (atomic_load(&table.slots)->mask + 1) * 3);
    }
    check_all();
}
END_TEST

/* G25: a walk looks at few slots, however many names there are. */
START_TEST(a_walk_is_short)
{
    uint64_t probes = 0;

    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t hash = i * 2654435761u;

        ck_assert_int_eq(sr_table_reserve(&table, 1), 0);
        sr_table_add(&table, hash, SR_TABLE_KEY, i);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        struct sr_table_walk walk;
        enum sr_table_kind kind;
        uint32_t index, before;

        sr_table_begin(&table, i * 2654435761u, &walk);
        before = walk.left;
        ck_assert(sr_table_next(&walk, &kind, &index));
        probes += before - walk.left;
    }
    ck_assert_uint_lt(probes, 400000); /* four each on average would be much */
}
END_TEST

START_TEST(without_memory_it_stays_as_it_is)
{
    while (table.used < 12)
        add(model_count * 7, SR_TABLE_PLACE, model_count);
    faults_install();
    faults_arm_from(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_int_eq(sr_table_reserve(&table, 1), -ENOMEM);
    check_all();
    faults_disarm();
    while (table.used < 768)
        add(model_count * 7, SR_TABLE_PLACE, model_count);
    faults_arm_from(FAULTS_BIT(FAULTS_mmap), 1, ENOMEM);
    ck_assert_int_eq(sr_table_reserve(&table, 1), -ENOMEM);
    faults_disarm();
    check_all();
    add(1, SR_TABLE_KEY, 1);
    check_all();
}
END_TEST

START_TEST(a_table_without_memory_is_not_made)
{
    struct sr_table other;

    faults_install();
    faults_arm(FAULTS_ALLOCATIONS, 1, ENOMEM);
    ck_assert_int_eq(sr_table_init(&other), -ENOMEM);
}
END_TEST

/* A table that has grown stays readable: what is left of it reads as empty. */
START_TEST(a_walk_of_the_old_table_ends)
{
    struct sr_table_walk walk;
    enum sr_table_kind kind;
    uint32_t index;

    while (table.used < 1000)
        add(model_count * 77, SR_TABLE_KEY, model_count);
    for (unsigned round = 0; round < 3; round++) {
        uint32_t before = atomic_load(&table.slots)->mask;

        sr_table_begin(&table, 77 * 5, &walk);
        ck_assert_int_eq(sr_table_reserve(&table, before), 0);
        ck_assert_uint_ne(atomic_load(&table.slots)->mask, before);
        while (sr_table_next(&walk, &kind, &index))
            ck_assert_uint_eq(index, 5);
    }
    check_all();
}
END_TEST

/* What a page holds here is the system's to say. */
START_TEST(a_table_that_has_grown_gives_its_pages_back)
{
    const struct sr_slots *old;
    uint32_t last;

    ck_assert_int_eq(sr_table_reserve(&table, 100000), 0);
    old = atomic_load(&table.slots);
    last = old->mask;
    add(last, SR_TABLE_KEY, 1);
    ck_assert_uint_ne(atomic_load(&old->slot[last]), 0);
    ck_assert_int_eq(sr_table_reserve(&table, last), 0);
    ck_assert_uint_eq(atomic_load(&old->slot[last]), 0);
    check_all();
}
END_TEST

#define STEADY  64
#define CHURN   3000
#define READERS 2

static atomic_bool stop;
static atomic_uint reading; /* readers that have begun */

/*
 * Readers without a lock, while a writer adds, removes and grows. A reader may miss what is being
 * moved, but what it is told for a hash is an entry that was given under that hash.
 */
static void read_or_write(unsigned number, void *arg)
{
    uint64_t found = 0;

    (void)arg;
    if (number == 0) {
        WAIT_UNTIL(atomic_load(&reading) == READERS);
        for (uint32_t i = 0; i < CHURN; i++) {
            ck_assert_int_eq(sr_table_reserve(&table, 1), 0);
            sr_table_add(&table, (i << 8) | 0x80, SR_TABLE_ALIAS, i + 1000);
            if (i >= 40)
                sr_table_remove(&table, ((i - 40) << 8) | 0x80, SR_TABLE_ALIAS, i - 40 + 1000);
            if (i % 500 == 499)
                ck_assert_int_eq(sr_table_reserve(&table, atomic_load(&table.slots)->mask), 0);
        }
        atomic_store(&stop, true);
        return;
    }
    atomic_fetch_add(&reading, 1);
    do {
        for (uint32_t i = 0; i < STEADY; i++) {
            struct sr_table_walk walk;
            enum sr_table_kind kind;
            uint32_t index;

            sr_table_begin(&table, i << 8, &walk);
            while (sr_table_next(&walk, &kind, &index)) {
                ck_assert_uint_eq(index, i);
                ck_assert_int_eq(kind, SR_TABLE_KEY);
                found++;
            }
        }
    } while (!atomic_load(&stop));
    ck_assert_uint_gt(found, 0);
}

START_TEST(readers_need_no_lock)
{
    for (uint32_t i = 0; i < STEADY; i++)
        add(i << 8, SR_TABLE_KEY, i);
    harness_in_threads(1 + READERS, read_or_write, NULL);
    for (unsigned i = 0; i < STEADY; i++)
        ck_assert_uint_eq(count_in_table(&model[i]), 1);
    ck_assert_uint_eq(table.used, STEADY + 40);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("table");
    TCase *tcase = harness_tcase(suite, "table");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_empty_table_has_nothing);
    tcase_add_test(tcase, one_hash_may_have_all_kinds_and_many_entries);
    tcase_add_loop_test(tcase, it_agrees_with_a_simple_array, 0, 12);
    tcase_add_test(tcase, it_stays_at_most_three_quarters_full);
    tcase_add_test(tcase, a_walk_is_short);
    tcase_add_test(tcase, without_memory_it_stays_as_it_is);
    tcase_add_test(tcase, a_table_without_memory_is_not_made);
    tcase_add_test(tcase, a_walk_of_the_old_table_ends);
    tcase_add_test(tcase, a_table_that_has_grown_gives_its_pages_back);
    tcase_add_test(tcase, readers_need_no_lock);
    return harness_run(suite);
}
