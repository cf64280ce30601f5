/* What the library is asked for while its calls fail: see the header. */
#include "unit/fault-scenarios.h"

#include "base/clock.h"
#include "base/fd.h"
#include "harness/harness.h"
#include "unit/test-resolver-script.h"

#include <errno.h>
#include <sockref/pool.h>
#include <sockref/stats.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fault_run fault_run;
static sockref_registry *registry;

struct state {
    uint64_t references, entries, active;
    size_t noted;
    unsigned descriptors, files; /* those beside sockets among them */
};

static struct state take_state(void)
{
    struct state state = {
        .noted = sr_fd_count(),
        .descriptors = harness_descriptors(),
        .files = harness_files() + harness_beside(),
    };

    sockref_live_counts(&state.references, &state.entries, NULL);
    if (registry)
        state.active = sockref_registry_active_socket_count(registry);
    return state;
}

/* Where there is no memory for a description, that is what is described. */
static void assert_described(int status)
{
    const sockref_error *error = sockref_last_error();

    if (error->status == -ENOMEM && fault_run.is_without_memory)
        return;
    ck_assert_msg(error->status == status, "%s: %s is described as %s (%s)", fault_run.what,
                  sockref_status_name(status), sockref_status_name(error->status), error->message);
    ck_assert_msg(error->message[0] != '\0', "%s: no message", fault_run.what);
}

/* I9: made around a call that promises to have changed nothing where it fails. Returns whether it
 * succeeded. */
#define TRY(call)                                                                                  \
    ({                                                                                             \
        struct state before_ = take_state(), after_;                                               \
        int status_ = (call);                                                                      \
                                                                                                   \
        if (status_ < 0) {                                                                         \
            assert_described(status_);                                                             \
            after_ = take_state();                                                                 \
            if (after_.files > before_.files)                                                      \
                fault_run.reported++; /* by the status: the system refused to remove */            \
            after_.files = before_.files;                                                          \
            ck_assert_msg(memcmp(&before_, &after_, sizeof after_) == 0,                           \
                          "%s: %s failed and changed something", fault_run.what, #call);           \
        }                                                                                          \
        status_ == 0;                                                                              \
    })

/* For the calls that are exempt from it. */
#define TRY_EXEMPT(call)                                                                           \
    ({                                                                                             \
        int status_ = (call);                                                                      \
                                                                                                   \
        if (status_ < 0) {                                                                         \
            assert_described(status_);                                                             \
            fault_run.reported++;                                                                  \
        }                                                                                          \
        status_ == 0;                                                                              \
    })

static sockref_options *quick_options(void)
{
    sockref_options *options = sockref_options_new();

    if (options &&
        TRY(sockref_options_set_int(options, SOCKREF_OPT_START_TIMEOUT_MS, FAULT_QUICK_MS)))
        return options;
    sockref_options_free(options);
    return NULL;
}

static bool make_registry(const sockref_options *options)
{
    return TRY(sockref_registry_new(options ? options : fault_run.options, &registry));
}

static void free_registry(void)
{
    sockref_registry *old = registry;

    registry = NULL;
    sockref_registry_free(old);
}

static bool listen_share_release(void)
{
    sockref *refs[3] = {NULL, NULL, NULL};
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &refs[0]));
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &refs[1]));
    ok &= TRY(sockref_registry_listen(registry, harness_at(".//a"), NULL, &refs[2]));
    for (int i = 0; i < 3; i++) {
        if (refs[i])
            ck_assert_msg(harness_can_dial(harness_at("a")), "%s: held, and not reachable",
                          fault_run.what);
        sockref_release(refs[i]);
    }
    free_registry();
    return ok;
}

static bool get_or_create(void)
{
    const char *longer = harness_at("a-leaf-that-does-not-stand-in-the-entry-itself");
    sockref *named = NULL, *bound = NULL, *found = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_get_or_create(registry, longer, &named));
    ok &= TRY(sockref_registry_listen(registry, longer, NULL, &bound));
    if (named && bound)
        ck_assert_ptr_eq(named, bound);
    if (named)
        ok &= TRY(sockref_registry_get_existing(registry, longer, &found));
    sockref_release(found);
    sockref_release(named);
    sockref_release(bound);
    ck_assert(!sockref_registry_is_socket_active(registry, longer));
    free_registry();
    return ok;
}

