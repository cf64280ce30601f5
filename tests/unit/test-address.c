/* Addresses: src/net/address.c, and what a wish to connect makes of them: src/net/dial.c. J1, J13,
 * J35. */
#include "net/address.h"

#include "harness/harness.h"
#include "net/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- there and back ---- */

static const struct {
    int family;
    unsigned port;
    const char *host;
} numeric[] = {
    {SOCKREF_FAMILY_IPV4, 0, "0.0.0.0"},
    {SOCKREF_FAMILY_IPV4, 80, "127.0.0.1"},
    {SOCKREF_FAMILY_IPV4, 65535, "255.255.255.255"},
    {SOCKREF_FAMILY_IPV6, 0, "::"},
    {SOCKREF_FAMILY_IPV6, 80, "::1"},
    {SOCKREF_FAMILY_IPV6, 443, "2001:db8::a:b"},
    {SOCKREF_FAMILY_IPV6, 1, "::ffff:192.0.2.1"},
    {SOCKREF_FAMILY_IPV6, 1, "fe80::1%lo"},
};

START_TEST(a_numeric_address_comes_back_as_it_was)
{
    sockref_address given = {.size = sizeof given, .family = numeric[_i].family}, got;
    struct sr_sockaddr address;

    given.port = numeric[_i].port;
    given.host_length = strlen(numeric[_i].host);
    strcpy(given.host, numeric[_i].host);
    ck_assert_int_eq(sr_address_write(&given, &address), 0);
    sr_address_read(&address, &got);
    ck_assert_uint_eq(got.size, sizeof got);
    ck_assert_int_eq(got.family, given.family);
    ck_assert_uint_eq(got.port, given.port);
    ck_assert_str_eq(got.host, given.host);
    ck_assert_uint_eq(got.host_length, given.host_length);
}
END_TEST

START_TEST(an_interface_without_a_name_is_told_by_its_number)
{
    struct sr_sockaddr address = {.size = sizeof address.address.v6};
    sockref_address got;

    address.address.v6.sin6_family = AF_INET6;
    address.address.v6.sin6_scope_id = 4294967;
    sr_address_read(&address, &got);
    ck_assert_str_eq(got.host, "::%4294967");
}
END_TEST

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *bytes; /* of sun_path */
    size_t length;
    int family;
    const char *host;
    size_t host_length;
} unix_addresses[] = {
    {BYTES("/a"), SOCKREF_FAMILY_UNIX, BYTES("/a")},
    {BYTES("/a\0"), SOCKREF_FAMILY_UNIX, BYTES("/a")},
    {BYTES("a/../b\0xx"), SOCKREF_FAMILY_UNIX, BYTES("a/../b")},
    {BYTES("\0a"), SOCKREF_FAMILY_UNIX, BYTES("@a")},
    {BYTES("\0a\0b\0"), SOCKREF_FAMILY_UNIX, BYTES("@a\0b\0")},
    {BYTES("\0\0"), SOCKREF_FAMILY_UNIX, BYTES("@\0")},
    {BYTES(""), SOCKREF_FAMILY_NONE, BYTES("")},
};

START_TEST(a_unix_address_is_read_byte_by_byte)
{
    struct sr_sockaddr address = {.address.un.sun_family = AF_UNIX};
    sockref_address got;

    memcpy(address.address.un.sun_path, unix_addresses[_i].bytes, unix_addresses[_i].length);
    address.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + unix_addresses[_i].length);
    sr_address_read(&address, &got);
    ck_assert_int_eq(got.family, unix_addresses[_i].family);
    ck_assert_uint_eq(got.host_length, unix_addresses[_i].host_length);
    ck_assert_mem_eq(got.host, unix_addresses[_i].host, unix_addresses[_i].host_length + 1);
}
END_TEST

START_TEST(the_longest_path_has_no_nul)
{
    struct sr_sockaddr address = {.size = sizeof address.address.un}, back;
    sockref_address got;

    address.address.un.sun_family = AF_UNIX;
    memset(address.address.un.sun_path, 'a', sizeof address.address.un.sun_path);
    sr_address_read(&address, &got);
    ck_assert_uint_eq(got.host_length, sizeof address.address.un.sun_path);
    ck_assert_uint_eq(strlen(got.host), got.host_length);
    ck_assert_int_eq(sr_address_write(&got, &back), 0);
    ck_assert_uint_eq(back.size, address.size);
    ck_assert_mem_eq(&back.address, &address.address, address.size);
}
END_TEST

