/* What a record proves: src/name/record.c. I1, I2: an owner that lives is never taken for dead. */
#include "harness/faults.h"
#include "harness/harness.h"
#include "name/record.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sr_record of_self(void)
{
    struct sr_record record;

    sr_record_of_self(&record);
    record.state = SR_RECORD_LIVE;
    ck_assert_uint_ne(record.start_time, 0);
    return record;
}

START_TEST(who_lives_is_not_dead)
{
    struct sr_record record = of_self();

    ck_assert(!sr_record_is_dead(&record));
}
END_TEST

START_TEST(an_earlier_boot_or_process_is_over)
{
    struct sr_record record = of_self();
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    record.boot_id[0] ^= 1;
    ck_assert(sr_record_is_dead(&record));
    record = of_self();
    record.start_time++; /* of who had the number before */
    ck_assert(sr_record_is_dead(&record));
    record = of_self();
    record.pid = (uint64_t)child;
    ck_assert(sr_record_is_dead(&record));
}
END_TEST

START_TEST(what_cannot_be_compared_proves_nothing)
{
    struct sr_record record = of_self();

    record.pid_namespace ^= 1;
    record.start_time++;
    ck_assert(!sr_record_is_dead(&record));
    /* Ticks of another time namespace. */
    record = of_self();
    record.time_namespace ^= 1;
    record.start_time++;
    ck_assert(!sr_record_is_dead(&record));
    /* An owner that could not read the boot's number. */
    record = of_self();
    memset(record.boot_id, 0, sizeof record.boot_id);
    ck_assert(!sr_record_is_dead(&record));
    record.state = SR_RECORD_NONE;
    ck_assert(!sr_record_is_dead(&record));
}
END_TEST

static int judge_without_proc(void *arg)
{
    bool dead;

    faults_install();
    faults_arm_from(FAULTS_BIT(FAULTS_openat), 1, EACCES);
    dead = sr_record_is_dead(arg);
    faults_clear();
    return dead;
}

/* The other way round: a process that can read nothing of the system. */
START_TEST(who_cannot_read_the_boot_takes_nobody_for_dead)
{
    struct sr_record record = of_self();

    ck_assert_int_eq(harness_in_child(judge_without_proc, &record), 0);
}
END_TEST

static int start_without_room(void *path)
{
    const struct rlimit none = {0, 0};
    sockref *ref;

    if (setrlimit(RLIMIT_FSIZE, &none) < 0)
        return 1;
    return sockref_registry_listen(NULL, path, NULL, &ref) == -EFBIG ? 0 : 2;
}

/* A write beyond that limit would be the end of the process. */
START_TEST(a_process_that_may_write_no_files_lives_on)
{
    ck_assert_int_eq(harness_in_child(start_without_room, (void *)harness_at("a")), 0);
    ck_assert_uint_eq(harness_files() + harness_beside(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tcase = harness_tcase(suite, "proof of death");

    tcase_add_test(tcase, who_lives_is_not_dead);
    tcase_add_test(tcase, an_earlier_boot_or_process_is_over);
    tcase_add_test(tcase, what_cannot_be_compared_proves_nothing);
    tcase_add_test(tcase, who_cannot_read_the_boot_takes_nobody_for_dead);
    tcase = harness_tcase(suite, "writing");
    tcase_add_test(tcase, a_process_that_may_write_no_files_lives_on);
    return harness_run(suite);
}
