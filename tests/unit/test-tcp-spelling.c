/* The spelling of TCP names: src/name/tcp.c. J31 */
#include "name/tcp.h"

#include "harness/harness.h"
#include "name/path.h"

#include <string.h>

struct spelling {
    const char *name;
    const char *canonical; /* NULL: not a name */
};

static const struct spelling spellings[] = {
    {"tcp:127.0.0.1:80", "tcp:127.0.0.1:80"},
    {"tcp:localhost:80", "tcp:127.0.0.1:80"},
    {"tcp:LocalHost:80", "tcp:127.0.0.1:80"},
    {"tcp:127.0.0.1:0", "tcp:127.0.0.1:0"},
    {"tcp:127.0.0.1:00080", "tcp:127.0.0.1:80"},
    {"tcp:127.0.0.1:65535", "tcp:127.0.0.1:65535"},
    {"tcp:0.0.0.0:1", "tcp:0.0.0.0:1"},
    {"tcp::80", "tcp::80"},
    {"tcp:[::1]:80", "tcp:[::1]:80"},
    {"tcp:[0:0::1]:80", "tcp:[::1]:80"},
    {"tcp:[0:0:0:0:0:0:0:1]:80", "tcp:[::1]:80"},
    {"tcp:[2001:DB8::A]:80", "tcp:[2001:db8::a]:80"},
    {"tcp:[::]:80", "tcp:[::]:80"},
    {"tcp:[::ffff:fefe:fefe]:80", "tcp:[::ffff:254.254.254.254]:80"},
    {"tcp:[fe80::1%eth0]:80", "tcp:[fe80::1%eth0]:80"},
    {"tcp:[FE80:0::1%2]:80", "tcp:[fe80::1%2]:80"},
    {"tcp:", NULL},
    {"tcp:80", NULL},
    {"tcp:127.0.0.1", NULL},
    {"tcp:127.0.0.1:", NULL},
    {"tcp:127.0.0.1:-1", NULL},
    {"tcp:127.0.0.1:+1", NULL},
    {"tcp:127.0.0.1: 1", NULL},
    {"tcp:127.0.0.1:1 ", NULL},
    {"tcp:127.0.0.1:65536", NULL},
    {"tcp:127.0.0.1:99999999999999999999", NULL},
    {"tcp:127.0.0.1:0x50", NULL},
    {"tcp:127.0.0.1:http", NULL},
    {"tcp:127.1:80", NULL},
    {"tcp:127.0.0.1.:80", NULL},
    {"tcp:256.0.0.1:80", NULL},
    {"tcp:example.org:80", NULL},
    {"tcp:*:80", NULL},
    {"tcp: :80", NULL},
    {"tcp:::1:80", NULL},
    {"tcp:::80", NULL},
    {"tcp:[]:80", NULL},
    {"tcp:[::1]", NULL},
    {"tcp:[::1]80", NULL},
    {"tcp:[::1:80", NULL},
    {"tcp:[127.0.0.1]:80", NULL},
    {"tcp:[localhost]:80", NULL},
    {"tcp:[fe80::1%]:80", NULL},
    {"tcp:[fe80::1%0123456789012345678901234567890]:80",
     "tcp:[fe80::1%0123456789012345678901234567890]:80"},
    {"tcp:[fe80::1%01234567890123456789012345678901]:80", NULL},
    {"tcp:[::1]:80:81", NULL},
    {"TCP:127.0.0.1:80", NULL},
    {"tcp//127.0.0.1:80", NULL},
};

START_TEST(each_address_has_one_spelling)
{
    const struct spelling *spelling = &spellings[_i];
    char folded[SR_TCP_NAME_MAX];

    ck_assert_int_eq(sr_path_is_usable(spelling->name), spelling->canonical != NULL);
    if (!spelling->canonical) {
        harness_assert_fails(sr_path_check(spelling->name), SOCKREF_EPATH);
        return;
    }
    harness_assert_ok(sr_path_check(spelling->name));
    ck_assert(sr_path_needs_fold(spelling->name));
    ck_assert_uint_eq(sr_path_fold_room(spelling->name), sizeof folded);
    ck_assert_uint_eq(sr_path_fold(spelling->name, folded), strlen(spelling->canonical));
    ck_assert_str_eq(folded, spelling->canonical);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tcp-spelling");
    TCase *tcase = harness_tcase(suite, "tcp-spelling");

    tcase_add_loop_test(tcase, each_address_has_one_spelling, 0,
                        (int)(sizeof spellings / sizeof spellings[0]));
    return harness_run(suite);
}
