/*
 * Random scripts of names, services, dials and loops: all that was begun ends, once and in order,
 * whatever else begins and ends meanwhile, on this thread and on the library's own.
 *
 * Each service, dial and start has a record that is freed by its last callback; so one too many,
 * or one that comes after the last, is seen by a sanitizer at the latest, and one too few at the
 * end of the script.
 */
#include "net-records.h"
#include "test-loop-helpers.h"
#include "test-resolver-script.h"

#define STEPS   150
#define SCRIPTS 60
#define NAMES   4
#define TCP     (NAMES - 1)

static sockref_loop *loops[LOOPS];
static bool dispatching[LOOPS];
static int freeing = -1; /* the loop that is */
static sockref *refs[NAMES];
static char names[NAMES][128];

/* What a call returned that needs a loop. Returns whether that is being freed, and the call failed.
 */
static bool is_refused(int status, int loop)
{
    FUZZ_EXPECT(status == 0 || (status == SOCKREF_ECLOSED && freeing == loop));
    return status < 0;
}

/* ---- what a script does ---- */

static void serve(int name, int loop)
{
    struct owner *owner = owner_new(loop);
    sockref_conn_options options;
    sockref_handlers handlers;
    int status;

    records_service(&options, &handlers);
    status = sockref_serve_on(refs[name], loops[loop], &handlers, owner);
    FUZZ_EXPECT(status == 0 || status == SOCKREF_EBUSY || status == SOCKREF_ECLOSED);
    if (status < 0)
        owner_free(owner);
}

/* Options of a start, perhaps with handlers. Returns their owner, or NULL. */
static struct owner *make_options(int loop, sockref_options **out_options)
{
    struct owner *owner = NULL;
    sockref_conn_options options;
    sockref_handlers handlers;

    *out_options = sockref_options_new();
    FUZZ_EXPECT(sockref_options_set_loop(*out_options, loops[loop]) == 0);
    FUZZ_EXPECT(sockref_options_set_int(*out_options, SOCKREF_OPT_BACKLOG, 1 + fuzz_chance(20)) ==
                0);
    FUZZ_EXPECT(
        sockref_options_set_int(*out_options, SOCKREF_OPT_MAX_CONNECTIONS, fuzz_chance(4)) == 0);
    if (fuzz_chance(2)) {
        owner = owner_new(loop);
        records_service(&options, &handlers);
        FUZZ_EXPECT(sockref_options_set_handlers(*out_options, &handlers, owner) == 0);
    }
    return owner;
}

static void keep_ref(int name, sockref *ref)
{
    if (refs[name]) {
        sockref_release(ref);
        return;
    }
    refs[name] = ref;
    snprintf(names[name], sizeof names[name], "%s", sockref_path(ref));
}

static const char *to_listen_at(int name)
{
    return name == TCP ? "tcp:127.0.0.1:0" : names[name];
}

static void listen_at(int name, int loop)
{
    sockref_options *options;
    struct owner *owner = make_options(loop, &options);
    sockref *ref;
    int status = sockref_registry_listen(NULL, to_listen_at(name), options, &ref);

    sockref_options_free(options);
    if (!is_refused(status, loop)) /* then on_stop comes, whether it serves or not */
        keep_ref(name, ref);
    else if (owner)
        owner_free(owner);
}

struct start {
    int name, loop;
};

static void started(int status, sockref *ref, void *user)
{
    struct start *start = user;

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ECANCELED);
    if (ref && start->loop != OWN)
        keep_ref(start->name, ref);
    else
        sockref_release(ref);
    free(start);
    atomic_fetch_sub(&records.alive, 1);
}

static void start_at(int name, int loop)
{
    struct start *start = calloc(1, sizeof *start);
    sockref_options *options;
    struct owner *owner = make_options(loop, &options);
    int status;

    *start = (struct start){name, loop};
    atomic_fetch_add(&records.alive, 1);
    status = sockref_registry_start_listener(NULL, to_listen_at(name), options, started, start);
    sockref_options_free(options);
    if (is_refused(status, loop)) {
        free(start);
        atomic_fetch_sub(&records.alive, 1);
        if (owner)
            owner_free(owner);
    } else if (loop != OWN && fuzz_chance(3) == 0) {
        status = sockref_registry_cancel_start(NULL, started, start);
        FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND);
    }
}

/* A name to connect to. Hosts are looked up as test-resolver-script.h has it. */
static const char *place_of(int name)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "4.test", "6.4.test",
                                        "none.test"};
    static char place[64];
    const char *port = strrchr(names[name], ':');

    if (name != TCP)
        return names[name];
    snprintf(place, sizeof place, "tcp:%s%s", hosts[fuzz_chance(5)], port ? port : ":1");
    return place;
}

static void dial_to(int name, int loop)
{
    const sockref_connect_options how = {.size = sizeof how, .timeout_ms = fuzz_chance(2) * 20};
    sockref_conn_options options;
    sockref_handlers handlers;
    struct owner *owner = owner_new(loop);
    uint32_t slot = fuzz_chance(DIALS);
    int status;

    records_dial(&options, &handlers);
    atomic_store(&owner->open, 1);
    if (loop != OWN && !records.dials[slot])
        owner->slot = (int)slot;
    status = sockref_connect(loops[loop], place_of(name), &how, &handlers, owner,
                             owner->slot >= 0 ? &records.dials[slot] : NULL);
    if (!is_refused(status, loop))
        return;
    atomic_store(&owner->open, 0);
    owner_free(owner);
}

