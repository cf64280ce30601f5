/*
 * Random scripts of calls and peers' doings, also inside callbacks, against a model of what a
 * connection promises: which callbacks may come and when, what each call returns, that every byte
 * taken arrives, in order, and that nothing which can go on stands still.
 *
 * A failure tells its seed; FUZZ_SEED=n repeats that script alone. FUZZ_SECONDS=n ("make fuzz")
 * goes on for so long with seeds of the clock, in one process, and ends with one line of totals.
 */
#include "test-conn-helpers.h"

#include "net/conn.h"

#include <stdarg.h>

#define CONNS      4
#define STEPS      150
#define SCRIPTS    150
#define HIGH_WATER 30000u
#define MOST       300000u /* that may be queued */

struct model {
    sockref_conn *conn;
    int peer; /* -1: closed */
    bool is_tcp;
    /* Ours. */
    bool ready, ended, destroyed, paused, told_end, told_error, closed, stopped;
    bool drain_owed;
    unsigned timeout_ms;
    uint64_t taken; /* bytes of ours that a call took */
    unsigned lent;  /* pieces that are not back */
    uint64_t lent_end;
    uint64_t got; /* bytes that on_data told */
    /* The peer's. */
    bool peer_shut, peer_saw_end, peer_broken;
    uint64_t peer_sent, peer_got;
};

struct piece {
    struct model *model;
    unsigned char *bytes;
    uint64_t end;
};

static struct model *models[CONNS];
static uint64_t seed, random_state;
static uint64_t total_scripts, total_steps, total_events;
static bool in_call;
static bool may_lack, lacks_memory; /* in this script; now */
static int depth;
static const char *last_call = "";

/* ---- chance ---- */

static uint32_t chance(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static void wrong(const struct model *model, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("FUZZ_SEED=%llu: connection %p, after %s: %s", (unsigned long long)seed,
                 (const void *)model, last_call, text);
}

#define EXPECT(model, condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wrong(model, "%s", #condition);                                                        \
    } while (0)

/* Bytes by their place in a stream, so that none can be lost, doubled or moved unseen. */
static unsigned char byte_at(uint64_t place, unsigned direction)
{
    return (unsigned char)(place * 131 + (place >> 8) * 31 + direction);
}

static void fill_bytes(unsigned char *bytes, size_t length, uint64_t place, unsigned direction)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(place + i, direction);
}

static void check_bytes(const struct model *model, const unsigned char *bytes, size_t length,
                        uint64_t place, unsigned direction)
{
    for (size_t i = 0; i < length; i++)
        EXPECT(model, bytes[i] == byte_at(place + i, direction));
}

/* A socket that takes less than it is given, or says that it is full; and memory that runs out. */
static ssize_t short_send(int fd, const void *data, size_t length, int flags)
{
    if (length > 1 && chance(3) == 0)
        length = 1 + chance((uint32_t)length);
    return send(fd, data, length, flags);
}

static ssize_t short_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr first = *message;

    if (chance(3) == 0)
        first.msg_iovlen = 1;
    return sendmsg(fd, &first, flags);
}

static ssize_t short_recv(int fd, void *data, size_t length, int flags)
{
    return recv(fd, data, chance(3) == 0 ? 1 + chance(5000) : length, flags);
}

