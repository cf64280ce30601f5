/* Services and dials of a script, as their callbacks tell of them. */
#include "net-records.h"

#include <stdlib.h>

struct records records;

static _Thread_local int depth; /* of callbacks */

/* Of an accepted connection. */
struct accepted {
    enum stage stage;
    struct owner *owner;
};

struct owner *owner_new(int loop)
{
    struct owner *owner = calloc(1, sizeof *owner);

    owner->loop = loop;
    owner->slot = -1;
    atomic_fetch_add(&records.alive, 1);
    return owner;
}

void owner_free(struct owner *self)
{
    free(self);
    atomic_fetch_sub(&records.alive, 1);
}

void records_act(sockref_conn *conn, const struct owner *owner)
{
    static const char bytes[70000];
    uint32_t which = fuzz_chance(12);

    atomic_fetch_add(&fuzz.callbacks, 1);
    if (conn && (which == 0 || atomic_load(&records.ending)))
        sockref_conn_destroy(conn);
    else if (conn && which == 1)
        sockref_conn_end(conn);
    else if (conn && which == 2)
        sockref_conn_reset(conn);
    else if (conn && which < 6)
        sockref_conn_write(conn, bytes, fuzz_chance(which == 5 ? sizeof bytes : 100));
    else if (which < 9 && owner->loop != OWN && depth == 0 && !atomic_load(&records.ending)) {
        depth++;
        records.act(owner->loop);
        depth--;
    }
}

static void on_stop(void *user)
{
    struct owner *owner = user;

    FUZZ_EXPECT(atomic_load(&owner->open) == 0);
    records_act(NULL, owner);
    owner_free(owner);
}

/* ---- of services ---- */

static void accepted_connection(sockref_conn *conn, void *user)
{
    struct accepted *accepted = calloc(1, sizeof *accepted);

    accepted->owner = user;
    atomic_fetch_add(&accepted->owner->open, 1);
    sockref_conn_set_data(conn, accepted);
    records_act(conn, user);
}

static void accepted_ready(sockref_conn *conn, void *user)
{
    struct accepted *accepted = sockref_conn_data(conn);

    FUZZ_EXPECT(accepted->owner == user && accepted->stage == BEGUN);
    accepted->stage = READY;
    records_act(conn, user);
}

static void accepted_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    struct accepted *accepted = sockref_conn_data(conn);

    FUZZ_EXPECT(accepted->owner == user && accepted->stage == READY && length > 0);
    (void)sockref_conn_write(conn, data, length < 100 ? length : 100);
    records_act(conn, user);
}

static void accepted_timeout(sockref_conn *conn, void *user)
{
    FUZZ_EXPECT(((struct accepted *)sockref_conn_data(conn))->owner == user);
    records_act(conn, user);
}

static void accepted_close(sockref_conn *conn, bool had_error, void *user)
{
    struct accepted *accepted = sockref_conn_data(conn);

    (void)had_error;
    FUZZ_EXPECT(accepted->owner == user && accepted->stage != CLOSED);
    accepted->stage = CLOSED;
    free(accepted);
    atomic_fetch_sub(&((struct owner *)user)->open, 1);
    records_act(NULL, user);
}

static void dropped(const sockref_address *local, const sockref_address *remote, void *user)
{
    FUZZ_EXPECT(local->size == sizeof *local && remote->size == sizeof *remote);
    records_act(NULL, user);
}

/* ---- of dials ---- */

static void dial_attempt(sockref_conn *conn, const sockref_address *address, int event, int status,
                         void *user)
{
    FUZZ_EXPECT(((struct owner *)user)->dialled == BEGUN && address->family != SOCKREF_FAMILY_NONE);
    FUZZ_EXPECT((status == 0) == (event == SOCKREF_ATTEMPT_BEGUN));
    records_act(conn, user);
}

static void dial_connect(sockref_conn *conn, void *user)
{
    struct owner *owner = user;

    FUZZ_EXPECT(owner->dialled == BEGUN);
    owner->dialled = CONNECTED;
    records_act(conn, user);
}

static void dial_ready(sockref_conn *conn, void *user)
{
    struct owner *owner = user;

    FUZZ_EXPECT(owner->dialled == CONNECTED);
    owner->dialled = READY;
    records_act(conn, user);
}

static void dial_data(sockref_conn *conn, const void *data, size_t length, void *user)
{
    (void)data;
    FUZZ_EXPECT(((struct owner *)user)->dialled == READY && length > 0);
    records_act(conn, user);
}

static void dial_error(sockref_conn *conn, int status, void *user)
{
    FUZZ_EXPECT(status < 0 && ((struct owner *)user)->dialled != CLOSED);
    records_act(conn, user);
}

static void dial_timeout(sockref_conn *conn, void *user)
{
    FUZZ_EXPECT(((struct owner *)user)->dialled != CLOSED);
    records_act(conn, user);
}

static void dial_close(sockref_conn *conn, bool had_error, void *user)
{
    struct owner *owner = user;

    (void)had_error;
    FUZZ_EXPECT(owner->dialled != CLOSED);
    owner->dialled = CLOSED;
    if (owner->slot >= 0) {
        FUZZ_EXPECT(records.dials[owner->slot] == conn);
        records.dials[owner->slot] = NULL;
        sockref_conn_release(conn);
    }
    atomic_fetch_sub(&owner->open, 1);
    records_act(NULL, user);
}

/* ---- handlers ---- */

void records_service(sockref_conn_options *options, sockref_handlers *handlers)
{
    static const unsigned flags[] = {SOCKREF_CONN_PAUSED, SOCKREF_CONN_HALF_OPEN,
                                     SOCKREF_CONN_UNHELD, SOCKREF_CONN_OUTLIVE};

    *options = (sockref_conn_options){.size = sizeof *options, .timeout_ms = 1 + fuzz_chance(5)};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        options->flags |= fuzz_chance(4) == 0 ? flags[i] : 0;
    *handlers = (sockref_handlers){.size = sizeof *handlers,
                                   .on_connection = accepted_connection,
                                   .on_ready = accepted_ready,
                                   .on_data = accepted_data,
                                   .on_timeout = accepted_timeout,
                                   .on_close = accepted_close,
                                   .on_stop = on_stop,
                                   .options = options};
    if (fuzz_chance(2))
        handlers->on_drop = dropped;
}

void records_dial(sockref_conn_options *options, sockref_handlers *handlers)
{
    records_service(options, handlers);
    handlers->on_connection = NULL;
    handlers->on_attempt = dial_attempt;
    handlers->on_connect = dial_connect;
    handlers->on_ready = dial_ready;
    handlers->on_data = dial_data;
    handlers->on_error = dial_error;
    handlers->on_timeout = dial_timeout;
    handlers->on_close = dial_close;
}
