/* What is counted as text: src/net/metrics.c. G39. */
#include "test-loop-helpers.h"

#include "harness/faults.h"
#include "harness/harness.h"
#include "harness/sanitized.h"

#include <ctype.h>
#include <iconv.h>
#include <sockref/stats.h>
#include <sys/stat.h>

static sockref_registry *registry;
static char *text; /* of the case, or NULL */

static void begin_case(void)
{
    setup();
    harness_assert_ok(sockref_registry_new(NULL, &registry));
}

/* ---- a parser that takes nothing but what the specification of OpenMetrics 1.0 allows ---- */

struct sample {
    char *name, *labels; /* the latter as they stand there, braces included */
    double value;
};

static struct sample *samples;
static size_t sample_count, sample_room;

static struct {
    char name[128], type[16], unit[16];
    bool has_help;
    /* Of a histogram. */
    double bound, below;
    bool has_last, has_count, has_sum;
} family;

static char families[64][128];
static unsigned family_count;

static void forget_samples(void)
{
    for (size_t i = 0; i < sample_count; i++) {
        free(samples[i].name);
        free(samples[i].labels);
    }
    free(samples);
    free(text);
    samples = NULL;
    text = NULL;
    sample_count = sample_room = 0;
    memset(&family, 0, sizeof family);
    family_count = 0;
}

static void end_case(void)
{
    forget_samples();
    sockref_registry_free(registry);
    teardown();
}

static bool is_name(const char *name)
{
    if (!isalpha((unsigned char)name[0]) && name[0] != '_')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_')
            return false;
    return true;
}

static bool is_utf8(const char *bytes, size_t length)
{
    iconv_t to = iconv_open("UCS-4", "UTF-8");
    char *in = (char *)(uintptr_t)bytes, *room = malloc(4 * length + 4), *out = room;
    size_t left = 4 * length + 4;
    bool valid;

    ck_assert(to != (iconv_t)-1);
    valid = iconv(to, &in, &length, &out, &left) != (size_t)-1 && length == 0;
    iconv_close(to);
    free(room);
    return valid;
}

static void end_family(void)
{
    if (strcmp(family.type, "histogram") == 0)
        ck_assert_msg(family.has_last && family.has_count && family.has_sum, "%s is not whole",
                      family.name);
}

static void begin_family(const char *name, const char *type)
{
    end_family();
    ck_assert_msg(is_name(name), "no name: %s", name);
    for (unsigned i = 0; i < family_count; i++)
        ck_assert_str_ne(families[i], name);
    ck_assert_uint_lt(family_count, 64);
    strcpy(families[family_count++], name);
    memset(&family, 0, sizeof family);
    strcpy(family.name, name);
    strcpy(family.type, type);
    family.bound = family.below = -1;
    ck_assert_msg(strcmp(type, "gauge") == 0 || strcmp(type, "counter") == 0 ||
                      strcmp(type, "histogram") == 0,
                  "no type: %s", type);
}

/* TYPE, then UNIT where there is one, then HELP. */
static void parse_comment(char *line)
{
    char *keyword = line + 2, *name, *rest;

    name = strchr(keyword, ' ');
    ck_assert_ptr_nonnull(name);
    *name++ = '\0';
    rest = strchr(name, ' ');
    ck_assert_ptr_nonnull(rest);
    *rest++ = '\0';
    if (strcmp(keyword, "TYPE") == 0) {
        begin_family(name, rest);
        return;
    }
    ck_assert_str_eq(name, family.name);
    ck_assert_msg(!family.has_help, "%s after the help of %s", keyword, name);
    if (strcmp(keyword, "UNIT") == 0) {
        ck_assert_str_eq(family.unit, "");
        strcpy(family.unit, rest);
        ck_assert_msg(strcmp(name + strlen(name) - strlen(rest), rest) == 0 &&
                          name[strlen(name) - strlen(rest) - 1] == '_',
                      "%s does not end with its unit", name);
        return;
    }
    ck_assert_str_eq(keyword, "HELP");
    ck_assert_ptr_null(strpbrk(rest, "\\\"\n"));
    family.has_help = true;
}