static void *scarce_malloc(size_t size)
{
    if (lacks_memory && chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc(size);
}

static void *scarce_calloc(size_t count, size_t size)
{
    if (lacks_memory && chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return calloc(count, size);
}

/* ---- what the model says of a connection ---- */

static sockref_conn_details look(const struct model *model)
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

static void check(const struct model *model)
{
    sockref_conn_details info = look(model);

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
    return model->ended || model->destroyed || look(model).state == SOCKREF_CONN_CLOSED;
}

/* ---- calls ---- */

static void note_queued(struct model *model, int status)
{
    sockref_conn_details info = look(model);

    if (info.destroyed)
        return; /* it broke in the call */
    EXPECT(model, (status == SOCKREF_WRITE_FULL) == (info.buffered > HIGH_WATER));
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

static size_t some_length(void)
{
    static const uint32_t most[] = {1, 10, 1000, 20000, 100000, 400000};

    return chance(most[chance(6)] + 1);
}

static bool fits(const struct model *model, size_t length)
{
    return look(model).buffered + length <= MOST;
}

static void call_write(struct model *model)
{
    size_t length = some_length();
    unsigned char *bytes = malloc(length + 1);
    bool refused = refuses(model), broken = look(model).destroyed, fitted = fits(model, length);
    int status;

    fill_bytes(bytes, length, model->taken, 0);
    in_call = true;
    status = sockref_conn_write(model->conn, bytes, length);
    in_call = false;
    free(bytes);
    if (refused && status == SOCKREF_ECLOSED)
        return;
    if (broken || look(model).destroyed) {
        EXPECT(model, status == (length > 0 ? SOCKREF_WRITE_FULL : 0));
        model->taken += length; /* or a part of it */
        return;
    }
    EXPECT(model, !refused);
    if (status == -ENOMEM && may_lack)
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
    size_t length = some_length();
    unsigned char *bytes = malloc(length + 1);
    bool refused = refuses(model), queued = look(model).buffered > 0;
    int64_t taken;

    fill_bytes(bytes, length, model->taken, 0);
    in_call = true;
    taken = sockref_conn_try_write(model->conn, bytes, length);
    in_call = false;
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

    EXPECT(model, !in_call);
    EXPECT(model, model->lent > 0 && !model->closed);
    EXPECT(model, piece->end >= model->lent_end);
    EXPECT(model, status != 0 || look(model).bytes_written >= piece->end);
    model->lent_end = piece->end;
    model->lent--;
    memset(piece->bytes, 0xee, 1);
    free(piece->bytes);
    free(piece);
    act_in_callback();
}

static void call_write_own(struct model *model)
{
    size_t length = some_length();
    struct piece *piece = malloc(sizeof *piece);
    bool refused = refuses(model), broken = look(model).destroyed, fitted = fits(model, length);
    int status;

    *piece = (struct piece){model, malloc(length + 1), model->taken + length};
    fill_bytes(piece->bytes, length, model->taken, 0);
    in_call = true;
    status = sockref_conn_write_own(model->conn, piece->bytes, length, given_back, piece);
    in_call = false;
    if (status < 0) {
        free(piece->bytes);
        free(piece);
        if (status == SOCKREF_ECLOSED)
            EXPECT(model, refused);
        else
            EXPECT(model, (status == SOCKREF_ELIMIT && !fitted) || (status == -ENOMEM && may_lack));
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

    in_call = true;
    status = sockref_conn_send_fd(model->conn, 0, &byte, 1);
    in_call = false;
    if (status < 0) {
        EXPECT(model, (status == SOCKREF_ECLOSED && refused) || status == SOCKREF_ELIMIT ||
                          (status == SOCKREF_EUNSUPPORTED && model->is_tcp) ||
                          (status == -ENOMEM && may_lack));
        return;
    }
    model->taken++;
    if (status == SOCKREF_WRITE_FULL)
        model->drain_owed = true;
}

static void call_plain(struct model *model, unsigned which)
{
    static const unsigned times[] = {0, 0, 1, 3, 10000};
    bool dead = model->destroyed || model->closed || look(model).destroyed;
    unsigned timeout_ms = times[chance(5)];
    int status = 0;

    in_call = true;
    switch (which) {
    case 0:
        status = sockref_conn_end(model->conn);
        model->ended |= status == 0;
        break;
    case 1:
        status = sockref_conn_pause(model->conn);
        model->paused |= status == 0;
        break;
    case 2:
    case 3:
        status = sockref_conn_resume(model->conn);
        model->paused &= status != 0;
        break;
    case 4:
        status = sockref_conn_set_timeout(model->conn, timeout_ms);
        if (status == 0)
            model->timeout_ms = timeout_ms;
        break;
    case 5:
        status = sockref_conn_set_nodelay(model->conn, true);
        break;
    case 6:
        sockref_conn_hold(model->conn, chance(2));
        break;
    case 7:
        sockref_conn_release(sockref_conn_acquire(model->conn));
        break;
    }
    in_call = false;
    EXPECT(model, status == 0 || (status == SOCKREF_ECLOSED && dead) ||
                      (status == -ENOMEM && may_lack) ||
                      (which == 5 && status == -EINVAL && model->is_tcp));
}

static void call_end(struct model *model)
{
    unsigned which = chance(3);

    if (which == 2 && look(model).destroyed)
        return;
    in_call = true;
    if (which == 0)
        sockref_conn_destroy(model->conn);
    else if (which == 1)
        sockref_conn_reset(model->conn);
    else
        sockref_conn_destroy_soon(model->conn);
    in_call = false;
    model->ended = true;
    if (which != 2)
        model->destroyed = true;
}

static void call_something(struct model *model)
{
    uint32_t which = chance(40);

    last_call = "a call";
    if (which < 8)
        call_write(model);
    else if (which < 12)
        call_try_write(model);
    else if (which < 18)
        call_write_own(model);
    else if (which < 20)
        call_send_fd(model);
    else if (which < 38)
        call_plain(model, chance(8));
    else if (chance(3) == 0)
        call_end(model);
    check(model);
}

/* ---- callbacks ---- */

static void act_in_callback(void)
{
    struct model *model = models[chance(CONNS)];

    total_events++;
    if (!model || depth > 0 || chance(3) != 0)
        return;
    depth++;
    call_something(model);
    depth--;
}

/* What holds at the beginning of every callback but on_close. */
static struct model *enter(sockref_conn *self, void *user)
{
    struct model *model = user;

    EXPECT(model, !in_call);
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
    check_bytes(model, data, length, model->got, 1);
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

    EXPECT(model, model->drain_owed && look(model).buffered == 0);
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
    EXPECT(model, model->peer < 0 || model->peer_broken || (status == -ENOMEM && may_lack));
    model->told_error = true;
    act_in_callback();
}

static void on_close(sockref_conn *self, bool had_error, void *user)
{
    struct model *model = user;

    EXPECT(model, !in_call && self == model->conn && !model->closed);
    EXPECT(model, model->lent == 0 && had_error == model->told_error);
    EXPECT(model, model->destroyed || model->told_error || model->ended);
    model->closed = model->destroyed = true;
    act_in_callback();
}

static void on_stop(void *user)
{
    struct model *model = user;

    EXPECT(model, !in_call && model->closed && !model->stopped);
    model->stopped = true;
}

/* ---- peers ---- */

static void peer_sends(struct model *model)
{
    size_t length = some_length();
    unsigned char *bytes = malloc(length + 1);
    ssize_t sent;

    fill_bytes(bytes, length, model->peer_sent, 1);
    sent = send(model->peer, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        model->peer_sent += (uint64_t)sent;
    free(bytes);
}

/* Returns whether there was something. */
static bool peer_reads(struct model *model)
{
    static unsigned char bytes[65536];
    ssize_t length;

    if (model->peer < 0 || model->peer_saw_end || model->peer_broken)
        return false;
    length = peek_some(model->peer, bytes, 1 + chance(sizeof bytes - 1));
    if (length > 0) {
        check_bytes(model, bytes, (size_t)length, model->peer_got, 0);
        model->peer_got += (uint64_t)length;
        EXPECT(model, model->peer_got <= model->taken);
    } else if (length == 0) {
        model->peer_saw_end = true;
        EXPECT(model, model->ended || model->destroyed || model->told_error);
        EXPECT(model, model->destroyed || model->peer_got == model->taken);
    } else if (errno != EAGAIN) {
        EXPECT(model, model->destroyed || look(model).destroyed || model->closed);
        model->peer_broken = true;
    }
    return length > 0;
}

static void peer_closes(struct model *model)
{
    const struct linger none = {.l_onoff = 1};

    if (chance(2) == 0)
        setsockopt(model->peer, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(model->peer);
    model->peer = -1;
}

static void peer_does_something(struct model *model)
{
    uint32_t which = chance(30);

    last_call = "a peer";
    if (model->peer < 0)
        return;
    if (which < 14 && !model->peer_shut)
        peer_sends(model);
    else if (which < 28)
        peer_reads(model);
    else if (which == 28 && chance(3) == 0)
        model->peer_shut |= shutdown(model->peer, SHUT_WR) == 0;
    else if (which == 29 && chance(4) == 0)
        peer_closes(model);
}

/* ---- a script ---- */

static const sockref_conn_options conn_options = {
    .size = sizeof conn_options, .high_water = HIGH_WATER, .max_buffered = MOST};
static const sockref_handlers handlers = {
    .size = sizeof handlers,
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

static struct model *begin_one(void)
{
    struct model *model = calloc(1, sizeof *model);
    bool lacked = lacks_memory;
    int fds[2];

    model->is_tcp = chance(4) == 0;
    if (model->is_tcp)
        tcp_pair(fds);
    else
        unix_pair(fds);
    model->peer = fds[0];
    lacks_memory = false;
    EXPECT(model, sockref_adopt(loop, fds[1], &handlers, model, &model->conn) == 0);
    lacks_memory = lacked;
    return model;
}

static void end_one(struct model *model)
{
    EXPECT(model, model->closed && model->stopped && model->lent == 0);
    check(model);
    if (model->peer >= 0)
        close(model->peer);
    sockref_conn_release(model->conn);
    free(model);
}

/* Whether all that can still happen has happened. */
static bool is_still(const struct model *model)
{
    sockref_conn_details info = look(model);

    if (model->closed)
        return model->stopped;
    if (info.destroyed || model->peer < 0)
        return false; /* its end is to come */
    if (model->peer_broken)
        return true;
    return info.buffered == 0 && model->lent == 0 && !model->drain_owed &&
           model->peer_got == model->taken && model->got == model->peer_sent &&
           model->told_end == model->peer_shut && (!model->ended || model->peer_saw_end);
}

/* Nothing stands still that could go on: read all, resume all, and all arrives. */
static void settle_all(void)
{
    uint64_t until = deadline();

    last_call = "settling";
    lacks_memory = false;
    depth = 1; /* callbacks do nothing new */
    for (int i = 0; i < CONNS; i++)
        while (models[i] && !is_still(models[i])) {
            if (sr_clock_ns() > until)
                wrong(models[i], "it stands still: %llu of %llu bytes sent, %llu of %llu got",
                      (unsigned long long)models[i]->peer_got, (unsigned long long)models[i]->taken,
                      (unsigned long long)models[i]->got, (unsigned long long)models[i]->peer_sent);
            if (models[i]->paused && !models[i]->destroyed) {
                if (sockref_conn_resume(models[i]->conn) == 0)
                    models[i]->paused = false;
            }
            for (int k = 0; k < CONNS; k++)
                while (models[k] && peer_reads(models[k]))
                    continue;
            if (models[i]->peer < 0 && !models[i]->destroyed && models[i]->told_end)
                call_plain(models[i], 0);
            sockref_loop_dispatch(loop, 0);
        }
    depth = 0;
}

static void free_loop(void)
{
    last_call = "loop_free";
    for (int i = 0; i < CONNS; i++)
        if (models[i])
            models[i]->destroyed |= !look(models[i]).destroyed;
    lacks_memory = false;
    sockref_loop_free(loop);
    for (int i = 0; i < CONNS; i++) {
        if (models[i])
            end_one(models[i]);
        models[i] = NULL;
    }
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static void play(uint64_t with)
{
    seed = random_state = with;
    chance(1);
    may_lack = lacks_memory = chance(4) == 0;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)chance(CONNS);

        total_steps++;
        if (!models[i])
            models[i] = begin_one();
        if (chance(3) == 0)
            peer_does_something(models[i]);
        else if (chance(2) == 0)
            call_something(models[i]);
        last_call = "dispatch";
        if (chance(3) == 0)
            sockref_loop_dispatch(loop, chance(20) == 0);
        if (models[i]->stopped) {
            end_one(models[i]);
            models[i] = NULL;
        }
    }
    settle_all();
    free_loop();
}

/* ---- running them ---- */

static void setup_script(void)
{
    setup();
    sr_sys.send = short_send;
    sr_sys.sendmsg = short_sendmsg;
    sr_sys.recv = short_recv;
    sr_sys.malloc = scarce_malloc;
    sr_sys.calloc = scarce_calloc;
}

static void teardown_script(void)
{
    sr_sys.send = send;
    sr_sys.sendmsg = sendmsg;
    sr_sys.recv = recv;
    sr_sys.malloc = malloc;
    sr_sys.calloc = calloc;
    teardown();
}

START_TEST(scripts_do_as_the_model_says)
{
    const char *alone = getenv("FUZZ_SEED"), *seconds = getenv("FUZZ_SECONDS");
    uint64_t end = seconds ? sr_clock_after_ms(strtol(seconds, NULL, 10) * 1000) : 0;
    uint64_t first = seconds ? sr_clock_ns() : 1;

    if (alone) {
        play(strtoull(alone, NULL, 10));
        return;
    }
    while (seconds ? sr_clock_ns() < end : total_scripts < SCRIPTS)
        play(first + total_scripts++);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conn-script");
    TCase *tcase = tcase_create("conn-script");
    const char *seconds = getenv("FUZZ_SECONDS");
    int status;

    if (seconds)
        setenv("CK_FORK", "no", 1); /* for the totals */
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup_script, teardown_script);
    tcase_add_test(tcase, scripts_do_as_the_model_says);
    suite_add_tcase(suite, tcase);
    status = run_suite(suite);
    if (seconds)
        printf("fuzz: %llu scripts, %llu steps, %llu callbacks, %d failed\n",
               (unsigned long long)total_scripts, (unsigned long long)total_steps,
               (unsigned long long)total_events, status != EXIT_SUCCESS);
    return status;
}