static bool register_new(void)
{
    const char *path = harness_at("a");
    sockref *ref = NULL;
    int fd;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    fd = harness_bind(path);
    ok &= TRY(sockref_registry_register_new(registry, path, fd, &ref));
    if (!ref) { /* neither descriptor nor file were taken */
        ck_assert_msg(harness_can_dial(path), "%s: it is the caller's still", fault_run.what);
        close(fd);
        unlink(path);
    }
    sockref_release(ref);
    free_registry();
    return ok;
}

static bool cleanup(void)
{
    sockref *ref = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &ref));
    if (ref) {
        int status = sockref_registry_cleanup(registry, harness_at("a"));

        if (status < 0)
            assert_described(status);
        if (status == -ENOMEM) { /* of the spelling; nothing was revoked */
            ck_assert(sockref_is_active(ref));
        } else {
            ck_assert(!sockref_is_active(ref));
            fault_run.reported += status < 0;
        }
        ok &= status == 0;
        ck_assert_uint_eq(sockref_reference_count(ref), 1);
    }
    sockref_release(ref);
    free_registry();
    return ok;
}

static bool cleanup_all(void)
{
    static const char *const leaves[] = {"a", "b", "c"};
    sockref *refs[3] = {NULL, NULL, NULL};
    uint64_t count = 0, expected = 0;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    for (int i = 0; i < 3; i++)
        ok &= TRY(sockref_registry_listen(registry, harness_at(leaves[i]), NULL, &refs[i]));
    for (int i = 0; i < 3; i++)
        expected += refs[i] != NULL;
    ok &= TRY_EXEMPT(sockref_registry_cleanup_all(registry, &count));
    ck_assert_uint_eq(count, expected);
    for (int i = 0; i < 3; i++) {
        ck_assert(!sockref_is_active(refs[i]));
        sockref_release(refs[i]);
    }
    free_registry();
    return ok;
}

static bool shutdown_registry(void)
{
    sockref *refs[2] = {NULL, NULL}, *late = NULL;
    int status;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &refs[0]));
    ok &= TRY(sockref_registry_get_or_create(registry, harness_at("b"), &refs[1]));
    status = sockref_registry_shutdown(registry, 0);
    if (status < 0)
        assert_described(status);
    ok &= status == (refs[0] || refs[1] ? SOCKREF_ETIMEOUT : 0);
    fault_run.reported += status < 0 && status != SOCKREF_ETIMEOUT;
    ck_assert_int_eq(sockref_registry_listen(registry, harness_at("c"), NULL, &late),
                     SOCKREF_ESHUTDOWN);
    for (int i = 0; i < 2; i++) {
        ck_assert(!sockref_is_active(refs[i]));
        sockref_release(refs[i]);
    }
    free_registry();
    return ok;
}

static bool default_names(void)
{
    sockref_options *options = quick_options(), *unique = sockref_options_new();
    sockref *refs[3] = {NULL, NULL, NULL};
    bool ok = options && unique;

    ok = ok && TRY(sockref_options_set_string(options, SOCKREF_OPT_DIRECTORY, harness_at("d")));
    ok = ok && TRY(sockref_options_set_int(unique, SOCKREF_OPT_UNIQUE, 1));
    ok = ok && make_registry(options);
    if (ok) {
        ok &= TRY(sockref_registry_listen(registry, NULL, NULL, &refs[0]));
        ok &= TRY(sockref_registry_listen(registry, NULL, unique, &refs[1]));
        ok &= TRY(sockref_registry_get_or_create(registry, NULL, &refs[2]));
        for (int i = 0; i < 3; i++)
            sockref_release(refs[i]);
        free_registry();
    }
    sockref_options_free(options);
    sockref_options_free(unique);
    return ok;
}

static bool delayed(void)
{
    sockref_options *options = quick_options();
    sockref *ref = NULL, *again = NULL;
    bool ok = options && TRY(sockref_options_set_int(options, SOCKREF_OPT_CLEANUP_DELAY_MS,
                                                     24 * 60 * 60 * 1000));

    ok = ok && make_registry(options);
    if (ok) {
        ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &ref));
        sockref_release(ref); /* without a thread for the delay it goes at once */
        ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &again));
        sockref_release(again);
        ok &= TRY_EXEMPT(sockref_registry_cleanup_all(registry, NULL));
        free_registry();
    }
    sockref_options_free(options);
    return ok;
}

