/*
 * Random scripts of names, services, dials and loops: all that was begun ends, once and in order,
 * whatever else begins and ends meanwhile, on this thread, the library's own, and a helper.
 *
 * Each service, dial and start has a record that is freed by its last callback; so one too many,
 * or one that comes after the last, is seen by a sanitizer at the latest, and one too few at the
 * end of the script.
 */
#include "net-records.h"
#include "test-loop-helpers.h"
#include "test-resolver-script.h"

#include <pthread.h>

#define STEPS   150
#define SCRIPTS 60
#define NAMES   4
#define HELPS   20 /* calls of a helper */
#define JOINED  1  /* the same path as the first, of another registry: one of them joins */
#define TCP     (NAMES - 1)

static sockref_loop *loops[LOOPS];
static bool dispatching[LOOPS];
static bool freeing[LOOPS];
static sockref_registry *registries[2]; /* the second has JOINED alone */
static sockref *refs[NAMES];
static char names[NAMES][128];

/* What a call returned that needs a loop. Returns whether that is being freed, and the call failed.
 */
static bool is_refused(int status, int loop)
{
    if (status != 0 && !(status == SOCKREF_ECLOSED && freeing[loop]))
        fuzz_fail("%s: %s", sockref_status_name(status), sockref_last_error()->message);
    return status < 0;
}

/* ---- what a script does ---- */

static void serve(sockref *ref, int loop)
{
    struct owner *owner = owner_new(loop);
    sockref_conn_options options;
    sockref_handlers handlers;
    int status;

    records_service(&options, &handlers);
    status = sockref_serve_on(ref, loops[loop], &handlers, owner);
    FUZZ_EXPECT(status == 0 || status == SOCKREF_EBUSY || status == SOCKREF_ECLOSED);
    if (status < 0)
        owner_free(owner);
}

/* Options of a start, perhaps with handlers. Returns their owner, or NULL. */
static struct owner *make_options(int name, int loop, sockref_options **out_options)
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
    if (name > JOINED && fuzz_chance(4) == 0) /* others can't join it */
        FUZZ_EXPECT(sockref_options_set_int(*out_options, SOCKREF_OPT_BIND_ONLY, 1) == 0);
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

static sockref_registry *registry_of(int name)
{
    return registries[name == JOINED];
}

static const char *to_listen_at(int name)
{
    return name == TCP ? "tcp:127.0.0.1:0" : names[name];
}

static void listen_at(int name, int loop)
{
    sockref_options *options;
    struct owner *owner = make_options(name, loop, &options);
    sockref *ref;
    int status = sockref_registry_listen(registry_of(name), to_listen_at(name), options, &ref);

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

    if (status != 0 && status != SOCKREF_ECANCELED)
        fuzz_fail("%s: %s", sockref_status_name(status), sockref_last_error()->message);
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
    struct owner *owner = make_options(name, loop, &options);
    int status;

    *start = (struct start){name, loop};
    atomic_fetch_add(&records.alive, 1);
    status = sockref_registry_start_listener(registry_of(name), to_listen_at(name), options,
                                             started, start);
    sockref_options_free(options);
    if (is_refused(status, loop)) {
        free(start);
        atomic_fetch_sub(&records.alive, 1);
        if (owner)
            owner_free(owner);
    } else if (loop != OWN && fuzz_chance(3) == 0) {
        status = sockref_registry_cancel_start(registry_of(name), started, start);
        FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND);
    }
}

/* A name to connect to. Hosts are looked up as test-resolver-script.h has it. */
static const char *place_of(const char *name)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "4.test", "6.4.test",
                                        "none.test"};
    static _Thread_local char place[64];
    const char *port = strrchr(name, ':');

    if (name[0] == '/' || name[0] == '@')
        return name;
    snprintf(place, sizeof place, "tcp:%s%s", hosts[fuzz_chance(5)], port ? port : ":1");
    return place;
}

/* Whether a name to connect from is a listener, has been connected, or was revoked. */
static bool is_not_bound(const sockref *from, int status)
{
    return from && (status == -EINVAL || status == SOCKREF_EBUSY || status == SOCKREF_ECLOSED);
}

/* from: a name, or NULL; none that is abstract, which a connection keeps when it is revoked. slot:
 * where this thread keeps a handle, or -1. */
static void dial_to(const char *name, int loop, sockref *from, int slot)
{
    const sockref_connect_options how = {
        .size = sizeof how, .timeout_ms = fuzz_chance(2) * 20, .from = from};
    sockref_conn_options options;
    sockref_handlers handlers;
    struct owner *owner = owner_new(loop);
    int status;

    records_dial(&options, &handlers);
    atomic_store(&owner->open, 1);
    owner->slot = slot;
    status = sockref_connect(loops[loop], place_of(name), &how, &handlers, owner,
                             slot >= 0 ? &records.dials[slot] : NULL);
    if (!is_not_bound(from, status) && !is_refused(status, loop))
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

static void unserve(sockref *ref)
{
    int status = sockref_unserve(ref, fuzz_chance(2));

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND || status == SOCKREF_ECLOSED);
}

static void revoke_name(sockref_registry *registry, const char *name)
{
    int status = sockref_registry_cleanup(registry, name);

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ENOTFOUND);
}

static void limit(sockref *ref)
{
    int status = sockref_set_max_connections(ref, fuzz_chance(4));

    FUZZ_EXPECT(status == 0 || status == SOCKREF_ECLOSED);
    (void)sockref_connection_count(ref);
}

static void let_go(int name)
{
    sockref_release(refs[name]);
    refs[name] = NULL;
}