/* Returns where the labels end. */
static const char *parse_labels(const char *at)
{
    ck_assert(strncmp(at, "{path=\"", 7) == 0 || strncmp(at, "{le=\"", 5) == 0);
    for (at = strchr(at, '"') + 1; *at != '"'; at++) {
        ck_assert_msg(*at != '\0', "a label has no end");
        if (*at == '\\') {
            at++;
            ck_assert_msg(*at == 'n' || *at == '\\' || *at == '"', "an escape of %c", *at);
        }
    }
    ck_assert_int_eq(*++at, '}');
    return at + 1;
}

static bool is_number(const char *digits)
{
    size_t whole = strspn(digits += *digits == '-', "0123456789");

    if (whole == 0)
        return false;
    digits += whole;
    if (*digits == '.')
        digits += 1 + strspn(digits + 1, "0123456789");
    return *digits == '\0' && digits[-1] != '.';
}

static void parse_bucket(const struct sample *sample)
{
    double bound;

    ck_assert_int_eq(strncmp(sample->labels, "{le=\"", 5), 0);
    ck_assert(!family.has_last);
    ck_assert_msg(sample->value >= family.below, "%s goes down", sample->labels);
    family.below = sample->value;
    if (strncmp(sample->labels + 5, "+Inf\"", 5) == 0) {
        family.has_last = true;
        return;
    }
    bound = strtod(sample->labels + 5, NULL);
    ck_assert_msg(bound > family.bound, "%s is no higher bound", sample->labels);
    family.bound = bound;
}

static void check_sample(const struct sample *sample)
{
    size_t length = strlen(family.name);
    const char *suffix = sample->name + length;

    ck_assert_msg(strncmp(sample->name, family.name, length) == 0, "%s is not of %s", sample->name,
                  family.name);
    ck_assert(family.has_help);
    if (strcmp(family.type, "gauge") == 0) {
        ck_assert_str_eq(suffix, "");
        return;
    }
    ck_assert_msg(sample->value >= 0, "%s is negative", sample->name);
    if (strcmp(family.type, "counter") == 0) {
        ck_assert_str_eq(suffix, "_total");
        return;
    }
    if (strcmp(suffix, "_bucket") == 0) {
        parse_bucket(sample);
        return;
    }
    ck_assert(family.has_last);
    ck_assert_str_eq(sample->labels, "");
    if (strcmp(suffix, "_count") == 0) {
        ck_assert(!family.has_count && sample->value == family.below);
        family.has_count = true;
        return;
    }
    ck_assert_str_eq(suffix, "_sum");
    family.has_sum = true;
}

static void parse_sample(const char *line)
{
    const char *labels = line + strcspn(line, "{ "), *end = labels;
    struct sample *sample;

    if (sample_count == sample_room) {
        sample_room = sample_room ? 2 * sample_room : 256;
        samples = realloc(samples, sample_room * sizeof *samples);
    }
    if (*labels == '{')
        end = parse_labels(labels);
    ck_assert_int_eq(*end, ' ');
    ck_assert_msg(is_number(end + 1), "no number: %s", end);
    sample = &samples[sample_count++];
    sample->name = strndup(line, (size_t)(labels - line));
    sample->labels = strndup(labels, (size_t)(end - labels));
    sample->value = strtod(end + 1, NULL);
    check_sample(sample);
}

static int compare(const void *a, const void *b)
{
    const struct sample *one = a, *other = b;
    int names = strcmp(one->name, other->name);

    return names != 0 ? names : strcmp(one->labels, other->labels);
}

/* Parse the text of the case, which is cut into lines. */
static void parse(void)
{
    char *line = text, *end;
    bool is_over = false;

    ck_assert(is_utf8(text, strlen(text)));
    for (; *line; line = end + 1) {
        ck_assert(!is_over);
        end = strchr(line, '\n');
        ck_assert_msg(end, "the last line has no end: %s", line);
        *end = '\0';
        if (strcmp(line, "# EOF") == 0)
            is_over = true;
        else if (strncmp(line, "# ", 2) == 0)
            parse_comment(line);
        else
            parse_sample(line);
    }
    ck_assert(is_over);
    end_family();
    qsort(samples, sample_count, sizeof *samples, compare);
    for (size_t i = 1; i < sample_count; i++)
        ck_assert_msg(compare(&samples[i - 1], &samples[i]) != 0, "twice: %s%s", samples[i].name,
                      samples[i].labels);
}