static bool two_registries(void)
{
    sockref_registry *other = NULL;
    sockref *first = NULL, *second = NULL, *apart = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_new(fault_run.options, &other));
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &first));
    if (other && first) {
        ok &= TRY(sockref_registry_listen(other, harness_at("a"), NULL, &second));
        ck_assert_msg(!sockref_is_owner(second), "%s: two owners of one path", fault_run.what);
        ck_assert(harness_can_dial(harness_at("a")));
    }
    if (other)
        ok &= TRY(sockref_registry_listen(other, harness_at("b"), NULL, &apart));
    sockref_release(apart);
    sockref_release(second);
    sockref_release(first);
    sockref_registry_free(other);
    free_registry();
    return ok;
}

static bool sweep(void)
{
    const char *dead = harness_at("sockref-5194301-0123456789abcdef.sock");
    uint64_t count = 0;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    harness_leave_dead(dead);
    ok &= TRY_EXEMPT(sockref_registry_sweep(registry, harness_dir(), &count));
    ck_assert_uint_eq(count, !harness_exists(dead));
    ok &= count == 1; /* one that can't be asked is taken for alive, and stays */
    unlink(dead);
    free_registry();
    return ok;
}

static bool umask_to_be_widened(void)
{
    sockref_options *options = quick_options();
    sockref *ref = NULL;
    mode_t before = umask(077);
    bool ok = options && TRY(sockref_options_set_int(options, SOCKREF_OPT_MODE, 0666));

    ok = ok && make_registry(options);
    if (ok) {
        ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &ref));
        sockref_release(ref);
        free_registry();
    }
    sockref_options_free(options);
    umask(before);
    return ok;
}

static bool sticky_directory(void)
{
    const char *dir = harness_sticky_dir();
    sockref *ref = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    if (dir)
        ok &= TRY(sockref_registry_listen(registry, harness_text("%s/a", dir), NULL, &ref));
    sockref_release(ref);
    free_registry();
    return ok;
}

static bool long_and_abstract(void)
{
    sockref *refs[2] = {NULL, NULL};
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_long_path(300, 30), NULL, &refs[0]));
    ok &= TRY(sockref_registry_listen(registry, harness_text("@sockref-%ld", (long)getpid()), NULL,
                                      &refs[1]));
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    free_registry();
    return ok;
}

static void count_watch(sockref *ref, int event, void *user)
{
    (void)ref;
    (void)event;
    (void)user;
}

static bool watched(void)
{
    sockref *ref = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &ref));
    if (ref) {
        ok &= TRY(sockref_set_watch(ref, count_watch, NULL, NULL));
        ok &= TRY(sockref_set_watch(ref, NULL, NULL, NULL));
    }
    sockref_release(ref);
    free_registry();
    return ok;
}

/* Many names: the table grows, and the slab. */
static bool many_names(void)
{
    sockref *refs[70] = {NULL};
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    for (int i = 0; i < 70; i++)
        ok &= TRY(sockref_registry_get_or_create(registry, harness_text("@name-%d", i), &refs[i]));
    for (int i = 0; i < 70; i++)
        sockref_release(refs[i]);
    ck_assert_uint_eq(sockref_registry_active_socket_count(registry), 0);
    free_registry();
    return ok;
}

static bool ports(void)
{
    sockref *refs[3] = {NULL, NULL, NULL};
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &refs[0]));
    ok &= TRY(sockref_registry_listen(registry, "tcp::0", NULL, &refs[1]));
    if (refs[0])
        ok &= TRY(sockref_registry_listen(registry, sockref_path(refs[0]), NULL, &refs[2]));
    for (int i = 0; i < 3; i++)
        sockref_release(refs[i]);
    free_registry();
    return ok;
}

struct reached {
    bool is_ready, is_over;
};

static void note_ready(sockref_conn *conn, void *user)
{
    ((struct reached *)user)->is_ready = true;
    sockref_conn_destroy(conn);
}

static void note_end(void *user)
{
    ((struct reached *)user)->is_over = true;
}

/* Whatever fails is told by the call, or by the end of the connection: it comes in any case. */
static bool reach(sockref_loop *loop, const char *name, sockref *from)
{
    const sockref_handlers handlers = {
        .size = sizeof handlers, .on_ready = note_ready, .on_stop = note_end};
    /* A queue that is full for good is waited for until then; nothing else is to take so long. */
    const int timeout_ms = strstr(fault_run.what, "all of connect") ? 100 : HARNESS_PATIENCE_MS;
    const sockref_connect_options options = {.size = sizeof options,
                                             .timeout_ms = timeout_ms,
                                             .local_host =
                                                 name[0] == 't' && !from ? "127.0.0.1" : NULL,
                                             .from = from};
    uint64_t deadline = sr_clock_after_ms(HARNESS_PATIENCE_MS);
    struct reached reached = {false, false};

    if (!TRY(sockref_connect(loop, name, &options, &handlers, &reached, NULL)))
        return false;
    while (!reached.is_over) {
        ck_assert_msg(sr_clock_ns() < deadline, "%s: a connection does not end", fault_run.what);
        ck_assert_int_ge(sockref_loop_dispatch(loop, 10), 0);
    }
    return reached.is_ready;
}

