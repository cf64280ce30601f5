/* The model of a connection: what holds of it, and what its callbacks may tell. */
#include "conn-model.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct script script = {.last_call = ""};

void model_wrong(const struct model *model, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("FUZZ_SEED=%llu: connection %p, after %s: %s",
                 (unsigned long long)atomic_load(&fuzz.seed), (const void *)model, script.last_call,
                 text);
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
    uint64_t read, written, queued;

    sockref_conn_bytes(model->conn, &read, &written, &queued);
    EXPECT(model, read == info.bytes_read && written == info.bytes_written);
    EXPECT(model, queued == info.buffered);
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

/* ---- callbacks ---- */

void model_act_in_callback(void)
{
    atomic_fetch_add(&fuzz.callbacks, 1);
    if (script.depth > 0 || fuzz_chance(3) != 0)
        return;
    script.depth++;
    do {
        struct model *model = script.models[fuzz_chance(CONNS)];

        if (model)
            model_call_something(model);
    } while (fuzz_chance(2) == 0);
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
    model_act_in_callback();
}

static void *on_buffer(sockref_conn *self, size_t *inout_length, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->ready && !model->paused && !model->told_end && *inout_length > 0);
    model->read_to = fuzz_chance(4) ? model->room : NULL;
    *inout_length = fuzz_chance(4) ? 1 + fuzz_chance(ROOM) : 0;
    if (*inout_length == 0)
        model->read_to = NULL;
    model_act_in_callback();
    return model->read_to;
}

/* With its bytes, or with those before them that were read in one. */
static void on_descriptor(sockref_conn *self, int fd, void *user)
{
    struct model *model = enter(self, user);
    struct bundle *bundle = &model->bundles[model->bundles_got % BUNDLES];

    EXPECT(model, model->ready && !model->told_end);
    EXPECT(model, model->bundles_got < model->bundles_sent && bundle->place >= model->got);
    EXPECT(model, fcntl(fd, F_GETFD) == FD_CLOEXEC);
    close(fd);
    model->told_descriptor = true;
    model->descriptor_place = bundle->place;
    if (--bundle->fds == 0)
        model->bundles_got++;
    model_act_in_callback();
}

/* What was read with a descriptor is told all the same. */
static void on_data(sockref_conn *self, const void *data, size_t length, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->ready && !model->told_end && length > 0);
    EXPECT(model, !model->paused || model->told_descriptor);
    EXPECT(model, !model->told_descriptor || model->descriptor_place < model->got + length);
    EXPECT(model, !model->read_to || data == model->read_to);
    model->told_descriptor = false;
    model_check_bytes(model, data, length, model->got, 1);
    model->got += length;
    EXPECT(model, model->got <= model->peer_sent);
    model_act_in_callback();
}

static void on_end(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, !model->told_end && !model->paused && (model->peer_shut || model->peer < 0));
    EXPECT(model, model->got == model->peer_sent);
    model->told_end = true;
    model_act_in_callback();
    if (model->ends_itself)
        model->ended = true;
}

static void on_drain(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->drain_owed && model_look(model).buffered == 0);
    model->drain_owed = false;
    model_act_in_callback();
}

static void on_timeout(sockref_conn *self, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, model->timeout_ms > 0);
    model_act_in_callback();
}

static void on_error(sockref_conn *self, int status, void *user)
{
    struct model *model = enter(self, user);

    EXPECT(model, !model->told_error && status < 0 && model->lent == 0);
    EXPECT(model, model->peer < 0 || model->peer_broken || (status == -ENOMEM && script.may_lack));
    model->told_error = true;
    model_act_in_callback();
}

static void on_close(sockref_conn *self, bool had_error, void *user)
{
    struct model *model = user;

    EXPECT(model, !script.in_call && self == model->conn && !model->closed);
    EXPECT(model, model->lent == 0 && had_error == model->told_error);
    EXPECT(model, model->destroyed || model->told_error || model->ended);
    model->closed = model->destroyed = true;
    model_act_in_callback();
}

static void on_stop(void *user)
{
    struct model *model = user;

    EXPECT(model, !script.in_call && model->closed && !model->stopped);
    model->stopped = true;
}

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
    .on_buffer = on_buffer,
    .on_descriptor = on_descriptor,
};