START_TEST(an_abstract_address_is_written_without_a_nul_behind)
{
    sockref_address given = {.family = SOCKREF_FAMILY_UNIX, .host_length = 4, .host = "@a\0b"};
    struct sr_sockaddr address;

    ck_assert_int_eq(sr_address_write(&given, &address), 0);
    ck_assert_uint_eq(address.size, offsetof(struct sockaddr_un, sun_path) + 4);
    ck_assert_mem_eq(address.address.un.sun_path, "\0a\0b", 4);
}
END_TEST

static const sockref_address unwritable[] = {
    {.family = SOCKREF_FAMILY_NONE, .host_length = 2, .host = "/a"},
    {.family = 5, .host_length = 9, .host = "127.0.0.1"},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = 0, .host = ""},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = 9, .host = "localhost"},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = 3, .host = "::1"},
    {.family = SOCKREF_FAMILY_IPV6, .host_length = 9, .host = "127.0.0.1"},
    {.family = SOCKREF_FAMILY_IPV6, .host_length = 5, .host = "[::1]"},
    {.family = SOCKREF_FAMILY_IPV6, .host_length = 16, .host = "fe80::1%nowhere0"},
    {.family = SOCKREF_FAMILY_IPV4, .port = 65536, .host_length = 9, .host = "127.0.0.1"},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = 112, .host = "127.0.0.1"},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = SIZE_MAX, .host = "127.0.0.1"},
    {.family = SOCKREF_FAMILY_IPV4, .host_length = 10, .host = "127.0.0.1"}, /* a NUL in it */
    {.family = SOCKREF_FAMILY_UNIX, .host_length = 0, .host = ""},
    {.family = SOCKREF_FAMILY_UNIX, .host_length = 3, .host = "/a"}, /* the same */
    {.family = SOCKREF_FAMILY_UNIX, .host_length = 109, .host = "/a"},
};

START_TEST(what_is_no_address_is_refused)
{
    struct sr_sockaddr address = {.size = 77};

    ck_assert_int_eq(sr_address_write(&unwritable[_i], &address), -EINVAL);
    ck_assert_uint_eq(address.size, 77);
}
END_TEST

START_TEST(an_unknown_family_is_none)
{
    struct sr_sockaddr address = {.size = sizeof address.address.any};
    sockref_address got;

    address.address.any.sa_family = AF_NETLINK;
    sr_address_read(&address, &got);
    ck_assert_int_eq(got.family, SOCKREF_FAMILY_NONE);
    address.size = 0;
    sr_address_read(&address, &got);
    ck_assert_int_eq(got.family, SOCKREF_FAMILY_NONE);
}
END_TEST

/* An older program's struct is shorter. */
START_TEST(a_caller_gets_what_it_has_room_for)
{
    sockref_address address = {.size = sizeof address, .family = 4, .port = 80}, out;

    memset(&out, 0x55, sizeof out);
    out.size = offsetof(sockref_address, port);
    ck_assert(sr_address_is_sized(&out));
    sr_address_give(&address, &out);
    ck_assert_uint_eq(out.size, offsetof(sockref_address, port));
    ck_assert_int_eq(out.family, 4);
    ck_assert_uint_eq(out.port, 0x55555555);
    out.size = 0;
    ck_assert(!sr_address_is_sized(&out));
    out.size = sizeof out + 1;
    ck_assert(!sr_address_is_sized(&out));
}
END_TEST

/* ---- of listeners ---- */

/* A path that is too long for an address is told as it was given, where there is room. */
START_TEST(a_listener_tells_its_path)
{
    static const size_t lengths[] = {80, 107, 108, 111, 112, 300};
    sockref_registry *registry = harness_registry(0);

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const char *path = harness_long_path(lengths[i], 20);
        sockref *ref = harness_listen(registry, path);
        sockref_address address = {.size = sizeof address};

        harness_assert_ok(sockref_local_address(ref, &address));
        ck_assert_int_eq(address.family, SOCKREF_FAMILY_UNIX);
        ck_assert_uint_eq(address.port, 0);
        ck_assert_uint_eq(address.host_length, strlen(address.host));
        if (lengths[i] < sizeof address.host)
            ck_assert_str_eq(address.host, path);
        else
            ck_assert_int_eq(strncmp(address.host, "/proc/self/fd/", 14), 0);
        sockref_release(ref);
    }
    sockref_registry_free(registry);
}
END_TEST