/* Whether this thread may drive or free a loop now. */
static bool is_idle(int loop)
{
    return loop != OWN && !dispatching[loop] && !freeing[loop];
}

static void dispatch(int loop)
{
    if (!is_idle(loop))
        return;
    dispatching[loop] = true;
    FUZZ_EXPECT(sockref_loop_dispatch(loops[loop], fuzz_chance(10) == 0) >= 0);
    dispatching[loop] = false;
}

/* ---- a second thread ---- */

struct helper {
    pthread_t thread;
    bool runs;
    unsigned number; /* of this script */
    sockref *refs[NAMES];
    char names[NAMES][sizeof names[0]];
};
static struct helper helper;

/* What any thread may do. */
static void *help(void *arg)
{
    struct helper *self = arg;

    for (unsigned i = 0; i < self->number; i++)
        (void)fuzz_chance(1); /* not what the last one did */
    for (int i = 0; i < HELPS; i++) {
        int name = (int)fuzz_chance(NAMES), loop = (int)fuzz_chance(LOOPS);
        uint32_t which = fuzz_chance(12);

        if (which < 4)
            dial_to(self->names[name], loop, fuzz_chance(4) ? NULL : self->refs[TCP], -1);
        else if (which < 6)
            post_to(loop);
        else if (!self->refs[name])
            continue;
        else if (which < 8)
            serve(self->refs[name], loop);
        else if (which < 9)
            unserve(self->refs[name]);
        else if (which < 10)
            limit(self->refs[name]);
        else if (which < 11)
            revoke_name(registry_of(name), self->names[name]);
        else {
            sockref_release(self->refs[name]);
            self->refs[name] = NULL;
        }
    }
    return NULL;
}

static void begin_helper(void)
{
    if (helper.runs)
        return;
    helper.number++;
    helper.runs = true;
    memcpy(helper.names, names, sizeof names);
    for (int i = 0; i < NAMES; i++)
        helper.refs[i] = refs[i] ? sockref_acquire(refs[i]) : NULL;
    ck_assert_int_eq(pthread_create(&helper.thread, NULL, help, &helper), 0);
}

static void end_helper(void)
{
    if (!helper.runs)
        return;
    ck_assert_int_eq(pthread_join(helper.thread, NULL), 0);
    helper.runs = false;
    for (int i = 0; i < NAMES; i++)
        sockref_release(helper.refs[i]);
}

/* Its callbacks may do anything; who uses it is gone. */
static void replace_loop(int which)
{
    end_helper();
    freeing[which] = true;
    sockref_loop_free(loops[which]);
    freeing[which] = false;
    FUZZ_EXPECT(sockref_loop_new(&loops[which]) == 0);
}

/* ---- a script ---- */

/* own_loop: whose callback this is in, or -1. */
static void do_something(int own_loop)
{
    int name = (int)fuzz_chance(NAMES), loop = (int)fuzz_chance(LOOPS);
    uint32_t which = fuzz_chance(24);
    int slot = (int)fuzz_chance(DIALS);

    if (own_loop >= 0 && which < 4 && is_idle(loop)) { /* another one, inside a callback */
        if (fuzz_chance(20))
            dispatch(loop);
        else
            replace_loop(loop);
        return;
    }
    if (which < 6)
        dial_to(names[name], loop, fuzz_chance(4) ? NULL : refs[fuzz_chance(3) ? TCP : JOINED],
                loop != OWN && !records.dials[slot] ? slot : -1);
    else if (which < 10 && records.dials[slot])
        use_dial(records.dials[slot]);
    else if (which < 11)
        post_to(loop);
    else if (!refs[name] && which < 18)
        (fuzz_chance(2) ? listen_at : start_at)(name, loop);
    else if (refs[name] && which < 15)
        serve(refs[name], loop);
    else if (refs[name] && which < 18)
        limit(refs[name]);
    else if (refs[name] && which < 20)
        unserve(refs[name]);
    else if (refs[name] && which < 22)
        let_go(name);
    else if (refs[name])
        revoke_name(registry_of(name), names[name]);
}

static void begin_script(void)
{
    for (int i = 0; i < 2; i++)
        FUZZ_EXPECT(sockref_registry_new(NULL, &registries[i]) == 0);
    helper.number = 0;
    for (int i = 0; i < OWN; i++)
        FUZZ_EXPECT(sockref_loop_new(&loops[i]) == 0);
    snprintf(names[0], sizeof names[0], "%s/a", directory);
    strcpy(names[JOINED], names[0]);
    snprintf(names[2], sizeof names[2], "@sockref-script-%d", (int)getpid());
    names[TCP][0] = '\0';
    atomic_store(&records.ending, false);
    records.act = do_something;
}

static void free_registries(void)
{
    for (int i = 0; i < 2; i++)
        sockref_registry_free(registries[i]);
}

static void end_script(void)
{
    uint64_t until = deadline();
    bool is_free = fuzz_chance(2);

    end_helper();
    atomic_store(&records.ending, true); /* nothing new is begun in callbacks from now on */
    if (is_free)
        free_registries();
    for (int i = 0; i < NAMES; i++)
        let_go(i);
    for (int i = 0; i < DIALS; i++)
        sockref_conn_destroy(records.dials[i]);
    if (fuzz_chance(3) == 0)
        replace_loop((int)fuzz_chance(OWN));
    while (atomic_load(&records.alive) > 0) {
        if (sr_clock_ns() > until)
            fuzz_fail("%d have not ended", atomic_load(&records.alive));
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
    if (!is_free)
        free_registries();
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
        if (fuzz_chance(20) == 0)
            begin_helper();
        else if (fuzz_chance(20) == 0)
            end_helper();
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
