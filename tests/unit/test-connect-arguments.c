/* What sockref_connect() refuses: src/net/dial.c */
#include "test-connect-helpers.h"

static const struct {
    const char *name;
    int status;
} names[] = {
    {"", SOCKREF_EPATH},
    {"@", SOCKREF_EPATH},
    {"tcp:", SOCKREF_EPATH},
    {"tcp:localhost", SOCKREF_EPATH},
    {"tcp:localhost:", SOCKREF_EPATH},
    {"tcp:localhost:http", SOCKREF_EPATH},
    {"tcp:localhost:65536", SOCKREF_EPATH},
    {"tcp:::1:80", SOCKREF_EPATH},
    {"tcp:[localhost]:80", SOCKREF_EPATH},
    {"tcp:[127.0.0.1]:80", SOCKREF_EPATH},
    {"tcp:[::1]", SOCKREF_EPATH},
    {"tcp:a b:80", SOCKREF_EPATH},
    {"tcp:a\nb:80", SOCKREF_EPATH},
};

static void expect_refusal(const char *name, int status)
{
    sockref_conn *conn = NULL;

    harness_assert_fails(sockref_connect(loop, name, &options, &handlers, &record, &conn), status);
    ck_assert_ptr_null(conn);
    drive_all();
    ck_assert_str_eq(record.events, "");
}

START_TEST(what_is_no_name_is_refused)
{
    expect_refusal(names[_i].name, names[_i].status);
}
END_TEST

START_TEST(what_is_too_long_is_refused)
{
    char text[5000];

    memset(text, 'a', sizeof text);
    text[0] = '@';
    text[108] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN);
    memset(text, 'a', sizeof text);
    text[108] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN); /* a leaf */
    memset(text, 'a', sizeof text);
    for (int i = 1; i < 4096; i += 2)
        text[i] = '/';
    text[4096] = '\0';
    expect_refusal(text, SOCKREF_EPATHLEN);
    memset(text, 'a', sizeof text);
    memcpy(text, "tcp:", 4);
    strcpy(text + 4 + 254, ":80");
    expect_refusal(text, SOCKREF_EPATH);
}
END_TEST

static void spoil_size(void)
{
    options.size = 0;
}
static void spoil_larger_size(void)
{
    options.size = sizeof options + 1;
}
static void spoil_flags(void)
{
    options.flags = 4;
}
static void spoil_family(void)
{
    options.family = 5;
}
static void spoil_unix_family(void)
{
    options.family = SOCKREF_FAMILY_UNIX;
}
static void spoil_local_host(void)
{
    options.local_host = "localhost";
}
static void spoil_local_port(void)
{
    options.local_port = 65536;
}
static void spoil_zone(void)
{
    options.local_host = "fe80::1%nowhere0";
}

static void spoil_local_family(void)
{
    options.local_host = "127.0.0.1";
    options.family = SOCKREF_FAMILY_IPV6;
}

static void spoil_addresses(void)
{
    options.address_count = 1;
}

static void spoil_count(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    options.address_count = 0;
}

static void spoil_address(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    add_address(SOCKREF_FAMILY_IPV6, 1);
    addresses[1].family = SOCKREF_FAMILY_IPV4;
}

static void spoil_address_family(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    addresses[0].family = SOCKREF_FAMILY_UNIX;
}

static void spoil_address_size(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    addresses[0].size = 0;
}

static void spoil_wanted_family(void)
{
    add_address(SOCKREF_FAMILY_IPV4, 1);
    options.family = SOCKREF_FAMILY_IPV6;
}

static void (*const spoilers[])(void) = {
    spoil_size,           spoil_larger_size,  spoil_flags,         spoil_family,
    spoil_unix_family,    spoil_local_host,   spoil_local_port,    spoil_zone,
    spoil_local_family,   spoil_addresses,    spoil_count,         spoil_address,
    spoil_address_family, spoil_address_size, spoil_wanted_family,
};

START_TEST(wrong_options_are_refused)
{
    spoilers[_i]();
    expect_refusal("tcp:4.test:80", -EINVAL);
}
END_TEST

static int calls_left;

static void *free_loop_first(size_t count, size_t size)
{
    if (--calls_left == 0) {
        sockref_loop_free(loop);
        loop = NULL;
    }
    return calloc(count, size);
}

/* It has a place in the loop, and is not handed to it. */
START_TEST(a_loop_that_is_freed_meanwhile_is_refused)
{
    calls_left = 2; /* the first one is for the dial */
    sr_sys.calloc = free_loop_first;
    harness_assert_fails(sockref_connect(loop, path, &options, &handlers, &record, NULL),
                         SOCKREF_ECLOSED);
    sr_sys.calloc = calloc;
    ck_assert_ptr_null(loop);
    ck_assert_str_eq(record.events, "");
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    sockref_handlers wrong = handlers;
    sockref_loop *other;

    expect_refusal(NULL, -EINVAL);
    harness_assert_fails(sockref_connect(loop, path, NULL, NULL, NULL, NULL), -EINVAL);
    wrong.size = sizeof wrong + 1;
    harness_assert_fails(sockref_connect(loop, path, NULL, &wrong, NULL, NULL), -EINVAL);
    add_address(SOCKREF_FAMILY_IPV4, 1);
    expect_refusal(path, -EINVAL);
    options.addresses = NULL;
    options.address_count = 0;
    ck_assert_int_eq(sockref_loop_new(&other), 0);
    sr_mutex_lock(&other->mutex);
    other->closing = true;
    sr_mutex_unlock(&other->mutex);
    harness_assert_fails(sockref_connect(other, path, NULL, &handlers, &record, NULL),
                         SOCKREF_ECLOSED);
    sockref_loop_free(other);
    ck_assert_str_eq(record.events, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("connect-arguments");
    TCase *tcase = tcase_create("connect-arguments");

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))
    tcase_add_checked_fixture(tcase, begin_case, end_case);
    suite_add_tcase(suite, tcase);
    tcase_add_loop_test(tcase, what_is_no_name_is_refused, 0, COUNT(names));
    tcase_add_test(tcase, what_is_too_long_is_refused);
    tcase_add_loop_test(tcase, wrong_options_are_refused, 0, COUNT(spoilers));
    tcase_add_test(tcase, wrong_arguments_are_refused);
    tcase_add_test(tcase, a_loop_that_is_freed_meanwhile_is_refused);
    return run_suite(suite);
}