START_TEST(a_listener_tells_its_abstract_name)
{
    const char *name = harness_text("@sockref-address-%d", (int)getpid());
    sockref_registry *registry = harness_registry(0);
    sockref *ref = harness_listen(registry, name);
    sockref_address address = {.size = sizeof address};

    harness_assert_ok(sockref_local_address(ref, &address));
    ck_assert_int_eq(address.family, SOCKREF_FAMILY_UNIX);
    ck_assert_str_eq(address.host, name);
    sockref_release(ref);
    sockref_registry_free(registry);
}
END_TEST

/* ---- the order of RFC 8305 ---- */

START_TEST(families_take_turns)
{
    static const struct {
        const char *found, *order; /* a letter for each address: upper case IPv6, lower case IPv4 */
    } cases[] = {
        {"", ""},           {"A", "A"},           {"a", "a"},       {"Aa", "Aa"},
        {"ABab", "AaBb"},   {"abAB", "aAbB"},     {"ABCa", "AaBC"}, {"Aabc", "Aabc"},
        {"aABC", "aABC"},   {"abcABC", "aAbBcC"}, {"AaBb", "AaBb"}, {"ABCD", "ABCD"},
        {"aAbcd", "aAbcd"},
    };
    struct sr_found *found = calloc(1, sizeof *found + 8 * sizeof found->addresses[0]);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char order[16] = "";

        found->count = strlen(cases[i].found);
        for (size_t n = 0; n < found->count; n++) {
            bool is_v6 = cases[i].found[n] < 'a';

            found->addresses[n].address.any.sa_family = is_v6 ? AF_INET6 : AF_INET;
            found->addresses[n].size = (socklen_t)cases[i].found[n];
        }
        sr_dial_interleave(found);
        for (size_t n = 0; n < found->count; n++)
            order[n] = (char)found->addresses[n].size;
        ck_assert_str_eq(order, cases[i].order);
    }
    free(found);
}
END_TEST

START_TEST(an_address_has_250_ms_and_at_least_10)
{
    static const unsigned given[] = {0, 1, 10, 400}, expected[] = {250, 10, 10, 400};
    sockref_connect_options options = {.size = sizeof options};
    struct sr_dial_wish wish;

    harness_assert_ok(sr_dial_wish_init(&wish, "tcp:127.0.0.1:1", NULL));
    ck_assert_uint_eq(wish.attempt_delay_ns, 250000000u);
    sr_dial_wish_clear(&wish);
    for (int i = 0; i < 4; i++) {
        options.attempt_delay_ms = given[i];
        harness_assert_ok(sr_dial_wish_init(&wish, "tcp:127.0.0.1:1", &options));
        ck_assert_uint_eq(wish.attempt_delay_ns, expected[i] * UINT64_C(1000000));
        sr_dial_wish_clear(&wish);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("address");
    TCase *tcase = harness_tcase(suite, "address");

    tcase_add_loop_test(tcase, a_numeric_address_comes_back_as_it_was, 0,
                        (int)(sizeof numeric / sizeof numeric[0]));
    tcase_add_test(tcase, an_interface_without_a_name_is_told_by_its_number);
    tcase_add_loop_test(tcase, a_unix_address_is_read_byte_by_byte, 0,
                        (int)(sizeof unix_addresses / sizeof unix_addresses[0]));
    tcase_add_test(tcase, the_longest_path_has_no_nul);
    tcase_add_test(tcase, an_abstract_address_is_written_without_a_nul_behind);
    tcase_add_loop_test(tcase, what_is_no_address_is_refused, 0,
                        (int)(sizeof unwritable / sizeof unwritable[0]));
    tcase_add_test(tcase, an_unknown_family_is_none);
    tcase_add_test(tcase, a_caller_gets_what_it_has_room_for);
    tcase_add_test(tcase, a_listener_tells_its_path);
    tcase_add_test(tcase, a_listener_tells_its_abstract_name);
    tcase_add_test(tcase, families_take_turns);
    tcase_add_test(tcase, an_address_has_250_ms_and_at_least_10);
    return harness_run(suite);
}
