/* Whether a name is well: src/net/health.c. */
#include "test-loop-helpers.h"

#include <sockref/stats.h>

static struct record record;

/* What is found, as text: file, reachable, accepting. */
static const char *health_of(const sockref *ref)
{
    sockref_health health = {.size = sizeof health};
    static char text[32];

    ck_assert_int_eq(sockref_check_health(ref, &health), 0);
    snprintf(text, sizeof text, "%d %d %d", health.is_file_ours, health.is_reachable,
             health.is_accepting);
    return text;
}

START_TEST(g40_a_name_that_is_served_is_well)
{
    sockref *ref;

    memset(&record, 0, sizeof record);
    ref = serve_here(NULL, &recording, &record);
    ck_assert_str_eq(health_of(ref), "1 1 0"); /* its loop has not run */
    drive_all();
    ck_assert_str_eq(health_of(ref), "1 1 1");
    drive_all();
    ck_assert_int_eq(record.connections, 0);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("health");
    TCase *tcase = tcase_create("health");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, g40_a_name_that_is_served_is_well);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