static bool connect_to_names(void)
{
    const char *path = harness_long_path(300, 30);
    sockref *refs[2] = {NULL, NULL};
    sockref_address address = {.size = sizeof address};
    sockref_loop *loop = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    script_begin();
    ok &= TRY(sockref_loop_new(&loop));
    ok &= TRY(sockref_registry_listen(registry, path, NULL, &refs[0]));
    ok &= TRY(sockref_registry_listen(registry, "tcp:127.0.0.1:0", NULL, &refs[1]));
    if (loop && refs[0])
        ok &= reach(loop, path, NULL);
    if (loop && refs[1]) {
        ok &= TRY(sockref_local_address(refs[1], &address));
        ok &= reach(loop, sockref_path(refs[1]), NULL);
        ok &= reach(loop, harness_text("tcp:6.4.test:%s", strrchr(sockref_path(refs[1]), ':') + 1),
                    NULL);
    }
    sockref_loop_free(loop);
    ck_assert_int_eq(sr_resolve_drain(sr_clock_after_ms(HARNESS_PATIENCE_MS)), 0);
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    free_registry();
    return ok;
}

/* One of two bound names is served, and the other connects to it. */
static bool bind_only(void)
{
    sockref_options *options = sockref_options_new();
    sockref *refs[2] = {NULL, NULL};
    sockref_loop *loop = NULL;
    bool ok = make_registry(NULL);

    ok &= options && TRY(sockref_options_set_int(options, SOCKREF_OPT_BIND_ONLY, 1)) &&
          TRY(sockref_loop_new(&loop));
    for (int i = 0; i < 2 && ok; i++)
        ok &= TRY(
            sockref_registry_listen(registry, harness_at(i ? "to" : "from"), options, &refs[i]));
    ok = ok && TRY(sockref_serve_on(refs[1], loop, sockref_echo_handlers(), NULL)) &&
         reach(loop, harness_at("to"), refs[0]);
    sockref_loop_free(loop);
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    sockref_options_free(options);
    if (registry)
        free_registry();
    return ok;
}

static bool is_well(const sockref *ref)
{
    sockref_health health = {.size = sizeof health};

    return TRY(sockref_check_health(ref, &health)) && health.is_file_ours == 1 &&
           health.is_reachable == 1;
}

static bool pools(void)
{
    sockref *refs[2] = {NULL, NULL};
    sockref_pool *pool = NULL;
    bool ok = make_registry(NULL);

    if (!ok)
        return false;
    ok &= TRY(sockref_registry_listen(registry, harness_at("a"), NULL, &refs[0]));
    ok = ok && TRY(sockref_pool_new(&pool)) && TRY(sockref_pool_add(pool, refs[0])) &&
         TRY(sockref_pool_listen(pool, registry, harness_at("p"), 2, NULL)) &&
         TRY(sockref_pool_listen(pool, registry, "tcp:127.0.0.1:0", 1, NULL)) &&
         TRY(sockref_pool_pick(pool, SOCKREF_POOL_LEAST_REFERENCES, &refs[1])) &&
         is_well(refs[1]) && TRY(sockref_pool_remove(pool, refs[0]));
    sockref_release(refs[0]);
    sockref_release(refs[1]);
    sockref_pool_free(pool);
    free_registry();
    return ok;
}

const struct fault_scenario fault_scenarios[FAULT_SCENARIOS] = {
    {"listen, share, release", listen_share_release},
    {"get or create", get_or_create},
    {"register new", register_new},
    {"cleanup", cleanup},
    {"cleanup all", cleanup_all},
    {"shutdown", shutdown_registry},
    {"default names", default_names},
    {"delayed", delayed},
    {"two registries", two_registries},
    {"sweep", sweep},
    {"a mode to be widened", umask_to_be_widened},
    {"sticky directory", sticky_directory},
    {"long and abstract", long_and_abstract},
    {"watched", watched},
    {"many names", many_names},
    {"ports", ports},
    {"connect", connect_to_names},
    {"bind only", bind_only},
    {"pools", pools},
};
