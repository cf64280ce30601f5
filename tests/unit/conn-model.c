/* The model of a connection. */
#include "conn-model.h"

#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct script script = {.last_call = ""};

struct piece {
    struct model *model;
    unsigned char *bytes;
    uint64_t end;
};

/* ---- chance ---- */

uint32_t model_chance(uint32_t below)
{
    script.random_state = script.random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(script.random_state >> 33) % below;
}

void model_wrong(const struct model *model, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("FUZZ_SEED=%llu: connection %p, after %s: %s", (unsigned long long)script.seed,
                 (const void *)model, script.last_call, text);
}

static unsigned char byte_at(uint64_t place, unsigned direction)
{
    return (unsigned char)(place * 131 + (place >> 8) * 31 + direction);
}

void model_fill_bytes(unsigned char *bytes, size_t length, uint64_t place, unsigned direction)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(place + i, direction);
}

void model_check_bytes(const struct model *model, const unsigned char *bytes, size_t length,
                       uint64_t place, unsigned direction)
{
    for (size_t i = 0; i < length; i++)
        EXPECT(model, bytes[i] == byte_at(place + i, direction));
}

/* ---- what the model says of a connection ---- */

sockref_conn_details model_look(const struct model *model)
{
    sockref_conn_details info = {.size = sizeof info};

    EXPECT(model, sockref_conn_info(model->conn, &info) == 0);
    return info;
}

static int expected_state(const struct model *model, const sockref_conn_details *info)
{
    if (info->destroyed)
        return SOCKREF_CONN_CLOSED;
    if (model->ended)
        return model->told_end ? SOCKREF_CONN_CLOSED : SOCKREF_CONN_READ_ONLY;
    return model->told_end ? SOCKREF_CONN_WRITE_ONLY : SOCKREF_CONN_OPEN;
}

void model_check(const struct model *model)
{
    sockref_conn_details info = model_look(model);

    EXPECT(model, info.state == expected_state(model, &info));
    EXPECT(model, info.bytes_read == model->got);
    EXPECT(model, info.bytes_written + info.buffered <= model->taken || info.destroyed);
    EXPECT(model, info.bytes_written + info.buffered == model->taken || info.destroyed);
    EXPECT(model, info.buffered <= MOST);
    EXPECT(model, info.paused == model->paused);
    EXPECT(model, !model->destroyed || info.destroyed);
    EXPECT(model, info.timeout_ms == model->timeout_ms || model->closed);
    EXPECT(model, (sockref_conn_fd(model->conn) < 0) == model->closed);
}

static bool refuses(const struct model *model)
{
    return model->ended || model->destroyed || model_look(model).state == SOCKREF_CONN_CLOSED;
}

/* ---- calls ---- */

static void note_queued(struct model *model, int status)
{
    sockref_conn_details info = model_look(model);

    if (info.destroyed)
        return; /* it broke in the call */
    EXPECT(model, (status == SOCKREF_WRITE_FULL) == (info.buffered > HIGH_WATER));
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

size_t model_some_length(void)
{
    static const uint32_t most[] = {1, 10, 1000, 20000, 100000, 400000};

    return model_chance(most[model_chance(6)] + 1);
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

static void act_in_callback(void);

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
    act_in_callback();
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
    unsigned char byte = byte_at(model->taken, 0);
    bool refused = refuses(model);
    int status;

    script.in_call = true;
    status = sockref_conn_send_fd(model->conn, 0, &byte, 1);
    script.in_call = false;
    if (status < 0) {
        EXPECT(model, (status == SOCKREF_ECLOSED && refused) || status == SOCKREF_ELIMIT ||
                          (status == SOCKREF_EUNSUPPORTED && model->is_tcp) ||
                          (status == -ENOMEM && script.may_lack));
        return;
    }
    model->taken++;
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

void model_call_plain(struct model *model, enum model_call which)
{
    static const unsigned times[] = {0, 0, 1, 3, 10000};
    bool dead = model->destroyed || model->closed || model_look(model).destroyed;
    unsigned timeout_ms = times[model_chance(5)];
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
        status = sockref_conn_set_nodelay(model->conn, true);
        break;
    case MODEL_HOLD:
        sockref_conn_hold(model->conn, model_chance(2));
        break;
    case MODEL_COUNT:
        sockref_conn_release(sockref_conn_acquire(model->conn));
        break;
    case MODEL_CALLS:
        break;
    }
    script.in_call = false;
    EXPECT(model, status == 0 || (status == SOCKREF_ECLOSED && dead) ||
                      (status == -ENOMEM && script.may_lack) ||
                      (which == MODEL_NODELAY && status == -EINVAL && model->is_tcp));
}

static void call_end(struct model *model)
{
    unsigned which = model_chance(3);

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
    uint32_t which = model_chance(40);

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
        model_call_plain(model, model_chance(MODEL_CALLS));
    else if (model_chance(3) == 0)
        call_end(model);
    model_check(model);
}

/* ---- callbacks ---- */

static void act_in_callback(void)
{
    struct model *model = script.models[model_chance(CONNS)];

    script.events++;
    if (!model || script.depth > 0 || model_chance(3) != 0)
        return;
    script.depth++;
    model_call_something(model);
    script.depth--;
}

/* What holds at the beginning of every callback but on_close. */
static struct model *enter(sockref_conn *self, void *user)
{
    struct model *model = user;

    EXPECT(model, !script.in_call);
    EXPECT(model, self == model->conn);
    EXPECT(model, !model->closed && !model->destroyed);
    return model;
}

static void on_ready(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, !model->ready && model->got == 0);
    model->ready = true;
    act_in_callback();
}

static void on_data(sockref_conn *self, const void *data, size_t length, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->ready && !model->paused && !model->told_end && length > 0);
    model_check_bytes(model, data, length, model->got, 1);
    model->got += length;
    EXPECT(model, model->got <= model->peer_sent);
    act_in_callback();
}

static void on_end(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, !model->told_end && !model->paused && (model->peer_shut || model->peer < 0));
    EXPECT(model, model->got == model->peer_sent);
    model->told_end = true;
    act_in_callback();
}

static void on_drain(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->drain_owed && model_look(model).buffered == 0);
    model->drain_owed = false;
    act_in_callback();
}

static void on_timeout(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->timeout_ms > 0);
    act_in_callback();
}

static void on_error(sockref_conn *self, int status, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, !model->told_error && status < 0 && model->lent == 0);
    EXPECT(model, model->peer < 0 || model->peer_broken || (status == -ENOMEM && script.may_lack));
    model->told_error = true;
    act_in_callback();
}

static void on_close(sockref_conn *self, bool had_error, void *user)
{
    struct model *model = user;

    EXPECT(model, !script.in_call && self == model->conn && !model->closed);
    EXPECT(model, model->lent == 0 && had_error == model->told_error);
    EXPECT(model, model->destroyed || model->told_error || model->ended);
    model->closed = model->destroyed = true;
    act_in_callback();
}

static void on_stop(void *user)
{
    struct model *model = user;

    EXPECT(model, !script.in_call && model->closed && !model->stopped);
    model->stopped = true;
}

static const sockref_conn_options conn_options = {
    .size = sizeof conn_options, .high_water = HIGH_WATER, .max_buffered = MOST};
const sockref_handlers model_handlers = {
    .size = sizeof model_handlers,
    .on_data = on_data,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_error = on_error,
    .on_close = on_close,
    .on_stop = on_stop,
    .on_ready = on_ready,
    .on_timeout = on_timeout,
    .options = &conn_options,
};