/* Have the text written, whole, and parse it. */
static void write_and_parse(void)
{
    int length = sockref_registry_write_metrics(registry, NULL, 0), written;
    size_t room = (size_t)length + 100000; /* others may begin names in between */

    ck_assert_int_gt(length, 0);
    forget_samples();
    text = malloc(room);
    memset(text, 'x', room);
    written = sockref_registry_write_metrics(registry, text, room);
    ck_assert_int_lt((size_t)written, room);
    ck_assert_uint_eq(strlen(text), (size_t)written);
    parse();
}

/* The value of a sample; the label as it is to stand there, or NULL. -1: there is none. */
static double value_of(const char *name, const char *label)
{
    char labels[512] = "";
    struct sample wanted = {.name = (char *)(uintptr_t)name, .labels = labels};
    const struct sample *found;

    if (label)
        snprintf(labels, sizeof labels, "{path=\"%s\"}", label);
    found = bsearch(&wanted, samples, sample_count, sizeof *samples, compare);
    return found ? found->value : -1;
}

/* ---- cases ---- */

static struct record record;

START_TEST(g39_the_text_is_openmetrics_and_says_what_is_counted)
{
    sockref_registry_stats stats = {.size = sizeof stats};
    sockref_loop_stats loops = {.size = sizeof loops};
    sockref *ref, *more;
    int fd;

    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &ref));
    sockref_release(ref);
    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &ref));
    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &more));
    harness_assert_ok(sockref_serve_on(ref, loop, &recording, &record));
    fd = dial();
    send_text(fd, "seven!!");
    DRIVE_UNTIL(record.bytes == 7);
    drive_all();
    harness_assert_ok(sockref_registry_get_stats(registry, &stats));
    harness_assert_ok(sockref_loop_get_stats(NULL, &loops));
    write_and_parse();
    ck_assert(value_of("sockref_names", NULL) == 1);
    ck_assert(value_of("sockref_names_bound_total", NULL) == 2);
    ck_assert(value_of("sockref_starts_reused_total", NULL) == 1);
    ck_assert(value_of("sockref_names_joined_total", NULL) == 0);
    ck_assert(value_of("sockref_names_closed_total", NULL) == 1);
    ck_assert(value_of("sockref_names_removed_total", NULL) == 1);
    ck_assert(value_of("sockref_removal_seconds_count", NULL) == 1);
    ck_assert(value_of("sockref_removal_seconds_sum", NULL) * 1e9 - (double)stats.removal.sum_ns <
              0.5);
    ck_assert(value_of("sockref_name_references", path) == 2);
    ck_assert(value_of("sockref_name_connections", path) == 1);
    ck_assert(value_of("sockref_name_accepted_total", path) == 1);
    ck_assert(value_of("sockref_name_refused_total", path) == 0);
    ck_assert(value_of("sockref_name_read_bytes_total", path) == 7);
    ck_assert(value_of("sockref_name_written_bytes_total", path) == 0);
    ck_assert(value_of("sockref_name_served_seconds", path) > 0);
    ck_assert(value_of("sockref_connections_accepted_total", NULL) == (double)loops.accepted);
    ck_assert(value_of("sockref_read_bytes_total", NULL) == (double)loops.bytes_read);
    ck_assert(value_of("sockref_loop_callbacks_total", NULL) == (double)loops.callbacks);
    ck_assert(value_of("sockref_loop_starving", NULL) == 0);
    ck_assert(value_of("sockref_connect_seconds_count", NULL) == (double)loops.connect.count);
    close(fd);
    sockref_release(more);
    sockref_release(ref);
    DRIVE_UNTIL(record.stops == 1);
    write_and_parse();
    ck_assert(value_of("sockref_names", NULL) == 0);
    ck_assert(value_of("sockref_name_references", path) == -1);
}
END_TEST

