/*
 * Random scripts of calls and peers' doings, also inside callbacks, against the model of a
 * connection: all is as it promises, every byte taken arrives, in order, and nothing which can go
 * on stands still.
 *
 * A failure tells its seed; FUZZ_SEED=n repeats that script alone. FUZZ_SECONDS=n ("make fuzz")
 * goes on for so long with seeds of the clock, in one process, and ends with one line of totals.
 */
#include "conn-model.h"
#include "test-conn-helpers.h"

#define STEPS   150
#define SCRIPTS 150

static uint64_t total_scripts, total_steps;

/* ---- a system that gives less than is asked for ---- */

static ssize_t short_send(int fd, const void *data, size_t length, int flags)
{
    if (length > 1 && model_chance(3) == 0)
        length = 1 + model_chance((uint32_t)length);
    return send(fd, data, length, flags);
}

static ssize_t short_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr first = *message;

    if (model_chance(3) == 0)
        first.msg_iovlen = 1;
    return sendmsg(fd, &first, flags);
}

static ssize_t short_recv(int fd, void *data, size_t length, int flags)
{
    return recv(fd, data, model_chance(3) == 0 ? 1 + model_chance(5000) : length, flags);
}

static void *scarce_malloc(size_t size)
{
    if (script.lacks_memory && model_chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return malloc(size);
}

static void *scarce_calloc(size_t count, size_t size)
{
    if (script.lacks_memory && model_chance(8) == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return calloc(count, size);
}

/* ---- peers ---- */

static void peer_sends(struct model *model)
{
    size_t length = model_some_length();
    unsigned char *bytes = malloc(length + 1);
    ssize_t sent;

    model_fill_bytes(bytes, length, model->peer_sent, 1);
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
    length = peek_some(model->peer, bytes, 1 + model_chance(sizeof bytes - 1));
    if (length > 0) {
        model_check_bytes(model, bytes, (size_t)length, model->peer_got, 0);
        model->peer_got += (uint64_t)length;
        EXPECT(model, model->peer_got <= model->taken);
    } else if (length == 0) {
        model->peer_saw_end = true;
        EXPECT(model, model->ended || model->destroyed || model->told_error);
        EXPECT(model, model->destroyed || model->peer_got == model->taken);
    } else if (errno != EAGAIN) {
        EXPECT(model, model->destroyed || model_look(model).destroyed || model->closed);
        model->peer_broken = true;
    }
    return length > 0;
}

static void peer_closes(struct model *model)
{
    const struct linger none = {.l_onoff = 1};

    if (model_chance(2) == 0)
        setsockopt(model->peer, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(model->peer);
    model->peer = -1;
}

static void peer_does_something(struct model *model)
{
    uint32_t which = model_chance(30);

    script.last_call = "a peer";
    if (model->peer < 0)
        return;
    if (which < 14 && !model->peer_shut)
        peer_sends(model);
    else if (which < 28)
        peer_reads(model);
    else if (which == 28 && model_chance(3) == 0)
        model->peer_shut |= shutdown(model->peer, SHUT_WR) == 0;
    else if (which == 29 && model_chance(4) == 0)
        peer_closes(model);
}

/* ---- a script ---- */

static struct model *begin_one(void)
{
    struct model *model = calloc(1, sizeof *model);
    bool lacked = script.lacks_memory;
    int fds[2];

    model->is_tcp = model_chance(4) == 0;
    if (model->is_tcp)
        tcp_pair(fds);
    else
        unix_pair(fds);
    model->peer = fds[0];
    script.lacks_memory = false;
    EXPECT(model, sockref_adopt(loop, fds[1], &model_handlers, model, &model->conn) == 0);
    script.lacks_memory = lacked;
    return model;
}

static void end_one(struct model *model)
{
    EXPECT(model, model->closed && model->stopped && model->lent == 0);
    model_check(model);
    if (model->peer >= 0)
        close(model->peer);
    sockref_conn_release(model->conn);
    free(model);
}

/* Whether all that can still happen has happened. */
static bool is_still(const struct model *model)
{
    sockref_conn_details info = model_look(model);

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

    script.last_call = "settling";
    script.lacks_memory = false;
    script.depth = 1; /* callbacks do nothing new */
    for (int i = 0; i < CONNS; i++)
        while (script.models[i] && !is_still(script.models[i])) {
            if (sr_clock_ns() > until)
                model_wrong(script.models[i],
                            "it stands still: %llu of %llu bytes sent, %llu of %llu got",
                            (unsigned long long)script.models[i]->peer_got,
                            (unsigned long long)script.models[i]->taken,
                            (unsigned long long)script.models[i]->got,
                            (unsigned long long)script.models[i]->peer_sent);
            if (script.models[i]->paused && !script.models[i]->destroyed) {
                if (sockref_conn_resume(script.models[i]->conn) == 0)
                    script.models[i]->paused = false;
            }
            for (int k = 0; k < CONNS; k++)
                while (script.models[k] && peer_reads(script.models[k]))
                    continue;
            if (script.models[i]->peer < 0 && !script.models[i]->destroyed &&
                script.models[i]->told_end)
                model_call_plain(script.models[i], MODEL_END);
            sockref_loop_dispatch(loop, 0);
        }
    script.depth = 0;
}

static void free_loop(void)
{
    script.last_call = "loop_free";
    for (int i = 0; i < CONNS; i++)
        if (script.models[i])
            script.models[i]->destroyed |= !model_look(script.models[i]).destroyed;
    script.lacks_memory = false;
    sockref_loop_free(loop);
    for (int i = 0; i < CONNS; i++) {
        if (script.models[i])
            end_one(script.models[i]);
        script.models[i] = NULL;
    }
    ck_assert_int_eq(sockref_loop_new(&loop), 0);
}

static void play(uint64_t with)
{
    script.seed = script.random_state = with;
    model_chance(1);
    script.may_lack = script.lacks_memory = model_chance(4) == 0;
    for (int step = 0; step < STEPS; step++) {
        int i = (int)model_chance(CONNS);

        total_steps++;
        if (!script.models[i])
            script.models[i] = begin_one();
        if (model_chance(3) == 0)
            peer_does_something(script.models[i]);
        else if (model_chance(2) == 0)
            model_call_something(script.models[i]);
        script.last_call = "dispatch";
        if (model_chance(3) == 0)
            sockref_loop_dispatch(loop, model_chance(20) == 0);
        if (script.models[i]->stopped) {
            end_one(script.models[i]);
            script.models[i] = NULL;
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
               (unsigned long long)script.events, status != EXIT_SUCCESS);
    return status;
}
