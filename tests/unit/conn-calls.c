/* The calls that a script makes on a connection, and what the model says that they return. */
#include "conn-model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct piece {
    struct model *model;
    unsigned char *bytes;
    uint64_t end;
};

static bool refuses(const struct model *model)
{
    return model->ended || model->destroyed || model_look(model).state == SOCKREF_CONN_CLOSED;
}

static void note_queued(struct model *model, int status)
{
    sockref_conn_details info = model_look(model);

    if (info.destroyed)
        return; /* it broke in the call */
    EXPECT(model, (status == SOCKREF_WRITE_FULL) == (info.buffered > HIGH_WATER) ||
                      model->fds_taken - model->peer_fds >= 64);
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

/* Nothing was taken; what is queued is told when it is gone. */
static void note_refused(struct model *model, int status)
{
    if (status == SOCKREF_ELIMIT && model_look(model).buffered > 0)
        model->drain_owed = true;
}

size_t model_some_length(void)
{
    static const uint32_t most[] = {1, 10, 1000, 20000, 100000, 400000};

    return fuzz_chance(most[fuzz_chance(6)] + 1);
}

static bool fits(const struct model *model, size_t length)
{
    return model_look(model).buffered + length <= MOST;
}

static void call_write(struct model *model)
{
    size_t length = model_some_length();
    unsigned char *bytes = malloc(length + 1);
    bool refused = refuses(model), broken = model_look(model).destroyed,
         fitted = fits(model, length);
    int status;

    model_fill_bytes(bytes, length, model->taken, 0);
    script.in_call = true;
    status = sockref_conn_write(model->conn, bytes, length);
    script.in_call = false;
    free(bytes);
    if (refused && status == SOCKREF_ECLOSED)
        return;
    if (broken || model_look(model).destroyed) {
        EXPECT(model, status == (length > 0 ? SOCKREF_WRITE_FULL : 0));
        model->taken += length; /* or a part of it */
        return;
    }
    EXPECT(model, !refused);
    if (status == -ENOMEM && script.may_lack)
        return;
    EXPECT(model, (status == SOCKREF_ELIMIT) == !fitted);
    note_refused(model, status);
    if (status < 0)
        return;
    model->taken += length;
    if (length > 0)
        note_queued(model, status);
}

static void call_try_write(struct model *model)
{
    size_t length = model_some_length();
    unsigned char *bytes = malloc(length + 1);
    bool refused = refuses(model), queued = model_look(model).buffered > 0;
    int64_t taken;

    model_fill_bytes(bytes, length, model->taken, 0);
    script.in_call = true;
    taken = sockref_conn_try_write(model->conn, bytes, length);
    script.in_call = false;
    free(bytes);
    if (refused && taken == SOCKREF_ECLOSED)
        return;
    EXPECT(model, taken >= 0 && taken <= (int64_t)length);
    EXPECT(model, taken == 0 || (!queued && model->ready));
    model->taken += (uint64_t)taken;
}

static void given_back(int status, void *user)
{
    struct piece *piece = user;
    struct model *model = piece->model;

    EXPECT(model, !script.in_call);
    EXPECT(model, model->lent > 0 && !model->closed);
    EXPECT(model, piece->end >= model->lent_end);
    EXPECT(model, status != 0 || model_look(model).bytes_written >= piece->end);
    model->lent_end = piece->end;
    model->lent--;
    memset(piece->bytes, 0xee, 1);
    free(piece->bytes);
    free(piece);
    model_act_in_callback();
}

static void call_write_own(struct model *model)
{
    size_t length = model_some_length();
    struct piece *piece = malloc(sizeof *piece);
    bool refused = refuses(model), broken = model_look(model).destroyed,
         fitted = fits(model, length);
    int status;

    *piece = (struct piece){model, malloc(length + 1), model->taken + length};
    model_fill_bytes(piece->bytes, length, model->taken, 0);
    script.in_call = true;
    status = sockref_conn_write_own(model->conn, piece->bytes, length, given_back, piece);
    script.in_call = false;
    if (status < 0) {
        free(piece->bytes);
        free(piece);
        if (status == SOCKREF_ECLOSED)
            EXPECT(model, refused);
        else
            EXPECT(model,
                   (status == SOCKREF_ELIMIT && !fitted) || (status == -ENOMEM && script.may_lack));
        note_refused(model, status);
        return;
    }
    EXPECT(model, fitted || broken);
    model->lent++;
    model->taken += length;
    if (!broken && length > 0)
        note_queued(model, status);
    else if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

static void call_send_fd(struct model *model)
{
    unsigned char bytes[3];
    size_t length = 1 + fuzz_chance(3);
    bool refused = refuses(model), broken = model_look(model).destroyed;
    int status;

    model_fill_bytes(bytes, length, model->taken, 0);
    script.in_call = true;
    status = sockref_conn_send_fd(model->conn, 0, bytes, length);
    script.in_call = false;
    if (status < 0) {
        EXPECT(model, (status == SOCKREF_ECLOSED && refused) || status == SOCKREF_ELIMIT ||
                          (status == SOCKREF_EUNSUPPORTED && model->is_tcp) ||
                          (status == -ENOMEM && script.may_lack));
        note_refused(model, status);
        return;
    }
    EXPECT(model, broken || !model->is_tcp);
    model->taken += length;
    model->fds_taken += !broken;
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

/* ---- what is asked, and set ---- */

static void call_peer(struct model *model)
{
    sockref_peer peer = {.size = sizeof peer};
    int status = sockref_conn_peer(model->conn, &peer);

    if (model->closed)
        EXPECT(model, status == SOCKREF_ECLOSED);
    else if (model->is_tcp)
        EXPECT(model, status == SOCKREF_EUNSUPPORTED);
    else
        EXPECT(model, status == 0 && peer.uid == (int64_t)geteuid());
}

static void call_data(struct model *model)
{
    EXPECT(model, sockref_conn_data(model->conn) == model->data);
    model->data = fuzz_chance(2) ? model : NULL;
    sockref_conn_set_data(model->conn, model->data);
}

static void call_hold(struct model *model)
{
    bool hold = fuzz_chance(2);

    sockref_conn_hold(model->conn, hold);
    if (!model->closed)
        model->is_unheld = !hold;
}

void model_call_plain(struct model *model, enum model_call which)
{
    static const unsigned times[] = {0, 0, 1, 3, 10000};
    bool dead = model->destroyed || model->closed || model_look(model).destroyed;
    unsigned timeout_ms = times[fuzz_chance(5)];
    int status = 0;

    script.in_call = true;
    switch (which) {
    case MODEL_END:
        status = sockref_conn_end(model->conn);
        model->ended |= status == 0;
        break;
    case MODEL_PAUSE:
        status = sockref_conn_pause(model->conn);
        model->paused |= status == 0;
        break;
    case MODEL_RESUME:
    case MODEL_RESUME_TOO:
        status = sockref_conn_resume(model->conn);
        model->paused &= status != 0;
        break;
    case MODEL_TIMEOUT:
        status = sockref_conn_set_timeout(model->conn, timeout_ms);
        if (status == 0)
            model->timeout_ms = timeout_ms;
        break;
    case MODEL_NODELAY:
        status = sockref_conn_set_nodelay(model->conn, fuzz_chance(2));
        break;
    case MODEL_KEEPALIVE:
        status = sockref_conn_set_keepalive(model->conn, fuzz_chance(2), fuzz_chance(3000));
        break;
    case MODEL_HOLD:
        call_hold(model);
        break;
    case MODEL_COUNT:
        sockref_conn_release(sockref_conn_acquire(model->conn));
        break;
    case MODEL_PEER:
        call_peer(model);
        break;
    case MODEL_DATA:
        call_data(model);
        break;
    case MODEL_CALLS:
        break;
    }
    script.in_call = false;
    EXPECT(model, status == 0 || (status == SOCKREF_ECLOSED && dead) ||
                      (status == -ENOMEM && script.may_lack) ||
                      ((which == MODEL_NODELAY || which == MODEL_KEEPALIVE) && status == -EINVAL &&
                       model->is_tcp));
}

static void call_end(struct model *model)
{
    unsigned which = fuzz_chance(3);

    if (which == 2 && model_look(model).destroyed)
        return;
    script.in_call = true;
    if (which == 0)
        sockref_conn_destroy(model->conn);
    else if (which == 1)
        sockref_conn_reset(model->conn);
    else
        sockref_conn_destroy_soon(model->conn);
    script.in_call = false;
    model->ended = true;
    if (which != 2)
        model->destroyed = true;
}

void model_call_something(struct model *model)
{
    uint32_t which = fuzz_chance(40);

    script.last_call = "a call";
    if (which < 8)
        call_write(model);
    else if (which < 12)
        call_try_write(model);
    else if (which < 18)
        call_write_own(model);
    else if (which < 20)
        call_send_fd(model);
    else if (which < 38)
        model_call_plain(model, fuzz_chance(MODEL_CALLS));
    else if (fuzz_chance(3) == 0)
        call_end(model);
    model_check(model);
}