START_TEST(g39_a_refused_removal_is_a_negative_number)
{
    sockref *ref;

    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &ref));
    faults_install();
    faults_arm(FAULTS_BIT(FAULTS_unlinkat), 1, EROFS);
    sockref_release(ref);
    faults_clear();
    write_and_parse();
    ck_assert(value_of("sockref_last_remove_status", NULL) == -EROFS);
    ck_assert(value_of("sockref_removes_failed_total", NULL) == 1);
    harness_assert_ok(sockref_registry_listen(registry, path, NULL, &ref));
    sockref_release(ref);
}
END_TEST

/* Of a path, and as it stands in the text. */
static const struct {
    const char *leaf, *escaped;
} odd[] = {
    {"a b", "a b"},
    {"\"quoted\"", "\\\"quoted\\\""},
    {"back\\slash", "back\\\\slash"},
    {"}= {", "}= {"},
    {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
    {"\xff", "\xef\xbf\xbd"},
    {"\xc3", "\xef\xbf\xbd"},                   /* cut off */
    {"\xe2\x82z", "\xef\xbf\xbd\xef\xbf\xbdz"}, /* in the middle */
    {"\x80"
     "1",
     "\xef\xbf\xbd"
     "1"}, /* goes on with nothing */
    {"\xc0\xaf"
     "2",
     "\xef\xbf\xbd\xef\xbf\xbd"
     "2"}, /* longer than need be */
    {"\xed\xa0\x80"
     "3",
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
     "3"}, /* half of a pair */
    {"\xf5\x80\x80\x80"
     "4",
     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
     "4"},
};
#define ODD (sizeof odd / sizeof odd[0])

START_TEST(g39_any_path_makes_a_valid_label)
{
    sockref *refs[ODD];
    char at[256];

    for (size_t i = 0; i < ODD; i++) {
        snprintf(at, sizeof at, "%s/%s", directory, odd[i].leaf);
        harness_assert_ok(sockref_registry_get_or_create(registry, at, &refs[i]));
    }
    write_and_parse();
    for (size_t i = 0; i < ODD; i++) {
        /* The two that become one are told as one. */
        double wanted = strcmp(odd[i].escaped, "\xef\xbf\xbd") == 0 ? 2 : 1;

        snprintf(at, sizeof at, "%s/%s", directory, odd[i].escaped);
        ck_assert_msg(value_of("sockref_name_references", at) == wanted, "%s", at);
    }
    ck_assert(value_of("sockref_names", NULL) == ODD);
    for (size_t i = 0; i < ODD; i++)
        sockref_release(refs[i]);
}
END_TEST

/* A directory that was exchanged: two names have one path. */
START_TEST(g39_names_of_one_path_are_told_as_one)
{
    char inner[128], moved[128], at[160];
    sockref *old, *fresh;

    snprintf(inner, sizeof inner, "%s/d", directory);
    snprintf(moved, sizeof moved, "%s/moved", directory);
    snprintf(at, sizeof at, "%s/s.sock", inner);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
    harness_assert_ok(sockref_registry_listen(registry, at, NULL, &old));
    ck_assert_int_eq(rename(inner, moved), 0);
    ck_assert_int_eq(mkdir(inner, 0700), 0);
    harness_assert_ok(sockref_registry_listen(registry, at, NULL, &fresh));
    ck_assert_ptr_ne(old, fresh);
    write_and_parse();
    ck_assert(value_of("sockref_names", NULL) == 2);
    ck_assert(value_of("sockref_name_references", at) == 2);
    sockref_release(old);
    sockref_release(fresh);
    ck_assert_int_eq(rmdir(inner), 0);
    ck_assert_int_eq(rmdir(moved), 0);
}
END_TEST

/* ASan looks at all that is left of a text wherever a function looks for its end. */
#define MANY (IS_SANITIZED ? 500 : 10000)

START_TEST(g39_ten_thousand_names_are_told)
{
    static sockref *refs[MANY];
    char at[128];

    sockref_registry_free(registry);
    registry = harness_registry(SOCKREF_OPT_MAX_SOCKETS, MANY, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(at, sizeof at, "%s/%d", directory, i);
        harness_assert_ok(sockref_registry_get_or_create(registry, at, &refs[i]));
    }
    write_and_parse();
    for (int i = 0; i < MANY; i++) {
        snprintf(at, sizeof at, "%s/%d", directory, i);
        ck_assert(value_of("sockref_name_references", at) == 1);
    }
    for (int i = 0; i < MANY; i++)
        sockref_release(refs[i]);
}
END_TEST

START_TEST(the_text_is_cut_off_where_it_does_not_fit)
{
    int length = sockref_registry_write_metrics(registry, NULL, 0);
    char whole[16384], part[16384];

    ck_assert_int_lt(length, (int)sizeof whole);
    ck_assert_int_eq(sockref_registry_write_metrics(registry, whole, sizeof whole), length);
    for (int room = 1; room <= length + 1; room += room > length - 40 ? 1 : 17) {
        memset(part, 'x', sizeof part);
        ck_assert_int_eq(sockref_registry_write_metrics(registry, part, (size_t)room), length);
        ck_assert_int_eq(part[room - 1], '\0');
        ck_assert_int_eq(part[room], 'x');
        ck_assert_int_eq(strncmp(part, whole, (size_t)room - 1), 0);
    }
    harness_assert_fails(sockref_registry_write_metrics(registry, NULL, 1), -EINVAL);
    part[0] = 'x';
    ck_assert_int_eq(sockref_registry_write_metrics(registry, part, 0), length);
    ck_assert_int_eq(part[0], 'x');
}
END_TEST

START_TEST(no_memory_is_told_and_nothing_is_kept)
{
    char buffer[16384];
    sockref *refs[3];
    int failures = 0;

    for (int i = 0; i < 3; i++)
        harness_assert_ok(sockref_registry_get_or_create(
            registry, harness_text("%s/%d", directory, i), &refs[i]));
    faults_install();
    for (;; failures++) {
        faults_arm(FAULTS_ALLOCATIONS, (uint64_t)failures + 1, ENOMEM);
        if (sockref_registry_write_metrics(registry, buffer, sizeof buffer) >= 0)
            break;
        harness_assert_error(-ENOMEM);
    }
    faults_clear();
    ck_assert_int_eq(failures, 4);
    for (int i = 0; i < 3; i++)
        sockref_release(refs[i]);
}
END_TEST

#define ROUNDS 30

/* One writes, the others change what it reads. */
static void change_or_write(unsigned number, void *arg)
{
    char own[128];
    sockref *ref;

    (void)arg;
    snprintf(own, sizeof own, "%s/%u", directory, number);
    for (int i = 0; i < ROUNDS; i++) {
        if (number == 0) {
            write_and_parse();
            continue;
        }
        harness_assert_ok(sockref_registry_listen(registry, own, NULL, &ref));
        harness_assert_ok(sockref_serve(ref, sockref_echo_handlers(), NULL));
        sockref_release(ref);
    }
}

START_TEST(g39_the_text_is_right_while_names_come_and_go)
{
    harness_in_threads(4, change_or_write, NULL);
    harness_assert_ok(sockref_registry_drain(registry, PATIENCE_MS));
    write_and_parse();
    ck_assert(value_of("sockref_names_bound_total", NULL) ==
              value_of("sockref_names_closed_total", NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *tcase = tcase_create("metrics");

    tcase_add_checked_fixture(tcase, begin_case, end_case);
    tcase_add_test(tcase, g39_the_text_is_openmetrics_and_says_what_is_counted);
    tcase_add_test(tcase, g39_a_refused_removal_is_a_negative_number);
    tcase_add_test(tcase, g39_any_path_makes_a_valid_label);
    tcase_add_test(tcase, g39_names_of_one_path_are_told_as_one);
    tcase_add_test(tcase, g39_ten_thousand_names_are_told);
    tcase_add_test(tcase, the_text_is_cut_off_where_it_does_not_fit);
    tcase_add_test(tcase, no_memory_is_told_and_nothing_is_kept);
    tcase_add_test(tcase, g39_the_text_is_right_while_names_come_and_go);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
