/* Statuses: src/base/status.c, and the version beside it. */
#include "harness/harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    int status;
    const char *name;
} own[] = {
    {SOCKREF_OK, "OK"},
    {SOCKREF_EPATH, "ESOCKREF_PATH"},
    {SOCKREF_EPATHLEN, "ESOCKREF_PATHLEN"},
    {SOCKREF_EFOREIGN, "ESOCKREF_FOREIGN"},
    {SOCKREF_EEXISTS, "ESOCKREF_EXISTS"},
    {SOCKREF_ENOTFOUND, "ESOCKREF_NOTFOUND"},
    {SOCKREF_ELIMIT, "ESOCKREF_LIMIT"},
    {SOCKREF_ECLOSED, "ESOCKREF_CLOSED"},
    {SOCKREF_EFORKED, "ESOCKREF_FORKED"},
    {SOCKREF_ESHUTDOWN, "ESOCKREF_SHUTDOWN"},
    {SOCKREF_ETIMEOUT, "ESOCKREF_TIMEOUT"},
    {SOCKREF_ECANCELED, "ESOCKREF_CANCELED"},
    {SOCKREF_EBUSY, "ESOCKREF_BUSY"},
    {SOCKREF_EUNTRUSTED, "ESOCKREF_UNTRUSTED"},
    {SOCKREF_EUNSUPPORTED, "ESOCKREF_UNSUPPORTED"},
};

#define OWN ((int)(sizeof own / sizeof own[0]))

START_TEST(own_statuses_have_their_names_and_a_sentence)
{
    ck_assert_str_eq(sockref_status_name(own[_i].status), own[_i].name);
    ck_assert_str_ne(sockref_status_message(own[_i].status), "");
    for (int k = 0; k < _i; k++)
        ck_assert_str_ne(sockref_status_message(own[k].status),
                         sockref_status_message(own[_i].status));
}
END_TEST

/* The numbers are fixed for ever; bindings have them written down. */
START_TEST(the_numbers_are_fixed)
{
    ck_assert_int_eq(SOCKREF_EPATH, -20001);
    for (int i = 1; i < OWN; i++)
        ck_assert_int_eq(own[i].status, -20000 - i);
}
END_TEST

/* V8, D22: what the system said keeps its name. */
START_TEST(errno_values_have_their_names)
{
    ck_assert_str_eq(sockref_status_name(-EACCES), "EACCES");
    ck_assert_str_eq(sockref_status_name(-ENOENT), "ENOENT");
    ck_assert_str_eq(sockref_status_name(-EADDRINUSE), "EADDRINUSE");
    ck_assert_str_eq(sockref_status_name(-ENOMEM), "ENOMEM");
    ck_assert_str_eq(sockref_status_message(-EACCES), strerrordesc_np(EACCES));
}
END_TEST

/* U13: the names are written down, for not every C library has them. */
START_TEST(every_errno_value_has_the_name_that_the_system_knows)
{
    for (int number = 1; number <= 4095; number++) {
        const char *name = strerrorname_np(number);

        ck_assert_str_eq(sockref_status_name(-number), name ? name : "EUNKNOWN");
    }
}
END_TEST

START_TEST(positive_errno_values_are_understood)
{
    ck_assert_str_eq(sockref_status_name(EPERM), "EPERM");
    ck_assert_str_eq(sockref_status_message(EPERM), strerrordesc_np(EPERM));
}
END_TEST

START_TEST(nobody_knows_other_numbers)
{
    static const int numbers[] = {-20000, -20015,    -19999,    4096,         -4096,
                                  -4095,  4095,      20001,     20005,        3000,
                                  -30000, INT32_MAX, INT32_MIN, INT32_MIN + 1};

    ck_assert_str_eq(sockref_status_name(numbers[_i]), "EUNKNOWN");
    ck_assert_str_eq(sockref_status_message(numbers[_i]), "unknown status");
}
END_TEST

START_TEST(the_version_is_the_one_of_the_header)
{
    ck_assert_str_eq(sockref_version(), SOCKREF_VERSION_STRING);
    ck_assert_uint_eq(sockref_abi_version(), SOCKREF_ABI_VERSION);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("status");
    TCase *tcase = harness_tcase(suite, "status");

    tcase_add_loop_test(tcase, own_statuses_have_their_names_and_a_sentence, 0, OWN);
    tcase_add_test(tcase, the_numbers_are_fixed);
    tcase_add_test(tcase, errno_values_have_their_names);
    tcase_add_test(tcase, every_errno_value_has_the_name_that_the_system_knows);
    tcase_add_test(tcase, positive_errno_values_are_understood);
    tcase_add_loop_test(tcase, nobody_knows_other_numbers, 0, 14);
    tcase_add_test(tcase, the_version_is_the_one_of_the_header);
    return harness_run(suite);
}
