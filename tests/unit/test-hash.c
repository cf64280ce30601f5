/* The hash: src/base/hash.h. */
#include "base/hash.h"

#include "harness/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

START_TEST(the_seed_is_drawn_once_a_process)
{
    uint64_t seed = sr_hash_seed();

    ck_assert_uint_ne(seed, 0);
    ck_assert_uint_eq(sr_hash_seed(), seed);
}
END_TEST

static int print_seed(void *arg)
{
    int fd = *(int *)arg;
    uint64_t seed = sr_hash_seed();

    return write(fd, &seed, sizeof seed) != (ssize_t)sizeof seed;
}

/* The seed can't be known beforehand. */
START_TEST(each_process_has_another_seed)
{
    uint64_t seeds[2];
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(harness_in_child(print_seed, &fds[1]), 0);
        ck_assert_int_eq(read(fds[0], &seeds[i], sizeof seeds[i]), sizeof seeds[i]);
    }
    close(fds[0]);
    close(fds[1]);
    ck_assert_uint_ne(seeds[0], seeds[1]);
}
END_TEST

/* Only the bytes count, not where they stand nor what is behind them. */
START_TEST(equal_bytes_have_equal_hashes)
{
    char buffer[80];

    for (size_t length = 0; length < 40; length++) {
        uint64_t first = 0;

        for (size_t offset = 0; offset < 16; offset++) {
            uint64_t hash;

            memset(buffer, (int)(0x41 + offset), sizeof buffer);
            for (size_t i = 0; i < length; i++)
                buffer[offset + i] = (char)(i * 7);
            hash = sr_hash_bytes(1, buffer + offset, length);
            if (offset == 0)
                first = hash;
            ck_assert_uint_eq(hash, first);
        }
    }
}
END_TEST

static void assert_differ(uint64_t *hashes, size_t count)
{
    qsort(hashes, count, sizeof hashes[0], compare);
    for (size_t i = 1; i < count; i++)
        ck_assert_uint_ne(hashes[i - 1], hashes[i]);
}

START_TEST(lengths_seeds_and_bytes_all_count)
{
    static const char zeros[64];
    uint64_t hashes[64];
    char bytes[16] = {0};

    for (size_t length = 0; length < 64; length++)
        hashes[length] = sr_hash_bytes(101, zeros, length);
    assert_differ(hashes, 64);
    for (uint64_t seed = 0; seed < 64; seed++)
        hashes[seed] = sr_hash_bytes(100 + seed, "name", 4);
    assert_differ(hashes, 64);
    for (unsigned bit = 0; bit < 64; bit++) {
        bytes[bit / 8] = (char)(1u << bit % 8);
        hashes[bit] = sr_hash_bytes(5, bytes, sizeof bytes);
        bytes[bit / 8] = 0;
    }
    assert_differ(hashes, 64);
}
END_TEST

#define NAMES 100000

/* Names that differ in a digit: no 64-bit collision, and the low 16 bits spread over their range.
 */
START_TEST(similar_names_spread)
{
    static uint64_t hashes[NAMES];
    static unsigned buckets[1 << 12];
    unsigned fullest = 0;

    for (int i = 0; i < NAMES; i++) {
        char name[40];
        int length = snprintf(name, sizeof name, "/run/user/1000/app/socket-%d.sock", i);

        hashes[i] = sr_hash_bytes(sr_hash_seed(), name, (size_t)length);
        if (++buckets[hashes[i] & 0xfff] > fullest)
            fullest = buckets[hashes[i] & 0xfff];
    }
    assert_differ(hashes, NAMES);
    ck_assert_uint_lt(fullest, 100); /* 24 on average */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tcase = harness_tcase(suite, "hash");

    tcase_add_test(tcase, the_seed_is_drawn_once_a_process);
    tcase_add_test(tcase, each_process_has_another_seed);
    tcase_add_test(tcase, equal_bytes_have_equal_hashes);
    tcase_add_test(tcase, lengths_seeds_and_bytes_all_count);
    tcase_add_test(tcase, similar_names_spread);
    return harness_run(suite);
}