static void posted(int status, void *user)
{
    struct owner *owner = user;

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ECANCELED);
    records_act(NULL, owner);
    owner_free(owner);
}

static void post_to(int loop)
{
    struct owner *owner = owner_new(loop);

    if (is_refused(sockref_loop_post(loops[loop], posted, owner), loop))
        owner_free(owner);
}

static void use_dial(sockref_conn *conn)
{
    static const char bytes[70000];

    switch (fuzz_chance(6)) {
    case 0:
        sockref_conn_destroy(conn);
        break;
    case 1:
        sockref_conn_destroy_soon(conn);
        break;
    case 2:
        sockref_conn_resume(conn);
        break;
    default:
        sockref_conn_write(conn, bytes, fuzz_chance(2) ? 10 : sizeof bytes);
    }
}

static void unserve(int name)
{
    int status = sockref_unserve(refs[name], fuzz_chance(2));

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND || status == SOCKREF_ECLOSED);
}

static void revoke_name(int name)
{
    int status = sockref_registry_cleanup(NULL, names[name]);

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND);
}

static void limit(int name)
{
    int status = sockref_set_max_connections(refs[name], fuzz_chance(4));

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ECLOSED);
    (void)sockref_connection_count(refs[name]);
}

static void let_go(int name)
{
    sockref_release(refs[name]);
    refs[name] = NULL;
}

static void dispatch(int loop)
{
    if (loop == OWN || dispatching[loop] || freeing == loop)
        return;
    dispatching[loop] = true;
    FUZZ_EXPECT(sockref_loop_dispatch(loops[loop], fuzz_chance(10) == 0) >= 0);
    dispatching[loop] = false;
}

/* own_loop: whose callback this is in, or -1. */
static void do_something(int own_loop)
{
    int name = (int)fuzz_chance(NAMES), loop = (int)fuzz_chance(LOOPS);
    uint32_t which = fuzz_chance(24), slot = fuzz_chance(DIALS);

    if (own_loop >= 0 && loop != OWN && loop != own_loop && which < 4) {
        dispatch(loop); /* of another one, inside a callback */
        return;
    }
    if (which < 6)
        dial_to(name, loop);
    else if (which < 10 && records.dials[slot])
        use_dial(records.dials[slot]);
    else if (which < 11)
        post_to(loop);
    else if (!refs[name] && which < 18)
        (fuzz_chance(2) ? listen_at : start_at)(name, loop);
    else if (refs[name] && which < 15)
        serve(name, loop);
    else if (refs[name] && which < 18)
        limit(name);
    else if (refs[name] && which < 20)
        unserve(name);
    else if (refs[name] && which < 22)
        let_go(name);
    else if (refs[name])
        revoke_name(name);
}

static void replace_loop(int which)
{
    freeing = which;
    sockref_loop_free(loops[which]);
    freeing = -1;
    FUZZ_EXPECT(sockref_loop_new(&loops[which]) == 0);
}

/* ---- a script ---- */

static void begin_script(void)
{
    for (int i = 0; i < OWN; i++)
        FUZZ_EXPECT(sockref_loop_new(&loops[i]) == 0);
    snprintf(names[0], sizeof names[0], "%s/a", directory);
    snprintf(names[1], sizeof names[1], "%s/b", directory);
    snprintf(names[2], sizeof names[2], "@sockref-script-%d", (int)getpid());
    names[TCP][0] = '\0';
    atomic_store(&records.ending, false);
    records.act = do_something;
}

static void end_script(void)
{
    uint64_t until = deadline();

    atomic_store(&records.ending, true);
    for (int i = 0; i < NAMES; i++)
        let_go(i);
    for (int i = 0; i < DIALS; i++)
        sockref_conn_destroy(records.dials[i]);
    if (fuzz_chance(3) == 0)
        replace_loop((int)fuzz_chance(OWN));
    while (atomic_load(&records.alive) > 0) {
        ck_assert_msg(sr_clock_ns() < until, "FUZZ_SEED=%llu: %d have not ended",
                      (unsigned long long)atomic_load(&fuzz.seed), atomic_load(&records.alive));
        for (int i = 0; i < NAMES; i++) /* of starts that came late */
            let_go(i);
        for (int i = 0; i < OWN; i++)
            FUZZ_EXPECT(sockref_loop_dispatch(loops[i], 1) >= 0);
    }
    for (int i = 0; i < OWN; i++) {
        FUZZ_EXPECT(sockref_loop_hold_count(loops[i]) == 0);
        sockref_loop_free(loops[i]);
    }
    for (int i = 0; i < NAMES; i++)
        let_go(i);
}

static void play(void)
{
    begin_script();
    for (int step = 0; step < STEPS; step++) {
        fuzz.steps++;
        do_something(-1);
        for (int i = 0; i < OWN; i++)
            if (fuzz_chance(2))
                dispatch(i);
        if (fuzz_chance(60) == 0)
            replace_loop((int)fuzz_chance(OWN));
    }
    end_script();
}

static void setup_net(void)
{
    setup();
    script_begin();
}

START_TEST(all_that_begins_ends_once)
{
    fuzz_play(SCRIPTS, play);
}
END_TEST

int main(void)
{
    return fuzz_main("net-script", all_that_begins_ends_once, setup_net, teardown);
}
